"""Tuning inside a plan: trials on validation data, the choice, and what it cost.

A study asks :class:`zobench.suite.tuning.Tuner` for settings, turns each into one trial run per tuning seed,
tells the scores in the order asked, and when the tuner has no more gives the row's runs with the winner.
Every forward of every trial is charged to the row, and the whole search is recorded with its warnings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zobench.runner.jobs import Job, Outcome
from zobench.spec import PlannedRun
from zobench.suite.plan import TuningStudy
from zobench.suite.tuning import Tuner


@dataclass(slots=True)
class _Setting:
    params: dict[str, Any]
    trials: list[PlannedRun]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def complete(self) -> bool:
        return len(self.outcomes) == len(self.trials)


class StudyDriver:
    """One study at work. Feed it outcomes; it gives back what to run next."""

    def __init__(self, study: TuningStudy) -> None:
        self.study = study
        self._tuner = Tuner(study)
        self._open: list[_Setting] = []
        self._keys: dict[str, _Setting] = {}
        self._forwards = 0
        self.over = False

    def start(self) -> list[PlannedRun]:
        """The first trials: all of them where they are known beforehand, one setting's where each depends on
        the last."""
        return self._ask()

    def owns(self, key: str) -> bool:
        return key in self._keys

    def hear(self, key: str, outcome: Outcome) -> list[PlannedRun]:
        """Book one trial; further trials that follow from it."""
        self._keys.pop(key).outcomes[key] = outcome
        self._forwards += outcome.forwards
        told = False
        while self._open and self._open[0].complete():
            setting = self._open.pop(0)
            scores = [self._score(setting.outcomes[trial_key(t)]) for t in setting.trials]
            self._tuner.tell(setting.params, scores)
            told = True
        return self._ask() if told else []

    def finals(self) -> tuple[list[PlannedRun], dict[str, Any], int]:
        """The row's runs with the winner, the record of the search, and its forwards; ``ValueError`` without
        a winner."""
        selection = self._tuner.selection
        record = {
            "sampler": self.study.sampler,
            "metric": self.study.metric,
            "goal": self.study.goal,
            "seeds": list(self.study.seeds),
            "space": self.study.model_dump(mode="json")["space"],
            "rungs": [list(rung) for rung in self.study.rungs],
            "trials": [
                {"params": t.params, "scores": list(t.scores), "forwards": t.forwards}
                for t in selection.trials
            ],
            "winner": selection.winner,
            "on_edge": list(selection.on_edge),
            "within_noise": selection.within_noise,
            "forwards": self._forwards,
        }
        return list(self.study.finals(selection.winner)), record, self._forwards

    def _ask(self) -> list[PlannedRun]:
        planned: list[PlannedRun] = []
        one_at_a_time = self.study.sampler == "tpe"
        while not (one_at_a_time and self._open):
            params = self._tuner.ask()
            if params is None:
                break
            setting = _Setting(params, list(self.study.trials(params, self._tuner.forwards)))
            self._open.append(setting)
            self._keys.update({trial_key(trial): setting for trial in setting.trials})
            planned += setting.trials
        self.over = not self._open
        return planned

    def _score(self, outcome: Outcome) -> float | None:
        if outcome.status != "done":
            return None
        return outcome.primary if self.study.metric is None else outcome.metrics.get(self.study.metric)


def trial_key(planned: PlannedRun) -> str:
    return Job(planned).key
