"""``zobench run --notify``: a summary on standard input, without a shell, and without effect on the run."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench.cli import app, notifying
from zobench.runner.scheduler import Summary

SUITE = """\
suite: told
models: {nano: {name: "builtin:nano"}}
tasks: {nano-sentiment: {}}
methods: {zero-shot: {method: none, group: control}}
seeds: [0]
budget: {forwards: 0}
evaluation: {test_items: 4}
"""
WRITER = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"


def writing(target: Path) -> list[str]:
    return [sys.executable, "-c", WRITER, str(target)]


def test_the_command_gets_the_summary(tmp_path: Path) -> None:
    outcome = Summary(tmp_path, done=3, kept=1, failed=[("mezo; rm -rf x", "boom")], seconds=1.25)
    target = tmp_path / "told.json"
    assert notifying.notify(writing(target), notifying.summary_of("mine", tmp_path, outcome))
    told = json.loads(target.read_text())
    assert told == {
        "suite": "mine",
        "folder": str(tmp_path),
        "done": 3,
        "kept": 1,
        "failed": ["mezo; rm -rf x"],
        "not_measured": [],
        "interrupted": False,
        "seconds": 1.2,
    }


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; sys.exit('no\\x1b[2J network')", "exit code 1: no"),
        ("import time; time.sleep(30)", "took more"),
    ],
)
def test_a_command_that_fails_is_reported(
    code: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notifying, "SECONDS", 5.0 if "exit" in code else 0.3)
    assert not notifying.notify([sys.executable, "-c", code], {})
    shown = capsys.readouterr().err
    assert told in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("command", ["no-such-program-anywhere x", "'half quoted", ""])
def test_a_command_that_cannot_be_started_is_refused_before_the_run(command: str) -> None:
    with pytest.raises(ValueError, match="--notify"):
        notifying.arguments(command)


def test_run_notifies_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.yaml").write_text(SUITE)
    monkeypatch.setenv(notifying.VARIABLE, shlex.join(writing(tmp_path / "told.json")))
    found = CliRunner().invoke(app, ["run", "told.yaml", "--output", "out", "--workers", "0"])
    assert found.exit_code == 0, found.output
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["suite"], told["done"], told["failed"]) == ("told", 1, [])


def test_a_suite_cannot_name_a_command(tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(SUITE + "notify: touch x\n")
    found = CliRunner().invoke(app, ["plan", str(tmp_path / "told.yaml")])
    assert found.exit_code == 2
    assert "notify" in found.output
