"""The robustness section on records written by hand: tests, curves, pairs, shares, cases."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from zobench.attack_card import AttackCard, Column, Table, from_json, to_json
from zobench.metrics.intervals import wilson
from zobench.report import robustness
from zobench.report.analysis import analyse
from zobench.report.build import build, html
from zobench.report.leaderboard import Score
from zobench.report.lines import Line, chart
from zobench.report.robust_tests import interval
from zobench.report.scores import final_metric
from zobench.report.tables import ranking_rows
from zobench.store.writer import RunFolder

HOSTILE = "<img src=x onerror=window.hit=1>"
RIGHT = {
    # condition -> kind -> what is right after, per example, for each seed; clean, examples 0 to 3 are right
    "paired-no-number": {"attack": ["11010", "11110"], "null": ["11110", "11110"]},
    "paired-number": {"attack": ["10010", "00110"], "null": ["11110", "11100"]},
    "paired-number 3": {"attack": ["00010", "00010"], "null": ["11110", "11110"]},
}
CLEAN = "11110"
PARAMS = {
    "paired-no-number": {"arm": "paired-no-number", "sentences": 1},
    "paired-number": {"arm": "paired-number", "sentences": 1},
    "paired-number 3": {"arm": "paired-number", "sentences": 3},
}


def example(condition, kind, i, after):
    right, clean = after == "1", CLEAN[i] == "1"
    edits = [
        {"source": HOSTILE, "position": p, "part_of_speech": "", "before": "", "after": "x"} for p in (0, 1)
    ]
    return {
        "forwards": 40, "task": "problems", "condition_kind": kind, "condition": condition,
        "attack": "irrelevant-sentence", "example_id": f"e{i}", "field": "question",
        "outcome": "skipped" if not clean else "failure" if right else "success",
        "original": f"one two three {HOSTILE}", "edited": f"one two three {HOSTILE} more", "gold": "1",
        "clean_output": "1", "final_output": HOSTILE, "clean_correct": clean, "final_correct": right,
        "queries": 2, "changed_words": 1, "edits": edits if clean else [], "source": "s", "position": 1,
    }  # fmt: skip


def metric(seed, name, value, kind="attack", condition="", at=None, params=None, final=True):
    body = {**(params or {}), **({} if at is None else {"at": at})}
    strength = None if params is None else float(params["sentences"])
    return {
        "step": 1, "forwards": 40 if at is None else at, "tokens": 1, "seconds": 1.0, "task": "problems",
        "split": "test", "condition_kind": kind, "condition": condition, "metric": name, "value": value,
        "n": 5, "final": final, "params": json.dumps(body), "strength": strength,
    }  # fmt: skip


def run_tables(row, seed):
    run_id = f"{row}{seed}"
    rows = [metric(seed, "accuracy", 0.8, kind="clean", at=at, final=at == 40) for at in (0, 40)]
    radii = {"certified_accuracy_at_0.5": 0.4 + 0.2 * seed, "certified_accuracy_at_1": 0.1}
    votes = {"defence_success_at_2": 0.25, "defence_success_at_10": 0.05}
    rows += [metric(seed, name, value, kind="clean") for name, value in {**radii, **votes}.items()]
    attacks = []
    for condition, kinds in RIGHT.items():
        params = {**PARAMS[condition], "attack": "irrelevant-sentence", "intensity": "sentences"}
        for kind, texts in kinds.items():
            mine = [example(condition, kind, i, c) for i, c in enumerate(texts[seed])]
            attacks += mine
            won = sum(r["outcome"] == "success" for r in mine)
            about = {"kind": kind, "condition": condition, "params": params}
            rows += [metric(seed, "accuracy", texts[seed].count("1") / 5, **about)]
            rows += [metric(seed, "success_rate", won / 4, **about)]
            answers = {"strict_accuracy_before": 0.7, "tokens_before": 25.0, "tokens_after": 20.5 + seed}
            rows += [metric(seed, name, value, **about) for name, value in answers.items()]
            rows += [metric(seed, "queries_total", 9.0, **about), metric(seed, "cache_hits", 2.0, **about)]
        if condition == "paired-number":
            about = {"condition": condition, "params": params}
            rows.append(metric(seed, "accuracy", 0.2 + 0.2 * seed, at=0, final=False, **about))
            rows.append(metric(seed, "count:question+data-kept", 3.0, condition="missing-question"))
    about = {
        "run_id": run_id, "row": row, "group": "method", "purpose": "result", "status": "done", "seed": seed,
        "suite": "robust", "task": "problems", "task_params": "{}", "task_kind": "generation",
        "model": "nano",
        "primary_metric": "accuracy", "method": "mezo", "method_params": "{}", "budget_forwards": 40,
        "batch_size": 8, "forwards": 40, "steps": 20, "spec": "{}", "environment": "{}", "dtype": "float32",
        "space": "{}", "data_digest": f"d{seed}", "model_digest": "m", "git_commit": "c", "git_dirty": False,
    }  # fmt: skip
    tables = {"runs": [about], "metrics": rows, "attacks": attacks}
    return {name: [{**r, "run_id": run_id} for r in listed] for name, listed in tables.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust")
    for row in ("mezo", "fzoo"):
        for seed in (0, 1):
            run = RunFolder(folder / "runs" / f"{row}{seed}")
            run.path.mkdir(parents=True)
            run.finish("done", run_tables(row, seed))
    return analyse(folder, "robustness")


@pytest.fixture(scope="module")
def section(found):
    return robustness.collect(found.source, found.ranking)


def one(cells, **wanted):
    [cell] = [c for c in cells if all(c[k] == v for k, v in wanted.items())]
    return cell


def test_before_after_and_null_are_tested_on_the_same_examples(section):
    cell = one(section["measured"], row="mezo", condition="paired-number")
    assert cell["lost"] == 4
    assert cell["drop_ci"].value == pytest.approx(0.4)
    assert cell["drop_ci"].low <= 0.4 <= cell["drop_ci"].high
    assert cell["p"] == 0.5
    assert cell["discordant"] == (4, 1)
    assert cell["null_gap"].value == pytest.approx(0.3)
    assert cell["success_rate"] == pytest.approx(0.5)
    assert cell["null_success_rate"] == pytest.approx(0.125)
    assert (cell["queries_total"], cell["cache_hits"]) == (18, 4)
    assert cell["pdr"] is None
    assert len(section["measured"]) == 6


def test_the_number_costs_what_the_pairs_say(section):
    (part,) = section["contrasts"]
    assert part["contrast"].name == "numbers"
    cell = one(part["lines"], row="fzoo")
    assert (cell["first"], cell["second"], cell["n"], cell["seeds"]) == (
        "paired-no-number",
        "paired-number",
        10,
        2,
    )
    assert cell["accuracy_first"] == pytest.approx(0.7)
    assert cell["accuracy_second"] == pytest.approx(0.4)
    assert cell["gap"].value == pytest.approx(0.3)
    assert cell["gap"].method == "two-stage bootstrap over seeds and examples"
    assert cell["discordant"] == (3, 0)


def test_curves_and_intensity_hold_every_point(section):
    [task] = section["along"]
    assert [c["name"] for c in task["charts"]] == ["clean", "paired-number"]
    assert "fzoo: 30.0 at 0, 40.0 at 40; mezo: 30.0 at 0, 40.0 at 40" in str(task["charts"][1]["svg"])
    assert "mezo: 80.0 at 0, 80.0 at 40" in str(task["charts"][0]["svg"])
    [family] = section["intensity"]
    assert "by sentences" in family["name"]
    assert "mezo: 40.0 at 1, 20.0 at 3" in str(family["svg"])


def test_shares_count_every_edit_that_stands_in_a_winning_text(section):
    cell = one(section["shares"], condition="paired-number", by="source")
    assert cell["total"] == 16
    assert cell["cells"] == [{"key": HOSTILE, "count": 16, "ci": wilson(16, 16)}]
    places = one(section["shares"], condition="paired-number", by="position")
    assert [(c["key"], c["count"]) for c in places["cells"]] == [("sentence 1", 8), ("sentence 2", 8)]


def test_certificates_are_drawn_from_radius_nought_on(section):
    radius, vote = section["certified"]
    assert "radius" in radius["name"]
    assert "mezo: 80.0 at 0, 50.0 at 0.5, 10.0 at 1" in str(radius["svg"])
    assert "mezo: 25.0 at 2, 5.0 at 10" in str(vote["svg"])


def test_cases_are_summed_in_results_from_before_runs_carried_cards(section):
    (part,) = section["tables"]
    assert part["table"].title == "Cases"
    assert [(c["condition"], c["key"], c["values"]) for c in part["lines"]] == [
        ("missing-question", "question+data-kept", [12.0])
    ]


def test_an_attack_is_shown_as_the_card_in_its_run_says(tmp_path):
    table = Table("t", f"Loud {HOSTILE}", "How loud.", (Column("loud", "Peak", "number"),), key="Channel")
    card = AttackCard(position="option", tables=(table,))
    for row in ("mezo", "fzoo"):
        tables = run_tables(row, 0)
        tables["runs"][0]["attack_cards"] = to_json({"paired-number": card})
        about = {
            "condition": "paired-number",
            "params": {**PARAMS["paired-number"], "attack": "irrelevant-sentence"},
        }
        told = [metric(0, f"loud:{c}", 0.2512345, **about) for c in ("left", HOSTILE)]
        told.append(metric(0, "loud:null", 9.0, kind="null", **about))
        tables["metrics"] += [{**r, "run_id": f"{row}0"} for r in told]
        run = RunFolder(tmp_path / "runs" / f"{row}0")
        run.path.mkdir(parents=True)
        run.finish("done", tables)
    found = analyse(tmp_path, "robustness")
    section = robustness.collect(found.source, found.ranking)
    assert section["contrasts"] == [], "the card says nothing of contrasts"
    (part,) = section["tables"]
    assert part["table"] == table
    rows = [s.row for s in found.ranking.standings]
    assert [(c["row"], c["key"], c["values"]) for c in part["lines"]] == [
        (row, key, [0.2512345]) for row in rows for key in (HOSTILE, "left")
    ]
    places = one(section["shares"], condition="paired-number", by="position")
    assert {c["key"] for c in places["cells"]} == {"option 1", "option 2"}
    text = html(found)
    assert ">Peak</th>" in text
    assert '<td class="num" data-sort="0.2512345">0.251</td>' in text, "rounded for the eye alone"
    assert HOSTILE not in text.split('<script type="application/json"')[0]


def test_what_keeps_no_answer_is_no_robust_accuracy(tmp_path):
    for row, cards in (("mezo", {"paired-number 3": AttackCard(keeps_answer=False)}), ("fzoo", {})):
        tables = run_tables(row, 0)
        tables["runs"][0]["attack_cards"] = to_json({c: cards.get(c, AttackCard()) for c in RIGHT})
        run = RunFolder(tmp_path / "runs" / f"{row}0")
        run.path.mkdir(parents=True)
        run.finish("done", tables)
    found = analyse(tmp_path, "robustness")
    kept = found.attacks.set_index(["row", "condition"])["keeps_answer"]
    assert not kept["mezo", "paired-number 3"]
    assert kept["fzoo", "paired-number 3"]
    worst = {r["row"]: r["robust"] for r in ranking_rows(found.ranking, found.runs, found.attacks)}
    assert worst == {"mezo": pytest.approx(0.4), "fzoo": pytest.approx(0.2)}
    scored = found.runs.set_index("row")["value"]
    assert scored.to_dict() == worst, "the shipped board goes by the card too"
    named = Score(kind="attack", reduce="worst", without=("irrelevant-sentence",))
    assert final_metric(found.source, named, True).empty, "names of the catalogue, not of the suite"


def test_a_card_that_cannot_be_read_is_none():
    assert from_json("{") == {}
    assert from_json('{"a": {"position": 3}}') == {}
    assert from_json('{"a": {"position": "word", "later": 1}}') == {"a": AttackCard()}


def test_the_page_shows_it_and_escapes_it(found):
    text = html(found)
    for heading in (
        "Before and after",
        "Robust accuracy during training",
        "Numbers against no numbers",
        "Intensity",
        "Certified defences",
    ):
        assert f"<h3>{heading}</h3>" in text
    assert HOSTILE not in text
    assert "&lt;img src=x" in text


def test_both_verdicts_and_answer_lengths_are_shown_unasked(found):
    text = html(found)
    table = text[text.index('id="t-asked"') :]
    head = re.findall(r"<th[^>]*>[^<]*</th>", table[: table.index("</thead>")])
    names = ("Robust after", "Strict before", "Similarity", "Answer tokens before", "Length ratio")
    shown = [h for h in head if "data-hidden" not in h]
    assert all(any(f">{name}<" in h for h in shown) for name in names)
    first = table[table.index("<tbody>") : table.index("</tr>", table.index("<tbody>"))]
    cells = [c.strip() for c in re.findall(r"<td[^>]*>([^<]*)</td>", first)]
    assert cells[4] == "70.0"
    assert cells[-3:-1] == ["25.0", "21.0"]


def test_results_without_new_columns_still_give_a_page(tmp_path):
    from synthetic import default_study, make_synthetic

    folder = make_synthetic(tmp_path / "old", default_study(), compact=True)
    assert "Before and after" in build(folder, tmp_path / "page").read_text(encoding="utf-8")


def test_a_chart_escapes_names_and_tells_its_numbers():
    svg = str(
        chart([Line(HOSTILE, 0, ((0, 0.25, 0.15, 0.35), (9, 1.0, float("nan"), float("nan"))))], HOSTILE)
    )
    assert HOSTILE not in svg
    assert "25.0 at 0, 100.0 at 9" in svg
    assert svg.count('class="bar s0"') == 1


def test_names_and_ticks_of_a_chart_do_not_collide():
    lines = [
        Line(n, i, ((0, 0.5, 0.5, 0.5), (x, 0.01 * i, 0.01 * i, 0.01 * i)))
        for i, (n, x) in enumerate(zip("abcd", (297, 300, 300, 300), strict=True))
    ]
    svg = str(chart(lines, "t"))
    names = sorted(float(y) for y in re.findall(r'class="name [^"]*" x="[^"]*" y="([^"]*)"', svg))
    assert len(names) == 4
    assert all(b - a >= 11 for a, b in pairwise(names))
    ticks = [float(y) for y in re.findall(r'class="tick" x="[^"]*" y="([^"]*)" text-anchor="middle"', svg)]
    assert max(names) < min(ticks) - 8
    assert ">300<" in svg
    assert ">297<" not in svg


def test_an_interval_of_a_share_stays_within_what_a_share_can_be():
    found = interval([0] * 4 + [1] * 4 + [2] * 4, [1, 1, 1, 1] * 2 + [1, 0, 0, 0])
    assert (found.value, found.high) == (0.75, 1.0)
    assert found.low < 0.75
