"""lm-eval on the model in memory: the same choices as zobench's scoring, no side effects, and explicit
errors."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval")
sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from chat_templates import DATED, DROPS_SYSTEM, FAILS, FOLDED, NO_SYSTEM, PLAIN

from zobench.data.example import Example, Splits
from zobench.models.chat import Chat
from zobench.tasks.base import MetricValue
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.lm_eval_adapter import evaluate, run
from zobench.tasks.prompts import Prompt

Tiny = Callable[[str], Any]
WORDS = ("terrible indeed", "great", "so so okay")
ROWS = [
    {"id": i, "sentence": "the film was " + "good and bad " * (i % 4) + f"number {i}", "label": i % 3}
    for i in range(40)
]
YAML = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{sentence}}}} It was"
doc_to_choice: {choices}
doc_to_target: label
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


class Fixed(PromptedClassification):
    def splits(self, seed: int) -> Splits:
        return Splits([], [], EXAMPLES)


EXAMPLES = [
    Example(id=str(r["id"]), text={"sentence": str(r["sentence"])}, label=int(r["label"])) for r in ROWS
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two tasks over the same rows, away from the current directory."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    (tasks / "long.yaml").write_text(YAML.format(name="zb_long", choices=json.dumps(WORDS)))
    short = json.dumps(["terrible", "great", "okay"])
    (tasks / "short.yaml").write_text(YAML.format(name="zb_short", choices=short))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return tasks


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_our_scoring_agrees_with_the_harness_row_by_row(tiny: Tiny, folder: Path, family: str) -> None:
    lm = tiny(family)
    ours = {
        "zb_long": Fixed(
            None, prompt=Prompt("{sentence} It was", WORDS), scoring="option-likelihood", normalized=False
        ),
        "zb_short": Fixed(None, prompt=Prompt("{sentence} It was", ("terrible", "great", "okay"))),
    }
    for name, task in ours.items():
        theirs = run(lm, name, include=folder)
        predictions = task.predict(lm, EXAMPLES)
        mine = task.metrics(EXAMPLES, predictions)["accuracy"]
        rows = sorted(theirs.samples[name], key=lambda r: r["doc_id"])
        sums = torch.tensor([[float(choice[0]) for choice in r["filtered_resps"]] for r in rows])
        assert [p.label for p in predictions] == sums.argmax(1).tolist()
        assert [p.correct for p in predictions] == [r["acc"] == 1.0 for r in rows]
        found = torch.tensor([p.log_probs for p in predictions])
        torch.testing.assert_close(found, sums.log_softmax(1), atol=1e-4, rtol=0)
        acc = theirs.metrics["acc"]
        assert (acc.value, acc.n) == (mine.value, mine.n)
        assert acc.stderr == pytest.approx(mine.stderr)
        assert 0 < acc.value < 1


@pytest.mark.parametrize("template", [FOLDED, PLAIN, DATED])
@pytest.mark.parametrize("shots", [0, 1])
def test_a_chat_template_gives_the_harness_our_prompts(
    tiny: Tiny, folder: Path, template: str, shots: int
) -> None:
    plain = tiny("llama")
    tokenizer = copy.deepcopy(plain.tokenizer)
    tokenizer.chat_template = template
    lm = dataclasses.replace(plain, tokenizer=tokenizer, chat=Chat(tokenizer, "Be kind.", "tiny"))
    task = Fixed(
        None, prompt=Prompt("{sentence} It was", WORDS), scoring="option-likelihood", normalized=False
    )
    theirs = run(lm, "zb_long", include=folder, limit=4, shots=shots).samples["zb_long"]
    for sample in theirs:
        example = EXAMPLES[sample["doc_id"]]
        sent = [request[0] for request in sample["arguments"]]
        placed = sorted((sent[0].find(f"{e.text['sentence']} It was"), e.id, e) for e in EXAMPLES)
        shown = [e for at, _, e in placed if at >= 0 and e is not example]
        assert len(shown) == shots
        turns = [(e, WORDS[e.label]) for e in shown if e.label is not None]
        assert sent == [task.written(lm.chat, example, (), turns).context] * len(WORDS)
        (ours,) = task.predict(lm, [example], shown)
        sums = torch.tensor([float(choice[0]) for choice in sample["filtered_resps"]])
        torch.testing.assert_close(torch.tensor(ours.log_probs), sums.log_softmax(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("template", "opening"),
    [
        (PLAIN, "<|system|>Judge the film.\n\n\n<|user|>"),
        (NO_SYSTEM, "<|user|>Judge the film.\n\n"),
        (DROPS_SYSTEM, "<|user|>Judge the film.\n\n"),
    ],
)
@pytest.mark.parametrize("shots", [0, 1])
def test_the_description_of_a_task_reaches_every_template(
    tiny: Tiny, folder: Path, template: str, opening: str, shots: int
) -> None:
    plain = tiny("llama")
    tokenizer = copy.deepcopy(plain.tokenizer)
    tokenizer.chat_template = template
    lm = dataclasses.replace(plain, tokenizer=tokenizer, chat=Chat(tokenizer, None, "tiny"))
    file = folder / "long.yaml"
    file.write_text(file.read_text() + 'description: "Judge the film.\\n\\n"\n')
    for sample in run(lm, "zb_long", include=folder, limit=2, shots=shots).samples["zb_long"]:
        for request in sample["arguments"]:
            assert request[0].startswith(opening + "the film was ")
            assert request[0].count("Judge the film.") == 1
            assert request[0].count("<|user|>") == 1 + shots
            assert request[0].endswith("It was\n<|assistant|>")


def test_a_template_that_fails_on_an_lm_eval_task_is_named(tiny: Tiny, folder: Path) -> None:
    plain = tiny("llama")
    tokenizer = copy.deepcopy(plain.tokenizer)
    tokenizer.chat_template = PLAIN
    chat = Chat(tokenizer, None, "tiny")
    chat.template = FAILS
    lm = dataclasses.replace(plain, tokenizer=tokenizer, chat=chat)
    with pytest.raises(
        ValueError, match=r"chat template fails on the messages of an lm-eval task.*leave chat out"
    ):
        run(lm, "zb_long", include=folder, limit=1)


def test_no_side_effects_and_weights_in_memory_are_what_is_scored(tiny: Tiny, folder: Path) -> None:
    lm = tiny("gpt2")
    state = torch.get_rng_state()
    before = run(lm, "zb_short", include=folder, limit=12)
    assert torch.equal(torch.get_rng_state(), state)
    lm.module.train()
    assert run(lm, "zb_short", include=folder, limit=12).metrics == before.metrics
    assert not lm.module.training
    saved = [p.detach().clone() for p in lm.module.parameters()]
    with torch.no_grad():
        for p in lm.module.parameters():
            p.mul_(0.3)
    changed = run(lm, "zb_short", include=folder, limit=12)
    with torch.no_grad():
        for p, s in zip(lm.module.parameters(), saved, strict=True):
            p.copy_(s)
    responses = [[r["filtered_resps"] for r in result.samples["zb_short"]] for result in (before, changed)]
    assert responses[0] != responses[1]
    assert evaluate(lm, "zb_short", include=folder, limit=12) == before.metrics


def test_what_goes_wrong_is_said(tiny: Tiny, folder: Path, tmp_path: Path) -> None:
    lm = tiny("llama")
    with pytest.raises(ValueError, match="need a causal model"):
        evaluate(tiny("bert-masked"), "zb_short", include=folder)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bad.yaml").write_text("task: [unclosed\n")
    with pytest.raises(ValueError, match=r"bad.yaml: malformed lm-eval task file"):
        evaluate(lm, "zb_short", include=broken)
    (broken / "bad.yaml").write_text(YAML.format(name="zb_key", choices="[a, b]") + "no_such_key: 1\n")
    with pytest.raises(ValueError, match=r"zb_key.*no_such_key"):
        evaluate(lm, "zb_key", include=_fresh(broken, tmp_path / "again"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"contains no \.yaml file"):
        evaluate(lm, "zb_short", include=empty)
    lost = _fresh(folder, tmp_path / "lost")
    (lost / "rows.jsonl").unlink()
    with pytest.raises(ValueError, match="'zb_short' cannot be loaded"):
        evaluate(lm, "zb_short", include=lost)


def _fresh(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_text(path.read_text())
    return target


def test_generation_tasks_and_their_filters(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "the film", "a": "7"}\n{"q": "It was", "a": "9"}\n')
    (tmp_path / "gen.yaml").write_text(
        "task: zb_gen\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "generation_kwargs: {until: ['.'], max_gen_toks: 6, do_sample: false}\n"
        "filter_list:\n  - name: number\n    filter:\n      - {function: regex, regex_pattern: '([0-9]+)'}\n"
        "      - {function: take_first}\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    lm = tiny("llama")
    result = run(lm, "zb_gen", include=tmp_path)
    assert set(result.metrics) == {"exact_match[number]"}
    assert isinstance(result.metrics["exact_match[number]"], MetricValue)
    texts = [r["resps"][0][0] for r in sorted(result.samples["zb_gen"], key=lambda r: r["doc_id"])]
    assert texts == lm.generate(["the film", "It was"], max_new_tokens=6, stop=["."])


@pytest.mark.parametrize("array", [False, True])
def test_gold_answers_of_json_files_keep_their_text(tiny: Tiny, tmp_path: Path, array: bool) -> None:
    rows = [
        {"q": "the film", "day": "2020-01-05", "code": "007", "n": 7},
        {"q": "It was", "day": "2021-02-03", "code": 12, "n": 9},
    ]
    text = json.dumps(rows) if array else "".join(json.dumps(r) + "\n" for r in rows)
    (tmp_path / "rows.jsonl").write_text(text)
    for column in ("day", "code", "n"):
        (tmp_path / f"{column}.yaml").write_text(
            f"task: zb_{column}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: rows.jsonl}}}}\n"
            "test_split: test\noutput_type: generate_until\ndoc_to_text: '{{q}}'\n"
            f"doc_to_target: '{{{{{column}}}}}'\n"
            "generation_kwargs: {until: ['.'], max_gen_toks: 2, do_sample: false}\n"
            "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
        )
    lm = tiny("llama")
    with pytest.warns(UserWarning, match="column 'day' .*2020-01-05.* became"):
        samples = run(lm, "zb_day", include=tmp_path).samples["zb_day"]
    assert sorted(s["target"] for s in samples) == ["2020-01-05", "2021-02-03"]
    with pytest.warns(UserWarning, match="column 'code' .*'007' became 7"):
        samples = run(lm, "zb_code", include=tmp_path).samples["zb_code"]
    assert sorted(s["target"] for s in samples) == ["007", "12"]
    assert sorted(s["target"] for s in run(lm, "zb_n", include=tmp_path).samples["zb_n"]) == ["7", "9"]


@pytest.mark.slow
def test_unknown_names_get_the_nearest_one(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="unknown lm-eval task 'gsm8kk'; did you mean 'gsm8k'"):
        evaluate(tiny("llama"), "gsm8kk")
