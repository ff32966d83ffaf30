"""Parts of tiny unlearning runs: a full model and an oracle of a few thousand weights, briefly trained."""

from __future__ import annotations

import dataclasses
import functools
import json

import torch
from unlearning_models import tiny_llama
from unlearning_text import texts, word_tokenizer

from zobench.models.base import ModelIdentity
from zobench.models.digest import parameter_count, weights_digest
from zobench.models.language_model import LoadedModel
from zobench.runner.factory import CatalogueFactory
from zobench.spec import Component, ModelRef
from zobench.unlearning import terms
from zobench.unlearning.data import REFUSALS, invented_facts
from zobench.unlearning.forget_sets import by_author
from zobench.unlearning.minibatches import passes_over
from zobench.unlearning.rows import FactRow

FORGET = "forget_value_probability"
ATTRIBUTES = ("birthplace", "pet", "prize", "school")


@functools.cache
def people() -> dict[str, tuple[FactRow, ...]]:
    """Four facts each of two people to forget, four to keep and two that nobody knows."""
    whole = invented_facts(10)

    def some(rows, count):
        kept = [r for r in rows if r.attribute in ATTRIBUTES]
        return tuple(r for own in list(by_author(kept).values())[:count] for r in own)

    return {
        "forget": some(whole.forget, 2),
        "retain": some(whole.retain, 4),
        "holdout": some(whole.holdout, 2),
    }


def json_row(row: FactRow) -> dict[str, object]:
    return {
        "question": row.question,
        "answer": row.answer,
        "paraphrased_question": row.paraphrased_question,
        "paraphrased_answer": row.paraphrased_answer,
        "perturbed_answer": list(row.perturbed_answers),
        "author_id": row.author,
        "attribute": row.attribute,
        "value": row.value,
    }


def write_files(folder) -> dict[str, str]:
    """The people as files of the ``files`` source; its parameters."""
    found = {}
    for name, rows in people().items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(json_row(r)) + "\n" for r in rows))
        found[name] = str(path)
    return found


@functools.cache
def tokenizer():
    rows = [r for part in people().values() for r in part]
    asked = [dataclasses.replace(r, question=r.paraphrased_question) for r in rows]
    return word_tokenizer([*texts([*rows, *asked]), *REFUSALS, "Sure, here is the answer:"])


@functools.cache
def weights(name: str) -> dict[str, torch.Tensor]:
    module = tiny_llama(0, vocabulary=len(tokenizer()), positions=256)
    parts = people()
    rows = [*parts["retain"], *(parts["forget"] if name == "full" else ())]
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.0)
    for tokens in passes_over(tokenizer(), rows, size=12, count=60, seed=0):
        optimizer.zero_grad()
        terms.mean_nll(module, tokens).backward()
        optimizer.step()
    return {n: t.detach().clone() for n, t in module.state_dict().items()}


class FactsParts(CatalogueFactory):
    """The models ``full`` and ``oracle``."""

    def load_model(self, ref: ModelRef) -> LoadedModel:
        if ref.name not in ("full", "oracle"):
            raise ValueError(f"no model {ref.name!r}")
        module = tiny_llama(0, vocabulary=len(tokenizer()), positions=256)
        module.load_state_dict(weights(ref.name))
        module.set_attn_implementation("sdpa" if ref.attention == "auto" else ref.attention)
        module.eval()
        digest = weights_digest(module)
        identity = ModelIdentity(ref.name, None, digest, "float32", False, parameter_count(module))
        return LoadedModel(module, tokenizer(), identity, "causal", 256)


PARTS = FactsParts()


def resolved_data(files):
    return Component(name="files", params=files)


def clean(tables, metric):
    found = [
        m["value"]
        for m in tables["metrics"]
        if (m["metric"], m["condition_kind"], m["final"]) == (metric, "clean", True)
    ]
    assert len(found) == 1, metric
    return found[0]
