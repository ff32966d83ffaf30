"""Determines which rows may be ranked together, and why others may not.

For every block (task) the reference is the value that most rows have: budget, data digest of each seed, model
digest, code. A row that differs from it is shown separately with the reason and is not ranked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from zobench.names import json_value
from zobench.report.leaderboard import Leaderboard

NAMES = {
    "budget_forwards": "budget",
    "batch_size": "batch size",
    "model_digest": "model weights",
    "data_digest": "data",
    "dtype": "number format",
}


def not_comparable(runs: pd.DataFrame, board: Leaderboard) -> dict[str, list[str]]:
    """Reasons by row, for rows that are not comparable; ``runs``: result runs of all rows to be ranked.

    A row that differs from the majority in its seeds or in any of ``board.same`` on any block is listed with
    one sentence for each difference.
    """
    reasons: dict[str, list[str]] = {}
    # Rows are compared seed by seed, so their seeds must agree whatever else a leaderboard compares.
    for key in dict.fromkeys((*board.same, "seeds")):
        if key == "code":
            found = _code(runs)
        elif key == "seeds":
            found = _seeds(runs, board.minimum_seeds)
        else:
            found = _column(runs, key)
        for row, text in found:
            if text not in reasons.setdefault(row, []):
                reasons[row].append(text)
    for row, text in _ruleset(runs, board.ruleset):
        reasons.setdefault(row, []).append(text)
    return reasons


def _ruleset(runs: pd.DataFrame, ruleset: str) -> list[tuple[str, str]]:
    """Rows whose parameters were not chosen as the ruleset requires, according to their records; under every
    ruleset except ``self-tuned`` also rows with a different number of tuning trials or seeds than most."""
    if runs.empty:
        return []
    told = runs[["row", "label"]].assign(had=[parameters_from(e) for e in runs["environment"]])
    how = told["had"].str.split(" ").str[0]
    if ruleset == "open":
        return _other_trials(told[how == "tuning"])
    wanted = "tuning" if ruleset == "tuned" else "defaults"
    wrong = told[how != wanted].drop_duplicates("row")
    found = [
        (str(row), f"{RULES[str(had).split(' ')[0]]}: not under the {ruleset} rules")
        for row, had in wrong[["row", "had"]].itertuples(index=False)
    ]
    right = told[~told["row"].isin(wrong["row"])]
    return found + (_other_trials(right) if ruleset == "tuned" else [])


def _other_trials(tuned: pd.DataFrame) -> list[tuple[str, str]]:
    """One sentence for each row with a different number of tuning trials or seeds than most."""
    if tuned.empty:
        return []
    each = tuned.drop_duplicates()
    usual = _usual(each["had"].tolist())
    other = each[each["had"] != usual].drop_duplicates("row")
    shown = str(usual).removeprefix("tuning ")
    return [
        (str(row), f"tuned with {str(had).removeprefix('tuning ')} instead of {shown}")
        for row, had in other[["row", "had"]].itertuples(index=False)
    ]


RULES = {
    "suite": "parameters were given in the suite",
    "defaults": "the method's defaults were used",
    "tuning": "parameters were tuned",
}


def parameters_from(environment: Any) -> str:
    """``defaults``, ``suite`` or ``tuning 8 trials on 2 seeds``, from a run's environment record; ``suite``
    if it is not recorded."""
    try:
        body = json_value(environment)
    except (TypeError, json.JSONDecodeError):
        return "suite"
    search = body.get("tuning")
    if isinstance(search, dict) and search:
        trials, seeds = len(search.get("trials", [])), len(search.get("seeds", []))
        return f"tuning {trials} trials on {seeds} seeds"
    return "defaults" if body.get("parameters_from") == "defaults" else "suite"


def _column(runs: pd.DataFrame, column: str) -> list[tuple[str, str]]:
    """Rows whose value differs from the most common one of the same block (and seed, for data digests)."""
    by = ["label", "seed"] if column == "data_digest" else ["label"]
    if runs.groupby(by)[column].nunique().max() <= 1:
        return []
    places: dict[tuple[str, str, str], list[str]] = {}
    for key, group in runs[runs[column].notna()].groupby(by, sort=True):
        usual = _usual(group[["row", column]].drop_duplicates()[column].tolist())
        place = f"{key[0]} seed {key[1]}" if len(key) > 1 else str(key[0])
        other = group.loc[group[column] != usual, ["row", column]].drop_duplicates()
        for row, value in other.itertuples(index=False):
            places.setdefault((str(row), *_shown(column, value, usual)), []).append(place)
    name = NAMES.get(column, column)
    return [
        (row, f"different {name}: {value} instead of {usual} on {listed(where)}")
        for (row, value, usual), where in _merged(places, column).items()
    ]


def _merged(
    places: dict[tuple[str, str, str], list[str]], column: str
) -> dict[tuple[str, str, str], list[str]]:
    """For data digests, which differ by seed, one entry per row, with the first pair as an example."""
    if column != "data_digest":
        return places
    by_row: dict[str, tuple[str, str, str]] = {}
    out: dict[tuple[str, str, str], list[str]] = {}
    for key, where in places.items():
        out.setdefault(by_row.setdefault(key[0], key), []).extend(where)
    return out


def _shown(column: str, value: Any, usual: Any) -> tuple[str, str]:
    if column.endswith("_digest"):
        return short(value), short(usual)
    unit = " forward passes" if column == "budget_forwards" else ""
    return f"{value}{unit}", f"{usual}{unit}"


def listed(places: Sequence[str], most: int = 4) -> str:
    """``a, b and 3 more``."""
    shown = list(places[:most])
    return ", ".join(shown) + (f" and {len(places) - most} more" if len(places) > most else "")


def _code(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Rows with uncommitted changes in the code while others have none, or with another commit or version
    than most."""
    found = []
    dirty = runs["git_dirty"].fillna(False).astype(bool)
    if dirty.any() and not dirty.all():
        found += [(str(r), "uncommitted changes in the code") for r in sorted(set(runs.loc[dirty, "row"]))]
    state = _state(runs)
    usual = _usual([s for _, s in sorted(set(zip(runs["row"], state, strict=True)))])
    for row, text in sorted(set(zip(runs["row"], state, strict=True))):
        if text != usual:
            found.append((str(row), f"different code: {text} instead of {usual}"))
    return found


