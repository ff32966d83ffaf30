"""Commands that read results: ``report``, ``status``, ``diff``, ``show``, ``query``, ``compact`` ..."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zobench.cli.console import console, say
from zobench.cli.finding import find_run
from zobench.cli.storage import folders_of

if TYPE_CHECKING:
    from zobench.store.plan_file import Entry

OR_PUSHED = " or s3://BUCKET/PREFIX of 'zobench push'"
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Run folder, or the first digits of a run id under --results.")
]
ResultsOption = Annotated[Path, typer.Option(help="Where to look for a run that is named by its id.")]
LeaderboardOption = Annotated[
    str | None, typer.Option(help="What is ranked: a shipped leaderboard or a YAML file.")
]

EveryOption = Annotated[
    bool, typer.Option("--all", help="Also show runs that are no longer in the suite, in separate rows.")
]
SuiteOption = Annotated[
    str | None,
    typer.Option(
        metavar="SUITE", help="Suite whose runs are shown, as for 'run'; default: the one run last."
    ),
]


def wanted_by(suite: str | None) -> tuple[Entry, ...] | None:
    """The plan entries of a suite; ``None`` without one."""
    if suite is None:
        return None
    from zobench.runner.plan_record import entries
    from zobench.suite import expand, load

    return entries(expand(load(suite)))


def report(
    folders: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help=f"Results folders{OR_PUSHED}; several are merged."),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Folder or .html file; default: the first folder.")
    ] = None,
    leaderboard: LeaderboardOption = None,
    site: Annotated[bool, typer.Option("--site", help="Also write a page for every run.")] = False,
    every: EveryOption = False,
    suite: SuiteOption = None,
) -> None:
    """Write the leaderboard page of one or more results folders: one offline HTML file.

    It shows the runs of the current suite, and states how many other runs the folders contain."""
    from zobench.report.build import build
    from zobench.store.paths import storage_scheme

    wanted = wanted_by(suite)
    if output is None and storage_scheme(folders[0]) is not None:
        raise ValueError(f"{folders[0]}: the page cannot be written there; choose a folder with --output")
    page = build(
        folders_of(folders),
        output or Path(folders[0]),
        leaderboard=leaderboard,
        site=site,
        every=every,
        suite=wanted,
    )
    say(f"leaderboard: {page}")


def show(run: RunName, results: ResultsOption = Path("reports")) -> None:
    """Show one run: specification, status, metrics and curve."""
    from zobench.cli.run_view import print_run

    print_run(find_run(run, results))


def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL",
            help="Views: runs, steps, metrics, predictions, attacks, finals (clean test values).",
        ),
    ],
    folders: Annotated[list[str], typer.Argument(metavar="DIR...", help=f"Results folders{OR_PUSHED}.")],
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values instead of a table.")] = False,
    allow_files: Annotated[
        bool, typer.Option("--allow-files", help="Allow any statement; it may read and write any file.")
    ] = False,
) -> None:
    """Run SQL (DuckDB) over the parquet tables of results folders; no other file can be read."""
    import duckdb

    from zobench.store import query as ask

    try:
        found = ask(sql, folders_of(folders), allow_files=allow_files)
    except duckdb.Error as error:
        raise ValueError(str(error)) from error
    body = found.to_csv(index=False).rstrip("\n") if csv else found.to_string(index=False)
    say(body, lines=True, exact_in_pipes=csv)


def diff(
    before: Annotated[
        str, typer.Argument(metavar="A", help=f"Results folder{OR_PUSHED} to compare against.")
    ],
    after: Annotated[
        str, typer.Argument(metavar="B", help=f"Results folder{OR_PUSHED} that may be better or worse.")
    ],
    leaderboard: LeaderboardOption = None,
    every: EveryOption = False,
    suite: SuiteOption = None,
) -> None:
    """Compare two results folders entry by entry: what changed, and whether the change is significant.

    Exit code 0: no row is worse. 1: a row is significantly worse, or is missing from B. 2: a row cannot be
    compared (different budget, data, model ...).
    """
    from zobench.report.diff import compare_folders, print_diff

    a, b = folders_of([before, after])
    found = compare_folders(a, b, leaderboard=leaderboard, every=every, suite=wanted_by(suite))
    print_diff(found, console())
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def status(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders.")],
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move what is damaged to runs/damaged; 'run' does so itself.")
    ] = False,
) -> None:
    """Count the runs of results folders by status, and compare every file with its recorded digest.

    Nothing is changed without --set-aside. Exit code 1: something is damaged.
    """
    from zobench.cli.status_view import print_status

    good = [print_status(folder, set_aside) for folder in folders]
    if not all(good):
        raise typer.Exit(1)


def prune(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove them.")] = False,
) -> None:
    """List finished runs that are not in the plan of their folder; with --yes remove them."""
    from zobench.report.planned import unwanted
    from zobench.store.removal import remove_runs

    for folder in folders:
        found = unwanted(folder)
        for run_id, row, status in found:
            say(f"{folder}: {run_id}  {row}  {status}")
        if yes:
            removed = remove_runs(folder, [run_id for run_id, _, _ in found])
            say(f"{folder}: {removed} runs removed")
        else:
            say(f"{folder}: {len(found)} runs that are not in the suite; --yes removes them")


def compact(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders.")],
) -> None:
    """Move finished runs into one parquet file per table, so that many runs take few files.

    All commands read compacted runs as before. This is done automatically when a plan ends with more than a
    thousand finished runs."""
    from zobench.store import compact as move

    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"no results folder {str(folder)!r}")
        say(f"{folder}: {move(folder)} runs compacted")
