"""Trains the full model and the retain-only oracle on a suite's facts, once, and caches them by the digest of
their settings.

Both start from the same weights, random ones or those of a given model, and see the same minibatches, except
that the oracle's do not contain the examples of the forget set. AdamW without weight decay on the token-mean
loss of the answers, one-cycle learning rate, a new wording of the question each time; with ``compute:
bfloat16`` matrix products are computed in that format, from weights in float32. Weights are stored under
``$ZOBENCH_CACHE/pairs`` (default ``~/.cache/zobench``) in the Hugging Face format.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from zobench.models.resolve import pair_folder
from zobench.pair import Pair
from zobench.spec import ModelRef, RunSpec
from zobench.store import files
from zobench.store.lock import FolderLock
from zobench.unlearning import terms
from zobench.unlearning.base import Tokens
from zobench.unlearning.data import FactSplits
from zobench.unlearning.minibatches import passes_over
from zobench.unlearning.rows import FactRow

NAMES = ("full", "oracle")
WARMUP = 0.1
DONE = "pair.json"
_POLL_SECONDS = 0.5


def ensure(spec: RunSpec) -> None:
    """Train the pair that a run names, unless it exists; wait while another process trains it."""
    section = spec.unlearning
    if section is None or section.pair is None:
        return
    name = next(n for n in (spec.model.name, section.oracle.name) if n.startswith("pair:"))
    folder = pair_folder(name).parent
    while not (folder / DONE).is_file():
        lock = FolderLock.acquire(folder)
        if lock is None:
            time.sleep(_POLL_SECONDS)
            continue
        with lock:
            if not (folder / DONE).is_file():  # again: another process may have trained it meanwhile
                from zobench.runner.unlearning_cache import splits_of

                record = train_pair(section.pair, splits_of(section), folder)
                # Last: this file says that the weights are complete.
                files.write_atomic(folder / DONE, json.dumps(record, indent=1).encode())


def train_pair(pair: Pair, splits: FactSplits, folder: Path) -> dict[str, Any]:
    """Train and save both models; returns their final losses and training times."""
    further = [r for rows in splits.other.values() for r in rows] if pair.further else []
    kept = [*splits.retain, *further]
    start, tokens = _start(pair, _texts([*kept, *splits.forget, *splits.holdout], splits))
    forgotten = {r.id for r in splits.forget}
    record: dict[str, Any] = {"pair": pair.model_dump(mode="json"), "rows": len(kept) + len(forgotten)}
    for name in NAMES:
        started = time.monotonic()
        model = start()
        rows = [*kept, *splits.forget]
        left_out = forgotten if name == "oracle" else set[str]()
        batches = passes_over(
            tokens, rows, size=pair.batch, count=pair.steps, seed=pair.seed, left_out=left_out
        )
        loss = fit(model, batches, pair)
        model.save_pretrained(folder / name)
        tokens.save_pretrained(folder / name)
        record[name] = {"loss": loss, "seconds": round(time.monotonic() - started, 1)}
    return record


def _start(pair: Pair, texts: Sequence[str]) -> tuple[Callable[[], Any], Any]:
    """A function that creates the model to be trained, and its tokenizer."""
    if pair.base is not None:
        from zobench.models.loading import load

        ref = ModelRef(name=pair.base)
        return lambda: load(ref).module.requires_grad_(True), load(ref).tokenizer
    from zobench.models.nano import architecture, tokenizer

    tokens = tokenizer.train(texts, entries=pair.vocabulary)
    shape = {"width": pair.width, "layers": pair.layers, "heads": pair.heads, "mlp": pair.mlp}
    return lambda: architecture.initialise(architecture.causal(tokens, **shape), pair.seed), tokens


def _texts(rows: Sequence[FactRow], splits: FactSplits) -> list[str]:
    questions = [f"{r.prompt()} {r.answer}" for r in rows]
    other = [t for r in rows for t in (r.paraphrased_question, r.paraphrased_answer, *r.other_questions) if t]
    return [*questions, *other, *splits.refusals]


def fit(model: Any, batches: Sequence[Tokens], pair: Pair) -> float:
    """Train in place and return the mean loss of the last tenth of the steps."""
    quick = pair.compute is not None
    # Earlier pairs keep their bits: the head on answers alone and the fused update round differently.
    loss_of = terms.answer_nll if quick else terms.mean_nll
    optimizer = torch.optim.AdamW(model.parameters(), lr=pair.lr, weight_decay=0.0, fused=quick or None)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, pair.lr, total_steps=pair.steps + 1, pct_start=WARMUP, cycle_momentum=False
    )
    losses: list[float] = []
    model.train()
    for tokens in batches:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(tokens.ids.device.type, dtype=torch.bfloat16, enabled=quick):
            loss = loss_of(model, tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    model.eval()
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / max(1, len(last))
