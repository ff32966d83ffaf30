"""``zobench status``: counts, damaged files and files set aside; errors of other commands name the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from store.forging import unseal
from typer.testing import CliRunner

from zobench.cli import app
from zobench.store.writer import RunFolder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run_id, status in (("a", "done"), ("b", "done"), ("c", "failed")):
        folder = RunFolder(tmp_path / "runs" / run_id)
        folder.path.mkdir(parents=True)
        folder.write_json("spec.json", {"row": "r", "spec": {}})
        error = "Traceback\nMemoryError: enough" if status == "failed" else None
        folder.finish(status, {"runs": [{"run_id": run_id, "row": "r", "status": status, "error": error}]})
    return tmp_path


def test_counts_and_exit_code(cli: CliRunner, results: Path) -> None:
    found = cli.invoke(app, ["status", str(results)])
    assert found.exit_code == 0
    assert found.output == f"{results}: 2 done, 1 failed\nfailed: r (c): MemoryError: enough\n"
    unseal(results)
    assert "digests not recorded for 3 runs" in cli.invoke(app, ["status", str(results)]).output


def test_damage_is_named_and_set_aside_when_asked(cli: CliRunner, results: Path) -> None:
    victim = results / "runs" / "b" / "runs.parquet"
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    for command in (
        ["status", str(results)],
        ["query", "select * from runs", str(results)],
        ["report", str(results)],
        ["export", str(results), "--tables", str(results / "tables")],
        ["diff", str(results), str(results)],
        ["show", str(results / "runs" / "b")],
        ["compact", str(results)],
    ):
        found = cli.invoke(app, command)
        assert found.exit_code in (1, 2), command
        assert f"{victim} is damaged" in found.output.replace("\n", ""), command
        assert found.exception is None or isinstance(found.exception, SystemExit), command
    assert victim.exists()
    found = cli.invoke(app, ["status", str(results), "--set-aside"])
    assert found.exit_code == 0
    assert "1 done, 1 failed" in found.output
    assert "set aside: runs/damaged/b: runs/b/runs.parquet" in found.output
    assert cli.invoke(app, ["query", "select * from runs", str(results)]).exit_code == 0
