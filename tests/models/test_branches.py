"""Generation under several adapters in one batch: the answers of each branch alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.models import load
from zobench.models.generation import generate_under_branches
from zobench.models.way import Way
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.zo import Engine, build_space

Folder = Callable[[str], Path]
PROMPTS = ["the film was", "It", "the film was not", "Question: How many apples does Ann have? Answer:"]
SEEDS = (3, 5, 7)


def under_adapters(folder: Path, kind: str = "lora") -> tuple[Any, Any, list[Any]]:
    """A model, its engine, and three points far enough apart to change its answers."""
    lm = load(ModelRef(name=str(folder)))
    lm.module.double()  # equal up to rounding: in float64 no two tokens are close enough to change places
    space = build_space(kind, {"targets": ["*_proj"]} if kind == "lora" else {}, lm.module)
    cls = lookup("methods", "mezo")
    method = cls(cls.Config(), space, seed=0, engine=Engine())
    points = [method.engine.along(method.direction, seed, 0.5) for seed in SEEDS]
    return lm, method.engine, points


def alone(lm: Any, engine: Any, points: Sequence[Any], **given: Any) -> list[list[str]]:
    found = []
    for point in points:
        with engine.perturbation.displaced(point):
            found.append([lm.generate([prompt], **given)[0] for prompt in PROMPTS])
    return found


@pytest.mark.parametrize("kind", ["lora", "prefix"])
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_each_branch_answers_as_it_does_alone(tiny_folder: Folder, family: str, kind: str) -> None:
    lm, engine, points = under_adapters(tiny_folder(family), kind)
    expected = alone(lm, engine, points, max_new_tokens=10)
    with engine.side_by_side(points):
        found = generate_under_branches(lm, PROMPTS, len(points), max_new_tokens=10)
    assert found == expected
    assert len({tuple(branch) for branch in found}) == len(points), "the branches differ"
    assert lm.generate(PROMPTS[:1], max_new_tokens=10)[0] not in [branch[0] for branch in found]


def test_an_answer_that_ends_in_one_branch_leaves_the_others_unchanged(tiny_folder: Folder) -> None:
    lm, engine, points = under_adapters(tiny_folder("llama"))
    free = alone(lm, engine, points, max_new_tokens=12)
    stop = [free[0][0][2], free[1][1][4]]
    expected = alone(lm, engine, points, max_new_tokens=12, stop=stop)
    assert expected != free
    with engine.side_by_side(points):
        assert generate_under_branches(lm, PROMPTS, 3, max_new_tokens=12, stop=stop) == expected


@pytest.mark.parametrize("way", [Way(first_position=0, cache=None), Way(first_position=0, selects=False)])
def test_other_ways_to_decode(tiny_folder: Folder, way: Way) -> None:
    lm, engine, points = under_adapters(tiny_folder("llama"))
    stop = ["e"]
    expected = alone(lm, engine, points, max_new_tokens=8, stop=stop)
    lm.way = way
    with engine.side_by_side(points):
        assert generate_under_branches(lm, PROMPTS, 3, max_new_tokens=8, stop=stop) == expected


def test_chunks_hold_a_prompt_in_all_branches(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zobench.models.generation.MAX_ROWS", 6)
    lm, engine, points = under_adapters(tiny_folder("llama"))
    sizes: list[int] = []
    lm.module.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    expected = alone(lm, engine, points, max_new_tokens=6)
    sizes.clear()
    with engine.side_by_side(points):
        assert generate_under_branches(lm, PROMPTS, 3, max_new_tokens=6) == expected
    assert sizes[0] == 6
    assert set(sizes) <= {3, 6}


def test_what_has_no_adapters_or_no_branches_is_refused(tiny_folder: Folder) -> None:
    lm, engine, _ = under_adapters(tiny_folder("llama"))
    with pytest.raises(ValueError, match="at least 1"):
        generate_under_branches(lm, PROMPTS, 0, max_new_tokens=4)
    with pytest.raises(ValueError, match="at least one point"), engine.side_by_side([]):
        pass
    lm.way = Way(decoded="single")
    with pytest.raises(ValueError, match="cannot share a batch"):
        generate_under_branches(lm, PROMPTS, 2, max_new_tokens=4)
    full = Engine().bind(build_space("full", {}, torch.nn.Linear(2, 2)), 0)
    with pytest.raises(ValueError, match="neither an adapter"), full.side_by_side([()]):
        pass
