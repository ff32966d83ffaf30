"""Time per parameter of generating noise, as ratios to torch operations in the same run.

Two references are timed together with every candidate: ``normal_`` into an existing tensor (torch's normal
numbers, without even the allocation that ``torch.normal`` adds in the MeZO code base) and an axpy with a
stored z (no random numbers, only memory access). A ratio is the median over rounds of candidate time divided
by reference time in the same round, so that other work on the machine slows both. ``gather`` is timed per
index, at every fourth position of a four times larger tensor. Only torch is required; numba, triton and CUDA
are used if present.

    python benchmarks/noise.py [--millions 4] [--rounds 15] [--threads 1] [--device cpu|cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch

from zobench.zo import noise

Work = Callable[[], object]
STREAM = {"seed": 12345, "key": noise.tensor_key("weight")}


def seconds(work: Work, device: str) -> float:
    """Wall-clock seconds of one call; the device is synchronized before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def forced(backend: noise.Backend, work: Work) -> object:
    with noise.use_backend(backend):
        return work()


def backends(device: str) -> list[noise.Backend]:
    """Backends that can run here; the plain reference can always run."""
    fast: noise.Backend = "numba" if device == "cpu" else "triton"
    return ["reference", fast] if find_spec(fast) else ["reference"]


def candidates(n: int, device: str) -> dict[str, Work]:
    """Maps printed names to the functions of every (operation, dtype, kind, backend)."""
    works: dict[str, Work] = {}
    at = torch.arange(0, 4 * n, 4, device=device)
    for backend in backends(device):
        for kind in ("gaussian", "rademacher", "uniform"):
            for dtype in (torch.float32, torch.bfloat16):
                tensor = torch.zeros(n, device=device, dtype=dtype)
                name = f"{kind:<10} {str(dtype)[6:]:<9} {backend}"
                fill = partial(noise.fill, tensor, kind=kind, **STREAM)
                axpy = partial(noise.axpy_, tensor, 1e-6, kind=kind, **STREAM)
                works[f"fill   {name}"] = partial(forced, backend, fill)
                works[f"axpy_  {name}"] = partial(forced, backend, axpy)
            pick = partial(noise.gather, at, kind=kind, **STREAM)
            works[f"gather {kind:<10} {'1 of 4':<9} {backend}"] = partial(forced, backend, pick)
    return works


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--millions", type=float, default=4.0, help="parameters in the tensor")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    n = int(args.millions * 1e6)
    target = torch.zeros(n, device=args.device)
    stored = torch.randn(n, device=args.device)
    generator = torch.Generator(device=args.device).manual_seed(1)
    normal: Work = partial(target.normal_, generator=generator)
    axpy: Work = partial(target.add_, stored, alpha=1e-6)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} thread(s), {n} parameters")
    print(f"{'':<42}{'ns/param':>9}{'/normal':>9}{'/axpy z':>9}")
    report("torch normal_", normal, normal, axpy, n, args)
    report("axpy with stored z", axpy, normal, axpy, n, args)
    for name, work in candidates(n, args.device).items():
        report(name, work, normal, axpy, n, args)


def report(name: str, work: Work, normal: Work, axpy: Work, n: int, args: argparse.Namespace) -> None:
    """Time one candidate against both references, round by round, and print its line."""
    for warm_up in (work, normal, axpy):
        warm_up()
    rows = [[seconds(w, args.device) for w in (work, normal, axpy)] for _ in range(args.rounds)]
    own = statistics.median(r[0] for r in rows) / n * 1e9
    by_normal, by_axpy = (statistics.median(r[0] / r[k] for r in rows) for k in (1, 2))
    print(f"{name:<42}{own:>9.3f}{by_normal:>9.2f}{by_axpy:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
