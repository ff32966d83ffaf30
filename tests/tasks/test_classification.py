"""Prompted classification: both scoring rules against plain computations, batch splits,
demonstrations, hostile text."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.example import Example, Splits
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.encoding import label_word_ids
from zobench.tasks.prompts import Prompt

Tiny = Callable[[str], Any]
TOLERANCE = 2e-5
"""Largest difference of a float32 loss between batch shapes, on losses of order 1 to 10."""
PROMPT = Prompt("{sentence} It was {answer} .", ("terrible", "great"))
LONG_WORDS = Prompt("{sentence} It was", ("utterly terrible", "great", "so so okay"))
EXAMPLES = [
    Example(id=f"e{i}", text={"sentence": "the film " + "was good and " * (i % 5)}, label=i % 2)
    for i in range(9)
]


class Fixed(PromptedClassification):
    def splits(self, seed: int) -> Splits:
        return Splits(EXAMPLES, EXAMPLES, EXAMPLES)


def _words(**kwargs: Any) -> Fixed:
    return Fixed(None, **{"prompt": PROMPT, "scoring": "label-words", **kwargs})


def _options(**kwargs: Any) -> Fixed:
    return Fixed(None, **{"prompt": LONG_WORDS, "scoring": "option-likelihood", **kwargs})


def _plain_option_scores(lm: Any, prompt: Prompt, example: Example) -> torch.Tensor:
    """Mean log-probability per option token, one unpadded sequence at a time with all logits."""
    scores = []
    for word in prompt.words:
        context = lm.tokenizer(prompt.context(example))["input_ids"]
        ids = lm.tokenizer(prompt.completed(example, word))["input_ids"]
        logs = lm.module(torch.tensor([ids])).logits[0].log_softmax(-1)
        option = range(len(context), len(ids))
        scores.append(sum(logs[i - 1, ids[i]] for i in option) / len(option))
    return torch.stack(scores)


@torch.inference_mode()
def test_label_words_are_scored_at_the_answer_position(tiny: Tiny) -> None:
    for family in ("llama", "opt", "bert-masked"):
        lm, task = tiny(family), _words()
        words = label_word_ids(lm, PROMPT)
        rows = []
        for e in EXAMPLES:
            if family == "bert-masked":
                ids = lm.tokenizer(f"{e.text['sentence'].strip()} It was [MASK] .")["input_ids"]
                place = ids.index(lm.tokenizer.mask_token_id)
            else:
                ids = lm.tokenizer(f"{e.text['sentence']} It was".strip())["input_ids"]
                place = -1
            rows.append(lm.module(torch.tensor([ids])).logits[0, place, words])
        expected = torch.nn.functional.cross_entropy(
            torch.stack(rows), torch.tensor([e.label for e in EXAMPLES])
        )
        batch = task.batch(lm, EXAMPLES)
        assert batch.sequences == len(EXAMPLES)
        loss = task.loss(lm, lm.module, batch)
        assert loss.dtype == torch.float32
        assert abs(loss.item() - expected.item()) < TOLERANCE
        chosen = [p.label for p in task.predict(lm, EXAMPLES)]
        assert chosen == torch.stack(rows).argmax(1).tolist()


@torch.inference_mode()
def test_option_likelihood_is_the_mean_over_the_options_tokens(tiny: Tiny) -> None:
    for family in ("llama", "gpt2", "opt"):
        lm, task = tiny(family), _options()
        scores = torch.stack([_plain_option_scores(lm, LONG_WORDS, e) for e in EXAMPLES])
        gold = torch.tensor([e.label for e in EXAMPLES])
        batch = task.batch(lm, EXAMPLES)
        assert batch.sequences == 3 * len(EXAMPLES)
        expected = torch.nn.functional.cross_entropy(scores, gold)
        assert abs(task.loss(lm, lm.module, batch).item() - expected.item()) < TOLERANCE
        predictions = task.predict(lm, EXAMPLES)
        assert [p.label for p in predictions] == scores.argmax(1).tolist()
        found = torch.tensor([p.log_probs for p in predictions])
        torch.testing.assert_close(found, scores.log_softmax(1), atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_teacher_forcing_is_the_library_loss_on_the_gold_options_tokens(tiny: Tiny) -> None:
    lm, task = tiny("llama"), _options(training="teacher-forcing")
    total, count = 0.0, 0
    for e in EXAMPLES:
        context = lm.tokenizer(LONG_WORDS.context(e))["input_ids"]
        ids = torch.tensor(
            [lm.tokenizer(LONG_WORDS.completed(e, LONG_WORDS.words[e.label or 0]))["input_ids"]]
        )
        labels = ids.clone()
        labels[:, : len(context)] = -100
        n = ids.shape[1] - len(context)
        total += lm.module(ids, labels=labels).loss.item() * n
        count += n
    batch = task.batch(lm, EXAMPLES)
    assert batch.sequences == len(EXAMPLES)
    assert abs(task.loss(lm, lm.module, batch).item() - total / count) < TOLERANCE


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "bert-masked", "bert-encoder"])
@torch.inference_mode()
def test_splitting_the_batch_does_not_change_the_loss(tiny: Tiny, family: str) -> None:
    lm = tiny(family)
    causal = family not in ("bert-masked", "bert-encoder")
    for task in (_words(), *((_options(),) if causal else ())):
        whole = task.loss(lm, lm.module, task.batch(lm, EXAMPLES)).item()
        for cuts in ((0, 1, 9), (0, 4, 6, 9)):
            parts = [EXAMPLES[a:b] for a, b in itertools.pairwise(cuts)]
            mean = sum(task.loss(lm, lm.module, task.batch(lm, p)).item() * len(p) for p in parts) / 9
            assert abs(mean - whole) < TOLERANCE


@torch.inference_mode()
def test_loss_goes_through_the_module_it_is_given(tiny: Tiny) -> None:
    for family in ("llama", "bert-masked", "bert-encoder"):
        lm, task = tiny(family), _words()
        batch = task.batch(lm, EXAMPLES)
        other = copy.deepcopy(lm.module)
        for p in other.parameters():
            p.mul_(0.5)
        before = task.loss(lm, lm.module, batch).item()
        assert task.loss(lm, other, batch).item() != before
        assert task.loss(lm, lm.module, batch).item() == before


def test_prediction_is_in_order_and_probabilities_sum_to_one(tiny: Tiny) -> None:
    lm, task = tiny("llama"), _words()
    forward = task.predict(lm, EXAMPLES)
    backward = task.predict(lm, EXAMPLES[::-1])
    assert [p.example_id for p in forward] == [e.id for e in EXAMPLES]
    assert [p.label for p in forward] == [p.label for p in backward[::-1]]
    for p, e in zip(forward, EXAMPLES, strict=True):
        assert p.log_probs is not None
        assert abs(sum(math.exp(v) for v in p.log_probs) - 1) < 1e-9
        assert p.correct == (p.label == e.label)
        assert p.output == PROMPT.words[p.label or 0]


def test_training_loss_is_the_nll_of_the_predictions(tiny: Tiny) -> None:
    for family, task in (("llama", _words()), ("llama", _options()), ("bert-encoder", _words())):
        lm = tiny(family)
        with torch.inference_mode():
            loss = task.loss(lm, lm.module, task.batch(lm, EXAMPLES)).item()
        measured = task.metrics(EXAMPLES, task.predict(lm, EXAMPLES))
        assert abs(measured["nll"].value - loss) < TOLERANCE
        assert set(measured) == {"accuracy", "nll", "brier", "ece_15_equal_width"}
        assert measured["accuracy"].n == len(EXAMPLES)
        assert measured["accuracy"].stderr is not None


def test_calibrated_prediction_subtracts_the_content_free_sum(tiny: Tiny) -> None:
    lm, task = tiny("gpt2"), _options(calibrated=True)
    empty = EXAMPLES[0].with_text("sentence", "")
    lengths = torch.tensor(
        [
            float(
                len(lm.tokenizer(LONG_WORDS.completed(empty, w))["input_ids"])
                - len(lm.tokenizer(LONG_WORDS.context(empty))["input_ids"])
            )
            for w in LONG_WORDS.words
        ]
    )
    with torch.inference_mode():
        free = _plain_option_scores(lm, LONG_WORDS, empty) * lengths
        for e, p in zip(EXAMPLES, task.predict(lm, EXAMPLES), strict=True):
            scores = _plain_option_scores(lm, LONG_WORDS, e) * lengths - free
            torch.testing.assert_close(torch.tensor(p.log_probs), scores.log_softmax(0), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="option-likelihood"):
        _words(calibrated=True)


def test_demonstrations_stand_before_the_prompt(tiny: Tiny) -> None:
    shots: Sequence[Example] = EXAMPLES[:2]
    assert PROMPT.context(EXAMPLES[2], [(e, PROMPT.words[e.label or 0]) for e in shots]) == (
        "the film  It was terrible .\n\nthe film was good and  It was great .\n\n"
        "the film was good and was good and  It was"
    )
    lm, task = tiny("llama"), _words()
    assert [p.log_probs for p in task.predict(lm, EXAMPLES[3:], shots)] != [
        p.log_probs for p in task.predict(lm, EXAMPLES[3:])
    ]
    with pytest.raises(ValueError, match="cannot use in-context demonstrations"):
        task.predict(tiny("bert-encoder"), EXAMPLES[3:], shots)


HOSTILE = [
    "",
    "{answer} {0} {sentence}",
    "[MASK] [MASK]",
    "</s><s><pad>",
    "\u202eשלום 🙂",
    "a " * 3000,
    "<b>\\x",
]


@pytest.mark.parametrize("family", ["llama", "opt", "bert-masked", "bert-encoder"])
def test_any_text_gets_an_answer(tiny: Tiny, family: str) -> None:
    lm, task = tiny(family), _words()
    rows = [Example(id=str(i), text={"sentence": t}, label=0) for i, t in enumerate(HOSTILE)]
    for p in task.predict(lm, rows):
        assert p.label in (0, 1)
        assert all(torch.isfinite(torch.tensor(p.log_probs)))


def test_words_that_cannot_be_told_apart_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="do not differ in their first token"):
        _words(prompt=Prompt("{sentence} It was", ("great", "great fun"))).predict(tiny("llama"), EXAMPLES)
    with pytest.raises(ValueError, match=r"\['utterly'\] are not single tokens|\['very great'\]"):
        _words(prompt=Prompt("{sentence} {answer}", ("great", "very great"))).predict(
            tiny("bert-masked"), EXAMPLES
        )
    with pytest.raises(ValueError, match="needs a causal or an encoder-decoder model"):
        _options().predict(tiny("bert-masked"), EXAMPLES)


def test_templates_are_checked() -> None:
    with pytest.raises(ValueError, match="more than one"):
        Prompt("{answer} {answer}")
    with pytest.raises(ValueError, match="did you mean 'lower'"):
        Prompt("{sentence|lowwer}")
    with pytest.raises(ValueError, match="not distinct"):
        Prompt("{sentence}", ("a", "a"))
    with pytest.raises(ValueError, match="no text field 'title'"):
        Prompt("{title}").context(EXAMPLES[0])
    with pytest.raises(ValueError, match="starts with the answer"):
        Prompt("{answer} : {sentence}").context(EXAMPLES[0])
    assert Prompt("{a} and {b|lower} then {a}{answer}").fields == ("a", "b")


def test_an_empty_split_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="no labelled examples"):
        _words().metrics([], [])


def test_losses_allow_forward_mode_derivatives_through_a_functional_view(tiny: Tiny, tmp_path: Path) -> None:
    """Eager attention: the directional derivative by dual numbers against a central difference.

    In float32, as models are used: in float64 the library's eager softmax, which computes in float32, turns
    fully masked rows of left padding into NaN.
    """
    from tiny_models import save_tiny

    from zobench.models import load
    from zobench.spec import ModelRef

    for family in ("llama", "bert-masked", "bert-encoder"):
        lm = load(ModelRef(name=str(save_tiny(family, tmp_path / family)), attention="eager"))
        task = _words()
        batch = task.batch(lm, EXAMPLES)
        values = {n: p.detach() for n, p in lm.module.named_parameters()}
        generator = torch.Generator().manual_seed(0)
        along = {n: torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in values.items()}

        def loss(moved: dict[str, torch.Tensor], lm: Any = lm, task: Fixed = task, batch: Any = batch) -> Any:
            class View(torch.nn.Module):
                def forward(self, *args: Any, **kwargs: Any) -> Any:
                    return torch.func.functional_call(lm.module, moved, args, kwargs)

            return task.loss(lm, View(), batch)

        _, derivative = torch.func.jvp(loss, (values,), (along,))
        h = 1e-3
        with torch.no_grad():
            up = loss({n: v + h * along[n] for n, v in values.items()}).item()
            down = loss({n: v - h * along[n] for n, v in values.items()}).item()
        assert derivative.item() == pytest.approx((up - down) / (2 * h), rel=2e-2, abs=2e-3)
