"""Facts that a model recalls, and its perplexity on general text, for instance after it was pruned."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from zobench.data.example import Example, Splits
from zobench.data.synthetic import corpus
from zobench.models.base import LanguageModel
from zobench.models.likelihood import text_passes
from zobench.parameters import Count
from zobench.tasks.base import MetricValue, Prediction
from zobench.tasks.generation import GenerationTask
from zobench.tasks.nano_answers import FactsConfig, NanoFacts

HELD_SEED = 900
"""Stream of the general documents, which no training and no calibration reads."""


@dataclass(frozen=True)
class RecallConfig(FactsConfig):
    test_rows: int = 60
    """Questions: the first of the set."""
    documents: Count = 64
    """General documents for the perplexity."""


class NanoRecall(NanoFacts):
    """As ``nano-facts``, with ``perplexity``: exp of the mean negative log-likelihood per token of documents
    of the kinds that the built-in text model was trained on, without those about people. The documents are
    test examples of their own, which do not count for the accuracy."""

    Config: ClassVar[type] = RecallConfig
    measures: ClassVar[tuple[str, ...]] = (*GenerationTask.measures, "perplexity")

    def splits(self, seed: int) -> Splits:
        """Those of ``nano-facts``, and the documents behind the test questions."""
        found = super().splits(seed)
        texts = corpus.general_documents(HELD_SEED, self.config.documents)
        documents = [
            Example(f"document/{i}", {"question": text}, answer="", meta={"general": True})
            for i, text in enumerate(texts)
        ]
        return Splits(found.train, found.validation, [*found.test, *documents], found.demonstrations)

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """Answers to questions; for a document its negative log-likelihood and number of tokens."""
        asked = [e for e in examples if not e.meta.get("general")]
        answers = iter(super().predict(lm, asked, demonstrations)) if asked else iter(())
        return [_read(lm, e) if e.meta.get("general") else next(answers) for e in examples]

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        pairs = list(zip(examples, predictions, strict=True))
        asked = [(e, p) for e, p in pairs if not e.meta.get("general")]
        read = [json.loads(p.raw) for e, p in pairs if e.meta.get("general")]
        found = super().metrics([e for e, _ in asked], [p for _, p in asked]) if asked else {}
        if read:
            mean = sum(r["nll"] for r in read) / sum(r["tokens"] for r in read)
            found["perplexity"] = MetricValue(math.exp(min(mean, 700.0)), len(read))
        return found


@torch.inference_mode()
def _read(lm: LanguageModel, example: Example) -> Prediction:
    (run,) = text_passes(lm, [example.text["question"]])
    nll, tokens = (float(v) for v in run())
    raw = json.dumps({"nll": nll, "tokens": tokens})
    return Prediction(example.id, f"{nll:.3f} nats", True, raw=raw)
