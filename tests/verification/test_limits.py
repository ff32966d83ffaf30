"""Submissions beyond the limits are refused before they are unpacked (tested on files of a few MB with
lowered limits)."""

from __future__ import annotations

import zipfile

import pytest

from zobench.store.writer import parquet_bytes, to_table
from zobench.verification import submission as form
from zobench.verification.submission import read_submission


@pytest.fixture
def never_read(monkeypatch):
    def read(*args, **kwargs):
        raise AssertionError("the table was decompressed")

    monkeypatch.setattr(form.pq.ParquetFile, "read", read)


def with_first_step(honest, **values):
    """The submission with other values in its first step."""
    target = honest.with_name("many.zip")
    steps = read_submission(honest).steps
    steps[0].update(values)
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = parquet_bytes(to_table("steps", steps)) if name == "steps.parquet" else old.read(name)
            new.writestr(name, data)
    return target


def test_entries_of_lists_count(submitted, monkeypatch, request):
    file = with_first_step(submitted(), losses=[0.5] * 200_000)
    monkeypatch.setattr(form, "MOST_VALUES", 100_000)
    request.getfixturevalue("never_read")
    with pytest.raises(ValueError, match="values"):
        read_submission(file)


def test_bytes_of_a_table_are_those_after_decompression(submitted, monkeypatch, request):
    file = with_first_step(submitted(), reason="x" * 2_000_000)
    monkeypatch.setattr(form, "MOST_BYTES", 1_000_000)
    request.getfixturevalue("never_read")
    with pytest.raises(ValueError, match="bytes"):
        read_submission(file)


def test_bytes_are_counted_while_a_member_is_unpacked(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("submission.json", b" " * 3_000_000)
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match="larger than 2000000"):
        form._unpacked(archive, "submission.json", 2_000_000, path)


def test_a_deep_head_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("submission.json", "[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_submission(path)
