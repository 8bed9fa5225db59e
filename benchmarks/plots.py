# SPDX-License-Identifier: BSD-3-Clause
"""Time against kernel side, basis size and image size, ours and theirs."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import compare
from benchmarks.compare import Duel

# variable -> (file, axis label, what stays fixed)
_PLOTS = {
    "kernel": ("bench-kernel.png", "kernel side K", "1024x1024x3, B = 25"),
    "basis": ("bench-basis.png", "basis size B", "1024x1024x3, K = 33"),
    "size": ("bench-size.png", "image side", "3 channels, B = 25, K = 33"),
}
_MEMBERS = ("forward", "adjoint")
_STYLE = {"lines.linewidth": 1.1, "lines.markersize": 3.5, "font.size": 9, "axes.grid": True,
          "grid.alpha": 0.3, "svg.hashsalt": "blurops"}  # fmt: skip


def _lines(line: Sequence[Duel], variable: str) -> dict[str, tuple[list[int], list[float]]]:
    """Contender -> its times along the sweep."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for duel in line:
        for row in (duel.ours, *filter(compare.comparable, duel.baselines)):
            xs, ys = found.setdefault(row.contender, ([], []))
            xs.append(getattr(duel.case, variable))
            ys.append(row.seconds)
    return found


def _panel(axes: Axes, line: Sequence[Duel], variable: str, label: str, colours: dict) -> None:
    for name, (xs, ys) in _lines(line, variable).items():
        ours = name == line[0].ours.contender
        colour = "black" if ours else colours.setdefault(name, f"C{len(colours)}")
        axes.plot(xs, ys, "o-", color=colour, label=name, linewidth=2.4 if ours else None,
                  zorder=3 if ours else 2)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds")
    ticks = [getattr(duel.case, variable) for duel in line]
    axes.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
    axes.minorticks_off()
    places = compare.crossovers(line, variable)
    for place in places:
        axes.axvline(place, color="black", linestyle=":", linewidth=1)
        axes.annotate(f"crossover {place:.0f}", (place, axes.get_ylim()[0]), rotation=90,
                      xytext=(2, 4), textcoords="offset points", fontsize=7)  # fmt: skip
    ratios = [duel.ratio for duel in line if duel.ratio]
    if not places and ratios:
        place = "fastest" if ratios[0] >= 1 else "slower"
        axes.text(0.98, 0.02, f"no crossover: blurops is {place} throughout", fontsize=7,
                  transform=axes.transAxes, ha="right")  # fmt: skip


def draw(some: Sequence[Duel], folder: Path) -> list[tuple[Path, str]]:
    """Write the plots whose sweep has at least two points: (file, alternative text) of each."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for variable, (name, label, fixed) in _PLOTS.items():
        panels = [(m, compare.along(some, variable, m)) for m in _MEMBERS]
        panels = [(member, line) for member, line in panels if len(line) > 1]
        if not panels:
            continue
        colours: dict[str, str] = {}
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(5 * len(panels), 4.2), dpi=110, layout="constrained")
            for axes, (member, line) in zip(
                figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
            ):
                _panel(axes, line, variable, label, colours)
                axes.set_title(f"{member}: {fixed}, {line[0].case.threads} threads", fontsize=9)
            handles = {}
            for axes in figure.axes:
                artists, names = axes.get_legend_handles_labels()
                handles.update(zip(names, artists, strict=True))
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4,
                          fontsize=8)  # fmt: skip
            # No date and version inside: the same rows give the same file.
            figure.savefig(folder / name, metadata={"Software": None})
        written.append((folder / name, f"Time against {label}, ours and the baselines"))
    return written
