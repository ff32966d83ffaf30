"""Losses per item: their mean is the loss, and each belongs to its own example."""

from __future__ import annotations

import pytest
import torch

from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef


@pytest.fixture(scope="module")
def nano():
    return load(ModelRef(name="builtin:nano"))


def built(name, **params):
    made = lookup("tasks", name)
    return made(made.Config(**params))


def choice():
    """A classification task by whole options, trained both ways."""
    from zobench.tasks.classification import PromptedClassification

    class Choice(PromptedClassification):
        def splits(self, seed):
            return built("nano-topic").splits(seed)

    def make(training):
        prompt = built("nano-topic").prompt
        return Choice(None, prompt=prompt, scoring="option-likelihood", training=training)

    return make


CASES = {
    "label-words": lambda: built("nano-sentiment"),
    "options": lambda: choice()("classification"),
    "teacher-forcing": lambda: choice()("teacher-forcing"),
    "generation": lambda: built("nano-problems", max_new_tokens=8),
    "smoothllm": lambda: built("smoothllm", of="nano-sentiment"),
}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
@torch.no_grad()
def test_their_mean_is_the_loss(nano, make):
    task = make()
    rows = list(task.splits(0).train[:5])
    batch = task.batch(nano, rows)
    items, loss = task.item_losses(nano, nano.module, batch), task.loss(nano, nano.module, batch)
    assert items.ndim == 1
    assert len(items) >= 5
    assert torch.allclose(items.mean(), loss, rtol=1e-5)
    [alone] = task.item_losses(nano, nano.module, task.batch(nano, rows[:1]))[:1]
    assert torch.allclose(alone, items[0], rtol=1e-4, atol=1e-5)
    assert items.std() > 0
