"""The built wheel and source distribution: their contents, a run away from the repository, equal builds."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from test_shipped_files import INSIDE, ROOT, chosen, tracked

AWAY = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
"""The environment of commands that must not find the repository."""


def build(to: Path, umask: int = 0o022) -> tuple[Path, Path]:
    """Wheel and source distribution of a copy of the tracked files in ``to/source``."""
    before = os.umask(umask)
    try:
        for name in tracked():
            target = to / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", str(to / "dist")],
            cwd=to / "source",
            env={**AWAY, "SOURCE_DATE_EPOCH": "1750000000"},
            capture_output=True,
            check=True,
        )
    finally:
        os.umask(before)
    return next((to / "dist").glob("*.whl")), next((to / "dist").glob("*.tar.gz"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("build"))


def test_a_wheel_contains_the_package_and_what_it_refers_to_and_nothing_else(
    built: tuple[Path, Path],
) -> None:
    names = set(zipfile.ZipFile(built[0]).namelist())
    info = {name for name in names if name.startswith("zobench-")}
    moved = {n if n.startswith("zobench/") else f"zobench/{n}" for n in INSIDE}
    assert names - info == moved
    assert {name.partition("/")[2] for name in info} >= {"METADATA", "licenses/LICENSE", "licenses/NOTICE"}


def test_a_source_distribution_contains_what_the_wheel_is_built_from(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    metadata = {"PKG-INFO", ".gitignore", "LICENSE", "NOTICE", "README.md", "pyproject.toml"}
    assert names == chosen("sdist") | metadata


def test_an_unpacked_wheel_finds_its_suites_boards_and_pages(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    zipfile.ZipFile(built[0]).extractall(tmp_path / "site")
    (tmp_path / "here").mkdir()
    code = (
        "from zobench import shipped\n"
        "from zobench.suite.source import read\n"
        "from zobench.report import glossary, leaderboard\n"
        "assert read(shipped.suite_file('fewshot')).value['suite'] == 'fewshot'\n"
        "assert leaderboard.load('memory').name == 'memory' and glossary.entries()\n"
        "for kind in ('suites', 'leaderboards', 'docs'): print(shipped.folder(kind))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path / "here",
        env={**AWAY, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site" / "zobench"
    assert done.stdout.split() == [str(site / kind) for kind in ("suites", "leaderboards", "docs")]


def installed(folder: Path, wheel: Path) -> Path:
    """A new environment with the wheel, in which the packages of this one are found as well."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            str(wheel),
        ],
        env=AWAY,
        check=True,
    )
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "packages-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.slow
def test_an_installed_wheel_runs_a_suite_by_name_and_its_starter(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    python = installed(tmp_path / "env", built[0])
    here = tmp_path / "here"
    here.mkdir()

    def zobench(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), "-m", "zobench", *arguments],
            cwd=here, env=AWAY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [str(python), "-c", "import zobench; print(zobench.__file__)"],
        cwd=here, env=AWAY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / "env")
    assert "total: 72 runs" in zobench("plan", "fewshot")
    zobench("init", "mine.yaml")
    text = (here / "mine.yaml").read_text()
    for long, short in {
        "forwards: 200": "forwards: 40",
        "at: [100], test_items: 100, attack_items: 50": "test_items: 20, attack_items: 5",
        "seeds: [0, 1]": "seeds: [0]",
    }.items():
        assert long in text
        text = text.replace(long, short)
    (here / "mine.yaml").write_text(text)
    assert "leaderboard: reports/mine/index.html" in zobench("run", "mine.yaml", "--workers", "0")
    assert "run: not" not in zobench("doctor")
    assert subprocess.run([python.parent / "zobench", "--version"], env=AWAY, check=True).returncode == 0


@pytest.mark.slow
def test_two_builds_are_equal_to_the_byte(built: tuple[Path, Path], tmp_path: Path) -> None:
    again = build(tmp_path / "another" / "folder", umask=0o077)
    assert [p.name for p in again] == [p.name for p in built]
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in built]
