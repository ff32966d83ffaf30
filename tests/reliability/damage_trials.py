"""What becomes of one damaged file: every reader is asked, or the suite is run to its end."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from e2e.results import tables
from reliability.damaging import DONE, KILLED, REPLAYED, STOPPED, Base, Trial
from typer.testing import CliRunner

from zobench.cli import app
from zobench.store import query, read
from zobench.store.damage import damage_in, mend, set_aside
from zobench.store.schema import TABLES

Reader = Callable[[Path], str]


def _command(*arguments: str) -> Reader:
    """A command line; ``{}`` is the folder. Its exit code and output, or what it raised."""

    def ask(folder: Path) -> str:
        line = [a.replace("{}", str(folder)) for a in arguments]
        found = CliRunner().invoke(app, line, env={"COLUMNS": "300"})
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return f"{found.exit_code} {found.output}"

    return ask


def _tables(folder: Path) -> str:
    return "0 " + str({name: t.to_pylist() for name, t in read(folder).tables.items()})


def _queries(folder: Path) -> str:
    asked = (query(f"select * from {name} order by all", folder).to_csv() for name in (*TABLES, "finals"))
    return "0 " + "".join(asked)


def _page(folder: Path) -> str:
    from zobench.report.analysis import analyse
    from zobench.report.build import html

    page = html(analyse([folder])).replace(str(folder), "FOLDER")
    return "0 " + re.sub(r"[0-9-]{10}[T ][0-9:]{5,8}", "", page)


HEAVY = ("report", "diff", "replay", "tables")
"""Readers that take most of the time: one of them in each trial, in turn."""


def readers(base: Base) -> dict[str, Reader]:
    """By name; the last one changes the folder."""
    shown = {f"show {end}": _command("show", f"{{}}/runs/{base.ids[end]}") for end in (DONE, KILLED, STOPPED)}
    return {
        "read": _tables,
        "query": _queries,
        "status": _command("status", "{}"),
        **shown,
        "report": _page,
        "diff": _command("diff", "{}", "{}"),
        "prune": _command("prune", "{}"),
        "replay": _command("replay", f"{{}}/runs/{base.ids[REPLAYED]}"),
        "submission": _command("export", f"{{}}/runs/{base.ids[DONE]}", "--submission", "{}/s.zip"),
        "tables": _command("export", "{}", "--tables", "{}/tables"),
        "compact": _command("compact", "{}"),
    }


@dataclass
class Verdict:
    """What a trial gave.

    ``named`` lists readers that named the file, ``silent`` those whose answer differs without a word,
    ``raised`` those that ended in a traceback, ``unnamed`` those whose error does not name it; ``lost``: not
    mended.
    """

    kind: str
    way: str
    by: str
    named: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.silent or self.raised or self.unnamed or self.lost)


class Opening:
    """Trials by opening and reading in this process."""

    def __init__(self, base: Base, work: Path, *, heavy: bool = True) -> None:
        self.base, self.work = base, work
        self.readers = {n: ask for n, ask in readers(base).items() if heavy or n not in HEAVY}
        self.expected = {state: self._undamaged(state) for state in ("loose", "compacted")}

    def _undamaged(self, state: str) -> dict[str, str]:
        target = shutil.copytree(self.base.of(state), self.work / f"undamaged-{state}")
        answers = {name: self._answer(ask, target) for name, ask in self.readers.items()}
        assert not (bad := {n: a for n, a in answers.items() if _is_error(a)}), bad
        return answers

    def _answer(self, ask: Reader, target: Path) -> str:
        try:
            return ask(target).replace(str(target), "FOLDER")
        except ValueError as error:
            return f"2 error: {error}".replace(str(target), "FOLDER")

    def __call__(self, trial: Trial) -> Verdict:
        state, name = self.base.kinds[trial.kind](self.base)
        target = self.work / f"open-{trial.seed}-{trial.number}"
        path = trial.apply(self.base, target)
        verdict = Verdict(trial.kind, trial.way, "reading")
        asked = {HEAVY[trial.number % len(HEAVY)], "replay" if trial.kind == "artifact" else ""}
        for reader, ask in self.readers.items():
            if reader not in HEAVY or reader in asked:
                self._judge(verdict, reader, ask, target, state, name)
        try:
            mend(target / "runs")
            read(target)
            if any(not left.done for left in damage_in(target / "runs")):
                verdict.lost.append("mend")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            verdict.raised.append(f"mend: {error!r}")
        assert path.name in name
        shutil.rmtree(target)
        return verdict

    def _judge(self, verdict: Verdict, reader: str, ask: Reader, target: Path, state: str, name: str) -> None:
        try:
            answer = self._answer(ask, target)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            verdict.raised.append(f"{reader}: {error!r}")
            return
        if answer == self.expected[state][reader]:
            return
        if f"{name} is damaged" in answer:
            verdict.named.append(reader)
        elif not _is_error(answer):
            verdict.silent.append(f"{reader}: {_difference(answer, self.expected[state][reader])}")
        else:
            verdict.unnamed.append(f"{reader}: {answer[:300]}")


def _is_error(answer: str) -> bool:
    return re.match(r"\d+ error:", answer) is not None


def _difference(answer: str, expected: str) -> str:
    """Where two answers part."""
    pairs = enumerate(zip(answer, expected, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(answer), len(expected)))
    near = slice(max(0, place - 60), place + 90)
    return f"{answer[near]!r} instead of {expected[near]!r}"


def _tables_of_any_commit(folder: Path) -> dict[str, pd.DataFrame]:
    """Without clocks, and without the state of the checkout, which may change between two runs."""
    return {
        name: table.drop(columns=["git_commit", "git_dirty"], errors="ignore")
        for name, table in tables(folder).items()
    }


class Running:
    """Trials by ``zobench run`` to its end, compared with the folder in which nothing was ever damaged."""

    def __init__(self, base: Base, work: Path) -> None:
        self.base, self.work = base, work
        self.expected = _tables_of_any_commit(base.of("whole"))

    def __call__(self, trial: Trial) -> Verdict:
        target = self.work / f"run-{trial.seed}-{trial.number}"
        path = trial.apply(self.base, target)
        verdict = Verdict(trial.kind, trial.way, "run")
        try:
            answer = _command("run", str(self.base.suite), "--output", str(target))(target)
            found = _tables_of_any_commit(target)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            verdict.raised.append(repr(error))
            return verdict
        if f"{path.name} is damaged" in answer.replace("\n", "") or set_aside(target / "runs"):
            verdict.named.append("run")
        if not answer.startswith("0 ") or damage_in(target / "runs"):
            verdict.lost.append(answer[:300])
        verdict.silent += [name for name, table in self.expected.items() if not table.equals(found[name])]
        shutil.rmtree(target)
        return verdict
