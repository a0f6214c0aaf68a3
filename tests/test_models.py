"""min E(x) + R(K x): the models (2.4)-(2.6) written out in matrices, their order, their limits, and `solve`."""

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    KL,
    L1,
    PDHG,
    Blur,
    Box,
    Composed,
    ConvergenceWarning,
    ForwardBackward,
    FrameletTransform,
    GaussianNoise,
    Gradient,
    GroupL1,
    Identity,
    LeastSquares,
    LinearOperator,
    Mask,
    PartialFourier,
    PoissonNoise,
    Problem,
    analysis,
    balanced,
    bspline,
    data_term,
    gaussian_kernel,
    synthesis,
    tikhonov,
)
from tests.laws.registry import dense, some

HAAR = FrameletTransform(bspline(1))
MEASUREMENTS: dict[str, Callable[[], LinearOperator]] = {
    "denoising": Identity,
    "inpainting": lambda: Mask(some(6, 7)),
    "deblurring": lambda: Blur(gaussian_kernel(0.8, 2, 2)),
    "deblurring-reflect": lambda: Blur(gaussian_kernel(0.8, 2, 2), "reflect"),
    "fourier": lambda: PartialFourier(some(6, 7)),
}
measured = pytest.mark.parametrize("name", MEASUREMENTS)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def picture(n: int) -> Tensor:
    """A disc on a slope."""
    x, y = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) / n] * 2, indexing="ij")
    return ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1).double() + 0.5 * x


# ---- what the models are ----------------------------------------------------------------------------------------


@measured
@pytest.mark.paper("(2.4)", "(2.5)", "(2.6)")
def test_the_three_objectives_in_matrices(name: str) -> None:
    A = MEASUREMENTS[name]()
    u, lam = random(6, 7), HAAR.weights(0.3) + 0.1
    f = random(*A(u).shape)
    MA, MW = dense(A, (6, 7)), dense(HAAR, (6, 7))
    d = random(4, 6, 7)
    x, y, l = u.flatten(), d.flatten(), lam.expand(4, 6, 7).flatten()
    fit = (MA @ x - f.flatten()).square().sum() / 2
    fit_d = (MA @ MW.T @ y - f.flatten()).square().sum() / 2
    away = (y - MW @ (MW.T @ y)).square().sum() / 2
    sparse = (l * y).abs().sum()
    for problem, at, value in (
        (analysis(A, f, HAAR, lam), u, fit + (l * (MW @ x)).abs().sum()),
        (synthesis(A, f, HAAR, lam), d, fit_d + sparse),
        (balanced(A, f, HAAR, lam, 2.5), d, fit_d + 2.5 * away + sparse),
        (balanced(A, f, HAAR, lam, 0.0), d, fit_d + sparse),
        (tikhonov(A, f, 0.7), u, fit + 0.35 * x.square().sum()),
        (tikhonov(A, f, 0.7, Gradient()), u, fit + 0.35 * Gradient()(u).square().sum()),
    ):
        assert problem(at).item() == pytest.approx(value.item(), rel=1e-12)


@pytest.mark.paper("(2.4)", "(2.5)")
def test_on_the_range_of_w_every_kappa_is_the_analysis_model() -> None:
    """d = W u: (I - W W^T) d = 0, so (2.4) at W u is (2.5) at u; hence min (2.4) <= min (2.5)."""
    A, u, lam = Mask(some(6, 7)), random(6, 7), HAAR.weights(0.2)
    f = A(random(6, 7))
    for kappa in (0.0, 1.0, 1e6):
        value = balanced(A, f, HAAR, lam, kappa)(HAAR(u))
        assert value.item() == pytest.approx(analysis(A, f, HAAR, lam)(u).item(), rel=1e-9)


def test_pictures_and_unknowns() -> None:
    A, u = Identity(), random(2, 6, 7)
    for problem in (balanced(A, u, HAAR, 0.1), synthesis(A, u, HAAR, 0.1)):
        assert torch.equal(problem.encode(u), HAAR(u))
        torch.testing.assert_close(problem.decode(problem.encode(u)), u)
        assert problem.E.domain().shape == (2, 4, 6, 7)
    for problem in (analysis(A, u, HAAR, 0.1), tikhonov(A, u, 0.1)):
        assert problem.encode(u) is problem.decode(u) is u


