"""Results in S3 storage: ``zobench push``, and the copies that reading commands use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zobench.cli.console import say


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results folder.")],
    to: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", help="Where the results will lie.")],
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Push although runs of the plan have no result yet.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other results at the address.")] = False,
) -> None:
    """Upload finished results to S3 storage, where 'report', 'query' and 'diff' read them.

    Every file is compared with its recorded digest. A reader sees the results when the upload is complete.
    Credentials, region and endpoint: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
    AWS_ENDPOINT_URL."""
    from zobench.store.pushing import push as upload
    from zobench.store.remote import address

    place = address(to)
    if place is None:
        raise ValueError(f"{to!r} is no address: results are pushed to s3://BUCKET/PREFIX")
    found = upload(folder, place, unfinished=unfinished, replace=replace)
    if not found.files:
        say(f"{place}: the same results are there already; nothing was uploaded")
    else:
        say(f"{place}: {found.files} files, {found.bytes / 1e6:.1f} MB")


def folders_of(names: Sequence[str]) -> list[Path]:
    """Results folders by their names; those in S3 storage are copied into the cache."""
    from zobench.models.packages import cache_folder
    from zobench.store.fetching import fetch
    from zobench.store.remote import address

    places = [(name, address(name)) for name in names]
    cache = cache_folder() / "results"
    return [Path(name) if place is None else fetch(place, cache) for name, place in places]
