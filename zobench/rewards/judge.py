"""A language model as judge: the probability of "yes" against "no" as the next token of a question.

score = p(yes) / (p(yes) + p(no)), from the judge's next-token logits after the question. Cost: one forward
pass of the judge for each batch of questions; the tokens that it reads are counted. The digest of its weights
is part of the identity of the runs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from zobench.parameters import Count, Parameters
from zobench.rewards.base import Answered, Reward, Score, checked
from zobench.spec import ModelRef

if TYPE_CHECKING:
    from zobench.models.language_model import LoadedModel


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(Parameters):
    model: str
    """A causal model by its name in a suite: ``builtin:nano``, a folder, a hub id ..."""
    template: str = "Question: {prompt}\nAnswer: {answer}\nIs this answer correct? Reply with yes or no:"
    """The question to the judge, with ``{prompt}``, ``{answer}`` and, if wanted, ``{gold}``."""
    yes: str = " yes"
    """Text whose first token means that the answer is good."""
    no: str = " no"
    """Text whose first token means that it is not."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Format of the judge's weights."""
    device: str = "cpu"
    """Device of the judge."""
    batch: Count = 32
    """Number of questions in one forward pass."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "{answer}" not in self.template:
            raise ValueError("template must contain {answer}")


class JudgeReward(Reward):
    """The judge's probability that the answer is right, from 0 to 1."""

    Config: ClassVar[type] = JudgeConfig
    config: JudgeConfig

    @functools.cached_property
    def lm(self) -> LoadedModel:
        """The judge; ``ValueError`` if it is not a causal model or its two words begin with one token."""
        from zobench.models.loading import load

        c = self.config
        lm = load(ModelRef(name=c.model, dtype=c.dtype, device=c.device, architecture="causal"))
        if len(set(self._words(lm))) != 2:
            raise ValueError(f"judge {c.model!r}: {c.yes!r} and {c.no!r} begin with the same token")
        return lm

    def _words(self, lm: LoadedModel) -> list[int]:
        from zobench.models.encoding import encode_plain

        return [encode_plain(lm.tokenizer, word)[0] for word in (self.config.yes, self.config.no)]

    def question(self, one: Answered) -> str:
        """The text that the judge reads."""
        # One pass over the template, so that braces in a generated answer are not read as fields.
        values = {"{prompt}": one.prompt, "{answer}": one.answer, "{gold}": one.example.answer or ""}
        parts, rest = [], self.config.template
        while found := [(rest.index(name), name) for name in values if name in rest]:
            at, name = min(found)
            parts += [rest[:at], values[name]]
            rest = rest[at + len(name) :]
        return "".join([*parts, rest])

    def score(self, one: Answered) -> float:
        return self.scores([one])[0].value

    @torch.inference_mode()
    def scores(self, answered: Sequence[Answered]) -> list[Score]:
        from zobench.models.batching import batched, pad_id
        from zobench.models.encoding import encode_prompts, truncate_left
        from zobench.models.scoring import causal_logits

        lm, found = self.lm, list[Score]()
        words = torch.tensor(self._words(lm), device=lm.device)
        for at in range(0, len(answered), self.config.batch):
            texts = [self.question(one) for one in answered[at : at + self.config.batch]]
            encoded = encode_prompts(lm.tokenizer, texts)
            rows = [truncate_left(ids, lm.max_length, lm.tokenizer) for ids in encoded]
            self.tokens_read += sum(map(len, rows))
            given = batched(
                rows,
                mixing=lm.way.rows,
                fill=pad_id(lm.tokenizer),
                side="left",
                device=lm.device,
                first_position=lm.way.first_position,
            )
            logits = causal_logits(lm.module, given)[:, -1]
            found += [checked(value) for value in logits[:, words].double().softmax(1)[:, 0].tolist()]
        return found

    def digests(self) -> dict[str, str]:
        return {"judge": self.lm.identity.digest}
