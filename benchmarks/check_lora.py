"""Checks LoRA against peft and sentence-transformers, both ways.

    target/benchmarks/venv/bin/python benchmarks/check_lora.py ENCODER ROWS.jsonl \\
        [--columns query,answer] [--rows 24] [--steps 10] [--binary FILE]

ENCODER is the folder of a pretrained encoder, such as all-MiniLM-L6-v2. The check trains adapters
of a reranker and of a dual encoder with `rankforge train` and compares what `rankforge` computes
with them, and with `rankforge merge-adapter`, with what PeftModel, CrossEncoder and
SentenceTransformer compute; then it opens adapters that peft and sentence-transformers saved. 1e-5
is too much. Last, it trains the same adapters with PyTorch from the same first values, without
dropout, and prints the largest difference of the losses of the steps. Exits with 1 when a
difference is too large. `benchmarks/run` makes the environment.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import numpy
import safetensors.torch
import torch
import transformers
from check_directory import BINARY, predict, run, write
from peft import LoraConfig, PeftModel, get_peft_model
from sentence_transformers import CrossEncoder, SentenceTransformer

ALLOWED = 1e-5
ALLOWED_LOSS = 1e-4
TARGETS = ["query", "key", "value", "dense", "q_lin", "k_lin", "v_lin", "out_lin", "Wqkv", "Wo"]
MAX_LENGTH = 64

RECIPE = """\
[model]
kind = "{kind}"
path = {model}
{length} = 64

[dataset]
path = {rows}

[loss]
name = "{loss}"

[lora]
r = 4
lora_alpha = 8
target_modules = {targets}
{lora}

[arguments]
output_dir = {output}
max_steps = {steps}
per_device_train_batch_size = {batch}
learning_rate = {rate}
lr_scheduler_type = "constant"
save_strategy = "no"
logging_steps = 1
"""


def targets(model):
    """Last parts of names of linear layers that the encoder has."""
    names = transformers.AutoModel.from_pretrained(model).named_modules()
    found = {name.rsplit(".", 1)[-1] for name, _ in names}
    return [target for target in TARGETS if target in found]


def train(options, folder, model, rows, steps, rate, kind="cross-encoder", lora=""):
    """Trains adapters; returns the folder of the model, and the losses of the steps."""
    losses = {"cross-encoder": "BinaryCrossEntropyLoss"}
    recipe, output = folder / "recipe.toml", folder / "output"
    folder.mkdir()
    text = RECIPE.format(
        kind=kind,
        model=json.dumps(str(model)),
        length="max_length" if kind == "cross-encoder" else "max_seq_length",
        rows=json.dumps(str(rows)),
        loss=losses.get(kind, "MultipleNegativesRankingLoss"),
        targets=json.dumps(targets(model)),
        lora=lora,
        output=json.dumps(str(output)),
        steps=steps,
        batch=options.rows,
        rate=rate,
    )
    recipe.write_text(text)
    run(options.binary, "train", recipe)
    history = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return output / "final", [record["loss"] for record in history if "loss" in record]


def encode(binary, model, texts, folder):
    source, target = folder / "texts.jsonl", folder / "embeddings.npy"
    write(source, ["text"], [(text,) for text in texts])
    run(
        binary,
        "encode",
        "--model",
        model,
        "--input",
        source,
        "--column",
        "text",
        "--output",
        target,
    )
    return numpy.load(target)


def disturb(model):
    """Random values for the second factors, which are zero at first."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def peft_scores(model, tokenizer, pairs):
    """Sigmoids of the logits of a classifier."""
    with torch.no_grad():
        return numpy.array(
            [
                torch.sigmoid(model(**tokens(tokenizer, [pair])).logits)[0, 0].item()
                for pair in pairs
            ]
        )


def tokens(tokenizer, pairs):
    first, second = zip(*pairs)
    rest = dict(truncation="longest_first", max_length=MAX_LENGTH, padding=True)
    return tokenizer(list(first), list(second), return_tensors="pt", **rest)


def ours_in_python(options, folder, rows, pairs):
    """Adapters of a reranker that were trained here."""
    model, _ = train(options, folder / "ours", options.model, rows, 6, 1e-3)
    ours = predict(options.binary, model, pairs, options.columns, folder)
    run(options.binary, "merge-adapter", "--adapter", model, "--output", folder / "merged")
    merged = predict(options.binary, folder / "merged", pairs, options.columns, folder)
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=1
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    theirs = peft_scores(PeftModel.from_pretrained(base, model).eval(), tokenizer, pairs)
    reranker = CrossEncoder(str(model), device="cpu", max_length=MAX_LENGTH)
    plain = CrossEncoder(str(folder / "merged"), device="cpu", max_length=MAX_LENGTH)
    print(f"{len(pairs)} pairs, scores from {ours.min():.4f} to {ours.max():.4f}")
    return {
        "ours, merged by merge-adapter": numpy.abs(ours - merged).max(),
        "ours in PeftModel": numpy.abs(ours - theirs).max(),
        "ours in CrossEncoder": numpy.abs(ours - reranker.predict(pairs)).max(),
        "ours merged, in CrossEncoder": numpy.abs(ours - plain.predict(pairs)).max(),
    }


