"""Every control of the page, in Chromium: it shows what the results contain, and the link restores its
state."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import Entry, Study, make_synthetic, one_run, write_run

from zobench.report import tables
from zobench.report.analysis import Analysis, analyse
from zobench.report.build import build
from zobench.store.reader import read_run
from zobench.store.writer import RunFolder

pytestmark = pytest.mark.browser

ROWS = ("fzoo", "mezo", "zo-adam")
EDIT = "typo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows and a control on two tasks, attacked along training, with a search and a diagnosed run."""
    target = tmp_path_factory.mktemp("interactions")
    study = Study(
        [
            Entry("fzoo", 0.2, sd=0.01),
            Entry("mezo", 0.02, sd=0.02, fields={"peak_memory_bytes": 300 * 2**20}),
            Entry("zo-adam", 0.0, sd=0.02, fields={"train_seconds": 30.0}),
            Entry("zero-shot", -0.1, "control", fields={"budget_forwards": 0, "forwards": 0}),
        ],
        {"topic": 0.7, "sentiment": 0.72},
        seeds=range(4),
        tuned=("mezo",),
        attacks=(EDIT,),
        shared_sd=0.0,
    )
    make_synthetic(target, study)
    generator = np.random.default_rng(1)
    for entry in study.entries[:3]:
        for task, level in study.tasks.items():
            for seed in study.seeds:
                accuracy = level + entry.gain + float(generator.normal(0, entry.sd))
                made = one_run(study, entry, task, seed, accuracy, generator)
                early = [m for m in made["metrics"] if m["condition_kind"] in ("attack", "null")]
                change: dict[str, Any] = {"forwards": 300, "params": '{"at": 300}', "final": False}
                made["metrics"] += [{**m, **change, "value": m["value"] - 0.1} for m in early]
                write_run(target / "runs", made)
    found = analyse(target).runs
    run_id = str(found[(found["row"] == "fzoo") & (found["seed"] == 0)].iloc[0]["run_id"])
    made = {n: t.to_pylist() for n, t in read_run(target, run_id).items()}
    where = {"split": "train", "condition_kind": "diagnostic", "condition": "gradient-cosine", "final": False}
    like = next(m for m in made["metrics"] if m["condition_kind"] == "clean")
    made["metrics"] += [{**like, **where, "metric": "gradient_cosine", "value": 0.25, "step": 3}]
    RunFolder(target / "runs" / run_id).finish("done", made)
    return target


@pytest.fixture(scope="module")
def analysis(folder: Path) -> Analysis:
    return analyse(folder)


