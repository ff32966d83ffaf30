"""Submissions that were altered on their way: refused, not verified, or verified with the same claims."""

from __future__ import annotations

import io
import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from reliability.fuzz_suites import CHANGES, changed
from reliability.fuzzing import Surface, refusals
from reliability.strange_files import BYTES, SEEDS, flipped, other_table


def _honest(folder: Path) -> Path:
    sys.path.append(str(Path(__file__).parents[1] / "runner"))
    from runner_fakes import FakeParts

    from zobench.runner.execute import run_one
    from zobench.runner.jobs import Job
    from zobench.runner.process_cache import ProcessCache
    from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
    from zobench.verification import write_submission

    spec = RunSpec(
        model=ModelRef(name="tiny"),
        task=Component(name="count"),
        method=Component(name="mezo", params={"lr": 0.05, "epsilon": 1e-2}),
        seed=3,
        budget=Budget(forwards=24, batch_size=8),
        evaluation=Evaluation(),
    )
    job = Job(PlannedRun(row="mezo", spec=spec), "tiny")
    outcome = run_one(job, folder / "runs", ProcessCache(FakeParts()))
    return write_submission(folder, outcome.run_id, folder / "honest.zip")


UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, KeyError, pa.ArrowException, OSError, EOFError, RuntimeError),
    *(ValueError, NotImplementedError, TypeError, IndexError),
)
EXTRA = ["../x", "/x", "submission.json", "steps.parquet", "x\x1b", " "]
WAYS = st.one_of(
    st.tuples(st.just("bytes"), BYTES),
    st.tuples(st.just("cut"), st.integers(0, 10**6)),
    st.tuples(st.just("head"), CHANGES),
    st.tuples(st.just("text"), st.text(max_size=40)),
    st.tuples(st.just("member"), st.tuples(st.integers(0, 9), BYTES)),
    st.tuples(st.just("table"), st.tuples(st.integers(0, 9), SEEDS)),
    st.tuples(st.just("extra"), st.sampled_from(EXTRA)),
)


def _altered(data: bytes, way: str, how: Any) -> bytes:
    if way == "bytes":
        return flipped(data, how)
    if way == "cut":
        return data[: how % max(1, len(data))]
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        parts = [(name, old.read(name)) for name in old.namelist()]
    if way in ("member", "table"):
        place, drawn = how
        tables = [i for i, (name, _) in enumerate(parts) if way == "member" or name.endswith(".parquet")]
        i = tables[place % len(tables)]
        body = flipped(parts[i][1], drawn) if way == "member" else other_table(parts[i][1], drawn)
        parts[i] = (parts[i][0], body)
    elif way == "head":
        head = changed(json.loads(dict(parts)["submission.json"]), how)
        text = json.dumps(head, ensure_ascii=False).encode("utf-8", "surrogatepass")
        parts = [(n, text if n == "submission.json" else b) for n, b in parts]
    elif way == "text":
        parts = [(n, how.encode() if n == "submission.json" else b) for n, b in parts]
    else:
        parts.append((how, b"{}"))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new:
        for name, body in parts:
            new.writestr(name, body)
    return sink.getvalue()


def _submissions(folder: Path) -> tuple[st.SearchStrategy[Any], Any]:
    import warnings

    from zobench.verification import verify_submission
    from zobench.verification.report import Demands

    warnings.filterwarnings("ignore", "Duplicate name")  # zipfile, about members written twice on purpose
    data = _honest(folder).read_bytes()
    path = folder / "sent.zip"

    def check(ways: list[tuple[str, Any]]) -> str:
        sent = data
        for way, how in ways:
            try:
                sent = _altered(sent, way, how)
            except UNREADABLE:
                break  # an earlier change broke the archive: it is sent as it is
        path.write_bytes(sent)
        with refusals("sent.zip"):
            report = verify_submission(path, Demands(steps=2, draw_seed=0), parts="runner_fakes:PARTS")
            assert str(report).replace("\n", "").isprintable()
            json.dumps(report.as_dict())
            assert not report.passed or sent == data or _same_claims(report, data)
            return "passed" if report.passed else "not verified"
        return "refused"

    return st.lists(WAYS, min_size=1, max_size=2), check


def _same_claims(report: Any, data: bytes) -> bool:
    """Whether a submission that passed claims the same scores, weights and identity as the honest one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        run = json.loads(archive.read("submission.json"))["run"]
    kept = ("run_id", "weights_digest", "model_digest", "data_digest", "method", "task", "seed", "forwards")
    return all(report.submission.run[name] == run[name] for name in kept)


SUBMISSIONS = Surface("submissions", 5_000, 25, 6, _submissions)
