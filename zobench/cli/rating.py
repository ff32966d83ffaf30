"""``zobench rate``: a person ranks what a model generates, and thereby drives its optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zobench.cli.console import say
from zobench.cli.suites import SuiteFile, results_of

if TYPE_CHECKING:
    from zobench.spec import PlannedRun
    from zobench.suite.plan import Plan


def rate(
    suite: SuiteFile,
    row: Annotated[
        str | None,
        typer.Option(metavar="ROW", help="Leaderboard row; default: the first whose method needs rankings."),
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Task; default: the row's first.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed; default: the suite's first.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Results folder; default: the suite's, else reports/<suite>.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page on this machine; 0: any free one.")
    ] = 0,
) -> None:
    """Rank pictures or texts on a local page and tune the model by these rankings alone.

    One run of the suite is driven by the choices of a person instead of its task's loss; its method must only
    compare losses (zo-ranksgd). Parameters that the suite tunes have the middle value of their grid. The
    address that is printed can be opened once, by one browser of this machine. Every choice is stored before
    the next question is shown; the same command resumes at the open question. End it with Ctrl-C.
    """
    from zobench.cli.planning import planned
    from zobench.rating.server import RatingServer
    from zobench.rating.session import Session
    from zobench.runner.factory import CATALOGUE
    from zobench.runner.process_cache import ProcessCache
    from zobench.store.lock import FolderLock

    plan, _ = planned(suite, verbose=False)
    chosen = _chosen(plan, row, task, seed)
    folder = results_of(plan, output) / "ratings"
    lock = FolderLock.acquire(folder)
    if lock is None:
        raise ValueError(f"{folder}: another 'zobench rate' is running on this folder")
    with lock:
        session = Session(chosen.spec, folder, ProcessCache(CATALOGUE))
        say(f"row {chosen.row}, seed {chosen.spec.seed}; choices are stored in {session.choices.path}")
        if session.choices.made:
            say(f"resumed after {len(session.choices.made)} choices")
        with RatingServer(session, f"{chosen.row}: zobench rate", port) as server:
            say(f"open {server.address} (once; Ctrl-C ends)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                say(f"\nstopped after {len(session.choices.made)} choices, which are stored", lines=True)


def _chosen(plan: Plan, row: str | None, task: str | None, seed: int | None) -> PlannedRun:
    """The first run that these name and whose method only compares losses."""
    from zobench.parameters import configure
    from zobench.plugins import lookup

    part = plan.part((row,) if row else (), (task,) if task else (), () if seed is None else (seed,))
    tuned = [run for s in part.studies for run in s.finals(s.candidates[len(s.candidates) // 2])]
    for run in (*tuned, *part.runs):
        method = lookup("methods", run.spec.method.name)
        if run.spec.unlearning is None and method.picks(configure(method.Config, run.spec.method.params)):
            return run
    rows = ", ".join(dict.fromkeys(run.row for run in (*tuned, *part.runs)))
    raise ValueError(
        f"suite {plan.suite!r}: none of {rows or 'its rows'} can be driven by rankings; add a row with the "
        "method zo-ranksgd"
    )
