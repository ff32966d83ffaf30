"""Word-level differences between two texts, for the table of the most damaging edits."""

from __future__ import annotations

import difflib
import re
from typing import Any

import pandas as pd

from zobench.report.source import Source

LONGEST = 600


def most_damaging(source: Source, rows: list[str], count: int = 20) -> list[dict[str, Any]]:
    """Successful attacks with the fewest changed words and queries, at most three for each row and attack.
    The same change of words is listed once; ``also`` lists the other rows on which it succeeded."""
    found = source.sql(
        f"""
        with r as (select run_id, "row", seed from runs where purpose is distinct from 'tuning')
        select r."row", r.seed, a.task, a.condition, a.example_id, a.original, a.edited, a.gold,
          a.clean_output, a.final_output, a.queries, a.changed_words, a.similarity
        from attacks a join r using (run_id)
        where a.outcome = 'success' and a.condition_kind = 'attack' and a.original <> a.edited
          and a.field is distinct from 'image'
        qualify row_number() over (partition by r."row", a.condition
          order by a.changed_words, a.queries, a.example_id, r.seed) <= 3
        order by a.changed_words, a.queries, a.example_id, r.seed, a.condition, r."row"
        limit {int(count) * 10}
        """
    )
    place = {r: i for i, r in enumerate(rows)}
    known = found[found["row"].isin(place)].copy()
    known["order"] = known["row"].map(place)
    known["turn"] = known.groupby("row").cumcount()
    chosen: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for r in known.sort_values(["turn", "order"]).to_dict("records"):
        pieces = parts(str(r["original"]), str(r["edited"]))
        change = tuple(p for p in pieces if p[0] != "same")
        first = chosen.setdefault(change, {**_plain(r), "parts": pieces, "also": []})
        if r["row"] not in (first["row"], *first["also"]):
            first["also"].append(r["row"])
    return list(chosen.values())[:count]


def parts(before: str, after: str) -> list[tuple[str, str]]:
    """Segments ``(kind, text)`` with kind ``same``, ``del`` or ``ins``; both texts can be restored by joining
    them."""
    a, b = _tokens(before), _tokens(after)
    out: list[tuple[str, str]] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            out.append(("same", "".join(a[i1:i2])))
            continue
        if i2 > i1:
            out.append(("del", "".join(a[i1:i2])))
        if j2 > j1:
            out.append(("ins", "".join(b[j1:j2])))
    return out


def moves(pieces: list[tuple[str, str]]) -> list[int | str]:
    """The same segments relative to the first text, as a page stores them: n > 0 keeps n characters, n < 0
    deletes -n, a text is inserted."""
    return [text if kind == "ins" else len(text) if kind == "same" else -len(text) for kind, text in pieces]


def cut(text: str) -> str:
    """A text as :func:`parts` compares it: a very long one is truncated."""
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _tokens(text: str) -> list[str]:
    """Words, runs of white space and single signs."""
    return re.findall(r"\w+|\s+|[^\w\s]", cut(text))


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): None if isinstance(v, float) and pd.isna(v) else v for k, v in row.items()}
