"""What rows are compared on: specifications of earlier versions lack keys that came later."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from zobench.report.blocks import label_blocks
from zobench.spec import ModelRef

NAMES = {"a": ("small", "mood"), "b": ("small", "mood")}


def runs(*models: dict[str, object]) -> pd.DataFrame:
    columns = {"task": "nano-sentiment", "task_params": "{}", "model": "builtin:nano"}
    specs = [json.dumps({"model": model}) for model in models]
    return pd.DataFrame({"run_id": ["a", "b"], "spec": specs, **columns})


def written(**changes: object) -> dict[str, object]:
    return ModelRef(name="builtin:nano").model_copy(update=changes).model_dump(mode="json")


LATER = [key for key in ModelRef.model_fields if key not in ("name", "device", "attention")]


@pytest.mark.parametrize("key", LATER)
def test_a_key_that_an_earlier_run_lacks_has_its_default(key: str) -> None:
    earlier = {k: v for k, v in written().items() if k != key}
    block, label = label_blocks(runs(written(), earlier), NAMES)
    assert block.nunique() == 1
    assert set(label) == {"mood"}


def test_another_value_is_another_block() -> None:
    earlier = {k: v for k, v in written().items() if k != "dtype"}
    block, label = label_blocks(runs(written(dtype="bfloat16"), earlier), NAMES)
    assert block.nunique() == 2
    assert label.nunique() == 2
