"""The training of a federated run (``clients``): a step is a round, and its scalars become metrics.

Metrics of a round (``condition_kind`` diagnostic): ``clients`` that took part, ``bytes`` that they sent,
``limited`` clients so far, and for every client ``gradip``, the mean over its local steps of the round.
"""

from __future__ import annotations

from typing import Any

from zobench.runner.results import Row
from zobench.runner.training import Training
from zobench.zo.base import StepRecord

OF_ROUND = ("clients", "bytes", "limited")
_GRADIP = "gradip_"


class FederatedTraining(Training):
    """The training loop, which also records what clients sent in each round."""

    def after_step(self, batch: Any, record: StepRecord) -> None:
        self.progress.curve += [self._row("round", name, record.extras[name]) for name in OF_ROUND]
        for name, value in record.extras.items():
            if name.startswith(_GRADIP):
                self.progress.curve.append(self._row(f"client {name.removeprefix(_GRADIP)}", "gradip", value))

    def _row(self, condition: str, metric: str, value: float) -> Row:
        return {
            **self.spent().as_row(),
            "task": self.spec.task.name,
            "split": "train",
            "condition_kind": "diagnostic",
            "condition": condition,
            "params": "{}",
            "metric": metric,
            "value": value,
            "n": 1,
            "stderr": None,
            "final": False,
        }
