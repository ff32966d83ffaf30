"""The tables of unlearning on the real language model say what the committed runs measured."""

from __future__ import annotations

import pandas as pd
import pytest

from zobench.report.source import Source, open_results
from zobench.studies import committed, markdown, real_models, real_unlearning


@pytest.fixture(scope="module")
def source() -> Source:
    return open_results(committed.results() / real_models.UNLEARNING)


def cells(lines: list[str]) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines[2:]]


def test_recovery_is_the_share_of_the_span_between_the_references(source: Source) -> None:
    finals = source.finals[source.finals["metric"] == "forget_probability"]
    shown = {(row[0], row[1], row[2]): row for row in cells(real_unlearning.probes(source))}
    names = ["none", *sorted(set(finals["condition"]) - {"none", ""})]
    finals = finals.assign(task=finals["block"].str.split("|").str[0])
    referred = set(finals[finals["row"] == "oracle"]["task"])
    for (objective, row, state), line in shown.items():
        if state != "final":
            continue
        for name, cell in zip(names, line[3:-1], strict=True):
            if objective not in referred:
                assert cell.endswith(f" ({markdown.NOTHING})"), "no recovery without references"
                continue
            mine = finals[(finals["condition"] == name) & (finals["split"] == "test")]
            mine = mine[mine["task"] == objective]
            value, low, high = (
                mine[mine["row"] == who].groupby("strength")["value"].mean()
                for who in (row, "oracle", "full model")
            )
            if name == "relearn" or value.empty:
                continue
            rate = 100 * (value - low) / (high - low)
            assert cell == f"{100 * value.max():.1f} ({rate.max():.0f})", (objective, row, name)


def test_a_row_that_did_not_forget_has_no_matched_state(source: Source) -> None:
    states = {(row[0], row[1]): row for row in cells(real_unlearning.states(source))}
    matched = {tuple(row[:2]) for row in cells(real_unlearning.probes(source)) if row[2] == "matched"}
    assert matched <= set(states)
    for key, row in states.items():
        assert row[5] in ("yes", "no", markdown.NOTHING)
        if row[5] == "yes":
            assert key in matched


def test_the_setting_that_recovers_most_is_shown() -> None:
    part = pd.DataFrame({"value": [0.2, 0.5], "s": [0.3, 0.1]})
    assert real_unlearning._cell(part, "unlearn") == "20.0 (30)"
    assert real_unlearning._cell(part, "oracle") == "50.0"
    assert real_unlearning._cell(part.assign(s=float("nan")), "unlearn") == "50.0 (–)"
    assert real_unlearning._cell(part.iloc[:0], "unlearn") == markdown.NOTHING
