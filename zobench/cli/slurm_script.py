"""The array script that ``zobench slurm`` prints."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zobench.suite.plan import Plan

_TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}")
_PLAIN = re.compile(r"[\w./+=,@:-]+")

SCRIPT = """#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --time={time}
#SBATCH --signal=TERM@120
#SBATCH --output={folder}/slurm-%A_%a.txt{gpus}
set -euo pipefail

# Task 0, 1, ... of the array: one worker each. They share the folder and take runs from it by leases.
: "${{SLURM_ARRAY_TASK_ID:?submit this script with sbatch}}"
export OMP_NUM_THREADS={threads}
cd {here}
echo "worker ${{SLURM_ARRAY_TASK_ID}} on $(uname -n)"
exec srun {command}"""


def script(plan: Plan, folder: Path, *, workers: int, time: str, lease: float) -> str:
    """The script: ``workers`` tasks of one worker each.

    Raises:
        ValueError: ``time`` is not a time of Slurm, or the folder's name cannot be in a line of #SBATCH.
    """
    if not _TIME.fullmatch(time):
        raise ValueError(f"--time {time!r} is not a time of Slurm: write HH:MM:SS or D-HH:MM:SS")
    if not _PLAIN.fullmatch(str(folder)):
        raise ValueError(f"{folder}: Slurm reads only plain names; choose another --output")
    runs = [*plan.runs, *(t for s in plan.studies for t in s.trial_templates)]
    gpus = any(run.spec.model.device.startswith("cuda") for run in runs)
    command = [sys.executable, "-m", "zobench", "worker", str(folder), "--lease", f"{lease:g}"]
    return SCRIPT.format(
        name=re.sub(r"[^\w.-]", "-", f"zobench-{plan.suite}"),
        last=workers - 1,
        threads=(plan.executor.threads or 1) * plan.executor.processes,
        time=time,
        folder=folder,
        gpus="\n#SBATCH --gpus-per-task=1" if gpus else "",
        here=shlex.quote(str(Path.cwd())),
        command=shlex.join(command),
    )
