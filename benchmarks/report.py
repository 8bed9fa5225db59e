# SPDX-License-Identifier: BSD-3-Clause
"""Tables and plots from the rows: `make bench-report`, or `python -m benchmarks.report`.

Rewrites what stands between the markers of README.md and docs/benchmarks.md, and the plots in
docs/images/.
"""

import argparse
import platform
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import compare, rows
from benchmarks.cases import MEMBERS, REFERENCE
from benchmarks.compare import Duel
from benchmarks.rows import Row

ROOT = Path(__file__).resolve().parent.parent
_BEGIN, _END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

TITLES = {
    "forward": "forward",
    "adjoint": "adjoint",
    "gradients": "forward + backward",
    "rl": "30 Richardson-Lucy iterations",
    "rl-saturated": "the same, saturated",
}
_SWEEPS = {
    "reference": "The reference case",
    "threads": "One thread",
    "kernel": "Kernel side",
    "basis": "Basis size",
    "size": "Image size",
    "channels": "Channels",
    "corner": "Corners",
    "field": "Eight segments, and a dense field of the same size",
}


def seconds(value: float | None) -> str:
    """Three digits: 12.3 s, 410 ms, 0.95 ms."""
    if value is None:
        return "-"
    number, unit = (value, "s") if value >= 1 else (1e3 * value, "ms")
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    return f"{number:.{digits}f} {unit}"


def times(value: float | None) -> str:
    """A ratio, as `4.1x`."""
    return "-" if value is None else f"{value:.1f}x" if value < 99.95 else f"{value:.0f}x"


def verdict(ratio: float | None) -> str:
    """The ratio, marked where ours is slower or not clearly faster."""
    if ratio is None or ratio >= compare.CLEARLY:
        return times(ratio)
    return f"**{ratio:.2f}x: {'slower' if ratio < 1 else 'less than 2x'}**"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    body = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in body)


def origin(found: Sequence[Row], source: str) -> str:
    """Which command, machine and commit a table comes from."""
    row = found[0]
    commits = list(dict.fromkeys(r.commit for r in found))
    dates = sorted({r.date for r in found})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    peaks = {r.threads: f"{r.peak_gflops:.0f} GFLOP/s and {r.bandwidth_gbs:.0f} GB/s on "
             f"{r.threads} thread{'s' if r.threads > 1 else ''}" for r in found}  # fmt: skip
    return (
        f"Timed by `make bench`, written here by `make bench-report` from {source}: {row.cpu} "
        f"({row.isa}), torch {row.torch}, commit{'s' if len(commits) > 1 else ''} "
        f"{', '.join(commits)}, {when}. "
        f"The machine's measured peaks: {'; '.join(peaks[n] for n in sorted(peaks))}."
    )


def losses(some: Sequence[Duel]) -> str:
    """One sentence on where ours is slower, and one on where it is not clearly faster."""
    timed = [duel for duel in some if duel.ratio]

    def names(duels: Sequence[Duel]) -> str:
        return "; ".join(
            f"{duel.case}, {duel.case.threads} thread{'s' if duel.case.threads > 1 else ''}, "
            f"{TITLES[duel.member]} ({duel.ratio:.2f}x)"
            for duel in duels
        )

    slower = [duel for duel in timed if duel.ratio < 1]
    close = [duel for duel in timed if 1 <= duel.ratio < compare.CLEARLY]
    return (
        f"Of {len(timed)} comparisons, blurops is slower than the best baseline in "
        f"{len(slower)}{': ' + names(slower) if slower else ''}. It is faster, but less than twice "
        f"as fast, in {len(close)}{': ' + names(close) if close else ''}."
    )


def short(some: Sequence[Duel], found: Sequence[Row], source: str) -> str:
    """What README.md shows."""
    header = ["", "blurops", "best baseline", "", "usual FFT loop", "deepinv", "Carbajal et al."]
    lines = []
    for member in MEMBERS:
        duel = compare.find(some, REFERENCE, member)
        if duel is None:
            continue
        best = duel.best
        named = f"{seconds(best.seconds)} ({best.contender})" if best else "-"
        rest = (compare.USUAL_LOOP, compare.DEEPINV, compare.AUTHORS)
        lines.append([
            TITLES[member], seconds(duel.ours.seconds), named, verdict(duel.ratio),
            *(times(duel.against(name)) for name in rest),
        ])  # fmt: skip
    timed = [duel for duel in some if duel.ratio]
    slower = sum(duel.ratio < 1 for duel in timed)
    close = sum(1 <= duel.ratio < compare.CLEARLY for duel in timed)
    summary = (
        "The best baseline is the fastest of several that we tuned as hard as we could. Over the "
        f"whole grid of {len(timed)} comparisons blurops is slower than it in {slower}, and faster "
        f"but not twice as fast in {close}; [docs/benchmarks.md](docs/benchmarks.md) lists them."
    )
    return "\n\n".join([
        f"{REFERENCE}, float32, {REFERENCE.threads} threads; how many times faster than each:",
        table(header, lines),
        summary,
        origin(found, source),
    ])  # fmt: skip


