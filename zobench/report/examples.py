"""Per-example outcomes for the head-to-head view: examples that one row answers correctly and another not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zobench.report.source import Source

MOST_EXAMPLES, MOST_CELLS = 1200, 16_000
"""Largest number of examples per block, and of examples times rows. A cell is one character; the page
contains each output once and refers to it by index."""
LONGEST = 80


def collect(source: Source, runs: pd.DataFrame, names: list[str], blocks: list[str]) -> list[dict[str, Any]]:
    """One entry per block: example ids with seed, gold answer and text, distinct outputs, and the outcomes of
    each row.

    ``right[row]`` is a string with one character per example: ``1`` correct, ``0`` wrong, ``-`` not measured;
    ``said[row]`` has the indices of its outputs in ``outputs``.
    """
    usable = runs[runs["usable"] & runs["row"].isin(names)]
    if usable.empty:
        return []
    texts = _texts(source)
    about = usable.loc[usable["block"].isin(blocks), ["run_id", "row", "block", "seed"]]
    found = {str(block): part for block, part in _predictions(source, about).groupby("block", sort=False)}
    return [
        {"b": b, **_matrix(found[block], names, texts)} for b, block in enumerate(blocks) if block in found
    ]


def _predictions(source: Source, about: pd.DataFrame) -> pd.DataFrame:
    """Predictions of these runs on the first examples of every seed, within the limits of each block."""
    counts = about.groupby("block")[["row", "seed"]].nunique()
    most = np.minimum(MOST_EXAMPLES, MOST_CELLS // counts["row"]) // counts["seed"]
    source.connection.register("shown_answers", about.assign(most=about["block"].map(most)))
    return source.sql(
        f"""
        select r.*, p.example_id, p.gold, left(p.output, {LONGEST}) as output, p.correct
        from predictions p join shown_answers r using (run_id) where p.condition_kind = 'clean'
        qualify row_number() over (partition by p.run_id order by p.example_id) <= r.most
        order by r.block, r."row", r.seed, p.example_id, p.gold
        """
    )


def _matrix(found: pd.DataFrame, names: list[str], texts: dict[str, str]) -> dict[str, Any]:
    keys = found[["seed", "example_id", "gold"]].drop_duplicates(["seed", "example_id"])
    keys = keys.sort_values(["seed", "example_id"], ignore_index=True)
    place = {(s, e): i for i, (s, e) in enumerate(zip(keys["seed"], keys["example_id"], strict=True))}
    codes, outputs = pd.factorize(found["output"].fillna("").astype(object))
    at = np.array([place[k] for k in zip(found["seed"], found["example_id"], strict=True)])
    marked = np.where(found["correct"].fillna(False).to_numpy(dtype=bool), "1", "0")
    which = found["row"].to_numpy(dtype=object)
    right: dict[str, str] = {}
    said: dict[str, list[int]] = {}
    for row in dict.fromkeys(which):
        mine = which == row
        marks, words = np.full(len(keys), "-"), np.full(len(keys), -1)
        marks[at[mine]], words[at[mine]] = marked[mine], codes[mine]
        name = str(names.index(str(row)))
        right[name], said[name] = "".join(marks), words.tolist()
    examples = [
        [str(e), int(s), str(g), texts.get(str(e), "")]
        for s, e, g in keys[["seed", "example_id", "gold"]].itertuples(index=False)
    ]
    return {"examples": examples, "outputs": [str(o) for o in outputs], "right": right, "said": said}


def _texts(source: Source) -> dict[str, str]:
    """The beginning of each example's text, if an attack recorded it."""
    found = source.sql(
        "select example_id, min(left(original, 160)) as original from attacks "
        "group by example_id order by example_id limit 5000"
    )
    return dict(zip(found["example_id"].map(str), found["original"].map(str), strict=True))
