"""Tests published claims on images: writes ``docs/systems.md`` from stored runs.

    python -m zobench.studies.systems --from RESULTS NAME   # compact the results of a suite, write the page
    python -m zobench.studies.systems                       # only write the page

``docs/results/vision.parquet`` and ``deepzero.parquet`` have one record per run and evaluation point,
``-trials`` one per tuning trial (:mod:`zobench.studies.claims_results`); the tables of the suites with
attacks or certificates are those of :mod:`zobench.studies.image_results`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from zobench.studies import (
    certified,
    claims,
    claims_results,
    committed,
    flowopt,
    ib_ft,
    image_defences,
    image_overview,
    image_pretrained,
    image_results,
    markdown,
    proxies,
    pruning,
    quantized_flow,
    ranking,
    suite_times,
)
from zobench.studies.image_differences import Tables

SUITE = "vision"
DEFENCES = ("vision-robustness", certified.NAME, certified.FULL, "patch-defence")
"""Suites with attacks or certificates, whose tables are those of ``image_results``."""
SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[..., str], str], ...] = (
    (
        image_pretrained.NAME,
        (image_pretrained.NAME, image_pretrained.TRIALS),
        image_pretrained.section,
        "ZO-Muon on EfficientNet-Lite0",
    ),
    (
        "deepzero",
        ("deepzero", "deepzero-trials"),
        image_defences.deepzero_section,
        "DeepZero from scratch (2310.02025)",
    ),
    (
        certified.NAME,
        (certified.NAME,),
        certified.section,
        "ZO-AE-DS: a black box made certifiably robust (2203.14195)",
    ),
    (certified.FULL, (certified.FULL,), certified.full_section, "ZO-AE-DS with 10,000 votes"),
    (
        "patch-defence",
        ("patch-defence",),
        image_defences.patch_section,
        "SmoothVLM: votes against patches (2405.10529)",
    ),
    (
        "vision-robustness",
        ("vision-robustness",),
        image_defences.attacks_section,
        "Attacks on images along training",
    ),
    ("ranking", (ranking.NAME,), ranking.section, "ZO-RankSGD with a generator (2303.03751)"),
    (quantized_flow.NAME, (quantized_flow.NAME,), quantized_flow.section, "QZO on a generator (2505.13430)"),
    (pruning.NAME, (pruning.NAME,), pruning.section, "Task-aware pruning (2510.22489)"),
    (proxies.NAME, (proxies.NAME, proxies.FULL), proxies.section, "W-PCA and ParZC (2504.15983, 2402.02105)"),
    (ib_ft.NAME, (ib_ft.NAME, ib_ft.TRIALS), ib_ft.section, "IB-FT (2510.16022)"),
)
"""Suite or study, its tables, the section, its title."""


def current() -> str:
    """The page made from the committed tables."""
    tables = {name: committed.read(name) for name in (f"{SUITE}-trials", *image_overview.NAMES)}
    return page(tables, [_section(*made) for made in SECTIONS])


def _section(suite: str, tables: Sequence[str], section: Callable[..., str], title: str) -> str:
    """The section on a suite, or that it has no results."""
    if all((committed.results() / f"{name}.parquet").is_file() for name in tables):
        return section(*map(committed.read, tables))
    return MISSING.format(suite=suite, title=title, known=KNOWN.get(suite, "")).rstrip()


def page(tables: Tables, more: Sequence[str]) -> str:
    """The whole page in Markdown; ``more``: sections on other systems."""
    points, trials = tables[SUITE], tables[f"{SUITE}-trials"]
    found = claims.against_reference(points)
    (goal,) = claims.targets(points).values()
    head = HEAD.format(
        budget=int(points["budget"].max()),
        seeds=points["seed"].nunique(),
        goal=markdown.percent(goal),
        rule=markdown.rule(
            f"the {len(found)} methods below, separately for accuracy and forward passes",
            f"{100 * claims.MARGIN:g} points of accuracy, or a factor of {claims.FACTOR:g} in forward passes",
        ),
    )
    lines = [
        TITLE,
        image_overview.section(tables),
        "",
        head,
        *claims.claims_table(image_pretrained.CLAIMS, found),
        "",
        METHODS,
        *claims.methods_table(points, trials, found),
    ]
    sections = [line for section in (flowopt.section(tables[flowopt.NAME]), *more) for line in (section, "")]
    return "\n".join([*lines, "", *sections, suite_times.section(), "", REST])


TITLE = """# Systems on images: published statements and what was measured

Written by `python -m zobench.studies.systems` from tables in `docs/results`; each section names its suite.
"""
HEAD = """## ZO-Muon on a Vision Transformer

`zobench run suites/vision.yaml`: the built-in `nano-vit` (0.17 million parameters, trained on the digits 0 to
4 of `mnist-5k`) is tuned to the digits 5 to 9 with a new classification layer: {budget} forward passes of
minibatches of 16 images for every method, {seeds} seeds. Each method's learning rate was selected from
four values on validation images of another data seed (`docs/results/vision-trials.parquet`).
The grids of `mezo`, `lozo` and `adamw` were then moved down by one value, because their smallest learning
rate was the best; the file has the trials of both grids, and the choices did not change.

*Equal budgets.* The published script runs ZO-Muon for 2,000 steps of 17 forward passes with 256 images and
MeZO for 20,000 steps of 2 forward passes with 64 images, on CIFAR-100: in images, ZO-Muon gets 3.4 times as
many. Here every forward pass of every method has the same number of images. Verdicts apply to this scale: the
model is 500 times smaller, and the budget is a hundredth of the published one.

*Rule.* A row is compared with `mezo` on common seeds: final test accuracy (mean paired difference, 95 % t
interval), and forward passes until nine tenths of the way from chance to MeZO's mean final accuracy
({goal} %), as geometric mean of paired ratios; a run that misses the target counts as its whole budget,
and forward passes are called equivalent only where all runs of both rows reach it.
With so few seeds intervals are wide, and "undecided" is the expected verdict for all but large differences.

{rule}
"""
METHODS = """Mean final test accuracy (%); difference from MeZO in points; ratio of forward passes to target;
p-values by paired t test after Holm, and verdicts; runs that reached the target; whether the selected
learning rate is at the edge of its grid.
"""
MISSING = """## {title}

*Not run at its own size.* `suites/{suite}.yaml` is run by CI at a small size. Its results at its own size are
missing, so that nothing is said about what it compares.{known}
"""
KNOWN = {"deepzero": f"\n\n{image_defences.ZEROS}\n\n{image_defences.REUSE}"}
"""What is known of a suite without its results."""
REST = """## Cut rows

None: every system of this page's sources that was planned has a section above. One size was not run:
`suites/vision-full.yaml`, with nine methods, five seeds and 2,000 forward passes on `nano-vit` and on
EfficientNet-Lite0 (172 runs, 323,892 forward passes on the latter, about three hours of one core).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", nargs=2, metavar=("RESULTS", "NAME"))
    options = parser.parse_args()
    if options.source:
        folder, name = Path(options.source[0]), options.source[1]
        if name in DEFENCES:
            image_results.compact(folder, name)
        else:
            claims_results.compact(folder, name)
    committed.write_page("systems", current())


if __name__ == "__main__":
    main()
