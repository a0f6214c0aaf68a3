"""TGV^2: its operator, its null space, its values in closed form, its duality gap, and ramps without a staircase."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from companion import (
    ADMM,
    PDHG,
    TGV,
    Blur,
    ConvergenceWarning,
    FrameCascade,
    Gradient,
    GradientCascade,
    GroupL1,
    Identity,
    LeastSquares,
    Mask,
    OnFirst,
    PartialFourier,
    Problem,
    SymmetrisedGradient,
    frame_tgv,
    gaussian_kernel,
    haar_gradient,
    radial_pattern,
    run,
    spline_gradient,
    tgv,
    tgv_value,
)
from tests.laws.registry import dense, some

quiet = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}")


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def grid(n: int, d: int = 2) -> tuple[Tensor, ...]:
    """The middles of the n^d cells of the unit square."""
    return torch.meshgrid(*[(torch.arange(n, dtype=torch.float64) + 0.5) / n] * d, indexing="ij")


def total_variation(f: Tensor, nu: float, h: float) -> Problem:
    """min_u h^2/2 |u - f|^2 + nu h^2 sum |D u|, in pixel units of the gradient."""
    return Problem(LeastSquares(f, weight=h**2), GroupL1(nu * h), Gradient())


# ---- the operator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
def test_on_the_torus_the_cascade_is_made_of_the_differences(d: int) -> None:
    h, shape = 0.3, (5, 6, 4)[:d]
    x = random(2, 1 + d, *shape)
    u, w = x.select(-d - 1, 0), x.narrow(-d - 1, 1, d)
    D, E = Gradient(h, d, "periodic"), SymmetrisedGradient(h, d, "periodic")
    expected = torch.cat([D(u) - w, E(w).flatten(1, 2)], 1)
    torch.testing.assert_close(GradientCascade(h, d, "periodic")(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_away_from_the_border_the_cascade_is_made_of_the_differences(d: int) -> None:
    h, shape = 0.3, (6, 5, 4)[:d]
    x = random(1 + d, *shape)
    inside = (slice(None), *[slice(1, -1)] * d)
    E = SymmetrisedGradient(h, d)(x[1:]).flatten(0, 1)
    torch.testing.assert_close(GradientCascade(h, d)(x)[d:][inside], E[inside], rtol=0, atol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_affine_picture_and_its_slope_cost_nothing_at_the_border_either(d: int, n: int) -> None:
    """K (u, w) = 0 for u affine and w = D u; a reflecting `SymmetrisedGradient` would charge the border."""
    h = 0.25
    x = [h * torch.arange(n, dtype=torch.float64).reshape([-1 if i == j else 1 for j in range(d)]) for i in range(d)]
    u = sum(((i + 1.5) * xi for i, xi in enumerate(x)), torch.full((n,) * d, 0.3, dtype=torch.float64))
    w = Gradient(h, d)(u)
    assert GradientCascade(h, d)(torch.cat([u[None], w])).abs().max() < 1e-12
    if n > 2:
        assert SymmetrisedGradient(h, d)(w).abs().max() > 1


@pytest.mark.parametrize("shape", [(9,), (5, 6)])
def test_nothing_else_is_free(shape: tuple[int, ...]) -> None:
    """The null space of K is that of the affine pictures, with their slopes: of dimension 1 + d, and in the plane the
    rotations w = (-x_2, x_1), for which E w = 0, are no gradients of a picture.
    """
    d = len(shape)
    s = torch.linalg.svdvals(dense(GradientCascade(0.7, d), (1 + d, *shape)))
    assert (s < 1e-10).sum() == 1 + d


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("h", [0.1, 1.0, 3.0])
def test_the_norm_is_below_its_bound(d: int, h: float) -> None:
    """|K|^2 <= m + 1/2 + sqrt(m + 1/4), m = 4 d / h^2; nearly attained on a large grid."""
    m = 4 * d / h**2
    bound = m + 0.5 + math.sqrt(m + 0.25)
    square = float(GradientCascade(h, d).norm(torch.zeros(1 + d, *[40 if d < 3 else 12] * d, dtype=torch.float64))) ** 2
    assert 0.8 * bound < square <= bound
    assert GradientCascade(1.0, 2).norm(torch.zeros(3, 64, 64)) < 3.4


def test_a_measurement_of_the_first_component() -> None:
    A = OnFirst(Mask(some(4, 5)), 3)
    x, f, v = random(2, 3, 4, 5), random(4, 5), random(3, 4, 5)
    assert torch.equal(A(x), Mask(some(4, 5))(x[:, 0]))
    assert torch.count_nonzero(A.T(f)[1:]) == 0
    assert not A.tight and OnFirst(Identity(), 1).tight and not OnFirst(Identity(), 2).tight
    torch.testing.assert_close(A.normal_solve(v, 0.5)[1:], v[1:] / 0.5)
    assert torch.equal(A.restrict(f), Mask(some(4, 5)).restrict(f))


# ---- the values of TGV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
def test_affine_pictures_are_free(d: int) -> None:
    u = 0.2 + sum((i + 1) * x for i, x in enumerate(grid(16, d)))
    scale = float(Gradient(1 / 16, d)(u).square().sum(0).sqrt().sum()) / 16**d
    assert tgv_value(u, 1.0, 0.2, 1 / 16, d, tol=1e-3) <= 1e-3 * scale
    assert tgv_value(torch.full((8,) * d, 0.7), 1.0, 0.2, 1.0, d) == 0


def test_the_value_of_a_jump_is_that_of_its_variation() -> None:
    """alpha_1 times the height, for a straight edge and alpha_0 / alpha_1 not small: w = 0 is best."""
    u = 0.7 * (grid(16)[0] > 0.5).double()
    assert tgv_value(u, 2.0, 4.0, 1 / 16).item() == pytest.approx(2.0 * 0.7, rel=2e-3)


def test_the_value_of_a_kink_is_the_change_of_slope() -> None:
    r"""u = |x - 1/2|, alpha_0 small: w = u' jumps by 2 and costs 2 alpha_0; TV charges alpha_1 for the whole slope."""
    u, alpha0 = (grid(64, 1)[0] - 0.5).abs(), 0.02
    value = tgv_value(u, 1.0, alpha0, 1 / 64, 1, tol=1e-5)
    assert value.item() == pytest.approx(2 * alpha0, rel=1e-3)


