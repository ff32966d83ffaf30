"""The page on claims of recent methods: each is compared with the row its paper names, the committed page is
made from the committed runs, and cards repeat its numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from zobench.plugins import entries, lookup
from zobench.studies import claims, committed, recent_claims
from zobench.studies.claims import Claim
from zobench.studies.recent_claims import CLAIMS, SUITE, Relative

POINTS = committed.read(SUITE)


def points(**finals: float) -> pd.DataFrame:
    """Runs of two points: chance, then the given accuracy, a few per cent higher with every seed."""
    base = {"task": "t", "group": "method", "chance": 0.5, "budget": 100}
    return pd.DataFrame(
        [
            {
                **base,
                "row": row,
                "seed": seed,
                "forwards": at,
                "accuracy": 0.5 if at == 0 else end * (1 + seed / 100),
            }
            for row, end in finals.items()
            for seed in (1, 2, 3)
            for at in (0, 100)
        ]
    )


def test_a_claim_is_judged_against_the_row_that_its_paper_compares_with() -> None:
    found = points(mezo=0.6, other=0.9, mine=0.7)
    claim = Claim("mine", "higher", "above it", "source")
    against = [recent_claims.claimed(found, [Relative(claim, to)])[-1] for to in ("mezo", "other")]
    assert "| +10.2 points" in against[0]
    assert "**better**" in against[0]
    assert "| `other` |" in against[1]
    assert "| -20.4 points" in against[1]
    assert "**worse**" in against[1]


def test_a_claim_about_a_row_that_was_not_run_is_left_out() -> None:
    claim = Relative(Claim("absent", "higher", "above it", "source"))
    assert len(recent_claims.claimed(points(mezo=0.6, mine=0.7), [claim])) == 2


def test_runs_that_miss_the_target_show_no_equality_of_forward_passes() -> None:
    found = points(mezo=0.9, mine=0.6)
    for against in (claims.against_reference, recent_claims.against):
        (a,) = against(found)
        assert (a.on_forwards.word, a.ratio) == ("undecided", (1.0, 1.0, 1.0)), (
            "by the ratio alone: equivalent"
        )
    assert [a.on_forwards.word for a in recent_claims.against(points(mezo=0.9, mine=0.89))] == ["equivalent"]


def test_every_claim_names_two_rows_of_the_suite() -> None:
    suite = (committed.docs().parent / "suites" / f"{SUITE}.yaml").read_text(encoding="utf-8")
    assert all(f"\n  {row}:\n" in suite for r in CLAIMS for row in (r.claim.row, r.to))


def test_the_committed_page_is_what_the_committed_runs_give() -> None:
    text = recent_claims.from_results()
    assert committed.page("recent-claims") == text, "run: python -m zobench.studies.recent_claims"


@pytest.mark.parametrize("row", sorted(set(entries("methods")) & set(POINTS["row"]) - {"mezo", "zo-muon"}))
def test_the_card_repeats_the_verdicts_and_numbers_of_the_page(row: str) -> None:
    said = " ".join(lookup("methods", row).card.notes.split())
    assert recent_claims.on_card(POINTS, row) in said
