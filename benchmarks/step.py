"""Cost of a zeroth-order step relative to the forward passes that it needs: ``python benchmarks/step.py``.

Every case is a step of a method in a mode, on a causal model with random weights of a stated shape or on a
model from a folder. The reference is the same forward pass without this library: inference mode, no mask,
logits of the last position only, the same loss. MeZO's step as published (a loop in plain torch: reseed, draw
and add, tensor by tensor) is timed as well. One repetition times the reference and then every case, each
once; a ratio is a case's time over (its forward passes x the reference's time) within one repetition.

Updates are on, the learning rate is above 0, and the benchmark ends with an error if a step leaves the
weights unchanged. Times are CPU seconds of the process, and wall-clock seconds on a GPU or with ``--wall``.

    python benchmarks/step.py                                  # the table: 135M shape, 8 x 32, float32
    python benchmarks/step.py --dtype bfloat16 --sizes 8x32 16x64 --out step.parquet
    python benchmarks/step.py --cases lozo:factored fzoo:batched --layers 4 --repeats 3
    python benchmarks/step.py --model FOLDER --space lora --cases mezo:snapshot
    python benchmarks/step.py --model FOLDER --suggest fzoo    # the fastest mode for a suite's row

Needs torch, transformers and ``zobench.zo``; pyarrow for ``--out``.
"""

from __future__ import annotations

import argparse
import copy
import functools
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Engine, Objective, build_space
from zobench.zo.space import ParameterSpace

SHAPES = {
    "2m": {"layers": 4, "width": 128, "heads": 4, "groups": 2, "inner": 384, "vocabulary": 8192},
    "22m": {"layers": 12, "width": 288, "heads": 6, "groups": 2, "inner": 768, "vocabulary": 32768},
    "135m": {"layers": 30, "width": 576, "heads": 9, "groups": 3, "inner": 1536, "vocabulary": 49152},
    "360m": {"layers": 32, "width": 960, "heads": 15, "groups": 5, "inner": 2560, "vocabulary": 49152},
    "1.3b": {"layers": 24, "width": 2048, "heads": 32, "groups": 32, "inner": 5504, "vocabulary": 50272},
}
"""Llama shapes with tied embeddings; 135m and 360m are those of SmolLM2."""

CONFIGS: dict[str, dict[str, Any]] = {
    "mezo": {"lr": 1e-6},
    "lozo": {"lr": 1e-6},
    "fzoo": {"lr": 1e-6},
    "eggroll": {"lr": 1e-5, "population": 8},
}
"""Parameters other than the defaults; rates at which random weights move and stay finite."""

CASES = {
    "full": (
        "mezo:loop",
        "mezo:snapshot",
        "mezo:streamed",
        "mezo:streamed-paired",
        "mezo:in-place-fused",
        "fzoo:snapshot",
        "fzoo:batched",
        "fzoo:grouped",
        "lozo:snapshot",
        "lozo:factored",
        "lozo:factored-lazy",
    ),
    "lora": ("mezo:snapshot", "fzoo:snapshot", "fzoo:batched", "fzoo:grouped"),
    "prefix": ("mezo:snapshot", "fzoo:snapshot", "fzoo:grouped"),
}
"""Cases of the table by space."""

SUGGESTED = ("snapshot", "streamed", "streamed-paired", "grouped", "factored", "factored-lazy")
"""Modes that ``--suggest`` times. ``in-place`` is not exact, ``batched`` needs n copies of the weights."""

Batch = tuple[torch.Tensor, torch.Tensor]


def model(arguments: argparse.Namespace) -> nn.Module:
    """The model from its folder, or one of the stated shape with random weights."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    dtype = getattr(torch, arguments.dtype)
    if arguments.model is not None:
        return AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype).to(arguments.device).eval()
    shape = {**SHAPES[arguments.shape], **({"layers": arguments.layers} if arguments.layers else {})}
    config = LlamaConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["width"],
        intermediate_size=shape["inner"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["groups"],
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=dtype).to(arguments.device).eval()


def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the token after the last position, float32."""
    ids, labels = batch
    logits = module(input_ids=ids, logits_to_keep=1, use_cache=False).logits[:, -1]
    return nn.functional.cross_entropy(logits.float(), labels)


def reference(module: nn.Module, batch: Batch) -> float:
    """One forward pass."""
    with torch.inference_mode():
        return float(loss(module, batch))


@torch.no_grad()
def published_loop(module: nn.Module, batch: Batch, seed: int, lr: float, epsilon: float = 1e-3) -> None:
    """A MeZO step as arithmetic on the weights; z is drawn four times from the reseeded generator."""
    parameters = list({id(p): p for p in module.parameters()}.values())

    def move(scale: float) -> None:
        torch.manual_seed(seed)
        for p in parameters:
            z = torch.normal(mean=0.0, std=1.0, size=p.shape, device=p.device, dtype=p.dtype)
            p.data = p.data + scale * epsilon * z

    move(1.0)
    plus = reference(module, batch)
    move(-2.0)
    minus = reference(module, batch)
    move(1.0)
    slope = (plus - minus) / (2 * epsilon)
    torch.manual_seed(seed)
    for p in parameters:
        z = torch.normal(mean=0.0, std=1.0, size=p.shape, device=p.device, dtype=p.dtype)
        p.data = p.data - lr * slope * z


