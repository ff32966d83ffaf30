"""Configurations of all architectures that zobench loads: those of the library, and its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from zobench.models import efficientnet_lite
from zobench.models.denoised import network as denoised
from zobench.models.flow import network
from zobench.models.pixels import TIMM
from zobench.models.ranker import network as ranker


def read_config(place: Path | str, **options: Any) -> Any:
    """The configuration in a folder, or of a hub id in the cache; also of zobench's own architectures.

    Raises:
        ValueError: the model needs a package that is not installed.
    """
    efficientnet_lite.register()
    network.register()
    denoised.register()
    ranker.register()
    try:
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=True, **options)
    except ImportError as error:  # timm, of the folders that it writes
        raise ValueError(f"model {str(place)!r} cannot be loaded: {' '.join(str(error).split())}") from error
    if config.model_type == TIMM and config.model_args:
        # timm 1.0.31 writes it, and the library gives it to timm a second time and fails.
        config.model_args = {k: v for k, v in config.model_args.items() if k != "num_classes"}
    return config
