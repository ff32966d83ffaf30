#!/usr/bin/env bash
# NGOpt, the optimizer that nevergrad recommends, stops with a TypeError on a plain quadratic under numpy 2.4
#
# Surprising: NGOpt on sum((x - 1)^2) of five continuous variables, one evaluation at a time, raises "TypeError: only 0-dimensional arrays can be
# converted to Python scalars" from inside tell or ask. On the way NGOpt fits a surrogate of the loss with scikit-learn and calls float() on
# its prediction, an array of shape (1,), which numpy made an error in 2.4 after a deprecation. nevergrad's requirements put no upper bound on
# numpy, and only the surrogate's own failure is caught. CMA and DE, without surrogate, run; with numpy 2.3.5, NGOpt runs too and says nothing but
# a DeprecationWarning.
# Who meets it: whoever installs nevergrad today and follows its introduction; and any ensemble with a name in ...MetaModel.
# Versions: nevergrad 1.0.12, scikit-learn 1.9.1, bayesian-optimization 1.4.0, numpy 2.4.6 and 2.3.5 (Python 3.11). Seen 2026-11-29:
#   numpy 2.4.6: NGOpt: TypeError: only 0-dimensional arrays can be converted to Python scalars; CMA: runs; DE: runs
#   numpy 2.3.5: NGOpt: runs; CMA: runs; DE: runs
# Fails (exit 1) when NGOpt runs under numpy 2.4.6, or stops under 2.3.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" install -q "nevergrad==1.0.12" "scikit-learn==1.9.1" "bayesian-optimization==1.4.0")
cat > "$folder/try.py" <<'PY'
import sys

import nevergrad
import numpy


def outcome(name):
    optimizer = nevergrad.optimizers.registry[name](nevergrad.p.Array(init=numpy.zeros(5)), budget=80, num_workers=1)
    try:
        optimizer.minimize(lambda x: float(numpy.square(x - 1).sum()))
    except TypeError as error:
        return f"TypeError: {error}"
    return "runs"


told = {name: outcome(name) for name in ("NGOpt", "CMA", "DE")}
print(f"numpy {numpy.__version__}: " + "; ".join(f"{k}: {v}" for k, v in told.items()))
assert told["NGOpt"].startswith(sys.argv[1]) and told["CMA"] == told["DE"] == "runs", "the behaviour has changed"
PY
"${pip[@]}" "numpy==2.4.6"
"$folder/venv/bin/python" -W ignore "$folder/try.py" "TypeError: only 0-dimensional"
"${pip[@]}" "numpy==2.3.5"
"$folder/venv/bin/python" -W ignore "$folder/try.py" "runs"
