"""Examples for the page: what was asked, the gold answer in words, the answers of every row, attacked texts.

The examples browser and the head-to-head view use the same data. Every text is stored once in the page and
referred to by its index.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zobench.report import edits
from zobench.report.source import Source

MOST_EXAMPLES, MOST_CELLS = 1200, 16_000
"""Largest number of examples per block, and of examples times rows. A cell is one character; the page
contains each output once and refers to it by index."""
LONGEST = 80
"""Characters of an answer."""
LONGEST_TEXT, MOST_TEXT = 400, 120_000
"""Characters of a prompt, and of all prompts of a page. Examples beyond the second limit have no text."""
MOST_ATTACKED, MOST_EDITED = 400, 120_000
"""Number of attacked examples of a page, and of characters of their texts."""
CLASSES = ("classification", "image-classification")
"""Kinds of tasks whose classes are the same for every example."""


class Texts:
    """Distinct texts in the order of their first use, up to a number of characters; ``index`` is -1 for an
    empty text and for one that no longer fits."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.size = 0

    def index(self, text: str, room: int) -> int:
        if text in self.known:
            return self.known[text]
        if not text or self.size + len(text) > room:
            return -1
        self.size += len(text)
        return self.known.setdefault(text, len(self.known))


def collect(source: Source, runs: pd.DataFrame, names: list[str], blocks: list[str]) -> dict[str, Any]:
    """``measured``: number of examples in the results. ``texts``: all prompts and original texts. ``blocks``:
    per block the examples (id, seed, gold answer, index of the prompt), distinct outputs, and the outcomes of
    each row. ``attacked``: :func:`attacked`.

    ``right[row]`` is a string with one character per example: ``1`` correct, ``0`` wrong, ``-`` not measured;
    ``said[row]`` has the indices of its outputs in ``outputs``.
    """
    usable = runs[runs["usable"] & runs["row"].isin(names)]
    if usable.empty:
        return {"texts": [], "blocks": [], "attacked": [], "measured": 0}
    texts = Texts()
    columns = ["run_id", "row", "block", "seed", "task_kind"]
    about = usable.loc[usable["block"].isin(blocks), columns]
    originals = _originals(source)
    found = {str(block): part for block, part in _predictions(source, about).groupby("block", sort=False)}
    shares = len(found) or 1
    made: list[dict[str, Any]] = []
    for b, block in enumerate(blocks):
        if block in found:
            room = MOST_TEXT * (len(made) + 1) // shares
            made.append({"b": b, **_matrix(found[block], names, originals, texts, room)})
    return {
        "blocks": made,
        "attacked": attacked(source, about, names, blocks, texts),
        "texts": list(texts.known),
        "measured": _measured(source),
    }


def _measured(source: Source) -> int:
    """Number of examples of all tasks and seeds of the runs registered as ``shown_answers``."""
    counted = source.sql(
        """
        select count(distinct (r.block, r.seed, p.example_id)) as n
        from predictions p join shown_answers r using (run_id) where p.condition_kind = 'clean'
        """
    )
    return int(counted["n"].iloc[0])


