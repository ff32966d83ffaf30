"""Suites up to their plan, leaderboards up to a ranking: valid files with some of their values replaced."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from reliability.fuzzing import Surface, refusals

from zobench.report import leaderboard
from zobench.suite import expand, load
from zobench.suite.cost import estimate

PLAIN: dict[str, Any] = {
    "suite": "small",
    "models": {"nano": {"name": "builtin:nano"}},
    "tasks": {"nano-topic": {}, "nano-problems": {"params": {"max_new_tokens": 8}}},
    "methods": {
        "mezo": {"params": {"lr": 1e-3}, "sweep": {"epsilon": [1e-3, 1e-2]}, "note": "n"},
        "zero-shot": {"method": "none", "group": "control"},
        "lozo": {"budget": {"forwards": 40, "batch_size": 2}, "tasks": ["nano-topic"], "attacks": False},
    },
    "attacks": {
        "typos": {"attack": "char-typos", "params": {"edits": 2}},
        "irrelevant-sentence": {"tasks": ["nano-problems"]},
    },
    "seeds": [1, 2],
    "budget": {"forwards": 100, "batch_size": 4},
    "evaluation": {"at": [0, 50], "test_items": 8, "attack_items": 2},
    "limits": {"run_minutes": 10},
    "executor": {"kind": "inline"},
}
TUNED: dict[str, Any] = {
    "suite": "tuned",
    "models": {"nano": {"name": "builtin:nano"}},
    "tasks": {"nano-sentiment": {}},
    "methods": {
        "mezo": {
            "tune": {
                "space": {"lr": [1e-4, 1e-3], "epsilon": {"low": 1e-4, "high": 1e-2, "log": True}},
                "seeds": [101, 102],
                "trials": 3,
                "sampler": "random",
            },
            "space": {"kind": "lora", "params": {"rank": 2}},
        },
    },
    "seeds": [1],
    "budget": {"forwards": 60},
    "diagnostics": {"every": 10},
}
FORGETTING: dict[str, Any] = {
    "suite": "forgetting",
    "models": {"facts": {"name": "builtin:nano-facts"}},
    "unlearning": {
        "oracle": {"name": "builtin:nano-facts-oracle"},
        "objectives": {"npo": {}},
        "probes": {"quantize": {"params": {"bits": [8, 4], "groups": [0]}}, "rephrase": {}},
        "scored_retain": 0.05,
    },
    "methods": {"mezo": {"params": {"lr": 1e-3}}},
    "seeds": [0],
    "budget": {"forwards": 40, "batch_size": 4},
}
OWN: dict[str, Any] = {
    "suite": "own",
    "models": {"nano": {"name": "builtin:nano"}},
    "tasks": {
        "mine": {
            "task": "classification",
            "params": {
                "data": "rows.csv",
                "label": "stars",
                "template": "{text} It was",
                "words": {"1": "bad", "5": "good"},
            },
        }
    },
    "methods": {"mezo": {}},
    "seeds": [1],
    "budget": {"forwards": 40, "batch_size": 2},
}
ROWS = "text,stars\n" + "".join(f"the film {i} is long,{(1, 5)[i % 2]}\n" for i in range(40))

NAMES = st.sampled_from(
    [
        *("mezo", "nano", "builtin:nano", "nano-topic", "char-typos", "lr", "full", "none", "max", "1e-3"),
        *(
            "../x",
            "",
            " ",
            "a\nb",
            "x\x1b[2J",
            "é" * 40,
            "x" * 3000,
            "{text}",
            "{",
            "{0}",
            "{text.__class__}",
            "*",
        ),
        *(
            "hub:",
            "builtin:",
            "package:",
            "/dev/null",
            "rows.csv",
            "rows.parquet",
            ".",
            "\u202e",
            "True",
            "null",
        ),
    ]
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e-300, 1e300, 5e-324]),
    st.integers(-3, 300),
    st.floats(allow_nan=True, allow_infinity=True),
)
SCALARS = st.one_of(NAMES, NUMBERS, st.booleans(), st.none(), st.text(max_size=5))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["set", "remove", "add", "rename"]), NAMES, VALUES),
    min_size=0,
    max_size=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in inner for found in ((*path, key), *places(one, (*path, key)))]


def changed(base: dict[str, Any], changes: list[tuple[int, str, str, Any]]) -> dict[str, Any]:
    """The document after the changes, each at a place that is drawn."""
    document = copy.deepcopy(base)
    for draw, way, name, value in changes:
        found = places(document)
        if not found:
            break
        path = found[draw % len(found)]
        inside: Any = document
        for key in path[:-1]:
            inside = inside[key]
        if way == "remove":
            del inside[path[-1]]
        elif isinstance(inside, list) or way == "set":
            inside[path[-1]] = value
        elif way == "add":
            inside[name] = value
        else:
            inside[name] = inside.pop(path[-1])
    return document


def written(document: dict[str, Any], path: Path) -> None:
    """JSON is YAML, but for numbers that JSON does not have."""
    text = json.dumps(document, ensure_ascii=False)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


MOST_RUNS = 10_000
"""Runs of a plan that are looked at; the cases have at most a few hundred."""


def planned(path: Path) -> str:
    """Whether the suite is accepted; its plan must be the same every time."""
    with refusals(path.name):
        suite = load(path)
        plan = expand(suite)
        assert len(plan.runs) <= MOST_RUNS
        ids = [run.spec.run_id({}) for run in plan.runs]
        assert len(set(ids)) == len(ids), "two runs with one id"
        assert expand(load(path)).model_dump_json() == plan.model_dump_json(), "another plan"
        estimate(plan)
        return "accepted"
    return "refused"


def _plans(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    path = folder / "s.yaml"
    (folder / "rows.csv").write_text(ROWS)
    os.environ["HF_HUB_OFFLINE"] = "1"
    cases = st.tuples(st.sampled_from([PLAIN, TUNED, FORGETTING, OWN]), CHANGES).map(lambda c: changed(*c))

    def check(document: dict[str, Any]) -> str:
        written(document, path)
        return planned(path)

    return cases, check


BOARD: dict[str, Any] = {
    "title": "t",
    "description": "d",
    "score": {
        "source": "metric", "metric": "accuracy", "kind": "attack", "reduce": "worst", "net": True,
        "without": ["irrelevant"], "target": 0.7,
    },
    "label": "l",
    "direction": "higher",
    "scale": "percent",
    "margin": 0.01,
    "alpha": 0.05,
    "minimum_seeds": 2,
    "where": {"task": ["sentiment"], "seed": [0, 1, 2]},
    "same": ["budget_forwards", "seeds"],
    "ruleset": "open",
    "diverged": "chance",
    "columns": ["net", "forwards", "status"],
}  # fmt: skip
SOURCES = ("metric", "run", "diagnostic", "forgetting", "forwards_to_target", "tokens_to_target")
KEYS = {
    "score": st.fixed_dictionaries(
        {},
        optional={
            "source": st.sampled_from(SOURCES),
            "metric": st.sampled_from(["primary", "accuracy", "loss", "seconds", "row", "x", "' or 1=1"]),
            "kind": st.sampled_from(["clean", "attack", "null", "probe", "control"]),
            "condition": st.sampled_from(["", "char-typos", "x'"]),
            "split": st.sampled_from(["test", "validation", "'"]),
            "reduce": st.sampled_from(["mean", "worst"]),
            "net": st.booleans(),
            "target": st.one_of(st.none(), st.floats(-2, 2)),
        },
    ),
    "where": st.dictionaries(
        st.sampled_from(["task", "seed", "row", "status", "forwards", "spec", "group"]),
        st.lists(st.one_of(NAMES, st.integers(-1, 3), st.booleans()), max_size=3),
        max_size=2,
    ),
    "direction": st.sampled_from(["higher", "lower"]),
    "scale": st.sampled_from(["percent", "number", "mebibytes"]),
    "margin": st.floats(0, 1e300),
    "alpha": st.floats(1e-300, 0.49),
    "minimum_seeds": st.integers(1, 2**62),
    "same": st.lists(st.sampled_from(["budget_forwards", "seeds", "dtype", "code"]), max_size=3),
    "ruleset": st.sampled_from(["open", "tuned", "self-tuned"]),
    "diverged": st.sampled_from(["chance", "apart"]),
}
VALID_BOARDS = st.fixed_dictionaries({"title": NAMES}, optional=KEYS)  # type: ignore[arg-type]


def _boards(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    sys.path.append(str(Path(__file__).parents[1] / "report"))
    from synthetic import Entry, Study, make_synthetic

    from zobench.report.analysis import analyse
    from zobench.report.build import html
    from zobench.report.terminal import table

    study = Study(
        [
            Entry("mezo", 0.05),
            Entry("fzoo", 0.09, status={("topic", 2): "diverged"}),
            Entry("zero", -0.1, "control"),
        ],
        tasks={"sentiment": 0.72, "topic": 0.78},
        examples=10,
        steps=10,
        points=3,
    )
    results = make_synthetic(folder / "results", study, compact=True)
    path = folder / "board.yaml"
    random_ones = CHANGES.map(lambda changes: changed(BOARD, changes))
    number = 0

    def check(document: dict[str, Any]) -> str:
        nonlocal number
        written(document, path)
        with refusals("board"):
            board = leaderboard.load(path)
            assert not board.show(0.25, signed=True).isspace()
            number += 1
            if number % 8:
                return "accepted"
            found = analyse([results], board)
            table(found)
            if number % 64 == 0:
                html(found)
            return "ranked"
        return "refused"

    return st.one_of(random_ones, VALID_BOARDS), check


PLANS = Surface("plans", 5_000, 50, 8, _plans)
BOARDS = Surface("boards", 5_000, 100, 30, _boards)
