"""Rows of exact searches in a million vectors that a file keeps, beside FAISS.

Ours is `examples/search_files` of the kernels: bytes in a mapped file, and the rows of candidates
from the file of vectors.
"""

import dataclasses
import json

from harness.bench import Run
from harness.commands import RowFailed

DIMENSIONS, NEIGHBOURS, SEED = 384, 100, 14
# Vectors lie around so many centres, fewer where there are fewer vectors. Both spread along axes of
# falling length, as embeddings do, that are turned away from the coordinates.
VECTORS_OF_CENTRE, SPREAD, FALL = 50, 0.8, 0.35
BLOCK = 50_000
# Scores whose order may differ: FAISS sums in float32.
TIE = 1e-6


@dataclasses.dataclass
class Search:
    """Searches for the best vectors by dot product, `batch` queries at a time; the seconds of the
    searches alone."""

    name: str
    title: str
    target: float
    batch: int
    vectors: int
    queries: int
    precision: str = "fp32"
    memory_target: float | None = 3
    unit: str = "queries/s"
    peer: str = "FAISS"

    def prepare(self, bench, folder):
        vectors, queries = bench.size(self.vectors, BLOCK), bench.size(self.queries, self.batch)
        self.rows, self.asked, self.bytes = folder / "rows.npy", folder / "asked.npy", folder
        write_vectors(self.rows, vectors, self.asked, queries)
        self.index = folder / "index.faiss"
        bench.sides.theirs({"work": "index", "rows": self.rows, "output": self.index}, folder)
        bench.sides.example("search_files", ["round", self.rows, self.bytes], folder)
        return queries, None, f"{queries} queries, {vectors} x {DIMENSIONS}, top {NEIGHBOURS}"

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        output, sides = folder / "found.bin", bench.sides
        arguments = ["search", self.rows, self.bytes, self.asked, self.batch, NEIGHBOURS]
        arguments += [sides.threads, sides.isa or "best", output]
        printed, measured = sides.example("search_files", arguments, folder)
        return Run(json.loads(printed)["seconds"], measured), output

    def theirs(self, bench, folder):
        folder.mkdir()
        job = {
            "work": "search",
            "index": self.index,
            "queries": self.asked,
            "batch": self.batch,
            "neighbours": NEIGHBOURS,
            "output": folder / "found.bin",
        }
        result, measured = bench.sides.theirs(job, folder)
        return Run(result["seconds"], measured), job["output"]

    def check(self, ours, theirs):
        import numpy

        found = [
            numpy.fromfile(side, numpy.uint32).reshape(-1, NEIGHBOURS) for side in (ours, theirs)
        ]
        return same_rows(numpy.load(self.rows, mmap_mode="r"), numpy.load(self.asked), *found)


def write_vectors(rows, count, asked, queries):
    """Writes vectors of norm 1, and queries of the same kind, as arrays of float32."""
    import numpy

    draw = numpy.random.default_rng(SEED)
    fall = ((1 + numpy.arange(DIMENSIONS)) ** -FALL).astype(numpy.float32)
    turn = numpy.linalg.qr(draw.standard_normal((DIMENSIONS, DIMENSIONS)))[0].astype(numpy.float32)

    def noise(number):
        return draw.standard_normal((number, DIMENSIONS), dtype=numpy.float32) * fall

    centres = noise(max(count // VECTORS_OF_CENTRE, 1))
    for path, number in ((rows, count), (asked, queries)):
        shape = (number, DIMENSIONS)
        array = numpy.lib.format.open_memmap(path, "w+", numpy.float32, shape)
        for start in range(0, number, BLOCK):
            size = min(BLOCK, number - start)
            block = centres[draw.integers(0, len(centres), size)] + SPREAD * noise(size)
            block = block @ turn
            block /= numpy.linalg.norm(block, axis=1, keepdims=True)
            array[start : start + size] = block
        array.flush()


def same_rows(rows, asked, ours, theirs):
    """Says that both sides found the same rows for each query, but for the order of ties.

    Raises:
        RowFailed: A row of ours has another score than theirs at the same place, or stands twice.
    """
    import numpy

    if ours.shape != theirs.shape or len(ours) != len(asked):
        raise RowFailed(f"rows of shape {ours.shape} here, {theirs.shape} there")
    ties, worst = 0, 0.0
    for query, here, there in zip(asked.astype(numpy.float64), ours, theirs):
        if len(set(here.tolist())) != len(here):
            raise RowFailed(f"a row twice: {here.tolist()}")
        if (here == there).all():
            continue
        ties += 1
        scores = [rows[side].astype(numpy.float64) @ query for side in (here, there)]
        worst = max(worst, float(numpy.abs(scores[0] - scores[1]).max()))
    if not worst <= TIE:
        raise RowFailed(f"scores at the same place differ by {worst:.1e}, more than {TIE:.0e}")
    return f"same rows for {len(ours)} queries, but for ties within {TIE:.0e} in {ties}"
