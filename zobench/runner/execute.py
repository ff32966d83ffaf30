"""Executes one run from its plan to its status, in its own folder and under its own lock.

Every outcome is recorded: a run that raises is ``failed`` with its traceback, one that runs out of memory is
``out_of_memory``, and one whose loss explodes is ``diverged`` and is still evaluated. A killed run leaves a
log and a checkpoint; the next call resumes from them and produces bit-identical results."""

from __future__ import annotations

import contextlib
import functools
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.models.encoding import trims_more
from zobench.plugin_code import plugin_digests
from zobench.runner.final_state import keep
from zobench.runner.frozen import FrozenWeights
from zobench.runner.jobs import Job, Outcome, time_limit
from zobench.runner.leasing import Claim, claim
from zobench.runner.measurements import Measurements, Stopped, may_retry, some_to_retry, told
from zobench.runner.offloading import weights_outside
from zobench.runner.out_of_memory import is_out_of_memory
from zobench.runner.process_cache import ProcessCache
from zobench.runner.process_watch import ProcessWatch
from zobench.runner.record import Run, failure_row, tables_of
from zobench.runner.spaces import space_of
from zobench.runner.tracking import Tracking
from zobench.runner.training import Listener, Training
from zobench.spec import identifying, placeholder, reward_of
from zobench.store import files
from zobench.store.damage import mend_run, run_problem
from zobench.store.digests import DamagedFile
from zobench.store.lock import FolderLock
from zobench.store.paths import run_folder
from zobench.store.reader import finished, read_run, read_status
from zobench.store.reasons import reason
from zobench.store.space import storage_problem
from zobench.store.writer import RunFolder

if TYPE_CHECKING:
    from zobench.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Control:
    """Callbacks of a run: ``listener`` receives its events, ``should_stop`` can stop it. ``own_process``:
    True if the process executes no other run."""

    listener: Listener = lambda event: None
    should_stop: Callable[[], bool] = lambda: False
    own_process: bool = False


def run_one(job: Job, runs: Path, bench: ProcessCache, control: Control | None = None) -> Outcome:
    """Execute one run under ``runs`` unless it is finished already. Errors of the run are recorded, not
    raised.

    The outcome is ``busy`` if another process executes the run. A failed or interrupted run is tried again.
    If nothing can be written, the outcome is ``blocked``; the run stays resumable, or its failure is recorded
    in the space reserved for that. The state of the process is restored
    (:mod:`zobench.runner.process_watch`).
    """
    control = control or Control()
    with ProcessWatch(job.planned.spec, own_process=control.own_process) as watch:
        try:
            return _run_one(job, runs, bench, control, watch)
        except OSError as error:
            blocked = storage_problem(error, runs)
            if blocked is None:
                raise
            return Outcome(placeholder(job.planned.spec), "failed", error=blocked, blocked=blocked)


def _run_one(job: Job, runs: Path, bench: ProcessCache, control: Control, watch: ProcessWatch) -> Outcome:
    spec, unidentified = job.planned.spec, placeholder(job.planned.spec)
    control.listener({"doing": "loading model, data"})
    try:
        digests = digests_of(spec, bench)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken part fails only this run
        return record_failure(job, runs, unidentified, error, watch)
    run_id = spec.run_id(digests)
    if (kept := _kept(runs, run_id, job)) is not None:
        return replace(kept, digests=digests)
    claimed = claim(job.leasing, runs, run_id)
    if isinstance(claimed, Outcome):
        return replace(claimed, digests=digests)
    with claimed:
        return claimed.ended(_claimed(job, runs, bench, control, watch, digests, claimed))


def _claimed(
    job: Job,
    runs: Path,
    bench: ProcessCache,
    control: Control,
    watch: ProcessWatch,
    digests: dict[str, str],
    claimed: Claim,
) -> Outcome:
    """Execute a run under the lock of its folder, unless it is finished."""
    run_id, unidentified = job.planned.spec.run_id(digests), placeholder(job.planned.spec)
    folder = run_folder(runs, run_id)
    damage = [str(found) for found in mend_run(runs, run_id)]
    lock = _lock(folder, job)
    if lock is None:
        return Outcome(run_id, "busy", fresh=False)
    if not isinstance(lock, FolderLock):
        stop = control.should_stop
        control = replace(control, should_stop=lambda: claimed.check() or stop())
    with lock:
        if (kept := _kept(runs, run_id, job)) is not None:
            if read_status(folder) is None:  # another process compacted it in the meantime
                files.remove_tree(folder)
            return replace(kept, digests=digests)
        files.remove_tree(run_folder(runs, unidentified))
        run = Run(job, run_id, RunFolder(folder), bench, digests, watch)
        run.folder.damage += damage
        made = _locked(run, control)
        return replace(made, digests=digests, damage=tuple(run.folder.damage))


