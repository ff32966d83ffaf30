"""Commands for many machines: ``worker``, ``slurm``, ``merge``, ``export-suite``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zobench.cli.console import say
from zobench.cli.planning import expanded
from zobench.cli.suites import Output, SuiteFile, Verbose, _finish, results_of

LeaseSeconds = Annotated[
    float,
    typer.Option(min=1, metavar="SECONDS", help="A run whose worker was silent for so long is taken again."),
]


def worker(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Results folder with a plan (zobench plan SUITE --to DIR)."),
    ],
    lease: LeaseSeconds = 300,
    verbose: Verbose = False,
) -> None:
    """Execute runs of the plan in a shared folder, beside other workers, until all are finished.

    Every run is executed by one worker. If a worker is killed, its run is taken by another one after the
    lease time, and goes on from its checkpoint. Start as many workers as you like, on any machine that has
    the folder and the data; all data paths are those of the suite."""
    from zobench.runner import run_plan
    from zobench.runner.work_file import read_work

    outcome = run_plan(
        read_work(folder),
        folder,
        workers=0,
        lease_seconds=lease,
        messages="none" if verbose else "all",
    )
    if outcome.blocked and not outcome.failed:
        outcome.failed.append((str(folder), outcome.blocked))
    for run_name, message in outcome.unmeasured:
        say(f"not measured: {run_name}: {message}", lines=True, err=True)
    _finish(outcome.failed, outcome.interrupted, f"zobench worker {folder}")


def slurm(
    suite: SuiteFile,
    output: Output = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of array tasks.")] = 8,
    time: Annotated[
        str, typer.Option(help="Time limit of a task; a later call of sbatch goes on.")
    ] = "24:00:00",
    lease: LeaseSeconds = 300,
) -> None:
    """Write the plan of a suite into its results folder, and print an array script for 'sbatch'.

    Each task of the array is a 'zobench worker'. Two minutes before the time limit, its run writes a
    checkpoint. Example: zobench slurm fewshot > job.sh; sbatch job.sh"""
    from zobench.cli.slurm_script import script
    from zobench.runner.work_file import write_work

    wanted = expanded(suite)
    folder = results_of(wanted, output).resolve()
    written = write_work(folder, wanted)
    say(script(wanted, folder, workers=workers, time=time, lease=lease), lines=True)
    say(f"plan: {written}; afterwards: zobench report {folder}", err=True)


def export_suite(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results folder of one suite.")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="File to write; default: standard output.")
    ] = None,
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", help="Export what names code of a model's repository or a reward file."),
    ] = False,
) -> None:
    """Write the suite of a results folder as a suite file: planned again, it gives the same run ids.

    The file is planned before the command ends. Exit code 1: it lacks runs of the results, which are named,
    or it cannot be planned on this machine."""
    from zobench.suite import exported

    if output is not None and output.exists():
        raise ValueError(f"{output} exists already; choose another name")
    beside = Path() if output is None else output.parent
    suite, runs = exported.recorded(folder)
    if not trust_code:
        exported.refuse_code(folder, runs)
    body = exported.values(suite, runs, beside)
    if output is None:
        say(exported.text(body).rstrip("\n"), lines=True)
    else:
        output.write_text(exported.text(body), encoding="utf-8")
    try:
        found = exported.compare(exported.values(suite, runs, Path()), runs)
    except ValueError as error:
        say(f"not checked, because it cannot be planned here: {error}", lines=True, err=True)
        raise typer.Exit(1) from error
    for one in found.missing:
        say(f"not in the suite: {one}", err=True)
    more = f"; {found.more} more that the results do not have" if found.more else ""
    say(f"suite {suite}: plans {found.same} of the {len(runs)} recorded runs{more}", err=True)
    if found.missing:
        raise typer.Exit(1)


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="New results folder.")],
) -> None:
    """Merge results folders of several machines into a new one; the folders do not change.

    A run with identical records in several folders is written once; different records of one run are refused
    by name, before anything is written. Every file is compared with its recorded digest, and every run id
    with the one that follows from the run's specification and digests."""
    from zobench.store.merging import merge as join
    from zobench.verification.identity import refuse_false_ids

    found = join(folders, output, refuse_false_ids)
    say(f"{output}: {found.runs} runs; {found.identical} were in several folders with identical records")
    if found.replaced:
        say(f"{found.replaced} failed or interrupted runs were left out: another folder has their result")
