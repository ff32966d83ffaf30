"""Sequences with common prefixes in one causal forward pass, with each common prefix computed once.

The token ids of the rows (sequences) form prefix trees. A *pack* is one or several trees laid out as one
sequence: a node attends only to its ancestors and itself, and its position is its depth, so its logits are
those of the row that ends there. Within a pack no token is padded or computed twice:

    tokens computed = nodes of the trees <= sum of the rows' lengths.

Attack queries (one word changed), the options of one question and rows after the same demonstrations share
most of their prefixes. The module must take a mask of shape (batch, 1, query, key) and position ids.
:func:`takes_packs` tests once per module, on three short rows, whether it does and gives the same logits.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from zobench.models.way import takes

NODES = 128
"""Room of a pack in nodes (more if single rows are long); attention costs the square of this number."""
WORTH = 0.9
"""Rows are packed if the nodes are at most this share of their tokens."""
CPU_TOKENS, DEVICE_TOKENS = 512, 8192
"""Tokens per forward pass in prediction, on a CPU and elsewhere. Above 512 the built-in model's activations
exceed the CPU's caches and a token costs up to 1.5 times as much."""

_taken: weakref.WeakKeyDictionary[torch.nn.Module, dict[int, bool]] = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Pack:
    """Several prefix trees laid out as one sequence.

    Attributes:
        ids: token id of each node.
        parents: index of each node's parent; -1 for roots.
        depths: position of each node in its row, from 0.
        paths: row -> its nodes from the first token to the last.
    """

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: dict[int, list[int]] = field(default_factory=dict)

    def add(self, row: int, ids: Sequence[int], begin: Sequence[int]) -> list[int]:
        """Add a row below the nodes ``begin``, which are its first tokens; returns its path."""
        path = list(begin)
        for depth in range(len(begin), len(ids)):
            self.parents.append(path[-1] if path else -1)
            path.append(len(self.ids))
            self.ids.append(ids[depth])
            self.depths.append(depth)
        self.paths[row] = path
        return path

    def ancestors(self, size: int) -> np.ndarray:
        """Whether a node (first axis) attends to another (second axis), shape (size, size).

        Padding after the last node attends to itself, so that no softmax is over an empty set."""
        seen = np.eye(size, dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


def packed(rows: Sequence[Sequence[int]], nodes: int = NODES) -> list[Pack]:
    """The rows as packs of at most ``nodes`` nodes, or of four times the longest row if that is more."""
    room = max(nodes, 4 * max(map(len, rows), default=0))
    packs: list[Pack] = []
    before: Sequence[int] = ()
    path: list[int] = []
    # In sorted order neighbouring rows share their longest prefixes, so comparing neighbours is enough.
    for row in sorted(range(len(rows)), key=lambda i: (list(rows[i]), i)):
        ids = rows[row]
        common = _common(before, ids)
        if not packs or len(packs[-1].ids) + len(ids) - common > room:
            packs.append(Pack())
            common = 0
        path = packs[-1].add(row, ids, path[:common])
        before = ids
    return packs


def batches_of_packs(packs: Sequence[Pack], tokens: int) -> list[list[Pack]]:
    """Batches of packs of similar size, largest first, each of at most ``tokens`` padded tokens."""
    found: list[list[Pack]] = []
    for pack in sorted(packs, key=lambda p: -len(p.ids)):
        if found and (len(found[-1]) + 1) * len(found[-1][0].ids) <= tokens:
            found[-1].append(pack)
        else:
            found.append([pack])
    return found


def arguments(batch: Sequence[Pack], module: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """``input_ids``, ``position_ids`` of shape (packs, size) and the additive mask (packs, 1, size, size)."""
    size = max(len(p.ids) for p in batch)
    filled = [(p, [0] * (size - len(p.ids))) for p in batch]
    seen = torch.from_numpy(np.stack([p.ancestors(size) for p in batch])[:, None]).to(device)
    dtype = next(module.parameters()).dtype
    mask = torch.zeros(seen.shape, dtype=dtype, device=device)
    return {
        "input_ids": torch.tensor([p.ids + rest for p, rest in filled], device=device),
        "position_ids": torch.tensor([p.depths + rest for p, rest in filled], device=device),
        "attention_mask": mask.masked_fill_(~seen, torch.finfo(dtype).min),
    }


def prediction_tokens(device: torch.device) -> int:
    """Tokens per forward pass that suit the device."""
    return CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS


def worth_packing(rows: Sequence[Sequence[int]]) -> bool:
    """Whether the rows' common prefixes save enough of their tokens."""
    if len(rows) < 2:
        return False
    ordered = sorted(map(list, rows))
    shared = sum(_common(a, b) for a, b in itertools.pairwise(ordered))
    total = sum(map(len, ordered))
    return total - shared <= WORTH * total


def tail_logits(
    module: Any, rows: Sequence[Sequence[int]], tails: Sequence[int], *, tokens: int
) -> list[torch.Tensor]:
    """Next-token logits at the last ``tails[i]`` tokens of each row, shape (tail, vocabulary), in order.

    Cost: one forward pass per ``tokens`` padded tokens; the head runs at the requested positions only, once
    where rows share one.
    """
    device = next(module.parameters()).device
    found: list[torch.Tensor | None] = [None] * len(rows)
    for batch in batches_of_packs(packed(rows), tokens):
        wanted = {r: [(b, n) for n in p.paths[r][-tails[r] :]] for b, p in enumerate(batch) for r in p.paths}
        places = {place: i for i, place in enumerate(dict.fromkeys(itertools.chain(*wanted.values())))}
        index = tuple(torch.tensor(column) for column in zip(*places, strict=True))
        logits = _logits_at(module, arguments(batch, module, device), index)
        for row, of_row in wanted.items():
            found[row] = logits[[places[place] for place in of_row]]
    return [f for f in found if f is not None]


def option_logits(
    module: Any, rows: Sequence[Sequence[int]], options: Sequence[int], *, tokens: int
) -> list[torch.Tensor]:
    """Logits that predict the last ``options[i]`` tokens of each row, shape (option, vocabulary), in order.

    The last token of a row predicts nothing and is not computed: options of one token cost the forward pass
    of their common context alone.
    """
    return tail_logits(module, [row[:-1] for row in rows], options, tokens=tokens)


def prefill(module: Any, rows: Sequence[Sequence[int]], *, tokens: int) -> tuple[torch.Tensor, DynamicCache]:
    """Next-token logits after each row, shape (rows, vocabulary), and the rows' keys and values, left-padded.

    Padded positions of the cache contain the row's first token and must be masked. Cost: one forward pass per
    ``tokens`` padded tokens.
    """
    device = next(module.parameters()).device
    width = max(map(len, rows))
    order: list[int] = []
    logits: list[torch.Tensor] = []
    parts: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
    for batch in batches_of_packs(packed(rows), tokens):
        last = [(b, path[-1]) for b, p in enumerate(batch) for path in p.paths.values()]
        place = torch.tensor([b for b, _ in last]), torch.tensor([n for _, n in last])
        cache = DynamicCache(config=module.config)
        logits.append(_logits_at(module, arguments(batch, module, device), place, cache))
        for b, pack in enumerate(batch):
            order += pack.paths
            nodes = [[path[0]] * (width - len(path)) + path for path in pack.paths.values()]
            index = torch.tensor(nodes, device=device)
            layers: list[Any] = list(cache.layers)
            parts.append([(_at(x.keys[b], index), _at(x.values[b], index)) for x in layers])
    back = torch.tensor(order, device=device).argsort()
    whole = DynamicCache(config=module.config)
    for layer in range(len(parts[0])):
        keys, values = (torch.cat([p[layer][i] for p in parts])[back] for i in (0, 1))
        whole.update(keys, values, layer)
    return torch.cat(logits)[back], whole


def _at(states: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """Select each row's nodes from states (heads, nodes, width): (rows, heads, nodes of a row, width)."""
    return states.index_select(1, nodes.flatten()).unflatten(1, nodes.shape).transpose(0, 1)


def _logits_at(
    module: Any,
    inputs: dict[str, torch.Tensor],
    place: tuple[torch.Tensor, ...],
    cache: DynamicCache | None = None,
) -> torch.Tensor:
    """Logits at (pack, node) pairs; a hook narrows the head's input to them while the module runs."""

    def narrow(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return given[0][place][None], *given[1:]

    hook = module.get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        kept = {"use_cache": False} if cache is None else {"use_cache": True, "past_key_values": cache}
        logits: torch.Tensor = module(**inputs, **kept).logits[0]
    finally:
        hook.remove()
    return logits


def takes_packs(module: Any) -> bool:
    """Whether packed rows get the same logits as single rows; tested once per module and number of hooks on
    its inputs, because a space such as ``prefix`` changes its calls by a hook.

    False without a test for layers with a window or of another kind than full attention: the test rows are
    too short to show the difference. Cost: three tiny forward passes and those of their packs.
    """
    known, hooks = _taken.setdefault(module, {}), len(module._forward_pre_hooks)
    if hooks not in known:
        known[hooks] = _full_attention(module) and takes(module, "position_ids") and _same_logits(module)
    return known[hooks]


def _full_attention(module: Any) -> bool:
    config = module.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return set(kinds) == {"full_attention"}
    return getattr(config, "sliding_window", None) is None


@torch.inference_mode()
def _same_logits(module: Any) -> bool:
    vocabulary = module.config.get_text_config().vocab_size
    rows = [[i % vocabulary for i in r] for r in ((11, 23, 5, 7), (11, 23, 17), (11, 3, 23, 5, 29))]
    device = next(module.parameters()).device
    alone = [module(torch.tensor([r], device=device), use_cache=False).logits[0, -1] for r in rows]
    try:
        together = tail_logits(module, rows, [1] * len(rows), tokens=64)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # models that need another mask raise errors of different types
    scale = max(float(a.abs().max()) for a in alone)
    tolerance = scale * max(1e-5, 8 * torch.finfo(alone[0].dtype).eps)
    return all(float((a - t[0]).abs().max()) <= tolerance for a, t in zip(alone, together, strict=True))


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    short = min(len(a), len(b))
    return next((i for i in range(short) if a[i] != b[i]), short)
