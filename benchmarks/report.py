"""Time, memory and size of the report of 10,000 runs, and the time until Chromium first paints it.

    python benchmarks/report.py [--rows 100] [--tasks 10] [--seeds 10]

Makes a synthetic, compacted results folder (about a hundred rows of the metrics table per run), builds its
page in a new process and prints one JSON line: seconds and processor seconds (imports included), peak memory,
file size, first paint. The targets for 10,000 runs are 15 s, 1.5 GB, 10 MB and 2 s.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "report"))

CHUNK = 400


def make(folder: Path, rows: int, tasks: int, seeds: int) -> dict[str, int]:
    """Write the compacted folder in chunks of runs; returns the number of rows of each table."""
    import numpy as np
    import pyarrow.parquet as pq
    from synthetic import Entry, Study, one_run

    from zobench.store.reader import COMPACT, MANIFEST
    from zobench.store.schema import SCHEMA_VERSION, TABLES
    from zobench.store.writer import to_table, versioned

    generator = np.random.default_rng(0)
    entries = [
        Entry(f"method-{i:03d}", 0.15 * i / rows, "control" if i % 20 == 19 else "method")
        for i in range(rows)
    ]
    study = Study(
        entries,
        tasks={f"task-{t}": 0.6 + 0.02 * t for t in range(tasks)},
        seeds=range(seeds),
        points=10,
        examples=10,
        attacks=("char-typos",),
        steps=20,
        extra_metrics=4,
    )
    target = folder / "runs" / COMPACT
    target.mkdir(parents=True)
    writers = {
        n: pq.ParquetWriter(target / f"{n}-000001.parquet", versioned(s), compression="zstd")
        for n, s in TABLES.items()
    }
    counts = dict.fromkeys(TABLES, 0)
    waiting: dict[str, list[dict[str, object]]] = {n: [] for n in TABLES}
    jobs = [(e, t, level, s) for e in entries for t, level in study.tasks.items() for s in study.seeds]
    for i, (entry, task, level, seed) in enumerate(jobs, start=1):
        accuracy = level + entry.gain + float(generator.normal(0, entry.sd))
        for name, found in one_run(study, entry, task, seed, min(1.0, accuracy), generator).items():
            waiting[name] += found
        if i % CHUNK == 0 or i == len(jobs):
            for name, held in waiting.items():
                counts[name] += len(held)
                writers[name].write_table(to_table(name, held))
                held.clear()
    for writer in writers.values():
        writer.close()
    body = {
        "schema_version": SCHEMA_VERSION,
        "generation": 1,
        "files": {n: f"{n}-000001.parquet" for n in TABLES},
    }
    (target / MANIFEST).write_text(json.dumps(body))
    return counts


def measure(folder: Path, page: Path) -> None:
    """Build the page in this process and print the measurements."""
    start = time.perf_counter()
    from zobench.report.build import build

    build(folder, page)
    seconds, processor = time.perf_counter() - start, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "seconds": round(seconds, 2),
                "processor_seconds": round(processor, 2),
                "peak_mib": peak >> 20,
                "page_mb": round(page.stat().st_size / 1e6, 2),
            }
        )
    )


def first_paint(page: Path, times: int = 5) -> float | None:
    """Median first contentful paint in seconds; ``None`` without Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if found is None:
        return None
    script = "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)[0]"
    seen = []
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(times):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function(f"{script} !== undefined")
            seen.append(tab.evaluate(script) / 1000)
            tab.close()
        browser.close()
    return round(statistics.median(seen), 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("rows", 100), ("tasks", 10), ("seeds", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--measure", nargs=2, type=Path, metavar=("DIR", "PAGE"), help="only build, in this process"
    )
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, page = Path(scratch) / "results", Path(scratch) / "page.html"
        counts = make(folder, options.rows, options.tasks, options.seeds)
        command = [sys.executable, __file__, "--measure", str(folder), str(page)]
        built = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(json.dumps({"table_rows": counts, **built, "first_paint_s": first_paint(page)}))


if __name__ == "__main__":
    main()
