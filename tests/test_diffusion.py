"""(3.3): heat, Perona and Malik's equation and its cures, total variation flow."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import sympy
import torch
from torch import Tensor

from companion import (
    PDHG,
    Diffusion,
    Diffusivity,
    Exponential,
    FastDecay,
    Gradient,
    GroupL1,
    Heat,
    Identity,
    Implicit,
    LeastSquares,
    LinearOperator,
    PeronaMalik,
    Problem,
    Rational,
    SemiImplicit,
    TVFlow,
    gaussian_smooth,
    haar_gradient,
    run,
    spline_gradient,
)
from companion.flows.diffusion import monotone
from tests.laws.registry import dense

paper = pytest.mark.paper("(3.3)")


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


# ---- heat -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.3, 1.0])
def test_a_cosine_is_multiplied_by_the_symbol(h: float) -> None:
    """By 1 - 4 dt/h^2 sin^2(w h/2) in each step; at a mirrored border w = pi k / (N h), on the torus 2 pi k / (N h)."""
    N, k, dt = 12, 5, 0.2 * h**2
    n = torch.arange(N, dtype=torch.float64)
    for boundary, w, wave in (
        ("reflect", math.pi * k / (N * h), torch.cos(math.pi * k * (n + 0.5) / N)),
        ("periodic", 2 * math.pi * k / (N * h), torch.cos(2 * math.pi * k * n / N + 0.3)),
    ):
        F = Heat(h, 1, boundary)
        factor = 1 - 4 * dt / h**2 * math.sin(w * h / 2) ** 2
        torch.testing.assert_close(F.flow(wave, 7 * dt, dt).u, factor**7 * wave, rtol=0, atol=1e-13)
        fine = F.flow(wave, dt, dt / 400).u  # time to 0: the semidiscrete multiplier
        torch.testing.assert_close(fine, math.exp(-4 * dt / h**2 * math.sin(w * h / 2) ** 2) * wave, rtol=0, atol=1e-3)


def test_on_a_fine_grid_a_cosine_decays_like_exp_minus_w2_t() -> None:
    errors = []
    for N in (16, 32, 64):
        x, t = (torch.arange(N, dtype=torch.float64) + 0.5) / N, 4 / 16**2
        wave, w = torch.cos(3 * math.pi * x), 3 * math.pi
        errors.append(float((Heat(1 / N, 1).flow(wave, t).u - math.exp(-(w**2) * t) * wave).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1) and errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_heat_is_a_gaussian(boundary: str) -> None:
    """u(t) = G_sigma * u_0, sigma = sqrt(2 t): `gaussian_smooth` up to its samples, and SciPy's filter."""
    h, sigma = 0.5, 1.5
    u = gaussian_smooth(random(40, 36), 1.0, h, boundary=boundary)
    heat = Heat(h, 2, boundary).flow(u, sigma**2 / 2).u
    smooth = gaussian_smooth(u, sigma, h, boundary=boundary)
    mode = {"reflect": "reflect", "periodic": "wrap"}[boundary]
    by_scipy = torch.from_numpy(scipy.ndimage.gaussian_filter(u.numpy(), sigma / h, mode=mode, truncate=8.0))
    size = float(u.std())
    assert float((heat - smooth).abs().max()) < 0.02 * size
    assert float((heat - by_scipy).abs().max()) < 0.02 * size
    assert float((Heat(h, 2, boundary).flow(u, sigma**2).u - by_scipy).abs().max()) > 0.1 * size


