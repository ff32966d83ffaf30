#!/usr/bin/env bash
# safetensors.torch.save holds the file twice in memory, besides the tensors that it saves.
#
# Surprising: save(tensors) returns the bytes of a file. While it runs, the process needs two more times the size of that
# file, although only one result comes back. save_file with the same tensors needs nothing more: it writes from the
# tensors' memory.
# Who meets it: who serializes tensors in memory, to send them or to digest them before they are written. A checkpoint of
# AdamW with half as much memory left as it takes itself is killed by the system although its bytes would fit.
# Versions: safetensors 0.8.0, torch 2.13.0, numpy 2.4.6, Linux.
# Seen: a file of 244 MiB; save: peak 489 MiB above the memory before, save_file: 0 to 1 MiB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 torch==2.13.0 numpy==2.4.6
cat >"$folder/peak.py" <<'PY'
import re
import sys

import torch
from safetensors.torch import save, save_file


def size(key):
    with open("/proc/self/status") as status:
        return int(re.search(key + r":\s+(\d+)", status.read())[1]) / 1024


tensors = {f"t{i}": torch.ones(4_000_000) for i in range(16)}
whole = sum(t.nbytes for t in tensors.values()) / 2**20
save({"warm": torch.ones(3)})
before = size("VmRSS")
# VmHWM starts again from here, so that the peak of the imports does not hide that of saving.
with open("/proc/self/clear_refs", "w") as refs:
    refs.write("5")
if sys.argv[1] == "save":
    save(tensors)
else:
    save_file(tensors, sys.argv[2])
print(f"{(size('VmHWM') - before) / whole:.2f}")
PY
saved=$("$folder/venv/bin/python" "$folder/peak.py" save)
written=$("$folder/venv/bin/python" "$folder/peak.py" file "$folder/x.safetensors")
echo "memory above the tensors, in sizes of the file: save $saved, save_file $written"
"$folder/venv/bin/python" -c "assert abs($saved - 2) < 0.1 and $written < 0.1, 'changed'"
