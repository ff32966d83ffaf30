"""Tables of unlearning on the real language model, computed from committed results.

Scores in %: of the half of the forget facts that neither the stop rule nor relearning reads (``forget``), and
of retained facts. The recovery rate is that of :mod:`zobench.report.forgetting`: 0 like the oracle, 100 like
the full model, each after the same probe.
"""

from __future__ import annotations

import pandas as pd

from zobench.report import forgetting
from zobench.report.source import Source
from zobench.studies import markdown

SCORES = {"forget_exact_memorization": "tokens right", "retained": "retained"}
"""Clean scores beside the forget score, with the names of their columns."""
NONE = "none"
FINAL, MATCHED = "test", "matched-forget"
_STATES = {FINAL: "final", MATCHED: "matched"}
_WORST = "worst"


def states(source: Source) -> list[str]:
    """Lines of the table of models before probes: per objective and row the forget score, ``SCORES``,
    whether the stop rule ended the run, forward passes spent and distance moved. The reference models stand
    once, being the same for all objectives."""
    clean = source.finals[source.finals["condition_kind"] == "clean"]
    primary = clean[clean["metric"] == clean["primary_metric"]].set_index("run_id")["value"]
    wide = clean.pivot_table(index="run_id", columns="metric", values="value")
    spent = clean.groupby("run_id")["forwards"].max()
    lines, seen = [], set[str]()
    for run_id, row, label, role in _ordered(source):
        if role in forgetting.REFERENCES and row in seen:
            continue
        seen.add(row)
        v = wide.loc[run_id]
        scores = [markdown.percent(x) for x in (primary[run_id], *(v[name] for name in SCORES))]
        taken = [markdown.NOTHING] * 3
        if role == "unlearn":
            taken = ["yes" if v["reached"] else "no", str(int(spent[run_id])), f"{v['distance']:.2f}"]
        lines.append(["" if role in forgetting.REFERENCES else label, row, *scores, *taken])
    names = ["forget", *SCORES.values()]
    header = ["objective", "row", *names, "as low as the oracle", "forward passes", "distance"]
    return markdown.table(header, lines)


def probes(source: Source) -> list[str]:
    """Lines of the table of probes: forget score after each, and in brackets the recovery rate, the highest
    over the probe's settings; last the highest over all probes. Final states, and the states moved back until
    all have forgotten equally much."""
    frame = forgetting.probed(source)
    names = [NONE, *sorted(set(frame["condition"]) - {NONE})]
    lines, seen = [], set[str]()
    for run_id, row, label, role in _ordered(source):
        if role in forgetting.REFERENCES and row in seen:
            continue
        seen.add(row)
        mine = frame[frame["run_id"] == run_id]
        for split in _STATES:
            part = mine[mine["split"] == split]
            if part.empty:
                continue
            state = "" if role in forgetting.REFERENCES else _STATES[split]
            cells = [_cell(part[part["condition"] == name], role) for name in names]
            lines.append(["" if not state else label, row, state, *cells, _worst(part, role)])
    return markdown.table(["objective", "row", "state", *names, _WORST], lines)


def _cell(part: pd.DataFrame, role: str) -> str:
    """Forget score and recovery rate of the setting that recovers most; for reference models the highest
    score."""
    if part.empty:
        return markdown.NOTHING
    if role in forgetting.REFERENCES:
        return markdown.percent(part["value"].max())
    by = "value" if part["s"].isna().all() else "s"
    worst = part.sort_values(by, na_position="first").iloc[-1]
    return f"{markdown.percent(worst['value'])} ({_whole(worst['s'])})"


def _worst(part: pd.DataFrame, role: str) -> str:
    return markdown.NOTHING if role in forgetting.REFERENCES else _whole(part["s"].max())


def _whole(share: float) -> str:
    return markdown.NOTHING if share != share else f"{100 * share:.0f}"


def _ordered(source: Source) -> list[tuple[str, str, str, str]]:
    """Run id, row, objective and role of every finished result; reference models first."""
    runs = source.results
    roles = forgetting.roles(runs)
    found = [
        (run_id, row, label.partition(" · ")[0], roles[run_id])
        for run_id, row, label in runs[["run_id", "row", "label"]].itertuples(index=False)
    ]
    return sorted(found, key=lambda r: (r[3] not in forgetting.REFERENCES, r[3], r[2], r[1], r[0]))
