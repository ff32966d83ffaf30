"""Prompted classification, by label words at the answer position or by the likelihood of whole options.

Two scoring rules. With x a prompt and w_c the word of class c:

* ``label-words``: s_c = logit of w_c's first token at the answer position (the end of the prompt, or the mask
  of a masked model); loss = cross-entropy over these C logits. One sequence per example.
* ``option-likelihood``: s_c = (1/T_c) sum_t log p(w_c,t | x, w_c,<t) over the option's T_c tokens, one
  sequence per candidate. Loss: cross-entropy over the vector s (``classification``), or the mean NLL per
  token of the gold option alone (``teacher-forcing``: one sequence per example). With ``calibrated``
  prediction, s_c = sum_t log p(w_c,t | x, ..)
  - sum_t log p(w_c,t | x with empty fields, ..).

An encoder is scored by its classification head under both rules (:mod:`zobench.tasks.encoder`).

Source: MeZO, arXiv 2305.17333. Cost: one training loss is one forward pass, for any number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch

from zobench.data.example import Example
from zobench.models.base import LanguageModel
from zobench.models.batching import chunks_by_length
from zobench.models.chat import Chat
from zobench.models.scoring import (
    keeps_dtype,
    mean_of_items,
    option_token_log_likelihoods,
)
from zobench.models.shared_prefix import prediction_tokens, tail_logits
from zobench.tasks import encoder_decoder, encoding
from zobench.tasks.base import Batch, Prediction
from zobench.tasks.choosing import ChoiceTask, gold_label
from zobench.tasks.encoder import classifier_inputs, encoder_inputs, encoder_rows
from zobench.tasks.encoding import EncodedRow
from zobench.tasks.option_scores import (
    answer_scores,
    by_example,
    option_arguments,
    option_sums,
    packed_option_sums,
    packs,
    padded_rows,
)
from zobench.tasks.prompts import Prompt
from zobench.tasks.scores import macro_f1, option_accuracy
from zobench.tasks.written import Written, answers_of, conversation

Scoring = Literal["label-words", "option-likelihood"]
HEADS = ("encoder", "classifier")
"""Architectures whose head gives the scores of the classes; they read the fields, not the prompt."""
BLANK = "___"
"""The position of the answer in a prompt that is shown."""
TrainingMode = Literal["classification", "teacher-forcing"]


class PromptedClassification(ChoiceTask):
    """Base of every prompted classification task; a subclass gives its prompt and its :meth:`splits`.

    Args:
        config: the task's own parameters.
        prompt: template and label words.
        scoring: scoring rule; ``option-likelihood`` needs a causal model.
        training: loss under ``option-likelihood``.
        calibrated: subtract the content-free score in prediction; ``option-likelihood`` only.
        normalized: predict by the mean over an option's tokens; else by the sum, as lm-eval's ``acc`` does.
    """

    kind: ClassVar[str] = "classification"

    def __init__(
        self,
        config: Any,
        *,
        prompt: Prompt,
        scoring: Scoring = "label-words",
        training: TrainingMode = "classification",
        calibrated: bool = False,
        normalized: bool = True,
    ) -> None:
        if calibrated and scoring != "option-likelihood":
            raise ValueError("calibrated prediction needs scoring 'option-likelihood'")
        self.config = config
        self.prompt = prompt
        self.scoring: Scoring = scoring
        self.training: TrainingMode = training
        self.calibrated = calibrated
        self.normalized = normalized
        self.attackable = prompt.fields
        self.protected = prompt.words
        self.chance = 1.0 / len(prompt.words) if prompt.words else None
        self._label_ids: tuple[Any, list[int]] | None = None

    def revision(self, lm: LanguageModel) -> int:
        """1, plus 1 for an encoder that uses token types of a pair (earlier versions dropped them), plus 1 in
        half precision, where scores tie (earlier versions chose the first of the tied options)."""
        pairs = lm.architecture in HEADS and lm.way.token_types and len(self.prompt.fields) == 2
        return 1 + pairs + lm.identity.half_precision

    def names_of(self, label: int) -> tuple[str, ...]:
        """Names of a class that a trained head may have as its label, in order of preference."""
        return (self.class_name(label),)

    def class_name(self, label: int) -> str:
        return self.prompt.words[label] if label < len(self.prompt.words) else str(label)

    def prompt_text(self, example: Example) -> str:
        """The whole template with a blank in the position of the answer. If each example has its own options:
        the text before the answer, and the options unless that text lists them."""
        if not example.candidates:
            return self.prompt.masked(example, BLANK)
        text = self.option_context(example, ())
        listed = all(option in text for option in example.candidates)
        return text if listed else "\n".join((text, *(f"- {option}" for option in example.candidates)))

    def options(self, example: Example) -> tuple[str, ...]:
        """Answers to choose from, in class order."""
        return self.prompt.words

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Tokens for the training loss; ``sequences`` counts candidates under ``option-likelihood``."""
        return self._batch(lm, examples, gold_only=self.training == "teacher-forcing")

    def scored_batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """All options of every example, also under ``teacher-forcing``, and which of them are right."""
        batch = self._batch(lm, examples, gold_only=False)
        right = [[self.is_correct(e, i) for i in range(len(self.options(e)))] for e in examples]
        most = max(map(len, right))
        table = [row + [False] * (most - len(row)) for row in right]
        inputs = {**batch.inputs, "right": torch.tensor(table, device=lm.device)}
        return Batch(inputs, batch.sequences, batch.tokens)

    def _batch(self, lm: LanguageModel, examples: Sequence[Example], *, gold_only: bool) -> Batch:
        gold = [gold_label(e) for e in examples]
        if self._by_answer(lm):
            rows = self._answer_rows(lm, examples, ())
            inputs = self._answer_inputs(lm, rows)
        else:
            rows, counts = self._option_rows(lm, examples, (), gold_only=gold_only)
            inputs = self._option_inputs(lm, rows)
            inputs["counts"] = counts
        inputs["gold"] = torch.tensor(gold, device=lm.device)
        return Batch(inputs, sequences=len(rows), tokens=sum(len(r.ids) for r in rows))

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the module docstring: mean over examples (answer tokens under ``teacher-forcing``)."""
        inputs = batch.inputs
        if self._by_answer(lm):
            return torch.nn.functional.cross_entropy(answer_scores(module, inputs), inputs["gold"])
        if self.training == "teacher-forcing" and keeps_dtype():
            return mean_of_items(self.item_losses(lm, module, batch))
        sums = option_sums(module, inputs)
        if self.training == "teacher-forcing":
            return -sums.sum() / inputs["lengths"].sum()
        scores = by_example(sums / inputs["lengths"].to(sums.dtype), inputs["counts"])
        return torch.nn.functional.cross_entropy(scores, inputs["gold"])

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """One loss per example; per answer token under ``teacher-forcing``."""
        inputs = batch.inputs
        if self._by_answer(lm):
            scores = answer_scores(module, inputs)
        elif self.training == "teacher-forcing":
            return -option_token_log_likelihoods(module, **option_arguments(inputs))
        else:
            sums = option_sums(module, inputs)
            scores = by_example(sums / inputs["lengths"].to(sums.dtype), inputs["counts"])
        return torch.nn.functional.cross_entropy(scores, inputs["gold"], reduction="none")

    def score(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, name: str) -> torch.Tensor:
        """Accuracy, or F1 averaged over the classes that occur, of the options chosen as in prediction but
        without ``calibrated``. Cost: one forward pass."""
        inputs = batch.inputs
        if self._by_answer(lm):
            scores = answer_scores(module, inputs)
        else:
            sums = option_sums(module, inputs)
            scores = by_example(sums / inputs["lengths"] if self.normalized else sums, inputs["counts"])
        if name == "accuracy":
            return option_accuracy(scores, inputs["right"])
        return macro_f1(scores, inputs["gold"])

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The best-scored option of each example (ties: :mod:`zobench.tasks.ties`); probabilities are the
        softmax of the scores."""
        shots = [(e, self.options(e)[gold_label(e)]) for e in demonstrations]
        if self._by_answer(lm):
            scores = self._predict_answers(lm, examples, shots)
        else:
            scores = self._predict_options(lm, examples, shots)
        return [self.prediction(e, s) for e, s in zip(examples, scores, strict=True)]

    def _by_answer(self, lm: LanguageModel) -> bool:
        return self.scoring == "label-words" or lm.architecture in HEADS

    def _answer_rows(
        self, lm: LanguageModel, examples: Sequence[Example], shots: Sequence[tuple[Example, str]]
    ) -> list[EncodedRow]:
        if lm.architecture in HEADS:
            if shots:
                raise ValueError(f"{lm.identity.name}: a head cannot use in-context demonstrations")
            return encoder_rows(lm, examples, self.prompt.fields)
        if lm.architecture == "masked":
            mask = lm.tokenizer.mask_token
            return encoding.masked_rows(lm, [self.prompt.masked(e, mask, shots) for e in examples])
        contexts = [self.written(lm.chat, e, (), shots).context for e in examples]
        if lm.architecture == "encoder-decoder":
            return encoder_decoder.source_rows(lm, contexts)
        return encoding.causal_rows(lm, contexts)

    def _answer_inputs(self, lm: LanguageModel, rows: Sequence[EncodedRow]) -> dict[str, Any]:
        if lm.architecture == "encoder":
            return encoder_inputs(lm, rows, len(self.prompt.words))
        if lm.architecture == "classifier":
            names = [self.names_of(label) for label in range(len(self.prompt.words))]
            return classifier_inputs(lm, rows, names)
        inputs: dict[str, Any] = {
            "padded": padded_rows(lm, rows),
            "labels": torch.tensor(self._labels(lm), device=lm.device),
        }
        if lm.architecture == "masked":
            inputs["positions"] = torch.tensor([r.position for r in rows], device=lm.device)
        return inputs

    def _labels(self, lm: LanguageModel) -> list[int]:
        if self._label_ids is None or self._label_ids[0] is not lm.tokenizer:
            self._label_ids = (lm.tokenizer, self._first_tokens(lm))
        return self._label_ids[1]

    def _first_tokens(self, lm: LanguageModel) -> list[int]:
        if lm.architecture == "encoder-decoder":
            return encoder_decoder.first_tokens(lm, self.prompt.words)
        return encoding.label_word_ids(lm, self.prompt)

    def _option_rows(
        self,
        lm: LanguageModel,
        examples: Sequence[Example],
        shots: Sequence[tuple[Example, str]],
        *,
        gold_only: bool = False,
    ) -> tuple[list[EncodedRow], list[int]]:
        """Sequences of all options of all examples in order, and the number of options of each example."""
        if lm.architecture not in ("causal", "encoder-decoder"):
            raise ValueError(
                f"{lm.identity.name}: scoring 'option-likelihood' needs a causal or an encoder-decoder model"
            )
        contexts: list[str] = []
        completed: list[str] = []
        counts = []
        for e in examples:
            options = self.options(e)
            chosen = [options[gold_label(e)]] if gold_only else options
            written = self.written(lm.chat, e, chosen, shots)
            contexts += [written.context] * len(chosen)
            both = lm.architecture == "encoder-decoder"
            completed += answers_of(e, written) if both else written.completed
            counts.append(len(chosen))
        if lm.architecture == "encoder-decoder":
            return encoder_decoder.answer_rows(lm, contexts, completed), counts
        return encoding.option_rows(lm, contexts, completed), counts

    def written(
        self,
        chat: Chat | None,
        example: Example,
        options: Sequence[str],
        shots: Sequence[tuple[Example, str]] = (),
    ) -> Written:
        """The texts that a causal model is scored on: before the answer, and with each of these options."""
        if chat is not None:
            plain = [(e, self.written(None, e, (option,))) for e, option in shots]
            return conversation(chat, example, self.written(None, example, options), plain)
        texts = (self.option_text(example, option, shots) for option in options)
        return Written(self.option_context(example, shots), tuple(texts))

    def option_context(self, example: Example, shots: Sequence[tuple[Example, str]]) -> str:
        """Text before the option; the same for all options of an example."""
        return self.prompt.context(example, shots)

    def option_text(self, example: Example, option: str, shots: Sequence[tuple[Example, str]]) -> str:
        """Full text of one candidate."""
        return self.prompt.completed(example, option, shots)

    def _option_inputs(self, lm: LanguageModel, rows: Sequence[EncodedRow]) -> dict[str, Any]:
        lengths = torch.tensor([float(r.option) for r in rows], device=lm.device)
        if lm.architecture == "encoder-decoder":
            return {"lengths": lengths, **encoder_decoder.inputs_of(lm, rows)}
        targets = encoding.option_targets(rows, lm.device)
        return {"padded": encoding.padded(lm, rows), "lengths": lengths, **targets}

    def _predict_answers(
        self, lm: LanguageModel, examples: Sequence[Example], shots: Sequence[tuple[Example, str]]
    ) -> list[torch.Tensor]:
        rows = self._answer_rows(lm, examples, shots)
        if packs(lm, rows):
            labels = torch.tensor(self._labels(lm), device=lm.device)
            ids = [r.ids for r in rows]
            last = tail_logits(lm.module, ids, [1] * len(ids), tokens=prediction_tokens(lm.device))
            return list(torch.cat(last).index_select(1, labels).float().cpu())
        scores: list[torch.Tensor] = [torch.empty(0)] * len(rows)
        for chunk in chunks_by_length([len(r.ids) for r in rows], max_tokens=prediction_tokens(lm.device)):
            found = answer_scores(lm.module, self._answer_inputs(lm, [rows[i] for i in chunk])).cpu()
            for i, row in zip(chunk, found, strict=True):
                scores[i] = row
        return scores

    def _predict_options(
        self, lm: LanguageModel, examples: Sequence[Example], shots: Sequence[tuple[Example, str]]
    ) -> list[torch.Tensor]:
        rows, counts = self._option_rows(lm, examples, shots)
        sums = self._option_scores(lm, rows)
        if self.calibrated:
            empty = [_content_free(e) for e in examples]
            scores = sums - self._option_scores(lm, self._option_rows(lm, empty, ())[0])
        else:
            lengths = torch.tensor([float(r.option) for r in rows])
            scores = sums / lengths if self.normalized else sums
        return list(scores.split(counts))

    def _option_scores(self, lm: LanguageModel, rows: Sequence[EncodedRow]) -> torch.Tensor:
        if packs(lm, rows):
            return packed_option_sums(lm, rows)
        sums = torch.empty(len(rows))
        for chunk in chunks_by_length([len(r.ids) for r in rows], max_tokens=prediction_tokens(lm.device)):
            inputs = self._option_inputs(lm, [rows[i] for i in chunk])
            sums[torch.tensor(chunk)] = option_sums(lm.module, inputs).cpu()
        return sums


def _content_free(example: Example) -> Example:
    for name in example.text:
        example = example.with_text(name, "")
    return example
