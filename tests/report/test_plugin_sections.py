"""Page sections from plugin packages: one file with query, figure and template; a failure is named and
affects only that section."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench import plugins
from zobench.cli import app
from zobench.report import catalogue
from zobench.report.section import Section

PACKAGE = '''\
"""How many runs each row has."""

from markupsafe import Markup

from zobench.report.section import Section

HOSTILE = "<img src=x onerror=window.hit=1>"


class Effort(Section):
    name = "effort"
    title = "Effort"
    template = """
<section id="{{ section.name }}">
  <h2>{{ section.title }}</h2>
  <p>{{ said }}</p>
  {{ picture }}
  <table id="t-effort" data-name="effort"><tbody>
  {% for r in runs|records %}
  <tr><th scope="row">{{ r.row }}</th><td class="num">{{ r.n }}</td></tr>
  {% endfor %}
  </tbody></table>
</section>
"""

    def query(self, results):
        runs = results.source.sql(
            "select row, count(*) as n from runs where purpose is distinct from 'tuning' "
            "group by row order by row"
        )
        return {"runs": runs, "said": HOSTILE}

    def applies(self, values):
        return len(values["runs"]) > 0

    def picture(self, values):
        bar = Markup('<rect width="{}" height="9" y="{}"/>')
        bars = Markup("").join(bar.format(n, 10 * i) for i, n in enumerate(values["runs"]["n"]))
        return Markup('<svg role="img" aria-label="Runs by row">{}</svg>').format(bars)


class Beside(Effort):
    name = "beside"
    title = "Template beside"
    template = "beside.html"


class Silent(Effort):
    name = "silent"

    def applies(self, values):
        return False


class Broken(Effort):
    name = "broken"

    def query(self, results):
        return {"runs": results.source.sql(f"select '{HOSTILE}' from no_such_table")}


class Unfinished(Effort):
    name = "unfinished"
    template = "{{ nobody_gave_this }}"


class Taken(Effort):
    name = "ranking"
'''
POINTS = {
    "effort": "effort_sections:Effort",
    "beside": "effort_sections:Beside",
    "silent": "effort_sections:Silent",
    "broken": "effort_sections:Broken",
    "unfinished": "effort_sections:Unfinished",
    "taken": "effort_sections:Taken",
    "missing": "no_such_module:Section",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``install(names)``: the sections of these names are there, as if a package declared them."""
    (tmp_path / "effort_sections.py").write_text(PACKAGE, encoding="utf-8")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "beside.html").write_text('<section id="beside">{{ said }}</section>')
    monkeypatch.syspath_prepend(str(tmp_path))
    real = plugins.entry_points

    def install(*names: str) -> None:
        points = [metadata.EntryPoint(n, POINTS[n], "zobench.sections") for n in names]
        monkeypatch.setattr(
            plugins,
            "entry_points",
            lambda group: points if group == "zobench.sections" else real(group=group),
        )

    return install


def page(results: Path, tmp_path: Path) -> str:
    """What ``zobench report`` writes, without styles, scripts and the time."""
    out = tmp_path / "page.html"
    told = CliRunner().invoke(app, ["report", str(results), "--output", str(out)])
    assert told.exit_code == 0, told.output
    text = re.sub(r"<(style|script).*?</\1>", "", out.read_text(encoding="utf-8"), flags=re.S)
    return re.sub(r"Made [^<]* UTC", "Made", text)


def sections(text: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', text)


def test_a_section_of_a_package_is_on_the_page(results: Path, tmp_path: Path, install) -> None:
    install()
    before = page(results, tmp_path)
    install("effort", "beside", "silent")
    text = page(results, tmp_path)
    assert sections(text) == [*sections(before)[:-1], "effort", "beside", "glossary"]
    assert '<a href="#effort">Effort</a>' in text
    assert "silent" not in text
    mine = text.split('<section id="effort">')[1].split("</section>")[0]
    assert '<th scope="row">mezo</th><td class="num">9</td>' in mine
    assert '<svg role="img" aria-label="Runs by row"><rect width="9" height="9" y="0"/>' in mine
    assert '<section id="beside">&lt;img src=x' in text
    assert "<img src=x" not in text


def test_sections_that_fail_are_named_and_take_nothing_with_them(
    results: Path, tmp_path: Path, install
) -> None:
    install("effort")
    whole = page(results, tmp_path)
    install("effort", "broken", "unfinished", "taken", "missing")
    text = page(results, tmp_path)
    kept = sections(whole)
    failed = [s for s in sections(text) if s.startswith("failed-")]
    assert len(failed) == len(set(failed)) == 4
    assert sections(text) == [*kept[:-1], *failed, "glossary"]
    told = re.findall(r"<h2>(\w+)</h2>\s*<p class=\"warning\" role=\"note\">(.*?)</p>", text, flags=re.S)
    assert [name for name, _ in told] == ["broken", "unfinished", "taken", "missing"]
    for (name, said), wanted in zip(
        told, ("no_such_table", "nobody_gave_this", "has a section", "no_such_module"), strict=True
    ):
        assert f"The section {name} from unknown package cannot be shown." in said
        assert wanted in said
    assert "<img src=x" not in text
    body = text.split('<main id="main"')[1].split('<section id="failed-')[0]
    assert body == whole.split('<main id="main"')[1].split('<section id="glossary"')[0]


def test_built_in_sections_are_made_the_same_way() -> None:
    for name in catalogue.SECTIONS:
        section = plugins.lookup("sections", name)
        assert issubclass(section, Section)
        assert section.name == name
        assert section.title
