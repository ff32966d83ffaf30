"""Fine-tuning on half-memorized facts: compacts the runs of ``suites/ib-ft.yaml`` and writes its part of
``docs/systems.md``.

    python -m zobench.studies.ib_ft --from RESULTS

``docs/results/ib-ft.parquet`` has one record per run and metric at the end, and one per training fact with
the loss of the model before training (row ``base``); ``ib-ft-trials`` has the tuning trials.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from zobench.metrics.intervals import stratified_groups
from zobench.metrics.paired import holm, paired_t
from zobench.models.loading import load
from zobench.spec import ModelRef
from zobench.store.reader import read
from zobench.studies import committed, markdown
from zobench.studies.image_runs import compact, final
from zobench.studies.rate_edges import rate_edges
from zobench.tasks.half_memorized import PARTS, HalfMemorized, HalfMemorizedConfig

NAME = "ib-ft"
TRIALS = f"{NAME}-trials"
ROWS = (
    "zero-shot",
    "adamw",
    "adamw-noise",
    "adamw-variational-weak",
    "adamw-variational",
    "adamw-hsic-weak",
    "adamw-hsic",
    "mezo",
    "mezo-variational",
    "mezo-hsic",
)
METRICS = {
    "accuracy": "Pass@1",
    "pass_at_k_m": "Pass@4(3)",
    "accuracy_memorized": "Pass@1, memorized",
    "accuracy_new": "Pass@1, new",
}
COMPARED = ("accuracy", "pass_at_k_m")
LEVEL = 0.05
NOISY = ("adamw-variational-weak", "adamw-variational")
"""Rows that are compared with their noise alone as well."""


def base_losses() -> pd.DataFrame:
    """The loss of the model before training on each training fact: columns ``metric`` (``loss_memorized`` or
    ``loss_new``) and ``value``, nats per token. Cost: one forward pass per fact."""
    task, lm = HalfMemorized(HalfMemorizedConfig()), load(ModelRef(name="builtin:nano-facts"))
    facts = task.splits(1).train
    with torch.no_grad():
        values = [task.loss(lm, lm.module, task.batch(lm, [e])).item() for e in facts]
    names = [f"loss_{e.meta['part']}" for e in facts]
    return pd.DataFrame({"row": "base", "metric": names, "value": values})


def keep(folder: Path) -> None:
    """Write both files from a results folder."""
    compact(folder, NAME)
    path = committed.results() / f"{NAME}.parquet"
    committed.keep(pd.concat([committed.read(NAME), base_losses()], ignore_index=True), path)
    runs = read([folder], ("runs",)).runs
    trials = runs[runs["purpose"] == "tuning"].rename(columns={"method_params": "params"})
    kept = trials[["task", "row", "params", "seed", "status"]].sort_values(
        ["row", "params"], ignore_index=True
    )
    committed.keep(kept, committed.results() / f"{TRIALS}.parquet")


def plain_of(row: str) -> str:
    """The row with the plain loss and the same optimizer."""
    return row.split("-")[0]


def section(table: pd.DataFrame, trials: pd.DataFrame) -> str:
    """The part of the page on IB-FT."""
    runs = table[table["row"] != "base"]
    edges = rate_edges(runs, trials)
    header = ["row", *METRICS.values(), *(f"{METRICS[m]} minus the plain loss" for m in COMPARED), "rate"]
    rows = []
    for row in ROWS:
        cells = [f"{100 * final(runs, row, metric).mean():.1f}" for metric in METRICS]
        own = row != "zero-shot" and row != plain_of(row)
        cells += [_minus(runs, row, metric) if own else markdown.NOTHING for metric in COMPARED]
        rows.append([f"`{row}`", *cells, "edge" if row in edges else ""])
    known, new = (table.loc[table["metric"] == f"loss_{part}", "value"] for part in PARTS)
    text = TEXT.format(
        seeds=runs["seed"].nunique(),
        known=f"{known.mean():.4f}",
        most=f"{known.max():.4f}",
        new=f"{new.mean():.2f}",
        guessed=int((new <= known.max()).sum()),
        facts=len(known),
        found=_found(runs),
        noise="; ".join(_minus_noise(runs, row) for row in NOISY),
        edges=sum(row in edges for row in ROWS[1:]),
        trained=len(ROWS) - 1,
    )
    title, *paragraphs = text.strip().split("\n\n")
    wrapped = (textwrap.fill(p, 108, break_on_hyphens=False, break_long_words=False) for p in paragraphs)
    return "\n\n".join([title, *wrapped, "\n".join(markdown.table(header, rows))])


def _differences(runs: pd.DataFrame, row: str, metric: str, against: str) -> np.ndarray:
    ours, theirs = final(runs, row, metric), final(runs, against, metric)
    seeds = ours.index.intersection(theirs.index)
    return np.asarray(ours[seeds] - theirs[seeds], dtype=float)


def _minus(runs: pd.DataFrame, row: str, metric: str) -> str:
    return markdown.points(stratified_groups([_differences(runs, row, metric, plain_of(row))]))


def _minus_noise(runs: pd.DataFrame, row: str) -> str:
    both = (stratified_groups([_differences(runs, row, m, "adamw-noise")]) for m in COMPARED)
    return f"`{row}` " + " and ".join(map(markdown.points, both))


def _found(runs: pd.DataFrame) -> str:
    """Which rows differ from the plain loss by their intervals, and which after Holm's correction."""
    compared = [(row, m) for row in ROWS[1:] if row != plain_of(row) for m in COMPARED]
    found = [_differences(runs, row, m, plain_of(row)) for row, m in compared]
    names = [f"`{row}` ({METRICS[m]})" for row, m in compared]
    by_interval = [stratified_groups([d]) for d in found]
    better = [n for n, i in zip(names, by_interval, strict=True) if i.low > 0]
    worse = [n for n, i in zip(names, by_interval, strict=True) if i.high < 0]
    p = holm([paired_t([d]) for d in found])
    clear = [n for n, value in zip(names, p, strict=True) if value < LEVEL]
    return (
        f"by its interval alone better than the plain loss: {', '.join(better) or 'none'}; worse: "
        f"{', '.join(worse) or 'none'}. After Holm over the {len(found)} comparisons "
        + (f"significant: {', '.join(clear)}" if clear else "none is significant: undecided")
    )


