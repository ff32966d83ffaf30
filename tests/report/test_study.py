"""Studies whose true differences are known: equivalent, undecided and better appear at the stated rates."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import Entry, Study, default_study, make_synthetic

from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.report.leaderboard import Leaderboard
from zobench.report.overview import controls, headline, warnings
from zobench.report.ranking import rank

GAINS = {"first": 0.0, "equal": 0.0, "slightly better": 0.006, "much better": 0.08}
BOARD = Leaderboard(title="known truth", margin=0.015)


def drawn(generator, tasks=3, seeds=8, sd=0.008, shared=0.02):
    """Scored runs as ``score_runs`` gives them, without a store."""
    rows = []
    common = generator.normal(0, shared, (tasks, seeds))
    for name, gain in GAINS.items():
        values = 0.7 + gain + common + generator.normal(0, sd, (tasks, seeds))
        for t in range(tasks):
            for s in range(seeds):
                rows.append((name, "method", f"t{t}", f"t{t}", s, values[t, s], True, "", "done", "accuracy"))
    columns = ["row", "group", "block", "label", "seed", "value", "usable", "flag", "status"]
    columns.append("primary_metric")
    return pd.DataFrame(rows, columns=columns)


def verdicts(studies, seed):
    generator = np.random.default_rng(seed)
    counts = {"wrong order": 0, "false equivalence": 0, "much": 0, "equivalent": 0, "slight decided": 0}
    for _ in range(studies):
        found = rank(drawn(generator), BOARD, {})
        said = {}
        for p in found.pairs:
            # verdict of the row with the larger true gain (or the second of two equal ones) against the other
            low, high = sorted((p.a, p.b), key=lambda r: (GAINS[r], r))
            turned = {"better": "worse", "worse": "better"} if p.a == low else {}
            said[low, high] = turned.get(p.verdict, p.verdict)
        counts["wrong order"] += said["equal", "first"] in ("better", "worse") or "worse" in said.values()
        far = [pair for pair in said if "much better" in pair]
        counts["false equivalence"] += any(said[pair] == "equivalent" for pair in far)
        counts["much"] += all(said[pair] == "better" for pair in far)
        counts["equivalent"] += said["equal", "first"] == "equivalent"
        counts["slight decided"] += said["first", "slightly better"] == "better"
    return counts


@pytest.mark.parametrize("studies", [120, pytest.param(1500, marks=pytest.mark.slow)], ids=["fast", "long"])
def test_error_rates_of_the_page(studies):
    """False claims at most 5 % family-wise; the large difference always found; equal methods usually called
    equivalent.
    """
    counts = verdicts(studies, 0)
    for error in ("wrong order", "false equivalence"):
        p = stats.binomtest(counts[error], studies, 0.05, alternative="greater").pvalue
        assert p > 1e-4, (error, counts)
    assert counts["much"] == studies
    assert counts["equivalent"] > 0.8 * studies
    assert counts["slight decided"] < 0.9 * studies  # a difference below the noise is mostly left open


def test_the_headline_of_two_rows_names_the_other():
    runs = drawn(np.random.default_rng(0))
    two = rank(runs[runs["row"].isin(["first", "much better"])], BOARD, {})
    assert headline(two) == "much better is better than first."


def test_the_page_says_equivalent_undecided_and_better(tmp_path):
    entries = [Entry(n, g, sd=0.012) for n, g in GAINS.items()]
    study = Study(entries, seeds=range(6), examples=0, attacks=(), shared_sd=0.03, rng=3)
    folder = make_synthetic(tmp_path / "results", study, compact=True)
    board = tmp_path / "known.yaml"
    board.write_text("title: Known truth\nmargin: 0.02\n")
    text = build(folder, tmp_path / "page.html", leaderboard=board).read_text(encoding="utf-8")
    assert "much better is better than all 3 other rows." in text
    assert "much better is better than first:" in text
    assert "are equivalent within 2.0 points: their difference" in text
    found = analyse(folder, board)
    assert found.ranking.pair("much better", "equal").verdict == "better"
    assert found.ranking.pair("first", "equal").verdict in ("equivalent", "undecided")


def standing(found, row):
    return next(s for s in found.ranking.standings if s.row == row)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return analyse(make_synthetic(tmp_path_factory.mktemp("default"), default_study(), compact=True))


def test_rows_that_differ_are_apart_with_the_reason(default):
    assert not standing(default, "mezo 1200").ranked
    assert "1200 forward passes instead of 600 forward passes" in standing(default, "mezo 1200").reasons[0]
    assert any("without seed 1" in r for r in standing(default, "broken").reasons)
    assert {s.row for s in default.ranking.ranked} == {"fzoo", "mezo", "zo-adam", "conmezo"}


@pytest.mark.parametrize("same", [(), ("budget_forwards",)])
@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 2)])
def test_rows_with_other_seeds_are_never_paired(tmp_path, same, seeds):
    entries = [Entry("a", 0.05), Entry("b", 0.02), Entry("c", 0.2, seeds=seeds)]
    study = Study(entries, tasks={"sentiment": 0.7}, seeds=(0, 1, 3), steps=3, points=2)
    folder = make_synthetic(tmp_path, study)
    ranking = analyse([folder], Leaderboard(title="t", same=same)).ranking
    assert [s.row for s in ranking.ranked] == ["a", "b"]
    (apart,) = [s for s in ranking.standings if not s.ranked]
    assert "different seeds on sentiment" in apart.reasons[0]


def test_controls_are_shown_and_not_ranked(default):
    for name in ("zero-shot", "in-context", "first-order AdamW", "mezo shuffled labels"):
        s = standing(default, name)
        assert not s.ranked
        assert s.rank is None
        assert s.interval is not None


def test_a_baseline_of_one_task_is_compared_on_that_task():
    """A mean over one task is no difference to a mean over three."""
    runs = drawn(np.random.default_rng(0), seeds=2)
    runs["value"] = runs["label"].map({"t0": 0.9, "t1": 0.5, "t2": 0.4})
    part = runs[(runs["row"] == "first") & (runs["label"] == "t0")].assign(
        row="zero-shot", group="control", value=0.8
    )
    whole = runs[runs["row"] == "first"].assign(row="adamw", group="control", value=0.7)
    ranking = rank(pd.concat([runs, part, whole]), BOARD, {})
    flags = {s.row: s.flags for s in ranking.standings if not s.ranked}
    assert flags == {"zero-shot": ("mean over t0 alone",), "adamw": ()}
    best = ranking.ranked[0].row
    assert controls(ranking) == (
        f"zero-shot: 80.0 % on t0 alone (10.0 points below {best} there).",
        f"adamw: 70.0 % (10.0 points above {best}).",
    )


def test_diverged_run_counts_as_chance_and_says_so(default):
    s = standing(default, "conmezo")
    assert s.flags == ("diverged: counted as chance (1 of 9 runs)",)
    assert default.runs.query("row == 'conmezo' and status == 'diverged'")["value"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"git_dirty": True}, "uncommitted changes"),
        ({"git_commit": "f" * 40}, "different code: 0.1.0 ffffffffff"),
        ({"data_digest": "0" * 64}, "different data: 00000000 instead of"),
        ({"model_digest": "sha256:" + "cd" * 32}, "different model weights: cdcdcdcd instead of abababab"),
        ({"batch_size": 32}, "different batch size: 32 instead of 16"),
    ],
)
def test_every_difference_is_named(tmp_path, fields, reason):
    entries = [Entry("a"), Entry("b"), Entry("other", 0.3, fields=fields)]
    folder = make_synthetic(tmp_path, Study(entries, examples=0, attacks=()), compact=True)
    found = analyse(folder)
    assert not standing(found, "other").ranked
    assert any(reason in r for r in standing(found, "other").reasons)
    assert {s.row for s in found.ranking.ranked} == {"a", "b"}


def test_a_leaderboard_across_commits_ranks_other_code_and_names_it(tmp_path):
    commits = {"other": "f" * 40, "installed": None}
    others = [Entry(name, 0.3, fields={"git_commit": commit}) for name, commit in commits.items()]
    study = Study([Entry("a"), Entry("b"), *others], examples=0, attacks=())
    folder = make_synthetic(tmp_path, study, compact=True)
    found = analyse(folder, "across-commits")
    assert {s.row for s in found.ranking.ranked} == {"a", "b", "other", "installed"}
    told = (
        "Made with different code: 0.1.0 0123456789 (a and b); 0.1.0 ffffffffff (other); "
        "0.1.0 without a commit (installed)."
    )
    assert told in warnings(found.ranking, found.runs)
    assert not [w for w in warnings(analyse(folder).ranking, found.runs) if "different code" in w]


def had(how, trials=0):
    search = {"tuning": {"trials": [{}] * trials, "seeds": [1, 2]}} if trials else {}
    return {"environment": json.dumps({"parameters_from": how, **search})}


def test_rulesets_rank_only_rows_that_were_had_by_the_rule(tmp_path):
    entries = [
        Entry("tuned", fields=had("tuning", 8)),
        Entry("also tuned", fields=had("tuning", 8)),
        Entry("tuned harder", 0.1, fields=had("tuning", 80)),
        Entry("by hand", 0.2, fields=had("suite")),
        Entry("as it ships", fields=had("defaults")),
        Entry("zero-shot", -0.2, "control"),
    ]
    folder = make_synthetic(tmp_path, Study(entries, examples=0, attacks=()), compact=True)
    tuned = analyse(folder, "tuned")
    assert {s.row for s in tuned.ranking.ranked} == {"tuned", "also tuned"}
    reasons = {s.row: s.reasons for s in tuned.ranking.standings if s.reasons}
    assert reasons["tuned harder"] == ("tuned with 80 trials on 2 seeds instead of 8 trials on 2 seeds",)
    assert reasons["by hand"] == ("parameters were given in the suite: not under the tuned rules",)
    assert set(reasons) == {"tuned harder", "by hand", "as it ships"}
    shipped = analyse(folder, "self-tuned")
    assert {s.row for s in shipped.ranking.ranked} == {"as it ships"}
    # the open board takes parameters from anywhere, but not from a longer search than the others had
    standings = analyse(folder).ranking.standings
    assert {s.row for s in standings if s.ranked} == {"tuned", "also tuned", "by hand", "as it ships"}
    apart = {s.row: s.reasons for s in standings if s.reasons}
    assert apart == {"tuned harder": ("tuned with 80 trials on 2 seeds instead of 8 trials on 2 seeds",)}


def test_all_dirty_is_a_warning_for_the_whole_page(tmp_path):
    entries = [Entry("a", fields={"git_dirty": True}), Entry("b", fields={"git_dirty": True})]
    folder = make_synthetic(tmp_path, Study(entries, examples=0, attacks=()), compact=True)
    text = build(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "so the code cannot be checked" in text
    assert len(analyse(folder).ranking.ranked) == 2


@pytest.mark.parametrize(
    "study",
    [
        Study([Entry("alone")], examples=0, attacks=()),
        Study([Entry("a"), Entry("b")], seeds=(0,), tasks={"t": 0.7}),
        Study([Entry("zero-shot", group="control", fields={"budget_forwards": 0})], attacks=(), examples=5),
        Study(
            [Entry("a", status=dict.fromkeys([("t", 0), ("t", 1)], "failed")), Entry("b")],
            tasks={"t": 0.7},
            seeds=(0, 1),
        ),
        Study(
            [Entry("a", fields={"chance": None, "note": None, "git_commit": None, "git_dirty": None})],
            examples=0,
            attacks=(),
        ),
    ],
    ids=["one row", "one seed", "only controls", "all runs of a row failed", "nothing known"],
)
@pytest.mark.parametrize("board", ["fewshot", "forwards-to-target", "memory", "robustness"])
def test_small_studies_give_a_page(tmp_path, study, board):
    folder = make_synthetic(tmp_path / "results", study, compact=True)
    path = build(folder, tmp_path / "page.html", leaderboard=board)
    assert path.stat().st_size > 10_000


def test_the_same_results_twice_are_read_once(tmp_path):
    study = Study([Entry("a"), Entry("b", 0.1)], examples=0, attacks=())
    one = make_synthetic(tmp_path / "one", study, compact=True)
    two = make_synthetic(tmp_path / "two", study)
    merged = analyse([one, two])
    assert len(merged.runs) == len(analyse(one).runs)
    assert merged.ranking.values["a"].keys() == analyse(two).ranking.values["a"].keys()


def test_two_machines_are_merged(tmp_path):
    one = make_synthetic(tmp_path / "one", Study([Entry("a")], examples=0, attacks=()), compact=True)
    two = make_synthetic(tmp_path / "two", Study([Entry("b", 0.1)], examples=0, attacks=()), compact=True)
    found = analyse([one, two])
    assert [s.row for s in found.ranking.ranked] == ["b", "a"]


def test_no_results_is_an_error(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="no finished run"):
        build(tmp_path, tmp_path / "page.html")


def test_the_headline_says_of_whom_the_best_mean_is_no_better():
    """Equal rows: equivalent with many seeds of little noise, undecided with few of much."""
    for sd, seeds, word in ((0.002, 8, "equivalent to"), (0.05, 3, "undecided against")):
        runs = drawn(np.random.default_rng(1), seeds=seeds, sd=sd)
        told = headline(rank(runs[runs["row"].isin(["first", "equal"])], BOARD, {}))
        assert re.fullmatch(rf"(first|equal) has the best mean, but is {word} (first|equal)\.", told)
