"""Which edits win: by source, place and part of speech; accuracy against intensity; numbers against none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from zobench.metrics.intervals import wilson
from zobench.metrics.paired import mcnemar
from zobench.report.lines import Line, chart
from zobench.report.robust_tests import interval
from zobench.report.source import Source
from zobench.report.tables import labels

SENTENCES = ("irrelevant-sentence", "missing-question", "stresstest")
"""Attacks whose positions count sentences, not words."""
ARMS = {"paired-no-number": "paired-number"}
MOST_KEYS = 12
Cell = dict[str, Any]


def collect(source: Source, details: pd.DataFrame, rows: list[str]) -> Cell:
    """``shares``, ``intensity`` and ``numbers`` of the robustness section."""
    conditions = _conditions(source)
    own = details[details["own"] & (details["kind"] == "attack")]
    names = labels(source)
    return {
        "shares": shares(own),
        "intensity": intensity(own, conditions, names, rows),
        "numbers": numbers(own, conditions, names),
    }


def _conditions(source: Source) -> dict[tuple[str, str], tuple[dict[str, Any], float | None]]:
    """(run, condition) -> its attack's parameters and strength."""
    attacked = source.finals[source.finals["condition_kind"] == "attack"]
    rows: Any = attacked.drop_duplicates(["run_id", "condition"]).itertuples()
    return {
        (str(r.run_id), str(r.condition)): (
            _params(r.params),
            None if pd.isna(r.strength) else float(r.strength),
        )
        for r in rows
    }


def _params(text: Any) -> dict[str, Any]:
    """Parameters of a metric row; empty where they cannot be read."""
    try:
        body = json.loads(str(text))
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def shares(own: pd.DataFrame) -> list[Cell]:
    """Per attack: winning edits by source, place and part of speech, with Wilson intervals of their share."""
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
    if record.attack in SENTENCES:
        return f"sentence {int(position) + 1}"
    tenth = min(9, 10 * int(position) // max(1, int(record.words)))
    return f"{10 * tenth}–{10 * tenth + 10} % of the text"


def intensity(
    own: pd.DataFrame,
    conditions: dict[tuple[str, str], tuple[dict[str, Any], float | None]],
    names: dict[str, str],
    rows: list[str],
) -> list[Cell]:
    """Accuracy against the strength of attacks that stand in the suite at several: one drawing per task and
    family (same attack, all other parameters equal), one line per row."""
    frame = own.copy()
    about = [
        conditions.get((r, c), ({}, None)) for r, c in zip(frame["run_id"], frame["condition"], strict=True)
    ]
    frame["strength"] = [s for _, s in about]
    frame["family"] = [_family(a, p) for a, (p, _) in zip(frame["attack"], about, strict=True)]
    frame["unit"] = [str(p.get("intensity", "")) for p, _ in about]
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
                ci = interval(group["seed"], group["final_correct"])
                points.append((float(strength), ci.value, ci.half))
            lines.append(Line(str(row), rows.index(str(row)), tuple(points)))
        lines.sort(key=lambda line: rows.index(line.name))
        title = f"{_short(family)}, by {unit.replace('_', ' ')}"
        svg = chart(lines, title)
        out.append({"label": names.get(block, block), "name": title, "svg": svg})
    return out


def _family(attack: str, params: dict[str, Any]) -> str:
    """What two strengths of one attack have in common."""
    own = {params.get("intensity"), "intensity", "attack", "at"}
    return json.dumps([attack, {k: v for k, v in params.items() if k not in own}], sort_keys=True)


def _short(family: str) -> str:
    attack, params = json.loads(family)
    told = [str(params[k]) for k in ("arm", "topic", "position") if k in params]
    return " ".join([attack, *told])


def numbers(
    own: pd.DataFrame,
    conditions: dict[tuple[str, str], tuple[dict[str, Any], float | None]],
    names: dict[str, str],
) -> list[Cell]:
    """What a number in the irrelevant sentence costs: accuracy with the sentence without its number minus
    accuracy with it, over the same examples, seeds and draws; positive where numbers harm.
    """
    out = []
    parts: Any = own.groupby(["row", "block"], sort=True)
    for (row, block), part in parts:
        about = {
            c: conditions.get((r, c), ({}, None))[0]
            for r, c in set(zip(part["run_id"], part["condition"], strict=True))
        }
        for plain, params in sorted(about.items()):
            other = _partner(params, about)
            if other is None:
                continue
            a, b = (part[part["condition"] == c] for c in (plain, other))
            both = a.merge(b, on=["seed", "example_id", "again"], suffixes=("_plain", "_number"))
            if both.empty:
                continue
            gap = both["final_correct_plain"].astype(float) - both["final_correct_number"].astype(float)
            tests = [
                mcnemar(g["final_correct_plain"], g["final_correct_number"]) for _, g in both.groupby("seed")
            ]
            out.append(
                {
                    "row": row,
                    "label": names.get(block, block),
                    "plain": plain,
                    "number": other,
                    "accuracy_plain": float(both["final_correct_plain"].mean()),
                    "accuracy_number": float(both["final_correct_number"].mean()),
                    "gap": interval(both["seed"], gap),
                    "n": len(both),
                    "seeds": int(both["seed"].nunique()),
                    "discordant": (sum(t[0] for t in tests), sum(t[1] for t in tests)),
                    "p": max(t[2] for t in tests),
                }
            )
    return out


def _partner(params: dict[str, Any], about: dict[str, dict[str, Any]]) -> str | None:
    """The attack that differs in nothing but the number."""
    wanted = ARMS.get(str(params.get("arm")))
    if wanted is None:
        return None
    return next((c for c, p in sorted(about.items()) if p == {**params, "arm": wanted}), None)
