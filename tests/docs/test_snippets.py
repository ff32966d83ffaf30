"""Every snippet of README.md and of the guides runs, and prints what the page shows."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from snippets import Reader, blocks, compare

from zobench.zo.conformance.faults import defaults_cited

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


CODE = {"kind": "names", "params": {"include": ["code"]}}
AROUND: dict[str, dict[str, Any]] = {
    "flow": {
        "attacks": {},
        "methods": {"mezo": {"space": CODE}},
        "budget": {"forwards": 100, "batch_size": 1},
    },
    "image:": {"attacks": {}},
    "reward": {"attacks": {}, "tasks": {"countdown": {}}},
    "bottleneck": {"attacks": {}, "tasks": {"countdown": {}}},
}
"""Word of a block of docs/suite.md -> what a suite with it has beside it."""


@pytest.mark.slow
def test_every_yaml_block_of_the_suite_reference_has_a_plan(reader: Reader, tmp_path: Path) -> None:
    files(tmp_path)
    seen = 0
    for block in blocks((ROOT / "docs" / "suite.md").read_text(encoding="utf-8")):
        if block.lang != "yaml":
            continue
        seen += 1
        missing = "trackers" in block.body and find_spec("tensorboard") is None
        word = next((w for w in AROUND if w in block.body), "")
        # The tracker is in an extra: without it, its package is all that is missing.
        with pytest.raises(ValueError, match="needs the package") if missing else nullcontext():
            reader.plan(block.body, AROUND.get(word))
    assert seen >= 10


def files(folder: Path) -> None:
    """The files that the blocks of docs/suite.md name."""
    from PIL import Image

    def write(name: str, lines: list[str]) -> None:
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    write("reviews.csv", ["text,stars", *(f"soup {i},{(1, 5)[i % 2]}" for i in range(60))])
    rows: list[dict[str, str]] = [
        {"q": f"which {i}", "a": "x", "b": "y", "c": "z", "gold": "abc"[i % 3]} for i in range(60)
    ]
    write("q.jsonl", [json.dumps(row) for row in rows])
    write("math.jsonl", [json.dumps({"question": f"{i} + 1?", "answer": f"{i + 1}"}) for i in range(60)])
    write("reward.py", ["def score(prompt, answer, example, weight=1.0):", "    return weight"])
    write("common.yaml", ["methods:", "  mezo: {params: {lr: 1e-4}}"])
    (folder / "photos").mkdir()
    for i in range(60):
        Image.new("L", (28, 28), i).save(folder / "photos" / f"{i}.png")
    write("photos/labels.csv", ["file,kind", *(f"{i}.png,{'abcde'[i % 5]}" for i in range(60))])


SHELL_PAGES = (
    *("suite", "report", "verification", "unlearning", "real-models", "scale", "rewards", "systems"),
    "rating",
)


@pytest.mark.parametrize("page", SHELL_PAGES)
def test_every_command_of_a_reference_page_exists_with_its_options(page: str) -> None:
    """They are not run here, because they name results that a reader has: tests/cli runs each command."""
    from typer.main import get_command

    from zobench.cli import app

    top = get_command(app)
    for block in blocks((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")):
        for line in block.body.splitlines() if block.lang in ("sh", "bash", "console") else ():
            words = shlex.split(line.partition("&&")[0].partition(" > ")[0], comments=True)
            if not words or words[0] != "zobench":
                assert not (missing := absent(words)), f"{page}:{block.line}: {missing}"
                continue
            command, rest = top, words[1:]
            while hasattr(command, "commands"):
                assert rest[0] in command.commands, f"{page}:{block.line}: {line}"
                command, rest = command.commands[rest[0]], rest[1:]
            with command.make_context(words[1], rest, resilient_parsing=False) as context:
                assert context.params, f"{page}:{block.line}: {line}"


def absent(words: list[str]) -> list[str]:
    """Scripts and modules of a command line that this repository lacks."""
    scripts = [w for w in words if w.endswith(".py") and not (ROOT / w).is_file()]
    modules = [b for a, b in pairwise(words) if a == "-m" and find_spec(b) is None]
    return scripts + modules


def test_the_leaderboard_of_the_report_page_is_one(tmp_path: Path) -> None:
    from zobench.report.leaderboard import ColumnName, Score, load

    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    (block,) = [b for b in blocks(text) if b.lang == "yaml"]
    (tmp_path / "mine.yaml").write_text(block.body, encoding="utf-8")
    board = load(tmp_path / "mine.yaml")
    assert (board.ruleset, board.margin) == ("tuned", 0.01)
    for name in (*get_args(ColumnName), *get_args(Score.model_fields["source"].annotation)):
        assert f"`{name}`" in text, name


@pytest.mark.slow
def test_snippets_of_the_readme(reader: Reader, tmp_path: Path) -> None:
    """With the built-in model in place of the downloaded one, and a small file of reviews."""
    texts = ("great food and kind staff", 5), ("cold soup and a rude waiter", 1)
    lines = [f"{text} {i},{stars}" for i in range(14) for text, stars in texts]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,stars", *lines]) + "\n", encoding="utf-8")
    reader.names |= given(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = readme.replace("zobench model get smollm2-135m   ", "#").replace(
        "package:smollm2-135m", "builtin:nano"
    )
    first, mark, rest = readme.partition("What else there is:")
    counts = reader.follow(first, "README.md")
    run = min(p.parent for p in tmp_path.glob("reports/mine/runs/*/spec.json") if "mezo" in p.read_text())
    rest = rest.replace(" RUN ", f" {run} ").replace(" A B ", " reports/mine reports/mine ")
    more = reader.follow(mark + rest, "README.md")
    assert (counts["bash"], counts["not run"], more["bash"], more["python"]) == (3, 1, 1, 4)
    described = defaults_cited(cast(Any, SimpleNamespace(config=reader.names["PairConfig"]())))
    assert described.startswith("every parameter"), "the shown plugin passes what it is said to pass"


SMALLER = (
    ("    grad-diff: {}\n", ""),
    ("steps: [0, 10, 30, 100], rates: [3e-4, 1e-3]", "steps: [2], rates: [1e-3]"),
    ("    fine-tune: {params: {steps: [30, 100], rates: [1e-3]}}\n", ""),
    ("bits: [8, 4, 3, 2]", "bits: [4]"),
    ("    rephrase: {}\n", ""),
    (", grad-diff: {lr: 3e-4}", ""),
    ("seeds: [0, 1]", "seeds: [0]"),
    ("forwards: 720", "forwards: 24"),
    ("at: [0, 240, 480]", "at: []"),
)
"""suites/unlearning.yaml -> one objective, seed, and setting of two probes, and 24 forward passes."""


@pytest.mark.slow
def test_python_of_the_unlearning_page_runs_with_a_smaller_suite(reader: Reader, tmp_path: Path) -> None:
    suite = (ROOT / "suites" / "unlearning.yaml").read_text(encoding="utf-8")
    first, _, rest = suite.partition("  alternating:\n")
    suite = first + rest[rest.index("\nseeds:") :]
    for long, short in SMALLER:
        assert long in suite, long
        suite = suite.replace(long, short)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "unlearning.yaml").write_text(suite, encoding="utf-8")
    text = (ROOT / "docs" / "unlearning.md").read_text(encoding="utf-8")
    (block,) = [b for b in blocks(text) if b.lang == "python"]
    output = reader.python(block.body, "unlearning.md")
    for row in ("adam", "noise as far as adam"):
        assert any(line.startswith(row) for line in output.splitlines()), output
    relearned = reader.names["relearned"]
    assert set(relearned["condition"]) == {"relearn"}
    assert relearned["value"].notna().all()


def given(folder: Path) -> dict[str, Any]:
    """What the README's Python takes as given: a model, a loader, and a Trainer's arguments and rows."""
    from transformers import TrainingArguments

    from zobench.models.loading import load
    from zobench.spec import ModelRef

    lm = load(ModelRef(name="builtin:nano"))
    encoded = lm.tokenizer(["the film was great", "the food was cold"], padding=True, return_tensors="pt")
    batch = {k: encoded[k] for k in ("input_ids", "attention_mask")} | {"labels": encoded["input_ids"]}
    rows = [{key: value[i] for key, value in batch.items()} for i in range(2)]
    args = TrainingArguments(str(folder / "trained"), max_steps=2, report_to="none", use_cpu=True)
    return {"model": lm.module, "loader": [batch, batch], "args": args, "rows": rows}


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
