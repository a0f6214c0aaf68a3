"""Two models of Mumford and Shah: energies by their formulas, exact half steps, edges where they are, both limits."""

import itertools
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import (
    ADMM,
    AlternatingMinimisation,
    AmbrosioTortorelli,
    Blur,
    ConvergenceWarning,
    Edges,
    FrameletTransform,
    Gradient,
    GroupL1,
    Identity,
    LeastSquares,
    LinearOperator,
    Mask,
    Problem,
    SmoothOrEdge,
    bspline,
    fixed_point,
    gaussian_kernel,
    piecewise_smooth,
    run,
    tikhonov,
)
from tests.laws.registry import some

HAAR = FrameletTransform(bspline(1))
MEASUREMENTS = [Identity(), Mask(some(7, 8)), Blur(gaussian_kernel(0.8, 2, 2))]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def disc(n: int) -> Tensor:
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
    return 0.2 + 0.6 * (x[:, None] ** 2 + x**2 < 0.09).double()


def step(n: int, height: float = 1.0) -> Tensor:
    return height * (torch.arange(n, dtype=torch.float64) >= n // 2).double()


# ---- Ambrosio and Tortorelli -------------------------------------------------------------------------------------


def by_hand(u: Tensor, v: Tensor, f: Tensor, h: float, a: float, b: float, eps: float, delta: float) -> float:
    """The energy, pixel by pixel and edge by edge."""
    total = 0.0
    rows, columns = u.shape
    for i, j in itertools.product(range(rows), range(columns)):
        total += 0.5 * float(u[i, j] - f[i, j]) ** 2 + b * float(1 - v[i, j]) ** 2 / (4 * eps)
        for k, m in ((i + 1, j), (i, j + 1)):
            if k < rows and m < columns:
                c = (float(v[i, j]) ** 2 + float(v[k, m]) ** 2) / 2 + delta
                total += a * c * (float(u[k, m] - u[i, j]) / h) ** 2 + b * eps * (float(v[k, m] - v[i, j]) / h) ** 2
    return h * h * total


def test_the_energy_is_its_formula() -> None:
    u, v, f, h = random(4, 5), torch.rand(4, 5, dtype=torch.float64), random(4, 5), 0.3
    E = AmbrosioTortorelli(Identity(), f, 0.7, 0.4, 0.6, h, delta=0.01)
    assert float(E((u, v))) == pytest.approx(by_hand(u, v, f, h, 0.7, 0.4, 0.6, 0.01), rel=1e-12)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize(
    "A", [Identity(), Mask(some(7, 8)), Blur(gaussian_kernel(0.8, 2, 2))], ids=["I", "mask", "blur"]
)
def test_half_steps_are_minimisers(A: LinearOperator, boundary: str) -> None:
    """At the best u and at the best v the derivative by autograd is 0, and 0 < v <= 1."""
    f = A(random(7, 8))
    E = AmbrosioTortorelli(A, f, 0.5, 0.2, 1.5, 0.5, boundary=boundary)
    u, v = random(7, 8), torch.rand(7, 8, dtype=torch.float64)
    best = E.best_u(v, u, 1e-12).requires_grad_()
    assert torch.autograd.grad(E((best, v)), best)[0].abs().max() < 1e-10
    edge = E.best_v(u, v, 1e-12).requires_grad_()
    assert torch.autograd.grad(E((u, edge)), edge)[0].abs().max() < 1e-10
    assert 0 < edge.min() <= edge.max() <= 1


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_energy_never_rises_however_rough_the_solves(d: int) -> None:
    f = random(*[9, 8, 6][:d])
    E = AmbrosioTortorelli(Identity(), f, 2.0, 0.1, 1.0, dim=d)
    for tol in (1e-2, 1e-8):
        t = run(AlternatingMinimisation(E, tol), f, k=8, record={"energy": E})
        energy = t.curves["energy"].tolist()
        assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(energy))
        assert energy[-1] < 0.99 * energy[0]


def test_the_first_picture_is_tikhonovs() -> None:
    f = random(8, 9)
    E = AmbrosioTortorelli(Identity(), f, 0.5, 0.2, 1.0, 0.5, delta=1e-3)
    first = AlternatingMinimisation(E, 1e-12)
    u = first(first.start(f)).u
    smooth = tikhonov(Identity(), f, 2 * 0.5 * (1 + 1e-3), Gradient(0.5)).minimiser(1e-12)
    torch.testing.assert_close(u, smooth, rtol=0, atol=1e-9)