@pytest.mark.parametrize(("d", "n"), [(1, 20), (2, 8), (3, 4)])
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_the_discrete_symbol_gives_the_largest_step(d: int, n: int, boundary: str) -> None:
    """-F's eigenvalues lie in [0, 4 d / h^2], by NumPy; 1 - dt a stays in [-1, 1] up to dt = h^2/(2 d)."""
    h = 0.5
    F = Heat(h, d, boundary)
    a = np.linalg.eigvalsh(-dense(F, (n,) * d).numpy())
    waves = 4 / h**2 * np.sin(np.pi * np.arange(n) / n / (1 if boundary == "periodic" else 2)) ** 2
    expected = sum(np.meshgrid(*[waves] * d, indexing="ij"), np.zeros((n,) * d))
    np.testing.assert_allclose(np.sort(expected.ravel()), a, rtol=0, atol=1e-10)
    assert F.max_dt == pytest.approx(h**2 / (2 * d)) and abs(1 - F.max_dt * a).max() <= 1 + 1e-12
    assert a.max() == pytest.approx(4 * d / h**2, rel=1e-9 if boundary == "periodic" else 0.15)


# ---- Perona and Malik -------------------------------------------------------------------------------------------


def by_loops(u: np.ndarray, g: Callable[[float], float], h: float, periodic: bool) -> np.ndarray:
    """div(g(|grad u|^2) grad u), pixel by pixel: forward differences for slopes, backward ones for the divergence."""
    H, W = u.shape

    def slope(i: int, j: int) -> tuple[float, float]:
        a, b = (i + 1) % H, (j + 1) % W
        down = (u[a, j] - u[i, j]) / h if periodic or i + 1 < H else 0.0
        right = (u[i, b] - u[i, j]) / h if periodic or j + 1 < W else 0.0
        return down, right

    def flow(i: int, j: int) -> tuple[float, float]:
        down, right = slope(i, j)
        factor = g(down**2 + right**2)
        return factor * down, factor * right

    v = np.zeros_like(u)
    for i, j in itertools.product(range(H), range(W)):
        total = flow(i, j)[0] + flow(i, j)[1]
        if periodic or i > 0:
            total -= flow((i - 1) % H, j)[0]
        if periodic or j > 0:
            total -= flow(i, (j - 1) % W)[1]
        v[i, j] = total / h
    return v


@paper
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_33_the_flow_is_that_of_plain_loops(boundary: str) -> None:
    h, sigma, lam = 0.5, 1.3, 0.9
    u0 = random(7, 6)
    for F, g in (
        (PeronaMalik(Exponential(sigma), Gradient(h, 2, boundary)), lambda s: math.exp(-s / (2 * sigma**2))),
        (PeronaMalik(Rational(lam, 1.5), Gradient(h, 2, boundary)), lambda s: 1 / (1 + s**1.5 / lam**2)),
        (
            PeronaMalik(FastDecay(2.0), Gradient(h, 2, boundary)),
            lambda s: 1 - math.exp(-3.3148773617860554 / (s / 4) ** 4) if s > 0.2 else 1.0,
        ),
    ):
        u = u0.numpy().copy()
        for _ in range(5):
            u = u + F.max_dt * by_loops(u, g, h, boundary == "periodic")
        torch.testing.assert_close(F.flow(u0, 5 * F.max_dt).u, torch.from_numpy(u), rtol=0, atol=1e-12)


@paper
def test_33_catte_looks_at_a_smoothed_gradient() -> None:
    """One step by hand: g from SciPy's Gaussian, the flux from u itself."""
    h, sigma = 0.5, 0.8
    u = random(9, 8)
    for boundary, mode in (("reflect", "reflect"), ("periodic", "wrap")):
        smooth = scipy.ndimage.gaussian_filter(u.numpy(), sigma / h, mode=mode, radius=math.ceil(4 * sigma / h))
        grad = Gradient(h, 2, boundary)
        c = torch.exp(-grad(torch.from_numpy(smooth)).square().sum(0) / 2)
        expected = -grad.adjoint(c * grad(u))
        torch.testing.assert_close(PeronaMalik(Exponential(1.0), grad, sigma)(u), expected, rtol=0, atol=1e-12)


FLOWS: list[Diffusion] = [
    PeronaMalik(Exponential(0.8), Gradient(0.5)),
    PeronaMalik(Rational(0.8), Gradient(0.5, 2, "periodic"), 0.7),
    PeronaMalik(Exponential(0.8), haar_gradient(0.5)),
    PeronaMalik(Exponential(0.8), spline_gradient(0.5)),
    TVFlow(Gradient(0.5), 0.2),
    TVFlow(haar_gradient(0.5, 3), 0.2, torch.ones(4, 5, dtype=torch.float64), 0.7),
]


