"""The two commands, the pins, and what the repository must not name."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}
TARGETS = ("help", "lab", "test", "lint", "format", "notebooks", "bench", "bench-quick", "book", "map", "pins", "clean")
# Put together from pieces, so that this file does not name them either.
HOSTS = (
    "pypi" + ".org",
    "python" + "hosted",
    "download." + "pytorch",
    "anaconda" + ".org",
    "npmjs" + ".",
    "debian" + ".org",
)
PLACES = re.compile(r"file:/{2}|(?<![\w+/.~}])/(?:home|Users|root|opt|mnt|media|work)/\w+")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*args: str, **environment: str) -> str:
    """What make prints, called as from a fresh shell."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS")) and "DISPLAY" not in k}
    done = subprocess.run(["make", *args], cwd=ROOT, env=env | environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_make
def test_make_alone_lists_the_targets() -> None:
    said = make()
    assert said == make("help")
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\w", said, re.MULTILINE), f"make does not tell of {target}"


@needs_make
def test_make_lab_opens_the_first_lesson() -> None:
    said = make("-n", "lab", "ARGS=--port 9999", DISPLAY=":0")
    assert "jupyter lab notebooks/00_start_here.ipynb" in said
    assert "--port 9999" in said
    assert "--no-browser" not in said
    assert ("--allow-root" in said) == (os.geteuid() == 0)


@needs_make
@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux may come without a screen")
def test_make_lab_prints_the_address_where_there_is_no_screen() -> None:
    assert "--no-browser" in make("-n", "lab")


def kind(url: str, seconds: float = 20) -> str:
    """What the server has under an address, asked until it answers: it prints the address before it listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as reply:
                return json.load(reply)["type"]
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@needs_make
@pytest.mark.skipif(not (ROOT / ".venv" / ".lab").exists(), reason="make lab has not set up .venv: run make test")
def test_the_address_that_make_lab_prints_is_the_first_lesson(tmp_path: Path) -> None:
    """JupyterLab as make starts it, without a screen: it says where it is, and the lesson is there."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS")) and "DISPLAY" not in k}
    env |= {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "BROWSER": "true"}
    env |= {"JUPYTERLAB_WORKSPACES_DIR": str(tmp_path), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["make", "lab", f"ARGS=--no-browser --port {port}"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, **pipes) as process:
        timer = threading.Timer(120, os.killpg, (process.pid, signal.SIGTERM))
        timer.start()
        try:
            address = re.compile(rf"(http://127\.0\.0\.1:{port})/lab/tree/(\S+)\?token=(\w+)")
            server, path, token = next(found.groups() for line in process.stderr if (found := address.search(line)))
            assert path == "notebooks/00_start_here.ipynb"
            assert kind(f"{server}/api/contents/{path}?content=0&token={token}") == "notebook"
        finally:
            timer.cancel()
            os.killpg(process.pid, signal.SIGTERM)
            process.stderr.read()


@needs_make
def test_make_installs_when_the_pins_change() -> None:
    said = make("-n", "-W", "constraints.txt", "test")
    assert "-e '.[lab,fast]' -c constraints.txt" in said
    assert "-e '.[lab,fast,scale,test]' -c constraints.txt" in said
    assert said.splitlines()[-1].startswith(".venv/bin/python tools/test.py")


@needs_make
def test_make_names_the_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.8.19\nexit 1\n')
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "-C", str(tmp_path), "lab", f"PYTHON={old}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout
    assert "Python 3.8.19" in done.stdout


def test_ci_runs_make_test_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["set -e", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec make test"]


OF_TORCH = {"triton"}  # a torch for CUDA brings one, and takes no other version: a pin could contradict it


def asked() -> list[Requirement]:
    needs = [Requirement(text) for text in sum(EXTRAS.values(), PROJECT["dependencies"])]
    return [need for need in needs if need.name not in OF_TORCH]


def test_what_torch_brings_is_bounded_and_not_pinned() -> None:
    needs = {need.name: need for text in EXTRAS["test"] if (need := Requirement(text)).name in OF_TORCH}
    assert needs.keys() == OF_TORCH and not OF_TORCH & PINS.keys()
    for need in needs.values():
        assert {bound.operator for bound in need.specifier} == {">=", "<"}, "an unpinned package has two bounds"
        assert need.name in (ROOT / "tools" / "pins.sh").read_text()


@pytest.mark.parametrize("requirement", asked(), ids=str)
def test_what_the_project_asks_for_is_pinned(requirement: Requirement) -> None:
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"constraints.txt has no pin for {requirement.name}: make pins"
    assert requirement.specifier.contains(pin), f"constraints.txt pins {pin}, pyproject.toml asks for {requirement}"


def test_pins_are_plain_versions() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), f"not a plain pin: {line}"


def brought() -> Iterator[str]:
    """The names of all installed packages that the extras bring, directly or through others."""
    todo = [(Requirement(f"companion[{','.join(EXTRAS)}]"))]
    seen = set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield name
        try:
            needs = map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:
            continue
        for need in needs:
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append(need)


def test_no_pin_is_idle() -> None:
    """Nothing is pinned that no extra brings."""
    installed = {canonicalize_name(package.name) for package in metadata.distributions()}
    idle = (PINS.keys() & installed) - set(brought())
    assert not idle, f"constraints.txt pins what nothing needs: {', '.join(sorted(idle))}"


def tracked() -> list[Path]:
    """The files of the repository, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git repository: which files belong to it is not known")
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        found = [name for name in HOSTS if name in text] + PLACES.findall(text)
        assert not found, f"{path.relative_to(ROOT)} names {', '.join(found)}"
