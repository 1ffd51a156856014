"""Rows of the first stage: mining and static embeddings."""

import dataclasses
import statistics

from harness.arithmetic import useful_operations
from harness.bench import Run
from harness.commands import RowFailed
from harness.data import ABSTRACT_WORDS, read_rows, text_tokenizer, token_counts, write_rows
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
# Of embeddings in bf16: 8 bits of mantissa in every product, rounded at places of their own.
COSINE_DISTANCE_TOLERANCE = 2e-3
ENCODE_BATCH_SIZE = 32
MAX_LENGTH = 512


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
    """Embeds texts. Ours is the whole process, file and all, theirs the call alone.

    Attributes:
        model: The name, for `Models.made`: a static model embeds texts of 200 words, any other
            the passages of the pairs.
    """

    name: str
    title: str
    target: float
    texts: int
    model: str = "static-1024"
    precision: str = "fp32"
    memory_target: float | None = None
    unit: str = "texts/s"

    def prepare(self, bench, folder):
        self.folder, self.input = bench.models.made(self.model), folder / "texts.jsonl"
        count = bench.size(self.texts, 500)
        if self.model.startswith("static"):
            texts, operations = bench.corpus.abstracts(count), None
            detail = f"{len(texts)} texts of {ABSTRACT_WORDS} words"
        else:
            texts = [passage for _, passage in bench.corpus.sample_pairs(count)]
            lengths = token_counts(text_tokenizer(self.folder, MAX_LENGTH), texts)
            operations = useful_operations(self.folder, lengths, training=False, head=False)
            detail = f"{len(texts)} passages of {statistics.mean(lengths):.0f} tokens"
        write_rows(self.input, [{"text": text} for text in texts])
        return len(texts), operations, detail

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        output = folder / "embeddings.npy"
        arguments = [
            "encode",
            "--model",
            self.folder,
            "--input",
            self.input,
            "--column",
            "text",
            "--output",
            output,
            "--batch-size",
            ENCODE_BATCH_SIZE,
        ]
        if self.precision != "fp32":
            arguments += ["--precision", self.precision]
        measured = bench.sides.ours(arguments, folder, self.precision)
        return Run(measured.wall_seconds, measured), output

    def theirs(self, bench, folder):
        folder.mkdir()
        output = folder / "embeddings.npy"
        job = {
            "work": "encode",
            "model": self.folder,
            "texts": self.input,
            "output": output,
            "batch_size": ENCODE_BATCH_SIZE,
            "precision": self.precision,
        }
        result, measured = bench.sides.theirs(job, folder)
        return Run(result["seconds"], measured), output

    def check(self, ours, theirs):
        import numpy

        first, second = numpy.load(ours, mmap_mode="r"), numpy.load(theirs, mmap_mode="r")
        if first.shape != second.shape:
            raise RowFailed(f"embeddings of shape {first.shape} here, {second.shape} there")
        bound = EMBEDDING_TOLERANCE if self.precision == "fp32" else COSINE_DISTANCE_TOLERANCE
        measure = largest_difference if self.precision == "fp32" else largest_cosine_distance
        blocks = [slice(start, start + 4096) for start in range(0, len(first), 4096)]
        # numpy's maximum, unlike Python's, is no number where one of the differences is none.
        worst = float(numpy.max([measure(first[block], second[block]) for block in blocks]))
        what = measure.__name__.replace("_", " ")
        if not worst <= bound:
            raise RowFailed(f"{what} {worst:.1e}, more than {bound:.0e}")
        return f"{what} {worst:.1e} (at most {bound:.0e})"


def largest_difference(first, second):
    """The largest difference of two elements."""
    import numpy

    return numpy.abs(first - second).max()


def largest_cosine_distance(first, second):
    """The largest cosine distance of two rows."""
    import numpy

    products = (first * second).sum(axis=1)
    norms = numpy.linalg.norm(first, axis=1) * numpy.linalg.norm(second, axis=1)
    return (1 - products / norms).max()
