"""A MeZO step with weights outside the compute memory, against the same step with resident weights (Linux).

A model of OPT-1.3B's shape (24 layers of width 2048, tied head of 50272 rows; 1.3 billion parameters) with
random weights is written to a folder, tensor by tensor. Two processes load it: one keeps the weights in its
memory and takes steps in mode ``streamed-sliced``, the other takes them in mode ``offload`` with its scratch
copy in the same folder. One repetition is a step of each, one after the other. Printed for each:

- CPU seconds of the process (without the kernel's threads that write the file cache to the disk) and
  wall-clock seconds; the ratio is that of the CPU seconds of one repetition,
- the largest resident anonymous memory of the process, sampled every 50 ms (``RssAnon``), from its start to
  its end, and the largest file-backed part (``RssFile``: the file cache that the process has mapped),
- bytes that the process read from the disk and caused to be written, per step (``/proc/self/io``).

Losses must be equal to the bit in both processes, and differ from step to step.

    python benchmarks/offload.py FOLDER                      # 5.3 GB in FOLDER, twice; removed at the end
    python benchmarks/offload.py FOLDER --layers 2 --width 256 --size 4x32
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

MODES = {"resident": "streamed-sliced", "offload": "offload"}


def make(folder: Path, arguments: argparse.Namespace) -> None:
    """Write configuration and weights: N(0, 0.02^2) for matrices, ones and zeros for the norms."""
    from transformers import AutoModelForCausalLM, OPTConfig

    config = OPTConfig(
        vocab_size=arguments.vocabulary,
        hidden_size=arguments.width,
        num_hidden_layers=arguments.layers,
        ffn_dim=4 * arguments.width,
        num_attention_heads=arguments.width // 64,
        word_embed_proj_dim=arguments.width,
        max_position_embeddings=2048,
    )
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    config.architectures = ["OPTForCausalLM"]
    config.dtype = "float32"
    config.save_pretrained(folder)
    tensors = dict(module.named_parameters())
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, p in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(p.shape), "data_offsets": [at, at + 4 * p.numel()]}
        at += 4 * p.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, p in tensors.items():
            if p.dim() == 2:
                values = torch.randn(p.shape, generator=generator).mul_(0.02)
            else:
                values = torch.full(p.shape, float("norm" in name and name.endswith("weight")))
            file.write(values.numpy().data)


def status(field: str) -> int:
    """A field of this process's status, in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


class Sampler(threading.Thread):
    """The largest anonymous and file-backed resident memory, in MiB, sampled every 50 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.file = 0

    def run(self) -> None:
        while True:
            self.anonymous = max(self.anonymous, status("RssAnon"))
            self.file = max(self.file, status("RssFile"))
            time.sleep(0.05)


def transferred() -> tuple[int, int]:
    """Bytes that this process has read from the disk, and caused to be written."""
    text = Path("/proc/self/io").read_text()
    counts = dict(line.split(": ") for line in text.splitlines())
    return int(counts["read_bytes"]), int(counts["write_bytes"])


def work(folder: Path, arguments: argparse.Namespace) -> None:
    """One of the two processes: a step for every line of its input, a line of measurements for each."""
    from transformers import AutoModelForCausalLM

    from zobench.plugins import lookup
    from zobench.zo import Engine, Objective, build_space

    # The process that the system ends first if memory is short.
    Path("/proc/self/oom_score_adj").write_text("1000")
    torch.set_num_threads(arguments.threads)
    sampler = Sampler()
    sampler.start()
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if arguments.work == "resident":
        for p in module.parameters():
            p.data = p.data.clone()
    rows, length = (int(part) for part in arguments.size.split("x"))
    ids = torch.randint(arguments.vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))
    labels = torch.randint(arguments.vocabulary, (rows,), generator=torch.Generator().manual_seed(2))

    def loss(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        logits = module(input_ids=batch[0], logits_to_keep=1, use_cache=False).logits[:, -1]
        return torch.nn.functional.cross_entropy(logits.float(), batch[1])

    cls = lookup("methods", arguments.method)
    engine = Engine(mode=MODES[arguments.work], scratch=str(folder))
    method = cls(cls.Config(lr=1e-6), build_space("full", {}, module), seed=0, engine=engine)
    objective = Objective(module, loss, inference=True)
    objective.set_batch((ids, labels), sequences=rows, tokens=rows * length)
    if method.engine.offload is not None:
        method.engine.offload.open()
    print(json.dumps({"loaded": method.space.numel, "sampled": sampler.anonymous}), flush=True)
    for _ in sys.stdin:
        disk, cpu, wall = transferred(), time.process_time(), time.perf_counter()
        record = method.step(objective)
        now = transferred()
        found = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "anonymous": sampler.anonymous,
            "file": sampler.file,
            "read": now[0] - disk[0],
            "written": now[1] - disk[1],
            "losses": record.losses,
        }
        print(json.dumps(found), flush=True)


class Worker:
    """One of the two processes, seen from the other side."""

    def __init__(self, name: str, folder: Path, arguments: argparse.Namespace) -> None:
        given = [
            f"--{key}={getattr(arguments, key)}"
            for key in ("layers", "width", "vocabulary", "size", "threads", "method")
        ]
        command = [sys.executable, __file__, str(folder), f"--work={name}", *given]
        pipe = subprocess.PIPE
        self.name, self.process = name, subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.loaded = self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process {self.name!r} ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def step(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._line()


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Take the repetitions and print the table."""
    workers = [Worker(name, folder, arguments) for name in MODES]
    print(
        f"{arguments.method}, {workers[0].loaded['loaded']:,} parameters, float32, {arguments.size}",
        flush=True,
    )
    ratios, seen = [], set()
    for repetition in range(arguments.warmup + arguments.repeats):
        resident, offload = (worker.step() for worker in workers)
        if resident["losses"] != offload["losses"]:
            raise SystemExit(f"losses differ: {resident['losses']} and {offload['losses']}")
        seen.add(tuple(offload["losses"]))
        for name, found in (("resident", resident), ("offload", offload)):
            print(
                f"{repetition} {name:<9} cpu {found['cpu']:8.2f} s  wall {found['wall']:8.2f} s  "
                f"RssAnon <= {found['anonymous']:5d} MiB  RssFile <= {found['file']:5d} MiB  "
                f"read {found['read'] / 1e9:6.2f} GB  written {found['written'] / 1e9:6.2f} GB",
                flush=True,
            )
        print(f"{repetition} ratio {offload['cpu'] / resident['cpu']:.3f}", flush=True)
        if repetition >= arguments.warmup:
            ratios.append(offload["cpu"] / resident["cpu"])
    if len(seen) < arguments.warmup + arguments.repeats:
        raise SystemExit("the weights do not move")
    for worker in workers:
        worker.process.communicate()
    print(f"ratio {statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}] of {len(ratios)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="an existing folder; 'offload-model' is made in it and removed")
    add("--layers", type=int, default=24)
    add("--width", type=int, default=2048, help="a multiple of 64")
    add("--vocabulary", type=int, default=50272)
    add("--size", default="16x128", help="rows x tokens")
    add("--method", default="mezo")
    add("--repeats", type=int, default=3)
    add("--warmup", type=int, default=1, help="repetitions before those that count")
    add("--threads", type=int, default=1)
    add("--work", choices=MODES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.work is not None:
        work(arguments.folder, arguments)
        return
    folder = arguments.folder / "offload-model"
    folder.mkdir()
    try:
        make(folder, arguments)
        compare(folder, arguments)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
