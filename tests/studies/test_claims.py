"""The page on published claims: verdicts and arithmetic on runs with known results; the committed page equals
the one made from its runs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from zobench.metrics.verdicts import judge, rule
from zobench.plugins import lookup
from zobench.studies import claims, committed
from zobench.studies.rate_edges import rate_edges

MARGINS = "2 points of accuracy, or a factor of 1.25 in forward passes"


def curve(
    row: str, seed: int, points: dict[int, float], task: str = "t", **more: Any
) -> list[dict[str, Any]]:
    base = {
        "task": task,
        "row": row,
        "group": "method",
        "params": "{}",
        "seed": seed,
        "chance": 0.5,
        "budget": 100,
        "commit": "abc",
    }
    return [{**base, "forwards": f, "accuracy": a, **more} for f, a in points.items()]


def study() -> pd.DataFrame:
    """MeZO ends at 0.9, so the target is 0.86; fzoo is there after half MeZO's forwards, one-point never."""
    lines = []
    for seed in (1, 2, 3):
        wobble = 0.01 * (seed - 2)
        lines += curve("mezo", seed, {0: 0.5, 40: 0.7, 80: 0.87 + wobble / 2, 100: 0.9 + wobble})
        lines += curve("fzoo", seed, {0: 0.5, 40: 0.9 + wobble, 80: 0.95, 100: 0.95 + wobble})
        lines += curve("one-point", seed, {0: 0.5, 100: 0.6 + 2 * wobble})
        lines += curve("zero-shot", seed, {0: 0.5}, group="control")
    return pd.DataFrame(lines)


def test_targets_times_and_ratios_are_those_of_the_definition() -> None:
    points = study()
    assert claims.targets(points) == pytest.approx({"t": 0.5 + 0.9 * 0.4})
    times = claims.times(points).set_index(["row", "seed"])
    assert times.loc[("mezo", 2), "time"] == 80
    assert times.loc[("fzoo", 2), "time"] == 40
    assert times.loc[("one-point", 2)].tolist()[1:] == [100, False]
    found = {a.row: a for a in claims.against_reference(points)}
    assert set(found) == {"fzoo", "one-point"}
    mezo = [80.0, 80.0, 80.0]
    ratio = math.exp(sum(math.log(40 / m) for m in mezo) / 3)
    assert found["fzoo"].ratio[0] == pytest.approx(ratio)
    assert found["fzoo"].accuracy.difference.value == pytest.approx(0.05)
    assert (found["one-point"].reached, found["one-point"].runs) == (0, 3)


def test_verdicts_are_those_of_the_measure_that_a_claim_is_about() -> None:
    """fzoo: half the forwards in every seed, +5 points in every seed; one-point: fewer points, no target."""
    found = {a.row: a for a in claims.against_reference(study())}
    fewer, higher = (claims.Claim("fzoo", kind, "", "", 0.1) for kind in ("fewer", "higher"))
    assert claims.verdict(fewer, found["fzoo"]) is found["fzoo"].on_forwards
    assert claims.verdict(higher, found["fzoo"]) is found["fzoo"].on_accuracy
    assert found["one-point"].on_accuracy.word == "worse"
    again = judge(
        [found[r].accuracy.difference for r in found], [found[r].accuracy.p for r in found], margin=0.02
    )
    assert [found[r].on_accuracy for r in found] == again


def test_fewer_forwards_are_better() -> None:
    """With a spread between seeds: two thirds and four thirds of MeZO's forwards, and nearly the same."""
    lines = []
    for seed in range(6):
        last = {"mezo": 60 + seed % 2, "less": 40, "more": 80, "same": 60 + (seed + 1) % 2}
        for row, reached in last.items():
            lines += curve(row, seed, {0: 0.5, reached: 0.9, 100: 0.9 + 0.001 * seed})
    found = {a.row: a for a in claims.against_reference(pd.DataFrame(lines))}
    words = {row: a.on_forwards.word for row, a in found.items()}
    assert words == {"less": "better", "more": "worse", "same": "equivalent"}


@pytest.mark.parametrize(("ratio", "said"), [(0.5, "inside"), (0.1, "outside"), (None, "")])
def test_a_published_factor_is_looked_for_in_the_interval(ratio: float | None, said: str) -> None:
    found = replace(claims.against_reference(study())[0], ratio=(0.4, 0.3, 0.6))
    assert claims.factor(claims.Claim("x", "fewer", "", "", ratio), found) == said


def test_the_page_states_its_rule_and_that_its_words_changed() -> None:
    text = committed.page("claims")
    assert rule("the 23 methods below, separately for accuracy and forward passes", MARGINS) in " ".join(
        text.split()
    )
    head = text.partition("\n## ")[0]
    assert "\n*Made before revision 2* (2026-11-29)" in head
    assert "\n*Words changed on 2026-11-29*" in head


def test_a_rate_at_the_end_of_its_grid_is_named() -> None:
    rates = {"mezo": (1e-4, 1e-3, 1e-2), "fzoo": (1e-3, 1e-2, 1e-1)}
    tried = [("t", row, f'{{"lr": {lr}}}') for row, values in rates.items() for lr in values]
    trials = pd.DataFrame(tried, columns=["task", "row", "params"])
    points = study().assign(params='{"lr": 0.001}')
    assert rate_edges(points, trials) == {"fzoo": ["t"]}
    inside, _, _ = claims.page(points, trials, points).partition("## Real")
    assert "| t |\n" in next(line + "\n" for line in inside.splitlines() if line.startswith("| `fzoo` | 95"))


def test_every_claim_names_a_row_of_the_suite() -> None:
    suite = (committed.docs().parent / "suites" / "queries-to-target.yaml").read_text(encoding="utf-8")
    assert all(f"\n  {claim.row}:\n" in suite for claim in claims.CLAIMS)


def test_cards_repeat_the_numbers_of_the_page() -> None:
    table = committed.page("claims").partition("## Every method against MeZO")[2].splitlines()
    for row in ("zo-muon", "subspace-mezo", "eggroll"):
        cells = next(line.split(" | ") for line in table if line.startswith(f"| `{row}` | "))
        difference, _, accuracy, ratio, _, forwards = cells[3:9]
        said = " ".join(lookup("methods", row).card.notes.split())
        assert "{} times MeZO's forward passes {}".format(*ratio.split(" ", 1)) in said
        if row == "eggroll":
            points = "{} points {}".format(*difference.split(" ", 1))
            assert f"], {forwards}, and is {points} from its accuracy, {accuracy}" in said


def test_the_committed_page_is_what_the_committed_runs_give() -> None:
    assert committed.page("claims") == claims.from_results(), "run: python -m zobench.studies.claims"