@pytest.mark.paper("(2.6)")
@pytest.mark.parametrize(
    "lam",
    [0.1, torch.tensor(0.1), torch.full((4, 1, 1), 0.1), torch.full((4, 6, 7), 0.1), torch.full((2, 4, 1, 1), 0.1)],
    ids=["number", "scalar", "bands", "pixels", "pictures"],
)
def test_lam_in_every_shape_that_broadcasts(lam: Tensor | float) -> None:
    f = random(2, 6, 7)
    d = random(2, 4, 6, 7)
    expected = synthesis(Identity(), f, HAAR, 0.1)(d)
    torch.testing.assert_close(synthesis(Identity(), f, HAAR, lam)(d), expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(balanced(Identity(), f, HAAR, lam, 0.0)(d), expected, rtol=1e-7, atol=0)


@pytest.mark.paper("(2.6)")
def test_synthesis_that_costs_nothing_somewhere_is_refused() -> None:
    f = random(6, 7)
    free = torch.full((4, 6, 7), 0.1)
    free[2, 3, 3] = 0.0
    for lam in (HAAR.weights(0.1), 0.0, free):
        with pytest.raises(ValueError, match="lam > 0 in every band"):
            synthesis(Identity(), f, HAAR, lam)
        assert synthesis(Identity(), f, HAAR, lam, free=True)(HAAR(f)).isfinite()
        assert balanced(Identity(), f, HAAR, lam)(HAAR(f)).isfinite()


# ---- E16: the order of the models, and the degenerate one -------------------------------------------------------

N = 32


def inpainting() -> tuple[LinearOperator, Tensor]:
    """Half of the pixels of a noisy 32 x 32 picture."""
    A = Mask(torch.rand(N, N) < 0.5)
    return A, A(GaussianNoise(0.05)(picture(N)))


def minimum(problem: Problem) -> float:
    """By ADMM, from above, to about 1e-3."""
    return float(problem.solve(ADMM, k=250, tol=None, rho=0.2).curves["objective"][-1])


@pytest.mark.paper("(2.4)", "(2.6)")
def test_26_with_a_free_average_is_degenerate() -> None:
    """Averages d_0 with A W_0^T d_0 = f, the shortest such d_0, cost nothing: the minimum of (2.6) is 0, and it
    is attained by d_0 far away from the range of W. (2.4) charges for the distance, and its minimum is not 0.
    """
    A, f = inpainting()
    lam = HAAR.weights(0.02)
    known = f.flatten()[A.m.flatten()]
    average = dense(HAAR, (N, N)).reshape(4, N * N, N * N)[0].T[A.m.flatten()]  # A W_0^T, one row for each datum
    d = torch.zeros(4, N, N, dtype=torch.float64)
    d[0] = (average.T @ torch.linalg.solve(average @ average.T, known)).reshape(N, N)
    problem = synthesis(A, f, HAAR, lam, free=True)
    assert 0 <= problem(d) < 1e-20
    assert (A(problem.decode(d)) - f).norm() < 1e-10
    assert (d - HAAR(HAAR.T(d))).norm() > 1
    assert balanced(A, f, HAAR, lam, 1.0)(d) > minimum(balanced(A, f, HAAR, lam, 1.0)) > 1
    end = problem.solve(ForwardBackward, k=300, tol=None)
    assert end.curves["objective"][-1] < 0.05 * minimum(balanced(A, f, HAAR, lam, 1.0))


@pytest.mark.paper("(2.4)", "(2.5)", "(2.6)")
def test_24_grows_with_kappa_from_26_to_25() -> None:
    """(2.6) = (2.4) at kappa = 0 <= (2.4), growing with kappa, <= (2.5), lam the same. The gap falls as 1 / kappa."""
    A, f = inpainting()
    lam = torch.full((4, 1, 1), 0.02)
    least = [minimum(synthesis(A, f, HAAR, lam))]
    least += [minimum(balanced(A, f, HAAR, lam, kappa)) for kappa in (0.1, 1.0, 10.0, 100.0)]
    most = minimum(analysis(A, f, HAAR, lam))
    assert all(b > a + 1e-3 for a, b in zip(least, [*least[1:], most], strict=True))
    gaps = [most - value for value in least]
    assert gaps[-1] < 0.001 * most
    assert 7 < gaps[-2] / gaps[-1] < 11
    assert least[0] < 0.8 * most


# ---- Tikhonov ---------------------------------------------------------------------------------------------------


@measured
@pytest.mark.parametrize(
    "K", [None, Gradient(), HAAR, Gradient(h=0.5, boundary="periodic")], ids=["I", "D", "W", "D/h"]
)
def test_tikhonov_solves_the_normal_equations(name: str, K: LinearOperator | None) -> None:
    A, alpha = MEASUREMENTS[name](), 0.3
    f = random(*A(random(6, 7)).shape)
    problem = tikhonov(A, f, alpha, K)
    u = problem.minimiser()
    MA = dense(A, (6, 7))
    MK = torch.eye(42, dtype=torch.float64) if K is None else dense(K, (6, 7))
    exact = torch.linalg.solve(MA.T @ MA + alpha * MK.T @ MK, MA.T @ f.flatten())
    torch.testing.assert_close(u.flatten(), exact, rtol=0, atol=1e-10)
    for size in (1e-3, 1.0):
        assert problem(u + size * random(6, 7)) > problem(u)


def test_tikhonov_acts_picture_by_picture_and_carries_gradients() -> None:
    A = MEASUREMENTS["deblurring"]()
    f = random(3, 6, 7)
    for K in (None, Gradient()):
        together = tikhonov(A, f, 0.1, K).minimiser()
        apart = torch.stack([tikhonov(A, g, 0.1, K).minimiser() for g in f])
        torch.testing.assert_close(together, apart, rtol=0, atol=1e-10)
        single = tikhonov(A, f.float(), 0.1, K).minimiser()
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), apart, rtol=0, atol=1e-3)


