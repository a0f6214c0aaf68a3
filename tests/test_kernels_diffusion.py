"""The fused diffusion step equals u + dt F(u): every law, size, border and type; another formula has no loop."""

import math

import pytest
import torch
from torch import Tensor, nn

from companion import (
    Charbonnier,
    Euler,
    Exponential,
    FastDecay,
    Gradient,
    Heat,
    Heun,
    PeronaMalik,
    Rational,
    Regularised,
    StabilityWarning,
    TVFlow,
    haar_gradient,
    run,
)
from companion.kernels import blocks, differences, diffusion, use

pytest.importorskip("numba")

LAWS = [Exponential(0.3), Rational(0.3), Rational(0.3, 2.0), Charbonnier(0.2), Regularised(0.1), FastDecay(0.4)]
laws = pytest.mark.parametrize("g", LAWS, ids=repr)
BORDERS = pytest.mark.parametrize("boundary", ["reflect", "periodic"])
TYPES = pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
SIZES = {1: [(2,), (3, 7)], 2: [(1, 1), (2, 1), (1, 2), (5, 6), (2, 3, 7, 4)], 3: [(2, 3, 4), (1, 1, 5), (2, 5, 1, 3)]}


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


@laws
@TYPES
def test_a_law_is_its_formula(g: nn.Module, dtype: torch.dtype, tol: float) -> None:
    """From s = 0 to where g underflows, relative to g(0); infinity and NaN mean what they mean in torch."""
    loop, a, b = g.law()
    s = torch.cat([torch.zeros(1), torch.logspace(-12, 6, 500), torch.tensor([math.inf, math.nan])]).to(dtype)
    real = s.numpy().dtype.type
    out = [loop(x, real(float(a)), real(float(b))) for x in s.numpy()]
    expected = g(s)
    assert math.isnan(out[-1]) and out[-2] == expected[-2]
    torch.testing.assert_close(s.new_tensor(out)[:-1], expected[:-1], rtol=0, atol=tol * float(g(s[:1])))


@laws
@BORDERS
@TYPES
def test_the_loop_is_the_step(g: nn.Module, boundary: str, dtype: torch.dtype, tol: float) -> None:
    for dim, shapes in SIZES.items():
        for shape in shapes:
            for sigma in (0.0, 0.8):
                F = PeronaMalik(g, Gradient(0.7, dim, boundary), sigma)
                u = random(*shape, dtype=dtype)
                step = Euler(F, F.max_dt)
                with use(False):
                    expected, slope = step(u), F(u)
                with use(True):
                    assert F._fused(u, 1.0, 0.1) is not None
                    torch.testing.assert_close(
                        step(u), expected, rtol=0, atol=tol * max(1, float(expected.abs().max()))
                    )
                    torch.testing.assert_close(F(u), slope, rtol=0, atol=2 * tol * max(1, float(slope.abs().max())))


@pytest.mark.paper("(3.3)")
@BORDERS
def test_the_loop_is_the_scheme_written_out(boundary: str) -> None:
    """Pixel by pixel, with an exponential of the standard library."""
    H, W, sigma, dt = 4, 5, 0.5, 0.2
    u = random(H, W).tolist()

    def at(i: int, j: int) -> tuple[int, int]:
        return (i % H, j % W) if boundary == "periodic" else (min(max(i, 0), H - 1), min(max(j, 0), W - 1))

    def value(i: int, j: int) -> float:
        i, j = at(i, j)
        return u[i][j]

    def c(i: int, j: int) -> float:
        i, j = at(i, j)
        s = (value(i + 1, j) - value(i, j)) ** 2 + (value(i, j + 1) - value(i, j)) ** 2
        return math.exp(-s / (2 * sigma**2))

    expected = [
        [
            value(i, j)
            + dt * c(i, j) * (value(i + 1, j) + value(i, j + 1) - 2 * value(i, j))
            + dt * c(i - 1, j) * (value(i - 1, j) - value(i, j))
            + dt * c(i, j - 1) * (value(i, j - 1) - value(i, j))
            for j in range(W)
        ]
        for i in range(H)
    ]
    with use(True):
        step = Euler(PeronaMalik(Exponential(sigma), Gradient(boundary=boundary)), dt)
        out = step(torch.tensor(u, dtype=torch.float64))
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64))


