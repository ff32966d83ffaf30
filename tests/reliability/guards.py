"""Guards against data from strangers, each with the change that removes it and a test that must then fail."""

from __future__ import annotations

from dataclasses import dataclass

PATHS, SQL = "tests/store/test_paths.py", "tests/store/test_sql.py"
LIMITS, ISOLATION = "tests/verification/test_limits.py", "tests/runner/test_plugin_isolation.py"
MEMORY = "tests/runner/test_memory_limit.py"
YAML, CHARACTERS = "tests/test_strict_yaml.py", "tests/report/test_terminal_characters.py"
COLUMNS, STRANGE = "tests/verification/test_columns.py", "tests/store/test_strange_tables.py"
QUERY = f"{SQL}::test_a_query_reads_the_results_and_nothing_else"


@dataclass(frozen=True)
class Guard:
    """What is guarded; ``old`` stands once in the file below ``zobench/`` and is replaced by ``new``."""

    name: str
    file: str
    old: str
    new: str
    test: str


GUARDS = (
    Guard(
        "names from data become no paths",
        "store/paths.py",
        "if not isinstance(name, str) or pattern.fullmatch(name) is None or name.endswith",
        "if False and name.endswith",
        f"{PATHS}::test_compaction_removes_no_folder_that_a_parquet_file_names",
    ),
    Guard(
        "a manifest names tables only",
        "store/paths.py",
        "match = _COMPACTED.fullmatch(name) if isinstance(name, str) else None\n    if match is None:",
        "match = re.match('(runs)', 'runs')\n    if match is None:",
        f"{PATHS}::test_a_manifest_names_tables_only",
    ),
    Guard(
        "a linked folder is no run",
        "store/paths.py",
        "if folder.is_symlink():",
        "if False:",
        f"{PATHS}::test_a_link_is_no_run_folder_and_its_target_stays",
    ),
    Guard(
        "a run's folder has its own records only",
        "store/compaction.py",
        "    if others:\n",
        "    if False:\n",
        f"{PATHS}::test_a_run_folder_holds_its_own_rows_only",
    ),
    Guard(
        "a suite's name is no path",
        "suite/check.py",
        "isinstance(name, str) and not is_plain(name)",
        "False",
        f"{PATHS}::test_a_suite_name_that_is_a_path_is_refused_at_plan",
    ),
    Guard(
        "a replay runs no code that data asks for",
        "runner/replaying.py",
        "if model.trust_remote_code and not trust_code:",
        "if False:",
        "tests/runner/test_replay.py::test_a_record_cannot_have_code_run",
    ),
    Guard(
        "a verification runs no code that data asks for",
        "verification/verify.py",
        "if model.trust_remote_code:",
        "if False:",
        "tests/verification/test_tampering.py::test_code_of_a_repository_is_never_run",
    ),
    Guard(
        "columns of a submission follow from its specification",
        "verification/claims.py",
        "in columns_of(spec).items():\n        if run[column] != value:",
        "in columns_of(spec).items():\n        if False:",
        f"{COLUMNS}::test_a_changed_column_meets_what_the_table_says[runs.labels]",
    ),
    Guard(
        "a query is one statement that reads",
        "store/sql.py",
        "if kinds != [duckdb.StatementType.SELECT]:",
        "if False:",
        f"{QUERY}[loose-set threads = 1]",
    ),
    Guard(
        "a query explains nothing that writes",
        "store/sql.py",
        "kinds = _explained(connection, sql)",
        "kinds = [duckdb.StatementType.SELECT]",
        f"{SQL}::test_no_query_writes_to_a_table_that_it_may_read",
    ),
    Guard(
        "a query opens no other file",
        "store/sql.py",
        '    connection.execute("set enable_external_access = false")\n',
        "",
        f"{QUERY}[loose-select * from read_text('{{secret}}')]",
    ),
    Guard(
        "a folder's name is no pattern",
        "store/sql.py",
        'return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))',
        "return str(path)",
        f"{SQL}::test_a_folder_is_never_a_pattern",
    ),
    Guard(
        "tables are refused by their footer",
        "verification/submission.py",
        "    _check_sizes(stream.metadata, member, path)\n",
        "",
        f"{LIMITS}::test_entries_of_lists_count",
    ),
    Guard(
        "bytes are counted while they are unpacked",
        "verification/submission.py",
        "            if left < 0:",
        "            if False:",
        f"{LIMITS}::test_bytes_are_counted_while_a_member_is_unpacked",
    ),
    Guard(
        "YAML is bounded before it is built",
        "strict_yaml.py",
        '        check_size(path, YAML(typ="safe", pure=True).parse(text))\n',
        "",
        f"{YAML}::test_a_hostile_file_is_refused_in_one_line_that_names_it[deep lists-leaderboard]",
    ),
    Guard(
        "tables are drawn without control characters",
        "terminal.py",
        "text if control else printable(text, lines=True)",
        "text",
        f"{CHARACTERS}::test_the_console_cleans_whatever_it_draws",
    ),
    Guard(
        "lines are printed without control characters",
        "cli/console.py",
        "typer.echo(printable(message, lines=lines), err=err)",
        "typer.echo(message, err=err)",
        f"{CHARACTERS}::test_no_command_prints_an_escape_character[query]",
    ),
    Guard(
        "text of a table is UTF-8",
        "store/reader.py",
        "        found.validate(full=True)",
        "        pass",
        f"{STRANGE}::test_every_reader_names_the_file",
    ),
    Guard(
        "a table's digest is compared",
        "store/digests.py",
        "status.st_ino) != recorded:",
        "status.st_ino) == None:",
        "tests/store/test_damage.py::test_a_damaged_table_is_named_by_every_reader",
    ),
    Guard(
        "rows are compared seed by seed",
        "report/comparability.py",
        'dict.fromkeys((*board.same, "seeds"))',
        "board.same",
        "tests/report/test_study.py::test_rows_with_other_seeds_are_never_paired",
    ),
    Guard(
        "a plugin is imported elsewhere first",
        "plugins.py",
        'if self.origin != "builtin" and (problem := _import_problem(module)):',
        'if problem := "":',
        f"{ISOLATION}::test_a_plugin_that_ends_its_process_on_import_is_named[leaves]",
    ),
    Guard(
        "frozen weights are compared at the end",
        "runner/frozen.py",
        "    def check(self) -> None:\n",
        "    def check(self) -> None:\n        return\n",
        "tests/runner/test_frozen.py",
    ),
    Guard(
        "a failed allocation is out of memory",
        "store/memory.py",
        "any(sign in str(error) for sign in _SIGNS)",
        "False",
        f"{MEMORY}::test_a_failed_allocation_in_a_step_ends_the_run_and_no_other[torch]",
    ),
)
