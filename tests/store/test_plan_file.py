"""plan.json is written and read an entry at a time, and is the same sealed object as in earlier versions."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from pathlib import Path

import pytest

from zobench.store.digests import DamagedFile, read_sealed, sealed
from zobench.store.plan_file import Entry, PlanFile, read_plan, write_plan


def plan(entries: int = 3) -> PlanFile:
    made = [
        Entry(
            row='mezo "ü"' if i % 2 else "fzoo",
            kind="run",
            model="nano",
            task="topic",
            seeds=(i,),
            key=f"{i:064x}",
            specs=(f"{i:064x}",),
            run_ids=(f"{i:020x}",),
        )
        for i in range(entries)
    ]
    return PlanFile(suite="small", path="a/b.yaml", entries=tuple(made))


@pytest.mark.parametrize("entries", [0, 1, 3, 2500])
def test_a_plan_is_read_as_it_was_written(tmp_path: Path, entries: int) -> None:
    write_plan(tmp_path, plan(entries))
    assert read_plan(tmp_path) == plan(entries)


def test_the_file_is_the_sealed_object_of_earlier_versions(tmp_path: Path) -> None:
    body = {**plan().model_dump(mode="json"), "entries": [dataclasses.asdict(e) for e in plan().entries]}
    earlier = json.loads(sealed(body))
    write_plan(tmp_path, plan())
    assert json.loads((tmp_path / "plan.json").read_text()) == earlier
    assert read_sealed(tmp_path / "plan.json")["suite"] == "small"


@pytest.mark.parametrize("digest", [True, False])
def test_files_of_earlier_versions_are_read(tmp_path: Path, digest: bool) -> None:
    body = {**plan().model_dump(mode="json"), "entries": [dataclasses.asdict(e) for e in plan().entries]}
    for entry in body["entries"]:
        del entry["unloadable"]  # came later
    text = sealed(body) if digest else json.dumps(body).encode()
    (tmp_path / "plan.json").write_bytes(text)
    assert read_plan(tmp_path) == plan()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"seeds": [1]', '"seeds": [2]'),
        ('"topic"', '"tapic"'),
        ('"kind": "run"', '"kind": "walk"'),
        ('"suite": "small"', '"suite": "smoll"'),
        ('{"entries": [', '{"entries": [{"entries": []},'),
        ('{"entries": [', '{"entries": [3,'),
        ('{"entries": [', '{"extra": {"key": "x"}, "entries": ['),
        ("}", ""),
    ],
)
def test_a_change_of_the_file_is_found(tmp_path: Path, old: str, new: str) -> None:
    write_plan(tmp_path, plan())
    path = tmp_path / "plan.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DamagedFile, match=r"plan\.json is damaged"):
        read_plan(tmp_path)


def test_reading_and_writing_take_little_memory_per_entry(tmp_path: Path) -> None:
    many = plan(4000)
    tracemalloc.start()
    try:
        write_plan(tmp_path, many)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        read_plan(tmp_path)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert written / 4000 < 500
    assert peak / 4000 < 2000
