"""Speed of attacks, all examples in lockstep compared with one at a time: ``python benchmarks/attacks.py``.

The same attack with the same seed runs several times in one process on the same model and examples:

- ``lockstep``: the default; the queries of all examples are answered in common batches;
- ``per example``: one example after the other, batches only within one step of its search;
- ``per text``: one example after the other, one text per call of the same scorer;
- ``plain``: one example after the other, one text per call of the model itself, without this library:
  ``module(**tokenizer(prompt))`` and the label words' logits, or ``module.generate(...)``.

Reported are victim calls (queries) per second, examples per minute, texts computed before they were needed,
and the ratios of throughputs (calls per second) by wall clock and by the process's CPU time, which depends
less on other work on the machine. The edits found are compared as well. Edits that differ are shown with the
margin of their decision (difference of the two largest log-probabilities): a small margin means that rounding
with other batch shapes explains the difference, a large one means a defect. If TextAttack is installed, its
DeepWordBug recipe attacks the same examples through the same plain scorer, with its own batches and cache,
and its calls and examples are reported. Its edits differ from those of this library, so that only the rates
can be compared. If it is not installed, a line says so. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.data.example import Example
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.tasks.base import Prediction
from zobench.tasks.encoding import label_word_ids
from zobench.tasks.generation import GenerationTask


@dataclass(frozen=True)
class Timing:
    """One way of running one attack."""

    seconds: float
    cpu: float
    calls: int
    computed: int
    records: list[AttackRecord]


class Bench:
    """A model, a task and its examples."""

    def __init__(self, model: str, task: str, examples: int) -> None:
        self.lm = load(ModelRef(name=model))
        made = lookup("tasks", task)
        self.task: Any = made(made.Config())
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

    @torch.inference_mode()
    def _plain(self, rows: Sequence[Example]) -> list[Prediction]:
        return [self._plain_one(row) for row in rows]

    def _plain_one(self, row: Example) -> Prediction:
        lm, task = self.lm, self.task
        module: Any = lm.module
        prompt = task.prompt.context(row)
        inputs = lm.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        if isinstance(task, GenerationTask):
            ids = module.generate(
                **inputs,
                max_new_tokens=task.max_new_tokens,
                do_sample=False,
                stop_strings=list(task.stop),
                tokenizer=lm.tokenizer,
                pad_token_id=lm.tokenizer.pad_token_id,
            )
            text = lm.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            cut = min([text.find(s) for s in task.stop if s in text], default=len(text))
            return task.judge(row, text[:cut])
        scores = module(**inputs).logits[0, -1, label_word_ids(lm, task.prompt)]
        label = int(scores.argmax())
        logs = tuple(scores.double().log_softmax(0).tolist())
        return Prediction(row.id, task.options(row)[label], label == row.label, label, logs)

    def lockstep(self, attack: Attack) -> Timing:
        victim = Victim(self._predict, weights_digest="bench")
        return _timed(victim, lambda: attack.run(victim, self.examples, self.context))

    def one_by_one(self, attack: Attack, way: str) -> Timing:
        predict = {"per example": self._predict, "per text": self._one_text, "plain": self._plain}[way]
        victim = Alone(predict, weights_digest="bench")
        return _timed(
            victim, lambda: [r for e in self.examples for r in attack.run(victim, [e], self.context)]
        )


class Alone(Victim):
    """A victim that computes no text before it is needed."""

    def query(
        self, examples: Sequence[Example], *, fresh: bool = False, ahead: Sequence[Example] = ()
    ) -> list[Prediction]:
        return super().query(examples, fresh=fresh)


class StandIn(ModuleType):
    """A stand-in module: every name imported from it is an empty class without function."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _stand_in_for_taggers() -> None:
    """TextAttack 0.3.11 always imports flair and bert-score, and transformers 5 breaks flair.
    DeepWordBug uses neither, so that empty modules are sufficient."""
    for name in ("flair", "flair.data", "flair.models", "bert_score"):
        sys.modules[name] = StandIn(name)
        package, _, part = name.rpartition(".")
        if package:
            setattr(sys.modules[package], part, sys.modules[name])


