"""Rankings as losses: places, several rankings of a step, refusals, and the run of a hidden scorer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from zobench.zo import Objective, build_space
from zobench.zo.methods.mezo import Mezo
from zobench.zo.methods.zo_ranksgd import ZoRanksgd, ZoRanksgdConfig
from zobench.zo.ranked import RankedObjective

TARGET = torch.arange(6.0)


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(6))


def distance(module: Any, batch: Any) -> float:
    return float((module.w.detach() - TARGET).square().sum())


def best(shown: Sequence[float], wanted: int) -> list[int]:
    return sorted(range(len(shown)), key=lambda i: shown[i])[:wanted]


@pytest.mark.parametrize("params", [{"n": 6}, {"n": 6, "top": 2}, {"n": 6, "top": 2, "line_search": 3}])
def test_rankings_give_the_run_of_the_hidden_losses(params: dict[str, Any]) -> None:
    """The same weights to the bit, whether the method gets losses or an oracle that ranks by them."""
    config = ZoRanksgdConfig(lr=0.3, epsilon=0.2, **params)
    found = []
    for ranked in (False, True):
        module = Point()
        objective: Objective = (
            RankedObjective(module, distance, best, ZoRanksgd.picks(config))
            if ranked
            else Objective(module, distance)
        )
        method = ZoRanksgd(config, build_space("full", {}, module), seed=3)
        for _ in range(30):
            objective.set_batch(None, sequences=1, tokens=0)
            method.step(objective)
        found.append((module.w.detach().clone(), objective.meter.forwards))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert distance(module, None) < 0.5 * float(TARGET.square().sum())


def ranking(answers: list[list[int]], picks: tuple[int, ...]) -> RankedObjective:
    objective = RankedObjective(Point(), distance, lambda shown, n: answers.pop(0), picks)
    objective.set_batch(None, sequences=1, tokens=0)
    return objective


def test_places_of_a_later_ranking_are_counted_from_the_best_of_the_first() -> None:
    objective = ranking([[2, 0], [1]], (2, 1))
    assert objective.places("abcd") == [1.0, 2.0, 0.0, 2.0]
    assert objective.places("xyz") == [0.0, -1.0, 0.0]
    objective = ranking([[2, 0], [3]], (2, 1))
    objective.places("abcd")
    assert objective.places("xyz") == [1.0, 1.0, 1.0], "the best of the first ranking is better than all"


@pytest.mark.parametrize("named", [[0], [0, 0], [0, 9], [0, 1, 2]])
def test_an_oracle_that_does_not_answer_the_question_is_refused(named: list[int]) -> None:
    with pytest.raises(ValueError, match="2 different ones of 4"):
        ranking([named], (2,)).places("abcd")


def test_more_rankings_than_announced_and_single_losses_are_refused() -> None:
    objective = ranking([[0]], (1,))
    objective.places("ab")
    with pytest.raises(ValueError, match="more than 1 rankings"):
        objective.places("ab")
    with pytest.raises(ValueError, match="no loss of a single point"):
        objective.loss()
    assert Mezo.picks(Mezo.Config()) == ()
