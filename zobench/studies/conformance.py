"""Runs the conformance kit on every built-in method and writes ``docs/methods.md`` from the results.

    python -m zobench.studies.conformance                # run the checks without result, write the page
    python -m zobench.studies.conformance mezo fzoo      # check these methods again, write the page
    python -m zobench.studies.conformance --render       # write the page, from docs/results/conformance.json

The result of each method is stored as soon as it is available, so an interrupted run continues where it
stopped. The page contains only results of checks that were run.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from zobench.plugins import entries, lookup
from zobench.studies import committed, markdown
from zobench.zo.conformance import CHECKS, CheckResult, check

COLUMNS = ("method", "source", "forwards/step", "passes", "state B/param", "spaces", "replay")
HEAD = """# Methods

Every built-in zeroth-order method and baseline of `zobench list methods`: its card, its declared cost with
its defaults, and the results of the conformance kit (`zobench check NAME`).
Written by `python -m zobench.studies.conformance`; a test checks that the page matches the catalogue.

- **forwards/step**: mean number of forward passes of one minibatch over a long run (a forward and a backward
  pass count as 3, a Jacobian-vector product as 2); a number after `+` is spent once before the first step.
- **passes**: sweeps over the tuned parameters per step.
- **state**: bytes stored per tuned parameter between steps.
- **spaces**: parameter spaces that the method supports; `*` is any. Others are rejected at planning.
- **replay**: data from which the weights can be rebuilt: the scalars of its steps, scalars and artifacts
  (stored by digest; `step-artifacts`: some of every step, which a submission does not hold), or only a
  checkpoint.
"""

DECAY = """Methods with a `weight_decay` parameter (0 by default): coupling, tensors that are spared, and
what the authors' code does. Values of `decay_rule` (case counts): `mezo` spares names with `bias`,
`layer_norm` or `layernorm`; `mezo-roberta` those with `bias` or `LayerNorm.weight`; `matrices` spares
tensors of fewer than two dimensions; `all` spares none. The other methods have no decay."""

TRAPS = (
    ("the update uses the direction that was measured, also in refresh steps", "measured-is-applied"),
    ("weights are restored exactly or up to rounding", "learning-rate-zero, drift; test_perturb.py"),
    ("the estimate is unbiased, with the theoretical variance", "unbiased"),
    ("n directions give the average of n single estimates", "unbiased (n and 4 n); test_definitions.py"),
    ("measured sparsity is the requested one", "test_sparse_methods.py"),
    ("masks are computed from unperturbed weights", "test_sparse_methods.py"),
    ("steps without difference, without variance or with NaN are refused and counted", "refusals"),
    ("snapshots and saved state share no memory with the weights", "resume; test_history_methods.py"),
    ("training works with the default parameters", "moves"),
    (
        "the global random state and the order of the data do not change",
        "global-random-state; test_data_order.py",
    ),
    ("replay of the scalars gives the same bits", "replay"),
    ("counted forward passes are the declared ones", "forwards"),
    ("the fused update equals the two-pass update", "test_perturb.py"),
    ("all perturbation modes give the same losses", "modes, distributed"),
    ("tensors of equal shape have noise of their own", "independent-noise"),
    ("the estimate is along what was measured, also where the update transforms it", "estimate-is-measured"),
    ("state that the next step reads is in the checkpoint", "resume"),
    ("accumulators fade: with a constant loss the steps end", "stops"),
    ("forward passes are not made besides the counted ones", "hidden-queries; forwards"),
    ("defaults have a source, since scripts, options and READMEs disagree", "defaults-cited"),
    ("the set of tensors with weight decay is declared and used", "test_definitions.py"),
)
"""Properties that published implementations violate, in the order of the project's survey of them, and the
checks of the kit or files of ``tests/zo`` and ``tests/runner`` that test each for this library."""


def builtin() -> list[str]:
    """Names of the built-in methods, in the order of the catalogue."""
    return [name for name, entry in entries("methods").items() if entry.origin == "builtin"]


def run(name: str, earlier: dict[str, Any] | None = None) -> dict[str, Any]:
    """Outcome and detail of every check, and the processor time that they took. Checks with an earlier
    result are not repeated."""
    known = earlier or {"checks": {}, "cpu_seconds": 0.0}
    started = time.process_time()
    results = check(lookup("methods", name), only=[c for c in CHECKS if c not in known["checks"]])
    fresh = {r.name: [outcome(r), r.detail or r.reason] for r in results}
    body = {c: fresh.get(c) or known["checks"][c] for c in CHECKS}
    return {"checks": body, "cpu_seconds": round(known["cpu_seconds"] + time.process_time() - started, 1)}


def outcome(result: CheckResult) -> str:
    return "skip" if result.skipped else "pass" if result.passed else "FAIL"


def stale(body: dict[str, Any] | None) -> bool:
    """Whether a method has no result, or one with a different list of checks."""
    return body is None or set(body["checks"]) != set(CHECKS)


def results_file() -> Path:
    return committed.results() / "conformance.json"


def kept() -> dict[str, Any]:
    """Method -> its committed result."""
    file = results_file()
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def keep(found: dict[str, Any]) -> None:
    ordered = {name: found[name] for name in builtin() if name in found}
    results_file().write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def card_row(name: str) -> list[str]:
    """One method's cells in the order of ``COLUMNS``."""
    method = lookup("methods", name)
    card, cost = method.card, method.cost(method.Config())
    forwards = f"{cost.forwards_per_step:g}"
    if cost.preparation_forwards:
        forwards += f" + {cost.preparation_forwards}"
    numbers = [forwards, f"{cost.passes_per_step:g}", f"{cost.state_bytes_per_parameter:g}"]
    return [f"`{name}`", card.source, *numbers, ", ".join(card.spaces), card.replay]


