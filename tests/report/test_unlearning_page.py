"""Recovery rate, the three comparisons and the unlearning section of the page, from records with known
results."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from synthetic_rows import described

from zobench.report import forgetting, forgetting_view
from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.store.writer import RunFolder, to_table
from zobench.studies import unlearning_results

FULL, ORACLE = 0.9, 0.1
"""Forget scores of the references, the same after every probe but ``blind``, where they coincide."""
SEEDS = (0, 1, 2, 3)
ROWS = {
    "full model": ("control", "full", {"test": (FULL, FULL, FULL)}),
    "oracle": ("control", "oracle", {"test": (ORACLE, ORACLE, ORACLE)}),
    "steady": ("method", "unlearn", dict.fromkeys(forgetting.SPLITS, (0.1, 0.18, 0.26))),
    "shallow": ("method", "unlearn", dict.fromkeys(forgetting.SPLITS, (0.1, 0.5, 0.74))),
    "never": ("method", "unlearn", dict.fromkeys(("test", "matched-retain"), (0.6, 0.7, 0.82))),
    "noise as far as steady": ("control", "noise", {"test": (FULL, FULL, FULL)}),
}
"""Forget scores without a probe, after relearning at the weaker and at the stronger rate."""


def rows_of(run_id, split, scores, shift):
    def row(condition, strength, params, metric, value):
        return {
            "run_id": run_id,
            "step": 10,
            "forwards": 120,
            "task": "npo",
            "split": split,
            "condition_kind": "probe",
            "condition": condition,
            "strength": strength,
            "params": json.dumps(params),
            "metric": metric,
            "value": value,
            "n": 40,
            "final": True,
        }

    bare, weak, strong = (s + shift for s in scores)
    found = []
    for condition, strength, params, score in (
        ("none", 0.0, {}, bare),
        ("relearn", 0.0, {"lr": 1e-4}, bare),
        ("relearn", 30.0, {"lr": 1e-4}, weak),
        ("relearn", 0.0, {"lr": 1e-3}, bare),
        ("relearn", 30.0, {"lr": 1e-3}, strong),
        ("blind", 1.0, {}, 0.5),
    ):
        found.append(row(condition, strength, params, "forget_value_probability", score))
        found.append(row(condition, strength, params, "retained", 0.95 - strength / 1000))
    for bits, moved in ((4, 0.25), (8, 4.0)):
        found.append(row("quantize", 16 - bits, {"bits": bits, "group": 0}, "moved_steps", moved))
    return found


CLEAN = (
    {"distance": 2.5, "backwards": 10.0, "forget_choice_accuracy": 0.625, "utility": 0.5},
    {"distance": 0.0, "backwards": 0.0, "forget_choice_accuracy": 0.1875},
)
"""Other clean scores of every run, and of the oracle's."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("unlearning")
    for r, (name, (group, role, splits)) in enumerate(ROWS.items()):
        for seed in SEEDS:
            run_id = f"{r:02d}{seed:02d}abcdef"
            shift = 0.0 if group == "control" else 0.004 * (seed - 1.5) * (1 + r)
            about = {
                **described("npo", seed),
                "run_id": run_id,
                "suite": "unlearning",
                "row": name,
                "group": group,
                "purpose": "result",
                "status": "done",
                "method": "adam",
                "seed": seed,
                "task_kind": "unlearning",
                "primary_metric": "forget_value_probability",
                "chance": 0.02,
                "budget_forwards": 120 if group == "method" else 0,
                "batch_size": 16,
                "forwards": 120,
                "steps": 10,
                "train_seconds": 1.0,
                "git_commit": "c0ffee",
                "git_dirty": False,
                "spec": json.dumps({"unlearning": {"role": role}, "seed": seed}),
                "environment": json.dumps({"command": []}),
            }
            metrics = [m for s, scores in splits.items() for m in rows_of(run_id, s, scores, shift)]
            clean = {**metrics[0], "condition_kind": "clean", "condition": "", "params": '{"at": 120}'}
            clean = [
                clean,
                *({**clean, "metric": m, "value": v} for m, v in CLEAN[name == "oracle"].items()),
            ]
            steps = [
                {
                    "run_id": run_id,
                    "step": i,
                    "forwards": 12 * (i + 1),
                    "seconds": 0.1 * i,
                    "loss": 1.0,
                    "lr": 1e-3,
                }
                for i in range(10)
            ]
            tables = {"runs": [about], "metrics": [*metrics, *clean], "steps": steps}
            out = RunFolder(target / "runs" / run_id)
            out.path.mkdir(parents=True)
            out.reopen()
            out.write_json("spec.json", {"row": name})
            out.write_json("environment.json", {})
            out.finish("done", tables)
            assert to_table("runs", [about]).num_rows == 1
    return target


