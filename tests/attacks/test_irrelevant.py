"""Irrelevant sentences: arms, intensity, position, guard, and their random baselines."""

import pytest
from attack_fakes import context, example, predict_with, run

from zobench.attacks.base import AttackRecord, Victim
from zobench.attacks.distractors import (
    NEUTRAL,
    TEMPLATES,
    Filling,
    changes_answer,
    names_in,
    number_for,
    numbered_sentences,
    things_in,
)
from zobench.attacks.irrelevant import DEFENCE, IrrelevantSentence, IrrelevantSentenceConfig
from zobench.attacks.neutral import FRAMES
from zobench.attacks.streams import stream
from zobench.attacks.words import in_style, sentences, words
from zobench.tasks.base import Prediction

TEXT = "Maria bought 4 apples. Later Maria gave 1 to Tom. How many apples does Maria have?"
POOL = [
    example("p0", "Nina owns 31 cats. She has 5 dogs. How many pets is 36?"),
    example("p1", "Tom ran 9 miles."),
]


def texts_of(config, text=TEXT, seed=0, pool=(), null=False):
    """Every text asked of an unbreakable victim, the clean one first."""
    asked = []
    predict = predict_with(lambda e: 0.9)
    victim = Victim(
        lambda es: asked.extend(e.text["sentence"] for e in es) or predict(es), weights_digest="d"
    )
    attack = IrrelevantSentence(config)
    (attack.null() if null else attack).run(victim, [example("a", text)], context(seed, pool))
    return asked


def inserted(edited, text=TEXT):
    kept = [s.text for s in sentences(text)]
    return [s.text for s in sentences(edited) if s.text not in kept]


def test_paired_arms_differ_by_the_number_alone():
    for seed in range(10):
        with_number = texts_of(IrrelevantSentenceConfig(arm="paired-number", sentences=2), seed=seed)
        without = texts_of(IrrelevantSentenceConfig(arm="paired-no-number", sentences=2), seed=seed)
        assert len(with_number) == len(without) == 4
        for a, b in zip(with_number[1:], without[1:], strict=True):
            assert a != b
            extra = [w.text for w in words(a)]
            for w in words(b):
                extra.remove(w.text)
            assert len(extra) == 2
            assert all(x.isdigit() for x in extra)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_intensity_in_sentences(count):
    for text in texts_of(IrrelevantSentenceConfig(sentences=count))[1:]:
        assert len(inserted(text)) == count
        assert len(set(inserted(text))) == count


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0, 10.0])
def test_intensity_in_length(ratio):
    base = len(words(TEXT))
    longest = max(len(t.split()) for t in TEMPLATES) + 5
    for text in texts_of(IrrelevantSentenceConfig(length_ratio=ratio))[1:]:
        added = len(words(text)) - base
        assert ratio * base <= added < ratio * base + longest


@pytest.mark.parametrize(("position", "index"), [("start", 0), ("before-question", 2), ("after", 3)])
def test_positions(position, index):
    for text in texts_of(IrrelevantSentenceConfig(position=position))[1:]:
        all_sentences = [s.text for s in sentences(text)]
        assert all_sentences[:index] + all_sentences[index + 1 :] == [s.text for s in sentences(TEXT)]


def test_random_positions_vary():
    found = {
        [s.text for s in sentences(t)].index(inserted(t)[0])
        for seed in range(20)
        for t in texts_of(IrrelevantSentenceConfig(), seed=seed)[1:]
    }
    assert found == {0, 1, 2, 3}


def test_number_arm_takes_guarded_sentences_of_other_examples():
    config = IrrelevantSentenceConfig(arm="number", tries=5)
    asked = texts_of(config, pool=[*POOL, example("a", TEXT)])
    assert {s for t in asked[1:] for s in inserted(t)} == {"Nina owns 31 cats."}
    with pytest.raises(ValueError, match="paired-number"):
        texts_of(config)


def test_pool_is_capped_alike_for_all_arms():
    pool = [example(f"p{i}", f"Dora saw {i} boats.") for i in range(500)]
    config = IrrelevantSentenceConfig(arm="number", tries=200)
    assert (
        len({inserted(t)[0] for t in texts_of(config, pool=pool)[1:]})
        == 20
        == len(TEMPLATES)
        == config.pool_size
    )


def test_guard():
    assert changes_answer("How many are there?", TEXT, (), names_may_overlap=False)
    assert changes_answer("Maria sings.", TEXT, (), names_may_overlap=False)
    assert not changes_answer("Maria sings.", TEXT, (), names_may_overlap=True)
    assert changes_answer("A Great man sings.", TEXT, ("great",), names_may_overlap=True)
    assert not changes_answer("A greatly loved man sings.", TEXT, ("great",), names_may_overlap=True)


