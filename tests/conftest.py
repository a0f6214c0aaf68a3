"""How the tests run: types checked by beartype, one thread, a seeded generator.

`--as-user` runs without the type checks, as somebody meets the package who just installed it: the tests of
error messages need that, since a type check would answer before the package does.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

AS_USER = "test_messages.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--as-user", action="store_true", help="no run-time type checks: the package as a user meets it")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not config.getoption("nbval", default=False):  # kernels inherit the environment and need their inline backend
        os.environ.setdefault("MPLBACKEND", "Agg")
    if not config.getoption("--as-user"):
        from jaxtyping import install_import_hook

        install_import_hook("companion", "beartype.beartype")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--as-user"):
        return
    skip = pytest.mark.skip(reason=f"run as a user sees it: python -m pytest tests/{AS_USER} --as-user")
    for item in items:
        if item.path.name == AS_USER:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Results differ in the eighth digit with the number of threads: the tests use one."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def experiment() -> Callable[[str], ModuleType]:
    """experiment(name): the script experiments/{name}.py as a module, a fresh one at every call."""
    folder = Path(__file__).resolve().parents[1] / "experiments"

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"experiments_{name}", folder / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(folder))  # a script may import another one
            sys.modules[spec.name] = module  # dataclasses look their module up
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Every test starts from the same random numbers and leaves the caller's untouched."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # torch.manual_seed looks for accelerators, which takes milliseconds
        yield


@pytest.fixture
def rng() -> "torch.Generator":
    """A torch generator of the test's own."""
    import torch

    return torch.Generator().manual_seed(0)
