"""Executor ray on a cluster of two nodes: groups, lost workers, a killed driver. Needs Ray, except for what
is computed without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zobench.runner import run_plan
from zobench.runner.ray_executor import GROUP_SECONDS, RayExecutor, group_size
from zobench.runner.work_file import write_work
from zobench.spec import Budget, Component
from zobench.store.reader import read
from zobench.suite.schema import ExecutorSettings

PARTS = "runner_fakes:PARTS"
MEMORY = 80 * 1024 * 1024
DRIVER = """
import sys
from pathlib import Path
from zobench.runner import run_plan
from zobench.runner.work_file import read_work
folder = Path(sys.argv[1])
run_plan(read_work(folder), folder, parts="runner_fakes:PARTS", progress=False, checkpoint_every=2,
         address=sys.argv[2])
"""


def test_groups_are_short_and_leave_runs_for_every_slot() -> None:
    assert group_size(None, 100, 4) == 1
    assert group_size(GROUP_SECONDS * 2, 100, 4) == 1
    assert group_size(GROUP_SECONDS / 10, 100, 4) == 10
    assert group_size(GROUP_SECONDS / 10, 12, 4) == 3
    assert group_size(0.0, 7, 2) == 4


@pytest.fixture(scope="module")
def cluster():
    """Two nodes: two processes of Ray, each with its own object store."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'zobench[ray]'")
    from ray.cluster_utils import Cluster

    environment = pytest.MonkeyPatch()
    environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(Path(__file__).parent), *sys.path])))
    # Ray runs its workers at niceness 15: on a busy machine they would wait for everything else.
    environment.setenv("RAY_worker_niceness", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": MEMORY})
    made.add_node(num_cpus=1, object_store_memory=MEMORY)
    made.wait_for_nodes()
    yield made
    made.shutdown()
    environment.undo()


def on(plan, **settings):
    return plan.model_copy(update={"executor": ExecutorSettings(kind="ray", **settings)})


def values(folder: Path):
    table = read(folder / "runs", ["runs"]).runs
    return sorted(zip(table.run_id, table.status, table.weights_digest, strict=True))


def test_runs_on_two_nodes_have_the_results_of_one_process(make_run, make_plan, tmp_path, cluster) -> None:
    """Forty runs of a few hundredths of a second: they go in groups, on as many slots as the cluster has."""
    runs = [make_run(seed=s) for s in range(40)]
    seen: list[RayExecutor] = []
    honest = RayExecutor.close

    def close(self):
        seen.append(self)
        honest(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayExecutor, "close", close)
        done = run_plan(
            on(make_plan(*runs), address=cluster.address), tmp_path / "ray", parts=PARTS, progress=False
        )
    assert (done.done, done.failed) == (40, [])
    shares = seen[0].shares
    assert 40 - 2 <= shares.runs < 40, "without the first task of each process"
    assert shares.tasks < 20, "later runs went in groups"
    assert shares.running <= shares.total
    run_plan(make_plan(*runs), tmp_path / "one", workers=0, parts=PARTS, progress=False)
    assert values(tmp_path / "ray") == values(tmp_path / "one")


def test_a_lost_worker_costs_no_run_and_takes_no_other_along(make_run, make_plan, tmp_path, cluster) -> None:
    """The task of one run kills its process once, that of another always; four others are in between."""
    once = Component(name="count", params={"marker": str(tmp_path / "once")})
    always = Component(name="count", params={"marker": "always"})
    plan = make_plan(
        *(make_run(seed=s) for s in range(2)),
        make_run(seed=10, task=once),
        make_run(seed=11, task=always),
        *(make_run(seed=s) for s in range(2, 4)),
    )
    done = run_plan(on(plan, address=cluster.address), tmp_path, parts=PARTS, progress=False)
    assert done.done == 5
    ((name, message),) = done.failed
    assert "seed 11" in name
    assert message.startswith("its Ray worker was lost 3 times (WorkerCrashedError")


def test_what_tasks_print_is_in_the_log(make_run, make_plan, tmp_path, cluster) -> None:
    """The task of one run prints on both streams, of its process and of a child."""
    task = Component(name="count", params={"prints": True})
    plan = on(make_plan(make_run(task=task)), address=cluster.address)
    assert run_plan(plan, tmp_path, parts=PARTS, progress=False).done == 1
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text().startswith("== mezo on count, tiny, seed 0\n")
    for line in ("on standard output", "on standard error", "by a child"):
        assert f"{line}\n" in log.read_text()


def test_a_killed_driver_leaves_runs_that_the_next_one_finishes(
    make_run, make_plan, tmp_path, cluster
) -> None:
    """Killed while runs of about a second are running; the next driver resumes them, with equal results."""
    slow = Component(name="count", params={"slow": 0.03})
    runs = [make_run(seed=s, task=slow, budget=Budget(forwards=40, batch_size=8)) for s in range(4)]
    plan = on(make_plan(*runs))
    write_work(tmp_path, plan)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), cluster.address])
    while not list((tmp_path / "runs").glob("*/checkpoint.safetensors")):
        assert driver.poll() is None, "the driver ended too early"
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert run_plan(plan, tmp_path, parts=PARTS, progress=False, address=cluster.address).done == 4
    table = read(tmp_path / "runs", ["runs"]).runs
    assert max(table.resumed) == 1
    run_plan(make_plan(*runs), tmp_path / "one", workers=0, parts=PARTS, progress=False)
    assert values(tmp_path) == values(tmp_path / "one")


def test_a_fraction_of_a_gpu(make_run, make_plan, tmp_path, cluster) -> None:
    """What a task asks for; no GPU is needed to ask."""
    import ray

    from zobench.runner.jobs import Job

    executor = RayExecutor(tmp_path, PARTS, None, 2, cluster.address, gpus=0.25)
    spec = make_run().spec
    there = spec.model.model_copy(update={"device": "cuda"})
    on_gpu = make_run().model_copy(update={"spec": spec.model_copy(update={"model": there})})
    assert executor.options(Job(on_gpu)) == {"num_cpus": 2, "num_gpus": 0.25, "max_retries": 0}
    assert executor.options(Job(make_run()))["num_gpus"] == 0
    executor.close()
    assert not ray.is_initialized()


def test_no_cluster_at_the_address_is_one_line(make_run, make_plan, tmp_path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'zobench[ray]'")
    plan = on(make_plan(make_run()), address="127.0.0.1:1")
    with pytest.raises(ValueError, match=r"no cluster at address '127\.0\.0\.1:1'"):
        run_plan(plan, tmp_path, parts=PARTS, progress=False)


@pytest.mark.parametrize("gpus", [1.5, 2.25])
def test_more_than_one_gpu_is_a_whole_number(gpus) -> None:
    with pytest.raises(ValueError, match="a fraction of one GPU or a whole number"):
        ExecutorSettings(kind="ray", gpus=gpus)
