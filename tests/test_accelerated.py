"""u^k = (I - mu A^T A) W~^T S((1 + gamma) W u^{k-1} - gamma W u^{k-2}) + mu A^T f, (4.7): the iteration, its bounds.

The iterations are written out with transforms and loops; stability is compared with the roots of characteristic
polynomials and the eigenvalues of dense matrices, speed with the laws of convex optimisation.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    Accelerated,
    Blur,
    Diffusion,
    Exponential,
    ForwardBackward,
    FrameGradient,
    FrameletTransform,
    GaussianNoise,
    HeavyBall,
    LinearOperator,
    Mask,
    PartialFourier,
    Rational,
    Shrinkage,
    Soft,
    StabilityWarning,
    accelerated_from,
    balanced,
    biorthogonal,
    bspline,
    cfl,
    fixed_point,
    friction,
    gaussian_kernel,
    haar_gradient,
    iterate,
    max_tau,
    momentum,
    nesterov,
    run,
    shrinkage_from,
    spline_gradient,
)
from companion.lab.images import camera

HAAR, LINEAR = FrameletTransform(bspline(1)), FrameletTransform(bspline(2), 2, boundary="reflect")
BLUR = Blur(gaussian_kernel(1.0, 2, 3))
MEASUREMENTS: dict[str, LinearOperator] = {
    "mask": Mask(torch.arange(120).reshape(10, 12) % 3 > 0),
    "blur": BLUR,
    "fourier": PartialFourier(torch.arange(120).reshape(10, 12) % 4 != 1),
}


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def soft(d: Tensor, lam: Tensor) -> Tensor:
    return d.sign() * (d.abs() - lam).clamp_min(0)


def after(step: Callable, u0: Tensor, k: int = 300) -> float:
    """|u^k| / |u^0|."""
    return float(run(step, u0, k=k).u.norm() / u0.norm())


def quietly(make: Callable, *arguments: object, **options: object):
    """A step beyond its bound, on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)
        return make(*arguments, **options)


# ---- the iteration ----------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.7)")
@pytest.mark.parametrize("name", MEASUREMENTS)
@pytest.mark.parametrize(
    "gamma", [None, 0.0, 0.7, 1.0, lambda k: 1 / (k + 1)], ids=["nesterov", "0", "0.7", "1", "rule"]
)
def test_the_formula_as_printed(name: str, gamma) -> None:
    """Two transforms and a sum of coefficients, as printed, and one transform of the extrapolated picture."""
    A, W, mu = MEASUREMENTS[name], LINEAR, 0.8
    f, lam, u0 = A(picture(10, 12)), LINEAR.weights(0.2), picture(10, 12)
    rule = (lambda k: (k - 1) / (k + 2)) if gamma is None else gamma if callable(gamma) else lambda k: gamma
    u = old = u0
    step = Accelerated(W, Soft(lam), A, f, mu, gamma)
    states = iterate(step, step.start(u0))
    next(states)
    for k in range(1, 12):
        g = rule(k - 1)
        w = W.T(soft((1 + g) * W(u) - g * W(old), lam))
        u, old = w - mu * A.T(A(w)) + mu * A.T(f), u
        torch.testing.assert_close(next(states).u, u, rtol=0, atol=1e-13)


@pytest.mark.paper("(4.7)")
def test_with_a_dual_frame_the_way_back_is_the_dual() -> None:
    bank, dual = biorthogonal(2, 2)
    W = FrameletTransform(bank, dual=dual)
    u, old = picture(8, 9), picture(8, 9)
    step = Accelerated(W, Soft(W.weights(0.1)), gamma=0.5)
    s = step.start(u)._replace(old=old)
    wanted = W.dual.T(soft(1.5 * W(u) - 0.5 * W(old), W.weights(0.1)))
    torch.testing.assert_close(step(s).u, wanted, rtol=0, atol=1e-13)


