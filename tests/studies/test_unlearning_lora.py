"""The table of forgetting in LoRA in docs/unlearning.md, and its text, agree with the committed results."""

from __future__ import annotations

import pandas as pd

from zobench.studies import committed, unlearning_lora

LORA = ("lora 8", "lora 32")


def shown() -> pd.DataFrame:
    """Recovery rates by objective, row, probed model and bits."""
    lines = committed.read(unlearning_lora.NAME)
    return lines[lines["role"] == "unlearn"].set_index(["split", "objective", "row", "bits"])


def test_the_table_is_that_of_the_committed_results() -> None:
    found = unlearning_lora.PLACE.search(committed.page(unlearning_lora.PAGE))
    assert found is not None
    assert found.group().splitlines() == unlearning_lora.table(committed.read(unlearning_lora.NAME))


def test_the_committed_results_are_all_runs_of_the_suite() -> None:
    lines = committed.read(unlearning_lora.NAME)
    assert set(lines["status"]) == {"done"}
    runs = lines[["objective", "row", "seed"]].drop_duplicates()
    assert len(runs) == 20
    assert lines.groupby(["objective", "row", "seed"])["bits"].agg(set).map(lambda b: b == {0, 8, 4, 3}).all()


def test_what_the_text_says_holds() -> None:
    at = shown()["s"]["matched-retain"].astype(float)
    rise = {(o, r): at[o, r, 4] - at[o, r, 0] for o in ("npo", "grad-diff") for r in ("full space", *LORA)}
    assert max(rise, key=lambda key: rise[key]) == ("npo", "full space")
    assert rise["grad-diff", "full space"] < 0
    assert max(v for (_, row), v in rise.items() if row in LORA) < 0.0031
    for objective in ("npo", "grad-diff"):
        assert all(at[objective, "full space", 0] < at[objective, row, 0] for row in LORA)
    flipped = shown()["codes_flipped"]
    for split, low, high in (("test", 1.8, 2.85), ("matched-retain", 0.9, 1.75)):
        for objective in ("npo", "grad-diff"):
            whole = flipped[split, objective, "full space", 4]
            assert all(low < flipped[split, objective, row, 4] / whole < high for row in LORA)
    kept = shown()["retained"]
    assert kept["test", "npo", "zo lora 8", 0] == kept["test", "grad-diff", "zo lora 8", 0] == 0
