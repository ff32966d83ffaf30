#!/usr/bin/env bash
# A problem of one variable breaks nevergrad's DiagonalCMA for every later problem of the same process
#
# Surprising: DiagonalCMA minimizes a quadratic of five variables. The same name on one variable raises "ImportError: Please install fcmaes". After
# that, five variables raise the same error, in new objects made from the registry, until the process ends. In one dimension the optimizer switches
# its settings to another implementation, and those settings belong to the registered optimizer, not to the object. A test that comes later in
# the process, or the next problem of a benchmark, fails for what an earlier one did.
# Who meets it: benchmarks over several dimensions in one process; test suites, whose result then depends on their order.
# Versions: nevergrad 1.0.12, cma 4.5.0, numpy 2.3.5 (Python 3.11). Seen 2026-11-29:
#   5 variables: runs; 1 variable: ImportError: Please install fcmaes (pip install fcmaes) to use FCMA optimizers; 5 variables: ImportError: ...
# Fails (exit 1) when the second problem of five variables runs, or the first or the one of one variable behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "nevergrad==1.0.12" "cma==4.5.0" "numpy==2.3.5"
cat > "$folder/try.py" <<'PY'
import nevergrad
import numpy


def outcome(dimension):
    array = nevergrad.p.Array(init=numpy.zeros(dimension))
    optimizer = nevergrad.optimizers.registry["DiagonalCMA"](array, budget=80, num_workers=1)
    try:
        optimizer.minimize(lambda x: float(numpy.square(x - 1).sum()))
    except ImportError as error:
        return f"ImportError: {error}"
    return "runs"


first, single, again = outcome(5), outcome(1), outcome(5)
print(f"5 variables: {first}; 1 variable: {single}; 5 variables: {again}")
assert first == "runs" and single.startswith("ImportError: Please install fcmaes") and again == single, "the behaviour has changed"
PY
"$folder/venv/bin/python" -W ignore "$folder/try.py"
