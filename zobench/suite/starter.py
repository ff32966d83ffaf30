"""The suite that ``zobench init`` writes."""

STARTER = """\
# A zobench suite. 'zobench plan FILE' lists its runs, 'zobench run FILE' executes them.
# Reference of all keys: 'zobench docs suite'. Numbers follow YAML 1.2: 1e-3 is a number.
suite: NAME
description: Two zeroth-order methods against zero-shot on one task of the built-in model.

models:
  nano: {name: "builtin:nano"}        # or a hub id, a folder with safetensors, a GGUF file

tasks:                                # an entry's name is the catalogue name unless 'task:' gives another
  nano-sentiment: {}                  # 'zobench list tasks' lists the tasks

methods:
  mezo:
    params: {lr: 5e-4}                # params are literal: one value each
    # sweep: {lr: [1e-4, 5e-4]}       # one leaderboard row per value
    # tune:                           # one row, its value selected on validation data
    #   space: {lr: [1e-4, 3e-4, 1e-3]}
    #   seeds: [101, 102]
  fzoo: {}
  zero-shot: {method: none, group: control}   # a baseline: shown in every table, never ranked

attacks:                              # each is compared with its budget-matched random baseline
  char-typos: {}

seeds: [0, 1]
budget: {forwards: 200, batch_size: 16}   # one forward pass = the loss on one minibatch
evaluation: {at: [100], test_items: 100, attack_items: 50}
"""
