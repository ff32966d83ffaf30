"""docs/suite.md knows every key of a suite file and every built-in task."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zobench import plugins
from zobench.spec import ModelRef
from zobench.suite import schema
from zobench.tasks.catalogue import TASKS

ROOT = Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "docs" / "suite.md").read_text(encoding="utf-8")
NOT_WRITTEN = {"path", "unloadable"}
"""Fields of a loaded suite that no file has."""


@pytest.mark.parametrize(
    "model",
    [schema.Suite, ModelRef, schema.MethodEntry, schema.LimitSettings, schema.ExecutorSettings],
)
def test_every_key_of_a_suite_is_in_the_manual(model) -> None:
    keys = {field.alias or name for name, field in model.model_fields.items()} - NOT_WRITTEN
    assert {key for key in keys if not re.search(rf"`{key}`", MANUAL)} == set()


def test_every_task_and_its_kind_are_in_the_manual() -> None:
    assert {name for name in TASKS if f"`{name}`" not in MANUAL} == set()
    kinds = {plugins.lookup("tasks", name).kind for name in TASKS}
    assert {k for k in kinds if k.replace("-", " ") not in MANUAL.replace("-", " ")} == set()


def test_the_parameters_of_flow_inversion_are_in_the_manual() -> None:
    from zobench.tasks.flow_inversion import FlowInversionConfig

    part = MANUAL.partition("**Generated images.**")[2].partition("`package:efficientnet")[0]
    assert set(FlowInversionConfig.__dataclass_fields__) <= set(re.findall(r"`(\w+)`", part))
