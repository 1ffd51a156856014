"""The other side: one job with sentence-transformers, FAISS or ONNX Runtime, as a user would write
it.

    python -m harness.peers JOB.json RESULT.json

Imports stand in the functions, for starting is part of what whole-process rows measure.
"""

import json
import sys
import time

from harness.data import read_rows, text_tokenizer, write_rows


def train(job):
    """Trains a reranker; seconds as the Trainer counts them, when each step ended, its loss, and
    the real tokens that went in."""
    import datasets
    import torch
    import transformers
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
    )
    from sentence_transformers.cross_encoder import losses

    torch.set_num_threads(job["threads"])
    model = CrossEncoder(job["model"], num_labels=1, max_length=job["max_length"], device="cpu")
    if "lora" in job:
        add_adapter(model, job["lora"], job["initial"])
    tokens, step_ends = [], []

    class StepEnds(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            step_ends.append(time.monotonic())

    def count(module, inputs):
        # The model card's example scores are computed too, but not while training.
        if module.training:
            tokens.append(int(inputs[0]["attention_mask"].sum()))

    model[0].register_forward_pre_hook(count)
    arguments = CrossEncoderTrainingArguments(
        **job["arguments"],
        output_dir=job["output"],
        bf16=job["precision"] == "bf16",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    rows = datasets.Dataset.from_list(read_rows(job["pairs"]))
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        loss=getattr(losses, job["loss"])(model),
        callbacks=[StepEnds()],
    )
    result = trainer.train()
    model.save_pretrained(f"{job['output']}/final")
    history = trainer.state.log_history
    return {
        "seconds": result.metrics["train_runtime"],
        "losses": [float(record["loss"]) for record in history if "loss" in record],
        "tokens": sum(tokens),
        "step_ends": step_ends,
    }


def add_adapter(model, config, initial):
    """Adds adapters of peft, with the values in the file `initial` if there is one."""
    import safetensors.torch
    import torch
    from peft import LoraConfig

    model.add_adapter(LoraConfig(**config))
    if initial is None:
        return
    stored = safetensors.torch.load_file(initial)
    with torch.no_grad():
        for name, parameter in model[0].model.named_parameters():
            if parameter.requires_grad:
                bare = name.replace(".default", "").replace(".modules_to_save", "")
                parameter.copy_(stored.pop(f"base_model.model.{bare}"))
    assert not stored, f"tensors that the other side lacks: {sorted(stored)}"


def train_dual(job):
    """Trains a dual encoder; the same figures as `train`."""
    import datasets
    import torch
    import transformers
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    torch.set_num_threads(job["threads"])
    model = SentenceTransformer(job["model"], device="cpu")
    tokens, step_ends = [], []

    class StepEnds(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            step_ends.append(time.monotonic())

    def count(module, inputs):
        # A cached loss goes forward twice, the first time without gradients.
        if module.training and (torch.is_grad_enabled() or not job["loss"]["name"].startswith("C")):
            features = inputs[0]
            mask = features.get("attention_mask")
            tokens.append(features["input_ids"].numel() if mask is None else int(mask.sum()))

    model[0].register_forward_pre_hook(count)
    arguments = SentenceTransformerTrainingArguments(
        **job["arguments"],
        output_dir=job["output"],
        bf16=job["precision"] == "bf16",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(read_rows(job["pairs"])),
        loss=loss_of(model, job["loss"]),
        callbacks=[StepEnds()],
    )
    result = trainer.train()
    model.save_pretrained(f"{job['output']}/final")
    losses = [float(record["loss"]) for record in trainer.state.log_history if "loss" in record]
    return {
        "seconds": result.metrics["train_runtime"],
        "losses": losses,
        "tokens": sum(tokens),
        "step_ends": step_ends,
    }


def loss_of(model, fields):
    """A loss of sentence-transformers from the fields of a recipe."""
    from sentence_transformers.sentence_transformer import losses

    settings = {name: value for name, value in fields.items() if name != "name"}
    if "loss" in settings:
        settings["loss"] = loss_of(model, settings["loss"])
    return getattr(losses, fields["name"])(model, **settings)


def load_reranker(job):
    """The reranker in the precision of the job."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(job["threads"])
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[job["precision"]]
    return CrossEncoder(
        job["model"], max_length=job["max_length"], device="cpu", model_kwargs={"dtype": precision}
    )


def predict(job):
    """Scores pairs; seconds of `predict` alone."""
    model = load_reranker(job)
    pairs = [(row["query"], row["answer"]) for row in read_rows(job["pairs"])]
    begun = time.monotonic()
    scores = model.predict(pairs)
    return {"seconds": time.monotonic() - begun, "scores": [float(score) for score in scores]}


def rank(job):
    """Ranks passages for a query."""
    model = load_reranker(job)
    with open(job["documents"]) as lines:
        documents = lines.read().splitlines()
    ranking = model.rank(job["query"], documents)
    return {"ranking": [[int(ranked["corpus_id"]), float(ranked["score"])] for ranked in ranking]}


def mine(job):
    """Mines hard negatives with FAISS; the mined rows go to a file."""
    import datasets
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    torch.set_num_threads(job["threads"])
    rows = read_rows(job["pairs"])
    columns = {name: [row[name] for row in rows] for name in ("query", "answer")}
    model = SentenceTransformer(
        job["model"], device="cpu"
    ).float()  # the arithmetic is in f32 whatever the file holds
    mined = mine_hard_negatives(
        datasets.Dataset.from_dict(columns), model, use_faiss=True, verbose=False, **job["settings"]
    )
    write_rows(job["output"], mined)
    return {"rows": len(mined)}


def cascade(job):
    """Retrieves with FAISS, reranks, and measures both by NDCG; the scores of each query, best
    first."""
    import math
    import pathlib

    import faiss
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(job["threads"])
    faiss.omp_set_num_threads(job["threads"])
    folder = pathlib.Path(job["dataset"])
    corpus, queries = (read_rows(folder / f"{name}.jsonl") for name in ("corpus", "queries"))
    judged = {}
    for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    encoder = SentenceTransformer(job["encoder"], device="cpu")
    texts = [row["text"] for row in corpus]
    embeddings = encoder.encode(texts, normalize_embeddings=True)
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    asked = encoder.encode([row["text"] for row in queries], normalize_embeddings=True)
    _, found = index.search(asked, min(job["depth"], len(texts)))
    pairs = [(query["text"], texts[row]) for query, rows in zip(queries, found) for row in rows]
    scores = load_reranker(job).predict(pairs).reshape(found.shape)

    def ndcg(rankings):
        def gain(grades):
            return sum(grade / math.log2(place + 2) for place, grade in enumerate(grades))

        values = []
        for query, ranking in zip(queries, rankings):
            grades = judged[query["_id"]]
            best = sorted(grades.values(), reverse=True)[: job["at_k"]]
            got = [grades.get(document, 0) for document in ranking[: job["at_k"]]]
            values.append(gain(got) / gain(best))
        return sum(values) / len(values)

    before, run = [], {}
    for query, rows, row_scores in zip(queries, found, scores):
        before.append([corpus[row]["_id"] for row in rows])
        order = sorted(range(len(rows)), key=lambda place: -row_scores[place])
        run[query["_id"]] = [(before[-1][place], float(row_scores[place])) for place in order]
    after = [[document for document, _ in ranking] for ranking in run.values()]
    return {"run": run, "ndcg": [ndcg(before), ndcg(after)]}


def words(job):
    """Indexes texts by their words, saves the index, and searches it; the ids of the best texts of
    each query."""
    import bm25s
    import Stemmer

    corpus, queries = read_rows(job["corpus"]), read_rows(job["queries"])
    how = {"stopwords": "en", "stemmer": Stemmer.Stemmer("english"), "show_progress": False}
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(bm25s.tokenize([row["text"] for row in corpus], **how), show_progress=False)
    index.save(job["output"])
    asked = bm25s.tokenize([row["text"] for row in queries], **how)
    found, _ = index.retrieve(asked, k=job["top_k"], n_threads=job["threads"], show_progress=False)
    ids = [row["_id"] for row in corpus]
    run = {query["_id"]: [ids[row] for row in rows] for query, rows in zip(queries, found)}
    return {"run": run}


def encode(job):
    """Embeds texts; seconds of `encode` alone. The array goes to a file afterwards."""
    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(job["threads"])
    model = SentenceTransformer(job["model"], device="cpu")
    if job.get("precision") == "bf16":
        model.bfloat16()
    texts = [row["text"] for row in read_rows(job["texts"])]
    begun = time.monotonic()
    embeddings = model.encode(texts, batch_size=job["batch_size"])
    seconds = time.monotonic() - begun
    numpy.save(job["output"], embeddings)
    return {"seconds": seconds}


def index(job):
    """Writes a flat index of vectors with FAISS."""
    import faiss
    import numpy

    rows = numpy.load(job["rows"], mmap_mode="r")
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    faiss.write_index(index, job["output"])
    return {"rows": index.ntotal}


def search(job):
    """Searches in an index with FAISS; seconds of the searches alone. The rows go to a file."""
    import faiss
    import numpy

    faiss.omp_set_num_threads(job["threads"])
    # Read and not built here, as a growing index would take twice its memory.
    index, queries = faiss.read_index(job["index"]), numpy.load(job["queries"])
    found, neighbours = [], job["neighbours"]
    index.search(queries[:1], neighbours)
    begun = time.perf_counter()
    for start in range(0, len(queries), job["batch"]):
        found.append(index.search(queries[start : start + job["batch"]], neighbours)[1])
    seconds = time.perf_counter() - begun
    numpy.concatenate(found).astype(numpy.uint32).tofile(job["output"])
    return {"seconds": seconds}


def embed_one(job):
    """Embeds single texts with ONNX Runtime, one after the other; the seconds of each, from the
    text to the normalised mean of the hidden states. The array goes to a file afterwards."""
    import pathlib

    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    model = pathlib.Path(job["model"])
    session = onnxruntime.InferenceSession(
        model / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    tokenizer = text_tokenizer(model, job["max_length"])
    embeddings, seconds = [], []
    for row in read_rows(job["texts"]):
        begun = time.perf_counter()
        encoding = tokenizer.encode(row["text"])
        inputs = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        (hidden,) = session.run(
            None, {name: numpy.array([numbers]) for name, numbers in inputs.items()}
        )
        mean = hidden[0].mean(axis=0)
        embeddings.append(mean / numpy.linalg.norm(mean))
        seconds.append(time.perf_counter() - begun)
    numpy.save(job["output"], numpy.stack(embeddings))
    return {"seconds": seconds}


WORK = {
    function.__name__: function
    for function in (
        train,
        train_dual,
        predict,
        rank,
        mine,
        cascade,
        words,
        encode,
        index,
        search,
        embed_one,
    )
}


def main():
    with open(sys.argv[1]) as source:
        job = json.load(source)
    result = WORK[job["work"]](job)
    with open(sys.argv[2], "w") as target:
        json.dump(result, target)


if __name__ == "__main__":
    main()
