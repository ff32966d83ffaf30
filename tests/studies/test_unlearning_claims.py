"""The page on the order of the optimizer: statements and verdicts on runs with known results; the committed
page equals the one made from the committed files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from zobench.metrics.intervals import Interval
from zobench.metrics.paired import holm
from zobench.studies import committed, unlearning_claims
from zobench.studies import unlearning_statements as statements

S = {"zo-adam": (0.5, 0.55), "adam": (0.5, 0.75), "noise as far as zo-adam": (1.0, 1.0)}
"""S without a probe and after the stronger of two settings of relearning, by row."""
KEPT = {"zo-adam": 0.8, "adam": 0.95, "noise as far as zo-adam": 0.9}
MOVED = {"zo-adam": 8.0, "adam": 2.0, "noise as far as zo-adam": 8.0}


def study(wobble: float = 0.01, seeds: int = 3) -> Any:
    points: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    for objective in ("npo", "grad-diff"):
        for row, (bare, strong) in S.items():
            role = "noise" if row.startswith("noise") else "unlearn"
            for seed in range(seeds):
                key = {"objective": objective, "row": row, "seed": seed}
                shift = wobble * (seed - 1) * (2 if row == "adam" else 1)
                for split in ("test", "matched-forget", "matched-retain"):
                    for condition, strength, s in (
                        ("none", 0.0, bare),
                        ("relearn", 10.0, (bare + strong) / 2 + shift),
                        ("relearn", 30.0, strong + shift),
                        ("blind", 1.0, float("nan")),
                    ):
                        about = {"role": role, "split": split, "condition": condition, "strength": strength}
                        kept = KEPT[row] + shift
                        points.append({**key, **about, "params": "{}", "value": s, "retained": kept, "s": s})
                costs = dict.fromkeys(("forwards", "backwards", "train_seconds", "memory", "reached"), 1.0)
                spread = {"distance": MOVED[row] + seed, "matched-forget": 0.5, "matched-retain": 0.5}
                about = {"role": role, "params": '{"lr": 0.001}', "commit": "c0ffee1234"}
                runs.append({**key, **about, **costs, **spread})
            rates = (1e-4, 1e-3, 1e-2) if row == "adam" else (1e-3, 1e-2)
            trials += [{"objective": objective, "row": row, "params": json.dumps({"lr": r})} for r in rates]
    return statements.Study(pd.DataFrame(points), pd.DataFrame(runs), pd.DataFrame(trials))


def test_statements_compare_the_worst_settings_of_rows_of_different_grades() -> None:
    told = {(s.split, s.about): s for s in statements.statements(study()) if s.price is not None}
    assert set(told) == {(m, a) for m in statements.MATCHED for a in ("relearning", statements.ANY)}
    one = told["matched-forget", "relearning"]
    assert (
        one.says
        == "after relearning, less of the forgotten facts is recovered from `zo-adam` than from `adam`"
    )
    assert one.effect.difference.value == pytest.approx(0.55 - 0.75)
    assert one.price.difference.value == pytest.approx(0.8 - 0.95)
    assert one.effect.pairs == 6
    assert one.said.p >= one.effect.p


def test_all_statements_are_corrected_together() -> None:
    told = statements.statements(study())
    corrected = list(holm([s.effect.p for s in told]))
    assert [s.said.p for s in told] == pytest.approx(corrected, nan_ok=True)
    assert {s.split for s in told} == {"matched-forget", "matched-retain", "test"}
    noise = next(s for s in told if s.split == "test")
    assert noise.effect.difference.value == pytest.approx((0.5 - 0.8) - (1.0 - 0.9))


def test_distance_is_correlated_over_the_rows_of_an_objective_and_a_seed() -> None:
    given = study()
    more = []
    for frame, column, value in ((given.points, "s", 0.65), (given.runs, "distance", 4.0)):
        third = frame[frame["row"] == "adam"].assign(row="sophia")
        hit = third["condition"] == "relearn" if column == "s" else pd.Series(True, index=third.index)
        third.loc[hit, column] = value
        more.append(pd.concat([frame, third], ignore_index=True))
    told = statements.statements(statements.Study(*more, given.trials))
    far = [s for s in told if "correlation" in s.says]
    assert [s.effect.difference.value for s in far] == [-1.0], "8, 4 and 2 apart: .55, .65 and .75 back"


def test_less_that_comes_back_is_better_and_keeping_less_is_said() -> None:
    told = {(s.split, s.about): s for s in statements.statements(study()) if s.price is not None}
    said = told["matched-forget", "relearning"]
    assert (said.said.word, said.keeps_less) == ("better", True), "-20 points, for -15 points of what is kept"
    assert not replace(said, price=None).keeps_less
    near = Interval(-0.01, -0.03, 0.01, 0.01, 4.0, 6, 0.95, "t")
    assert not replace(said, price=replace(said.price, difference=near)).keeps_less


def test_the_page_says_what_holds_and_names_rates_on_an_edge() -> None:
    text = unlearning_claims.page(study())
    claim = "after relearning, less of the forgotten facts is recovered from `zo-adam` than from `adam`"
    short = next(line for line in text.splitlines() if line.startswith(f"- {claim}"))
    assert "**better** (-20.0 points [" in short
    assert short.endswith("; keeps less)")
    rows = {
        line.split(" |")[0]: line for line in text.splitlines() if line.startswith("| `zo-adam` | zeroth")
    }
    assert rows["| `zo-adam`"].endswith("| grad-diff, npo |"), "its rate is the least of two"
    assert unlearning_claims.edges(study()) == {row: ["grad-diff", "npo"] for row in ("zo-adam",)}, (
        "the middle of three is no edge"
    )
    assert "corrected by Holm over all 5 statements" in text.replace("\n", " ")


def test_with_one_seed_nothing_is_claimed() -> None:
    told = statements.statements(study(seeds=1))
    assert {s.said.word for s in told} == {"undecided"}


def test_the_committed_page_is_what_the_committed_files_give() -> None:
    text = committed.page("unlearning-claims")
    assert text == unlearning_claims.from_results(), "run: python -m zobench.studies.unlearning_claims"