class Case:
    """One method in one mode on the shared model.

    Attributes:
        name: ``method:mode``.
        forwards: forward passes of a step.
        step: takes one step; returns False if the step was refused.
        looks_ahead: whether a step prepares the next one.
    """

    def __init__(self, name: str, space: ParameterSpace, batch: Batch, arguments: argparse.Namespace) -> None:
        self.name, self.space = name, space
        method, _, mode = name.partition(":")
        if mode == "loop":
            if method != "mezo" or arguments.space != "full":
                raise SystemExit("the published loop is MeZO's, in the full space")
            self.forwards, self.step = 2.0, self._loop(batch)
            self.settled: Callable[[], AbstractContextManager[None]] = nullcontext
            self.looks_ahead = False
            return
        fused = mode.endswith("-fused")
        # As in a run: the update of a step and the first points of the next in one sweep.
        engine = Engine(
            mode=mode.removesuffix("-fused"), fused=fused, precision=arguments.precision, ahead=True
        )
        cls = lookup("methods", method)
        chosen = {"n": arguments.branches} if arguments.branches and method == "fzoo" else {}
        config = cls.Config(**CONFIGS.get(method, {}), **chosen)
        optimizer = cls(config, space, seed=0, engine=engine)
        objective = Objective(space.module, loss, inference=True)
        objective.set_batch(batch, sequences=batch[0].shape[0], tokens=batch[0].numel())
        self.forwards = cls.cost(config).forwards_per_step
        self.settled = optimizer.settled
        self.looks_ahead = optimizer.engine.looks_ahead() and optimizer.coming() is not None
        self.step = lambda: bool(optimizer.step(objective).moved)

    def _loop(self, batch: Batch) -> Callable[[], bool]:
        counter = iter(range(1 << 30))

        def step() -> bool:
            published_loop(self.space.module, batch, next(counter), CONFIGS["mezo"]["lr"])
            return True

        return step

    def warm_up(self) -> None:
        """Take one step that is not timed; raises an error if it is refused or changes no weight."""
        before = self.space.digest()
        moved = self.step()
        with self.settled():
            same = self.space.digest() == before
        if not moved or same:
            raise SystemExit(f"{self.name}: the step left the weights unchanged")


def prepared(
    arguments: argparse.Namespace, space: ParameterSpace, batch: Batch, restore: Callable[[], object]
) -> Iterator[Case]:
    """The cases after one step each. With ``--suggest``, modes that refuse the method, the space or the model
    are named and left out."""
    suggested = [f"{arguments.suggest}:{mode}" for mode in SUGGESTED] if arguments.suggest else None
    for name in suggested or arguments.cases or CASES[arguments.space]:
        try:
            case = Case(name, space, batch, arguments)
            case.warm_up()
            restore()
        except ValueError as error:
            if suggested is None:
                raise
            print(f"{name}: not possible: {error}")
            continue
        yield case


def suggestion(rows: list[dict[str, Any]]) -> list[str]:
    """The fastest mode of each size, as a line of a suite, and how it relates to the results of ``auto``."""
    said = []
    for size in dict.fromkeys(row["size"] for row in rows):
        cases = [row for row in rows if row["size"] == size and row["case"] != "forward"]
        best = min(cases, key=lambda row: row["ratio"])
        mode = best["case"].partition(":")[2]
        said.append(f"{size}: perturbation: {mode}  # {best['ratio']:.2f} of the forward passes")
        if mode not in ("snapshot", "streamed", "streamed-paired"):
            said.append("  other roundings than auto: a different run id, not the same results to the bit")
    return said


def clock(arguments: argparse.Namespace) -> float:
    if arguments.device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.perf_counter() if arguments.wall else time.process_time()


def timed(work: Callable[[], object], arguments: argparse.Namespace) -> float:
    """Seconds of one call."""
    start = clock(arguments)
    work()
    return clock(arguments) - start


def minibatch(vocabulary: int, rows: int, length: int, device: str) -> Batch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, vocabulary, (rows, length), generator=generator)
    labels = torch.randint(0, vocabulary, (rows,), generator=generator)
    return ids.to(device), labels.to(device)


