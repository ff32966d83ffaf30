"""The server of the page: this machine alone (127.0.0.1), one browser, one question at a time.

The printed address holds a key that is valid once: the first visit exchanges it for a cookie. Every request
must name the server's own address as its host, so that a foreign web page whose name leads to 127.0.0.1 gets
nothing; every request but the first must have the cookie; a choice must repeat the key of the open question,
so that it cannot be sent twice and no other page can send one. A choice is on the disk before the answer to
its request is sent.
"""

from __future__ import annotations

import secrets
import threading
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from zobench.rating import page
from zobench.rating.session import Session

HOST = "127.0.0.1"
LONGEST_FORM = 1000
"""Bytes of a choice."""
SECONDS = 30
"""Time a client has for its request."""


class RatingServer(ThreadingHTTPServer):
    """Serves one session.

    Attributes:
        address: the address to open, valid once.
    """

    daemon_threads = True

    def __init__(self, session: Session, title: str, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.session, self.title = session, title
        self.turn = threading.Lock()
        self.host = f"{HOST}:{self.server_port}"
        self.ticket, self.secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.address = f"http://{self.host}/?key={self.ticket}"

    @property
    def cookie(self) -> str:
        """The cookie's name. Browsers share cookies between the ports of a host."""
        return f"zobench-rate-{self.server_port}"

    def exchange(self, key: str) -> bool:
        """Whether this is the unused key of the address; it is used then."""
        with self.turn:
            if not self.ticket or not _same(key, self.ticket):
                return False
            self.ticket = ""
            return True

    def shown(self) -> str:
        """The page of the open question, or the last page."""
        with self.turn:
            session = self.session
            current = session.current()
            if session.question is None:
                return page.ended(self.title, session.meter.forwards, current)
            return page.asking(self.title, session.question, current)

    def choose(self, key: str, item: str) -> bool:
        """Store a choice; False if it is not one of the open question."""
        if not item.isascii() or not item.isdigit() or len(item) > 6:
            return False
        with self.turn:
            return self.session.choose(key, int(item))


class _Handler(BaseHTTPRequestHandler):
    server: RatingServer
    server_version, sys_version = "zobench", ""
    timeout = SECONDS

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        if not self._own_host() or target.path != "/":
            return
        keys = parse_qs(target.query).get("key", [])
        if keys and not self._known():
            if not self.server.exchange(keys[0]):
                self._refuse(HTTPStatus.FORBIDDEN, "This address was used already, or it is wrong.")
                return
            cookie = f"{self.server.cookie}={self.server.secret}; HttpOnly; SameSite=Strict; Path=/"
            self._redirect({"Set-Cookie": cookie})
        elif keys:
            self._redirect({})
        elif self._allowed():
            self._answer(HTTPStatus.OK, self.server.shown())

    def do_POST(self) -> None:
        if not self._own_host() or not self._allowed():
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LONGEST_FORM or urlsplit(self.path).path != "/choice":
            self._refuse(HTTPStatus.BAD_REQUEST, "This is not a choice.")
            return
        form = parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"))
        key, item = (form.get(name, [""])[0] for name in ("key", "item"))
        if self.server.choose(key, item):
            self._redirect({})
        else:
            self._refuse(HTTPStatus.CONFLICT, "This choice was made already, or its question is closed.")

    def _own_host(self) -> bool:
        """Refuse requests to another host name, from another page, and to unknown paths."""
        origin = self.headers.get("Origin")
        if self.headers.get("Host") != self.server.host or origin not in (None, f"http://{self.server.host}"):
            self._refuse(HTTPStatus.FORBIDDEN, "This server answers requests to its own address alone.")
            return False
        if urlsplit(self.path).path not in ("/", "/choice"):
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
            return False
        return True

    def _known(self) -> bool:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return False
        return found is not None and _same(found.value, self.server.secret)

    def _allowed(self) -> bool:
        if not self._known():
            self._refuse(HTTPStatus.FORBIDDEN, "Open the address that 'zobench rate' printed.")
            return False
        return True

    def _redirect(self, headers: dict[str, str]) -> None:
        self._answer(HTTPStatus.SEE_OTHER, "", {"Location": "/", **headers})

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True
        again = '<p><a href="/">To the open question</a></p>'
        self._answer(status, page.page(reason, f"<h1>{reason}</h1>{again}"))

    def _answer(self, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> None:
        body = text.encode()
        fixed = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": page.policy(),
            "Cache-Control": "no-store",
            # With no-referrer, browsers send "Origin: null" with a form.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        self.send_response(status)
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address in a log would hold the key."""


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(), secret.encode())
