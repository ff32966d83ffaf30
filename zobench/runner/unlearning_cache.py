"""Cache of one process for unlearning runs: facts, full model and oracle, tokenized minibatches, and the
scores of the reference models.

The forget facts are split into two halves that share no attribute. One half is used for relearning, the stop
rule and tuning. The other is scored and reported, and is not used for any selection.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from zobench.models.base import LanguageModel
from zobench.models.language_model import LoadedModel
from zobench.parameters import configure
from zobench.runner.factory import component_key
from zobench.spec import ForgetSet, RunSpec, Unlearning
from zobench.unlearning.base import Batch, Material, Tokens
from zobench.unlearning.data import FactSplits
from zobench.unlearning.depth import depth_score, drops
from zobench.unlearning.evaluate import GenerateAnswers, MeasuredFacts, measure, scores
from zobench.unlearning.forget_sets import (
    Halves,
    halves,
    keyword_coreset,
    noisy,
    random_coreset,
    requests,
)
from zobench.unlearning.minibatches import Minibatches, passes_over
from zobench.unlearning.probes.inputs import InputMaterial, InputProbe, Setting
from zobench.unlearning.rows import FactRow, refuse_longer, tokenize
from zobench.unlearning.sources import SOURCES

if TYPE_CHECKING:
    from zobench.runner.factory import Factory

RELEARN_MINIBATCHES = 100
_BATCHES_KEPT = 4000


def splits_of(section: Unlearning) -> FactSplits:
    """The facts of a run's data source."""
    found: FactSplits = configure(SOURCES[section.data.name], section.data.params).load()
    return found


def digest_of(splits: FactSplits) -> str:
    """SHA-256 over every example of every part; identifies the data of a run."""
    h = hashlib.sha256()
    for name, rows in _named(splits).items():
        for row in rows:
            h.update(repr((name, row)).encode())
    h.update(repr(splits.refusals).encode())
    return h.hexdigest()


def _named(splits: FactSplits) -> dict[str, Sequence[FactRow]]:
    """Examples by part. Traces derived from other examples by a template are not separate data."""
    own = {"forget": splits.forget, "retain": splits.retain, "holdout": splits.holdout}
    found = {**own, **{f"other {k}": v for k, v in sorted(splits.other.items())}}
    written = {row.id for rows in found.values() for row in rows}
    more = {"traces": splits.traces, "general": splits.general}
    read = {n: [row for row in rows if row.id not in written] for n, rows in more.items()}
    return {**found, **{n: rows for n, rows in read.items() if rows}}


def asked_for(rows: Sequence[FactRow], chosen: ForgetSet) -> list[tuple[FactRow, ...]]:
    """The forget requests that the optimizer sees, in order; a single one unless the suite has several."""
    kept: Sequence[FactRow] = keyword_coreset(rows, chosen.keywords) if chosen.keywords else rows
    if chosen.share < 1:
        kept = random_coreset(kept, chosen.share, seed=0)
    if chosen.noise != "none":
        kept = noisy(kept, chosen.noise, chosen.noise_share, seed=0)
    return requests(kept, chosen.requests, nested=chosen.nested) if chosen.requests > 1 else [tuple(kept)]


