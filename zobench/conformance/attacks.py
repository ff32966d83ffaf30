"""Checks of an attack, against a stand-in victim: a fixed function of the words of the text, or of the pixels
of the image.

They hold an attack to the rules that make attacks comparable: every query is counted, the budget is exact, an
example's result depends on its own seed alone, and protected text is unchanged.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.attacks.protect import RULES, protected_spans
from zobench.attacks.words import words
from zobench.conformance.global_state import builtin, unused_random_state
from zobench.data.example import Example
from zobench.data.image import PICTURE_SIDE, Image
from zobench.parameters import configure
from zobench.tasks.base import Prediction
from zobench.zo.conformance.subject import Failed, Skip, expect

BUDGET = 12
OPTIONS = ("one", "two", "three", "four")
PROTECTED = ("terrible", "great")
TEXTS = (
    "The quick film carries 12 good houses, and many visitors bought it with great joy. Was it long?",
    "Ann has 5 apples and gives 2 of them away. How many apples are left?",
    "A slow and wonderful story about two friends who travel through the mountains.",
    "terrible acting, but <b>lovely</b> music",
)
ODD = {
    "empty": "",
    "one word": "wonderful",
    "emoji": "I 😀 love 👩‍🚀 this 🎉 film",
    "right-to-left": "הסרט הזה היה ממש מצוין",
    "LaTeX": r"Let $f(x)=x^2$ and \(y\) be \frac{1}{2}. What is $f(2)$?",
    "control characters": "a\x00b\tword\r\nnext line",
    "2,000 words": "The quick film carries every scene. " * 333,
}


@dataclass
class AttackSubject:
    """The attack class under test, with the parameters of its ``Config``."""

    found: type[Attack]
    params: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Attack:
        return self.found(configure(self.found.Config, self.params))  # type: ignore[call-arg]

    def both(self) -> list[tuple[str, Attack]]:
        """The attack and its budget-matched random baseline."""
        attack = self.make()
        return [("the attack", attack), ("null()", attack.null())]


def run(
    attack: Attack, texts: Sequence[str] = TEXTS, *, seed: int = 0, budget: int | None = BUDGET
) -> tuple[list[AttackRecord], Victim]:
    """Records of the attack on these texts, and the victim with its count of queries."""
    return attacked(attack, examples_of(attack, texts), seed=seed, budget=budget)


def examples_of(attack: Attack, texts: Sequence[str] = TEXTS) -> list[Example]:
    """The texts as examples; for an attack on images, as many images."""
    if attack.edits == "image":
        images = [Image.of(np.random.default_rng(i).integers(60, 190, (9, 8))) for i in range(len(texts))]
        return [Example(f"e{i}", {}, label=i % 2, image=image) for i, image in enumerate(images)]
    return [Example(f"e{i}", {"sentence": t}, label=i % 2, candidates=OPTIONS) for i, t in enumerate(texts)]


def attacked(
    attack: Attack, examples: Sequence[Example], *, seed: int = 0, budget: int | None = BUDGET
) -> tuple[list[AttackRecord], Victim]:
    victim = Victim(_answers, weights_digest="stand-in", budget_per_example=budget)
    pool = [Example(f"pool{i}", {"sentence": t}, label=0) for i, t in enumerate(TEXTS[1:3])]
    context = AttackContext(("sentence",), PROTECTED, seed, builtin(), pool)
    with unused_random_state():
        return attack.run(victim, examples, context), victim


def shown(example: Example) -> str:
    """What the record of an attack on this image must give as its original."""
    return "" if example.image is None else example.image.thumbnail(PICTURE_SIDE).data_uri()


def _answers(examples: Sequence[Example]) -> list[Prediction]:
    """Each word, the first option and each pixel have a fixed weight: robust to most edits, broken by
    some."""
    out = []
    for e in examples:
        if e.image is not None:
            out.append(_answer(e, _of_pixels(e.image), len(OPTIONS)))
            continue
        found = [w.text for w in words(e.text["sentence"])] + list(e.candidates[:1])
        total = sum(int(hashlib.sha256(w.encode()).hexdigest()[:6], 16) / 0xFFFFFF - 0.5 for w in found)
        out.append(_answer(e, total, len(e.candidates)))
    return out


def _of_pixels(image: Image) -> float:
    """0 for the middle of the grey scale; each column has a weight between -0.02 and 0.02."""
    weights = np.random.default_rng(0).uniform(-0.02, 0.02, (1, image.shape[1], 1))
    return float((weights * (image.array() - 125.0)).sum() / 4)


def _answer(e: Example, total: float, classes: int) -> Prediction:
    p, gold = 1 / (1 + math.exp(-(0.6 + total))), e.label or 0
    others = math.log((1 - p) / (classes - 1))
    logs = tuple(math.log(p) if i == gold else others for i in range(classes))
    label = gold if p > 0.5 else (gold + 1) % classes
    return Prediction(e.id, str(label), p > 0.5, label=label, log_probs=logs)


def null(subject: AttackSubject) -> str:
    """``null()`` is an attack, and the null of a null is itself."""
    attack = subject.make()
    baseline = attack.null()
    expect(isinstance(baseline, Attack), f"null() returns {baseline!r}, which is no Attack")
    expect(baseline.null() is baseline, "the null of a null must be the same object")
    return type(baseline).__name__


def records(subject: AttackSubject) -> str:
    """One record per example, in order, with its original text."""
    for name, attack in subject.both():
        found, _ = run(attack)
        ids = [r.example_id for r in found]
        wanted = [f"e{i}" for i in range(len(TEXTS))]
        expect(ids == wanted, f"{name}: records must be {wanted}, in the order of the examples, not {ids}")
        given = [e.text.get("sentence") or shown(e) for e in examples_of(attack)]
        what = "picture of the given image" if attack.edits == "image" else "given text"
        expect([r.original for r in found] == given, f"{name}: 'original' must be the {what}")
    return f"{len(TEXTS)} examples"


def queries(subject: AttackSubject) -> str:
    """Every query is in a record, the clean one included."""
    told = []
    for name, attack in subject.both():
        found, victim = run(attack)
        total = sum(r.queries for r in found)
        expect(
            total == victim.total and min(r.queries for r in found) >= 1,
            f"{name}: records count {total} queries, the victim {victim.total} (at least 1 per example)",
        )
        told.append(f"{name} {victim.total}")
    return ", ".join(told)


def budget(subject: AttackSubject) -> str:
    """No example spends more than the victim's budget, small and large."""
    for name, attack in subject.both():
        for limit in (6, 25):
            found, _ = run(attack, budget=limit)
            most = max(r.queries for r in found)
            expect(most <= limit, f"{name}: {most} queries under a budget of {limit}")
    return "6 and 25 queries"


