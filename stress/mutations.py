"""Gives rankforge model folders and data files with random damage, and checks how it ends.

    python3 stress/mutations.py [COUNT] [SEED]

Each of COUNT (20,000) inputs is a copy of a good one with one to three mutations: bytes changed,
cut, repeated or removed, a JSON value replaced or a key removed, a file deleted or exchanged for
another. A command must end by itself with exit status 0, 1 or 2, within 10 seconds and 1 GiB, and
must not panic. Inputs that do not are kept in target/stress/findings.
"""

import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import WORK, Ended, quickstart, run_limited

SECONDS = 10.0
MEBIBYTES = 1024.0
FINDINGS = WORK / "findings"
VALUES = [None, True, False, 0, 1, -1, 3, 1e30, -0.5, 2**31, 2**53, 2**64, 10**30, "", "a", "\0"]
VALUES += [[], {}, [[]], {"a": {}}, "é" * 300, [0] * 5000, "NaN", [None], "bert", "../../x"]


def bases(folder: Path) -> list:
    """Good inputs: name, source, and the commands that read it."""
    texts = folder / "texts.jsonl"
    rows = (folder / "pairs.jsonl").read_text().splitlines()[:12]
    texts.write_text("\n".join(rows) + "\n")
    csv = folder / "texts.csv"
    cells = [json.loads(row) for row in rows]
    names = list(cells[0])
    lines = [",".join(f'"{cell[name]}"' for name in names) for cell in cells]
    csv.write_text("\n".join([",".join(names), *lines]) + "\n")
    parquet = folder / "texts.parquet"
    scored = ["predict", "--model", folder / "reranker", "--input", texts, "--limit", "4"]
    ended = run_limited([*scored, "--output", parquet], folder, 60)
    assert ended.code == 0, ended.stderr
    reranker, static, beir = folder / "reranker", folder / "first-stage", folder / "held-out"
    query = ["--query", "What do bees make?"]
    column = names[0]
    of_reranker = [
        ["predict", "--model", "INPUT", "--input", texts, "--limit", "3"],
        ["rank", "--model", "INPUT", *query, "--documents", texts, "--column", column],
        ["info", "INPUT"],
    ]
    of_static = [
        ["encode", "--model", "INPUT", "--input", texts, "--column", column, "--output", "e.npy"],
        ["mine", "--model", "INPUT", "--dataset", texts, "--output", "m.jsonl", "--quiet"],
        ["info", "INPUT"],
    ]
    of_rows = [
        ["info", "INPUT"],
        ["predict", "--model", reranker, "--input", "INPUT", "--limit", "3"],
        ["encode", "--model", static, "--input", "INPUT", "--column", column, "--output", "e.npy"],
        ["rank", "--model", reranker, *query, "--documents", "INPUT", "--column", column],
        ["mine", "--model", static, "--dataset", "INPUT", "--output", "m.jsonl", "--quiet"],
    ]
    of_beir = ["evaluate", "reranking", "--model", reranker, "--dataset", "INPUT"]
    of_beir += ["--first-stage", static, "--depth", "2", "--quiet"]
    return [
        (reranker, of_reranker),
        (static, of_static),
        (texts, of_rows),
        (csv, of_rows),
        (parquet, of_rows),
        (beir, [of_beir, ["info", "INPUT"]]),
    ]


def mutate_json(data: bytes, random_: random.Random) -> bytes:
    """Replaces or removes one value somewhere in a JSON text."""
    try:
        document = json.loads(data)
    except ValueError:
        return mutate_bytes(data, random_)
    places = []

    def walk(value):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in list(children)[:200]:
            places.append((value, key))
            if isinstance(child, (dict, list)):
                walk(child)

    if isinstance(document, (dict, list)):
        walk(document)
    if not places:
        return json.dumps(random_.choice(VALUES)).encode()
    container, key = random_.choice(places)
    if random_.random() < 0.3:
        del container[key]
    else:
        container[key] = random_.choice(VALUES)
    return json.dumps(document, ensure_ascii=False).encode()


def mutate_bytes(data: bytes, random_: random.Random) -> bytes:
    """Changes, cuts, repeats or removes bytes."""
    if not data:
        return random_.randbytes(8)
    # Half of the time near the beginning, where headers are.
    end = len(data) if random_.random() < 0.5 else min(len(data), 300)
    at = random_.randrange(end)
    kind = random_.randrange(5)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << random_.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        length = random_.choice([1, 8, 1000, 100000])
        return data[:at] + data[at : at + length] * random_.choice([2, 3, 50]) + data[at:]
    if kind == 3:
        return data[:at] + data[at + random_.choice([1, 7, 4096]) :]
    return data[:at] + random_.randbytes(random_.choice([1, 4, 8])) + data[at + 1 :]


def mutate(path: Path, random_: random.Random) -> str:
    """Damages a file, or one file of a folder. Returns what was done."""
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    if not files:
        return "nothing left"
    file = random_.choice(files)
    if path.is_dir() and random_.random() < 0.08:
        if random_.random() < 0.5:
            file.unlink()
            return f"{file.name} deleted"
        other = random_.choice(files)
        if other != file:
            shutil.copy(other, file)
        return f"{file.name} is a copy of {other.name}"
    data = file.read_bytes()
    is_json = file.suffix == ".json" and random_.random() < 0.8
    file.write_bytes(mutate_json(data, random_) if is_json else mutate_bytes(data, random_))
    return f"{file.name} {'JSON' if is_json else 'bytes'}"


def fault(ended: Ended) -> str | None:
    """What is wrong with how a command ended."""
    if ended.seconds >= SECONDS:
        return f"took {ended.seconds:.1f} s"
    if ended.code not in (0, 1, 2):
        return f"exit status {ended.code}"
    if "panicked" in ended.stderr:
        return "panic"
    if ended.mebibytes > MEBIBYTES:
        return f"used {ended.mebibytes:.0f} MiB"
    return None


def one(index: int, seed: int, inputs: list) -> tuple:
    """Runs one damaged input. Returns its kind, its end and its fault."""
    random_ = random.Random(seed * 1_000_003 + index)
    source, commands = inputs[index % len(inputs)]
    command = random_.choice(commands)
    with tempfile.TemporaryDirectory(dir=shared_memory()) as place:
        folder = Path(place)
        copy = folder / source.name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
        done = [mutate(copy, random_) for _ in range(random_.randint(1, 3))]
        arguments = [copy if part == "INPUT" else part for part in command]
        ended = run_limited([*arguments, "--threads", "1"], folder, SECONDS)
        found = fault(ended)
        if found:
            kept = FINDINGS / f"{seed}-{index}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            text = " ".join(map(str, command))
            (kept / "finding.txt").write_text(f"{found}\n{text}\n{done}\n")
    return source.name, command[0], ended, found


def shared_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    inputs = bases(quickstart())
    ends, faults = Counter(), []
    slowest, largest = 0.0, 0.0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda index: one(index, seed, inputs), range(count))
        for index, (source, command, ended, found) in enumerate(results):
            ends[ended.code] += 1
            slowest = max(slowest, ended.seconds)
            largest = max(largest, ended.mebibytes)
            if found:
                faults.append(index)
                print(f"{seed}-{index}: {command} {source}: {found}", flush=True)
            if (index + 1) % 1000 == 0:
                print(f"{index + 1} of {count}", file=sys.stderr, flush=True)
    print(f"{count} inputs, seed {seed}: exit statuses {dict(sorted(ends.items()))}")
    print(f"slowest {slowest:.2f} s, most memory {largest:.0f} MiB, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
