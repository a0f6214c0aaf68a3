"""Diffusion of fourth order: against plain loops, an energy, SymPy's factor of a wave, and what it leaves alone."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
import torch
from torch import Tensor

from companion import (
    Charbonnier,
    FourthOrder,
    FrameGradient,
    Gradient,
    Hessian,
    PeronaMalik,
    Rational,
    Regularised,
    bspline,
)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_against_loops() -> None:
    """-H^T(g(|H u|^2) H u) on the torus, entry by entry: u_11, u_22, and u_12 twice as the mean of two mixed
    differences.
    """
    n, m, h = 5, 6, 0.5
    u, g = random(n, m).numpy(), lambda s: 1 / math.sqrt(1 + s / 2.25)

    def entries(i: int, j: int) -> list[dict[tuple[int, int], float]]:
        """The four rows of H at the pixel (i, j), as {pixel: weight}."""
        at = lambda a, b: ((i + a) % n, (j + b) % m)  # noqa: E731
        xx = {at(1, 0): 1.0, at(0, 0): -2.0, at(-1, 0): 1.0}
        yy = {at(0, 1): 1.0, at(0, 0): -2.0, at(0, -1): 1.0}
        taps = {(0, 0): -2, (1, 0): 1, (-1, 0): 1, (0, 1): 1, (0, -1): 1, (-1, 1): -1, (1, -1): -1}
        xy = {at(*k): w / 2 for k, w in taps.items()}
        return [{k: w / h**2 for k, w in row.items()} for row in (xx, xy, xy, yy)]

    exact = np.zeros((n, m))
    for i, j in itertools.product(range(n), range(m)):
        rows = entries(i, j)
        values = [sum(w * u[k] for k, w in row.items()) for row in rows]
        weight = g(sum(v * v for v in values))
        for row, v in zip(rows, values, strict=True):
            for k, w in row.items():
                exact[k] -= weight * v * w
    F = FourthOrder(Charbonnier(1.5), Hessian(h, 2, "periodic"))
    np.testing.assert_allclose(F(torch.from_numpy(u)).numpy(), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", ["periodic", "reflect"])
def test_it_is_steepest_descent(boundary: str) -> None:
    """F = -grad of sum_n sqrt(|H u|^2 + eps^2), by automatic differentiation of the energy, written without H."""
    h, eps = 0.7, 0.3
    u = random(7, 6).requires_grad_()
    grad = Gradient(h, 2, boundary)(u)

    def back(p: Tensor, axis: int) -> Tensor:
        before = torch.roll(p, 1, axis)
        if boundary == "reflect":  # no flux through the border
            inside, none = p.narrow(axis, 0, p.shape[axis] - 1), torch.zeros_like(p.narrow(axis, 0, 1))
            p, before = torch.cat([inside, none], axis), torch.cat([none, inside], axis)
        return (p - before) / h

    xx, yy = back(grad[0], 0), back(grad[1], 1)
    xy = (back(grad[1], 0) + back(grad[0], 1)) / 2
    (slope,) = torch.autograd.grad((xx**2 + 2 * xy**2 + yy**2 + eps**2).sqrt().sum(), u)
    F = FourthOrder(Regularised(eps), Hessian(h, 2, boundary))
    torch.testing.assert_close(F(u.detach()), -slope, rtol=0, atol=1e-11)


def test_a_wave_and_the_bound() -> None:
    """g = 1: cos<w, n> is multiplied by -16/h^4 (s_1^2 + s_2^2 + 2 s_1 s_2 cos^2((w_1 - w_2)/2)), s = sin^2(w/2), by
    SymPy from the taps; at most 64/h^4, at (pi, pi).
    """
    w1, w2 = sp.symbols("w1 w2", real=True)
    e1, e2 = sp.exp(sp.I * w1), sp.exp(sp.I * w2)
    xx, yy = e1 - 2 + 1 / e1, e2 - 2 + 1 / e2
    xy = ((1 - 1 / e1) * (e2 - 1) + (1 - 1 / e2) * (e1 - 1)) / 2
    factor = xx * sp.conjugate(xx) + yy * sp.conjugate(yy) + 2 * xy * sp.conjugate(xy)
    s1, s2 = sp.sin(w1 / 2) ** 2, sp.sin(w2 / 2) ** 2
    claimed = 16 * (s1**2 + s2**2 + 2 * s1 * s2 * sp.cos((w1 - w2) / 2) ** 2)
    f, c = (sp.lambdify((w1, w2), x, "numpy") for x in (factor, claimed))
    w = np.linspace(-np.pi, np.pi, 61)
    x, y = np.meshgrid(w, w)
    np.testing.assert_allclose(f(x, y).real, c(x, y), atol=1e-12)
    assert c(x, y).max() == pytest.approx(64)
    h, n = 0.5, torch.arange(12, dtype=torch.float64)
    F = FourthOrder(torch.ones_like, Hessian(h, 2, "periodic"))
    wave = torch.cos(2 * np.pi / 12 * (3 * n[:, None] - 2 * n) + 0.4)
    rate = c(6 * np.pi / 12, -4 * np.pi / 12) / h**4
    torch.testing.assert_close(F(wave), -float(rate) * wave, rtol=0, atol=1e-9)
    assert F.max_dt == pytest.approx(2 * h**4 / 64)
    assert FourthOrder(Regularised(0.5), Hessian(h, 3, "periodic")).max_dt == pytest.approx(h**4 / 72 / 2)


def test_it_tends_to_the_equation() -> None:
    """g = 1: -H^T H u -> -Laplace^2 u at second order in h."""
    errors = []
    for N in (16, 32):
        x = torch.arange(N, dtype=torch.float64) / N
        u = torch.sin(2 * torch.pi * x)[:, None] * torch.cos(2 * torch.pi * x)
        exact = -64 * torch.pi**4 * u
        F = FourthOrder(torch.ones_like, Hessian(1 / N, 2, "periodic"))
        errors.append(float((F(u) - exact).abs().max() / exact.abs().max()))
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.1


def test_the_bound_of_the_hessian_is_its_norm() -> None:
    """16 d^2/h^4, met by the checkerboard on the torus; approached from below between mirrors."""
    for d in (1, 2, 3):
        H = Hessian(0.5, d, "periodic")
        board = (-1.0) ** torch.stack(torch.meshgrid(*[torch.arange(4)] * d, indexing="ij")).sum(0).double()
        assert (H(board).square().sum() / board.square().sum()).item() == pytest.approx(H.bound)
        mirrored = Hessian(0.5, d).norm(torch.zeros([16] * d, dtype=torch.float64)).item() ** 2
        assert 0.9 * H.bound < mirrored < H.bound


def test_ramps_stay_and_do_not_break_into_steps() -> None:
    """A noisy ramp: Perona and Malik's flow makes flat pieces, slopes near 0, this one keeps the slope."""
    n = torch.arange(48, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    ramp = 0.2 * n.expand(48, 48)
    f = ramp + 0.15 * torch.randn(48, 48, generator=generator, dtype=torch.float64)
    inside = (slice(8, -8), slice(8, -8))

    def slopes(u: Tensor) -> Tensor:
        return u.diff(dim=-1)[inside]

    fourth = FourthOrder(Rational(0.3)).flow(f, 4.0).u
    second = PeronaMalik(Rational(0.1)).flow(f, 12.0).u
    assert (fourth - ramp)[inside].square().mean() < 0.3 * (f - ramp)[inside].square().mean()
    assert slopes(fourth).std() < 0.5 * slopes(second).std()
    assert FourthOrder(Rational(0.3))(ramp)[inside].abs().max() < 1e-12


def test_there_is_no_maximum_principle() -> None:
    """A spike is surrounded by values below 0 after one step."""
    u = torch.zeros(15, 15, dtype=torch.float64)
    u[7, 7] = 1
    F = FourthOrder(torch.ones_like)
    assert not F.maximum_principle
    assert (u + F.max_dt * F(u)).min() < -0.01


def test_any_second_differences_will_do() -> None:
    """Bands of linear splines, the mixed one times sqrt 2: the bound is theirs, h^4/8."""
    H = FrameGradient(bspline(2), ((2, 0), (1, 1), (0, 2)), 0.5, 2, "periodic", (-16.0, 8 * 2**0.5, -16.0))
    assert FourthOrder(torch.ones_like, H).max_dt == pytest.approx(0.5**4 / 8)