def textattack(bench: Bench) -> None:
    """One line: TextAttack's DeepWordBug (arXiv 1801.04354) on the examples, or why it did not run."""
    if isinstance(bench.task, GenerationTask):
        print("textattack: its classification goals do not fit generated answers, left out")
        return
    _stand_in_for_taggers()
    try:
        from textattack.attack_recipes import DeepWordBugGao2018
        from textattack.models.wrappers import ModelWrapper
    except (ImportError, LookupError) as error:
        print(f"textattack: not importable here, left out ({' '.join(str(error).split())[:200]})")
        return
    field, task = bench.task.attackable[0], bench.task
    labels = label_word_ids(bench.lm, task.prompt)

    class Wrapper(ModelWrapper):
        """Label words' probabilities of texts in one padded forward pass, as in TextAttack's wrappers."""

        def __init__(self) -> None:
            self.model = bench.lm.module

        @torch.inference_mode()
        def __call__(self, texts: Sequence[str], **_: Any) -> torch.Tensor:
            prompts = [task.prompt.context(bench.examples[0].with_text(field, t)) for t in texts]
            inputs = bench.lm.tokenizer(
                prompts, return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False
            )
            module: Any = bench.lm.module
            return module(**inputs).logits[:, -1, labels].softmax(-1)

    attack = DeepWordBugGao2018.build(Wrapper())
    with contextlib.redirect_stdout(io.StringIO()):
        attack.attack(bench.examples[0].text[field], bench.examples[0].label)
        attack.clear_cache()
    asked, start, cpu = 0, time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        for e in bench.examples:
            asked += attack.attack(e.text[field], e.label).num_queries
    seconds, spent = time.perf_counter() - start, time.process_time() - cpu
    n = len(bench.examples)
    print(
        f"{'textattack deepwordbug':22s} {asked / seconds:9.1f} calls/s {60 * n / seconds:8.0f} examples/min "
        f"({asked} queries, {1000 * spent / max(1, asked):.2f} ms of processor time each)"
    )


def _timed(victim: Victim, attack: Callable[[], list[AttackRecord]]) -> Timing:
    start, cpu = time.perf_counter(), time.process_time()
    records = attack()
    return Timing(
        time.perf_counter() - start, time.process_time() - cpu, victim.unique, victim.computed, records
    )


def margin(prediction: Prediction) -> str:
    """Difference of the two largest log-probabilities, if the answer has probabilities."""
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
        f"wall {fast.calls / fast.seconds * slow.seconds / slow.calls:6.2f}x cpu "
        f"{fast.calls / fast.cpu * slow.cpu / slow.calls:6.2f}x  same edits {same}/{n}, "
        f"{fast.computed} computed for {fast.calls} queries "
        f"({1000 * fast.cpu / fast.calls:.2f} and {1000 * slow.cpu / slow.calls:.2f} ms of processor each)",
        flush=True,
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
        "--attacks",
        nargs="+",
        default=["mscr-controlled", "char-typos", "irrelevant-sentence", "deepwordbug-like"],
    )
    parser.add_argument("--ways", nargs="+", default=["per example", "per text", "plain"])
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of parameters for the attacks")
    chosen = parser.parse_args()
    bench = Bench(chosen.model, chosen.task, chosen.examples)
    print(f"{chosen.model} {chosen.task}: {len(bench.examples)} examples (lockstep first, then the other)")
    for name in chosen.attacks:
        made = lookup("attacks", name)
        attack: Attack = made(made.Config(**chosen.params))
        bench.lockstep(attack)  # lexicons and helper models are opened here, outside the timing
        fast = bench.lockstep(attack)
        for way in chosen.ways:
            compare(name, fast, bench.one_by_one(attack, way), way)
    textattack(bench)


if __name__ == "__main__":
    main()
