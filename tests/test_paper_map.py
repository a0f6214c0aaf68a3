"""Every numbered equation, example, proposition and theorem of the paper has a lesson, an object and a test.

The methods that the paper names are in paper_methods.py and test_method_map.py.

An item is *covered* if

    a code cell tagged `claim` in notebooks/ calls claim("(2.3)", ...)         what a lesson asserts,
    a public object of companion/ (not of lab) names it in its docstring       what the lesson uses,
    a test is marked @pytest.mark.paper("(2.3)")                               what guards both;

"(2.1)-(2.3)" names three items, and one string may name several. `OPEN` lists the items that are not covered yet. It
can only shrink: a covered item that is still listed fails here, and so does one that was covered and is no longer.

    python tests/test_paper_map.py      # or `make map`: write docs/paper_map.md, strike off OPEN what is covered
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAP = ROOT / "docs" / "paper_map.md"

ITEMS = {  # in the paper's order
    "(1.1)": "f = A u + eta: what is measured",
    "(2.1)": "W u = {q[-.] * u}: the framelet transform, band by band",
    "(2.2)": "the filters of level l: dilated and cascaded",
    "(2.3)": "u = W^T W u: perfect reconstruction",
    "Ex 2.1": "the B-spline tight frame systems: Haar and piecewise linear",
    "(2.4)": "the balanced model",
    "(2.5)": "the analysis model",
    "(2.6)": "the synthesis model",
    "(3.1)": "TV(u), by duality",
    "(3.2)": "the total variation model",
    "(3.3)": "Perona and Malik's conditions on the diffusivity g",
    "(4.1)": "vanishing moments, of taps and of symbols",
    "Prop 4.1": "a filter with vanishing moments of order alpha is a finite difference",
    "Prop 4.2": "a framelet coefficient is an average of a derivative",
    "(4.2)": "E_n: the discrete analysis functional",
    "(4.3)": "E: the variational functional",
    "Def 4.1": "Gamma-convergence",
    "Thm 4.1": "E_n Gamma-converges to E",
    "(4.4)": "S(d) = d (1 - lambda(d)): the shrinkage operator",
    "(4.5)": "u^k = W~^T S(W u^{k-1}): the shrinkage algorithm",
    "(4.6)": "the nonlinear evolution equations it approximates",
    "(4.7)": "the accelerated shrinkage algorithm",
    "(4.8)": "the damped wave equation it approximates",
    "(5.1)": "u^{k+1} = u^k + dt F(u^k): residual networks",
    "(5.2)": "linear multi-step residual networks",
    "(5.3)": "the modified equations of both",
    "(5.4)": "PDE-Net: SymNet of learned differences",
    "(5.5)": "the moment matrix of a filter",
    "(5.6)": "its entries",
    "(5.7)": "moment matrices that leave some entries free",
}

LESSON_02 = ("(2.1)", "(2.2)", "(2.3)", "Ex 2.1", "(4.4)")  # what the first complete lesson covered
AT_FIRST = tuple(item for item in ITEMS if item not in LESSON_02)

OPEN: tuple[str, ...] = ()


@dataclass
class Coverage:
    """Where an item is met: {place: names}, a place being a path from the root of the repository."""

    lessons: dict[str, list[str]] = field(default_factory=dict)
    objects: dict[str, list[str]] = field(default_factory=dict)
    tests: dict[str, list[str]] = field(default_factory=dict)

    @property
    def covered(self) -> bool:
        return bool(self.lessons and self.objects and self.tests)


def named(text: str) -> list[str]:
    """The items a text names, ranges written out, whether the paper has them or not.

    >>> named("(2.1)-(2.3), Ex 2.1")
    ['(2.1)', '(2.2)', '(2.3)', 'Ex 2.1']
    """
    found = []
    for match in re.finditer(r"\((\d)\.(\d+)\)(?:\s*[-–]\s*\(\1\.(\d+)\))?|\b(Ex|Prop|Def|Thm) (\d\.\d+)", text):
        chapter, first, last, kind, number = match.groups()
        if kind:
            found.append(f"{kind} {number}")
        else:
            found += [f"({chapter}.{i})" for i in range(int(first), int(last or first) + 1)]
    return found


def strings(nodes: list[ast.expr]) -> str:
    """The literal text of some arguments; what an f-string computes is left out as an ellipsis."""
    parts = []
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
    return ", ".join(parts)


def claims() -> Iterator[tuple[str, str, str]]:
    """(place, statement, text naming items) for each claim of each lesson."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code" or "claim" not in cell["metadata"].get("tags", ()):
                continue
            source = "".join(cell["source"])
            lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
            for node in ast.walk(ast.parse("\n".join(lines))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "claim":
                    yield path.relative_to(ROOT).as_posix(), strings(node.args[1:2]), strings(node.args[:1])


def objects() -> Iterator[tuple[str, str, str]]:
    """(place, qualified name, docstring) for the modules, classes, functions and methods below lab; "" for a module."""
    for path in sorted((ROOT / "companion").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith("companion/lab/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        stack: list[tuple[str, ast.AST]] = [("", tree)]
        while stack:
            name, node = stack.pop(0)
            yield place, name, ast.get_docstring(node) or ""  # type: ignore[arg-type]
            for child in getattr(node, "body", ()):
                defines = isinstance(child, ast.ClassDef) or (
                    isinstance(child, ast.FunctionDef) and isinstance(node, ast.Module | ast.ClassDef)
                )
                if defines and not child.name.startswith("_"):
                    stack.append((f"{name}.{child.name}".lstrip("."), child))


def marks() -> Iterator[tuple[str, str, str]]:
    """(place, name, text naming items) for each test or class of tests marked `paper`."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in getattr(node, "decorator_list", ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.paper":
                    yield path.relative_to(ROOT).as_posix(), node.name, strings(mark.args)  # type: ignore[attr-defined]


def coverage() -> dict[str, Coverage]:
    """Where each item is met; the docstrings of modules count where no object names the item."""
    found = {item: Coverage() for item in ITEMS}
    for kind, source in (("lessons", claims()), ("tests", marks()), ("objects", objects())):
        for place, name, text in source:
            for item in dict.fromkeys(named(text)):
                if item in found:
                    names = getattr(found[item], kind).setdefault(place, [])
                    if name and name not in names:
                        names.append(name)
    for where in found.values():
        where.objects = {place: names for place, names in where.objects.items() if names} or where.objects
    return found


def still_open() -> tuple[str, ...]:
    return tuple(item for item, where in coverage().items() if not where.covered)


# ---- the page ----------------------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Text as it is, in a cell of a Markdown table."""
    return re.sub(r"([\\`*_<>#|$~\[\]])", r"\\\1", " ".join(text.split()))


def cell(where: dict[str, list[str]], code: bool, most: int = 3) -> str:
    """Links to the places, each with the first few names."""
    lines = []
    for place, names in where.items():
        label = (
            place.removesuffix(".ipynb").removeprefix("notebooks/").removeprefix("companion/").removeprefix("tests/")
        )
        shown = [f"`{name}`" if code else escaped(name) for name in names[:most]]
        more = f", and {len(names) - most} more" if len(names) > most else ""
        lines.append(f"[{label}](../{place})" + (": " if names else "") + (", " if code else "; ").join(shown) + more)
    return "<br>".join(lines) or "–"


def page() -> str:
    """docs/paper_map.md."""
    from tests import paper_methods  # which uses this file

    table = coverage()
    done = sum(where.covered for where in table.values())
    rows = [
        f"| {item} | {escaped(ITEMS[item])} | {cell(where.lessons, False)} | {cell(where.objects, True)} "
        f"| {cell(where.tests, True, most=2)} | {'covered' if where.covered else '**open**'} |"
        for item, where in table.items()
    ]
    return "\n".join(
        [
            "# From the paper to the course",
            "",
            "Each numbered item of the paper: what a lesson claims about it, which object of the package it is, which "
            f"test guards it. {done} of {len(table)} items are covered, that is, have all three. The methods follow "
            "below. Written by `make map` from the notebooks, the docstrings and the marks of the tests.",
            "",
            "| item | what it says | claimed in the lesson | object | test | status |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *paper_methods.section(),
        ]
    )


def main() -> None:
    """Write the page; strike off OPEN what is covered, and never add to it."""
    MAP.parent.mkdir(exist_ok=True)
    MAP.write_text(page(), encoding="utf-8")
    left = [item for item in OPEN if item in still_open()]
    lines = "".join(f'    "{item}",\n' for item in left)
    source = Path(__file__).read_text(encoding="utf-8")
    literal = f"(\n{lines})" if left else "()"
    pattern = r"^OPEN: tuple\[str, \.\.\.\] = \((?:\n.*?\n)?\)$"
    new, count = re.subn(pattern, lambda _: f"OPEN: tuple[str, ...] = {literal}", source, flags=re.M | re.S)
    assert count == 1
    Path(__file__).write_text(new, encoding="utf-8")
    print(f"{MAP.relative_to(ROOT)}: {len(ITEMS) - len(still_open())} of {len(ITEMS)} items covered")


# ---- the tests ---------------------------------------------------------------------------------------------------


def test_open_is_what_is_not_covered() -> None:
    """OPEN shrinks with the work: `make map` strikes off what a lesson, an object and a test now share."""
    now, table = still_open(), coverage()
    lost = [item for item in now if item not in OPEN]
    parts = ("lessons", "objects", "tests")
    missing = {item: [part for part in parts if not getattr(table[item], part)] for item in lost}
    assert not lost, f"covered before and no longer, with what is missing: {missing}"
    assert not [item for item in OPEN if item not in now], "covered now: strike them off OPEN by `make map`"


def test_open_never_grows() -> None:
    assert set(OPEN) <= set(AT_FIRST) <= set(ITEMS)
    assert len(OPEN) == len(set(OPEN))


def test_the_map_is_up_to_date() -> None:
    assert MAP.read_text(encoding="utf-8") == page(), "docs/paper_map.md is not what the sources say: run `make map`"


def test_what_is_named_exists() -> None:
    """A mark or a claim with a number that the paper does not have is a slip of the pen."""
    for place, name, text in (*marks(), *claims()):
        unknown = [item for item in named(text) if item not in ITEMS]
        assert not unknown, f"{place}, {name}: the paper has no {', '.join(unknown)}"


def test_names_are_found_and_ranges_written_out() -> None:
    assert named("Paper: (2.1)-(2.3), Ex 2.1.") == ["(2.1)", "(2.2)", "(2.3)", "Ex 2.1"]
    assert named("(4.4), (4.5); Prop 4.1 and Thm 4.1 (5.5)–(5.7)") == [
        *("(4.4)", "(4.5)", "Prop 4.1", "Thm 4.1", "(5.5)", "(5.6)", "(5.7)"),
    ]
    assert named("f(2.5), 3.1, (x.y), Example") == ["(2.5)"]
    assert named("q = (0.5, 0.5) and Sec. 4.1") == []


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
