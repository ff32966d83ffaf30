"""Escape and control characters in names and texts from data are never printed in a terminal."""

from __future__ import annotations

import io
import json
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from synthetic import Entry, Study, make_synthetic
from typer.testing import CliRunner, Result

import zobench
from zobench import terminal
from zobench.cli import app
from zobench.cli.console import text
from zobench.cli.run_view import _pairs, _spec, _warnings
from zobench.names import printable
from zobench.report.terminal import _text

HOSTILE = "best\x1b[2J\x1b]0;t\x07\x9b31m\u202e"
OBEYED = set("\x1b\x07\x9b\u202e\r\x08")


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_whatever_is_shown_is_printable(value: str) -> None:
    shown = printable(value)
    assert shown.isprintable()
    assert len(shown) == len(value)
    assert printable(value, lines=True).translate({9: "", 10: ""}).isprintable()


def test_what_is_printable_stays() -> None:
    assert printable("mezo α=0.1 – [b]") == "mezo α=0.1 – [b]"
    assert printable("a\nb", lines=True) == "a\nb"


@pytest.mark.parametrize(
    "thing",
    [
        text(HOSTILE),
        _text(HOSTILE),
        _pairs({"error": HOSTILE, "note": HOSTILE}),
        _spec({HOSTILE: HOSTILE}),
        _warnings([{"trap": HOSTILE, "detail": HOSTILE, "steps": 1, "first_step": 0}]),
    ],
)
def test_tables_of_names_hold_no_escape_character(thing: object) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(thing)
    assert "best" in out.getvalue()
    assert not OBEYED & set(out.getvalue())


def test_the_console_cleans_whatever_it_draws() -> None:
    out = io.StringIO()
    console = terminal.SafeConsole(file=out, width=100, force_terminal=False)
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(Text(HOSTILE))
    console.print(table, Panel(Text(HOSTILE), title=Text(HOSTILE)), Text(HOSTILE))
    console.rule(Text(HOSTILE))
    assert out.getvalue().count("best") >= 6
    assert not OBEYED & set(out.getvalue())


