"""Submissions whose content is not what it should be are refused with the file's name; found by fuzzing."""

from __future__ import annotations

import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HEADS = {
    "a key that no specification has": lambda head: head["spec"]["model"].update({"x\x1b[2J": 1}),
    "a section that is a list": lambda head: head["spec"].update(model=[]),
    "a cost that is a table": lambda head: head["run"].update(forwards={"a": 1}),
    "a cost that is missing": lambda head: head["run"].update(forwards=None),
    "a count with a fraction": lambda head: head["run"].update(forwards=1.5),
    "digests that are a text": lambda head: head["environment"].update(digests="a"),
}
STEPS = {
    "losses": None,
    "seeds": None,
    "extras": "",
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_wrong_head_is_refused_with_the_file(submitted, tampered, verify, kind):
    file = tampered(submitted(), lambda head, tables: HEADS[kind](head))
    with pytest.raises(ValueError, match=r"tampered\.zip: not a submission") as found:
        verify(file)
    assert len(str(found.value)) < 700
    assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize("column", STEPS)
def test_a_step_without_its_values_is_refused_with_its_line(submitted, tampered, verify, column):
    def change(head, tables):
        tables["steps"][2][column] = STEPS[column]

    with pytest.raises(ValueError, match=r"tampered\.zip: line 3 of the steps is not a step"):
        verify(tampered(submitted(), change))


def test_a_repeated_column_is_refused(submitted, verify):
    honest = submitted()
    target = honest.with_name("twice.zip")
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "steps.parquet":
                table = pq.read_table(io.BytesIO(data))
                sink = io.BytesIO()
                pq.write_table(table.append_column("loss", pa.nulls(table.num_rows)), sink)
                data = sink.getvalue()
            new.writestr(name, data)
    with pytest.raises(ValueError, match=r"twice\.zip: steps\.parquet has column 'loss' twice"):
        verify(target)


def test_a_method_that_is_unknown_here_is_refused_with_the_file(submitted, tampered, verify):
    file = tampered(submitted(), lambda head, tables: head["spec"]["method"].update(name="mezg"))
    with pytest.raises(ValueError, match=r"tampered\.zip: unknown method 'mezg'"):
        verify(file)
