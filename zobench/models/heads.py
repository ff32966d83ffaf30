"""Trained classification heads (``…ForSequenceClassification``): their labels and their padding.

A decoder's head reads the last token that is not padding, which it finds by the padding id of the
configuration, not by the attention mask. If the tokenizer pads with another id, it silently reads padding; if
the configuration has no padding id, it refuses batches. Therefore configuration and tokenizer get one id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zobench.models.batching import pad_id
from zobench.names import nearest


def labels_of(config: Any, given: Sequence[tuple[str, str]], name: str) -> dict[str, int]:
    """Label of the head -> its output, with the further names ``given`` in the suite (class, label).

    Raises:
        ValueError: ``given`` has a label that the head does not have.
    """
    found = {str(label): int(place) for place, label in config.id2label.items()}
    own = dict(found)
    for named, label in given:
        if label not in own:
            raise ValueError(
                f"model {name!r}: its head has no label {label!r}{nearest(label, own)}; it has "
                f"{', '.join(own)}"
            )
        found[named] = own[label]
    return found


def refuse_head(config: Any, name: str) -> None:
    """Refuse heads that do not choose one of several classes."""
    kind = config.problem_type
    if kind in ("regression", "multi_label_classification") or config.num_labels < 2:
        what = kind or f"{config.num_labels} output"
        raise ValueError(
            f"model {name!r}: its head ({what}) does not choose one of several classes; zobench runs heads "
            "for single-label classification"
        )


def agree_on_padding(config: Any, tokenizer: Any) -> None:
    """Let configuration and tokenizer pad with the same token: the configuration's, else the tokenizer's."""
    settings = config.get_text_config()
    known = settings.pad_token_id
    if known is not None and 0 <= known < len(tokenizer):
        tokenizer.pad_token_id = known
    else:
        settings.pad_token_id = pad_id(tokenizer)
        tokenizer.pad_token_id = settings.pad_token_id
