"""Checks that a model directory gives the same scores here, in sentence-transformers and in
transformers.

    target/benchmarks/venv/bin/python benchmarks/check_directory.py MODEL PAIRS.jsonl \\
        [--columns query,answer] [--limit 256] [--resave FOLDER]

Scores the pairs with `rankforge predict`, with CrossEncoder(MODEL) and with
AutoModelForSequenceClassification, and prints the largest differences. With --resave, Python saves
the model again into FOLDER and rankforge scores with that one too: the way back. Exits with 1 when
a difference is above 1e-4. `benchmarks/run` makes the environment.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BINARY = pathlib.Path(__file__).resolve().parent.parent / "target/release/rankforge"


def predict(model, rows, columns, folder):
    source, target = pathlib.Path(folder) / "pairs.jsonl", pathlib.Path(folder) / "scores.jsonl"
    source.write_text("".join(json.dumps(dict(zip(columns, row))) + "\n" for row in rows))
    command = [
        BINARY,
        "predict",
        "--model",
        model,
        "--input",
        source,
        "--columns",
        ",".join(columns),
        "--output",
        target,
    ]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return numpy.array([json.loads(line)["score"] for line in target.open()])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("pairs")
    parser.add_argument("--columns", default="query,answer")
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--resave")
    options = parser.parse_args()
    columns = options.columns.split(",")
    rows = []
    for line in open(options.pairs):
        row = json.loads(line)
        rows.append(tuple(row[column] for column in columns))
        if len(rows) == options.limit:
            break

    reference = CrossEncoder(options.model, device="cpu")
    theirs = reference.predict(rows)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    plain = AutoModelForSequenceClassification.from_pretrained(options.model).eval()
    logits = []
    with torch.no_grad():
        for first, second in rows:
            tokens = tokenizer(
                first,
                second,
                truncation="longest_first",
                max_length=reference.max_seq_length,
                return_tensors="pt",
            )
            logits.append(plain(**tokens).logits[0, 0].item())
    activated = reference.activation_fn(torch.tensor(logits)).numpy()

    with tempfile.TemporaryDirectory() as folder:
        ours = predict(options.model, rows, columns, folder)
        differences = {
            "CrossEncoder": numpy.abs(ours - theirs).max(),
            "AutoModelForSequenceClassification": numpy.abs(ours - activated).max(),
        }
        if options.resave:
            reference.save_pretrained(options.resave)
            differences["saved again by Python"] = numpy.abs(
                predict(options.resave, rows, columns, folder) - theirs
            ).max()
    print(f"{len(rows)} pairs, scores from {ours.min():.4f} to {ours.max():.4f}")
    for name, difference in differences.items():
        print(f"largest difference to {name}: {difference:.2e}")
    sys.exit(max(differences.values()) > 1e-4)


if __name__ == "__main__":
    main()
