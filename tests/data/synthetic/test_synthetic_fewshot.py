"""Few-shot sets: not in the training text, without duplicates, short, and with label words that are new in
this role."""

import hashlib
import itertools
import random

import pytest

from zobench.data.synthetic import inference, sentiment, topics
from zobench.data.synthetic.corpus import documents
from zobench.data.synthetic.fewshot import SETS, SPLITS, pool, sample
from zobench.models.nano.recipe import RECIPES

DOCUMENTS = 4000
RECORDED = "99efba0559ca2c15"


@pytest.fixture(scope="module")
def training_text() -> list[str]:
    """Some text of every phase that ``nano`` is trained on, with the seeds of its recipe."""
    phases = RECIPES["nano"].phases
    return [d.text for p in phases for d in itertools.islice(documents(p.seed, p.plan), DOCUMENTS)]


def test_the_stream_is_the_same_for_the_same_seed_and_another_for_another(training_text):
    again = [d.text for d in itertools.islice(documents(1), 500)]
    other = [d.text for d in itertools.islice(documents(2), 500)]
    assert again == training_text[:500]
    assert again != other


def test_generators_leave_the_global_random_state_alone():
    random.seed(4)
    before = random.getstate()
    list(itertools.islice(documents(3), 200))
    sample("topic", "train", 4, 1)
    assert random.getstate() == before


@pytest.mark.parametrize("name", SETS)
def test_no_row_is_in_the_training_text(name, training_text):
    joined = "\n".join(training_text)
    for split in SPLITS:
        for row in pool(name, split):
            if name == "inference":
                found = [
                    given.format(**row.text) in joined
                    for given in ("Given: {premise}. Claim: {hypothesis}.", "{premise}. So {hypothesis}.")
                ]
            else:
                found = [
                    f"{before}{row.text['sentence']}." in joined
                    for before in ("Review: ", "Note: ", "Text: ")
                ]
            assert not any(found), row


@pytest.mark.parametrize("name", SETS)
def test_splits_share_no_text_and_hold_no_duplicates(name):
    texts = {s: [tuple(r.text.values()) for r in pool(name, s)] for s in SPLITS}
    for found in texts.values():
        assert len(found) == len(set(found))
    for a, b in itertools.combinations(SPLITS, 2):
        assert not set(texts[a]) & set(texts[b])


@pytest.mark.parametrize("name", SETS)
def test_pools_are_balanced_and_test_has_nearly_400_rows(name):
    classes = len(SETS[name].classes)
    for split in SPLITS:
        labels = [r.label for r in pool(name, split)]
        assert {labels.count(c) for c in range(classes)} == {len(labels) // classes}
    assert 396 <= len(pool(name, "test")) <= 400


@pytest.mark.parametrize("name", SETS)
def test_withheld_words_are_in_test_rows_only(name):
    def words(split: str) -> set[str]:
        return {w.strip(",") for r in pool(name, split) for t in r.text.values() for w in t.split()}

    withheld = SETS[name].withheld
    assert not withheld & (words("train") | words("validation"))
    assert withheld <= words("test")


@pytest.mark.parametrize("name", SETS)
def test_label_words_never_stand_in_that_role_in_training_text(name, training_text):
    """No answer of any classification format is a label word of a few-shot set, and no prompt ends like
    theirs.
    """
    answers = {
        label
        for formats in (sentiment.FORMATS, topics.FORMATS, inference.FORMATS)
        for _, ls in formats
        for label in ls
    }
    assert not answers & set(SETS[name].label_words)
    tail = SETS[name].prompt.rpartition("}")[2].strip("?. ")
    assert tail
    assert not any(tail in text for text in training_text)


def test_a_sample_depends_on_its_seed_alone():
    first = [r.id for r in sample("sentiment", "train", 16, 1)]
    assert first == [r.id for r in sample("sentiment", "train", 16, 1)]
    assert first != [r.id for r in sample("sentiment", "train", 16, 2)]
    assert len(set(first)) == 32


def test_rows_are_the_same_on_every_machine():
    """A digest of the first test rows, recorded once: changed generators would change every published row."""
    text = "|".join(r.id for name in SETS for r in pool(name, "test")[:50])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == RECORDED


@pytest.mark.parametrize(
    ("premise", "hypothesis"),
    [("all cats are wild", "no cats are wild"), ("Tom is in the park", "Tom is in the hall")],
)
def test_the_rules_of_inference_by_hand(premise, hypothesis):
    found = {
        p.label
        for p in (inference.draw(random.Random(i)) for i in range(30000))
        if (p.premise, p.hypothesis) == (premise, hypothesis)
    }
    assert found <= {1}


def test_no_pair_of_inference_has_two_labels():
    labels: dict[tuple[str, str], set[int]] = {}
    rng = random.Random(0)
    for _ in range(60000):
        pair = inference.draw(rng)
        labels.setdefault((pair.premise, pair.hypothesis), set()).add(pair.label)
    assert all(len(found) == 1 for found in labels.values())


def test_no_opinion_and_no_note_has_two_labels():
    for draw in (sentiment.draw, topics.draw):
        labels: dict[str, set[int]] = {}
        rng = random.Random(1)
        for _ in range(30000):
            row = draw(rng)
            labels.setdefault(row.text, set()).add(row.label)
        assert all(len(found) == 1 for found in labels.values())


def test_the_labels_of_counting_follow_from_counting():
    """Five things, c of which have the trait: entailed if the second holds wherever the first does, and so
    on."""
    holds = {
        "all": {5},
        "most": {3, 4, 5},
        "some": {1, 2, 3, 4, 5},
        "no": {0},
        "not all": {0, 1, 2, 3, 4},
    }
    for label, pairs in enumerate(inference.COUNTING):
        for first, second in pairs:
            given, asked = holds[first], holds[second]
            expected = 0 if given <= asked else 1 if not given & asked else 2
            assert label == expected, (first, second)
