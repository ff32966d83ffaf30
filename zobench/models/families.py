"""Configurations of all architectures that zobench loads: those of the library, and its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from zobench.models import efficientnet_lite
from zobench.models.denoised import network as denoised
from zobench.models.flow import network
from zobench.models.ranker import network as ranker


def read_config(place: Path | str, **options: Any) -> Any:
    """The configuration in a folder, or of a hub id in the cache; also of zobench's own architectures."""
    efficientnet_lite.register()
    network.register()
    denoised.register()
    ranker.register()
    return transformers.AutoConfig.from_pretrained(place, local_files_only=True, **options)
