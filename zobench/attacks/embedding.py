"""Word vectors from a model's input embedding matrix, with rows scaled to length one.

The vector of a word is the row of its token (with the leading space that words have inside a text). For a
word of several tokens it is the mean of their unit rows, scaled to length one again. Cost: one
matrix-vector product per distinct word; no forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zobench.attacks.lexical import readable


class EmbeddingSpace:
    """Cosine neighbours among the readable words of a vocabulary.

    Args:
        lm: a model with ``input_embeddings()`` and ``tokenizer``.
    """

    def __init__(self, lm: Any) -> None:
        self._tokenizer = lm.tokenizer
        matrix = lm.input_embeddings().detach().float().cpu().numpy()
        self._unit = _scaled(matrix)
        texts = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
        special = set(self._tokenizer.all_special_ids)
        rows = [
            i for i, t in enumerate(texts) if i < len(matrix) and i not in special and readable(t.strip())
        ]
        self._words = [texts[i].strip() for i in rows]
        self._rows = self._unit[rows]
        self._vectors: dict[str, np.ndarray] = {}
        self._near: dict[tuple[str, int], list[tuple[str, float]]] = {}

    def vector(self, word: str) -> np.ndarray:
        """Unit vector of a word (zeros if the tokenizer returns no token)."""
        if word not in self._vectors:
            ids = self._tokenizer(" " + word, add_special_tokens=False)["input_ids"]
            mean = self._unit[ids].mean(axis=0) if ids else np.zeros(self._unit.shape[1], np.float32)
            self._vectors[word] = _scaled(mean[None])[0]
        return self._vectors[word]

    def cosine(self, a: str, b: str) -> float:
        """Cosine of two words."""
        return float(self.vector(a) @ self.vector(b))

    def nearest(self, word: str, count: int) -> list[tuple[str, float]]:
        """The ``count`` readable vocabulary words of highest cosine, best first, without the word itself."""
        key = (word, count)
        if key not in self._near:
            cosines = self._rows @ self.vector(word)
            # More than ``count``: several tokens may decode to one word, and the word itself is left out.
            order = np.argsort(-cosines, kind="stable")[: 4 * count + 8]
            best: dict[str, float] = {}
            for i in order:
                if self._words[i].lower() != word.lower():
                    best.setdefault(self._words[i], float(cosines[i]))
            self._near[key] = list(best.items())[:count]
        return self._near[key]


def _scaled(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)
