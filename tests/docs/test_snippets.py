"""Every snippet of README.md and of the guides runs, and prints what the page shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from snippets import Reader, blocks, compare

ROOT = Path(__file__).parents[2]
GUIDES = [
    "quickstart",
    "own-data",
    "own-model",
    "many-gpus",
    "submit",
    "faq",
    "own-optimizer",
    "own-attack",
    "own-task",
    "own-objective",
    "own-probe",
    "own-reward",
    "own-section",
]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("ZOBENCH_IMPORTED_PLUGINS", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    yield Reader(tmp_path, {"__name__": "snippet"})
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES)
def test_snippets_of_a_guide(reader: Reader, page: str) -> None:
    counts = reader.follow((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"), page)
    assert sum(counts.values()) > counts.get("not run", 0)


def test_a_wrong_number_a_missing_line_and_a_wrong_order_are_found() -> None:
    compare("a 1.5\n\nc …", "a  1.5\nb\nc 3", "here")
    for shown in ("a 1.6", "a 1", "d", "c 3\na 1.5"):
        with pytest.raises(AssertionError, match="the page shows"):
            compare(shown, "a  1.5\nb\nc 3", "here")


def test_a_broken_snippet_is_found(reader: Reader) -> None:
    for text, error in (
        ("```bash\nzobench plan missing.yaml\n```", AssertionError),
        ("```bash\nfalse\n```", AssertionError),
        ("```python\n1 / 0\n```", ZeroDivisionError),
        ("```python\nprint(2)\n```\n\n```text\n3\n```", AssertionError),
        ("```yaml\nmethods: {mezo: {params: {rate: 1}}}\n```", ValueError),
    ):
        with pytest.raises(error):
            reader.follow(text, "page")


def test_outputs_belong_to_the_block_before_them() -> None:
    found = blocks("```bash\necho 1\n```\n\n```text\n1\n```\ntext\n```text\nno output\n```\n")
    assert [(b.lang, b.shown) for b in found] == [("bash", "1\n")]
