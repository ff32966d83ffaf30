"""Digests detect every change. After a repair the folder can be read, and missing runs can be run again."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from store.forging import unseal

from zobench.store import compact, files, query, read
from zobench.store.artifacts import keep_artifacts, read_artifacts
from zobench.store.checkpoint_file import CHECKPOINT, EARLIER, Checkpoint, read_checkpoint, write_checkpoint
from zobench.store.damage import damage_in, mend, set_aside
from zobench.store.digests import DamagedFile, check_file, file_digest, read_sealed, sealed
from zobench.store.paths import DAMAGED
from zobench.store.plan_file import PlanFile, read_plan, write_plan
from zobench.store.reader import finished, read_run
from zobench.store.step_log import StepLog, read_steps_log, readable_steps
from zobench.store.writer import RunFolder


def write(results: Path, run_id: str, status: str = "done", artifacts: str | None = None) -> Path:
    """One run with spec, environment, log, checkpoint and tables."""
    folder = RunFolder(results / "runs" / run_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_json("spec.json", {"run": run_id})
    folder.write_json("environment.json", {"started_utc": "2026-11-29"})
    folder.open_log(keep_steps=0)
    for step in range(3):
        folder.append_step({"step": step, "loss": step / 2})
    folder.write_checkpoint(Checkpoint({"w": torch.ones(2)}, {"step": 3}))
    tables = {
        "runs": [{"run_id": run_id, "row": "r", "status": status, "artifacts_digest": artifacts}],
        "steps": [{"run_id": run_id, "step": s, "loss": s / 2} for s in range(3)],
        "metrics": [{"run_id": run_id, "metric": "accuracy", "value": 0.5, "final": True}],
    }
    folder.finish(status, tables)
    return folder.path


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_a_flipped_bit_of_every_byte_of_a_sealed_file_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path, body = tmp_path / "x.json", {"tables": {"runs": 7}, "status": "done", "é": [1.5, None]}
    path.write_bytes(sealed(body))
    whole = path.read_bytes()
    assert read_sealed(path) == body
    noticed = 0
    for place in range(len(whole)):
        path.write_bytes(whole)
        flip(path, place, place % 8)
        try:
            assert read_sealed(path) == body
        except DamagedFile as error:
            assert str(path) in str(error)  # noqa: PT017 - either of the two is right
            noticed += 1
    assert noticed > 0.8 * len(whole)


def test_a_flipped_bit_of_every_byte_of_a_step_log_is_noticed(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "steps.jsonl")
    assert log.open(keep_steps=0)
    for step in range(2):
        log.append({"step": step, "loss": 0.125})
    log.close()
    whole, rows = log.path.read_bytes(), read_steps_log(tmp_path)
    for place in range(len(whole) - 1):
        log.path.write_bytes(whole)
        flip(log.path, place, place % 8)
        assert readable_steps(tmp_path)[1] is not None, place
        assert not StepLog(log.path).open(keep_steps=2, digest=log.digest)
    log.path.write_bytes(whole[whole.index(b"\n") + 1 :])
    with pytest.raises(DamagedFile, match="line 1 is not the step"):
        read_steps_log(tmp_path)
    log.path.write_bytes(whole)
    assert read_steps_log(tmp_path) == rows == [{"step": s, "loss": 0.125} for s in range(2)]


def test_another_log_of_the_same_length_is_not_that_of_the_checkpoint(tmp_path: Path) -> None:
    digests = []
    for loss in (0.5, 0.25):
        log = StepLog(tmp_path / "steps.jsonl")
        log.open(keep_steps=0)
        log.append({"step": 0, "loss": loss})
        log.close()
        digests.append(log.digest)
    assert not log.open(keep_steps=1, digest=digests[0])
    assert log.open(keep_steps=1, digest=digests[1])
    log.close()


def test_every_damaged_byte_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, Checkpoint({"w": torch.arange(4.0)}, {"step": 3}))
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    stored = read_checkpoint(path)
    assert stored is not None
    assert stored.position == {"step": 3}
    assert torch.equal(stored.tensors["w"], torch.arange(4.0))
    for place in range(len(whole)):
        flip(path, place, place % 8)
        with pytest.raises(DamagedFile):
            read_checkpoint(path)
        path.write_bytes(whole[:place])
        with pytest.raises(DamagedFile):
            read_checkpoint(path)
        path.write_bytes(whole)


def test_the_checkpoint_before_is_kept_and_taken_where_the_last_is_damaged(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(3):
        folder.write_checkpoint(Checkpoint({"w": torch.tensor(float(step))}, {"step": step}))
    assert [c.position["step"] for c in folder.checkpoints()] == [2, 1]
    for step in range(3):
        folder.write_checkpoint(Checkpoint({"w": torch.tensor(float(step))}, {"step": step}))
    flip(tmp_path / CHECKPOINT, -1)
    folder = RunFolder(tmp_path)
    assert next(folder.checkpoints()).position["step"] == 1
    assert folder.damage == [f"{tmp_path / CHECKPOINT} is damaged: its digest differs from the recorded one"]
    assert not (tmp_path / CHECKPOINT).exists()
    assert (tmp_path / EARLIER).exists()


class Killed(BaseException):
    pass


def test_a_kill_while_a_checkpoint_is_written_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every operation on files; a third checkpoint over two that are there."""
    import os

    for n in range(1, 12):
        folder = tmp_path / str(n)
        folder.mkdir()
        for step in range(2):
            write_checkpoint(folder, Checkpoint({"w": torch.ones(3)}, {"step": step}))
        left = n

        class Dying:
            def __getattr__(self, name: str):
                found = getattr(os, name)
                if name not in ("open", "write", "fsync", "close", "replace", "unlink"):
                    return found

                def counted(*args):
                    nonlocal left
                    result = found(*args)
                    left -= 1
                    if left == 0:
                        raise Killed
                    return result

                return counted

        with monkeypatch.context() as m:
            m.setattr(files, "os", Dying())
            try:
                write_checkpoint(folder, Checkpoint({"w": torch.ones(3)}, {"step": 2}))
            except Killed:
                pass
            else:
                assert n > 7
        found = RunFolder(folder)
        assert next(found.checkpoints()).position["step"] in (1, 2)
        assert not found.damage


