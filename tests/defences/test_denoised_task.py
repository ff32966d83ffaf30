"""Denoised smoothing of text embeddings: the model's head is the black box, and certificates are metrics."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from zobench.defences.certificates import ABSTAIN
from zobench.defences.denoised_task import DenoisedTask, DenoisedTaskConfig, states_of
from zobench.defences.votes import NO_ANSWER
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef

SHORT = {"steps": 60, "n": 60, "n0": 10, "latent": 8}


@pytest.fixture(scope="module")
def nano():
    return load(ModelRef(name="builtin:nano"))


def built(**params):
    made = lookup("tasks", "denoised-smoothing")
    assert made is DenoisedTask
    return made(DenoisedTaskConfig(**{**SHORT, **params}))


def test_the_black_box_is_the_model_on_its_own_embedding(nano):
    task = built(of="nano-topic")
    rows = list(task.splits(0).test[:12])
    plain = task.inner.predict(nano, rows)
    with torch.no_grad():
        found = task._head(nano)(states_of(task.inner, nano, rows)).double().log_softmax(-1)
    assert torch.allclose(found, torch.tensor([p.log_probs for p in plain], dtype=torch.float64), atol=1e-4)
    assert found.argmax(-1).tolist() == [p.label for p in plain]


def test_answers_do_not_depend_on_the_batch_and_certificates_are_read_from_votes(nano):
    task = built(radii=(0.0, 0.1, 0.4, 1.0))
    rows = list(task.splits(0).test[:30])
    state = torch.get_rng_state()
    together = task.predict(nano, rows)
    assert torch.equal(state, torch.get_rng_state())
    alone = [task.predict(nano, [e])[0] for e in rows[:3]]
    assert [p.output for p in alone] == [p.output for p in together[:3]]
    found = [task.certificate_of(p) for p in together]
    assert [c.label for c in found] == [ABSTAIN if p.label is None else p.label for p in together]
    assert all((c.radius > 0) == (p.output != NO_ANSWER) for c, p in zip(found, together, strict=True))
    metrics = task.metrics(rows, together)
    certified = [metrics[f"certified_accuracy_at_{r:g}"].value for r in task.config.radii]
    assert certified[0] == metrics["accuracy"].value
    assert certified == sorted(certified, reverse=True)
    assert metrics["abstained"].value == sum(p.label is None for p in together) / 30
    assert not any(p.correct for p in together if p.label is None)


def test_other_weights_get_a_defence_of_their_own(nano):
    task = built(by_queries=False)
    rows = list(task.splits(0).test[:4])
    task.predict(nano, rows)
    first = task.defence(nano)
    assert task.defence(nano) is first
    moved = dataclasses.replace(nano, module=copy.deepcopy(nano.module))
    with torch.no_grad():
        next(moved.module.parameters()).mul_(1.01)
    assert task.defence(moved) is not first
    assert first.smoothed.queries == 0


@pytest.mark.parametrize("estimator", ["cge", "rge"])
def test_queries_certify_more_texts_than_reconstruction_alone(nano, estimator):
    def certified(by_queries):
        task = built(
            of="nano-topic", estimator=estimator, by_queries=by_queries, steps=150, latent=12, radii=(0.25,)
        )
        rows = list(task.splits(0).test[:150])
        found = task.metrics(rows, task.predict(nano, rows))
        return found["certified_accuracy_at_0.25"].value, task.defence(nano).smoothed.queries

    (tuned, asked), (bare, none) = certified(True), certified(False)
    assert none == 0
    assert asked == 150 * 32 * (13 if estimator == "cge" else 9)
    assert tuned > bare + 0.05


def test_what_it_cannot_defend_is_refused(nano):
    with pytest.raises(ValueError, match="is not scored by label words"):
        built(of="nano-problems")
    with pytest.raises(ValueError, match="did you mean 'cge'"):
        DenoisedTaskConfig(estimator="cgd")
    with pytest.raises(ValueError, match="alpha"):
        DenoisedTaskConfig(alpha=1.0)
    masked = load(ModelRef(name="builtin:nano-mlm", architecture="masked"))
    task = built()
    with pytest.raises(ValueError, match="needs a causal model"):
        task.predict(masked, list(task.splits(0).test[:1]))
