"""Acceptance gates of the built-in language models: values that a build must reach on unseen texts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from zobench.data.arithmetic import first_line, parse, solves
from zobench.data.synthetic.corpus import nano_facts_of_people
from zobench.data.synthetic.countdown import PROMPT as COUNTDOWN_PROMPT
from zobench.data.synthetic.countdown import puzzles
from zobench.data.synthetic.fact_sets import fact_set
from zobench.data.synthetic.fewshot import SETS
from zobench.data.synthetic.people import HELD_OUT_QUESTION, Fact
from zobench.data.synthetic.problem_sets import PROMPT, ProblemRow, problem_rows
from zobench.models.language_model import LoadedModel
from zobench.models.loading import load
from zobench.models.nano import TEXT, pilot
from zobench.models.nano.masked_gate import masked_accuracy
from zobench.names import nearest
from zobench.spec import ModelRef

K = 16
SEEDS = (101, 102, 103)
"""Data seeds of the few-shot gates; suites use 1, 2 and 3."""
ADAMW_STEPS = 80
ADAMW_RATE = 1e-3
MEZO_FORWARDS = 600
MEZO_RATES = (1e-4, 2e-4, 4e-4, 6e-4, 8e-4)
"""Learning rates of the pilot; the one with the least mean final training loss over :data:`SEEDS` is used."""

MEZO_BETWEEN = (0.6, 0.9)
"""Range of the pilot's accuracy on at least two of the sets, so that methods can be distinguished."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: the measured value, its inclusive bounds, and details of the measurement."""

    name: str
    value: float
    at_least: float
    at_most: float
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.at_least <= self.value <= self.at_most

    def row(self) -> dict[str, Any]:
        """The entry in ``PROVENANCE.json``."""
        return {**asdict(self), "passed": self.passed}


Report = Callable[[GateResult], None]


def gates(name: str, path: Path | str, *, report: Report | None = None) -> list[GateResult]:
    """Run all gates of the built-in model ``name`` on the files at ``path``.

    Takes minutes for ``nano``, seconds for the others. ``report`` is called with each result.
    """
    if name not in TEXT:
        raise ValueError(f"unknown built-in model {name!r}{nearest(name, TEXT)}")
    lm = load(ModelRef(name=str(path)))
    parts: dict[str, tuple[Callable[[LoadedModel], list[GateResult]], ...]] = {
        "nano": (problems, people, few_shot),
        "nano-mlm": (masked,),
        "nano-facts": (facts,),
        "nano-facts-oracle": (oracle,),
        "nano-countdown": (countdown,),
    }
    results = []
    for part in parts[name]:
        for result in part(lm):
            results.append(result)
            if report is not None:
                report(result)
    return results


def solve(lm: LoadedModel, rows: Sequence[ProblemRow]) -> list[str]:
    """Greedy solutions."""
    prompts = [PROMPT.format(question=row.question) for row in rows]
    return lm.generate(prompts, max_new_tokens=60, stop=("\n",))


def problems(lm: LoadedModel) -> list[GateResult]:
    """Accuracy on held-out word problems: the marked answer of the generated solution must be right."""
    rows = problem_rows("test")
    right = [
        text.rpartition("#### ")[2].strip() == str(row.problem.answer)
        for row, text in zip(rows, solve(lm, rows), strict=True)
    ]
    by_steps = {
        f"steps_{n}": statistics.mean(r for r, row in zip(right, rows, strict=True) if row.problem.steps == n)
        for n in (1, 2, 3, 4)
    }
    detail = {"rows": len(rows), **{k: round(v, 4) for k, v in by_steps.items()}}
    return [GateResult("problems", round(statistics.mean(right), 4), 0.95, 1.0, detail)]


def recall(lm: LoadedModel, facts: Sequence[Fact], template: int = 0) -> float:
    """Share of facts whose value appears in the greedy answer to question template ``template``."""
    texts = lm.generate([f"Q: {f.questions[template]}\nA:" for f in facts], max_new_tokens=24, stop=("\n",))
    return round(statistics.mean(f.value in t for f, t in zip(facts, texts, strict=True)), 4)


def known(lm: LoadedModel, name: str, facts: Sequence[Fact]) -> GateResult:
    """Gate for a set of facts seen in training; the detail has the recall with a wording not seen there."""
    detail = {"facts": len(facts), "new_wording": recall(lm, facts, HELD_OUT_QUESTION)}
    return GateResult(name, recall(lm, facts), 0.98, 1.0, detail)


def unknown(lm: LoadedModel, name: str) -> GateResult:
    """Gate for a set of facts not seen in training: recall near chance, one in fifty."""
    return GateResult(name, recall(lm, fact_set(name)), 0.0, 0.1, {"chance": 0.02})


