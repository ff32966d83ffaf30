"""What the page says of results that are less alike than they look."""

from __future__ import annotations

from pathlib import Path

from synthetic import Entry, Study, make_synthetic

from zobench.report import notices
from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.store.reader import read_run
from zobench.store.writer import RunFolder


def test_ties_are_counted_on_the_page_where_there_are_any(tmp_path: Path) -> None:
    study = Study([Entry("mezo", 0.05), Entry("fzoo", 0.09)], {"topic": 0.7}, seeds=(0, 1), attacks=())
    folder = make_synthetic(tmp_path / "results", study)
    found = analyse(folder)
    assert notices.ties(found.source) == ()
    for path in sorted((folder / "runs").iterdir()):
        tables = {n: t.to_pylist() for n, t in read_run(folder, path.name).items()}
        if tables["runs"][0]["row"] == "mezo":
            last = next(m for m in tables["metrics"] if m["final"] and m["metric"] == "accuracy")
            tables["metrics"].append({**last, "metric": "ties", "value": 3.0, "n": 40})
            RunFolder(path).finish("done", tables)
    (sentence,) = notices.ties(analyse(folder).source)
    assert sentence.startswith("Test predictions whose best options tie: 6 of 80 (mezo). ")
    assert "6 of 80 (mezo)" in build(folder, tmp_path / "page.html").read_text(encoding="utf-8")
