"""One maker per attack and per arm worth testing on its own."""

from __future__ import annotations

from attack_fakes import example
from attack_models import fake_lm

from zobench.attacks.appended import CheckList, OptionOrder, StressTest
from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.attacks.comparators import (
    CLARE,
    PWWS,
    BERTAttack,
    DeepWordBug,
    RandomCandidates,
    TextBugger,
    TextFooler,
    TextFoolerConfig,
)
from zobench.attacks.imia import Iterations
from zobench.attacks.irrelevant import IrrelevantSentence, IrrelevantSentenceConfig
from zobench.attacks.missing_question import MissingQuestion
from zobench.attacks.mscr import MSCR, ControlledConfig, ControlledMSCR


def pool():
    texts = (
        "Bruno had 7 kites. He gave 2 of them away. How many kites are left?",
        "Each of the 12 teams has 3 coaches. What is the number of coaches?",
        "A train with 40 seats left at noon, and a bus with 15 seats followed.",
    )
    return [example(f"pool{i}", t) for i, t in enumerate(texts)]


LM = fake_lm()


def lm_for(attack):
    return LM


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
    "missing-question": MissingQuestion,
    "mscr": MSCR,
    "mscr-controlled": ControlledMSCR,
    "mscr-controlled/unlimited": lambda: ControlledMSCR(ControlledConfig(budget=None, confirmations=0)),
    "textfooler-like": TextFooler,
    "textfooler-like/short-window": lambda: TextFooler(
        TextFoolerConfig(similarity_window=4, min_similarity=0.3)
    ),
    "bert-attack-like": BERTAttack,
    "pwws": PWWS,
    "clare-like": CLARE,
    "textbugger-like": TextBugger,
    "deepwordbug-like": DeepWordBug,
    "stresstest": StressTest,
    "checklist": CheckList,
    "option-order": OptionOrder,
    "random-candidates": RandomCandidates,
    "imia-2506.02711": Iterations,
}
