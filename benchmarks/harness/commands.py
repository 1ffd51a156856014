"""Runs commands of either side and says plainly what went wrong."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time

from harness.environment import ISA_VARIABLES, ROOT

MEASURE = pathlib.Path(__file__).with_name("measure.py")


class RowFailed(Exception):
    """A row cannot be measured or its two sides did not do the same; the message says why."""


@dataclasses.dataclass
class Measured:
    """What a whole process took, and the seconds at which each line of its standard error came."""

    wall_seconds: float
    cpu_seconds: float
    memory_mib: float
    line_seconds: list[float]


@dataclasses.dataclass
class Server:
    """A server that listens at `address`, a host and a port."""

    address: tuple[str, int]
    measured: Measured | None = None


@dataclasses.dataclass
class Sides:
    """How the two sides are started.

    Attributes:
        isa: The instruction set of both sides, or None for the best that each can use.
    """

    binary: pathlib.Path
    threads: int
    isa: str | None = None

    def ours(self, arguments, folder, precision="fp32"):
        """Runs the rankforge binary with `arguments`, its logs in `folder`.

        Raises:
            RowFailed: It failed; at a reduced precision that the binary does not know, that is what
                the message says.
        """
        command = [self.binary, "--threads", self.threads, *arguments]
        measured, error = run(command, folder, "ours", self.our_environment())
        if error is None:
            return measured
        line = next(
            (line for line in error.splitlines() if line.startswith("error:")), error.strip()
        )
        refused = re.search(r"not supported|unexpected argument|unknown field", line) and re.search(
            r"bf16|precision", line
        )
        if precision != "fp32" and refused:
            raise RowFailed(f"{precision} is not supported by this binary: {line}")
        raise RowFailed(f"rankforge {arguments[0]} failed: {error.strip()}")

    def example(self, name, arguments, folder):
        """Runs an example program, which stands beside the binary, its logs in `folder`; what it
        printed, and what it took.

        Raises:
            RowFailed: It failed, or is not there.
        """
        program = self.binary.parent / "examples" / name
        if not program.exists():
            raise RowFailed(f"there is no {program}")
        measured, error = run([program, *arguments], folder, name, self.our_environment())
        if error is not None:
            raise RowFailed(f"{name} {arguments[0]} failed: {error.strip()}")
        return (folder / f"{name}.stdout").read_text(), measured

    @contextlib.contextmanager
    def serving(self, arguments, folder):
        """A server of the rankforge binary, its logs in `folder`, for the time of a `with` block;
        afterwards it has been `measured`.

        Raises:
            RowFailed: It failed.
        """
        command = [self.binary, "--threads", self.threads, *arguments]
        files = [folder / f"server.{kind}" for kind in ("measured.json", "stdout", "stderr")]
        outer = [sys.executable, "-I", "-S", MEASURE, *files, *command]
        process = subprocess.Popen(
            [str(part) for part in outer], env=self.our_environment(), cwd=ROOT
        )
        try:
            server = Server(address_of(process, files[2]))
            yield server
        finally:
            process.terminate()
            process.wait()
        figures = json.loads(files[0].read_text())
        if figures.pop("status") != 0:
            raise RowFailed(f"rankforge serve failed: {files[2].read_text().strip()}")
        server.measured = Measured(**figures)

    def our_environment(self):
        """The variables of a process of rankforge."""
        return {**os.environ, **({"RANKFORGE_ISA": self.isa} if self.isa else {})}

    def theirs(self, job, folder):
        """Runs a job of `peers.py`; what it measured of itself, and what the whole process took."""
        job_file, result_file = folder / "job.json", folder / "result.json"
        job_file.write_text(json.dumps({**job, "threads": self.threads}, default=str))
        count = str(self.threads)
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        threads = {
            "OMP_NUM_THREADS": count,
            "RAYON_NUM_THREADS": count,
            "TOKENIZERS_PARALLELISM": "true",
        }
        command = [sys.executable, "-m", "harness.peers", job_file, result_file]
        limits = ISA_VARIABLES[self.isa] if self.isa else {}
        path = {"PYTHONPATH": str(ROOT / "benchmarks")}
        environment = {**os.environ, **offline, **threads, **limits, **path}
        measured, error = run(command, folder, "theirs", environment)
        if error is not None:
            raise RowFailed(f"the other side failed at {job['work']}: {error.strip()[-2000:]}")
        return json.loads(result_file.read_text()), measured


def address_of(process, log):
    """The host and port that a server says it listens on, as soon as it does.

    Raises:
        RowFailed: It ended before.
    """
    while process.poll() is None:
        written = log.read_text() if log.exists() else ""
        found = re.search(r"listening on http://(.*):(\d+)\n", written)
        if found:
            return found[1], int(found[2])
        time.sleep(0.02)
    raise RowFailed(f"rankforge serve ended before it listened: {log.read_text().strip()}")


def run(command, folder, name, environment):
    """Runs a command from the repository's root as a process of its own; its figures, and its
    standard error if it failed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{kind}" for kind in ("measured.json", "stdout", "stderr")]
    outer = [sys.executable, "-I", "-S", MEASURE, *files, *command]
    subprocess.run([str(part) for part in outer], check=True, env=environment, cwd=ROOT)
    figures = json.loads(files[0].read_text())
    status = figures.pop("status")
    return Measured(**figures), files[2].read_text(errors="replace") if status != 0 else None
