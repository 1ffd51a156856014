"""What the stress runs share: the binary, models and data of the quickstart, limited processes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = TARGET / "stress"
BINARY = TARGET / "release" / "rankforge"


def quickstart() -> Path:
    """The folder of a quickstart: two models, pairs and a BEIR folder. Made once."""
    if not BINARY.is_file():
        sys.exit(f"{BINARY} is missing: run cargo build --release")
    folder = WORK / "quickstart"
    if not (folder / "held-out").is_dir():
        WORK.mkdir(parents=True, exist_ok=True)
        command = [BINARY, "quickstart", "--quiet", "--num-train-epochs", "1", "--output", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@dataclass
class Ended:
    """How a process ended."""

    code: int  # the exit status; minus the signal that killed it
    seconds: float
    mebibytes: float  # peak resident memory
    stderr: str


def run_limited(arguments: list, folder: Path, seconds: float) -> Ended:
    """Runs rankforge in `folder` and kills it after `seconds`."""
    begun = time.monotonic()
    with open(folder / "stderr.txt", "w+b") as errors:
        process = subprocess.Popen(
            [BINARY, *map(str, arguments)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        deadline = begun + seconds
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        while pid == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid == 0:
            process.send_signal(signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed = time.monotonic() - begun
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return Ended(process.returncode, elapsed, usage.ru_maxrss / 1024, text)