def contenders_table(duel: Duel) -> str:
    """Every contender at one member of one case."""
    header = ["", "time", "best baseline / it", "GFLOP/s", "of peak", "memory", "error", ""]
    lines = []
    for row in sorted((duel.ours, *duel.baselines), key=lambda row: row.seconds):
        name = f"**{row.contender}**" if row.kind == "ours" else row.contender
        share = f"{100 * row.peak_share:.0f} %" if row.peak_share else "-"
        lines.append([
            name, seconds(row.seconds), times(row.ratio), f"{row.gflops:.0f}", share,
            f"{row.memory_mb:.1f} MB", f"{row.error:.0e}", row.note,
        ])  # fmt: skip
    lines += [[row.contender, "-", "-", "-", "-", "-", "-", row.note] for row in duel.absent]
    return table(header, lines)


def sweep_table(some: Sequence[Duel]) -> str:
    """Ours and the best baseline over one sweep."""
    header = ["case", "threads", "", "blurops", "best baseline", "", "faster",
              "of peak", "memory, ours and theirs", "tile rounding"]  # fmt: skip
    lines = []
    for duel in some:
        ours, best = duel.ours, duel.best
        rounding = f"{ours.tile_rounding:.2f}" if ours.tile_rounding else "-"
        share = f"{100 * ours.peak_share:.0f} %" if ours.peak_share else "-"
        memory = f"{ours.memory_mb:.1f} MB, {best.memory_mb:.0f} MB" if best else "-"
        lines.append([
            str(duel.case), str(duel.case.threads), TITLES[duel.member], seconds(ours.seconds),
            best.contender if best else "-", seconds(best.seconds) if best else "-",
            verdict(duel.ratio), share, memory, rounding,
        ])  # fmt: skip
    return table(header, lines)


def long(some: Sequence[Duel], found: Sequence[Row], source: str) -> str:
    """What docs/benchmarks.md shows."""
    parts = [origin(found, source), losses(some)]
    for sweep, title in _SWEEPS.items():
        part = [duel for duel in some if duel.sweep == sweep]
        if sweep == "field":
            dense = {replace(duel.case, field="dense") for duel in part}
            part += [duel for duel in some if duel.case in dense and duel not in part]
        if not part:
            continue
        parts.append(f"### {title}")
        if sweep == "reference":
            for duel in part:
                parts += [f"{duel.case}, {TITLES[duel.member]}:", contenders_table(duel)]
        else:
            parts.append(sweep_table(part))
    return "\n\n".join(parts)


def between_markers(text: str, name: str, body: str) -> str:
    """Replace what stands between the markers.

    Raises:
        ValueError: the markers are not there, or there twice.
    """
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.S)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{name} must have {_BEGIN} and {_END} once")
    fresh = f"{_BEGIN}\n{body}\n{_END}" if body else f"{_BEGIN}\n{_END}"
    return pattern.sub(lambda match: fresh, text)


def write(found: Sequence[Row], source: str, root: Path) -> list[Path]:
    """Rewrite the tables and plots below a root; the files written."""
    from benchmarks import plots

    some = compare.duels(found)
    if not some:
        raise ValueError("no row of blurops has a time: there is nothing to report")
    images = plots.draw(some, root / "docs" / "images")
    pictures = "\n\n".join(f"![{text}](docs/images/{path.name})" for path, text in images)
    pages = {
        root / "README.md": short(some, found, source) + f"\n\n{pictures}" * bool(pictures),
        root / "docs" / "benchmarks.md": "\n\n".join(
            [long(some, found, source), pictures.replace("docs/images/", "images/")]
        ),
    }
    for page, body in pages.items():
        page.write_text(between_markers(page.read_text(), page.name, body.strip()))
    return [*pages, *(path for path, _ in images)]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__.splitlines()[0]
    )
    default = rows.RESULTS / f"bench-{platform.machine()}.csv"
    parser.add_argument("rows", type=Path, nargs="?", default=default, help="default: %(default)s")
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs/ are")
    chosen = parser.parse_args()
    try:
        for path in write(rows.read(chosen.rows), chosen.rows.name, chosen.root):
            print(path)
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
