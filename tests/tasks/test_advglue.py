"""The fixed examples of AdvGLUE: counts, labels, prompts, and clean examples for training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zobench.data.advglue import COLUMNS, adversarial_rows
from zobench.plugins import lookup
from zobench.tasks.advglue import PROMPTS, AdvGLUE, AdvGLUEConfig

COUNTS = {"sst2": 148, "qqp": 78, "mnli": 121, "mnli-mm": 162, "qnli": 148, "rte": 81}


def test_all_738_rows_are_read_and_every_prompt_renders(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    for part, count in COUNTS.items():
        rows = adversarial_rows(part, "local")
        assert len(rows) == len({e.id for e in rows}) == count
        prompt = PROMPTS[part.removesuffix("-mm")]
        assert {e.label for e in rows} == set(range(len(prompt.words)))
        assert all(e.text[f] in prompt.context(e) for e in rows[:5] for f in COLUMNS[part])


def test_it_is_measured_and_trains_on_clean_rows(
    tiny: Callable[[str], Any], real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    task = lookup("tasks", "advglue")(AdvGLUEConfig(train=8, dev=4))
    splits = task.splits(3)
    clean = lookup("tasks", "sst2")
    assert splits.train == clean(clean.Config(train=8, dev=4)).splits(3).train
    predictions = task.predict(tiny("opt"), splits.test[:5])
    assert set(task.metrics(splits.test[:5], predictions)) >= {"accuracy"}
    other = AdvGLUE(AdvGLUEConfig(part="qnli")).splits(3)
    assert (len(other.train), len(other.test)) == (0, 148)


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"part must be one of .*, not 'sst'; did you mean 'sst2'"):
        AdvGLUEConfig(part="sst")
    (tmp_path / "advglue").mkdir()
    (tmp_path / "advglue" / "dev.json").write_text(json.dumps({"rte": [{"idx": 0, "label": 1}]}))
    monkeypatch.setenv("ZOBENCH_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="advglue rte: row 0 has no column 'sentence1'"):
        adversarial_rows("rte", "local")
