"""What every row is given and what it gives back."""

import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile

from harness.commands import Measured, RowFailed, Sides
from harness.data import Corpus
from harness.models import Models


@dataclasses.dataclass
class Bench:
    """Everything a row needs.

    Attributes:
        scale: Share of the full sizes.
        work: Folder for files that are thrown away.
    """

    sides: Sides
    corpus: Corpus
    models: Models
    scale: float
    work: pathlib.Path

    def size(self, full, least):
        """A full size at the scale of this run."""
        return scaled(self.scale, full, least)


def scaled(scale, full, least):
    """A share of a full size, but at least so much."""
    return max(least, round(full * scale))


@dataclasses.dataclass
class Run:
    """One process of one side: `amount / seconds` is its rate.

    Attributes:
        step_seconds: Mean of the training steps after the first, which touches all memory for the
            first time; None elsewhere.
        rates_by_tokens: The rate of the texts of at most so many tokens, in the row that measures
            it.
    """

    seconds: float
    measured: Measured
    step_seconds: float | None = None
    rates_by_tokens: dict[str, float] | None = None


@dataclasses.dataclass
class Result:
    """What came of a row.

    Attributes:
        amount: Pairs, texts or processes that a run works through.
        unit: What the rate counts.
        peer: What rankforge was measured beside.
        operations: Useful operations in the matrix products of a run, of a mean step in training,
            or None.
        details: The size of the work and what the checks found.
        failure: Why the row failed, or None.
    """

    name: str
    title: str
    unit: str
    precision: str
    peer: str
    target: float
    memory_target: float | None
    amount: int = 0
    operations: float | None = None
    ours: list[Run] = dataclasses.field(default_factory=list)
    theirs: list[Run] = dataclasses.field(default_factory=list)
    details: list[str] = dataclasses.field(default_factory=list)
    failure: str | None = None

    def rates(self, runs):
        """The rate of each run."""
        return [self.amount / run.seconds for run in runs]

    def ratios(self):
        """How many times faster rankforge was than the other side, for each pair of runs."""
        return [theirs.seconds / ours.seconds for ours, theirs in zip(self.ours, self.theirs)]

    def step_ratios(self):
        """The same for the training steps after the first; empty elsewhere."""
        pairs = zip(self.ours, self.theirs)
        return [
            theirs.step_seconds / ours.step_seconds
            for ours, theirs in pairs
            if ours.step_seconds and theirs.step_seconds
        ]

    def rates_by_tokens(self):
        """A line with the median rates of both sides by the tokens of a text; none elsewhere."""
        if not self.ours or not self.ours[0].rates_by_tokens:
            return []
        parts = []
        for most in self.ours[0].rates_by_tokens:
            ours, theirs = (
                statistics.median(run.rates_by_tokens[most] for run in runs)
                for runs in (self.ours, self.theirs)
            )
            parts.append(f"{most}: {ours:.0f} and {theirs:.0f}, ratio {ours / theirs:.2f}")
        return [f"{self.unit} of texts of at most so many tokens: {'; '.join(parts)}"]

    def memory_ratios(self):
        """How many times less memory rankforge took, for each pair of runs."""
        return [
            theirs.measured.memory_mib / ours.measured.memory_mib
            for ours, theirs in zip(self.ours, self.theirs)
        ]


# What rows are measured beside that name nothing else.
USUAL_PEER = "sentence-transformers"

# How fast, and how small, a row has to be beside an earlier binary: noise is about 2 %.
EARLIER_TARGET = 0.98


def measure(bench, row, runs, earlier=None):
    """Runs a row in turns, ours first; its result, with what went wrong in it.

    With the sides of an `earlier` binary, both sides are rankforge, and every other pair of runs
    begins with the earlier one.
    """
    beside = (getattr(row, "peer", USUAL_PEER), row.target, row.memory_target)
    if earlier:
        beside = ("earlier binary", EARLIER_TARGET, row.memory_target and EARLIER_TARGET)
    result = Result(row.name, row.title, row.unit, row.precision, *beside)
    with tempfile.TemporaryDirectory(prefix=f"{row.name}-", dir=bench.work) as name:
        folder = pathlib.Path(name)
        try:
            result.amount, result.operations, detail = row.prepare(bench, folder)
            result.details.append(detail)
            if not earlier:
                result.details += row.compare_first(bench, folder)
            for number in range(runs):
                sides = {
                    "ours": lambda path: row.ours(bench, path),
                    "theirs": lambda path: (
                        row.ours(dataclasses.replace(bench, sides=earlier), path)
                        if earlier
                        else row.theirs(bench, path)
                    ),
                }
                order = list(sides) if not earlier or number % 2 == 0 else list(sides)[::-1]
                found = {side: sides[side](folder / f"{side}-{number}") for side in order}
                ours, our_output = found["ours"]
                theirs, their_output = found["theirs"]
                result.ours.append(ours)
                result.theirs.append(theirs)
                # Every run of a side gives the same output, so the first pair of runs shows it.
                if number == 0:
                    result.details.append(row.check(our_output, their_output))
                rates = result.rates([ours]) + result.rates([theirs])
                report(
                    f"{row.name}, run {number + 1} of {runs}: "
                    f"{rates[0]:.4g} and {rates[1]:.4g} {row.unit}"
                )
            result.details += result.rates_by_tokens()
        except (RowFailed, OSError, ValueError, KeyError, subprocess.CalledProcessError) as failure:
            # Whatever it was, the rows measured before and after are worth their time.
            result.failure = (
                str(failure)
                if isinstance(failure, RowFailed)
                else f"{type(failure).__name__}: {failure}"
            )
            report(f"{row.name}: FAILED: {result.failure}")
    return result


def report(line):
    """Says how far the work is."""
    print(line, file=sys.stderr, flush=True)