def test_without_momentum_it_is_shrinkage_and_forward_backward_splitting() -> None:
    u, lam = picture(10, 12), HAAR.weights(0.2)
    S = Soft(lam)
    torch.testing.assert_close(run(Accelerated(HAAR, S, gamma=0.0), u, k=9).u, run(Shrinkage(HAAR, S), u, k=9).u)
    f = BLUR(u)
    d = run(ForwardBackward(balanced(BLUR, f, HAAR, lam, 1.0), step=1.0), u, k=9).u
    one = Accelerated(HAAR, Soft(0 * lam), BLUR, f, 1.0, 0.0)  # the step towards the data alone
    start = run(one, u, k=1).u
    torch.testing.assert_close(
        run(Accelerated(HAAR, S, BLUR, f, 1.0, 0.0), start, k=9).u, run(one, d, k=1).u, rtol=0, atol=1e-12
    )


def test_the_clock_starts_at_rest_and_the_rule_is_asked_in_order() -> None:
    asked = []

    def rule(k: Tensor) -> float:
        asked.append(float(k))
        return 0.5

    step = Accelerated(HAAR, Soft(HAAR.weights(0.1)), gamma=rule)
    u = picture(6, 6)
    s = step.start(u)
    assert torch.equal(s.u, u) and torch.equal(s.old, u) and float(s.k) == 0
    end = run(step, u, k=5)
    assert asked == [0, 1, 2, 3, 4] and float(end.x.k) == 5 and torch.equal(end.u, end.x.u)
    assert [nesterov(k) for k in range(5)] == [-1 / 2, 0, 1 / 4, 2 / 5, 1 / 2]


def test_the_clock_is_no_part_of_what_must_come_to_rest() -> None:
    step = Accelerated(HAAR, Soft(HAAR.weights(0.05)), BLUR, BLUR(picture(10, 12)), 1.0)
    end = run(step, picture(10, 12), k=5000, until=fixed_point(1e-9))
    assert end.stopped == "until"
    u = step.start(end.u)
    assert (step(u).u - end.u).norm() < 1e-7 * end.u.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_types_and_gradients(dtype: torch.dtype) -> None:
    u, f = picture(3, 10, 12).to(dtype), BLUR(picture(3, 10, 12)).to(dtype)
    step = Accelerated(HAAR, Soft(HAAR.weights(0.1)), BLUR, f, 0.9)
    end = run(step, u, k=6).u
    assert end.dtype == dtype
    for i in range(3):
        alone = run(Accelerated(HAAR, Soft(HAAR.weights(0.1)), BLUR, f[i], 0.9), u[i], k=6).u
        torch.testing.assert_close(end[i], alone)
    F = Diffusion(Exponential(1.0), haar_gradient())
    ball = HeavyBall(F, 0.3, 0.8)
    torch.testing.assert_close(run(ball, u, k=6).u[1], run(ball, u[1], k=6).u)
    for map_ in (step, ball):
        v = u.clone().requires_grad_()
        run(map_, v, k=4).u.square().sum().backward()
        direction, e = picture(3, 10, 12).to(dtype), 1e-3 if dtype == torch.float32 else 1e-6
        slope = [float(run(map_, u + s * e * direction, k=4).u.square().sum()) for s in (1, -1)]
        assert float((v.grad * direction).sum()) == pytest.approx((slope[0] - slope[1]) / (2 * e), rel=2e-2)


def test_restart_stops_the_ball_where_it_rolls_uphill() -> None:
    """Written out: after a step with <v - u, u - old> > 0 the last picture counts twice and the clock is at 1."""
    u0, lam = picture(10, 12), HAAR.weights(0.02)
    f = BLUR(picture(10, 12))
    step = Accelerated(HAAR, Soft(lam), BLUR, f, 1.0, restart=True)
    states, restarts = iterate(step, step.start(u0)), 0
    next(states)
    u, old, k = u0, u0, 0
    for _ in range(80):
        v = u + (k - 1) / (k + 2) * (u - old)
        w = HAAR.T(soft(HAAR(v), lam))
        new = w - BLUR.T(BLUR(w) - f)
        uphill = float(((v - new) * (new - u)).sum()) > 0
        u, old, k = new, new if uphill else u, 1 if uphill else k + 1
        restarts += uphill
        torch.testing.assert_close(next(states).u, u, rtol=0, atol=1e-11)
    assert restarts >= 2


