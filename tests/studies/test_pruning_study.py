"""The measurements of task-aware pruning: what is calibrated on what, sparsity, and the committed table."""

from __future__ import annotations

import pytest
import torch

from zobench.models.loading import load
from zobench.spec import ModelRef
from zobench.studies import committed, pruning
from zobench.zo import build_space
from zobench.zo.pruning import kept_by_row


def test_the_two_sets_are_disjoint_in_kind_and_held_out_texts_are_others() -> None:
    general, people = pruning.general(1, 40), pruning.about_people(1, 40)
    assert len(general) == len(people) == 40
    assert not set(general) & set(people)
    assert all(text.startswith("Q: ") for text in people)
    assert not set(pruning.general(pruning.HELD_SEED, pruning.HELD)) & set(general)


@pytest.mark.parametrize("criterion", pruning.CRITERIA)
def test_every_criterion_scores_the_same_layers(criterion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "CALIBRATION", 4)
    lm = load(ModelRef(name="builtin:nano"))
    space = build_space("names", {"include": pruning.LAYERS}, lm.module)
    scores = pruning.scores(lm, space, criterion, 1)
    assert set(scores) == set(space)
    assert len(scores) == 7 * lm.module.config.num_hidden_layers  # type: ignore[union-attr,operator]
    masks = kept_by_row(scores, 0.5)
    kept = torch.cat([m.double().mean(1) for m in masks.values()])
    assert bool((kept == 0.5).all())


def test_every_setting_was_measured() -> None:
    table = committed.read(pruning.NAME)
    for sparsity in pruning.SPARSITIES:
        for criterion in pruning.CRITERIA:
            rows = table[(table["criterion"] == criterion) & (table["sparsity"] == sparsity)]
            assert len(rows) == (1 if criterion == "magnitude" else len(pruning.SEEDS))
    assert len(table[table["criterion"] == "none"]) == 1
