"""The course as data: its lessons in order, what of the paper each covers, and how they hang together.

`LESSONS` is the one place for titles: the map of lesson 00 is drawn from it, the README's table tested against it.

Notebook: 00.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, NamedTuple


class Lesson(NamedTuple):
    """Number and title, `part` of the course, the items of the `paper` it covers, its `file` name without number."""

    number: int
    title: str
    part: str
    paper: str
    file: str

    @property
    def notebook(self) -> str:
        """The notebook's file name."""
        return f"{self.number:02d}_{self.file}.ipynb"


FRAMES, VARIATIONS, BRIDGE, NETWORKS = "Frames", "Variations and diffusion", "The bridge", "Networks"
WHOLE = "The whole picture"
LESSONS = (
    Lesson(0, "Start here", "Opening", "the whole", "start_here"),
    Lesson(1, "Inverse problems", FRAMES, "(1.1)", "inverse_problems"),
    Lesson(2, "Framelets", FRAMES, "(2.1)-(2.3), Ex 2.1", "framelets"),
    Lesson(3, "Vanishing moments are derivatives", FRAMES, "(4.1), Prop 4.1, 4.2", "vanishing_moments"),
    Lesson(4, "Sparse restoration", FRAMES, "(2.4)-(2.6)", "sparse_restoration"),
    Lesson(5, "Total variation", VARIATIONS, "(3.1), (3.2)", "total_variation"),
    Lesson(6, "Diffusion", VARIATIONS, "(3.3)", "diffusion"),
    Lesson(7, "Gamma-convergence", BRIDGE, "(4.2), (4.3), Thm 4.1", "gamma_convergence"),
    Lesson(8, "Shrinkage is diffusion", BRIDGE, "(4.4)-(4.6)", "shrinkage_is_diffusion"),
    Lesson(9, "Acceleration", BRIDGE, "(4.7), (4.8)", "acceleration"),
    Lesson(10, "Residual networks are ODEs", NETWORKS, "(5.1)-(5.3)", "residual_networks"),
    Lesson(11, "Noise and control", NETWORKS, "Sec 5.1", "noise_and_control"),
    Lesson(12, "Filters that learn derivatives", NETWORKS, "(5.5)-(5.7)", "moment_filters"),
    Lesson(13, "Discovering equations", NETWORKS, "(5.4)", "discovering_equations"),
    Lesson(14, "Learned restoration", NETWORKS, "F and F_Theta", "learned_restoration"),
    Lesson(15, "Beyond pictures", WHOLE, "Sec 2 and 3", "beyond_pictures"),
)
BRIDGES = ((2, 8), (3, 12), (3, 7), (4, 9), (5, 7), (6, 8), (8, 10), (9, 10), (6, 14))


def written() -> list[Lesson]:
    """The lessons whose notebooks exist, found beside the package or in the working directory."""
    roots = (Path(__file__).resolve().parents[2] / "notebooks", Path.cwd())
    return [lesson for lesson in LESSONS if any((root / lesson.notebook).exists() for root in roots)]


def table() -> str:
    """The lessons as a Markdown table: number, title, what it covers; a link where the notebook exists."""
    done = {lesson.number for lesson in written()}
    rows = ["| | Lesson | In the paper |", "|---|---|---|"]
    for lesson in LESSONS:
        name = (
            f"[{lesson.title}](notebooks/{lesson.notebook})" if lesson.number in done else f"{lesson.title} *(to come)*"
        )
        rows.append(f"| {lesson.number:02d} | {name} | {lesson.paper} |")
    return "\n".join(rows)


def course_map() -> Any:
    """The map of the course: a column for each part, a box for each lesson, in it the lessons where it returns."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    from companion.lab.show import CYCLE, plots

    fig, ax = plots(height=6.2)
    ax.set_axis_off()
    ax.set(xlim=(-1.05, 8.55), ylim=(-4.55, 0.9))
    done = {lesson.number for lesson in written()}
    place: dict[int, tuple[float, float]] = {}
    for column, (part, colour) in enumerate(zip((FRAMES, VARIATIONS, BRIDGE, NETWORKS), CYCLE, strict=False)):
        lessons = [lesson for lesson in LESSONS if lesson.part == part]
        ax.text(2.5 * column, 0.65, textwrap.fill(part, 16), ha="center", va="center", weight="bold", color=colour)
        for row, lesson in enumerate(lessons):
            x, y = 2.5 * column, -row - (5 - len(lessons)) / 2
            place[lesson.number] = x, y
            fill, ink = (colour, "white") if lesson.number in done else ("white", "black")
            shape = "round,pad=0,rounding_size=0.1"
            ax.add_patch(FancyBboxPatch((x - 1.02, y - 0.42), 2.04, 0.84, shape, fc=fill, ec=colour))
            title = textwrap.fill(f"{lesson.number:02d} {lesson.title}", 21)
            ax.text(x, y + 0.16, title, ha="center", va="center", fontsize=10.5, color=ink, linespacing=1.0)
            later = [str(b).zfill(2) for a, b in sorted(BRIDGES) if a == lesson.number]
            returns = f"returns in {', '.join(later)}" if later else ""
            ax.text(x, y - 0.13, lesson.paper, ha="center", va="center", fontsize=9, color=ink)
            ax.text(x, y - 0.31, returns, ha="center", va="center", fontsize=9, color=ink, style="italic")
    for a, b in BRIDGES:
        ends = (place[a][0] + 1.02, place[a][1]), (place[b][0] - 1.02, place[b][1])
        if ends[1][0] - ends[0][0] < 1:  # between neighbouring columns, where no box is in the way
            ax.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=10, color="0.45", lw=1, zorder=0))
    ax.text(3.75, -4.5, "filled: written        outlined: to come", ha="center", fontsize=10, color="0.3")
    return fig
