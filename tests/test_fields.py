"""The declaration of a field determines identity and refusals; there is no separate list."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel

from zobench import spec
from zobench.fields import FieldMeta, identity, meta_of, shared, without_meaning_in_unlearning


class Part(BaseModel):
    old: int = 1
    new: Annotated[int, FieldMeta(since=2)] = 0


class Whole(BaseModel):
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    section: Annotated[Part | None, FieldMeta(since=2)] = None
    shown: Annotated[str, FieldMeta(identity=False)] = ""
    on_tasks: Annotated[int | None, FieldMeta(since=3, unlearning=False)] = None


def test_a_younger_field_counts_where_it_is_set() -> None:
    assert identity(Whole()) == {"part": {"old": 1}, "parts": [], "shown": ""}
    assert identity(Whole(part=Part(new=5)))["part"] == {"old": 1, "new": 5}
    assert identity(Whole(on_tasks=0))["on_tasks"] == 0, "0 is set, unset is the default"
    assert identity(Whole(parts=(Part(), Part(new=7))))["parts"] == [{"old": 1}, {"old": 1, "new": 7}]


def test_a_field_as_young_as_its_section_always_counts() -> None:
    assert identity(Whole(section=Part()))["section"] == {"old": 1, "new": 0}


def test_what_is_display_only_counts_as_unset() -> None:
    assert identity(Whole(shown="a name")) == identity(Whole())


def test_fields_are_listed_by_what_they_say() -> None:
    assert without_meaning_in_unlearning(Whole) == ("on_tasks",)
    assert shared(Part, Part(new=3)) == {"old": 1, "new": 3}


MODELS = [m for m in vars(spec).values() if isinstance(m, type) and issubclass(m, spec.Frozen)]


@pytest.mark.parametrize("model", MODELS, ids=[m.__name__ for m in MODELS])
def test_every_field_that_came_later_can_be_left_out(model: type[BaseModel]) -> None:
    for name, info in model.model_fields.items():
        meta = meta_of(info)
        assert 1 <= meta.since <= spec.SPEC_VERSION, f"{name}: raise SPEC_VERSION to {meta.since}"
        assert meta.since == 1 or not info.is_required(), f"{name}: runs from before cannot say it"


def test_the_newest_field_gives_the_version() -> None:
    known = [meta_of(info).since for model in MODELS for info in model.model_fields.values()]
    assert max(known) == spec.SPEC_VERSION
