"""The final state of a run that still has something to be measured.

Where the weights come back by replay from the scalars, the step log and a checkpoint that holds the position
alone are kept: some kilobytes, and for the replay the time of the run's updates without its forward passes.
Other methods, and unlearning, keep the checkpoint: the tuned weights and the method's state on disk, read
back at once. Either is deleted with the last measurement.
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
"""Key of a position whose weights are rebuilt; its value is the digest of the artifacts, if any."""


def replays(spec: RunSpec, optimizer: Optimizer) -> bool:
    """Whether the final weights of such a run come back from its scalars."""
    return spec.unlearning is None and isinstance(optimizer, Method) and optimizer.card.replay != "checkpoint"


def rebuild(optimizer: Optimizer, folder: Path, artifacts: str | None) -> None:
    """Take the steps of the log in ``folder`` with a fresh optimizer. No forward pass."""
    if artifacts is not None:
        assert isinstance(optimizer, Method), "only these have artifacts"
        optimizer.load_artifacts(read_artifacts(folder.parent, artifacts))
    replayer = Replayer(optimizer)
    for row in read_steps_log(folder):
        replayer.follow(from_row(row))


def keep(
    folder: RunFolder, spec: RunSpec, optimizer: Optimizer, position: dict[str, Any], artifacts: str | None
) -> None:
    """Leave in the run's folder what its missing measurements need, and no more.

    Args:
        position: where the run stands, as in its checkpoints.
        artifacts: digest of what a replay needs beside the scalars.
    """
    if position["progress"]["step"] and replays(spec, optimizer):
        folder.write_checkpoint(pack({}, {}, {**position, REPLAYED: artifacts}))
    folder.drop_earlier_checkpoint()
