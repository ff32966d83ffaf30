"""Fine-tuning by forward passes with a Hugging Face ``Trainer``: ``python examples/hf_trainer.py``.

To use an existing ``Trainer`` script, change the import and name a method. The Trainer still handles data,
evaluation, logging, checkpoints and schedules (:mod:`zobench.trainer`). This example uses the built-in model.
"""

from __future__ import annotations

import tempfile
from typing import Any

from transformers import TrainingArguments

from zobench.models.loading import load
from zobench.spec import ModelRef
from zobench.trainer import ZOTrainer

TEXTS = ("the film was great", "the food was terrible", "a lovely story", "a dull and awful book")


def fine_tune(folder: str, **settings: Any) -> ZOTrainer:
    lm = load(ModelRef(name="builtin:nano"))
    rows = []
    for text in TEXTS * 8:
        ids = lm.tokenizer(text, padding="max_length", max_length=12)["input_ids"]
        rows.append({"input_ids": ids, "labels": ids})
    args = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=1e-4,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        **{"max_steps": 20, "logging_steps": 10, **settings},
    )
    trainer = ZOTrainer(model=lm.module, args=args, train_dataset=rows, method="fzoo")
    trainer.train()
    return trainer


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(f"{fine_tune(folder).objective.meter.forwards} forward passes")
