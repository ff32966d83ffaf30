"""Pure functions: answer extraction and comparison, YAML loading, checks of names and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from hypothesis import strategies as st
from reliability.fuzzing import Surface, refusals

from zobench import strict_yaml
from zobench.names import printable
from zobench.store import paths
from zobench.suite import source
from zobench.tasks.equivalence import equivalent, harness_exact, latex_normal
from zobench.tasks.extraction import EXTRACTORS
from zobench.tasks.matching import MatchRule, gold_problem, is_right
from zobench.tasks.numerals import LONGEST, as_number

ANSWERS = (
    *("Final Answer: The final answer is", "I hope it is correct.", "The answer is ", "answer: **", "####"),
    *(r"\boxed{", r"\fbox ", r"\frac{1}{2}", r"\dfrac12", r"\text{ cm}", r"\sqrt3", "}", "{", "$", "=", "\n"),
    *(
        "1,234.5",
        "-",
        "−7",
        "3 1/2",
        "3 1/0",
        "1e5",
        "million",
        "%",
        "^{10}",
        "/",
        ".",
        " ",
        "٣",
        "²",
        "\ud800",
    ),
    *("9" * 300, "0" * 5000, "1" + ",111" * 90, r"\times10^{999}", "and", "18 apples", "USD"),
)
PIECES = st.one_of(st.sampled_from(ANSWERS), st.text(max_size=6), st.integers().map(str))
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def _check_answers(case: tuple[str, str, str]) -> str:
    text, gold, match = case
    outcome = "none"
    for rule in EXTRACTORS.values():
        found = rule(text)
        assert found is None or isinstance(found, str)
        if found is not None:
            outcome = "accepted"
            # An exact value written out may be longer than the text: an exponent has up to three digits.
            assert len(found) <= max(len(text), LONGEST + 1100)
        equivalent(found, "7")
        harness_exact(found, gold)
    number = as_number(text)
    assert number is None or len(text.strip()) <= LONGEST
    latex_normal(text)
    if gold_problem(gold, match) is None and match != "regex":  # type: ignore[arg-type]
        is_right(text, gold, match, rouge_threshold=0.5)  # type: ignore[arg-type]
    return outcome


def _answers(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    cases = st.tuples(TEXTS, TEXTS, st.sampled_from(sorted(get_args(MatchRule))))
    return cases, _check_answers


YAML_PIECES = (
    *("a: ", "- ", "? ", ": ", "{", "}", "[", "]", ", ", "&a ", "*a", "*b ", "&b ", "!!int ", "!x ", "!<t> "),
    *("'", '"', "|\n", ">\n", "# ", "%YAML 1.1\n", "---\n", "...\n", "<<: ", "\n", "\n  ", "\t", "include: "),
    *(
        "1e400",
        "0x1_f",
        ".nan",
        "1_000",
        "9" * 50,
        "null",
        "~",
        "yes",
        "2024-01-01",
        "\ud800",
        "\x00",
        "\x85",
    ),
    *(
        '"\\ud800"',
        '"\\x1b"',
        "[" * 60,
        "{a: " * 60,
        "&a [*a, *a]",
        "\ufeff",
        "base.yaml",
        "s.yaml",
        "!!set {a}",
    ),
)
YAMLS = st.one_of(
    st.lists(st.one_of(st.sampled_from(YAML_PIECES), st.text(max_size=4)), max_size=20).map("".join),
    st.text(max_size=80),
    st.binary(max_size=60),
)


def _plain(value: Any) -> bool:
    """Whether a value consists of what JSON has, with text keys."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    return value is None or isinstance(value, str | bool | int | float)


def _yaml(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    (folder / "base.yaml").write_text("b: 1\n")
    path = folder / "s.yaml"

    def check(text: str | bytes) -> str:
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        with refusals("s.yaml") as told:
            document = source.read(path)
            assert _plain(document.value)
            assert len(document.problems) <= strict_yaml.MOST_PROBLEMS + 3
            assert len(document.places) <= strict_yaml.MOST_VALUES
            for problem in document.problems:
                assert problem.line >= 1
                assert len(str(problem)) < 1000 + len(str(path))
                printable(problem)
            return "problems" if document.problems else "accepted"
        assert told
        return "refused"

    return YAMLS, check


NAME_PIECES = st.sampled_from(
    [
        *(
            "..",
            "/",
            "\\",
            ".",
            "a",
            "runs-000001.parquet",
            "compact",
            "artifacts",
            "0" * 64,
            "\x00",
            "~",
            "*",
        ),
        *(
            "~root",
            "C:",
            "\n",
            " ",
            "\x1b[2J",
            "\ud800",
            "é",
            "%2e",
            "a" * 70,
            "steps",
            "-",
            "_",
            "\u202e",
            "NUL",
        ),
    ]
)
NAMES = st.one_of(
    st.lists(st.one_of(NAME_PIECES, st.text(max_size=3)), max_size=6).map("".join),
    st.none(),
    st.integers(),
    st.binary(max_size=8),
)
PLACES = {
    "run_folder": paths.run_folder,
    "run_file": paths.run_file,
    "artifact_file": paths.artifact_file,
    "compacted_file": paths.compacted_file,
    "run_page_file": paths.run_page_file,
    "board_page_file": paths.board_page_file,
    "results_folder": paths.results_folder,
}


def _names(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    def check(name: Any) -> str:
        outcome = "refused"
        for place in PLACES.values():
            with refusals():
                path = place(folder, name)
                inside = path.relative_to(folder).parts
                assert ".." not in inside
                assert len(inside) <= 2
                assert path.resolve().is_relative_to(folder.resolve())
                assert "\0" not in str(path)
                outcome = "accepted"
        shown = printable(name)
        assert shown.isprintable()
        assert len(shown) == len(str(name))
        if isinstance(name, str) and paths.is_plain(name):
            assert paths.results_folder(folder, name).parent == folder
        return outcome

    return NAMES, check


EXTRACTION = Surface("extraction", 100_000, 1000, 100, _answers)
YAML = Surface("yaml", 100_000, 1000, 150, _yaml)
PATHS = Surface("names", 100_000, 2000, 300, _names)
