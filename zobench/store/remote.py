"""Access to results in S3 storage through pyarrow: addresses, endpoint, and errors in one line.

Credentials, region and endpoint are those of the usual environment variables: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_PROFILE``, ``AWS_REGION``, ``AWS_ENDPOINT_URL_S3``,
``AWS_ENDPOINT_URL``. pyarrow (25, 26) reads all but the last two, which are passed to it here.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from zobench.store.paths import is_plain, storage_scheme

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
CHUNK = 2**20
_T = TypeVar("_T")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CAUSES = (
    (("NO_SUCH_BUCKET",), "there is no such bucket{at}"),
    (
        ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 403"),
        "access denied{at}; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    (("NETWORK_CONNECTION", "curlCode"), "no connection{at}"),
)
"""Parts of pyarrow's messages, and what they mean."""


@dataclass(frozen=True, slots=True)
class Address:
    """A folder in S3 storage: ``s3://bucket/prefix``."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def path(self, name: str) -> str:
        """A file below the address, as pyarrow writes it."""
        return f"{self.bucket}/{self.prefix}/{name}"


def address(name: str) -> Address | None:
    """``None`` for a folder. ``ValueError`` for an address that is not ``s3://bucket/prefix``, with a prefix
    of plain names: ``a/../b`` reaches the server as ``b``."""
    scheme = storage_scheme(name)
    if scheme is None:
        return None
    bucket, _, prefix = name.removeprefix("s3://").rstrip("/").partition("/")
    plain = all(is_plain(part) for part in prefix.split("/"))
    if scheme != "s3" or not name.startswith("s3://") or not _BUCKET.fullmatch(bucket) or not plain:
        raise ValueError(
            f"{name!r} is not an address of results: s3://BUCKET/PREFIX, where every part of PREFIX begins "
            "with a letter or digit"
        )
    return Address(bucket, prefix)


class Storage:
    """Reads and writes whole files below one address; every failure is a ``ValueError`` of one line."""

    def __init__(self, place: Address) -> None:
        from pyarrow.fs import S3FileSystem

        self.place = place
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._at = f" at {self.endpoint}" if self.endpoint else ""
        self._files: Any = self._told(
            lambda: S3FileSystem(
                endpoint_override=self.endpoint,
                connect_timeout=CONNECT_SECONDS,
                request_timeout=ANSWER_SECONDS,
            )
        )

    def read(self, name: str, most: int) -> bytes | None:
        """The content of a small file; ``None`` if there is none; ``ValueError`` if it is longer than
        ``most``, or there is no bucket."""
        if not self._exists(name):
            self._check_bucket()
            return None
        with self._told(lambda: self._files.open_input_stream(self.place.path(name))) as stream:
            data: bytes = self._told(lambda: stream.read(most + 1))
        if len(data) > most:
            raise ValueError(f"{self.place}: {name} is longer than {most} bytes")
        return data

    def _exists(self, name: str) -> bool:
        from pyarrow.fs import FileType

        found = self._told(lambda: self._files.get_file_info(self.place.path(name)))
        return bool(found.type == FileType.File)

    def _check_bucket(self) -> None:
        """``ValueError`` if there is no bucket, which the question for a file does not tell."""
        from pyarrow.fs import FileType

        found = self._told(lambda: self._files.get_file_info(self.place.bucket))
        if found.type == FileType.NotFound:
            raise ValueError(f"{self.place}: there is no such bucket{self._at}")

    def copy_from(self, name: str, write: Callable[[bytes], object], most: int) -> None:
        """Give a file in parts to ``write``, and no more than ``most`` bytes and one part of it."""
        with self._told(lambda: self._files.open_input_stream(self.place.path(name))) as stream:
            count = 0
            while count <= most and (data := self._told(lambda: stream.read(CHUNK))):
                count += len(data)
                write(data)

    def copy_to(self, name: str, source: BinaryIO) -> None:
        """Upload a file. If reading ``source`` fails, a truncated file may be there."""
        with self._told(lambda: self._files.open_output_stream(self.place.path(name))) as stream:
            while data := source.read(CHUNK):
                self._told(functools.partial(stream.write, data))
            self._told(stream.close)

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        if self._exists(name):
            self._told(lambda: self._files.delete_file(self.place.path(name)))

    def names(self) -> list[str]:
        """Names of all files below the address."""
        from pyarrow.fs import FileSelector, FileType

        base = self.place.path("")
        chosen = FileSelector(base.rstrip("/"), recursive=True, allow_not_found=True)
        found = self._told(lambda: self._files.get_file_info(chosen))
        return [f.path.removeprefix(base) for f in found if f.type == FileType.File]

    def _told(self, action: Callable[[], _T]) -> _T:
        """The result of an action of pyarrow, whose errors are those of the storage."""
        try:
            return action()
        except OSError as error:
            raise ValueError(f"{self.place}: {self._cause(error)}") from error

    def _cause(self, error: OSError) -> str:
        told = " ".join(str(error).split())
        for signs, meaning in _CAUSES:
            if any(sign in told for sign in signs):
                return meaning.format(at=self._at)
        return f"the storage{self._at} answers: {told[:300]}"
