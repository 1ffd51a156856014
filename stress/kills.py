"""Kills train, mine and predict at random moments and checks that a rerun gives the same bits.

    python3 stress/kills.py [COUNT] [SEED]

Of COUNT (100) kills, half are of train, which is resumed if it has a checkpoint, and a quarter each
of mine and predict. After the rerun, the output must have the bits of a run that was not killed,
and no temporary file may be left. Before it, an output is there complete or not at all.
"""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from common import BINARY, WORK, quickstart

RECIPE = """
[model]
path = "{quickstart}/untrained-reranker"
[dataset]
path = "{quickstart}/pairs.jsonl"
limit = 120
[mining]
model = "{quickstart}/first-stage"
num_negatives = 2
output_format = "labeled-pair"
mine_eval_dataset = true
[eval_dataset]
path = "{quickstart}/pairs.jsonl"
limit = 40
[loss]
name = "BinaryCrossEntropyLoss"
[arguments]
output_dir = "run"
max_steps = 60
save_steps = 4
save_total_limit = 3
eval_strategy = "steps"
eval_steps = 4
load_best_model_at_end = true
"""


@dataclass
class Work:
    """A command that is killed, and the file that it writes."""

    name: str
    arguments: list
    output: str

    def start(self, folder: Path, resume: bool = False) -> subprocess.Popen:
        more = ["--resume"] if resume else []
        command = [BINARY, *self.arguments, *more, "--quiet"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)

    def finish(self, folder: Path, resume: bool = False) -> str:
        """Runs to the end. Returns the hash of the output."""
        process = self.start(folder, resume)
        _, errors = process.communicate()
        assert process.returncode == 0, f"{self.name}: {errors}"
        return digest(folder / self.output)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def works(place: Path) -> list:
    data = quickstart()
    recipe = place / "recipe.toml"
    recipe.write_text(RECIPE.format(quickstart=data))
    mine = ["mine", "--dataset", data / "pairs.jsonl", "--model", data / "first-stage"]
    mine += ["--cross-encoder", data / "reranker", "--absolute-margin", "0", "--limit", "150"]
    predict = ["predict", "--model", data / "reranker", "--input", data / "pairs.jsonl"]
    return [
        Work("train", ["train", recipe], "run/final/model.safetensors"),
        Work("mine", [*mine, "--output", "mined.jsonl"], "mined.jsonl"),
        Work("train", ["train", recipe], "run/final/model.safetensors"),
        Work("predict", [*predict, "--output", "scores.parquet"], "scores.parquet"),
    ]


def leftovers(folder: Path) -> list:
    prefixes = (".incomplete-", ".rankforge-")
    return [path for path in folder.rglob("*") if path.name.startswith(prefixes)]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    random_ = random.Random(seed)
    place = WORK / "kills"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    whole, durations = {}, {}
    for work in works(place):
        if work.name in whole:
            continue
        folder = place / f"whole-{work.name}"
        folder.mkdir()
        begun = time.monotonic()
        whole[work.name] = work.finish(folder)
        durations[work.name] = time.monotonic() - begun
        print(f"{work.name}: {durations[work.name]:.1f} s without a kill", file=sys.stderr)
    killed = resumed = faults = 0
    cycle = works(place)
    while killed < count:
        work = cycle[killed % len(cycle)]
        folder = place / f"{killed}-{work.name}"
        folder.mkdir()
        process = work.start(folder)
        time.sleep(random_.uniform(0, durations[work.name]))
        if process.poll() is not None:
            shutil.rmtree(folder)
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
        found = []
        output = folder / work.output
        if output.exists() and digest(output) != whole[work.name]:
            found.append("an incomplete output")
        resume = any((folder / "run").glob("checkpoint-*"))
        resumed += resume
        try:
            if work.finish(folder, resume) != whole[work.name]:
                found.append("other bits after the rerun")
        except AssertionError as error:
            found.append(str(error))
        found += [f"left: {path.relative_to(folder)}" for path in leftovers(folder)]
        if found:
            faults += 1
            print(f"{folder.name}: {'; '.join(found)}", flush=True)
        else:
            shutil.rmtree(folder)
    print(f"{killed} kills, seed {seed}: {resumed} runs resumed, {faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
