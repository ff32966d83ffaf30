"""Random inputs for as long as there is time, resumable: ``nightly_fuzz.py FOLDER SURFACE --minutes M``.

``FOLDER/trials.jsonl`` holds one line per batch; the next call goes on behind it, and a summary of the counts
reached ends each call. ``attacks`` is one surface for each attack, in a folder of its own, which share the
minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reliability.fuzz_attacks import ATTACKS
from reliability.fuzz_kinds import SUITE_KINDS
from reliability.fuzz_submissions import SUBMISSIONS
from reliability.fuzz_suites import BOARDS, PLANS
from reliability.fuzz_tables import PARQUET, QUERY
from reliability.fuzz_texts import EXTRACTION, PATHS, YAML
from reliability.fuzzing import Surface, go_on, summary

SINGLE = {
    s.name: s for s in (EXTRACTION, YAML, PATHS, PLANS, SUITE_KINDS, BOARDS, SUBMISSIONS, QUERY, PARQUET)
}


def surfaces(name: str) -> tuple[Surface, ...]:
    """The surfaces of a name: one, or one for each attack."""
    return ATTACKS if name == "attacks" else (SINGLE[name],)


def place(folder: Path, surface: Surface) -> Path:
    """Where the trials of a surface are kept."""
    kind, _, attack = surface.name.partition(" ")
    return folder / attack.replace("/", "-") if kind == "attack" else folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("surface", choices=[*SINGLE, "attacks"])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--tries", type=int, default=None, help="default: the full count of the surface")
    asked = parser.parse_args()
    wanted, failed = surfaces(asked.surface), False
    for surface in wanted:
        tries = surface.tries if asked.tries is None else asked.tries
        found = go_on(surface, place(asked.folder, surface), asked.minutes / len(wanted), tries)
        print(summary(surface, found))
        failed |= any(batch["failures"] for batch in found)
    sys.exit(failed)


if __name__ == "__main__":
    main()
