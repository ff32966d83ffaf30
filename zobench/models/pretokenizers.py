"""Rules by which a byte-level BPE tokenizer of a GGUF file splits text before merging.

A GGUF file contains only the name of the rule (``tokenizer.ggml.pre``). transformers 5.24 ignores the name
and uses GPT-2's rule for every Llama file, so that "\\n\\n1." is split into other tokens than in training.
The rules here are those that llama.cpp applies under these names. Each was compared with llama.cpp (build
11549) on 15 texts over the vocabulary of SmolLM2: all ids agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

from zobench.names import nearest


@dataclass(frozen=True, slots=True)
class SplitRule:
    """Attributes:
    pattern: regular expression whose matches become separate pieces; ``None``: no such split.
    gpt2: whether GPT-2's pattern is applied to every piece.
    whole_words: whether a piece of the vocabulary is one token regardless of the merges.
    """

    pattern: str | None
    gpt2: bool
    whole_words: bool = False


_DIGITS = SplitRule(r"\p{N}", gpt2=True)
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"

RULES: dict[str, SplitRule] = {
    "gpt-2": SplitRule(None, gpt2=True),
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "llama-bpe": SplitRule(rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_REST}", gpt2=False, whole_words=True),
    "qwen2": SplitRule(rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_REST}", gpt2=False),
}
"""``tokenizer.ggml.pre`` -> rule."""


def split_rule(name: str) -> SplitRule:
    """The rule of that name.

    Raises:
        ValueError: the rule is not in :data:`RULES`.
    """
    if name not in RULES:
        raise ValueError(
            f"tokenizer.ggml.pre {name!r} is unknown{nearest(name, RULES)}; another rule would split texts "
            f"into tokens that the model was not trained on. Known rules: {', '.join(sorted(RULES))}"
        )
    return RULES[name]


def apply(rule: SplitRule, tokenizer: Any) -> None:
    """Set the rule of a fast tokenizer of transformers with a BPE model, in place."""
    pieces: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.gpt2)]
    if rule.pattern is not None:
        pieces.insert(0, pre_tokenizers.Split(Regex(rule.pattern), behavior="isolated"))
    tokenizer.backend_tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence(pieces) if len(pieces) > 1 else pieces[0]
    )
    tokenizer.backend_tokenizer.model.ignore_merges = rule.whole_words
