"""The built-in learned proxy: shipped files, loading, building, its gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from zobench.models import load
from zobench.models.building import build_model, gates_of
from zobench.models.inspection import problems
from zobench.models.loading import skeleton
from zobench.models.nano import RANKING, path
from zobench.models.nano.build import WEIGHTS, file_digest
from zobench.models.ranker.build import RECIPE_VERSION
from zobench.proxies import ranking
from zobench.spec import ModelRef

(NAME,) = RANKING


def test_the_files_are_those_of_the_provenance_and_can_be_made_again(tmp_path: Path) -> None:
    record = json.loads((path(NAME) / "PROVENANCE.json").read_text())
    assert record["digest"] == file_digest(path(NAME) / WEIGHTS) == build_model(NAME, tmp_path)["digest"]
    assert record["recipe_version"] == RECIPE_VERSION
    assert all(gate["passed"] for gate in record["gates"])


def test_it_loads_without_tokenizer_and_its_size_is_that_of_the_statistics() -> None:
    lm = load(ModelRef(name=f"builtin:{NAME}"))
    module: Any = lm.module
    assert lm.architecture == "ranker"
    assert lm.tokenizer is None
    assert lm.pixels is None
    assert (module.config.blocks, module.config.columns) == (ranking.BLOCKS, ranking.COLUMNS)
    made = skeleton(ModelRef(name=f"builtin:{NAME}"))
    assert made is not None
    assert {n: p.shape for n, p in made.named_parameters()} == {
        n: p.shape for n, p in module.named_parameters()
    }
    assert "takes statistics" in problems(ModelRef(name=f"builtin:{NAME}", max_length=8))[0]


def test_a_network_of_equal_predictions_fails_the_gate(tmp_path: Path) -> None:
    build_model(NAME, tmp_path)
    (passed,) = gates_of(NAME, tmp_path)
    assert passed.passed
    lm = load(ModelRef(name=str(tmp_path)))
    with torch.no_grad():
        for tensor in lm.module.parameters():
            tensor.zero_()
    lm.module.save_pretrained(tmp_path)  # type: ignore[operator,union-attr]
    (failed,) = gates_of(NAME, tmp_path)
    assert not failed.passed
