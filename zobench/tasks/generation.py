"""Generated answers: prompt, greedy continuation, answer extractor, equivalence.

Training loss: mean negative log-likelihood per token of the gold answer (with its worked solution, if there
is one), teacher forced:  L = -(1/T) sum_t log p(a_t | prompt, a_<t), T counted over the minibatch. Cost: one
forward pass per loss; prediction costs one forward pass per generated token of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from zobench.data.example import Example
from zobench.data.image import Image
from zobench.metrics.calibration import accuracy_with_stderr
from zobench.models.base import LanguageModel
from zobench.models.chat import Chat
from zobench.models.scoring import (
    keeps_dtype,
    mean_of_items,
    option_log_likelihoods,
    option_token_log_likelihoods,
)
from zobench.tasks import encoder_decoder, encoding
from zobench.tasks.base import Batch, MetricValue, Prediction, Questions, Task
from zobench.tasks.equivalence import equivalent, harness_exact
from zobench.tasks.extraction import extractor
from zobench.tasks.prompts import Prompt
from zobench.tasks.scores import token_f1
from zobench.tasks.written import Written, answers_of, conversation


class GenerationTask(Task):
    """Base of every task that generates its answer; a subclass gives its prompt, limits and :meth:`splits`.

    Args:
        prompt: template without label words.
        max_new_tokens: longest answer in tokens.
        stop: strings that end an answer.
        reads: extractor for accuracy (compared by :func:`~zobench.tasks.equivalence.equivalent`).
        strict: extractor for strict accuracy, compared by ``strict_same``.
    """

    kind: ClassVar[str] = "generation"
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    measures: ClassVar[tuple[str, ...]] = ("accuracy", "strict_accuracy", "answered", "answer_tokens")

    def __init__(
        self,
        config: Any,
        *,
        prompt: Prompt,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        reads: str = "robust",
        strict: str = "gsm8k-strict",
        strict_same: Callable[[str | None, str], bool] = harness_exact,
    ) -> None:
        self.config = config
        self.prompt = prompt
        self.max_new_tokens = max_new_tokens
        self.stop = tuple(stop)
        self.reads = extractor(reads)
        self.strict = extractor(strict)
        self.strict_same = strict_same
        self.attackable = prompt.fields
        self.chance = 0.0

    def revision(self, lm: LanguageModel) -> int:
        """The version of the extractor: another extraction gives other scores."""
        return self.reads.version

    def target(self, example: Example) -> str:
        """The text to train on: the worked solution if the example has one (``meta["solution"]``), else the
        answer."""
        return str(example.meta.get("solution", _gold(example)))

    def prompt_text(self, example: Example) -> str:
        return self.prompt.context(example)

    def written(self, chat: Chat | None, example: Example, demonstrations: Sequence[Example] = ()) -> Written:
        """The text before the answer, and the text with the answer to train on (:meth:`target`)."""
        if chat is not None:
            plain = [(e, self.written(None, e)) for e in demonstrations]
            return conversation(chat, example, self.written(None, example), plain)
        shots = [(e, self.target(e)) for e in demonstrations]
        completed = self.prompt.completed(example, self.target(example), shots)
        return Written(self.prompt.context(example, shots), (completed,))

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        texts = [self.written(lm.chat, e) for e in examples]
        if lm.architecture == "encoder-decoder":
            answers = [answers_of(e, t)[0] for e, t in zip(examples, texts, strict=True)]
            rows = encoder_decoder.answer_rows(lm, [t.context for t in texts], answers, ends=True)
            tokens = sum(len(r.ids) + len(r.target) for r in rows)
            return Batch(encoder_decoder.inputs_of(lm, rows), sequences=len(rows), tokens=tokens)
        rows = encoding.option_rows(lm, [t.context for t in texts], [t.completed[0] for t in texts])
        inputs = {"padded": encoding.padded(lm, rows), **encoding.option_targets(rows, lm.device)}
        return Batch(inputs, sequences=len(rows), tokens=sum(len(r.ids) for r in rows))

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean negative log-likelihood per answer token; see the module docstring."""
        if keeps_dtype():
            return mean_of_items(self.item_losses(lm, module, batch))
        inputs = batch.inputs
        sums = option_log_likelihoods(module, inputs["padded"], inputs["targets"], inputs["target_mask"])
        return -sums.sum() / inputs["target_mask"].sum()

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """One loss per token of the gold answers."""
        inputs = batch.inputs
        padded, targets, mask = inputs["padded"], inputs["targets"], inputs["target_mask"]
        return -option_token_log_likelihoods(module, padded, targets, mask)

    def scored_batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        batch = self.batch(lm, examples)
        return Batch({**batch.inputs, "examples": tuple(examples)}, batch.sequences, batch.tokens)

    def score(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, name: str) -> torch.Tensor:
        """Share of right answers by the robust rule, or mean F1 of the words of answer and gold answer.

        Cost: one forward pass per generated token of the minibatch, up to ``max_new_tokens``."""
        if module is not lm.module:
            raise ValueError("answers can be generated only by the model itself, not by a stand-in for it")
        examples = batch.inputs["examples"]
        predictions = self.predict(lm, examples)
        if name == "accuracy":
            return torch.tensor([float(p.correct) for p in predictions]).mean()
        pairs = zip(examples, predictions, strict=True)
        return torch.tensor([token_f1(*self.compared(e, p)) for e, p in pairs]).mean()

    def questions(self, lm: LanguageModel, examples: Sequence[Example]) -> Questions:
        prompts = tuple(self.written(lm.chat, example).context for example in examples)
        return Questions(prompts, self.max_new_tokens, self.stop)

    def compared(self, example: Example, prediction: Prediction) -> tuple[str, str]:
        """Answer and gold answer, the texts that F1 compares."""
        return prediction.output, _gold(example)

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """Greedy answers; ``correct`` by the robust rule, ``strict_correct`` by the strict one."""
        prompts = [self.written(lm.chat, e, demonstrations).context for e in examples]
        texts = lm.generate(prompts, max_new_tokens=self.max_new_tokens, stop=self.stop)
        counts = _token_counts(lm, texts)
        return [self.judge(e, t, n) for e, t, n in zip(examples, texts, counts, strict=True)]

    def shown(self, lm: LanguageModel, examples: Sequence[Example]) -> list[Image | str]:
        """The generated texts."""
        return [p.raw for p in self.predict(lm, examples)]

    def judge(self, example: Example, text: str, tokens: int = 0) -> Prediction:
        """Score one generated text."""
        answer, gold = self.reads(text), _gold(example)
        return Prediction(
            example_id=example.id,
            output=answer if answer is not None else "",
            correct=equivalent(answer, gold),
            raw=text,
            tokens=tokens,
            strict_correct=self.strict_same(self.strict(text), gold),
        )

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``accuracy`` (robust), ``strict_accuracy``, ``answered`` (an answer was found),
        ``answer_tokens`` (mean length)."""
        n = len(predictions)
        if n == 0:
            raise ValueError("this split has no examples to measure")
        columns: dict[str, list[float]] = {
            "accuracy": [float(p.correct) for p in predictions],
            "strict_accuracy": [float(p.strict_correct or False) for p in predictions],
            "answered": [float(p.output != "") for p in predictions],
            "answer_tokens": [float(p.tokens) for p in predictions],
        }
        found = {name: accuracy_with_stderr(np.asarray(values)) for name, values in columns.items()}
        return {name: MetricValue(value, n, stderr) for name, (value, stderr) in found.items()}


def _gold(example: Example) -> str:
    if example.answer is None:
        raise ValueError(f"example {example.id!r} has no gold answer")
    return example.answer


def _token_counts(lm: LanguageModel, texts: Sequence[str]) -> list[int]:
    """Number of tokens of each text (the answer up to the stop string), encoded alone."""
    if not texts:
        return []
    encoded = lm.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return [len(ids) for ids in encoded]
