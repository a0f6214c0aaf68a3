"""Every lesson keeps its budgets and its form, and every picture of it can be read aloud.

That the stored outputs are what the code gives is nbval's part; here each rule is one test, which says the number it
measured. A lesson that trains a network says so in its metadata, {"companion": {"trains": true}}.
"""

import ast
import functools
import importlib.util
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools.book import page
from tools.notebooks import execute, lessons, read, tidy

LESSONS = {path.stem: path for path in lessons()}
MAIN = {
    stem: path for stem, path in LESSONS.items() if not stem.startswith("00")
}  # 00 opens the course: its form is free
SECONDS = {False: 30, True: 60}  # by whether the lesson trains
MEGABYTES = {False: 450, True: 700}
KILOBYTES = 500
WORDS = (900, 2600)
CELLS = (25, 48)
PARTS = {"claim": 1, "exercise": 3, "solution": 3, "explorer": 1}

every_lesson = pytest.mark.parametrize("stem", LESSONS)
main_lessons = pytest.mark.parametrize("stem", MAIN)


class Run(NamedTuple):
    seconds: float
    megabytes: float | None  # None where the system does not tell


class Images(HTMLParser):
    """The alternative text of every picture of a web page; None for a picture without."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.alts: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def trains(notebook: NotebookNode) -> bool:
    return bool(notebook.metadata.get("companion", {}).get("trains", False))


def code_cells(notebook: NotebookNode, tag: str = "") -> list[NotebookNode]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return [cell for cell in cells if not tag or tag in cell.metadata.get("tags", [])]


def printed(cell: NotebookNode) -> str:
    """All text that a cell's stored outputs show."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(texts)


def named(cell: NotebookNode) -> str:
    """A cell as a reader of the report finds it: its count and its first line."""
    return f"cell [{cell.get('execution_count')}] {cell.source.splitlines()[0][:60]!r}"


