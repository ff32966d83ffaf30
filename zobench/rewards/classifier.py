"""A sequence classifier as reward: the probability of one of its labels for the generated answer.

Any model of ``transformers.AutoModelForSequenceClassification`` in a folder, from safetensors and without
code of its repository. Cost: one forward pass of the classifier for each batch; the tokens that it reads are
counted. The digest of its weights is part of the identity of the runs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.parameters import Count, Parameters
from zobench.rewards.base import Answered, Reward, Score, checked
from zobench.spec import ModelRef


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Parameters):
    model: str
    """A sequence classifier: a folder or a hub id."""
    label: str = "1"
    """The label whose probability is the score: its name in the model's configuration, or its number."""
    with_prompt: bool = False
    """Classify prompt and answer together instead of the answer alone."""
    device: str = "cpu"
    """Device of the classifier."""
    batch: Count = 32
    """Number of answers in one forward pass."""


class ClassifierReward(Reward):
    """The classifier's probability of a label, from 0 to 1."""

    Config: ClassVar[type] = ClassifierConfig
    config: ClassifierConfig

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any, int]:
        """Model, tokenizer and index of the label; ``ValueError`` if the model has no such label."""
        import transformers

        from zobench.models.devices import named
        from zobench.models.random_state import preserved_random_state
        from zobench.models.resolve import resolve

        c = self.config
        folder = resolve(ModelRef(name=c.model)).folder
        with preserved_random_state():
            module, told = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        if told["missing_keys"]:
            raise ValueError(
                f"classifier {c.model!r}: it has no weights for {sorted(told['missing_keys'])[0]}"
            )
        names = {str(index): index for index in module.config.id2label}
        names |= {str(name): index for index, name in module.config.id2label.items()}
        if c.label not in names:
            raise ValueError(f"classifier {c.model!r} has no label {c.label!r}; it has {', '.join(names)}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return module.eval().to(named(c.device)), tokenizer, names[c.label]

    def score(self, one: Answered) -> float:
        return self.scores([one])[0].value

    @torch.inference_mode()
    def scores(self, answered: Sequence[Answered]) -> list[Score]:
        module, tokenizer, label = self.loaded
        found: list[Score] = []
        for at in range(0, len(answered), self.config.batch):
            part = answered[at : at + self.config.batch]
            texts = [one.prompt + one.answer if self.config.with_prompt else one.answer for one in part]
            given = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(module.device)
            self.tokens_read += int(given["attention_mask"].sum())
            found += [checked(p) for p in module(**given).logits.double().softmax(1)[:, label].tolist()]
        return found

    def digests(self) -> dict[str, str]:
        from zobench.models.digest import weights_digest

        return {"judge": weights_digest(self.loaded[0])}