def _lock(folder: Path, job: Job) -> contextlib.AbstractContextManager[object] | None:
    """The lock of the run's folder; with a lease, none is needed where the file system has no locks."""
    try:
        return FolderLock.acquire(folder)
    except NotImplementedError:
        if job.leasing is None:
            raise
        folder.mkdir(parents=True, exist_ok=True)
        return contextlib.nullcontext()


def digests_of(spec: RunSpec, bench: ProcessCache) -> dict[str, str]:
    """What determines a run's identity besides its specification: digests of model, data and schema;
    revisions of the method, of how the model is run and of how examples are scored; and the code of plugins.

    Revisions enter only if above 1, so that ids from before revisions existed stay valid.
    """
    if spec.unlearning is not None and spec.unlearning.pair is not None:
        from zobench.runner.pairs import ensure

        ensure(spec)
    lm, more = bench.model(spec.model), {}
    if spec.unlearning is None:
        bench.data(spec).task.refuse_model(lm)
    way = lm.way.revision(lm.module)
    if way > 1 or (lm.architecture == "causal" and trims_more(lm.tokenizer)):
        more["way"] = str(max(way, 2))
    # Revision 2 of facts in half precision: if k answers have the same smallest loss, each counts 1/k.
    # Revision 3: relearning trains a float32 copy.
    facts = 3 if lm.identity.half_precision else 1
    if (scoring := facts if spec.unlearning is not None else bench.data(spec).task.revision(lm)) > 1:
        more["scoring"] = str(scoring)
    if reward_of(spec) is not None:
        scorer = bench.reward(spec)
        more |= scorer.digests() | ({"reward": str(scorer.revision)} if scorer.revision > 1 else {})
    if (method := bench.parts.method(spec.method.name).card.revision) > 1:
        more["method"] = str(method)
    return {**identifying(lm.identity.digest, bench.about(spec).digest), **more, **plugin_digests(spec)}


def _locked(run: Run, control: Control) -> Outcome:
    if finished(run.folder.path.parent, run.run_id) is not None:
        return _measure_again(run, control)
    run.folder.reopen()
    run.begin()
    tracking = Tracking(run.job.trackers, run.folder.path.parent, run.job, run.run_id)
    outcome = _attempt(run, replace(control, listener=tracking.listening(control.listener)))
    tracking.finished(outcome.status)
    return outcome


def _measure_again(run: Run, control: Control) -> Outcome:
    """Repeat the failed measurements of a finished run, which remains finished regardless of the result."""
    tables = {n: t.to_pylist() for n, t in read_run(run.folder.path.parent, run.run_id).items()}
    run.before = tables["runs"][0]
    run.folder.go_on()
    try:
        return _perform(run, control)
    except Stopped:
        return Outcome(run.run_id, "interrupted")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - only the measurements failed
        if blocked := storage_problem(error, run.folder.path):
            return Outcome(run.run_id, "failed", True, blocked, blocked=blocked)
        told = f"{type(error).__name__}: {error}"
        for row in tables["failures"]:
            if row["final"]:
                row.update(reason=told, detail=traceback.format_exc(), tries=row["tries"] + 1)
        run.folder.finish(run.before["status"], tables)
        return _outcome(run.run_id, tables, fresh=False)
    finally:
        run.folder.close_log()


def _attempt(run: Run, control: Control) -> Outcome:
    limit = run.job.run_seconds
    deadline = time.monotonic() + limit
    limited = replace(control, should_stop=lambda: control.should_stop() or time.monotonic() > deadline)
    try:
        return _perform(run, limited)
    except Stopped:
        late = not control.should_stop()
        return _stop(run, "interrupted", time_limit("the run", "run_minutes", limit) if late else "")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded; other runs continue
        if blocked := storage_problem(error, run.folder.path):
            return _stop_blocked(run, f"{traceback.format_exc()}{blocked}", blocked)
        return _stop(run, status_of(error), traceback.format_exc())
    finally:
        run.folder.close_log()


def _perform(run: Run, control: Control) -> Outcome:
    spec, bench = run.job.planned.spec, run.bench
    assert bench is not None, "only a run with a known identity is executed"
    lm = bench.model(spec.model)
    if spec.perturbation != "offload":
        bench.remember(spec.model)
    space = space_of(spec, lm, bench.parts)
    try:
        frozen = FrozenWeights(space, spec.method.name)
        optimizer = bench.parts.optimizer(spec, space)
        run.describe(space, optimizer)
        with weights_outside(optimizer, run.job.scratch, run.folder.path):
            training = training_for(run.job)(
                spec, bench, space, optimizer, run.folder, run.job.checkpoint_every, control.listener, frozen
            )
            control.listener({"doing": "baseline, compiling"})
            status = training.run(control.should_stop)
            control.listener({"doing": _last_part(spec)})
            if run.before is not None:
                _same_weights(run.before, space.digest())
            measurements = Measurements(
                run.folder.path,
                space.digest(),
                training.evaluator.book_seconds,
                may_retry=may_retry(status, run.job.retry_failed),
                should_stop=control.should_stop,
                lost=run.job.lost,
            )
            try:
                tables = tables_of(run, training, status, measurements)
            finally:
                measurements.close()
        if any(row["final"] for row in tables["failures"]):
            position, artifacts = training.whole_position(), training.kept_artifacts()
            keep(run.folder, spec, optimizer, position, artifacts)
        row = tables["runs"][0]
        run.folder.finish(row["status"], tables)
        return _outcome(run.run_id, tables, fresh=True)
    finally:
        space.remove()
        bench.put_back(spec.model)