def test_heat_and_total_variation_flow() -> None:
    """g = 1; and a reaction, whose step is not that of the diffusion alone."""
    u, f = random(5, 6), random(5, 6)
    for F in (Heat(0.5), TVFlow(eps=0.1), TVFlow(eps=0.1, f=f, nu=0.3)):
        for scheme in (Euler, Heun):
            with use(False):
                expected = run(scheme(F, F.max_dt), u, k=3).u
            with use(True):
                torch.testing.assert_close(run(scheme(F, F.max_dt), u, k=3).u, expected, rtol=1e-12, atol=1e-12)


def test_derivatives_are_those_of_the_readable_form() -> None:
    """With respect to the picture, and to a learned contrast."""
    g = Exponential(0.5)
    del g.sigma
    g.sigma = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    step, u = Euler(PeronaMalik(g), 0.2), random(4, 5).requires_grad_()
    with use(True):
        slopes = torch.autograd.grad(step(u).square().sum(), [u, g.sigma])
    with use(False):
        torch.testing.assert_close(slopes, torch.autograd.grad(step(u).square().sum(), [u, g.sigma]))


def test_another_formula_or_gradient_has_no_loop() -> None:
    class Twice(Exponential):
        def forward(self, s: Tensor) -> Tensor:
            return super().forward(s) / 2

    class Pulled(PeronaMalik):
        def forward(self, u: Tensor) -> Tensor:
            return super().forward(u) - u

    u = random(5, 6)
    fields = [PeronaMalik(Twice(0.3)), PeronaMalik(lambda s: 1 / (1 + s)), PeronaMalik(Rational(0.3, 1.5))]
    fields += [PeronaMalik(Exponential(0.3), haar_gradient()), Pulled(Exponential(0.3))]
    for F in fields:
        with use(False):
            expected = Euler(F, 0.05)(u)
        with use(True):
            torch.testing.assert_close(Euler(F, 0.05)(u), expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_rows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may begin in the middle of a picture, and end in another."""
    monkeypatch.setattr(differences, "ALONE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for dim, shape in ((2, (3, 5, 4)), (3, (2, 4, 3, 5))):
        step, u = Euler(PeronaMalik(Exponential(0.3), Gradient(1.0, dim, "periodic")), 0.05), random(*shape)
        with use(False):
            expected = step(u)
        with use(True):
            torch.testing.assert_close(step(u), expected)


def test_the_loop_keeps_what_the_flow_promises() -> None:
    """The mean, and the extrema up to max_dt; u itself is not changed."""
    F, u = PeronaMalik(Exponential(0.2)), random(9, 8)
    before = u.clone()
    with use(True):
        out = run(Euler(F, F.max_dt), u, k=50).u
    assert torch.equal(u, before)
    torch.testing.assert_close(out.mean(), u.mean())
    assert u.min() <= out.min() and out.max() <= u.max()
    assert diffusion.stepper(diffusion.exponential, 2) is diffusion.stepper(diffusion.exponential, 2)


@BORDERS
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_many_steps_block_by_block(boundary: str, threads: int, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few planes, with those beside them, give what one step after the other gives."""
    monkeypatch.setattr(blocks, "BLOCK", 1)
    monkeypatch.setattr(blocks, "ALONE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    F = PeronaMalik(Exponential(3.0), Gradient(1.0, dim, boundary))
    for A in (1, 2, 13, 50):
        u = random(2, A, *(3, 5)[: dim - 1])
        step = Euler(F, F.max_dt)
        with use(False):
            expected = run(step, u, k=5).u
        with use(True):
            torch.testing.assert_close(step.power(u, 5), expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(run(step, u, k=5).u, expected, rtol=1e-12, atol=1e-12)


def test_an_unstable_run_ends_with_the_words_of_the_readable_form() -> None:
    u = random(8, 9)
    with pytest.warns(StabilityWarning):
        step = Euler(Heat(), 1e30)
    for wanted in (True, False):
        with use(wanted), pytest.raises(ValueError, match="u must be finite"):
            run(step, u, k=60)
