"""Checks that TensorBoard, MLflow and Weights & Biases read what `report_to` gives them.

    python3 -m venv target/trackers/venv
    target/trackers/venv/bin/pip install tensorboard==2.21.0 mlflow==3.17.2 wandb==0.31.0
    target/trackers/venv/bin/python benchmarks/check_trackers.py MODEL [--binary FILE]

MODEL is a dual encoder such as all-MiniLM-L6-v2. Trains a reranker with LoRA, and a dual encoder on
two data sets, a few steps each, with all trackers: a real MLflow server, event files, offline runs.
Then reads them with the packages of the trackers, and compares every number with log.jsonl. Resumes
the first run from an earlier checkpoint, and reads again; ends a run by SIGTERM. Last, uploads the
offline runs by `wandb sync` to a server of this script, which looks at what arrives. Connects to
this machine only.
"""

import argparse
import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from harness.fake_wandb import FakeWandb
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BINARY = pathlib.Path(__file__).resolve().parent.parent / "target/release/rankforge"
TOOLS = pathlib.Path(sys.executable).parent
THINGS = ["river", "stone", "garden", "engine", "letter", "window", "bridge", "candle"]
SUMMARY_ONLY = {"train_runtime", "train_samples_per_second", "train_steps_per_second"}
SUMMARY_ONLY |= {"train_loss", "total_flos"}
ARGUMENTS = """
[arguments]
max_steps = 8
per_device_train_batch_size = 4
logging_steps = 2
eval_strategy = "steps"
eval_steps = 4
save_strategy = "steps"
save_steps = 4
report_to = ["tensorboard", "mlflow", "wandb"]
"""
RERANKER = """
[model]
path = "model"
max_length = 24
[dataset]
path = "pairs.jsonl"
columns = ["query", "answer", "label"]
[eval_dataset]
path = "pairs.jsonl"
limit = 8
[lora]
r = 4
[[evaluators]]
type = "CrossEncoderClassificationEvaluator"
path = "pairs.jsonl"
name = "dev"
"""
DUAL_ENCODER = """
[model]
kind = "dual-encoder"
path = "model"
[datasets.pairs]
path = "pairs.jsonl"
columns = ["query", "answer"]
loss = { name = "MultipleNegativesRankingLoss" }
[datasets.scored]
path = "pairs.jsonl"
loss = { name = "CoSENTLoss" }
[eval_datasets.pairs]
path = "pairs.jsonl"
columns = ["query", "answer"]
[eval_datasets.scored]
path = "pairs.jsonl"
"""


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def grouped(name):
    return f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}"


def lines(folder):
    """The lines of the log, each as step, time and metrics."""
    for text in (folder / "log.jsonl").read_text().splitlines():
        line = {name: value for name, value in json.loads(text).items() if value is not None}
        yield line.pop("step"), line.pop("time"), line


def expected(folder, rename=lambda name: name):
    """For each metric the pairs of step and value, in order."""
    found = collections.defaultdict(list)
    for step, _, metrics in lines(folder):
        for name, value in metrics.items():
            found[rename(name)].append((step, value))
    return found


def latest(metrics):
    """The last value of each step: that of the resumed run where there are two."""
    return {name: sorted(dict(pairs).items()) for name, pairs in metrics.items()}


def compare(found, wanted, what, tolerance):
    check(set(found) == set(wanted), f"{what}: {set(found) ^ set(wanted)} on one side only")
    for name, pairs in wanted.items():
        check([step for step, _ in found[name]] == [step for step, _ in pairs], f"{what}: {name}")
        for (_, value), (_, other) in zip(found[name], pairs):
            check(abs(value - other) <= tolerance * abs(other), f"{what}: {name} {value} {other}")
    count = sum(map(len, wanted.values()))
    print(f"{what}: {count} values of {len(wanted)} metrics are those of log.jsonl")


def check_tensorboard(folder):
    (run,) = (folder / "runs").iterdir()
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    found = {tag: [(event.step, event.value) for event in scalars[tag]] for tag in scalars}
    compare(found, expected(folder, grouped), f"tensorboard {folder.name}", 1e-7)
    times = [event.wall_time for event in scalars["train/loss"]]
    check(times == [time for _, time, line in lines(folder) if "loss" in line], "wall times")
    text = events.Tensors("args/text_summary")[0].tensor_proto.string_val[0].decode()
    check(json.loads(text)["learning_rate"] == 5e-5, f"arguments as a text: {text}")


def check_mlflow(folder, client, status, resumed=False):
    run_id = json.loads((folder / "trackers/mlflow.json").read_text())["run_id"]
    run = client.get_run(run_id)
    check(run.info.status == status, f"mlflow: {run.info.status} is not {status}")
    params = run.data.params
    check(params["learning_rate"] == "5e-05" and params["bf16"] == "False", f"mlflow: {params}")
    check(params["hidden_size"] == "384" and params["seed"] == "42", f"mlflow: {params}")
    found = {}
    for name in run.data.metrics:
        history = sorted(client.get_metric_history(run_id, name), key=lambda point: point.timestamp)
        found[name] = [(point.step, point.value) for point in history]
    wanted = expected(folder)
    if resumed:
        found, wanted = latest(found), latest(wanted)
    compare(found, wanted, f"mlflow {folder.name}", 0)
    return run


