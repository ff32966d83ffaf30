"""Task-aware pruning: scores by hand, groups of channels, exact sparsity, and its masks as a space."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zobench.zo import Objective, build_space
from zobench.zo.methods.mezo import Mezo
from zobench.zo.pruning import (
    channel_scores,
    differences,
    fused_scores,
    kept_by_row,
    prune,
    sizes_on,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[1.0, -2, 3, -4], [4, 3, 2, 1], [1, 1, 1, 1]]))

    def forward(self, x: torch.Tensor, attention_mask: Any = None) -> torch.Tensor:
        found: torch.Tensor = self.linear(x)
        return found


GENERAL, TASK = torch.tensor([1.0, 1, 0, 2]), torch.tensor([1.0, 0.6, 4, 0])
NAME = "linear.weight"


def test_sizes_are_root_mean_squares_without_padding() -> None:
    net = Net()
    x = torch.tensor([[[3.0, 0, 1, 2], [4, 0, 1, 2]], [[9, 9, 9, 9], [5, 0, 1, 2]]])
    mask = torch.tensor([[1, 1], [0, 1]])
    space = build_space("full", {}, net)
    runs = [lambda i=i: net(x[i : i + 1], attention_mask=mask[i : i + 1]) for i in (0, 1)]
    found = sizes_on(space, runs)
    assert found[NAME].tolist() == pytest.approx([(50 / 3) ** 0.5, 0, 1, 2])
    with pytest.raises(ValueError, match="no input of"):
        sizes_on(space, [])


def test_scores_and_groups_are_those_of_the_formula() -> None:
    space = build_space("full", {}, Net())
    assert differences(GENERAL, TASK).tolist() == pytest.approx([0, 0.4, 1, 1])
    assert channel_scores(space, {NAME: GENERAL})[NAME][0].tolist() == [1, 2, 0, 8]
    fused = fused_scores(space, {NAME: GENERAL}, {NAME: TASK})[NAME]
    # shared: mean of the two scores; exclusive: the score under its owner
    assert fused[0].tolist() == pytest.approx([1, 1.6, 12, 8])
    apart = fused_scores(space, {NAME: GENERAL}, {NAME: TASK}, threshold=0.3)[NAME]
    assert apart[0].tolist() == pytest.approx([1, 2, 12, 8])
    with pytest.raises(ValueError, match="threshold"):
        fused_scores(space, {NAME: GENERAL}, {NAME: TASK}, threshold=2.0)


def test_equal_sets_leave_the_base_criterion() -> None:
    space = build_space("full", {}, Net())
    fused = fused_scores(space, {NAME: GENERAL}, {NAME: GENERAL})
    assert torch.equal(fused[NAME], channel_scores(space, {NAME: GENERAL})[NAME])


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 4), (0.25, 3), (0.5, 2), (0.9, 0)])
def test_every_row_loses_the_same_share(sparsity: float, kept: int) -> None:
    scores = {NAME: torch.tensor([[1.0, 1, 1, 1], [4, 3, 2, 1]])}
    mask = kept_by_row(scores, sparsity)[NAME]
    assert mask.sum(1).tolist() == [kept, kept]
    if kept == 2:
        assert mask.tolist() == [[False, False, True, True], [True, True, False, False]]
    with pytest.raises(ValueError, match="sparsity"):
        kept_by_row(scores, 1.0)


def test_a_method_on_the_masks_changes_no_pruned_weight() -> None:
    net = Net()
    space = prune(net, kept_by_row(channel_scores(build_space("full", {}, net), {NAME: GENERAL}), 0.5))
    assert space.kind == "masked"
    assert space.numel == 6
    before = net.linear.weight.detach().clone()
    assert (before == 0).sum() == 6
    x = torch.ones(2, 4)
    objective = Objective(net, lambda module, batch: module(batch).square().mean())
    objective.set_batch(x, sequences=2, tokens=0)
    method = Mezo(Mezo.Config(lr=1e-3), space, seed=1)
    for _ in range(5):
        method.step(objective)
    after = net.linear.weight.detach()
    assert torch.equal(after[before == 0], torch.zeros(6))
    assert not torch.equal(after, before)
