"""Removes each guard in a copy of the package and runs its test, which must fail: ``nightly_guards.py``.

With all guards in place every one of these tests must pass. Exit code 1: a test passed without its guard.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("zobench", "tests", "suites", "leaderboards", "docs", "examples", "pyproject.toml")
NO_TESTS = (2, 3, 4, 5)
"""Exit codes of pytest that say nothing of the guard: interrupted, internal error, usage, no test found."""


def copied(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def removed(guard: Guard, folder: Path) -> str:
    """Remove the guard in the copy; the file's text before."""
    path = folder / "zobench" / guard.file
    text = path.read_text(encoding="utf-8")
    assert text.count(guard.old) == 1, f"{guard.file} has {text.count(guard.old)} times {guard.old!r}"
    path.write_text(text.replace(guard.old, guard.new), encoding="utf-8")
    return text


def tried(folder: Path, *tests: str) -> tuple[int, str]:
    """Exit code and end of the output of the tests in the copy."""
    line = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    made = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    return made.returncode, made.stdout[-3000:] + made.stderr[-1000:]


def main() -> None:
    unguarded = []
    with TemporaryDirectory(prefix="guards-") as work:
        folder = copied(Path(work))
        code, output = tried(folder, *dict.fromkeys(guard.test for guard in GUARDS))
        if code:
            sys.exit(f"{output}\nwith all guards in place, their tests end with exit code {code}")
        for guard in GUARDS:
            text = removed(guard, folder)
            code, _ = tried(folder, guard.test)
            (folder / "zobench" / guard.file).write_text(text, encoding="utf-8")
            good = code != 0 and code not in NO_TESTS
            if not good:
                unguarded.append(guard.name)
            told = "fails" if good else f"ends with exit code {code}"
            print(f"{guard.name} ({guard.file}): without it {guard.test} {told}", flush=True)
    print(f"{len(GUARDS) - len(unguarded)} of {len(GUARDS)} guards have a test that fails without them")
    sys.exit(bool(unguarded))


if __name__ == "__main__":
    main()