def ours_in_python_dual(options, folder, rows, texts):
    """Adapters of a dual encoder that were trained here."""
    model, _ = train(options, folder / "dual", options.model, rows, 4, 1e-3, "dual-encoder")
    ours = encode(options.binary, model, texts, folder)
    encoder = SentenceTransformer(str(model), device="cpu")
    encoder.max_seq_length = MAX_LENGTH
    return {"ours in SentenceTransformer": numpy.abs(ours - encoder.encode(texts)).max()}


def theirs_here(options, folder, pairs, texts):
    """Adapters that peft and sentence-transformers saved."""
    differences = {}
    # A base model with a classification head: one that lacks it has another in every process.
    base = folder / "base"
    reranker = CrossEncoder(str(options.model), num_labels=1, device="cpu", max_length=MAX_LENGTH)
    reranker.save_pretrained(str(base))
    config = dict(r=4, lora_alpha=8, use_rslora=True, target_modules=targets(options.model))
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    model = get_peft_model(plain, LoraConfig(task_type="SEQ_CLS", **config)).eval()
    disturb(model)
    model.save_pretrained(folder / "peft")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.model_max_length = MAX_LENGTH
    tokenizer.save_pretrained(folder / "peft")
    ours = predict(options.binary, folder / "peft", pairs, options.columns, folder)
    theirs = peft_scores(model, tokenizer, pairs)
    differences["peft's here"] = numpy.abs(ours - theirs).max()

    reranker = CrossEncoder(str(base), device="cpu", max_length=MAX_LENGTH)
    reranker.add_adapter(LoraConfig(task_type="SEQ_CLS", **config))
    disturb(reranker)
    reranker.save_pretrained(str(folder / "cross-encoder"))
    ours = predict(options.binary, folder / "cross-encoder", pairs, options.columns, folder)
    difference = numpy.abs(ours - reranker.predict(pairs)).max()
    differences["CrossEncoder's here"] = difference

    encoder = SentenceTransformer(str(options.model), device="cpu")
    encoder.max_seq_length = MAX_LENGTH
    encoder.add_adapter(LoraConfig(task_type="FEATURE_EXTRACTION", **config))
    disturb(encoder)
    encoder.save_pretrained(str(folder / "encoder"))
    ours = encode(options.binary, folder / "encoder", texts, folder)
    differences["SentenceTransformer's here"] = numpy.abs(ours - encoder.encode(texts)).max()
    return differences


def undropped(options, folder):
    """A reranker of the encoder whose config has no dropout."""
    model = CrossEncoder(str(options.model), num_labels=1, device="cpu", max_length=MAX_LENGTH)
    config = model[0].model.config
    for name in vars(config):
        if "dropout" in name or name.endswith("_drop"):
            setattr(config, name, 0.0)
    model.save_pretrained(str(folder / "undropped"))
    return folder / "undropped"


def step_by_step(options, folder, rows, pairs, labels):
    """The largest relative difference of the losses of the first steps."""
    base = undropped(options, folder)
    first, _ = train(options, folder / "first", base, rows, 1, 0.0)
    _, ours = train(options, folder / "steps", base, rows, options.steps, 1e-3)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    model = PeftModel.from_pretrained(plain, first, is_trainable=True).train()
    stored = safetensors.torch.load_file(first / "adapter_model.safetensors")
    assert all((value == 0).all() for name, value in stored.items() if "lora_B" in name)
    inputs = tokens(transformers.AutoTokenizer.from_pretrained(base), pairs)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    theirs = []
    for _ in range(options.steps):
        optimizer.zero_grad()
        logits = model(**inputs).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        theirs.append(loss.item())
    print(f"{options.steps} steps: loss from {ours[0]:.5f} to {ours[-1]:.5f}")
    return max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--columns", default="query,answer")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--binary", default=BINARY)
    options = parser.parse_args()
    options.columns = options.columns.split(",")
    lines = options.data.read_text().splitlines()[: options.rows]
    pairs = [tuple(json.loads(line)[column] for column in options.columns) for line in lines]
    # Every second pair has the answer of another.
    pairs = [
        (query, answer if index % 2 == 0 else pairs[index - 1][1])
        for index, (query, answer) in enumerate(pairs)
    ]
    labels = [1 - index % 2 for index in range(len(pairs))]
    texts = [text for pair in pairs for text in pair]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        labeled, positives = folder / "labeled.jsonl", folder / "positives.jsonl"
        rows = [(*pair, label) for pair, label in zip(pairs, labels)]
        write(labeled, [*options.columns, "label"], rows)
        write(positives, options.columns, pairs[::2])
        differences = ours_in_python(options, folder, labeled, pairs)
        half = argparse.Namespace(**{**vars(options), "rows": len(pairs[::2])})
        differences |= ours_in_python_dual(half, folder, positives, texts)
        differences |= theirs_here(options, folder, pairs, texts)
        loss = step_by_step(options, folder, labeled, pairs, torch.tensor(labels).float())
        shutil.rmtree(folder / "output", ignore_errors=True)
    for what, difference in differences.items():
        print(f"{what}: largest difference {difference:.1e}")
    print(f"losses step by step: largest relative difference {loss:.1e}")
    worst = max(differences.values())
    sys.exit(not (worst < ALLOWED and loss < ALLOWED_LOSS))


if __name__ == "__main__":
    main()
