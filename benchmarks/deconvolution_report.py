# SPDX-License-Identifier: BSD-3-Clause
"""Tables and a plot from the rows of `python -m benchmarks.deconvolution`.

python -m benchmarks.deconvolution_report      # writes them into docs/deconvolution.md
"""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from statistics import mean, median

from benchmarks.deconvolution import RESULTS, Row

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- deconvolution: begin -->", "<!-- deconvolution: end -->"

# What the paper prints: PSNR, SSIM, seconds. Its noise, image sizes and machine are other ones.
PAPER = {
    1: {
        "FFT": "25.16 dB, 1.3 s",
        "FFT nopad": "20.54 dB, 1.2 s",
        "CG, 30 iterations": "25.59 dB, 60 s",
        "IRC, T = 2": "25.65 dB, 6 + 2.6 s",
    },
    3: {
        "NU-FFT": "22.97 dB, 0.776, 47 s",
        "NU-CG, 30 iterations": "26.77 dB, 0.864, 335 s",
        "NU-IRC, T = 2": "26.54 dB, 0.855, 0.8 s (GPU)",
    },
}
# What the others are compared with, how near counts as equal, and who should be faster.
REFERENCE = {1: "CG, 30 iterations", 3: "NU-CG, 30 iterations"}
NEAR = 0.1
FAST = {
    1: ("IRC, T = 2", "IRC, T = 1, wide, minimal", "IRC, T = 2, wide, minimal"),
    3: ("NU-IRC, T = 2", "NU-IRC, T = 1, bilinear, minimal", "NU-IRC, T = 2, bilinear, minimal"),
}


def read(path: Path) -> list[Row]:
    """The rows of a file."""
    kinds = {field.name: field.type for field in fields(Row)}
    with path.open(newline="") as file:
        return [Row(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]


def best(rows: Sequence[Row]) -> list[Row]:
    """Of every method, at each noise level, the rows of the weight with the best mean PSNR."""

    def key(row: Row) -> tuple:
        return row.table, row.sigma, row.method

    found = []
    for _, some in groupby(sorted(rows, key=key), key):
        some = list(some)
        weights = {row.weight for row in some}
        found += max(
            ([row for row in some if row.weight == weight] for weight in sorted(weights)),
            key=lambda part: mean(row.psnr for row in part),
        )
    return found


def points(row: Row) -> list[tuple[float, float]]:
    """(seconds, PSNR) after each stage; the end alone where a method has no stages to show."""
    pairs = [tuple(map(float, part.split(":"))) for part in row.trace.split()]
    return pairs or [(row.seconds, row.psnr)]


def until(row: Row, target: float) -> float | None:
    """Seconds until a PSNR was reached."""
    return next((s for s, p in points(row) if p >= target), None)


def speedups(rows: Sequence[Row], fast: str, slow: str) -> list[float]:
    """How many times sooner `fast` reached the PSNR that both reached, problem by problem."""
    places = {(r.scene, r.kernel, r.sigma, r.method): r for r in rows}
    ratios = []
    for (*where, method), row in places.items():
        other = places.get((*where, slow))
        if method != fast or other is None:
            continue
        target = min(max(p for _, p in points(each)) for each in (row, other))
        ratios.append(until(other, target) / until(row, target))
    return ratios


def place(page: Path, begin: str, end: str, content: str) -> None:
    """Put something between two marks of a page."""
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}")


def table(rows: Sequence[Row], number: int) -> str:
    """Means over all problems of a table, at each noise level."""
    some = [row for row in best(rows) if row.table == number]
    methods = list(dict.fromkeys(row.method for row in rows if row.table == number))
    sigmas = sorted({row.sigma for row in some})
    head = ["method"]
    for sigma in sigmas:
        head += [f"noise {sigma:g}: PSNR", "SSIM", "seconds"]
    lines = [" | ".join(["", *head, "the paper", ""]).strip(), "|---" * (len(head) + 1) + "|"]
    for method in methods:
        cells = [method]
        for sigma in sigmas:
            own = [row for row in some if (row.method, row.sigma) == (method, sigma)]
            # A bank is made once, ahead of all pictures.
            filters = mean(row.prepared for row in own) if number == 1 else 0
            seconds = f"{mean(row.seconds for row in own):.2f}"
            cells += [
                f"{mean(row.psnr for row in own):.2f}",
                f"{mean(row.ssim for row in own):.3f}",
                f"{filters:.2f} + {seconds}" if filters > 0.01 else seconds,
            ]
        lines.append("| " + " | ".join([*cells, PAPER[number].get(method, "")]) + " |")
    return "\n".join(lines)


