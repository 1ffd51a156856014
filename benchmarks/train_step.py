"""Training steps of rankforge and of sentence-transformers on the same machine, in turns.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install sentence-transformers==6.2.0 torch==2.15.0 transformers==5.23.0 datasets==5.2.0 accelerate
    cargo build --release
    /tmp/peers/bin/python benchmarks/train_step.py --model all-MiniLM-L6-v2 --pairs pairs.jsonl --steps 20 --runs 3

Both train the same model directory on the same labeled pairs (query, answer, label) with
BinaryCrossEntropyLoss, the same batch size and arguments, as whole processes, A B A B ... Each run
reports its own steps per second after the model is loaded (the Trainer's train_steps_per_second)
and its peak memory as the operating system counted it. The table gives minimum, median and maximum,
and the ratio of each pair of runs.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

RECIPE = """
[model]
path = "{model}"
num_labels = 1
max_length = {max_length}

[dataset]
path = "{pairs}"

[loss]
name = "BinaryCrossEntropyLoss"

[arguments]
output_dir = "{output}"
max_steps = {steps}
per_device_train_batch_size = {batch_size}
learning_rate = 2e-5
warmup_steps = 0.1
logging_steps = 5
save_strategy = "no"
seed = 12
"""


def theirs(options):
    """One run of sentence-transformers, in this process."""
    import datasets
    import torch
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
    )
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    torch.set_num_threads(options.threads)
    model = CrossEncoder(options.model, num_labels=1, max_length=options.max_length, device="cpu")
    rows = datasets.load_dataset("json", data_files=options.pairs, split="train")
    arguments = CrossEncoderTrainingArguments(
        output_dir=options.output,
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        learning_rate=2e-5,
        warmup_steps=0.1,
        logging_steps=5,
        save_strategy="no",
        seed=12,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=rows, loss=BinaryCrossEntropyLoss(model)
    )
    result = trainer.train()
    losses = [record["loss"] for record in trainer.state.log_history if "loss" in record]
    print("RESULT " + json.dumps({"steps_per_second": options.steps / result.metrics["train_runtime"], "losses": losses}))


def measure(command, environment):
    """Runs a command; its output and its peak memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed:\n{output}")
    return output, usage.ru_maxrss / 1024


def run_theirs(options, folder):
    command = [sys.executable, __file__, "--theirs", "--output", f"{folder}/theirs"]
    for name in ("model", "pairs", "steps", "batch_size", "max_length", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    output, memory = measure(command, {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"})
    result = json.loads(re.search(r"^RESULT (.*)$", output, re.M).group(1))
    return result["steps_per_second"], memory, result["losses"]


def run_ours(options, folder):
    recipe = pathlib.Path(folder) / "recipe.toml"
    fields = {name: getattr(options, name) for name in ("model", "pairs", "steps", "batch_size", "max_length")}
    recipe.write_text(RECIPE.format(output=f"{folder}/ours", **fields))
    command = [str(ROOT / "target/release/rankforge"), "--threads", str(options.threads), "--json", "train", str(recipe)]
    output, memory = measure(command, os.environ)
    state = json.loads((pathlib.Path(folder) / "ours/trainer_state.json").read_text())
    history = state["log_history"]
    runtime = next(record["train_runtime"] for record in history if "train_runtime" in record)
    return options.steps / runtime, memory, [record["loss"] for record in history if "loss" in record]


def spread(values, digits=2):
    return f"{min(values):.{digits}f} / {statistics.median(values):.{digits}f} / {max(values):.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.model = str(pathlib.Path(options.model).resolve())
    options.pairs = str(pathlib.Path(options.pairs).resolve())
    if options.theirs:
        return theirs(options)
    ours, peers = [], []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(run_ours(options, folder))
            peers.append(run_theirs(options, folder))
        print(f"run {run + 1}: rankforge {ours[-1][0]:.3f} steps/s, sentence-transformers {peers[-1][0]:.3f} steps/s", flush=True)
    pairs = [options.batch_size * run[0] for run in ours], [options.batch_size * run[0] for run in peers]
    print(f"{'':24}{'rankforge':>24}{'sentence-transformers':>26}")
    print(f"{'pairs/s min/med/max':24}{spread(pairs[0]):>24}{spread(pairs[1]):>26}")
    print(f"{'peak memory, MiB':24}{spread([r[1] for r in ours], 0):>24}{spread([r[1] for r in peers], 0):>26}")
    print(f"{'speed ratio':24}{spread([a / b for a, b in zip(*pairs)]):>24}")
    print(f"losses, rankforge:             {ours[0][2]}")
    print(f"losses, sentence-transformers: {peers[0][2]}")


if __name__ == "__main__":
    main()
