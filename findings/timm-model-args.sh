#!/usr/bin/env bash
# transformers cannot load a folder that timm 1.0.31 saved
#
# Surprising: timm now writes the arguments of create_model into config.json (`model_args`), num_classes among them even where none was given. transformers, which loads timm's
# folders through its TimmWrapper classes, hands `model_args` on to timm beside a num_classes of its own, and Python refuses the second one: TypeError. The weights
# are whole: without that one entry of config.json the outputs are those of timm, to the bit.
# Who meets it: whoever trains a classifier in timm, saves it in the form of the hub (save_for_hf, push_to_hf_hub) and opens it with AutoModelForImageClassification or a
# pipeline.
# Way out: delete "num_classes" from "model_args" in config.json (the one beside it stays), or load with timm.
# Versions: timm 1.0.31, transformers 5.24.0, torch 2.13.0, torchvision 0.28.0 (Python 3.11). Seen 2026-11-30:
#   resnet10t {}: model_args num_classes 1000
#   transformers: TypeError: got multiple values for keyword argument 'num_classes'
#   without that entry: outputs equal to timm's: True
#   vit_tiny_patch16_224 {'num_classes': 10}: model_args num_classes 10
#   transformers: TypeError: got multiple values for keyword argument 'num_classes'
#   without that entry: outputs equal to timm's: True
# Fails (exit 1) when one of these lines changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# A build of torch for processors alone has a local version, and torchvision's wheel does not fit it.
"$folder/venv/bin/pip" install -q "timm==1.0.31" "transformers==5.24.0" "torch==2.13.0,!=2.13.0+cpu" "torchvision==0.28.0" "numpy==2.4.6"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - 2>log <<'PY' || { tail -5 log; exit 1; }
import json
from pathlib import Path

import timm
import torch
from transformers import AutoModelForImageClassification

for name, settings, classes in (("resnet10t", {}, 1000), ("vit_tiny_patch16_224", {"num_classes": 10}, 10)):
    torch.manual_seed(0)
    module = timm.create_model(name, **settings).eval()
    timm.models.save_for_hf(module, name, safe_serialization=True)
    file = Path(name, "config.json")
    config = json.loads(file.read_text())
    print(f"{name} {settings}: model_args num_classes {config['model_args']['num_classes']}")
    assert config["model_args"]["num_classes"] == classes, "timm writes something else now"
    try:
        AutoModelForImageClassification.from_pretrained(name)
    except TypeError as error:
        told = str(error)
        print("transformers: TypeError:", told[told.index("got multiple") :])
        assert told.endswith("got multiple values for keyword argument 'num_classes'"), "another error"
    else:
        raise SystemExit("transformers loads it now")
    del config["model_args"]["num_classes"]
    file.write_text(json.dumps(config))
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        same = torch.equal(AutoModelForImageClassification.from_pretrained(name).eval()(x).logits, module(x))
    print("without that entry: outputs equal to timm's:", same)
    assert same, "the outputs differ"
PY
