"""Save the initial weights of ``nano-parzc`` with their provenance; nothing is trained here.

Every suite trains it on the networks of its own seed. Any change of the network or its initial values
requires a higher ``RECIPE_VERSION``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zobench.models.loading import load
from zobench.models.nano.build import WEIGHTS, file_digest, write_provenance
from zobench.models.nano.gates import GateResult, Report
from zobench.models.nano.train import Schedule, TrainedModel
from zobench.models.progress_bars import hidden_progress_bars
from zobench.models.ranker.network import initialise_ranker
from zobench.models.vision.build import training_record
from zobench.spec import ModelRef

NAME = "nano-parzc"
RECIPE_VERSION = 1
STEPS, RATE, NETS = 200, 1e-2, 40


def build_ranker(out_dir: Path | str, *, seed: int = 0) -> dict[str, Any]:
    """Write the model to ``out_dir`` in the Hugging Face format; returns the content of ``PROVENANCE.json``.
    The same seed and library versions give a bit-identical file."""
    model, out = initialise_ranker(seed), Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with hidden_progress_bars():
        model.eval().save_pretrained(out)
    record = {
        "name": NAME,
        "digest": file_digest(out / WEIGHTS),
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe_version": RECIPE_VERSION,
        "data": {},
        **training_record(Schedule(steps=0), 0, seed, TrainedModel(0, 0.0, [])),
    }
    write_provenance(out, record)
    return record


def ranker_gates(path: Path | str, *, report: Report | None = None) -> list[GateResult]:
    """Whether the network can learn a ranking: share of the pairs of held-out networks, of random statistics
    of which one decides the order, that it orders rightly after 200 steps of Adam."""
    module: Any = load(ModelRef(name=str(path))).module
    draws = torch.Generator().manual_seed(0)
    config = module.config
    rows = torch.randn(2 * NETS, config.blocks, config.columns, generator=draws)
    truth = rows[:, :, 1].mean(1)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    for _ in range(STEPS):
        noise = torch.randn(config.width, generator=draws)
        ordered = torch.tanh(_gaps(module(rows[:NETS], noise)[0]) * _gaps(truth[:NETS] / truth.std()))
        optimizer.zero_grad()
        (-ordered.mean()).backward()
        optimizer.step()
    with torch.no_grad():
        found, _ = module(rows[NETS:], torch.zeros(config.width))
    right = (_gaps(found) * _gaps(truth[NETS:]) > 0).double().mean()
    detail = {"networks": NETS, "steps": STEPS}
    result = GateResult("held_out_pairs_in_order", round(float(right), 4), 0.85, 1.0, detail)
    if report is not None:
        report(result)
    return [result]


def _gaps(values: Tensor) -> Tensor:
    """Differences of all pairs."""
    pairs = torch.triu(torch.ones(len(values), len(values), dtype=torch.bool), diagonal=1)
    return (values[:, None] - values)[pairs]
