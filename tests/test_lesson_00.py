"""Lesson 00: the map is the paper's, the glossary is whole, the costs are measured, the checks diagnose."""

import functools
import importlib.util
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import companion
from companion import lab
from companion.lab import course, course_map, glossary, stored
from companion.lab.exercises import lesson_00 as exercises
from tests.test_paper_map import ITEMS, MAP, coverage, named
from tests.verdicts import says

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {int(path.stem[:2]): path for path in (ROOT / "notebooks").glob("*.ipynb")}


def words(fig: object) -> list[str]:
    """Every text of a figure."""
    return [text.get_text() for ax in fig.axes for text in ax.texts]  # type: ignore[attr-defined]


def boxes(fig: object) -> dict[int, list[str]]:
    """{lesson: the lines of its box}, title first: a box begins where a line begins with its number."""
    found: dict[int, list[str]] = {}
    now: list[str] = []
    for line in words(fig):
        if match := re.match(r"(\d\d) ", line):
            now = found.setdefault(int(match[1]), [])
        now.append(line)
    return found


# ---- the map ----------------------------------------------------------------------------------------------------


covered = functools.cache(coverage)


@functools.cache
def homes() -> dict[str, int]:
    """Where each item is at home, counted from the claim cells and not from the page."""
    found = {}
    for item, where in covered().items():
        counts = {int(place[10:12]): len(names) for place, names in where.lessons.items() if "/00_" not in place}
        found[item] = min(lesson for lesson, count in counts.items() if 3 * count >= max(counts.values()))
    return found


def test_every_item_is_at_home_in_one_lesson() -> None:
    assert {item: course.home(item) for item in course.claimed()} == homes()
    assert sorted(item for lesson in course.LESSONS for item in course.at_home(lesson.number)) == sorted(ITEMS)


def test_the_page_is_read_as_it_is_written() -> None:
    for item, where in covered().items():
        lessons = {int(place[10:12]): names for place, names in where.lessons.items()}
        assert set(course.claimed()[item]) == set(lessons), item
        for lesson, names in lessons.items():
            semicolons = sum(name.count("; ") for name in names) if len(names) <= 3 else 0
            assert course.claimed()[item][lesson] == len(names) + semicolons


def test_the_boxes_of_the_map_hold_the_items_of_the_paper() -> None:
    for lesson, lines in boxes(course_map.course_map()).items():
        own, _, again = " ".join(lines).partition(" with ")
        if lesson:
            assert [item for item, there in homes().items() if there == lesson] == named(restored(own))
        claimed = [item for item, where in covered().items() if f"/{lesson:02d}_" in " ".join(where.lessons)]
        returning = claimed if lesson == 0 else [item for item in claimed if homes()[item] != lesson]
        assert returning == named(restored(own if lesson == 0 else again))


def restored(text: str) -> str:
    """`Prop 4.1, 4.2` as `Prop 4.1, Prop 4.2`."""
    return re.sub(r"(Prop|Ex|Def|Thm) (\d\.\d), (\d\.\d)(?!\))", r"\1 \2, \1 \3", text)


def test_an_equation_that_moves_moves_on_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With (3.3) claimed in lesson 11 instead, the map says so, and is no longer the paper's."""
    moved = [re.sub(r"0\d_\w+", "11_noise_and_control", line) if line.startswith("| (3.3)") else line for line in PAGE]
    (tmp_path / "page.md").write_text("\n".join(moved), encoding="utf-8")
    monkeypatch.setattr(course, "found", lambda *names: [tmp_path / "page.md"])
    course.claimed.cache_clear()
    try:
        assert course.home("(3.3)") == 11 and "(3.3)" in course.covers(course.LESSONS[11])
        assert {item: course.home(item) for item in course.claimed()} != homes()
    finally:
        course.claimed.cache_clear()


PAGE = MAP.read_text(encoding="utf-8").splitlines()


def test_without_the_page_there_is_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "found", lambda *names: [])
    course.claimed.cache_clear()
    with pytest.raises(FileNotFoundError, match="make map"):
        course.claimed()


def test_every_lesson_has_a_box_with_its_title() -> None:
    drawn = {number: " ".join(lines) for number, lines in boxes(course_map.course_map()).items()}
    assert list(sorted(drawn)) == [lesson.number for lesson in course.LESSONS]
    assert all(lesson.title in drawn[lesson.number] for lesson in course.LESSONS)


