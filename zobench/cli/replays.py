"""Commands that rebuild runs from their recorded scalars: ``replay``, ``export``, ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zobench.cli.console import say
from zobench.cli.finding import find_run
from zobench.cli.results import EveryOption, LeaderboardOption, ResultsOption, RunName, SuiteOption, wanted_by


def replay(
    run: RunName,
    results: ResultsOption = Path("reports"),
    to: Annotated[
        int | None, typer.Option(min=0, metavar="STEP", help="Rebuild the state after this many steps.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the model there, or tuned tensors to NAME.safetensors."),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run Python code from the model's repository.")
    ] = False,
) -> None:
    """Rebuild a run's weights from its base model and recorded scalars, and compare their digest with the
    recorded one.

    This needs no forward pass. With --export the weights are written as a Hugging Face folder with tokenizer
    (low-rank adapters merged). Exit code 1: the digest differs.
    """
    from zobench.runner import replay as rebuild

    report = rebuild(find_run(run, results).path, to=to, export=export, trust_code=trust_code)
    say(report, lines=True)
    if not report.matches:
        raise typer.Exit(1)


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DIR", help="A run to submit, or a results folder whose tables are written."
        ),
    ],
    submission: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Submission to write (.zip).")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write every table of the report here, as Parquet.")
    ] = None,
    hub: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a folder for the Hugging Face hub here; nothing is uploaded."
        ),
    ] = None,
    results: ResultsOption = Path("reports"),
    leaderboard: LeaderboardOption = None,
    every: EveryOption = False,
    suite: SuiteOption = None,
) -> None:
    """Write a run as a submission, the tables of a report as Parquet files, or results for the hub.

    A submission is one file that anybody can check with 'zobench verify'. The tables are those of the page
    that 'zobench report' writes, unfiltered, with all columns and with numbers at full precision. A folder
    for the hub has every record of the results and a card (README.md).
    """
    if [submission, tables, hub].count(None) != 2:
        raise ValueError(
            "zobench export needs either --submission FILE (of a run) or --tables DIR (of a report) or --hub "
            "DIR (of results): one of them"
        )
    if hub is not None:
        from zobench.report.hub import write_hub_folder

        for path in write_hub_folder(run, hub):
            say(path)
        return
    if tables is not None:
        from zobench.report.export import write_tables

        wanted = wanted_by(suite)
        for path in write_tables(run, tables, leaderboard, every=every, suite=wanted):
            say(path)
        return
    from zobench.verification import write_submission

    assert submission is not None
    found = find_run(run, results)
    say(f"submission: {write_submission(found.folder, found.run_id, submission)}")


def _steps(text: str) -> int | None:
    """``all`` as ``None``, else the number."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise ValueError(f"--steps must be a whole number or 'all', not {text!r}")
    return int(text)


def verify(
    submission: Annotated[Path, typer.Argument(metavar="SUBMISSION", help="File of 'zobench export'.")],
    steps: Annotated[str, typer.Option(metavar="N|all", help="Steps whose losses are recomputed.")] = "16",
    draw_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the choice of steps; default: unpredictable.")
    ] = None,
    test_seed: Annotated[
        int | None, typer.Option(min=0, help="Also evaluate on test examples drawn with this data seed.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Path of the base model; its digest must equal the declared one.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device to verify on; default: the declared one.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0.0, help="Allowed relative difference of losses; default: by dtype.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the findings as JSON.")] = None,
    add: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Add the run, marked as verified, to this results folder."),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the Python file with the run's reward.")
    ] = False,
) -> None:
    """Check a submission: replay it, recompute losses on the declared minibatches, evaluate the result.

    No claim of the file is trusted: directions, coefficients, weights and test metrics are computed here from
    the base model and the specification. Exit code 1: a check failed.
    """
    import json

    from zobench.verification import Demands, add_to_results, verify_submission
    from zobench.verification.trial import check_readable

    check_readable(submission)
    demands = Demands(_steps(steps), draw_seed, test_seed, model, tolerance, device, trust_code)
    report = verify_submission(submission, demands)
    say(report, lines=True)
    if output is not None:
        output.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
    if not report.passed:
        raise typer.Exit(1)
    if add is not None:
        say(f"added: {add_to_results(report, add)}")
