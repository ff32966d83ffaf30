"""Generation in batches, greedy unless a sampler is given.

Prompts of similar length share a batch, common prefixes are computed once, keys and values are cached, and
finished sequences are removed from the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zobench.models.batching import chunks_by_length, grouped, pad_id
from zobench.models.decoding import Decoding, FromEncoder, begin, decoder_prefix
from zobench.models.encoding import encode_prompts, encode_sources, truncate_left

MAX_BATCH_TOKENS = 16384
MAX_ROWS = 128


Choose = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]


def most_probable(logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """The token of the largest logit, per row."""
    return logits.argmax(-1)


@dataclass(frozen=True, slots=True)
class Continuation:
    """A generated continuation.

    Attributes:
        prompt: token ids of the prompt as the model saw them.
        ids: generated token ids, with those that ended the continuation.
        text: the text of ``ids``, cut before the first stop string.
    """

    prompt: list[int]
    ids: list[int]
    text: str


def generate(
    lm: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    choose: Choose = most_probable,
) -> list[str]:
    """The texts of :func:`continuations`."""
    made = continuations(lm, prompts, max_new_tokens=max_new_tokens, stop=stop, choose=choose)
    return [one.text for one in made]


def continuations(
    lm: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    choose: Choose = most_probable,
) -> list[Continuation]:
    """Continuations without the prompt, cut before the first stop string; greedy unless ``choose`` samples.

    Prompts that leave no room for ``max_new_tokens`` lose tokens on the left (a beginning-of-text token is
    kept). Generation ends at an end-of-text token, a stop string or ``max_new_tokens``. Cost: one forward
    pass per generated token of the batch.

    Args:
        choose: maps next-token logits (rows, vocabulary) and the indices of the rows in ``prompts`` to the
            next tokens.

    Raises:
        ValueError: the model does not generate, or ``max_new_tokens`` leaves no room for a prompt.
    """
    rows = _rows(lm, prompts, max_new_tokens)
    stopper = _Stopper(lm, [s for s in stop if s])
    found: list[Continuation | None] = [None] * len(rows)
    lengths = [len(r) + max_new_tokens for r in rows]
    for chunk in _chunks(lm, lengths):
        generated = _generate_batch(
            lm, [rows[i] for i in chunk], max_new_tokens, stopper, _named(choose, chunk)
        )
        for i, ids in zip(chunk, generated, strict=True):
            found[i] = Continuation(rows[i], ids, stopper.cut(ids))
    return [one for one in found if one is not None]


def generate_under_branches(
    lm: Any,
    prompts: Sequence[str],
    branches: int,
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    choose: Choose = most_probable,
) -> list[list[str]]:
    """:func:`generate` under several adapters at once: for each branch, the answer to each prompt.

    The module must compute ``branches`` x R rows branch by branch, as inside ``BoundEngine.side_by_side`` of
    an optimizer in space ``lora`` or ``prefix``::

        points = [engine.along(direction, seed, epsilon) for seed in seeds]
        with engine.side_by_side(points):
            answers = generate_under_branches(lm, prompts, len(points), max_new_tokens=32)

    Logits agree with those of each branch alone up to rounding, so that an answer can differ where two tokens
    are equally probable up to rounding. A prompt leaves the batch when its answers have ended in all
    branches. Cost: one forward pass of ``branches`` x R rows per generated token.

    Args:
        branches: number of branches.
        choose: as in :func:`generate`; row b * len(prompts) + p is prompt p in branch b.
    """
    rows = continuations_under_branches(
        lm, prompts, branches, max_new_tokens=max_new_tokens, stop=stop, choose=choose
    )
    return [[one.text for one in branch] for branch in rows]


def continuations_under_branches(
    lm: Any,
    prompts: Sequence[str],
    branches: int,
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    choose: Choose = most_probable,
) -> list[list[Continuation]]:
    """As :func:`generate_under_branches`, with token ids."""
    if lm.architecture != "causal":
        raise ValueError(f"{lm.identity.name}: only causal models generate under several branches")
    if branches < 1:
        raise ValueError(f"branches must be at least 1, not {branches}")
    if (lm.way.rows if lm.way.cache is None else lm.way.decoded) == "single" and branches > 1:
        raise ValueError(f"{lm.identity.name}: its rows cannot share a batch, so neither can branches")
    rows, count = _rows(lm, prompts, max_new_tokens), len(prompts)
    stopper = _Stopper(lm, [s for s in stop if s])
    answers: list[dict[int, Continuation]] = [{} for _ in range(branches)]
    for chunk in _chunks(lm, [len(r) + max_new_tokens for r in rows], copies=branches):
        which = [b * count + p for b in range(branches) for p in chunk]
        repeated = [rows[w % count] for w in which]
        given = _named(choose, which)
        found = _generate_batch(lm, repeated, max_new_tokens, stopper, given, branches=branches)
        for w, ids in zip(which, found, strict=True):
            answers[w // count][w % count] = Continuation(rows[w % count], ids, stopper.cut(ids))
    return [[branch[p] for p in range(count)] for branch in answers]


def _rows(lm: Any, prompts: Sequence[str], max_new_tokens: int) -> list[list[int]]:
    """Token ids of the prompts, cut to leave room for ``max_new_tokens``."""
    if lm.architecture not in ("causal", "encoder-decoder"):
        raise ValueError(
            f"{lm.identity.name}: only causal and encoder-decoder models generate, this one is "
            f"{lm.architecture}"
        )
    room = lm.max_length - max_new_tokens
    if room < 1 or max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be between 1 and {lm.max_length - 1}, not {max_new_tokens}")
    if lm.architecture == "encoder-decoder":
        return encode_sources(lm.tokenizer, prompts, lm.max_length)
    encoded = encode_prompts(lm.tokenizer, prompts, special=lm.chat is None)
    return [truncate_left(ids, room, lm.tokenizer) for ids in encoded]


def _chunks(lm: Any, lengths: Sequence[int], copies: int = 1) -> list[list[int]]:
    """Rows decoded together, each ``copies`` times: of similar length, or of equal length if the model
    requires it."""
    found = []
    mixing = lm.way.rows if lm.way.cache is None else lm.way.decoded
    for rows in grouped(lengths, mixing):
        among = [lengths[i] for i in rows]
        most = max(1, MAX_ROWS // copies)
        chunks = chunks_by_length(among, max_tokens=MAX_BATCH_TOKENS // copies, max_rows=most)
        found += [[rows[i] for i in chunk] for chunk in chunks]
    return found


@torch.inference_mode()
def _generate_batch(
    lm: Any,
    rows: list[list[int]],
    max_new_tokens: int,
    stopper: _Stopper,
    choose: Choose,
    branches: int = 1,
) -> list[list[int]]:
    """Token ids generated for each row, including the tokens that ended it.

    With several branches, a row that has ended stays in the batch until it has ended in all of them."""
    decoding = _begun(lm, rows, branches)
    generated: list[list[int]] = [[] for _ in rows]
    alive = list(range(len(rows)))
    ended: set[int] = set()
    size = len(rows) // branches
    for step in range(max_new_tokens):
        tokens = choose(decoding.logits, alive)
        for row, token in zip(alive, tokens.tolist(), strict=True):
            if row in ended:
                continue
            generated[row].append(token)
            if stopper.ended(generated[row]):
                ended.add(row)
        running = {row % size for row in alive if row not in ended}
        keep = [k for k, row in enumerate(alive) if row % size in running]
        if not keep or step == max_new_tokens - 1:
            break
        if len(keep) < len(alive):
            decoding.keep(keep)
            tokens = tokens[torch.tensor(keep, device=lm.device)]
            alive = [alive[k] for k in keep]
        decoding.advance(tokens)
    return generated


def _begun(lm: Any, rows: list[list[int]], branches: int) -> Decoding:
    fill = pad_id(lm.tokenizer)
    if lm.architecture == "encoder-decoder":
        prefix = decoder_prefix(lm.module, lm.tokenizer)
        return FromEncoder(lm.module, lm.way, rows, fill=fill, prefix=prefix)
    # Rows that share a prefix share no keys and values under different adapters.
    return begin(lm.module, lm.way, rows, fill=fill, packs=branches == 1)


def _named(choose: Choose, chunk: Sequence[int]) -> Choose:
    """``choose`` for rows counted within a chunk."""
    return lambda logits, rows: choose(logits, [chunk[r] for r in rows])


class _Stopper:
    """Decides when a row has ended; it decodes only if the new token may complete a stop string."""

    def __init__(self, lm: Any, stop: list[str]) -> None:
        self._tokenizer = lm.tokenizer
        self._stop = stop
        self._ends = {s[-1] for s in stop}
        # Spaces may appear or vanish when tokens are decoded together, so one token does not show them.
        self._always = any(s[-1] == " " for s in stop)
        # A token is at least one byte: so many tokens contain any stop string that the last one completes.
        self._window = 2 * max((len(s.encode()) for s in stop), default=0) + 4
        self._may_end: dict[int, bool] = {}
        self._eos = _end_of_text(lm)
        special = [t for t in map(str, lm.tokenizer.all_special_tokens) if t]
        # A stop string such as <|im_end|> is a special token: decoding without special tokens would hide it.
        self._marks = special if any(t in s for t in special for s in stop) else []

    def ended(self, ids: list[int]) -> bool:
        token = ids[-1]
        if token in self._eos:
            return True
        if not self._stop or not self._can_end(token):
            return False
        tail = self._text(ids[-self._window :])
        return any(s in tail for s in self._stop)

    def _text(self, ids: list[int]) -> str:
        """The text searched for stop strings; it includes special tokens if a stop string contains one."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=not self._marks)
        return text

    def _can_end(self, token: int) -> bool:
        if token not in self._may_end:
            text = self._tokenizer.decode([token])
            # An incomplete UTF-8 sequence decodes to the replacement character: look at the whole tail.
            partial = "\ufffd" in text
            self._may_end[token] = self._always or partial or any(c in text for c in self._ends)
        return self._may_end[token]

    def cut(self, ids: list[int]) -> str:
        text = self._text(ids[:-1] if ids and ids[-1] in self._eos else ids)
        found = [text.find(s) for s in self._stop if s in text]
        text = text[: min(found)] if found else text
        for mark in self._marks:
            text = text.replace(mark, "")
        return text


def _end_of_text(lm: Any) -> set[int]:
    configured = lm.module.generation_config.eos_token_id if lm.module.can_generate() else None
    listed = configured if isinstance(configured, list) else [configured]
    return {int(i) for i in [*listed, lm.tokenizer.eos_token_id] if i is not None}
