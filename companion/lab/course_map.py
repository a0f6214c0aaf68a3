"""The map of the course, drawn from `companion.lab.course`: parts as columns, lessons as boxes, bridges as arrows;
and what the lessons cost.

Notebook: 00.
"""

from __future__ import annotations

import textwrap
from typing import Any

from companion.lab.course import (
    BRIDGE,
    BRIDGES,
    FRAMES,
    LESSONS,
    NETWORKS,
    VARIATIONS,
    WHOLE,
    Lesson,
    covers,
    returning,
    short,
    written,
)

PARTS = (FRAMES, VARIATIONS, BRIDGE, NETWORKS)
TOP = {FRAMES: 0, VARIATIONS: 0, BRIDGE: 1, NETWORKS: 0}  # the row in which a column begins
STEP, WIDE, HIGH, ROW = 2.5, 2.22, 0.9, 1.12  # from column to column; width and height of a box; from row to row
MIDDLE = 1.5 * STEP
LINE = 0.2  # the height of a line of text
LIMITS = {"seconds": (30, 60), "megabytes": (450, 700)}  # of a lesson, of one that trains a network
TITLES = {"seconds": "seconds of one core", "megabytes": "megabytes"}


def course_map() -> Any:
    """The map: in each box the items at home there and, after "with", those that return; dashed: to come."""
    from companion.lab.show import CYCLE, plots

    fig, ax = plots(height=7.0)
    ax.set_axis_off()
    ax.set(xlim=(-WIDE / 2 - 0.03, 3 * STEP + WIDE / 2 + 0.03), ylim=(-5.55, 1.82))
    lessons = {lesson.number: lesson for lesson in LESSONS}
    place: dict[int, tuple[float, float]] = {}
    for column, (part, colour) in enumerate(zip(PARTS, CYCLE, strict=False)):
        _head(ax, part, STEP * column, 0.68, colour)
        for row, lesson in enumerate(one for one in LESSONS if one.part == part):
            place[lesson.number] = STEP * column, -ROW * (TOP[part] + row)
            _box(ax, lesson, place[lesson.number], (WIDE, HIGH), colour)
    spine = f"$u^{{k+1}}=\\mathcal{{F}}(u^k)$:  {short(returning(0))} at first sight"
    _box(ax, lessons[0], (MIDDLE, 1.4), (3 * STEP + WIDE, 0.7), "black", spine)
    _head(ax, WHOLE, MIDDLE, -4.2, "0.25")
    for number, x in ((14, STEP / 2), (15, 2.5 * STEP)):
        _box(ax, lessons[number], (x, -4.95), (STEP + WIDE, HIGH), "0.25")
    for a, b in BRIDGES:
        _arrow(ax, place[a], place[b])
    ax.text(STEP, -2.5 * ROW + 0.03, "vanishing moments", ha="center", va="bottom", fontsize=10, style="italic")
    return fig


def _head(ax: Any, part: str, x: float, y: float, colour: str) -> None:
    ax.text(x, y, part, ha="center", va="center", weight="bold", color=colour, fontsize=12)


def _box(
    ax: Any, lesson: Lesson, at: tuple[float, float], size: tuple[float, float], colour: str, words: str = ""
) -> None:
    """A lesson: its title, what is at home there, what returns."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    done = lesson in written()
    tint = tuple(1 - 0.16 * (1 - c) for c in to_rgb(colour)) if done else "white"
    look: Any = {"fc": tint, "ec": colour, "lw": 1.4, "ls": "-" if done else "--"}
    corner = at[0] - size[0] / 2, at[1] - size[1] / 2
    ax.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.1", **look))
    room = round(11 * size[0])  # letters in a line
    title = textwrap.wrap(f"{lesson.number:02d} {lesson.title}", room - 3)
    at_home = textwrap.wrap(words, 200) or textwrap.wrap(covers(lesson), room)
    again = (
        textwrap.wrap(f"with {short(returning(lesson.number))}", room)
        if lesson.number and returning(lesson.number)
        else []
    )
    lines = [(line, {"weight": "bold"}) for line in title]
    lines += [(line, {}) for line in at_home] + [(line, {"style": "italic"}) for line in again]
    top = at[1] + LINE * (len(lines) - 1) / 2
    for i, (line, how) in enumerate(lines):
        ax.text(at[0], top - LINE * i, line, ha="center", va="center", fontsize=10.2, **how)


def _arrow(ax: Any, a: tuple[float, float], b: tuple[float, float]) -> None:
    """From box to box: straight where no box is in the way, else below the boxes of its row."""
    look = {"arrowstyle": "-|>", "mutation_scale": 12, "color": "0.35", "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    rise = a[1] - b[1]
    x, y = (a[0] + WIDE / 2, b[0] - WIDE / 2), (a[1], b[1] + 0.035 * rise * abs(rise) / ROW)  # heads lie apart
    if b[0] - a[0] < 2.5 * STEP:
        ax.annotate("", (x[1], y[1]), (x[0], y[0]), arrowprops=look)
        return
    out, back, low, foot = x[0] + 0.12, x[1] - 0.17, a[1] - ROW / 2, a[1] - 0.25
    ax.plot([x[0], out, out, back, back], [foot, foot, low, low, foot], color="0.35", lw=1.2)
    ax.annotate("", (x[1], foot), (back - 0.01, foot), arrowprops=look)


def course_costs(rows: dict[str, dict[str, Any]]) -> Any:
    """Bars: what each lesson takes, {number: row of experiments/lessons.py}; a stroke marks what it may take."""
    from companion.lab.show import CYCLE, plots

    fig, axes = plots(2, height=4.3, sharey=True)
    names = sorted(rows, reverse=True)
    colours = [CYCLE[1] if rows[name]["trains"] else CYCLE[0] for name in names]
    for ax, what, (usual, training) in zip(axes, LIMITS, LIMITS.values(), strict=True):
        values = [rows[name][what] or 0 for name in names]
        limits = [training if rows[name]["trains"] else usual for name in names]
        ax.barh(names, values, 0.72, color=colours)
        ax.scatter(limits, names, marker="|", s=90, color="black", linewidths=1.6, zorder=3)
        for name, value in zip(names, values, strict=True):
            ax.text(
                value - 0.01 * training,
                name,
                f"{value:.0f}" if value else "",
                ha="right",
                va="center",
                fontsize=9.5,
                color="white",
            )
        ax.set(title=TITLES[what], xlim=(0, 1.04 * training), ylim=(-0.7, len(names) - 0.3))
        ax.tick_params(left=False)
    return fig


def costs_in_words(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The facts of that figure: the sum of the seconds, the longest lesson, the largest."""
    longest = max(rows, key=lambda name: rows[name]["seconds"])
    largest = max(rows, key=lambda name: rows[name]["megabytes"] or 0)
    return {
        "all lessons": f"{sum(row['seconds'] for row in rows.values()) / 60:.0f} minutes",
        "longest": f"{longest}, {rows[longest]['seconds']:.0f} seconds",
        "largest": f"{largest}, {rows[largest]['megabytes']} megabytes",
    }
