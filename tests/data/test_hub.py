"""Loading from the hub, against a local server and with an empty cache: a model and a data set by name; and a
hub that is down, sends incomplete files, or is slow."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[0] / "models")]

from hub_server import COMMIT, HubServer  # noqa: E402
from tiny_models import save_tiny  # noqa: E402

SCRIPT = """
import json, sys, urllib.request
from zobench.models import load
from zobench.plugins import lookup
from zobench.spec import ModelRef

def model(name="owner/tiny", revision=None):
    identity = load(ModelRef(name=name, revision=revision)).identity
    return [identity.revision, identity.digest]

def data(hub="owner/rows"):
    task = lookup("tasks", "sst5")
    s = task(task.Config(source="hub", hub=hub, train=20, dev=10)).splits(0)
    return [len(s.train), len(s.validation), len(s.test), s.train[0].text["sentence"], s.digest()]

def mode(name):
    urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/mode/" + name).read()

import os
for line in sys.argv[1:]:
    try:
        print(json.dumps(["ok", eval(line)]))
    except ValueError as error:
        print(json.dumps(["refused", str(error)]))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = tmp_path_factory.mktemp("hub")
    save_tiny("llama", root / "models/owner/tiny")
    rows = root / "datasets/owner/rows"
    rows.mkdir(parents=True)
    for split in ("train", "test"):
        lines = [json.dumps({"text": f"{split} sentence {i} is good", "label": i % 5}) for i in range(60)]
        (rows / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    with HubServer(root) as server:
        yield server


def _ask(endpoint: str, home: Path, *lines: str) -> list[list[object]]:
    """Evaluate the lines in a fresh process with its own cache; what each gave."""
    blocked = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    environment = {k: v for k, v in os.environ.items() if k not in blocked}
    environment |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *lines], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _weights(home: Path) -> list[Path]:
    return [p for p in home.rglob("*.safetensors") if p.exists()]


def test_a_model_and_a_data_set_by_name(hub: HubServer, tmp_path: Path) -> None:
    hub.mode = "good"
    by_name, pinned, rows, unknown, no_revision, no_rows = _ask(
        hub.endpoint,
        tmp_path,
        "model()",
        f"model(revision={COMMIT!r})",
        "data()",
        "model('owner/absent')",
        "model(revision='v9')",
        "data('owner/absent')",
    )
    assert by_name == pinned
    assert by_name[0] == "ok"
    assert isinstance(by_name[1], list)
    assert by_name[1][0] == COMMIT
    assert rows[0] == "ok"
    assert isinstance(rows[1], list)
    assert rows[1][:3] == [20, 10, 60]
    assert str(rows[1][3]).startswith("train sentence ")
    assert unknown[0] == no_revision[0] == no_rows[0] == "refused"
    assert "no such repository" in str(unknown[1])
    assert "has no revision 'v9'" in str(no_revision[1])
    assert "'owner/absent'" in str(no_rows[1])


@pytest.mark.slow
def test_half_a_file_leaves_nothing_behind_and_the_next_try_succeeds(hub: HubServer, tmp_path: Path) -> None:
    hub.mode = "truncated"
    broken, broken_rows = _ask(hub.endpoint, tmp_path, "model()", "data()")
    assert broken[0] == "refused"
    assert "cannot be fetched from the hub" in str(broken[1])
    assert broken_rows[0] == "refused"
    assert _weights(tmp_path) == []
    assert not list(tmp_path.rglob("*.incomplete"))
    assert not [p for p in tmp_path.rglob("*.jsonl") if p.exists()]
    hub.mode = "good"
    assert [answer[0] for answer in _ask(hub.endpoint, tmp_path, "model()", "data()")] == ["ok", "ok"]
    assert len(_weights(tmp_path)) == 1


def test_a_hub_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers = _ask(f"http://127.0.0.1:{port}", tmp_path, "model()")
    assert answers[0][0] == "refused"
    assert "cannot be fetched from the hub" in str(answers[0][1])
    assert _weights(tmp_path) == []


@pytest.mark.slow
def test_a_hub_that_is_slow(hub: HubServer, tmp_path: Path) -> None:
    """Minutes long: the hub library tries again several times before it gives up."""
    hub.mode = "slow"
    answer = _ask(hub.endpoint, tmp_path, "model()")[0]
    hub.mode = "good"
    assert answer[0] == "refused"
    assert "cannot be fetched from the hub" in str(answer[1])
    assert _weights(tmp_path) == []
