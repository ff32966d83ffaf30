"""The attack engine: lockstep, counting of queries, budgets, confirmation, and the random baseline."""

import dataclasses
from types import SimpleNamespace

import pytest
from attack_fakes import breaks_on, context, example, hashed, predict_with, run

from zobench.attacks.answers import AnswerStore, RunAnswers
from zobench.attacks.base import QueryBudgetExceeded, Victim
from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.attacks.lockstep import FULL, VAIN, Ask, lockstep
from zobench.attacks.neutral import neutral_text
from zobench.attacks.protect import Guard
from zobench.attacks.streams import stream
from zobench.attacks.words import changed_words

TEXT = "the film does not have a memorable ending, but the actors carry every single scene"


def test_lockstep_asks_once_per_round_and_helpers_first():
    calls = []

    def search(name, rounds):
        got = []
        for i in range(rounds):
            [h] = yield Ask("helper", (f"{name}{i}",))
            got += yield Ask("victim", (h, h + "!"))
        return got

    def service(tag):
        def answer(items):
            calls.append((tag, tuple(items)))
            return [f"{tag}({i})" for i in items]

        return answer

    results = lockstep(
        [search("a", 2), search("b", 1), search("c", 0)], {t: service(t) for t in ("victim", "helper")}
    )
    assert [c[0] for c in calls] == ["helper", "victim", "helper", "victim"]
    assert calls[0][1] == ("a0", "b0")
    assert len(calls[1][1]) == 4
    assert results[1] == ["victim(helper(b0))", "victim(helper(b0)!)"]
    assert results[2] == []


def test_lockstep_confirms_all_winning_texts_together():
    calls = []

    def search(rounds):
        for _ in range(rounds):
            yield Ask("victim", (rounds,))
        yield Ask("confirm", (rounds,))

    def service(tag):
        return lambda items: calls.append((tag, tuple(items))) or items

    lockstep([search(n) for n in (1, 3, 2)], {t: service(t) for t in ("victim", "confirm")})
    assert calls == [("victim", (1, 3, 2)), ("victim", (3, 2)), ("victim", (3,)), ("confirm", (1, 3, 2))]


def rounds_of(searches):
    """The victim's rounds as (asked, ahead)."""
    calls = []

    def victim(items, ahead=()):
        calls.append((tuple(items), tuple(ahead)))
        return items

    lockstep(searches, {"victim": victim})
    return calls


def tries_of(name, tries, ends_after=None):
    """A search over fixed texts that is decided after ``ends_after`` of them."""
    texts = [f"{name}{i}" for i in range(tries)]
    for i, text in enumerate(texts[:ends_after]):
        yield Ask("victim", (text,), ahead=tuple(texts[i + 1 :]))


def test_a_round_is_filled_with_what_would_be_asked_next():
    assert rounds_of([tries_of("a", 3), tries_of("b", 3)]) == [
        (("a0", "b0"), ("a1", "b1", "a2", "b2")),
        (("a1", "b1"), ("a2", "b2")),
        (("a2", "b2"), ()),
    ]


