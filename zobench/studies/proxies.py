"""How well proxies rank small architectures: compacts the runs of ``suites/proxies-full.yaml`` and writes its
part of ``docs/systems.md``.

    python -m zobench.studies.proxies --from RESULTS

``docs/results/proxies.parquet`` has one record per kind of data, row, seed and ranked network: the scores of
all proxies and the accuracy.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zobench.metrics.intervals import stratified_groups
from zobench.metrics.ranking import kendall_tau
from zobench.proxies import training
from zobench.proxies.ranking import FIXED
from zobench.store.reader import read
from zobench.studies import committed, markdown
from zobench.tasks.proxy import LEARNED, ProxyConfig

NAME = "proxies"
ROWS = ("parzc", "parzc-mezo", "untrained")
RESAMPLES = 400


def compact(folder: Path, to: Path | None = None) -> None:
    """Write the file of the results folder into ``to`` (``docs/results``)."""
    found = read([folder], ("runs", "predictions"))
    runs = found.runs[(found.runs["purpose"] == "result") & (found.runs["status"] == "done")]
    runs = runs.assign(kind=[json.loads(p)["data"] for p in runs["task_params"]], commit=runs["git_commit"])
    rows = runs[["run_id", "kind", "row", "seed", "commit"]].merge(
        found.predictions[["run_id", "example_id", "raw"]], on="run_id"
    )
    scores = pd.DataFrame([json.loads(text) for text in rows["raw"]], index=rows.index)
    table = rows.assign(net=rows["example_id"].str[-3:].astype(int)).drop(
        columns=["run_id", "example_id", "raw"]
    )
    table = table.join(scores).sort_values(["kind", "row", "seed", "net"], ignore_index=True)
    committed.keep(table, (to or committed.results()) / f"{NAME}.parquet")


def taus(table: pd.DataFrame, kind: str, proxy: str) -> np.ndarray[Any, Any]:
    """tau of a proxy without training, or of the learned one of a row, by seed."""
    part = table[table["kind"] == kind]
    part = part[part["row"] == (proxy if proxy in ROWS else ROWS[0])]
    column = LEARNED if proxy in ROWS else proxy
    return np.asarray([kendall_tau(p[column], p["accuracy"]) for _, p in part.groupby("seed", sort=True)])


def over_networks(table: pd.DataFrame, kind: str, proxy: str) -> str:
    """95 % percentile interval of tau over resampled networks, of the first seed."""
    part = table[(table["kind"] == kind) & (table["row"] == (proxy if proxy in ROWS else ROWS[0]))]
    part = part[part["seed"] == part["seed"].min()]
    scores, y = part[LEARNED if proxy in ROWS else proxy].to_numpy(), part["accuracy"].to_numpy()
    draws = np.random.default_rng(1)
    chosen = [draws.integers(0, len(y), len(y)) for _ in range(RESAMPLES)]
    low, high = np.quantile([kendall_tau(scores[rows], y[rows]) for rows in chosen], (0.025, 0.975))
    return f"[{low:+.2f}, {high:+.2f}]"


def section(table: pd.DataFrame) -> str:
    """The part of the page on proxies."""
    rows = []
    for kind in training.KINDS:
        control = taus(table, kind, "parameters")
        for proxy in (*FIXED, *ROWS):
            own = taus(table, kind, proxy)
            gap = "–" if proxy == "parameters" else _interval(own - control)
            rows.append([kind, f"`{proxy}`", _interval(own), over_networks(table, kind, proxy), gap])
    usual, accuracy = ProxyConfig(), table.groupby("kind")["accuracy"]
    text = TEXT.format(
        nets=usual.nets,
        known=usual.known,
        ranked=table.groupby(["kind", "row", "seed"]).size().iloc[0],
        inits=usual.inits,
        seeds=table["seed"].nunique(),
        trainings=usual.trainings,
        steps=usual.steps,
        commits=", ".join(sorted({c[:7] for c in table["commit"]})),
        ranges="; ".join(f"{kind}: {100 * a.min():.0f} to {100 * a.max():.0f} %" for kind, a in accuracy),
    )
    header = ["data", "proxy", "tau, over seeds", "over networks", "minus `parameters`"]
    return "\n".join([text, *markdown.table(header, rows)])


def _interval(values: np.ndarray[Any, Any]) -> str:
    d = stratified_groups([values])
    return f"{d.value:+.2f} [{d.low:+.2f}, {d.high:+.2f}]"


TEXT = """## W-PCA and ParZC: proxies of architectures

`zobench run suites/proxies-full.yaml` (code {commits}; `suites/proxies.yaml` is the quick size with 12
networks): {nets} small transformers of each kind (`zobench.proxies.nets`: depth, width, feed-forward size,
heads, activation) are ranked by scores of their initial weights, means over {inits} initializations of a
seed, and compared with their test accuracy after {steps} steps of AdamW (trainings of each: {trainings},
the same for all {seeds} seeds). {known} networks, drawn by the seed, are those from which `parzc` (AdamW)
and `parzc-mezo` (forward passes alone, as many) learn; {ranked} others are ranked. `untrained` is the
learned proxy at its initial weights, `random` a random order, `pca-alone` W-PCA without the number of
weights. `image`: digits of `mnist-5k`; `text`: generated opinions. Accuracies: {ranges}.

*Published*: W-PCA (2504.15983) ranks better than proxies that need gradients; ParZC (2402.02105) learns the
ranking from statistics of the nodes. *Found here*: Kendall's tau-b with the trained accuracy: means over
the seeds with 95 % t intervals (ranked networks overlap between seeds, and accuracies are the same, so that
these intervals say nothing of other networks), 95 % percentile intervals over resampled networks of the
first seed, and differences to the number of weights paired by seed, not corrected for their number. Not
tested: the claim about gradient-based proxies, and FlexiBERT, the architectures of the paper. The
statistics of this forward-only ParZC, its sizes and its training are ours (`zobench.proxies.scores`,
`zobench.proxies.ranking`).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", required=True, metavar="RESULTS")
    compact(Path(parser.parse_args().source))


if __name__ == "__main__":
    main()
