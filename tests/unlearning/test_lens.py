"""The logit lens: the last layer equals the model's output; intermediate layers are read through the final
norm."""

from __future__ import annotations

import pytest
import torch
from unlearning_models import Toy, tiny_llama, tokens

from zobench.unlearning import terms
from zobench.unlearning.lens import logit_lens


def test_the_last_layer_of_the_lens_is_the_model_itself():
    module, rows = tiny_llama(1, layers=3), tokens(0, vocabulary=32)
    layers = logit_lens(module, rows)
    assert len(layers) == 3
    scores = terms.logits(module, rows).argmax(-1) == terms.labels(rows)
    assert layers[-1] == pytest.approx(scores[terms.mask(rows)].double().mean().item())
    assert len(logit_lens(module, rows, value=True)) == 3
    with pytest.raises(ValueError, match=r"model\.norm"):
        logit_lens(Toy(1), rows)


def test_the_lens_reads_an_unfinished_block_through_the_final_norm():
    """A block that adds nothing leaves its layer's reading equal to the one before."""
    module, rows = tiny_llama(1, layers=3), tokens(0, vocabulary=32)
    with torch.no_grad():
        module.model.layers[2].self_attn.o_proj.weight.zero_()
        module.model.layers[2].mlp.down_proj.weight.zero_()
    layers = logit_lens(module, rows)
    assert layers[1] == layers[2]
