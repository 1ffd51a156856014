"""Checks that every loss of rerankers trains a tiny model as it does in Python: the loss of ten
steps, whole and with gradient caching.

    target/benchmarks/venv/bin/python benchmarks/check_losses.py [--binary FILE]

A step sees all rows, so that their order does not matter, and there is no dropout. Python computes
the losses of sentence-transformers and steps as transformers' Trainer does: gradients clipped to a
norm of 1, AdamW, a constant learning rate. Prints the largest relative difference of each loss, and
the largest difference of the logits of the saved model, opened in Python; exits with 1 when one is
above 1e-4. `benchmarks/run` makes the environment.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from sentence_transformers.cross_encoder import CrossEncoder, losses
from sentence_transformers.cross_encoder.losses import lambda_loss

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "crates/rankforge-encoder/tests/fixtures/layouts"
STEPS, ROWS, RATE = 10, 8, 2e-3
TOLERANCE = 1e-4
OF_DIFFERENCES = {
    "ADRMSELoss",
    "LambdaLoss",
    "ListMLELoss",
    "ListNetLoss",
    "MarginMSELoss",
    "MultipleNegativesRankingLoss",
    "CachedMultipleNegativesRankingLoss",
    "PListMLELoss",
    "RankNetLoss",
}
WORDS = "the of what is a where does red green river stone house bird city end".split()
# A reranker of a transformer, pooling, dense layers and a layer norm.
MODULAR = "modular"
SCHEMES = ["NoWeighting", "NDCGLoss1", "NDCGLoss2", "LambdaRank", "NDCGLoss2PP"]


def text(seed):
    length = 3 + seed % 5
    return " ".join(
        WORDS[(seed * 7 + index * (1 + seed % 3)) % len(WORDS)] for index in range(length)
    )


def rows(columns, label=None):
    made = []
    for row in range(ROWS):
        values = {"query": text(row)}
        for column in range(columns):
            values[f"text{column}"] = text(100 + row * 10 + column)
        if label is not None:
            values["label"] = label(row)
        made.append(values)
    return made


def lists(label):
    sizes = [1 + row % 4 for row in range(ROWS)]
    return [
        {
            "query": text(row),
            "documents": [text(100 + row * 10 + index) for index in range(size)],
            "labels": [label(row, index) for index in range(size)],
        }
        for row, size in enumerate(sizes)
    ]


def cases():
    """Name, settings, rows and model of each case."""
    graded = rows(1, lambda row: (row * 5 % 7) / 6)
    mined = lists(lambda row, index: int(index == 0))
    teacher = lists(lambda row, index: ((row * 7 + index * 5) % 11) / 4 - 0.5)
    yield "BinaryCrossEntropyLoss", {"pos_weight": 3.0}, graded, 1
    yield "CrossEntropyLoss", {}, rows(1, lambda row: row % 3), 3
    yield "CrossEntropyLoss", {"label_smoothing": 0.1}, rows(1, lambda row: row % 3), 3
    for loss in ["MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"]:
        yield loss, {"num_negatives": None}, rows(2), 1
    yield "MSELoss", {"activation_fn": "Sigmoid"}, graded, 1
    yield "MarginMSELoss", {}, rows(2, lambda row: row % 4 - 1.5), 1
    yield "MarginMSELoss", {}, rows(3, lambda row: [row % 4, 0.5, -1.0]), 1
    for data in [mined, teacher]:
        for scheme in SCHEMES:
            yield "LambdaLoss", {"weighting_scheme": f"{scheme}Scheme", "k": 2}, data, 1
        yield "LambdaLoss", {}, data, 1
        yield "RankNetLoss", {}, data, 1
        yield "ListNetLoss", {}, data, 1
        yield "ADRMSELoss", {}, data, 1
        for order in [True, False]:
            yield "ListMLELoss", {"respect_input_order": order}, data, 1
            yield "PListMLELoss", {"respect_input_order": order}, data, 1
    yield "BinaryCrossEntropyLoss", {}, graded, MODULAR
    yield "MarginMSELoss", {}, rows(3, lambda row: [row % 4, 0.5, -1.0]), MODULAR
    yield "LambdaLoss", {}, mined, MODULAR


def python_curve(folder, name, settings, data):
    made = dict(settings)
    if "weighting_scheme" in made:
        made["weighting_scheme"] = getattr(lambda_loss, made["weighting_scheme"])()
    if "activation_fn" in made:
        made["activation_fn"] = getattr(torch.nn, made["activation_fn"])()
    if "pos_weight" in made:
        made["pos_weight"] = torch.tensor(made["pos_weight"])
    model = CrossEncoder(str(folder), device="cpu")
    loss = getattr(losses, name)(model, **made)
    labels = [key for key in data[0] if key in ("label", "labels")]
    columns = [[row[key] for row in data] for key in data[0] if key not in labels]
    targets = None
    if labels:
        values = [row[labels[0]] for row in data]
        ragged = isinstance(values[0], list)
        targets = [torch.tensor(own) for own in values] if ragged else torch.tensor(values)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    model.train()
    curve = []
    for _ in range(STEPS):
        value = loss(columns, targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        curve.append(value.item())
    return curve, model


def rankforge_curve(binary, folder, name, settings, data, chunk, work):
    (work / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    options = {key: "none" if value is None else value for key, value in settings.items()}
    if chunk is not None:
        options["mini_batch_size"] = chunk
    arguments = {
        "output_dir": str(work / "run"),
        "max_steps": STEPS,
        "per_device_train_batch_size": ROWS,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_steps": STEPS,
    }
    sections = {
        "model": {"path": str(folder)},
        "dataset": {"path": str(work / "data.jsonl")},
        "loss": {"name": name, **options},
        "arguments": arguments,
    }
    recipe = "".join(
        f"[{section}]\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())
        for section, fields in sections.items()
    )
    (work / "recipe.toml").write_text(recipe)
    command = [str(binary), "train", str(work / "recipe.toml"), "--quiet"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    state = work / f"run/checkpoint-{STEPS}/trainer_state.json"
    log = json.loads(state.read_text())["log_history"]
    return [record["loss"] for record in log if "loss" in record]


def start(labels, folder):
    """A model without dropout, which both sides open: made of modules, or with a classifier of so
    many labels."""
    if labels == MODULAR:
        shutil.copytree(MODELS / "ce_modular", folder)
        config = json.loads((folder / "config.json").read_text())
        config["hidden_dropout_prob"] = config["attention_probs_dropout_prob"] = 0.0
        (folder / "config.json").write_text(json.dumps(config))
        return folder
    source = MODELS / ("ce_plain" if labels == 1 else "ce_labels")
    model = CrossEncoder(str(source), num_labels=labels, device="cpu")
    config = model.config
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    config.classifier_dropout = None
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def difference_of_scores(trained, checkpoint, name):
    """How far the logits of the model that rankforge saved, opened in Python, are off.

    Losses of differences do not determine what all logits have in common: the gradient of the
    classifier's bias is zero but for rounding, which AdamW scales to whole steps. It is left out.
    """
    pairs = [(text(row), text(100 + 10 * row)) for row in range(ROWS)]
    opened = CrossEncoder(str(checkpoint), device="cpu")
    logits = [
        model.predict(pairs, activation_fn=torch.nn.Identity()) for model in (trained, opened)
    ]
    if name in OF_DIFFERENCES:
        logits = [each - each.mean() for each in logits]
    return float(abs(logits[0] - logits[1]).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", default=ROOT / "target/release/rankforge")
    arguments = parser.parse_args()
    worst = worst_scores = 0.0
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        models = {labels: start(labels, place / f"model-{labels}") for labels in (1, 3, MODULAR)}
        for index, (name, settings, data, labels) in enumerate(cases()):
            expected, trained = python_curve(models[labels], name, settings, data)
            for chunk in (None, 3):
                work = place / f"{index}-{chunk}"
                work.mkdir()
                found = rankforge_curve(
                    arguments.binary, models[labels], name, settings, data, chunk, work
                )
                assert len(found) == STEPS, found
                pairs = zip(found, expected, strict=True)
                off = max(abs(a - b) / max(abs(b), 1e-3) for a, b in pairs)
                worst = max(worst, off)
                scores = difference_of_scores(trained, work / f"run/checkpoint-{STEPS}", name)
                worst_scores = max(worst_scores, scores)
                chunks = "whole" if chunk is None else f"chunks of {chunk}"
                print(
                    f"{name} {json.dumps(settings)}, {chunks}: {off:.1e}"
                    f" ({expected[0]:.4f} -> {expected[-1]:.4f}), scores {scores:.1e}"
                )
    print(f"largest difference of losses: {worst:.1e}, of scores: {worst_scores:.1e}")
    sys.exit(max(worst, worst_scores) > TOLERANCE)


main()