def test_name_overlap_topic_and_number_range():
    for text in texts_of(IrrelevantSentenceConfig(role="overlap", topic="in", arm="paired-number"))[1:]:
        [sentence] = inserted(text)
        assert "Maria" in sentence or "Tom" in sentence
        assert "apples" in sentence
        [number] = [int(w.text) for w in words(sentence) if w.text.isdigit()]
        assert 2 <= number <= 12
    for text in texts_of(IrrelevantSentenceConfig(role="other", number_range="out", arm="paired-number"))[1:]:
        [sentence] = inserted(text)
        assert "Maria" not in sentence
        assert "Tom" not in sentence
        assert max(int(w.text) for w in words(sentence) if w.text.isdigit()) >= 120
    assert number_for("", stream(0, "x"), in_range=True) in range(2, 31)


def test_text_readers():
    assert names_in(TEXT) == {"Maria", "Tom"}
    assert things_in(TEXT) == ["apples"]
    assert numbered_sentences(POOL, "sentence") == [("p0", "Nina owns 31 cats."), ("p1", "Tom ran 9 miles.")]
    assert (
        Filling("a sailor", "bells", 7).sentence("{owner} has [{n} ]{thing}.", with_number=True)
        == "A sailor has 7 bells."
    )
    assert in_style("A Sailor sang.", "all lower case .") == "a sailor sang ."


@pytest.mark.parametrize(
    ("text", "things"),
    [
        (
            "Maria buys 4 apples and sells 2 pears. She gives some cookies away.",
            ["apples", "pears", "cookies"],
        ),
        ("Each day Tom runs, swims and eats 3 ripe bananas.", ["bananas"]),
        ("The train leaves at 5 and carries many passengers of other towns.", ["passengers", "towns"]),
        ("Lena keeps her 12 small glass marbles; Ben wins twelve marbles.", ["marbles"]),
        ("He walks 3 miles in 2 hours and costs rise.", []),
        ("a movie that works , stars and all , and never bores us", []),
        ("", []),
    ],
)
def test_things_are_nouns_not_verbs(text, things):
    assert things_in(text) == things


def test_defence_is_in_every_query_and_in_no_record():
    asked = texts_of(IrrelevantSentenceConfig(defence=True))
    assert all(t.startswith(DEFENCE) for t in asked)
    [record], _ = run(IrrelevantSentence(IrrelevantSentenceConfig(defence=True)), [example("a", TEXT)])
    assert not record.edited.startswith(DEFENCE)


def test_nulls():
    attack = texts_of(IrrelevantSentenceConfig())
    paraphrase = texts_of(IrrelevantSentenceConfig(), null=True)
    neutral = texts_of(IrrelevantSentenceConfig(null_kind="neutral"), null=True)
    assert len(attack) == len(paraphrase) == len(neutral) == 4
    for text in paraphrase[1:]:
        for frame in FRAMES:
            text = text.replace(f"{frame} ", "")
        assert text == TEXT
    sizes = [sum(len(words(f)) * t.count(f) for f in FRAMES) for t in paraphrase[1:]]
    assert all(s >= 6 or t.count(": ") == 3 for s, t in zip(sizes, paraphrase[1:], strict=True))
    for a, n in zip(attack[1:], neutral[1:], strict=True):
        assert inserted(n)[0] in NEUTRAL
        assert [s.text for s in sentences(n)].index(inserted(n)[0]) == [s.text for s in sentences(a)].index(
            inserted(a)[0]
        )
        assert abs(len(words(n)) - len(words(a))) <= 4


@pytest.mark.parametrize(
    "params", [{"arm": "numbers"}, {"position": "end"}, {"sentences": 0}, {"length_ratio": 0.0}]
)
def test_bad_parameters(params):
    with pytest.raises(ValueError):
        IrrelevantSentenceConfig(**params)


def test_variants_of_the_same_problems_have_micro_macro_and_normalized_accuracy():
    def records(after):
        right = [Prediction(str(i), "", True) for i in range(3)]
        return [
            AttackRecord(str(i), "failure", "q", "a", "b", right[i], Prediction(str(i), "", c == "1"), 2)
            for i, c in enumerate(after)
        ]

    def one(tries):
        return IrrelevantSentence(IrrelevantSentenceConfig(tries=tries))

    found = {
        "a": (one(1), records("110")),
        "b": (one(1), records("100")),
        "c": (one(3), records("000")),
    }
    measures = IrrelevantSentence.measures_across(found)
    assert {m.metric: m.value for m in measures} == {
        "micro": 0.5, "macro": pytest.approx(1 / 3), "normalized_micro": 0.5,
        "normalized_macro": pytest.approx(1 / 3),
    }  # fmt: skip
    assert all(m.params == {"variants": ["a", "b"]} for m in measures)
    assert not IrrelevantSentence.measures_across({"a": found["a"], "c": found["c"]})
