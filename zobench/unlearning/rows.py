"""Facts as questions with answers in TOFU's schema, and their tokens.

A :class:`FactRow` is one fact. ``context`` precedes the question, and ``answer_prefix`` stands between
question and answer. The model reads both, but they are never scored; input probes fill them in.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zobench.models.batching import pad, pad_id
from zobench.models.encoding import encode_prompts
from zobench.unlearning.base import Tokens

LAYOUT = "Q: {question}\nA:"


@dataclass(frozen=True, slots=True)
class FactRow:
    """One question with its answer.

    Attributes:
        id: unique within its data set.
        paraphrased_question, paraphrased_answer: the same fact in other words; empty if there is none.
        perturbed_answers: wrong answers (in the wording of the paraphrase, if there is one).
        author: the person the fact is about; splits are by author, never by question.
        attribute: which fact about the author.
        value: the text of the fact inside the answer; empty if not known.
        other_questions: further wordings used in training. Unlearning draws from all of them; otherwise
            forgetting one wording could be mistaken for forgetting the fact.
        context: text before the question.
        answer_prefix: text that the answer is forced to start with.
        options: answers to choose from, listed after the question (set by a probe; not part of the data's
            identity).
    """

    id: str
    question: str
    answer: str
    paraphrased_question: str = ""
    paraphrased_answer: str = ""
    perturbed_answers: tuple[str, ...] = ()
    author: str = ""
    attribute: str = ""
    value: str = ""
    other_questions: tuple[str, ...] = ()
    context: str = ""
    answer_prefix: str = ""
    options: tuple[str, ...] = field(default=(), repr=False)

    def prompt(self, layout: str = LAYOUT) -> str:
        """Everything before the scored answer."""
        listed = f" Options: {'; '.join(o.rstrip('.') for o in self.options)}." if self.options else ""
        text = self.context + layout.format(question=self.question + listed)
        return f"{text} {self.answer_prefix}" if self.answer_prefix else text


def row_from_json(row: Mapping[str, Any], id: str, where: str) -> FactRow:
    """A fact from TOFU's keys; ``ValueError`` names the file and the key that is missing or not text."""
    for key in ("question", "answer"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise ValueError(f"{where}: row {id!r} has no text under {key!r}")
    wrong = row.get("perturbed_answer", ())
    wrong = (wrong,) if isinstance(wrong, str) else wrong
    if not isinstance(wrong, list | tuple) or not all(isinstance(w, str) for w in wrong):
        raise ValueError(f"{where}: row {id!r}: perturbed_answer is not a text or a list of texts")
    return FactRow(
        id=id,
        question=row["question"],
        answer=row["answer"],
        paraphrased_question=str(row.get("paraphrased_question", "")),
        paraphrased_answer=str(row.get("paraphrased_answer", "")),
        perturbed_answers=tuple(wrong),
        author=str(row.get("author_id", "")),
        attribute=str(row.get("attribute", "")),
        value=str(row.get("value", "")),
    )


def tokenize(
    tokenizer: Any,
    rows: Sequence[FactRow],
    *,
    device: torch.device | str = "cpu",
    layout: str = LAYOUT,
    end: bool = True,
) -> Tokens:
    """One padded minibatch; losses are over the answer and, with ``end``, the end token after it.

    The value's tokens are those whose characters overlap it, so the tokenizer must return character offsets
    for facts with a value. ``ValueError`` if the answer adds no token to the prompt.
    """
    if not rows:
        raise ValueError("a minibatch needs at least one example")
    prompts = [r.prompt(layout) for r in rows]
    starts = [len(ids) for ids in encode_prompts(tokenizer, prompts)]
    sequences, targets, ends, values = [], [], [], []
    for row, prompt, start in zip(rows, prompts, starts, strict=True):
        text = f"{prompt} {row.answer}"
        ids = encode_prompts(tokenizer, [text])[0]
        if len(ids) <= start:
            raise ValueError(f"row {row.id!r}: the answer adds no token to its prompt")
        finish = [tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else []
        width = len(ids) + len(finish)
        sequences.append(ids + finish)
        targets.append([i >= start for i in range(width)])
        ends.append([i >= len(ids) for i in range(width)])
        values.append(_value_columns(tokenizer, row, text, len(prompt), width))
    inputs = pad(sequences, fill=pad_id(tokenizer), side="right", device=torch.device(device))
    width = inputs["input_ids"].shape[1]
    return Tokens(inputs, *(_mask(m, width, inputs["input_ids"].device) for m in (targets, ends, values)))


def refuse_longer(tokenizer: Any, rows: Sequence[FactRow], limit: int, model: str) -> None:
    """``ValueError`` names the first fact whose question with any of its answers, or whose answer after any
    wording of its question, is too long for the model: truncation would change the fact."""
    texts = [(row.id, text) for row in rows for text in _asked_and_answered(row)]
    encoded = encode_prompts(tokenizer, [text for _, text in texts])
    for (identity, _), ids in zip(texts, encoded, strict=True):
        if len(ids) + 1 > limit:  # and the end token
            raise ValueError(
                f"fact {identity!r} has {len(ids) + 1} tokens with its answer, but model {model!r} takes at "
                f"most {limit}; leave such facts out, or use a model with a longer context"
            )


def _asked_and_answered(row: FactRow) -> Iterator[str]:
    for answer in filter(None, (row.answer, row.paraphrased_answer, *row.perturbed_answers)):
        yield f"{row.prompt()} {answer}"
    for question in filter(None, (row.paraphrased_question, *row.other_questions)):
        yield f"{dataclasses.replace(row, question=question).prompt()} {row.answer}"


def _value_columns(tokenizer: Any, row: FactRow, text: str, answer_at: int, width: int) -> list[bool]:
    place = text.find(row.value, answer_at) if row.value else -1
    if place < 0:
        return [False] * width
    offsets = tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    until = place + len(row.value)
    found = [a < until and b > place and b > a for a, b in offsets][:width]
    return found + [False] * (width - len(found))


def _mask(rows: Sequence[Sequence[bool]], width: int, device: torch.device) -> torch.Tensor:
    return torch.tensor([list(r) + [False] * (width - len(r)) for r in rows], device=device)


def with_answer(row: FactRow, answer: str) -> FactRow:
    """The same question with another answer (a refusal, a wrong or paraphrased one); the value is kept only
    if the new answer contains it."""
    return dataclasses.replace(row, answer=answer, value=row.value if row.value in answer else "")


@functools.lru_cache(maxsize=512)
def tail_tokens(tokenizer: Any, answers: tuple[str, ...], words: int) -> tuple[int, ...]:
    """Number of tokens of the last ``words`` words of each answer (of the whole answer if it is shorter)."""
    heads = [" ".join(a.split()[:-words]) for a in answers]
    whole = [len(ids) for ids in encode_prompts(tokenizer, [f"A: {a}" for a in answers])]
    before = [len(ids) for ids in encode_prompts(tokenizer, [f"A: {h}".rstrip() for h in heads])]
    return tuple(max(1, a - b) for a, b in zip(whole, before, strict=True))
