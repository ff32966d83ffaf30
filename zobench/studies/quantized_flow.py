"""QZO on the built-in generator: compacts the runs of ``suites/quantized-flow.yaml`` and writes its part of
``docs/systems.md``.

    python -m zobench.studies.quantized_flow --from RESULTS
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from zobench.models.loading import load
from zobench.spec import ModelRef
from zobench.studies import markdown
from zobench.studies.image_runs import compact, difference, final
from zobench.zo import build_space

NAME = "quantized-flow"
ROWS = ("unquantized", "rounded", "qzo", "adamw")
METRICS = {"velocity_loss": "{:.3f}", "psnr": "{:.1f}", "class_probability": "{:.2f}"}
BITS, WIDE = 4, 32


def storage() -> tuple[int, int, int]:
    """Bytes of the quantized layers' weights unquantized, and quantized (codes packed, scales in 32 bits);
    number of scales."""
    module = load(ModelRef(name="builtin:nano-flow")).module
    space = build_space("conv-scales", {"bits": BITS}, module)
    codes = sum(b.numel() for name, b in module.named_buffers() if name.endswith("codes"))
    scales = space.numel
    space.remove()
    return WIDE * codes // 8, (BITS * codes + WIDE * scales) // 8, scales


def section(table: pd.DataFrame) -> str:
    """The part of the page on QZO."""
    rows = []
    for row in ROWS:
        cells = [form.format(final(table, row, metric).mean()) for metric, form in METRICS.items()]
        for metric, form in METRICS.items():
            signed = "{:+" + form[2:]
            ours, base = final(table, row, metric), final(table, "rounded", metric)
            cells.append("–" if row in ("rounded", "unquantized") else difference(ours, base, signed))
        rows.append([f"`{row}`", *cells])
    header = ["row", "loss", "PSNR", "probability of the class"]
    header += [f"{name} minus `rounded`" for name in ("loss", "PSNR", "probability")]
    before, after, scales = storage()
    text = TEXT.format(
        seeds=table["seed"].nunique(),
        scales=scales,
        before=f"{before / 1000:.0f}",
        after=f"{after / 1000:.0f}",
        ratio=f"{before / after:.1f}",
    )
    return "\n".join([text, *markdown.table(header, rows)])


TEXT = """## QZO on a quantized generator

`zobench run suites/quantized-flow.yaml`: the convolutions and linear layers of `nano-flow` are rounded to 4
bits with one scale per output channel (space `conv-scales`), and the {scales} scales are tuned on the
generator's own training loss: 300 forward passes of minibatches of 4 images, {seeds} seeds, three trials per
row. *Memory* of these layers' weights: {before} kB in 32 bits, {after} kB with packed codes and scales in 32
bits, a {ratio}th part (zobench keeps one byte per code). QZO needs no activations and no optimizer state.

*Published* (2505.13430): quantized models, an image generator among them, can be tuned by their scales with
forward passes alone. *Found here*: the table. Loss on held-out images; pictures against those of the
unquantized network from the same starts (PSNR in decibels, 80 for equal pictures), and the probability that
`nano-cnn` gives to their class. Differences paired by seed, 95 % t intervals, not corrected for their number.
`adamw` backpropagates into the same scales, at 3 forward passes a step.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", required=True, metavar="RESULTS")
    compact(Path(parser.parse_args().source), NAME)


if __name__ == "__main__":
    main()
