"""The rows of the table: what is measured, and how much faster or smaller rankforge is to be."""

from harness.cascade import Cascade
from harness.inference import Predict, Rank
from harness.retrieval import Encode, Mine
from harness.searching import Search
from harness.serving import ServeOne
from harness.training import Training


def minilm(name, title, precision, target, **others):
    models = {"model": "minilm-reranker", "undropped": "minilm-reranker-without-dropout"}
    return Training(
        name=name,
        title=title,
        precision=precision,
        target=target,
        batch_size=16,
        **models,
        **others,
    )


def modernbert(precision, target):
    # ModernBERT's own default is no dropout.
    models = {"model": "modernbert-base", "undropped": "modernbert-base"}
    title = f"train, ModernBERT-base shape, batch 8, {precision}"
    return Training(
        f"train-modernbert-{precision}",
        title,
        precision,
        target,
        batch_size=8,
        steps=12,
        fresh=True,
        **models,
    )


def search(name, how, target, batch):
    title = f"search 1,000,000 x 384, top 100, queries {how}"
    return Search(name, title, target, batch, vectors=1_000_000, queries=1_000)


def all_rows():
    """The rows, in the order of the table; training and scoring work on pairs of 180 tokens unless
    the title says otherwise."""
    return [
        minilm(
            "train-minilm-fp32",
            "train, MiniLM-L6, batch 16, fp32",
            "fp32",
            5,
            steps=20,
            memory_target=4,
        ),
        minilm("train-minilm-bf16", "train, MiniLM-L6, batch 16, bf16", "bf16", 7, steps=20),
        modernbert("fp32", 2.3),
        modernbert("bf16", 2.5),
        minilm(
            "train-stsb-fp32",
            "train, MiniLM-L6, short sentence pairs, batch 16, fp32",
            "fp32",
            3,
            steps=100,
            similar=True,
        ),
        Predict("predict-fp32", "score pairs, MiniLM-L6, fp32", "fp32", 1.4, pairs=512),
        Predict("predict-bf16", "score pairs, MiniLM-L6, bf16", "bf16", 1.8, pairs=512),
        Mine(
            "mine", "mine 5 negatives, static 256, whole process", 5, memory_target=10, pairs=54_612
        ),
        search("search-one", "one at a time", 3.5, batch=1),
        search("search-batch", "in batches of 1,000", 3, batch=1000),
        Encode("encode", "encode texts of 200 words, static 1,024", 3, texts=90_000),
        Rank("rank", "load MiniLM-L6, rank 30 passages, whole process", 10, passages=30),
        Cascade(
            "cascade",
            "cascade, MiniLM-L6 and a reranker of it, depth 100, whole process",
            2,
            memory_target=4,
            queries=300,
            documents=5183,
        ),
        ServeOne("serve-one", "serve single texts, MiniLM-L6, fp32, one client", 1.2, texts=480),
    ]
