"""A submission is read in a process with its own limits before ``zobench verify`` reads it."""

from __future__ import annotations

import zipfile

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.verification import trial


@pytest.mark.parametrize("kind", ["honest", "no zip", "missing"])
def test_the_form_of_a_file_is_no_matter_of_the_trial(submitted, tmp_path, kind):
    path = tmp_path / "x.zip"
    if kind == "honest":
        path = submitted()
    elif kind == "no zip":
        path.write_bytes(b"PK no zip")
    trial.check_readable(path)


@pytest.mark.parametrize("limit", ["MOST_MEMORY", "crash"])
def test_a_file_beyond_the_limits_ends_the_other_process_only(tmp_path, monkeypatch, limit):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("submission.json", "{}")
    if limit == "crash":
        monkeypatch.setattr(trial, "_READ", "import os; os.abort()")
    else:  # less than any process needs that reads parquet
        monkeypatch.setattr(trial, "MOST_MEMORY", 100 * 2**20)
    found = CliRunner().invoke(app, ["verify", str(path)])
    assert found.exit_code == 2
    assert "x.zip: the process that read it ended with exit code" in " ".join(found.output.split())
