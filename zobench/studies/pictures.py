"""Creates the pictures of the README and the docs: screenshots of a results page in headless Chromium.

    python -m zobench.studies.pictures reports/fewshot/index.html docs/pictures
    python -m zobench.studies.pictures tuned/index.html docs/pictures tuning   # only pictures of these names

The top of the page and one section at desktop and at phone width in both colour schemes, a picture of each
other section of the page, and one of a run. If the page reports an error, no picture is written. Needs the
``test`` extra (playwright) and Debian's ``chromium``; nothing is downloaded.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
TOPS = {
    "leaderboard": (1280, 900, "light"),
    "leaderboard-dark": (1280, 900, "dark"),
    "leaderboard-phone": (390, 844, "light"),
    "leaderboard-phone-dark": (390, 844, "dark"),
}
SECTIONS = {
    "ranking": ("#ranking", 1280, "light"),
    "curves": ("#curves", 1280, "light"),
    "curves-dark": ("#curves", 1280, "dark"),
    "curves-phone": ("#curves", 390, "light"),
    "curves-phone-dark": ("#curves", 390, "dark"),
    "trade-offs": ("#tradeoffs", 1280, "light"),
    "targets": ("#targets", 1280, "dark"),
    "tasks": ("#tasks", 1280, "light"),
    "head-to-head": ("#pairs", 1280, "light"),
    "robustness": ("#robustness", 1280, "light"),
    "tuning": ("#tuning", 1280, "light"),
}
RUNS = {"run": (1280, 900, "light"), "run-phone": (390, 844, "dark")}
"""The dialog with the first run."""
MOST_HIGH = 1000
"""Maximum height of a picture; taller sections are cropped."""


def main(page_file: str, folder: str, *only: str) -> None:
    """Write the pictures, or only those of some names, into ``folder``; ``RuntimeError`` if the page reports
    an error."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    address = Path(page_file).resolve().as_uri()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for name, (width, height, scheme) in chosen(TOPS, only):
            page = opened(browser, address, width, height, scheme)
            page.screenshot(path=target / f"{name}.png")
            page.context.close()
        for name, (selector, width, scheme) in chosen(SECTIONS, only):
            page = opened(browser, address, width, 1200, scheme)
            if page.locator(selector).count():
                save_section(page, selector, target / f"{name}.png")
            else:
                (target / f"{name}.png").unlink(missing_ok=True)
            page.context.close()
        for name, (width, height, scheme) in chosen(RUNS, only):
            page = opened(browser, address, width, height, scheme)
            page.locator(".run-link").first.click()
            page.locator("#run .plot-container").first.wait_for(state="attached")
            page.screenshot(path=target / f"{name}.png")
            page.context.close()
        browser.close()


def chosen(pictures: dict[str, Any], only: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Those of the names ``only``, or all."""
    return [(name, shown) for name, shown in pictures.items() if not only or name in only]


def opened(browser: Any, address: str, width: int, height: int, scheme: str) -> Any:
    """The page, opened from disk without network; ``RuntimeError`` if it reports an error."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        offline=True,
        reduced_motion="reduce",
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_function("typeof Plotly !== 'undefined'")
    if problems:
        raise RuntimeError(f"{address}: {problems[0]}")
    return page


def save_section(page: Any, selector: str, path: Path) -> None:
    """Save a picture of the section after its charts were drawn."""
    section = page.locator(selector).first
    # The sticky header would cover the top of the section.
    page.evaluate("document.querySelector('.top').style.position = 'static'")
    section.scroll_into_view_if_needed()
    charts = f"{selector} .chart"
    for i in range(page.locator(charts).count()):
        chart = page.locator(charts).nth(i)
        if chart.is_visible():
            chart.scroll_into_view_if_needed()
            chart.locator(".plot-container").first.wait_for(state="attached", timeout=10_000)
    # Charts above may have been drawn meanwhile and have moved it.
    section.evaluate("s => s.scrollIntoView()")
    box = section.bounding_box()
    room = page.viewport_size["height"] - box["y"]
    height = min(box["height"], MOST_HIGH, room)
    page.screenshot(
        path=path, clip={"x": 0, "y": box["y"], "width": page.viewport_size["width"], "height": height}
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
