"""Chat templates of several makes, written for the tests: each shows one property of templates in use."""

from __future__ import annotations

PLAIN = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Roles in marks, text as it is."""

WITH_BEGINNING = "{{ bos_token }}" + PLAIN
"""Writes the beginning token, which the tokenizer adds as well."""

DEFAULT_SYSTEM = "{% if messages[0].role != 'system' %}{{ '<|system|>Be brief.\n' }}{% endif %}" + PLAIN
"""Writes a system message of its own, as SmolLM2's does."""

NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN
"""Refuses a system message, as Gemma 2's does."""

DROPS_SYSTEM = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + PLAIN
"""Leaves it out without a word."""

FOLDED = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|' + m.role.replace('assistant', 'model') + '|>\n' + (first if loop.first else '') }}"
    "{{ m.content | trim }}{{ '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|model|>\n' }}{% endif %}"
)
"""The system text in the user's first turn, texts trimmed, roles in turn, as Gemma 3's."""

SPACED = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
"""A space before the answer and no generation prompt, as Llama 2's."""

REASONS = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""An empty block of reasoning before the last answer, as Qwen3's."""

LOWERS = PLAIN.replace("m.content", "(m.content | lower)")
"""Changes the text."""

DATED = "{{ '<|date|>' + strftime_now('%d %B %Y') + '\n' }}" + PLAIN
"""Writes the day, as Llama 3.1's and SmolLM3's."""

SILENT = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
"""Does not write answers."""

FAILS = "{{ messages[0].content.nothing() }}"
