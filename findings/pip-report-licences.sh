#!/usr/bin/env bash
# pip's installation report leaves out the licence of a package that states it in the current form
#
# Surprising: the report of "pip install --report" carries the metadata of each package as JSON. pip 23.2.1, which Python 3.11 brings with a new
# environment, drops the field License-Expression (metadata 2.4) from it without a word, although the installed metadata has the field; a newer pip
# keeps it. Packages that moved to that field therefore seem to have no licence at all.
# Who meets it: whoever makes a table of licences or a bill of materials from the report in a fresh environment of Python 3.11.
# Versions: pip 23.2.1 and 26.3, flask 3.1.2 (Python 3.11). Seen 2026-11-29:
#   pip 23.2.1: None
#   pip 26.3: BSD-3-Clause
# Fails (exit 1) when the two agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for version in 23.2.1 26.3; do
    "$folder/venv/bin/pip" install -q "pip==$version"
    "$folder/venv/bin/pip" install -q --dry-run --ignore-installed --no-deps --report "$folder/$version.json" "flask==3.1.2"
done
"$folder/venv/bin/python" - "$folder" <<'PY'
import json
import sys
from pathlib import Path

found = {}
for version in ("23.2.1", "26.3"):
    (package,) = json.loads((Path(sys.argv[1]) / f"{version}.json").read_text())["install"]
    found[version] = package["metadata"].get("license_expression")
    print(f"pip {version}: {found[version]}")
assert found["23.2.1"] is None and found["26.3"] == "BSD-3-Clause", "the behaviour has changed"
PY
