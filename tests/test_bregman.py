"""Total variation by linear solves: split Bregman for any A and border, lagged diffusivity, and their systems."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import (
    DISCRETISATIONS,
    L1,
    PDHG,
    ROF,
    Blur,
    FrameGradient,
    FrameletTransform,
    Gradient,
    Identity,
    LaggedDiffusivity,
    LeastSquares,
    LinearOperator,
    Mask,
    PartialFourier,
    Problem,
    SplitBregman,
    bspline,
    gaussian_kernel,
    haar_gradient,
    run,
    spline_gradient,
    tv,
)
from companion.flows.bregman import _diagonal, normal_solver, solve_from
from companion.flows.splitting import Split
from companion.lab import camera
from tests.laws.registry import dense, some

SHAPE = (6, 7)
MEASUREMENTS: dict[str, Callable[[], LinearOperator]] = {
    "denoising": Identity,
    "inpainting": lambda: Mask(some(*SHAPE)),
    "deblurring": lambda: Blur(gaussian_kernel(0.6, 2, 1)),
    "deblurring-reflect": lambda: Blur(gaussian_kernel(0.6, 2, 1), "reflect"),
    "fourier": lambda: PartialFourier(some(*SHAPE)),
}
GRADIENTS: dict[str, Callable[[str], Gradient | FrameGradient]] = {
    "differences": lambda b: Gradient(0.5, boundary=b),
    "haar": lambda b: haar_gradient(0.5, boundary=b),
    "haar-three": lambda b: haar_gradient(0.5, 3, b),
    "spline": lambda b: spline_gradient(0.5, b),
}
measured = pytest.mark.parametrize("name", MEASUREMENTS)
graded = pytest.mark.parametrize("kind", GRADIENTS)
bordered = pytest.mark.parametrize("boundary", ["periodic", "reflect"])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def blocks(A: LinearOperator) -> Tensor:
    """Noisy data A u of a block u."""
    u = torch.zeros(*SHAPE, dtype=torch.float64)
    u[2:5, 1:4] = 1
    return A(u + 0.05 * random(*SHAPE))


# ---- the linear systems -----------------------------------------------------------------------------------------


@measured
@graded
@bordered
def test_the_normal_equations_are_solved(name: str, kind: str, boundary: str) -> None:
    """(w A^T A + rho K^T K)^{-1} v, by a transform or by conjugate gradients, against the dense solve; a batch too."""
    A, K, w, rho = MEASUREMENTS[name](), GRADIENTS[kind](boundary), 0.7, 0.3
    DA, DK = dense(A, SHAPE), dense(K, SHAPE)
    M = w * DA.T @ DA + rho * DK.T @ DK
    v = M @ random(42)  # in the range of M: a mask and a gradient that sees no checkerboard leave a null space
    u = normal_solver(A, K, w, rho, random(*SHAPE), 1e-12)(v.reshape(SHAPE), torch.zeros(SHAPE, dtype=v.dtype))
    torch.testing.assert_close(M @ u.flatten(), v, rtol=0, atol=1e-10)
    exact = name == "denoising" and not (kind.startswith("haar") and boundary == "reflect")
    exact |= name == "deblurring" and boundary == "periodic"
    batch = random(2, *SHAPE)
    if exact:  # one division in the Fourier domain: no tolerance, no first guess
        solve = normal_solver(A, K, w, rho, batch, 1.0)
        found = solve(batch, torch.full_like(batch, torch.nan))
        torch.testing.assert_close((found.flatten(1) @ M).reshape(batch.shape), batch, rtol=0, atol=1e-11)


@pytest.mark.parametrize("d", [1, 3])
@bordered
def test_the_transform_in_other_dimensions(d: int, boundary: str) -> None:
    shape = (5, 4, 6)[:d]
    for K in (Gradient(0.5, d, boundary), FrameGradient(bspline(2), h=0.5, dim=d, boundary=boundary)):
        D, v = dense(K, shape), random(2, *shape)
        M = 0.7 * torch.eye(len(D.T), dtype=torch.float64) + 0.3 * D.T @ D
        u = normal_solver(Identity(), K, 0.7, 0.3, v, 1.0)(v, v)
        torch.testing.assert_close((u.flatten(1) @ M).reshape(v.shape), v, rtol=0, atol=1e-12)
        assert normal_solver(Identity(), K, 0.7, 0.3, v.float(), 1.0)(v.float(), v.float()).dtype == torch.float32


def test_conjugate_gradients_from_a_guess() -> None:
    """Every step lowers <u, M u>/2 - <v, u>; it stops at the tolerance, at once where the guess is good enough."""
    D = random(30, 20)
    M = D.T @ D + 0.1 * torch.eye(20, dtype=torch.float64)
    v, x = random(20), random(20)
    energy = [float(u @ M @ u / 2 - v @ u) for k in range(25) for u in [solve_from(lambda y: M @ y, v, x, 1e-14, k=k)]]
    assert all(b <= a + 1e-12 * abs(a) for a, b in itertools.pairwise(energy))
    best = torch.linalg.solve(M, v)
    for inverse in (None, lambda r: r / M.diagonal()):
        for tol in (1e-2, 1e-6, 1e-11):
            assert torch.dist(M @ solve_from(lambda y: M @ y, v, x, tol, inverse), v) <= tol * v.norm()
    assert torch.equal(solve_from(lambda y: M @ y, v, best, 1e-6), best)
    assert torch.equal(solve_from(lambda y: M @ y, 0 * v, 0 * v, 1e-6), 0 * v)


@graded
@bordered
def test_the_preconditioner_is_the_diagonal(kind: str, boundary: str) -> None:
    """diag(K^T diag(c) K), exact but for the samples that a mirrored border folds together."""
    K = GRADIENTS[kind](boundary)
    D = dense(K, SHAPE)
    components = len(K(random(*SHAPE)))
    for c in (torch.rand(components, *SHAPE, dtype=torch.float64), torch.rand(1, *SHAPE, dtype=torch.float64)):
        full = c.expand(components, *SHAPE).flatten()
        exact = (D.square() * full[:, None]).sum(0).reshape(SHAPE)
        margin = 1 if boundary == "reflect" and kind in ("differences", "spline") else 0
        inside = tuple(slice(margin, n - margin) for n in SHAPE)
        torch.testing.assert_close(_diagonal(K, c)[inside], exact[inside])


# ---- split Bregman ----------------------------------------------------------------------------------------------


@measured
@graded
@pytest.mark.paper("(3.2)")
def test_a_step_of_split_bregman_in_matrices(name: str, kind: str) -> None:
    A, rho, nu = MEASUREMENTS[name](), 0.6, 0.3
    problem = tv(A, blocks(A), nu, GRADIENTS[kind]("reflect"))
    step = SplitBregman(problem, rho, tol=1e-12)
    assert step.rho == rho
    DA, DK, w = dense(A, SHAPE), dense(problem.K, SHAPE), 0.25
    s = step.start(random(*SHAPE))
    assert torch.equal(s.d, problem.K(s.x)) and not s.b.any()
    s = Split(s.x, s.d + 0.3 * random(*s.d.shape), 0.1 * random(*s.b.shape))
    new = step(s)
    right = w * DA.T @ problem.E.f.flatten() + rho * DK.T @ (s.d - s.b).flatten()
    M = w * DA.T @ DA + rho * DK.T @ DK
    torch.testing.assert_close(M @ new.x.flatten(), right, rtol=0, atol=1e-9)
    z = problem.K(new.x) + s.b
    length = z.norm(dim=0).clamp_min(1e-300)
    torch.testing.assert_close(new.d, z * (1 - nu * 0.5 / rho / length).clamp_min(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(new.b, s.b + problem.K(new.x) - new.d, rtol=0, atol=1e-12)
    assert step.dual(new).norm(dim=0).max() <= nu * 0.5 * (1 + 1e-12)  # the multiplier is in the dual ball


@pytest.mark.parametrize(
    ("name", "boundary"), [*((name, "reflect") for name in MEASUREMENTS), ("deblurring", "periodic")]
)
@pytest.mark.paper("(3.2)")
def test_split_bregman_and_pdhg_find_the_same_minimum(name: str, boundary: str) -> None:
    """For every A: the objective to 0.1 %."""
    A = MEASUREMENTS[name]()
    problem = tv(A, blocks(A), 0.1, Gradient(0.5, boundary=boundary))
    f = problem.E.domain()
    with torch.no_grad():
        best = float(problem(run(PDHG(problem, dualise=name == "deblurring-reflect"), f, k=250).x))
        assert float(problem(run(SplitBregman(problem, 0.1, 1e-6), f, k=80).x)) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("rho", [0.02, 0.5, 20.0])
def test_a_minimiser_is_a_fixed_point_for_every_rho(rho: float) -> None:
    """x, d = K x, b = p / rho stay where they are; from elsewhere the gap closes."""
    problem = ROF(torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64), 0.2, Gradient(dim=1))
    x = torch.tensor([0.1, 0.1, 0.9, 0.9], dtype=torch.float64)
    p = torch.tensor([[0.1, 0.2, 0.1, 0.0]], dtype=torch.float64)
    assert problem.gap(x, p) < 1e-15
    step = SplitBregman(problem, rho)
    for a, b in zip(step(Split(x, problem.K(x), p / rho)), (x, problem.K(x), p / rho), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    end = run(step, problem.E.f, k=200)
    assert problem.gap(end.u, step.dual(end.x)) < 1e-3 * problem.gap(problem.E.f, torch.zeros_like(p))


def test_split_bregman_takes_other_problems_too() -> None:
    """The analysis model with a tight W; a K that is no gradient; differences along one axis."""
    f = blocks(Identity())
    W = FrameletTransform(bspline(1))
    for problem in (
        Problem(LeastSquares(f), L1(W.weights(0.1)), W),
        Problem(LeastSquares(f, weight=2.0), L1(0.1), Blur(gaussian_kernel(0.5, 2, 1))),
        Problem(LeastSquares(f, weight=2.0), L1(0.1), Gradient(dim=1)),
    ):
        with torch.no_grad():
            best = float(problem(run(PDHG(problem), f, k=150).x))
            assert float(problem(run(SplitBregman(problem, 2.0), f, k=40).x)) == pytest.approx(best, rel=1e-4)


def test_the_defaults_of_both_splittings_belong_together() -> None:
    for A, share in ((Identity(), 1.0), (Blur(gaussian_kernel(0.5, 2, 1)), 0.3)):
        problem = tv(A, blocks(Identity()), 0.1, Gradient(0.5))
        norm = float(problem.K.norm(problem.E.f))
        assert float(SplitBregman(problem).rho) == pytest.approx(share * norm / problem.ratio)
    problem = ROF(blocks(Identity()), 0.1, Gradient(0.5))
    assert float(PDHG(problem).tau) == pytest.approx(problem.ratio / float(problem.K.norm(problem.E.f)))


@pytest.mark.parametrize("nu", [2e-3, 2e-2])
@pytest.mark.parametrize("name", ["denoising", "blur", "half the pixels"])
def test_the_default_steps_come_near_the_minimum(name: str, nu: float) -> None:
    """Of a photograph: 60 steps of split Bregman and 100 of PDHG end at most 2 % above the least value found."""
    known = torch.rand(32, 32) < 0.5
    A = {"denoising": Identity(), "blur": Blur(gaussian_kernel(1.2)), "half the pixels": Mask(known)}[name]
    f = A(camera(64)[16:48, 16:48] + 0.02 * torch.randn(32, 32, dtype=torch.float64))
    problem = tv(A, f, nu, Gradient(boundary="periodic"))
    with torch.no_grad():
        ends = [problem(run(solver(problem), f, k=k).x) for solver, k in ((SplitBregman, 60), (PDHG, 100))]
        best = problem(run(SplitBregman(problem), f, k=600).x)
    assert best * (1 - 1e-6) <= min(ends)
    assert max(ends) < 1.02 * best


# ---- lagged diffusivity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DISCRETISATIONS)
@bordered
@pytest.mark.paper("(3.2)")
def test_a_step_of_lagged_diffusivity_in_matrices(name: str, boundary: str) -> None:
    """(w A^T A + nu h^d grad^T diag(1 / sqrt(|grad u|^2 + eps^2)) grad) u_new = w A^T f."""
    nu, h, eps, A = 0.3, 0.5, 0.1, Blur(gaussian_kernel(0.6, 2, 1), "reflect")
    J = DISCRETISATIONS[name](nu, h, boundary)
    problem = tv(A, blocks(A), nu, J.D, J.isotropic)
    step, u = LaggedDiffusivity(problem, eps, tol=1e-12), random(*SHAPE)
    p = J.D(u)
    size = p.square().sum(0, keepdim=True).expand_as(p) if J.isotropic else p.square()
    c = (size + eps**2).rsqrt()
    torch.testing.assert_close(step.diffusivity(u).expand_as(c), c)
    D, DA = dense(J.D, SHAPE), dense(A, SHAPE)
    M = h**2 * (DA.T @ DA + nu * D.T @ torch.diag(c.flatten()) @ D)
    torch.testing.assert_close(M @ step(u).flatten(), h**2 * DA.T @ problem.E.f.flatten(), rtol=0, atol=1e-11)


@measured
@pytest.mark.parametrize("isotropic", [True, False])
def test_the_smoothed_energy_falls_at_every_step(name: str, isotropic: bool) -> None:
    """... from any u, also where the systems are solved to one digit only."""
    A = MEASUREMENTS[name]()
    problem = tv(A, blocks(A), 0.1, Gradient(0.5), isotropic)
    for tol in (1e-6, 0.1):
        step, u = LaggedDiffusivity(problem, 0.05, tol), random(*SHAPE)
        values = [float(step.energy(u))]
        for _ in range(7):
            u = step(u)
            values.append(float(step.energy(u)))
        assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(values))
        assert values[-1] < 0.5 * values[0]


@graded
def test_the_parabola_lies_above_the_energy_and_touches_it(kind: str) -> None:
    """energy(v) <= energy(u) + <slope, v - u> + 1/2 <v - u, M(u) (v - u)>: why every step descends."""
    problem = ROF(blocks(Identity()), 0.3, GRADIENTS[kind]("reflect"))
    step, u = LaggedDiffusivity(problem, 0.1), random(*SHAPE).requires_grad_()
    value = step.energy(u)
    (slope,) = torch.autograd.grad(value, u)
    u = u.detach()
    c = 0.3 * 0.5**2 * step.diffusivity(u)
    for size in (1e-3, 0.1, 1.0, 10.0):
        w = size * random(*SHAPE)
        bend = 0.5**2 * w.square().sum() + (c * problem.J.D(w).square()).sum()
        assert step.energy(u + w) <= value + (slope * w).sum() + bend / 2 + 1e-12


@pytest.mark.parametrize("isotropic", [True, False])
def test_the_smoothed_minimum_is_at_most_nu_eps_times_the_area_above(isotropic: bool) -> None:
    """... for each length at a position: attained by a constant, whose smoothed length is eps."""
    h, nu, eps = 0.5, 0.3, 0.01
    lengths = 1 if isotropic else 2
    area = 42 * h**2
    flat = torch.ones(SHAPE, dtype=torch.float64)
    step = LaggedDiffusivity(ROF(flat, nu, Gradient(h), isotropic), eps)
    assert float(step.energy(flat)) == pytest.approx(lengths * nu * eps * area, rel=1e-12)
    problem = ROF(blocks(Identity()), nu, Gradient(h), isotropic)
    step = LaggedDiffusivity(problem, eps)
    with torch.no_grad():
        u, best = run(step, problem.E.f, k=20).u, run(PDHG(problem), problem.E.f, k=150).u
    assert problem(best) - 1e-5 < step.energy(u) < problem(best) + lengths * nu * eps * area
    for v in (u, random(*SHAPE)):
        assert 0 < step.energy(v) - problem(v) < lengths * nu * eps * area


def test_a_batch_and_the_type() -> None:
    """One system for a batch; float32 stays float32."""
    f = torch.stack([blocks(Identity()), blocks(Identity())])
    grad = haar_gradient(0.5)
    together = run(LaggedDiffusivity(ROF(f, 0.1, grad), 0.1, 1e-10), f, k=5).u
    apart = torch.stack([run(LaggedDiffusivity(ROF(g, 0.1, grad), 0.1, 1e-10), g, k=5).u for g in f])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-8)
    single = ROF(f[0], 0.1, grad)  # one f for a batch of first guesses
    guesses = torch.stack([f[0], f[0]])
    torch.testing.assert_close(
        run(LaggedDiffusivity(single, 0.1, 1e-10), guesses, k=5).u, apart[:1].expand(2, -1, -1), rtol=0, atol=1e-8
    )
    for method in (lambda p: LaggedDiffusivity(p, 0.1), SplitBregman):
        assert run(method(ROF(f.float(), 0.1, grad)), f.float(), k=3).u.dtype == torch.float32
