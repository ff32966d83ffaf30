"""The house rules that a program can check: imports as declared in docs/design.md, and CONTRIBUTING's prose.

A rule that nobody checks is broken by the tenth change after it. The arrows and the cycles are read from
docs/design.md, so that page and code cannot disagree; imports inside functions and under ``TYPE_CHECKING``
count. Ruff holds what it can (bare ``except``, star imports, commented-out code) and is not repeated here.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
    for p in sorted((ROOT / "zobench").rglob("*.py"))
}
TREES = {module: ast.parse(p.read_text("utf-8")) for module, p in FILES.items()}
NODES = [(module, node) for module, tree in TREES.items() for node in ast.walk(tree)]
DESIGN = (ROOT / "docs" / "design.md").read_text("utf-8")


def targets(node: ast.AST) -> list[str]:
    """Modules of zobench that an import statement names."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name in FILES]
    assert not (isinstance(node, ast.ImportFrom) and node.level), "relative imports are not used"
    if isinstance(node, ast.ImportFrom) and node.module in FILES:
        return [n if (n := f"{node.module}.{a.name}") in FILES else node.module for a in node.names]
    return []


IMPORTS: dict[str, set[str]] = {module: set() for module in FILES}
for _module, _node in NODES:
    IMPORTS[_module].update(set(targets(_node)) - {_module})


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def arrows() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, others in IMPORTS.items():
        found.setdefault(room(module), set()).update({room(o) for o in others} - {room(module), "zobench"})
    return {name: others for name, others in found.items() if others}


def test_rooms_import_what_the_design_declares():
    block = re.search(r"```arrows\n(.*?)```", DESIGN, re.S)
    assert block, "docs/design.md has a block of arrows"
    lines = (line.split("->") for line in block[1].splitlines())
    declared = {name.strip(): set(others.split()) for name, others in lines}
    found = arrows()
    assert {k: v for k, v in found.items() if v != declared.get(k)} == {}, (
        "declare new arrows in docs/design.md, or turn them"
    )
    assert found == declared
    TopologicalSorter(declared).prepare()


def test_no_cycle_of_files_but_those_the_design_names():
    named = re.findall(r"^- `(\S+)\.py -> (\S+)\.py`: \w", DESIGN, re.M)
    graph = {module: set(others) for module, others in IMPORTS.items()}
    for edge in named:
        back, to = (f"zobench.{e.replace('/', '.')}" for e in edge)
        assert to in graph[back], f"{edge} is no import any more"
        with pytest.raises(CycleError):
            TopologicalSorter(graph).prepare()
        graph[back].discard(to)
    TopologicalSorter(graph).prepare()