def test_a_step_is_the_best_u_and_then_the_best_v_for_it() -> None:
    """The energy at (u, v_new) is least over v for the new u, not for the old one."""
    f = disc(12) + 0.05 * random(12, 12)
    E = AmbrosioTortorelli(Identity(), f, 4.0, 0.05, 1.0)
    u, v = AlternatingMinimisation(E, 1e-11)(Edges(f, torch.ones_like(f)))
    v = v.detach().requires_grad_()
    assert torch.autograd.grad(E((u, v)), v)[0].abs().max() < 1e-9


def test_a_limit_is_a_critical_point_in_both_unknowns() -> None:
    f = disc(16) + 0.05 * random(16, 16)
    E = AmbrosioTortorelli(Identity(), f, 4.0, 0.05, 1.0)
    end = run(AlternatingMinimisation(E, 1e-11), f, k=400, until=fixed_point(1e-10)).x
    u, v = (x.detach().requires_grad_() for x in end)
    for slope in torch.autograd.grad(E((u, v)), (u, v)):
        assert slope.abs().max() < 1e-7


@pytest.mark.parametrize("turn", [lambda x: x.rot90(), lambda x: x.flip(0), lambda x: x.transpose(0, 1)])
def test_a_turned_picture_has_turned_edges(turn: Callable[[Tensor], Tensor]) -> None:
    f = disc(14)
    f[:5, :4] += 0.3

    def solved(g: Tensor) -> Edges:
        E = AmbrosioTortorelli(Identity(), g, 3.0, 0.05, 1.0)
        return run(AlternatingMinimisation(E, 1e-11), g, k=6).x

    for a, b in zip(solved(turn(f)), solved(f), strict=True):
        torch.testing.assert_close(a, turn(b), rtol=0, atol=1e-8)


