"""WordNet through NLTK's reader and through the database files: the same synonyms."""

import shutil
from pathlib import Path

import pytest

from zobench.attacks.wordnet import (
    FOLDERS,
    DatabaseFiles,
    NltkReader,
    open_wordnet,
    parts_of_speech,
    synonyms,
)

FILES = next((Path(f) for f in FOLDERS if (Path(f) / "index.noun").is_file()), None)
needs_files = pytest.mark.skipif(FILES is None, reason="no WordNet database files (Debian: wordnet-base)")
WORDS = (
    "apple apples film good better best running ran mice children wolves churches quickly bought happily "
    "men studies larger happiest beautiful the zxqv 've U.S. car big carry carries scene goods lives left "
    "leaves saw found Paris alive asleep galore boxes geese axes data was does ages ring rang"
)
LEXNAMES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body "
    "noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location "
    "noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process "
    "noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change "
    "verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation "
    "verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl"
)


@pytest.fixture(scope="module")
def nltk_folder(tmp_path_factory):
    """The database files as NLTK lays them out; Debian leaves only the list of lexnames out."""
    import nltk.data

    root = tmp_path_factory.mktemp("nltk") / "corpora" / "wordnet"
    root.mkdir(parents=True)
    for file in FILES.iterdir():
        if file.is_file():
            shutil.copy(file, root)
    rows = [f"{i:02d}\t{n}\t{'rnv'.find(n[0]) + 1}" for i, n in enumerate(LEXNAMES.split())]
    (root / "lexnames").write_text("\n".join(rows) + "\n")
    nltk.data.path.append(str(root.parent.parent))
    yield root
    nltk.data.path.remove(str(root.parent.parent))


@needs_files
def test_nltk_is_preferred_and_both_readers_give_the_same_synonyms(nltk_folder, monkeypatch):
    monkeypatch.setenv("NLTK_DATA", str(nltk_folder.parent.parent))
    nltk, files = open_wordnet(), open_wordnet(use_nltk=False)
    assert isinstance(nltk, NltkReader)
    assert isinstance(files, DatabaseFiles)
    found = 0
    for word in WORDS.split():
        assert files.synsets(word) == nltk.synsets(word), word
        assert synonyms(word, files) == synonyms(word, nltk)
        found += len(synonyms(word, files))
    assert found > 200


@needs_files
def test_synonyms_and_parts():
    files = DatabaseFiles(FILES)
    assert "film" in synonyms("movie", files)
    assert "car" not in synonyms("car", files)
    assert not any("_" in s for s in synonyms("car", files))
    assert synonyms("zxqv", files) == ()
    assert parts_of_speech("quickly") == ("ADV",)
    assert set(parts_of_speech("film")) == {"NOUN", "VERB"}
    assert parts_of_speech("the") == ()


def test_neither_there_names_both(tmp_path):
    with pytest.raises(ValueError, match=r"nltk\.downloader wordnet.*wordnet-base"):
        open_wordnet([tmp_path], use_nltk=False)


def test_folder_from_the_environment(tmp_path, monkeypatch):
    for name in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"index.{name}").write_text("  1 licence\n")
        (tmp_path / f"data.{name}").write_text("")
        (tmp_path / f"{name}.exc").write_text("")
    line = "00000000 03 n 02 kite 0 flyer(p) 0 000 | a toy\n"
    (tmp_path / "data.noun").write_text(line)
    (tmp_path / "index.noun").write_text("  1 licence\nkite n 1 0 1 0 00000000\n")
    (tmp_path / "noun.exc").write_text("kiten kite\n")
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    files = open_wordnet(use_nltk=False)
    assert synonyms("kites", files) == ("kite", "flyer")
    assert synonyms("kiten", files) == ("kite", "flyer")
