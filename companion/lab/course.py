"""The course as data: its lessons in order, what of the paper each covers, and how they hang together.

`LESSONS` is the one place for titles. Which numbered items of the paper a lesson covers is typed nowhere: it is read
off docs/paper_map.md, which the tests write from what the lessons claim. An item is *at home* in the first lesson that
claims much about it, and *returns* wherever else something is claimed. The map of lesson 00 is drawn from this
(lab/course_map.py), the README's table tested against it.

Notebook: 00.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Lesson(NamedTuple):
    """Number, title, `part` of the course, its `file` name without number; `beside`: what it has without a number."""

    number: int
    title: str
    part: str
    file: str
    beside: str = ""

    @property
    def notebook(self) -> str:
        """The notebook's file name."""
        return f"{self.number:02d}_{self.file}.ipynb"


FRAMES, VARIATIONS, BRIDGE, NETWORKS = "Frames", "Variations and diffusion", "The bridge", "Networks"
WHOLE = "The whole picture"
LESSONS = (
    Lesson(0, "Start here", "Opening", "start_here", "the whole"),
    Lesson(1, "Inverse problems", FRAMES, "inverse_problems"),
    Lesson(2, "Framelets", FRAMES, "framelets"),
    Lesson(3, "Vanishing moments are derivatives", FRAMES, "vanishing_moments"),
    Lesson(4, "Sparse restoration", FRAMES, "sparse_restoration"),
    Lesson(5, "Total variation", VARIATIONS, "total_variation"),
    Lesson(6, "Diffusion", VARIATIONS, "diffusion"),
    Lesson(7, "Gamma-convergence", BRIDGE, "gamma_convergence"),
    Lesson(8, "Shrinkage is diffusion", BRIDGE, "shrinkage_is_diffusion"),
    Lesson(9, "Acceleration", BRIDGE, "acceleration"),
    Lesson(10, "Residual networks are ODEs", NETWORKS, "residual_networks"),
    Lesson(11, "Noise and control", NETWORKS, "noise_and_control", "Sec 5.1: SDEs, control"),
    Lesson(12, "Filters that learn derivatives", NETWORKS, "moment_filters"),
    Lesson(13, "Discovering equations", NETWORKS, "discovering_equations"),
    Lesson(14, "Learned restoration", WHOLE, "learned_restoration", "Sec 5: learned models"),
    Lesson(15, "Beyond pictures", WHOLE, "beyond_pictures", "Sec 2, 3: applications"),
)
BRIDGES = ((3, 8), (3, 12), (4, 9), (5, 7), (6, 8), (8, 10), (9, 10))  # an idea of the first carries the second


def found(*names: str) -> list[Path]:
    """The places of a file of the repository that exist: beside the package, in or above the working directory."""
    roots = (Path(__file__).resolve().parents[2], Path.cwd(), Path.cwd().parent)
    return [path for root in roots if (path := root.joinpath(*names)).exists()]


def written() -> list[Lesson]:
    """The lessons whose notebooks exist."""
    return [lesson for lesson in LESSONS if found("notebooks", lesson.notebook) or Path(lesson.notebook).exists()]


@cache
def claimed() -> dict[str, dict[int, int]]:
    """{item of the paper: {lesson: how many claims}}, in the paper's order, read off docs/paper_map.md.

    Raises FileNotFoundError where that page is not beside the package.
    """
    pages = found("docs", "paper_map.md")
    if not pages:
        raise FileNotFoundError("There is no docs/paper_map.md, from which the map is drawn. Write it: make map")
    items: dict[str, dict[int, int]] = {}
    for line in pages[0].read_text(encoding="utf-8").splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) > 3 and re.fullmatch(r"\(\d\.\d+\)|(Ex|Prop|Def|Thm) \d\.\d+", item := cells[1].strip()):
            places = [re.match(r"\[(\d\d)_\w+\]\([^)]*\)(.*)", place) for place in cells[3].strip().split("<br>")]
            items[item] = {int(place[1]): _count(place[2]) for place in places if place}
    return items


def _count(names: str) -> int:
    """How many names such a list has: `: a; b; c, and 5 more` are eight."""
    more = re.search(r", and (\d+) more$", names)
    return 3 + int(more[1]) if more else names.count("; ") + 1


def home(item: str) -> int:
    """The first lesson with at least a third as many claims about an item as any; 00, which only greets them, aside."""
    lessons = {lesson: count for lesson, count in claimed()[item].items() if lesson}
    return min(lesson for lesson, count in lessons.items() if 3 * count >= max(lessons.values()))


def at_home(number: int) -> list[str]:
    """The items whose home is lesson `number`."""
    return [item for item in claimed() if home(item) == number]


def returning(number: int) -> list[str]:
    """The items that lesson `number` claims something about, and whose home is another."""
    return [item for item, lessons in claimed().items() if number in lessons and home(item) != number]


def short(items: list[str]) -> str:
    """Items in one line.

    >>> short(["(2.1)", "(2.2)", "(2.3)", "Ex 2.1", "Prop 4.1", "Prop 4.2", "(4.4)"])
    '(2.1)-(2.3), Ex 2.1, Prop 4.1, 4.2, (4.4)'
    """
    groups: list[list[str]] = []
    for item in items:
        if groups and _next(groups[-1][-1]) == item:
            groups[-1].append(item)
        else:
            groups.append([item])
    words: list[str] = []
    for group in groups:
        if group[0][0] == "(":
            words.append(f"{group[0]}-{group[-1]}" if len(group) > 2 else ", ".join(group))
        else:
            words.append(", ".join(group[:1] + [item.split()[1] for item in group[1:]]))
    return ", ".join(words)


def _next(item: str) -> str:
    """The item that follows: (2.2) after (2.1), Prop 4.2 after Prop 4.1."""
    return re.sub(r"\.(\d+)", lambda found: f".{int(found[1]) + 1}", item)


def covers(lesson: Lesson) -> str:
    """What of the paper a lesson covers: the items at home there, and what has no number."""
    return "; ".join(filter(None, (short(at_home(lesson.number)), lesson.beside)))


def table() -> str:
    """The lessons as a Markdown table: number, title, what it covers; a link where the notebook exists."""
    done = {lesson.number for lesson in written()}
    rows = ["| | Lesson | In the paper |", "|---|---|---|"]
    for lesson in LESSONS:
        name = (
            f"[{lesson.title}](notebooks/{lesson.notebook})" if lesson.number in done else f"{lesson.title} *(to come)*"
        )
        rows.append(f"| {lesson.number:02d} | {name} | {covers(lesson)} |")
    return "\n".join(rows)
