"""The built-in models: weights in the package; ``zobench model build NAME`` trains them from scratch."""

from __future__ import annotations

from pathlib import Path

from zobench.names import nearest

TEXT = ("nano", "nano-mlm", "nano-facts", "nano-facts-oracle", "nano-countdown")
VISION = ("nano-vit", "nano-cnn")
FLOW = ("nano-flow",)
UNTRAINED = ("micro-cnn",)
"""Initial weights, for training from scratch."""
DENOISED = ("nano-ae-ds", "nano-ds")
"""``nano-cnn`` behind an untrained denoiser, with and without an autoencoder."""
RANKING = ("nano-parzc",)
"""Initial weights of a network that ranks others."""
NAMES = TEXT + VISION + FLOW + UNTRAINED + DENOISED + RANKING


def path(name: str) -> Path:
    """Folder of a built-in model in the Hugging Face format; ``ValueError`` for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"unknown built-in model {name!r}{nearest(name, NAMES)}")
    return Path(__file__).parent / "weights" / name
