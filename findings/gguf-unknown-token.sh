#!/usr/bin/env bash
# transformers gives a tokenizer from GGUF a token that the model has no row for
#
# Surprising: a GGUF file of a byte-level BPE tokenizer need not name an unknown token (bytes cover every text; Llama 3 and
# Qwen files name none). AutoTokenizer with gguf_file= then adds the token "<|endoftext|>": it is not in the file's vocabulary,
# so it gets the id behind the last one, which is the number of rows of the model's embedding. A text that spells it, as
# chat logs and web text do, is encoded to that id, and the model fails with an index error or, on a GPU, an assertion.
# Who meets it: whoever loads tokenizer and model from such a file, and tokenizes text that holds the string.
# Versions: transformers 5.24.0, tokenizers 0.23.3, gguf 0.19.0, torch 2.13.0, numpy 2.3.5 (Linux, Python 3.11). Seen 2026-11-29:
#   tokens in the file: 258
#   ids of "a<|endoftext|>": [98, 258]
#   tokens of the tokenizer: 259, unknown token: None
# Fails (exit 1) when that is no longer what happens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "transformers==5.24.0" "tokenizers==0.23.3" "gguf==0.19.0" "torch==2.13.0" "numpy==2.3.5"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import transformers
from gguf import GGUFWriter, TokenType

shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
hidden = [b for b in range(256) if b not in shown]
letters = {b: chr(b) for b in shown} | {b: chr(256 + n) for n, b in enumerate(hidden)}
tokens = ["<|end|>", *(letters[b] for b in range(256)), "ĊĊ"]

writer = GGUFWriter("small.gguf", "llama")
writer.add_context_length(64)
writer.add_embedding_length(8)
writer.add_block_count(1)
writer.add_feed_forward_length(8)
writer.add_head_count(2)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("gpt-2")
writer.add_token_list(tokens)
writer.add_token_types([TokenType.CONTROL] + [TokenType.NORMAL] * (len(tokens) - 1))
writer.add_token_merges(["Ċ Ċ"])
writer.add_eos_token_id(0)
writer.add_bos_token_id(0)
writer.add_pad_token_id(0)
writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

tokenizer = transformers.AutoTokenizer.from_pretrained(".", gguf_file="small.gguf")
ids = tokenizer("a<|endoftext|>")["input_ids"]
print("tokens in the file:", len(tokens))
print('ids of "a<|endoftext|>":', ids)
print(f"tokens of the tokenizer: {len(tokenizer)}, unknown token: {tokenizer.unk_token}")
assert ids == [98, 258] and len(tokens) == 258 and len(tokenizer) == 259, "the behaviour has changed"
PY
