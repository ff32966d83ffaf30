"""Leaderboard files: a YAML file with the score, its direction, filters and comparability rules.

Example::

    title: Accuracy at a budget
    score: {source: metric, metric: primary, kind: clean}
    direction: higher
    margin: 0.01
    where: {task_kind: [classification]}
    same: [budget_forwards, data_digest, code]

Unknown keys are errors that name the file and the key. Files that ship with zobench are found by name;
anything that ends in ``.yaml`` is a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zobench import shipped, strict_yaml
from zobench.metrics.measures import Bounds, bounds, gap_of
from zobench.names import nearest
from zobench.store.schema import RUNS

if TYPE_CHECKING:
    from zobench.metrics.intervals import Interval

SHIPPED = (
    "fewshot",
    "tuned",
    "self-tuned",
    "forwards-to-target",
    "memory",
    "robustness",
    "unlearning",
    "estimator-quality",
    "across-commits",
    "rewards",
    "image-generation",
    "image-scoring",
    "proxy",
)

_MOST_TOLD = 5
"""Number of problems of a file that its message names."""

ColumnName = Literal[
    "robust", "net", "forwards", "seconds", "memory", "tokens", "tuning", "tuned", "iqm", "first", "status"
]
FACTORS = {"percent": 100.0, "number": 1.0, "mebibytes": 2.0**-20, "count": 1.0}
"""What a score is multiplied by for display, by scale."""
USUAL: tuple[ColumnName, ...] = ("robust", "net", "forwards", "seconds", "tuning")
Same = Literal["budget_forwards", "batch_size", "data_digest", "model_digest", "code", "seeds", "dtype"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(Strict):
    """The score of a run.

    Attributes:
        source: ``metric`` reads the metrics table at the end of training; ``run`` a numeric column of the
            runs table; ``diagnostic`` the mean of a diagnostic's readings along training; ``forgetting`` what
            probes recover, relative to oracle and full model (of ``split``);
            ``forwards_to_target``, ``tokens_to_target``, ``seconds_to_target`` and
            ``generated_tokens_to_target`` read the test curve.
        metric: metric name, ``primary`` for the task's own; or the column, for ``run``.
        kind, condition: the condition under which the metric was measured; an empty condition means all of
            the kind.
        reduce: how several conditions are combined (``worst`` is the smallest if higher is better).
        net: subtract the budget-matched random baseline (null) of the same condition.
        without: catalogue names of attacks that are excluded.
        keeps_answer: only attacks whose card says that the gold answer remains correct.
        per_root_forward: divide by the square root of the forward passes of one step. The cosine of an
            average of k directions grows like sqrt(k) as long as k is far below the number of parameters, so
            this compares rows with different costs per step at equal forward passes.
        target: for the ``*_to_target`` sources, in units of the metric; ``None`` takes, per task, nine tenths
            of the way to the best final mean, from chance, or from the first measurement where less of the
            metric is better.
    """

    source: Literal[
        "metric",
        "run",
        "diagnostic",
        "forgetting",
        "forwards_to_target",
        "tokens_to_target",
        "seconds_to_target",
        "generated_tokens_to_target",
    ] = "metric"
    metric: str = "primary"
    kind: Literal["clean", "attack", "null", "probe", "control"] = "clean"
    condition: str = ""
    split: str = "test"
    reduce: Literal["mean", "worst"] = "mean"
    net: bool = False
    without: tuple[str, ...] = ()
    keeps_answer: bool = False
    per_root_forward: bool = False
    target: float | None = None


class Leaderboard(Strict):
    """A leaderboard file.

    Attributes:
        where: only runs whose column has one of these values.
        same: properties that must agree for rows to be ranked together; seeds must agree in any case.
        margin: largest difference that does not matter, in units of the score. Rows shown to differ by less
            are called equivalent; with 0 no rows are.
        scale: ``percent`` multiplies by 100 for display; ``mebibytes`` divides by 2**20; ``count`` shows
            numbers of hundreds with one decimal, ``number`` others with three.
        ruleset: ``tuned`` ranks rows whose parameters were tuned in the suite, all with equally many trials;
            ``self-tuned`` those that ran with their defaults; ``open`` has no requirement (the rulesets are
            AlgoPerf's).
        diverged: a diverged run without a final score gets the ``chance`` level, or its row is not ranked
            (``apart``).
        columns: the columns shown by default in addition to the score; the reader can show the others
            (``tuned``: number of tuned parameters, ``first``: share of resamples in which a row is best).
    """

    name: str = ""
    title: str
    description: str = ""
    score: Score = Score()
    label: str = "accuracy"
    direction: Literal["higher", "lower"] = "higher"
    scale: Literal["percent", "number", "mebibytes", "count"] = "percent"
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    margin: float = Field(default=0.0, ge=0)
    minimum_seeds: int = Field(default=1, ge=1)
    where: dict[str, list[str | int | bool]] = Field(default_factory=dict)
    same: tuple[Same, ...] = ("budget_forwards", "batch_size", "data_digest", "model_digest", "code", "seeds")
    ruleset: Literal["open", "tuned", "self-tuned"] = "open"
    diverged: Literal["chance", "apart"] = "chance"
    columns: tuple[ColumnName, ...] = USUAL

    @field_validator("where")
    @classmethod
    def _known_columns(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in RUNS.names:
                raise ValueError(f"no column {name!r} in the runs table{nearest(name, RUNS.names)}")
        return value

    @property
    def higher(self) -> bool:
        return self.direction == "higher"

    def show(self, value: float, signed: bool = False) -> str:
        """A score as text in display units, without its unit; what rounds to zero has no minus."""
        factor = FACTORS[self.scale]
        x = value * factor if abs(value) > 1e-12 else 0.0  # what sums leave of equal numbers
        small = "#.2g" if abs(x) >= 1e-4 else ".2g"
        form = ".1f" if self.scale != "number" or abs(x) >= 100 else small if 0 < abs(x) < 0.1 else ".3f"
        text = format(x, "+" + form if signed else form)
        if x < 0 and not re.search("[1-9]", text):
            text = text.replace("-", "+" if signed else "")
        return text.replace("e-0", "e-").replace("-", "−")

    def spread(self, interval: Interval) -> str:
        """The interval behind a score: ``±1.2``, or ``[80.0, 83.3]`` of a quantity with bounds, as it is not
        symmetric; empty where there is none."""
        if interval.low != interval.low:
            return ""
        if interval.bounds is None or interval.low == interval.high:
            return f"±{self.show(interval.half)}"
        return f"[{self.show(interval.low)}, {self.show(interval.high)}]"

    def bounds(self, primary: Iterable[str]) -> Bounds | None:
        """Between what a score of this board lies, where all of these primary metrics are such shares."""
        if self.score.source != "metric":
            return None
        names = set(primary) if self.score.metric == "primary" else {self.score.metric}
        known = {bounds(str(name)) for name in names}
        if len(known) != 1 or (found := known.pop()) is None:
            return None
        return gap_of(found) if self.score.net else found

    @property
    def unit(self) -> str:
        return {"percent": "%", "mebibytes": "MiB"}.get(self.scale, "")


def load(name: str | Path | None = None) -> Leaderboard:
    """A shipped leaderboard by name, a file by path, by default ``fewshot``; ``ValueError`` names file and
    key.
    """
    text = str(name or "fewshot")
    path = Path(text) if text.endswith((".yaml", ".yml")) else shipped.folder("leaderboards") / f"{text}.yaml"
    if not path.is_file():
        raise ValueError(f"no leaderboard {text!r}{nearest(text, SHIPPED)}")
    found = strict_yaml.read(path)
    if found.problems:
        key, line, message, hint = found.problems[0]
        where = f"{path}:{line}: " + (f"{_dotted(key)}: " if key else "")
        raise ValueError(where + message + (f"; {hint}" if hint else ""))
    if not isinstance(found.value, dict):
        raise ValueError(
            f"{path}: not a leaderboard: it is a mapping of keys, such as 'title: My leaderboard'"
        )
    try:
        return Leaderboard.model_validate({"name": path.stem, **found.value})
    except ValidationError as error:
        told = [_explain(e) for e in error.errors(include_url=False)]
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise ValueError(f"{path}: " + "; ".join(told[:_MOST_TOLD]) + more) from error


def _dotted(path: Iterable[object]) -> str:
    return ".".join(str(part)[:80] for part in path)


def _explain(error: Any) -> str:
    key = _dotted(error["loc"])
    if error["type"] == "extra_forbidden":
        known = [*Leaderboard.model_fields] if len(error["loc"]) == 1 else [*Score.model_fields]
        return f"{key}: unknown key{nearest(str(error['loc'][-1])[:80], known)}"
    told, given = str(error["msg"]), error["input"]
    if error["type"] == "literal_error" and isinstance(given, str):
        return f"{key}: {given[:80]!r} is not one of its values{nearest(given[:80], _literals(told))}"
    shown = "" if isinstance(given, (dict, list)) else f", not {str(given)[:80]!r}"
    return f"{key}: {told.removeprefix('Value error, ')}" + ("" if error["type"] == "value_error" else shown)


def _literals(told: str) -> list[str]:
    """The values that pydantic lists in its message: ``Input should be 'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", told)