@pytest.mark.parametrize("eps", [0.02, 0.05])
def test_an_edge_costs_beta_for_each_unit_of_length(eps: float) -> None:
    """v = 1 - e^{-|x| / (2 eps)}, the best profile through 0, has the energy beta; across a square of side 1 too."""
    n, beta = 4001, 0.7
    h = 1 / n
    x = ((torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5).abs()
    v = 1 - torch.exp(-x / (2 * eps))
    line = AmbrosioTortorelli(Identity(), torch.zeros(n, dtype=torch.float64), 1.0, beta, eps, h, dim=1)
    assert h * float(line.length(v)) == pytest.approx(beta, rel=h / eps)
    m = 401
    w = v[:: n // m][:m].expand(5, m)  # 5 rows of a grid of step 1/m: a strip of height 5/m
    strip = AmbrosioTortorelli(Identity(), torch.zeros_like(w), 1.0, beta, eps, 1 / m)
    assert float(strip.length(w)) / m**2 == pytest.approx(beta * 5 / m, rel=3 / (m * eps))


def test_a_cheap_edge_is_taken_and_a_dear_one_is_not() -> None:
    """A jump of height 1: with a small beta v falls to 0 there and the jump stays, with a large one u is smooth."""
    f = step(60)
    jumps, edges = [], []
    for beta in (0.05, 5.0):
        E = AmbrosioTortorelli(Identity(), f, 50.0, beta, 1.5, dim=1)
        u, v = run(AlternatingMinimisation(E, 1e-9), f, k=100, until=fixed_point(1e-7)).x
        jumps.append(float(u.diff().max()))
        edges.append(float(v.min()))
    assert jumps[0] > 0.9
    assert edges[0] < 0.05
    assert jumps[1] < 0.2
    assert edges[1] > 0.8


def test_noise_goes_and_the_edge_stays() -> None:
    """At the edge of a noisy disc the error is less than half of the best Tikhonov's, of 8 weights."""
    u = disc(48)
    f = u + 0.05 * random(48, 48)
    E = AmbrosioTortorelli(Identity(), f, 8.0, 0.05, 1.0)
    found = run(AlternatingMinimisation(E), f, k=40, until=fixed_point(1e-4)).u
    smooth = [tikhonov(Identity(), f, 2.0**i, Gradient()).minimiser(1e-6) for i in range(-5, 3)]
    error = lambda w: float((w - u).square().mean().sqrt())  # noqa: E731
    assert error(found) < 0.5 * min(map(error, smooth))


def test_types_follow_and_gradients_flow() -> None:
    f = disc(10).float().requires_grad_()
    E = AmbrosioTortorelli(Identity(), f.detach(), 1.0, 0.1, 1.0)
    state = AlternatingMinimisation(E)(Edges(f, torch.ones_like(f)))
    assert state.u.dtype == state.v.dtype == torch.float32
    E((f, torch.ones_like(f))).backward()
    assert f.grad is not None
    assert f.grad.abs().max() > 0


# ---- the frame model of [26] -------------------------------------------------------------------------------------


def test_the_cheaper_of_two_costs_is_paid() -> None:
    v = torch.tensor([[[0.1]], [[0.0]], [[2.0]], [[0.0]]], dtype=torch.float64).reshape(2, 2, 1, 1)[..., 0]
    R = SmoothOrEdge(2.0, 0.5)  # s = 0.1: 4 s^2 = 0.04 < 0.05; s = 2: 16 > 1
    assert float(R(v[0][..., None])) == pytest.approx(0.04)
    assert float(R(v[1][..., None])) == pytest.approx(1.0)
    assert not R.edges(v[0][..., None]).any()
    assert R.edges(v[1][..., None]).all()


def test_the_problem_is_its_formula() -> None:
    """|[lam . W u] off Gamma|_2^2 + |[gamma . W u] on Gamma|_1, minimised over every Gamma of a small picture."""
    u, f, lam, gamma = random(2, 2), random(2, 2), 1.3, 0.9
    s = HAAR(u)[1:].square().sum(0).sqrt().flatten()
    least = min(
        sum(gamma * float(s[k]) if on else (lam * float(s[k])) ** 2 for k, on in enumerate(Gamma))
        for Gamma in itertools.product((False, True), repeat=4)
    )
    problem = piecewise_smooth(Identity(), f, HAAR, lam, gamma)
    assert float(problem(u)) == pytest.approx(0.5 * float((u - f).square().sum()) + least, rel=1e-12)
    assert torch.equal(problem.edges(u).flatten(), gamma * s < (lam * s) ** 2)


def test_dear_edges_leave_the_quadratic_model() -> None:
    """gamma -> infinity: (I + 2 lam^2 W_d^T W_d) u = f."""
    f, lam = random(8, 8), 0.8
    found = piecewise_smooth(Identity(), f, HAAR, lam, 1e9).solve(ADMM, k=400, tol=1e-12).u
    details = HAAR(found)
    details[0] = 0
    torch.testing.assert_close(found + 2 * lam**2 * HAAR.T(details), f, rtol=0, atol=1e-8)


def test_dear_squares_leave_the_isotropic_l1_model() -> None:
    f, gamma = random(8, 8), 0.3
    lam = torch.tensor([0.0, gamma], dtype=torch.float64)
    convex = Problem(LeastSquares(f), GroupL1(lam, sizes=(1, 3)), HAAR)
    expected = convex.solve(ADMM, k=600, tol=1e-10, rho=1.0).u
    found = piecewise_smooth(Identity(), f, HAAR, 1e6, gamma).solve(ADMM, k=600, tol=1e-10, rho=1.0).u
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_edges_are_found_at_the_jump_and_nowhere_else() -> None:
    f = step(16, 2.0).expand(16, 16) + 0.02 * random(16, 16)
    problem = piecewise_smooth(Identity(), f, HAAR, 2.0, 0.3)
    u = problem.solve(ADMM, k=300, tol=1e-9).u
    Gamma = problem.edges(u)[0]
    assert Gamma[:, 7].all() or Gamma[:, 8].all()
    Gamma[:, [0, 7, 8, 15]] = False  # a periodic border is a jump too
    assert not Gamma.any()
    assert float(problem(u)) < float(problem(f))


def test_jumps_are_kept_better_than_by_squares() -> None:
    """A ramp with a jump, noisy: less than 0.7 of the error of the quadratic model at the best of five weights."""
    x = torch.arange(48, dtype=torch.float64) / 48
    u = (torch.minimum(x, 1 - x) + 0.5 * ((x > 0.3) & (x < 0.7)).double()).expand(48, 48)
    f = u + 0.05 * random(48, 48)

    def error(lam: float, gamma: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = piecewise_smooth(Identity(), f, HAAR, lam, gamma).solve(ADMM, k=60, tol=1e-5, rho=1.0).u
        return float((found - u).square().mean().sqrt())

    assert error(2.0, 0.1) < 0.7 * min(error(lam, 1e9) for lam in (0.25, 0.5, 1.0, 2.0, 4.0))
