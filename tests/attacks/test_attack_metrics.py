"""Attack metrics on records written by hand."""

import pytest

from zobench.attacks.base import AttackRecord
from zobench.attacks.metrics import case_counts, net_success_rate, summarize, variant_accuracy
from zobench.tasks.base import Prediction


def record(outcome, *, clean=True, queries=4, source="", position=None, part="", tokens=(10, 10), **more):
    final = outcome != "success" and clean
    return AttackRecord(
        "a",
        outcome,
        "sentence",
        "one two three four five six seven eight nine ten",
        "x",
        Prediction("a", "", clean, tokens=tokens[0]),
        Prediction("a", "", final, tokens=tokens[1]),
        queries,
        source=source,
        position=position,
        part_of_speech=part,
        **more,
    )


RECORDS = [
    record(
        "success",
        source="embedding",
        position=0,
        part="NOUN",
        changed_words=2,
        similarity=0.5,
        tokens=(10, 30),
    ),
    record("success", source="wordnet", position=9, queries=6, changed_words=1, similarity=0.9),
    record("success", source="wordnet", position=5),
    record("failure", queries=10, reason="not confirmed"),
    record("skipped", clean=False, queries=1),
    record("skipped", queries=1, reason="nothing to edit"),
]


def test_summary_by_hand():
    s = summarize(RECORDS)
    assert (s.n, s.attacked, s.successes, s.unconfirmed) == (6, 4, 3, 1)
    assert s.accuracy_before == pytest.approx(5 / 6)
    assert s.accuracy_after == pytest.approx(2 / 6)
    assert s.drop == pytest.approx(0.5)
    assert s.pdr == pytest.approx(0.6)
    assert s.asr == 0.75
    assert s.queries == 6
    assert s.changed_words == 1
    assert s.similarity == pytest.approx(0.7)
    assert s.length_ratio == 1.5


def test_nothing_is_defined_over_nothing():
    s = summarize([])
    assert (s.accuracy_before, s.accuracy_after, s.pdr, s.asr, s.queries, s.length_ratio) == (None,) * 6
    s = summarize([record("skipped", clean=False)])
    assert (s.accuracy_before, s.pdr, s.asr) == (0, None, None)


def test_net_rate_may_be_negative_or_undefined():
    null = [record("success"), record("failure"), record("failure"), record("failure")]
    assert net_success_rate(RECORDS, null) == 0.5
    assert net_success_rate(null, RECORDS) == -0.5
    assert net_success_rate(RECORDS, []) is None


def test_examples_are_counted_by_source_whatever_came_of_them():
    assert case_counts(RECORDS) == {
        "": 1,
        "embedding": 1,
        "not confirmed": 1,
        "nothing to edit": 1,
        "wordnet": 2,
    }


def test_micro_macro_normalized():
    v = variant_accuracy({"a": [True, True], "b": [True, False]}, {"a": True, "b": True, "c": False})
    assert (v.micro, v.macro, v.normalized_micro, v.normalized_macro) == (0.75, 0.5, 0.75, 0.5)
    v = variant_accuracy({"a": [True], "b": [False]}, {"a": True, "b": False})
    assert (v.normalized_micro, v.normalized_macro) == (1.0, 1.0)
    assert variant_accuracy({"a": [True]}, {"a": False}).normalized_micro is None
    with pytest.raises(ValueError, match="at least one variant"):
        variant_accuracy({"a": []}, {"a": True})
    with pytest.raises(ValueError, match="no clean answer"):
        variant_accuracy({"a": [True]}, {})
