"""Loads a suite file, or reports all its problems."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zobench import shipped
from zobench.suite import (
    check,
    check_rewards,
    check_rows,
    data_files,
    source,
    structure,
    tuning_rules,
    unloadable,
)
from zobench.suite.problems import Problem, SuiteError
from zobench.suite.schema import Suite


def load(path: Path | str) -> Suite:
    """The validated suite at ``path``; text without a separator and ``.yaml`` names a shipped suite.

    Raises:
        SuiteError: a ``ValueError`` with every problem of the file and its includes: file, line, key,
            message, hint.
    """
    return _checked(lambda: source.read(shipped.suite_file(path) if isinstance(path, str) else path))


def load_values(values: Mapping[str, Any]) -> Suite:
    """The suite of a dictionary with the keys and values of a suite file; paths in it are seen from here.

    Raises:
        SuiteError: as :func:`load`.
    """
    # Keys of a suite file are text, and its lists are lists: JSON says so for a dictionary as well.
    return _checked(lambda: source.Document("suite", json.loads(json.dumps(values)), first_line=0))


def _checked(read: Callable[[], source.Document]) -> Suite:
    file = ""
    try:
        document = read()
        file = document.file
        return _without_problems(document)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = str(error.filename)
        message = f"no file can have the name {name[:80]}... ({len(name)} characters)"
        raise SuiteError([Problem(file or f"{name[:80]}...", 1, "", message)]) from error


def _without_problems(document: source.Document) -> Suite:
    draft = structure.build(document)
    unloadable.set_aside(document, draft)
    tuning_rules.with_default_spaces(draft)
    data_files.with_paths(document, draft)
    check_rewards.with_rewards(document, draft)
    check.run(document, draft)
    data_files.check_data(document, draft)
    if not document.problems:
        tuning_rules.check_rules(document, draft)
    if not document.problems:
        check_rows.check_rows(document, draft)
    if document.problems:
        raise SuiteError(document.problems)
    return draft.suite(document.file)
