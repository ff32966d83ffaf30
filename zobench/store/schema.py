"""The versioned parquet schema of the tables, used by both the writer and the reader.

A new column or status raises :data:`SCHEMA_VERSION` and changes no run id. Older files can be read: columns
that they lack are null. Every table has the column ``run_id``. ``forwards`` columns count forward passes of
one minibatch; seconds exclude evaluation. Text columns may contain attack texts: code that displays them must
treat them as hostile input.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 6
"""Version 2 added ``attack_cards`` to the runs table, version 3 the table ``failures``, version 4 ``picture``
to the predictions table, version 5 the cost of generated answers, version 6 ``prompt`` and ``gold_text``."""


def readable(version: object) -> bool:
    """Whether files of that schema version can be read: the current one and every earlier one."""
    text = str(version)
    return text.isdecimal() and len(text) < 10 and int(text) <= SCHEMA_VERSION


STATUSES = ("done", "failed", "diverged", "out_of_memory", "interrupted", "budget")
"""All statuses. ``budget``: the budget does not cover a single step. ``interrupted``: stopped by the user; a
killed run has no status."""

_s, _i, _f, _b = pa.string(), pa.int64(), pa.float64(), pa.bool_()

RUNS = pa.schema(
    [
        ("run_id", _s),
        ("suite", _s),
        ("row", _s),
        ("group", _s),
        ("note", _s),
        ("purpose", _s),
        ("tuning_of", _s),
        ("status", _s),
        ("error", _s),
        ("model", _s),
        ("model_digest", _s),
        ("parameters", _i),
        ("tuned_parameters", _i),
        ("dtype", _s),
        ("device", _s),
        ("task", _s),
        ("task_kind", _s),
        ("task_params", _s),
        ("primary_metric", _s),
        ("chance", _f),
        ("data_digest", _s),
        ("method", _s),
        ("method_params", _s),
        ("method_order", _s),
        ("space", _s),
        ("labels", _s),
        ("shots", _i),
        ("seed", _i),
        ("budget_forwards", _i),
        ("batch_size", _i),
        ("forwards", _i),
        ("evaluation_forwards", _i),
        ("sequences", _i),
        ("tokens", _i),
        ("train_seconds", _f),
        ("evaluation_seconds", _f),
        ("peak_memory_bytes", _i),
        ("steps", _i),
        ("refused_steps", _i),
        ("weights_digest", _s),
        ("replay", _s),
        ("perturbation", _s),
        ("noise_backend", _s),
        ("resumed", _i),
        ("started_utc", _s),
        ("finished_utc", _s),
        ("git_commit", _s),
        ("git_dirty", _b),
        ("zobench_version", _s),
        ("schema_version", _i),
        ("spec", _s),
        ("environment", _s),
        ("tuning_forwards", _i),
        ("artifacts_digest", _s),
        ("diagnostic_forwards", _i),
        ("warnings", _s),
        ("attack_cards", _s),
        ("tied_steps", _i),
        ("generated_tokens", _i),
        ("judge_tokens", _i),
        ("failed_scores", _i),
    ]
)
"""One record per run. ``spec``, ``environment``, ``warnings`` (a list of objects with ``trap``, ``detail``,
``steps``, ``first_step``) and ``attack_cards`` (:mod:`zobench.attack_card`) are JSON. ``tuning_forwards`` are
the forward passes spent on selecting its parameters, ``diagnostic_forwards`` those spent on diagnostics; both
are outside the budget. ``artifacts_digest``: digest of the tensors that a replay needs besides scalars.
``tied_steps``: number of steps taken in which at least one measured slope was exactly 0 (null in runs that
are older than the column). ``generated_tokens``, ``judge_tokens`` and ``failed_scores``: tokens generated in
training on a reward, tokens that its judge read, and scores that could not be computed and count 0; null for
other objectives."""

STEPS = pa.schema(
    [
        ("run_id", _s),
        ("step", _i),
        ("forwards", _i),
        ("tokens", _i),
        ("seconds", _f),
        ("loss", _f),
        ("lr", _f),
        ("seeds", pa.list_(pa.uint64())),
        ("coefficients", pa.list_(_f)),
        ("losses", pa.list_(_f)),
        ("moved", _b),
        ("reason", _s),
        ("extras", _s),
        ("generated_tokens", _i),
        ("judge_tokens", _i),
        ("failed_scores", _i),
    ]
)
"""One record per step; ``extras`` is JSON, and the costs (``forwards``, ``tokens``, ``seconds`` and the last
three columns) are cumulative."""

METRICS = pa.schema(
    [
        ("run_id", _s),
        ("step", _i),
        ("forwards", _i),
        ("tokens", _i),
        ("seconds", _f),
        ("task", _s),
        ("split", _s),
        ("condition_kind", _s),
        ("condition", _s),
        ("strength", _f),
        ("params", _s),
        ("metric", _s),
        ("value", _f),
        ("n", _i),
        ("stderr", _f),
        ("final", _b),
        ("generated_tokens", _i),
    ]
)
"""One record per measured number. ``condition`` is the name of the attack or probe, empty for clean data. The
budget-matched random baseline of an attack has the attack's name and ``condition_kind`` ``null``. ``final``
marks the state at the end of training."""

PREDICTIONS = pa.schema(
    [
        ("run_id", _s),
        ("step", _i),
        ("forwards", _i),
        ("task", _s),
        ("split", _s),
        ("condition_kind", _s),
        ("condition", _s),
        ("example_id", _s),
        ("gold", _s),
        ("output", _s),
        ("label", _i),
        ("log_probs", pa.list_(_f)),
        ("correct", _b),
        ("strict_correct", _b),
        ("raw", _s),
        ("tokens", _i),
        ("picture", _s),
        ("prompt", _s),
        ("gold_text", _s),
    ]
)
"""One record per clean example of the final state, for paired tests. ``picture``: an image of a wrong
prediction as a data URI with a PNG file; null for texts, and for images after the first few. ``prompt``: what
the model is asked, without demonstrations, cut after the first 2000 characters; ``gold_text``: the gold
answer in words. Both serve display alone and are null in older files."""

_EDIT = (("source", _s), ("position", _i), ("part_of_speech", _s), ("before", _s), ("after", _s))

ATTACKS = pa.schema(
    [
        ("run_id", _s),
        ("forwards", _i),
        ("task", _s),
        ("condition_kind", _s),
        ("condition", _s),
        ("example_id", _s),
        ("outcome", _s),
        ("field", _s),
        ("original", _s),
        ("edited", _s),
        ("gold", _s),
        ("clean_output", _s),
        ("final_output", _s),
        ("clean_correct", _b),
        ("final_correct", _b),
        ("queries", _i),
        ("changed_words", _i),
        ("similarity", _f),
        ("source", _s),
        ("position", _i),
        ("part_of_speech", _s),
        ("clean_tokens", _i),
        ("final_tokens", _i),
        ("reason", _s),
        ("attack", _s),
        ("size", _i),
        ("edits", pa.list_(pa.struct(list(_EDIT)))),
        ("clean_strict", _b),
        ("final_strict", _b),
    ]
)
"""One record per attacked example of the final state. ``condition`` is the attack's name in the suite,
``attack`` its catalogue name; ``edits`` lists the edits in the edited text; ``size`` is the number of unit
edits."""

FAILURES = pa.schema(
    [
        ("run_id", _s),
        ("measurement", _s),
        ("reason", _s),
        ("detail", _s),
        ("tries", _i),
        ("final", _b),
    ]
)
"""One record per failed attack, lm-eval task or probe of a finished run; ``detail`` is the traceback.
``final``: whether it was measured on the final state, so that it can be tried again. Not part of a run's
identity."""

TABLES: dict[str, pa.Schema] = {
    "runs": RUNS,
    "steps": STEPS,
    "metrics": METRICS,
    "predictions": PREDICTIONS,
    "attacks": ATTACKS,
    "failures": FAILURES,
}

FINALS = """
with scored as (
  select r."row", r."group", m.task, r.model, r.method, r.seed, m.metric, m.value, m.n, m.stderr, r.status,
  r.run_id from metrics m join runs r using (run_id)
  where m.final and m.condition_kind = 'clean' and m.split = 'test'
    and r.purpose = 'result' and r.status in ('done', 'diverged', 'budget'))
select * from scored
union all
select r."row", r."group", r.task, r.model, r.method, r.seed, r.primary_metric, r.chance, null, null,
r.status,
  r.run_id
from runs r
where r.purpose = 'result' and r.status = 'diverged' and r.chance is not null
  and r.task_kind is distinct from 'unlearning'
  and not exists (select 1 from scored s where s.run_id = r.run_id and s.metric = r.primary_metric)
"""
"""DuckDB SQL of the view ``finals`` over ``runs`` and ``metrics``. A plain average over ``metrics`` would mix
clean values with attacked ones, and intermediate evaluations with the final one. As on the leaderboards, a
diverged run without a final score gets the chance level; not in unlearning, where chance is the goal."""