@pytest.mark.parametrize("alpha0", [0.05, 0.1])
def test_the_value_of_a_parabola(alpha0: float) -> None:
    r"""u = x^2 / 2 on [0, 1]: w monotone, w = clip(x, a, 1 - a), costs alpha_1 a^2 + alpha_0 (1 - 2 a): a = alpha_0 /
    alpha_1. So TGV = alpha_0 - alpha_0^2 / alpha_1 for alpha_0 <= alpha_1 / 2.
    """
    errors = []
    for n in (32, 64, 128):
        u = grid(n, 1)[0].square() / 2
        errors.append(abs(tgv_value(u, 1.0, alpha0, 1 / n, 1, tol=1e-5).item() - (alpha0 - alpha0**2)))
    assert errors[-1] < 0.02 * alpha0
    assert errors[0] > 1.5 * errors[1] > 2.2 * errors[2]


def test_tgv_is_a_seminorm_below_tv_and_below_the_hessian() -> None:
    u, v, h = random(8, 9), random(8, 9), 0.5
    value = partial(tgv_value, alpha1=1.0, alpha0=0.7, h=h, tol=5e-4)
    tv = h**2 * Gradient(h)(u).square().sum(0).sqrt().sum()
    K = GradientCascade(h)
    hessian = 0.7 * h**2 * K(torch.cat([u[None], Gradient(h)(u)]))[2:].square().sum(0).sqrt().sum()
    assert 0 < value(u) <= min(tv, hessian) * (1 + 1e-12)
    small = 2e-3 * float(tv)
    assert value(u + v) <= value(u) + value(v) + small
    assert value(-2 * u).item() == pytest.approx(2 * value(u).item(), abs=small)
    assert value(u + 3.0 + h * torch.arange(9)).item() == pytest.approx(value(u).item(), abs=2 * small)
    batch = torch.stack([u, v])
    assert value(batch).item() == pytest.approx((value(u) + value(v)).item(), abs=small)


def test_a_value_that_is_not_reached_is_no_value() -> None:
    with pytest.raises(RuntimeError, match="TGV"):
        tgv_value(random(8, 8), 1.0, 2.0, tol=1e-6, k=20)


# ---- the problem ------------------------------------------------------------------------------------------------


