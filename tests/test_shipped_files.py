"""Suites, leaderboards and pages are found by name, and a wheel contains what they refer to."""

from __future__ import annotations

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from typer.testing import CliRunner

import zobench
from zobench import shipped
from zobench.cli import app
from zobench.suite import load
from zobench.suite.own_starter import _HEAD
from zobench.suite.starter import STARTER

ROOT = Path(__file__).parents[1]
HATCH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]


def tracked() -> list[str]:
    """Files of the repository, as git lists them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def chosen(target: str) -> set[str]:
    """Files of the repository that a wheel or source distribution contains by its patterns."""

    def matched(name: str, key: str) -> bool:
        found = (pattern.lstrip("/") for pattern in HATCH[target][key])
        return any(fnmatch(name, p) or name.startswith(f"{p}/") for p in found)

    return {n for n in tracked() if matched(n, "include") and not matched(n, "exclude")}


INSIDE = chosen("wheel")
PAGES = sorted(Path(path) for path in INSIDE if path.startswith("docs/") and path.endswith(".md"))


def test_a_name_is_a_shipped_suite_and_a_path_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for local in ("fewshot", "fewshot.yaml"):
        Path(local).write_text("suite: mine")
    assert shipped.suite_file("fewshot") == ROOT / "suites" / "fewshot.yaml"
    for path in ("fewshot.yaml", "fewshot.yml", "./fewshot", "suites/fewshot", r"suites\fewshot"):
        assert shipped.suite_file(path) == Path(path)
    assert load("fewshot").suite == "fewshot"
    with pytest.raises(ValueError, match=r"fewshot.yaml:1: "):
        load("fewshot.yaml")


@pytest.mark.parametrize("name", ["fewshott", "..", "", "fewshot\0"])
def test_an_unknown_name_is_refused_and_a_file_of_that_name_is_pointed_to(name: str) -> None:
    with pytest.raises(ValueError, match="no shipped suite") as refused:
        shipped.suite_file(name)
    assert f"{name}.yaml or ./{name}" in str(refused.value)
    assert "fewshot" in str(refused.value).partition(")")[2]


def test_a_missing_file_with_the_name_of_a_shipped_suite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a suite of this name is shipped: 'unlearning' without '\.yaml'"):
        load(tmp_path / "unlearning.yaml")
    with pytest.raises(ValueError, match=r"No such file or directory$"):
        load(tmp_path / "unknown.yaml")


def test_list_and_docs_print_what_is_shipped() -> None:
    cli = CliRunner()
    for kind in ("suites", "leaderboards"):
        printed = cli.invoke(app, ["list", kind]).output
        names = [line.split()[0] for line in printed.splitlines()[1:] if not line.startswith(" ")]
        assert names == sorted(path.stem for path in (ROOT / kind).glob("*.yaml"))
    assert re.search(r"suite +The suite file", cli.invoke(app, ["docs"]).output)
    assert cli.invoke(app, ["docs", "suite"]).output == (ROOT / "docs" / "suite.md").read_text()
    assert "did you mean 'suite'" in cli.invoke(app, ["docs", "suit"]).stderr


def referred_to(text: str) -> set[str]:
    """Files below ``docs/`` that a text names."""
    return {path.rstrip(".") for path in re.findall(r"\bdocs/[\w./-]+", text)}


def test_a_wheel_has_every_file_that_its_suites_and_leaderboards_refer_to() -> None:
    texts = [p.read_text() for kind in ("suites", "leaderboards") for p in (ROOT / kind).glob("*.yaml")]
    named = set().union(*map(referred_to, texts))
    assert "docs/results/tuning-fewshot.json" in named
    assert {path for path in named if (ROOT / path).is_file()} <= INSIDE
    assert all(to == f"zobench/{path}" for path, to in HATCH["wheel"]["sources"].items()), (
        "the same places beside the suites as in the repository, so that relative paths hold"
    )


def test_the_pages_that_the_starters_name_are_inside() -> None:
    for text in (STARTER, _HEAD):
        named = re.findall(r"'zobench docs ([\w-]+)'", text)
        assert named == ["suite"]
        assert not referred_to(text)
    assert "docs/suite.md" in INSIDE


@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_links_of_a_page_inside_lead_to_pages_inside(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())
    # Pictures and tables of numbers are in the repository only.
    local = {
        link for link in links if not re.match(r"https?://|pictures/|assets/|results/.*\.parquet$", link)
    }
    assert {f"docs/{link}" for link in local} <= INSIDE


def test_the_source_distribution_has_what_the_wheel_is_built_from() -> None:
    assert chosen("sdist") >= INSIDE


def test_one_version_everywhere() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert declared == zobench.__version__
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited is not None
    assert cited[1] == zobench.__version__
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    assert zobench.__version__ in newest[1]
