"""Built pages (made once) and a headless Chromium without network."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthetic import make_synthetic

    return make_synthetic(tmp_path_factory.mktemp("results"), compact=True)


@pytest.fixture(scope="session")
def page_file(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from zobench.report.build import build

    return build(results, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((shutil.which(name) for name in CHROMIUM if shutil.which(name)), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


class Watched:
    """A page that records console errors, script errors, and every request that is not a local file."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.problems.append(str(e)))
        page.on(
            "request",
            lambda r: (
                self.requests.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None
            ),
        )
        page.on("dialog", lambda d: (self.problems.append(f"dialog {d.message}"), d.dismiss()))


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """``open_page(path, fragment, width, scheme)`` -> :class:`Watched`; closed after the test."""
    contexts = []

    def open_(path: Path, fragment: str = "", width: int = 1280, scheme: str = "light") -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": 860}, color_scheme=scheme, offline=True, accept_downloads=True
        )
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.goto(path.as_uri() + fragment)
        return watched

    yield open_
    for context in contexts:
        context.close()
