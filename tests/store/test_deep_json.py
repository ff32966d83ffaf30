"""JSON and Python that no parser reads because of its depth or its digits: refused with the file's name, or
shown as missing, wherever it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.forging import forge_table
from typer.testing import CliRunner

from zobench.cli import app
from zobench.models.adapters import configuration
from zobench.names import json_value
from zobench.rewards.own import check_function
from zobench.store.writer import RunFolder

DEEP, LONG = "[" * 100_000, "9" * 5000


@pytest.mark.parametrize("text", [DEEP, LONG, "{", ""], ids=["deep", "digits", "open", "empty"])
def test_whatever_the_parser_refuses_is_the_same_error(text):
    with pytest.raises(json.JSONDecodeError) as found:
        json_value(text)
    assert len(str(found.value)) < 200


def test_an_adapter_of_deep_json_is_named(tmp_path):
    (tmp_path / "adapter_config.json").write_text(DEEP)
    with pytest.raises(ValueError, match=r"model 'x': adapter_config\.json is not the configuration"):
        configuration(tmp_path, "x")


def test_a_reward_file_that_is_nested_too_deeply_is_named(tmp_path):
    path = tmp_path / "reward.py"
    path.write_text("x = " + "-" * 20_000 + "1\ndef score(prompt, answer, example): return 1\n")
    with pytest.raises(ValueError, match=r"reward\.py: nested too deeply"):
        check_function(path, "score")


@pytest.mark.parametrize(
    "column", ["spec", "environment", "warnings", "attack_cards", "space", "method_params"]
)
def test_commands_on_a_table_with_deep_json_end_without_a_traceback(tmp_path: Path, column: str) -> None:
    folder = RunFolder(tmp_path / "results" / "runs" / "a")
    folder.path.mkdir(parents=True)
    row = {"run_id": "a", "row": "r", "group": "method", "purpose": "result", "status": "done"}
    row |= {"task": "t", "model": "m", "method": "mezo", "seed": 1, "primary_metric": "accuracy"}
    row |= {"task_kind": "classification", "forwards": 4, "spec": "{}", "environment": "{}"}
    measured = {"run_id": "a", "task": "t", "split": "test", "condition_kind": "clean", "metric": "accuracy"}
    folder.finish("done", {"runs": [row], "metrics": [{**measured, "value": 0.5, "n": 4, "final": True}]})
    table = pq.read_table(folder.path / "runs.parquet")
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array([DEEP])), folder.path / "runs.parquet")
    forge_table(folder.path, "runs")
    results = str(tmp_path / "results")
    for line in (["report", results], ["show", results + "/runs/a"], ["diff", results, results]):
        found = CliRunner().invoke(app, line)
        assert found.exception is None or isinstance(found.exception, SystemExit), (line, found.exception)
        assert found.exit_code in (0, 1, 2)
