"""Tuning: which settings are tried, and which one is selected.

``grid`` tries every combination once, in the order of the file. ``random`` and ``tpe`` are Optuna's samplers
with the suite's fixed seed: ``RandomSampler`` draws different settings, ``TPESampler`` makes each draw depend
on earlier scores. A setting's score is the mean of the validation metric over the tuning seeds. A trial that
failed or diverged makes its setting ineligible.

With successive halving all settings are tried at a small budget, the best of them again at a larger one, and
so on. Only settings that were tried at the whole budget can be selected.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from zobench.suite.plan import TuningStudy
from zobench.suite.schema import Halving, Range, Tune

if TYPE_CHECKING:
    import optuna

_DRAWS_PER_TRIAL = 50
"""Maximum number of draws per trial in the search for settings that were not drawn before."""


def candidates(tune: Tune) -> tuple[dict[str, Any], ...]:
    """Settings that are known in advance: all of a grid, the draws of a random search; empty for ``tpe``."""
    if tune.sampler == "tpe":
        return ()
    lists = {name: d for name, d in tune.space.items() if isinstance(d, list)}
    finite = len(lists) == len(tune.space)
    points = math.prod(len(domain) for domain in lists.values())
    if tune.sampler == "grid" or (finite and (tune.trials is None or tune.trials >= points)):
        return _grid(lists)
    assert tune.trials is not None, "a random search has trials; the checks ensure it"
    search = _study(_sampler("random", tune.sampler_seed))
    found: dict[str, dict[str, Any]] = {}
    for _ in range(_DRAWS_PER_TRIAL * tune.trials):
        drawn = _draw(search.ask(), tune.space)
        found.setdefault(setting_key(drawn), drawn)
        if len(found) == tune.trials:
            break
    return tuple(found.values())


def setting_key(params: dict[str, Any]) -> str:
    """What tells one setting from another. Not ``==``: in Python 1, 1.0 and True are equal."""
    return json.dumps(params, sort_keys=True)


def _grid(lists: dict[str, list[Any]]) -> tuple[dict[str, Any], ...]:
    """Every combination once, in the order of the file; the last parameter varies fastest."""
    return tuple(dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values()))


def rungs(settings: int, forwards: int, halving: Halving | None) -> tuple[tuple[int, int], ...]:
    """(Number of settings, budget in forward passes) of every rung. Of each rung's settings a share 1/factor,
    but at least two, is tried again at factor times the budget."""
    if halving is None:
        return ()
    shares = [halving.factor**r for r in range(halving.rungs)]
    counts = [min(settings, max(2, -(-settings // share))) for share in shares]  # -(-a // b): rounded up
    return tuple(zip(counts, [forwards // share for share in reversed(shares)], strict=True))


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting with its validation score per tuning seed; ``None`` if the run failed or diverged.
    ``forwards`` is the budget of its rung (``None``: the whole budget)."""

    params: dict[str, Any]
    scores: tuple[float | None, ...]
    forwards: int | None = None

    @property
    def score(self) -> float | None:
        """Mean over the tuning seeds; ``None`` if a seed has no finite score."""
        finite = [s for s in self.scores if s is not None and math.isfinite(s)]
        return fmean(finite) if finite and len(finite) == len(self.scores) else None


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome of a study.

    Attributes:
        winner: the setting with the best score; of equal ones the earliest.
        trials: all trials, in order.
        on_edge: numeric parameters whose selected value is the smallest or largest of the list, so that a
            better one may lie outside; for a range, within 5 % of its (log-)length from an end.
        within_noise: whether the runner-up is closer than one standard error of the difference over the
            tuning seeds; ``None`` with fewer than two seeds or two eligible settings.
    """

    winner: dict[str, Any]
    trials: tuple[Trial, ...]
    on_edge: tuple[str, ...]
    within_noise: bool | None


class Tuner:
    """Search of one study, in the ask-and-tell style of Optuna: call ``ask`` for settings until it returns
    ``None``, report their scores with ``tell``, then read ``selection``.

    Scores must be reported in the order in which settings were requested. For ``grid`` and ``random`` several
    settings may be requested before the first score is reported. With halving ``None`` may also mean that all
    scores of the current rung must be reported before the next rung starts. ``forwards`` is the budget of the
    setting requested last (``None``: the whole budget)."""

    def __init__(self, study: TuningStudy) -> None:
        self._study = study
        self._asked: list[dict[str, Any]] = []
        self._trials: list[Trial] = []
        self._rung = 0
        self._waiting = [dict(c) for c in study.candidates]
        self.forwards: int | None = study.schedule[0][1]
        self._optuna: optuna.Study | None = None
        self._pending: list[optuna.trial.Trial] = []
        if study.sampler == "tpe":
            self._optuna = _study(_sampler("tpe", study.sampler_seed), study.goal)

    def ask(self) -> dict[str, Any] | None:
        """The next setting to try, or ``None`` when the study is complete."""
        if self._optuna is None:
            if not self._waiting and not self._climb():
                return None
            params = self._waiting.pop(0)
        elif len(self._asked) >= self._study.size:
            return None
        else:
            trial = self._optuna.ask()
            self._pending.append(trial)
            params = _draw(trial, self._study.space)
        self._asked.append(params)
        return params

    def _climb(self) -> bool:
        """Start the next rung with the best settings of the current one, if all its scores are known."""
        schedule = self._study.schedule
        if self._rung + 1 >= len(schedule) or len(self._trials) < len(self._asked):
            return False
        best = self._ranked(self.forwards)
        self._rung += 1
        count, self.forwards = schedule[self._rung]
        self._waiting = [dict(t.params) for t in best[:count]]
        return bool(self._waiting)

    def _ranked(self, forwards: int | None) -> list[Trial]:
        """Trials at this budget that have a score, best first; of equal ones the earlier first."""
        sign = 1.0 if self._study.goal == "max" else -1.0
        eligible = [t for t in self._trials if t.score is not None and t.forwards == forwards]
        # Means of different scores with equal totals can differ in the last bit; rounding makes them equal.
        return sorted(eligible, key=lambda t: -sign * round(t.score or 0.0, 12))

    def tell(self, params: dict[str, Any], scores: Sequence[float | None]) -> None:
        """Record the validation scores of the oldest setting without scores, one per tuning seed."""
        expected = self._asked[len(self._trials)]
        if params != expected or len(scores) != len(self._study.seeds):
            raise ValueError(
                f"expected {len(self._study.seeds)} scores of {expected}, got {scores} of {params}"
            )
        trial = Trial(dict(params), tuple(scores), self.forwards)
        self._trials.append(trial)
        if self._optuna is not None:
            import optuna

            failed = trial.score is None
            state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
            self._optuna.tell(self._pending.pop(0), None if failed else trial.score, state=state)

    @property
    def selection(self) -> Selection:
        """The best setting among those scored at the whole budget; ``ValueError`` if no setting finished
        there with every tuning seed."""
        ranked = self._ranked(self._study.schedule[-1][1])
        if not ranked:
            raise ValueError(f"tuning of {self._study.row!r} on {self._study.task!r}: no trial finished")
        edges = tuple(n for n, d in self._study.space.items() if _on_edge(ranked[0].params[n], d))
        return Selection(ranked[0].params, tuple(self._trials), edges, _within_noise(ranked))


def _within_noise(ranked: list[Trial]) -> bool | None:
    if len(ranked) < 2 or len(ranked[0].scores) < 2:
        return None
    pairs = zip(ranked[0].scores, ranked[1].scores, strict=True)
    differences = [round(a - b, 12) for a, b in pairs if a is not None and b is not None]
    return abs(fmean(differences)) <= stdev(differences) / math.sqrt(len(differences))


def _on_edge(value: Any, domain: list[Any] | Range) -> bool:
    if isinstance(domain, list):
        numbers = [v for v in domain if isinstance(v, int | float) and not isinstance(v, bool)]
        return len(numbers) == len(domain) > 1 and value in (min(numbers), max(numbers))
    scale = math.log if domain.log else float
    share = (scale(value) - scale(domain.low)) / (scale(domain.high) - scale(domain.low))
    return share <= 0.05 or share >= 0.95


def _sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if kind == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _study(sampler: optuna.samplers.BaseSampler, goal: str = "max") -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize" if goal == "max" else "minimize", sampler=sampler)


def _draw(trial: optuna.trial.Trial, space: dict[str, Any]) -> dict[str, Any]:
    """One value for each parameter. List values are drawn by index, because Optuna's categorical values may
    not be of every type."""
    drawn: dict[str, Any] = {}
    for name, domain in space.items():
        if isinstance(domain, list):
            drawn[name] = domain[trial.suggest_categorical(name, list(range(len(domain))))]
        elif isinstance(domain.low, int) and isinstance(domain.high, int):
            drawn[name] = trial.suggest_int(name, domain.low, domain.high, log=domain.log)
        else:
            drawn[name] = trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    return drawn
