#!/usr/bin/env bash
# datasets turns text of a JSON file into dates and numbers
#
# Surprising: rows {"answer": "2020-01-05"} of a JSON Lines file come back as datetime objects, although the file holds
# JSON strings, and in a column that holds the string "007" in one row and the number 12 in another, "007" comes back as
# the number 7. A column of strings only, "007" among them, stays text.
# Who meets it: whoever loads gold answers for exact match (the lm-evaluation harness reads local JSON this way): the
# gold answer is "2020-01-05 00:00:00" then, and no answer of a model equals it.
# Way out: read the file with the json module, or give `features`.
# Versions: datasets 5.2.0 (Linux, Python 3.11). Seen 2026-11-29:
#   dates: datetime.datetime(2020, 1, 5, 0, 0) of timestamp[s]
#   mixed: 7 beside 12
#   text: '007'
# Fails (exit 1) when that is no longer what happens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "datasets==5.2.0"
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - <<'PY'
import datetime, json
import datasets

datasets.disable_progress_bars()
rows = [
    {"dates": "2020-01-05", "mixed": "007", "text": "007"},
    {"dates": "2021-02-03", "mixed": 12, "text": "12"},
]
with open("rows.jsonl", "w") as stream:
    stream.writelines(json.dumps(row) + "\n" for row in rows)
found = datasets.load_dataset("json", data_files={"test": "rows.jsonl"}, split="test")
print(f"dates: {found[0]['dates']!r} of {found.features['dates'].dtype}")
print(f"mixed: {found[0]['mixed']!r} beside {found[1]['mixed']!r}")
print(f"text: {found[0]['text']!r}")
assert found[0]["dates"] == datetime.datetime(2020, 1, 5), "the behaviour has changed"
assert (found[0]["mixed"], found[1]["mixed"], found[0]["text"]) == (7, 12, "007"), "the behaviour has changed"
PY
