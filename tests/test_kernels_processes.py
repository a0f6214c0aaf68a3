"""Loops beside other threads, in other processes, in copies, and with a numba that does not load: the same numbers."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from companion import Euler, Exponential, FastROF, FrameletTransform, Gradient, PeronaMalik, bspline, run
from companion.kernels import SMALLEST, parallel, use

pytest.importorskip("numba")
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


# ---- threads --------------------------------------------------------------------------------------------------------


class Memory:
    """What somebody reaches by its address alone."""


def gone(memory: weakref.ref) -> bool:
    gc.collect()
    return memory() is None


@pytest.mark.parametrize("waiting", [False, True], ids=["at work", "waiting"])
def test_what_is_kept_outlives_an_interrupt(waiting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyboardInterrupt of the caller, in its own part or while it waits for the other one."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    begun, mine, end = threading.Event(), threading.Event(), threading.Event()

    def part(start: int, stop: int) -> None:
        if start == 0:
            begun.wait(10)
            mine.set()
            if not waiting:
                raise KeyboardInterrupt
            return
        begun.set()
        mine.wait(10)
        end.wait(10)

    def interrupt(future: Future, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    kept = Memory()
    memory, interrupted = weakref.ref(kept), False
    if waiting:
        monkeypatch.setattr(Future, "result", interrupt)
    try:
        parallel(part, 2, keep=(kept,))
    except KeyboardInterrupt:
        interrupted = True
    del kept
    assert interrupted and not gone(memory), "a part still runs on memory that nobody holds"
    end.set()
    last = time.monotonic() + 10
    while not gone(memory) and time.monotonic() < last:
        time.sleep(0.01)
    assert gone(memory), "what was kept is held for good"


# ---- processes ------------------------------------------------------------------------------------------------------


def answer(code: str, **variables: str) -> str:
    """What a new process prints; an error after two minutes."""
    command, env = [sys.executable, "-c", code], os.environ | variables
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout


@forking
def test_a_forked_child_takes_the_loops() -> None:
    """After the parent has used its threads, which the child does not have. Those of torch itself do not come back
    either: u.sin() waits for ever in a child of a parent that took two, so torch has one here, and the loops have two.
    """
    code = """
import multiprocessing, torch
from companion import *
from companion.kernels import _pool

torch.set_num_threads(1)
torch.get_num_threads = lambda: 2
torch.manual_seed(0)
W, step, u = FrameletTransform(bspline(1), 2), Euler(PeronaMalik(Exponential(0.3)), 0.2), torch.rand(1024, 1024)
forms = [lambda: W(u), lambda: W.T(W(u)), lambda: step(u), lambda: Gradient()(u)]
wanted = [f() for f in forms]
assert _pool.cache_info().currsize == 1
context = multiprocessing.get_context("fork")
reader, writer = context.Pipe(duplex=False)
child = context.Process(target=lambda: writer.send([torch.equal(f(), w) for f, w in zip(forms, wanted)]))
child.start()
print(reader.recv() if reader.poll(20) else "the child hangs")
child.kill()
"""
    assert answer(code) == "[True, True, True, True]\n"


class Coefficients(Dataset):
    """W u of pictures so large that loops are taken."""

    def __init__(self) -> None:
        self.W = FrameletTransform(bspline(1))

    def picture(self, i: int) -> Tensor:
        return torch.rand(512, 512, generator=torch.Generator().manual_seed(i))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Tensor:
        return self.W(self.picture(i))


@forking
def test_the_workers_of_a_loader_take_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Coefficients()
    assert data.picture(0).numel() >= SMALLEST
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    wanted = [data[i] for i in range(4)]
    with use(False):
        torch.testing.assert_close(wanted[0], data[0])
    loader = DataLoader(data, batch_size=2, num_workers=2, timeout=20, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), torch.stack(wanted))


def test_a_numba_that_does_not_load_is_told_of_once(tmp_path: Path) -> None:
    """Such as one for another numpy: it is installed, and its import fails."""
    (tmp_path / "numba.py").write_text('raise SystemError("made for another numpy")')
    code = """
import warnings, torch
from companion import *
from companion.kernels import available, use

W, u = FrameletTransform(bspline(1)), torch.rand(600, 600)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    d, p = W(u), Gradient()(u)
    again = W(u)
print(available(), *((w.category.__name__, str(w.message)) for w in said))
with use(False):
    print(torch.equal(d, W(u)), torch.equal(again, d), torch.equal(p, Gradient()(u)))
"""
    said = answer(code, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    words = ("RuntimeWarning", "The readable forms are used, for numba fails: made for another numpy")
    assert said == f"True {words}\nTrue True True\n"


# ---- copies ---------------------------------------------------------------------------------------------------------


MAPS: dict[str, Callable[[Tensor], tuple[nn.Module, Callable[[Any], Any]]]] = {
    "W": lambda u: (FrameletTransform(bspline(2), 2), lambda W: W(u)),
    "W^T": lambda u: (FrameletTransform(bspline(1)), lambda W: W.T(torch.stack([u, 2 * u, 3 * u, u * u]))),
    "D": lambda u: (Gradient(0.5), lambda D: D(u)),
    "D^T": lambda u: (Gradient(0.5), lambda D: D.T(torch.stack([u, u * u]))),
    "Perona-Malik": lambda u: (Euler(PeronaMalik(Exponential(0.3)), 0.2), lambda step: step(u)),
    "FastROF": lambda f: (FastROF(f, 0.1), lambda step: run(step, f, k=3).u),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_copy_of_what_has_run_gives_the_same_numbers(name: str) -> None:
    operator, call = MAPS[name](torch.rand(16, 17, dtype=torch.float64))
    with use(True):
        wanted = call(operator)
        for other in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))):
            assert torch.equal(call(other), wanted)
        assert torch.equal(call(operator), wanted)
