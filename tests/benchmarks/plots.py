"""The plots of the docs, as SVG: text, so that a change of them can be read, and sharp at any size."""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.benchmarks.report import Draw

# Okabe and Ito's, which people who see fewer colours can tell apart: https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#000000")
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "font.size": 9,
    "legend.frameon": False,
    "figure.facecolor": "white",  # dark pages show it too
    "svg.hashsalt": "mesh_refresh",  # ids that do not change from run to run
}


@frozen
class Panel:
    """One picture of several lines."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Mapping[float, float]]
    """By name, from x to y."""
    from_zero: bool = False
    """There is a point at x = 0."""
    y_log: bool = False


def save(draw: Draw, path: Path) -> None:
    """Draw into `path`."""
    # matplotlib is in the extra `bench`, and only here: importing it takes a second and 50 MB.
    matplotlib, figures = import_module("matplotlib"), import_module("matplotlib.figure")
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(layout="constrained")
        draw(figure)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    # matplotlib ends some lines with a blank, which editors and hooks take away again.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def ratios(found: Mapping[str, Mapping[str, float]], figure: Any) -> None:
    """Bars: for each loop and concurrency, each client's ratio, on a scale of factors."""
    figure.set_size_inches(9, 7.5)
    columns = 3
    grid = figure.subplots(len(found) // columns, columns, sharex=True, sharey=True)
    for axes, (title, bars) in zip(grid.flat, found.items(), strict=True):
        names = list(bars)[::-1]
        colours = [_colour(name) for name in names]
        drawn = axes.barh(names, [bars[name] for name in names], color=colours)
        axes.bar_label(drawn, [f"{bars[name]:.2f}" for name in names], padding=2, fontsize=8)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set(xscale="log", title=title, xlim=(0.1, 70), xticks=[0.1, 0.3, 1, 3, 10, 30])
        axes.set_xticklabels(["0.1", "0.3", "1", "3", "10", "30"])
        axes.minorticks_off()
        axes.grid(visible=False, axis="y")
    figure.supxlabel("CPU of a refresh, as a multiple of hand-written aiohttp's (less is better)", fontsize=9)


def _colour(name: str) -> str:
    if name.startswith("MeshClient"):
        return COLOURS[0]
    if name.startswith("keeper"):
        return COLOURS[2]
    return "#777777" if name.startswith(("hand-written", "floor")) else COLOURS[1]


def percentiles(waits: Mapping[str, Sequence[float]], shares: Sequence[float], what: str, figure: Any) -> None:
    """A line for each name: how long something takes at the most, for so many of all."""
    figure.set_size_inches(8, 4.5)
    axes = figure.subplots()
    for number, (name, waited) in enumerate(waits.items()):
        thick = 2.5 if name == "MeshClient" else 1.3
        axes.plot(range(len(shares)), waited, marker="o", color=COLOURS[number], linewidth=thick, label=name)
    axes.set(yscale="log", xlabel="percentile", ylabel=what)
    axes.set_xticks(range(len(shares)), [f"{100 * share:g}" for share in shares])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    figure.legend(loc="outside right upper")


def curves(panels: Sequence[Panel], rows: int, figure: Any) -> None:
    """Small pictures side by side, `rows` of them above one another."""
    columns = len(panels) // rows
    figure.set_size_inches(1 + 3.2 * columns, 0.6 + 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=True):
        for name, points in panel.lines.items():
            xs, ys = list(points), list(points.values())
            axes.plot(xs, ys, marker="o", markersize=4, color=_colour(name), label=name)
        axes.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
        axes.set_xscale("symlog" if panel.from_zero else "log", **({"linthresh": 1} if panel.from_zero else {}))
        axes.xaxis.set_major_formatter(lambda value, _: _short(value))
        if panel.y_log:
            axes.set_yscale("log")
            axes.set_ylim(*_decades([y for points in panel.lines.values() for y in points.values()]))
        else:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.minorticks_off()
    legends = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles = {label: handle for found, labels in legends for handle, label in zip(found, labels, strict=True)}
    if len(handles) > 1:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))


def _short(number: float) -> str:
    """Of large numbers the decades are too narrow for all their zeros."""
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g} {sign}"
    return f"{number:g}"


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """From the power of ten below all of them to the one above: an axis with less has no number on it."""
    exponents = [math.log10(value) for value in values]
    return 10 ** math.floor(min(exponents)), 10 ** math.ceil(max(exponents))
