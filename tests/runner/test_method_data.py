"""Data that methods need in addition to minibatches are taken from the run's examples, charged, and
reproducible.

Checked facts: an anchor of examples / batch size minibatches contains every example once; calibration is
spent before step 0 and is not part of the budget; a resumed run is bit-identical to an uninterrupted one; a
replay needs the artifacts.
"""

from __future__ import annotations

import json

import pytest
from runner_fakes import WORDS

from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.runner.method_data import RunMethodData
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.spec import Budget, Component
from zobench.store.artifacts import keep_artifacts, read_artifacts
from zobench.store.compaction import compact
from zobench.store.reader import read_run

PARTS = "runner_fakes:PARTS"
MEERKAT = {"lr": 0.05, "density": 0.3, "calibration_batches": 3}
CASES = {
    "mezo-svrg": {"lr": 0.01, "anchor_batches": 6, "q": 3},
    "addax": {"lr": 0.05, "length_threshold": 4},
    "meerkat": MEERKAT,
}


def half_long(bench, spec):
    """Every other row of 48 counts as nine tokens long, the others as three."""
    bench.data(spec).row_tokens[spec.model] = (3.0, 9.0) * 24
    return (3.0, 9.0) * 24


def rows_of(parts):
    return sorted(tuple(row) for batch, _, _ in parts for row in batch.inputs["ids"].tolist())


