"""The page on which a person chooses: plain HTML, one form, no request to anywhere else."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from zobench.data.image import Image
from zobench.rating.session import Question, Shown

STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.25rem;margin:0 0 .25rem}p{margin:.25rem 0}
.items{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:1rem;margin:1rem 0}
.texts{grid-template-columns:repeat(auto-fill,minmax(16rem,1fr))}
button{font:inherit;color:inherit;background:none;border:2px solid #8888;border-radius:.4rem;padding:.5rem;
cursor:pointer;text-align:left;display:flex;flex-direction:column;gap:.4rem}
button:hover{border-color:currentColor}
button:focus-visible{outline:3px solid light-dark(#0b5c8f,#7cc0ee);outline-offset:2px}
button:disabled{opacity:.45;cursor:default}
img{width:100%;max-width:14rem;image-rendering:pixelated;background:#000}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}.now{max-width:9rem}
"""
SCRIPT = """document.addEventListener("keydown",e=>{
if(e.ctrlKey||e.metaKey||e.altKey||!/^[0-9]$/.test(e.key))return;
const b=document.querySelector(`button[data-key="${e.key}"]:not(:disabled)`);
if(b){e.preventDefault();b.click()}});
document.addEventListener("submit",e=>{if(document.body.dataset.sent){e.preventDefault()}
document.body.dataset.sent="1"});
"""
KEYS = 10
"""Items with a key of their own, 1 to 9 and 0."""


def policy() -> str:
    """Content security policy: nothing but this page's own style, script, form and embedded pictures."""
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (STYLE, SCRIPT)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def page(title: str, body: str) -> str:
    """A whole page; ``body`` is HTML."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style><body><main>{body}</main><script>{SCRIPT}</script></body></html>"
    )


def asking(title: str, question: Question, current: Shown) -> str:
    """The page of a question."""
    left = question.wanted - len(question.named)
    text = isinstance(question.items[0], str)
    kind, place = "text" if text else "picture", len(question.named) + 1
    which = "best" if place == 1 else f"best of the rest (place {place})"
    prompt = f"<pre>{escape(question.prompt)}</pre>" if question.prompt else ""
    buttons = "".join(
        _button(question, at, index, first=index == _first(question))
        for at, index in enumerate(question.order, 1)
    )
    return page(
        title,
        f"<h1>Which {kind} is the {which}?</h1>{prompt}"
        f"<p>Step {question.step + 1}, {question.forwards} of {question.budget} queries; "
        f"{left} to choose in this ranking. Press the number of a {kind}, or use Tab and Enter.</p>"
        '<form method="post" action="/choice" autocomplete="off">'
        f'<input type="hidden" name="key" value="{question.key}">'
        f'<div class="items{" texts" if text else ""}">{buttons}</div></form>'
        f"<h2>Now</h2><div class=now>{_content(current, 'the current ' + kind)}</div>",
    )


def ended(title: str, forwards: int, current: Shown) -> str:
    """The page after the last question."""
    return page(
        title,
        f"<h1>All {forwards} queries are answered</h1><p>Every choice is stored. End the command with "
        f"Ctrl-C.</p><div class=now>{_content(current, 'the result')}</div>",
    )


def _first(question: Question) -> int:
    """The item that has the focus at first."""
    return next(index for index in question.order if index not in question.named)


def _button(question: Question, at: int, index: int, *, first: bool) -> str:
    key = f' data-key="{at % 10}"' if at <= KEYS else ""
    named = index in question.named
    state = " disabled" if named else " autofocus" if first else ""
    said = f"{at}: place {question.named.index(index) + 1}" if named else str(at)
    content = _content(question.items[index], f"candidate {at}")
    return f'<button name="item" value="{index}"{key}{state}><span>{said}</span>{content}</button>'


def _content(item: Shown, alt: str) -> str:
    if isinstance(item, Image):
        return f'<img src="{item.data_uri()}" alt="{escape(alt)}">'
    return f"<pre>{escape(item) or '(empty)'}</pre>"
