"""Greedy decoding under n LoRA branches in one batch against a loop over the branches.

Each branch answers the same prompts with its own adapters, as reward objectives and evolution strategies
need. Random weights of a shape of ``benchmarks/step.py``, the tokenizer of the built-in model. One repetition
times both ways; the ratio is taken within one repetition. Times are CPU seconds of the process.

    python benchmarks/decoding.py                     # 135M shape, 8 branches, 4 prompts, 32 tokens
    python benchmarks/decoding.py --shape 22m --branches 16 --dtype bfloat16
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from step import SHAPES, model, quartiles

from zobench.models import load
from zobench.models.base import ModelIdentity
from zobench.models.generation import generate_under_branches
from zobench.models.language_model import LoadedModel
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.zo import Engine, build_space

WORDS = "Ann has three red apples and gives two of them to Ben who eats one"


def loaded(arguments: argparse.Namespace) -> LoadedModel:
    """The model with random weights and the built-in model's tokenizer."""
    nano = load(ModelRef(name="builtin:nano"))
    identity = ModelIdentity(arguments.shape, None, "", arguments.dtype, False, 0)
    return LoadedModel(model(arguments), nano.tokenizer, identity, "causal", max_length=1024)


def prompts(count: int, words: int) -> list[str]:
    """Different prompts of about equal length."""
    some = WORDS.split()
    return [" ".join((some[i:] + some[:i])[:words]) for i in range(count)]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="135m")
    add("--layers", type=int)
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    add("--branches", type=int, default=8)
    add("--prompts", type=int, default=4)
    add("--words", type=int, default=12)
    add("--tokens", type=int, default=32)
    add("--repeats", type=int, default=7)
    add("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    arguments.model, arguments.device = None, "cpu"
    torch.set_num_threads(arguments.threads)
    lm = loaded(arguments)
    space = build_space("lora", {}, lm.module)
    cls = lookup("methods", "mezo")
    method = cls(cls.Config(epsilon=1e-2), space, seed=0, engine=Engine())
    engine = method.engine
    points = [engine.along(method.direction, seed, 1e-2) for seed in range(arguments.branches)]
    given = prompts(arguments.prompts, arguments.words)

    def loop() -> list[list[str]]:
        found = []
        for point in points:
            with engine.perturbation.displaced(point):
                found.append(lm.generate(given, max_new_tokens=arguments.tokens))
        return found

    def together() -> list[list[str]]:
        with engine.side_by_side(points):
            return generate_under_branches(lm, given, len(points), max_new_tokens=arguments.tokens)

    loop(), together()
    rows = []
    for _ in range(arguments.repeats):
        (alone, expected), (batched, found) = seconds(loop), seconds(together)
        rows.append((alone, batched))
    pairs = [
        (a, b) for one, other in zip(expected, found, strict=True) for a, b in zip(one, other, strict=True)
    ]
    low, median, high = quartiles([b / a for a, b in rows])
    alone, batched = (statistics.median(column) for column in zip(*rows, strict=True))
    same = sum(a == b for a, b in pairs)
    print(f"{arguments.shape} {arguments.dtype}: {arguments.branches} branches x {arguments.prompts} prompts")
    print(f"loop {alone:.2f} s, one batch {batched:.2f} s, {same} of {len(pairs)} answers equal")
    print(f"ratio {median:.3f}, quartiles {low:.3f}-{high:.3f}")


if __name__ == "__main__":
    main()
