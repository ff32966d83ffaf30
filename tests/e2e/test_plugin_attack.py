"""An attack from a plugin package: its metric, its count and its table, from the suite through a run to the
page."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench import plugins
from zobench.cli import app
from zobench.store import query

ATTACK = '''\
"""Upper case, told by how much of the text was lower case before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from statistics import mean
from typing import ClassVar

from zobench.attack_card import AttackCard, Column, Table
from zobench.attacks.base import Attack, AttackRecord, Measure


@dataclass(frozen=True)
class ShoutConfig:
    loud: bool = True


class Shout(Attack):
    Config: ClassVar[type] = ShoutConfig
    name: ClassVar[str] = "shout"
    card: ClassVar[AttackCard] = AttackCard(
        tables=(
            Table(
                name="shouting",
                title="What shouting does",
                text="Letters that were raised, and texts by their ending.",
                columns=(Column("raised", "Letters raised", form="number"),),
            ),
            Table(
                name="endings",
                title="Endings",
                text="Attacked texts by their last sign.",
                columns=(Column("ending", "Texts", form="count", over_runs="sum"),),
                key="Ending",
                lines=("attack",),
            ),
        )
    )

    def __init__(self, config: ShoutConfig) -> None:
        self.config = config

    def run(self, victim, examples, context):
        found = []
        for e in examples:
            field = context.fields[0]
            text = e.text[field]
            edited = text.upper() if self.config.loud else text
            other = dataclasses.replace(e, text={**e.text, field: edited})
            clean, final = victim.query([e, other])
            won = clean.correct and not final.correct
            outcome = "success" if won else "failure" if clean.correct else "skipped"
            found.append(AttackRecord(e.id, outcome, field, text, edited, clean, final, queries=2))
        return found

    def measures(self, records):
        raised = [sum(a != b for a, b in zip(r.original, r.edited, strict=True)) for r in records]
        ends = ["full stop" if r.original.rstrip().endswith(".") else "other" for r in records]
        return [
            Measure("raised", mean(raised), len(records)),
            *(Measure(f"ending:{end}", ends.count(end), len(records)) for end in sorted(set(ends))),
        ]

    def null(self):
        return Shout(ShoutConfig(loud=False))
'''
SUITE = """\
suite: shouting
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {params: {k: 2, validation_k: 2, test_rows: 8}}
methods:
  zero-shot: {method: none}
  mezo: {params: {lr: 1e-4}}
attacks:
  shout: {}
seeds: [1, 2]
budget: {forwards: 4, batch_size: 2}
evaluation: {test_items: 8, attack_items: 5}
"""


@pytest.fixture
def shout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shout_attack.py").write_text(ATTACK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    point, real = metadata.EntryPoint("shout", "shout_attack:Shout", "zobench.attacks"), plugins.entry_points
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [point] if group == point.group else real(group=group)
    )


@pytest.mark.usefixtures("shout")
def test_a_plugin_attack_is_run_and_shown_with_its_own_numbers(tmp_path: Path) -> None:
    suite, out, page = tmp_path / "shouting.yaml", tmp_path / "out", tmp_path / "page.html"
    suite.write_text(SUITE, encoding="utf-8")
    ran = CliRunner().invoke(app, ["run", str(suite), "--output", str(out), "--workers", "0"])
    assert ran.exit_code == 0, ran.output
    own = query("select * from metrics where metric = 'raised' or metric like 'ending:%'", out)
    attacked, null = (own[own["condition_kind"] == k] for k in ("attack", "null"))
    assert (attacked.loc[attacked["metric"] == "raised", "value"] > 0).all()
    assert (null.loc[null["metric"] == "raised", "value"] == 0).all()
    assert attacked.loc[attacked["metric"] != "raised", "value"].sum() == 2 * 2 * 5
    told = CliRunner().invoke(app, ["report", str(out), "--output", str(page)])
    assert told.exit_code == 0, told.output
    text = page.read_text(encoding="utf-8")
    raised = text.split("<h3>What shouting does</h3>")[1].split("</table>")[0]
    assert ">Letters raised</th>" in raised
    for row in ("zero-shot", "mezo"):
        assert f'<th scope="row">{row}</th>' in raised
    value = attacked.loc[attacked["metric"] == "raised", "value"].mean()
    cells = re.findall(r'data-sort="([^"]+)">([^<]+)</td>', raised)
    assert [float(exact) for exact, _ in cells] == pytest.approx([value, value])
    assert {shown for _, shown in cells} == {f"{value:.3g}"}
    endings = text.split("<h3>Endings</h3>")[1].split("</table>")[0]
    for metric, part in attacked[attacked["metric"] != "raised"].groupby("metric"):
        ending = str(metric).removeprefix("ending:")
        n = part["value"].sum()
        assert f'<th scope="row">{ending}</th><td class="num" data-sort="{n:.1f}">{n:.0f}</td>' in endings
