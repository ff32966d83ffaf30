"""The byte-level BPE of the nano family: each digit is a token, and a leading space belongs to its word or
digit.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, MASK = "<pad>", "<end>", "<mask>"
ENTRIES = 1536
_PIECES = r" ?\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s+"


def train(texts: Iterable[str], *, entries: int = ENTRIES) -> PreTrainedTokenizerFast:
    """Train on ``texts``, which alone determine the result. Encoding adds no special tokens by default."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=[PAD, END, MASK],
        # Sorted: the alphabet's order decides the token ids.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        mask_token=MASK,
        model_max_length=256,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