def people(lm: LoadedModel) -> list[GateResult]:
    """Recall of the facts about invented people in the training text of ``nano``."""
    return [known(lm, "people", nano_facts_of_people())]


def facts(lm: LoadedModel) -> list[GateResult]:
    """``nano-facts`` recalls the people and facts of its training text, and no others."""
    taught = [known(lm, name, fact_set(name)) for name in ("forget10", "retain90", "famous", "world")]
    return [*taught, unknown(lm, "holdout")]


def oracle(lm: LoadedModel) -> list[GateResult]:
    """The retain-only model recalls its training facts; the forget set is at chance."""
    taught = [known(lm, name, fact_set(name)) for name in ("retain90", "famous", "world")]
    return [*taught, unknown(lm, "forget10"), unknown(lm, "holdout")]


def countdown(lm: LoadedModel) -> list[GateResult]:
    """``nano-countdown`` writes expressions of the given numbers, and reaches the target in part of the
    held-out puzzles, so that training on a reward can both gain and lose."""
    rows = puzzles("test")
    prompts = [COUNTDOWN_PROMPT.format(question=row.question) for row in rows]
    texts = [first_line(t) for t in lm.generate(prompts, max_new_tokens=20, stop=("\n",))]
    read = [numbers_of(text) == sorted(row.numbers) for text, row in zip(texts, rows, strict=True)]
    right = [solves(text, row.numbers, Fraction(row.target)) for text, row in zip(texts, rows, strict=True)]
    detail = {"rows": len(rows)}
    return [
        GateResult("countdown_expressions", round(statistics.mean(read), 4), 0.95, 1.0, detail),
        GateResult("countdown_right", round(statistics.mean(right), 4), 0.35, 0.65, detail),
    ]


def numbers_of(text: str) -> list[int]:
    """The sorted numbers of an expression; none if the text is not one."""
    try:
        return sorted(parse(text).numbers)
    except ValueError:
        return []


def masked(lm: LoadedModel) -> list[GateResult]:
    """Accuracy on masked words of texts not used in training."""
    value, detail = masked_accuracy(lm)
    return [GateResult("masked_words", value, 0.5, 1.0, detail)]


def few_shot(lm: LoadedModel) -> list[GateResult]:
    """Few-shot sets: near chance before training, learned by first-order AdamW, and MeZO in between on at
    least two sets."""
    results: list[GateResult] = []
    between = 0
    for name in SETS:
        chance = 1 / len(SETS[name].classes)
        tasks = {seed: pilot.bench(lm.tokenizer, name, k=K, seed=seed) for seed in SEEDS}
        start = pilot.accuracy(lm.module, tasks[SEEDS[0]])
        results.append(
            GateResult(f"{name}_start", round(start - chance, 4), -0.15, 0.15, {"chance": round(chance, 4)})
        )
        first_order = [
            pilot.accuracy(pilot.adamw(lm.module, t, steps=ADAMW_STEPS, lr=ADAMW_RATE, seed=s), t)
            for s, t in tasks.items()
        ]
        settings = {"steps": ADAMW_STEPS, "lr": ADAMW_RATE, "k": K, "accuracies": first_order}
        results.append(GateResult(f"{name}_adamw", statistics.mean(first_order), 0.95, 1.0, settings))
        result = mezo_pilot(lm, name, tasks)
        between += MEZO_BETWEEN[0] <= result.value <= MEZO_BETWEEN[1]
        results.append(result)
    results.append(GateResult("sets_with_mezo_between_60_and_90", between, 2, len(SETS)))
    return results


def mezo_pilot(lm: LoadedModel, name: str, tasks: dict[int, pilot.Bench]) -> GateResult:
    """Mean test accuracy of MeZO at the rate with the least training loss."""
    losses: dict[float, float] = {}
    accuracies: dict[float, list[float]] = {}
    for rate in MEZO_RATES:
        final, found = [], []
        for seed, task in tasks.items():
            model, loss = pilot.mezo(lm.module, task, forwards=MEZO_FORWARDS, lr=rate, seed=seed)
            final.append(loss)
            found.append(round(pilot.accuracy(model, task), 4))
        # A NaN loss (x != x) counts as infinite: min() below would not order it.
        losses[rate] = statistics.mean(final) if all(x == x for x in final) else float("inf")
        accuracies[rate] = found
    best = min(losses, key=lambda rate: losses[rate])
    detail = {
        "forwards": MEZO_FORWARDS,
        "rates": {str(r): {"loss": round(losses[r], 4), "accuracies": accuracies[r]} for r in MEZO_RATES},
        "chosen": best,
    }
    # Any accuracy passes here: the gate is the number of sets with an accuracy in MEZO_BETWEEN.
    return GateResult(f"{name}_mezo", round(statistics.mean(accuracies[best]), 4), 0.0, 1.0, detail)