def test_tikhonov_is_reached_by_the_solvers() -> None:
    A = MEASUREMENTS["inpainting"]()
    f = A(random(6, 7))
    plain, smooth = tikhonov(A, f, 0.2), tikhonov(A, f, 0.2, Gradient())
    for problem, method in ((plain, ForwardBackward), (plain, FISTA), (plain, ADMM), (plain, PDHG), (smooth, PDHG)):
        u = problem.solve(method, k=4000, tol=1e-11).u
        torch.testing.assert_close(u, problem.minimiser(), rtol=0, atol=1e-7)


# ---- the duality gap --------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.5)")
def test_no_pair_has_a_negative_gap() -> None:
    """E(x) + R(K x) + E*(-K^T p) + R*(p) >= 0 by Fenchel and Young, whatever x and p."""
    f, lam = random(6, 7), HAAR.weights(0.4)
    for problem in (
        analysis(Identity(), f, HAAR, lam),
        analysis(Blur(gaussian_kernel(0.4, 2, 1)), f, HAAR, lam),
        Problem(LeastSquares(f), GroupL1(0.3), Gradient()),
        Problem(LeastSquares(f), Box(0.0, 1.0)),
        Problem(L1(2.0, f), GroupL1(0.3), Gradient()),
        tikhonov(Identity(), f, 0.5, Gradient()),
    ):
        for _ in range(5):
            u = torch.rand(6, 7, dtype=torch.float64)
            p = problem.R.prox_conjugate(random(*problem.K(u).shape), 1.0)
            assert problem.gap(u, p) > 0


def test_the_gap_of_an_underdetermined_problem_does_not_exist() -> None:
    for A in (Mask(some(6, 7)), PartialFourier(torch.arange(42).reshape(6, 7) < 9)):
        f = A(random(6, 7))
        problem = analysis(A, f, HAAR, 0.1)
        with pytest.raises(ValueError, match="rho > 0"):
            problem.gap(random(6, 7), torch.zeros(4, 6, 7, dtype=torch.float64))
    with pytest.raises(TypeError, match="no duality gap"):
        balanced(Identity(), random(6, 7), HAAR, 0.1).gap(random(4, 6, 7), random(4, 6, 7))


# ---- solve ------------------------------------------------------------------------------------------------------


def denoising(n: int = 16) -> Problem:
    return analysis(Identity(), GaussianNoise(0.1)(picture(n)), HAAR, HAAR.weights(0.1))


def test_solve_watches_the_objective_the_residual_the_time_and_the_quality() -> None:
    problem = denoising()
    end = problem.solve(ADMM, k=7, tol=None, reference=picture(16))
    assert set(end.curves) == {"objective", "residual", "seconds", "psnr"}
    assert {len(curve) for curve in end.curves.values()} == {8}
    assert (end.k, end.stopped) == (7, "k")
    assert end.curves["objective"][-1] == problem(end.x)
    assert problem(end.x) == problem(end.x.x)
    assert end.curves["residual"][0] == math.inf
    assert (end.curves["residual"][1:] > 0).all()
    assert (end.curves["seconds"].diff() > 0).all()
    error = (end.u - picture(16)).square().mean()
    assert end.curves["psnr"][-1].item() == pytest.approx(10 * math.log10(1 / error))
    assert end.curves["objective"].dtype == torch.float64
    assert not end.u.requires_grad


