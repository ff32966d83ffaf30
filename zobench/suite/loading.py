"""Loads a suite file, or says everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from zobench.suite import check, check_rows, data_files, source, structure, tuning_rules
from zobench.suite.problems import SuiteError
from zobench.suite.schema import Suite


def load(path: Path | str) -> Suite:
    """The validated suite at ``path``.

    Raises:
        SuiteError: a ``ValueError`` with every problem of the file and its includes: file, line, key,
        message, hint.
    """
    document = source.read(path)
    draft = structure.build(document)
    tuning_rules.with_default_spaces(draft)
    data_files.with_paths(document, draft)
    check.run(document, draft)
    data_files.check_data(document, draft)
    if not document.problems:
        tuning_rules.check_rules(document, draft)
    if not document.problems:
        check_rows.check_rows(document, draft)
    if document.problems:
        raise SuiteError(document.problems)
    return draft.suite(str(path))