@pytest.mark.paper("(4.8)")
def test_the_heavy_ball_by_hand() -> None:
    F, tau, gamma = Diffusion(Rational(1.0, 1.0), haar_gradient(0.5)), 0.2, 0.6
    u = old = u0 = picture(7, 8)
    for _ in range(10):
        u, old = u + gamma * (u - old) + tau**2 * F(u), u
    torch.testing.assert_close(run(HeavyBall(F, tau, gamma), u0, k=10).u, u, rtol=0, atol=1e-13)


# ---- the dictionary ---------------------------------------------------------------------------------------------


def haar_force(u: Tensor, g: Callable[[Tensor], Tensor], h: float) -> Tensor:
    """div(g(|grad u|^2) grad u) on the torus, on the cells between the pixels, by shifts alone."""
    side = [(torch.roll(u, -1, axis) - u) / h for axis in (0, 1)]
    grad = [(p + torch.roll(p, -1, 1 - axis)) / 2 for axis, p in enumerate(side)]
    flux = [g(grad[0] ** 2 + grad[1] ** 2) * p for p in grad]
    back = [(p + torch.roll(p, 1, 1 - axis)) / 2 for axis, p in enumerate(flux)]
    return sum((p - torch.roll(p, 1, axis)) / h for axis, p in enumerate(back))


@pytest.mark.paper("(4.7)", "(4.8)")
@pytest.mark.parametrize("C", [0.0, 2.0, None])
def test_a_step_made_from_the_equation(C: float | None) -> None:
    """u^k = (I - kappa tau^2 A^T A)(v + tau^2 div(g grad v)) + kappa tau^2 A^T f, v by 1 - C tau or (k-1)/(k+2)."""
    g, h, tau, kappa = Rational(1.5, 1.0), 0.5, 0.15, 3.0
    u = old = u0 = picture(10, 12)
    f = BLUR(picture(10, 12))
    step = accelerated_from(g, HAAR, tau, C, h, BLUR, f, kappa)
    for k in range(8):
        v = u + ((k - 1) / (k + 2) if C is None else 1 - C * tau) * (u - old)
        w = v + tau**2 * haar_force(v, g, h)
        u, old = w - kappa * tau**2 * (BLUR.T(BLUR(w)) - BLUR.T(f)), u
    torch.testing.assert_close(run(step, u0, k=8).u, u, rtol=0, atol=1e-12)
    S = shrinkage_from(g, HAAR, tau**2, h)
    torch.testing.assert_close(step.shrink.S(HAAR(u)), S(HAAR(u)), rtol=0, atol=1e-14)


def test_momentum_is_friction() -> None:
    for C, tau in ((0.0, 0.1), (3.0, 0.1), (10.0, 0.1)):
        assert friction(momentum(C, tau), tau) == pytest.approx(C, abs=1e-12)
        assert momentum(C, tau) == pytest.approx(1 - C * tau)
    tau = 1e-4
    for t in (0.5, 2.0):
        assert friction(nesterov(round(t / tau)), tau) == pytest.approx(3 / t, rel=1e-3)


# ---- stability --------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.7)")
def test_the_roots_leave_the_disc_exactly_at_cfl() -> None:
    """z^2 - a (1 + gamma) z + a gamma, a = 1 - level: numpy's roots on a grid of both, and just beside the bound."""
    for gamma in np.linspace(0, 1, 21):
        levels = np.append(np.linspace(0, 2.2, 45), [cfl(gamma) - 1e-6, cfl(gamma) + 1e-6])
        for level in levels:
            a = 1 - level
            largest = max(abs(np.roots([1, -a * (1 + gamma), a * gamma])))
            if abs(level - cfl(gamma)) > 1e-9:
                assert (largest <= 1 + 1e-7 * (level == 0)) == (level < cfl(gamma)), (gamma, level)


@pytest.mark.parametrize("C", [0.0, 0.5, 2.0, 5.0, 9.0, 20.0])
@pytest.mark.parametrize("frame", [haar_gradient, spline_gradient])
def test_the_largest_time_step_by_brute_force(frame, C: float) -> None:
    """The largest tau of 4000 on (0, 1/C] for which no root of any mode of a 64 x 64 grid leaves the disc."""
    h = 0.25
    grad = frame(h, boundary="periodic")
    w2 = np.unique(grad.spectrum((64, 64)).numpy().round(9))
    tau = np.linspace(0, min(3 * h, 1 / C if C else 3 * h), 4001)[1:, None]
    gamma, a = 1 - C * tau, 1 - tau**2 * w2
    disc = np.sqrt((a * (1 + gamma)) ** 2 - 4 * a * gamma + 0j)
    radius = np.maximum(abs(a * (1 + gamma) + disc), abs(a * (1 + gamma) - disc)).max(1) / 2
    assert max_tau(grad.bound, C) == pytest.approx(tau[radius <= 1 + 1e-7].max(), rel=2e-3)


