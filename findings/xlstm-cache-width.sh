#!/usr/bin/env bash
# xLSTM in transformers refuses its own state at widths that are no multiple of 64, already in training
#
# Surprising: a configuration that builds, and whose model computes losses with use_cache=False, raises ValueError ("matC_old has wrong shape")
# in every other call: a plain forward pass, one with labels in train mode, and generate. The empty state is made for the query/key width of the
# configuration rounded up to a multiple of 64 and divided by the heads; the layers use the width as it is. The default of use_cache is on,
# in training too. The default sizes are such multiples, so that the fault appears only when a model is made smaller or narrower.
# Who meets it: whoever builds a small xLSTM (tests, pretraining from scratch), or one of width 320 with qk_dim_factor 0.5.
# Versions: torch 2.13.0, transformers 5.24.0 (CPU, Python 3.11). Seen 2026-11-29:
#   width 320, 5 heads: without state: finite; forward: ValueError; training: ValueError; generate: ValueError
#   width 256, 4 heads: without state: finite; forward: finite; training: finite; generate: finite
# Fails (exit 1) when the narrow model runs with its state, or the other one does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import transformers
from transformers import xLSTMConfig, xLSTMForCausalLM

transformers.logging.set_verbosity_error()
NATIVE = {
    "chunkwise_kernel": "chunkwise--native_autograd",
    "sequence_kernel": "native_sequence__native",
    "step_kernel": "native",
}


def outcome(call):
    try:
        made = call()
    except ValueError as error:
        assert "wrong shape" in str(error), error
        return "ValueError"
    return "finite" if bool(torch.isfinite(made.float()).all()) else "not finite"


def outcomes(width, heads):
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": width, "num_blocks": 2, "num_hidden_layers": 2, "num_heads": heads}
    model = xLSTMForCausalLM(xLSTMConfig(**sizes, qk_dim_factor=0.5, v_dim_factor=1.0, **NATIVE)).eval()
    tokens = torch.randint(0, 50, (2, 9))
    told = {
        "without state": outcome(lambda: model(tokens, use_cache=False).logits),
        "forward": outcome(lambda: model(tokens).logits),
        "training": outcome(lambda: model.train()(tokens, labels=tokens).loss),
        "generate": outcome(lambda: model.eval().generate(tokens, max_new_tokens=3, do_sample=False, pad_token_id=0)),
    }
    print(f"width {width}, {heads} heads: " + "; ".join(f"{k}: {v}" for k, v in told.items()))
    return list(told.values())


assert outcomes(320, 5) == ["finite", "ValueError", "ValueError", "ValueError"], "the behaviour has changed"
assert outcomes(256, 4) == ["finite"] * 4, "the behaviour has changed"
PY
