#!/usr/bin/env bash
# lm-eval asks a chat model without the task's instruction if the model's template has no system role, and records the instruction
#
# Surprising: with apply_chat_template, the harness puts the `description` of a task ("Answer with one letter.") into a message of the system. If the template raises an
# error on it, HFLM takes the message out and renders the rest (one line of log at level WARNING for each prompt); if the template simply has no place for such a message,
# nothing is said. The questions are then asked without the instruction, and the recorded configuration holds the description all the same.
# Who meets it: whoever compares chat models by tasks with a description (MMLU's subjects among them) where some have a template without a system role, as
# Gemma 2's or Mistral's early ones: the models do not get the same prompt, and the record says that they do.
# Way out: log_samples and look at the arguments, or write the instruction into doc_to_text.
# Versions: lm-eval 0.4.13, transformers 5.24.0, tokenizers 0.23.3, datasets 5.2.0, torch 2.13.0 (Python 3.11). Seen 2026-11-30:
#   has a system role: '[system]Answer with one letter.\n[user]Is water wet? A yes, B no\n[assistant]'
#   refuses it: '[user]Is water wet? A yes, B no\n[assistant]'
#   leaves it out: '[user]Is water wet? A yes, B no\n[assistant]'
#   recorded description in all three: 'Answer with one letter.'
# Fails (exit 1) when one of these lines changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "lm-eval==0.4.13" "transformers==5.24.0" "tokenizers==0.23.3" "datasets==5.2.0" "torch==2.13.0" "numpy==2.4.6" accelerate
cd "$folder"
mkdir tasks
echo '{"question": "Is water wet? A yes, B no", "answer": 0}' > tasks/rows.jsonl
cat > tasks/wet.yaml <<YAML
task: wet
description: "Answer with one letter."
dataset_path: json
dataset_kwargs:
  data_files:
    test: $folder/tasks/rows.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["A", "B"]
doc_to_target: answer
YAML
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
"$folder/venv/bin/python" - 2>log <<'PY' || { tail -5 log; exit 1; }
import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

alphabet = {letter: number for number, letter in enumerate(["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
raw = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, n_positions=256, vocab_size=len(alphabet))).eval()
write = "{{ '[' + m.role + ']' + m.content + '\n' }}"
end = "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
templates = {
    "has a system role": "{% for m in messages %}" + write + "{% endfor %}" + end,
    "refuses it": "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + write + "{% endfor %}" + end,
    "leaves it out": "{% for m in messages if m.role != 'system' %}" + write + "{% endfor %}" + end,
}
question = "[user]Is water wet? A yes, B no\n[assistant]"
expected = {"has a system role": "[system]Answer with one letter.\n" + question, "refuses it": question, "leaves it out": question}
manager = TaskManager(include_path="tasks", include_defaults=False)
for name, template in templates.items():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<end>", chat_template=template)
    results = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer), tasks=["wet"], task_manager=manager, apply_chat_template=True, fewshot_as_multiturn=True,
        bootstrap_iters=0,
    )
    prompt = results["samples"]["wet"][0]["arguments"][0][0]
    print(f"{name}: {prompt!r}")
    assert prompt == expected[name], "the behaviour has changed"
    recorded = results["configs"]["wet"]["description"]
    assert recorded == "Answer with one letter.", "the record has changed"
print(f"recorded description in all three: {recorded!r}")
PY