def test_s_is_one_for_the_full_model_zero_for_the_oracle_and_their_line_between(folder):
    from zobench.report.source import open_results

    frame = forgetting.probed(open_results(folder))
    s = frame.groupby(["row", "condition"])["s"].max()
    assert s["full model", "relearn"] == pytest.approx(1)
    assert s["oracle", "relearn"] == pytest.approx(0)
    part = frame[(frame["row"] == "steady") & (frame["seed"] == 0) & (frame["split"] == "test")]
    value = part[part["params"].str.contains("0.001") & (part["strength"] == 30)]
    assert value["s"].tolist() == pytest.approx([(0.26 - 0.018 - ORACLE) / (FULL - ORACLE)])
    assert frame[frame["condition"] == "blind"]["s"].isna().all(), "a probe on which references agree"


def test_other_measures_stand_beside_the_forget_score_where_they_were_taken(folder):
    from zobench.report.source import open_results

    source = open_results(folder)
    found = forgetting.by_measure(source, source.results)
    assert found["names"] == ["Choices right", "Model utility"]
    values = {line["row"]: line["values"] for line in found["lines"]}
    assert values["steady"] == [0.625, 0.5]
    assert values["oracle"] == [0.1875, None]


def test_the_board_ranks_the_worst_case_at_matched_retention(folder):
    found = analyse(folder)
    assert found.board.name == "unlearning", "chosen by itself"
    assert [s.row for s in found.ranking.ranked] == ["steady", "shallow", "never"]
    assert found.ranking.ranked[0].interval.value == pytest.approx((0.26 - ORACLE) / (FULL - ORACLE))
    pair = found.ranking.pair("steady", "shallow")
    assert pair.verdict == "better"
    shown = [s for s in found.ranking.standings if s.group == "control" and s.interval is not None]
    controls = {s.row: s.interval.value for s in shown}
    assert "noise as far as steady" not in controls, "it was not measured at matched retention"
    assert controls["full model"] == pytest.approx(1)
    assert controls["oracle"] == pytest.approx(0)


def test_rows_that_never_forgot_as_much_are_apart_at_matched_forgetting(folder):
    found = analyse(folder)
    by = {c.split: c.ranking for c in forgetting.compare(found.source, found.runs, found.board)}
    assert set(by) == set(forgetting.SPLITS)
    assert [s.row for s in by["matched-forget"].ranked] == ["steady", "shallow"]
    apart = next(s for s in by["matched-forget"].standings if s.row == "never")
    assert apart.reasons == ("0 of 4 runs forgot as much",)


def test_the_section_says_what_holds_with_effect_interval_and_corrected_p(folder):
    found = analyse(folder)
    section = forgetting_view.section(found.source, found.runs, found.board)
    first = section["comparisons"][0]
    assert first["headline"] == "steady is better than all 2 other rows."
    assert any(
        "steady is better than shallow" in t and "95 % interval" in t and "adjusted p" in t
        for t in first["holds"]
    )
    curve = section["curves"][0]["lines"]["steady"]
    assert [x for x, _ in curve] == [0, 30]
    assert [y for _, y in curve] == pytest.approx([0.0, 0.2], abs=1e-9), "the worse of the two rates"
    line = next(x for x in section["probes"][0]["lines"] if x["row"] == "shallow")
    assert line["cells"]["relearn"] == pytest.approx((0.8, 0.92))
    cost = next(c for c in section["costs"] if c["row"] == "steady")
    assert (cost["backwards"], cost["distance"], cost["forwards"]) == (10, 2.5, 120)
    assert cost["moved"] == 0.25, "of four bits alone"


def test_the_page_has_the_section_and_other_pages_do_not(folder, page_file, tmp_path):
    text = build(folder, tmp_path).read_text(encoding="utf-8")
    assert '<section id="unlearning">' in text
    assert "Matched forgetting" in text
    assert '<section id="unlearning">' not in page_file.read_text(encoding="utf-8")


def test_the_page_opens_in_a_browser_without_complaint(folder, tmp_path, open_page):
    watched = open_page(build(folder, tmp_path))
    assert watched.page.locator("#unlearning svg.cd").count() == 1
    drawn = watched.page.locator("#unlearning svg.cd .name")
    assert {t.text_content(): "control" in (t.get_attribute("class") or "") for t in drawn.all()} == {
        "steady": False, "shallow": False, "never": False,
        "full model": True, "oracle": True,
    }  # fmt: skip
    assert watched.page.locator("#unlearning h3").count() >= 5
    assert watched.problems == []
    assert watched.requests == []


def test_the_files_hold_what_the_report_computes(folder: Path, tmp_path: Path) -> None:
    unlearning_results.compact(folder, tmp_path, "small")
    points = pd.read_parquet(tmp_path / "small.parquet")
    strong = points[(points["row"] == "steady") & (points["split"] == "test") & (points["strength"] == 30)]
    worst = strong.groupby("seed")["s"].max()
    assert worst.loc[0] == pytest.approx((0.26 - 0.018 - ORACLE) / (FULL - ORACLE), abs=1e-5)
    runs = pd.read_parquet(tmp_path / "small-runs.parquet").set_index(["row", "seed"])
    assert runs.loc[("steady", 0), ["backwards", "distance", "utility"]].tolist() == [10.0, 2.5, 0.5]
    assert set(runs["role"]) == {"unlearn", "full", "oracle", "noise"}
    assert pd.read_parquet(tmp_path / "small-trials.parquet").empty
