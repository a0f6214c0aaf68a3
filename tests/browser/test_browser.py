"""Each lesson in JupyterLab, as a reader uses it: run all cells, move every control, answer every exercise.

The lessons are copied with their outputs cleared, and JupyterLab runs with settings, workspaces and runtime files of
its own, so that nothing of the reader's is touched. With COMPANION_SCREENSHOTS set to a folder, pictures of what was
seen are left there.
"""

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools import chromium
from tools.notebooks import kernel_environment, lessons, read, tidy

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason=chromium.hint()),
]

LESSONS = {path.stem: path for path in lessons()}
RUN_SECONDS = 90  # for Run All, on a machine that does other things too
FLAGS = [f"--disable-{name}" for name in ("background-networking", "component-update", "gpu", "quic", "sync")]
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "docmanager-extension/plugin": '{"autosave": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
# The bytes of all pictures that a cell shows, plots and widgets alike.
PICTURES = """async cell => Promise.all([...cell.querySelectorAll('.jp-OutputArea :is(img, canvas)')].map(async it => {
    if (it.tagName == 'CANVAS') return it.toDataURL();
    await it.decode().catch(() => {});
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [it.naturalWidth || 1, it.naturalHeight || 1];
    canvas.getContext('2d').drawImage(it, 0, 0);
    return canvas.toDataURL();
}))"""


