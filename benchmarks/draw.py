#!/usr/bin/env python3
"""Draws curves: one panel for each `panel` of a file of JSON lines, one curve for each `series`.
Uses the standard library only.

    benchmarks/draw.py POINTS.jsonl PLOT.svg [--title TITLE] [--columns N]

A line is an object with panel, series, x_axis, y_axis, x and y; the x axes are logarithmic, the y
axes begin at 0.
"""

import argparse
import html
import json
import math
import pathlib

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 430, 240, 52, 14, 30, 44
COLOURS = ["#1f6feb", "#d1570b", "#2f8f4e", "#8a3ffc", "#c2185b", "#6d6d6d"]
FIELDS = ("panel", "series", "x_axis", "y_axis", "x", "y")


def read(path):
    """{panel: {series: [(x, y)]}} and {panel: (x axis, y axis)}, in the file's order."""
    panels, axes = {}, {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
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


def ticks(high):
    """Round numbers from 0 to at least `high`."""
    power = 10 ** math.floor(math.log10(high / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 4 >= high)
    return [index * step for index in range(math.ceil(high / step) + 1)]


def label(number):
    return f"{number / 1000:g}k" if number >= 10_000 and number % 1000 == 0 else f"{number:.6g}"


def panel(name, curves, axes):
    """The SVG elements of a panel whose corner is at 0, 0."""
    places = sorted({x for points in curves.values() for x, _ in points})
    low, high = math.log(places[0]), math.log(places[-1])
    marks = ticks(max(y for points in curves.values() for _, y in points))
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    at_x = lambda x: LEFT + across * (math.log(x) - low) / ((high - low) or 1)
    at_y = lambda y: TOP + down * (1 - y / marks[-1])
    text = lambda x, y, words, rest="": (
        f'<text x="{x:.1f}" y="{y:.1f}" {rest}>{html.escape(words)}</text>'
    )
    svg = [text(LEFT, 16, name, 'font-weight="bold"')]
    for mark in marks:
        svg.append(f'<path d="M{LEFT} {at_y(mark):.1f}h{across}" stroke="#e4e4e4"/>')
        svg.append(text(LEFT - 6, at_y(mark) + 4, label(mark), 'text-anchor="end" fill="#555"'))
    for x in places:
        svg.append(
            text(at_x(x), HEIGHT - BOTTOM + 16, label(x), 'text-anchor="middle" fill="#555"')
        )
    svg.append(
        text(
            LEFT + across / 2,
            HEIGHT - BOTTOM + 32,
            f"{axes[0]}; up: {axes[1]}",
            'text-anchor="middle" fill="#333"',
        )
    )
    for index, (series, points) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in sorted(points))
        svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        svg.append(
            text(WIDTH - RIGHT, TOP + 12 + 14 * index, series, f'text-anchor="end" fill="{colour}"')
        )
    return svg


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", type=pathlib.Path)
    parser.add_argument("plot", type=pathlib.Path)
    parser.add_argument("--title", default="")
    parser.add_argument("--columns", type=int, default=2)
    options = parser.parse_args()
    panels, axes = read(options.points)
    if not panels:
        parser.error(f"{options.points} holds no points")
    columns = min(options.columns, len(panels))
    above = 30 if options.title else 0
    size = WIDTH * columns, above + HEIGHT * math.ceil(len(panels) / columns)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        'font-family="sans-serif" font-size="11">'
    ]
    svg.append('<rect width="100%" height="100%" fill="white"/>')
    if options.title:
        svg.append(f'<text x="{LEFT}" y="20" font-size="14">{html.escape(options.title)}</text>')
    for index, (name, curves) in enumerate(panels.items()):
        corner = index % columns * WIDTH, above + index // columns * HEIGHT
        svg += [
            f'<g transform="translate({corner[0]} {corner[1]})">',
            *panel(name, curves, axes[name]),
            "</g>",
        ]
    options.plot.write_text("\n".join([*svg, "</svg>", ""]))


if __name__ == "__main__":
    main()
