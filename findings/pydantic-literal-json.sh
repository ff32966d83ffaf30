#!/usr/bin/env bash
# pydantic's strict mode takes false for Literal[0]
#
# Surprising: TypeAdapter(Literal[0]).validate_json("false", strict=True) returns 0, and so does "0.0"; Literal[1] takes
# "true" and "1.0"; from Python objects likewise. TypeAdapter(int) refuses false in strict mode. A literal is compared by
# equality alone, so strict mode, which is there to keep types apart, does not keep them apart here.
# Who meets it: whoever lists numbers as choices in a configuration that comes as JSON (bits: Literal[0, 4, 8]).
# Versions: pydantic 2.14.4 (Linux, Python 3.11). Seen 2026-11-29:
#   Literal[0] from JSON false: 0
#   Literal[1] from JSON 1.0: 1
#   int from JSON false: refused
#   Literal[0] from Python False: 0
# Fails (exit 1) when that is no longer what happens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "pydantic==2.14.4"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from typing import Literal
from pydantic import TypeAdapter, ValidationError

def answer(check):
    try:
        return repr(check())
    except ValidationError:
        return "refused"

seen = {
    "Literal[0] from JSON false": answer(lambda: TypeAdapter(Literal[0]).validate_json("false", strict=True)),
    "Literal[1] from JSON 1.0": answer(lambda: TypeAdapter(Literal[1]).validate_json("1.0", strict=True)),
    "int from JSON false": answer(lambda: TypeAdapter(int).validate_json("false", strict=True)),
    "Literal[0] from Python False": answer(lambda: TypeAdapter(Literal[0]).validate_python(False, strict=True)),
}
for name, found in seen.items():
    print(f"{name}: {found}")
assert list(seen.values()) == ["0", "1", "refused", "0"], "the behaviour has changed"
PY
