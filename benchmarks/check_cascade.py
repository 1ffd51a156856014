"""Checks that ir_measures and pytrec_eval score the run files of a cascade as rankforge does.

pip install ir_measures==0.4.3 pytrec_eval-terrier==0.5.11

    rankforge evaluate cascade --dataset scifact --first-stage bm25,models/static,hybrid \
        --rerank models/reranker --trec runs --json > cascade.json
    python benchmarks/check_cascade.py cascade.json --dataset scifact --trec runs

Every metric of every stage is compared, as the mean over the queries of the run. Judgements of 0
and below say that a document is not relevant, as no judgement does; queries that have no other are
left out, as rankforge leaves them out.
"""

import argparse
import json
import pathlib
import sys

import ir_measures
import pytrec_eval

TOLERANCE = 1e-6


def judgements(folder, split):
    """Query id to document id to grade, for queries with a relevant document. The header row of a
    BEIR file, if there is one, ends with a word."""
    judged = {}
    for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines():
        cells = line.split("\t")
        if len(cells) == 3 and cells[2].strip().lstrip("-").isdigit():
            judged.setdefault(cells[0], {})[cells[1]] = int(cells[2])
    return {query: grades for query, grades in judged.items() if max(grades.values()) > 0}


def read_run(path):
    """Query id to document id to score; the scores must descend strictly."""
    run = {}
    for line in path.read_text().splitlines():
        query, _, document, _, score, _ = line.split(" ")
        scores = run.setdefault(query, {})
        if scores and not float(score) < list(scores.values())[-1]:
            raise SystemExit(f"{path}: scores of query {query} do not descend at {document}")
        scores[document] = float(score)
    return run


def by_ir_measures(name, judged, run):
    """The mean of a metric over the judged queries."""
    kind, _, depth = name.partition("@")
    measure = {"ndcg": "nDCG", "mrr": "RR", "map": "AP", "recall": "R"}[kind]
    measure = ir_measures.parse_measure(f"{measure}@{depth}")
    return ir_measures.calc_aggregate([measure], judged, run)[measure]


def by_pytrec_eval(name, judged, run):
    """The mean of a metric over the judged queries."""
    kind, _, depth = name.partition("@")
    cut = run
    if kind == "mrr":
        # trec_eval's reciprocal rank has no cut, so the run is cut.
        cut = {query: dict(list(scores.items())[: int(depth)]) for query, scores in run.items()}
        measure, key = "recip_rank", "recip_rank"
    else:
        measure = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall"}[kind]
        measure, key = f"{measure}.{depth}", f"{measure}_{depth}"
    found = pytrec_eval.RelevanceEvaluator(judged, {measure}).evaluate(cut)
    return sum(found[query][key] if query in found else 0.0 for query in judged) / len(judged)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=pathlib.Path, help="what --json printed")
    parser.add_argument("--dataset", type=pathlib.Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--trec", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    result = json.loads(arguments.result.read_text())
    judged = judgements(arguments.dataset, arguments.split)
    names = [stage["name"] for stage in result["stages"]]
    runs = {name: read_run(arguments.trec / f"{name}.trec") for name in names}
    if len(judged) > result["queries"]:
        # With --limit, the queries are those of the runs; one of them may have found nothing.
        found = set().union(*runs.values())
        judged = {query: grades for query, grades in judged.items() if query in found}
    if len(judged) != result["queries"]:
        raise SystemExit(f"{len(judged)} queries here, {result['queries']} in the result")
    worst, compared = 0.0, 0
    for stage in result["stages"]:
        run = runs[stage["name"]]
        for name, ours in stage["metrics"].items():
            for program in (by_ir_measures, by_pytrec_eval):
                theirs = program(name, judged, run)
                compared += 1
                worst = max(worst, abs(ours - theirs))
                if not abs(ours - theirs) <= TOLERANCE:
                    print(f"{stage['name']} {name}: {ours} here, {theirs} {program.__name__}")
    print(f"{compared} figures of {len(result['stages'])} stages, largest difference {worst:.1e}")
    sys.exit(0 if worst <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
