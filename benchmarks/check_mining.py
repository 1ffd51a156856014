"""Compares mined rows with those of sentence-transformers' mine_hard_negatives on the same pairs
and static model.

    target/benchmarks/venv/bin/python benchmarks/check_mining.py \\
        --dataset pairs.jsonl --model STATIC_MODEL

Runs several settings with both and prints for how many queries the rows differ, and in how many of
these ties within 1e-6 explain it (`harness/mined_rows.py` says how). Exits with 1 at any other
difference. `benchmarks/run` makes the environment.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from datasets import Dataset
from harness.mined_rows import compare_mined
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

BINARY = pathlib.Path(__file__).resolve().parent.parent / "target/release/rankforge"
SETTINGS = {
    "notebook": dict(
        num_negatives=5,
        range_min=0,
        range_max=20,
        absolute_margin=0,
        sampling_strategy="top",
        output_format="labeled-pair",
    ),
    "triplet": dict(
        num_negatives=3,
        range_min=2,
        range_max=30,
        relative_margin=0.05,
        max_score=0.9,
        output_format="triplet",
    ),
    "n-tuple": dict(num_negatives=4, min_score=0.1, output_format="n-tuple"),
    "labeled-list": dict(num_negatives=2, absolute_margin=0.1, output_format="labeled-list"),
}


def flags(setting):
    return [
        part
        for name, value in setting.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--columns", default="query,answer")
    options = parser.parse_args()
    anchor, positive = options.columns.split(",")
    rows = [json.loads(line) for line in open(options.dataset)]
    dataset = Dataset.from_list([{name: row[name] for name in (anchor, positive)} for row in rows])
    model = SentenceTransformer(
        options.model, device="cpu"
    ).float()  # the arithmetic is in f32 whatever the file holds

    def encode(texts):
        return model.encode(texts, normalize_embeddings=True)

    failed = False
    for name, setting in SETTINGS.items():
        theirs = mine_hard_negatives(
            dataset,
            model,
            anchor_column_name=anchor,
            positive_column_name=positive,
            batch_size=4096,
            verbose=False,
            **setting,
        )
        theirs = theirs.to_list()
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "mined.jsonl"
            command = [
                BINARY,
                "mine",
                "--dataset",
                options.dataset,
                "--columns",
                options.columns,
                "--model",
                options.model,
                "--output",
                target,
            ]
            subprocess.run(
                [str(part) for part in command] + flags(setting),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            ours = [json.loads(line) for line in target.open()]
        found = compare_mined(encode, rows, (anchor, positive), ours, theirs)
        failed |= bool(found.unexplained)
        print(
            f"{name}: {found.queries} queries, {found.ties + len(found.unexplained)} differ, "
            f"{found.ties} of them by ties",
            flush=True,
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
