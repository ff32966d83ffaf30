"""What rows are compared on: a task with its parameters and the model it is learned by, and how it is called.

A block is known by what it is, never by its name: the same task in two folders is one block whatever their
suites call it, and two entries of one suite are two even where catalogue and model name agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from zobench.names import json_value
from zobench.spec import ModelRef

NO_VARIANT = ("name", "device", "attention")
"""Of a model's specification: what does not make it another model. Attention does where two entries of a
suite differ in it, by what most of an entry's runs have: single methods need it written out."""


_LATER = {
    key: value for key, value in ModelRef(name="any").model_dump(mode="json").items() if key not in NO_VARIANT
}
"""What an earlier specification means by a key that came later: its default, which changes no run id."""


def label_blocks(runs: pd.DataFrame, names: Mapping[str, tuple[str, str]]) -> tuple[pd.Series, pd.Series]:
    """Block and display label of every run.

    Args:
        names: by run id, what the suite calls model and task, where that is known.
    """
    params = runs["task_params"].fillna("{}")
    model, task = (runs["run_id"].map({r: n[i] for r, n in names.items()}) for i in (0, 1))
    variant = _variants(runs, model)
    block = runs["task"] + "|" + params + "|" + runs["model"] + variant
    called = task.where(task != runs["task"]).groupby(block).transform("first")
    several = params.groupby(runs["task"]).transform("nunique") > 1
    label = called.fillna(runs["task"].where(~several, runs["task"] + " " + params.map(short_params)))
    if (runs["model"] + variant).nunique() > 1:
        given = model.where(model != runs["model"]).groupby(block).transform("first")
        plain = runs["model"].map(short_model) + variant.str.replace("|", " ", regex=False)
        label = label + " · " + given.fillna(plain)
    # Two suites may give one name to different things: then it does not say enough.
    shared = block.groupby(label).transform("nunique") > 1
    return block, label.where(~shared, label + " " + params.map(short_params) + variant)


def _variants(runs: pd.DataFrame, entry: pd.Series) -> pd.Series:
    """Empty where a model's name says which it is, else what sets it apart, after a bar."""
    text = runs["spec"].fillna("")
    specs = text.map({each: _model_of(each) for each in text.unique()})
    rest = specs.map(lambda spec: json.dumps({k: v for k, v in spec.items() if k not in NO_VARIANT}))
    attention = specs.map(lambda spec: str(spec.get("attention", "")))
    usual = attention.groupby([runs["model"], rest, entry.fillna("")]).transform(lambda a: a.mode().iloc[0])
    read = {each: {**_LATER, **json_value(each)} for each in rest.unique()}
    body = [
        {**read[r], "attention": a} if known else read[r]
        for r, a, known in zip(rest, usual, entry.notna(), strict=True)
    ]
    found = [""] * len(runs)
    for name in runs["model"].unique():
        here = [i for i, model in enumerate(runs["model"]) if model == name]
        keys = sorted({key for i in here for key in body[i]})
        # Attention counts where entries are known.
        known = {k: [i for i in here if k in body[i] or k != "attention"] for k in keys}
        varied = [k for k in keys if len({str(body[i].get(k)) for i in known[k]}) > 1]
        if varied:
            for i in here:
                found[i] = "|" + " ".join(f"{k}={body[i].get(k)}" for k in varied if i in known[k])
    return pd.Series(found, index=runs.index)


def _model_of(spec: str) -> dict[str, object]:
    try:
        found = json_value(spec).get("model", {}) if spec else {}
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def short_model(name: str) -> str:
    """``builtin:nano`` as ``nano``, a path or hub id by its last part."""
    return str(name).rsplit("/", 1)[-1].rsplit(":", 1)[-1]


def short_params(text: str) -> str:
    """``{"k": 16}`` as ``k=16``."""
    try:
        body = json_value(text)
    except json.JSONDecodeError:
        return str(text)
    return " ".join(f"{k}={v}" for k, v in sorted(body.items())) if isinstance(body, dict) else str(text)
