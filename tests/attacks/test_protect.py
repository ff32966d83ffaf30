"""Text that no attack may change."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zobench.attacks.base import SearchConfig
from zobench.attacks.protect import RULES, Guard, protected_spans


def texts(text, words=(), rules=RULES):
    return [s.text for s in protected_spans(text, words, rules)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("She paid $5 and then $6 for lunch.", ["$5", "$6"]),
        ("He has twenty-five apples, half of them red", ["twenty-five", "half"]),
        ("It ran 12 km in 3 hours.", ["12", "km", "3", "hours"]),
        ("The value of $x^2+1$ is odd", ["$x^2+1$"]),
        ("costs $5. He has $2$ cats", ["$5", "$2$"]),
        (r"Let \(a+b\) and \frac{1}{2} be", [r"\(a+b\)", r"\frac{1}{2}"]),
        (r"see \begin{array}{c} word \end{array} end", [r"\begin{array}{c} word \end{array}"]),
        ("see [asy] draw((0,0)); [/asy] end", ["[asy] draw((0,0)); [/asy]"]),
        ("see [asy] draw never closed", ["[asy] draw never closed"]),
        ('a <b class="x">bold</b> &amp; c', ['<b class="x">', "</b>", "&amp;"]),
        ("go to https://a.b/c?d now", ["https://a.b/c?d"]),
        ("fill {name} and [MASK] here", ["{name}", "[MASK]"]),
        ("1,000.50% of 5/6", ["1,000.50%", "5/6"]),
        ("a < b and c > d", []),
        ("ready and able", []),
    ],
)
def test_rules(text, expected):
    assert texts(text) == expected


def test_label_words_are_whole_words_in_any_case():
    assert texts("Great, the greatest great film", ("great",), ()) == ["Great", "great"]
    assert texts("not very positive", ("very positive", ""), ()) == ["very positive"]


def test_optional_rules_and_unknown_rule():
    assert texts("Ann has more than Bob", (), ("comparatives", "names")) == ["more", "than", "Bob"]
    with pytest.raises(ValueError, match=r"protect must be .*; did you mean 'numerals'"):
        SearchConfig(protect=("numeral",))


def test_guard_free_and_keeps():
    guard = Guard("buy 12 red hats", ("red",))
    assert guard.free(0, 3)
    assert not guard.free(2, 5)
    assert not guard.free(5, 5)
    assert guard.free(4, 4)
    assert guard.free(6, 6)
    assert not guard.free(0, 15)
    assert guard.keeps("byu 12 red hats")
    assert not guard.keeps("buy 12 rde hats")
    assert not guard.keeps("buy 12 red ten")


@given(st.text(alphabet="ab 12.,'-$\\{}()[]<>&;é😀ש\n", max_size=60))
def test_spans_are_ordered_disjoint_and_the_text(text):
    spans = protected_spans(text, ("ab",))
    assert all(text[s.start : s.end] == s.text and s.text for s in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    guard = Guard(text, ("ab",))
    assert guard.keeps(text)
    covered = {i for s in spans for i in range(s.start, s.end)}
    assert all(guard.free(i, i + 1) == (i not in covered) for i in range(len(text)))
