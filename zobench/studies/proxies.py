"""How well proxies rank small architectures: measures it and writes its part of ``docs/systems.md``.

    python -m zobench.studies.proxies --measure             # 50 networks of each kind, minutes to an hour
    python -m zobench.studies.proxies --measure --nets 12   # the quick size
    python -m zobench.studies.proxies --from RESULTS        # runs of suites/proxies-full.yaml

``docs/results/proxies.parquet`` has one record per kind, network and seed of its initial weights: number of
weights, W-PCA, the statistics of its blocks as JSON, and, for the seeds that are trained, the accuracy. The
file is written after every network, and the command resumes. ``docs/results/proxies-full.parquet`` has one
record per run of the suite and metric.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from zobench.metrics.intervals import stratified_groups
from zobench.metrics.ranking import kendall_tau
from zobench.proxies import learned, nets, scores, training
from zobench.studies import committed, markdown
from zobench.studies.image_runs import compact, final

NAME = "proxies"
FULL = f"{NAME}-full"
LEARNED = ("parzc", "parzc-mezo", "untrained")
FIXED = ("parameters", "random", "w_pca", "pca_alone")
NETS, INITS, TRAINED, STEPS = 50, 5, 1, 100
KNOWN_SHARE, SPLITS, RESAMPLES = 0.4, 5, 400
PROXIES = ("parameters", "random", "w-pca", "pca-alone", "parzc")


def measured(
    kind: training.DataKind, net: int, seed: int, *, train: bool, steps: int = STEPS
) -> dict[str, Any]:
    """One record."""
    design, found = nets.designs(NETS)[net], training.data(kind)
    network = found.network(design, seed)
    inputs, padding, _ = found.batch(seed, 0)
    rows = scores.statistics(network, inputs, padding)
    return {
        "kind": kind,
        "net": net,
        "seed": seed,
        "design": f"{design.depth} x {design.width}, {design.ratio:g}, {design.heads}, {design.activation}",
        "parameters": scores.parameters(network),
        "w_pca": scores.w_pca(network, rows),
        "statistics": json.dumps(rows.tolist()),
        "accuracy": training.trained_accuracy(kind, design, seed, steps) if train else float("nan"),
    }


def measure(count: int) -> None:
    """Measure what the file lacks of the first ``count`` networks."""
    path = committed.results() / f"{NAME}.parquet"
    rows: list[dict[Any, Any]] = pd.read_parquet(path).to_dict("records") if path.exists() else []
    known = {(r["kind"], r["net"]) for r in rows}
    for net in range(count):
        for kind in training.KINDS:
            if (kind, net) not in known:
                seeds = range(1, INITS + 1)
                rows += [measured(kind, net, seed, train=seed <= TRAINED) for seed in seeds]
                print(kind, net, rows[-INITS]["accuracy"], flush=True)
                table = pd.DataFrame(rows).sort_values(["kind", "net", "seed"], ignore_index=True)
                committed.keep(table, path)


def predictions(part: pd.DataFrame) -> tuple[dict[str, np.ndarray[Any, Any]], torch.Tensor, torch.Tensor]:
    """By network of one kind: the predictions that need no training, the statistics as ``learned`` takes
    them (means over the initial weights), and the mean accuracies."""
    groups = part.groupby("net")
    sizes = groups["parameters"].first()
    means = [
        torch.stack([torch.tensor(json.loads(s), dtype=torch.float64) for s in g["statistics"]]).mean(0)
        for _, g in groups
    ]
    w_pca = groups["w_pca"].mean().to_numpy()
    plain = {
        "parameters": sizes.to_numpy(dtype=float),
        "random": np.random.default_rng(0).permutation(len(sizes)).astype(float),
        "w-pca": w_pca,
        "pca-alone": w_pca / sizes.to_numpy(dtype=float),
    }
    accuracies = torch.tensor(groups["accuracy"].mean().to_numpy())
    return plain, learned.padded(means, [int(s) for s in sizes]), accuracies


def on_all(predicted: np.ndarray[Any, Any], accuracies: np.ndarray[Any, Any]) -> str:
    """tau over all networks, with the 95 % percentile interval over resampled networks."""
    draws = np.random.default_rng(1)
    n = len(accuracies)
    resampled = [draws.integers(0, n, n) for _ in range(RESAMPLES)]
    values = [kendall_tau(predicted[rows], accuracies[rows]) for rows in resampled]
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{kendall_tau(predicted, accuracies):+.2f} [{low:+.2f}, {high:+.2f}]"


def over_seeds(part: pd.DataFrame) -> dict[str, list[float]]:
    """tau of each proxy by seed of the initial weights, whose scores are not averaged: on all networks; of
    the learned one on those that are held out in the seed's split."""
    found: dict[str, list[float]] = {name: [] for name in PROXIES}
    accuracies = part.groupby("net")["accuracy"].mean()
    for seed, mine in part.groupby("seed"):
        plain, statistics, _ = predictions(mine)
        y = accuracies[sorted(mine["net"])].to_numpy(copy=True)
        plain["random"] = np.random.default_rng(int(str(seed))).permutation(len(y)).astype(float)
        order = np.random.default_rng(int(str(seed))).permutation(len(y))
        known = torch.zeros(len(y), dtype=torch.bool)
        known[torch.from_numpy(order[: max(2, round(KNOWN_SHARE * len(y)))])] = True
        fitted = learned.learned(statistics, torch.from_numpy(y), known, seed=int(str(seed))).numpy()
        held = (~known).numpy()
        for name, values in plain.items():
            found[name].append(kendall_tau(values, y))
        found["parzc"].append(kendall_tau(fitted[held], y[held]))
    return found


