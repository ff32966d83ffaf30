"""Edited examples of an lm-eval task are scored by the harness itself, and the task is otherwise
unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from zobench.attacks.base import AttackContext, Victim
from zobench.attacks.char_typos import CharTypos
from zobench.tasks.lm_eval_adapter import run
from zobench.tasks.lm_eval_rows import HarnessRows

Tiny = Callable[[str], Any]
WORDS = ("terrible", "great", "okay")
ROWS = [
    {"id": i, "sentence": "the film was " + "good and bad " * (i % 4) + f"number {i}", "label": i % 3}
    for i in range(12)
]
HEAD = "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
CHOICE = (
    "task: zr_choice\n" + HEAD + "output_type: multiple_choice\ndoc_to_text: '{{sentence}} It was'\n"
    f"doc_to_choice: {json.dumps(WORDS)}\ndoc_to_target: label\n"
    "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
)
FILTER = (
    "  - name: {0}\n    filter:\n      - {{function: regex, regex_pattern: '{1}'}}\n"
    "      - {{function: take_first}}\n"
)
GENERATE = (
    "task: zr_generate\n" + HEAD + "output_type: generate_until\ndoc_to_text: '{{sentence}}'\n"
    "doc_to_target: '{{label}}'\ngeneration_kwargs: {until: ['.'], max_gen_toks: 6, do_sample: false}\n"
    "filter_list:\n" + FILTER.format("strict", "#### ([0-9]+)") + FILTER.format("loose", "([0-9]+)") +
    "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("harness")
    (found / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    (found / "choice.yaml").write_text(CHOICE)
    (found / "generate.yaml").write_text(GENERATE)
    return found


def rewritten(folder: Path, target: Path, texts: dict[int, str]) -> Path:
    """The same tasks over rows that hold the edited texts from the start."""
    target.mkdir()
    for path in folder.glob("*.yaml"):
        (target / path.name).write_text(path.read_text())
    rows = [{**r, "sentence": texts.get(int(str(r["id"])), r["sentence"])} for r in ROWS]
    (target / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return target


def test_edited_rows_get_the_verdict_that_the_harness_gives_the_edited_file(
    tiny: Tiny, folder: Path, tmp_path: Path
) -> None:
    lm = tiny("llama")
    rows = HarnessRows(lm, "zr_choice", field="sentence", include=folder)
    assert [e.label for e in rows.examples] == [r["label"] for r in ROWS]
    texts = {i: f"great great {i}" for i in (1, 4, 5)}
    edited = [rows.examples[i].with_text("sentence", t) for i, t in texts.items()]
    mine = rows.predict([*edited, rows.examples[0]])
    theirs = run(lm, "zr_choice", include=rewritten(folder, tmp_path / "edited", texts))
    by_row = {s["doc_id"]: s for s in theirs.samples["zr_choice"]}
    for p, i in zip(mine, (1, 4, 5, 0), strict=True):
        scores = [float(r[0]) for r in by_row[i]["filtered_resps"]]
        assert p.correct == (by_row[i]["acc"] == 1.0)
        assert p.label == scores.index(max(scores))
        assert p.log_probs is not None
        assert p.log_probs[0] - p.log_probs[1] == pytest.approx(scores[0] - scores[1], abs=1e-3)
    before = run(lm, "zr_choice", include=folder).metrics["acc"].value
    assert sum(p.correct for p in rows.predict(rows.examples)) / len(ROWS) == before


def test_generated_answers_have_both_verdicts(tiny: Tiny, folder: Path) -> None:
    lm = tiny("llama")
    rows = HarnessRows(lm, "zr_generate", field="sentence", include=folder, limit=4)
    found = rows.predict(rows.examples)
    samples = run(lm, "zr_generate", include=folder, limit=4).samples["zr_generate"]
    for i, p in enumerate(found):
        of = {s["filter"]: s for s in samples if s["doc_id"] == i}
        assert (p.correct, p.strict_correct) == (
            of["loose"]["exact_match"] == 1,
            of["strict"]["exact_match"] == 1,
        )
        assert p.raw == of["loose"]["resps"][0][0]
        assert p.tokens > 0


def test_an_attack_runs_on_harness_rows(tiny: Tiny, folder: Path) -> None:
    lm = tiny("llama")
    rows = HarnessRows(lm, "zr_choice", field="sentence", include=folder)
    victim = Victim(rows.predict, weights_digest="w", budget_per_example=4)
    context = AttackContext(("sentence",), (), seed=1, lm=lm, pool=())
    records = CharTypos().run(victim, rows.examples, context)
    clean = run(lm, "zr_choice", include=folder).metrics["acc"].value
    assert sum(r.clean.correct for r in records) / len(records) == clean
    attacked = [r for r in records if r.outcome != "skipped"]
    assert attacked
    for r in attacked:
        assert r.edited != r.original
        again = rows.predict([rows.examples[int(r.example_id.split("/")[1])].with_text("sentence", r.edited)])
        assert again[0].correct == r.final.correct == (r.outcome == "failure")


def test_mistakes_are_named(tiny: Tiny, folder: Path) -> None:
    with pytest.raises(ValueError, match="no column 'sentense'; did you mean 'sentence'"):
        HarnessRows(tiny("llama"), "zr_choice", field="sentense", include=folder)
    with pytest.raises(ValueError, match="column 'label' does not contain text"):
        HarnessRows(tiny("llama"), "zr_choice", field="label", include=folder)