def words(notebook: NotebookNode) -> int:
    """Words of prose: formulas, code, links' targets and tags do not count."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for unread in (r"```.*?```", r"\$\$.*?\$\$", r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", r"\$[^$]*\$", r"`[^`]*`"):
        text = re.sub(unread, " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|<[^>]+>", " ", text)
    return len(re.findall(r"[^\W\d_][\w'’-]*", text))


@functools.cache
def run(stem: str) -> Run:
    """One run of the lesson from a fresh kernel on one thread: its seconds, from start to end, and its peak memory."""
    peak: list[float] = []

    def watch(client: NotebookClient) -> None:
        status = Path(f"/proc/{client.km.provisioner.pid}/status")
        if status.exists():
            peak.append(int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024)

    start = time.monotonic()
    execute(read(LESSONS[stem]), LESSONS[stem].parent, watch=watch)
    return Run(time.monotonic() - start, max(peak, default=None))


@every_lesson
def test_names_exist(stem: str) -> None:
    """Every `from companion... import name` of a lesson finds its name: said at once, before anything is run."""
    for cell in code_cells(read(LESSONS[stem])):
        source = re.sub(r"^[%!].*", "", cell.source, flags=re.MULTILINE)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "companion":
                there = importlib.import_module(node.module)
                for name in (alias.name for alias in node.names):
                    found = hasattr(there, name) or importlib.util.find_spec(f"{node.module}.{name}")
                    assert found, f"{named(cell)}: {node.module} has no {name}"


@every_lesson
def test_seconds(stem: str) -> None:
    limit, seconds = SECONDS[trains(read(LESSONS[stem]))], run(stem).seconds
    if seconds > limit:  # a shared machine may have been busy: the faster of two runs counts
        seconds = min(seconds, run.__wrapped__(stem).seconds)
    assert seconds <= limit, f"Run All takes {seconds:.1f} s; at most {limit} s"


@every_lesson
def test_memory(stem: str) -> None:
    limit, megabytes = MEGABYTES[trains(read(LESSONS[stem]))], run(stem).megabytes
    if megabytes is None:
        pytest.skip("the kernel's peak memory is read from /proc, which this system does not have")
    assert megabytes <= limit, f"the kernel takes {megabytes:.0f} MB; at most {limit} MB"


@every_lesson
def test_file_size(stem: str) -> None:
    size = LESSONS[stem].stat().st_size / 1000
    assert size <= KILOBYTES, f"the file has {size:.0f} kB; at most {KILOBYTES} kB"


@main_lessons
def test_words(stem: str) -> None:
    number = words(read(LESSONS[stem]))
    assert WORDS[0] <= number <= WORDS[1], f"{number} words of text; between {WORDS[0]} and {WORDS[1]}"


@main_lessons
def test_cells(stem: str) -> None:
    number = len(read(LESSONS[stem]).cells)
    assert CELLS[0] <= number <= CELLS[1], f"{number} cells; between {CELLS[0]} and {CELLS[1]}"


@main_lessons
@pytest.mark.parametrize("tag", PARTS)
def test_parts(stem: str, tag: str) -> None:
    number = len(code_cells(read(LESSONS[stem]), tag))
    assert number >= PARTS[tag], f"{number} cells tagged {tag}; at least {PARTS[tag]}"


@every_lesson
def test_stored_outputs(stem: str) -> None:
    """Run from top to bottom, without an error and without a warning."""
    cells = code_cells(read(LESSONS[stem]))
    assert any(cell.outputs for cell in cells), "no stored outputs: make notebooks"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "not run once from top to bottom"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", f"{named(cell)} stores an error"
            assert output.get("name") != "stderr", f"{named(cell)} stores a warning: {output.text[:200]}"


@every_lesson
def test_normalised(stem: str) -> None:
    """As `make notebooks` writes it: no widget state, no times of execution, no versions, stable cell ids."""
    raw = json.loads(LESSONS[stem].read_text(encoding="utf-8"))
    assert all("id" in cell for cell in raw["cells"]), "cells without an id: make notebooks"
    notebook = read(LESSONS[stem])
    assert tidy(notebook) == notebook, "not normalised: make notebooks"


@every_lesson
def test_exercises(stem: str) -> None:
    """A stub says "not yet"; right after it comes its solution, collapsed, which passes the same check."""
    notebook = read(LESSONS[stem])
    cells = code_cells(notebook)
    for stub, solution in zip(cells, [*cells[1:], None], strict=True):
        if "exercise" not in stub.metadata.get("tags", []):
            continue
        where = named(stub)
        assert "..." in stub.source, f"{where}: nothing is left to do (no ...)"
        assert "not yet" in printed(stub).lower(), f'{where}: the untouched exercise must print "not yet"'
        assert stub.metadata.get("wrong"), (
            f'{where}: the metadata "wrong" must hold a wrong answer for the browser test'
        )
        assert solution is not None and "solution" in solution.metadata.get("tags", []), f"{where}: no solution follows"
        assert solution.metadata.get("jupyter", {}).get("source_hidden"), f"{where}: its solution is not collapsed"
        assert "✓" in printed(solution), f"{where}: its solution does not pass the check"


@every_lesson
def test_pictures_have_words(stem: str) -> None:
    """Each picture carries a sentence with its facts, which nbval compares, and alternative text."""
    notebook = read(LESSONS[stem])
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for mime in [mime for mime in output.get("data", {}) if mime.startswith("image/")]:
                sentence = output.data.get("text/plain", "")
                where = named(cell)
                assert len(sentence.split()) >= 3 and not sentence.startswith("<"), (
                    f"{where}: a picture without a sentence"
                )
                assert output.metadata.get(mime, {}).get("alt", "").strip(), (
                    f"{where}: a picture without alternative text"
                )


@every_lesson
def test_web_page_has_alternative_text(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.html"
    path.write_text(page(LESSONS[stem]), encoding="utf-8")
    alts = Images(path.read_text(encoding="utf-8")).alts
    missing = [alt for alt in alts if not (alt or "").strip() or "No description has been provided" in (alt or "")]
    assert not missing, f"{len(missing)} of {len(alts)} pictures of the web page have no alternative text"
