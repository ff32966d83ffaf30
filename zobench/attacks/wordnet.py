"""Synonyms and parts of speech from WordNet.

NLTK's reader is used if NLTK's data is installed, else the WordNet database files are read directly.
Debian's package ``wordnet-base`` installs those files (``index.*``, ``data.*``, ``*.exc``) in
``/usr/share/wordnet``. Both readers apply the same lookup: the exception list, else the detachment rules of
morphy; synsets of nouns, verbs, adjectives and adverbs in that order, lemmas in file order.
``test_wordnet.py`` tests that they return the same synonyms.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

PARTS: dict[str, str] = {"n": "NOUN", "v": "VERB", "a": "ADJ", "r": "ADV"}
FOLDERS: tuple[str, ...] = ("/usr/share/wordnet", "/usr/share/wordnet/dict", "/usr/local/WordNet-3.0/dict")
_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}


def _rules(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs (ending, replacement) from a text such as ``"ies>y s>"``."""
    return tuple((old, new) for old, _, new in (rule.partition(">") for rule in text.split()))


_ENDINGS = {
    "n": _rules("s> ses>s ves>f xes>x zes>z ches>ch shes>sh men>man ies>y"),
    "v": _rules("s> ies>y es>e es> ed>e ed> ing>e ing>"),
    "a": _rules("er> est> er>e est>e"),
    "r": (),
}
"""Detachment rules of morphy."""


class WordNet(Protocol):
    """A source of synsets."""

    def synsets(self, word: str) -> list[tuple[str, tuple[str, ...]]]:
        """(part of speech letter, lemmas) of every synset of the word or of its base forms."""
        ...


class DatabaseFiles:
    """Reader of the WordNet database files (format: man page wndb(5WN)); indexes are read on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: dict[str, dict[str, tuple[int, ...]]] = {}
        self._exceptions: dict[str, dict[str, list[str]]] = {}
        self._data: dict[str, bytes] = {}

    def synsets(self, word: str) -> list[tuple[str, tuple[str, ...]]]:
        form = word.lower().replace(" ", "_")
        return [
            (part, self._lemmas(part, offset))
            for part in PARTS
            for base in self._base_forms(form, part)
            for offset in self._offsets(part)[base]
        ]

    def _base_forms(self, form: str, part: str) -> list[str]:
        exceptions = self._exception_list(part).get(form)
        if exceptions is None:
            exceptions = [form[: -len(old)] + new for old, new in _ENDINGS[part] if form.endswith(old)]
        index = self._offsets(part)
        return [f for f in dict.fromkeys([form, *exceptions]) if f in index]

    def _offsets(self, part: str) -> dict[str, tuple[int, ...]]:
        """Lemma -> synset offsets, in order of sense number."""
        if part not in self._index:
            table = {}
            for fields in self._lines(f"index.{_FILES[part]}"):
                table[fields[0]] = tuple(int(x) for x in fields[-int(fields[2]) :])
            self._index[part] = table
        return self._index[part]

    def _exception_list(self, part: str) -> dict[str, list[str]]:
        if part not in self._exceptions:
            self._exceptions[part] = {f[0]: f[1:] for f in self._lines(f"{_FILES[part]}.exc")}
        return self._exceptions[part]

    def _lines(self, name: str) -> Iterator[list[str]]:
        with open(self.folder / name, encoding="ascii", errors="replace") as lines:
            for line in lines:
                if not line.startswith("  "):  # the licence
                    yield line.split()

    def _lemmas(self, part: str, offset: int) -> tuple[str, ...]:
        """The words of one synset, adjective markers such as ``(p)`` removed."""
        if part not in self._data:
            self._data[part] = (self.folder / f"data.{_FILES[part]}").read_bytes()
        end = self._data[part].index(b"\n", offset)
        fields = self._data[part][offset:end].decode("ascii", "replace").split()
        count = int(fields[3], 16)
        return tuple(fields[4 + 2 * i].split("(")[0] for i in range(count))


class NltkReader:
    """The same lookup through NLTK's ``WordNetCorpusReader``, without its multilingual data."""

    def __init__(self, root: Any) -> None:
        from nltk.corpus.reader.wordnet import WordNetCorpusReader

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._reader = WordNetCorpusReader(root, None)

    def synsets(self, word: str) -> list[tuple[str, tuple[str, ...]]]:
        found = self._reader.synsets(word.replace(" ", "_"))
        return [("a" if s.pos() == "s" else s.pos(), tuple(s.lemma_names())) for s in found]


def open_wordnet(folders: Sequence[str | Path] | None = None, *, use_nltk: bool = True) -> WordNet:
    """A reader of NLTK's data if it is installed, else of the first folder with database files.

    ``folders`` defaults to ``WNSEARCHDIR`` followed by ``FOLDERS``.

    Raises:
        ValueError: neither is installed; the message explains how to install either.
    """
    if use_nltk and _nltk_has_wordnet():
        import nltk.data

        for name in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
            try:
                return NltkReader(nltk.data.find(name))
            except LookupError:
                continue
    searched = [*filter(None, [os.environ.get("WNSEARCHDIR")]), *FOLDERS] if folders is None else folders
    for folder in searched:
        if (Path(folder) / "index.noun").is_file():
            return DatabaseFiles(Path(folder))
    raise ValueError(
        "WordNet not found. Either install NLTK's data (python -m nltk.downloader wordnet), or the WordNet "
        "database files "
        f"(Debian: apt-get install wordnet-base; looked in {', '.join(map(str, searched))}; "
        "WNSEARCHDIR names another folder)"
    )


def _nltk_has_wordnet() -> bool:
    """Whether one of NLTK's data folders contains WordNet.

    Looks at the disk without importing NLTK, because that import takes seconds.
    """
    named = [Path(f) for f in os.environ.get("NLTK_DATA", "").split(os.pathsep) if f]
    roots = [Path(sys.prefix), *(Path(sys.prefix) / d for d in ("share", "lib"))]
    roots += [Path(d) for d in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    folders = [*named, Path.home() / "nltk_data", *(r / "nltk_data" for r in roots)]
    return any(True for f in folders for _ in f.glob("corpora/wordnet*"))


@lru_cache(maxsize=1)
def default_wordnet() -> WordNet:
    """``open_wordnet()``, opened once."""
    return open_wordnet()


def synonyms(word: str, wordnet: WordNet | None = None) -> tuple[str, ...]:
    """Single-word lemmas of all synsets of the word, without duplicates and without the word itself."""
    source = default_wordnet() if wordnet is None else wordnet
    found: dict[str, str] = {}
    for _, lemmas in source.synsets(word):
        for lemma in lemmas:
            if "_" not in lemma and lemma.lower() != word.lower():
                found.setdefault(lemma.lower(), lemma)
    return tuple(found.values())


@lru_cache(maxsize=50_000)
def parts_of_speech(word: str) -> tuple[str, ...]:
    """Universal part-of-speech tags of the word in WordNet, the one with most synsets first.

    Empty for words that WordNet does not contain.
    """
    counts: dict[str, int] = {}
    for part, _ in default_wordnet().synsets(word):
        counts[PARTS[part]] = counts.get(PARTS[part], 0) + 1
    return tuple(sorted(counts, key=lambda tag: -counts[tag]))
