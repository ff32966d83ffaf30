"""Suites of rewards, clients, shards, images and flows up to their plan: valid files with some values
replaced, and Python files of rewards that nothing may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from reliability.fuzz_suites import CHANGES, changed, planned, written
from reliability.fuzzing import Surface

REWARDED: dict[str, Any] = {
    "suite": "rewarded",
    "models": {"nano": {"name": "builtin:nano-countdown"}},
    "tasks": {"countdown": {"params": {"test_rows": 8}}},
    "methods": {
        "es": {"train_on": {"reward": "countdown"}, "params": {"population": 4}},
        "mezo": {"train_on": {"reward": "own.py:score", "params": {"weight": 2.0}, "seconds": 1.0}},
        "grpo": {"method": "adamw", "train_on": {"reward": "format", "temperature": 1.0, "samples": 4}},
        "best": {"method": "none", "best_of": 4, "train_on": {"reward": "number", "temperature": 1.0}},
    },
    "seeds": [1],
    "budget": {"forwards": 40, "batch_size": 4},
}
DIVIDED: dict[str, Any] = {
    "suite": "divided",
    "models": {"nano": {"name": "builtin:nano"}},
    "tasks": {"nano-topic": {}},
    "methods": {
        "meerkat": {
            "params": {"density": 0.01},
            "clients": {"number": 4, "local_steps": 2, "skew": 0.3, "drop_out": 0.2, "gradip": True},
        },
        "limited": {
            "method": "mezo",
            "clients": {"number": 2, "limit": {"window": 5, "ratio": 0.1}},
        },
        "mezo": {"params": {"n": 2}, "split": {"shards": 4, "by": "both"}},
        "fzoo": {"split": {"shards": 2}, "precision": "nearest", "loss_dtype": "float32"},
    },
    "seeds": [1],
    "budget": {"forwards": 100, "batch_size": 4},
    "executor": {"kind": "inline", "processes": 1},
}
PICTURED: dict[str, Any] = {
    "suite": "pictured",
    "models": {"vit": {"name": "builtin:nano-vit", "head": 5, "image_size": 28}},
    "tasks": {
        "mnist-5k": {"params": {"classes": [5, 6, 7, 8, 9], "k": 4, "validation_k": 4, "test_rows": 20}}
    },
    "methods": {"mezo": {}, "zo-muon": {"params": {"rank": 4}}},
    "seeds": [1],
    "budget": {"forwards": 40, "batch_size": 4},
}
FLOWING: dict[str, Any] = {
    "suite": "flowing",
    "models": {"flow": {"name": "builtin:nano-flow"}},
    "tasks": {
        "invert": {"task": "flow-inversion", "params": {"steps": 5, "start": "noise"}},
        "edit": {"task": "flow-inversion", "params": {"steps": 5, "classes": [0, 1, 2], "towards": 1}},
    },
    "methods": {
        "flowopt": {"space": {"kind": "names", "params": {"include": ["code"]}}, "params": {"lr": 0.3}},
    },
    "seeds": [1],
    "budget": {"forwards": 10, "batch_size": 1},
    "evaluation": {"at": [0, 5], "test_items": 1, "validation_items": 1},
}
KINDS = (REWARDED, DIVIDED, PICTURED, FLOWING)
OWN = """\
open({marker!r}, "w").close()
def score(prompt, answer, example, weight=1.0):
    return weight
"""


def _kinds(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    path, marker = folder / "s.yaml", folder / "ran"
    (folder / "own.py").write_text(OWN.format(marker=str(marker)))
    cases = st.tuples(st.sampled_from(KINDS), CHANGES).map(lambda c: changed(*c))

    def check(document: dict[str, Any]) -> str:
        written(document, path)
        outcome = planned(path)
        assert not marker.exists(), "planning has run the reward's file"
        return outcome

    return cases, check


SUITE_KINDS = Surface("kinds", 5_000, 50, 8, _kinds)
