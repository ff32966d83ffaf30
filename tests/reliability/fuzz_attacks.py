"""Attacks on a fake victim: constraints obeyed, answers untouched, fixed by the seed, queries counted."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from reliability.fuzzing import Surface, refusals

TRIES = 200
"""Texts for each attack."""


def _attacks(name: str) -> Callable[[Path], tuple[st.SearchStrategy[Any], Any]]:
    def prepare(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
        sys.path.append(str(Path(__file__).parents[1] / "attacks"))
        import attack_models
        from attack_cases import CASES, lm_for, pool
        from attack_fakes import hashed, run
        from test_properties import TEXTS, examples_for, keeps_protected

        from zobench.attacks import word_attack

        word_attack.load_filler = attack_models.fake_filler
        word_attack.load_similarity = attack_models.fake_similarity
        attack = CASES[name]()

        def check(case: tuple[str, int, int]) -> str:
            text, seed, budget = case
            (example,) = examples_for(attack, [text])
            before = copy.deepcopy(example)
            outcome = "refused"
            for each in (attack, attack.null()):
                given = {
                    "seed": seed,
                    "budget": budget + attack.reserve(),
                    "pool": pool(),
                    "lm": lm_for(attack),
                }
                with refusals():
                    (record,), victim = run(each, [example], hashed, **given)
                    assert example == before, "the example was changed"
                    assert record.original == text
                    assert victim.total == record.queries <= budget + attack.reserve()
                    assert keeps_protected(text, record.edited, attack.config.protect), record.edited
                    assert (record.outcome == "success") == (
                        record.clean.correct and not record.final.correct
                    )
                    assert run(each, [example], hashed, **given)[0] == [record], "not fixed by the seed"
                    outcome = record.outcome
            return outcome

        return st.tuples(TEXTS, st.integers(0, 5), st.integers(2, 12)), check

    return prepare


NAMES = (
    *("char-typos", "char-typos/all-kinds", "irrelevant-sentence", "irrelevant-sentence/number"),
    *("irrelevant-sentence/paired-number", "irrelevant-sentence/ratio", "irrelevant-sentence/neutral-null"),
    *("missing-question", "mscr", "mscr-controlled", "mscr-controlled/unlimited", "textfooler-like"),
    *("textfooler-like/short-window", "bert-attack-like", "pwws", "clare-like", "textbugger-like"),
    *("deepwordbug-like", "stresstest", "checklist", "option-order", "random-candidates", "imia-2506.02711"),
)
ATTACKS = tuple(Surface(f"attack {name}", TRIES, 25, 3, _attacks(name)) for name in NAMES)
