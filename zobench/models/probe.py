"""Test a loaded model on two short rows (sequences), then choose how it is run, or refuse it.

The reference is the logits of each row alone, without padding, cache or position ids passed by zobench. A
trial passes if its logits differ from the reference by rounding only:

    max |difference| <= max |logit| * max(1e-4, 4 eps of the dtype).

Trials, each a forward pass of at most two rows of 12 tokens:

* *causality*: the last token is changed; if earlier logits change, the model is refused as causal;
* *padding*: both rows in one batch, with positions from 0, from the padding index plus one, or the model's
  own. If none passes, batches of equal length are tried, then one row at a time; in these cases padding on
  the right is tried too;
* *cache*: after other rows were decoded, two steps with each cache argument that ``forward`` has, then one
  step after the first row was removed. If no cache passes, decoding computes whole rows;
* *columns*: ``logits_to_keep=2`` must return two columns.

Cost: 11 forward passes for usual models, up to 40 for others; they are not counted in any budget. A model in
half precision is tested in float32 if a copy of it takes at most 2 GiB.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch

from zobench.models.base import Architecture
from zobench.models.batching import pad
from zobench.models.decoding import Decoding, begin
from zobench.models.pooled import PooledEncoder
from zobench.models.probe_record import Finding, ProbeRecord
from zobench.models.random_state import preserved_random_state
from zobench.models.way import CacheArgument, Mixing, Way, takes

SHORT, LONG, STEPS = 4, 9, 3
"""Tokens of the two prompts, and tokens decoded after them: two steps with all rows, one after a row was
removed."""
COPY_BYTES = 2 << 30
"""Largest float32 copy that is made to probe a model in half precision."""
Pairs = list[tuple[torch.Tensor, torch.Tensor]]
"""Pairs of computed and reference logits."""
_REFUSALS = (
    TypeError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    AssertionError,
    NotImplementedError,
)
"""Errors by which models refuse arguments."""
_CACHES: tuple[CacheArgument, ...] = ("past_key_values", "cache", "cache_params", "state")


def probe(
    module: Any,
    architecture: Architecture,
    name: str,
    *,
    fill: int = 0,
    special: Iterable[int] = (),
) -> ProbeRecord:
    """Settings for running this module, with the trials that decided them.

    Args:
        name: the model's name, for messages.
        fill: token id for padded positions.
        special: token ids that the rows must not contain.

    Raises:
        ValueError: the model does not run, returns logits that are not finite, or was loaded as causal but
            uses later tokens.
    """
    trials = _Trials(_precise(module), architecture, name, fill, {fill, *special})
    with preserved_random_state(), torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of arguments that the library will rename
        trials.reference()
        way = trials.causal() if architecture == "causal" else trials.both_sides()
    return ProbeRecord(way, trials.scale, trials.rounding, tuple(trials.findings))


_KEPT: dict[tuple[object, ...], ProbeRecord] = {}
_MOST_KEPT = 64


def kept_probe(
    module: Any,
    architecture: Architecture,
    name: str,
    *,
    digest: str,
    fill: int,
    special: tuple[int, ...],
) -> ProbeRecord:
    """:func:`probe`, computed once per process for the same weights (by digest), configuration and device
    type."""
    body = module.encoder if architecture == "encoder" else module
    config, device = body.config, next(module.parameters()).device.type
    chosen = config._attn_implementation
    key = (digest, architecture, config.to_json_string(use_diff=False), chosen, device, fill, special)
    if key not in _KEPT:
        while len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)))
        _KEPT[key] = probe(module, architecture, name, fill=fill, special=special)
    return _KEPT[key]


def _precise(module: torch.nn.Module) -> torch.nn.Module:
    """The module, or a float32 copy of one in half precision that is small enough."""
    tensors = [p for p in module.parameters() if p.is_floating_point()]
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in tensors)
    if not half or 4 * sum(p.numel() for p in tensors) > COPY_BYTES:
        return module
    return copy.deepcopy(module).float()


class _Trials:
    """The trials of one module and their results."""

    def __init__(self, module: Any, architecture: str, name: str, fill: int, avoid: set[int]) -> None:
        self.module, self.architecture, self.name, self.fill = module, architecture, name, fill
        self.device = next(module.parameters()).device
        self.findings: list[Finding] = []
        self.rows = _rows(_vocabulary(module), avoid)
        self.decoder: list[int] = []
        if architecture == "encoder-decoder":
            self.decoder = [module.config.decoder_start_token_id, *self.rows[0][:STEPS]]
        if architecture == "classifier" and module.config.is_encoder_decoder:
            # These heads read the end token, which their tokenizers put behind every text.
            self.rows = [[*row[:-1], module.config.eos_token_id] for row in self.rows]

    def reference(self) -> None:
        """Compute the logits of each row alone, and the largest difference that counts as rounding."""
        try:
            self.alone = [self._logits([row])[0] for row in self.rows]
        except _REFUSALS as error:
            raise ValueError(f"model {self.name!r} does not run on {LONG} tokens: {_line(error)}") from error
        if not all(bool(a.isfinite().all()) for a in self.alone):
            raise ValueError(f"model {self.name!r} returns logits that are not finite; check its weights")
        self.scale = max(float(a.abs().max()) for a in self.alone)
        eps = torch.finfo(next(self.module.parameters()).dtype).eps
        self.rounding = self.scale * max(1e-4, 4 * eps)

    def causal(self) -> Way:
        """Settings of a causal model."""
        self._look_ahead()
        way = self._padding(self._first_positions(), "left")
        if (
            way.rows != "padded"
            and not self._try("padded behind the rows", self._padded, None, "right").passed
        ):
            way = dataclasses.replace(way, right=False)
        way = self._cache(way)
        kept = self.module(self._ids([self.rows[1]]), use_cache=False, logits_to_keep=2).logits
        return dataclasses.replace(way, keeps=kept.shape[1] == 2)

    def both_sides(self) -> Way:
        """Settings of a model that reads whole texts: a masked model, an encoder, a classifier, or an
        encoder-decoder model, whose decoder is computed whole at every step of decoding."""
        way = self._padding([None], "right")
        if self.architecture == "encoder-decoder":
            self._look_ahead_in_decoder()
            return dataclasses.replace(way, cache=None)
        body = self.module.encoder if self.architecture == "encoder" else self.module
        if self.architecture == "masked" or not takes(body, "token_type_ids"):
            return way
        types = torch.zeros_like(self._ids([self.rows[1]]))
        types[:, LONG // 2 :] = 1
        try:
            self.module(self._ids([self.rows[1]]), token_type_ids=types)
        except _REFUSALS:
            return way
        return dataclasses.replace(way, token_types=True)

    def _look_ahead(self) -> None:
        long = self.rows[1]
        changed = self._logits([[*long[:-1], self.rows[0][0]]])[0]
        found = self._compare("earlier logits when the last token changes", changed[:-1], self.alone[1][:-1])
        if not found.passed:
            kind = type(self.module).__name__
            decoder = "; its config.json may lack is_decoder: true" if _is_no_decoder(self.module) else ""
            raise ValueError(
                f"model {self.name!r} ({kind}) is not causal: its logits change by {found.difference:.2g} "
                f"with a later token, so it would see the answer{decoder}"
            )

    def _look_ahead_in_decoder(self) -> None:
        given, last = self._ids([self.rows[1]]), self.rows[1][0]
        changed = self._run({"input_ids": given}, [*self.decoder[:-1], last])[0]
        trial = "earlier logits when the decoder's last token changes"
        found = self._compare(trial, changed[:-1], self.alone[1][:-1])
        if not found.passed:
            raise ValueError(
                f"model {self.name!r}: its decoder is not causal: logits change by {found.difference:.2g} "
                "with a later token"
            )

    def _padding(self, positions: Sequence[int | None], side: Literal["left", "right"]) -> Way:
        for first in positions:
            if self._try(f"padded batch, {_positions(first)}", self._padded, first, side).passed:
                return Way(first_position=first)
        second = [*self.rows[1][1:], self.rows[1][0]]
        alone = self._logits([second])[0]

        def equal() -> Pairs:
            both = self._logits([self.rows[1], second])
            return [(both[0], self.alone[1]), (both[1], alone)]

        passed = self._try("batch of equal length", equal).passed
        mixing: Mixing = "equal" if passed else "single"
        return Way(first_position=None, rows=mixing, decoded=mixing)

    def _padded(self, first: int | None, side: Literal["left", "right"]) -> Pairs:
        given = pad(self.rows, fill=self.fill, side=side, device=self.device, first_position=first)
        found = self._run(given)
        if self.architecture in ("encoder", "encoder-decoder", "classifier"):
            return list(zip(found, self.alone, strict=True))
        sizes = [len(r) for r in self.rows]
        cut = [f[-n:] if side == "left" else f[:n] for f, n in zip(found, sizes, strict=True)]
        return list(zip(cut, self.alone, strict=True))

    def _cache(self, way: Way) -> Way:
        tried = [
            dataclasses.replace(way, cache=argument, decoded=mixing, first_position=first)
            for mixing in _mixings(way.rows)
            for argument in _CACHES
            if argument == "past_key_values" or takes(self.module, argument)
            for first in ([way.first_position] if mixing == "padded" else self._first_positions())
        ]
        for candidate in tried:
            told = f"two steps with {candidate.cache}, {candidate.decoded} rows"
            if candidate.decoded != "padded":
                told += f", {_positions(candidate.first_position)}"
            decoding: list[Decoding] = []
            if self._try(told, self._steps, candidate, decoding).passed:
                dropped = f"a third after a row has ended, with {candidate.cache}"
                selects = self._try(dropped, self._last_step, candidate, decoding[0]).passed
                return dataclasses.replace(candidate, selects=selects)
        return dataclasses.replace(way, cache=None, decoded=way.rows)

    def _steps(self, way: Way, began: list[Decoding]) -> Pairs:
        rows, alone = self._decoded_rows(way.decoded)
        # Some modules store states in themselves: earlier decoding of other rows must have no effect.
        before = begin(self.module, way, [r[:-STEPS][::-1] for r in rows], fill=self.fill)
        before.advance(self._column([r[0] for r in rows]))
        began.append(begin(self.module, way, [r[:-STEPS] for r in rows], fill=self.fill))
        pairs: Pairs = []
        for step in range(STEPS):
            if step > 0:
                began[0].advance(self._column([r[step - 1 - STEPS] for r in rows]))
            for i, logits in enumerate(began[0].logits):
                pairs.append((logits.float(), alone[i][len(rows[i]) - STEPS - 1 + step]))
        return pairs

    def _last_step(self, way: Way, decoding: Decoding) -> Pairs:
        rows, alone = self._decoded_rows(way.decoded)
        decoding.keep([len(rows) - 1])
        decoding.advance(self._column([rows[-1][-1]]))
        return [(decoding.logits[0].float(), alone[-1][-1])]

    def _decoded_rows(self, mixing: Mixing) -> tuple[list[list[int]], list[torch.Tensor]]:
        if mixing == "padded":
            return self.rows, self.alone
        if mixing == "single":
            return self.rows[1:], self.alone[1:]
        second = [*self.rows[1][1:], self.rows[1][0]]
        return [second, self.rows[1]], [self._logits([second])[0], self.alone[1]]

    def _first_positions(self) -> list[int | None]:
        """First positions to try: 0, the padding index plus one, and the model's own (``None``)."""
        if not takes(self.module, "position_ids"):
            return [None]
        padding = self.module.config.get_text_config().to_dict().get("pad_token_id")
        behind = [] if padding is None else [int(padding) + 1]
        return [0, *behind, None]

    def _try(self, trial: str, run: Callable[..., Pairs], *given: Any) -> Finding:
        try:
            pairs = run(*given)
        except _REFUSALS as error:
            self.findings.append(Finding(trial, None, False, _line(error)))
            return self.findings[-1]
        found = torch.cat([a.flatten() for a, _ in pairs])
        return self._compare(trial, found, torch.cat([b.flatten() for _, b in pairs]))

    def _compare(self, trial: str, found: torch.Tensor, wanted: torch.Tensor) -> Finding:
        difference = float((found - wanted).abs().max())
        self.findings.append(Finding(trial, difference, difference <= self.rounding))
        return self.findings[-1]

    def _logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return self._run({"input_ids": self._ids(rows)})

    def _run(self, given: dict[str, torch.Tensor], decoder: Sequence[int] = ()) -> torch.Tensor:
        if self.architecture == "encoder":
            features: torch.Tensor = self.module.features(**given).float()
            return features
        kept: dict[str, Any] = {"use_cache": False} if self.architecture == "causal" else {}
        if self.architecture == "encoder-decoder":
            ids = self._ids([decoder or self.decoder] * len(given["input_ids"]))
            kept = {"use_cache": False, "decoder_input_ids": ids}
        logits: torch.Tensor = self.module(**given, **kept).logits.float()
        return logits

    def _ids(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor([list(r) for r in rows], device=self.device)

    def _column(self, tokens: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(tokens), device=self.device)


def _positions(first: int | None) -> str:
    return "the model's own positions" if first is None else f"positions from {first}"


def _mixings(rows: Mixing) -> tuple[Mixing, ...]:
    """Ways to batch decoded rows, the least restrictive first, starting from ``rows``."""
    every: tuple[Mixing, ...] = ("padded", "equal", "single")
    return every[every.index(rows) :]


def _vocabulary(module: Any) -> int:
    body: Any = module.encoder if isinstance(module, PooledEncoder) else module
    return int(body.get_input_embeddings().weight.shape[0])


def _is_no_decoder(module: Any) -> bool:
    settings = module.config.to_dict()
    return settings.get("is_decoder") is False


def _rows(vocabulary: int, avoid: set[int]) -> list[list[int]]:
    """Two rows of different tokens, equal for all models with the same vocabulary size."""
    usable = [i for i in range(vocabulary) if i not in avoid] or [0]
    drawn = [usable[(37 * k + 11) % len(usable)] for k in range(SHORT + LONG + 2 * STEPS)]
    return [drawn[: SHORT + STEPS], drawn[SHORT + STEPS :]]


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