def test_the_objective_is_its_formula() -> None:
    """... in the units of the unknown (u, h w), for a step h and every measurement."""
    h, a1, a0 = 0.25, 0.3, 0.11
    for A in (Identity(), Mask(some(6, 7)), Blur(gaussian_kernel(0.8, 2, 2)), PartialFourier(some(6, 7))):
        u, w = random(6, 7), random(2, 6, 7)
        f = random(*A(u).shape)
        problem = tgv(A, f, a1, a0, h)
        Kx = GradientCascade(h)(torch.cat([u[None], w]))
        first, second = Kx[:2].square().sum(0).sqrt().sum(), Kx[2:].square().sum(0).sqrt().sum()
        expected = h**2 * ((A(u) - f).square().sum() / 2 + a1 * first + a0 * second)
        x = torch.cat([u[None], h * w])
        torch.testing.assert_close(problem(x), expected)
        torch.testing.assert_close(problem.second(x), w)
        assert torch.equal(problem.decode(x), u)
        assert torch.equal(problem.decode(problem.encode(u)), u)
        assert torch.count_nonzero(problem.second(problem.encode(u))) == 0


def test_without_a_slope_the_objective_is_that_of_tv() -> None:
    u, f, h = random(6, 7), random(6, 7), 0.2
    problem = TGV(Identity(), f, 0.4, 0.1, h)
    torch.testing.assert_close(problem(problem.encode(u)), total_variation(f, 0.4, h)(u))


@quiet
@pytest.mark.parametrize("h", [1 / 24])
def test_the_gap_falls_to_zero_and_bounds_the_distance(h: float) -> None:
    f = (grid(24)[0] > 0.4).double() + grid(24)[1] + 0.1 * random(24, 24)
    problem = tgv(Identity(), f, 0.1 * h, 0.2 * h**2, h)
    ends = [problem.solve(PDHG, k=k, tol=None) for k in (50, 200, 800)]
    least = problem(ends[-1].x)
    gaps = [float(problem.gap(end.x.x, end.x.p) / least) for end in ends]
    for gap, end in zip(gaps, ends, strict=True):
        assert gap >= (problem(end.x) - least) / least - 1e-9
    for before, after in itertools.pairwise(gaps):  # at least like 1 / k
        assert 0 <= after < before / 3
    assert gaps[-1] < 1e-3


@quiet
def test_the_gap_of_a_batch_is_the_sum() -> None:
    f = random(2, 8, 8)
    problem = tgv(Identity(), f, 0.1, 0.2)
    end = problem.solve(PDHG, k=200, tol=None)
    parts = [tgv(Identity(), f[i], 0.1, 0.2).gap(end.x.x[i], end.x.p[i]) for i in range(2)]
    torch.testing.assert_close(problem.gap(end.x.x, end.x.p), sum(parts), rtol=1e-9, atol=1e-12)
    for i in range(2):
        alone = tgv(Identity(), f[i], 0.1, 0.2).solve(PDHG, f[i], k=200, tol=None)
        torch.testing.assert_close(end.u[i], alone.u, rtol=0, atol=1e-6)


@quiet
def test_the_grid_step_is_a_unit() -> None:
    """With alpha_1 h and alpha_0 h^2 in place of alpha_1 and alpha_0 the minimiser in pixel units is that for h."""
    f = random(12, 13)
    pixels = tgv(Identity(), f, 0.2, 0.5).solve(PDHG, k=400, tol=None)
    problem = tgv(Identity(), f, 0.2 * 0.1, 0.5 * 0.01, 0.1)
    metres = problem.solve(PDHG, k=400, tol=None)
    torch.testing.assert_close(pixels.u, metres.u, rtol=0, atol=1e-8)
    torch.testing.assert_close(tgv(Identity(), f, 0.2, 0.5).second(pixels.x), 0.1 * problem.second(metres.x))


@quiet
def test_a_quarter_turn_of_the_data_turns_the_minimiser_nearly() -> None:
    """Forward and backward differences have a handedness: exact only for the transposition."""
    f = random(12, 12)
    u = tgv(Identity(), f, 0.3, 0.6).solve(PDHG, k=500, tol=None).u
    turned = tgv(Identity(), f.T.contiguous(), 0.3, 0.6).solve(PDHG, k=500, tol=None).u
    torch.testing.assert_close(turned.T, u, rtol=0, atol=1e-9)


def test_only_pdhg_takes_it() -> None:
    with pytest.raises(ValueError, match="K\\^T K = I"):
        ADMM(tgv(Identity(), random(8, 8), 0.1, 0.2))