def test_no_line_of_a_box_leaves_it() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patches import FancyBboxPatch

    fig = course_map.course_map()
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    (ax,) = fig.axes
    frames = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    inside = 0
    for text in ax.texts:
        box = text.get_window_extent(canvas.get_renderer())
        within = [f for f in frames if f.x0 <= (box.x0 + box.x1) / 2 <= f.x1 and f.y0 <= (box.y0 + box.y1) / 2 <= f.y1]
        for frame in within:
            inside += 1
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1, text.get_text()
            assert frame.y0 <= box.y0 and box.y1 <= frame.y1, text.get_text()
    assert inside > 40


@pytest.mark.parametrize("bridge", course.BRIDGES)
def test_a_bridge_is_in_the_text(bridge: tuple[int, int]) -> None:
    """The lesson at its end takes up an item of the one at its beginning, or names it."""
    a, b = bridge
    cells = json.loads(NOTEBOOKS[b].read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    shared = set(course.at_home(a)) & set(course.returning(b))
    assert shared or re.search(rf"[Ll]essons? [^.]{{0,12}}{a:02d}|{a:02d}_\w+\.ipynb", text)


# ---- the glossary -----------------------------------------------------------------------------------------------

DUMMY = {*"abpsyznmrv", "delta"}  # what stands for something else in every signature


def test_the_glossary_has_every_letter_of_the_signatures() -> None:
    """The paper's letters in public signatures: those of one letter or a Greek name that ten callables share."""
    greek = {"alpha", "beta", "gamma", "delta", "eps", "kappa", "lam", "mu", "nu", "rho", "sigma", "tau", "Phi", "dt"}
    letters: Counter[str] = Counter()
    for name in dir(companion):
        thing = getattr(companion, name)
        if callable(thing) and not (isinstance(thing, type) and issubclass(thing, Warning)):
            letters.update(p for p in inspect.signature(thing).parameters if len(p) == 1 or p in greek)
    wanted = {letter for letter, count in letters.items() if count >= 10} - DUMMY
    wanted |= {"A", "W", "u", "f", "d", "lam", "kappa", "rho", "tau", "sigma", "dt", "alpha", "q", "g", "F", "k", "t"}
    wanted |= {"nu", "gamma", "S", "E", "R", "C", "mu", "T", "N", "h", "x", "eps"}
    assert wanted <= {entry.code for entry in glossary.GLOSSARY}


def test_no_term_stands_twice() -> None:
    for what in ("english", "chinese"):
        terms = [getattr(entry, what) for entry in glossary.GLOSSARY]
        assert not [term for term, count in Counter(terms).items() if count > 1]
    assert all(re.search(r"[\u4e00-\u9fff]", entry.chinese) for entry in glossary.GLOSSARY)
    assert all(re.search(r"[A-Za-z]", entry.english) for entry in glossary.GLOSSARY)


@pytest.mark.parametrize("entry", glossary.GLOSSARY, ids=lambda entry: entry.english)
def test_a_term_is_met_in_its_lesson(entry: glossary.Entry) -> None:
    """Its lesson exists; its name in the code is one, and stands in a cell of that lesson."""
    assert entry.lesson in range(len(course.LESSONS))
    first = entry.code.split(".")[0]
    if len(first) > 1 and first[0].isupper():
        assert hasattr(companion, first) or hasattr(lab, first)
    if entry.lesson in NOTEBOOKS and (first or entry.symbol):
        cells = json.loads(NOTEBOOKS[entry.lesson].read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
        assert re.search(rf"(?<!\w){re.escape(first)}(?!\w)", text) if first else entry.symbol in text


def test_page_and_data_agree() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert page == glossary.page(), "docs/glossary.md is not what companion/lab/glossary.py says: run `make map`"
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(glossary.GLOSSARY) and all(row.count("|") == 6 for row in rows)


def test_the_lesson_shows_all_of_it() -> None:
    shown = glossary.Glossary()
    assert glossary.glossary() in shown._repr_markdown_() and len(repr(shown).splitlines()) == len(glossary.GLOSSARY)


# ---- the costs --------------------------------------------------------------------------------------------------


def test_every_lesson_is_measured_and_keeps_its_limits() -> None:
    rows = stored("lessons")["lessons"]
    assert {int(number) for number in rows} == set(NOTEBOOKS), "measure the lesson: python experiments/lessons.py"
    for row in rows.values():
        for what, (usual, training) in course_map.LIMITS.items():
            assert row[what] is None or 0 < row[what] <= (training if row["trains"] else usual)


def test_one_bar_for_each_lesson() -> None:
    row = {"seconds": 7.4, "megabytes": None, "trains": False}
    rows = {"00": row, "10": row | {"seconds": 52.6, "megabytes": 512, "trains": True}}
    seconds, megabytes = course_map.course_costs(rows).axes
    assert [patch.get_width() for patch in seconds.patches] == [52.6, 7.4]
    assert [patch.get_width() for patch in megabytes.patches] == [512, 0]
    facts = {"all lessons": "1 minutes", "longest": "10, 53 seconds", "largest": "10, 512 megabytes"}
    assert course_map.costs_in_words(rows) == facts


def test_a_lesson_is_measured(tmp_path: Path) -> None:
    """A kernel that spins for half a second and holds 80 MB more than one that does not."""
    import nbformat

    spec = importlib.util.spec_from_file_location("lessons", ROOT / "experiments" / "lessons.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    spin = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end:\n    pass"
    rows = []
    for name, code in (("idle", "1"), ("busy", f"block = bytearray(80_000_000)\n{spin}")):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(book, tmp_path / f"{name}.ipynb")
        rows.append(script.measured(tmp_path / f"{name}.ipynb"))
    idle, busy = rows
    assert busy["seconds"] > idle["seconds"] + 0.25 and idle["key"] != busy["key"]
    assert busy["megabytes"] is None or 60 < busy["megabytes"] - idle["megabytes"] < 120


# ---- the exercises ----------------------------------------------------------------------------------------------


def _down(u: Tensor, h: float) -> Tensor:
    return torch.cat([torch.diff(u, dim=-2), torch.zeros_like(u[..., :1, :])], dim=-2) / h


def _axis_one(u: Tensor, h: float) -> Tensor:
    return torch.cat([torch.diff(u, dim=1), torch.zeros_like(u[:, :1])], dim=1) / h


CASES: list[tuple[str, Callable, object]] = [
    ("right", exercises.heron, lambda x: (x + 2 / x) / 2),
    ("one and the same number", exercises.heron, lambda x: torch.full_like(x, 2**0.5)),
    ("not a fixed point", exercises.heron, lambda x: x / 2 + 1),
    ("gives x back", exercises.heron, lambda x: 2 / x),
    ("largest error is still", exercises.heron, lambda x: x + (2 - x * x) / 8),
    ("a tensor of its shape", exercises.heron, lambda x: float(x[0])),
    ("write x + v", exercises.heron, lambda x: x.add_(2 / x).div_(2)),
    ("not yet", exercises.heron, lambda x: ...),
    ("right", exercises.difference, _down),
    ("the step h is missing", exercises.difference, lambda u, h: _down(u, 1.0)),
    ("axis -1", exercises.difference, lambda u, h: _down(u.mT, h).mT),
    ("takes its neighbour from the first", exercises.difference, lambda u, h: (u.roll(-1, -2) - u) / h),
    ("backward difference", exercises.difference, lambda u, h: (u - u.roll(1, -2)) / h),
    ("one row is missing", exercises.difference, lambda u, h: torch.diff(u, dim=-2) / h),
    ("between the pictures", exercises.difference, lambda u, h: torch.diff(u, dim=0) / h),
    ("wrong for a single picture", exercises.difference, _axis_one),
    ("axis -1, and the step h", exercises.difference, lambda u, h: _down(u.mT, 1.0).mT),
    ("not yet", exercises.difference, lambda u, h: ...),
    ("right", exercises.descent, lambda u, A, f: u - A.T(A(u) - f)),
    ("right", exercises.descent, lambda u, A, f: u - 0.5 * A.T(A(u) - f)),
    ("the sign must be minus", exercises.descent, lambda u, A, f: u + A.T(A(u) - f)),
    ("unstable", exercises.descent, lambda u, A, f: u - 2.5 * A.T(A(u) - f)),
    ("moves along the residual", exercises.descent, lambda u, A, f: u - (A(u) - f)),
    ("must be taken back by A.T", exercises.descent, lambda u, A, f: u - A(A(u) - f)),
    ("the gradient itself", exercises.descent, lambda u, A, f: A.T(A(u) - f)),
    ("stands still", exercises.descent, lambda u, A, f: u),
    ("not yet", exercises.descent, lambda u, A, f: ...),
]


@pytest.mark.parametrize(("expected", "check", "answer"), CASES)
def test_the_checks_diagnose(expected: str, check: Callable, answer: object) -> None:
    assert expected in says(check, answer)
