#!/usr/bin/env bash
# RWKV in transformers generates other text for two prompts at once than for one
#
# Surprising: with its state (use_cache=True, the default of generate), an RWKV model gives a batch of two equal prompts another
# continuation than the same prompt alone. Without the state the two agree, and so does the first generated token. No message says so.
# From the second token on, the remembered hidden state of shape (batch, width) is mixed with the new one of shape
# (batch, 1, width): broadcasting makes (batch, batch, width) of it, as if each row had as many positions as the batch has rows, all but one of them
# taken from other rows. A batch of one is right, and nothing raises.
# Who meets it: whoever evaluates or samples from RWKV-4 models (RwkvForCausalLM) in batches.
# Versions: torch 2.13.0, transformers 5.24.0 (CPU, Python 3.11). Seen 2026-11-29:
#   alone, with state:    [61, 61, 31, 22, 58, 33, 56, 42]
#   alone, without state: [61, 61, 31, 22, 58, 33, 56, 42]
#   two equal prompts, with state: the rows differ from the prompt alone in 7 of 8 tokens
#   two equal prompts, without state: the rows differ from the prompt alone in 0 of 8 tokens
# Fails (exit 1) when a batch with state agrees with its rows alone, or when the others stop agreeing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import RwkvConfig, RwkvForCausalLM

transformers.logging.set_verbosity_error()
torch.manual_seed(0)
model = RwkvForCausalLM(RwkvConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, bos_token_id=1, eos_token_id=None)).eval()
for weights in model.parameters():
    if weights.dim() > 1:
        torch.nn.init.normal_(weights, std=0.5)


def continued(prompts, use_cache):
    settings = {"do_sample": False, "max_new_tokens": 8, "use_cache": use_cache, "pad_token_id": 0}
    return model.generate(prompts, attention_mask=torch.ones_like(prompts), **settings)[:, prompts.shape[1] :]


prompt = torch.tensor([[5, 9, 11]])
alone = continued(prompt, True)
print("alone, with state:   ", alone[0].tolist())
print("alone, without state:", continued(prompt, False)[0].tolist())
differing = {}
for use_cache, name in ((True, "with state"), (False, "without state")):
    rows = continued(prompt.repeat(2, 1), use_cache)
    differing[use_cache] = int((rows[0] != alone[0]).sum())
    print(f"two equal prompts, {name}: the rows differ from the prompt alone in {differing[use_cache]} of 8 tokens")
assert torch.equal(alone, continued(prompt, False)) and differing[False] == 0 and differing[True] > 0, "the behaviour has changed"
PY
