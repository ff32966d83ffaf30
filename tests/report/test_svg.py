"""Static figures: one set of shapes, escaped names, labels that do not overlap, the diagram of mean ranks."""

from __future__ import annotations

import math
import re

from zobench.metrics.intervals import Interval
from zobench.report import page, rank_diagram, svg
from zobench.report.lines import DASHES, Line, chart

HOSTILE = '"><script>1</script>&'


def test_shapes_are_written_in_one_file():
    files = [*page.HERE.glob("*.py"), *(page.HERE / "templates").glob("*.html")]
    writing = [
        f.name for f in files if re.search(r"<(svg|polyline|circle|line) ", f.read_text(encoding="utf-8"))
    ]
    assert writing == ["svg.py"]


def test_scale_keeps_values_within_its_ends():
    scale = svg.Scale(2.0, 4.0, 10.0, 30.0)
    assert [scale(v) for v in (1, 2, 3, 4, 9)] == [10, 10, 20, 30, 30]
    assert svg.Scale(1.0, 1.0, 10.0, 30.0)(1.0) == 10


def test_names_are_moved_apart_and_stay_above_the_axis():
    assert svg.apart([5.0, 4.0, 90.0], 10, 60) == [14.0, 4.0, 60]
    assert svg.apart([55.0, 59.0], 10, 60) == [50.0, 60]


def interval(value, low, high):
    return Interval(value, low, high, stderr=0.05, df=2.0, n=3, level=0.95, method="t")


def test_whisker_without_an_interval_is_a_dot():
    drawn = svg.whisker(interval(0.5, math.nan, math.nan), 0.0, 1.0, HOSTILE)
    assert "<line" not in drawn
    assert 'cx="66.0"' in drawn
    assert "<script" not in drawn
    assert "<line" in svg.whisker(interval(0.5, 0.4, 0.6), 0.0, 1.0, "")


def test_lines_of_one_colour_differ_in_dashes():
    count = 12
    drawn = chart(
        [
            Line(f"r{i}", i, ((0, 0.1, math.nan, math.nan), (1, 0.2, math.nan, math.nan)))
            for i in range(count)
        ],
        "t",
    )
    found = re.findall(r'class="path (s\d)" points="[^"]*"(?: stroke-dasharray="([^"]*)")?', drawn)
    assert len(set(found)) == count
    assert {dashes for _, dashes in found} <= set(DASHES)


def test_the_rank_diagram_joins_the_rows_of_a_letter_and_no_others():
    ranks = {"a": 1.2, HOSTILE: 1.8, "c": 3.0}
    drawn = rank_diagram.diagram(ranks, [("a", "c"), (HOSTILE,)])
    assert "<script" not in drawn
    screen, phone, rest = drawn.split("</svg>")
    assert rest == ""
    for one in (screen, phone):
        assert one.count('class="cd-bar"') == 1
        assert one.count('class="cd-dot"') == 2, "of the bar's rows only, not of the one between them"
        assert "Equivalent or undecided: A: a, c." in one
    assert "no two rows" in rank_diagram.diagram(ranks)
    assert rank_diagram.diagram({"a": 1.2, "c": 1.8}) == rank_diagram.diagram({}) == ""
