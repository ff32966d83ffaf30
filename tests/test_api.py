"""zobench from Python: suites as dictionaries, comparisons, any module with any loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import zobench


def suite(**more: Any) -> dict[str, Any]:
    return {
        "suite": "small",
        "models": {"nano": {"name": "builtin:nano"}},
        "tasks": {"nano-sentiment": {}},
        "methods": {"mezo": {"params": {"lr": 5e-4}}, "zero-shot": {"method": "none", "group": "control"}},
        "seeds": [0],
        "budget": {"forwards": 8, "batch_size": 4},
        "evaluation": {"test_items": 10},
        **more,
    }


def test_a_dictionary_runs_as_the_file_with_its_keys(tmp_path: Path) -> None:
    results = zobench.run(suite(), output=tmp_path / "a", progress=False)
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(suite()))
    again = zobench.run(path, output=tmp_path / "b", progress=False)
    assert sorted(results.runs["run_id"]) == sorted(again.runs["run_id"])
    assert len(zobench.read(tmp_path / "a").finals) == len(results.finals) > 0


def test_mistakes_in_a_dictionary_name_the_key() -> None:
    with pytest.raises(ValueError, match=r"methods\.mezo\.params\.lrr: unknown parameter"):
        zobench.run(suite(methods={"mezo": {"params": {"lrr": 1}}}))
    with pytest.raises(ValueError, match=r"suite: seedz: unknown key.*did you mean 'seeds'") as caught:
        zobench.run(suite(seedz=[1]))
    assert "suite:1" not in str(caught.value), "a dictionary has no lines"


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no finished run in .*; give the folders"):
        zobench.read(tmp_path)


def test_compare_gives_a_row_for_each_method_and_the_untrained_model(tmp_path: Path) -> None:
    table = zobench.compare(["mezo"], forwards=4, batch_size=4, seeds=(0, 1), output=tmp_path)
    assert set(table.index) == {"mezo", "zero-shot"}
    assert list(table.columns) == ["mean", "min", "max", "seeds"]
    assert (table["seeds"] == 2).all()
    assert (table["min"] <= table["mean"]).all()


def test_an_edited_comparison_is_not_pooled_with_its_past(tmp_path: Path) -> None:
    """The kind: another budget, another method and one seed less in the same folder."""
    zobench.compare(["mezo", "fzoo"], forwards=20, batch_size=4, seeds=(0, 1), output=tmp_path)
    table = zobench.compare("mezo", forwards=4, batch_size=4, seeds=0, output=tmp_path)
    assert set(table.index) == {"mezo", "zero-shot"}
    assert (table["seeds"] == 1).all()
    assert len(zobench.read(tmp_path).runs) > len(table)


def test_any_module_any_loss_any_list_of_dictionaries() -> None:
    def train(seed: int) -> tuple[list[float], torch.nn.Module]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [torch.nn.Linear(2, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)]
            module = torch.nn.Sequential(*layers)
        rows = [{"x": [float(i % 5), 1.0], "y": float(i % 5)} for i in range(40)]

        def loss(model: torch.nn.Module, batch: list[dict[str, Any]]) -> torch.Tensor:
            out = model(torch.tensor([row["x"] for row in batch]))
            return ((out[:, 0] - torch.tensor([row["y"] for row in batch])) ** 2).mean()

        records = zobench.fit(module, loss, rows, config={"lr": 1e-2}, forwards=401, seed=seed)
        return [r.loss for r in records], module

    losses, module = train(0)
    assert len(losses) == 200
    assert sum(losses[-20:]) < sum(losses[:20]) / 2
    again, same = train(0)
    assert again == losses
    pairs = zip(module.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    assert train(1)[0] != losses
    plain = [{"x": [0.0, 1.0]}] * 8
    with pytest.raises(ValueError, match=r"loss returned a tensor of shape \(8, 1\); it must return one"):
        zobench.fit(module, lambda m, b: m(torch.tensor([row["x"] for row in b])), plain)


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, zobench; zobench.run; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        zobench.runn  # noqa: B018
