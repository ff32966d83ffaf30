"""Successful edits by source, position and part of speech; accuracy against intensity; contrasts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from zobench.attack_card import PLAIN, AttackCard
from zobench.metrics.intervals import wilson
from zobench.metrics.measures import SHARE
from zobench.names import json_value
from zobench.report.cards import Cards, attack_name, params_of
from zobench.report.cells import Cell
from zobench.report.contrasts import About, contrasts
from zobench.report.lines import Line, chart
from zobench.report.robust_tests import two_stage
from zobench.report.source import Source
from zobench.report.tables import labels

MOST_KEYS = 12


def collect(source: Source, cards: Cards, details: pd.DataFrame, rows: list[str]) -> Cell:
    """``shares``, ``intensity`` and ``contrasts`` of the robustness section."""
    own = details[details["own"] & (details["kind"] == "attack")]
    told = zip(own["run_id"], own["condition"], own["attack"], strict=True)
    own = own.assign(card=pd.Series([cards.of(*t) for t in told], index=own.index, dtype=object))
    about, strengths = _conditions(source, cards)
    names = labels(source)
    return {
        "shares": shares(own),
        "intensity": intensity(own, about, strengths, names, rows),
        "contrasts": contrasts(own, about, names),
    }


def _conditions(source: Source, cards: Cards) -> tuple[About, dict[tuple[str, str], float]]:
    """By (run, condition): the attack's parameters and card, and its strength if it has one."""
    attacked = source.finals[source.finals["condition_kind"] == "attack"]
    about: About = {}
    strengths: dict[tuple[str, str], float] = {}
    rows: Any = attacked.drop_duplicates(["run_id", "condition"]).itertuples()
    for r in rows:
        run, condition = str(r.run_id), str(r.condition)
        card = cards.of(run, condition, attack_name(condition, r.params))
        about[run, condition] = (params_of(r.params), card)
        if not pd.isna(r.strength):
            strengths[run, condition] = float(r.strength)
    return about, strengths


def shares(own: pd.DataFrame) -> list[Cell]:
    """Per attack: successful edits by source, position and part of speech, with Wilson intervals of their
    share."""
    out = []
    won = own[own["outcome"] == "success"]
    for condition, part in won.groupby("condition", sort=True):
        for by in ("source", "position", "part of speech"):
            counts = Counter(key for record in part.itertuples() for key in _keys(record, by) if key)
            total = sum(counts.values())
            listed = sorted(counts.items(), key=lambda kv: kv[0] if by == "position" else (-kv[1], kv[0]))
            cells = [{"key": k, "count": n, "ci": wilson(n, total)} for k, n in listed[:MOST_KEYS]]
            if cells:
                out.append({"condition": condition, "by": by, "total": total, "cells": cells})
    return out


def _keys(record: Any, by: str) -> Iterator[str]:
    edits = list(record.edits) if isinstance(record.edits, list | np.ndarray) else []
    if not edits:
        edits = [{n: getattr(record, n) for n in ("source", "position", "part_of_speech")}]
    for edit in edits:
        if by == "position":
            yield _place(record, edit["position"])
        else:
            yield str(edit[by.replace(" ", "_")] or "")


def _place(record: Any, position: Any) -> str:
    if position is None or pd.isna(position):
        return ""
    if record.card.position != PLAIN.position:
        return f"{record.card.position} {int(position) + 1}"
    tenth = min(9, 10 * int(position) // max(1, int(record.words)))
    return f"{10 * tenth}–{10 * tenth + 10} % of the text"


def intensity(
    own: pd.DataFrame,
    about: About,
    strengths: dict[tuple[str, str], float],
    names: dict[str, str],
    rows: list[str],
) -> list[Cell]:
    """Accuracy against strength for attacks that the suite has at several strengths: one chart per task and
    family (same attack, all other parameters equal), one line per row."""
    frame = own.copy()
    places = list(zip(frame["run_id"], frame["condition"], strict=True))
    params = [about[p][0] if p in about else {} for p in places]
    frame["strength"] = [strengths.get(p) for p in places]
    frame["family"] = [_family(a, p) for a, p in zip(frame["attack"], params, strict=True)]
    frame["unit"] = [str(p.get("intensity", "")) for p in params]
    frame = frame.dropna(subset=["strength"])
    out = []
    families: Any = frame.groupby(["block", "family", "unit"], sort=True)
    for (block, family, unit), part in families:
        if part["strength"].nunique() < 2:
            continue
        lines = []
        for row, mine in part.groupby("row", sort=True):
            points = []
            for strength, group in mine.groupby("strength", sort=True):
                ci = two_stage(group["seed"], group["final_correct"]).within(SHARE)
                points.append((float(strength), ci.value, ci.low, ci.high))
            lines.append(Line(str(row), rows.index(str(row)), tuple(points)))
        lines.sort(key=lambda line: rows.index(line.name))
        title = f"{_short(family, part['card'].iloc[0])}, by {unit.replace('_', ' ')}"
        svg = chart(lines, title)
        out.append({"label": names.get(block, block), "name": title, "svg": svg})
    return out


def _family(attack: str, params: dict[str, Any]) -> str:
    """Key that is equal for attacks that differ only in strength."""
    own = {params.get("intensity"), "intensity", "attack", "at"}
    return json.dumps([attack, {k: v for k, v in params.items() if k not in own}], sort_keys=True)


def _short(family: str, card: AttackCard) -> str:
    attack, params = json_value(family)
    told = [str(params[k]) for k in card.titled_by if k in params]
    return " ".join([attack, *told])