def test_rounds_never_exceed_a_full_batch_for_what_is_computed_ahead():
    calls = rounds_of([tries_of(str(i), 200) for i in range(FULL // 2 + 1)])
    assert max(len(asked) + len(ahead) for asked, ahead in calls) == FULL


def test_texts_that_are_mostly_not_needed_are_not_computed_ahead():
    searches = 4 * VAIN
    surviving = rounds_of([tries_of(str(i), 3) for i in range(searches)])
    decided = rounds_of([tries_of(str(i), 3, ends_after=1 if i % 2 else None) for i in range(searches)])
    # Even odds before anything was seen: half of so many would be in vain.
    assert surviving[0][1] == decided[0][1] == ()
    assert len(surviving[1][1]) == searches
    assert len(decided) == 3
    assert [ahead for _, ahead in decided] == [(), (), ()]


def test_texts_computed_ahead_are_no_queries_until_they_are_asked():
    batches = []
    predict = predict_with(breaks_on({"memorable"}))
    attack = CharTypos(CharTyposConfig(tries=50, edits=3))

    def tried(ahead):
        batches.clear()
        victim = Victim(lambda es: batches.append(len(es)) or predict(es), weights_digest="d")
        ask = victim.query if ahead else lambda items, fresh=False, ahead=(): victim.query(items, fresh=fresh)
        whole = SimpleNamespace(query=ask, remaining=victim.remaining, sampled=False)
        [record] = attack.run(whole, [example("a", TEXT)], context())
        return record, victim, len(batches)

    (record, victim, rounds), (alone, bare, many) = tried(True), tried(False)
    assert record == alone
    assert record.outcome == "success"
    assert (victim.unique, victim.total) == (bare.unique, bare.total)
    assert bare.computed == bare.unique <= victim.computed <= 51
    assert rounds == 2 < many == record.queries


def test_answers_on_disk_are_asked_once_per_weights_scope_and_content(tmp_path):
    predict = predict_with(hashed)
    computed = []

    def victim(digest="d", task="t", **options):
        store = AnswerStore(tmp_path / "deep", digest, {"task": task})
        return Victim(
            lambda es: computed.append(len(es)) or predict(es), weights_digest=digest, store=store, **options
        )

    asked = [example("a", "x y"), example("b", "z 'quoted' \ud83d\ude00 שלום"), example("c", "x y")]
    first, again = victim(), victim()
    answers = first.query(asked)
    assert (first.unique, first.total, first.computed, first.stored) == (3, 3, 3, 0)
    assert again.query(asked) == answers
    assert (again.unique, again.total, again.computed, again.stored) == (3, 3, 0, 3)
    assert again.query([example("renamed", "x y")])[0] == dataclasses.replace(
        answers[0], example_id="renamed"
    )
    for other in (victim(digest="e"), victim(task="u")):
        other.query(asked)
        assert other.computed == 3
    relabelled = victim()
    relabelled.query([example("a", "x y", label=1)])
    assert relabelled.computed == 1, "the verdict depends on the gold label"
    fresh, sampled = victim(), victim(sampled=True)
    fresh.query(asked, fresh=True)
    sampled.query(asked)
    assert (fresh.computed, sampled.computed, sampled.stored) == (3, 3, 0)


def test_answers_of_a_run_are_shared_by_its_attacks():
    computed = []
    kept = RunAnswers("d", {"task": "t"})
    predict = predict_with(hashed)

    def victim(**options):
        return Victim(
            lambda es: computed.extend(es) or predict(es), weights_digest="d", store=kept, **options
        )

    asked = [example("a", "x y"), example("b", "z"), example("c", "x y")]
    first, again, fresh, sampled = victim(), victim(), victim(), victim(sampled=True)
    answers = first.query(asked)
    assert again.query(asked) == answers
    assert [a.example_id for a in answers] == ["a", "b", "c"]
    assert (again.unique, again.total, again.computed, again.stored) == (3, 3, 0, 3)
    assert (first.unique, first.total) == (again.unique, again.total)
    fresh.query(asked, fresh=True)
    sampled.query(asked)
    assert (fresh.computed, sampled.computed) == (3, 3)
    relabelled = victim()
    relabelled.query([example("a", "x y", label=1)])
    assert relabelled.computed == 1


def test_stream_depends_on_every_name_and_its_boundaries():
    draws = {stream(s, *n).random() for s in (0, 1) for n in (("a", "b"), ("ab",), ("b", "a"), ("", "ab"))}
    assert len(draws) == 8
    assert stream(3, "x").random() == stream(3, "x").random()


def test_victim_counts_caches_and_refuses():
    asked = []
    predict = predict_with(lambda e: 0.9)
    victim = Victim(lambda es: asked.append(len(es)) or predict(es), weights_digest="d", budget_per_example=3)
    e = example("a", "x y")
    victim.query([e, e])
    assert (victim.unique, victim.total, asked) == (1, 2, [1])
    victim.query([e], fresh=True)
    assert (victim.unique, victim.total, victim.remaining("a")) == (2, 3, 0)
    with pytest.raises(QueryBudgetExceeded):
        victim.query([e])


def test_sampled_victim_is_never_cached_and_numbers_its_queries():
    seen = []
    predict = predict_with(lambda e: 0.9)
    victim = Victim(
        lambda es: seen.extend(e.meta["query"] for e in es) or predict(es), weights_digest="d", sampled=True
    )
    e = example("a", "x y")
    victim.query([e, e])
    victim.query([e, example("b", "x")])
    assert seen == [1, 2, 3, 1]
    assert victim.unique == victim.total == 4


def test_wrong_before_the_attack_is_skipped_for_one_query():
    [record], victim = run(CharTypos(), [example("a", TEXT)], lambda e: 0.1)
    assert (record.outcome, record.queries, victim.total) == ("skipped", 1, 1)
    assert record.edited == record.original


def test_stops_at_the_first_wrong_answer():
    attack = CharTypos(CharTyposConfig(tries=50, edits=3))
    [record], victim = run(attack, [example("a", TEXT)], breaks_on({"memorable"}))
    assert record.outcome == "success"
    assert not record.final.correct
    assert "memorable" not in record.edited
    assert record.queries == victim.total < 51


def test_confirmation_is_computed_anew_and_within_the_budget():
    answers = iter([True, False, True])
    predict = predict_with(lambda e: 0.9 if next(answers) else 0.1)
    victim = Victim(predict, weights_digest="d", budget_per_example=3)
    attack = CharTypos(CharTyposConfig(tries=5, confirmations=1))
    [record] = attack.run(victim, [example("a", TEXT)], context())
    assert (record.outcome, record.reason, record.queries) == ("failure", "not confirmed", 3)
    assert record.final.correct
    assert victim.unique == 3


@pytest.mark.parametrize("tries", [1, 3, 7])
def test_null_asks_as_many_texts_of_equal_size(tries):
    attack = CharTypos(CharTyposConfig(tries=tries, edits=2))
    examples = [example(str(i), f"{TEXT} number {i}") for i in range(4)]
    records, victim = run(attack, examples)
    controls, other = run(attack.null(), examples)
    assert victim.total == other.total == 4 * (1 + tries)
    assert [r.queries for r in records] == [r.queries for r in controls]
    assert all(r.edited != r.original for r in controls)
    assert attack.null().null().name == "null"


def test_null_never_changes_a_word_beyond_the_pool():
    for seed in range(30):
        edited = neutral_text(TEXT, Guard(TEXT), 4, stream(seed, "t"))
        assert edited != TEXT
        assert (
            changed_words(TEXT, edited) <= 2
        )  # "does not" -> "doesn't" is the only word of the text in the pool
        assert edited.replace("  ", " ").rstrip(".").replace("doesn't", "does not") == TEXT


def test_null_under_sampled_decoding_asks_the_same_text_again():
    texts = []
    predict = predict_with(lambda e: 0.9)
    victim = Victim(
        lambda es: texts.extend(e.text["sentence"] for e in es) or predict(es),
        weights_digest="d",
        sampled=True,
    )
    CharTypos(CharTyposConfig(tries=4)).null().run(victim, [example("a", TEXT)], context())
    assert texts == [TEXT] * 5


def test_null_breaks_a_model_that_breaks_at_any_change():
    brittle = lambda e: 0.9 if e.text["sentence"] == TEXT else 0.1  # noqa: E731
    [record], _ = run(CharTypos().null(), [example("a", TEXT)], brittle)
    assert record.outcome == "success"


def test_two_examples_with_one_id_are_refused():
    with pytest.raises(ValueError, match="share an id"):
        run(CharTypos(), [example("a", "x"), example("a", "y")])


def test_missing_field_and_empty_budget_are_named():
    e = dataclasses.replace(example("a", "x"), text={"other": "x"})
    with pytest.raises(ValueError, match="none of the fields"):
        run(CharTypos(), [e])
    with pytest.raises(ValueError, match="budget"):
        run(CharTypos(), [example("a", "x")], budget=0)


@pytest.mark.parametrize(
    "params",
    [
        {"tries": 0},
        {"kinds": ("swop",)},
        {"kinds": ()},
        {"budget": 0},
        {"confirmations": -1},
        {"protect": ("x",)},
    ],
)
def test_bad_parameters_are_refused(params):
    with pytest.raises(ValueError):
        CharTyposConfig(**params)


def test_scores_of_the_victim_do_not_change_a_decision_based_attack():
    examples = [example(str(i), f"{TEXT} take {i}") for i in range(20)]
    with_scores, _ = run(CharTypos(), examples, hashed)
    without, _ = run(CharTypos(), examples, hashed, scores=False)
    assert [(r.outcome, r.queries) for r in with_scores] == [(r.outcome, r.queries) for r in without]
