"""The environment of a run, for its record: versions, processor, threads, state of the code. Host and user
names are not recorded."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import zobench
from zobench.plugin_code import plugin_digests
from zobench.spec import RunSpec

_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "peft",
    "numpy",
    "numba",
    "pyarrow",
    "lm_eval",
    "triton",
)


def environment_record(device: str = "cpu") -> dict[str, Any]:
    """The environment of this process as plain JSON values."""
    import torch

    on_gpu = device.startswith("cuda") and torch.cuda.is_available()
    return {
        **_fixed(),
        "threads": torch.get_num_threads(),
        "device": device,
        "processor_level": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(torch.device(device)) if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
    }


@functools.lru_cache(maxsize=1)
def _fixed() -> dict[str, Any]:
    commit, dirty = git_state(Path(zobench.__file__).parent)
    return {
        "zobench": zobench.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "packages": {name: found for name in _PACKAGES if (found := _installed(name)) is not None},
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def revision_problem(recorded: Mapping[str, Any], name: str, revision: int) -> str | None:
    """Why a run's steps cannot be replayed with the installed version of its method; ``None`` if they can.

    Args:
        recorded: the run's environment record.
        name, revision: the method and its revision in the installed version.
    """
    made_by = str(recorded.get("digests", {}).get("method", "1"))
    if made_by == str(revision):
        return None
    version, commit = recorded.get("zobench", "unknown"), recorded.get("git_commit")
    with_commit = f" at commit {str(commit)[:12]}" if commit else ""
    return (
        f"made by revision {made_by} of {name}, this is revision {revision}: use the version of zobench that "
        f"made it, {version}{with_commit}"
    )


def level_note(recorded: Mapping[str, Any], spec: RunSpec) -> str:
    """Why weights rebuilt on this machine may differ from the recorded ones in their last bits; empty if they
    cannot.

    ``noise: legacy`` uses torch's own generator, whose normal numbers depend on the instruction set of the
    processor that torch uses (AVX-512, AVX2, neither).
    """
    import torch

    here, there = torch.backends.cpu.get_cpu_capability(), recorded.get("processor_level")
    if spec.noise != "legacy" or here == there:
        return ""
    return (
        f"noise: legacy gives the same bits only with the same processor instructions; recorded with "
        f"{there or 'unknown'}, this is {here}"
    )


def plugin_note(recorded: Mapping[str, Any], spec: RunSpec) -> str:
    """How the installed code of a run's plugins differs from the code that executed the run; empty if it does
    not differ.

    One part per distribution: ``name version digest``.
    """
    made, here = (
        str(found.get("plugins", "")) for found in (recorded.get("digests", {}), plugin_digests(spec))
    )
    if made == here:
        return ""
    if not made:
        return f"plugin code unknown: the run does not say which code made it, installed is {here}"
    there, now = set(made.split(", ")), set(here.split(", ")) - {""}
    lacking = ", ".join(sorted(there - now))
    other = ", ".join(sorted(now - there)) or "no such plugin"
    return f"other plugin code: the run was made with {lacking}, installed is {other}"


def cpu_model() -> str:
    """The processor's name as reported by the operating system."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git_state(package: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout that the package runs from; ``(None, None)`` outside a checkout.

    The checkout counts only if its root contains the package: an installed copy may lie inside the checkout
    of another project.
    """
    root = package.parent
    try:
        ask = functools.partial(
            subprocess.run, cwd=root, capture_output=True, text=True, timeout=20, check=True
        )
        top = ask(["git", "rev-parse", "--show-toplevel"]).stdout.strip()
        if Path(top).resolve() != root.resolve():
            return None, None
        commit = ask(["git", "rev-parse", "HEAD"]).stdout.strip()
        dirty = bool(ask(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, dirty


def reset_peak_memory(device: str) -> None:
    """Reset the measurement of peak memory: of the device's allocator on a GPU, else of the resident size of
    the process (Linux only)."""
    if device.startswith("cuda"):
        import torch

        # Without a usable device there is nothing to measure; loading the model will report the error.
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats(torch.device(device))
        return
    try:
        # "5" resets VmHWM, the peak resident size (proc(5)).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_memory_bytes(device: str) -> int | None:
    """Peak since :func:`reset_peak_memory`; on the CPU that of the whole process, libraries included."""
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            return None
        return int(torch.cuda.max_memory_allocated(torch.device(device)))
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None
