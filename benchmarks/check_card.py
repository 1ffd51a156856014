"""Checks the cards of models that rankforge wrote: README.md beside the model.

    python benchmarks/check_card.py MODEL...

MODEL is the folder of a model of any kind: a reranker, a dual encoder, a static model, an adapter.
Of each card, this reads the metadata with huggingface_hub and with sentence-transformers and
compares them with the keys and values that the Hub's documentation lists; looks for the parts of
the text, empty tables and paths of this machine; and runs the Python example on the model, whose
figures must be those in its comments. Exits with 1 when something is wrong. Runs in the environment
of `benchmarks/run`, without a network.
"""

import argparse
import contextlib
import io
import math
import os
import pathlib
import re
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import huggingface_hub
import yaml
from sentence_transformers import CrossEncoder, SentenceTransformer

# https://huggingface.co/docs/hub/model-cards and modelcard.md of the repository hub-docs.
KEYS = {
    "language", "license", "license_name", "license_link", "library_name", "tags", "datasets",
    "metrics", "base_model", "base_model_relation", "new_version", "pipeline_tag", "inference",
    "widget", "model-index", "co2_eq_emissions", "thumbnail",
}  # fmt: skip
PIPELINES = {"text-ranking", "text-classification", "sentence-similarity", "feature-extraction"}
RELATIONS = {"adapter", "finetune", "merge", "quantized"}
LICENSES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "openrail", "llama3", "gemma", "other",
    "unknown",
}  # fmt: skip
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
SECTIONS = ["## Model Details", "## Usage", "### With rankforge", "## Citation"]
OF_TRAINING = [
    "## Training Details", "### Training Dataset", "* Samples:", "| details |",
    "### Training Hyperparameters", "#### Non-Default Hyperparameters", "### Training Time",
    "CPU time", "### Environment",
]  # fmt: skip
TOLERANCE = 2e-4


def check_metadata(text, problems):
    """The metadata as a dictionary; adds what the Hub would refuse to `problems`."""
    header = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not header:
        problems.append("the card does not begin with metadata between two lines of ---")
        return {}
    data = yaml.safe_load(header[1])
    problems += [f"{key} is no key of the Hub" for key in sorted(set(data) - KEYS)]
    for key in ["tags", "metrics", "datasets"]:
        values = data.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            problems.append(f"{key} is not a list of texts")
        elif len(set(values)) != len(values):
            problems.append(f"{key} has a value twice")
    languages = data.get("language", [])
    for language in [languages] if isinstance(languages, str) else languages:
        if not isinstance(language, str) or not re.fullmatch(r"[a-z]{2,3}|multilingual", language):
            problems.append(f"language: {language} is no code")
    for repository in [*data.get("datasets", []), *filter(None, [data.get("base_model")])]:
        if not REPOSITORY.fullmatch(repository):
            problems.append(f"{repository} is not owner/name")
    for key, known in [
        ("pipeline_tag", PIPELINES), ("license", LICENSES), ("base_model_relation", RELATIONS),
        ("library_name", {"sentence-transformers"}),
    ]:  # fmt: skip
        if key in data and data[key] not in known:
            problems.append(f"{key}: {data[key]} is none of {', '.join(sorted(known))}")
    for key in ["tags", "pipeline_tag", "library_name"]:
        if key not in data:
            problems.append(f"{key} is missing")
    for tag in data.get("tags", []):
        if len(tag) > 96:
            problems.append(f"the tag {tag} is too long")
    check_results(text, data, problems)
    return data


def check_results(text, data, problems):
    """The results, as huggingface_hub reads them."""
    try:
        card = huggingface_hub.ModelCard(text, ignore_metadata_errors=False)
    except Exception as error:
        problems.append(f"huggingface_hub: {error}")
        return
    results = card.data.eval_results or []
    written = [
        metric
        for model in data.get("model-index", [])
        for result in model["results"]
        for metric in result["metrics"]
    ]
    if len(results) != len(written):
        problems.append(f"{len(results)} results of {len(written)} are read")
    for result in results:
        value = result.metric_value
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            problems.append(f"{result.metric_type} of {result.dataset_name}: {value}")
        if not all([result.task_type, result.dataset_type, result.dataset_name]):
            problems.append(f"{result.metric_type} lacks a task or a data set")


def check_text(text, problems):
    """Parts of the text, and what must not be there."""
    trained = "generated_from_trainer" in text
    for part in SECTIONS + (OF_TRAINING if trained else []):
        if part not in text:
            problems.append(f"{part} is missing")
    for pattern, what in [
        (r"\{\{|\{%", "code of a template"),
        (r"(?m)^\|[-: |]+\|\n(?!\|)", "a table without rows"),
        (r"(?<![\w:/.<])/(?:home|root|tmp|work|Users)/", "a path of this machine"),
    ]:
        found = re.search(pattern, text)
        if found:
            problems.append(f"{what}: {text[max(0, found.start() - 40) : found.end() + 40]!r}")


def check_example(text, folder, problems):
    """Runs the Python example, and compares the figures that it prints with its comments."""
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    name = re.search(r'(?:CrossEncoder|SentenceTransformer)\("([^"]+)"\)', code)[1]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.replace(f'"{name}"', repr(str(folder))), {})
    figures = re.compile(r"-?\d+\.\d+")
    shown = [
        float(number)
        for line in re.findall(r"(?m)^# (.*)$", code)
        for number in figures.findall(line)
    ]
    got = [float(number) for number in figures.findall(printed.getvalue())]
    if not shown:
        problems.append("the example shows no figures")
    if len(shown) != len(got) or any(abs(a - b) > TOLERANCE for a, b in zip(shown, got)):
        problems.append(f"the example shows {shown}, Python prints {got}")


def check(folder):
    """What is wrong with the card of a model."""
    problems = []
    text = (folder / "README.md").read_text(encoding="utf-8")
    data = check_metadata(text, problems)
    check_text(text, problems)
    reranker = "cross-encoder" in data.get("tags", [])
    model = (CrossEncoder if reranker else SentenceTransformer)(str(folder), device="cpu")
    # Unknown keys would be an error.
    fields = set(vars(model.model_card_data))
    known = {key: data[key] for key in ["language", "license", "tags"] if key in data}
    type(model.model_card_data)(**{key: known[key] for key in known if key in fields})
    if not (reranker and model.num_labels > 1):
        check_example(text, folder, problems)
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    failed = 0
    for folder in parser.parse_args().models:
        problems = check(folder)
        failed += len(problems)
        for problem in problems or ["as it should be"]:
            print(f"{folder}: {problem}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