def inspect(run):
    """The records of an offline run, as wandb's own reader prints them."""
    command = [TOOLS / "wandb", "leet", "inspect", "--json", run]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def check_wandb(folder, runs, code):
    """`runs` are the directories of a run and of those that resumed it."""
    history, config, summary, exits = collections.defaultdict(list), {}, {}, []
    steps = []
    for run in runs:
        for record in inspect(run):
            kind = record["type"]
            content = record[kind]
            if kind == "history":
                item = content["item"]
                steps.append(item["_step"])
                for name, value in item.items():
                    if not name.startswith("_") and name != "train/global_step":
                        history[name].append((item["train/global_step"], value))
            elif kind == "config":
                config |= content["update"]
            elif kind == "summary":
                summary |= content["update"]
            elif kind == "exit":
                exits.append(content.get("exit_code", 0))
            elif kind == "run":
                check(content["project"] == "a project", f"wandb: {content}")
    check(exits[-1] == code, f"wandb: {exits}")
    check(config["learning_rate"] == 5e-5 and config["hidden_size"] == 384, f"wandb: {config}")
    wanted = expected(folder)
    for name in SUMMARY_ONLY & set(wanted):
        check(summary[name] == wanted.pop(name)[-1][1], f"wandb: summary of {name}")
    wanted = {grouped(name): pairs for name, pairs in wanted.items()}
    check(steps == list(range(len(steps))), f"wandb: steps {steps}")
    if len(runs) > 1:
        history, wanted = latest(history), latest(wanted)
    compare(history, wanted, f"wandb {folder.name}", 0)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_mlflow(folder):
    port = free_port()
    command = [TOOLS / "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    log = open(folder / "mlflow.log", "w")
    server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2).read()
            return server, uri
        except OSError:
            time.sleep(0.5)
    sys.exit("failed: the MLflow server did not start")


def data():
    for row in range(32):
        thing, other = THINGS[row % 8], THINGS[row * 3 % 8]
        yield {"query": f"where is the {thing} {row}", "answer": f"a {other}", "label": row % 2}


def train(options, folder, words, environment, end_early=False):
    command = [options.binary.resolve(), "train", *words]
    run = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    told = []
    for line in run.stderr:
        told.append(line)
        if end_early and line.startswith("step "):
            run.send_signal(signal.SIGTERM)
            end_early = False
    check(run.wait() == 0, "".join(told))
    warnings = [line for line in told if "mlflow" in line and "warning" in line]
    check(not warnings, "".join(warnings))
    return "".join(told)


def check_sync(folder, runs, environment):
    """Uploads a run and the one that resumed it by `wandb sync`, and looks at what arrives."""
    with FakeWandb() as server:
        environment = environment | {
            "WANDB_BASE_URL": server.uri,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ERROR_REPORTING": "false",
        }
        counts = []
        for run in runs:
            command = [TOOLS / "wandb", "sync", run]
            subprocess.run(command, check=True, cwd=folder, env=environment, timeout=120)
            counts.append(len(server.history))
        check(server.run["displayName"] == "a reranker", f"wandb sync: {server.run}")
        check(server.resumed and server.done, "wandb sync: the second is a resumed run that ended")
        steps = [line["_step"] for line in server.history.values()]
        check(steps == list(range(counts[1])) and counts == [7, 11], f"wandb sync: {steps}")
        print(f"wandb sync: a server gets {counts[0]} lines, and {counts[1]} with the resumed run")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "model").symlink_to(options.model.resolve())
        (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data()))
        (folder / "reranker.toml").write_text(RERANKER + ARGUMENTS)
        (folder / "dual.toml").write_text(DUAL_ENCODER + ARGUMENTS)
        server, uri = start_mlflow(folder)
        try:
            checks(options, folder, uri)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def checks(options, folder, uri):
    client = MlflowClient(uri)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "MLFLOW_", "TENSORBOARD_"))
    }
    environment |= {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_EXPERIMENT_NAME": "an experiment",
        "MLFLOW_TAGS": '{"team": "search"}',
        "WANDB_PROJECT": "a project",
    }

    def run(recipe, output, *words, **others):
        before = set((folder / "wandb").glob("offline-run-*"))
        words = [recipe, "--set", f"arguments.output_dir={output}", *words]
        told = train(options, folder, words, environment, **others)
        (created,) = set((folder / "wandb").glob("offline-run-*")) - before
        check(f"wandb sync wandb/{created.name}" in told, told)
        return created

    named = ["--set", "arguments.run_name=a reranker"]
    first = run("reranker.toml", "reranker", *named)
    check_tensorboard(folder / "reranker")
    found = check_mlflow(folder / "reranker", client, "FINISHED")
    check(found.info.run_name == "a reranker", f"mlflow: {found.info.run_name}")
    check(found.data.tags["team"] == "search", f"mlflow: {found.data.tags}")
    experiment = client.get_experiment(found.info.experiment_id).name
    check(experiment == "an experiment", f"mlflow: {experiment}")
    check_wandb(folder / "reranker", [first], 0)

    dual = run("dual.toml", "dual")
    check_tensorboard(folder / "dual")
    check_mlflow(folder / "dual", client, "FINISHED")
    check_wandb(folder / "dual", [dual], 0)

    second = run("reranker.toml", "reranker", *named, "--resume=reranker/checkpoint-4")
    check_tensorboard(folder / "reranker")
    check_mlflow(folder / "reranker", client, "FINISHED", resumed=True)
    check_wandb(folder / "reranker", [first, second], 0)
    check(first.name.split("-")[-1] == second.name.split("-")[-1], "wandb: one id")

    many = ["--set", "arguments.max_steps=10000"]
    ended = run("reranker.toml", "ended", *many, end_early=True)
    check_tensorboard(folder / "ended")
    check_mlflow(folder / "ended", client, "KILLED")
    check_wandb(folder / "ended", [ended], 255)

    check_sync(folder, [first, second], environment)
    print("all trackers have what log.jsonl has")


if __name__ == "__main__":
    main()