@dataclass
class UnlearningCache:
    """Data shared by all runs on the same models and data.

    Attributes:
        reference: frozen copy of the full model.
        oracle: the model trained without the forget set.
        scored: fraction of the retained facts that is scored.
    """

    reference: nn.Module
    oracle: nn.Module
    tokenizer: Any
    splits: FactSplits
    forget_set: ForgetSet
    scored: float
    truth: bool
    digest: str
    lm: LanguageModel
    """The full model as loaded, with the tokenizer that generation needs."""
    generate: int | None = None
    scored_other: float | None = None
    depth: bool = False
    longest: int = 1 << 20
    """Maximum number of tokens for both models, including the end token."""
    split: Halves = field(init=False)
    requests: list[tuple[FactRow, ...]] = field(init=False)
    kept: dict[tuple[object, ...], Any] = field(default_factory=dict)
    """Measurements of the reference models, and minibatches of probes."""
    batches: OrderedDict[tuple[object, ...], Batch] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.split = halves(self.splits.forget, seed=0)
        self.requests = asked_for(self.splits.forget, self.forget_set)

    @property
    def has_values(self) -> bool:
        """Whether answers mark the words that state the fact, so that scores can be restricted to them."""
        return any(row.value for row in self.splits.forget)

    @property
    def forget_metric(self) -> str:
        return "forget_value_probability" if self.has_values else "forget_probability"

    @property
    def retain_metric(self) -> str:
        return "retain_value_accuracy" if self.has_values else "retain_probability"

    def forget_rows(self, tuning: bool) -> tuple[FactRow, ...]:
        """The forget half that is scored; for tuning trials the other half."""
        return self.split.relearn if tuning else self.split.scored

    def parts(self, tuning: bool = False) -> dict[str, Sequence[FactRow]]:
        """Examples that are scored, by part."""
        kept = random_coreset(self.splits.retain, self.scored, seed=0)
        share = self.scored_other or 1.0
        other = {n: random_coreset(rows, share, seed=0) for n, rows in self.splits.other.items() if rows}
        found = {"forget": self.forget_rows(tuning), "retain": kept, **other}
        return {name: rows for name, rows in found.items() if rows}

    def minibatch(self, spec: RunSpec, step: int, parts: Sequence[str], share: float) -> Batch:
        """Minibatch ``step``, the same for all optimizers and objectives of a seed. ``share``: part of the
        budget spent so far, which determines the current forget request."""
        asked = min(int(share * len(self.requests)), len(self.requests) - 1)
        key = (spec.seed, spec.budget.batch_size, step, tuple(parts), asked)
        if key not in self.batches:
            while len(self.batches) >= _BATCHES_KEPT:
                self.batches.popitem(last=False)
            draw = Minibatches(
                self.tokenizer,
                self.splits,
                spec.budget.batch_size,
                spec.seed,
                forget=self.requests[asked],
                device=next(self.reference.parameters()).device,
            )
            self.batches[key] = draw.batch(step, parts)
        return self.batches[key]

    def material(self, spec: RunSpec) -> Material:
        """Data that probes of the model may use: facts that are not scored, retained facts, other domains."""
        key = ("material", spec.seed, spec.budget.batch_size)
        if key not in self.kept:
            device = next(self.reference.parameters()).device

            def batches(rows: Sequence[FactRow]) -> list[Tokens]:
                return passes_over(
                    self.tokenizer,
                    rows,
                    size=spec.budget.batch_size,
                    count=RELEARN_MINIBATCHES,
                    seed=spec.seed,
                    device=device,
                )

            benign = {"retain": self.splits.retain, **self.splits.other}
            self.kept[key] = Material(
                relearn=batches(self.split.relearn),
                benign={name: batches(rows) for name, rows in benign.items() if rows},
                original=self.reference,
                seed=spec.seed,
            )
        found: Material = self.kept[key]
        return found

    def asked(
        self, probe: InputProbe, parts: Mapping[str, Sequence[FactRow]], seed: int
    ) -> Iterator[tuple[Setting, dict[str, list[FactRow]]]]:
        """Examples as changed by a probe of the input, for each of its settings. They are the same for every
        model, so they are computed once. ``ValueError`` if the probe makes an example longer than the models'
        maximum."""
        given = InputMaterial(self.splits.retain, seed, self.reference, self.tokenizer)
        for setting in probe.settings():
            key = ("asked", probe.name, probe.config, setting.strength, tuple(setting.params.items()), seed)
            if key not in self.kept:
                made = {n: probe.rows_at(setting, r, given) for n, r in parts.items() if r}
                self._refuse_longer(
                    [row for rows in made.values() for row in rows], f"probe {probe.name!r}: "
                )
                self.kept[key] = made
            yield setting, self.kept[key]

    def check_read(self, parts: Sequence[str]) -> None:
        """``ValueError`` if one of these parts of a minibatch, which an objective reads, contains reasoning
        traces longer than the models' maximum."""
        for name, rows in (("traces", self.splits.traces), ("general", self.splits.general)):
            if name in parts:
                self._refuse_longer(rows, f"{name}: ")

    def _refuse_longer(self, rows: Sequence[FactRow], where: str) -> None:
        try:
            refuse_longer(self.tokenizer, rows, self.longest, self.lm.identity.name)
        except ValueError as error:
            raise ValueError(f"{where}{error}") from error

    def forget_score(self, module: nn.Module, *, scored: bool = False) -> float:
        """The forget score: on the half that is not reported (for the stop rule), or on the reported one if
        ``scored`` (for matching)."""
        rows = self.forget_rows(tuning=not scored)
        return scores(measure(module, self.tokenizer, {"forget": rows}, truth=False))[self.forget_metric]

    def retain_score(self, module: nn.Module) -> float:
        parts = {"retain": self.parts()["retain"]}
        return scores(measure(module, self.tokenizer, parts, truth=False))[self.retain_metric]

    def stop_level(self) -> float:
        """The oracle's score on the half that is not reported, or chance if the oracle is below it, because
        it is confidently wrong."""
        return max(
            self._once("oracle forget", lambda: self.forget_score(self.oracle)), self.splits.chance or 0.0
        )

    def forget_level(self, normalized: float) -> float:
        """The reported score at which the recovery rate has this value."""
        low = self._once("oracle scored", lambda: self.forget_score(self.oracle, scored=True))
        high = self._once("full scored", lambda: self.forget_score(self.reference, scored=True))
        return low + normalized * (high - low)

    def retain_level(self, share: float) -> float:
        """This share of the full model's retained score."""
        return share * self._once("full retained", lambda: self.retain_score(self.reference))

    def generator(self, module: nn.Module) -> GenerateAnswers | None:
        """Function that generates greedy answers up to the end of the line; ``None`` if the suite does not
        generate answers."""
        if self.generate is None:
            return None
        lm, most = self.lm, self.generate
        speaker = LoadedModel(module, self.tokenizer, lm.identity, "causal", lm.max_length, lm.way)
        return lambda prompts: speaker.generate(prompts, max_new_tokens=most, stop=("\n",))

    def oracle_measured(self, tuning: bool) -> MeasuredFacts:
        """Per-example measurements of the oracle on all scored examples, holdout included."""
        key = ("oracle measured", tuning)
        if key not in self.kept:
            self.kept[key] = measure(self.oracle, self.tokenizer, self.with_holdout(tuning), truth=self.truth)
        found: MeasuredFacts = self.kept[key]
        return found

    def depth_scores(self, module: nn.Module) -> list[float]:
        """The unlearning depth score of every scored forget fact for which it is defined."""
        device = next(module.parameters()).device
        tokens = tokenize(self.tokenizer, self.forget_rows(tuning=False), device=device)
        if ("depth",) not in self.kept:
            self.kept["depth",] = drops(self.reference, self.oracle, tokens, value=self.has_values)
        return depth_score(self.kept["depth",], drops(self.reference, module, tokens, value=self.has_values))

    def with_holdout(self, tuning: bool) -> dict[str, Sequence[FactRow]]:
        parts = self.parts(tuning)
        return {**parts, "holdout": self.splits.holdout} if self.splits.holdout else parts

    def _once(self, name: str, ask: Any) -> float:
        if (name,) not in self.kept:
            self.kept[name,] = float(ask())
        found: float = self.kept[name,]
        return found


