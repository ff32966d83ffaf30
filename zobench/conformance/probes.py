"""Checks of an unlearning probe: of the model (changed copies) or of the input (changed facts)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from zobench.conformance.global_state import builtin, equal_weights, unused_random_state, weights
from zobench.parameters import configure
from zobench.unlearning.base import Material, ModelProbe
from zobench.unlearning.data import invented_facts
from zobench.unlearning.probes.inputs import InputMaterial, InputProbe
from zobench.unlearning.rows import FactRow, tokenize
from zobench.zo.conformance.subject import Skip, expect

Copies = list[tuple[tuple[Any, ...], dict[str, torch.Tensor]]]


@dataclass
class ProbeSubject:
    """The probe class under test, with the parameters of its ``Config``."""

    found: type[ModelProbe] | type[InputProbe]
    params: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def probe(self) -> ModelProbe | InputProbe:
        return self.found(configure(self.found.Config, self.params))

    @cached_property
    def module(self) -> torch.nn.Module:
        module: torch.nn.Module = copy.deepcopy(builtin().module)
        return module

    def of_model(self) -> ModelProbe:
        if not isinstance(self.probe, ModelProbe):
            raise Skip("it changes the input, not the model")
        return self.probe

    def of_input(self) -> InputProbe:
        if not isinstance(self.probe, InputProbe):
            raise Skip("it changes the model, not the input")
        return self.probe

    def material(self) -> Material:
        facts, tokenizer = invented_facts(), builtin().tokenizer
        relearn, retain = (
            [tokenize(tokenizer, rows[i : i + 2]) for i in (0, 2)] for rows in (facts.holdout, facts.retain)
        )
        original = copy.deepcopy(self.module)
        with torch.no_grad():
            for tensor in original.parameters():
                tensor.mul_(1.02)
        return Material(relearn=relearn, benign={"retain": retain}, original=original)

    @cached_property
    def rounds(self) -> tuple[dict[str, torch.Tensor], list[Copies], dict[str, torch.Tensor]]:
        """The weights before, the copies of two rounds, and the weights after."""
        probe, before, given = self.of_model(), weights(self.module), self.material()
        found: list[Copies] = []
        with unused_random_state():
            for _ in range(2):
                variants = probe.variants(self.module, given)
                found.append(
                    [((v.strength, tuple(sorted(v.params.items()))), weights(v.module)) for v in variants]
                )
        return before, found, weights(self.module)

    def facts(self) -> list[FactRow]:
        rows = [row for row in invented_facts().forget if self.of_input().takes(row)][:6]
        expect(bool(rows), "takes() accepts none of the built-in facts")
        return rows

    def changed(self) -> list[list[FactRow]]:
        """The facts with every setting."""
        probe, rows, lm = self.of_input(), self.facts(), builtin()
        given = InputMaterial(invented_facts().retain[:8], 0, lm.module, lm.tokenizer)
        with unused_random_state():
            return [probe.rows_at(setting, rows, given) for setting in probe.settings()]


def model_untouched(subject: ProbeSubject) -> str:
    """The given model is not changed."""
    before, _, after = subject.rounds
    expect(equal_weights(before, after), "it changes the model that it was given: change a copy")
    return ""


def copies_differ(subject: ProbeSubject) -> str:
    """At least one copy differs from the model."""
    before, found, _ = subject.rounds
    changed = sum(not equal_weights(before, values) for _, values in found[0])
    expect(changed > 0, f"all {len(found[0])} copies equal the model")
    return f"{changed} of {len(found[0])} copies"


def copies_told_apart(subject: ProbeSubject) -> str:
    """Strength and params tell the copies apart."""
    keys = [key for key, _ in subject.rounds[1][0]]
    expect(len(set(keys)) == len(keys), f"two copies have the same strength and params: {keys}")
    return ", ".join(f"{strength:g}" for strength, _ in keys)


def copies_repeat(subject: ProbeSubject) -> str:
    """A second round gives the same copies, bit for bit."""
    first, second = subject.rounds[1]
    expect([k for k, _ in first] == [k for k, _ in second], "a second round has other strengths")
    equal = all(equal_weights(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    expect(equal, "a second round gives other weights: draw from material.seed")
    return f"{len(first)} copies"


def facts_same(subject: ProbeSubject) -> str:
    """Changed facts keep number, order, ids, answers and values."""
    rows = subject.facts()
    for changed in subject.changed():
        expect([r.id for r in changed] == [r.id for r in rows], "ids must stay, in order")
        kept = all((a.answer, a.value) == (b.answer, b.value) for a, b in zip(rows, changed, strict=True))
        expect(kept, "answers and values must stay: scores are compared with those of the unchanged facts")
    return f"{len(rows)} facts"


def facts_differ(subject: ProbeSubject) -> str:
    """At least one prompt is changed."""
    rows = subject.facts()
    count = sum(a != b for changed in subject.changed() for a, b in zip(rows, changed, strict=True))
    expect(count > 0, "no fact is changed")
    return f"{count} changed facts"


def facts_repeat(subject: ProbeSubject) -> str:
    """A second call gives the same facts."""
    expect(subject.changed() == subject.changed(), "two calls give other facts: draw from material.seed")
    return ""


def settings_told_apart(subject: ProbeSubject) -> str:
    """Strength and params tell the settings apart."""
    keys = [(s.strength, tuple(sorted(s.params.items()))) for s in subject.of_input().settings()]
    expect(0 < len(set(keys)) == len(keys), f"settings must differ: {keys}")
    return f"{len(keys)} settings"


SUBJECT = ProbeSubject
CHECKS: dict[str, Callable[[ProbeSubject], str]] = {
    "model-untouched": model_untouched,
    "copies-differ": copies_differ,
    "copies-told-apart": copies_told_apart,
    "copies-repeat": copies_repeat,
    "facts-same": facts_same,
    "facts-differ": facts_differ,
    "facts-repeat": facts_repeat,
    "settings-told-apart": settings_told_apart,
}
