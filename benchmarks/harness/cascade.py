"""The row of the whole cascade: a dual encoder retrieves, a reranker orders; both are measured."""

import dataclasses
import json
import random

from harness.bench import Run
from harness.commands import RowFailed
from harness.data import SEED, write_rows

DEPTH, AT_K = 100, 10
RERANKER = "minilm-scorer"
MAX_LENGTH = 512
# Largest difference of a score in 0..1: documents that differ by less may change places.
TIE = 1e-5
# Largest difference of the mean NDCG, for such ties.
NDCG_TOLERANCE = 1e-3


@dataclasses.dataclass
class Cascade:
    """Ranks and measures a collection, from the process's start to its end: MiniLM embeds corpus
    and queries, a reranker of MiniLM's size orders the best documents again."""

    name: str
    title: str
    target: float
    memory_target: float
    queries: int
    documents: int
    precision: str = "fp32"
    unit: str = "pairs/s"

    def prepare(self, bench, folder):
        self.encoder = bench.models.pretrained("all-MiniLM-L6-v2")
        self.reranker = bench.models.made(RERANKER)
        self.dataset = folder / "collection"
        queries, documents = bench.size(self.queries, 8), bench.size(self.documents, 500)
        count, documents = write_collection(self.dataset, bench.corpus, queries, documents)
        detail = f"{count} queries, {documents} documents, depth {DEPTH}"
        return count * min(DEPTH, documents), None, detail

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        arguments = [
            "evaluate",
            "cascade",
            "--json",
            "--dataset",
            self.dataset,
            "--first-stage",
            self.encoder,
            "--rerank",
            self.reranker,
            "--depth",
            DEPTH,
            "--max-length",
            MAX_LENGTH,
            "--trec",
            folder / "runs",
        ]
        measured = bench.sides.ours(arguments, folder)
        result = json.loads((folder / "ours.stdout").read_text())
        stage = result["stages"][1]
        run = {}
        for line in (folder / "runs" / f"{stage['name']}.trec").read_text().splitlines():
            query, _, document, _, score, _ = line.split(" ")
            run.setdefault(query, []).append((document, float(score)))
        ndcg = [stage["metrics"][f"ndcg@{AT_K}"] for stage in result["stages"]]
        return Run(measured.wall_seconds, measured), (run, ndcg)

    def theirs(self, bench, folder):
        folder.mkdir()
        job = {
            "work": "cascade",
            "encoder": self.encoder,
            "model": self.reranker,
            "dataset": self.dataset,
            "depth": DEPTH,
            "at_k": AT_K,
            "max_length": MAX_LENGTH,
            "precision": self.precision,
        }
        result, measured = bench.sides.theirs(job, folder)
        return Run(measured.wall_seconds, measured), (result["run"], result["ndcg"])

    def check(self, ours, theirs):
        (our_run, our_ndcg), (their_run, their_ndcg) = ours, theirs
        if our_run.keys() != their_run.keys():
            raise RowFailed(f"{len(our_run)} queries here, {len(their_run)} there")
        swapped = 0
        for query, ranking in our_run.items():
            for place, (mine, other) in enumerate(zip(ranking[:AT_K], their_run[query])):
                if mine[0] == other[0]:
                    continue
                swapped += 1
                if abs(mine[1] - other[1]) > TIE:
                    raise RowFailed(
                        f"query {query}: at rank {place + 1} {mine[0]} with {mine[1]} here, "
                        f"{other[0]} with {other[1]} there"
                    )
        differences = [abs(mine - other) for mine, other in zip(our_ndcg, their_ndcg, strict=True)]
        if not all(difference <= NDCG_TOLERANCE for difference in differences):
            raise RowFailed(f"NDCG {our_ndcg} here, {their_ndcg} there")
        return (
            f"the same {AT_K} best documents of {len(our_run)} queries but for {swapped} ties; "
            f"NDCG within {max(differences):.0e}"
        )


def write_collection(folder, corpus, queries, documents):
    """A BEIR folder of so many queries and documents; how many there are.

    They are those of SciFact where the data has it, with its relevant documents first; else
    questions and passages.
    """
    if corpus.collection is not None:
        rows = corpus.collection
    else:
        pairs = corpus.sample_pairs(documents)
        rows = (
            [{"_id": f"d{number}", "text": answer} for number, (_, answer) in enumerate(pairs)],
            [{"_id": f"q{number}", "text": query} for number, (query, _) in enumerate(pairs)],
            [(f"q{number}", f"d{number}", 1) for number in range(len(pairs))],
        )
    texts, questions, judged = rows
    chosen = list(dict.fromkeys(query for query, _, _ in judged))
    chosen = set(random.Random(SEED).sample(chosen, min(queries, len(chosen))))
    judged = [row for row in judged if row[0] in chosen]
    wanted = {document for _, document, _ in judged}
    others = [row for row in texts if row["_id"] not in wanted]
    others = others[: max(documents - len(wanted), 0)]
    kept = wanted | {row["_id"] for row in others}
    texts = [row for row in texts if row["_id"] in kept]
    (folder / "qrels").mkdir(parents=True)
    write_rows(folder / "corpus.jsonl", texts)
    write_rows(folder / "queries.jsonl", [row for row in questions if row["_id"] in chosen])
    lines = [f"{query}\t{document}\t{grade}\n" for query, document, grade in judged]
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return len(chosen), len(texts)
