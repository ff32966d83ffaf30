"""``zobench export --hub``: a card whose metadata is what was written, and every record once."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from synthetic import Entry, Study, make_synthetic
from typer.testing import CliRunner

from zobench.cli import app
from zobench.store import read

HOSTILE = 'a"\n---\nlicense: mit\n# b'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    study = Study([Entry("mezo"), Entry(HOSTILE)], tasks={"t": 0.7}, seeds=(0,), suite=HOSTILE)
    return make_synthetic(tmp_path / "results", study)


def test_the_folder_holds_every_record_and_its_card_names_the_files(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "hub"
    found = CliRunner().invoke(app, ["export", str(folder), "--hub", str(target)])
    assert found.exit_code == 0, found.output
    card = (target / "README.md").read_text()
    _, metadata, body = card.split("---\n", 2)
    values = YAML(typ="safe", pure=True).load(metadata)
    assert set(values) == {"pretty_name", "tags", "configs"}
    assert values["pretty_name"] == f"zobench results: {HOSTILE}"
    assert "\n# b" not in body
    results = read(folder)
    files = {c["config_name"]: c["data_files"] for c in values["configs"]}
    assert set(files) == {name for name, table in results.tables.items() if table.num_rows}
    for name, file in files.items():
        written = pq.read_table(target / file)
        assert written.num_rows == results.tables[name].num_rows
        assert sorted(written["run_id"].to_pylist()) == sorted(results.tables[name]["run_id"].to_pylist())


def test_an_existing_folder_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["export", str(folder), "--hub", str(tmp_path)])
    assert found.exit_code == 2
    assert "exists already" in found.output


def test_one_form_of_export_is_chosen(folder: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["export", str(folder), "--hub", "a", "--tables", "b"])
    assert found.exit_code == 2
    assert "one of" in found.output