def decays(names: list[str]) -> list[list[str]]:
    """Rows (method, what its card says of decay) of the methods that have a rate of it."""
    told = {name: lookup("methods", name).card.decay for name in names}
    return [[f"`{name}`", decay] for name, decay in told.items() if decay]


def page(found: dict[str, Any]) -> str:
    """The whole page from the stored results; it lists methods without results."""
    names = builtin()
    lines = [HEAD, "## Cards", "", *markdown.table(COLUMNS, map(card_row, names)), "", "## Update rules", ""]
    for name in names:
        card = lookup("methods", name).card
        lines.append(f"- `{name}`, {card.title}: `{card.formula}`")
    lines += ["", "## Weight decay", "", DECAY, "", *markdown.table(("method", "decay"), decays(names))]
    lines += ["", "## Conformance", "", *summary(found, names), ""]
    lines += markdown.table(("method", *CHECKS), matrix(found, names))
    lines += ["", "### Checks", ""]
    lines += [f"- **{name}**: {asked(name)}" for name in CHECKS]
    lines += ["", "### Errors of published implementations", ""]
    lines += markdown.table(("required property", "tested by"), TRAPS)
    lines += [
        "",
        "### Skipped checks and their reasons",
        "",
        *markdown.table(("check", "reason", "methods"), skips(found)),
        "",
    ]
    return "\n".join(lines)


def asked(name: str) -> str:
    """The first paragraph of the check's docstring in one line."""
    text = (CHECKS[name].__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split())


def summary(found: dict[str, Any], names: list[str]) -> list[str]:
    """Number of methods and checks, and counts of their outcomes."""
    outcomes = [o for body in found.values() for o, _ in body["checks"].values()]
    counts = {kind: outcomes.count(kind) for kind in ("pass", "skip", "FAIL")}
    minutes = sum(body["cpu_seconds"] for body in found.values()) / 60
    lines = [
        f"{len(found)} of {len(names)} methods, {len(CHECKS)} checks: {counts['pass']} passed (✓), "
        f"{counts['skip']} do not apply (–), {counts['FAIL']} failed; {minutes:.0f} processor minutes."
    ]
    if missing := [f"`{name}`" for name in names if name not in found]:
        lines += ["", f"Not run yet (?): {', '.join(missing)}."]
    return lines


def matrix(found: dict[str, Any], names: list[str]) -> list[list[str]]:
    """One row per method, one cell per check."""
    sign = {"pass": "✓", "skip": "–", "FAIL": "**FAIL**"}
    nothing: dict[str, Any] = {"checks": {}}
    rows = []
    for name in names:
        checks = found.get(name, nothing)["checks"]
        rows.append([f"`{name}`", *(sign[checks[c][0]] if c in checks else "?" for c in CHECKS)])
    return rows


def skips(found: dict[str, Any]) -> list[list[str]]:
    """(check, reason, methods) of all checks that were skipped or failed."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, body in found.items():
        for key, (kind, reason) in body["checks"].items():
            if kind != "pass":
                told = reason if kind == "skip" else f"FAILED: {reason}"
                reasons.setdefault((key, told), []).append(f"`{name}`")
    order = {c: i for i, c in enumerate(CHECKS)}
    return [[c, r, ", ".join(ms)] for (c, r), ms in sorted(reasons.items(), key=lambda kv: order[kv[0][0]])]


def main(arguments: list[str]) -> None:
    found = kept()
    if "--render" not in arguments:
        for name in arguments or [n for n in builtin() if stale(found.get(n))]:
            earlier = None if name in arguments else kept().get(name)
            found = {**kept(), name: run(name, earlier)}
            keep(found)
            failed = [c for c, (kind, _) in found[name]["checks"].items() if kind == "FAIL"]
            print(f"{name}: {found[name]['cpu_seconds']} s", *failed, flush=True)
    committed.write_page("methods", page(kept()))


if __name__ == "__main__":
    main(sys.argv[1:])
