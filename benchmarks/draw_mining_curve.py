"""Draws what the `mining_curve` example of rankforge-kernels prints: nanoseconds of search per query and row, against the rows.

    python3 draw_mining_curve.py CURVE.jsonl TARGET.svg
"""

import json
import math
import pathlib
import sys

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 60
INK, GRID, LINE = "#333333", "#dddddd", "#1f6fb2"


def draw(points):
    """The SVG of the points; rows on a logarithmic axis, time from 0 on."""
    rows = [point["rows"] for point in points]
    first, last = math.log(rows[0]), math.log(rows[-1])
    highest = 1.25 * max(point["most"] for point in points)

    def x(row):
        return LEFT + (math.log(row) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="14">{title(points[0])}</text>',
    ]
    for value in steps(highest):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for row in rows:
        parts.append(f'<text x="{x(row):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{row:,}</text>')
    for point in points:
        place = x(point["rows"])
        parts.append(f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{y(point["least"]):.1f}" y2="{y(point["most"]):.1f}" stroke="{LINE}"/>')
        parts.append(f'<circle cx="{place:.1f}" cy="{y(point["median"]):.1f}" r="3.5" fill="{LINE}"/>')
    medians = " ".join(f"{x(point['rows']):.1f},{y(point['median']):.1f}" for point in points)
    parts.append(f'<polyline points="{medians}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">rows of the corpus</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">nanoseconds per query and row</text>')
    return "\n".join([*parts, "</svg>", ""])


def title(point):
    return (
        f"Search for the nearest rows: {point['queries']:,} queries, {point['dimension']} dimensions, "
        f"{point['threads']} threads, {point['instruction_set']}"
    )


def steps(highest):
    """Round numbers from 0 up to `highest`, at most eight."""
    size = 10 ** math.floor(math.log10(highest / 2))
    step = next(size * factor for factor in (1, 2, 5, 10) if highest / (size * factor) <= 7)
    return [step * number for number in range(int(highest / step) + 1)]


if __name__ == "__main__":
    curve = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
    pathlib.Path(sys.argv[2]).write_text(draw(curve))
