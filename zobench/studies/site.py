"""Hooks of the documentation site (``mkdocs.yml``): the pages that are no files in ``docs``.

Home is README.md, with its links turned to the site's; contributing and changelog are the files of the
repository, the notebook is ``examples/quickstart.ipynb``, and every built-in method has a page
(:mod:`zobench.studies.method_pages`). Files that pages link to are copied into the site, so that it needs no
network.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
TO_SITE = {
    "docs/": "",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/plugin)": "examples/plugin/zobench_antithetic.py)",
    "examples/quickstart.ipynb": "notebook.md",
}
"""Beginning of a link in a file of the repository -> in the site."""
COPIED = ("examples/hf_trainer.py", "examples/plain_loop.py", "examples/plugin/zobench_antithetic.py")
API = {
    "Run, compare, read, fit": ["zobench.api"],
    "Optimizers": [
        "zobench.zo.base",
        "zobench.zo.objective",
        "zobench.zo.method",
        "zobench.zo.estimators",
        "zobench.zo.directions",
        "zobench.zo.updates",
        "zobench.zo.parameters",
        "zobench.trainer",
    ],
    "Tasks and examples": [
        "zobench.data.example",
        "zobench.tasks.prompts",
        "zobench.tasks.base",
        "zobench.tasks.classification",
        "zobench.tasks.generation",
    ],
    "Attacks": [
        "zobench.attacks.base",
        "zobench.attacks.composed",
        "zobench.attacks.session",
        "zobench.attacks.search",
        "zobench.attacks.words",
        "zobench.attack_card",
    ],
    "Unlearning": [
        "zobench.unlearning.base",
        "zobench.unlearning.terms",
        "zobench.unlearning.objectives.retained",
        "zobench.unlearning.rows",
        "zobench.unlearning.probes.inputs",
    ],
    "Rewards": ["zobench.rewards.base"],
    "Reports": ["zobench.report.section", "zobench.report.lines", "zobench.report.svg"],
    "Property tests": ["zobench.conformance.kit", "zobench.zo.conformance.kit"],
    "Results": ["zobench.store.reader", "zobench.metrics.intervals", "zobench.metrics.paired"],
}
"""Pages of the Python interface, and their modules."""
SEVERAL = re.compile(
    r'<td><code><span title="[^"]*,">(\w+),</span></code></td>\s*<td>\s*<code>(.*?)</code>\s*</td>', re.S
)
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>~?(?:[\w.]*\.)?(\w+)</code>")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages and the copied files."""
    from zobench.studies import conformance, method_pages

    texts = {
        "index.md": linked((ROOT / "README.md").read_text(encoding="utf-8")),
        "contributing.md": linked((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "notebook.md": notebook((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8")),
        **api(),
        "method/index.md": method_pages.index(),
        **{f"method/{name}.md": method_pages.page(name) for name in conformance.builtin()},
    }
    for path, text in texts.items():
        files.append(File.generated(config, path, content=text))
    for path in COPIED:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Cross-references of docstrings (``:class:`Name```) as code."""
    return ROLE.sub(r"<code>\1</code>", html)


def on_post_page(output: str, **_: Any) -> str:
    """Attributes that a docstring describes in one line (``first, second: text``): the last were read as a
    type."""
    return SEVERAL.sub(lambda m: f"<td><code>{m[1]}, {_names(m[2])}</code></td><td></td>", output)


def _names(html: str) -> str:
    return re.sub(r"<[^>]+>|[()]", "", html).strip()


def linked(text: str) -> str:
    """A file of the repository as a page of the site."""
    for here, there in TO_SITE.items():
        text = text.replace(f"]({here}", f"]({there}")
    return text


def notebook(text: str) -> str:
    """The cells of a notebook as Markdown; outputs are not part of the file."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    told = "The notebook `examples/quickstart.ipynb`, which the tests run from top to bottom."
    first, _, rest = "\n\n".join(parts).partition("\n")
    return f"{first}\n\n{told}\n{rest}\n"


def api() -> dict[str, str]:
    """Pages of the Python interface, by their file: one entry per module, written by mkdocstrings from the
    docstrings."""
    pages, index = (
        {},
        ["# Python interface", "", "From the docstrings of the modules that users and plugins import.", ""],
    )
    for title, modules in API.items():
        name = re.sub(r"\W+", "-", title.lower())
        lines = [f"# {title}", *(line for module in modules for line in ("", f"::: {module}"))]
        pages[f"api/{name}.md"] = "\n".join(lines) + "\n"
        index.append(f"- [{title}]({name}.md): {', '.join(f'`{module}`' for module in modules)}")
    return {"api/index.md": "\n".join(index) + "\n", **pages}
