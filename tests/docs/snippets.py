"""Runs the fenced snippets of a Markdown page from top to bottom, in one folder, as a reader would.

- A block with ``title="FILE"`` is written to that file. A ``pyproject.toml`` with entry points is installed.
- ``bash``, ``sh``: each line is executed; ``zobench`` in this process, the rest by bash; pip, venv are not.
- ``python``: executed; the blocks of a page share their names.
- ``yaml``: replaces the keys of the starter suite of the same name; the result must have a plan.
- ``text`` directly after a block: its lines must be in the output, in order; ``…`` stands for anything.
- ``<!-- not run: REASON -->`` above a block: it is not run.

Suites that ``zobench init`` wrote are trained for 40 forward passes, all runs in this process.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.testing import CliRunner

FENCE = re.compile(
    r"(?P<note><!-- not run: (?P<reason>.*?) -->\n)?^```(?P<lang>\w+)(?P<info>[^\n]*)\n(?P<body>.*?)^```$",
    re.M | re.S,
)
INSTALLS = re.compile(r"^(pip |python3? -m (pip|venv) |\.venv/bin/)")
"""Commands that make an environment: .ci/run and tests/test_wheel.py run them."""
SHORT = (
    ("validation_items: 200", "validation_items: 5"),
    ("test_items: 200", "test_items: 5"),
    ("forwards: 200", "forwards: 40"),
    ("at: [100]", "at: [20]"),
    ("_items: 100", "_items: 20"),
    ("_items: 50", "_items: 5"),
)


@dataclass(frozen=True)
class Block:
    """One fenced block. ``skipped``: why it is not run; ``shown``: the output shown below it."""

    lang: str
    body: str
    line: int
    title: str = ""
    skipped: str = ""
    shown: str = ""


def blocks(text: str) -> list[Block]:
    """The blocks of a page, outputs joined to the block before them."""
    found: list[Block] = []
    end = 0
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', match["info"])
        line = text.count("\n", 0, match.start()) + 1
        block = Block(match["lang"], match["body"], line, title[1] if title else "", match["reason"] or "")
        if block.lang == "text" and not block.title:
            if found and not text[end : match.start()].strip():
                found[-1] = Block(**{**vars(found[-1]), "shown": block.body})
        else:
            found.append(block)
        end = match.end()
    return found


def compare(shown: str, output: str, where: str) -> None:
    """Whether every line shown is in the output, in order, whatever the spaces."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    at = 0
    for wanted in filter(None, (" ".join(line.split()) for line in shown.splitlines())):
        pattern = re.compile(
            ".*".join(map(re.escape, wanted.split("…"))) + ("" if wanted.endswith("…") else "$")
        )
        hits = [i for i in range(at, len(lines)) if pattern.match(lines[i])]
        assert hits, f"{where}: the page shows {wanted!r}; the output is\n{output}"
        at = hits[0] + 1


@dataclass
class Reader:
    """Someone who follows a page in ``folder``.

    Attributes:
        names: Python names that the page takes as given.
    """

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)

    def follow(self, text: str, page: str) -> dict[str, int]:
        """Run all blocks; counts by language, those that are not run under ``not run``."""
        counts: dict[str, int] = {}
        for block in blocks(text):
            where = f"{page}:{block.line}"
            kind = "not run" if block.skipped else block.lang
            counts[kind] = counts.get(kind, 0) + 1
            if block.skipped:
                continue
            if block.title:
                self.write(block)
            elif block.lang in ("bash", "sh"):
                compare(block.shown, self.shell(block.body, where), where)
            elif block.lang == "python":
                compare(block.shown, self.python(block.body, where), where)
            elif block.lang == "yaml":
                self.plan(block.body)
        return counts

    def write(self, block: Block) -> None:
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
        if path.name == "pyproject.toml":
            project = tomllib.loads(block.body)["project"]
            info = self.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
            info.mkdir(exist_ok=True)
            (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
            points = [
                f"[{group}]\n" + "".join(f"{n} = {target}\n" for n, target in names.items())
                for group, names in project.get("entry-points", {}).items()
            ]
            (info / "entry_points.txt").write_text("\n".join(points))

    def shell(self, body: str, where: str) -> str:
        output = []
        for line in body.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words or INSTALLS.match(line):
                continue
            if words[0] == "zobench":
                words = [
                    w
                    for word in words[1:]
                    for w in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
                ]
                *words, to = words if ">" in words else [*words, ""]
                output.append(self.zobench([w for w in words if w != ">"], where))
                if to:
                    (self.folder / to).write_text(output.pop(), encoding="utf-8")
            else:
                output.append(self.other(line, where))
        return "\n".join(output)

    def zobench(self, words: list[str], where: str) -> str:
        from zobench.cli import app

        here = ["--workers", "0"] if words[0] == "run" and "--workers" not in words else []
        done = CliRunner().invoke(app, words + here)
        assert done.exit_code == 0, f"{where}: zobench {' '.join(words)}\n{done.output}{done.exception or ''}"
        if words[0] == "init":
            for path in self.folder.glob("*.yaml"):
                text = path.read_text(encoding="utf-8")
                for long, short in SHORT:
                    text = text.replace(long, short)
                path.write_text(text, encoding="utf-8")
        return done.output

    def other(self, line: str, where: str) -> str:
        line = re.sub(r"^python3? ", f"{shlex.quote(sys.executable)} ", line)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{where}: {line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, body: str, where: str) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(body, where, "exec", dont_inherit=True), self.names)
        return output.getvalue()

    def plan(self, body: str, around: dict[str, Any] | None = None) -> None:
        """Plan the starter with the keys of ``around``, then those of the block."""
        from zobench.suite import expand
        from zobench.suite.loading import load_values
        from zobench.suite.starter import STARTER

        yaml = YAML(typ="safe")
        suite = {**yaml.load(STARTER.replace("NAME", "snippet")), **(around or {}), **yaml.load(body)}
        assert expand(load_values(suite)).suite == "snippet"
