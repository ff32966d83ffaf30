#!/usr/bin/env bash
# A T5 made from its default configuration cannot be trained: the start token of its decoder is gone
#
# Surprising: in transformers 5.24 T5Config() has no decoder_start_token_id, so T5ForConditionalGeneration with labels raises an
# AttributeError from within the library, and generate asks for the token by a ValueError. MT5 made in the same way gets 0, and works. Folders of published T5
# models name the token in config.json and are not affected.
# Who meets it: whoever trains a small or new T5 from its configuration, or tests code with one.
# Versions: torch 2.13.0, transformers 5.24.0 (CPU, Python 3.11). Seen 2026-11-29:
#   T5: AttributeError: 'T5Config' object has no attribute 'decoder_start_token_id'
#   T5 with decoder_start_token_id=0: a loss
#   MT5: a loss
# Fails (exit 1) when the first no longer raises, or the others do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.24.0" "numpy==2.4.6"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
import torch
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

shape = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
ids = torch.tensor([[5, 6, 7]])


def outcome(name, model):
    try:
        with torch.no_grad():
            found = "a loss" if torch.isfinite(model(input_ids=ids, labels=ids).loss) else "no loss"
    except AttributeError as error:
        found = f"AttributeError: {error}"
    print(f"{name}: {found}")
    return found


bare = outcome("T5", T5ForConditionalGeneration(T5Config(**shape)))
named = outcome("T5 with decoder_start_token_id=0", T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0)))
other = outcome("MT5", MT5ForConditionalGeneration(MT5Config(**shape)))
assert "decoder_start_token_id" in bare and named == other == "a loss", "the behaviour has changed"
PY
