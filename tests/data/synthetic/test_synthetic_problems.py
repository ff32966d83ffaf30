"""Word problems: correct arithmetic, small numbers, and no sentence pattern in both parts of the split."""

import itertools
import re

import pytest

from zobench.data.synthetic.corpus import documents
from zobench.data.synthetic.draw import stream
from zobench.data.synthetic.problem_sets import QUOTA, SPLITS, problem_rows, split_of
from zobench.data.synthetic.problems import LARGEST, draw_problem, drill, render
from zobench.models.nano.recipe import RECIPES

EQUATION = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")


def _holds(a: str, op: str, b: str, c: str) -> bool:
    x, y = int(a), int(b)
    return {"+": x + y, "-": x - y, "*": x * y}[op] == int(c)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_every_equation_holds_and_the_last_result_is_the_answer(steps):
    rng = stream(5, "test problems")
    for _ in range(300):
        problem = draw_problem(rng, steps)
        found = [EQUATION.fullmatch(e) for e in problem.equations]
        assert problem.steps == steps
        assert all(m is not None and _holds(*m.groups()) for m in found)
        assert found[-1].group(4) == str(problem.answer)
        assert all(1 <= int(n) <= LARGEST for m in found for n in (m.group(1), m.group(4)))
        assert problem.solution.endswith(f"#### {problem.answer}")


def test_the_question_holds_the_operands_in_order_and_irrelevant_sentences_add_to_it():
    rng = stream(6, "test problems")
    for _ in range(300):
        problem = draw_problem(rng, 3)
        shown = list(problem.operands)
        if "*" in problem.form[1:]:
            continue  # doubling and tripling are written in words
        text = render(rng, problem)
        assert [int(n) for n in re.findall(r"\d+", text)] == shown
        distracted = render(rng, problem, irrelevant=1.0, numbered=0.0)
        assert [int(n) for n in re.findall(r"\d+", distracted)] == shown
        assert distracted.count(".") == text.count(".") + 1


def test_drills_hold():
    rng = stream(7, "test drills")
    assert all(_holds(*EQUATION.search(drill(rng)).groups()) for _ in range(500))


def test_training_text_holds_no_held_out_problem():
    """Read back from the text itself: opening and equations of training problems are those of no held-out
    one.
    """
    held_out = {
        (row.problem.form[0], row.problem.equations)
        for s in ("validation", "test")
        for row in problem_rows(s)
    }
    seen = set()
    texts = (d for p in RECIPES["nano"].phases for d in itertools.islice(documents(p.seed, p.plan), 4000))
    for document in texts:
        if document.kind == "problem":
            question, _, solution = document.text.rpartition("A:")
            opening = (
                "c"
                if "together" in question
                else "p"
                if "bags of" in question or "rows of" in question
                else "n"
            )
            seen.add((opening, tuple(m.group(0) for m in EQUATION.finditer(solution))))
    assert len(seen) > 1000
    assert not seen & held_out


def test_splits_are_disjoint_by_form_and_operands_and_without_duplicates():
    keys = {s: [(r.problem.form, r.problem.operands) for r in problem_rows(s)] for s in SPLITS}
    for split, found in keys.items():
        assert len(found) == len(set(found)) == sum(QUOTA[split])
        assert {split_of(r.problem) for r in problem_rows(split)} == {split}
    assert not set(keys["train"]) & set(keys["test"])
    assert not set(keys["validation"]) & set(keys["test"])


def test_ids_are_unique_over_all_splits():
    ids = [r.id for s in SPLITS for r in problem_rows(s)]
    assert len(ids) == len(set(ids))


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"tests.*did you mean 'test'"):
        problem_rows("tests")
