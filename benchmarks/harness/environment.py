"""The Python environment, the binary, and what is said of the machine; standard library only."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = ROOT / "benchmarks/requirements.txt"
CACHE = ROOT / "target/benchmarks"

# How the other side's libraries are kept to the instruction sets that `--isa` can name, beside
# rankforge's own RANKFORGE_ISA. On processors of AMD, MKL and OpenBLAS use AVX2 anyway.
ISA_VARIABLES = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "FAISS_SIMD_LEVEL": "AVX2",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "FAISS_SIMD_LEVEL": "AVX512",
    },
}


def enter(folder):
    """Goes on in the environment at `folder`, which is made first if there is none.

    Exits with a message when its packages are not those of requirements.txt.
    """
    folder = folder.absolute()
    if not (folder / "bin/python").exists():
        make(folder)
    if pathlib.Path(sys.prefix).resolve() != folder.resolve():
        python = str(folder / "bin/python")
        os.execv(python, [python, "-m", "harness", *sys.argv[1:]])
    wrong = mismatches()
    if wrong:
        listed = "\n".join(
            f"  {name}: expected {expected}, found {found}" for name, expected, found in wrong
        )
        sys.exit(
            f"{folder} does not hold what {REQUIREMENTS.name} names:\n{listed}\n"
            f"Run {folder}/bin/python -m pip install -r {REQUIREMENTS}, "
            "or name another folder with --environment."
        )


def make(folder):
    """Makes the environment under a temporary name and gives it its own when all is installed."""
    partial = folder.with_name(folder.name + ".partial")
    print(
        f"installing {REQUIREMENTS.name} into {folder} (several GB, once)",
        file=sys.stderr,
        flush=True,
    )
    shutil.rmtree(partial, ignore_errors=True)
    pip = [
        str(partial / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--requirement",
        str(REQUIREMENTS),
    ]
    for command in ([sys.executable, "-m", "venv", str(partial)], pip):
        if subprocess.run(command).returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            sys.exit(f"{' '.join(command)} failed; on Debian, venv needs the package python3-venv")
    partial.rename(folder)


def mismatches():
    """Pinned packages that this environment has not, as (name, expected, found)."""
    wrong = []
    for line in REQUIREMENTS.read_text().splitlines():
        name, _, expected = line.partition("==")
        if line.startswith("#") or not expected:
            continue
        try:
            found = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "nothing"
        if found != expected:
            wrong.append((name, expected, found))
    return wrong


def build():
    """Builds the release binary, and the example programs that measure where they are there; the
    binary's path."""
    subprocess.run(["cargo", "build", "--release", "--locked"], check=True, cwd=ROOT)
    kernels = ROOT / "crates/rankforge-kernels/examples"
    examples = [name for name in ("peak", "search_files") if (kernels / f"{name}.rs").exists()]
    if examples:
        command = ["cargo", "build", "--release", "--locked", "--package", "rankforge-kernels"]
        command += [part for name in examples for part in ("--example", name)]
        subprocess.run(command, check=True, cwd=ROOT)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/rankforge"


def instruction_sets(binary, isa, model):
    """The instruction set of rankforge on this machine, and those of the other side's libraries, as
    they say themselves; at most `isa` where it is given."""
    environment = {**os.environ, **({"RANKFORGE_ISA": isa} if isa else {})}
    command = [str(binary), "info", "--quiet", "--json", str(model)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    environment = {**os.environ, **ISA_VARIABLES.get(isa, {})}
    command = [sys.executable, "-m", "harness.peer_isa"]
    folder = ROOT / "benchmarks"
    theirs = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env=environment, cwd=folder
    ).stdout
    return {"ours": json.loads(found)["device"].split(", ")[1], "theirs": json.loads(theirs)}


def peak(binary, threads, isa):
    """The most operations per second by type, in G/s, of the instruction set `isa`, or of the
    machine's best; None if no program measures it.

    The program is `examples/peak` beside the binary; a multiply-add counts as two operations. Types
    for which the machine has no instruction are computed in fp32 and have its peak.
    """
    program = binary.parent / "examples/peak"
    if not program.exists():
        print(f"the peak is not measured: there is no {program}", file=sys.stderr, flush=True)
        return None
    command = [str(program), "--json", "--threads", str(threads)]
    command += ["--isa", isa] if isa else []
    rates = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    return {name: rate or rates["fp32"] for name, rate in rates.items()}


def describe(binary, threads):
    """Machine, versions, commit and date of a run."""
    lines = (
        pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        if pathlib.Path("/proc/cpuinfo").exists()
        else []
    )
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    pinned = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "threads": threads,
        "commit": git.stdout.strip() or "unknown",
        "binary": binary.name,
        "date": datetime.date.today().isoformat(),
        "peers": dict(line.split("==") for line in pinned),
    }
