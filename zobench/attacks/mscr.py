"""MSCR: multi-source candidate replacement (arXiv 2511.08055), in a published and a controlled version.

Word by word, left to right, each candidate is tried alone; the attack succeeds at the first changed answer.
The sources in this order, each by descending score: the target model's own input embeddings (top 10 by
cosine, then the filters; this occurrence only), WordNet (top 5 by that cosine; every occurrence), a masked
LM (probability over 0.1; every occurrence). The order of words and sources is not published; this one is our
choice.

``mscr``: numbers are not protected, stop words are included, no budget; meant for temperature 0.6 and three
repeats (a sampled ``Victim`` and three seeds) with a judge in addition to the task's answer check. The
published masked LM is bert-large-uncased, the published judge a commercial model. Here: any masked LM, and by
default a judge that queries the winning text again (see ``judges``). ``mscr-controlled``: greedy decoding;
numerals, number words, units and LaTeX protected; a fixed budget; one confirmation. Each source can be
switched off. Cost: at most 24 queries per word, or the budget. Budget-matched random baseline: see ``null``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zobench.attacks.base import AttackContext
from zobench.attacks.constraints import WordConfig, editable
from zobench.attacks.embedding import EmbeddingSpace
from zobench.attacks.judges import AGAIN, TASK, check_judge, load_judge
from zobench.attacks.lockstep import Search
from zobench.attacks.options import EmbeddingSource, MaskedSource, OptionSource, WordNetSource
from zobench.attacks.protect import Rule
from zobench.attacks.search import one_by_one
from zobench.attacks.session import Session, Try
from zobench.attacks.word_attack import WordAttack
from zobench.parameters import Count, CountOrZero, Rate

_REFUSED = "refused by the judge"


@dataclass(frozen=True, kw_only=True)
class MSCRConfig(WordConfig):
    budget: Count | None = None
    confirmations: CountOrZero = 0
    protect: tuple[Rule, ...] = ()
    stop_words: bool = True
    embedding: bool = True
    """Source A: nearest rows of the target model's input embeddings."""
    wordnet: bool = True
    """Source B: WordNet lemmas."""
    masked: bool = True
    """Source C: a masked LM."""
    embedding_top: int = 10
    """Nearest words of source A considered per word."""
    wordnet_top: int = 5
    """Lemmas of source B considered per word."""
    masked_floor: float = 0.1
    """Least probability (exclusive) of a masked-LM candidate."""
    masked_lm: str = "builtin:nano-mlm"
    """The masked LM: a built-in, local or hub name."""
    temperature: Rate = 0.6
    """Of the victim's answers; 0 for greedy decoding."""
    repeats: Count = 3
    """Times the whole attack is repeated, each with its own samples; metrics are over all of them."""
    judge: str = "again"
    """The judge that decides whether a win counts: ``task``, ``again``, or ``module:function``."""
    judge_samples: Count = 3
    """Answers that the judge ``again`` queries; most of them must be wrong."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_judge(self.judge)
        if not (self.embedding or self.wordnet or self.masked):
            raise ValueError("at least one of embedding, wordnet and masked must be on")


@dataclass(frozen=True, kw_only=True)
class ControlledConfig(MSCRConfig):
    budget: Count | None = 32
    confirmations: CountOrZero = 1
    protect: tuple[Rule, ...] = ("numerals", "number-words", "units", "latex", "markup", "placeholders")
    temperature: Rate = 0.0
    repeats: Count = 1
    judge: str = "task"


class MSCR(WordAttack):
    """The published attack where the paper is specific; needs the target model (``context.lm``) unless only
    source C is on."""

    Config: ClassVar[type] = MSCRConfig
    name: ClassVar[str] = "mscr"
    config: MSCRConfig

    def decoding(self) -> tuple[float, int]:
        return self.config.temperature, self.config.repeats

    def reserve(self) -> int:
        return super().reserve() + (self.config.judge_samples if self.config.judge == AGAIN else 0)

    def verdict(self, session: Session, won: Try) -> Search[tuple[Try, str]]:
        last, refusal = yield from super().verdict(session, won)
        if refusal or self.config.judge == TASK:
            return last, refusal
        if self.config.judge == AGAIN:
            answers = yield from session.again(won.draft, self.config.judge_samples)
            right = [p for p in answers if p.correct]
            return (Try(won.draft, right[0]), _REFUSED) if 2 * len(right) >= len(answers) else (won, "")
        wrong = load_judge(self.config.judge)(session.example, won.draft.text, won.prediction)
        return (won, "") if wrong else (won, _REFUSED)

    def needs_space(self) -> bool:
        return self.config.embedding or self.config.wordnet or super().needs_space()

    def masked_lm(self) -> str | None:
        return self.config.masked_lm if self.config.masked else None

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        found: list[OptionSource] = []
        if self.config.embedding and space is not None:
            found.append(EmbeddingSource(space, self.config.embedding_top))
        if self.config.wordnet:
            found.append(WordNetSource(self.config.wordnet_top, space))
        if self.config.masked:
            found.append(MaskedSource(self.config.masked_floor))
        return found

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        order = editable(session, self.config)
        found = yield from one_by_one(session, self.config, order, self.options_of(session, context))
        return found


class ControlledMSCR(MSCR):
    """The same search without the confounders: see the module docstring."""

    Config: ClassVar[type] = ControlledConfig
    name: ClassVar[str] = "mscr-controlled"
    config: ControlledConfig
