"""Rows of the first stage: mining and static embeddings."""

import dataclasses

from harness.bench import Run
from harness.commands import RowFailed
from harness.data import ABSTRACT_WORDS, read_rows, write_rows
from harness.mined_rows import compare_mined, static_encoder

SETTINGS = {
    "num_negatives": 5,
    "range_min": 0,
    "range_max": 20,
    "absolute_margin": 0,
    "sampling_strategy": "top",
    "batch_size": 4096,
    "output_format": "labeled-pair",
}
EMBEDDING_TOLERANCE = 1e-5
ENCODE_BATCH_SIZE = 32


@dataclasses.dataclass
class Mine:
    """Mines hard negatives with a static model, from the process's start to the rows on disk."""

    name: str
    title: str
    target: float
    memory_target: float
    pairs: int
    precision: str = "fp32"
    unit: str = "pairs/s"

    def prepare(self, bench, folder):
        self.model = bench.models.pretrained("wordllama-256")
        self.rows = [
            {"query": query, "answer": answer}
            for query, answer in bench.corpus.sample_pairs(bench.size(self.pairs, 2000))
        ]
        self.input = folder / "pairs.jsonl"
        write_rows(self.input, self.rows)
        return len(self.rows), None, f"{len(self.rows)} pairs"

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        output = folder / "mined.jsonl"
        flags = [
            part
            for name, value in SETTINGS.items()
            for part in (f"--{name.replace('_', '-')}", value)
        ]
        arguments = [
            "mine",
            "--dataset",
            self.input,
            "--columns",
            "query,answer",
            "--model",
            self.model,
            "--output",
            output,
        ]
        measured = bench.sides.ours(arguments + flags, folder)
        return Run(measured.wall_seconds, measured), output

    def theirs(self, bench, folder):
        folder.mkdir()
        output = folder / "mined.jsonl"
        job = {
            "work": "mine",
            "model": self.model,
            "pairs": self.input,
            "settings": SETTINGS,
            "output": output,
        }
        _, measured = bench.sides.theirs(job, folder)
        return Run(measured.wall_seconds, measured), output

    def check(self, ours, theirs):
        encode = static_encoder(self.model)
        found = compare_mined(
            encode, self.rows, ("query", "answer"), read_rows(ours), read_rows(theirs)
        )
        if found.unexplained:
            raise RowFailed(
                f"other rows for {len(found.unexplained)} of {found.queries} queries, "
                f"not by ties: {found.unexplained[:3]}"
            )
        return f"same rows for {found.queries} queries, but for ties in {found.ties}"


@dataclasses.dataclass
class Encode:
    """Embeds texts with a static model. Ours is the whole process, file and all, theirs the call
    alone."""

    name: str
    title: str
    target: float
    texts: int
    precision: str = "fp32"
    memory_target: float | None = None
    unit: str = "texts/s"

    def prepare(self, bench, folder):
        texts = bench.corpus.abstracts(bench.size(self.texts, 2000))
        self.model, self.input = bench.models.made("static-1024"), folder / "texts.jsonl"
        write_rows(self.input, [{"text": text} for text in texts])
        return len(texts), None, f"{len(texts)} texts of {ABSTRACT_WORDS} words"

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        output = folder / "embeddings.npy"
        arguments = [
            "encode",
            "--model",
            self.model,
            "--input",
            self.input,
            "--column",
            "text",
            "--output",
            output,
        ]
        measured = bench.sides.ours([*arguments, "--batch-size", ENCODE_BATCH_SIZE], folder)
        return Run(measured.wall_seconds, measured), output

    def theirs(self, bench, folder):
        folder.mkdir()
        output = folder / "embeddings.npy"
        job = {
            "work": "encode",
            "model": self.model,
            "texts": self.input,
            "output": output,
            "batch_size": ENCODE_BATCH_SIZE,
        }
        result, measured = bench.sides.theirs(job, folder)
        return Run(result["seconds"], measured), output

    def check(self, ours, theirs):
        import numpy

        first, second = numpy.load(ours, mmap_mode="r"), numpy.load(theirs, mmap_mode="r")
        if first.shape != second.shape:
            raise RowFailed(f"embeddings of shape {first.shape} here, {second.shape} there")
        blocks = range(0, len(first), 4096)
        # numpy's maximum, unlike Python's, is no number where one of the differences is none.
        worst = float(
            numpy.max(
                [
                    numpy.abs(first[start : start + 4096] - second[start : start + 4096]).max()
                    for start in blocks
                ]
            )
        )
        if not worst <= EMBEDDING_TOLERANCE:
            raise RowFailed(
                f"embeddings differ by {worst:.1e}, more than {EMBEDDING_TOLERANCE:.0e}"
            )
        return f"embeddings within {worst:.1e} (at most {EMBEDDING_TOLERANCE:.0e})"
