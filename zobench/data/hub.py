"""Files and data sets from the model hub; all failures are reported as one ``ValueError``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal


def snapshot(
    repository: str,
    *,
    kind: Literal["model", "dataset"],
    revision: str | None = None,
    allow: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> Path:
    """Folder of a repository at one commit; the folder's name is the resolved commit.

    The cache is used when offline. An interrupted download leaves no file under its final name, so the next
    call continues where it failed.

    Raises:
        ValueError: unknown repository or revision, hub not reachable and nothing cached, interrupted or slow
            transfer.
    """
    from huggingface_hub import snapshot_download

    # HTTPError is the base of whichever HTTP client this release of the hub library uses.
    from huggingface_hub.errors import (
        GatedRepoError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = snapshot_download(
            repository,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(allow) if allow is not None else None,
            ignore_patterns=list(ignore),
        )
    except GatedRepoError as error:
        raise ValueError(
            f"{kind} {repository!r} requires an accepted licence and a token: {error}"
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"{kind} {repository!r}: no such repository on the hub (or it is private)"
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(f"{kind} {repository!r} has no revision {revision!r}") from error
    except (HTTPError, OSError) as error:
        raise ValueError(
            f"{kind} {repository!r} cannot be fetched from the hub ({_cause(error)}); "
            "nothing incomplete was kept: run again when the hub answers, or give a local folder"
        ) from error
    return Path(folder)


def _cause(error: BaseException) -> str:
    """The exception and its innermost cause, in one line."""
    inner = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = inner.__cause__ or inner.__context__  # type: ignore[assignment]
    return _line(error) if inner is error else f"{_line(error)} <- {_line(inner)}"


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__


def rows(
    repository: str, *, subset: str | None, split: str, revision: str | None = None
) -> list[dict[str, Any]]:
    """All records of one split of a hub data set, read by ``datasets``.

    Raises:
        ValueError: unknown name, subset or split, hub not reachable, broken or slow transfer.
    """
    import datasets
    from huggingface_hub.errors import HTTPError

    try:
        loaded = datasets.load_dataset(repository, subset, split=split, revision=revision)
    except (HTTPError, OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"data set {repository!r} (subset {subset!r}, split {split!r}) cannot be fetched from the hub "
            f"({_cause(error)}); nothing incomplete was kept: run again when the hub answers, "
            "or use source: local"
        ) from error
    return [dict(row) for row in loaded]