def _state(runs: pd.DataFrame) -> pd.Series:
    """Version and commit of each run; zobench may have run outside a repository."""
    version, commit = runs["zobench_version"].fillna("?"), runs["git_commit"].str.slice(0, 10)
    return version + " " + commit.fillna("without a commit")


def rows_by_code(runs: pd.DataFrame) -> dict[str, list[str]]:
    """The rows of each version and commit; a row that was made with several is listed under each."""
    made: dict[str, list[str]] = {}
    for code, row in sorted(set(zip(_state(runs), runs["row"].map(str), strict=True))):
        made.setdefault(code, []).append(row)
    return made


def _seeds(runs: pd.DataFrame, minimum: int) -> list[tuple[str, str]]:
    """Rows whose usable seeds differ from the most common set on a block, or that have no result on it."""
    found: list[tuple[str, str]] = []
    few: dict[tuple[str, int], list[str]] = {}
    usable = runs[runs["usable"]]
    for label in sorted(set(runs["label"])):
        sets = {row: frozenset(g["seed"]) for row, g in usable[usable["label"] == label].groupby("row")}
        usual = _usual(list(sets.values()))
        for row in sorted(set(runs["row"])):
            have = sets.get(row, frozenset())
            if have != usual:
                found.append((str(row), _seed_sentence(label, have, usual)))
            elif len(have) < minimum:
                few.setdefault((str(row), len(have)), []).append(label)
    return found + [(row, _too_few(count, labels, minimum)) for (row, count), labels in few.items()]


def _too_few(count: int, labels: Sequence[str], minimum: int) -> str:
    have = f"{count or 'no'} {'seed' if count == 1 else 'seeds'}"
    return f"{have} on {', '.join(labels)}, {'one is' if minimum == 1 else f'{minimum} are'} required"


def _seed_sentence(label: str, have: frozenset[int], usual: frozenset[int]) -> str:
    if not have:
        return f"no result on {label}"
    missing, extra = sorted(usual - have), sorted(have - usual)
    parts = []
    if missing:
        parts.append("without seed" + ("s " if len(missing) > 1 else " ") + ", ".join(map(str, missing)))
    if extra:
        parts.append(
            "with seed" + ("s " if len(extra) > 1 else " ") + ", ".join(map(str, extra)) + " in addition"
        )
    return f"different seeds on {label}: " + " and ".join(parts)


def _usual(values: Sequence[Any]) -> Any:
    """The most common value; of equally common ones the largest set or the first as text. An empty set if
    there is none."""
    if not values:
        return frozenset()
    counts = Counter(values)
    return min(counts, key=lambda v: (-counts[v], -len(v) if isinstance(v, frozenset) else 0, str(v)))


def short(digest: Any) -> str:
    return str(digest).removeprefix("sha256:")[:8]
