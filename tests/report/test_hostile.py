"""Every name, prompt and attack text is hostile: a report full of script payloads runs nothing."""

from __future__ import annotations

import json
import re

import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.report.build import build
from zobench.report.page import json_for_script, policy

PAYLOADS = (
    "</script><script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "{{ 7*7 }}${7*7}<!--<script>",
    "'); window.hit=1; ('",
    "<a href='javascript:window.hit=1'>x</a>\u2028\u2029",
    '=HYPERLINK("http://x")',
)


def card(payload):
    told = dict.fromkeys(("title", "source", "formula", "order", "revision"), payload + " arXiv:2305.17333")
    return {"environment": json.dumps({"method_card": told})}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    texts = [f"{p} some words around it {p}" for p in PAYLOADS]
    entries = [
        Entry(
            p,
            0.02 * i,
            fields={
                "note": p,
                "error": p,
                "model": p,
                "method_params": json.dumps({p: p}),
                "spec": p,
                **card(p),
            },
        )
        for i, p in enumerate(PAYLOADS[:5])
    ]
    entries.append(Entry(PAYLOADS[5], -0.1, "control", status={(PAYLOADS[1], 0): "failed"}))
    study = Study(
        entries,
        tasks={PAYLOADS[0]: 0.7, PAYLOADS[1]: 0.6},
        attacks=(PAYLOADS[2],),
        texts=texts,
        suite=PAYLOADS[0],
        tuned=(PAYLOADS[1],),
        examples=12,
    )
    folder = make_synthetic(tmp_path_factory.mktemp("hostile"), study, compact=True)
    return build(folder, tmp_path_factory.mktemp("page"), site=True)


def test_source_holds_no_tag_of_the_payloads(hostile):
    for path in [hostile, *sorted((hostile.parent / "pages").glob("*.html"))[:5]]:
        text = path.read_text(encoding="utf-8")
        for needle in ("<img src=x", "<script>window.hit", "<svg onload", "<a href='javascript"):
            assert needle not in text, (path.name, needle)
        assert not re.search(r"\son[a-z]+\s*=\s*[\"']", re.sub(r"<script.*?</script>", "", text, flags=re.S))


@pytest.mark.browser
def test_nothing_runs(hostile, open_page):
    seen = open_page(hostile)
    page = seen.page
    height = page.evaluate("document.documentElement.scrollHeight")
    for y in range(0, height, 500):
        page.evaluate(f"window.scrollTo({{top: {y}, behavior: 'instant'}})")
        page.wait_for_timeout(50)
    page.wait_for_selector("#c-plot .scatterlayer .trace")
    lines = "DATA.rows.map((r, i) => [i, [1], [1], [1]])"
    names = page.evaluate(f"profileTraces([1], {lines}, '').flatMap((t) => t.name || [])")
    assert len(names) == 6
    assert not any("<" in n for n in names)  # plotly reads tags in names
    for section in ("#targets", "#pairs", "#tuning", "#robustness"):
        assert any(p in page.inner_text(section) for p in PAYLOADS), section
    page.select_option("#h-b", "3")
    page.click("#t-ranking th[data-key=row] button")
    page.click(".row-link >> nth=0")
    assert any(p in page.inner_text("#card h2") for p in PAYLOADS)
    assert page.get_attribute("#card p a", "href") == "https://arxiv.org/abs/2305.17333"
    page.keyboard.press("Escape")
    page.select_option("#e-what", index=1)
    assert page.locator("#e-list ins").count() > 0
    assert PAYLOADS[0] in page.inner_text("#e-list")
    page.fill("#ranking input[type=search]", PAYLOADS[1])
    assert PAYLOADS[1].split("=")[0] in page.inner_text("#ranking .tools [role=status]")
    page.fill("#ranking input[type=search]", "")
    page.locator(".run-link").first.click()
    page.select_option("#run-beside", index=1)
    page.wait_for_selector("#run .scatterlayer .trace")
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    assert PAYLOADS[0] in page.inner_text("body")
    assert seen.problems == []
    assert seen.requests == []


@pytest.mark.browser
def test_the_policy_stops_what_escaping_would_miss(hostile, open_page, tmp_path):
    """A page with an injected script and handler: the Content-Security-Policy alone keeps both from
    running.
    """
    text = hostile.read_text(encoding="utf-8")
    broken = tmp_path / "injected.html"
    broken.write_text(
        text.replace("<main", "<script>window.hit=1</script><img src=x onerror='window.hit=2'><main", 1),
        encoding="utf-8",
    )
    seen = open_page(broken)
    seen.page.wait_for_timeout(200)
    assert seen.page.evaluate("window.hit") is None
    assert any("Content Security Policy" in p for p in seen.problems)


def test_json_cannot_leave_its_element():
    text = json_for_script({"a": "</script><!--&\u2028\u2029"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028\u2029"}
    with pytest.raises(ValueError, match="JSON"):
        json_for_script({"a": float("nan")})


def test_policy_names_no_network_and_no_unsafe_script():
    text = policy(["x"])
    assert "default-src 'none'" in text
    assert "connect-src 'none'" in text
    script = next(part for part in text.split(";") if "script-src" in part)
    assert "unsafe" not in script
    assert "http" not in text
