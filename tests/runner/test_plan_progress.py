"""What a plan says while it is executed: lines, counts, the bar and the time left."""

from __future__ import annotations

import io
import math

from plan_runs import PARTS, run
from rich.console import Console
from rich.progress import Progress

from zobench.runner.jobs import Job, Outcome
from zobench.runner.progress import Board, Lines, Live
from zobench.runner.scheduler import run_plan
from zobench.runner.stopping import Reminder


def test_plain_lines_of_progress(six, tmp_path, capsys):
    run(six, tmp_path, progress=True)
    out = capsys.readouterr().out
    assert "6 runs" in out
    assert "mezo on count, seed 0: done" in out
    assert "6/6 done" in out
    assert "\x1b" not in out


def test_the_first_run_says_that_it_loads_and_a_total_that_grows_says_why(make_plan, study, tmp_path, capsys):
    plan = make_plan(studies=(study([{"lr": v} for v in (1e-6, 0.05)]),))
    run_plan(plan, tmp_path, workers=0, parts=PARTS, progress=True)
    lines = capsys.readouterr().out.splitlines()
    first, total = lines[1], next(i for i, line in enumerate(lines) if " in all: " in line)
    assert first.startswith("loading model and data: ")
    assert sum(line.startswith("loading") for line in lines) == 1
    assert lines[total].endswith("with the settings chosen")
    jobs = int(lines[total].split(", ")[1].split()[0])
    assert int(lines[0].split()[0]) < jobs
    assert lines[-1].startswith(f"{jobs}/{jobs} done")


def test_headline_counts_and_the_bar_goes_by_forwards(make_run):
    job, other = Job(make_run()), Job(make_run(seed=1))
    budget = job.planned.spec.budget.forwards
    board = Board()
    board.add([job, other])
    board.begin(job)
    board.hear(job.key, {"forwards": 30, "loss": 0.5})
    stream = io.StringIO()
    Lines(board, stream).stop()
    assert "0/2 done, 1 running, 0 failed, 30 forward passes spent" in stream.getvalue()
    assert (board.task.completed, board.task.total) == (30, 2 * (budget + 50))
    board.end(job, Outcome("a", "done", fresh=True, forwards=budget))
    assert board.task.percentage == 50
    board.end(other, Outcome("b", "done", fresh=False))
    assert board.task.finished
    assert board.headline() == f"2/2 done (1 kept), 0 running, 0 failed, {budget} forward passes spent"


def test_an_interrupted_run_is_neither_failed_nor_made(make_run, monkeypatch):
    job = Job(make_run())
    board = Board()
    board.add([job])
    board.begin(job)
    stream, reminder = io.StringIO(), Reminder()
    reminder.refresh(board, Lines(board, stream))
    assert stream.getvalue() == "", "it waits a while"
    monkeypatch.setattr(Reminder, "EVERY_SECONDS", 0.0)
    reminder = Reminder()
    reminder.refresh(board, Lines(board, stream))
    assert f"still waiting for {board.name(job)} (starting). Ctrl-C again ends at once" in stream.getvalue()
    board.end(job, Outcome("a", "interrupted", fresh=True, forwards=30))
    assert board.headline() == "0/1 done, 0 running, 0 failed, 1 interrupted, 30 forward passes spent"
    assert (board.task.completed, board.task.finished) == (30, False)


def test_the_reason_of_a_failure_is_left_to_the_end(make_run):
    job, reason, stream = Job(make_run()), "x" * 300, io.StringIO()
    for status in ("failed", "diverged"):
        Lines(Board(), stream).ended(job, Outcome("a", status, fresh=True, error=reason))
    failed, diverged = stream.getvalue().splitlines()
    assert failed.endswith("failed  (reason below, at the end)")
    assert diverged.endswith(reason)


def test_lines_name_the_model_where_the_plan_has_several(make_run):
    one = make_run()
    model = one.spec.model.model_copy(update={"name": "other"})
    other = one.model_copy(update={"spec": one.spec.model_copy(update={"model": model})})
    board, stream = Board(), io.StringIO()
    board.add([Job(one)])
    assert "other" not in board.name(Job(one))
    board.add([Job(other)])
    for planned in (one, other):
        Lines(board, stream).ended(Job(planned), Outcome("a", "done", fresh=True))
    first, second = stream.getvalue().splitlines()
    assert f", {one.spec.model.name}, seed 0: done" in first
    assert ", other, seed 0: done" in second


def test_the_time_left_is_that_of_the_pace_so_far(make_run):
    now = [0.0]
    board = Board(bar=Progress(get_time=lambda: now[0], speed_estimate_period=math.inf))
    jobs = [Job(make_run(seed=s)) for s in range(5)]
    board.add(jobs)
    assert "left" not in board.headline(), "nothing is known yet"
    for job in jobs[:2]:
        now[0] += 90
        board.end(job, Outcome("a", "done", fresh=True, forwards=1))
    assert board.headline().endswith("0:04:30 left"), "three more runs"
    board.end(jobs[2], Outcome("a", "done", fresh=False))
    assert board.headline().endswith("0:03:00 left"), "one was there already"


def test_the_live_table_shows_bar_counts_and_running_runs(make_run):
    board = Board()
    board.add([Job(make_run())])
    board.begin(Job(make_run()))
    board.hear(Job(make_run()).key, {"forwards": 30, "loss": 0.5})
    console = Console(file=io.StringIO(), width=100)
    console.print(Live(board)._draw())
    shown = console.file.getvalue()
    for text in ("%", "0/1 done, 1 running", "mezo on count, seed 0", "0.500", "training"):
        assert text in shown
