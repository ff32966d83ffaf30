"""Peak memory of a step and of a forward pass, each in a process of its own (Linux).

After the model and the compiled noise kernels are loaded, the peak counter is reset; ``VmHWM`` of
``/proc/self/status`` then is the peak of what follows: nothing (idle), two forward passes, three steps. The
ratio is the peak of the steps over that of the forward passes; ``extra`` is what the steps need beside the
forward passes, as a share of the weights.

    python benchmarks/memory.py                                   # 135M shape, 8 x 32, float32
    python benchmarks/memory.py --dtype bfloat16 --cases mezo:streamed lozo:factored-lazy
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import torch
from step import SHAPES, Case, minibatch, model, reference

from zobench.zo import build_space
from zobench.zo.noise.api import fused_sweeps

CASES = (
    "mezo:snapshot",
    "mezo:streamed",
    "mezo:streamed-paired",
    "mezo:in-place-fused",
    "lozo:factored-lazy",
    "fzoo:grouped",
)


def kilobytes(field: str) -> int:
    """A field of this process's status, in kB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measure(arguments: argparse.Namespace) -> None:
    """Do the work of one process and print its peak in kB and the size of the weights in kB."""
    torch.set_num_threads(arguments.threads)
    module = model(arguments)
    rows, length = (int(part) for part in arguments.size.split("x"))
    batch = minibatch(int(module.config.vocab_size), rows, length, "cpu")
    # Some 110 MiB for numba and its compiler, whatever the size of the model.
    fused_sweeps()
    weights = sum(p.numel() * p.element_size() for p in module.parameters()) >> 10
    Path("/proc/self/clear_refs").write_text("5")
    if arguments.work == "forward":
        for _ in range(2):
            reference(module, batch)
    elif arguments.work != "idle":
        case = Case(arguments.work, build_space(arguments.space, {}, module), batch, arguments)
        for _ in range(3):
            case.step()
    print(kilobytes("VmHWM"), weights)


def peak(work: str, arguments: argparse.Namespace) -> tuple[int, int]:
    """Peak and size of the weights of a fresh process, in kB."""
    given = [f"--{key}={getattr(arguments, key)}" for key in ("shape", "dtype", "size", "space", "threads")]
    command = [sys.executable, __file__, f"--work={work}", *given]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(out[-2]), int(out[-1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="135m")
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    add("--size", default="8x32", help="rows x tokens")
    add("--space", default="full")
    add("--cases", nargs="+", default=CASES, help="method:mode")
    add("--threads", type=int, default=1)
    add("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    arguments.model, arguments.layers, arguments.device, arguments.precision = None, None, "cpu", "auto"
    arguments.branches = None
    if arguments.work is not None:
        measure(arguments)
        return
    (idle, weights), (forward, _) = peak("idle", arguments), peak("forward", arguments)
    print(f"{arguments.shape} {arguments.dtype} {arguments.size}: weights {weights >> 10} MiB")
    print(f"idle {idle >> 10} MiB, forward pass {forward >> 10} MiB")
    for case in arguments.cases:
        step, _ = peak(case, arguments)
        extra = (step - forward) / weights
        print(f"{case:<22} {step >> 10} MiB  ratio {step / forward:.2f}  extra {extra:.2f}", flush=True)


if __name__ == "__main__":
    main()