@quiet
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_and_gradients(dtype: torch.dtype) -> None:
    f = random(8, 8).to(dtype)
    end = tgv(Identity(), f, 0.1, 0.2).solve(PDHG, k=20, tol=None)
    assert end.u.dtype == dtype
    x = random(3, 8, 8).to(dtype).requires_grad_()
    tgv(Identity(), f, 0.1, 0.2)(x).backward()
    assert x.grad is not None and x.grad.isfinite().all()


# ---- what it is for ---------------------------------------------------------------------------------------------


def ramps(n: int) -> Tensor:
    """A slope, with a disc on it that slopes the other way."""
    x, y = grid(n)
    return torch.where((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.09, 0.2 + 0.8 * x, 0.9 - 0.8 * x)


def distance(u: Tensor, v: Tensor) -> float:
    return float((u - v).square().mean().sqrt())


@quiet
def test_a_ramp_has_no_staircase() -> None:
    """A noisy ramp: at each model's own best weight the error of TGV is less than half of TV's, and the slope, which TV
    breaks into flat parts and jumps, is there.
    """
    n, h = 32, 1 / 32
    clean = 0.1 + 0.8 * grid(n)[0]
    f = clean + 0.1 * random(n, n)
    nus = [0.1 * h * 2**i for i in range(0, 4)]
    tv = min((total_variation(f, nu, h).solve(PDHG, k=600, tol=None, ratio=0.15 / h**2).u for nu in nus),
             key=lambda u: distance(u, clean))  # fmt: skip
    smooth = min((tgv(Identity(), f, nu, 4 * nu * h, h).solve(PDHG, k=600, tol=None).u for nu in nus),
                 key=lambda u: distance(u, clean))  # fmt: skip
    assert distance(smooth, clean) < 0.5 * distance(tv, clean)
    steps = [(u.diff(dim=0) / h - 0.8).abs().median().item() for u in (tv, smooth)]
    assert steps[0] > 3 * steps[1]


@quiet
def test_edges_and_ramps_together() -> None:
    n, h = 32, 1 / 32
    clean = ramps(n)
    f = clean + 0.05 * random(n, n)
    nus = [0.05 * h * 2**i for i in range(0, 4)]
    tv = min(distance(total_variation(f, nu, h).solve(PDHG, k=400, tol=None, ratio=0.15 / h**2).u, clean) for nu in nus)
    smooth = min(distance(tgv(Identity(), f, nu, 2 * nu * h, h).solve(PDHG, k=400, tol=None).u, clean) for nu in nus)
    assert smooth < 0.85 * tv


@quiet
def test_half_of_the_pixels_and_few_frequencies() -> None:
    """Inpainting and MRI of a picture that is affine on either side of an edge."""
    n = 32
    clean, zero = ramps(n), torch.zeros(n, n, dtype=torch.float64)
    for A in (Mask(torch.rand(n, n) < 0.5), PartialFourier(radial_pattern(n, 12))):
        f = A(clean)
        u = tgv(A, f, 1e-3, 2e-3).solve(PDHG, zero, k=600, tol=None).u
        assert distance(u, clean) < 0.35 * distance(A.T(f), clean)


# ---- by a frame -------------------------------------------------------------------------------------------------


def haar(u: Tensor, h: float) -> list[Tensor]:
    """Haar's two bands of first order over -h/2, on the torus, corner by corner."""
    a, b, c, d = (torch.roll(u, (-i, -j), (0, 1)) for i in (0, 1) for j in (0, 1))
    return [(c + d - a - b) / (2 * h), (b + d - a - c) / (2 * h)]


def test_the_frames_cascade_is_made_of_its_bands() -> None:
    h, x = 0.25, random(3, 5, 6)
    u, v = x[0], x[1:] / h
    expected = [p - q for p, q in zip(haar(u, h), v, strict=True)] + [h * s for w in v for s in haar(w, h)]
    found = FrameCascade(haar_gradient(h, boundary="periodic"))(x)
    torch.testing.assert_close(found, h * torch.stack(expected), rtol=0, atol=1e-13)


def test_the_frames_objective_is_its_formula() -> None:
    h, alpha1, alpha0, f = 0.25, 0.7, 0.3, random(5, 6)
    u, v = random(5, 6), random(2, 5, 6)
    first = torch.stack([p - q for p, q in zip(haar(u, h), v, strict=True)]).norm(dim=0).sum()
    second = torch.stack([s for w in v for s in haar(w, h)]).norm(dim=0).sum()
    expected = h**2 * ((u - f).square().sum() / 2 + alpha1 * first + alpha0 * second)
    problem = frame_tgv(Identity(), f, haar_gradient(h, boundary="periodic"), alpha1, alpha0)
    x = torch.cat([u[None], h * v])
    torch.testing.assert_close(problem(x), expected)
    assert torch.equal(problem.decode(x), u) and torch.equal(problem.encode(u), torch.cat([u[None], 0 * v]))


@pytest.mark.parametrize("make", [haar_gradient, spline_gradient])
def test_the_frames_penalty_tends_to_that_of_tgv(make: Callable) -> None:
    """alpha_1 int |grad u - v| + alpha_0 int |grad v| for smooth periodic u and v, by the trapezoidal rule on a fine
    grid with exact derivatives: the rate is 2. v is taken where the bands of u are: at half points for Haar.
    """
    tau, alpha1, alpha0 = 2 * math.pi, 0.7, 0.1
    shift = 0.5 if make is haar_gradient else 0.0

    def fields(n: int, s: float) -> tuple[Tensor, ...]:
        x, y = torch.meshgrid(*[(torch.arange(n, dtype=torch.float64) + s) / n] * 2, indexing="ij")
        u, v = (tau * x).sin() * (tau * y).cos(), torch.stack([3 + (tau * y).sin(), 9 + (tau * x).cos()])
        du = tau * torch.stack([(tau * x).cos() * (tau * y).cos(), -(tau * x).sin() * (tau * y).sin()])
        dv = tau * torch.stack([0 * x, (tau * y).cos(), -(tau * x).sin(), 0 * x])
        return u, v, du, dv

    _, v, du, dv = fields(512, 0.0)
    exact = alpha1 * (du - v).norm(dim=0).mean() + alpha0 * dv.norm(dim=0).mean()
    errors = []
    for n in (32, 64, 128):
        problem = frame_tgv(Identity(), torch.zeros(n, n).double(), make(1 / n, boundary="periodic"), alpha1, alpha0)
        x = torch.cat([fields(n, 0.0)[0][None], fields(n, shift)[1] / n])
        errors.append(float(abs(problem.R(problem.K(x)) - exact)))
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.1), errors


