"""How long ``zobench --help`` and ``import zobench`` take, as a ratio to ``python -c pass`` in the same run.

The commands are started alternately, so that other work on the machine affects all of them alike; the median
over the repeats is reported. Usage::

    python benchmarks/startup.py [--repeats 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import zobench": ["-c", "import zobench"],
    "zobench --help": ["-m", "zobench.cli", "--help"],
    "zobench list methods": ["-m", "zobench.cli", "list", "methods"],
}
BASELINE = "python -c pass"


def seconds(arguments: list[str]) -> float:
    """Wall-clock time of one new interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds of each command and its ratio to the baseline, after one start that is not timed."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            taken = seconds(arguments)
            if repeat:
                times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {name: {"seconds": m, "ratio": m / medians[BASELINE]} for name, m in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.repeats)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, numbers in found.items():
        print(f"{name:22}  {numbers['seconds']:.3f} s  {numbers['ratio']:.1f} x {BASELINE}")


if __name__ == "__main__":
    main()
