"""Curves, stems, shares and bars from dictionaries {panel: {label: values}}: the plots of the lessons in one line each.

A lesson's cell should show the mathematics; where a legend goes is here. Every function returns the figure, for `show`.

    curves    {panel: {label: (x, y) or y}}    lines, the first label drawn thickest where thick=True
    stems     {row: {panel: (n, values)}}      a grid of stem plots, rows with a scale in common
    stacked   {panel: {label: (x, y >= 0)}}    areas one on the other
    bars      {label: {group: value}}          groups of bars, with an optional dashed line to compare
    loglog    {panel: {label: (h, error)}}     errors against steps h = 1/N, with grey lines of given slopes

Notebook: all, through `show`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from companion.lab.show import plots

Curve = Any  # y, or a pair (x, y), of arrays or tensors


def curves(
    panels: Mapping[str, Mapping[str, Curve]],
    xlabel: str = "",
    *,
    height: float = 2.9,
    ylim: tuple[float, float] | None = None,
    sharey: bool = True,
    thick: bool = False,
    truth: str | None = None,
) -> Any:
    """Lines, one panel beside the other, each with its legend above the curves; `truth` is black, dashed, on top."""
    fig, axes = plots(len(panels), height=height, sharey=sharey, squeeze=False)
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (label, curve) in enumerate(lines.items()):
            drawn: dict[str, Any] = {"color": "black", "ls": "--", "lw": 1.3, "zorder": 3} if label == truth else {}
            ax.plot(*_points(curve), **{"lw": 3.5 if thick and i == 0 else 1.8, "label": label} | drawn)
        ax.set(title=title, xlabel=xlabel)
        ax.legend(ncols=len(lines), loc="upper center", fontsize=10, handlelength=1.1, columnspacing=1.2)
    for ax in axes[0, : 1 if sharey else None]:
        low, high = ylim or ax.get_ylim()
        ax.set_ylim(low, high if ylim else high + 0.22 * (high - low))  # a strip for the legend
    return fig


def stems(rows: Mapping[str, Mapping[str, Curve]], xlabel: str = "", *, height: float = 1.7) -> Any:
    """A grid of stem plots: one row for each entry, its panels side by side."""
    columns = max(map(len, rows.values()))
    fig, axes = plots(columns, len(rows), height=height, sharex=True, sharey="row", squeeze=False)
    for i, (name, panels) in enumerate(rows.items()):
        axes[i, 0].set_ylabel(name)
        for ax, (title, curve) in zip(axes[i], panels.items(), strict=True):
            ax.stem(*_points(curve), basefmt=" ", linefmt=f"C{i}", markerfmt=f"C{i}o")
            ax.margins(y=0.2)
            ax.set_title(title if i == 0 else "")
            ax.set_xlabel(xlabel if i == len(rows) - 1 else "")
    return fig


def stacked(
    panels: Mapping[str, Mapping[str, Curve]], xlabel: str = "", ylabel: str = "", *, height: float = 2.4
) -> Any:
    """Areas stacked one on the other; the legend of the last panel, at its right, serves all."""
    fig, axes = plots(len(panels), height=height, sharey=True, squeeze=False)
    for ax, (title, areas) in zip(axes[0], panels.items(), strict=True):
        points = [_points(area) for area in areas.values()]
        ax.stackplot(points[0][0], [y for _, y in points], colors=[f"C{i}" for i in range(len(points))], labels=areas)
        ax.set(title=title, xlabel=xlabel, xlim=(points[0][0][0], points[0][0][-1]))
    axes[0, 0].set_ylabel(ylabel)
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def bars(
    series: Mapping[str, Mapping[str, float]], ylabel: str = "", *, line: Mapping[str, float] | None = None
) -> Any:
    """Groups of bars, one bar of each group for each series; `line` {label: level} is drawn dashed across."""
    fig, ax = plots(height=3.0)
    groups, width = list(next(iter(series.values()))), 0.8 / len(series)
    for i, (label, values) in enumerate(series.items()):
        place = np.arange(len(groups)) + width * (i - (len(series) - 1) / 2)
        ax.bar(place, [values[group] for group in groups], 0.93 * width, label=label)
    for label, level in (line or {}).items():
        ax.axhline(level, color="black", ls="--", label=label)
    ax.set_xticks(range(len(groups)), groups)
    ax.set_ylabel(ylabel)
    ax.legend(ncols=len(series) + len(line or {}), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return fig


def loglog(
    panels: Mapping[str, Mapping[str, Curve]],
    xlabel: str = "",
    ylabel: str = "",
    *,
    slopes: tuple[int, ...] = (),
    height: float = 3.7,
    shared: bool = False,
) -> Any:
    """Curves over steps h = 1/N, both axes logarithmic, y in common; grey lines show at most three slopes.

    shared  one legend for all panels, that of the first
    """
    fig, axes = plots(len(panels), height=height, sharey=True, squeeze=False)
    top = 1.6 * max(_points(curve)[1].max() for lines in panels.values() for curve in lines.values())
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (label, curve) in enumerate(lines.items()):
            ax.loglog(*_points(curve), "osDv^<>"[i % 7], ls=("-", "--")[i % 2], ms=5 + i, mfc="none", label=label)
        h = np.sort(_points(next(iter(lines.values())))[0])
        for slope, dashes in zip(slopes, (":", "-.", "--"), strict=False):
            ax.plot(h, top * (h / h[-1]) ** slope, color="0.5", lw=1.3, ls=dashes, zorder=0, label=f"slope {slope}")
        ax.set(title=title, xlabel=xlabel)
        ax.minorticks_off()
        ax.set_xticks(h, [f"1/{1 / step:.0f}" for step in h])
        columns = 3 if len(lines) == 3 else 2
        if not shared:
            ax.legend(ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.24), fontsize=10, columnspacing=1.2)
    if shared:
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(
            handles, labels, ncols=2 if len(labels) > 4 else len(labels), loc="outside lower center", fontsize=10
        )
    axes[0, 0].set_ylabel(ylabel)
    return fig


def _points(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) as arrays; a curve without x is drawn over 0, 1, 2, ..."""
    x, y = curve if isinstance(curve, tuple) else (np.arange(len(curve)), curve)
    return np.asarray(x), np.asarray(y)
