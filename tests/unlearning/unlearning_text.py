"""A word-level tokenizer trained on given texts, with offsets and an end token."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from zobench.unlearning.rows import LAYOUT, FactRow


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token per word or punctuation mark, in order of first appearance after end and unknown."""
    split = pre_tokenizers.Whitespace()
    words = dict.fromkeys(w for t in texts for w, _ in split.pre_tokenize_str(t))
    vocabulary = {w: i for i, w in enumerate(["<end>", "<unknown>", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    inner.pre_tokenizer = split
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<end>", unk_token="<unknown>"
    )


def texts(rows: Iterable[FactRow]) -> list[str]:
    found = []
    for r in rows:
        found += [LAYOUT.format(question=q) for q in (r.question, r.paraphrased_question)]
        found += [r.answer, r.paraphrased_answer, *r.perturbed_answers]
    return found
