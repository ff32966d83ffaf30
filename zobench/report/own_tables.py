"""Additional tables of attacks: their cards declare the metrics and how they are shown."""

from __future__ import annotations

from typing import Any

import pandas as pd

from zobench.attack_card import Table
from zobench.report.cards import Cards, attack_name
from zobench.report.cells import Cell
from zobench.report.source import Source


def own_tables(source: Source, cards: Cards, rows: list[str], names: dict[str, str]) -> list[Cell]:
    """``table`` and its ``lines``, for every table of a card that has values for these rows. A line has
    ``label`` (the task), those of ``condition``, ``row`` and ``key`` that the table declares, and ``values``
    in the order of its columns."""
    finals = source.finals
    own = finals[(finals["condition_kind"] == "attack") & finals["row"].isin(rows)]
    own = own[own["purpose"] != "tuning"]
    own = own.assign(block=own["block"].where(own["split"] == "test", own["measured"]))
    about = own[["run_id", "condition", "params"]].drop_duplicates()
    of_table: dict[Table, set[tuple[str, str]]] = {}
    for run, condition, params in about.itertuples(index=False, name=None):
        for table in cards.of(run, condition, attack_name(condition, params)).tables:
            of_table.setdefault(table, set()).add((run, condition))
    out = []
    for table in sorted(of_table, key=lambda t: t.title):
        keys = pd.MultiIndex.from_arrays([own["run_id"], own["condition"]])
        lines = _lines(table, own[keys.isin(of_table[table])], rows, names)
        if lines:
            out.append({"table": table, "lines": lines})
    return out


def _lines(table: Table, own: pd.DataFrame, rows: list[str], names: dict[str, str]) -> list[Cell]:
    parts = own["metric"].str.partition(":")
    metric = parts[0] if table.key else own["metric"]
    own = own.assign(column=metric, key=parts[2] if table.key else "")
    own = own[own["column"].isin([c.metric for c in table.columns])]
    if table.key:
        own = own[own["key"] != ""]
    own = own.assign(
        condition=own["condition"] if "attack" in table.lines else "",
        place=own["row"].map(rows.index) if "row" in table.lines else -1,
    )
    out = []
    groups: Any = own.groupby(["block", "condition", "place", "key"], sort=True)
    for (block, condition, place, key), part in groups:
        values = [
            part.loc[part["column"] == c.metric, "value"].agg(c.over_runs)
            if (part["column"] == c.metric).any()
            else None
            for c in table.columns
        ]
        out.append(
            {
                "label": names.get(block, block),
                "condition": condition,
                "row": rows[place] if place >= 0 else "",
                "key": key,
                "values": [None if v is None or pd.isna(v) else float(v) for v in values],
            }
        )
    return out
