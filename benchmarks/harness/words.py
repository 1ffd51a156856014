"""The row of BM25: a collection is indexed by its words and searched, beside bm25s."""

import dataclasses
import math

from harness.bench import Run
from harness.cascade import write_collection
from harness.commands import RowFailed
from harness.data import read_rows, write_rows

AT_K = 10
# What BM25 reaches on SciFact at least, with a stemmer.
LEAST_NDCG = 0.66
# Largest difference of the mean NDCG: lists of stop words and stemmers differ.
NDCG_TOLERANCE = 0.03


@dataclasses.dataclass
class Words:
    """Indexes several copies of a collection and searches it, from the processes' starts to their
    ends. Copies of a document count once in a ranking."""

    name: str
    title: str
    target: float
    copies: int
    queries: int
    documents: int
    precision: str = "fp32"
    memory_target: float | None = None
    unit: str = "texts/s"
    peer: str = "bm25s"

    def prepare(self, bench, folder):
        self.folder, self.count = folder / "collection", bench.size(self.copies, 1)
        self.is_real = bench.corpus.collection is not None
        queries, _ = write_collection(self.folder, bench.corpus, self.queries, self.documents)
        rows = read_rows(self.folder / "corpus.jsonl")
        copies = [
            {"_id": f"{row['_id']}-{copy}", "text": row["text"]}
            for copy in range(self.count)
            for row in rows
        ]
        self.corpus = folder / "copies.jsonl"
        write_rows(self.corpus, copies)
        self.judged = {}
        for line in (self.folder / "qrels/test.tsv").read_text().splitlines()[1:]:
            query, document, grade = line.split("\t")
            self.judged.setdefault(query, {})[document] = int(grade)
        detail = f"{len(rows)} x {self.count} texts, {queries} queries"
        return len(copies), None, detail

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        index, run = folder / "index", folder / "run.trec"
        arguments = ["index", "--bm25", "--dataset", self.corpus, "--output", index]
        built = bench.sides.ours(arguments, folder)
        arguments = ["search", "--index", index, "--mode", "bm25", "--trec", run]
        arguments += ["--queries", self.folder / "queries.jsonl"]
        searched = bench.sides.ours([*arguments, "--top-k", AT_K * self.count], folder)
        ranking = {}
        for line in run.read_text().splitlines():
            query, _, document, _, _, _ = line.split(" ")
            ranking.setdefault(query, []).append(document)
        larger = max(built, searched, key=lambda measured: measured.memory_mib)
        return Run(built.wall_seconds + searched.wall_seconds, larger), ranking

    def theirs(self, bench, folder):
        folder.mkdir()
        job = {
            "work": "words",
            "corpus": self.corpus,
            "queries": self.folder / "queries.jsonl",
            "top_k": AT_K * self.count,
            "output": folder / "index",
        }
        result, measured = bench.sides.theirs(job, folder)
        return Run(measured.wall_seconds, measured), result["run"]

    def ndcg(self, run):
        """The mean NDCG of rankings of copies."""
        values = []
        for query, grades in self.judged.items():
            ranking = dict.fromkeys(name.rsplit("-", 1)[0] for name in run.get(query, []))
            got = [grades.get(document, 0) for document in list(ranking)[:AT_K]]
            best = sorted(grades.values(), reverse=True)[:AT_K]
            values.append(gain(got) / gain(best))
        return sum(values) / len(values)

    def check(self, ours, theirs):
        here, there = self.ndcg(ours), self.ndcg(theirs)
        if self.is_real and not here >= LEAST_NDCG:
            raise RowFailed(f"NDCG {here:.3f} on SciFact, expected at least {LEAST_NDCG}")
        if not here >= there - NDCG_TOLERANCE:
            raise RowFailed(f"NDCG {here:.3f} here, {there:.3f} there")
        return f"NDCG@{AT_K} {here:.3f} here, {there:.3f} there"


def gain(grades):
    return sum(grade / math.log2(place + 2) for place, grade in enumerate(grades))
