"""The page on published claims: its verdicts, its arithmetic on runs whose outcome is known, and that the
committed page is the one its runs give."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from zobench.metrics.intervals import Interval
from zobench.metrics.paired import Comparison
from zobench.studies import claims, committed
from zobench.studies.rate_edges import rate_edges


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


@pytest.mark.parametrize(
    ("kind", "ratio", "interval", "expected"),
    [
        ("fewer", 0.5, (0.4, 0.3, 0.6), "appears"),
        ("fewer", 0.1, (0.4, 0.3, 0.6), "appears, by another factor"),
        ("fewer", 0.5, (0.8, 0.4, 1.2), "not shown"),
        ("fewer", 0.1, (0.8, 0.4, 1.2), "not shown, and not by that factor"),
        ("fewer", 0.5, (1.5, 1.1, 2.0), "contradicted"),
    ],
)
def test_verdicts_on_forwards(
    kind: Any, ratio: float, interval: tuple[float, float, float], expected: str
) -> None:
    found = claims.Against("x", None, interval, 1.0, 1.0, 1, 1)
    assert claims.verdict(claims.Claim("x", kind, "", "", ratio), found) == expected


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("higher", 0.01, 0.05, "appears"),
        ("higher", -0.01, 0.05, "not shown"),
        ("higher", -0.05, -0.01, "contradicted"),
        ("lower", -0.05, -0.01, "appears"),
        ("lower", 0.01, 0.05, "contradicted"),
        ("lower", -0.01, 0.05, "not shown"),
        ("no gain", -0.05, 0.019, "appears"),
        ("no gain", -0.05, 0.03, "not shown"),
        ("no gain", 0.01, 0.03, "contradicted"),
    ],
)
def test_verdicts_on_accuracy(kind: Any, low: float, high: float, expected: str) -> None:
    interval = Interval((low + high) / 2, low, high, 0.01, 4.0, 5, 0.95, "t")
    comparison = Comparison(interval, 0.1, 0.1, 0.1, 0.5, 1, 5, 0)
    found = claims.Against("x", comparison, (1.0, 1.0, 1.0), 1.0, 1.0, 1, 1)
    assert claims.verdict(claims.Claim("x", kind, "", ""), found) == expected


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


def test_the_committed_page_is_what_the_committed_runs_give() -> None:
    assert (committed.docs() / "claims.md").read_text(encoding="utf-8") == claims.from_results(), (
        "run: python -m zobench.studies.claims"
    )