def at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when a file is imported, those of type checking left out."""
    found = []
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found += at_import(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            found += at_import([*node.body, *(node.orelse if isinstance(node, ast.If) else [])])
        else:
            found.append(node)
    return found


def test_every_file_can_be_the_first_that_is_imported():
    """No cycle, also through the packages that an import passes on its way."""
    graph = {}
    for module, tree in TREES.items():
        passed = {
            ".".join(parts[: i + 1])
            for node in at_import(tree.body)
            for parts in (target.split(".") for target in targets(node))
            for i in range(len(parts))
        }
        graph[module] = {p for p in passed if not f"{module}.".startswith(f"{p}.")}
    TopologicalSorter(graph).prepare()


def test_journeys_are_short_and_their_files_exist():
    journeys = DESIGN.split("### Journeys")[1].split("\n## ")[0].split("\n1. ")[1:]
    assert len(journeys) == 3
    for journey in journeys:
        files = re.findall(r"^(?:\d+\. )?`(\S+)`: ", journey, re.M)
        assert 1 < len(files) <= 12
        assert not [f for f in files if not any((ROOT / top / f).is_file() for top in ("", "zobench"))]


def test_ceilings():
    lines = {m: p.read_text("utf-8").count("\n") for m, p in FILES.items()}
    assert not {m: n for m, n in lines.items() if n > 400}
    long = [
        (m, n.name, size)
        for m, n in NODES
        if isinstance(n, ast.FunctionDef) and (size := (n.end_lineno or 0) - n.lineno + 1) > 60
    ]
    assert not long


def test_every_file_says_what_it_is_and_none_is_a_drawer():
    empty = {m for m, tree in TREES.items() if tree.body and ast.get_docstring(tree) is None}
    assert not empty
    assert not [m for m in FILES if m.split(".")[-1] in {"utils", "util", "helpers", "common", "misc"}]
    assert not [(m, n.name) for m, n in NODES if isinstance(n, ast.ClassDef) and n.name.endswith("Mixin")]


def test_importing_a_file_does_nothing():
    calls = [
        (m, ast.unparse(n))
        for m, tree in TREES.items()
        for n in tree.body
        if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
    ]
    allowed = {"zobench.cli.app", "zobench.cli.__main__"}  # typer's commands are made by calls
    assert not [c for c in calls if c[0] not in allowed]


def test_no_probing_and_no_vague_errors():
    names = [(m, n.id) for m, n in NODES if isinstance(n, ast.Name)]
    assert not [found for found in names if found[1] == "hasattr"]
    raised = [(m, ast.unparse(n.exc)) for m, n in NODES if isinstance(n, ast.Raise) and n.exc is not None]
    assert not [r for r in raised if re.match(r"(Exception|BaseException)\b", r[1])]


DRAWS = re.compile(
    r"random\.(?!Random\b|SystemRandom\b|getstate\b)\w+"
    r"|(np|numpy)\.random\.(?!default_rng\b|Philox\b|Generator\b|RandomState\b|get_state\b)\w+"
    r"|torch\.(cuda\.)?(manual_seed|seed)\w*"
)
"""Calls that read or set the random state of the whole process."""
TORCH_DRAWS = re.compile(
    r"torch\.(rand|randn|randint|rand_like|randn_like|randperm|multinomial|bernoulli|normal)"
    r"|.*\.(normal_|uniform_|bernoulli_|random_|exponential_)"
)
GUARDS = ("preserved_random_state()", "torch.random.fork_rng(")


def test_a_seed_and_never_the_global_random_state():
    """Where a library offers nothing else, inside a block that restores the state."""
    found = []
    for module, tree in TREES.items():
        ours = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        guarded = {
            id(inner)
            for n in ast.walk(tree)
            if isinstance(n, ast.With) and ast.unparse(n.items[0].context_expr).startswith(GUARDS)
            for inner in ast.walk(n)
        }
        for n in ast.walk(tree):
            if isinstance(n, ast.Call) and id(n) not in guarded:
                name = ast.unparse(n.func)
                loose = TORCH_DRAWS.fullmatch(name) and "generator" not in {k.arg for k in n.keywords}
                if (name.split(".")[0] in ours and DRAWS.fullmatch(name)) or loose:
                    found.append((module, name))
    # The conformance kit sets a state to see whether a method touches it, and restores the caller's.
    modules = ("zobench.models.random_state", "zobench.zo.conformance.checks")
    restoring = {(m, f) for m in modules for f in ("random.setstate", "np.random.set_state")}
    assert set(found) == restoring


def test_nothing_heavy_before_it_is_needed():
    code = (
        "import sys, zobench\nfrom zobench.cli import main\n"
        "sys.argv[1:] = ['--help']\ntry: main()\nexcept SystemExit: pass\n"
        "sys.exit(', '.join({'torch', 'transformers', 'numba', 'pandas'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_means_one_thing_within_a_room_and_its_neighbours():
    """Of public classes and type aliases; rooms are neighbours where one imports the other."""
    homes: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for n in tree.body:
            name = n.name if isinstance(n, ast.ClassDef) else ""
            if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name):
                name = n.targets[0].id
            if re.fullmatch(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*", name):
                homes.setdefault(name, []).append(room(module))
    near = arrows()
    shared = {
        name
        for name, rooms in homes.items()
        for i, a in enumerate(rooms)
        for b in rooms[i + 1 :]
        if a == b or b in near.get(a, ()) or a in near.get(b, ())
    }
    assert shared == set()


def test_test_files_have_names_of_their_own():
    """pytest imports test files by their names alone, so two of one name cannot be collected."""
    names = [p.name for p in (ROOT / "tests").rglob("*.py") if p.name not in ("__init__.py", "conftest.py")]
    assert {n for n in names if names.count(n) > 1} == set()
