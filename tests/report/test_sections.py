"""Leaderboard files, terminal table, comparison of folders, tuning flags, edits, site."""

from __future__ import annotations

import dataclasses
import io
import json
from math import ceil, floor

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic import Entry, Study, default_study, make_synthetic, one_run, runs_row, write_run

from zobench import shipped
from zobench.metrics.intervals import iqm_interval
from zobench.metrics.measures import SHARE
from zobench.report import edits, leaderboard, payload, tables, terminal, tuning
from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.report.diff import compare_folders, print_diff


def text_of(show):
    out = io.StringIO()
    show(Console(file=out, width=220, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("name", leaderboard.SHIPPED)
def test_shipped_leaderboards_load(name):
    assert leaderboard.load(name).name == name


def test_every_shipped_file_is_listed():
    assert sorted(p.stem for p in shipped.folder("leaderboards").glob("*.yaml")) == sorted(
        leaderboard.SHIPPED
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("title: x\ndirektion: higher\n", "direktion: unknown key; did you mean 'direction'"),
        ("title: x\nscore: {metrik: em}\n", "score.metrik: unknown key; did you mean 'metric'"),
        ("title: x\nwhere: {taks: [a]}\n", "no column 'taks' in the runs table; did you mean 'task'"),
        ("title: x\nalpha: 2\n", "alpha: Input should be less than 0.5, not '2'"),
        (
            "title: x\ncolumns: [robuste]\n",
            "columns.0: 'robuste' is not one of its values; did you mean 'robust'?",
        ),
        (
            "title: x\nscore: {source: rum}\n",
            "score.source: 'rum' is not one of its values; did you mean 'run'?",
        ),
        ("title: [\n", "not valid YAML"),
    ],
)
def test_broken_leaderboards_are_explained(tmp_path, body, message):
    path = tmp_path / "mine.yaml"
    path.write_text(body)
    with pytest.raises(ValueError, match=r"mine\.yaml") as error:
        leaderboard.load(path)
    assert message in str(error.value)


def test_unknown_leaderboard_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'memory'"):
        leaderboard.load("memori")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_synthetic(tmp_path_factory.mktemp("default"), default_study(), compact=True)


def test_terminal_table_has_every_row_and_no_markup(folder, tmp_path):
    text = text_of(lambda c: terminal.summary(folder, console=c))
    best = analyse(folder).ranking.standings[0].interval
    assert best is not None
    for word in (
        "fzoo",
        "zero-shot",
        "baseline",
        "apart",
        "8 done, 1 diverged",
        "char-typos (net loss)",
        f"81.7 {floor(100 * best.low)}–{ceil(100 * best.high)}",
    ):
        assert word in text
    odd = make_synthetic(
        tmp_path, Study([Entry("[red]x[/red] [/nope]")], examples=0, attacks=()), compact=True
    )
    assert "[red]x[/red] [/nope]" in text_of(lambda c: terminal.summary(odd, console=c))


def test_many_attacks_stand_in_a_table_of_their_own_that_loses_nothing(folder, tmp_path):
    few = text_of(lambda c: terminal.summary(folder, console=c))
    assert "attacked (net loss)" not in few
    names = ("mscr", "pwws", "char-typos", "irrelevant", "[bold]odd[/bold]")
    entries = [Entry("mezo"), Entry("fzoo", 0.1)]
    many = make_synthetic(tmp_path, Study(entries, attacks=names), compact=True)
    found = analyse(many)
    lines = text_of(lambda c: terminal.summary(many, console=c)).splitlines()
    head = next(line for line in lines if line.startswith("attack  ") and line.split()[0] == "attack")
    assert sorted(head.split()[1:]) == ["fzoo", "mezo"]
    for name in names:
        line = next(line for line in lines if line.startswith(name))
        assert all(terminal.attack_columns(found)[name][row] in line for row in ("mezo", "fzoo"))


def test_verified_runs_are_marked_and_means_have_their_intervals(tmp_path):
    fields = {"note": "verified: 30 steps replayed, losses of 16 recomputed (16 to the bit)"}
    study = Study([Entry("checked", fields=fields), Entry("trusted", 0.1)], examples=0, attacks=())
    found = analyse(make_synthetic(tmp_path / "results", study, compact=True))
    rows = {r["row"]: r for r in tables.ranking_rows(found.ranking, found.runs, found.attacks)}
    assert rows["checked"]["verified"] == "9 of 9 runs verified"
    assert rows["trusted"]["verified"] == ""
    values = found.ranking.values["trusted"]
    frame = pd.DataFrame([(b, v) for b, array in values.items() for v in array], columns=["task", "value"])
    expected = iqm_interval(frame, resamples=tables.IQM_RESAMPLES).within(SHARE)
    assert rows["trusted"]["iqm"] == pytest.approx(expected.value)
    assert rows["trusted"]["iqm_spread"] == f"[{100 * expected.low:.1f}, {100 * expected.high:.1f}]"
    text = build(tmp_path / "results", tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("✓ 9 of 9 runs verified") == 1


def test_robustness_leaderboard_takes_the_worst_attack(folder):
    found = analyse(folder, "robustness")
    finals = found.source.finals
    attacked = finals[(finals["metric"] == "accuracy") & (finals["condition_kind"] == "attack")]
    worst = attacked.groupby("run_id")["value"].min()
    scored = found.runs.set_index("run_id")["value"].dropna()
    assert scored.to_dict() == pytest.approx(worst[scored.index].to_dict())


def test_forwards_to_target_are_measured_points_and_misses_are_flagged(folder):
    found = analyse(folder, "forwards-to-target")
    assert set(found.runs["value"].dropna()) <= {float(x) for x in range(0, 1300, 100)}
    missed = found.runs[(found.runs["row"] == "mezo shuffled labels")]
    assert set(missed["flag"]) == {"target not reached"}
    assert set(missed["value"]) == {600.0}
    assert found.runs[found.runs["row"] == "zero-shot"]["value"].isna().all()


def test_diff_of_a_folder_with_itself_and_with_a_worse_one(tmp_path):
    def make(name, gain, rng):
        entries = [Entry("a", 0.1, sd=0.004), Entry("b", gain, sd=0.004)]
        return make_synthetic(
            tmp_path / name, Study(entries, examples=0, attacks=(), seeds=range(5), rng=rng), compact=True
        )

    old, worse = make("old", 0.1, 0), make("worse", 0.0, 1)
    same = compare_folders(old, old)
    assert {c.verdict for c in same.changes} == {"identical"}
    assert same.exit_code == 0
    found = compare_folders(old, worse)
    assert {c.row: c.verdict for c in found.changes}["b"] == "worse"
    assert {c.row: c.verdict for c in found.changes}["a"] != "worse"
    assert found.exit_code == 1
    assert "worse" in text_of(lambda c: print_diff(found, c))
    assert compare_folders(worse, old).exit_code == 0


def test_diff_names_missing_rows_and_other_budgets(tmp_path):
    one = make_synthetic(
        tmp_path / "1", Study([Entry("a"), Entry("gone")], examples=0, attacks=()), compact=True
    )
    fields = {"budget_forwards": 1200}
    two = make_synthetic(
        tmp_path / "2", Study([Entry("a", fields=fields)], examples=0, attacks=()), compact=True
    )
    found = compare_folders(one, two)
    assert found.only_a == ("gone",)
    assert found.changes[0].verdict == "not comparable"
    assert found.changes[0].reasons == ("different budget forwards",)
    assert compare_folders(two, one).exit_code == 2


def test_tuning_flags():
    def trial(lr, mean, spread=0.01, budget=600, lost=0):
        """Two seeds, which lie ``spread`` above and below the mean; the next trial's the other way around."""
        seeds = {} if mean is None else {"1": mean + spread, "2": mean - spread}
        return {"params": {"lr": lr}, "mean": mean, "seeds": seeds, "budget": budget, "lost": lost}

    assert tuning.flags([trial(1e-3, 0.8), trial(1e-2, 0.7), trial(1e-4, 0.6)], ["lr"]) == []
    edge = tuning.flags([trial(1e-2, 0.8), trial(1e-3, 0.7)], ["lr"])
    assert edge == ["best lr = 0.01 lies on the upper edge of its search range"]
    close = tuning.flags([trial(1e-3, 0.800, 0.05), trial(1e-2, 0.799, -0.05), trial(1e-4, 0.6)], ["lr"])
    assert close == ["the two best trials differ by less than their standard error"]
    # the same spread on both is shared by the seeds and no noise of the difference
    assert tuning.flags([trial(1e-3, 0.800, 0.05), trial(1e-2, 0.799, 0.05), trial(1e-4, 0.6)], ["lr"]) == []
    assert tuning.flags([trial(1e-3, None)], ["lr"]) == ["no trial has a validation score on every seed"]
    small = [trial(1e-3, 0.7), trial(1e-4, 0.5), trial(1e-2, 0.6), trial(1e-3, 0.9, budget=300)]
    assert tuning.flags(small, ["lr"]) == []


def test_tuning_is_told_task_by_task(tmp_path):
    """A row tuned on two tasks has two searches, and a rung of a small budget is no competitor."""
    study = Study([Entry("mezo")], tuned=("mezo",), examples=0, attacks=())
    entry = Entry("mezo", fields={"purpose": "tuning", "tuning_of": "mezo", "budget_forwards": 150})
    folder = make_synthetic(tmp_path, study)
    short = runs_row(study, entry, "sentiment", 100, "ab" * 10, "done")
    other = {**short, "run_id": "cd" * 10, "task": "topic", "budget_forwards": 600}
    for row in (short, other):
        write_run(tmp_path / "runs", {"runs": [{**row, "method_params": '{"lr": 0.5}'}]})
    found = tuning.collect(analyse(folder).source)
    assert [(t["row"], t["task"], len(t["trials"]), t["rungs"]) for t in found] == [
        ("mezo", "sentiment", 6, 2),
        ("mezo", "topic", 1, 1),
    ]
    assert found[0]["trials"][-1]["budget"] == 150


def test_trials_are_told_by_the_metric_that_the_search_went_by(tmp_path):
    """Primary scores that rise with the rate, a search that went by something that falls with it."""
    search = {"tuning": {"metric": "perplexity", "goal": "min", "trials": [], "seeds": [100]}}
    entry = Entry("mezo", fields={"environment": json.dumps(search)})
    study = Study([entry], tuned=("mezo",), examples=0, attacks=())
    source = analyse(make_synthetic(tmp_path, study)).source
    (plain,) = tuning.collect(dataclasses.replace(source, runs=source.runs.assign(environment="{}")))
    assert plain["trials"][0]["params"] == {"lr": 1e-2}, "no record: the primary metric"
    primary = source.finals[source.finals["purpose"] == "tuning"]
    other = primary.assign(metric="perplexity", value=7.0 - primary["value"])
    (found,) = tuning.collect(dataclasses.replace(source, finals=pd.concat([source.finals, other])))
    assert (found["metric"], found["goal"]) == ("perplexity", "min")
    assert found["trials"][0]["params"] == {"lr": 1e-2}
    assert found["trials"][0]["mean"] == pytest.approx(7 - plain["trials"][0]["mean"])
    chosen = primary.assign(metric=tuning.SELECTION, value=-primary["value"])
    (bare,) = tuning.collect(
        dataclasses.replace(
            source,
            runs=source.runs.assign(environment="{}"),
            finals=pd.concat([source.finals, chosen]),
        )
    )
    assert bare["trials"][0]["params"] == {"lr": 1e-4}, "unlearning without results yet"


def test_tuning_trials_are_charged_and_kept_out_of_the_ranking(folder):
    found = analyse(folder)
    rows = tuning.collect(found.source)
    assert [r["row"] for r in rows] == ["fzoo", "mezo"]
    assert rows[0]["forwards"] == 10 * 600
    assert len(rows[0]["trials"]) == 5
    assert rows[0]["varied"] == ["lr"]
    assert not set(found.runs["purpose"]) & {"tuning"}


def test_robust_accuracy_along_training_is_a_curve_to_choose(tmp_path):
    """Attacks measured at a point before the end, as the runner writes them, and at the end."""
    study = Study(
        [Entry("mezo"), Entry("fzoo", 0.1)], {"t": 0.7}, steps=2, examples=6, attacks=("char-typos",)
    )
    generator = np.random.default_rng(0)
    for entry in study.entries:
        for seed in study.seeds:
            tables = one_run(study, entry, "t", seed, 0.8, generator)
            tables["metrics"] += [
                {**m, "forwards": 300, "value": 0.6, "params": '{"at": 300}', "final": False}
                for m in tables["metrics"]
                if m["condition_kind"] in ("attack", "null") and m["metric"] == "accuracy"
            ]
            write_run(tmp_path / "runs", tables)
    found = analyse(tmp_path)
    names, blocks = [s.row for s in found.ranking.standings], list(found.ranking.blocks)
    drawn = [c for c in payload.curves(found.source, names, blocks) if c["kind"] in ("attack", "null")]
    assert {(c["r"], c["kind"], c["condition"], c["metric"]) for c in drawn} == {
        (r, kind, "char-typos", "accuracy") for r in (0, 1) for kind in ("attack", "null")
    }
    for c in drawn:
        assert c["x"][0] == [300, 600]
        assert c["y"][0] == pytest.approx(0.6)
        assert c["n"] == 3


def test_edit_parts_give_both_texts_back():
    rng = np.random.default_rng(0)
    words = ["a", "bc", "d!", "  ", "é", "<b>", "x-y"]
    for _ in range(50):
        before, after = (" ".join(rng.choice(words, 6)) for _ in range(2))
        found = edits.parts(before, after)
        assert "".join(t for k, t in found if k != "ins") == before
        assert "".join(t for k, t in found if k != "del") == after


def test_site_writes_a_page_for_every_result_run(folder, tmp_path):
    build(folder, tmp_path, site=True)
    pages = list((tmp_path / "pages").glob("*.html"))
    assert len(pages) == len(analyse(folder).runs)
    text = (tmp_path / "pages" / pages[0].name).read_text(encoding="utf-8")
    assert "<h2>Commands</h2>" in text
    assert "<script" not in text


def test_without_a_ranked_row_there_is_no_table_of_differences(tmp_path):
    study = Study([Entry("zero-shot", 0.0, group="control")], {"topic": 0.7}, seeds=(0, 1), steps=4)
    page = build(make_synthetic(tmp_path / "results", study), tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert "there are only baselines" in text
    assert 'id="tasks"' not in text
    assert 'id="ranking"' in text