RUN_FILES = [
    "status.json",
    "spec.json",
    "environment.json",
    "runs.parquet",
    "steps.parquet",
    "metrics.parquet",
]


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_damaged_file_of_a_finished_run_is_found_and_the_run_set_aside(tmp_path: Path, name: str) -> None:
    for run_id in "ab":
        write(tmp_path, run_id)
    path, runs = tmp_path / "runs" / "a" / name, tmp_path / "runs"
    flip(path, len(path.read_bytes()) // 2)
    assert [(d.name, d.path) for d in damage_in(runs)] == [("a", path)]
    found = mend(runs)
    assert [str(d) for d in found] == [
        f"{path} is damaged ({found[0].reason}): set aside as runs/{DAMAGED}/a"
    ]
    assert finished(tmp_path, "a") is None
    assert sorted(read(tmp_path).runs["run_id"]) == ["b"]
    assert (runs / DAMAGED / "a" / name).is_file()
    assert [(d.name, str(d.path)) for d in set_aside(runs)] == [("a", f"runs/a/{name}")]
    assert mend(runs) == []
    write(tmp_path, "a")
    flip(path, len(path.read_bytes()) // 2)
    mend(runs)
    assert [d.name for d in set_aside(runs)] == ["a", "a-2"]


@pytest.mark.parametrize("name", ["status.json", "runs.parquet", "steps.parquet"])
def test_a_damaged_failed_run_keeps_its_progress(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, "a", "failed")
    flip(folder / name, 30)
    assert "opened again" in str(mend(tmp_path / "runs")[0])
    assert {p.name for p in folder.iterdir()} == {
        *("spec.json", "environment.json", "lock", "steps.jsonl", CHECKPOINT)
    }


@pytest.mark.parametrize("name", ["runs", "steps", "metrics"])
def test_a_damaged_table_is_named_by_every_reader(tmp_path: Path, name: str) -> None:
    for run_id in "ab":
        write(tmp_path, run_id)
    path = tmp_path / "runs" / "a" / f"{name}.parquet"
    flip(path, len(path.read_bytes()) // 3)
    for ask in (
        lambda: read(tmp_path),
        lambda: query(f"select * from {name}", tmp_path),
        lambda: read_run(tmp_path, "a"),
        lambda: compact(tmp_path),
    ):
        with pytest.raises(DamagedFile, match=f"a/{name}.parquet is damaged"):
            ask()
    assert len(query("select 1", tmp_path / "runs" / "b")) == 1


def test_a_damaged_compacted_table_sets_its_generation_aside(tmp_path: Path) -> None:
    for run_id in "ab":
        write(tmp_path, run_id)
    compact(tmp_path)
    write(tmp_path, "c")
    flip(tmp_path / "runs" / "compact" / "steps-000001.parquet", 200)
    with pytest.raises(DamagedFile, match=r"steps-000001.parquet is damaged"):
        read(tmp_path)
    assert [d.name for d in mend(tmp_path / "runs")] == ["compact"]
    assert list(read(tmp_path).runs["run_id"]) == ["c"]
    assert [d.name for d in set_aside(tmp_path / "runs")] == ["compact"]


def test_a_damaged_manifest_is_read_from_its_copy(tmp_path: Path) -> None:
    write(tmp_path, "a")
    compact(tmp_path)
    path = tmp_path / "runs" / "compact" / "manifest.json"
    whole = path.read_bytes()
    for torn in (whole[:-9], b"", whole.replace(b'"generation": 1', b'"generation": 2')):
        path.write_bytes(torn)
        assert list(read(tmp_path).runs["run_id"]) == ["a"]
        assert "written again from manifest-copy.json" in str(mend(tmp_path / "runs")[0])
        assert path.read_bytes() == whole
    path.write_bytes(b"")
    (path.parent / "manifest-copy.json").write_bytes(b"")
    with pytest.raises(DamagedFile, match=r"manifest.json is damaged"):
        read(tmp_path)
    assert "set aside" in str(mend(tmp_path / "runs")[0])
    assert read(tmp_path).runs.empty


def test_an_older_copy_of_the_manifest_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, "a")
    compact(tmp_path)
    folder = tmp_path / "runs" / "compact"
    before = (folder / "manifest-copy.json").read_bytes()
    write(tmp_path, "b")
    compact(tmp_path)
    (folder / "manifest-copy.json").write_bytes(before)
    (folder / "manifest.json").write_bytes(b"")
    with pytest.raises(DamagedFile):
        read(tmp_path)


@pytest.mark.parametrize("compacted", [False, True])
def test_a_damaged_artifact_takes_its_runs_with_it_and_is_written_again(
    tmp_path: Path, compacted: bool
) -> None:
    runs, tensors = tmp_path / "runs", {"mask": torch.arange(5)}
    runs.mkdir()
    digest = keep_artifacts(runs, tensors)
    write(tmp_path, "a", artifacts=digest)
    write(tmp_path, "b")
    if compacted:
        compact(tmp_path)
    flip(runs / "artifacts" / f"{digest}.safetensors", -1)
    with pytest.raises(DamagedFile, match="not those of its name"):
        read_artifacts(runs, digest)
    mend(runs)
    assert list(read(tmp_path).runs["run_id"]) == ["b"]
    assert keep_artifacts(runs, tensors) == digest
    flip(runs / "artifacts" / f"{digest}.safetensors", -1)
    assert keep_artifacts(runs, tensors) == digest
    assert torch.equal(read_artifacts(runs, digest)["mask"], tensors["mask"])


def test_a_damaged_plan_is_named_and_set_aside(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    write_plan(runs, PlanFile(suite="small"))
    flip(runs / "plan.json", runs.joinpath("plan.json").read_bytes().index(b"small"))
    with pytest.raises(DamagedFile, match=r"plan.json is damaged"):
        read_plan(runs)
    assert [d.name for d in mend(runs)] == ["plan.json"]
    assert read_plan(runs) is None


@pytest.mark.parametrize("compacted", [False, True])
def test_folders_from_before_digests_are_read(tmp_path: Path, compacted: bool) -> None:
    for run_id in "ab":
        write(tmp_path, run_id)
    if compacted:
        compact(tmp_path)
    before = read(tmp_path).steps
    unseal(tmp_path)
    assert read(tmp_path).steps.equals(before)
    assert damage_in(tmp_path / "runs") == []
    victim = next((tmp_path / "runs").rglob("runs*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-3] + b"xyz")
    with pytest.raises(DamagedFile, match="cannot be read as parquet"):
        read(tmp_path)
    assert len(mend(tmp_path / "runs")) == 1
    assert len(read(tmp_path).runs) == (0 if compacted else 1)


def test_an_earlier_checkpoint_and_log_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(1)}, tmp_path / CHECKPOINT, metadata={"position": json.dumps({"step": 1})})
    stored = read_checkpoint(tmp_path / CHECKPOINT)
    assert stored is not None
    assert stored.position == {"step": 1}
    (tmp_path / "steps.jsonl").write_text('{"step":0}\n')
    log = StepLog(tmp_path / "steps.jsonl")
    assert log.open(keep_steps=1)
    log.append({"step": 1})
    log.close()
    assert read_steps_log(tmp_path) == [{"step": 0}, {"step": 1}]


def test_a_checked_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zobench.store import digests

    path = tmp_path / "x"
    path.write_bytes(random.Random(0).randbytes(100))
    asked, digest = [], file_digest(path)
    monkeypatch.setattr(digests, "file_digest", lambda p: asked.append(p) or digest)
    for _ in range(3):
        check_file(path, digest)
    check_file(tmp_path / "gone", None)
    assert asked == [path]