def on_held_out(part: pd.DataFrame) -> dict[str, list[float]]:
    """tau of each proxy on the networks that the learned one was not trained on, for each split."""
    plain, statistics, accuracies = predictions(part)
    n = len(accuracies)
    found: dict[str, list[float]] = {name: [] for name in PROXIES}
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(n)
        known = torch.zeros(n, dtype=torch.bool)
        known[torch.from_numpy(order[: max(2, round(KNOWN_SHARE * n))])] = True
        fitted = learned.learned(statistics, accuracies, known, seed=split).numpy()
        held = (~known).numpy()
        for name, values in {**plain, "parzc": fitted}.items():
            found[name].append(kendall_tau(values[held], accuracies.numpy()[held]))
    return found


def suite_table(points: pd.DataFrame) -> list[str]:
    """tau in the runs of ``suites/proxies-full.yaml``, over their seeds."""
    rows = []
    for kind in training.KINDS:
        part = points[points["task"] == kind]
        found = {name: final(part, name, "kendall_tau") for name in LEARNED}
        found |= {name: final(part, LEARNED[0], f"kendall_tau_{name}") for name in FIXED}
        for name, values in found.items():
            rows.append([kind, f"`{name.replace('_', '-')}`", _interval(list(values)), str(len(values))])
    return markdown.table(["kind", "proxy", "over seeds", "seeds"], rows)


def section(table: pd.DataFrame, points: pd.DataFrame) -> str:
    """The part of the page on proxies, from the measurements and from the suite's runs."""
    rows = []
    for kind in training.KINDS:
        part = table[table["kind"] == kind]
        plain, _, accuracies = predictions(part)
        held, seeds = on_held_out(part), over_seeds(part)
        for name in PROXIES:
            whole = on_all(plain[name], accuracies.numpy()) if name in plain else "–"
            rows.append([kind, f"`{name}`", whole, _interval(seeds[name]), _interval(held[name])])
    accuracy = table.dropna(subset=["accuracy"]).groupby("kind")["accuracy"]
    text = TEXT.format(
        nets=table["net"].nunique(),
        inits=table["seed"].nunique(),
        trained=table.dropna(subset=["accuracy"])["seed"].nunique(),
        steps=STEPS,
        ranges="; ".join(f"{kind}: {100 * a.min():.0f} to {100 * a.max():.0f} %" for kind, a in accuracy),
        known=f"{100 * KNOWN_SHARE:.0f}",
        splits=SPLITS,
    )
    header = ["kind", "proxy", "all networks", "over seeds", "networks held out from ParZC"]
    return "\n".join([text, *markdown.table(header, rows), "", SUITE, *suite_table(points)])


def _interval(values: list[float]) -> str:
    d = stratified_groups([np.asarray(values)])
    return f"{d.value:+.2f} [{d.low:+.2f}, {d.high:+.2f}]"


TEXT = """## W-PCA and ParZC: proxies of architectures

`python -m zobench.studies.proxies --measure`: {nets} small transformers of each kind
(`zobench.proxies.nets`: depth, width, feed-forward size, heads, activation) are ranked by scores of their
initial weights, means over {inits} initializations, and trained for {steps} steps of AdamW from the first
{trained} of these. Test accuracies: {ranges}.
`image`: digits of `mnist-5k`; `text`: generated opinions. `random` is one draw.

*Published*: W-PCA (2504.15983) ranks better than proxies that need gradients; ParZC (2402.02105) learns the
ranking from statistics of the nodes. *Found here*: Kendall's tau-b with the trained accuracy. On all
networks: 95 % percentile intervals over resampled networks. Over seeds: means and 95 % t intervals over
{inits} seeds of the initial weights, whose scores are not averaged, on all networks (`parzc`: on those held
out in the seed's split); the trained accuracies are the same. Held out: means and 95 % t intervals over
{splits} splits, in each of which ParZC learns from {known} % of the networks; splits share networks, so that
these intervals are too narrow. `pca-alone` is W-PCA without the number of weights. Not tested: the claim
about gradient-based proxies, and FlexiBERT, the architectures of the paper. The statistics of this
forward-only ParZC, its sizes and its training are ours (`zobench.proxies.scores`, `zobench.proxies.learned`).
"""

SUITE = """The same as a suite, `zobench run suites/proxies-full.yaml`: 65 networks of each kind, of which the
learned proxy knows 12 and 50 others are ranked, with other initial weights, minibatches and choice of known
networks for each seed. `parzc` is trained by AdamW, `parzc-mezo` by 600 forward passes alone, `untrained` is
the proxy at its initialization. The networks are trained once, with the same result for all seeds. Means and
95 % t intervals:
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--nets", type=int, default=NETS, choices=range(1, NETS + 1), metavar="N")
    parser.add_argument("--from", dest="folder", type=Path)
    options = parser.parse_args()
    if options.folder:
        compact(options.folder, FULL, task_of="data")
    if options.measure:
        measure(options.nets)


if __name__ == "__main__":
    main()
