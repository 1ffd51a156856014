"""The rows of the table: what is measured, and how much faster or smaller rankforge is to be."""

from harness.cascade import Cascade
from harness.dual_training import DualTraining, StaticTraining
from harness.inference import Predict, Rank
from harness.lora_training import LoraTraining
from harness.reranker_losses import Distillation, ListTraining
from harness.retrieval import Encode, Mine
from harness.searching import Search
from harness.serving import ServeOne
from harness.training import Training
from harness.words import Words


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


def reranker_loss(row, name, title, batch_size, steps):
    models = {"model": "minilm-reranker", "undropped": "minilm-reranker-without-dropout"}
    return [
        row(
            f"train-{name}-{precision}",
            f"train, MiniLM-L6, {title}, {precision}",
            precision,
            target,
            batch_size=batch_size,
            steps=steps,
            **models,
        )
        for precision, target in [("fp32", 5), ("bf16", 7)]
    ]


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


def dual(name, title, precision, target, **others):
    models = {"model": "minilm-dual", "undropped": "minilm-dual-without-dropout"}
    title = f"train a dual encoder, MiniLM-L6, {title}, {precision}"
    return DualTraining(f"{name}-{precision}", title, precision, target, **models, **others)


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
        LoraTraining(
            "train-lora",
            "train adapters of rank 16, MiniLM-L6, batch 16, fp32",
            "fp32",
            4,
            model="minilm-reranker",
            undropped="minilm-reranker-without-dropout",
            batch_size=16,
            steps=20,
            memory_target=4,
        ),
        *reranker_loss(ListTraining, "lambda", "LambdaLoss, 8 lists of 8 documents", 8, 5),
        *reranker_loss(Distillation, "distill", "MSELoss on scores, batch 16", 16, 20),
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
        dual("train-dual", "batch 32", "fp32", 5.5, batch_size=32, steps=10, memory_target=6),
        dual("train-dual", "batch 32", "bf16", 7, batch_size=32, steps=10),
        dual(
            "train-dual-cached",
            "cached batch 512",
            "fp32",
            5,
            batch_size=512,
            steps=2,
            mini_batch_size=32,
        ),
        dual(
            "train-dual-cached",
            "cached batch 512",
            "bf16",
            6.5,
            batch_size=512,
            steps=2,
            mini_batch_size=32,
        ),
        StaticTraining(
            "train-static",
            "train a static model, 1,024 dimensions and five nested, batch 2,048",
            "fp32",
            6,
            model="static-1024",
            undropped="static-1024",
            batch_size=2048,
            steps=0,
            memory_target=4,
        ),
        Predict("predict-fp32", "score pairs, MiniLM-L6, fp32", "fp32", 1.4, pairs=512),
        Predict("predict-bf16", "score pairs, MiniLM-L6, bf16", "bf16", 1.8, pairs=512),
        Mine(
            "mine", "mine 5 negatives, static 256, whole process", 5, memory_target=10, pairs=54_612
        ),
        search("search-one", "one at a time", 3.5, batch=1),
        search("search-batch", "in batches of 1,000", 3, batch=1000),
        Encode("encode", "encode texts of 200 words, static 1,024", 3, texts=90_000),
        Encode("encode-minilm-fp32", "encode passages, MiniLM-L6, fp32", 2, 10_000, "minilm-dual"),
        Encode(
            "encode-minilm-bf16",
            "encode passages, MiniLM-L6, bf16",
            1.8,
            10_000,
            "minilm-dual",
            "bf16",
        ),
        Rank("rank", "load MiniLM-L6, rank 30 passages, whole process", 10, passages=30),
        Cascade(
            "cascade",
            "cascade, MiniLM-L6 and a reranker of it, depth 100, whole process",
            2,
            memory_target=4,
            queries=300,
            documents=5183,
        ),
        Words(
            "bm25",
            "BM25: index and search a collection, whole processes",
            2,
            copies=20,
            queries=300,
            documents=5183,
        ),
        ServeOne("serve-one", "serve single texts, MiniLM-L6, fp32, one client", 1.2, texts=480),
    ]
