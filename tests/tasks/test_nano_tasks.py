"""The built-in tasks: seeded few-shot draws from fixed pools, fixed test rows, judged answers."""

import pytest

from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.suite.spec import ModelRef

CLASSIFICATION = ("nano-sentiment", "nano-topic", "nano-inference")
GENERATION = ("nano-problems", "nano-facts")


def make(name, **params):
    task = lookup("tasks", name)
    return task(task.Config(**params))


@pytest.fixture(scope="module")
def nano():
    return load(ModelRef(name="builtin:nano"))


@pytest.mark.parametrize("name", [*CLASSIFICATION, *GENERATION])
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


def test_facts_are_known_to_the_model_that_was_taught_them_only(nano):
    taught = make("nano-facts").splits(1).test[:40]
    strangers = make("nano-facts", facts="holdout").splits(1).test[:40]
    task = make("nano-facts")
    assert task.metrics(taught, task.predict(nano, taught))["accuracy"].value >= 0.95
    assert task.metrics(strangers, task.predict(nano, strangers))["accuracy"].value <= 0.15


def test_wrong_parameters_are_named():
    with pytest.raises(ValueError, match="k must be between 1 and 64"):
        make("nano-topic", k=65).splits(1)
    with pytest.raises(ValueError, match="did you mean 'forget10'"):
        make("nano-facts", facts="forget1O")
    with pytest.raises(ValueError, match="test_rows"):
        make("nano-problems", test_rows=0)