TEXT = """## IB-FT: fine-tuning on half-memorized facts

`zobench run suites/ib-ft.yaml`: `nano-facts` is tuned on {facts} facts that it knows by heart (loss
before training {known} nats per token, at most {most}) and on {facts} about people whom it has never seen
({new}; {guessed} of them below that maximum by chance), with 300 forward passes of 16 facts for every
row, {seeds} seeds. It is asked in a wording of no training text, 8 sampled answers to a question.
Pass@4(3): at least 3 of 4 answers right. Learning rates: the best of three on another seed and wording;
{edges} of {trained} rows chose the smallest or largest (*edge*), so that the table is about these grids.
`adamw-noise` has the noise of `variational` without its penalty.

*Published* (2510.16022; abstract): where a model has memorized the fine-tuning data, plain fine-tuning is
trapped; a penalty that compresses hidden states raises Pass@1 and Pass@k(m) (code models, LoRA). Layer,
estimator and weight were not found: `variational` and `hsic` at the middle block, at two weights by
AdamW, are zobench's (`zobench.runner.bottleneck`), and facts replace programs. No row tests the barrier
itself.

*Found here*: {found}. Against the noise alone, in points of Pass@1 and Pass@4(3): {noise}. Paired by
seed, with 95 % t intervals, which are not corrected.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", required=True, metavar="RESULTS")
    keep(Path(parser.parse_args().source))


if __name__ == "__main__":
    main()
