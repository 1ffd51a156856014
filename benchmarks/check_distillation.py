"""Compares `rankforge distill-static` with model2vec, by nDCG@10 and row by row.

    python benchmarks/check_distillation.py --model TEACHER --dataset BEIR_FOLDER
        [--dimension 256] [--rankforge BINARY]

Needs model2vec with its extra "distill" (0.10.0). Both distil the same teacher; `rankforge evaluate
retrieval` measures both, and the vectors of each token are compared by their cosines. model2vec
cuts texts at 512 tokens, and so does rankforge for the comparison.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from model2vec.distill import distill
from safetensors.numpy import load_file

NEAREST = 0.9999
DIFFERENCE = 0.0005
LENGTH = "512"


def table(folder):
    """The vectors of a model by token."""
    vectors = load_file(folder / "model.safetensors")["embeddings"]
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
    return {token: vectors[index].astype(np.float64) for token, index in vocabulary.items()}


def quality(rankforge, folder, dataset, *options):
    command = [rankforge, "evaluate", "retrieval", "--model", folder, "--dataset", dataset]
    command = [*command, "--json", *options]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    metrics = json.loads(found.stdout)
    metrics = metrics.get("metrics", metrics)
    return next(value for name, value in metrics.items() if name.endswith("ndcg@10"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True, type=Path, help="the teacher")
    parser.add_argument("--dataset", required=True, type=Path, help="a BEIR folder")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--rankforge", default="target/release/rankforge")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check(options, Path(folder))


def check(options, folder):
    ours, theirs = folder / "rankforge", folder / "model2vec"
    dimension = str(options.dimension)
    command = [options.rankforge, "distill-static", "--model", options.model, "--output", ours]
    begun = time.perf_counter()
    subprocess.run([*command, "--dimension", dimension], check=True, stdout=subprocess.DEVNULL)
    middle = time.perf_counter()
    model = distill(
        str(options.model), device="cpu", pca_dims=options.dimension, quantize_to="float32"
    )
    model.save_pretrained(str(theirs))
    ended = time.perf_counter()
    print(f"rankforge {middle - begun:.1f} s (a process), model2vec {ended - middle:.1f} s")
    a, b = table(ours), table(theirs)
    if a.keys() != b.keys():
        sys.exit(f"{len(a.keys() ^ b.keys())} tokens are in one model only")
    cosines = [
        a[token] @ b[token] / max(np.linalg.norm(a[token]) * np.linalg.norm(b[token]), 1e-30)
        for token in a
    ]
    print(f"{len(a)} tokens: cosines at least {min(cosines):.6f}, mean {np.mean(cosines):.6f}")
    measured = [options.rankforge, ours, options.dataset]
    whole, cut = quality(*measured), quality(*measured, "--max-length", LENGTH)
    measured[1] = theirs
    scores = [cut, quality(*measured)]
    print(f"nDCG@10: rankforge {cut:.6f} (whole texts: {whole:.6f}), model2vec {scores[1]:.6f}")
    if np.mean(cosines) < NEAREST or abs(scores[0] - scores[1]) > DIFFERENCE:
        sys.exit("the models differ")


main()
