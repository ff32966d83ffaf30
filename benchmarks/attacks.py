"""Speed of attacks: all examples in lockstep against one at a time: ``python benchmarks/attacks.py``.

The same attack with the same seed runs three times in one process on the same model and examples:

- ``lockstep``: as shipped, the victim is asked for all examples together;
- ``per example``: one example after the other, batches only within one step of its search;
- ``per text``: one example after the other, one text per call, the straightforward implementation.

Reported: victim calls (texts computed) per second, examples per minute, the ratios of times, and whether the
same edits were found; differing ones are shown with the margin of their decision (difference of the two
largest log-probabilities), which tells a difference of batch shapes from a defect. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.data.example import Example
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.suite.spec import ModelRef
from zobench.tasks.base import Prediction, Task


@dataclass(frozen=True)
class Timing:
    """One way of running one attack."""

    seconds: float
    calls: int
    records: list[AttackRecord]


class Bench:
    """A model, a task and its examples."""

    def __init__(self, model: str, task: str, examples: int) -> None:
        self.lm = load(ModelRef(name=model))
        made = lookup("tasks", task)
        self.task: Task = made(made.Config())
        splits = self.task.splits(0)
        self.examples = list(splits.test[:examples])
        self.context = AttackContext(
            self.task.attackable, self.task.protected, seed=0, lm=self.lm, pool=list(splits.validation)
        )
        self._predict(self.examples[:2])

    def _predict(self, rows: Sequence[Example]) -> list[Prediction]:
        return self.task.predict(self.lm, rows)

    def _one_text(self, rows: Sequence[Example]) -> list[Prediction]:
        return [p for row in rows for p in self._predict([row])]

    def lockstep(self, attack: Attack) -> Timing:
        victim = Victim(self._predict, weights_digest="bench")
        start = time.perf_counter()
        records = attack.run(victim, self.examples, self.context)
        return Timing(time.perf_counter() - start, victim.unique, records)

    def one_by_one(self, attack: Attack, *, per_text: bool) -> Timing:
        predict = self._one_text if per_text else self._predict
        victim = Victim(predict, weights_digest="bench")
        start = time.perf_counter()
        records = [r for e in self.examples for r in attack.run(victim, [e], self.context)]
        return Timing(time.perf_counter() - start, victim.unique, records)


def margin(prediction: Prediction) -> str:
    """Difference of the two largest log-probabilities, where there are any."""
    if prediction.log_probs is None:
        return "no probabilities"
    best, second = sorted(prediction.log_probs, reverse=True)[:2]
    return f"{best - second:.2e}"


def compare(name: str, fast: Timing, slow: Timing, label: str) -> None:
    """One line, and one more for each example whose edit differs."""
    n = len(fast.records)
    same = sum(a.edited == b.edited for a, b in zip(fast.records, slow.records, strict=True))
    print(
        f"{name:22s} {label:12s} {fast.calls / fast.seconds:9.1f} {slow.calls / slow.seconds:9.1f} calls/s "
        f"{60 * n / fast.seconds:8.0f} {60 * n / slow.seconds:8.0f} examples/min "
        f"{slow.seconds / fast.seconds:6.2f}x  same edits {same}/{n}"
    )
    for a, b in zip(fast.records, slow.records, strict=True):
        if a.edited != b.edited:
            print(f"    {a.example_id}: margins {margin(a.final)} and {margin(b.final)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin:nano")
    parser.add_argument("--task", default="nano-sentiment")
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument(
        "--attacks", nargs="+", default=["char-typos", "irrelevant-sentence", "deepwordbug-like"]
    )
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of parameters for the attacks")
    chosen = parser.parse_args()
    bench = Bench(chosen.model, chosen.task, chosen.examples)
    print(f"{chosen.model} {chosen.task}: {len(bench.examples)} examples (lockstep first, then the other)")
    for name in chosen.attacks:
        made = lookup("attacks", name)
        attack: Attack = made(made.Config(**chosen.params))
        bench.lockstep(attack)  # lexicons and helper models are opened here, outside the timing
        fast = bench.lockstep(attack)
        compare(name, fast, bench.one_by_one(attack, per_text=False), "per example")
        compare(name, fast, bench.one_by_one(attack, per_text=True), "per text")


if __name__ == "__main__":
    main()
