"""Rows that score pairs with a reranker."""

import dataclasses
import json
import math
import statistics

from harness.arithmetic import useful_operations
from harness.bench import Run
from harness.commands import RowFailed
from harness.data import read_rows, text_tokenizer, write_rows

MAX_LENGTH = 512
MODEL = "minilm-scorer"

# Largest difference of a score in 0..1. In bf16 both sides round at places of their own.
SCORE_TOLERANCE = {"fp32": 1e-5, "bf16": 5e-2}
# Largest root mean square of the differences, as a share of the standard deviation of the scores.
# Scores that are all equal, or in another order, differ by at least one such deviation.
DIFFERENT_SHARE = {"fp32": 1e-3, "bf16": 0.1}


@dataclasses.dataclass
class Predict:
    """Scores pairs. Ours is the whole process, theirs the call alone: the comparison is against us
    by our start."""

    name: str
    title: str
    precision: str
    target: float
    pairs: int
    memory_target: float | None = None
    unit: str = "pairs/s"

    def prepare(self, bench, folder):
        model = bench.models.made(MODEL)
        count = bench.size(self.pairs, 128)
        labeled, lengths = bench.corpus.labeled_pairs(
            text_tokenizer(model, MAX_LENGTH), count, seed=1
        )
        self.input = folder / "pairs.jsonl"
        write_rows(
            self.input, [{"query": question, "answer": passage} for question, passage, _ in labeled]
        )
        detail = f"{count} pairs of {statistics.mean(lengths):.0f} tokens"
        return count, useful_operations(model, lengths, training=False), detail

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        output = folder / "scores.jsonl"
        arguments = [
            "predict",
            "--model",
            bench.models.made(MODEL),
            "--input",
            self.input,
            "--columns",
            "query,answer",
        ]
        if self.precision != "fp32":
            arguments += ["--precision", self.precision]
        measured = bench.sides.ours(
            [*arguments, "--max-length", MAX_LENGTH, "--output", output], folder, self.precision
        )
        return Run(measured.wall_seconds, measured), [row["score"] for row in read_rows(output)]

    def theirs(self, bench, folder):
        folder.mkdir()
        job = {"work": "predict", "model": bench.models.made(MODEL), "pairs": self.input}
        result, measured = bench.sides.theirs(
            {**job, "max_length": MAX_LENGTH, "precision": self.precision}, folder
        )
        return Run(result["seconds"], measured), result["scores"]

    def check(self, ours, theirs):
        return same_scores(ours, theirs, self.precision)


@dataclasses.dataclass
class Rank:
    """Loads a reranker and ranks passages for one query, from start to end of the process."""

    name: str
    title: str
    target: float
    passages: int
    precision: str = "fp32"
    memory_target: float | None = None
    unit: str = "processes/s"

    def prepare(self, bench, folder):
        model = bench.models.made(MODEL)
        labeled, lengths = bench.corpus.labeled_pairs(
            text_tokenizer(model, MAX_LENGTH), self.passages, seed=2
        )
        self.query, self.documents = labeled[0][0], folder / "passages.txt"
        # One passage a line, so no line breaks within.
        self.documents.write_text(
            "".join(" ".join(passage.split()) + "\n" for _, passage, _ in labeled)
        )
        return 1, None, f"one query, {self.passages} passages"

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        arguments = [
            "rank",
            "--json",
            "--model",
            bench.models.made(MODEL),
            "--query",
            self.query,
            "--documents",
            self.documents,
        ]
        measured = bench.sides.ours(
            [*arguments, "--top-k", self.passages, "--max-length", MAX_LENGTH], folder
        )
        ranking = json.loads((folder / "ours.stdout").read_text())
        return Run(measured.wall_seconds, measured), [
            (ranked["corpus_id"], ranked["score"]) for ranked in ranking
        ]

    def theirs(self, bench, folder):
        folder.mkdir()
        job = {
            "work": "rank",
            "model": bench.models.made(MODEL),
            "query": self.query,
            "documents": self.documents,
        }
        result, measured = bench.sides.theirs(
            {**job, "max_length": MAX_LENGTH, "precision": self.precision}, folder
        )
        return Run(measured.wall_seconds, measured), result["ranking"]

    def check(self, ours, theirs):
        """The same scores by passage; then the order can differ where scores tie only."""
        if sorted(number for number, _ in ours) != sorted(number for number, _ in theirs):
            raise RowFailed(f"other passages: {ours} and {theirs}")
        scores = dict(theirs)
        return same_scores(
            [score for _, score in ours],
            [scores[number] for number, _ in ours],
            self.precision,
        )


def same_scores(ours, theirs, precision):
    """Says how far the scores differ.

    Raises:
        RowFailed: One differs by more than the tolerance, or together they differ by too large a
            share of their deviation, as they do where the scores are nearly constant: then nothing
            is shown.
    """
    if len(ours) != len(theirs):
        raise RowFailed(f"{len(ours)} scores here, {len(theirs)} there")
    differences = [abs(a - b) for a, b in zip(ours, theirs)]
    tolerance, most = SCORE_TOLERANCE[precision], DIFFERENT_SHARE[precision]
    worst = math.nan if any(map(math.isnan, differences)) else max(differences)
    if not worst <= tolerance:
        raise RowFailed(f"scores differ by {worst:.1e}, more than {tolerance:.0e}")
    deviation = statistics.pstdev(theirs)
    together = math.sqrt(statistics.mean(difference**2 for difference in differences))
    share = together / deviation if deviation else math.inf
    if not share <= most:
        raise RowFailed(
            f"scores of deviation {deviation:.1e} differ by a share of {share:.1e} of it, "
            f"more than {most:.0e}"
        )
    return (
        f"scores within {worst:.1e} (at most {tolerance:.0e}), together within {share:.1e} "
        f"(at most {most:.0e}) of their deviation, {deviation:.2f}"
    )
