"""The suite that ``zobench init`` writes."""

STARTER = """\
# A zobench suite. 'zobench plan FILE' shows what it would do, 'zobench run FILE' does it.
# Reference of all keys: docs/suite.md. Numbers follow YAML 1.2: 1e-3 is a number.
suite: NAME
description: Two zeroth-order methods against zero-shot on one task of the built-in model.

models:
  nano: {name: "builtin:nano"}        # or a hub id, a folder with safetensors, a GGUF file

tasks:                                # an entry's name is the catalogue name unless 'task:' gives another
  nano-sentiment: {}                  # 'zobench list tasks' shows what there is

methods:
  mezo:
    params: {lr: 5e-4}                # params are literal: one value each
    # sweep: {lr: [1e-4, 5e-4]}       # one leaderboard row per value
    # tune:                           # one row, its value chosen on validation data
    #   space: {lr: [1e-4, 3e-4, 1e-3]}
    #   seeds: [101, 102]
  fzoo: {}
  zero-shot: {method: none, group: control}   # controls stand in every table

attacks:                              # each runs beside its null
  char-typos: {}

seeds: [0, 1]
budget: {forwards: 200, batch_size: 16}   # one forward = the loss on one minibatch
evaluation: {at: [100], test_items: 100, attack_items: 50}
"""
