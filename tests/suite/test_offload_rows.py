"""Rows with ``perturbation: offload`` that cannot run are refused when the suite is read, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from zobench.suite import SuiteError, expand, load

SUITE = """\
suite: far
models: {{nano: {{name: "builtin:nano"{model}}}}}
tasks: {{nano-sentiment: {{}}}}
methods: {{row: {{method: {method}, perturbation: offload{more}}}}}
seeds: [1]
budget: {{forwards: 40, batch_size: 4}}
evaluation: {{test_items: 4}}
"""


def read(folder: Path, method: str = "mezo", more: str = "", model: str = "", end: str = ""):
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(method=method, more=more, model=model) + end, encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("method", ["mezo", "fzoo", "es", "lozo", "zo-ranksgd", "zo-sgd-block"])
def test_methods_of_seeds_and_scalars_are_planned(tmp_path: Path, method: str) -> None:
    (run,) = expand(read(tmp_path, method)).runs
    assert run.spec.perturbation == "offload"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("adamw", "adamw computes derivatives"),
        ("addax", "addax computes derivatives"),
        ("forward-gradient", "forward-gradient computes derivatives"),
        ("none", "none takes no steps"),
        ("zo-adam", "zo-adam keeps 8 bytes of state for each parameter"),
        ("hizoo", "hizoo keeps 4 bytes of state for each parameter"),
        ("zo-sgd-momentum", "zo-sgd-momentum keeps 4 bytes"),
        ("meerkat", "meerkat needs tensors as large as the weights"),
        ("zo-sgd-sign", "the update of zo-sgd-sign is not a list of seeds and scalars"),
        ("zo-muon", "the update of zo-muon is not a list of seeds and scalars"),
    ],
)
def test_other_methods_are_refused_by_name(tmp_path: Path, method: str, reason: str) -> None:
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, method)
    assert f"methods.row.perturbation: offload: {reason}" in str(caught.value)
    assert "use perturbation: streamed" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"more": ", noise: legacy"}, "legacy noise is drawn for the whole model"),
        ({"more": ", clients: {number: 2, local_steps: 1}"}, "'offload' cannot be combined with clients"),
        ({"model": ", device: cuda"}, "model 'nano' is on 'cuda'"),
        ({"more": ", train_on: {reward: exact-match}"}, "answers are generated token by token"),
        ({"end": "diagnostics: {measure: [variance]}\n"}, "diagnostics need unperturbed weights"),
    ],
)
def test_settings_that_need_all_weights_are_refused(tmp_path: Path, given: dict, reason: str) -> None:
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, **given)
    assert reason in str(caught.value)


def test_a_model_without_a_list_of_layers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path)
    monkeypatch.setattr("zobench.suite.check_offload.bare_modules", lambda ref: nn.Linear(2, 2))
    with pytest.raises(SuiteError, match=r"Linear has no list of layers .* \(model 'nano'\)"):
        read(tmp_path)
