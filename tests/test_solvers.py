"""Four solvers, one minimum: their steps, their bounds, their hypotheses, and what they do beyond them."""

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any

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
    Gradient,
    GroupL1,
    Identity,
    LeastSquares,
    LinearOperator,
    Mask,
    PartialFourier,
    Problem,
    StabilityWarning,
    analysis,
    balanced,
    bspline,
    gaussian_kernel,
    iterate,
    run,
    synthesis,
    tikhonov,
)
from tests.laws.registry import dense, some

HAAR = FrameletTransform(bspline(1))
SHAPE = (8, 7)
MEASUREMENTS: dict[str, Callable[[], LinearOperator]] = {
    "denoising": Identity,
    "inpainting": lambda: Mask(some(*SHAPE)),
    "deblurring": lambda: Blur(gaussian_kernel(0.6, 2, 1)),
    "fourier": lambda: PartialFourier(some(*SHAPE)),
}
SOLVERS = (ForwardBackward, FISTA, ADMM, PDHG)
each_solver = pytest.mark.parametrize("method", SOLVERS)
measured = pytest.mark.parametrize("name", MEASUREMENTS)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def soft(d: Tensor, lam: Tensor | float) -> Tensor:
    return d.sign() * (d.abs() - lam).clamp_min(0)


def measure(name: str, *batch: int) -> tuple[LinearOperator, Tensor]:
    """A and f = A u + noise for a blocky picture u."""
    A = MEASUREMENTS[name]()
    u = torch.zeros(*batch, *SHAPE, dtype=torch.float64)
    u[..., 2:6, 1:5] = 1.0
    return A, A(u + 0.1 * random(*batch, *SHAPE))


def example(name: str = "inpainting", *batch: int, kappa: float = 1.0) -> Problem:
    """(2.4), which every solver takes."""
    A, f = measure(name, *batch)
    return balanced(A, f, HAAR, HAAR.weights(0.3), kappa)


