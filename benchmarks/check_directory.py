"""Checks that a model directory gives the same scores or embeddings here and in Python.

    target/benchmarks/venv/bin/python benchmarks/check_directory.py MODEL ROWS.jsonl \\
        [--columns query,answer] [--limit 256] [--resave FOLDER] [--binary FILE]

A reranker: scores the pairs with `rankforge predict`, with CrossEncoder(MODEL) and with
AutoModelForSequenceClassification, and prints the largest differences; 1e-4 is too much. A dual
encoder: embeds the texts of the columns with `rankforge encode`, as texts, as queries and as
documents, and with SentenceTransformer(MODEL), and prints the largest cosine distances; 1e-5 is too
much. With --resave, Python saves the model again into FOLDER and rankforge is compared with that
one too: the way back. Exits with 1 when a difference is too large. `benchmarks/run` makes the
environment.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BINARY = pathlib.Path(__file__).resolve().parent.parent / "target/release/rankforge"


def run(binary, *arguments):
    command = [str(argument) for argument in (binary, *arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write(path, columns, rows):
    path.write_text("".join(json.dumps(dict(zip(columns, row))) + "\n" for row in rows))


def predict(binary, model, rows, columns, folder):
    source, target = folder / "pairs.jsonl", folder / "scores.jsonl"
    write(source, columns, rows)
    files = ("--input", source, "--output", target)
    run(binary, "predict", "--model", model, "--columns", ",".join(columns), *files)
    return numpy.array([json.loads(line)["score"] for line in target.open()])


def check_reranker(options, rows, columns, folder):
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
    ours = predict(options.binary, options.model, rows, columns, folder)
    print(f"{len(rows)} pairs, scores from {ours.min():.4f} to {ours.max():.4f}")
    differences = {
        "CrossEncoder": numpy.abs(ours - theirs).max(),
        "AutoModelForSequenceClassification": numpy.abs(ours - activated).max(),
    }
    if options.resave:
        reference.save_pretrained(options.resave)
        again = predict(options.binary, options.resave, rows, columns, folder)
        differences["saved again by Python"] = numpy.abs(again - theirs).max()
    return differences, 1e-4


def encode(binary, model, texts, encode_as, folder):
    source, target = folder / "texts.jsonl", folder / "embeddings.npy"
    write(source, ["text"], [(text,) for text in texts])
    files = ("--input", source, "--column", "text", "--output", target)
    run(binary, "encode", "--model", model, "--encode-as", encode_as, *files)
    return numpy.load(target)


def distance(ours, theirs):
    if ours.shape != theirs.shape:
        sys.exit(f"embeddings of the shapes {ours.shape} here and {theirs.shape} in Python")
    a, b = ours.astype(numpy.float64), theirs.astype(numpy.float64)
    norms = numpy.linalg.norm(a, axis=1) * numpy.linalg.norm(b, axis=1)
    kept = norms > 0
    if not numpy.array_equal(a[~kept], b[~kept]):
        sys.exit("an embedding is zero on one side only")
    return (1 - (a * b).sum(axis=1)[kept] / norms[kept]).max()


def check_dual_encoder(options, rows, folder):
    texts = [text for row in rows for text in row]
    reference = SentenceTransformer(options.model, device="cpu")
    ways = {
        "text": reference.encode,
        "query": reference.encode_query,
        "document": reference.encode_document,
    }
    differences = {}
    for name, way in ways.items():
        theirs = way(texts)
        ours = encode(options.binary, options.model, texts, name, folder)
        differences[f"SentenceTransformer, encoded as {name}"] = distance(ours, theirs)
    print(f"{len(texts)} texts, {ours.shape[1]} dimensions, prompts {reference.prompts}")
    if options.resave:
        reference.save_pretrained(options.resave)
        again = encode(options.binary, options.resave, texts, "document", folder)
        differences["saved again by Python"] = distance(again, theirs)
    return differences, 1e-5


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("--columns", default="query,answer")
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--resave")
    parser.add_argument("--binary", default=BINARY)
    options = parser.parse_args()
    columns = options.columns.split(",")
    rows = []
    for line in open(options.rows):
        row = json.loads(line)
        rows.append(tuple(row[column] for column in columns))
        if len(rows) == options.limit:
            break
    kind = json.loads(run(options.binary, "info", options.model, "--json"))["type"]
    with tempfile.TemporaryDirectory() as folder:
        if kind == "CrossEncoder":
            found = check_reranker(options, rows, columns, pathlib.Path(folder))
        else:
            found = check_dual_encoder(options, rows, pathlib.Path(folder))
    differences, allowed = found
    for name, difference in differences.items():
        print(f"largest difference to {name}: {difference:.2e}")
    sys.exit(int(max(differences.values()) > allowed))


if __name__ == "__main__":
    main()
