#!/usr/bin/env python3
"""Draws curves: one panel for each `panel` of a file of JSON lines, one curve for each `series`.

    target/benchmarks/venv/bin/python benchmarks/draw.py POINTS.jsonl PLOT.svg \\
        [--title TITLE] [--columns N]

A line is an object with panel, series, x_axis, y_axis, x and y; the x axes are logarithmic, the y
axes begin at 0. Where y is a text, a panel has a row for each of them, and dots in place of curves.
Needs the matplotlib of requirements.txt; `benchmarks/run` makes the environment.
"""

import argparse
import json
import math
import pathlib
import textwrap

FIELDS = ("panel", "series", "x_axis", "y_axis", "x", "y")
PANEL = 5.2, 3.4  # inches
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "rankforge",  # the same points make the same bytes
}


def read(path):
    """{panel: {series: [(x, y)]}} and {panel: (x axis, y axis)}, in the file's order."""
    panels, axes = {}, {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        point = json.loads(line)
        missing = [field for field in FIELDS if field not in point]
        if missing:
            raise SystemExit(
                f"{path}, line {number}: expected the fields {', '.join(FIELDS)}; "
                f"missing {', '.join(missing)}"
            )
        panels.setdefault(point["panel"], {}).setdefault(point["series"], []).append(
            (point["x"], point["y"])
        )
        axes[point["panel"]] = point["x_axis"], point["y_axis"]
    return panels, axes


def draw_rows(place, name, curves, axes):
    """Dots in rows; the row with the greatest mean is at the top."""
    values = {}
    for points in curves.values():
        for x, row in points:
            values.setdefault(row, []).append(x)
    rows = sorted(values, key=lambda row: sum(values[row]) / len(values[row]))
    for series, points in curves.items():
        x = [x for x, _ in points]
        y = [rows.index(row) for _, row in points]
        place.plot(x, y, linestyle="", marker="o", markersize=5, alpha=0.8, label=series)
    place.set_yticks(range(len(rows)), rows)
    place.margins(y=0.08)
    place.set_title(textwrap.fill(name, 50))
    place.set_xlabel(axes[0])
    place.legend(loc="lower right")


def draw_panel(place, name, curves, axes):
    if any(isinstance(y, str) for points in curves.values() for _, y in points):
        draw_rows(place, name, curves, axes)
        return
    for series, points in curves.items():
        place.plot(*zip(*sorted(points)), marker="o", markersize=3, label=series)
    ticks = sorted({x for points in curves.values() for x, _ in points})
    place.set_xscale("log")
    place.set_xticks(ticks, [f"{x:,g}" for x in ticks])
    place.minorticks_off()
    place.margins(y=0.25)  # room for the legend
    place.set_ylim(bottom=0)
    place.set_title(textwrap.fill(name, 50))
    place.set_xlabel(axes[0])
    place.set_ylabel(axes[1])
    place.legend(ncols=2)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", type=pathlib.Path)
    parser.add_argument("plot", type=pathlib.Path)
    parser.add_argument("--title")
    parser.add_argument("--columns", type=int, default=2)
    options = parser.parse_args()
    panels, axes = read(options.points)
    if not panels:
        parser.error(f"{options.points} holds no points")

    import matplotlib.pyplot as plt  # after the arguments, so that --help needs no matplotlib

    columns = min(options.columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    with plt.rc_context(STYLE):
        figure, places = plt.subplots(
            rows,
            columns,
            figsize=(columns * PANEL[0], rows * PANEL[1]),
            layout="constrained",
            squeeze=False,
        )
        if options.title:
            figure.suptitle(options.title)
        for place in places.flat[len(panels) :]:
            place.remove()
        for place, (name, curves) in zip(places.flat, panels.items()):
            draw_panel(place, name, curves, axes[name])
        figure.savefig(options.plot, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