@pytest.mark.parametrize("F", FLOWS, ids=range(len(FLOWS)))
def test_the_frozen_flow_is_symmetric_and_gives_the_field(F: Diffusion) -> None:
    """F(u) = L(u) u (+ f / nu); L(u) = L(u)^T <= 0, and div(c grad .) with c = F.diffusivity(u)."""
    u = random(4, 5)
    L = F.frozen(u)
    source = F.f / F.nu if isinstance(F, TVFlow) and F.f is not None else 0.0
    torch.testing.assert_close(F(u), L(u) + source, rtol=1e-12, atol=1e-12)
    M = dense(L, (4, 5))
    torch.testing.assert_close(M, M.T, rtol=0, atol=1e-12)
    assert float(torch.linalg.eigvalsh(M)[-1]) < 1e-10
    c = F.diffusivity(u)
    assert c.shape == (1, 4, 5) and F.conductivity(u).shape == (2, 4, 5)
    rate = 1 / F.nu if isinstance(F, TVFlow) and F.nu else 0.0
    G = dense(F.grad, (4, 5))
    weights = c.expand(len(G) // 20, 4, 5).flatten()
    torch.testing.assert_close(M, -G.T @ torch.diag(weights) @ G - rate * torch.eye(20).double(), rtol=0, atol=1e-11)


@paper
def test_33_tangent_and_normal() -> None:
    """div(g(|grad u|^2) grad u) = g u_TT + (g + 2 x g') u_NN, x = |grad u|^2, for every u and g: the residual is 0."""
    x, y = sympy.symbols("x y", real=True)
    u, g, s = sympy.Function("u")(x, y), sympy.Function("g"), sympy.symbols("s")
    square = u.diff(x) ** 2 + u.diff(y) ** 2
    value, slope = g(square), g(s).diff(s).subs(s, square)
    N = sympy.Matrix([u.diff(x), u.diff(y)]) / sympy.sqrt(square)
    T = sympy.Matrix([-N[1], N[0]])
    H = sympy.hessian(u, (x, y))
    divergence = (value * u.diff(x)).diff(x) + (value * u.diff(y)).diff(y)
    uTT, uNN = (T.T * H * T)[0], (N.T * H * N)[0]
    residual = divergence.doit() - value * uTT - (value + 2 * square * slope) * uNN
    assert sympy.simplify(residual.doit()) == 0
    wrong = divergence.doit() - value * uTT - (value + square * slope) * uNN
    assert sympy.simplify(wrong.doit()) != 0
    assert sympy.simplify((uTT + uNN - u.diff(x, 2) - u.diff(y, 2)).doit()) == 0


@paper
@pytest.mark.parametrize("g", [Exponential(1.0), Rational(1.0), FastDecay(1.0)], ids=str)
def test_33_an_edge_steeper_than_k_gets_steeper_and_a_flatter_one_flatter(g: Diffusivity) -> None:
    """u = a tanh: the steepest slope is a; K = 1. The heat equation flattens both."""
    h = 0.05
    x = h * (torch.arange(200, dtype=torch.float64) - 99.5)
    for a in (0.5, 0.8, 1.25, 2.0):
        u = a * torch.tanh(x)
        F = PeronaMalik(g, Gradient(h, 1))
        before = float(F.grad(u).abs().max())
        after = float(F.grad(F.flow(u, 20 * F.max_dt).u).abs().max())
        if a == 0.5 and isinstance(g, FastDecay):
            assert after < before  # g~ = 1 there: as heat
        assert (after > before) == (a > 1)
        assert float(F.grad(Heat(h, 1).flow(u, 20 * F.max_dt).u).abs().max()) < before


# ---- the grid ---------------------------------------------------------------------------------------------------


def ends(sigma: float, t: float) -> list[tuple[Tensor, Tensor]]:
    """u_0 and u(t) on 32, 64, ..., 512 points of [0, 1]; u_0 a wave with slopes beyond sqrt K = 1/2."""
    found = []
    for N in (32, 64, 128, 256, 512):
        x = (torch.arange(N, dtype=torch.float64) + 0.5) / N
        u = 0.5 - 0.5 * torch.cos(2 * math.pi * x) + 0.02 * torch.cos(11 * math.pi * x)
        F = PeronaMalik(Rational(0.5), Gradient(1 / N, 1), sigma)
        found.append((u, run(SemiImplicit(F, t / 80), u, k=80).u))
    return found


@paper
def test_33_perona_and_malik_depend_on_the_grid_and_catte_does_not() -> None:
    """Averages over 1/32: one grid's end against the next, four times closer each time for sigma > 0 and hardly closer
    for sigma = 0. There the steepest slope grows like 1/h, and less and less happens in the same time.
    """

    def size(u: Tensor) -> float:
        return float(u.square().mean().sqrt())

    gaps, slopes, moved = {}, {}, {}
    for sigma in (0.0, 0.02):
        orbits = ends(sigma, 0.02)
        means = [u.reshape(32, -1).mean(1) for _, u in orbits]
        gaps[sigma] = [size(a - b) for a, b in itertools.pairwise(means)]
        slopes[sigma] = [len(u) * float(u.diff().abs().max()) for _, u in orbits]
        moved[sigma] = [size(u - u0) for u0, u in orbits]
    assert all(a / b > 3.5 for a, b in itertools.pairwise(gaps[0.02]))
    assert gaps[0.0][2] > 0.6 * gaps[0.0][0] and gaps[0.0][3] > 100 * gaps[0.02][3]
    assert all(1.4 < b / a < 2.6 for a, b in itertools.pairwise(slopes[0.0][1:]))
    assert max(slopes[0.02]) / min(slopes[0.02]) < 1.2
    assert moved[0.0][-1] < 0.75 * moved[0.0][0] and moved[0.02][-1] > 0.9 * moved[0.02][0]


# ---- every gradient ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_the_largest_step_with_each_gradient(boundary: str) -> None:
    """h^2/(2 d), h^2/2 for Haar's pair, h^2/3 for three bands, 2 h^2 for splines, which keep no extrema."""
    h, g = 0.3, Exponential(1.0)
    for d in (1, 2, 3):
        assert PeronaMalik(g, Gradient(h, d, boundary)).max_dt == pytest.approx(h**2 / (2 * d))
        assert TVFlow(Gradient(h, d, boundary), 0.1).max_dt == pytest.approx(0.1 * h**2 / (2 * d))
    for grad, part in ((haar_gradient(h, 2, boundary), 1 / 2), (haar_gradient(h, 3, boundary), 1 / 3)):
        F = PeronaMalik(g, grad)
        assert F.maximum_principle and F.max_dt == pytest.approx(part * h**2)
    F = PeronaMalik(g, spline_gradient(h, boundary))
    assert not F.maximum_principle and F.max_dt == pytest.approx(2 * h**2)
    f = torch.zeros(4, 4, dtype=torch.float64)
    for grad, D in ((Gradient(h), 4 / h**2), (haar_gradient(h), 2 / h**2), (spline_gradient(h), 1 / (2 * h**2))):
        assert TVFlow(grad, 0.1, f, 0.7).max_dt == pytest.approx(1 / (D / 0.1 + 1 / 0.7))


def test_monotone_looks_at_the_off_diagonal_entries() -> None:
    """... of grad^T g grad for random g >= 0, on another grid than its own; and finds the diagonal's largest entry."""
    for boundary in ("reflect", "periodic"):
        for grad in (Gradient(0.5, 2, boundary), *(haar_gradient(0.5, n, boundary) for n in (2, 3)), spline_gradient()):
            G = dense(grad, (7, 8))
            worst = -math.inf
            for _ in range(20):
                c = torch.rand(56, dtype=torch.float64).round().repeat(len(G) // 56)
                M = G.T @ torch.diag(c) @ G
                worst = max(worst, float((M - torch.diag(torch.diag(M))).max()))
            kept, diagonal = monotone(grad)
            assert kept == (worst <= 1e-12)
            assert diagonal == pytest.approx(float(torch.diag(G.T @ G).max()))


# ---- total variation flow ---------------------------------------------------------------------------------------


@pytest.mark.paper("(3.2)")
@pytest.mark.parametrize("grad", [Gradient(0.5), Gradient(0.5, 2, "periodic"), haar_gradient(0.5, 3)], ids=str)
def test_32_total_variation_flow_is_steepest_descent(grad: LinearOperator) -> None:
    """F = -dE/du, E = sum (|grad u|^2 + eps^2)^{1/2} + |u - f|^2 / (2 nu), which falls in each step up to max_dt."""
    eps, nu, f = 0.05, 0.3, random(6, 7)

    def energy(u: Tensor) -> Tensor:
        return (grad(u).square().sum(0) + eps**2).sqrt().sum() + (u - f).square().sum() / (2 * nu)

    F, u = TVFlow(grad, eps, f, nu), random(6, 7).requires_grad_()
    (slope,) = torch.autograd.grad(energy(u), u)
    torch.testing.assert_close(F(u), -slope, rtol=0, atol=1e-11)
    energies = F.flow(u.detach(), 60 * F.max_dt, record={"E": energy}).curves["E"]
    assert (energies.diff() < 0).all()
    free = TVFlow(grad, eps)
    lengths = free.flow(
        u.detach(), 60 * free.max_dt, record={"E": lambda u: energy(u) - (u - f).square().sum() / (2 * nu)}
    )
    assert (lengths.curves["E"].diff() < 0).all()


@pytest.mark.paper("(3.2)")
def test_32_an_implicit_step_of_total_variation_flow_is_rof() -> None:
    """z = f + dt div(grad z / |grad z|) minimises dt TV(z) + |z - f|^2 / 2, by PDHG. With eps the objective grows by
    at most dt N eps, N pixels, and it is strongly convex: |z_eps - z|^2 <= 2 dt N eps.
    """
    h, dt = 0.5, 0.15
    f = (torch.arange(6) > 2).double()[:, None] + 0.3 * random(6, 5)
    problem = Problem(LeastSquares(f), GroupL1(dt / h), Gradient())
    exact = run(PDHG(problem), f, k=2000).u
    errors = {eps: float((Implicit(TVFlow(Gradient(h), eps), dt)(f) - exact).norm()) for eps in (0.1, 0.01)}
    assert all(error**2 <= 2 * dt * f.numel() * eps for eps, error in errors.items())
    assert errors[0.1] > 3 * errors[0.01]
    assert errors[0.01] < 0.02 * float((f - exact).norm())


@pytest.mark.paper("(3.2)")
def test_32_the_flow_with_data_ends_at_the_smoothed_rof() -> None:
    """u_t = div(...) + (f - u)/nu comes to rest where one implicit step of length nu from f ends."""
    f, nu, eps = random(6, 7), 0.4, 0.1
    F = TVFlow(Gradient(), eps, f, nu)
    rest = Implicit(TVFlow(Gradient(), eps), nu)(f)
    assert float(F(rest).abs().max()) < 1e-10
    torch.testing.assert_close(F.flow(torch.zeros_like(f), 12 * nu).u, rest, rtol=0, atol=1e-4)


def test_what_a_diffusion_refuses() -> None:
    f = torch.zeros(4, 4)
    with pytest.raises(TypeError, match=r"knows bound = sup \|grad\|\^2"):
        PeronaMalik(Exponential(1.0), Identity())
    for sigma in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale sigma of u_sigma"):
            PeronaMalik(Exponential(1.0), sigma=sigma)
    for given in ({"f": f}, {"nu": 1.0}):
        with pytest.raises(ValueError, match="needs both the data f and the weight nu"):
            TVFlow(**given)
    for nu in (0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="weight nu of TV"):
            TVFlow(f=f, nu=nu)
