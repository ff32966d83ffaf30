"""Make the pictures of the README and the docs: screenshots of a results page in headless Chromium.

    python docs/pictures.py reports/fewshot/index.html docs/pictures

Needs the ``test`` extra (playwright) and Debian's ``chromium``; nothing is fetched.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
VIEWS = {
    "leaderboard": (1280, 900, "light"),
    "leaderboard-dark": (1280, 900, "dark"),
    "leaderboard-phone": (390, 844, "light"),
}


def main(page_file: str, folder: str) -> None:
    """One PNG per view: the top of the page at this size and colour scheme."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    address = Path(page_file).resolve().as_uri()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for name, (width, height, scheme) in VIEWS.items():
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
            page = context.new_page()
            page.goto(address)
            page.wait_for_timeout(1500)
            page.screenshot(path=target / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
