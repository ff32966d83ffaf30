"""Random damages for as long as there is time, resumable: ``nightly_damage.py FOLDER --minutes M``; with
``--newer``, of results of rewards, clients, images and flows.

``FOLDER/trials.jsonl`` holds one line per trial that was done; the next call goes on behind it, and a summary
ends each call. By default 1,900 trials read the damaged folder and 100 run the suite to its end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.damage_trials import Opening, Running, Verdict
from reliability.damaging import FIRST, Recipe, Trial, make_base
from reliability.damaging_newer import NEWER

FIRST_RUN = 1_000_000
"""Numbers of trials by run begin here, so that they draw other damages."""


def order(reading: int, running: int) -> Iterator[int]:
    """Trial numbers, those by run spread evenly among the others."""
    done = 0
    for number in range(reading):
        yield number
        while done < running and (done + 1) * reading <= (number + 1) * running:
            yield FIRST_RUN + done
            done += 1


def go_on(
    folder: Path, minutes: float, reading: int, running: int, seed: int, recipe: Recipe = FIRST
) -> list[dict[str, object]]:
    """Do trials until all are done or the time is over; all verdicts so far."""
    folder.mkdir(parents=True, exist_ok=True)
    path, until = folder / "trials.jsonl", time.monotonic() + 60 * minutes
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [v for v in map(json.loads, lines) if v["seed"] == seed]
    known = {v["number"] for v in found}
    with TemporaryDirectory(prefix="damage-") as work, path.open("a", encoding="utf-8") as log:
        base = make_base(Path(work) / "base", recipe)
        opening, by_run = Opening(base, Path(work)), Running(base, Path(work))
        for number in order(reading, running):
            if number in known:
                continue
            if time.monotonic() > until:
                break
            trial = Trial(number, seed, tuple(recipe.kinds))
            verdict = (by_run if number >= FIRST_RUN else opening)(trial)
            found.append({"number": number, "seed": seed, **dataclasses.asdict(verdict)})
            print(json.dumps(found[-1]), file=log, flush=True)
    return found


def summary(found: list[dict[str, object]]) -> str:
    """A line of the table in docs/reliability.md for each way, and every trial that went wrong."""
    lines = []
    fields = {f.name for f in dataclasses.fields(Verdict)}
    for by in ("reading", "run"):
        for way in ("flip", "zero", "cut"):
            mine = [v for v in found if (v["by"], v["way"]) == (by, way)]
            good = sum(Verdict(**{k: v[k] for k in fields}).good for v in mine)  # type: ignore[arg-type]
            named = sum(bool(v["named"]) for v in mine)
            bad = Counter(k for v in mine for k in ("lost", "silent", "raised", "unnamed") if v[k])
            lines.append(f"{way}, {by}: {len(mine)} tries, {good} survived ({named} named), {dict(bad)}")
    wrong = [v for v in found if v["silent"] or v["raised"] or v["unnamed"] or v["lost"]]
    return "\n".join([*lines, *(json.dumps(v) for v in wrong)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--newer", action="store_true", help="results of rewards, clients, images and flows")
    parser.add_argument("--reading", type=int, default=None, help="default: 1,900, of the newer ones 200")
    parser.add_argument("--running", type=int, default=None, help="default: 100, of the newer ones 10")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    reading, running = (200, 10) if asked.newer else (1900, 100)
    reading = reading if asked.reading is None else asked.reading
    running = running if asked.running is None else asked.running
    recipe = NEWER if asked.newer else FIRST
    found = go_on(asked.folder, asked.minutes, reading, running, asked.seed, recipe)
    print(summary(found))
    sys.exit(any(v["silent"] or v["raised"] or v["unnamed"] or v["lost"] for v in found))


if __name__ == "__main__":
    main()