def _predictions(source: Source, about: pd.DataFrame) -> pd.DataFrame:
    """Predictions of these runs on the first examples of every seed, within the limits of each block."""
    counts = about.groupby("block")[["row", "seed"]].nunique()
    most = np.minimum(MOST_EXAMPLES, MOST_CELLS // counts["row"]) // counts["seed"]
    source.connection.register("shown_answers", about.assign(most=about["block"].map(most)))
    return source.sql(
        f"""
        select r.*, p.example_id, p.gold, left(p.output, {LONGEST}) as output, p.correct, p.label,
          left(p.prompt, {LONGEST_TEXT + 1}) as prompt, left(p.gold_text, {LONGEST}) as gold_text
        from predictions p join shown_answers r using (run_id) where p.condition_kind = 'clean'
        qualify row_number() over (partition by p.run_id order by p.example_id) <= r.most
        order by r.block, r."row", r.seed, p.example_id, p.gold
        """
    )


def gold_words(found: pd.DataFrame) -> pd.Series:
    """The gold answer of each record in words. Older results have the index of the class instead; then it is
    the answer of a row that was right on the example, or the word of that class elsewhere in the task."""
    known = found["gold_text"].astype(object)
    choice = found["label"].notna()
    right = found[choice & found["correct"].fillna(False).astype(bool)]
    by_example = right.drop_duplicates("example_id").set_index("example_id")["output"]
    classes = found[choice & found["task_kind"].isin(CLASSES)]
    one = classes.groupby("label")["output"].agg(["nunique", "first"])
    by_class = {str(int(k)): word for k, (n, word) in zip(one.index, one.to_numpy(), strict=True) if n == 1}
    told = known.where(known.notna(), found["example_id"].map(by_example).where(choice))
    told = told.where(told.notna(), found["gold"].map(by_class).where(choice))
    return told.where(told.notna(), found["gold"].fillna("")).map(str)


def _matrix(
    found: pd.DataFrame, names: list[str], originals: dict[str, str], texts: Texts, room: int
) -> dict[str, Any]:
    found = found.assign(words=gold_words(found))
    keys = found.drop_duplicates(["seed", "example_id"])[["seed", "example_id", "words", "prompt"]]
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
    examples = []
    for s, e, words, prompt in keys.itertuples(index=False):
        asked = originals.get(str(e), "") if pd.isna(prompt) else str(prompt)
        examples.append([str(e), int(s), words, texts.index(shortened(asked), room)])
    return {"examples": examples, "outputs": [str(o) for o in outputs], "right": right, "said": said}


def shortened(text: str) -> str:
    """At most ``LONGEST_TEXT`` characters, with a mark where the text was cut."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 2] + " …"


def _originals(source: Source) -> dict[str, str]:
    """The beginning of each example's text, if an attack recorded it."""
    found = source.sql(
        f"select example_id, min(left(original, {LONGEST_TEXT + 1})) as original from attacks "
        "where field is distinct from 'image' group by example_id order by example_id limit 5000"
    )
    return dict(zip(found["example_id"].map(str), found["original"].map(str), strict=True))


def attacked(
    source: Source, about: pd.DataFrame, names: list[str], blocks: list[str], texts: Texts
) -> list[list[Any]]:
    """Attacked examples: ``[row, block, seed, condition, example id, index of the original text, edits, gold
    answer, answer before, answer after, changed, queries]``.

    ``edits`` turns the original text into the edited one: a positive number keeps so many characters, a
    negative one deletes so many, a text is inserted. ``changed``: 1 if a right answer became wrong. Of each
    row, block and attack, successful attacks come first.
    """
    several = source.sql("select count(distinct condition) as n from attacks where condition_kind = 'attack'")
    groups = max(1, len(about.drop_duplicates(["row", "block"])) * int(several["n"].iloc[0]))
    source.connection.register("shown_attacks", about)
    found = source.sql(
        f"""
        select r.*, a.condition, a.example_id, a.original, a.edited, a.gold, a.outcome, a.queries,
          left(a.clean_output, {LONGEST}) as output, left(a.final_output, {LONGEST}) as final_output,
          a.clean_correct as correct, p.label, left(p.gold_text, {LONGEST}) as gold_text
        from attacks a join shown_attacks r using (run_id)
        left join (select * from predictions where condition_kind = 'clean') p using (run_id, example_id)
        where a.condition_kind = 'attack' and a.outcome <> 'skipped' and a.field is distinct from 'image'
        qualify row_number() over (partition by r."row", r.block, a.condition
          order by a.outcome <> 'success', a.changed_words, a.queries, a.example_id, r.seed)
          <= {max(2, MOST_ATTACKED // groups)}
        order by r.block, a.condition, r."row", a.example_id, r.seed
        """
    )
    found = found.assign(words=gold_words(found))
    out: list[list[Any]] = []
    room = texts.size + MOST_EDITED
    for r in found.to_dict("records"):
        original, edited = str(r["original"]), str(r["edited"])
        place = texts.index(edits.cut(original), room)
        changed = int(r["outcome"] == "success")
        queries = None if pd.isna(r["queries"]) else int(r["queries"])
        if place >= 0:
            moves = edits.moves(edits.parts(original, edited))
            where = [names.index(str(r["row"])), blocks.index(str(r["block"])), int(r["seed"])]
            said = [str(r["words"]), str(r["output"]), str(r["final_output"]), changed, queries]
            out.append([*where, str(r["condition"]), str(r["example_id"]), place, moves, *said])
    return out
