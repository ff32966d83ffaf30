"""One maker per attack and per arm worth testing on its own."""

from __future__ import annotations

from attack_fakes import example

from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.attacks.irrelevant import IrrelevantSentence, IrrelevantSentenceConfig


def pool():
    texts = (
        "Bruno had 7 kites. He gave 2 of them away. How many kites are left?",
        "Each of the 12 teams has 3 coaches. What is the number of coaches?",
        "A train with 40 seats left at noon, and a bus with 15 seats followed.",
    )
    return [example(f"pool{i}", t) for i, t in enumerate(texts)]


def lm_for(attack):
    return None


def _irrelevant(**params):
    return lambda: IrrelevantSentence(IrrelevantSentenceConfig(**params))


CASES = {
    "char-typos": CharTypos,
    "char-typos/all-kinds": lambda: CharTypos(
        CharTyposConfig(
            kinds=("keyboard", "swap", "insert", "delete", "look-alike", "split"),
            min_length=2,
            keep_ends=False,
            edits=4,
        )
    ),
    "irrelevant-sentence": IrrelevantSentence,
    "irrelevant-sentence/number": _irrelevant(arm="number", position="before-question"),
    "irrelevant-sentence/paired-number": _irrelevant(
        arm="paired-number", sentences=3, topic="in", role="overlap"
    ),
    "irrelevant-sentence/ratio": _irrelevant(
        arm="paired-no-number", length_ratio=2.0, position="start", defence=True
    ),
    "irrelevant-sentence/neutral-null": _irrelevant(null_kind="neutral", position="after", role="other"),
}