def wait_for(ready: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Whether `ready()` became true in time."""
    end = time.monotonic() + seconds
    while not (done := ready()) and time.monotonic() < end:
        time.sleep(pause)
    return done


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab that serves copies of the lessons, and of the files beside them, without outputs."""
    home = tmp_path_factory.mktemp("jupyter")
    for name, text in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (home / "notebooks").mkdir()
    for path in LESSONS.values():
        (home / "notebooks" / path.name).write_text(cleared(path), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = kernel_environment() | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"]
    options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={home / 'notebooks'}"]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        started = wait_for(lambda: answers(f"{url}/api") or process.poll() is not None, 60, pause=0.3)
        if not started or process.poll() is not None:
            pytest.fail(f"JupyterLab did not start:\n{(home / 'server.log').read_text()[-3000:]}")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def cleared(path: Path) -> str:
    import nbformat

    notebook = tidy(read(path))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook)


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    flags = [*FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else FLAGS
    with playwright.sync_playwright() as driver:
        program = driver.chromium.launch(executable_path=chromium.find(), args=flags)
        yield program
        program.close()


class Lesson:
    """A lesson open in the browser."""

    def __init__(self, stem: str, page: "playwright.Page") -> None:
        self.stem, self.page = stem, page
        self.cells = [cell for cell in read(LESSONS[stem]).cells if cell.cell_type == "code"]

    def code(self, index: int) -> "playwright.Locator":
        """The index-th code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def tagged(self, tag: str) -> list[int]:
        return [i for i, cell in enumerate(self.cells) if tag in cell.metadata.get("tags", [])]

    def text(self, index: int) -> str:
        """What the index-th code cell has printed."""
        return "\n".join(self.code(index).locator(".jp-OutputArea-output").all_inner_texts())

    def pictures(self, index: int) -> str:
        """A fingerprint of the pictures that the index-th code cell shows."""
        shown = self.code(index).evaluate(PICTURES)
        return hashlib.sha1("".join(shown).encode()).hexdigest() if shown else ""

    def settled(self, index: int, seconds: float = 10) -> str:
        """The fingerprint once it has stayed the same for a third of a second."""
        seen = [self.pictures(index)]

        def still() -> bool:
            seen.append(self.pictures(index))
            return len(seen) > 3 and len(set(seen[-3:])) == 1

        wait_for(still, seconds, pause=0.12)
        return seen[-1]

    def changed(self, index: int, before: str, seconds: float) -> bool:
        """Whether the pictures of a cell become others, and then stay."""
        return wait_for(lambda: self.pictures(index) not in ("", before), seconds) and self.settled(index) != before

    def idle(self) -> "playwright.Locator":
        """The note in the status bar that the kernel has nothing to do."""
        return self.page.locator("#jp-main-statusbar").get_by_text("| Idle")

    def traceback(self) -> str:
        """The last lines of the first traceback that any cell shows, or nothing."""
        for text in self.page.locator(".jp-OutputArea-output").all_inner_texts():
            if "Traceback (most recent call last)" in text:
                return text[-1500:]
        return ""

    def run_all(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        shown = [
            cell
            for cell in self.cells
            if cell.source.strip() and not cell.metadata.get("jupyter", {}).get("source_hidden")
        ]
        prompts = self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt")  # a collapsed cell shows none

        def ready() -> bool:
            counted = sum(text.strip(" []:").isdigit() for text in prompts.all_text_contents())
            return bool(self.traceback()) or (counted >= len(shown) and self.idle().count() > 0)

        done = wait_for(ready, RUN_SECONDS, pause=0.3)
        assert not self.traceback(), self.traceback()
        assert done, f"Run All has not finished after {RUN_SECONDS} s: {prompts.all_text_contents()}"

    def complaint(self, index: int) -> str:
        """What an explorer says under its picture when something went wrong in it, or nothing."""
        said = self.code(index).locator(".widget-html").all_inner_texts()
        return "; ".join(text for text in said if "✗" in text) or self.traceback()

    def answer(self, index: int, source: str) -> str:
        """Type `source` into the index-th code cell, run it, and return what it prints."""
        cell = self.code(index)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.text_content()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)
        typed = "\n".join(cell.locator(".cm-line").all_text_contents())
        assert typed.split() == source.split(), f"the editor holds {typed!r}"
        self.page.keyboard.press("ControlOrMeta+Enter")

        def ran() -> bool:
            now = prompt.text_content() or ""
            return now != before and now.strip(" []:").isdigit()

        assert wait_for(ran, 30), f"the cell did not run within 30 s: {prompt.text_content()}"
        time.sleep(0.1)
        return self.text(index)

    def screenshot(self, name: str, index: int | None = None) -> None:
        folder = os.environ.get("COMPANION_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            if index is not None:
                self.code(index).scroll_into_view_if_needed()
            self.page.screenshot(path=Path(folder) / f"{self.stem}-{name}.png")


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request: pytest.FixtureRequest, server: str, browser: "playwright.Browser") -> Iterator[Lesson]:
    """The lesson opened from its address and run from top to bottom."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{server}/lab/workspaces/{request.param}/tree/{LESSONS[request.param].name}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    opened = Lesson(request.param, page)
    kernel = page.locator(".jp-Dialog .jp-mod-accept")
    wait_for(lambda: kernel.count() > 0 or opened.idle().count() > 0, 60)
    if kernel.count():
        kernel.first.click()
    opened.run_all()
    opened.screenshot("run")
    yield opened
    page.close()


def test_run_all(lesson: Lesson) -> None:
    assert not lesson.traceback()


def test_every_slider_changes_the_picture(lesson: Lesson) -> None:
    """By one step of the arrow key; where a step is too small to see, by a page, then to an end."""
    for index in lesson.tagged("explorer"):
        sliders = lesson.code(index).locator(".widget-hslider:visible")
        assert sliders.count() + lesson.code(index).locator(".widget-dropdown select").count(), (
            "an explorer without controls"
        )
        for number in range(sliders.count()):
            label = sliders.nth(number).locator(".widget-label").all_inner_texts()
            for handle in sliders.nth(number).locator("[role=slider]").all():
                before = lesson.settled(index)
                assert before, "an explorer without a picture"
                at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
                keys = ("ArrowLeft", "PageDown", "Home") if at_end else ("ArrowRight", "PageUp", "End")
                handle.focus()
                for key in keys:
                    handle.press(key)
                    if lesson.changed(index, before, seconds=2):
                        break
                else:
                    pytest.fail(f"the slider {label} was moved and the picture stayed the same")
            lesson.screenshot(f"explorer{index}-slider{number}", index)
        assert not lesson.complaint(index), lesson.complaint(index)


def test_every_menu_and_box_changes_the_picture(lesson: Lesson) -> None:
    for index in lesson.tagged("explorer"):
        for menu in lesson.code(index).locator(".widget-dropdown select:visible").all():
            chosen, options = menu.input_value(), menu.locator("option").all_inner_texts()
            for option in [option for option in options if option.replace("\xa0", " ") != chosen.replace("\xa0", " ")]:
                before = lesson.settled(index)
                menu.select_option(label=option)
                assert lesson.changed(index, before, seconds=5), (
                    f"{option!r} was chosen and the picture stayed the same"
                )
        for box in lesson.code(index).locator(".widget-checkbox input:visible").all():
            before = lesson.settled(index)
            box.click()
            assert lesson.changed(index, before, seconds=5), "a box was ticked and the picture stayed the same"
        lesson.screenshot(f"explorer{index}-menus", index)
        assert not lesson.complaint(index), lesson.complaint(index)


def test_right_and_wrong_answers(lesson: Lesson) -> None:
    """The solution typed into an exercise passes its check; a wrong answer gets a hint, and never a traceback."""
    for index in lesson.tagged("exercise"):
        exercise, solution = lesson.cells[index], lesson.cells[index + 1]
        said = lesson.answer(index, exercise.metadata["wrong"])
        assert "✗" in said and "✓" not in said, f"exercise {index}: a wrong answer is met by {said!r}"
        assert len(said.split()) >= 5, f"exercise {index}: {said!r} is no hint"
        lesson.screenshot(f"exercise{index}-wrong", index)
        said = lesson.answer(index, solution.source)
        assert "✓" in said and "✗" not in said, f"exercise {index}: the right answer is met by {said!r}"
        lesson.screenshot(f"exercise{index}-right", index)
    assert not lesson.traceback(), lesson.traceback()