def _last_part(spec: RunSpec) -> str:
    """What is done after training, for the display."""
    return "evaluation" + (", attacks" if spec.attacks else ", probes" if spec.unlearning else "")


def training_for(job: Job) -> Callable[..., Training]:
    """What makes a run's training loop; unlearning, runs in shards and federated runs have their own."""
    spec = job.planned.spec
    if spec.split is not None:
        from zobench.runner.split import SplitTraining

        return functools.partial(SplitTraining, processes=job.processes, parts=job.parts, scratch=job.scratch)
    if spec.clients is not None:
        from zobench.runner.federated import FederatedTraining

        return FederatedTraining
    if spec.unlearning is None:
        return Training
    from zobench.runner.unlearning import UnlearningTraining

    return UnlearningTraining


def _stop(run: Run, status: str, error: str) -> Outcome:
    """Record a run that failed or was interrupted; its log and checkpoint are kept."""
    run.folder.close_log()
    steps = run.readable_step_rows()
    run.folder.finish(status, {"runs": [failure_row(run, status, error)], "steps": steps}, error)
    return Outcome(run.run_id, status, True, reason(error), forwards=steps[-1]["forwards"] if steps else 0)


def _stop_blocked(run: Run, error: str, blocked: str) -> Outcome:
    """Record the failure of a run that cannot write to its disk, in the reserved space: without the steps
    table, because the log contains the steps. If even that does not fit, nothing is recorded."""
    run.folder.make_room()
    try:
        run.folder.finish("failed", {"runs": [failure_row(run, "failed", error)]}, error)
    except OSError as further:
        if storage_problem(further) is None:
            raise
        run.folder.make_room()
    return Outcome(run.run_id, "failed", True, blocked, blocked=blocked)


def record_failure(
    job: Job,
    runs: Path,
    run_id: str,
    error: BaseException,
    watch: ProcessWatch | None = None,
    status: str | None = None,
    digests: dict[str, str] | None = None,
) -> Outcome:
    """Record a run that is not executed any more: under a placeholder identity if its model or data could not
    be loaded, or by its id and digests if it had begun; the steps in its log are recorded with it."""
    text = "".join(traceback.format_exception(error))
    folder = run_folder(runs, run_id)
    lock = FolderLock.acquire(folder)
    if lock is None:
        return Outcome(run_id, "busy", fresh=False)
    with lock:
        run = Run(job, run_id, RunFolder(folder), None, digests or {}, watch)
        run.folder.reopen()
        run.begin()
        status = status or status_of(error)
        tables = {"runs": [failure_row(run, status, text)], "steps": run.readable_step_rows()}
        run.folder.finish(status, tables, text)
    return Outcome(run_id, status, True, reason(text))


def status_of(error: BaseException) -> str:
    """``out_of_memory`` or ``failed``."""
    return "out_of_memory" if is_out_of_memory(error) else "failed"


def _same_weights(before: dict[str, Any], digest: str) -> None:
    if before["weights_digest"] != digest:
        raise ValueError("the weights that came back are not those that were recorded")


def _kept(runs: Path, run_id: str, job: Job) -> Outcome | None:
    """The outcome of a run that was finished earlier, from its tables; ``None`` if there is no such run, if
    it is damaged, or if a measurement of it is to be repeated."""
    try:
        status = finished(runs, run_id)
        if status is None or run_problem(run_folder(runs, run_id)) is not None:
            return None
        tables = {name: table.to_pylist() for name, table in read_run(runs, run_id).items()}
    except DamagedFile:
        return None
    if some_to_retry(status, tables.get("failures", []), job.retry_failed):
        return None
    return _outcome(run_id, tables, fresh=False)


def _outcome(run_id: str, tables: dict[str, list[dict[str, Any]]], *, fresh: bool) -> Outcome:
    row = tables["runs"][0]
    final = {
        m["metric"]: m["value"]
        for m in tables.get("metrics", [])
        if m["final"] and m["condition_kind"] == "clean"
    }
    return Outcome(
        run_id,
        row["status"],
        fresh,
        row["error"] or "" if fresh else "",
        final.get(row["primary_metric"]),
        final,
        row["forwards"] or 0,
        unmeasured=told(tables.get("failures", [])),
    )
