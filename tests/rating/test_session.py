"""A person's choices drive a method: the questions, what is stored, resume after a kill, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.image import Image
from zobench.rating import choices as choices_file
from zobench.rating.session import Question, Session
from zobench.runner.factory import CATALOGUE
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, ModelRef, RunSpec, SpaceRef
from zobench.store.digests import DamagedFile

METHOD = {"epsilon": 0.3, "n": 4, "top": 2, "lr": 1.0}


@pytest.fixture
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def pictures(row: str = "zo-ranksgd", **params: Any) -> RunSpec:
    return RunSpec(
        model=ModelRef(name="builtin:nano-flow"),
        task=Component(name="flow-scoring", params={"steps": 2}),
        method=Component(name=row, params=params),
        space=SpaceRef(kind="names", params={"include": ["code"]}),
        seed=1,
        budget=Budget(forwards=18, batch_size=1),
    )


def ask(session: Session) -> Question:
    assert session.question is not None
    return session.question


def answered(session: Session, *items: int) -> None:
    for item in items:
        assert session.choose(ask(session).key, item)


def code(bench: ProcessCache) -> torch.Tensor:
    return bench.model(ModelRef(name="builtin:nano-flow")).module.code.detach().clone()


def test_two_choices_of_four_pictures_make_a_step(bench: ProcessCache, tmp_path: Path) -> None:
    session = Session(pictures(**METHOD), tmp_path, bench)
    first = ask(session)
    assert (len(first.items), first.wanted, first.named, first.prompt) == (4, 2, (), "")
    assert all(isinstance(item, Image) for item in first.items)
    assert sorted(first.order) == [0, 1, 2, 3]
    answered(session, 3)
    second = ask(session)
    assert second.items == first.items
    assert second.named == (3,)
    assert not bool(code(bench).any()), "no step before the ranking is complete"
    assert not session.choose(second.key, 3), "named already"
    assert not session.choose(second.key, 4)
    assert not session.choose(first.key, 1), "a key is valid once"
    answered(session, 1)
    assert bool(code(bench).any())
    assert (ask(session).step, ask(session).forwards) == (1, 4)
    assert ask(session).items != first.items


def test_the_best_of_a_ranking_is_shown_again_in_the_line_search(bench: ProcessCache, tmp_path: Path) -> None:
    session = Session(pictures(**METHOD, line_search=2), tmp_path, bench)
    shown = ask(session).items
    answered(session, 2, 0)
    search = ask(session)
    assert (len(search.items), search.wanted) == (4, 1)
    assert search.items[0] == session.current()
    assert search.items[-1] == shown[2]
    answered(session, 3)
    assert ask(session).step == 1
    assert session.current() == shown[2], "the probed point was the best: the step leads there"


@pytest.mark.parametrize("made", [1, 2, 5])
def test_after_a_kill_the_next_pictures_have_the_same_bits(made: int, tmp_path: Path) -> None:
    spec, items = pictures(**METHOD, line_search=2), (2, 0, 1, 3, 1, 2)
    whole = Session(spec, tmp_path / "a", ProcessCache(CATALOGUE))
    stopped = Session(spec, tmp_path / "b", ProcessCache(CATALOGUE))
    answered(whole, *items[:made])
    answered(stopped, *items[:made])
    again = Session(spec, tmp_path / "b", ProcessCache(CATALOGUE))
    for session in (whole, again):
        assert ask(session).items == ask(stopped).items
        assert ask(session).order == ask(stopped).order
        assert ask(session).named == ask(stopped).named
    answered(whole, *items[made:])
    answered(again, *items[made:])
    assert whole.question is None
    assert again.question is None
    assert whole.current() == again.current()
    assert whole.choices.made == again.choices.made
    assert whole.meter.forwards == again.meter.forwards == 14


def test_a_choice_that_cannot_be_stored_is_not_made(
    bench: ProcessCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(pictures(**METHOD), tmp_path, bench)

    def full(*args: Any, **more: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(choices_file.files, "write_atomic", full)
    key = ask(session).key
    with pytest.raises(OSError, match="no space"):
        session.choose(key, 0)
    assert ask(session).key == key
    assert session.choices.made == []


def test_changed_or_foreign_choices_are_refused(bench: ProcessCache, tmp_path: Path) -> None:
    session = Session(pictures(**METHOD), tmp_path, bench)
    answered(session, 0)
    path = session.choices.path
    text = path.read_text()
    path.write_text(text.replace('"item": 0', '"item": 1'))
    with pytest.raises(DamagedFile):
        Session(pictures(**METHOD), tmp_path, bench)
    other = Session(pictures(**METHOD, line_search=1), tmp_path, bench)
    path.write_text(text)
    other.choices.path.parent.mkdir(parents=True)
    other.choices.path.write_text(text)
    with pytest.raises(ValueError, match="choices of another run"):
        Session(pictures(**METHOD, line_search=1), tmp_path, bench)


def test_methods_that_need_losses_are_refused(bench: ProcessCache, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs losses"):
        Session(pictures("mezo"), tmp_path, bench)


def test_texts_are_ranked_too(bench: ProcessCache, tmp_path: Path) -> None:
    spec = RunSpec(
        model=ModelRef(name="builtin:nano"),
        task=Component(name="nano-facts", params={}),
        method=Component(name="zo-ranksgd", params={"n": 3, "top": 1, "lr": 1e-3, "epsilon": 0.1}),
        seed=1,
        budget=Budget(forwards=3, batch_size=1),
    )
    session = Session(spec, tmp_path, bench)
    question = ask(session)
    assert all(isinstance(item, str) for item in question.items)
    assert len(set(question.items)) > 1
    assert question.prompt
    answered(session, 1)
    assert session.question is None
    assert isinstance(session.current(), str)
