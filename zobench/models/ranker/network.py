"""A small mixer that predicts how good a network is from statistics of its blocks (ParZC, arXiv 2402.02105).

Rows are blocks, columns their statistics; a layer is applied across the columns of each block and one across
the blocks. The last layer is Bayesian: w = m + exp(s) e with e ~ N(0, 1) in training, w = m in scoring. The
paper's sizes were not found: they are choices.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import transformers
from torch import Tensor, nn

MODEL_TYPE = "zobench-ranker"
SPREAD = -3.0
"""s at the start."""


class RankerConfig(transformers.PretrainedConfig):
    """Largest number of blocks, statistics of each, and width of the layers."""

    model_type: ClassVar[str] = MODEL_TYPE
    blocks: int = 4
    columns: int = 4
    width: int = 16


class MixerForRanking(transformers.PreTrainedModel):
    """``model(statistics, noise)``: one prediction per network, for statistics of shape (networks, blocks,
    columns), zero for absent blocks, and e of shape (width,); and KL(q || N(0, 1)), q the distribution of the
    last layer's weights."""

    config_class = RankerConfig
    _supports_sdpa = True

    def __init__(self, config: RankerConfig) -> None:
        super().__init__(config)
        width = config.width
        self.across_columns = nn.Sequential(
            nn.Linear(config.columns, width), nn.GELU(), nn.Linear(width, width)
        )
        self.across_blocks = nn.Sequential(nn.Linear(config.blocks, width), nn.GELU(), nn.Linear(width, 1))
        self.mean = nn.Parameter(torch.zeros(width))
        self.spread = nn.Parameter(torch.full((width,), SPREAD))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's initial values and those above."""

    def forward(self, statistics: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.across_blocks(self.across_columns(statistics).transpose(1, 2))[..., 0]
        predicted = mixed @ (self.mean + self.spread.exp() * noise)
        variance = (2 * self.spread).exp()
        return predicted, 0.5 * (variance + self.mean.square() - 1 - 2 * self.spread).sum()


def register() -> None:
    """Make this architecture known to the library."""
    transformers.AutoConfig.register(MODEL_TYPE, RankerConfig, exist_ok=True)
    transformers.AutoModel.register(RankerConfig, MixerForRanking, exist_ok=True)


def initialise_ranker(seed: int) -> MixerForRanking:
    """A float32 model whose weights depend on ``seed`` alone; the global random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MixerForRanking(RankerConfig(architectures=["MixerForRanking"]))
        nn.init.normal_(model.mean, std=model.config.width**-0.5)
        return model
