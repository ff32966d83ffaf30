"""From the reward of a specification to the object that scores."""

from __future__ import annotations

from pathlib import Path

from zobench.parameters import configure
from zobench.plugins import lookup
from zobench.rewards.base import Reward
from zobench.rewards.own import OwnReward
from zobench.trained_on import RewardRef


def refuse_file(ref: RewardRef) -> None:
    """``ValueError`` if the reward is a Python file."""
    if ref.file or ref.sha256:
        named = f"{ref.file or ref.reward} (SHA-256 {ref.sha256[:16]}...)"
        raise ValueError(
            f"this run's reward is Python code, {named}, which would be executed on this machine; inspect "
            "that file, then repeat the command with --trust-code"
        )


def made(ref: RewardRef, *, own_code: bool) -> Reward:
    """The reward of a run.

    Args:
        own_code: whether a Python file of the user may be executed. A file that somebody else's record names
            must not be executed without permission.

    Raises:
        ValueError: the reward is a file and ``own_code`` is false, or the file is not the one of the plan.
    """
    if ref.file or ref.sha256:
        if not own_code:
            refuse_file(ref)
        function = ref.reward.partition(":")[2]
        return OwnReward(Path(ref.file), function, ref.sha256, ref.params, ref.seconds)
    found = lookup("rewards", ref.reward)
    reward: Reward = found(configure(found.Config, ref.params))
    return reward
