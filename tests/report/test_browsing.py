"""Examples, comparison, filters, copies, links and panels of a page, in Chromium."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.report import edits, examples, page, settings
from zobench.report.analysis import analyse
from zobench.report.build import build

SEARCH = "#ranking input[type=search]"
STATUS = "#ranking .tools [role=status]"


def test_moves_rebuild_the_edited_text():
    before, after = "it earns every 🙂 tear", "it urns each 🙂 tear !"
    moves = edits.moves(edits.parts(before, after))
    out, at = "", 0
    for move in moves:
        if isinstance(move, str):
            out += move
        else:
            out += before[at : at + move] if move > 0 else ""
            at += abs(move)
    assert (out, at) == (after, len(before))


def test_a_class_of_older_results_is_told_by_its_word(tmp_path: Path):
    """Without stored prompts: gold from right answers and class words, texts from attacks."""
    study = Study([Entry("mezo", 0.05)], {"topic": 0.7}, seeds=(0,), examples=10, prompts=False)
    found = analyse(make_synthetic(tmp_path, study))
    told = examples.collect(found.source, found.runs, ["mezo"], list(found.ranking.blocks))
    (block,) = told["blocks"]
    assert [e[2] for e in block["examples"]] == ["bad", "good"] * 5
    assert all(told["texts"][e[3]] in study.texts for e in block["examples"])


def test_texts_of_a_page_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examples, "MOST_TEXT", 60)
    study = Study([Entry("mezo", 0.05)], {"topic": 0.7}, seeds=(0,), examples=10, attacks=())
    found = analyse(make_synthetic(tmp_path, study))
    told = examples.collect(found.source, found.runs, ["mezo"], list(found.ranking.blocks))
    assert sum(map(len, told["texts"])) <= 60
    assert {e[3] for e in told["blocks"][0]["examples"]} == {0, -1}


@pytest.mark.browser
def test_examples_show_prompt_gold_answers_and_edits(page_file: Path, open_page: Any):
    seen = open_page(page_file)
    page = seen.page
    first = page.locator("#e-list li").first
    assert first.locator(".asked").inner_text().endswith("It was ___")
    assert first.locator("dd").first.inner_text() in ("bad", "good")
    page.select_option("#e-what", "char-typos")
    page.select_option("#e-row", label="mezo")
    page.select_option("#e-show", "changed")
    assert page.locator("#e-list li").count() > 0
    for card in page.locator("#e-list li").all()[:5]:
        assert card.locator("ins").count() == 1
        assert card.locator("dd").nth(2).inner_text().startswith("✗")
    assert page.locator("#e-list del").count() > 0
    style = "getComputedStyle(document.querySelector('#e-list {}')).{}"
    assert "line-through" in page.evaluate(style.format("del", "textDecorationLine"))
    assert page.evaluate(style.format("ins", "borderBottomStyle")) == "solid"
    again = open_page(page_file, page.evaluate("location.hash")).page
    assert again.inner_text("#e-list") == page.inner_text("#e-list")
    page.fill("#e-find", "no such text")
    assert page.inner_text("#e-count").startswith("No example matches")
    assert seen.problems == []


@pytest.mark.browser
def test_filters_explain_themselves(page_file: Path, open_page: Any):
    page = open_page(page_file).page
    for query, told in (
        ("accuracy > 80", "2 of 10 lines: Accuracy, % above 80."),
        ("accuracy>80", "2 of 10 lines: Accuracy, % above 80."),
        ('worst attack >= 60 % and row: "mezo 1200"', "1 of 10 lines: Worst attack, % at least 60, and Row"),
        ("mezo shuffled", "1 of 10 lines: any cell contains “mezo”, and any cell contains “shuffled”."),
        ("speed > 3", "Not understood: no column is called “speed”. A filter is"),
        ("accuracy >", "Not understood: a value is missing after “accuracy >”."),
        ("accuracy > high", "Not understood: “high” is not a number."),
        ("", ""),
    ):
        page.fill(SEARCH, query)
        assert page.inner_text(STATUS).startswith(told), query
        assert bool(told) or page.inner_text(STATUS) == ""


@pytest.mark.browser
def test_tables_are_copied_with_the_headings_shown(page_file: Path, open_page: Any):
    page = open_page(page_file).page
    page.evaluate("copyText = async (text) => { window.copied = text; return true; }")
    page.fill(SEARCH, 'row: "first-order AdamW"')
    lines = {}
    for name in ("Markdown", "LaTeX", "CSV"):
        page.click("#ranking summary:has-text('Copy')")
        page.click(f"#ranking button[aria-label='Copy ranking as {name}']")
        lines[name] = page.evaluate("copied").splitlines()
        assert page.inner_text(STATUS) == f"Copied 1 lines as {name}."
    heads = 'Rank,Row,Letters,"Accuracy, %",95 % interval'
    assert lines["CSV"][0].startswith(heads)
    assert lines["CSV"][1].startswith("baseline,first-order AdamW,,87.8,")
    assert len(lines["CSV"]) == 2
    assert lines["Markdown"][0].startswith("| Rank | Row | Letters | Accuracy, % |")
    assert lines["Markdown"][1].startswith("| ---: | --- | --- | ---: |")
    assert lines["LaTeX"][1].startswith(r"\begin{tabular}{rllrl")
    assert r"Accuracy, \%" in lines["LaTeX"][3]
    assert lines["LaTeX"][-1] == r"\end{tabular}"


@pytest.mark.browser
def test_rows_and_runs_are_compared_side_by_side(page_file: Path, open_page: Any):
    seen = open_page(page_file)
    page = seen.page
    page.select_option("#h-a", label="mezo 1200")
    page.select_option("#h-b", label="mezo")
    differs = page.eval_on_selector_all(
        "#t-settings tbody tr", "rs => rs.map((r) => [...r.cells].map((c) => c.innerText))"
    )
    assert ["budget · forwards", "1200", "600"] in differs
    assert all(a != b for _, a, b in differs)
    for pair, shown in (
        (["0.00011547005383792515", "3e-4"], ["0.0001155", "3e-4"]),
        (["1e-3 | 2.100000000000001e-05", "1.2.3"], ["1e-3 | 0.000021", "1.2.3"]),
        (["ab" * 20, "cd" * 32], ["ababababab…", "cdcdcdcdcd…"]),
        (["0.10000001", "0.10000002"], ["0.10000001", "0.10000002"]),
    ):
        assert page.evaluate(f"briefPair(['x', ...{pair}]).slice(1).map((c) => c.text ?? c)") == shown
    page.locator("#h-curves").scroll_into_view_if_needed()
    page.wait_for_selector("#h-curves .scatterlayer .trace", state="attached")
    names = page.evaluate("find('h-curves').data.filter((t) => t.fill !== 'toself').map((t) => t.name)")
    assert names == ["mezo 1200", "mezo"]
    page.locator(".run-link").first.click()
    page.select_option("#run-beside", index=1)
    page.wait_for_selector("#t-run-both")
    assert page.locator("#t-run-changed tbody tr .bad").count() > 0
    link = page.evaluate("location.hash")
    again = open_page(page_file, link)
    assert again.page.inner_text("#t-run-both") == page.inner_text("#t-run-both")
    page.keyboard.press("Escape")
    assert "beside" not in page.evaluate("location.hash")
    assert seen.problems + again.problems == []


@pytest.mark.browser
def test_links_land_on_their_part_and_escape_closes_panels(page_file: Path, open_page: Any):
    page = open_page(page_file, "#at=robustness-most-damaging-edits").page
    top = "find('robustness-most-damaging-edits').getBoundingClientRect().top"
    page.wait_for_timeout(500)
    assert 0 <= page.evaluate(top) < 120
    plain = open_page(page_file, "#robustness").page
    plain.wait_for_timeout(500)
    assert 0 <= plain.evaluate("find('robustness').getBoundingClientRect().top") < 120
    page.click("#ranking summary:has-text('Columns')")
    assert page.locator("#ranking details[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#ranking details[open]").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Columns"


@pytest.mark.browser
def test_long_tables_say_that_they_scroll(page_file: Path, open_page: Any):
    page = open_page(page_file, width=390).page
    page.locator("#t-runs").scroll_into_view_if_needed()
    box = page.locator("#runs .scroll").first
    hint = page.locator("#runs .scroll-hint").first
    assert "more lines below" in hint.inner_text()
    box.evaluate("(b) => { b.scrollTop = b.scrollHeight; b.scrollLeft = b.scrollWidth; }")
    page.wait_for_timeout(100)
    assert hint.inner_text() == ""


@pytest.mark.browser
def test_the_card_of_a_method_with_its_reference(page_file: Path, open_page: Any):
    page = open_page(page_file).page
    page.click(".row-link >> nth=1")
    assert page.inner_text("#card h2") == "The method zo-adam"
    assert "theta <- theta - lr g u" in page.inner_text("#card")
    assert re.search(r"eprint += \{2305\.17333\}", page.inner_text("#card"))
    page.click("#card button:has-text('Its runs')")
    assert not page.locator("#card").is_visible()
    names = page.eval_on_selector_all("#t-runs tbody tr:not([hidden]) th", "hs => hs.map((h) => h.innerText)")
    assert set(names) == {"zo-adam"}


@pytest.mark.browser
def test_the_tool_bar_of_a_plot_covers_nothing(page_file: Path, open_page: Any):
    page = open_page(page_file, width=390).page
    for chart in ("c-plot", "f-scores", "p-plot", "h-plot"):
        page.locator(f"#{chart}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{chart} .modebar-btn", state="attached")
        bottom = page.evaluate(f"document.querySelector('#{chart} .modebar').getBoundingClientRect().bottom")
        for part in (".bglayer", ".legend", ".xtitle", ".ytitle"):
            tops = page.evaluate(
                f"[...document.querySelectorAll('#{chart} {part}')].map((e) => e.getBoundingClientRect())"
                ".filter((r) => r.height).map((r) => r.top)"
            )
            assert all(top >= bottom - 1 for top in tops), (chart, part)
    titles = page.eval_on_selector_all("#c-plot .modebar-btn", "bs => bs.map((b) => b.dataset.title)")
    assert titles
    assert not any("cloud" in t.lower() or "share" in t.lower() or "edit" in t.lower() for t in titles)


@pytest.mark.browser
@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.slow), 390])
def test_names_in_trade_offs_cover_no_name_and_no_axis(page_file: Path, open_page: Any, width: int):
    """Also of rows with equal values, which share a text."""
    page = open_page(page_file, width=width).page
    assert page.locator("#t-ranking circle.seed").first.bounding_box()["width"] > 1, "dots of seeds are drawn"
    page.locator("#p-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#p-plot .textpoint text", state="attached")
    for key in ("forwards", "seconds", "memory"):
        page.select_option("#p-x", key)
        boxes = page.eval_on_selector_all(
            "#p-plot .textpoint text",
            "ts => ts.filter((t) => t.textContent.trim()).map((t) => t.getBoundingClientRect())"
            ".map((r) => [r.left, r.right, r.top, r.bottom])",
        )
        assert boxes
        left = page.evaluate("document.querySelector('#p-plot .nsewdrag').getBoundingClientRect().left")
        for i, a in enumerate(boxes):
            assert a[0] >= left - 2, (key, a)
            assert a[1] <= width, (key, a)
            for b in boxes[i + 1 :]:
                apart = a[0] >= b[1] - 1 or b[0] >= a[1] - 1 or a[2] >= b[3] - 3 or b[2] >= a[3] - 3
                assert apart, (key, a, b)
    told = page.evaluate(
        "pointLabels([{x: 1, y: 1}, {x: 1, y: 1}, {x: 2, y: 3}], ['a', 'b', 'c'], false, 600, 300)"
    )
    assert [text for text, _ in told] == ["a, b", " ", "c"]


@pytest.mark.browser
def test_scripts_round_as_the_tables_do(page_file: Path, open_page: Any):
    """Ties to the even digit: 6.25 is 6.2 in the tables of the page and must be so in those of its
    scripts."""
    numbers = [6.25, 6.35, 0.15, 56.25, 18.75, 0.05, 2.5]
    found = open_page(page_file).page.evaluate(f"{numbers}.map((x) => fixed(x, 1))")
    assert found == [f"{x:.1f}" for x in numbers]


@pytest.mark.browser
def test_long_titles_of_axes_fit_a_phone(page_file: Path, open_page: Any):
    page = open_page(page_file, width=390).page
    for chart in ("h-plot", "f-ratios"):
        page.locator(f"#{chart}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{chart} .xtitle", state="attached")
        box = page.locator(f"#{chart} .xtitle").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_a_heading_keeps_capitals():
    assert (
        page.environment().from_string("{{ 'PSNR'|heading }}, {{ 'mean rank'|heading }}").render()
        == "PSNR, Mean rank"
    )


def test_small_durations_are_not_in_scientific_notation():
    assert [page.count(v) for v in (0.0, 7.9e-5, 0.5, 12.4, 28_800)] == ["0", "< 0.01", "0.5", "12", "28.8k"]


def test_dots_of_the_ranking_are_the_means_of_seeds(page_file: Path):
    text = page_file.read_text(encoding="utf-8")
    section = text.partition('<section id="ranking">')[2].partition("</section>")[0]
    first = section.partition('<td class="plot"')[2].partition("</td>")[0]
    assert first.count('class="seed"') == 3
    assert "3 seeds" in first


def test_settings_are_those_that_differ(results: Path):
    found = analyse(results)
    names = [s.row for s in found.ranking.standings]
    told = settings.collect(found.runs, names)
    assert "budget · forwards" in told["paths"]
    assert not any(path.startswith("seed") for path in told["paths"])
    assert json.dumps(told).count("Infinity") == 0


LINES = """
heads => heads.filter((head) => head.offsetParent).map((head) => {
  const line = parseFloat(getComputedStyle(head).lineHeight);
  const text = head.querySelector("button") || head;
  return [head.textContent, Math.round(text.getBoundingClientRect().height / line)];
}).filter(([, lines]) => lines > 2)
"""


@pytest.mark.browser
def test_headings_on_a_phone_have_two_lines_and_the_column_of_one_task_is_hidden(
    tmp_path: Path, open_page: Any
):
    study = Study([Entry("mezo", 0.05), Entry("fzoo", 0.09)], {"topic": 0.7}, seeds=(0, 1), examples=10)
    seen = open_page(build(make_synthetic(tmp_path / "runs", study), tmp_path / "page.html"), width=390)
    assert seen.page.locator("thead th.num").evaluate_all(LINES) == []
    column = seen.page.locator("#t-robust thead th").first
    assert column.inner_text() in ("", "Task")
    assert column.is_hidden()
    assert seen.page.locator("#t-robust thead th", has_text="Attack").is_visible()
    seen.page.locator("#robustness .tools[data-for=t-robust] summary", has_text="Columns").click()
    seen.page.locator("#robustness .tools[data-for=t-robust] label", has_text="Task").click()
    assert column.is_visible()
    assert seen.problems == []
