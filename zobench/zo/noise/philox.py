"""Philox4x32-10 (Salmon et al., SC 2011) on torch tensors, and the layout of its counter.

Words are int64 tensors with values in [0, 2^32). A product of two words may exceed 2^63: int64 multiplication
wraps modulo 2^64, and shift and mask then give both halves exactly.

Layout: the Philox key is the 64-bit seed, low word first. The counter is (B mod 2^32, B div 2^32 + 2^28 *
kind code, tensor key mod 2^32, tensor key div 2^32) with B the block index, B < 2^58. Word w of a stream is
output w mod 4 of block w div 4.
"""

from __future__ import annotations

import torch

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF
ROUNDS = 10
KIND_SHIFT = 28

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def philox4x32(counter: Words, key: tuple[int, int]) -> Words:
    """Four output words per counter."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64 as unsigned ones; the mask after the arithmetic shift removes the
        # copies of the sign bit.
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1, c2, c3


def blocks(index: torch.Tensor, *, seed: int, key: int, code: int) -> Words:
    """The output words of the blocks ``index`` (int64) of the stream (seed, key, kind code)."""
    counter = (
        index & MASK,
        # B < 2^58 leaves the top bits of this word for the kind, so that two kinds never share a counter.
        (index >> 32) + (code << KIND_SHIFT),
        torch.full_like(index, key & MASK),
        torch.full_like(index, key >> 32),
    )
    return philox4x32(counter, (seed & MASK, seed >> 32))


def word_range(
    start: int, count: int, *, seed: int, key: int, code: int, device: torch.device
) -> torch.Tensor:
    """Words start .. start+count of a stream."""
    # A block has four words: whole blocks that cover the range are computed, then the range is cut out.
    first, last = start >> 2, (start + count + 3) >> 2
    index = torch.arange(first, last, dtype=torch.int64, device=device)
    flat = torch.stack(blocks(index, seed=seed, key=key, code=code), dim=-1).reshape(-1)
    return flat[start - 4 * first : start - 4 * first + count]


def words_at(index: torch.Tensor, *, seed: int, key: int, code: int) -> torch.Tensor:
    """Words at arbitrary positions of a stream. Cost: one block per position."""
    lanes = torch.stack(blocks(index >> 2, seed=seed, key=key, code=code), dim=-1)
    return lanes.gather(-1, (index & 3).unsqueeze(-1)).squeeze(-1)