@pytest.fixture(scope="module")
def page_of(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(folder, tmp_path_factory.mktemp("page"))


def drawn(page: Any, chart: str) -> None:
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{chart} .scatterlayer .trace", state="attached")


def data_of(page: Any, chart: str) -> list[dict[str, Any]]:
    """Name, x and y of a chart's traces, fills left out."""
    pick = "t => ({name: t.name, x: Array.from(t.x), y: Array.from(t.y), mode: t.mode})"
    return list(page.evaluate(f"find('{chart}').data.filter((t) => t.fill !== 'toself').map({pick})"))


END = "innerHeight + scrollY >= document.documentElement.scrollHeight - 2"


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids the eval that playwright would poll with."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def again(open_page: Any, page: Any, path: Path) -> Any:
    """The same view in another browser, from the link alone."""
    return open_page(path, page.evaluate("location.hash")).page


def test_curves_on_every_axis_linear_and_logarithmic(page_of, analysis, open_page):
    """Accuracy, loss and robust accuracy against forwards, tokens, seconds; bands; log axes; one task."""
    seen = open_page(page_of)
    page = seen.page
    drawn(page, "c-plot")
    bands = page.evaluate("find('c-plot').data.filter((t) => t.fill === 'toself').length")
    assert bands == len(analysis.ranking.ranked) == 3
    for axis, unit in (("0", 1.0), ("1", 480.0), ("2", 0.02)):
        page.select_option("#c-axis", axis)
        (mezo,) = [t for t in data_of(page, "c-plot") if t["name"] == "mezo"]
        assert mezo["x"] == pytest.approx([unit * f for f in range(0, 601, 100)])
    page.select_option("#c-axis", "0")
    page.check("#c-logx")
    page.check("#c-logy")
    kinds = page.evaluate("[find('c-plot').layout.xaxis.type, find('c-plot').layout.yaxis.type]")
    assert kinds == ["log", "log"]
    labels = page.eval_on_selector_all("#c-metric option", "os => os.map((o) => o.textContent)")
    assert {"test accuracy", "test nll", "training loss", f"accuracy under {EDIT}"} <= set(labels)
    page.select_option("#c-metric", label=f"accuracy under {EDIT}")
    page.select_option("#c-task", label="topic")
    (mezo,) = [t for t in data_of(page, "c-plot") if t["name"] == "mezo"]
    finals = analysis.source.finals
    mine = finals[
        (finals["row"] == "mezo") & (finals["measured"] == "topic") & (finals["metric"] == "accuracy")
    ]
    robust = 100 * mine[mine["condition_kind"] == "attack"]["value"].mean()
    assert mezo["x"] == [300, 600]
    assert mezo["y"] == pytest.approx([robust - 10, robust], abs=0.01)
    other = again(open_page, page, page_of)
    drawn(other, "c-plot")
    assert data_of(other, "c-plot") == data_of(page, "c-plot")
    assert other.is_checked("#c-logy")
    page.select_option("#c-metric", label="training loss")
    assert min(t["y"][-1] for t in data_of(page, "c-plot")) < 0.6
    assert seen.problems == []


def test_target_reads_out_the_first_measured_point_on_the_axis_shown(page_of, open_page):
    page = open_page(page_of).page
    drawn(page, "c-plot")
    for axis, unit in (("0", 1.0), ("1", 480.0)):
        page.select_option("#c-axis", axis)
        page.fill("#c-target", "70")
        read = page.evaluate("""[...document.querySelectorAll('#t-target tbody tr')].map(
          (r) => [r.cells[0].innerText.trim(), Number(r.cells[1].dataset.sort)])""")
        for name, at in read:
            (curve,) = [t for t in data_of(page, "c-plot") if t["name"] == name]
            met = [x for x, y in zip(curve["x"], curve["y"], strict=True) if y >= 70]
            assert at == pytest.approx(min(met) if met else curve["x"][-1] * 1e6)
        assert {n for n, _ in read} >= set(ROWS)
        assert max(t["x"][-1] for t in data_of(page, "c-plot") if t["name"] == "mezo") == 600 * unit


def test_any_two_columns_against_each_other_with_their_front(page_of, analysis, open_page):
    seen = open_page(page_of)
    page = seen.page
    drawn(page, "p-plot")
    offered = page.eval_on_selector_all("#p-x option", "os => os.map((o) => o.value)")
    assert {"mean", "robust", "net", "forwards", "seconds", "memory", "tokens", "tuning"} <= set(offered)
    for x in offered:
        page.select_option("#p-x", x)
        assert len(data_of(page, "p-plot")[1]["x"]) == len(data_of(page, "p-plot")[1]["y"]) > 0, x
    page.select_option("#p-x", "memory")
    page.select_option("#p-y", "robust")
    front, points = data_of(page, "p-plot")
    rows = {r["row"]: r for r in tables.ranking_rows(analysis.ranking, analysis.runs, analysis.attacks)}
    names = page.evaluate("find('p-plot').data[1].text")
    for name, mib, robust in zip(names, points["x"], points["y"], strict=True):
        assert mib == pytest.approx(rows[name]["peak_memory_bytes"] / 2**20)
        assert robust == pytest.approx(100 * rows[name]["robust"])
    ranked = [(m, r) for n, m, r in zip(names, points["x"], points["y"], strict=True) if n in ROWS]
    best = sorted(p for p in ranked if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in ranked))
    assert list(zip(front["x"], front["y"], strict=True)) == best
    page.check("#p-logx")
    assert page.evaluate("find('p-plot').layout.xaxis.type") == "log"
    other = again(open_page, page, page_of)
    drawn(other, "p-plot")
    assert data_of(other, "p-plot") == [front, points]
    assert seen.problems == []


def test_heat_map_marks_what_the_tests_say(page_of, analysis, open_page):
    page = open_page(page_of).page
    said = {(c["row"], b): c for c in tables.heat(analysis.ranking) for b in [c["block"]]}
    assert {c["sure"] for c in said.values()} == {True, False}, "the study has both"
    blocks = list(analysis.ranking.blocks)
    marked = page.evaluate("""[...document.querySelectorAll('#t-heat tbody tr')].map((row) => {
      const [head, ...rest] = row.cells;
      return [head.innerText.trim(), ...rest.map((c) => c.querySelector('.sure') !== null)];
    })""")
    assert len(marked) == 4
    for row, *cells in marked:
        assert cells == [said[row, b]["sure"] for b in blocks], row
    page.click("#t-heat thead th:nth-child(2) button")
    gaps = page.eval_on_selector_all(
        "#t-heat tbody tr", "rs => rs.map((r) => Number(r.cells[1].dataset.sort))"
    )
    assert gaps == sorted(gaps)


