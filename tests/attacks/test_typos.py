"""Character edits and the typo attack."""

import pytest
from attack_fakes import example, run
from hypothesis import given
from hypothesis import strategies as st

from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.attacks.chars import KINDS, NEIGHBOURS, edit_word
from zobench.attacks.streams import stream
from zobench.attacks.words import graphemes


def distance(a, b):
    """Damerau-Levenshtein distance (restricted), an independent measure of one character edit."""
    d = [[max(i, j) if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[-1][-1]


@pytest.mark.parametrize("kind", KINDS)
@given(
    word=st.text(alphabet="abcXYZéñשλ", min_size=1, max_size=9), seed=st.integers(0, 9), keep=st.booleans()
)
def test_one_edit_is_one_edit(kind, word, seed, keep):
    edited = edit_word(word, kind, stream(seed, "t"), keep_ends=keep)
    if edited is None:
        return
    assert distance(graphemes(word), graphemes(edited)) == 1
    if keep:
        assert (edited[0], edited[-1]) == (word[0], word[-1])


def test_neighbours_are_symmetric_and_near():
    assert set(NEIGHBOURS["g"]) == set("ftyhbv")
    assert set(NEIGHBOURS["q"]) == set("wa")
    assert all(a in NEIGHBOURS[b] for a in NEIGHBOURS for b in NEIGHBOURS[a])


def test_nothing_to_edit_is_skipped():
    [record], _ = run(CharTypos(), [example("a", "it is so 1234 great")])
    assert (record.outcome, record.queries, record.reason) == (
        "skipped",
        1,
        "nothing to edit or no query left",
    )


def test_number_of_edits_and_words():
    text = "several remarkable performances outweigh the predictable storyline"
    for edits in (1, 2, 4):
        [record], _ = run(
            CharTypos(CharTyposConfig(edits=edits, tries=1, kinds=("delete",))), [example("a", text)]
        )
        assert record.changed_words == edits
        assert len(text) - len(record.edited) == edits
