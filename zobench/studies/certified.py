"""The part of ``docs/systems.md`` on ZO-AE-DS: certified accuracy by radius, quick and full size."""

from __future__ import annotations

import pandas as pd

from zobench.studies import markdown
from zobench.studies.image_defences import mean_of, points_of

NAME = "black-box-defence"
FULL = f"{NAME}-full"
RADII = ("0.25", "0.5", "0.75")
METRICS = ("accuracy", *(f"certified_accuracy_at_{r}" for r in RADII), "abstained")
ROWS = ("rge", "cge", "fo-ae-ds", "fo-ds", "autoencoder-alone", "no-defence")
OTHERS = ("no-defence", "autoencoder-alone", "fo-ae-ds", "fo-ds")
SAID = (("rge", OTHERS[0]), *(("cge", other) for other in (*OTHERS[:3], "rge")))
"""Pairs of which the text on the full size speaks."""
PREDICTION = "smoothed-images prediction"


def section(table: pd.DataFrame) -> str:
    """The quick size: certified accuracy by radius, and paired differences."""
    return "\n".join([_told(QUICK, table), *_tables(table)])


def full_section(table: pd.DataFrame) -> str:
    """The same with as many votes as in the paper."""
    found = {
        f"{ours}_{other}".replace("-", "_"): _paired(table, ours, other, METRICS[2]) for ours, other in SAID
    }
    return "\n".join([_told(FULL_SIZE, table, **found), *_tables(table)])


def differences(table: pd.DataFrame, ours: str, other: str, metric: str) -> pd.Series:
    """By seed, how much more of ``metric`` the row ``ours`` has, under the target ``prediction``."""
    part = table[(table["task"] == PREDICTION) & (table["metric"] == metric)]
    wide = part.pivot_table(index="seed", columns="row", values="value")
    return wide[ours] - wide[other]


def _told(text: str, table: pd.DataFrame, **more: str) -> str:
    return text.format(
        images=int(table["n"].max()),
        seeds=table["seed"].nunique(),
        budget=f"{int(table['budget'].max()):,}",
        commits=markdown.commits(table),
        **more,
    )


def _tables(table: pd.DataFrame) -> list[str]:
    rows = []
    for task in sorted(table["task"].unique()):
        for row in ROWS:
            runs = table[(table["task"] == task) & (table["row"] == row)]
            if not runs.empty:
                values = [mean_of(runs, "clean", "", m) for m in METRICS]
                rows.append([task.split()[1], f"`{row}`", *map(markdown.percent, values)])
    pairs = [(ours, other) for ours in ("rge", "cge") for other in OTHERS] + [("cge", "rge")]
    told = [[f"`{a}` - `{b}`", *(_paired(table, a, b, m) for m in METRICS[:-1])] for a, b in pairs]
    lines = markdown.table(["target", "row", "0", *RADII, "abstained"], rows)
    return [*lines, "", DIFFERENCES, *markdown.table(["difference", "0", *RADII], told)]


def _paired(table: pd.DataFrame, ours: str, other: str, metric: str) -> str:
    return points_of(differences(table, ours, other, metric))


QUICK = """## ZO-AE-DS: a black box made certifiably robust

`zobench run suites/black-box-defence.yaml` (code {commits}): a denoiser and an encoder in front of a fixed
decoder and the built-in `nano-cnn` (digits 0 to 4) are trained for {budget} forward passes of 32 images at
noise 0.25 and certified by 6,000 votes on {images} test images, {seeds} seeds, alpha = 0.001. *Published*
(2203.14195): certified accuracy of training by queries far above no defence and zeroth-order training
without an autoencoder, and close to first order; coordinates better than random directions. *Found here*:
the table; certified accuracy (%) by radius, 0 is the accuracy of the vote with abstentions as errors.
`no-defence` is the vote of `nano-cnn` itself, `autoencoder-alone` that of `nano-cnn` behind the autoencoder
without any training of the denoiser.

*Differences*: a code of 24 numbers instead of 192, 6,000 votes instead of 10,000 (which are below), a few
dozen to a hundred steps instead of 200 epochs, Adam at 0.001 for every row without selection. At equal
forward passes `rge` takes 27 for a step and `cge` 51, backpropagation 3.
"""
FULL_SIZE = """### With 10,000 votes

`zobench run suites/black-box-defence-full.yaml` (code {commits}, 16 runs, 22 minutes of processor time): the
rows, images, seeds and budget of the table above with N0 = 100 and N = 10,000 votes as published, on {images}
images, {seeds} seeds. More votes say more about a classifier: the radius 0.75 is certified if all of 6,000
agree, or all but 3 of 10,000. Trained rows are not those of the table above to the bit: the two were made on
processors of two families.

*Found here*, in points at radius 0.5: `rge` - `no-defence` {rge_no_defence}, `cge` - `no-defence`
{cge_no_defence}, `cge` - `autoencoder-alone` {cge_autoencoder_alone}, `cge` - `fo-ae-ds`
{cge_fo_ae_ds}, `cge` - `rge` {cge_rge}. Most of what is gained on no defence, the autoencoder
gains alone, without any training of the denoiser.
"""
DIFFERENCES = """\
Differences in points, paired by seed, target `prediction`, with 95 % t intervals (not corrected for the
number of comparisons; over seeds alone, on the same images; where both seeds have the same difference, the
interval has no width, which says nothing about other seeds):
"""