def test_tuning_page_has_every_trial_its_sensitivity_and_its_flags(page_of, open_page):
    seen = open_page(page_of)
    page = seen.page
    page.locator("[data-tuning]").first.scroll_into_view_if_needed()
    page.wait_for_selector("[data-tuning] .scatterlayer .trace", state="attached")
    drawn_points, curve = page.evaluate("document.querySelector('[data-tuning]').data")
    assert curve["x"] == sorted(drawn_points["x"])
    assert curve["y"] == [y for _, y in sorted(zip(drawn_points["x"], drawn_points["y"], strict=True))]
    assert sorted(drawn_points["x"]) == pytest.approx([1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    shown = page.evaluate("document.querySelector('[data-tuning]').data[0].error_y.array.length")
    assert shown == 5
    assert page.locator("#t-tuning-0 tbody tr").count() == 5
    assert "best lr = 0.01 lies on the upper edge of its search range" in page.inner_text("#tuning .flag")
    assert "10 runs" not in page.inner_text("#ranking"), "trials are no results"
    page.click("#t-tuning-0 th[data-key=lr] button")
    rates = page.eval_on_selector_all(
        "#t-tuning-0 tbody tr", "rs => rs.map((r) => Number(r.cells[0].innerText))"
    )
    assert rates == sorted(rates)
    assert seen.problems == []


def test_run_page_holds_all_there_is_about_a_run(page_of, analysis, open_page):
    """Curve, facts, measurements, diagnostics, worst edits, replay command, specification, environment."""
    seen = open_page(page_of)
    page = seen.page
    page.locator(".run-link").first.click()
    page.wait_for_selector("#run .scatterlayer .trace")
    heads = page.eval_on_selector_all("#run h3", "hs => hs.map((h) => h.innerText)")
    assert heads == [
        "Final measurements", "Diagnostics", "Worst edits", "Commands", "Specification", "Environment",
    ]  # fmt: skip
    run_id = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('run')")
    run = analysis.runs.set_index("run_id").loc[run_id]
    assert page.inner_text("#run h2") == f"{run['row']} on {run['label']}, seed {run['seed']}"
    names = page.evaluate("[...document.querySelectorAll('#run [role=group]')].map((n) => n.data.length)")
    assert names == [2], "training loss and test curve"
    replay = page.inner_text("#run pre >> nth=0").splitlines()
    assert replay[1].startswith(f"zobench replay {run_id} --results ")
    assert json.loads(page.inner_text("#run pre >> nth=1")) == json.loads(run["spec"])
    assert json.loads(page.inner_text("#run pre >> nth=2")) == json.loads(run["environment"])
    assert "gradient_cosine" in page.inner_text("#t-run-diagnostics")
    assert page.locator("#run .edits ins").count() >= 1
    assert run["weights_digest"] in page.inner_text("#run .facts")
    shown = page.locator("#t-run-metrics tbody tr")
    final = analysis.source.sql(
        f"select metric, split, value from metrics where run_id = '{run_id}' and final "
        "and condition_kind <> 'diagnostic'"
    )
    assert shown.count() == len(final) > 1
    cells = [shown.nth(i).locator("th, td").all_inner_texts() for i in range(len(final))]
    given = sorted(zip(final["metric"], final["split"], final["value"], strict=True))
    found = sorted((c[0], c[1], shown_value(c[3])) for c in cells)
    assert [(*f[:2], pytest.approx(f[2], abs=1e-3)) for f in given if f[0] != "queries"] == [
        f for f in found if f[0] != "queries"
    ]
    assert any(c[3].endswith(" %") for c in cells)
    page.click("#t-run-metrics th[data-key=Value] button")
    assert page.get_attribute("#t-run-metrics th[data-key=Value]", "aria-sort") == "ascending"
    page.click("#run .close")
    assert not page.locator("#run").is_visible()
    assert seen.problems == []


def shown_value(text: str) -> float:
    """A measured number as the page shows it: shares in percent."""
    number = text.replace("−", "-").replace(",", "")
    return float(number[:-2]) / 100 if number.endswith(" %") else float(number)


def shown_rows(page: Any, table: str) -> list[str]:
    script = (
        "rs => rs.filter((r) => !r.hidden).map((r) => r.querySelector('th').firstChild.textContent.trim())"
    )
    return list(page.eval_on_selector_all(f"#{table} tbody tr", script))


def test_filter_by_column_in_the_units_shown(page_of, analysis, open_page):
    page = open_page(page_of).page
    search = "#ranking input[type=search]"
    means = {s.row: 100 * s.interval.value for s in analysis.ranking.standings if s.interval is not None}
    between = (means["mezo"] + means["fzoo"]) / 2
    for query, rows in (
        (f"accuracy>{between:.1f}", {"fzoo"}),
        (f"accuracy<={between:.1f} forwards>=600", {"mezo", "zo-adam"}),
        ("forwards<0.6k", {"zero-shot"}),
        ("row:ZO-", {"zo-adam"}),
        ("seconds>20", {"zo-adam"}),
        ("nothing>20", set()),
        ("ties:x", set()),
    ):
        page.fill(search, query)
        assert set(shown_rows(page, "t-ranking")) == rows, query
    page.fill(search, f"accuracy<={between:.1f} row:mezo")
    with page.expect_download() as saved:
        page.click("button[aria-label='Save ranking as CSV']")
    assert pd.read_csv(io.StringIO(saved.value.path().read_text()))["row"].tolist() == ["mezo"]
    other = again(open_page, page, page_of)
    assert shown_rows(other, "t-ranking") == ["mezo"]


def test_every_table_can_be_searched_cut_and_saved(page_of, open_page):
    """Named, with distinct column keys, tools of its own, and a file whose heading is what is shown."""
    page = open_page(page_of).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = page.evaluate("""[...document.querySelectorAll('main table[data-name]')].map((t) => {
      const all = [...t.tHead.rows[0].cells], key = (h) => h.dataset.key;
      const tools = toolsOf(t).querySelectorAll('input[type=search], button').length;
      return {id: t.id, keys: all.map(key), shown: all.filter((h) => !h.hidden).map(key), tools};
    })""")
    assert {t["id"] for t in found} >= {
        "t-ranking", "t-targets", "t-heat", "t-heads", "t-examples", "t-attacks", "t-robust", "t-asked",
        "t-shares", "t-tuning-0", "t-runs",
    }  # fmt: skip
    for t in found:
        assert all(t["keys"]), t["id"]
        assert len(set(t["keys"])) == len(t["keys"]), t["id"]
        assert t["tools"] == 5, t["id"]
    for name, table in (("robustness-detail", "t-robust"), ("tasks", "t-heat"), ("examples", "t-examples")):
        with page.expect_download() as saved:
            page.click(f"button[aria-label='Save {name} as CSV']")
        text = saved.value.path().read_text()
        (shown,) = [t["shown"] for t in found if t["id"] == table]
        assert pd.read_csv(io.StringIO(text)).columns.tolist() == shown


def test_profiles_have_bands_that_can_be_hidden(page_of, analysis, open_page):
    seen = open_page(page_of)
    page = seen.page
    drawn(page, "f-scores")
    bands = "find('{}').data.filter((t) => t.fill === 'toself').length"
    assert page.evaluate(bands.format("f-scores")) == len(analysis.ranking.ranked)
    corners = page.evaluate("(() => { const t = find('f-scores').data[0]; return [t.x.length, t.y]; })()")
    assert corners[0] == len(corners[1])
    assert min(corners[1]) == 0
    assert max(corners[1]) == 100
    drawn(page, "f-ratios")
    assert page.evaluate(bands.format("f-ratios")) == len(analysis.ranking.ranked)
    page.select_option("#f-bands", label="mezo")
    assert page.evaluate(bands.format("f-scores")) == 1
    other = again(open_page, page, page_of)
    drawn(other, "f-scores")
    assert other.evaluate(bands.format("f-scores")) == 1
    page.select_option("#f-bands", "none")
    assert page.evaluate(bands.format("f-scores")) == 0
    assert seen.problems == []


def test_sections_are_reached_by_their_links_and_by_the_address(page_of, open_page):
    page = open_page(page_of).page
    for name in ("curves", "pairs", "runs"):
        page.click(f"nav a[href='#{name}']")
        until(page, f"Math.abs(find('{name}').getBoundingClientRect().top) < 120 || {END}")
        assert f"at={name}" in page.evaluate("location.hash")
    other = again(open_page, page, page_of)
    until(other, "scrollY > 500")


def test_paper_gets_every_chart_and_light_colours(page_of, open_page):
    """Charts are drawn when they come into view; a page that is printed at once has them too."""
    page = open_page(page_of, scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    until(page, "document.querySelectorAll('.js-plotly-plot').length >= 6")
    ink = "getComputedStyle(document.querySelector('#c-plot .xtitle')).fill"
    assert page.evaluate(ink) == "rgb(27, 29, 33)", "the light theme's ink"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(ink) == "rgb(232, 232, 228)"
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("header.top").is_visible()
