"""Importing the package, the catalogues and the command line does not import torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "numba", "pandas", "pyarrow", "duckdb", "optuna", "plotly")
SNIPPETS = {
    "import zobench": "import zobench",
    "catalogues": "from zobench import plugins\n"
    "for kind in plugins.GROUPS: plugins.entries(kind)\n"
    "plugins.builtin_models()",
    "suite package": "import zobench.suite, zobench.runner, zobench.store, zobench.report",
    "help": "from typer.testing import CliRunner\nfrom zobench.cli import app\n"
    "assert CliRunner().invoke(app, ['--help']).exit_code == 0",
    "help of a command": "from typer.testing import CliRunner\nfrom zobench.cli import app\n"
    "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0",
    "list methods": "from typer.testing import CliRunner\nfrom zobench.cli import app\n"
    "assert CliRunner().invoke(app, ['list', 'methods']).exit_code == 0",
}


@pytest.mark.parametrize("snippet", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_imports_nothing_heavy(snippet: str) -> None:
    code = f"{snippet}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_generated(shell: str) -> None:
    code = "import sys; sys.argv = ['zobench']; from zobench.cli import main; main()"
    environment = {"_ZOBENCH_COMPLETE": f"source_{shell}", "PATH": "/usr/bin:/bin"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert "_ZOBENCH_COMPLETE" in found.stdout, found.stderr


def test_completion_offers_commands() -> None:
    code = "import sys; sys.argv = ['zobench']; from zobench.cli import main; main()"
    environment = {
        "_ZOBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "zobench pl",
        "COMP_CWORD": "1",
        "PATH": "/usr/bin:/bin",
    }
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert found.stdout.split() == ["plan"], found.stderr