def test_an_anchor_of_rows_over_batch_size_minibatches_is_the_full_batch(make_run, bench: ProcessCache):
    spec = make_run().spec
    supplies = RunMethodData(spec, bench)
    train = sorted(tuple(int(w) for w in e.text["text"].split()) for e in bench.data(spec).splits.train)
    for step in (0, 7):
        assert rows_of(supplies.anchor(step, 48 // 8)) == train
    assert rows_of(supplies.anchor(0, 1)) != rows_of(supplies.anchor(1, 1))
    assert rows_of(supplies.anchor(3, 2)) == rows_of(RunMethodData(spec, bench).anchor(3, 2))


def test_rows_are_split_by_their_tokens(make_run, bench):
    spec = make_run().spec
    lengths = half_long(bench, spec)
    supplies = RunMethodData(spec, bench)
    train = bench.data(spec).splits.train
    words = [[int(w) for w in e.text["text"].split()] for e in train]
    seen = {True: [], False: []}
    for step in range(6):
        long, short = supplies.by_length(step, 5)
        seen[True] += long[0].inputs["ids"].tolist()
        seen[False] += short[0].inputs["ids"].tolist()
    for is_long, rows in seen.items():
        own = [w for w, n in zip(words, lengths, strict=True) if (n > 5) == is_long]
        assert sorted(rows) == sorted(own * 2), "six minibatches of 8 hold 24 rows twice"
    assert supplies.by_length(0, 9)[0] is None
    assert supplies.by_length(0, 2)[1] is None


def test_a_row_is_as_long_as_its_training_minibatch_makes_it(make_run, bench):
    spec = make_run().spec
    assert set(bench.row_tokens(spec)) == {5.0}
    assert all(0 <= int(w) < WORDS for w in bench.data(spec).splits.train[0].text["text"].split())


@pytest.mark.parametrize("row", CASES)
def test_the_forwards_are_those_that_are_declared(row, make_run, do, bench):
    planned = make_run(row, method=Component(name=row, params=CASES[row]))
    half_long(bench, planned.spec)
    outcome, tables = do(planned)
    assert outcome.status == "done"
    counts = [s["forwards"] for s in tables["steps"]]
    first = {"mezo-svrg": [12, 16, 20, 32], "addax": [5, 10, 15, 20], "meerkat": [11, 13, 15, 17]}[row]
    assert counts[:4] == first
    assert counts[-1] == tables["runs"][0]["forwards"] <= 60


@pytest.mark.parametrize("row", CASES)
@pytest.mark.parametrize("stop_after", [0, 1, 4])
def test_resumed_they_have_the_bits_of_an_uninterrupted_run(row, stop_after, make_run, tmp_path, bench):
    from test_resume import bits

    job = Job(make_run(row, method=Component(name=row, params=CASES[row])), "tiny", checkpoint_every=2)
    half_long(bench, job.planned.spec)
    run_id = run_one(job, tmp_path / "a", bench).run_id
    seen: list[dict] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= stop_after)
    assert run_one(job, tmp_path / "b", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "b", bench).status == "done"
    assert bits(tmp_path / "b", run_id) == bits(tmp_path / "a", run_id)


@pytest.mark.parametrize("row", ["mezo-svrg", "meerkat"])
def test_weights_come_back_from_scalars_and_artifacts(row, make_run, bench, tmp_path):
    planned = make_run(row, method=Component(name=row, params=CASES[row]))
    outcome = run_one(Job(planned), tmp_path / "runs", bench)
    report = replay(tmp_path / "runs" / outcome.run_id, parts=PARTS)
    assert report.matches
    compact(tmp_path)
    assert replay(tmp_path / "runs" / outcome.run_id, parts=PARTS) == report


def test_a_calibrated_mask_is_not_that_of_the_magnitudes_and_its_artifact_is_needed(make_run, do, tmp_path):
    digests = {}
    for scores in ("gradient", "magnitude"):
        planned = make_run("meerkat", method=Component(name="meerkat", params={**MEERKAT, "scores": scores}))
        outcome, tables = do(planned)
        row = tables["runs"][0]
        digests[scores] = row["artifacts_digest"]
        assert json.loads(tables["steps"][0]["extras"])["calibrated"] == float(scores == "gradient")
        mask = read_artifacts(tmp_path / "runs", row["artifacts_digest"])
        assert sum(t.numel() for t in mask.values()) == int(0.3 * row["tuned_parameters"])
    assert digests["gradient"] != digests["magnitude"]
    path = tmp_path / "runs" / "artifacts" / f"{digests['magnitude']}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="not those of its name"):
        replay(tmp_path / "runs" / outcome.run_id, parts=PARTS)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        replay(tmp_path / "runs" / outcome.run_id, parts=PARTS)


def test_another_mask_does_not_rebuild_the_weights(make_run, bench, tmp_path):
    planned = make_run("meerkat", method=Component(name="meerkat", params=MEERKAT))
    outcome = run_one(Job(planned), tmp_path, bench)
    row = read_run(tmp_path, outcome.run_id)["runs"].to_pylist()[0]
    mask = read_artifacts(tmp_path, row["artifacts_digest"])
    name = next(iter(mask))
    other = keep_artifacts(tmp_path, {**mask, name: mask[name][:-1]})
    tables = {n: t.to_pylist() for n, t in read_run(tmp_path, outcome.run_id).items()}
    tables["runs"][0]["artifacts_digest"] = other
    from zobench.store.writer import RunFolder

    RunFolder(tmp_path / outcome.run_id).finish("done", tables)
    assert not replay(tmp_path / outcome.run_id, parts=PARTS).matches


def test_a_budget_that_calibration_does_not_fit_takes_no_step(make_run, do):
    planned = make_run(
        "meerkat",
        method=Component(name="meerkat", params=MEERKAT),
        budget=Budget(forwards=10, batch_size=8),
        evaluation=make_run().spec.evaluation.model_copy(update={"at": (0,)}),
    )
    outcome, tables = do(planned)
    assert outcome.status == "budget"
    assert tables["runs"][0]["forwards"] == 0


def test_points_that_calibration_passes_stand_on_the_starting_weights(make_run, do):
    planned = make_run(
        "meerkat",
        method=Component(name="meerkat", params=MEERKAT),
        evaluation=make_run().spec.evaluation.model_copy(update={"at": (0, 5, 9, 40)}),
    )
    _, tables = do(planned)
    curve = [m for m in tables["metrics"] if m["metric"] == "nll" and not m["final"]]
    assert [(json.loads(m["params"])["at"], m["forwards"]) for m in curve] == [
        (0, 0),
        (5, 0),
        (9, 9),
        (40, 39),
    ]
    assert len({m["value"] for m in curve[:3]}) == 1