@pytest.mark.paper("(4.7)", "(4.8)")
@pytest.mark.parametrize(("order", "limit"), [(1, 1 / math.sqrt(3)), (2, 2 / math.sqrt(3))], ids=["haar", "linear"])
def test_the_bound_of_small_friction_is_sharp(order: int, limit: float) -> None:
    """0.57 h holds and 0.585 h blows up for Haar; linear splines are twice as patient."""
    h, W, u = 1 / 32, FrameletTransform(bspline(order)), picture(32, 32)
    assert max_tau(FrameGradient(bspline(order), h=h).bound) == pytest.approx(limit * h, rel=1e-6)
    factor = limit * math.sqrt(3) * h
    assert after(accelerated_from(torch.ones_like, W, 0.57 * factor, 1e-3, h), u) < 1
    with pytest.warns(StabilityWarning, match=r"stable for tau <= "):
        step = accelerated_from(torch.ones_like, W, 0.585 * factor, 1e-3, h)
    assert after(step, u) > 1e6


def test_friction_raises_the_bound() -> None:
    h, C, u = 1 / 16, 20.0, picture(16, 16)
    tau = max_tau(4 / h**2, C)
    assert tau > 1.1 * h / math.sqrt(3)
    assert after(accelerated_from(torch.ones_like, HAAR, 0.998 * tau, C, h), u) < 1
    assert after(quietly(accelerated_from, torch.ones_like, HAAR, 1.02 * tau, C, h), u) > 1e3


@pytest.mark.paper("(4.8)")
def test_the_heavy_ball_rolls_up_to_h() -> None:
    h, u = 1 / 32, picture(32, 32)
    F = Diffusion(torch.ones_like, haar_gradient(h, boundary="periodic"))
    assert after(HeavyBall(F, 0.99 * h, 1.0), u) < 10
    with pytest.warns(StabilityWarning, match=r"stable for tau <= 0\.03125"):
        step = HeavyBall(F, 1.01 * h, 1.0)
    assert after(step, u) > 1e6
    for gamma in (0.0, 0.5):
        edge = math.sqrt((1 + gamma) / 2) * h
        assert after(HeavyBall(F, 0.99 * edge, gamma), u) < 1
        assert after(quietly(HeavyBall, F, 1.01 * edge, gamma), u) > 1e2


@pytest.mark.parametrize("A", [Mask(torch.arange(30).reshape(5, 6) % 3 > 0), Blur(gaussian_kernel(0.8, 2, 2))])
def test_data_do_not_tighten_the_bound(A: LinearOperator) -> None:
    """Dense matrices: with mu |A|^2 <= 1 and the largest stable level the roots stay in the disc, A commuting or not.

    A larger mu does not: mu = 1.4 is beyond cfl(1) = 4/3, and a constant, which nothing shrinks, takes off.
    """
    basis = torch.eye(30, dtype=torch.float64).reshape(30, 5, 6)
    for gamma in (0.3, 1.0):
        for mu in (0.4, 1.0):
            S = shrinkage_from(torch.ones_like, HAAR, cfl(gamma) / 4)
            step = Accelerated(HAAR, S, A, A(basis[0]) * 0, mu, gamma)
            T = run(Accelerated(HAAR, S, A, A(basis[0]) * 0, mu, 0.0), basis, k=1).u.reshape(30, 30).T
            two = torch.cat([torch.cat([(1 + gamma) * T, -gamma * T], 1), torch.eye(30, 60, dtype=torch.float64)])
            assert torch.linalg.eigvals(two).abs().max() <= 1 + 1e-6
            x = torch.cat([basis[3].flatten(), basis[7].flatten()])
            s = step(step.start(basis[3])._replace(old=basis[7]))
            torch.testing.assert_close((two @ x)[:30], s.u.flatten(), rtol=0, atol=1e-13)
    with pytest.warns(StabilityWarning, match=r"mu = 1\.4, but \(4\.7\) is stable for mu <= 1/\|A\|\^2 = 1"):
        step = Accelerated(HAAR, Soft(HAAR.weights(0.1)), A, A(basis[0]) * 0, 1.4, 1.0)
    assert after(step, torch.ones(5, 6, dtype=torch.float64), 100) > 10