def facts_key(spec: RunSpec) -> tuple[object, ...]:
    """Key of the cache: runs with equal keys share an ``UnlearningCache``."""
    s = spec.unlearning
    assert s is not None
    scored = (s.scored_retain, s.truth, s.generate, s.scored_other, s.depth)
    return (spec.model, s.oracle, component_key(s.data), s.forget_set, *scored)


def open_facts(spec: RunSpec, lm: LanguageModel, parts: Factory) -> UnlearningCache:
    """The ``UnlearningCache`` of a run; ``lm`` is the full model as loaded."""
    s = spec.unlearning
    assert s is not None
    oracle = parts.load_model(s.oracle)
    splits = splits_of(s)
    reference = copy.deepcopy(lm.module)
    for module in (reference, oracle.module):
        module.requires_grad_(False)
    theirs = {n: p.shape for n, p in oracle.module.named_parameters()}
    ours = {n: p.shape for n, p in reference.named_parameters()}
    if ours != theirs:
        raise ValueError(
            f"oracle {s.oracle.name!r} and the full model {spec.model.name!r} have different parameters"
        )
    if not lm.way.right:
        raise ValueError(f"model {spec.model.name!r}: padding changes its logits, so it cannot be unlearned")
    parts_of = [splits.forget, splits.retain, splits.holdout, *splits.other.values()]
    limit = min(lm.max_length, oracle.max_length)
    refuse_longer(lm.tokenizer, [r for rows in parts_of for r in rows], limit, spec.model.name)
    digest = hashlib.sha256(f"{digest_of(splits)} {oracle.identity.digest}".encode()).hexdigest()
    return UnlearningCache(
        reference,
        oracle.module,
        lm.tokenizer,
        splits,
        s.forget_set,
        s.scored_retain,
        s.truth,
        digest,
        lm,
        s.generate,
        s.scored_other,
        bool(s.depth),
        limit,
    )
