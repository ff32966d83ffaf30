"""The stored final state of a run that still has measurements to be made.

If the weights can be rebuilt by a replay of the scalars, only the step log and a checkpoint with the position
are kept: a few kilobytes. The replay takes the time of the run's updates without its forward passes. For
other methods, and for unlearning, the checkpoint with the tuned weights and the method's state is kept. Both
are deleted after the last measurement.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zobench.runner.checkpoints import pack
from zobench.spec import RunSpec
from zobench.store.artifacts import read_artifacts
from zobench.store.step_log import read_steps_log
from zobench.store.writer import RunFolder
from zobench.zo.base import Optimizer
from zobench.zo.method import Method
from zobench.zo.trajectory import Replayer, from_row

REPLAYED = "replayed"
"""Key in the position of a checkpoint without weights; its value is the digest of the artifacts, if any."""


def replays(spec: RunSpec, optimizer: Optimizer) -> bool:
    """Whether the final weights of such a run can be rebuilt from its scalars."""
    return spec.unlearning is None and isinstance(optimizer, Method) and optimizer.card.replay != "checkpoint"


def rebuild(optimizer: Optimizer, folder: Path, artifacts: str | None) -> None:
    """Replay the steps of the log in ``folder`` with a new optimizer, without forward passes."""
    if artifacts is not None:
        assert isinstance(optimizer, Method), "only these have artifacts"
        optimizer.load_artifacts(read_artifacts(folder.parent, artifacts))
    replayer = Replayer(optimizer)
    for row in read_steps_log(folder):
        replayer.follow(from_row(row))


def keep(
    folder: RunFolder, spec: RunSpec, optimizer: Optimizer, position: dict[str, Any], artifacts: str | None
) -> None:
    """Keep in the run's folder only the files that its missing measurements need.

    Args:
        position: position of the run, as in its checkpoints.
        artifacts: digest of the tensors that a replay needs besides the scalars.
    """
    if position["progress"]["step"] and replays(spec, optimizer):
        folder.write_checkpoint(pack({}, {}, {**position, REPLAYED: artifacts}))
    folder.drop_earlier_checkpoint()
