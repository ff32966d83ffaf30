#!/usr/bin/env bash
# Choosing rows of a hybrid model's cache moves its attention and leaves its recurrent state behind
#
# Surprising: in transformers, cache.batch_select_indices(rows) is the call that keeps or repeats rows of a batch. In a layer that holds
# both keys and a recurrent state (Falcon-H1), it chooses among the keys and values only: the states stay in the old order. With as many rows
# as before (resampled or sorted candidates) nothing raises, and each row goes on with another row's state. With fewer rows the next step
# raises an error about sizes. cache.reorder_cache moves both. Layers with a state alone (LFM2, Qwen3-Next, Mamba, Jamba) do not
# have the method: an AttributeError, after the attention layers before them have already been cut to the rows.
# Who meets it: whoever removes ended rows from a batch, resamples candidates (best-of-n, particle methods) or sorts rows while decoding
# with hybrid models.
# Versions: torch 2.13.0, transformers 5.24.0 (CPU, Python 3.11). Seen 2026-11-29 (largest difference of the next logits from a pass without cache):
#   Falcon-H1, batch_select_indices([0, 1, 2]): 4e-06
#   Falcon-H1, batch_select_indices([1, 0, 2]): 6
#   Falcon-H1, reorder_cache([1, 0, 2]): 4e-06
#   LFM2: 'LinearAttentionLayer' object has no attribute 'batch_select_indices'; the attention layer before it has 1 of 3 rows left
# Fails (exit 1) when the rows follow, or when the AttributeError is gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import FalconH1Config, FalconH1ForCausalLM, Lfm2Config, Lfm2ForCausalLM

transformers.logging.set_verbosity_error()
torch.set_grad_enabled(False)
shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
shape |= {"num_attention_heads": 4, "num_key_value_heads": 4, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
mamba = {"head_dim": 8, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}


def made(model):
    torch.manual_seed(0)
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.3)
    return model.eval()


prompts = torch.tensor([[5, 9, 11], [7, 8, 30], [33, 2, 6]])


def difference(model, rows, call):
    rows, token = torch.tensor(rows), torch.full((len(rows), 1), 4)
    cache = model(prompts, use_cache=True).past_key_values
    getattr(cache, call)(rows)
    cached = model(token, past_key_values=cache, use_cache=True).logits[:, -1]
    return float((cached - model(torch.cat([prompts[rows], token], 1)).logits[:, -1]).abs().max())


falcon = made(FalconH1ForCausalLM(FalconH1Config(**shape, **mamba)))
found = {}
for rows, call in (([0, 1, 2], "batch_select_indices"), ([1, 0, 2], "batch_select_indices"), ([1, 0, 2], "reorder_cache")):
    found[call, rows[0]] = difference(falcon, rows, call)
    print(f"Falcon-H1, {call}({rows}): {found[call, rows[0]]:.1g}")
lfm = made(Lfm2ForCausalLM(Lfm2Config(**shape, layer_types=["full_attention", "conv"])))
cache = lfm(prompts, use_cache=True).past_key_values
try:
    cache.batch_select_indices(torch.tensor([1]))
    raised = False
except AttributeError as error:
    raised = True
    print(f"LFM2: {error}; the attention layer before it has {len(cache.layers[0].keys)} of 3 rows left")
assert max(found["batch_select_indices", 0], found["reorder_cache", 1]) < 1e-3, found
assert found["batch_select_indices", 1] > 1 and raised, "the behaviour has changed"
PY