def repetitions(
    arguments: argparse.Namespace,
    cases: list[Case],
    forward: Callable[[], object],
    restore: Callable[[], object],
) -> Iterator[dict[str, float]]:
    """Seconds of the reference and of every case, once per complete repetition. Ends early after ``--limit``
    seconds, and at an interrupt."""
    started = time.monotonic()
    for done in range(arguments.repeats):
        if done and arguments.limit and time.monotonic() - started > arguments.limit:
            return
        try:
            one = {"forward": timed(forward, arguments)}
            for case in cases:
                # A step writes the first points of the next one, so that the first step of a run costs more.
                if case.looks_ahead:
                    case.step()
                one[case.name] = timed(case.step, arguments)
                restore()
        except KeyboardInterrupt:
            if not done:
                raise
            return
        yield one


def measured(arguments: argparse.Namespace, size: str) -> Iterator[dict[str, Any]]:
    """Measurements of the reference and of every case, one dictionary each."""
    rows, length = (int(part) for part in size.split("x"))
    module = model(arguments)
    # The same parameters in modules without the space's hooks, for the reference.
    bare = copy.deepcopy(module, {id(p): p for p in module.parameters()})
    parameters = sum(p.numel() for p in module.parameters())
    batch = minibatch(int(module.config.vocab_size), rows, length, arguments.device)  # type: ignore[union-attr, arg-type]
    space = build_space(arguments.space, {}, module)
    reference(bare, batch)
    # The largest shapes have no room for a copy of the weights to return to.
    kept = space.snapshot() if arguments.repeats > 1 and not arguments.no_restore else {}
    restore = functools.partial(space.restore, kept) if kept else nullcontext
    cases = list(prepared(arguments, space, batch, restore))
    times: dict[str, list[float]] = {name: [] for name in ("forward", *(case.name for case in cases))}
    for one in repetitions(arguments, cases, lambda: reference(bare, batch), restore):
        for name, seconds in one.items():
            times[name].append(seconds)
    forwards = {"forward": 1.0, **{case.name: case.forwards for case in cases}}
    base = times["forward"]
    for name, seconds in times.items():
        ratios = [t / (forwards[name] * b) for t, b in zip(seconds, base, strict=True)]
        extra = statistics.median(t - forwards[name] * b for t, b in zip(seconds, base, strict=True))
        low, median, high = quartiles(ratios)
        yield {
            "case": name,
            "space": arguments.space,
            "size": size,
            "dtype": arguments.dtype,
            "parameters": parameters,
            "forwards": forwards[name],
            "repeats": len(seconds),
            "seconds": statistics.median(seconds),
            "ratio_low": low,
            "ratio": median,
            "ratio_high": high,
            "ns_per_parameter": 1e9 * extra / parameters,
        }


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return (values[0],) * 3
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def processor() -> dict[str, str]:
    """Name of the processor, its vector flags and the instruction set that torch uses."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}
    flags = [f for f in facts.get("flags", "").split() if f.startswith(("avx", "amx", "fma", "f16c"))]
    return {
        "processor": facts.get("model name", platform.processor()),
        "flags": " ".join(flags),
        "level": torch.backends.cpu.get_cpu_capability(),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, help="a model folder; otherwise random weights of --shape")
    add("--shape", choices=SHAPES, default="135m")
    add("--layers", type=int, help="another number of layers than the shape's")
    add("--sizes", nargs="+", default=["8x32"], help="rows x tokens")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    add("--space", choices=CASES, default="full")
    add("--precision", default="auto")
    add("--cases", nargs="+", help="method:mode; mezo:loop is the published loop")
    add("--branches", type=int, help="directions of a step of FZOO; 8 by default")
    add("--suggest", metavar="METHOD", help="time every mode of this method and print the fastest")
    add("--repeats", type=int, default=7)
    add("--no-restore", action="store_true", help="keep no copy of the weights to return to")
    add("--limit", type=float, help="begin no repetition of a size after so many seconds")
    add("--threads", type=int, default=1)
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--wall", action="store_true", help="wall-clock instead of CPU time")
    add("--out", type=Path, help="a parquet file for the rows")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(arguments.threads)
    machine = processor()
    print(" | ".join([f"torch {torch.__version__}, {arguments.threads} thread(s)", *machine.values()]))
    rows = []
    titles = f"{'case':<22}{'size':>7}{'dtype':>10}{'seconds':>9}{'ratio':>7}"
    print(f"{titles}  quartiles    ns/parameter extra, repetitions")
    for size in arguments.sizes:
        for row in measured(arguments, size):
            rows.append({**row, **machine, "threads": arguments.threads, "torch": torch.__version__})
            print(
                f"{row['case']:<22}{size:>7}{row['dtype']:>10}{row['seconds']:>9.3f}{row['ratio']:>7.2f}"
                f"  {row['ratio_low']:.2f}-{row['ratio_high']:.2f}  {row['ns_per_parameter']:>9.2f}"
                f" {row['repeats']:>3}",
                flush=True,
            )
    if arguments.suggest:
        print("\n".join(suggestion(rows)))
    if arguments.out is not None:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), arguments.out)


if __name__ == "__main__":
    main()
