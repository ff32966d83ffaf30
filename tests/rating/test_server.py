"""The server of the rating page over plain HTTP: whom it answers, and what it stores when."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_session import METHOD, pictures

from zobench.rating.choices import Choices
from zobench.rating.server import HOST, RatingServer
from zobench.rating.session import Session
from zobench.runner.factory import CATALOGUE
from zobench.runner.process_cache import ProcessCache


class Client:
    """A browser that keeps its cookie."""

    def __init__(self, server: RatingServer) -> None:
        self.server, self.cookie = server, ""

    def send(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, Any]:
        connection = http.client.HTTPConnection(HOST, self.server.server_port, timeout=20)
        sent = {"Host": self.server.host, "Cookie": self.cookie, **headers}
        connection.request(method, path, body.encode(), sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if (given := answer.getheader("Set-Cookie")) is not None:
            self.cookie = given.partition(";")[0]
        return answer.status, text, answer.headers

    def enter(self) -> Client:
        path = self.server.address.partition(self.server.host)[2]
        assert self.send("GET", path)[0] == 303
        return self

    def key(self) -> str:
        found = re.search(r'name="key" value="([0-9a-f]{32})"', self.send("GET", "/")[1])
        assert found is not None
        return found[1]


def opened(folder: Path) -> RatingServer:
    server = RatingServer(Session(pictures(**METHOD), folder, ProcessCache(CATALOGUE)), "test")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def closed(server: RatingServer) -> None:
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RatingServer]:
    server = opened(tmp_path)
    yield server
    closed(server)


def stored(server: RatingServer) -> int:
    """Choices on the disk."""
    session = server.session
    return len(Choices(session.choices.path.parent, session.run_id).made)


def test_a_choice_is_stored_before_the_next_question_is_shown(server: RatingServer) -> None:
    client = Client(server).enter()
    first = client.key()
    assert stored(server) == 0
    status, _, headers = client.send("POST", "/choice", f"key={first}&item=2")
    assert (status, headers["Location"]) == (303, "/")
    assert stored(server) == 1
    assert client.key() != first
    status, text, _ = client.send("POST", "/choice", f"key={first}&item=2")
    assert status == 409
    assert "made already" in text
    assert stored(server) == 1


def test_the_address_is_valid_once(server: RatingServer) -> None:
    Client(server).enter()
    path = server.address.partition(server.host)[2]
    assert Client(server).send("GET", path)[0] == 403
    assert Client(server).send("GET", "/")[0] == 403


@pytest.mark.parametrize("host", ["example.org", "localhost", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_is_refused(server: RatingServer, host: str) -> None:
    client = Client(server).enter()
    key = client.key()
    assert client.send("GET", "/", Host=host)[0] == 403
    assert client.send("POST", "/choice", f"key={key}&item=0", Host=host)[0] == 403
    assert client.send("POST", "/choice", f"key={key}&item=0", Origin="http://example.org")[0] == 403
    assert stored(server) == 0


def test_a_wrong_key_or_cookie_is_refused(server: RatingServer) -> None:
    assert Client(server).send("GET", "/?key=wrong")[0] == 403
    client = Client(server).enter()
    key = client.key()
    stranger = Client(server)
    for cookie in ("", f"{server.cookie}=wrong", "\x01=;;", f"{server.cookie}-other={server.secret}"):
        stranger.cookie = cookie
        assert stranger.send("POST", "/choice", f"key={key}&item=0")[0] == 403
        assert stranger.send("GET", "/")[0] == 403
    assert stored(server) == 0
    assert client.send("GET", "/")[0] == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 409),
        ("key={key}", 409),
        ("key={key}&item=9", 409),
        ("key={key}&item=-1", 409),
        ("key={key}&item=%C2%B2", 409),
        ("key=0&item=0", 409),
        ("key=%FF&item=0", 409),
        ("x=" + "a" * 2000, 400),
    ],
)
def test_what_is_no_choice_stores_nothing(server: RatingServer, body: str, status: int) -> None:
    client = Client(server).enter()
    key = client.key()
    assert client.send("POST", "/choice", body.format(key=key))[0] == status
    assert client.send("GET", "/elsewhere")[0] == 404
    assert client.send("POST", "/", f"key={key}&item=0")[0] == 400
    assert stored(server) == 0
    assert client.key() == key


def test_the_page_loads_nothing_and_allows_nothing(server: RatingServer) -> None:
    client = Client(server).enter()
    _, text, headers = client.send("GET", "/")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert not re.search(r"https?://", text)
    assert text.count('<img src="data:image/png;base64,') == 5
    assert server.ticket not in (*text.split(), server.secret)
    assert server.secret not in text


def test_a_killed_server_resumes_with_the_same_pictures(tmp_path: Path) -> None:
    shown = []
    for choose in (True, False):
        server = opened(tmp_path)
        client = Client(server).enter()
        if choose:
            assert client.send("POST", "/choice", f"key={client.key()}&item=1")[0] == 303
        shown.append(re.findall(r"<button.*?</button>", client.send("GET", "/")[1]))
        closed(server)
    assert shown[0] == shown[1]
    assert "place 1" in "".join(shown[0])


def test_the_end_is_told(server: RatingServer) -> None:
    client = Client(server).enter()
    while server.session.question is not None:
        item = next(i for i in range(4) if i not in server.session.question.named)
        assert client.send("POST", "/choice", f"key={client.key()}&item={item}")[0] == 303
    status, text, _ = client.send("GET", "/")
    assert status == 200
    assert "All 16 queries are answered" in text
    assert client.send("POST", "/choice", "key=0&item=0")[0] == 409
