#!/usr/bin/env bash
# all_reduce over gloo adds the same numbers in another order at every place of a tensor, so that equal sums differ within one result
#
# Surprising: three processes each give a tensor of one repeated number (1e8, 1 and -1e8). Every element is the same sum of the same three numbers, but the
# reduced tensor holds 0 in some places and 1 in others: the tensor is cut into a segment per process, and each segment's sum begins at another process.
# The result of an element so depends on where it stands and on how long the tensor is (one and two elements: 0; four: 0 and 1).
# Who meets it: whoever reduces losses or gradients of several processes and expects equal inputs to give equal outputs, a padded or bucketed tensor to give
# the sums of an unpadded one, or a log of seeds and losses to replay to the bit. all_gather and a sum in the order of ranks has one result (0 or 1) everywhere.
# Versions: torch 2.13.0, numpy 2.3.5 (Python 3.11, Linux, CPU). Seen 2026-11-30:
#   3 processes, 1 elements: all_reduce [0.0], gathered and added by rank [0.0]
#   3 processes, 2 elements: all_reduce [0.0], gathered and added by rank [0.0]
#   3 processes, 4 elements: all_reduce [0.0, 1.0], gathered and added by rank [0.0]
#   3 processes, 1024 elements: all_reduce [0.0, 1.0], gathered and added by rank [0.0]
# Fails (exit 1) when an all-reduced tensor of 1,024 equal sums has one value only, or the gathered one several.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "numpy==2.3.5"
cat > "$folder/try.py" <<'PY'
import sys

import torch
import torch.distributed as distributed
import torch.multiprocessing as processes

GIVEN = (1e8, 1.0, -1e8)


def work(rank, address):
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=len(GIVEN))
    for size in (1, 2, 4, 1024):
        mine = torch.full((size,), GIVEN[rank])
        parts = [torch.zeros(size) for _ in GIVEN]
        distributed.all_gather(parts, mine)
        distributed.all_reduce(mine)
        if rank == 0:
            reduced, added = torch.unique(mine).tolist(), torch.unique(sum(parts)).tolist()
            print(f"{len(GIVEN)} processes, {size} elements: all_reduce {reduced}, gathered and added by rank {added}")
    assert len(reduced if rank == 0 else (0, 1)) == 2, "the behaviour has changed"
    assert rank or len(added) == 1, "the behaviour has changed"
    distributed.destroy_process_group()


if __name__ == "__main__":
    processes.spawn(work, args=(f"file://{sys.argv[1]}",), nprocs=len(GIVEN))
PY
"$folder/venv/bin/python" -W ignore "$folder/try.py" "$folder/meeting"
