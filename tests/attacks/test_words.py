"""Word spans, edits by span, word differences, sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zobench.attacks.words import (
    Edit,
    apply_edits,
    changed_words,
    graphemes,
    match_case,
    sentences,
    words,
)

TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="ab 1.,'-$\\{}<>&;é\u0301😀👩‍🚀שלום مرحبا\n", max_size=80),
)


@given(TEXTS)
def test_spans_are_the_text(text):
    for w in words(text) + sentences(text):
        assert text[w.start : w.end] == w.text
    ends = [0] + [w.end for w in words(text)]
    assert all(w.start >= end for w, end in zip(words(text), ends, strict=False))


@given(TEXTS, st.randoms(use_true_random=False))
def test_edits_leave_the_rest_alone(text, random):
    chosen = [w for w in words(text) if random.random() < 0.5]
    edited = apply_edits(text, [Edit(w.start, w.end, "\0") for w in chosen])
    assert edited.count("\0") == len(chosen) + text.count("\0")
    assert apply_edits(text, []) == text
    for w in reversed(chosen):
        text = text[: w.start] + "\0" + text[w.end :]
    assert edited == text


@given(TEXTS)
def test_graphemes_concatenate_to_the_text(text):
    assert "".join(graphemes(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("don't stop, well-known film", ["don't", "stop", "well-known", "film"]),
        ("pay $1,000.50 or 1/2", ["pay", "1,000.50", "or", "1/2"]),
        ("a 3-year-old 5th", ["a", "3-year-old", "5th"]),
        ("שלום עולם 😀 مرحبا", ["שלום", "עולם", "مرحبا"]),
        ("cafe\u0301 au lait", ["cafe\u0301", "au", "lait"]),
        ("<b>bold</b> &amp; more", ["b", "bold", "b", "amp", "more"]),
    ],
)
def test_words(text, expected):
    assert [w.text for w in words(text)] == expected


def test_sentences_keep_decimals_and_titles_whole():
    text = "Mr. Bo has 3.5 km. He ran!  Did he? yes"
    assert [s.text for s in sentences(text)] == ["Mr. Bo has 3.5 km.", "He ran!", "Did he?", "yes"]


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        ("", "", 0),
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b x y c", 2),
        ("a b c", "a  b, c!", 0),
        ("a b c d", "a x y d", 2),
        ("", "a b", 2),
    ],
)
def test_changed_words(a, b, count):
    assert changed_words(a, b) == count
    assert changed_words(b, a) == count


def test_changed_words_of_a_long_text_is_cheap_and_right():
    text = "word " * 10_000
    assert changed_words(text, "other " + text) == 1
    assert changed_words("x " + text + "y", text + "z z") >= 2


@pytest.mark.parametrize(
    ("word", "like", "out"),
    [("big", "Large", "Big"), ("big", "LARGE", "BIG"), ("big", "large", "big"), ("", "A", "")],
)
def test_match_case(word, like, out):
    assert match_case(word, like) == out
