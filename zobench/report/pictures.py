"""Images that a row classifies wrongly, that were attacked with success, and that a row generates, as
pictures on the page.

A run stores pictures of some of its wrong predictions, or of generated images, beside the image that they are
compared with, if any (tasks of kinds ``image-generation`` and ``image-scoring``), and clean and attacked
image of every attacked example. The section shows a bounded number of them; texts that are not base64 of a
PNG file are left out, because a store may come from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from zobench.report.section import PageResults, Section
from zobench.report.source import GENERATION, SCORING, Source, runs_in
from zobench.report.tables import labels

MOST_ROWS, MOST_PICTURES, MOST_CHARACTERS = 12, 16, 400_000
"""Largest numbers of rows, of pictures of one row, and of characters of all pictures."""
MOST_ATTACKED = 6
"""Largest number of attacked images of one row and attack."""
_PNG = re.compile(r"data:image/png;base64,iVBORw0KGgo[A-Za-z0-9+/]*={0,2}")


class Pictures(Section):
    """Wrongly classified, attacked or generated images of each row."""

    name: ClassVar[str] = "pictures"
    title: ClassVar[str] = "Pictures"
    template: ClassVar[str] = "pictures.html"

    def query(self, results: PageResults) -> Mapping[str, Any]:
        used = results.runs[results.runs["usable"]]
        names = [r["row"] for r in results.rows]
        made = bool(used["task_kind"].isin((GENERATION, SCORING)).any()) if "task_kind" in used else False
        rows = shown(results.source, used["run_id"].tolist(), names)
        won = attacked(results.source, used["run_id"].tolist(), names)
        return {
            "rows": rows,
            "most": of_each_task(results.source),
            "generated": made,
            "attacked": won,
            "each": MOST_ATTACKED,
        }

    def applies(self, values: Mapping[str, Any]) -> bool:
        return bool(values["rows"] or values["attacked"])


def of_each_task(source: Source) -> int:
    """Number of pictures of a row and task."""
    return max(4, MOST_PICTURES // max(1, source.results["block"].nunique()))


def shown(source: Source, ids: list[str], names: list[str]) -> list[dict[str, Any]]:
    """For each row, in the order of ``names``: pictures of some of its wrong predictions, or of what it
    generated, with gold class and answer. Rows without pictures are left out."""
    if not ids:
        return []
    most = of_each_task(source)
    found = source.sql(
        f"""
        select r."row", r.block, r.task_kind, p.task, r.seed, p.example_id, p.gold, p.gold_text, p.output,
          p.picture
        from predictions p join runs r using (run_id)
        where run_id in {runs_in(ids)} and p.condition_kind = 'clean'
          and (not p.correct or r.task_kind in {(GENERATION, SCORING)})
          and p.picture is not null
        qualify row_number() over (
          partition by r."row", r.block order by r.seed, p.example_id) <= {most}
        order by r.block, r.seed, p.example_id
        """
    )
    label = labels(source)
    parts = {str(name): part for name, part in found.groupby("row", sort=False)}
    rows, room = [], MOST_CHARACTERS
    for name in [n for n in names if n in parts][:MOST_ROWS]:
        chosen = []
        for p in parts[name].to_dict("records"):
            uri = str(p["picture"])
            if len(uri) <= room and _PNG.fullmatch(uri):
                chosen.append(
                    {**{str(k): v for k, v in p.items()}, "picture": uri, "label": label[p["block"]]}
                )
                room -= len(uri)
        if chosen:
            rows.append({"row": name, "shown": chosen})
    return rows


def attacked(source: Source, ids: list[str], names: list[str]) -> list[dict[str, Any]]:
    """For each row, in the order of ``names``, and each attack: some of the images that it made the final
    model classify wrongly, clean and attacked, with gold class and answer."""
    if not ids:
        return []
    found = source.sql(
        f"""
        select r."row", r.block, r.seed, a.condition, a.example_id, a.original, a.edited, a.gold,
          a.final_output, a.queries
        from attacks a join runs r using (run_id)
        where run_id in {runs_in(ids)} and a.field = 'image' and a.outcome = 'success'
          and a.condition_kind = 'attack'
        qualify row_number() over (
          partition by r."row", a.condition order by r.seed, a.task, a.example_id) <= {MOST_ATTACKED}
        order by a.condition, r.block, r.seed, a.example_id
        """
    )
    label = labels(source)
    parts = {(str(r), str(c)): part for (r, c), part in found.groupby(["row", "condition"], sort=False)}
    rows, room = [], MOST_CHARACTERS
    shown_names = [n for n in names if n in set(found["row"])][:MOST_ROWS]
    for name, attack in [(n, c) for n in shown_names for r, c in parts if r == n]:
        chosen = []
        for p in parts[name, attack].to_dict("records"):
            both = str(p["original"]), str(p["edited"])
            size = sum(map(len, both))
            if size <= room and all(map(_PNG.fullmatch, both)):
                chosen.append({**{str(k): v for k, v in p.items()}, "label": label[p["block"]]})
                room -= size
        if chosen:
            rows.append({"row": name, "attack": attack, "shown": chosen})
    return rows