def test_colours_remain() -> None:
    out = io.StringIO()
    console = terminal.SafeConsole(file=out, force_terminal=True, color_system="standard", width=60)
    console.print(Text(HOSTILE, style="red"))
    assert out.getvalue().startswith("\x1b[31mbest")
    assert "\x1b[2J" not in out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results in which every name and text is hostile."""
    fields = {"note": HOSTILE, "error": HOSTILE, "model": HOSTILE, "method": HOSTILE, "device": HOSTILE}
    fields |= {"method_params": json.dumps({HOSTILE: HOSTILE}), "spec": json.dumps({HOSTILE: HOSTILE})}
    fields["warnings"] = json.dumps([{"trap": HOSTILE, "detail": HOSTILE, "steps": 1, "first_step": 0}])
    names = [f"{i}{HOSTILE}" for i in range(4)]
    entries = [Entry(name, 0.02 * i, fields=fields) for i, name in enumerate(names[:3])]
    entries.append(Entry(names[3], -0.1, "control", fields=fields, status={(names[1], 0): "failed"}))
    study = Study(
        entries,
        tasks={names[0]: 0.7, names[1]: 0.6},
        attacks=tuple(f"{i}{HOSTILE}" for i in range(4)),
        texts=[HOSTILE],
        suite=HOSTILE,
        tuned=(names[1],),
        examples=8,
    )
    return make_synthetic(tmp_path_factory.mktemp("hostile"), study)


def run_of(folder: Path) -> str:
    return str(next(p for p in sorted((folder / "runs").iterdir()) if (p / "steps.parquet").exists()))


HOSTILE_FILE = "x\x1b[2J\x07.yaml"
COMMANDS = {
    "run": ["run", HOSTILE_FILE],
    "plan": ["plan", HOSTILE_FILE],
    "rate": ["rate", HOSTILE_FILE],
    "worker": ["worker", HOSTILE_FILE],
    "slurm": ["slurm", HOSTILE_FILE],
    "merge": ["merge", HOSTILE_FILE, "{folder}", "--output", "{target}/c"],
    "export-suite": ["export-suite", "{folder}"],
    "tune": ["tune", HOSTILE_FILE],
    "init": ["init", HOSTILE_FILE, "--data", HOSTILE_FILE, "--label", HOSTILE],
    "report": ["report", "{folder}", "--output", "{target}", "--leaderboard", HOSTILE_FILE],
    "status": ["status", "{folder}"],
    "diff": ["diff", "{folder}", "{folder}"],
    "show": ["show", "{run}"],
    "query": ["query", "select * from runs", "{folder}"],
    "prune": ["prune", "{folder}"],
    "compact": ["compact", HOSTILE_FILE],
    "push": ["push", "{folder}", f"s3://{HOSTILE_FILE}"],
    "replay": ["replay", "{run}"],
    "export": ["export", "{run}", "--submission", "{target}/s.zip"],
    "verify": ["verify", HOSTILE_FILE],
    "list": ["list", "methods"],
    "doctor": ["doctor", "--folder", HOSTILE_FILE],
    "check": ["check", HOSTILE],
    "docs": ["docs", HOSTILE],
    "model build": ["model", "build", HOSTILE],
    "model get": ["model", "get", HOSTILE],
    "model import": ["model", "import", HOSTILE_FILE, "out"],
}


def every_command() -> set[str]:
    plain = {c.name for c in app.registered_commands}
    of_groups = {
        f"{g.name} {c.name}"
        for g in app.registered_groups
        if g.typer_instance is not None
        for c in g.typer_instance.registered_commands
    }
    return {str(name) for name in plain | of_groups}


def test_every_command_is_among_those_tried() -> None:
    assert set(COMMANDS) == every_command()


def invoked(arguments: list[str], folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(target)
    places = {"{folder}": str(folder), "{target}": str(target), "{run}": run_of(folder)}
    line = [arguments[0], *(_placed(a, places) for a in arguments[1:])]
    return CliRunner().invoke(app, line, env={"COLUMNS": "200"}, color=True)


def _placed(argument: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        argument = argument.replace(name, value)
    return argument


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_an_escape_character(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("run", "plan", "tune"):
        (tmp_path / HOSTILE_FILE).write_text(json.dumps({"suite": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}}))
    found = invoked(COMMANDS[name], folder, tmp_path, monkeypatch)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    assert found.output
    assert not OBEYED & set(found.output), repr(found.output)


def test_values_are_exact_in_a_pipe_and_clean_in_a_terminal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["query", "select row from runs", "{folder}", "--csv"]
    assert HOSTILE in invoked(line, folder, tmp_path, monkeypatch).output
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    shown = invoked(line, folder, tmp_path, monkeypatch).output
    assert "best" in shown
    assert not OBEYED & set(shown)


def test_warnings_and_tracebacks_are_cleaned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    terminal.guard_warnings()
    assert not OBEYED & set(warnings.formatwarning(HOSTILE, UserWarning, "file", 1))
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError:
        terminal.print_traceback()
    shown = capsys.readouterr().err
    assert "best" in shown
    assert not OBEYED & set(shown)


def test_nothing_else_prints() -> None:
    """``typer.echo`` and consoles stand in two files; what the others print is listed here, with its
    cleaning beside it."""
    package = Path(zobench.__file__).parent
    printing = re.compile(r"typer\.echo\(|(?<![\w.])print\(|[^e]Console\(|std(out|err)\.write\(")
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "studies" not in path.parts and printing.search(path.read_text())
    }
    cleaned = {"cli/console.py", "terminal.py"}
    cleaned |= {f"runner/{name}.py" for name in ("progress", "process_watch", "ranks", "library_log")}
    quoted = {"runner/tracking.py"}  # {error!r}: Python's own quoting of control characters
    build_scripts = {"zo/noise/build_table.py"}
    constant = {"runner/rank.py"}  # one fixed line, read by the process that started it
    assert found == cleaned | quoted | build_scripts | constant
