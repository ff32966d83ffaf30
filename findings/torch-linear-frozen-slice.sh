#!/usr/bin/env bash
# A frozen weight makes torch's linear layer over one position many times slower
#
# Surprising: without gradients, linear(x, weight) with a three-dimensional x that is not contiguous (the last position of a batch,
# as language models compute it with logits_to_keep=1) takes another road through torch when weight.requires_grad is
# False: a batched product (bmm), a copy of the weight for each row of the batch. With requires_grad=True, or with x made
# two-dimensional, the same call is one matrix product. In bfloat16 on a CPU the difference is two orders of magnitude; in
# float32 a few times, and the last bits of the result differ between the two roads.
# Who meets it: whoever evaluates or fine-tunes without gradients a model whose parameters are frozen, or rebuilt as plain
# tensors (functional_call): the head over a large vocabulary takes longer than the rest of the model.
# Versions: torch 2.13.0 (CPU, one thread; x86-64 with AVX-512 and bfloat16 instructions, Python 3.11). Seen 2026-11-29:
#   torch.bfloat16: frozen 166.8 times as long; equal results: True; equal to two-dimensional: True
#   torch.float32: frozen 3.5 times as long; equal results: False; equal to two-dimensional: True
# Fails (exit 1) when a frozen weight costs less than 5 times as much in bfloat16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "numpy==2.4.6"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import time

import torch
from torch.nn.functional import linear

torch.set_num_threads(1)
torch.manual_seed(0)


def seconds(last, weight):
    found = []
    with torch.inference_mode():
        linear(last, weight)
        for _ in range(3):
            start = time.process_time()
            linear(last, weight)
            found.append(time.process_time() - start)
    return min(found)


ratios = {}
for dtype in (torch.bfloat16, torch.float32):
    frozen = torch.randn(49152, 576).to(dtype)
    tuned = frozen.clone().requires_grad_()
    last = torch.randn(8, 32, 576).to(dtype)[:, -1:]
    ratios[dtype] = seconds(last, frozen) / seconds(last, tuned)
    with torch.inference_mode():
        same = torch.equal(linear(last, frozen), linear(last, tuned))
        flat = torch.equal(linear(last.reshape(8, 576), frozen).reshape(8, 1, -1), linear(last, tuned))
    print(f"{dtype}: frozen {ratios[dtype]:.1f} times as long; equal results: {same}; equal to two-dimensional: {flat}")
assert ratios[torch.bfloat16] >= 5, "the behaviour has changed"
PY
