"""Properties of every attack: deterministic, protected text unchanged, exact budgets, any text accepted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attack_cases import CASES, lm_for, pool
from attack_fakes import PROTECTED, example, hashed, run, with_options
from hypothesis import given, settings
from hypothesis import strategies as st

from zobench.attacks.appended import OptionOrder
from zobench.attacks.catalogue import ATTACKS
from zobench.attacks.protect import protected_spans
from zobench.attacks.word_attack import WordAttack
from zobench.plugins import lookup

VOCABULARY = (
    "the film Ann has 5 apples does not $12 $x+1$ \\frac{1}{2} great <b>very</b> good twenty-five שלום مرحبا 😀 "  # noqa: E501
    "café house bought What is total? end. She runs, quickly [asy]draw;[/asy] {name} color"
)
WORDS = st.sampled_from(VOCABULARY.split())
TEXTS = st.one_of(
    st.lists(WORDS, max_size=14).map(" ".join),
    st.text(max_size=30),
    st.sampled_from(["", " ", "word", "😀", "שלום", "5"]),
)
ODD = {
    "empty": "",
    "space": " ",
    "one word": "wonderful",
    "emoji": "I 😀 love 👩‍🚀 this 🎉 film",
    "right-to-left": "הסרט הזה היה ממש מצוין مرحبا بالعالم الجميل",
    "latex": r"Let $f(x)=x^2$ and \(y\) be \frac{1}{2} of \begin{array}{c} words \end{array}. What is $f(2)$?",  # noqa: E501
    "html": '<p class="large">The film <b>really</b> works &amp; holds</p> <br/> until the ending.',
    "control": "a\x00b\tword\r\nnext\u2028line\ufeff word",
}


def keeps_protected(original, edited, rules):
    """The protected texts of the original are all in the edited text, in order."""
    at = 0
    for span in protected_spans(original, PROTECTED, rules):
        at = edited.find(span.text, at)
        if at < 0:
            return False
        at += len(span.text)
    return True


def examples_for(attack, texts):
    """The texts as examples of what the attack edits."""
    made = [example(f"e{i}", t, label=i % 2) for i, t in enumerate(texts)]
    return [with_options(e) for e in made] if isinstance(attack, OptionOrder) else made


def all_cases(*, searched=True):
    """Every case; word attacks read WordNet as soon as they search."""
    return [
        pytest.param(
            make, id=name, marks=[pytest.mark.wordnet] if searched and isinstance(make(), WordAttack) else []
        )
        for name, make in CASES.items()
    ]


def test_every_catalogued_attack_is_among_the_cases():
    """Those on images are in test_image_attacks.py."""
    on_texts = {name for name in ATTACKS if lookup("attacks", name).edits == "text"}
    assert {name.split("/")[0] for name in CASES} == on_texts


@pytest.mark.parametrize("make", all_cases())
@settings(max_examples=12, deadline=None, derandomize=True)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), seed=st.integers(0, 5), budget=st.integers(2, 12))
def test_invariants(make, texts, seed, budget):
    attack = make()
    # Below what is kept back for the judge a budget is refused: test_budgets_that_leave_nothing_are_refused.
    budget += attack.reserve()
    examples = examples_for(attack, texts)
    for each in (attack, attack.null()):
        records, victim = run(
            each, examples, hashed, seed=seed, budget=budget, pool=pool(), lm=lm_for(attack)
        )
        assert [r.example_id for r in records] == [e.id for e in examples]
        assert sum(r.queries for r in records) == victim.total
        for record, text in zip(records, texts, strict=True):
            assert 1 <= record.queries <= budget
            assert record.original == text
            assert keeps_protected(text, record.edited, attack.config.protect)
            assert (record.outcome == "success") == (record.clean.correct and not record.final.correct)
        alone = [
            run(each, [e], hashed, seed=seed, budget=budget, pool=pool(), lm=lm_for(attack))[0][0]
            for e in examples
        ]
        assert alone == records


@pytest.mark.parametrize("make", all_cases())
@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_texts_survive(make, text):
    attack = make()
    for each in (attack, attack.null()):
        [record], _ = run(each, examples_for(attack, [text]), budget=9, pool=pool(), lm=lm_for(attack))
        assert keeps_protected(text, record.edited, attack.config.protect)
        assert record.outcome in ("failure", "skipped")


@pytest.mark.parametrize("make", all_cases())
def test_ten_thousand_words_survive(make):
    text = "The quick film carries every single scene with 12 apples. " * 1000
    attack = make()
    [record], victim = run(attack, examples_for(attack, [text]), budget=6, pool=pool(), lm=lm_for(attack))
    assert victim.total == record.queries <= 6
    assert keeps_protected(text, record.edited, attack.config.protect)


def every_record():
    """Records of every case and of its null on a few texts, as text."""
    texts = (ODD["html"], "The quick film carries 12 good houses. Many visitors bought it. Was it long?")
    found = []
    for name, make in CASES.items():
        attack = make()
        for each in (attack, attack.null()):
            records, _ = run(
                each, examples_for(attack, texts), hashed, budget=20, pool=pool(), lm=lm_for(attack)
            )
            found.append(f"{name}: {records}")
    return "\n".join(found)


IN_A_PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
import attack_models, test_properties
from zobench.attacks import word_attack
word_attack.load_filler = attack_models.fake_filler
word_attack.load_similarity = attack_models.fake_similarity
print(test_properties.every_record())
"""


@pytest.mark.wordnet
def test_another_process_with_another_order_of_sets_finds_the_same():
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        check=True,
        timeout=300,
    )
    here, there = every_record().splitlines(), done.stdout.decode().splitlines()
    assert len(here) == 2 * len(CASES)
    assert "outcome='success'" in "".join(here)
    assert here == there


@pytest.mark.parametrize("name", ["char-typos", "irrelevant-sentence", "irrelevant-sentence/number"])
def test_draws_follow_the_seed_and_the_example_id(name):
    text = "the quiet little house near the river does not have many visitors during the long winter"

    def edited(example_id, seed):
        [record], _ = run(CASES[name](), [example(example_id, text)], seed=seed, pool=pool())
        return record.edited

    assert edited("a", 0) == edited("a", 0)
    assert len({edited(i, s) for i in "abc" for s in (0, 1)}) > 1


@pytest.mark.parametrize("make", all_cases(searched=False))
def test_budgets_that_leave_nothing_are_refused(make):
    attack = make()
    with pytest.raises(ValueError, match="is too small for the clean text"):
        run(
            attack,
            [example("e", "a text", label=0)],
            hashed,
            budget=attack.reserve(),
            pool=pool(),
            lm=lm_for(attack),
        )
