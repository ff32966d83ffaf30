"""Tuning inside a plan: trials on validation data, selection, and tuning cost.

A study requests settings from :class:`zobench.suite.tuning.Tuner`, turns each into one trial run per tuning
seed and reports the scores in the order of the requests. When the search is complete, it returns the
leaderboard entry's runs with the selected parameters. Every forward pass of every trial counts as tuning cost
of the entry, and the whole search is recorded with its warnings.
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
    """Drives one study: takes outcomes of trials and returns the runs to execute next."""

    def __init__(self, study: TuningStudy) -> None:
        self.study = study
        self._tuner = Tuner(study)
        self._open: list[_Setting] = []
        self._keys: dict[str, _Setting] = {}
        self._forwards = 0
        self.over = False

    def start(self) -> list[PlannedRun]:
        """The first trials: all of them if they are known in advance, those of one setting if each setting
        depends on earlier scores."""
        return self._ask()

    def owns(self, key: str) -> bool:
        return key in self._keys

    def hear(self, key: str, outcome: Outcome) -> list[PlannedRun]:
        """Record the outcome of one trial and return the trials to execute next."""
        self._keys.pop(key).outcomes[key] = outcome
        self._forwards += outcome.forwards
        told = False
        # Trials end in any order, but the tuner must get scores in the order of its settings.
        while self._open and self._open[0].complete():
            setting = self._open.pop(0)
            scores = [self._score(setting.outcomes[trial_key(t)]) for t in setting.trials]
            self._tuner.tell(setting.params, scores)
            told = True
        return self._ask() if told else []

    def finals(self) -> tuple[list[PlannedRun], dict[str, Any], int]:
        """The entry's runs with the selected setting, the record of the search, and its cost in forward
        passes; ``ValueError`` if no setting can be selected."""
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
