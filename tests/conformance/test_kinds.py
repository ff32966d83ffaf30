"""``zobench check`` for every kind: built-in classes pass, and a class with one fault fails that check."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import pytest
import torch
from markupsafe import Markup
from typer.testing import CliRunner

from zobench.attacks.char_typos import CharTypos
from zobench.cli import app
from zobench.conformance import KINDS, check, failures
from zobench.plugins import GROUPS, lookup
from zobench.report.section import Section
from zobench.rewards.base import Answered
from zobench.rewards.matching import MatchReward
from zobench.tasks.nano import NanoSentiment
from zobench.unlearning import terms
from zobench.unlearning.base import Card, Variant
from zobench.unlearning.objectives.ascent import GradAscent
from zobench.unlearning.objectives.retained import ForgetRetain, RetainConfig
from zobench.unlearning.probes.inputs import ForcedPrefix
from zobench.unlearning.probes.noise import WeightNoise


def test_every_kind_but_trackers_can_be_checked() -> None:
    assert set(GROUPS) - set(KINDS) == {"trackers"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("attacks", "char-typos"),
        ("attacks", "square"),
        ("attacks", "patch"),
        ("attacks", "gaussian-noise"),
        ("tasks", "nano-sentiment"),
        ("objectives", "npo"),
        ("probes", "weight-noise"),
        ("probes", "prefix"),
        ("rewards", "countdown"),
        pytest.param("sections", "ranking", marks=pytest.mark.slow),
    ],
)
def test_builtin_ones_pass(kind: str, name: str) -> None:
    results = check(kind, lookup(kind, name))  # type: ignore[arg-type]
    assert failures(results) == []
    assert sum(r.passed for r in results) >= 4


def failed(kind: str, found: type) -> set[str]:
    return {reason.partition(":")[0] for reason in failures(check(kind, found))}  # type: ignore[arg-type]


class Uncounted(CharTypos):
    """Reports one query fewer than it makes."""

    def run(self, victim, examples, context):
        found = super().run(victim, examples, context)
        return [dataclasses.replace(r, queries=max(1, r.queries - 1)) for r in found]


class Global(CharTypos):
    """Draws from the global random state."""

    def run(self, victim, examples, context):
        random.random()
        return super().run(victim, examples, context)


class Careless(CharTypos):
    """Removes digits from what it reports."""

    def run(self, victim, examples, context):
        digits = str.maketrans("", "", "0123456789")
        found = super().run(victim, examples, context)
        return [dataclasses.replace(r, edited=r.edited.translate(digits)) for r in found]


class Wanders(CharTypos):
    """The seed depends on how many examples there are."""

    def run(self, victim, examples, context):
        return super().run(victim, examples, dataclasses.replace(context, seed=len(examples)))


class NoNull(CharTypos):
    def null(self):
        return CharTypos(self.config)


@pytest.mark.parametrize(
    ("found", "checks"),
    [
        (Uncounted, {"queries"}),
        (Global, {"records", "queries", "deterministic", "alone"}),
        (Careless, {"protected", "odd-texts"}),
        (Wanders, {"alone"}),
        (NoNull, {"null"}),
    ],
)
def test_faults_of_attacks(found: type, checks: set[str]) -> None:
    assert checks <= failed("attacks", found)


class Overlapping(NanoSentiment):
    """The test examples are training examples."""

    def splits(self, seed):
        found = super().splits(seed)
        return dataclasses.replace(found, test=found.train[:20])


class OwnModule(NanoSentiment):
    """The loss of the model it knows, whatever it is given."""

    def loss(self, lm, module, batch):
        return super().loss(lm, lm.module, batch)


class Upside(NanoSentiment):
    """A loss that rewards wrong answers."""

    def loss(self, lm, module, batch):
        return -super().loss(lm, module, batch)


@pytest.mark.parametrize(
    ("found", "checks"),
    [(Overlapping, {"splits"}), (OwnModule, {"given-module"}), (Upside, {"item-losses"})],
)
def test_faults_of_tasks(found: type, checks: set[str]) -> None:
    assert checks <= failed("tasks", found)


class Constant(MatchReward):
    def score(self, one: Answered) -> float:
        return 0.5


class Dice(MatchReward):
    def score(self, one: Answered) -> float:
        return random.random()


class Fragile(MatchReward):
    def score(self, one: Answered) -> float:
        return 1.0 / len(one.answer.split())


@pytest.mark.parametrize(
    ("found", "checks"),
    [(Constant, {"distinguishes"}), (Dice, {"finite", "repeatable"}), (Fragile, {"odd-answers"})],
)
def test_faults_of_rewards(found: type, checks: set[str]) -> None:
    assert checks <= failed("rewards", found)


class Detached(GradAscent):
    """Half of the value has no gradient."""

    def value(self, context, batch, constants):
        whole = super().value(context, batch, constants)
        return 0.5 * whole + 0.5 * whole.detach()


class Thirsty(GradAscent):
    """Makes two forward passes where it declares one."""

    def value(self, context, batch, constants):
        super().value(context, batch, constants)
        return super().value(context, batch, constants)


class Writes(GradAscent):
    def value(self, context, batch, constants):
        with torch.no_grad():
            next(context.module.parameters()).add_(1e-3)
        return super().value(context, batch, constants)


@pytest.mark.parametrize(
    ("found", "checks"),
    [(Detached, {"gradient"}), (Thirsty, {"passes"}), (Writes, {"weights-untouched"})],
)
def test_faults_of_objectives(found: type, checks: set[str]) -> None:
    assert checks <= failed("objectives", found)


class Smooth(ForgetRetain):
    """softplus(4 - l) + l(retain): right, but with a small slope and a large third derivative somewhere."""

    Config = RetainConfig
    card = Card("smooth", "Smooth", "", "")

    def forget(self, context, batch, constants):
        loss = terms.mean_nll(context.module, batch.part("forget"))
        return torch.nn.functional.softplus(4.0 - loss)


def test_an_objective_with_much_curvature_passes() -> None:
    assert failed("objectives", Smooth) == set()


class InPlace(WeightNoise):
    def variants(self, module, material):
        with torch.no_grad():
            next(module.parameters()).add_(0.1)
        yield Variant(1.0, module)


class Restless(WeightNoise):
    rounds = 0

    def variants(self, module, material):
        self.rounds += 1
        return super().variants(module, dataclasses.replace(material, seed=self.rounds))


class Answers(ForcedPrefix):
    """Changes the answer as well."""

    def rows(self, rows, material):
        return [dataclasses.replace(r, answer="no") for r in super().rows(rows, material)]


@pytest.mark.parametrize(
    ("found", "checks"),
    [(InPlace, {"model-untouched"}), (Restless, {"copies-repeat"}), (Answers, {"facts-same"})],
)
def test_faults_of_probes(found: type, checks: set[str]) -> None:
    assert checks <= failed("probes", found)


class Raw(Section):
    """Writes a row's name unescaped, in an element that is not closed."""

    name, title = "raw", "Raw"
    template = '<section id="{{ section.name }}"><p>{{ said }}</section>'

    def query(self, results):
        names: Sequence[str] = results.source.sql("select distinct row from runs")["row"]
        return {"said": Markup(" ".join(names))}


@pytest.mark.slow
def test_faults_of_sections() -> None:
    assert {"renders", "escapes"} <= failed("sections", Raw)


def test_the_command_finds_the_kind_and_takes_parameters(cli: CliRunner) -> None:
    found = cli.invoke(app, ["check", "short-match", "--param", "penalty=0.5"])
    assert found.exit_code == 0, found.output
    assert "odd-answers" in found.output
    twice = cli.invoke(app, ["check", "countdown"])
    assert "'countdown' is a task and a reward: choose with --kind tasks or --kind rewards" in twice.stderr
    missing = cli.invoke(app, ["check", "judge"])
    assert "parameter 'model' (text) is missing" in missing.stderr
    unknown = cli.invoke(app, ["check", "char-typo"])
    assert "did you mean 'char-typos'" in unknown.stderr
    assert (twice.exit_code, missing.exit_code, unknown.exit_code) == (2, 2, 2)