def outcomes(subject: AttackSubject) -> str:
    """``success`` if and only if a right clean answer became wrong; an unedited text is never a success."""
    count = 0
    for name, attack in subject.both():
        found, _ = run(attack, budget=25)
        for r in found:
            broken = r.clean.correct and not r.final.correct
            expect((r.outcome == "success") == broken, f"{name}: {r.example_id} is {r.outcome}")
            moved = r.edited != r.original
            if attack.edits == "text":
                moved = moved or not isinstance(r.position, int) or r.changed_words > 0
            expect(r.outcome != "success" or moved, f"{name}: {r.example_id} succeeded without an edit")
            count += r.outcome == "success"
    return f"{count} successes in {2 * len(TEXTS)} examples"


def protected(subject: AttackSubject) -> str:
    """Protected text is in the edited text, in order: numerals, markup, LaTeX, the task's label words."""
    _only_texts(subject)
    for name, attack in subject.both():
        found, _ = run(attack, budget=25)
        for r in found:
            _keeps(name, attack, r)
    return f"rules {', '.join(_rules(subject.make()))}; words {', '.join(PROTECTED)}"


def _only_texts(subject: AttackSubject) -> None:
    if subject.found.edits == "image":
        raise Skip("it edits images")


def _rules(attack: Attack) -> tuple[str, ...]:
    return getattr(attack.config, "protect", RULES)


def _keeps(name: str, attack: Attack, record: AttackRecord) -> None:
    at = 0
    for span in protected_spans(record.original, PROTECTED, _rules(attack)):
        at = record.edited.find(span.text, at)
        if at < 0:
            raise Failed(f"{name}: {record.example_id} loses the protected text {span.text!r}")
        at += len(span.text)


def deterministic(subject: AttackSubject) -> str:
    """The same seed gives the same records."""
    for name, attack in subject.both():
        expect(run(attack)[0] == run(attack)[0], f"{name}: two runs with one seed differ")
    first, second = (run(subject.make())[0] for _ in range(2))
    expect(first == second, "two instances with one seed differ")
    return "two runs, two instances"


def alone(subject: AttackSubject) -> str:
    """An example's record does not depend on the other examples."""
    made = examples_of(subject.make())
    for name, attack in subject.both():
        together, _ = attacked(attack, made)
        for example, record in zip(made, together, strict=True):
            expect(attacked(attack, [example])[0] == [record], f"{name}: {example.id} differs when alone")
    return f"{len(TEXTS)} examples"


def odd_texts(subject: AttackSubject) -> str:
    """Empty, very long and unusual texts raise no error and keep their protected text."""
    _only_texts(subject)
    for name, attack in subject.both():
        for kind, text in ODD.items():
            try:
                found, _ = run(attack, [text])
            except Failed:
                raise
            except Exception as error:
                raise Failed(f"{name}: {kind}: {type(error).__name__}: {error}") from error
            _keeps(f"{name}: {kind}", attack, found[0])
    return ", ".join(ODD)


SUBJECT = AttackSubject
CHECKS: dict[str, Callable[[AttackSubject], str]] = {
    "null": null,
    "records": records,
    "queries": queries,
    "budget": budget,
    "outcomes": outcomes,
    "protected": protected,
    "deterministic": deterministic,
    "alone": alone,
    "odd-texts": odd_texts,
}
"""Name -> check. Each also fails if the attack uses the global random state."""
