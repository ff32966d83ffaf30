"""Character edits of one word: keyboard neighbour, swap, insertion, deletion, look-alike.

Each edit works on grapheme clusters, so a letter keeps its marks and an emoji stays whole. It returns
``None`` if it does not apply (for example a keyboard neighbour of a letter outside the Latin keyboard).
Sources: DeepWordBug (arXiv 1801.04354), TextBugger (1812.05271), Pruthi et al.
(1905.11268: first and last letter kept).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from zobench.attacks.words import graphemes

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
LOOK_ALIKE = dict(zip("aceopxyisjhkbdgqw", "асеорхуіѕјһκЬԁɡԛԝ", strict=True))
"""Latin letters and the Cyrillic, Greek or phonetic letters that look like them."""

CharEdit = Callable[[list[str], int, Random], "list[str] | None"]


def _neighbours() -> dict[str, str]:
    """Neighbouring keys of each key on a QWERTY keyboard (rows are shifted by half a key)."""
    found: dict[str, str] = {}
    for r, row in enumerate(_ROWS):
        for c, key in enumerate(row):
            near = [(r, c - 1), (r, c + 1), (r - 1, c), (r - 1, c + 1), (r + 1, c - 1), (r + 1, c)]
            found[key] = "".join(_ROWS[y][x] for y, x in near if 0 <= y < 3 and 0 <= x < len(_ROWS[y]))
    return found


NEIGHBOURS = _neighbours()


def _near(letter: str, random: Random) -> str | None:
    keys = NEIGHBOURS.get(letter.lower())
    if keys is None:
        return None
    key = random.choice(keys)
    return key.upper() if letter.isupper() else key


def keyboard(letters: list[str], at: int, random: Random) -> list[str] | None:
    """Replace one letter by a neighbouring key."""
    key = _near(letters[at], random)
    return None if key is None else [*letters[:at], key, *letters[at + 1 :]]


def swap(letters: list[str], at: int, random: Random) -> list[str] | None:
    """Exchange a letter with the next one; they must differ."""
    if at + 1 >= len(letters) or letters[at] == letters[at + 1]:
        return None
    return [*letters[:at], letters[at + 1], letters[at], *letters[at + 2 :]]


def insert(letters: list[str], at: int, random: Random) -> list[str] | None:
    """Insert a neighbouring key before a letter (outside the Latin keyboard: type the letter twice)."""
    return [*letters[:at], _near(letters[at], random) or letters[at], *letters[at:]]


def delete(letters: list[str], at: int, random: Random) -> list[str] | None:
    """Remove one letter; ``None`` for words of one letter."""
    return [*letters[:at], *letters[at + 1 :]] if len(letters) > 1 else None


def look_alike(letters: list[str], at: int, random: Random) -> list[str] | None:
    """Replace a Latin letter by a letter of another script that looks the same."""
    other = LOOK_ALIKE.get(letters[at])
    return None if other is None else [*letters[:at], other, *letters[at + 1 :]]


def split(letters: list[str], at: int, random: Random) -> list[str] | None:
    """Insert a space before a letter (never at the word's start)."""
    return [*letters[:at], " ", *letters[at:]] if at > 0 else None


KINDS: dict[str, CharEdit] = {
    "keyboard": keyboard,
    "swap": swap,
    "insert": insert,
    "delete": delete,
    "look-alike": look_alike,
    "split": split,
}


def edit_word(word: str, kind: str, random: Random, *, keep_ends: bool = True) -> str | None:
    """One edit of that kind at a random position where it changes the word; ``None`` if there is none.

    With ``keep_ends`` the first and the last grapheme are left unchanged (a swap does not move them either).
    """
    letters = graphemes(word)
    first, last = (1, len(letters) - 1) if keep_ends else (0, len(letters))
    if kind == "swap" and keep_ends:
        last -= 1
    places = list(range(first, max(first, last)))
    random.shuffle(places)
    for at in places:
        edited = KINDS[kind](letters, at, random)
        if edited is not None and "".join(edited) != word:
            return "".join(edited)
    return None
