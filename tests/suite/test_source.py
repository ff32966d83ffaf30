"""Reading YAML 1.2: numbers, text that other YAML versions read as other types, includes, positions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from zobench.suite.problems import SourcePlace
from zobench.suite.source import read


def value_of(folder: Path, text: str) -> object:
    path = folder / "v.yaml"
    path.write_text(f"v: {text}\n")
    document = read(path)
    assert document.problems == []
    return document.value["v"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2.5e+3", -2500.0),
        ("010", 10),
        ("0o10", 8),
        ("0x1f", 31),
        ("+7", 7),
        ("true", True),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("n", "n"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'1e-3'", "1e-3"),
        ('"1"', "1"),
    ],
)
def test_scalars_follow_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = value_of(tmp_path, text)
    assert found == value
    assert type(found) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_that_python_prints_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, value: float
) -> None:
    assert value_of(tmp_path_factory.mktemp("y"), repr(value)) == value


def test_keys_and_items_have_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a:\n  b: 1\n\n  c:\n    - x\n    - y\n")
    document = read(path)
    assert document.place(("a", "c", 1)) == SourcePlace(str(path), 6)
    assert document.place(("a", "c", 7)) == SourcePlace(str(path), 4)


def test_aliases_are_resolved(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: &lr {lr: 1e-3}\nb: *lr\n")
    assert read(path).value["b"] == {"lr": 0.001}


def write(folder: Path, **files: object) -> Path:
    for name, body in files.items():
        with (folder / f"{name}.yaml").open("w") as stream:
            YAML(typ="safe").dump(body, stream)
    return folder / "main.yaml"


def test_a_local_entry_replaces_the_included_one_as_a_whole(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main={"include": "base.yaml", "methods": {"mezo": {"params": {"lr": 1}}}, "seeds": [1]},
        base={"methods": {"mezo": {"shots": 3}, "fzoo": {}}, "seeds": [7, 8], "budget": {"forwards": 5}},
    )
    assert read(main).value == {
        "methods": {"mezo": {"params": {"lr": 1}}, "fzoo": {}},
        "seeds": [1],
        "budget": {"forwards": 5},
    }


def test_later_includes_win_and_includes_may_include(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main={"include": ["one.yaml", "two.yaml"]},
        one={"budget": {"forwards": 1, "batch_size": 1}},
        two={"include": "three.yaml"},
        three={"budget": {"forwards": 3}},
    )
    document = read(main)
    assert document.value == {"budget": {"forwards": 3, "batch_size": 1}}
    assert document.place(("budget", "forwards")).file.endswith("three.yaml")
    assert document.place(("budget", "batch_size")).file.endswith("one.yaml")


def test_the_same_file_twice_is_no_cycle(tmp_path: Path) -> None:
    main = write(
        tmp_path, main={"include": ["one.yaml", "two.yaml"]}, one={"include": "two.yaml"}, two={"a": 1}
    )
    document = read(main)
    assert document.problems == []
    assert document.value == {"a": 1}


def test_a_cycle_of_two_is_refused(tmp_path: Path) -> None:
    main = write(tmp_path, main={"include": "one.yaml"}, one={"include": "main.yaml"})
    (problem,) = read(main).problems
    assert problem.file.endswith("one.yaml")
    assert "a cycle" in problem.message
