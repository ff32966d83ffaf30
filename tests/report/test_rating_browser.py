"""``zobench rate`` as a person uses it: the command in a process of its own, its page in headless Chromium,
driven by the keyboard, killed, resumed, ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SUITE = """\
suite: rated
ruleset: open
models: {flow: {name: "builtin:nano-flow"}}
tasks: {likeness: {task: flow-scoring, params: {steps: 2}}}
methods:
  zo-ranksgd:
    params: {epsilon: 0.3, n: 4, top: 2, lr: 1.0}
    space: {kind: names, params: {include: [code]}}
seeds: [1]
budget: {forwards: 8, batch_size: 1}
"""


def started(suite: Path, out: Path) -> tuple[subprocess.Popen[str], str]:
    """The command and the address that it prints."""
    line = [sys.executable, "-m", "zobench.cli", "rate", str(suite), "--output", str(out)]
    environment = {**os.environ, "COLUMNS": "500"}

    def heeds_interrupts() -> None:
        # Jobs that a shell starts in the background ignore SIGINT, and so would their children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=heeds_interrupts
    )
    assert process.stdout is not None
    for said in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\?key=\S+", said):
            return process, found[0]
    raise AssertionError("no address was printed")


def stored(out: Path) -> int:
    files = list(out.rglob("choices.json"))
    return len(json.loads(files[0].read_text())["choices"]) if files else 0


def pictures(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all("button", "all => all.map(b => b.innerHTML)")
    return found


def test_a_person_ranks_pictures_with_the_keyboard(browser: Any, tmp_path: Path) -> None:
    suite, out = tmp_path / "rated.yaml", tmp_path / "out"
    suite.write_text(SUITE)
    context = browser.new_context(viewport={"width": 900, "height": 700})
    page = context.new_page()
    problems: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: requests.append(r.url))
    process, address = started(suite, out)
    try:
        page.goto(address)
        assert page.url == address.partition("?")[0]
        assert page.get_by_role("heading", level=1).inner_text() == "Which picture is the best?"
        assert page.locator("button").count() == 4
        with page.expect_navigation():
            page.keyboard.press("3")
        assert stored(out) == 1
        assert page.locator("button:disabled").count() == 1
        before = pictures(page)
        process.kill()
        process.wait()
        process, address = started(suite, out)
        page.goto(address)
        assert pictures(page) == before
        for number in range(2, 5):
            with page.expect_navigation():
                page.keyboard.press("Enter")  # the first open picture has the focus
            assert stored(out) == number
        assert page.get_by_role("heading", level=1).inner_text() == "All 8 queries are answered"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        context.close()
    assert problems == []
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in requests)
