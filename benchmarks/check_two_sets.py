"""Checks that training on two data sets with two losses is that of sentence-transformers, by step.

    target/benchmarks/venv/bin/python benchmarks/check_two_sets.py MODEL \\
        [--binary FILE] [--steps 10]

MODEL is a dual encoder such as all-MiniLM-L6-v2. Both sides train a copy of it without dropout, in
turns, on pairs (MultipleNegativesRankingLoss, with a prompt) and on scored pairs (CoSENTLoss), with
a warm-up and weight decay, and compute the evaluation losses of two sets after every second step.
A batch is a whole set, so that the order of rows has no part in it. Prints the losses of each step
and evaluation and the largest difference; more than 1e-3 of a loss, or 1e-5 between cosines of
embeddings by the trained models, is too much. `benchmarks/run` makes the environment.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
from sentence_transformers.sentence_transformer import losses

BINARY = pathlib.Path(__file__).resolve().parent.parent / "target/release/rankforge"
ROWS = 16
THINGS = ["river", "stone", "garden", "engine", "letter", "window", "bridge", "candle"]
PLACES = ["by the sea", "in the north", "under snow", "after rain"]
RECIPE = """
[model]
kind = "dual-encoder"
path = "model"
[datasets.pairs]
path = "pairs.jsonl"
prompts = "query: "
loss = { name = "MultipleNegativesRankingLoss" }
[datasets.scored]
path = "scored.jsonl"
loss = { name = "CoSENTLoss" }
[eval_datasets.pairs]
path = "pairs-eval.jsonl"
prompts = "query: "
[eval_datasets.scored]
path = "scored-eval.jsonl"
"""


def text(number, start):
    thing, place = THINGS[number % len(THINGS)], PLACES[number // len(THINGS) % len(PLACES)]
    return f"{start} {thing} {place} {number % 5}"


def pairs(first):
    rows = range(first, first + ROWS)
    return {
        "anchor": [text(row, "where is the") for row in rows],
        "positive": [text(row, "everybody knows the") for row in rows],
    }


def scored(first):
    rows = range(first, first + ROWS)
    return {
        "sentence1": [text(row, "a") for row in rows],
        "sentence2": [text(row * 3 + 1, "the") for row in rows],
        "score": [(row * 7 % 11) / 10 for row in rows],
    }


def write(path, columns):
    rows = (dict(zip(columns, values)) for values in zip(*columns.values()))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def without_dropout(model, folder):
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))


def arguments(options):
    return {
        "max_steps": options.steps,
        "per_device_train_batch_size": ROWS,
        "per_device_eval_batch_size": ROWS,
        "learning_rate": 1e-4,
        "warmup_steps": 2,
        "weight_decay": 0.01,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "no",
        "multi_dataset_batch_sampler": "round_robin",
    }


def ours(options, folder):
    values = arguments(options) | {"output_dir": "ours"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (folder / "recipe.toml").write_text(RECIPE + "[arguments]\n" + "\n".join(lines) + "\n")
    command = [options.binary.resolve(), "train", "recipe.toml", "--quiet"]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return json.loads((folder / "ours/trainer_state.json").read_text())["log_history"]


def theirs(options, folder, data):
    model = SentenceTransformer(str(folder / "model"), device="cpu")
    mnrl = losses.MultipleNegativesRankingLoss(model)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=Arguments(
            output_dir=str(folder / "theirs"),
            prompts={"pairs": "query: "},
            disable_tqdm=True,
            use_cpu=True,
            **arguments(options),
        ),
        train_dataset=data["train"],
        eval_dataset=data["eval"],
        loss={"pairs": mnrl, "scored": losses.CoSENTLoss(model)},
    )
    trainer.train()
    model.save(str(folder / "theirs/final"))
    return trainer.state.log_history


def figures(log):
    """Losses of steps and evaluations, by step and key."""
    found = {}
    for record in log:
        for key in ("loss", "eval_pairs_loss", "eval_scored_loss", "learning_rate", "grad_norm"):
            if key in record:
                found[record["step"], key] = record[key]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        without_dropout(options.model, folder / "model")
        data = {
            "train": {"pairs": pairs(0), "scored": scored(0)},
            "eval": {"pairs": pairs(40), "scored": scored(40)},
        }
        for name, columns in data["train"].items():
            write(folder / f"{name}.jsonl", columns)
            write(folder / f"{name}-eval.jsonl", data["eval"][name])
        data = {
            kind: DatasetDict({name: Dataset.from_dict(rows) for name, rows in sets.items()})
            for kind, sets in data.items()
        }
        left, right = figures(ours(options, folder)), figures(theirs(options, folder, data))
        assert left.keys() == right.keys(), left.keys() ^ right.keys()
        worst = 0.0
        for (step, key), value in sorted(left.items()):
            other = right[step, key]
            difference = abs(value - other) / max(abs(other), 1e-6)
            worst = max(worst, difference)
            print(f"step {step:2} {key:17} {value:.6f} {other:.6f} {difference:.1e}")
        texts = [text(row, "tell me of the") for row in range(64)]
        embeddings = [
            SentenceTransformer(str(folder / path), device="cpu").encode(
                texts, normalize_embeddings=True
            )
            for path in ("ours/final", "theirs/final")
        ]
        distance = float(numpy.max(1 - numpy.sum(embeddings[0] * embeddings[1], axis=1)))
        print(f"largest difference {worst:.1e} of a figure, {distance:.1e} between embeddings")
        sys.exit(worst > 1e-3 or distance > 1e-5)


if __name__ == "__main__":
    main()
