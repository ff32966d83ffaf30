"""Small stand-ins for the models that attacks read: embeddings with a tokenizer, a masked LM, an encoder."""

from __future__ import annotations

import hashlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import torch

from zobench.attacks.words import words

_LIST = (
    "[UNK] film films movie small little house houses river rivers does not many visitors bought buy buys "
    "quick quickly carry carries every single scene scenes good goods fine apple apples long longer winter "
    ", . the of 7 ###"
)
VOCABULARY = _LIST.split()


class WordTokenizer:
    """One token per known word, two pieces (unknown, first letter) for others."""

    all_special_ids = (0,)

    def __init__(self):
        self.ids = {w: i for i, w in enumerate(VOCABULARY)}

    def __len__(self):
        return len(VOCABULARY)

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [self.ids.get(w, len(w) % len(VOCABULARY)) for w in text.split()]}

    def batch_decode(self, rows):
        return [" " + VOCABULARY[i] for [i] in rows]


def fake_lm():
    """Words of one stem share a direction; the rest is a fixed random number per word."""

    def row(word):
        base = np.random.default_rng(int(hashlib.sha256(word[:4].encode()).hexdigest()[:8], 16)).normal(
            size=8
        )
        own = np.random.default_rng(int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)).normal(size=8)
        return base + 0.2 * own

    matrix = torch.tensor(np.array([row(w) for w in VOCABULARY]), dtype=torch.float32)
    return SimpleNamespace(tokenizer=WordTokenizer(), input_embeddings=lambda: matrix)


def fake_filler(name):
    """Three words per place, drawn from the place's context; probabilities 0.5, 0.2 and 0.05."""

    def fill(items):
        out = []
        for text, start, end in items:
            seed = int(
                hashlib.sha256((text[:start] + "|" + text[end:]).encode("utf-8", "replace")).hexdigest()[:8],
                16,
            )
            picks = np.random.default_rng(seed).permutation(
                ["old", "new", "warm", "film", "river", "seven", "great"]
            )
            out.append([(str(w), p) for w, p in zip(picks[:3], (0.5, 0.2, 0.05), strict=True)])
        return out

    return fill


def fake_similarity(name):
    """Share of words in common."""

    def compare(items):
        out = []
        for a, b in items:
            x, y = Counter(w.text for w in words(a)), Counter(w.text for w in words(b))
            out.append((x & y).total() / max(1, (x | y).total()))
        return out

    return compare
