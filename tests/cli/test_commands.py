"""Commands called in the test process: help, user errors, plans, the starter suite, names, the doctor."""

from __future__ import annotations

import json
import re
import signal
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.cli import suites as suite_commands
from zobench.cli.planning import expanded
from zobench.plugins import Entry

diagnosis = import_module("zobench.cli.doctor")
COMMANDS = [
    "run", "plan", "tune", "init", "worker", "slurm", "merge", "push", "rate", "export-suite",
    "report", "status", "diff", "show", "query", "prune",
    "compact", "replay", "export", "verify", "list", "docs", "doctor", "check", "model build",
    "model get", "model import",
]  # fmt: skip
SUITE = """\
suite: small
description: two methods
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-topic: {}
methods:
  mezo: {sweep: {lr: [1e-3, 1e-2]}}
  zero-shot: {group: control}
attacks:
  char-typos: {}
seeds: [1, 2]
budget: {forwards: 100}
evaluation: {at: [50], test_items: 10}
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(cli: CliRunner, command: str) -> None:
    found = cli.invoke(app, [*command.split(), "--help"])
    assert found.exit_code == 0
    assert f"Example: zobench {command}" in found.output


def test_every_command_is_in_the_list_above() -> None:
    names = {c.name for c in app.registered_commands} | {
        f"{g.name} {c.name}" for g in app.registered_groups for c in g.typer_instance.registered_commands
    }
    assert names == set(COMMANDS)


def test_top_help_has_an_example(cli: CliRunner) -> None:
    assert "Example: zobench run suites/fewshot.yaml" in cli.invoke(app, ["--help"]).output


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_mistake_is_a_message_and_with_debug_a_traceback(
    cli: CliRunner, tmp_path: Path, where: str
) -> None:
    missing = str(tmp_path / "no.yaml")
    found = cli.invoke(app, ["plan", missing])
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: {missing}:1: cannot be read")
    assert "Traceback" not in found.stderr
    args = ["--debug", "plan", missing] if where == "before" else ["plan", missing, "--debug"]
    with pytest.raises(ValueError, match="cannot be read"):
        cli.invoke(app, args, catch_exceptions=False)


def test_an_unknown_command_names_the_nearest(cli: CliRunner) -> None:
    found = cli.invoke(app, ["plann"])
    assert found.exit_code == 2
    assert "Did you mean 'plan'" in found.stderr


def test_version(cli: CliRunner) -> None:
    assert cli.invoke(app, ["--version"]).output.startswith("zobench ")


@pytest.fixture
def suite_file(tmp_path: Path, fake_catalogues: None) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


def test_plan_shows_every_run_and_the_total(cli: CliRunner, suite_file: Path) -> None:
    found = cli.invoke(app, ["plan", str(suite_file)])
    assert found.exit_code == 0, found.output
    assert found.output.count("mezo lr=0.001") == 3
    assert (
        "6 runs, 400 forward passes of training, at most 100 test examples to evaluate, "
        "at most 120 examples to attack" in found.output
    )


def test_a_plan_cuts_no_word_at_100_columns(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = cli.invoke(app, ["plan", "fewshot"]).output
    assert max(map(len, shown.splitlines())) <= 100
    assert "…" not in shown
    words = set(shown.split())
    for word in (
        "zo-sgd-momentum",
        "nano-sentiment",
        "char-typos",
        "irrelevant-sentence",
        "shuffled",
        "B/param",
        "forwards",
    ):
        assert any(found.strip(",") == word for found in words), f"{word} is cut"


def test_plan_as_json(cli: CliRunner, suite_file: Path) -> None:
    body = json.loads(cli.invoke(app, ["plan", str(suite_file), "--json"]).output)
    assert len(body["plan"]["runs"]) == 6
    assert body["cost"]["total"]["forwards"] == 400


def test_all_mistakes_of_a_suite_are_shown(cli: CliRunner, suite_file: Path) -> None:
    suite_file.write_text(
        SUITE.replace("zero-shot:", "zero-shots:").replace("seeds: [1, 2]", "seeds: [1, 1]")
    )
    found = cli.invoke(app, ["plan", str(suite_file)])
    assert found.exit_code == 2
    assert "did you mean 'zero-shot'" in found.stderr
    assert f"{suite_file}:12: seeds[1]: seed 1 is listed 2 times" in found.stderr


def test_tune_without_a_study_says_so(cli: CliRunner, suite_file: Path) -> None:
    found = cli.invoke(app, ["tune", str(suite_file)])
    assert found.exit_code == 2
    assert "no method has 'tune:'" in found.stderr


class FakeSummary:
    done, kept, seconds, first_seconds = 0, 0, 0.0, None
    failed: list[tuple[str, str]] = []  # noqa: RUF012
    interrupted, blocked = False, ""
    unmeasured: list[tuple[str, str]] = []  # noqa: RUF012


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({}, 0, ""),
        ({"failed": [("mezo on x, seed 1", "boom")]}, 1, "failed: mezo on x, seed 1: boom"),
        ({"interrupted": True}, 130, "interrupted; resume with: zobench run"),
    ],
)
def test_run_passes_its_options_on_and_reports_how_it_ended(
    cli: CliRunner,
    suite_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    code: int,
    says: str,
) -> None:
    import zobench.runner

    seen: dict[str, Any] = {}

    def run_plan(plan: Any, output: Path, **options: Any) -> FakeSummary:
        seen.update(options, suite=plan.suite, output=output)
        summary = FakeSummary()
        for name, value in changes.items():
            setattr(summary, name, value)
        return summary

    monkeypatch.setattr(zobench.runner, "run_plan", run_plan, raising=False)
    args = ["run", str(suite_file), "--output", "out", "--workers", "1", "--only", "zero-shot", "--seed", "1"]
    found = cli.invoke(app, args)
    assert found.exit_code == code
    assert says in found.stderr
    assert seen["suite"] == "small"
    assert seen["output"] == Path("out")
    assert (seen["workers"], seen["only"], seen["tasks"], seen["seeds"]) == (1, ["zero-shot"], (), [1])


def test_results_go_where_the_suite_says(suite_file: Path) -> None:
    plan = expanded(suite_file)
    assert suite_commands.results_of(plan, None) == Path("reports/small")
    assert suite_commands.results_of(plan.model_copy(update={"output": "o"}), None) == Path("o")
    assert suite_commands.results_of(plan, Path("given")) == Path("given")


def test_init_refuses_to_overwrite(cli: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert cli.invoke(app, ["init", str(path)]).exit_code == 0
    assert path.read_text().startswith("# A zobench suite")
    assert "suite: mine\n" in path.read_text()
    again = cli.invoke(app, ["init", str(path)])
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert cli.invoke(app, ["init", str(tmp_path / "mine.txt")]).exit_code == 2


@pytest.mark.parametrize("what", ["methods", "tasks", "attacks"])
def test_list_names_what_the_catalogue_has(cli: CliRunner, fake_catalogues: None, what: str) -> None:
    import suite_fakes

    found = cli.invoke(app, ["list", what])
    assert found.exit_code == 0
    assert set(suite_fakes.TARGETS[what]) <= {line.split()[0] for line in found.output.splitlines()}


def test_list_details_shows_cost_parameters_and_what_cannot_be_loaded(
    cli: CliRunner, fake_catalogues: None
) -> None:
    lines = cli.invoke(app, ["list", "methods", "--details"]).output.splitlines()
    assert any(line.startswith("fzoo") and " 9 " in line and "full, lora" in line for line in lines)
    assert any(line.startswith("broken") and "FAILED" in line for line in lines)


def test_list_details_shows_type_default_and_meaning_of_every_parameter(cli: CliRunner) -> None:
    shown = cli.invoke(app, ["list", "methods", "--details", "--name", "mezo"]).output
    assert re.search(r"^ +epsilon +0.001 +a finite number above 0 +smoothing radius eps\. *$", shown, re.M)
    assert "fzoo" not in shown
    unknown = cli.invoke(app, ["list", "methods", "--name", "mezzo"])
    assert unknown.exit_code == 2
    assert "did you mean 'mezo'" in unknown.stderr


def test_list_models_names_the_built_in_ones(cli: CliRunner) -> None:
    assert "builtin:nano " in cli.invoke(app, ["list", "models"]).output


def test_list_of_an_unknown_kind_is_a_usage_error(cli: CliRunner) -> None:
    assert cli.invoke(app, ["list", "modles"]).exit_code == 2


def test_list_plugins_shows_the_error_of_one_and_goes_on(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from zobench import plugins

    (tmp_path / "no_python.py").write_text("x = 1\ndef f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    targets = {
        "good": "suite_fakes:Mezo",
        "bad": "no_such_module:Thing",
        "typo": "no_python:Thing",
        "plain": "collections:OrderedDict",
        "function": "collections:namedtuple",
        "half": "zobench.zo.method:ZerothOrder",
        "mezo": "suite_fakes:Mezo",
    }
    group = "zobench.optimizers"
    points = {group: [metadata.EntryPoint(name, target, group) for name, target in targets.items()]}
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.get(group, []))
    found = cli.invoke(app, ["list", "plugins"])
    assert found.exit_code == 0
    lines = {line.split("  ")[0]: line.rstrip() for line in found.output.splitlines()}
    for name in ("good", "unknown package.mezo"):
        assert lines[name].endswith("ok")
    for name, told in {
        "bad": "No module named 'no_such_module'",
        "typo": f"{tmp_path}/no_python.py:2: SyntaxError: ",
        "plain": "is not one of the methods: its class has no 'Config'",
        "function": "is not one of the methods: collections:namedtuple is not a class",
        "half": "is not one of the methods: its class has no 'Config'",
    }.items():
        assert "FAILED" in lines[name]
        assert told in lines[name]
    shown = cli.invoke(app, ["list", "methods", "--details", "--name", "plain"]).output
    assert "FAILED: 'plain' from unknown package is not one of the methods" in shown
    checked = cli.invoke(app, ["check", "plain"])
    assert checked.exit_code == 2
    assert "its class has no 'Config'" in checked.stderr


def test_entries_keep_the_built_in_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from zobench import plugins

    point = metadata.EntryPoint("mezo", "suite_fakes:Mezo", "zobench.optimizers")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    found = plugins.entries("methods")
    assert found["mezo"].origin == "builtin"
    assert found["unknown package.mezo"] == Entry(
        "unknown package.mezo", "suite_fakes:Mezo", "unknown package"
    )


def test_doctor_never_fails_and_asks_no_hub_when_offline(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("ZOBENCH_DATA", raising=False)
    found = cli.invoke(app, ["doctor"])
    assert found.exit_code == 0
    assert "not asked: HF_HUB_OFFLINE is set" in found.output
    assert "ZOBENCH_DATA is not set" in found.output


def test_doctor_says_how_a_model_is_run(cli: CliRunner) -> None:
    found = cli.invoke(app, ["doctor", "--model", "builtin:nano"])
    assert found.exit_code == 0
    said = " ".join(found.output.split())
    assert "LlamaForCausalLM as causal" in said
    assert "earlier logits when the last token changes: same" in said
    assert said.endswith("run as usual")


def test_doctor_refuses_a_model_by_name(cli: CliRunner) -> None:
    found = cli.invoke(app, ["doctor", "--model", "builtin:nano-mlm", "--architecture", "causal"])
    assert found.exit_code != 0
    assert "builtin:nano-mlm" in str(found.output) + str(found.exception)
    assert "is not causal" in str(found.output) + str(found.exception)


def test_doctor_names_the_extra_of_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "installed", {"accelerate": "1"}.get)
    assert diagnosis.extra_state("gguf") == (
        "models from GGUF files, 'zobench model get': not installed (gguf): pip install 'zobench[gguf]'"
    )
    assert diagnosis.extra_state("trainer") == "ZOTrainer inside Hugging Face's Trainer: accelerate 1"


def test_the_doctor_knows_every_extra_and_its_packages() -> None:
    import tomllib

    project = Path(diagnosis.__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    included = {"zobench[images]": extras["images"]}
    declared = {
        name: {
            re.match(r"[\w-]+", r)[0].replace("_", "-") for q in requirements for r in included.get(q, [q])
        }
        - {"pyyaml"}
        for name, requirements in extras.items()
        if name not in ("integrations", "test")
    }
    assert declared == {
        name: {p.replace("_", "-") for p in packages} for name, (_, packages) in diagnosis.EXTRAS.items()
    }


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense", "http://host.invalid"])
def test_doctor_reports_a_hub_that_is_down(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert diagnosis.hub().startswith(f"{endpoint} cannot be reached")


def test_doctor_counts_the_files_of_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sst").mkdir()
    (tmp_path / "sst" / "a.txt").write_text("x")
    monkeypatch.setenv("ZOBENCH_DATA", str(tmp_path))
    assert diagnosis.real_data() == f"{tmp_path}: sst (1 file)"
    monkeypatch.setenv("ZOBENCH_DATA", str(tmp_path / "none"))
    assert "which is not a folder" in diagnosis.real_data()


def test_doctor_finds_wordnet_in_nltk_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    (folder / "data.noun").write_text("")
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    assert diagnosis.wordnet() == str(folder)


def test_an_interrupt_while_planning_is_answered_at_once(cli: CliRunner, suite_file: Path, capfd) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zobench.cli.planning.expanded", lambda suite: signal.raise_signal(signal.SIGINT))
        found = cli.invoke(app, ["run", str(suite_file)])
    assert found.exit_code == 130
    told = capfd.readouterr().err + found.output
    assert "stopped while planning: nothing was executed" in told
    assert "interrupted" not in told  # it is said once
    assert signal.getsignal(signal.SIGINT) is before
