"""A small server on loopback that speaks the part of the hub's file API that downloads need.

Repositories are folders: ``root/models/OWNER/NAME`` and ``root/datasets/OWNER/NAME``, all at one commit. It
can also misbehave: ``slow`` sends nothing for a while, ``truncated`` closes the connection in the middle of
large files.
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Mode = Literal["good", "slow", "truncated"]


class HubServer:
    """``with HubServer(root) as hub:`` serves at ``hub.endpoint`` until the block ends; ``mode``
    may be changed any time."""

    def __init__(self, root: Path, *, delay: float = 30.0) -> None:
        self.root = root
        self.mode: Mode = "good"
        self.delay = delay
        self.requests: list[str] = []
        self.closing = threading.Event()
        hub = self

        class Handler(_Handler):
            server_state = hub

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up on a slow answer are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server_state: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        self.server_state.requests.append(format % args)

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._route()

    def _route(self) -> None:
        if self.server_state.mode == "slow" and not self.path.startswith("/mode/"):
            self.server_state.closing.wait(self.server_state.delay)
        url = urlsplit(self.path)
        if url.path.startswith("/mode/"):
            self.server_state.mode = url.path.removeprefix("/mode/")  # type: ignore[assignment]
            return self._json({})
        parts = [unquote(p) for p in url.path.split("/") if p]
        if parts[:1] == ["api"] and len(parts) >= 4:
            self._api(parts[1], "/".join(parts[2:4]), parts[4:], url.query)
        elif "resolve" in parts:
            at = parts.index("resolve")
            kind = "datasets" if parts[0] == "datasets" else "models"
            owner = parts[1:at] if kind == "datasets" else parts[:at]
            self._file(kind, "/".join(owner), parts[at + 1], "/".join(parts[at + 2 :]))
        else:
            self._json({"error": "Not Found"}, 404)
        return None

    def _api(self, kind: str, name: str, rest: list[str], query: str) -> None:
        folder = self.server_state.root / kind / name
        if not folder.is_dir():
            return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", COMMIT):
            return self._json({"error": "Invalid rev"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if rest[:1] == ["tree"]:
            under = "/".join(rest[2:])
            return self._json(
                [_entry(folder, p) for p in files if str(p.relative_to(folder)).startswith(under)]
            )
        if rest[:1] == ["paths-info"]:
            form = parse_qs(self._body.decode())
            asked = form.get("paths") or json.loads(self._body or b"{}").get("paths", [])
            return self._json([_entry(folder, p) for p in files if str(p.relative_to(folder)) in asked])
        siblings = [{"rfilename": str(p.relative_to(folder))} for p in files]
        return self._json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False})

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        file = self.server_state.root / kind / name / path
        if not file.is_file():
            missing = "EntryNotFound" if file.parent.is_dir() else "RepoNotFound"
            return self._json({"error": missing}, 404, {"X-Error-Code": missing, "X-Repo-Commit": COMMIT})
        content = file.read_bytes()
        first = 0
        asked = self.headers.get("Range")
        if asked and self.command == "GET":
            first = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.server_state.mode == "truncated" and len(content) > 2500:
            self.wfile.write(content[first : first + (len(content) - first) // 2])
            self.close_connection = True
            return None
        self.wfile.write(content[first:])
        return None

    def _json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": str(path.relative_to(folder)), "size": len(content), "oid": oid}
