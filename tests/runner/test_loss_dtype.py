"""``loss_dtype: logits``: a task's loss in the dtype of the logits, operation by operation, as in published
half-precision code. By default, and always for predictions, float32 is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zobench.models.scoring import in_dtype_of_logits, option_log_likelihoods
from zobench.plugins import lookup
from zobench.suite import SuiteError, expand, load
from zobench.tasks.base import Batch

HALF = [torch.float16, torch.bfloat16]
SUITE = """
suite: dtype
models: {nano: {name: "builtin:nano", dtype: bfloat16}}
tasks: {nano-sentiment: {}}
methods: {mezo: {noise: legacy%s}}
seeds: [1]
budget: {forwards: 20, batch_size: 8}
"""


class Fixed(nn.Module):
    """A causal model that answers with given logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, logits_to_keep: int, **_: Any) -> Any:
        return type("Output", (), {"logits": self.logits[:, -logits_to_keep:]})()


class Options:
    """Six rows of up to three option tokens: three examples of two options each."""

    def __init__(self, dtype: torch.dtype) -> None:
        draw = torch.Generator().manual_seed(3)
        self.logits = (4 * torch.randn(6, 7, 11, generator=draw)).to(dtype)
        self.targets = torch.randint(11, (6, 3), generator=draw)
        self.mask = torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1.0]])
        self.gold = torch.tensor([0, 1, 1])
        self.module = Fixed(self.logits)

    def batch(self) -> Batch:
        inputs = {
            "padded": {},
            "targets": self.targets,
            "target_mask": self.mask,
            "lengths": self.mask.sum(1),
            "counts": [2, 2, 2],
            "gold": self.gold,
        }
        return Batch(inputs, sequences=6, tokens=42)

    def published(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy over mean log-likelihoods of the options, and over all option tokens, each computed
        in the dtype of the logits."""
        shifted, mask = self.logits[:, -4:-1], self.mask.bool()
        chosen = F.log_softmax(shifted, dim=-1).gather(-1, self.targets[..., None]).squeeze(-1)
        means = (chosen * mask).sum(-1) / mask.sum(-1)
        tokens = F.cross_entropy(shifted[mask], self.targets[mask])
        return F.cross_entropy(means.view(3, 2), self.gold), tokens


def classification(training: str) -> Any:
    task = lookup("tasks", "sst2")
    made = task(task.Config())
    made.scoring, made.training = "options", training
    return made


class Lm:
    architecture = "causal"


@pytest.mark.parametrize("dtype", [*HALF, torch.float32])
def test_losses_are_the_published_ones(dtype: torch.dtype) -> None:
    options = Options(dtype)
    over_options, over_tokens = options.published()
    with in_dtype_of_logits():
        contrast = classification("contrast").loss(Lm(), options.module, options.batch())
        forced = classification("teacher-forcing").loss(Lm(), options.module, options.batch())
    for got, want in ((contrast, over_options), (forced, over_tokens)):
        assert got.dtype == dtype
        assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", HALF)
def test_float32_is_the_default(dtype: torch.dtype) -> None:
    options = Options(dtype)
    with in_dtype_of_logits():
        rounded = option_log_likelihoods(options.module, {}, options.targets, options.mask)
    exact = option_log_likelihoods(options.module, {}, options.targets, options.mask)
    assert (rounded.dtype, exact.dtype) == (dtype, torch.float32)
    assert not torch.equal(rounded.float(), exact)
    for training in ("contrast", "teacher-forcing"):
        assert classification(training).loss(Lm(), options.module, options.batch()).dtype == torch.float32


def spec_of(tmp_path: Path, more: str) -> Any:
    file = tmp_path / "suite.yaml"
    file.write_text(SUITE % more, encoding="utf-8")
    return expand(load(file)).runs[0].spec


def test_it_counts_in_the_identity_where_it_is_set(tmp_path: Path) -> None:
    plain, default = spec_of(tmp_path, ""), spec_of(tmp_path, ", loss_dtype: float32")
    logits = spec_of(tmp_path, ", loss_dtype: logits")
    assert plain.run_id({}) == default.run_id({}) != logits.run_id({})
    assert "loss_dtype" not in plain.canonical()


def test_another_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="loss_dtype"):
        spec_of(tmp_path, ", loss_dtype: float16")
