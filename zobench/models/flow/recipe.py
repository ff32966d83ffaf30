"""Recipe of ``nano-flow``: architecture, data and schedule. Any change in this file requires a higher
``FLOW_RECIPE_VERSION``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.models.flow.network import FlowConfig, FlowForImageGeneration
from zobench.models.nano.train import Schedule

FLOW_RECIPE_VERSION = 1
CLASSES = 10
WITHOUT_CLASS = 0.1
"""Share of the training images whose class is hidden, for guidance."""


@dataclass(frozen=True, slots=True)
class FlowRecipe:
    """``shift``: training images are moved by up to this many pixels in both directions."""

    schedule: Schedule
    batch: int = 32
    shift: int = 1
    data_seed: int = 1


FLOW_RECIPE = FlowRecipe(Schedule(steps=3000, matrices=0.01, rest=2e-3))


def initialise_flow(seed: int) -> FlowForImageGeneration:
    """A float32 model whose weights depend on ``seed`` alone; the global random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FlowForImageGeneration(FlowConfig(architectures=["FlowForImageGeneration"]))
