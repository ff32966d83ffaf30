"""The table of the README agrees with the committed results."""

from __future__ import annotations

from zobench.studies import committed, fewshot


def test_the_table_of_the_readme_is_that_of_the_committed_results() -> None:
    text = (committed.docs().parent / "README.md").read_text(encoding="utf-8")
    found = fewshot.PLACE.search(text)
    assert found is not None
    assert found.group().splitlines() == fewshot.table(committed.read(fewshot.NAME))


def test_the_committed_results_are_whole() -> None:
    finals = committed.read(fewshot.NAME)
    clean = finals[finals["condition_kind"] == "clean"]
    assert clean.groupby(["row", "task"])["seed"].nunique().eq(3).all()
    assert clean["row"].nunique() == 8
    assert not finals.duplicated(["row", "task", "seed", "condition_kind", "condition"]).any()
