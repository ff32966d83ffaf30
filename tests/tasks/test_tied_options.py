"""Options with equal scores: the answer is drawn by the example's identity, and ties are counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zobench.data.example import Example
from zobench.defences.denoised_smoothing import votes
from zobench.metrics.calibration import calibration
from zobench.tasks.base import Prediction
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.prompts import Prompt
from zobench.tasks.scores import chosen_shares, macro_f1, option_accuracy
from zobench.tasks.ties import chosen_option, count_ties
from zobench.unlearning.evaluate import chosen_share

WORDS = ("sport", "money", "weather", "food")
BF16 = torch.bfloat16


class Topics(PromptedClassification):
    def __init__(self) -> None:
        super().__init__(None, prompt=Prompt("{text}:", words=WORDS))

    def splits(self, seed: int) -> Any:
        raise NotImplementedError


def examples(n: int) -> list[Example]:
    return [Example(id=f"row-{i}", text={"text": "x"}, label=i % len(WORDS)) for i in range(n)]


def test_the_draw_is_the_least_digest_of_the_tied_options() -> None:
    scores = torch.tensor([0.5, 2.0, 2.0, 2.0])
    digests = {w: hashlib.sha256(f"row-7\0{w}".encode()).digest() for w in WORDS[1:]}
    assert WORDS[chosen_option(scores, "row-7", WORDS)] == min(digests, key=digests.__getitem__)


def test_no_class_wins_more_often_than_another() -> None:
    """With bfloat16 logits of two values, class 0 was the answer of every tied row."""
    tied = torch.full((4,), 17.0, dtype=BF16).float()
    counts = Counter(chosen_option(tied, f"row-{i}", WORDS) for i in range(4000))
    assert all(abs(counts[k] - 1000) < 130 for k in range(4)), counts  # 4.7 standard deviations
    pair = torch.tensor([17.0, 3.0, 17.0, 1.0])
    counts = Counter(chosen_option(pair, f"row-{i}", WORDS) for i in range(4000))
    assert set(counts) == {0, 2}
    assert abs(counts[0] - 2000) < 150


def test_the_place_of_an_option_in_the_list_does_not_matter() -> None:
    tied = torch.ones(4)
    for i in range(50):
        one = WORDS[chosen_option(tied, f"row-{i}", WORDS)]
        other = WORDS[::-1][chosen_option(tied, f"row-{i}", WORDS[::-1])]
        assert one == other


def test_without_a_tie_nothing_changes() -> None:
    scores = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    gold = torch.arange(300) % 4
    right = torch.nn.functional.one_hot(gold, 4).bool()
    best = scores.argmax(dim=1)
    assert [chosen_option(s, str(i), WORDS) for i, s in enumerate(scores)] == best.tolist()
    assert torch.equal(option_accuracy(scores, right), right.gather(1, best[:, None]).float().mean())
    classes = torch.arange(4)
    chosen, wanted = best[:, None] == classes, gold[:, None] == classes
    f1 = 2 * (chosen & wanted).sum(0).float() / (chosen.sum(0) + wanted.sum(0)).clamp_min(1)
    assert torch.equal(macro_f1(scores, gold), f1.sum() / 4)
    assert count_ties(scores.log_softmax(1).tolist()) == 0
    nothing = torch.tensor([float("nan"), 1.0])
    assert chosen_option(nothing, "x", WORDS[:2]) == int(nothing.argmax())


def test_a_minibatch_counts_the_mean_over_the_draws() -> None:
    scores = torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    right = torch.tensor([[True, False, False], [False, True, False], [False, False, True]])
    assert float(option_accuracy(scores, right)) == pytest.approx((1 / 2 + 0 + 1 / 3) / 3)
    assert chosen_shares(scores).sum(1).tolist() == pytest.approx([1.0, 1.0, 1.0])
    padded = torch.tensor([[1.0, 1.0, -torch.inf]])
    assert chosen_shares(padded).tolist() == [[0.5, 0.5, 0.0]]


def test_predictions_of_a_task_and_their_count() -> None:
    task, rows = Topics(), examples(400)
    found = [task.prediction(e, torch.tensor([3.0, 3.0, 1.0, 0.0])) for e in rows]
    assert {p.output for p in found} == {"sport", "money"}
    assert all(p.output == WORDS[p.label or 0] for p in found)
    values = task.metrics(rows, found)
    assert values["ties"].value == 400
    assert values["accuracy"].value == pytest.approx(0.25, abs=0.08)
    clear = [task.prediction(e, torch.tensor([3.0, 2.0, 1.0, 0.0])) for e in rows]
    assert "ties" not in task.metrics(rows, clear)
    some = [clear[0], found[1], Prediction("g", "text", True)]
    assert count_ties([p.log_probs for p in some]) == 1


def test_only_half_precision_has_another_revision() -> None:
    def lm(dtype: str) -> Any:
        from zobench.models.base import ModelIdentity

        identity = ModelIdentity("m", None, "sha256:0", dtype, False, 1)
        return SimpleNamespace(
            architecture="causal", way=SimpleNamespace(token_types=False), identity=identity
        )

    revisions = [Topics().revision(lm(d)) for d in ("float32", "bfloat16", "float16")]
    assert revisions == [1, 2, 2]


def test_calibration_counts_a_tie_as_its_share() -> None:
    logs = np.log([[0.5, 0.5], [0.5, 0.5]])
    for gold in ([0, 0], [1, 1], [0, 1]):
        assert calibration(logs, gold).value == pytest.approx(0.0)


def test_copies_of_a_smoothed_input_that_tie_vote_in_turns() -> None:
    def tied(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0, 1.0]]).expand(len(x), 3)

    draws = torch.Generator().manual_seed(0)
    first, rest = votes(tied, torch.zeros(2), sigma=1.0, classes=3, n0=10, n=100, draws=draws)
    assert (first, rest) == ([5, 0, 5], [50, 0, 50])


def test_an_unlearned_answer_that_ties_counts_its_share() -> None:
    """It counted as wrong."""
    assert chosen_share(1.0, [2.0, 3.0]) == 1.0
    assert chosen_share(1.0, [1.0, 3.0]) == 0.5
    assert chosen_share(1.0, [1.0, 1.0]) == pytest.approx(1 / 3)
    assert chosen_share(1.0, [0.5, 1.0]) == 0.0
