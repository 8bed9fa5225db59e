# SPDX-License-Identifier: BSD-3-Clause
"""Tables and a plot from the rows of `python -m benchmarks.deconvolution`.

python -m benchmarks.deconvolution_report      # writes them into docs/deconvolution.md
"""

import argparse
import csv
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
            filters = mean(row.prepared for row in own)
            seconds = f"{mean(row.seconds for row in own):.2f}"
            cells += [
                f"{mean(row.psnr for row in own):.2f}",
                f"{mean(row.ssim for row in own):.3f}",
                f"{filters:.2f} + {seconds}" if filters > 0.01 else seconds,
            ]
        lines.append("| " + " | ".join([*cells, PAPER[number].get(method, "")]) + " |")
    return "\n".join(lines)


def text(rows: Sequence[Row]) -> str:
    """Both tables, and how much sooner residual compensation is where CG gets as well."""
    parts = []
    for number in sorted({row.table for row in rows}):
        names = {row.method for row in rows if row.table == number}
        count = len({(row.scene, row.kernel, row.sigma) for row in rows if row.table == number})
        parts.append(f"Table {number}, {count} problems:\n\n{table(rows, number)}")
        fast = "NU-IRC, T = 2" if number == 3 else "IRC, T = 2"
        chosen = [row for row in best(rows) if row.table == number]
        for slow in sorted(name for name in names if "CG" in name):
            ratios = speedups(chosen, fast, slow)
            if ratios:
                parts.append(
                    f"{fast} reaches what it and {slow} both reach {median(ratios):.1f} times"
                    f" sooner in the median (from {min(ratios):.1f} to {max(ratios):.1f}),"
                    " inverse filters not counted."
                )
    diverged = sum(row.status == "diverged" for row in rows)
    parts.append(f"{diverged} of {len(rows)} runs diverged.")
    return "\n\n".join(parts)


def draw(rows: Sequence[Row], path: Path) -> None:
    """PSNR against seconds, means over the problems of a table, at the lowest noise."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    numbers = sorted({row.table for row in rows})
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
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
    page = options.docs / "deconvolution.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    picture = "![PSNR against time](images/deconvolution.png)"
    page.write_text(f"{before}{BEGIN}\n{text(rows)}\n\n{picture}\n{END}{after}")


if __name__ == "__main__":
    main()
