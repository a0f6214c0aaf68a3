"""The readable forms compiled for a GPU: here they are compiled for the CPU, which counts as a GPU, and equal."""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from companion import Exponential, FastROF, Gradient, PeronaMalik
from companion.kernels import gpu, use

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler for torch.compile")


def test_as_a_user(pytestconfig: pytest.Config) -> None:
    """The tests below, in a process without run-time checks of types, which torch.compile cannot follow."""
    if pytestconfig.getoption("--as-user"):
        pytest.skip("this is that process")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--as-user", __file__]
    done = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> list[Any]:
    """CPU tensors of every size count as large ones of a GPU, and a failure to compile is an error; lists what torch
    was asked to compile.
    """
    if not pytestconfig.getoption("--as-user"):
        pytest.skip("run by test_as_a_user")
    asked: list[Any] = []
    make = torch.compile

    def count(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        asked.append(f)
        return make(f, **options)

    monkeypatch.setattr(gpu, "on_gpu", lambda u: True)
    monkeypatch.setattr(gpu, "SMALLEST", 0)
    monkeypatch.setattr(gpu, "_forms", {})
    monkeypatch.setattr(torch, "compile", count)
    return asked


def equal(f: Callable[..., Any], *args: Any, tol: float) -> None:
    """f compiled, without a warning, and f as written."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = f(*args)
    with use(False):
        wanted = f(*args)
    for a, b in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert (a - b).abs().max() <= tol * b.abs().max().clamp_min(1)


def test_gradients_of_many_kinds_and_sizes(here: list[Any]) -> None:
    """Ten kinds, more than torch keeps forms of one function; an object of a known kind is not compiled anew."""
    for i in range(10):
        D = Gradient(0.1 + 0.1 * i, 1 + i % 2, "periodic" if i % 3 else "reflect")
        equal(D, torch.randn(5, 6), tol=1e-6)
    known = len(here)
    assert known == 10
    for shape in ((4, 9), (7, 8), (9, 2), (3, 5, 6)):
        equal(Gradient(0.1, 1), torch.randn(shape), tol=1e-6)
        equal(Gradient(0.2, 2, "periodic"), torch.randn(shape), tol=1e-6)
    assert len(here) == known


def test_the_adjoint_of_gradients(here: list[Any]) -> None:
    for boundary in ("reflect", "periodic"):
        for shape in ((2, 5, 6), (3, 2, 8, 9), (2, 1, 4)):
            equal(Gradient(0.5, 2, boundary).adjoint, torch.randn(shape, dtype=torch.float64), tol=1e-12)
    assert len(here) == 2


def test_steps_of_diffusion(here: list[Any]) -> None:
    """Sizes and steps vary; the same g with and without sigma are two kinds."""
    for F in (PeronaMalik(Exponential(0.3)), PeronaMalik(Exponential(0.3), sigma=1.0)):
        for n, dt in ((8, 0.2), (9, 0.1), (12, 0.05)):
            equal(F.euler, torch.rand(n, n + 1, dtype=torch.float64), dt, 3, tol=1e-12)
    assert len(here) == 2


def test_steps_for_rof(here: list[Any]) -> None:
    for n, nu in ((8, 0.1), (9, 0.2), (12, 0.3)):
        f = torch.rand(n, n)
        step = FastROF(f, nu)
        with use(False):
            s = step(step(step.start(f)))
        equal(step, s, tol=1e-6)
    assert [f.__qualname__ for f in here].count("FastROF.forward") == 1


def test_as_written_where_a_derivative_is_asked_for_or_use_says_so(here: list[Any]) -> None:
    D, u = Gradient(), torch.rand(5, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(D, u.requires_grad_())
    u = u.detach()
    with torch.autograd.forward_ad.dual_level():
        D(torch.autograd.forward_ad.make_dual(u, u))
    D(u.half())
    with use(False):
        D(u)
    assert here == []
    D(u)
    assert len(here) == 1


def test_small_pictures_and_the_cpu_are_left_alone(here: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SMALLEST", 31)
    Gradient()(torch.rand(5, 6))
    monkeypatch.undo()
    assert not gpu.worth(torch.rand(2**10, 2**10))


def test_a_compiler_that_fails_is_told_of_once(here: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(f: Any, **options: Any) -> Callable[..., Tensor]:
        def g(*args: Any) -> Tensor:
            raise RuntimeError("no compiler\nat all")

        return g

    monkeypatch.setattr(torch, "compile", broken)
    D, u = Gradient(), torch.rand(5, 6)
    with use(False):
        wanted = D(u)
    with pytest.raises(ValueError, match="at least 2 axes"):  # what is wrong with u is said by the formula
        D(u[0])
    with pytest.warns(RuntimeWarning, match=r"Gradient.forward runs as written, not compiled: no compiler$"):
        assert torch.equal(D(u), wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(D(u), wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu() -> None:
    F, f = PeronaMalik(Exponential(0.3)).cuda(), torch.rand(1024, 1025, device="cuda")
    step = FastROF(f, 0.1)
    equal(Gradient(), f, tol=1e-6)
    equal(Gradient().adjoint, Gradient()(f), tol=1e-6)
    equal(F.euler, f, 0.2, 3, tol=1e-5)
    equal(step, step(step.start(f)), tol=1e-5)
    assert gpu._forms