# ---- speed ------------------------------------------------------------------------------------------------------

CONDITIONS = [10 ** (j / 2) for j in range(3, 10)]  # three decades, from 32 to 32000


def steps(step: Callable, u0: Tensor, minimiser: Tensor, *tolerances: float) -> list[int]:
    """After how many steps |u^k - u*| <= tol |u^0 - u*|, for decreasing tolerances."""
    found: list[int] = []
    state = step.start(u0) if hasattr(step, "start") else u0
    size = float((u0 - minimiser).norm())
    for k in range(200_000):
        u = state if isinstance(state, Tensor) else state.u
        while len(found) < len(tolerances) and float((u - minimiser).norm()) <= tolerances[len(found)] * size:
            found.append(k)
        if len(found) == len(tolerances):
            return found
        state = step(state)
    raise AssertionError("no convergence")


def slope(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def test_the_square_root_law_on_quadratics() -> None:
    """E(u) = sum d u^2 / 2 with 1/kappa <= d <= 1. Steps for a factor of 100, between 1e-4 and 1e-6: like kappa for the
    best gradient descent, like kappa^{1/2} for the best heavy ball and for Nesterov's constant momentum.

    Counted from the start, the heavy ball's slope is larger: at a double root errors fall like k gamma^{k/2}.
    """
    counts: dict[str, list[float]] = {"descent": [], "ball": [], "nesterov": []}
    for kappa in CONDITIONS:
        d = torch.logspace(-math.log10(kappa), 0, 40, dtype=torch.float64)
        q, u0 = math.sqrt(kappa), torch.ones(40, dtype=torch.float64)
        zero, gamma = 0 * u0, (q - 1) / (q + 1)
        ball = HeavyBall(lambda u, d=d: -d * u, 2 / (1 + 1 / q), gamma**2)
        rule = lambda s, d=d, g=gamma: s._replace(u=(1 - d) * ((1 + g) * s.u - g * s.old), old=s.u)  # noqa: E731
        rule.start = ball.start  # type: ignore[attr-defined]
        descent = math.log(0.01) / math.log((kappa - 1) / (kappa + 1))
        counts["descent"].append(descent)
        for name, step in (("ball", ball), ("nesterov", rule)):
            first, second = steps(step, u0, zero, 1e-4, 1e-6)
            counts[name].append(second - first)
        if kappa == 100:
            measured = steps(lambda u, d=d: u - 2 / 1.01 * d * u, u0, zero, 1e-4, 1e-6)
            assert measured[1] - measured[0] == pytest.approx(descent, abs=2)
    assert slope(CONDITIONS, counts["descent"]) == pytest.approx(1, abs=0.03)
    assert slope(CONDITIONS, counts["ball"]) == pytest.approx(0.5, abs=0.03)
    assert slope(CONDITIONS, counts["nesterov"]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.paper("(4.7)")
def test_the_square_root_law_for_deblurring() -> None:
    """(4.7) for a signal with linear splines, a blur, mu = 1 and one level on all high bands: a convex quadratic, whose
    kappa follows from the symbols of the three; gamma = (kappa^{1/2} - 1)/(kappa^{1/2} + 1) against gamma = 0.
    """
    W, A, n = FrameletTransform(bspline(2), dim=1), Blur(gaussian_kernel(1.5, 1, 6)), 64
    point = torch.zeros(n, dtype=torch.float64)
    point[0] = 1
    high, blur = (torch.fft.fft(x).abs().square() for x in (W(point)[1:], A(point)))
    f = A(picture(n))
    kappas, plain, fast = [], [], []
    for level in np.logspace(-0.8, -3.9, 5):
        a = (1 - blur) * (1 - level * high.sum(0))
        kappa = 1 / (1 - a).min()
        shrink = lambda d, level=level: torch.cat([d[:1], (1 - level) * d[1:]])  # noqa: E731
        q = math.sqrt(kappa)
        minimiser = torch.fft.ifft(torch.fft.fft(A.T(f)) / (1 - a)).real
        step = Accelerated(W, shrink, A, f, 1.0, (q - 1) / (q + 1))
        torch.testing.assert_close(step(step.start(minimiser)).u, minimiser, rtol=0, atol=1e-9 * float(kappa))
        first, second = steps(step, 0 * f, minimiser, 1e-4, 1e-6)
        kappas.append(float(kappa))
        fast.append(second - first)
        if kappa < 600:
            first, second = steps(Accelerated(W, shrink, A, f, 1.0, 0.0), 0 * f, minimiser, 1e-2, 1e-4)
            plain.append(second - first)
    assert kappas[-1] / kappas[0] > 300 and kappas[-1] > 5000
    assert slope(kappas, fast) == pytest.approx(0.5, abs=0.03)
    assert slope(kappas[: len(plain)], plain) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("gamma", "radius"),
    [(-0.3, 0.9895), (0.0, 0.9802), (0.5, 0.9363), (0.67, 0.8185), ((9 / 11) ** 2, 0.8182), (0.8, 0.8944)],
)
def test_the_best_step_for_a_momentum(gamma: float, radius: float) -> None:
    """kappa = 100: the least spectral radius over all steps s of z^2 - (1 + gamma - s d) z + gamma, d = 0.01 and 1."""
    s = np.linspace(0.5, 2 * (1 + gamma), 40_001)
    worst = np.zeros_like(s)
    for d in (0.01, 1.0):
        b = 1 + gamma - s * d
        root = np.sqrt(b * b - 4 * gamma + 0j)
        worst = np.maximum(worst, np.maximum(abs(b + root), abs(b - root)) / 2)
    assert worst.min() == pytest.approx(radius, abs=5e-4)  # at a double root the minimum is a cusp
    if gamma == (9 / 11) ** 2:
        assert s[worst.argmin()] == pytest.approx((2 / 1.1) ** 2, abs=1e-3)
        d = torch.tensor([0.01, 1.0], dtype=torch.float64)
        ball = HeavyBall(lambda u: -d * u, 2 / 1.1, gamma)
        first, second = (run(ball, torch.ones_like(d), k=k).u.norm() for k in (40, 80))
        assert float(second / first) ** (1 / 40) == pytest.approx(radius, abs=0.02)


@pytest.mark.paper("(4.7)")
def test_a_real_picture_is_deblurred_in_fewer_steps() -> None:
    """The photograph at 64 x 64 pixels, blurred and noisy, with linear splines: the objective of (2.4), kappa = 1, at
    d = S(W u^k). Without momentum it falls at every step; with Nesterov's it does not, and is there many times sooner.
    """
    u = camera(64).double()
    A, W = Blur(gaussian_kernel(1.5, 2, 7)), FrameletTransform(bspline(2))
    f = GaussianNoise(0.01, seed=1)(A(u))
    S = Soft(W.weights(5e-4))
    problem = balanced(A, f, W, W.weights(5e-4), 1.0)

    def curve(k: int, gamma: float | None, restart: bool = False) -> Tensor:
        step = Accelerated(W, S, A, f, 1.0, gamma, restart)
        with torch.no_grad():
            return run(step, f, k=k, record={"E": lambda u: problem(S(W(u)))}).curves["E"]

    fast = {"constant": curve(60, 0.95), "nesterov": curve(120, None), "restart": curve(150, None, restart=True)}
    least = min(float(E.min()) for E in fast.values())
    first = {name: int(((1 + 1e-3) * least - E >= 0).nonzero()[0]) for name, E in fast.items()}
    slow = curve(3 * max(first.values()), 0.0)
    assert float(slow[-1]) > (1 + 1e-3) * least
    uphill = {name: int((E.diff() > 1e-12 * least).sum()) for name, E in {"plain": slow, **fast}.items()}
    assert uphill["plain"] == 0 and uphill["nesterov"] > 3 and uphill["restart"] <= 1, uphill
