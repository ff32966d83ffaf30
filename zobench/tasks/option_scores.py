"""Scores of answers from a model's inputs: of label words at the answer position, and of whole options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zobench.models.base import LanguageModel
from zobench.models.batching import Rows
from zobench.models.scoring import (
    causal_logits,
    decoder_logits,
    masked_logits,
    option_log_likelihoods,
    reads_in_decoder,
    scores_of,
)
from zobench.models.shared_prefix import option_logits, prediction_tokens, takes_packs, worth_packing
from zobench.tasks import encoder_decoder, encoding
from zobench.tasks.encoder import encoder_scores
from zobench.tasks.encoding import EncodedRow


def padded_rows(lm: LanguageModel, rows: Sequence[EncodedRow]) -> Rows:
    if lm.architecture == "encoder-decoder":
        given: Rows = encoder_decoder.inputs_of(lm, rows)["padded"]
        return given
    return encoding.padded(lm, rows)


def answer_scores(module: torch.nn.Module, inputs: Any) -> torch.Tensor:
    """Logits of the label words (for an encoder: of its head), shape (examples, classes), float32 except
    within ``scoring.in_dtype_of_logits``."""
    if "classes" in inputs:
        return encoder_scores(module, inputs)
    if "positions" in inputs:
        logits = masked_logits(module, inputs["padded"], inputs["positions"])
    elif reads_in_decoder(inputs["padded"]):
        logits = decoder_logits(module, inputs["padded"])[:, -1]
    else:
        logits = causal_logits(module, inputs["padded"])[:, -1]
    return scores_of(logits.index_select(1, inputs["labels"]))


def option_sums(module: torch.nn.Module, inputs: Any) -> torch.Tensor:
    return option_log_likelihoods(module, **option_arguments(inputs))


def option_arguments(inputs: Any) -> dict[str, Any]:
    return {name: inputs[name] for name in ("padded", "targets", "target_mask")}


def packed_option_sums(lm: LanguageModel, rows: Sequence[EncodedRow]) -> torch.Tensor:
    """The sums of ``_option_sums`` with common prefixes computed once."""
    room, options = prediction_tokens(lm.device), [r.option for r in rows]
    found = option_logits(lm.module, [r.ids for r in rows], options, tokens=room)
    sums = []
    for row, logits in zip(rows, found, strict=True):
        targets = torch.tensor(row.ids[len(row.ids) - row.option :], device=lm.device)
        sums.append(logits.float().log_softmax(-1).gather(1, targets[:, None]).sum())
    return torch.stack(sums).cpu()


def packs(lm: LanguageModel, rows: Sequence[EncodedRow]) -> bool:
    usual = lm.architecture == "causal" and lm.way.first_position == 0
    return usual and worth_packing([r.ids for r in rows]) and takes_packs(lm.module)


def by_example(scores: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Scores as a matrix (examples, largest number of options); missing options get -inf."""
    if len(set(counts)) == 1:
        return scores.view(len(counts), counts[0])
    return torch.nn.utils.rnn.pad_sequence(
        scores.split(list(counts)), batch_first=True, padding_value=-torch.inf
    )
