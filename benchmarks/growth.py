"""Growth of the commands that read results: processor time and peak memory against the number of runs.

    python benchmarks/growth.py [--runs 1000 10000 100000] [--folder DIR] [--minutes M]

For each number, finished synthetic runs are written (``many_runs.py``); then every command runs in a fresh
process, first on one folder per run, after 'compact' on the compacted tables. One JSON line per command:
seconds of processor time of the process (imports included), milliseconds of it per run, and the peak of its
resident memory (VmHWM). --folder keeps results and lines: the same command again begins after the last line
in DIR/lines.jsonl. --minutes begins no command after M minutes, and the end says which is next.
--compacted writes compacted tables at once, which is faster, and measures only these. Exit code 1: a command
takes 2 GB or more, or its time per run is more than 1.5 times that of a smaller number of runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

CHILD = """
import sys, time
from pathlib import Path
suite, folder, what = sys.argv[1:]
if what == "resume":
    from zobench.runner import run_plan
    from zobench.suite import expand, load
    found = run_plan(expand(load(Path(suite))), folder, workers=0, progress=False)
    assert found.kept == found.done and not found.failed, found
else:
    from zobench.cli import app
    command = {"plan": ["plan", suite, "--json"], "status": ["status", folder],
        "report": ["report", folder, "--output", folder + "/page.html"],
        "query": ["query", "select count(*), avg(value) from finals", folder],
        "compact": ["compact", folder]}[what]
    assert not app(command, standalone_mode=False), command
peak = [l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")][0]
print("\\n" + str(time.process_time()), int(peak.split()[1]) // 1024)
"""
MOST_MIB = 2000
Line = dict[str, Any]
LOOSE = ("plan", "status", "report", "query", "resume", "compact")
COMPACTED = ("plan", "status", "report", "query", "resume")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="keep results and lines here, and go on from them")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after these")
    parser.add_argument("--compacted", action="store_true", help="no folder per run")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit("\n".join(run(options.folder or Path(scratch), options.runs, options.compacted, end)) or 0)


def run(folder: Path, sizes: list[int], compacted: bool, end: float) -> list[str]:
    """Measure what ``folder/lines.jsonl`` lacks, and return what is wrong; nothing begins after ``end``."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "lines.jsonl"
    lines: list[Line] = [json.loads(text) for text in log.read_text().splitlines()] if log.exists() else []
    # Above 1,000 runs 'zobench run' compacts at its end: the resume of folders includes that.
    order = COMPACTED if compacted else (*LOOSE, *COMPACTED[1:])
    for runs in sizes:
        for what in order[sum(line["runs"] == runs for line in lines) :]:
            if time.monotonic() >= end:
                print(f"not measured for want of time: {what} of {runs} runs and what follows")
                return problems(lines)
            lines.append(measure(folder / str(runs), runs, compacted, what))
            print(json.dumps(lines[-1]), flush=True)
            with log.open("a") as out:
                out.write(json.dumps(lines[-1]) + "\n")
    return problems(lines)


def problems(lines: list[Line]) -> list[str]:
    """What is not linear, or takes too much memory."""
    out = [f"{at(line)}: {line['peak_mib']} MiB" for line in lines if line["peak_mib"] >= MOST_MIB]
    for line in lines:
        earlier = [e for e in lines if at(e)[:2] == at(line)[:2] and e["runs"] < line["runs"]]
        if any(line["ms_per_run"] > 1.5 * e["ms_per_run"] for e in earlier):
            out.append(f"{at(line)}: {line['ms_per_run']} ms per run, more than with fewer runs")
    return out


def at(line: Line) -> tuple[Any, ...]:
    return line["command"], line["form"], line["runs"]


def measure(place: Path, runs: int, compacted: bool, what: str) -> Line:
    """The line of one command; the runs are written first if ``place`` has none."""
    from many_runs import make, write_suite

    suite, folder, unfinished = place / "growth.yaml", place / "results", place / "unfinished"
    if not folder.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        write_suite(suite, runs)
        start = time.process_time()
        make(suite, unfinished, compacted=compacted)
        unfinished.rename(folder)
        print(json.dumps({"runs": runs, "written in s": round(time.process_time() - start, 1)}), flush=True)
    return _one(runs, suite, folder, what)


def _one(runs: int, suite: Path, folder: Path, what: str) -> Line:
    compacted = (folder / "runs" / "compact" / "manifest.json").is_file()
    command = [sys.executable, "-c", CHILD, str(suite), str(folder), what]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, peak = out.splitlines()[-1].split()
    return {
        "command": what,
        "runs": runs,
        "form": "compacted" if compacted else "folders",
        "cpu_s": round(float(seconds), 2),
        "ms_per_run": round(1000 * float(seconds) / runs, 3),
        "peak_mib": int(peak),
    }


if __name__ == "__main__":
    main()