@quiet
def test_the_frames_minimum_is_that_of_cvxpy() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    f = random(6, 5)
    problem = frame_tgv(Identity(), f, haar_gradient(boundary="periodic"), 0.4, 0.6)
    K = dense(problem.K, (3, 6, 5)).numpy()
    x = cvxpy.Variable(3 * 30)
    groups = cvxpy.reshape(K @ x, (6, 30), order="C")
    price = 0.4 * cvxpy.sum(cvxpy.norm(groups[:2], axis=0)) + 0.6 * cvxpy.sum(cvxpy.norm(groups[2:], axis=0))
    best = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x[:30] - f.flatten().numpy()) / 2 + price))
    best.solve(solver="CLARABEL")
    found = problem.solve(PDHG, k=500, tol=None)
    assert float(problem(found.x)) == pytest.approx(best.value, rel=1e-6)
    torch.testing.assert_close(found.u.flatten(), torch.from_numpy(x.value[:30]), rtol=0, atol=1e-3)


@quiet
def test_a_roof_has_no_staircase_in_a_frame_either() -> None:
    """A periodic roof with noise, Haar's variation with the best of three weights, and the model with a slope."""
    n = 32
    roof = (torch.arange(n, dtype=torch.float64) / n - 0.5).abs().expand(n, n)
    f = roof + 0.05 * random(n, n)
    G, rms = haar_gradient(bands=3, boundary="periodic"), lambda u: float((u - roof).square().mean().sqrt())
    plain = [rms(run(PDHG(Problem(LeastSquares(f), GroupL1(a), G)), f, k=150).u) for a in (0.025, 0.05, 0.1)]
    sloped = rms(run(PDHG(frame_tgv(Identity(), f, G, 0.05, 0.2)), f, k=150).u)
    assert sloped < 0.6 * min(plain), (sloped, plain)


@pytest.mark.parametrize(("alpha1", "alpha0"), [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
def test_a_frame_charges_both(alpha1: float, alpha0: float) -> None:
    with pytest.raises(ValueError, match=r"TGV charges \|D u - w\| by alpha1 > 0 and \|E w\| by alpha0 > 0"):
        frame_tgv(Identity(), torch.zeros(4, 4), haar_gradient(), alpha1, alpha0)
