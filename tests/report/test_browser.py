"""The page in headless Chromium, opened from disk without network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plotly import graph_objects as go

from zobench.report import leaderboard
from zobench.report.export import write_tables

pytestmark = pytest.mark.browser

SPOIL = """() => {
  document.querySelector("#h-swap").removeAttribute("aria-label");
  document.querySelector("#h-swap").textContent = "";
  document.querySelector(".lede").style.color = "#88888880";
}"""


def column(page, table, index):
    """Texts of a column, hidden rows left out."""
    return page.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])",
        f"rows => rows.map(r => r.cells[{index}].innerText.trim().split('\\n')[0])",
    )


def scroll_through(page):
    height = page.evaluate("document.documentElement.scrollHeight")
    for y in range(0, height, 600):
        page.evaluate(f"window.scrollTo({{top: {y}, behavior: 'instant'}})")
        page.wait_for_timeout(60)


def test_no_error_no_request_and_every_chart_drawn(page_file, open_page):
    seen = open_page(page_file)
    scroll_through(seen.page)
    seen.page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 4")
    for chart, least in (("c-plot", 5), ("p-plot", 1), ("h-plot", 2)):
        assert seen.page.locator(f"#{chart} .scatterlayer .trace").count() >= least, chart
    assert seen.page.locator("#ranking svg.cd").count() == 1
    assert seen.problems == []
    assert seen.requests == []


def test_every_chart_is_a_figure_of_the_plotly_package(page_file, open_page):
    """plotly.js passes over names it does not know; its Python package refuses them."""
    page = open_page(page_file).page
    scroll_through(page)
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 4")
    figures = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(({data, layout}) => ({data, layout}))"
    )
    for figure in figures:
        assert {trace.type for trace in go.Figure(figure).data} == {"scatter"}, "what the bundle can draw"
    with pytest.raises(ValueError, match="Invalid property"):
        go.Figure({**figures[0], "layout": {"x_axis": {}}})


def test_table_sorts_by_click_and_by_keyboard(page_file, open_page):
    page = open_page(page_file).page
    head = page.locator("#t-ranking th[data-key=mean] button")
    head.click()
    values = [float(v) for v in column(page, "t-ranking", 3) if v != "–"]
    assert values == sorted(values)
    assert page.locator("#t-ranking th[data-key=mean]").get_attribute("aria-sort") == "ascending"
    head.focus()
    page.keyboard.press("Enter")
    values = [float(v) for v in column(page, "t-ranking", 3) if v != "–"]
    assert values == sorted(values, reverse=True)


def test_search_columns_and_csv(page_file, open_page):
    page = open_page(page_file).page
    page.fill("#ranking input[type=search]", "mezo")
    names = column(page, "t-ranking", 1)
    assert names
    assert all("mezo" in n for n in names)
    assert not page.locator("#t-ranking th[data-key=tokens]").is_visible()
    page.click("#ranking summary")
    page.locator("#ranking details label", has_text="Tokens").locator("input").check()
    assert page.locator("#t-ranking th[data-key=tokens]").is_visible()
    with page.expect_download() as saved:
        page.click("#ranking button[aria-label='Save ranking as CSV']")
    text = saved.value.path().read_text()
    assert text.startswith("rank,row,ties,mean")
    assert len(text.strip().splitlines()) == 1 + len(names)


@pytest.mark.parametrize("table", ["ranking", "robustness", "time-to-target", "runs"])
def test_the_exported_table_is_the_saved_one(page_file, results, open_page, tmp_path, table):
    """``zobench export --tables`` gives what the page saves as CSV when all its columns are shown."""
    page = open_page(page_file).page
    page.evaluate("document.querySelectorAll('.tools details input:not(:checked)').forEach((b) => b.click())")
    with page.expect_download() as saved:
        page.click(f"button[aria-label='Save {table} as CSV']")
    csv = pd.read_csv(saved.value.path(), na_values=["–"])
    parquet = pd.read_parquet(next(p for p in write_tables(results, tmp_path) if p.stem == table))
    assert list(parquet.columns) == list(csv.columns)
    assert len(parquet) == len(csv) > 0
    numeric = [c for c in parquet.columns if parquet[c].dtype == np.float64]
    assert numeric
    for name in parquet.columns:
        if name in numeric:
            assert parquet[name].tolist() == pytest.approx(csv[name].astype(float).tolist(), nan_ok=True)
        else:
            assert parquet[name].fillna("").tolist() == csv[name].fillna("").astype(str).tolist()
    if table == "ranking":
        assert parquet.loc[parquet["row"] == "zero-shot", "rank"].isna().all()


def test_link_restores_the_view(page_file, open_page):
    first = open_page(page_file).page
    first.click("#t-ranking th[data-key=row] button")
    first.fill("#ranking input[type=search]", "o")
    first.select_option("#c-axis", "2")
    first.check("#c-logx")
    first.click("#c-rows button >> nth=1")
    first.select_option("#h-b", "2")
    fragment = first.evaluate("location.hash")
    second = open_page(page_file, fragment).page
    assert column(second, "t-ranking", 1) == column(first, "t-ranking", 1)
    assert second.input_value("#c-axis") == "2"
    assert second.is_checked("#c-logx")
    assert second.get_attribute("#c-rows button >> nth=1", "aria-pressed") == "false"
    assert second.inner_text("#h-text") == first.inner_text("#h-text")


def test_methods_switch_off_and_the_target_reads_out(page_file, open_page):
    seen = open_page(page_file)
    page = seen.page
    page.locator("#c-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#c-plot .scatterlayer .trace")
    before = page.locator("#c-plot .scatterlayer .trace").count()
    page.click("#c-rows button >> nth=0")
    assert page.locator("#c-plot .scatterlayer .trace").count() < before
    page.fill("#c-target", "70")
    page.wait_for_selector("#t-target")
    reads = dict(zip(column(page, "t-target", 0), column(page, "t-target", 1), strict=True))
    assert reads["mezo"].isdigit()
    assert reads["mezo shuffled labels"].startswith("not within")
    assert seen.problems == []


def test_theme_switch(page_file, open_page):
    page = open_page(page_file, scheme="dark").page
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("width", [390, 320])
def test_phone_width_has_no_horizontal_scroll(page_file, open_page, width):
    seen = open_page(page_file, width=width)
    scroll_through(seen.page)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.problems == []


def test_run_page_opens_closes_and_has_a_link(page_file, open_page):
    seen = open_page(page_file)
    page = seen.page
    page.locator(".run-link").first.click()
    assert page.locator("#run h2").inner_text().startswith("fzoo on ")
    assert "zobench run suites/fewshot.yaml" in page.locator("#run pre").first.inner_text()
    page.wait_for_selector("#run .scatterlayer .trace")
    fragment = page.evaluate("location.hash")
    assert "run=" in fragment
    page.keyboard.press("Escape")
    assert not page.locator("#run").is_visible()
    again = open_page(page_file, fragment)
    assert again.page.locator("#run h2").inner_text().startswith("fzoo on ")
    assert seen.problems + again.problems == []


def test_head_to_head_counts_examples(page_file, open_page):
    page = open_page(page_file).page
    text = page.inner_text("#h-text")
    assert "fzoo" in text
    assert "after Holm" in text
    only_a = int(page.inner_text("#h-examples p").split(":")[1].split(".")[0])
    right = page.eval_on_selector_all(
        "#t-examples tbody tr", "rows => rows.filter(r => r.cells[5].className === 'good').length"
    )
    assert 0 < right <= only_a
    page.click("#h-swap")
    assert page.inner_text("#h-text") != text


AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_names_roles_headings_and_contrast(page_file, open_page, scheme):
    """Hand-written audit beside axe-core's: contrast over every layer, doubled ids, skipped headings."""
    page = open_page(page_file, scheme=scheme).page
    assert page.evaluate(AUDIT) == []
    page.evaluate(SPOIL)
    found = " ".join(page.evaluate(AUDIT))
    assert "no name" in found
    assert "contrast" in found


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(390, "light", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(page_file, open_page, width, scheme):
    """axe-core, every rule of WCAG 2.0 to 2.2 A and AA and its best practices, with every chart drawn and
    then with a run's dialog open; a spoiled page is found out."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    source = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page = open_page(page_file, width=width, scheme=scheme).page
    scroll_through(page)
    page.evaluate(source)
    assert violations(page) == []
    page.locator(".run-link").first.click()
    page.wait_for_selector("#run .scatterlayer .trace")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.evaluate(SPOIL)
    assert {"button-name", "color-contrast"} <= {v.split(":")[0] for v in violations(page)}


def violations(page):
    found = page.evaluate("() => axe.run(document).then((r) => r.violations)")
    return [f"{v['id']}: {n['target']} {n['failureSummary'][:200]}" for v in found for n in v["nodes"]]


def test_curves_against_memory_and_over_some_tasks(page_file, open_page):
    seen = open_page(page_file)
    page = seen.page
    page.select_option("#c-axis", "3")
    page.locator("#c-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#c-plot .scatterlayer .trace", state="attached")
    drawn = page.evaluate("find('c-plot').data.map((t) => [t.name, t.x[0], t.y[0]])")
    assert len(drawn) == page.evaluate("DATA.rows.filter((r, i) => memoryPoint(i)).length") >= 5
    # the synthetic peak is 400 MiB and a MiB for each letter of the row's name
    assert {n: x for n, x, _ in drawn}["fzoo"] == pytest.approx(404)
    # every row has a curve on every task; without one of them, the mean of that row is over the others
    assert page.text_content("#c-partial") == ""
    page.evaluate("DATA.curves = DATA.curves.filter((c) => c.r > 0 || c.b > 0), drawCurves()")
    name, *others = page.evaluate("[DATA.rows[0].name, ...DATA.blocks.slice(1)]")
    assert page.text_content("#c-partial") == f"{name}: mean over {', '.join(others)} alone."
    # a suite that measures at the end alone has no curves, which is said; its controls would choose nothing
    page.evaluate("DATA.curves = [], CURVE.whats = [], drawCurves(), drawPairCurves()")
    assert page.inner_text("#c-plot").startswith("No curves: every metric was measured once")
    page.evaluate("find('c-rows').replaceChildren(), setUpCurves()")
    assert not page.locator("#curve-controls").is_visible()
    assert seen.problems == []


def test_head_to_head_shows_the_tests_of_examples(page_file, open_page):
    page = open_page(page_file).page
    heads = page.eval_on_selector_all("#t-heads thead th", "hs => hs.map(h => h.innerText.trim())")
    assert heads[-4:] == [
        "Only this correct",
        "Only other correct",
        "McNemar p by seed",
        "Interval over seeds and examples",
    ]
    mine = column(page, "t-heads", 6)
    page.click("#h-swap")
    assert column(page, "t-heads", 7) == mine
    assert "sign-flip p" in page.inner_text("#h-text")


def test_profiles_are_drawn_and_follow_the_legend(page_file, open_page):
    page = open_page(page_file).page
    scroll_through(page)
    page.wait_for_selector("#f-scores .scatterlayer .trace", state="attached")
    lines = "find('f-scores').data.filter((t) => t.name).length"
    before = page.evaluate(lines)
    assert before == page.evaluate("DATA.rows.filter((r) => r.kind === 'ranked').length")
    page.click("#c-rows button >> nth=0")
    assert page.evaluate(lines) == before - 1
    assert "9 of 9" in column(page, "t-targets", 1)


def test_focus_is_visible_and_reaches_the_table_from_the_top(page_file, open_page):
    page = open_page(page_file).page
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("document.activeElement.closest('th') ? 'heading' : document.activeElement.tagName")
        )
        width = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert width != "none"
    assert {"A", "BUTTON", "INPUT", "heading"} <= seen


def test_print_hides_controls_and_keeps_tables(page_file, open_page):
    page = open_page(page_file).page
    page.emulate_media(media="print")
    assert not page.locator(".tools").first.is_visible()
    assert page.locator("#t-ranking").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('#runs .scroll')).maxHeight") == "none"


def test_what_rounds_to_zero_has_no_minus(page_file, open_page):
    """In the tables, and in what the scripts draw."""
    board = leaderboard.load("fewshot")
    page = open_page(page_file).page
    for value, signed, text in (
        (-0.0003, True, "+0.0"),
        (-0.0003, False, "0.0"),
        (0.0003, True, "+0.0"),
        (-0.0006, True, "−0.1"),
        (-0.5, False, "−50.0"),
    ):
        assert board.show(value, signed) == text
        assert page.evaluate(f"shown({value}, {str(signed).lower()})") == text
    board = leaderboard.load("proxy")
    page.evaluate("DATA.board.factor = 1; DATA.board.unit = ''; DATA.board.one = false")
    nothing = ((1.4e-17, "+0.000"), (-1.4e-17, "+0.000"))
    for value, text in (*nothing, (0.004, "+0.0040"), (-0.12, "−0.120"), (5e-5, "+5e−5")):
        assert board.show(value, signed=True) == text
        assert page.evaluate(f"shown({value}, true)") == text
