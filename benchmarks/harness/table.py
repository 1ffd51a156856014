"""What is printed and written of the results."""

import dataclasses
import statistics

from harness.bench import USUAL_PEER

HEADINGS = (
    "work",
    "rankforge",
    "sentence-transformers",
    "ratio",
    "of later steps",
    "to reach",
    "useful G/s",
    "check",
)
NOTE = (
    "Figures are lowest / median / highest. Processes ran in turns, rankforge first, and a ratio "
    "is that of one such pair. Training rates are those of the Trainer on either side, without "
    "starting and loading; later steps are those after the first, with other rows on either side. "
    "Rates of `score` and `encode` hold the whole process on rankforge's side, but the call alone "
    "on the other. Single texts are served by HTTP on rankforge's side, and embedded in the "
    "process that asks on the other; ONNX Runtime cannot be kept to an instruction set. Useful "
    "arithmetic is that of the matrix products of real tokens (padding left out), three times over "
    "in training, where it is that of the later steps, as a share of the "
    "peak of rankforge's instruction set, measured in the same run."
)


def lines(results, peak):
    """The rows of the table as cells: one for each result's rate, one for its memory where that has
    a target."""
    table = []
    for result in results:
        if result.failure:
            table.append(
                (
                    result.title,
                    "",
                    "",
                    "",
                    "",
                    f"{result.target:g}x",
                    "",
                    f"FAILED: {first_line(result.failure)}",
                )
            )
            continue
        ours, theirs = (
            f"{spread(result.rates(runs))} {result.unit}" for runs in (result.ours, result.theirs)
        )
        if result.amount == 1:
            ours, theirs = (
                f"{spread([run.seconds for run in runs])} s"
                for runs in (result.ours, result.theirs)
            )
        if result.peer not in (USUAL_PEER, "earlier binary"):
            theirs = f"{result.peer}: {theirs}"
        useful = useful_arithmetic(result, peak)
        later = spread(result.step_ratios()) if result.step_ratios() else ""
        table.append(
            (
                result.title,
                ours,
                theirs,
                spread(result.ratios()),
                later,
                reached(result.ratios(), result.target),
                useful,
                "same",
            )
        )
        if result.memory_target:
            memory = [
                f"{spread([run.measured.memory_mib for run in runs])} MiB"
                for runs in (result.ours, result.theirs)
            ]
            ratios = result.memory_ratios()
            title = f"peak memory of: {result.title}"
            table.append(
                (
                    title,
                    *memory,
                    spread(ratios),
                    "",
                    reached(ratios, result.memory_target),
                    "",
                    "same",
                )
            )
    return table


def reached(ratios, target):
    """The target, and whether the median ratio is that good."""
    return f"{target:g}x: {'yes' if statistics.median(ratios) >= target else 'no'}"


def useful_arithmetic(result, peak):
    """Useful G/s of rankforge's runs and their share of the peak."""
    if result.operations is None:
        return ""
    rates = [result.operations / (run.step_seconds or run.seconds) / 1e9 for run in result.ours]
    if peak is None:
        return f"{spread(rates)}, peak not measured"
    return f"{spread(rates)}, {statistics.median(rates) / peak[result.precision]:.0%} of peak"


def spread(values):
    """Lowest, median and highest, in three digits; a single value alone."""
    if len(values) == 1:
        return digits(values[0])
    return " / ".join(
        digits(value) for value in (min(values), statistics.median(values), max(values))
    )


def digits(value):
    """Three digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def first_line(text):
    """The first line, cut where it is long."""
    line = text.strip().splitlines()[0].replace("|", "/")
    return line if len(line) <= 160 else line[:157] + "..."


def heading(run):
    """Machine, commit, date and peak in a few lines."""
    machine, peak = run["machine"], run["peak"]
    peers = ", ".join(
        f"{name} {machine['peers'][name]}"
        for name in ("sentence-transformers", "torch", "transformers", "onnxruntime")
    )
    speed = (
        "not measured"
        if peak is None
        else ", ".join(f"{name} {rate:.0f}" for name, rate in peak.items())
    )
    theirs = ", ".join(f"{name}: {isa}" for name, isa in run["isa"]["theirs"].items())
    theirs = f"; there: {theirs}"
    if run["against"]:
        peers, theirs = f"the earlier binary {run['against']}", ""
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"{machine['threads']} threads; n = {run['runs']} runs of each, "
        f"scale {run['scale']:g}, {run['texts']}; {machine['date']}, commit {machine['commit']}.",
        f"Instruction set here: {run['isa']['ours']}{theirs}.",
        f"Peak of the instruction set here in G/s: {speed}. Beside: {peers}.",
    ]


def headings(run):
    """What stands above the columns."""
    other = "earlier binary" if run["against"] else "sentence-transformers"
    return tuple(other if name == "sentence-transformers" else name for name in HEADINGS)


def plain(run, results):
    """The table for a terminal, and what the checks found."""
    cells = [headings(run), *lines(results, run["peak"])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    text = heading(run) + [""]
    text += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells
    ]
    text.append("")
    for result in results:
        text += [f"{result.name}: {detail}" for detail in result.details]
        if result.failure:
            text.append(f"{result.name}: FAILED: {result.failure}")
    return "\n".join(text) + "\n"


def markdown(run, results):
    """The table for a page."""
    text = heading(run) + [""]
    text += [f"| {' | '.join(headings(run))} |", "|" + "---|" * len(HEADINGS)]
    text += [f"| {' | '.join(row)} |" for row in lines(results, run["peak"])]
    return "\n".join(text if run["against"] else [*text, "", NOTE]) + "\n"


def as_json(run, results):
    """Everything, for programs."""
    rows = []
    for result in results:
        ratios = {
            "ratios": result.ratios(),
            "step_ratios": result.step_ratios(),
            "memory_ratios": result.memory_ratios(),
        }
        rows.append({**dataclasses.asdict(result), **ratios})
    return {**run, "rows": rows}