def near(rows: Sequence[Row], number: int) -> str:
    """Of every method, where and when it comes near the best of conjugate gradients."""
    reference = REFERENCE[number]
    some = [row for row in best(rows) if row.table == number]
    goals = {
        (r.scene, r.kernel, r.sigma): max(p for _, p in points(r)) - NEAR
        for r in some
        if r.method == reference
    }
    head = (
        "method",
        f"PSNR less that of {reference}: mean, least, most",
        f"within {NEAR} dB of its best",
        "seconds there, median",
        "times sooner than it, median",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    ends = {(r.scene, r.kernel, r.sigma): r for r in some if r.method == reference}
    for method in dict.fromkeys(row.method for row in rows if row.table == number):
        own = [row for row in some if row.method == method]
        places = [(row.scene, row.kernel, row.sigma) for row in own]
        gaps = [row.psnr - ends[at].psnr for row, at in zip(own, places, strict=True)]
        times = [until(row, goals[at]) for row, at in zip(own, places, strict=True)]
        reached = [t for t in times if t is not None]
        ratios = [
            until(ends[at], goals[at]) / t
            for t, at in zip(times, places, strict=True)
            if t is not None
        ]
        cells = [
            method,
            f"{mean(gaps):+.2f}, {min(gaps):+.2f}, {max(gaps):+.2f}",
            f"{len(reached)} of {len(own)}",
            f"{median(reached):.3f}" if reached else "",
            f"{median(ratios):.1f}" if reached else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sooner(rows: Sequence[Row], number: int) -> str:
    """How many times sooner compensation reaches the PSNR that it and conjugate gradients reach."""
    some = [row for row in best(rows) if row.table == number]
    names = list(dict.fromkeys(row.method for row in rows if row.table == number))
    slow = [name for name in names if "CG" in name]
    lines = []
    for fast in (name for name in FAST[number] if name in names):
        ratios = [speedups(some, fast, name) for name in slow]
        cells = [f"{median(r):.1f}, {min(r):.1f} to {max(r):.1f}" if r else "" for r in ratios]
        lines.append(f"| {' | '.join([fast, *cells])} |")
    if not (lines and slow):
        return ""
    head = ["times sooner to the PSNR that both reach: median, range", *slow]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def edges(rows: Sequence[Row], number: int) -> str:
    """The methods whose best weight is the first or last of the grid."""
    found = []
    for row in best(rows):
        grid = sorted(
            {r.weight for r in rows if (r.table, r.sigma, r.method) ==
             (row.table, row.sigma, row.method)}
        )  # fmt: skip
        if row.table == number and len(grid) > 1 and row.weight in (grid[0], grid[-1]):
            found.append(f"{row.method} at noise {row.sigma:g}")
    if not found:
        return "Every best weight lies inside the grid."
    return "Best at an end of the grid: " + ", ".join(dict.fromkeys(found)) + "."


def text(rows: Sequence[Row]) -> str:
    """Both tables, each with what its rows say of nearness and speed."""
    parts = []
    for number in sorted({row.table for row in rows}):
        names = {row.method for row in rows if row.table == number}
        count = len({(row.scene, row.kernel, row.sigma) for row in rows if row.table == number})
        parts.append(f"Table {number}, {count} problems:\n\n{table(rows, number)}")
        if REFERENCE[number] in names:
            parts.append(near(rows, number))
        parts.append(edges(rows, number))
        if races := sooner(rows, number):
            parts.append(races)
    return "\n\n".join([*parts, divergence(rows), *_machines(rows)])


def divergence(rows: Sequence[Row]) -> str:
    """Which methods diverged, and in how many of their runs at all weights."""
    runs = Counter(row.method for row in rows)
    failed = Counter(row.method for row in rows if row.status == "diverged")
    if not failed:
        return f"None of {len(rows)} runs diverged."
    named = [f"{method}, {count} of {runs[method]} runs" for method, count in failed.items()]
    return f"Diverged: {'; '.join(named)}. Of the others none."


def _machines(rows: Sequence[Row]) -> list[str]:
    """Where the times were taken."""
    found = dict.fromkeys((r.cpu, r.threads, r.torch) for r in best(rows) if r.cpu)
    return [f"Times: {cpu}, {n} threads, torch {version}." for cpu, n, version in found]


def draw(rows: Sequence[Row], path: Path) -> None:
    """PSNR against seconds, means over the problems of a table, at the lowest noise."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    numbers = sorted({row.table for row in rows})
    style = {
        "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
        "axes.prop_cycle": mpl.cycler(color=mpl.colormaps["tab20"].colors),
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.6 * len(numbers), 3.4), layout="constrained")
        for number, axes in zip(numbers, figure.subplots(1, len(numbers), squeeze=False)[0],
                                strict=True):  # fmt: skip
            some = [row for row in best(rows) if row.table == number]
            sigma = min(row.sigma for row in some)
            for method in dict.fromkeys(row.method for row in rows if row.table == number):
                own = [points(r) for r in some if (r.method, r.sigma) == (method, sigma)]
                stages = list(zip(*own, strict=False))
                seconds = [mean(s for s, _ in stage) for stage in stages]
                values = [mean(p for _, p in stage) for stage in stages]
                axes.plot(seconds, values, "o-", markersize=3, linewidth=1.1, label=method)
            axes.set(xscale="log", xlabel="seconds, inverse filters not counted", ylabel="PSNR, dB",
                     title=f"table {number}, noise {sigma:g}")  # fmt: skip
            axes.legend(fontsize=6)
        figure.savefig(path, dpi=130)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, default=RESULTS / "deconvolution.csv")
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args(argv)
    rows = read(options.csv)
    draw(rows, options.docs / "images" / "deconvolution.png")
    picture = "![PSNR against time](images/deconvolution.png)"
    place(options.docs / "deconvolution.md", BEGIN, END, f"{text(rows)}\n\n{picture}")


if __name__ == "__main__":
    main()
