"""Commands that read a suite: ``run``, ``plan``, ``tune``, ``init``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zobench.cli import notifying
from zobench.cli.console import console, say
from zobench.cli.interrupting import answering
from zobench.cli.planning import expanded, planned
from zobench.names import printable

if TYPE_CHECKING:
    from zobench.suite.plan import Plan

SuiteFile = Annotated[
    str,
    typer.Argument(
        metavar="SUITE", help="A shipped suite by name ('zobench list suites'), or a file (YAML)."
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="Results folder; default: the suite's, else reports/<suite>.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes; 0: all in this one; default: the suite's, else one per core."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Leave warnings and messages of libraries on the terminal."),
]
OnlyRows = Annotated[
    list[str] | None, typer.Option(metavar="ROW", help="Only this leaderboard row; may be repeated.")
]
OnlyTasks = Annotated[
    list[str] | None, typer.Option("--task", metavar="TASK", help="Only this task; may be repeated.")
]
OnlySeeds = Annotated[
    list[int] | None, typer.Option("--seed", metavar="N", help="Only this seed; may be repeated.")
]

Scratch = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder for the copies of weights in 'perturbation: offload'; default: the run's.",
    ),
]
Notify = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        envvar="ZOBENCH_NOTIFY",
        help="Command that is started at the end, with a summary as JSON on its standard input.",
    ),
]


def run(
    suite: SuiteFile,
    output: Output = None,
    workers: Workers = None,
    only: OnlyRows = None,
    task: OnlyTasks = None,
    seed: OnlySeeds = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try attacks, probes and lm-eval tasks again that failed twice."),
    ] = False,
    scratch: Scratch = None,
    notify: Notify = None,
    verbose: Verbose = False,
) -> None:
    """Execute every run of a suite that is not finished yet, then write the leaderboard page.

    The same command resumes an interrupted suite: finished runs are kept, unfinished ones resume from their
    checkpoint, and a failed measurement of a trained run is tried once more. --only, --task and --seed select
    a part of the suite; the page shows what the whole suite has so far. Warnings and messages of libraries go
    to a file in the folder 'logs' of the results; one line says how many there are."""
    from zobench.runner import run_plan

    told = None if notify is None else notifying.arguments(notify)
    wanted, earlier = planned(suite, verbose=verbose)
    folder = results_of(wanted, output)
    rows, tasks, seeds = only or (), task or (), seed or ()
    _warn_of_devices(wanted.part(rows, tasks, seeds))
    _warn_of_unloadable(wanted.part(rows, tasks, seeds))
    _warn_of_one_process(wanted, workers)
    outcome = run_plan(
        wanted,
        folder,
        workers=workers,
        only=rows,
        tasks=tasks,
        seeds=seeds,
        fail_fast=fail_fast,
        retry_failed=retry_failed,
        scratch=scratch,
        messages="none" if verbose else "all",
        earlier=earlier,
    )
    if outcome.blocked and not outcome.failed:
        outcome.failed.append((str(folder), outcome.blocked))
    if outcome.done and not outcome.blocked:
        _show_leaderboard(folder)
    for run_name, message in outcome.unmeasured:
        say(f"not measured: {run_name}: {message}", lines=True, err=True)
    if told is not None:
        notifying.notify(told, notifying.summary_of(wanted.suite, folder, outcome))
    _finish(outcome.failed, outcome.interrupted, f"zobench run {suite}")
    if outcome.unmeasured:
        raise typer.Exit(1)


def _show_leaderboard(folder: Path) -> None:
    say("writing the leaderboard page: reading results, testing differences", err=True)
    kept = f"stopped while writing the page: every run is kept; 'zobench report {folder}' writes the page."
    with answering(printable(kept)):
        from zobench.report.analysis import analyse
        from zobench.report.build import write_page
        from zobench.report.terminal import show

        found = analyse([folder])
        write_page(folder / "index.html", found)
        show(found, console())
    say(f"leaderboard: {folder / 'index.html'}")


def plan(
    suite: SuiteFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print runs, studies and costs as JSON.")] = False,
    show_prompts: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Print N training prompts of each task and their answers' tokens."
        ),
    ] = 0,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write the plan there for 'zobench worker'."),
    ] = None,
) -> None:
    """Show every run of a suite, its budget and its estimated cost, without running anything."""
    from zobench.suite.cost import estimate

    wanted = expanded(suite)
    results_of(wanted, to)  # refuses a place in which nothing can run
    if to is not None:
        from zobench.runner.work_file import write_work

        write_work(to, wanted)
    if as_json:
        from zobench.cli.plan_view import json_parts

        for part in json_parts(wanted, estimate(wanted)):
            say(part, lines=True)
        _warn_of_unloadable(wanted, fails=True)
        return
    from zobench.cli.plan_view import print_plan
    from zobench.suite.notes import notes

    print_plan(wanted, estimate(wanted))
    for sentence in notes(wanted):
        say(f"note: {sentence}")
    for sentence in _made_otherwise(wanted):
        say(f"note: {sentence}")
    if show_prompts:
        from zobench.suite.shown_prompts import prompts

        for line in prompts(wanted, show_prompts):
            say(line)
    _warn_of_unloadable(wanted, fails=True)


def tune(suite: SuiteFile, output: Output = None, workers: Workers = None, verbose: Verbose = False) -> None:
    """Execute only the tuning trials of a suite and write the selected settings to tuning.json in the results
    folder.

    Trials are stored like any other run: 'zobench run' of the same suite uses them.
    """
    from zobench.cli.tuned import print_selections, selections
    from zobench.runner import run_plan

    wanted, earlier = planned(suite, verbose=verbose)
    if not (wanted.studies or wanted.unloadable):
        raise ValueError(f"{suite}: no method has 'tune:', so there is nothing to tune")
    folder = results_of(wanted, output)
    _warn_of_devices(wanted)
    _warn_of_unloadable(wanted)
    _warn_of_one_process(wanted, workers)
    trials = tuple(study.model_copy(update={"final_templates": ()}) for study in wanted.studies)
    part = wanted.model_copy(update={"runs": (), "studies": trials, "followers": ()})
    outcome = run_plan(
        part,
        folder,
        workers=workers,
        whole=wanted,
        messages="none" if verbose else "all",
        earlier=earlier,
    )
    if not outcome.interrupted:
        found = selections(wanted, folder)
        target = folder / "tuning.json"
        target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print_selections(found)
        say(f"choices: {target}")
    _finish(outcome.failed, outcome.interrupted, f"zobench tune {suite}")


def init(
    name: Annotated[
        Path | None,
        typer.Argument(
            metavar="NAME.yaml",
            help="File to write; it must not exist. Default: DATA.yaml for a data file, or mine.yaml.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Your file (CSV, TSV, JSON Lines, parquet): the suite is written for it."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Its column with the class or the answer.")] = None,
    text: Annotated[str | None, typer.Option(help="Its column with the text; default: the longest.")] = None,
    model: Annotated[str, typer.Option(help="Folder, GGUF file, package:NAME, builtin:NAME or hub id.")] = (
        "builtin:nano"
    ),
) -> None:
    """Write a commented starter suite that validates and runs as it is."""
    from zobench.suite.own_starter import starter_for
    from zobench.suite.starter import STARTER

    if name is None:
        name = Path("mine.yaml" if data is None else f"{data.stem}.yaml")
    if name.suffix not in (".yaml", ".yml"):
        raise ValueError(f"{name}: a suite file ends in .yaml")
    if name.exists():
        raise ValueError(f"{name} exists already; choose another name")
    if (data is None) != (label is None):
        raise ValueError(
            "--data and --label belong together: a file, and its column with the class or answer"
        )
    if data is not None and label is not None:
        body = starter_for(name, model=model, data=data, label=label, text=text)
    else:
        body = STARTER.replace("NAME", name.stem, 1).replace('"builtin:nano"', json.dumps(model), 1)
    name.write_text(body, encoding="utf-8")
    say(f"wrote {name}; next: zobench plan {name}, then zobench run {name}")


def _warn_of_devices(plan: Plan) -> None:
    from zobench.suite.notes import device_notes

    for sentence in device_notes(plan):
        say(f"warning: {sentence}", err=True)


def _warn_of_unloadable(plan: Plan, *, fails: bool = False) -> None:
    """Name the rows whose plugin cannot be imported. ``fails``: they make the exit code 1."""
    from zobench.suite.notes import unloadable_notes

    found = unloadable_notes(plan)
    for sentence in found:
        say(f"warning: {sentence}", err=True)
    if plan.unloadable and fails:
        raise typer.Exit(1)


def _warn_of_one_process(plan: Plan, workers: int | None) -> None:
    """Name what nothing protects from if all runs share the process of the command."""
    if workers == 0 or plan.executor.kind == "inline":
        say(
            "warning: all runs share this process (--workers 0 or executor inline): a library that aborts it "
            "ends the command (its last words are in the folder 'logs' of the results), and no limit stops a "
            "step that hangs; the same command goes on from the last checkpoint",
            err=True,
        )


def _made_otherwise(wanted: Plan) -> tuple[str, ...]:
    """Results in the suite's folder from an earlier revision or from unknown plugin code."""
    from zobench.report.provenance import notes

    rows = [run.row for run in wanted.runs] + [study.row for study in wanted.studies]
    return notes(results_of(wanted, None), rows)


def results_of(plan: Plan, output: Path | None) -> Path:
    from zobench.store.paths import local_folder, results_folder

    for name in (output, plan.output):
        if name is not None:
            local_folder(name)
    return output or (Path(plan.output) if plan.output else results_folder(Path("reports"), plan.suite))


def _finish(failed: list[tuple[str, str]], interrupted: bool, again: str) -> None:
    """Report failed runs and exit with code 1, or with 130 after an interruption."""
    for run_name, message in failed:
        say(f"failed: {run_name}: {message}", lines=True, err=True)
    if interrupted:
        say(f"interrupted; resume with: {again}", err=True)
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)
