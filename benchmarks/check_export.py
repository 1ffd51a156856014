"""Checks that FAISS and LanceDB find in an exported index what rankforge finds.

    python benchmarks/check_export.py --model MODEL --dataset BEIR_FOLDER [--rankforge BINARY]

Needs faiss-cpu, lancedb, pyarrow and numpy. Builds an index of the corpus, exports it as npy and as
parquet, loads these as docs/INDEX.md shows, and compares the ten best texts of 50 queries. Texts
whose scores differ by less than 1e-5 may change places.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import faiss
import lancedb
import numpy as np
import pyarrow.parquet

QUERIES = 50
TOP_K = 10
TIE = 1e-5


def run(arguments):
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def compare(engine, expected, found):
    """Compares rankings of (id, score); raises where they differ by more than ties."""
    worst = 0.0
    for query, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        scores = dict(ours)
        for place, ((our_id, our_score), (their_id, their_score)) in enumerate(
            zip(ours, theirs, strict=True)
        ):
            worst = max(worst, abs(our_score - their_score))
            if abs(our_score - their_score) > TIE:
                sys.exit(f"{engine}, query {query}, rank {place + 1}: {our_score} {their_score}")
            if our_id != their_id and abs(scores.get(their_id, our_score) - our_score) > TIE:
                sys.exit(f"{engine}, query {query}, rank {place + 1}: {our_id} {their_id}")
    print(f"{engine}: {len(expected)} queries alike, scores within {worst:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="a dual encoder that compares by cosine")
    parser.add_argument("--dataset", required=True, type=Path, help="a BEIR folder")
    parser.add_argument("--rankforge", default="target/release/rankforge")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check(options, Path(folder))


def check(options, folder):
    rankforge, index = options.rankforge, folder / "index"
    dataset = ["--dataset", options.dataset]
    run([rankforge, "index", "--model", options.model, *dataset, "--output", index])
    queries = lines(options.dataset / "queries.jsonl")[:QUERIES]
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    found = run(
        [rankforge, "search", "--index", index, "--queries", folder / "queries.jsonl", "--json"]
        + ["--top-k", str(TOP_K)]
    )
    results = [json.loads(line)["results"] for line in found.splitlines()]
    expected = [[(row["id"], row["score"]) for row in rows] for rows in results]
    encode = [rankforge, "encode", "--model", options.model, "--encode-as", "query"]
    source = ["--input", folder / "queries.jsonl", "--column", "text"]
    run(encode + source + ["--output", folder / "queries.npy"])
    query_vectors = np.load(folder / "queries.npy")
    faiss.normalize_L2(query_vectors)

    npy, parquet = folder / "npy", folder / "index.parquet"
    for form, output in [("npy", npy), ("parquet", parquet)]:
        run([rankforge, "export-index", "--index", index, "--format", form, "--output", output])

    vectors = np.load(npy / "vectors.npy")
    ids = [row["_id"] for row in lines(npy / "rows.jsonl")]
    faiss.normalize_L2(vectors)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    scores, places = flat.search(query_vectors, TOP_K)
    in_faiss = [
        [(ids[place], float(score)) for place, score in zip(*row, strict=True)]
        for row in zip(places, scores, strict=True)
    ]
    compare("faiss", expected, in_faiss)

    table = pyarrow.parquet.read_table(parquet)
    print("parquet:", ", ".join(f"{field.name}: {field.type}" for field in table.schema))
    assert table.column("id").to_pylist() == ids
    lance = lancedb.connect(folder / "lance").create_table("texts", table)
    in_lance = []
    for vector in query_vectors:
        rows = lance.search(vector).distance_type("cosine").limit(TOP_K).to_list()
        in_lance.append([(row["id"], 1.0 - row["_distance"]) for row in rows])
    compare("lancedb", expected, in_lance)


if __name__ == "__main__":
    main()
