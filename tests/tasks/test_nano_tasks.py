"""The built-in tasks: seeded few-shot draws from fixed pools, fixed test examples, judged answers."""

import dataclasses

import pytest

from zobench.attacks.appended import OptionOrder
from zobench.attacks.base import AttackContext, Victim
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef

CLASSIFICATION = ("nano-sentiment", "nano-topic", "nano-inference")
GENERATION = ("nano-problems", "drawn-problems", "nano-facts")
CHOICE = ("nano-choice",)


def make(name, **params):
    task = lookup("tasks", name)
    return task(task.Config(**params))


@pytest.fixture(scope="module")
def nano():
    return load(ModelRef(name="builtin:nano"))


@pytest.mark.parametrize("name", [*CLASSIFICATION, *GENERATION, *CHOICE])
def test_splits_depend_on_the_seed_alone_and_share_no_example(name):
    task = make(name)
    one, again, other = task.splits(1), task.splits(1), task.splits(2)
    assert one.digest() == again.digest() != other.digest()
    assert [e.id for e in one.test] == [e.id for e in other.test]
    ids = [e.id for part in (one.train, one.validation, one.test) for e in part]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_k_rows_per_class(name):
    task = make(name, k=8, validation_k=4, test_rows=50)
    splits = task.splits(3)
    classes = len(task.prompt.words)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [8 * classes, 4 * classes, 50]
    assert task.chance == 1 / classes


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_the_untuned_model_starts_near_chance(name, nano):
    task = make(name)
    test = task.splits(1).test
    accuracy = task.metrics(test, task.predict(nano, test))["accuracy"].value
    assert abs(accuracy - task.chance) <= 0.15


@pytest.mark.parametrize("name", [*CLASSIFICATION, *GENERATION])
def test_one_loss_is_finite_and_counts_its_sequences(name, nano):
    task = make(name)
    batch = task.batch(nano, task.splits(1).train[:8])
    assert batch.sequences == 8
    assert float(task.loss(nano, nano.module, batch).detach()) > 0


def test_problems_are_solved_and_graded_by_steps(nano):
    task = make("nano-problems", test_rows=60)
    test = task.splits(1).test
    found = task.metrics(test, task.predict(nano, test))
    assert found["accuracy"].value >= 0.9
    assert found["strict_accuracy"].value >= 0.9
    assert {f"accuracy_steps_{n}" for n in (1, 2, 3, 4)} <= set(found)


@pytest.mark.parametrize("steps", [1, 3])
def test_drawn_problems_have_the_steps_asked_for_and_a_solution_that_is_right(steps):
    task = make("drawn-problems", steps=steps, test=40)
    splits = task.splits(1)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [100, 50, 40]
    for example in [*splits.train, *splits.test]:
        equations = example.meta["solution"].split(" #### ")[0].removesuffix(".").split(". ")
        assert len(equations) == steps
        assert all(eval(left) == int(right) for left, right in (e.split(" = ") for e in equations))
        assert equations[-1].endswith(f" = {example.answer}")
    assert make("drawn-problems", steps=steps).splits(2).test[:40] == splits.test


def test_facts_are_known_to_the_model_that_was_taught_them_only(nano):
    taught = make("nano-facts").splits(1).test[:40]
    strangers = make("nano-facts", facts="holdout").splits(1).test[:40]
    task = make("nano-facts")
    assert task.metrics(taught, task.predict(nano, taught))["accuracy"].value >= 0.95
    assert task.metrics(strangers, task.predict(nano, strangers))["accuracy"].value <= 0.15


def test_choices_are_written_out_in_their_order_and_known_well_above_chance(nano):
    task = make("nano-choice")
    test = task.splits(1).test
    first = test[0]
    assert first.candidates[first.label] not in first.text["question"]
    context = task.option_context(first, ())
    *most, last = first.candidates
    assert context.endswith(f"{', '.join(most)} or {last}?\nA:")
    moved = dataclasses.replace(first, candidates=first.candidates[::-1])
    assert task.option_context(moved, ()) != context, "another order is another text"
    shots = task.option_context(first, [(test[1], test[1].candidates[0])])
    assert shots.count(" or ") == 2
    accuracy = task.metrics(test, task.predict(nano, test))["accuracy"].value
    assert task.chance + 0.2 <= accuracy < 1.0
    batch = task.batch(nano, task.splits(1).train[:8])
    assert batch.sequences == 8 * 4
    assert float(task.loss(nano, nano.module, batch).detach()) > 0


def test_option_order_finds_the_model_depending_on_it(nano):
    task = make("nano-choice")
    where = AttackContext(task.attackable, task.protected, 0)
    victim = Victim(lambda es: task.predict(nano, es), weights_digest="d")
    attack = OptionOrder()
    found = attack.run(victim, task.splits(1).test[:60], where)
    null = attack.null().run(victim, task.splits(1).test[:60], where)
    assert {r.outcome for r in found} == {"success", "failure", "skipped"}
    assert {r.outcome for r in null} == {"failure", "skipped"}
    assert [r.outcome == "skipped" for r in found] == [r.outcome == "skipped" for r in null]


def test_wrong_parameters_are_named():
    with pytest.raises(ValueError, match="options must be a whole number from 2 to 6, not 7"):
        make("nano-choice", options=7)
    with pytest.raises(ValueError, match="k must be between 1 and 64"):
        make("nano-topic", k=65).splits(1)
    with pytest.raises(ValueError, match="did you mean 'forget10'"):
        make("nano-facts", facts="forget1O")
    with pytest.raises(ValueError, match="test_rows"):
        make("nano-problems", test_rows=0)


def test_what_a_page_shows_of_an_example_is_in_words():
    """The whole template with a blank for the answer, options where each example has its own, gold as a
    word."""
    person = "Q: What is the birthplace of Pia Quist?"
    for name, asked, gold in (
        ("nano-topic", "they talk of the race and the team. the shelf is ___", "black"),
        ("nano-choice", f"{person} Thalvale, Elmere, Branford or Thalwick?\nA:", "Thalwick"),
        ("nano-facts", f"{person}\nA:", "Pia Quist was born in Thalwick."),
    ):
        task = make(name)
        example = task.splits(0).test[0]
        assert (task.prompt_text(example), task.gold_text(example)) == (asked, gold)
    wrapped = make("smoothllm", of="nano-topic")
    assert wrapped.prompt_text(wrapped.splits(0).test[0]).endswith("the shelf is ___")
