"""Results of the newer kinds of run, for damages: rewards, federated clients, images with pictures, flows."""

from __future__ import annotations

from reliability.damaging import DONE, KILLED, REPLAYED, STOPPED, Recipe, fixed, in_run

from zobench.store.checkpoint_file import CHECKPOINT, EARLIER
from zobench.store.step_log import STEPS_LOG

SUITE = """\
suite: damage
models:
  nano: {name: "builtin:nano"}
  countdown: {name: "builtin:nano-countdown"}
  vit: {name: "builtin:nano-vit", head: 5}
  flow: {name: "builtin:nano-flow"}
tasks:
  nano-sentiment: {}
  countdown: {params: {test_rows: 4}}
  mnist-5k: {params: {classes: [5, 6, 7, 8, 9], k: 2, validation_k: 2, test_rows: 20}}
  invert: {task: flow-inversion, params: {steps: 2}}
methods:
  federated: {method: meerkat, models: [nano], tasks: [nano-sentiment], params: {density: 0.01}, clients: {number: 2, gradip: true}}
  unfinished: {method: mezo, models: [nano], tasks: [nano-sentiment], params: {lr: 1e-4}, clients: {number: 2}}
  rewarded: {method: mezo, models: [countdown], tasks: [countdown], train_on: {reward: format}, budget: {forwards: 6, batch_size: 2}}
  stopped: {method: mezo, models: [countdown], tasks: [countdown], params: {lr: 1e-5}, train_on: {reward: format}}
  pictured: {method: mezo, models: [vit], tasks: [mnist-5k], budget: {forwards: 6, batch_size: 2}}
  flowing: {method: flowopt, models: [flow], tasks: [invert], space: {kind: names, params: {include: [code]}}, budget: {forwards: 6, batch_size: 1}}
seeds: [1]
budget: {forwards: 60, batch_size: 2}
evaluation: {test_items: 4}
checkpoint: {every_steps: 3}
executor: {kind: inline}
"""  # noqa: E501 - one line per row
ENDS = {"rewarded": DONE, "federated": REPLAYED, "unfinished": KILLED, "stopped": STOPPED}
KINDS = {
    **{f"{n} of clients": in_run(REPLAYED, f"{n}.parquet") for n in ("runs", "steps", "metrics")},
    **{f"{n} of a reward": in_run(DONE, f"{n}.parquet") for n in ("runs", "steps", "predictions")},
    "predictions with pictures": in_run("pictured", "predictions.parquet"),
    **{f"{n} of a flow": in_run("flowing", f"{n}.parquet") for n in ("steps", "metrics", "predictions")},
    "mask of clients": fixed("loose", "runs/artifacts/*.safetensors"),
    "last checkpoint of clients": in_run(KILLED, CHECKPOINT),
    "earlier checkpoint of clients": in_run(KILLED, EARLIER),
    "rounds of clients": in_run(KILLED, STEPS_LOG),
    "steps of a stopped reward": in_run(STOPPED, "steps.parquet"),
    **{f"compacted {n}": fixed("compacted", f"runs/compact/{n}-*.parquet") for n in ("steps", "predictions")},
}
NEWER = Recipe(SUITE, ENDS, KINDS)
