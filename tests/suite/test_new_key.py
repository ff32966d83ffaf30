"""The recipe "Add an evaluation key" of CONTRIBUTING, followed in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from zobench.suite.schema import EvaluationEntry

ROOT = Path(__file__).resolve().parents[2]
FIELD = "    calibration_bins: Annotated[Count, FieldMeta(since=4, unlearning=False)] = None\n"
FOLLOWED = """
from zobench.spec import Evaluation, HASHED_VERSION
from zobench.suite import SuiteError, expand, load
from pathlib import Path

def written(suite, key):
    text = Path("suites", f"{suite}.yaml").read_text("utf-8").replace("evaluation: {", "evaluation: {" + key)
    Path("changed.yaml").write_text(text)
    return Path("changed.yaml")

plain = expand(load(Path("suites/tuning-fewshot.yaml"))).studies[0].final_templates[0].spec
new = expand(load(written("tuning-fewshot", "calibration_bins: 5, "))).studies[0].final_templates[0].spec
assert "calibration_bins" not in plain.canonical()
assert new.evaluation.calibration_bins == 5 and '"calibration_bins":5' in new.canonical()
try:
    load(written("unlearning", "calibration_bins: 5, "))
except SuiteError as error:
    assert "evaluation.calibration_bins: has no meaning in an unlearning suite" in str(error)
else:
    raise AssertionError("an unlearning suite took the key")
"""


def test_the_key_of_the_recipe_is_read_hashed_and_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "zobench", tmp_path / "zobench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "suites", tmp_path / "suites")
    path = tmp_path / "zobench" / "spec.py"
    before = path.read_text("utf-8")
    assert FIELD.strip() in (ROOT / "CONTRIBUTING.md").read_text("utf-8"), "the recipe says this line"
    after = before.replace("    at: Points = ()\n", "    at: Points = ()\n" + FIELD)
    assert after != before
    path.write_text(re.sub(r"^SPEC_VERSION = \d+", "SPEC_VERSION = 4", after, flags=re.MULTILINE))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWED], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_table_of_the_manual_has_every_key_of_evaluation() -> None:
    manual = (ROOT / "docs" / "suite.md").read_text("utf-8")
    section = manual.partition("### `evaluation`")[2].partition("\n###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(EvaluationEntry.model_fields)