def best(problem: Problem, method: Callable[..., Any], k: int = 1000, **options: Any) -> tuple[float, Tensor]:
    """The objective reached when nothing moves any more, or after k steps, and the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        end = problem.solve(method, k=k, tol=1e-10, **options)
    return float(end.curves["objective"][-1]), end.u


# ---- one step of each, written out ------------------------------------------------------------------------------


@measured
@pytest.mark.paper("(2.5)")
def test_the_step_of_split_bregman_in_matrices(name: str) -> None:
    """u = (A^T A + rho)^{-1} (A^T f + rho W^T (d - b)), d = T_{lam/rho}(W u + b), b = b + delta (W u - d)."""
    A, f = measure(name)
    lam, rho = HAAR.weights(0.2), 0.7
    MA, MW = dense(A, SHAPE), dense(HAAR, SHAPE)
    n = MA.shape[1]
    level = (lam / rho).expand(4, *SHAPE).flatten()
    for delta in (1.0, 0.5):
        solver = ADMM(analysis(A, f, HAAR, lam), rho=rho, delta=delta)
        state = solver.start(random(*SHAPE))
        assert torch.equal(state.d, HAAR(state.x)) and not state.b.any()
        d, b = state.d.flatten(), state.b.flatten()
        for _ in range(3):
            state = solver(state)
            right = MA.T @ f.flatten() + rho * MW.T @ (d - b)
            u = torch.linalg.solve(MA.T @ MA + rho * torch.eye(n, dtype=torch.float64), right)
            d = soft(MW @ u + b, level)
            b = b + delta * (MW @ u - d)
            for ours, theirs in zip(state, (u, d, b), strict=True):
                torch.testing.assert_close(ours.flatten(), theirs, rtol=0, atol=1e-12)
        assert torch.equal(solver.image(state), state.x)
        assert torch.equal(solver.dual(state), rho * state.b)


def test_the_step_of_the_primal_dual_method_in_matrices() -> None:
    """p = clip(p + sigma K x-bar), x = prox_{tau E}(x - tau K^T p), x-bar = 2 x_new - x."""
    A, f = measure("deblurring")
    tau, sigma, K = 0.3, 0.4, Gradient()
    MA, MK = dense(A, SHAPE), dense(K, SHAPE)
    n = MA.shape[1]
    solver = PDHG(Problem(LeastSquares(f, A), L1(0.2), K), tau=tau, sigma=sigma)
    state = solver.start(random(*SHAPE))
    x, p = state.x.flatten(), torch.zeros(2 * n, dtype=torch.float64)
    bar = x
    for _ in range(4):
        state = solver(state)
        p = (p + sigma * MK @ bar).clamp(-0.2, 0.2)
        right = MA.T @ f.flatten() + (x - tau * MK.T @ p) / tau
        new = torch.linalg.solve(MA.T @ MA + torch.eye(n, dtype=torch.float64) / tau, right)
        x, bar = new, 2 * new - x
        for ours, theirs in zip(state[:3], (x, bar, p), strict=True):
            torch.testing.assert_close(ours.flatten(), theirs, rtol=0, atol=1e-12)
        assert torch.equal(solver.dual(state), state.p)


def test_a_composed_data_term_has_a_multiplier_of_its_own() -> None:
    """min_x F(A x) + R(K x) with K replaced by (K; A): the data term is met by its conjugate alone."""
    A, f = measure("deblurring")
    K, tau, sigma = Gradient(), 0.25, 0.3
    solver = PDHG(Problem(Composed(LeastSquares(f), A), L1(0.2), K), tau=tau, sigma=sigma)
    state = solver.start(random(*SHAPE))
    x = bar = state.x
    p, q = torch.zeros_like(K(x)), torch.zeros_like(f)
    for _ in range(4):
        state = solver(state)
        p = (p + sigma * K(bar)).clamp(-0.2, 0.2)
        q = (q + sigma * A(bar) - sigma * f) / (1 + sigma)
        new = x - tau * (K.T(p) + A.T(q))
        x, bar = new, 2 * new - x
        for ours, theirs in zip(state, (x, bar, p, q), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.paper("(4.7)")
def test_the_momentum_of_fista_is_nesterovs() -> None:
    """y = x^k + gamma^k (x^k - x^{k-1}), gamma^k = (k - 1)/(k + 2) from k = 1 on, by a recursion without counter."""
    problem = example()
    solver = FISTA(problem, step=0.9)
    states = list(itertools.islice(iterate(solver, solver.start(random(*SHAPE))), 40))
    for k, s in enumerate(states[:-1]):
        gamma = (k - 1) / (k + 2)
        assert s.gamma.item() == pytest.approx(gamma, abs=1e-12)
        y = s.x + gamma * (s.x - s.old)
        torch.testing.assert_close(states[k + 1].x, problem.R.prox(y - 0.9 * problem.E.grad(y), 0.9))
        assert states[k + 1].old is s.x
    assert torch.equal(states[0].x, states[0].old)


def test_a_step_of_forward_backward() -> None:
    problem, d = example(), random(4, *SHAPE)
    solver = ForwardBackward(problem, step=0.8)
    expected = soft(d - 0.8 * problem.E.grad(d), 0.8 * HAAR.weights(0.3))
    torch.testing.assert_close(solver(d), expected, rtol=0, atol=1e-14)


@each_solver
@pytest.mark.parametrize("kappa", [1.0, 5.0])
def test_a_minimiser_is_a_fixed_point_and_a_fixed_point_a_minimiser(method: type, kappa: float) -> None:
    """Where the state is at rest, -grad E(x) is a subgradient of R at K x."""
    problem = example(kappa=kappa)
    x = problem.solve(method, k=2000, tol=1e-10).x
    x = x if isinstance(x, Tensor) else x[0]
    slope, lam = -problem.E.grad(x), HAAR.weights(0.3).expand(4, *SHAPE)
    moving = x.abs() > 1e-6
    torch.testing.assert_close(slope[moving], (lam * x.sign())[moving], rtol=0, atol=1e-5)
    assert (slope.abs() <= lam + 1e-5).all()


def test_the_default_penalty_scales_with_the_problem() -> None:
    """f and lam times c: the same rho. E and lam times s: s times rho, whether E by its weight or by A and f."""
    A, f = measure("deblurring")
    lam = HAAR.weights(0.2)

    def rho(f: Tensor, lam: Tensor, A: LinearOperator = A, weight: float = 1.0) -> float:
        problem = Problem(LeastSquares(f, A, weight), L1(lam), HAAR)
        assert float(PDHG(problem).tau) == pytest.approx(1 / float(ADMM(problem).rho))
        return float(ADMM(problem).rho)

    one = rho(f, lam)
    assert rho(7 * f, 7 * lam) == pytest.approx(one)
    assert rho(f, 7 * lam, weight=7.0) == pytest.approx(7 * one)
    assert rho(3 * f, 9 * lam, 3.0 * A) == pytest.approx(9 * one, rel=1e-3)
    assert rho(0 * f, lam) > 0 and rho(f, 0 * lam) > 0


# ---- the same minimum -------------------------------------------------------------------------------------------


@measured
@pytest.mark.paper("(2.4)", "(2.6)")
def test_four_solvers_agree_on_24_and_26(name: str) -> None:
    """The objective to 1e-6, relative, and, where it is unique, the picture."""
    A, f = measure(name)
    lam = HAAR.weights(0.3)
    for problem, unique in ((balanced(A, f, HAAR, lam, 1.0), True), (synthesis(A, f, HAAR, lam + 0.1), False)):
        ends = [
            best(problem, ForwardBackward, k=700),
            best(problem, FISTA, k=150, restart=True),
            best(problem, ADMM, k=300, rho=0.1),
            best(problem, PDHG, k=300, ratio=10.0),
        ]
        least = min(value for value, _ in ends)
        for value, u in ends:
            assert value - least < 1e-6 * least
            if unique:
                torch.testing.assert_close(u, ends[0][1], rtol=0, atol=1e-4)


@measured
@pytest.mark.paper("(2.5)")
def test_admm_and_pdhg_agree_on_25(name: str) -> None:
    A, f = measure(name)
    problem = analysis(A, f, HAAR, HAAR.weights(0.3))
    ends = [
        best(problem, ADMM, k=400, rho=3.0),
        best(problem, ADMM, k=400, rho=1.5, delta=1.5),
        best(problem, PDHG, k=400, ratio=0.3),
        best(problem, PDHG, k=400, ratio=0.7),
    ]
    for value, u in ends[1:]:
        assert value == pytest.approx(ends[0][0], rel=1e-6)
        torch.testing.assert_close(u, ends[0][1], rtol=0, atol=1e-3)


def test_a_data_term_whole_or_composed() -> None:
    """1/2 |A u - f|^2 by its proximal map, and as F(A u) by its conjugate: the same minimum."""
    A, f = measure("deblurring")
    whole = Problem(LeastSquares(f, A), GroupL1(0.1), Gradient())
    apart = Problem(Composed(LeastSquares(f), A), GroupL1(0.1), Gradient())
    first, second = best(whole, PDHG, k=600, ratio=0.3), best(apart, PDHG, k=600, ratio=0.3)
    assert first[0] == pytest.approx(second[0], rel=1e-6)
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=1e-3)
    dualised, composed = run(PDHG(whole, dualise=True), f, k=20), run(PDHG(apart), f, k=20)
    torch.testing.assert_close(dualised.u, composed.u, rtol=0, atol=1e-12)
    assert best(Problem(Composed(LeastSquares(f), A), L1(0.0)), FISTA)[0] == pytest.approx(0, abs=1e-9)


def test_a_box_keeps_the_picture_between_its_bounds() -> None:
    A, f = measure("deblurring")
    problem = Problem(LeastSquares(f, A), Box(0.2, 0.8))
    values = [best(problem, method) for method in (ForwardBackward, FISTA)]
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-8)
    for _, u in values:
        assert u.min() >= 0.2 and u.max() <= 0.8


# ---- what is proven ---------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.4)", "(2.6)")
@pytest.mark.parametrize("name", ["inpainting", "deblurring"])
@pytest.mark.parametrize("kappa", [0.0, 1.0, 4.0])
def test_the_bounds_of_forward_backward_and_fista_hold_at_every_step(name: str, kappa: float) -> None:
    """E + R - min <= L |x^0 - x*|^2 / (2 k), and <= 2 L |x^0 - x*|^2 / (k + 1)^2, k = 1, 2, ...

    x^0 is where it hurts: far away, and |x^0 - x*| the distance to the minimiser that was found.
    """
    A, f = measure(name)
    problem = balanced(A, f, HAAR, HAAR.weights(0.3) + 0.05 * (kappa == 0), kappa)
    L = problem.E.lipschitz()
    end = problem.solve(FISTA, k=2000, tol=1e-12, restart=True)
    least, solution = float(end.curves["objective"][-1]), end.x.x
    u0 = 5 * random(*SHAPE)
    distance = (HAAR(u0) - solution).square().sum().item()
    for method, bound in (
        (ForwardBackward, lambda k: L * distance / (2 * k)),
        (FISTA, lambda k: 2 * L * distance / (k + 1) ** 2),
    ):
        curve = problem.solve(method, u0, k=200, tol=None).curves["objective"] - least
        for k in range(1, 201):
            assert curve[k] <= bound(k) * (1 + 1e-9) + 1e-9
        if method is ForwardBackward:
            assert (curve.diff() <= 1e-12).all()


def test_fista_is_faster_where_forward_backward_is_slow() -> None:
    """kappa = 0 and a blur: many directions with little curvature."""
    A, f = measure("deblurring")
    problem = synthesis(A, f, HAAR, HAAR.weights(0.01) + 0.005)
    least = best(problem, FISTA, restart=True)[0]
    slow, fast = (problem.solve(m, k=200, tol=None).curves["objective"][-1] - least for m in (ForwardBackward, FISTA))
    assert fast < 0.1 * slow


def test_fista_oscillates_where_restarting_is_linear() -> None:
    """1/2 |A u - f|^2 + alpha/2 |u|^2: alpha is the modulus of strong convexity; gamma -> 1 is too much momentum."""
    A, f = measure("inpainting")
    problem = Problem(LeastSquares(f, A), LeastSquares(0.0, weight=0.01))
    least = float(problem(tikhonov(A, f, 0.01).minimiser()))
    u0 = 3 * random(*SHAPE)
    plain, restarted = (
        problem.solve(FISTA, u0, k=400, tol=None, restart=restart).curves["objective"] - least
        for restart in (False, True)
    )
    assert restarted[-1] < 1e-3 * plain[-1]
    assert (plain.diff() > 0).any()
    state = FISTA(problem, restart=True).start(u0)
    gammas = [s.gamma.item() for s in itertools.islice(iterate(FISTA(problem, restart=True), state), 100)]
    assert any(a > 0 == b for a, b in itertools.pairwise(gammas))
    assert max(gammas) > 0.5


@pytest.mark.paper("(2.5)")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("method", "options"), [(ADMM, {"rho": 3.0}), (ADMM, {"rho": 1.0}), (PDHG, {"ratio": 0.3})])
def test_the_gap_bounds_the_distance_to_the_minimum_and_closes(method: type, options: dict, dtype: torch.dtype) -> None:
    """Denoising: gap(x^k, p^k) >= E(x^k) + R(K x^k) - min at every k, and it tends to 0."""
    f, lam = measure("denoising")[1], HAAR.weights(0.3)
    least = best(analysis(Identity(), f, HAAR, lam), ADMM, rho=3.0)[0]
    problem = analysis(Identity(), f.to(dtype), HAAR, lam)
    solver = method(problem, **options)
    rounding = 1e-9 if dtype == torch.float64 else 1e-4
    gaps = []
    for s in itertools.islice(iterate(solver, solver.start(f.to(dtype))), 151):
        gaps.append(float(problem.gap(s.x, solver.dual(s))))
        assert gaps[-1] >= problem(s.x) - least - rounding
    assert gaps[1] > 0.1
    assert gaps[-1] < (1e-5 if dtype == torch.float64 else 1e-4)


def test_the_gap_of_total_variation_closes() -> None:
    f = measure("denoising")[1]
    problem = Problem(LeastSquares(f), GroupL1(0.2), Gradient())
    solver = PDHG(problem, ratio=0.3)
    end = run(solver, f, k=400)
    assert 0 <= problem.gap(end.u, solver.dual(end.x)) + 1e-12 < 1e-6


# ---- hypotheses -------------------------------------------------------------------------------------------------


def test_what_a_solver_cannot_treat_is_refused_with_the_name_of_one_that_can() -> None:
    A, f = measure("inpainting")
    frame, total_variation = analysis(A, f, HAAR, 0.1), Problem(LeastSquares(f, A), GroupL1(0.1), Gradient())
    counts = Problem(Composed(KL(f.clamp_min(0)), A), L1(0.1))
    for method, problem, words in (
        (ForwardBackward, frame, "Use ADMM or PDHG"),
        (FISTA, total_variation, "Use PDHG"),
        (ADMM, total_variation, "not tight.*Use PDHG"),
        (ForwardBackward, Problem(KL(f.clamp_min(0)), L1(0.1)), "Lipschitz.*Use PDHG"),
        (FISTA, counts, "Lipschitz.*Use PDHG"),
        (ADMM, counts, "PDHG treats its parts apart"),
        (FISTA, Problem(LeastSquares(f, A), Composed(L1(0.1), A)), "proximal map of R"),
        (PDHG, Problem(LeastSquares(f, A), Composed(L1(0.1), A)), "proximal map of R"),
    ):
        with pytest.raises(ValueError, match=words):
            method(problem)
    for method, problem in ((ADMM, frame), (PDHG, frame), (PDHG, total_variation), (PDHG, counts)):
        assert problem.solve(method, k=2, tol=None).k == 2


def test_admm_with_an_operator_that_is_not_tight_would_go_elsewhere() -> None:
    """Why it is refused: told that the gradient is tight, it comes to rest away from the minimum, or diverges."""
    f, K = measure("denoising")[1], Gradient()
    problem = Problem(LeastSquares(f), GroupL1(0.1), K)
    least, u = best(problem, PDHG, ratio=0.3)
    K.tight = True
    end = problem.solve(ADMM, k=1000, tol=1e-4, rho=0.1)
    assert end.stopped == "until"
    assert end.curves["objective"][-1] > 1.01 * least
    assert (end.u - u).abs().max() > 0.02
    with pytest.warns(StabilityWarning, match="ADMM has diverged"):
        assert problem.solve(ADMM, k=3000, rho=1.0).stopped == "diverged"


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        (ForwardBackward, {"step": 2.0}, r"ForwardBackward has step = 2, but it converges for step < 2/L = 2\."),
        (FISTA, {"step": 1.01}, r"FISTA has step = 1.01, but it converges for step <= 1/L = 1\."),
        (ADMM, {"delta": 1.7}, r"ADMM has delta = 1.7, but it converges for delta < \(1 \+ sqrt 5\)/2 = 1.618\."),
        (PDHG, {"tau": 1.0, "sigma": 1.1}, r"PDHG has tau sigma = 1.1, but .* tau sigma <= 1/\|K\|\^2 = 1\."),
    ],
    ids=str,
)
def test_a_step_beyond_the_bound_is_announced_with_the_bound(method: type, options: dict, words: str) -> None:
    with pytest.warns(StabilityWarning, match=words):
        method(example(), **options)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (ForwardBackward, {"step": 1.95}),
        (ForwardBackward, {}),
        (FISTA, {"step": 1.0}),
        (FISTA, {}),
        (ADMM, {"delta": 1.6}),
        (PDHG, {"tau": 0.5, "sigma": 2.0}),
        (PDHG, {"sigma": 4.0}),
        (PDHG, {"tau": 4.0}),
        (PDHG, {"ratio": 7.0}),
    ],
    ids=str,
)
def test_up_to_the_bound_there_is_silence_and_convergence(method: type, options: dict) -> None:
    problem = example()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = best(problem, method, **options)[0]
    assert value == pytest.approx(best(problem, ForwardBackward)[0], rel=1e-6)


@pytest.mark.filterwarnings("ignore::companion.StabilityWarning")
def test_forward_backward_diverges_beyond_two_over_the_lipschitz_constant() -> None:
    """On 1/2 |u - f|^2 a step multiplies the error by |1 - step L|, L = 1."""
    f = measure("denoising")[1]
    problem = Problem(LeastSquares(f), L1(0.0))
    for step, grows in ((1.98, False), (2.02, True)):
        end = run(ForwardBackward(problem, step=step), 2 * f, k=100)
        assert ((end.u - f).norm() > f.norm()) == grows
        torch.testing.assert_close((end.u - f).norm(), abs(1 - step) ** 100 * f.norm())


@pytest.mark.filterwarnings("ignore::companion.StabilityWarning")
def test_pdhg_diverges_beyond_four_thirds() -> None:
    """The theorem asks for tau sigma |K|^2 <= 1. On 1/2 |u - f|^2 + w/2 |D u|^2, w large, 4/3 is the limit."""
    f, K = measure("denoising")[1], Gradient()
    norm = float(K.norm(f))
    problem = Problem(LeastSquares(f), LeastSquares(0.0, weight=1e6), K)
    for product, grows in ((1.0, False), (1.3, False), (1.37, True), (2.0, True)):
        end = run(PDHG(problem, tau=0.1 / norm, sigma=product / (0.1 * norm)), f, k=500)
        assert (end.u.norm() > 1e3) == grows


@pytest.mark.filterwarnings("ignore::companion.StabilityWarning")
def test_fista_diverges_beyond_its_bound() -> None:
    """With gamma -> 1 the recursion for 1/2 u^2 is stable for step <= 4/3 only: less than the 2 of ForwardBackward."""
    f = measure("denoising")[1]
    problem = Problem(LeastSquares(f), L1(0.0))
    for step, grows in ((1.0, False), (1.5, True)):
        end = run(FISTA(problem, step=step), 2 * f, k=300)
        assert ((end.u - f).norm() > 1e3) == grows


@pytest.mark.filterwarnings("ignore:.*but it converges for:companion.StabilityWarning")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("tol", [1e-9, None])
@pytest.mark.parametrize(
    ("method", "options"), [(ForwardBackward, {"step": 4.0}), (FISTA, {"step": 2.0}), (ADMM, {"delta": 2.5})], ids=str
)
def test_a_solve_that_blows_up_is_announced(method: type, options: dict, tol: float | None, dtype: torch.dtype) -> None:
    """... by a warning, with the curves up to there, and not by an operator that meets infinity."""
    problem = example("deblurring", kappa=3.0).to(dtype)
    with pytest.warns(
        StabilityWarning, match=f"{method.__name__} has diverged: after .* steps its state has overflown"
    ):
        end = problem.solve(method, k=6000, tol=tol, **options)
    assert end.stopped == "diverged" and 5 < end.k < 6000
    assert end.curves["objective"][-1] > 1e20
    assert {len(curve) for curve in end.curves.values()} == {end.k + 1}


# ---- as maps for run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"), [(ForwardBackward, {}), (FISTA, {}), (ADMM, {"rho": 0.3}), (PDHG, {"ratio": 3.0})], ids=str
)
def test_a_batch_is_a_loop(method: type, options: dict) -> None:
    """With the same rho or ratio; the default one is chosen for the batch as a whole, and FISTA restarts as one."""
    problem = example("inpainting", 3)
    f = problem.E.data.f
    together = run(method(problem, **options), 0 * f, k=30)
    for i in range(3):
        alone = balanced(problem.E.data.A, f[i], HAAR, HAAR.weights(0.3), 1.0)
        torch.testing.assert_close(together.u[i], run(method(alone, **options), 0 * f[i], k=30).u, rtol=0, atol=1e-12)


@each_solver
def test_single_precision_stays_and_arrives(method: type) -> None:
    """Step sizes are those of double precision: the same minimum to six digits."""
    problem = example("deblurring")
    single = copy.deepcopy(problem).to(torch.float32)
    f = single.E.data.f
    assert f.dtype == torch.float32
    end = run(method(single), single.E.data.A.T(f), k=300)
    state = (end.x,) if isinstance(end.x, Tensor) else tuple(end.x)
    assert all(a.dtype == torch.float32 for a in state)
    least = best(problem, ForwardBackward)[0]
    assert float(problem(problem.encode(end.u.double()))) >= least * (1 - 1e-9)
    assert float(single(state[0])) == pytest.approx(least, rel=1e-4)


@each_solver
def test_gradients_flow_through_an_unrolled_run(method: type) -> None:
    """In the start, and in the weights when they are learned."""
    problem = example("deblurring")
    u0 = (0.3 * random(*SHAPE)).requires_grad_()
    solver = method(problem)
    assert torch.autograd.gradcheck(lambda u: run(solver, u, k=5).u, (u0,), fast_mode=True)
    lam = torch.nn.Parameter(problem.R.lam.clone())
    problem.R.lam = lam
    run(solver, u0.detach(), k=5).u.square().sum().backward()
    assert lam.grad is not None and lam.grad.isfinite().all() and lam.grad.abs().max() > 0


@each_solver
def test_nothing_of_the_callers_is_changed(method: type) -> None:
    problem = example()
    u0 = random(*SHAPE)
    before, buffers = u0.clone(), {name: b.clone() for name, b in problem.named_buffers()}
    run(method(problem), u0, k=3)
    assert torch.equal(u0, before)
    assert all(torch.equal(b, buffers[name]) for name, b in problem.named_buffers())


@each_solver
def test_the_picture_is_read_out_of_the_state(method: type) -> None:
    problem = example()
    solver = method(problem)
    u0 = random(*SHAPE)
    state = solver.start(u0)
    torch.testing.assert_close(solver.image(state), u0)
    end = run(solver, u0, k=2)
    x = end.x if isinstance(end.x, Tensor) else end.x[0]
    assert torch.equal(end.u, HAAR.T(x))