def test_solve_starts_from_the_picture_of_the_data_or_from_yours() -> None:
    A = MEASUREMENTS["fourier"]()
    f = A(random(6, 7))
    for problem in (analysis(A, f, HAAR, 0.1), balanced(A, f, HAAR, 0.1)):
        torch.testing.assert_close(problem.solve(PDHG, k=0, tol=None).u, A.T(f))
        u = random(6, 7)
        torch.testing.assert_close(problem.solve(PDHG, u, k=0, tol=None).u, u)


@pytest.mark.parametrize("method", [ForwardBackward, FISTA, ADMM, PDHG])
def test_solve_stops_where_nothing_moves(method: type) -> None:
    """The residual of the last step is at most tol, and FISTA's gamma, which never rests, is no part of it."""
    A = MEASUREMENTS["inpainting"]()
    problem = balanced(A, A(random(6, 7)), HAAR, HAAR.weights(0.3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end = problem.solve(method, k=2000, tol=1e-8)
    assert end.stopped == "until" and end.k < 2000
    assert end.curves["residual"][-1] <= 1e-8 < end.curves["residual"][-2]
    assert len(end.curves["objective"]) == end.k + 1


def test_solve_says_what_it_has_reached_when_it_has_not_arrived() -> None:
    problem = denoising()
    with pytest.warns(
        ConvergenceWarning, match=r"ADMM has not converged: after 3 steps .* is \d\.\de-\d\d, not 1.0e-12"
    ) as w:
        end = problem.solve(ADMM, k=3, tol=1e-12)
    assert f"{end.curves['objective'][-1]:.6g}" in str(w[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem.solve(ADMM, k=3, tol=None)


def test_an_exact_picture_has_infinite_psnr() -> None:
    f = picture(8)
    problem = analysis(Identity(), f, HAAR, 0.0)
    end = problem.solve(ADMM, k=2, tol=None, reference=f)
    assert end.curves["psnr"][0] == math.inf
    with pytest.raises(ValueError, match="reference has shape"):
        problem.solve(ADMM, k=2, tol=None, reference=f[None])


def test_the_keyboard_interrupts_a_solve_and_keeps_what_was_reached() -> None:
    """Wherever Ctrl-C comes, in a step or while measuring: the curves have k + 1 entries and the state is that of k."""
    for place in ("prox", "forward"):
        problem = denoising()
        calls = iter(range(100))
        act = getattr(problem.R, place)

        def interrupted(*arguments: Tensor | float, act: Callable = act, calls: iter = calls) -> Tensor:
            if next(calls) == 5:
                raise KeyboardInterrupt
            return act(*arguments)

        setattr(problem.R, place, interrupted)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            end = problem.solve(PDHG if place == "forward" else ADMM, k=50, tol=1e-9, reference=picture(16))
        assert end.stopped == "interrupt" and 0 < end.k < 10
        assert {len(curve) for curve in end.curves.values()} == {end.k + 1}
        delattr(problem.R, place)
        assert problem(end.x) == end.curves["objective"][-1]


def test_any_data_term_with_any_penalty() -> None:
    """The terms of `data_term` tell a solver the shape of the unknown, alone and after a measurement."""
    u = picture(8) + 0.1
    A = Blur(gaussian_kernel(0.8, 2, 2))
    for E in (data_term(PoissonNoise(50.0), PoissonNoise(50.0)(u)), KL(A(u), 10.0), L1(1.0, u), Composed(KL(A(u)), A)):
        problem = Problem(E, L1(HAAR.weights(0.05)), HAAR)
        end = problem.solve(PDHG, k=150, tol=None)
        assert end.u.shape == u.shape
        assert end.curves["objective"][-1] <= problem(u)


def test_a_problem_in_single_precision() -> None:
    problem = denoising().to(torch.float32)
    f = problem.E.f
    assert f.dtype == torch.float32
    for method in (ADMM, PDHG):
        single = problem.solve(method, f, k=100, tol=None)
        assert all(a.dtype == torch.float32 for a in single.x)
        double = denoising().solve(method, k=100, tol=None)
        torch.testing.assert_close(single.u.double(), double.u, rtol=0, atol=1e-4)
        mixed = denoising().solve(method, f, k=3, tol=None)  # data of double precision, a start of single
        assert mixed.u.dtype == torch.float32
