"""Binder: the recipe renders, says what pyproject.toml says, and its twin in pip runs the first lesson."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}  # conda-forge's name: the registry of Python's
TOOLS = {"pip", "setuptools"}  # install the package itself
UNREACHED = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|name resolution|Network is unreachable|ProxyError"
)


def recipe() -> dict[str, Requirement]:
    """What environment.yml installs beside Python, by the name that pip knows."""
    listed = yaml.safe_load((BINDER / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_conda = [text for text in listed if isinstance(text, str)]
    by_pip = [text for part in listed if isinstance(part, dict) for text in part["pip"]]
    found = {}
    for text in by_conda + by_pip:
        requirement = Requirement(re.sub(r"(?<![<>=!~])=(?!=)", "==", text))
        requirement.name = PYTHON_NAMES.get(requirement.name, requirement.name)
        found[canonicalize_name(requirement.name)] = requirement
    return found


def asked() -> dict[str, Requirement]:
    """What the package and its lessons need."""
    texts = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["lab"]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, texts)}


def test_the_recipe_names_what_the_project_needs() -> None:
    assert recipe().keys() - {"python"} - TOOLS == asked().keys()


@pytest.mark.parametrize("name", asked())
def test_the_recipe_has_the_bounds_of_the_project(name: str) -> None:
    assert recipe()[name].specifier == asked()[name].specifier


def test_the_recipe_admits_the_pins() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for name in asked():
        assert recipe()[name].specifier.contains(pins[name]), f"{recipe()[name]} shuts out the pinned {pins[name]}"


def test_the_recipe_has_a_python_of_the_project() -> None:
    (version,) = recipe()["python"].specifier
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version.version)


def test_repo2docker_reads_the_recipe() -> None:
    """Rendered, not built: the Dockerfile takes environment.yml, postBuild and start, and installs nothing else."""
    command = ["repo2docker", "--no-build", "--no-run", "--debug", "."]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    dockerfile = done.stdout + done.stderr
    assert done.returncode == 0, dockerfile[-2000:]
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"' in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert 'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile
    version = next(iter(recipe()["python"].specifier)).version
    assert f"environment-2epy-2d{version.replace('.', '-2e')}" in dockerfile, f"not built on Python {version}"
    assert "pip install" not in dockerfile, "a requirements file or pyproject.toml is installed beside the recipe"


@pytest.mark.parametrize("script", ["postBuild", "start"])
def test_the_scripts_can_be_run(script: str) -> None:
    assert os.access(BINDER / script, os.X_OK)
    assert (BINDER / script).read_text().startswith("#!/usr/bin/env bash\n")


def test_start_sets_one_thread_and_passes_on() -> None:
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [str(BINDER / "start"), "sh", "-c", 'echo "$OMP_NUM_THREADS $1"', "sh", "two words"]
    assert subprocess.run(command, env=env, capture_output=True, text=True).stdout == "1 two words\n"


@pytest.mark.slow
def test_the_twin_runs_the_first_lesson() -> None:
    """The recipe's names, installed by pip into a fresh environment, then postBuild as it is, then lesson 00."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("companion", "notebooks", "binder", "docs", "experiments"):
            shutil.copytree(
                ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            )
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, home)
        path = os.pathsep.join([str(home / "twin" / "bin"), os.environ["PATH"]])
        unwanted = ("PYTHONPATH", "MPLBACKEND", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST")
        env = {name: value for name, value in os.environ.items() if name not in unwanted}
        env |= {
            "PATH": path,
            "OMP_NUM_THREADS": "1",
            "MPLCONFIGDIR": str(home / "mpl"),
            "IPYTHONDIR": str(home / "ipy"),
        }

        def call(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, cwd=home, env=env | more, capture_output=True, text=True, timeout=900)

        assert call(sys.executable, "-m", "venv", "twin").returncode == 0
        names = [str(requirement) for name, requirement in recipe().items() if name not in ("python", "pip")]
        pins = str(ROOT / "constraints.txt")
        install = call("python", "-m", "pip", "install", "--quiet", "--no-compile", *names, "-c", pins)
        if install.returncode and UNREACHED.search(install.stderr):
            pytest.skip(f"pip reaches no package index here: {install.stderr.strip().splitlines()[-1]}")
        assert install.returncode == 0, install.stderr[-3000:]
        post = call(str(home / "binder" / "postBuild"))
        assert post.returncode == 0, post.stdout + post.stderr
        lesson = call("jupyter", "execute", "notebooks/00_start_here.ipynb", PYTHONPATH=str(ROOT / "tests" / "offline"))
        assert lesson.returncode == 0, lesson.stderr[-3000:]
