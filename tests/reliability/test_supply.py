"""The lock files are complete, exact and say no address; what an audit found is told as it is."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from nightly_audit import public, unreachable, verdict
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PACKAGE = ROOT / "locks" / "py311-linux-x86_64-cpu.txt"
DOCS = ROOT / "locks" / "docs-py311.txt"


def entries(lock: Path) -> dict[str, tuple[str, int]]:
    """Name -> version and number of digests."""
    body = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.M).replace("\\\n", " ")
    found = {}
    for line in body.splitlines():
        named = re.fullmatch(r"([\w.-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert named is not None, line
        found[canonicalize_name(named[1])] = (named[2], named[3].count("sha256"))
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=[p.stem for p in LOCKS])
def test_a_lock_has_versions_and_digests_and_no_address(lock: Path) -> None:
    assert entries(lock)
    assert "://" not in lock.read_text()


def test_the_lock_has_the_versions_that_are_tested() -> None:
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    tested = {canonicalize_name(n): v for n, v in tested.items()} | {"torch": "2.13.0+cpu"}
    for lock in (PACKAGE, DOCS, ROOT / "locks" / "build-py311.txt"):
        locked = {n: version for n, (version, _) in entries(lock).items()}
        assert {n: v for n, v in locked.items() if n in tested} == {
            n: tested[n] for n in locked if n in tested
        }


def test_the_lock_of_the_documentation_has_its_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {name: version for name, (version, _) in entries(DOCS).items()}
    for needed in map(Requirement, project["optional-dependencies"]["docs"]):
        assert needed.specifier.contains(locked[canonicalize_name(needed.name)])
    assert "mkdocstrings-python" in locked, "of mkdocstrings[python]"


def test_the_lock_has_everything_that_the_package_needs() -> None:
    """By the metadata of the installed packages, as far as they are installed in the locked version."""
    locked = {name: version for name, (version, _) in entries(PACKAGE).items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The lock is for Python 3.11 on Linux, whatever runs this test.
    where = {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux",
             "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix",
             "platform_python_implementation": "CPython", "implementation_name": "cpython"}  # fmt: skip
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(r), "") for r in project["dependencies"]]
    while todo:
        needed, extra = todo.pop()
        if needed.marker is not None and not needed.marker.evaluate({**where, "extra": extra}):
            continue
        name = canonicalize_name(needed.name)
        assert name in locked
        assert needed.specifier.contains(locked[name], prereleases=True), (str(needed), locked[name])
        for wanted in {"", *needed.extras}:
            if (name, wanted) in seen or metadata.version(name) != locked[name]:
                continue
            seen.add((name, wanted))
            todo += [(Requirement(r), wanted) for r in metadata.requires(name) or ()]
    assert {name for name, _ in seen} <= set(locked)
    assert len(seen) > 40 or metadata.version("torch") != locked["torch"]


def test_an_audit_without_answers_is_no_success() -> None:
    skipped = {"dependencies": [{"name": "numpy", "skip_reason": "not found"}]}
    lines, code = verdict(skipped)
    assert code == 0
    assert "out of reach" in lines[0]
    assert "nothing was audited" in lines[0]


def test_an_audit_names_what_is_vulnerable_and_what_was_not_asked() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2"]}]},
            {"name": "b", "version": "1", "vulns": []},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    assert verdict(report) == (
        [
            "2 packages audited, 1 with known vulnerabilities",
            "not audited, unknown to the service: c",
            "a 1: PYSEC-1; fixed in: 1.1, 2",
        ],
        1,
    )
    assert verdict({"dependencies": report["dependencies"][1:2]})[1] == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            "requests.exceptions.ConnectionError: Pool(host='x', port=443): Max retries exceeded",
            True,
        ),
        ("ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", True),
        ("pip-audit: error: unrecognized arguments: --disable-pip", False),
        ("ERROR:pip_audit._cli:requirement numpy does not contain a hash", False),
    ],
)
def test_only_a_service_that_does_not_answer_is_out_of_reach(error: str, expected: bool) -> None:
    assert unreachable(error) is expected


def test_a_service_is_asked_for_public_versions() -> None:
    assert public("torch==2.13.0+cpu \\\n    --hash=sha256:aa\nnumpy==2.4.6 \\\n") == (
        "torch==2.13.0 \\\n    --hash=sha256:aa\nnumpy==2.4.6 \\\n"
    )
