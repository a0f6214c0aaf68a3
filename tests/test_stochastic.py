"""Noise in the steps: expectations summed up exactly over all gates, exact laws, paths with one Brownian motion."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from companion import SDE, DropoutEuler, Euler, EulerMaruyama, GatedEuler, ShakeShake, run

f64 = torch.float64


def wave(u: Tensor) -> Tensor:
    return torch.sin(u)


def fall(u: Tensor) -> Tensor:
    return -u


# ---- Euler and Maruyama -----------------------------------------------------------------------------------------


def test_one_step_by_its_formula(rng: torch.Generator) -> None:
    u, xi = torch.randn(4, 3, dtype=f64), torch.randn(4, 3, dtype=f64)
    step = EulerMaruyama(torch.sin, torch.cos, 0.25, rng)
    torch.testing.assert_close(step.step(u, xi), u + 0.25 * torch.sin(u) + 0.5 * torch.cos(u) * xi)
    same = torch.Generator().manual_seed(0)
    expected = step.step(u, torch.randn(4, 3, generator=same, dtype=f64))
    torch.testing.assert_close(step(u), expected, rtol=0, atol=0)


def test_time_and_matrices(rng: torch.Generator) -> None:
    """G(u, t) with two Brownian motions for three unknowns."""
    B = torch.randn(3, 2, dtype=f64)
    step = EulerMaruyama(
        lambda u, t: t * u, lambda u, t: t * B.expand(*u.shape[:-1], 3, 2), 0.04, rng, t=2.0, matrix=True
    )
    u, xi = torch.randn(5, 3, dtype=f64), torch.randn(5, 2, dtype=f64)
    torch.testing.assert_close(step.step(u, xi), u + 0.08 * u + 0.2 * 2.0 * xi @ B.T)
    assert step(u).shape == (5, 3)
    many = step(torch.zeros(200_000, 3, dtype=f64))
    torch.testing.assert_close(many.T.cov(), 0.16 * B @ B.T, rtol=0, atol=0.01)


def paths(F: Callable, G: Callable, dB: Tensor, T: float, k: int) -> Tensor:
    """X_T from 1 in k steps, with the increments dB of one Brownian motion, shape (finest, samples), summed."""
    dt, X = T / k, torch.ones(dB.shape[1], dtype=f64)
    for inc in dB.reshape(k, -1, dB.shape[1]).sum(1):
        X = EulerMaruyama(F, G, dt).step(X, inc / math.sqrt(dt))
    return X


def test_the_strong_order_is_one_half(rng: torch.Generator) -> None:
    """dX = X/2 dt + 0.8 X dB, X_T = exp((1/2 - 0.32) T + 0.8 B_T): the root of the mean square, on the same paths."""
    T, a, b, n = 1.0, 0.5, 0.8, 256
    dB = torch.randn(n, 20_000, generator=rng, dtype=f64) * math.sqrt(T / n)
    end = torch.exp((a - b**2 / 2) * T + b * dB.sum(0))
    counts = (8, 16, 32, 64, 128, 256)
    errors = [float((paths(lambda x: a * x, lambda x: b * x, dB, T, k) - end).square().mean().sqrt()) for k in counts]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.05), errors


def test_with_constant_noise_the_strong_order_is_1(rng: torch.Generator) -> None:
    """dX = sin X dt + dB/2: differences of successive step sizes on the same paths."""
    dB = torch.randn(512, 4000, generator=rng, dtype=f64) * math.sqrt(1 / 512)
    ends = [paths(torch.sin, lambda x: 0.5 * torch.ones_like(x), dB, 1.0, k) for k in (32, 64, 128, 256, 512)]
    gaps = [float((a - b).square().mean().sqrt()) for a, b in itertools.pairwise(ends)]
    slope = -np.polyfit(np.log([1, 2, 4, 8]), np.log(gaps), 1)[0]
    assert slope == pytest.approx(1, abs=0.1), gaps


def test_the_weak_order_is_1() -> None:
    """E X_T^m, m = 1, 2, 3, for dX = a X dt + b X dB: by the recursion that one step gives, without any sample."""
    a, b, T = -0.7, 0.6, 1.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    xi, w = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    for m in (1, 2, 3):
        exact = math.exp(m * a * T + m * (m - 1) / 2 * b**2 * T)
        errors = []
        for k in (40, 80):
            factors = EulerMaruyama(lambda x: a * x, lambda x: b * x, T / k).step(torch.ones(8, dtype=f64), xi)
            errors.append(abs(float((w * factors**m).sum()) ** k - exact))
        assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


def test_a_seed_repeats_the_noise_and_gradients_flow() -> None:
    make = lambda: EulerMaruyama(torch.sin, torch.cos, 0.1, torch.Generator().manual_seed(3))  # noqa: E731
    u = torch.randn(4, dtype=f64, requires_grad=True)
    first, second = run(make(), u, k=5).u, run(make(), u, k=5).u
    assert torch.equal(first, second) and not torch.equal(first, run(make(), u, k=6).u)
    assert torch.autograd.gradcheck(lambda v: run(make(), v, k=3).u, (u,))
    assert make()(torch.zeros(3)).dtype == torch.float32


# ---- gates ------------------------------------------------------------------------------------------------------


def test_a_gate_is_there_or_not(rng: torch.Generator) -> None:
    """One gate for each entry of the leading axis; the frequency is p."""
    step, u = GatedEuler(torch.ones_like, 0.5, 0.3, generator=rng), torch.zeros(20_000, 2, 3)
    moved = step(u)
    assert torch.equal(moved, moved[:, :1, :1].expand_as(moved)) and set(moved.unique().tolist()) == {0.0, 0.5}
    assert float((moved[:, 0, 0] > 0).float().mean()) == pytest.approx(0.3, abs=0.015)
    assert torch.equal(GatedEuler(fall, 0.5, 1.0)(u + 1), Euler(fall, 0.5)(u + 1))
    assert torch.equal(GatedEuler(fall, 0.5, 0.0)(u + 1), u + 1)
    assert GatedEuler(fall, 0.5, 0.5)(torch.tensor(1.0)).shape == ()


def test_a_scaled_gate_by_its_formula() -> None:
    u, p, dt = torch.randn(3, dtype=f64), 0.3, 0.04
    step = GatedEuler(wave, dt, p, scaled=True)
    for eta in (0.0, 1.0):
        expected = u + dt * p * torch.sin(u) + 0.2 * (eta - p) * torch.sin(u)
        torch.testing.assert_close(step.step(u, eta), expected)
        torch.testing.assert_close(GatedEuler(wave, dt, p).step(u, eta), u + dt * eta * torch.sin(u))


def test_shake_shake_by_its_formula(rng: torch.Generator) -> None:
    u, dt = torch.randn(3, dtype=f64), 0.04
    for eta in (0.0, 0.3, 1.0):
        mixed = u + dt * (eta * torch.sin(u) - (1 - eta) * u)
        torch.testing.assert_close(ShakeShake(wave, fall, dt).step(u, eta), mixed)
        scaled = u + dt / 2 * (torch.sin(u) - u) + 0.2 * (eta - 0.5) * (torch.sin(u) + u)
        torch.testing.assert_close(ShakeShake(wave, fall, dt, scaled=True).step(u, eta), scaled)
    many = ShakeShake(torch.ones_like, torch.zeros_like, 1.0, generator=rng)(torch.zeros(20_000))
    assert float(many.mean()) == pytest.approx(0.5, abs=0.01) and float(many.var()) == pytest.approx(1 / 12, abs=0.003)


@pytest.mark.parametrize("scaled", [False, True])
def test_in_evaluation_the_mean_is_taken(scaled: bool) -> None:
    u = torch.randn(4, 3, dtype=f64)
    gated = GatedEuler(wave, 0.1, 0.3, scaled).eval()
    torch.testing.assert_close(gated(u), u + 0.1 * 0.3 * torch.sin(u))
    shaken = ShakeShake(wave, fall, 0.1, scaled).eval()
    torch.testing.assert_close(shaken(u), u + 0.05 * (torch.sin(u) - u))
    assert not torch.equal(gated.train()(u), gated.eval()(u))


def moments(step: Callable, etas: Tensor, weights: Tensor, k: int) -> tuple[float, float]:
    """E X_T and Var X_T of a linear step from 1: the k-th powers of the first two moments of one factor."""
    factors = torch.stack([step(torch.ones((), dtype=f64), eta) for eta in etas])
    first, second = float((weights * factors).sum()), float((weights * factors**2).sum())
    return first**k, second**k - first ** (2 * k)


def test_the_variance_of_a_plain_gate_goes_and_that_of_a_scaled_one_stays() -> None:
    """E21, F = -u, p = 1/2, T = 1: exact moments. Plain 0.0101, 0.0023, 0.0006 -> 0; scaled 0.1126, 0.1064, 0.1050 ->
    e^{-3/4} - e^{-1} = 0.1045, which is the variance of dX = -X/2 dt + X/2 dB.
    """
    etas, w = torch.tensor([0.0, 1.0], dtype=f64), torch.tensor([0.5, 0.5], dtype=f64)
    found = {
        scaled: [moments(GatedEuler(fall, 1 / k, 0.5, scaled).step, etas, w, k)[1] for k in (10, 40, 160)]
        for scaled in (False, True)
    }
    assert found[False] == pytest.approx([0.0101, 0.0023, 0.0006], abs=6e-5)
    assert found[True] == pytest.approx([0.1126, 0.1064, 0.1050], abs=6e-5)
    limit = math.exp(-0.75) - math.exp(-1)
    assert limit == pytest.approx(0.1045, abs=5e-5)
    assert np.log2(found[False][1] / found[False][2]) / 2 == pytest.approx(1, abs=0.02)
    gap = np.array(found[True]) - limit
    assert np.log2(gap[1] / gap[2]) / 2 == pytest.approx(1, abs=0.02)


def enumerated(step: Callable, phi: Callable, u0: float, k: int, p: float) -> float:
    """E phi(X_T) over all 2^k sequences of gates."""
    X, w = torch.tensor([u0], dtype=f64), torch.ones(1, dtype=f64)
    for _ in range(k):
        X, w = torch.cat([step(X, 0.0), step(X, 1.0)]), torch.cat([w * (1 - p), w * p])
    return float((w * phi(X)).sum())


N = 40
NODES = np.cos(np.pi * np.arange(N + 1) / N)  # Chebyshev's, on [-1, 1] for [0, pi], which sin maps into itself
SIGNS = np.hstack([0.5, np.ones(N - 1), 0.5]) * (-1.0) ** np.arange(N + 1)


def nodes() -> np.ndarray:
    return (NODES + 1) * np.pi / 2


def interpolate(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The polynomial through the values v at the nodes, at x: the barycentric formula."""
    gap = x[:, None] - nodes()
    hit = np.abs(gap) < 1e-14
    w = np.where(hit.any(1, keepdims=True), hit, SIGNS / np.where(hit, 1, gap))
    return w @ v / w.sum(1)


def backward(drift: Callable, diffusion: Callable, phi: Callable, u0: float, T: float) -> float:
    """E phi(X_T) by Kolmogorov's equation v_t = drift v' + diffusion^2/2 v'' on [0, pi], where both vanish at the ends:
    Chebyshev collocation, no boundary condition is needed.
    """
    gap = NODES[:, None] - NODES + np.eye(N + 1)
    D = np.outer(1 / SIGNS, SIGNS) / gap
    np.fill_diagonal(D, 0)
    np.fill_diagonal(D, -D.sum(1))
    D, x = D * 2 / np.pi, nodes()
    L = np.diag(drift(x)) @ D + np.diag(diffusion(x) ** 2 / 2) @ D @ D
    return float(interpolate(expm(T * L) @ phi(x), np.array([u0]))[0])


def expected(step: Callable, phi: Callable, u0: float, k: int, p: float) -> float:
    """E phi(X_k) backwards, v(u) <- p v(step(u, 1)) + (1 - p) v(step(u, 0)), with v interpolated: no sample."""
    x = torch.from_numpy(nodes())
    there, not_there = (np.clip(step(x, eta).numpy(), 0, np.pi) for eta in (1.0, 0.0))
    v = phi(nodes())
    for _ in range(k):
        v = p * interpolate(v, there) + (1 - p) * interpolate(v, not_there)
    return float(interpolate(v, np.array([u0]))[0])


def test_the_two_ways_to_an_expectation_agree_with_known_answers() -> None:
    """Without noise tan(X_T/2) = tan(u_0/2) e^{pT}; in 10 steps all 2^10 sequences of gates."""
    p, u0 = 0.6, 1.1
    still = backward(lambda x: p * np.sin(x), lambda x: 0 * x, np.cos, u0, 1.0)
    assert still == pytest.approx(math.cos(2 * math.atan(math.tan(u0 / 2) * math.exp(p))), abs=1e-9)
    step = GatedEuler(wave, 0.1, p, scaled=True).step
    assert expected(step, np.cos, u0, 10, p) == pytest.approx(enumerated(step, torch.cos, u0, 10, p), abs=1e-9)


@pytest.mark.parametrize("p", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("phi", [np.cos, np.square])
def test_a_scaled_gate_has_the_weak_order_1_if_it_is_symmetric_and_else_one_half(phi: Callable, p: float) -> None:
    """F = sin: the error of E phi(X_1), exactly, against the limit SDE by Kolmogorov's equation. The third moment of
    eta - p, p (1-p)(1-2p), is what a normal increment does not have.
    """
    drift, diffusion = GatedEuler(wave, 1.0, p, scaled=True).limit_sde()
    exact = backward(*(lambda x, f=f: f(torch.from_numpy(x)).numpy() for f in (drift, diffusion)), phi, 1.1, 1.0)
    counts = (128, 256, 512)
    errors = [abs(expected(GatedEuler(wave, 1 / k, p, scaled=True).step, phi, 1.1, k, p) - exact) for k in counts]
    order = 1 if p == 0.5 else 0.5
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.1) and errors[2] < 1e-3, errors


def test_a_plain_gate_tends_to_its_ode_at_the_rate_1() -> None:
    p, exact = 0.7, math.cos(2 * math.atan(math.tan(0.55) * math.exp(0.7)))
    errors = [abs(enumerated(GatedEuler(wave, 1 / k, p).step, torch.cos, 1.1, k, p) - exact) for k in (4, 8, 16)]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.15)
    wrong = backward(lambda x: p * np.sin(x), lambda x: math.sqrt(p * (1 - p)) * np.sin(x), np.cos, 1.1, 1.0)  # scaled
    assert abs(wrong - exact) > 3 * errors[2]


@pytest.mark.parametrize("scaled", [False, True])
def test_shake_shake_tends_to_its_limit_at_the_rate_1(scaled: bool) -> None:
    """F_1 = -u, F_2 = u/2: E X^m, m = 1, 2, 3, by Gauss's rule for eta, against the moments of the linear SDE."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    etas, w = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
    half = lambda u: u / 2  # noqa: E731
    drift, diffusion = (float(f(torch.ones((), dtype=f64))) for f in ShakeShake(fall, half, 1.0, scaled).limit_sde())
    assert drift == -0.25 and diffusion == pytest.approx(-1.5 / math.sqrt(12) if scaled else 0)
    for m in (1, 2, 3):
        exact = math.exp(m * drift + m * (m - 1) / 2 * diffusion**2)
        errors = []
        for k in (40, 80):
            factors = torch.stack(
                [ShakeShake(fall, half, 1 / k, scaled).step(torch.ones((), dtype=f64), e) for e in etas]
            )
            errors.append(abs(float((w * factors**m).sum()) ** k - exact))
        assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


MIX = torch.tensor([[-0.5, 0.8, 0.0], [-0.3, -0.2, 0.4], [0.6, 0.0, -0.7]], dtype=f64)


def test_dropout_has_a_gate_for_each_entry(rng: torch.Generator) -> None:
    """The frequency of every entry is p, and no two gates of a sample are alike more often than chance has it."""
    gates = DropoutEuler(torch.ones_like, 1.0, 0.3, generator=rng)(torch.zeros(20_000, 2, 2)).flatten(1)
    assert set(gates.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(gates.mean(0), torch.full((4,), 0.3), rtol=0, atol=0.015)
    torch.testing.assert_close(gates.T.corrcoef(), torch.eye(4), rtol=0, atol=0.03)
    u = torch.randn(5, 3, dtype=f64)
    torch.testing.assert_close(DropoutEuler(wave, 0.1, 0.3).eval()(u), u + 0.03 * torch.sin(u))
    assert torch.equal(DropoutEuler(fall, 0.5, 1.0)(u), Euler(fall, 0.5)(u))


def test_dropout_is_torchs_for_a_multiple_of_the_field() -> None:
    """With the gates that torch has drawn."""
    u = torch.randn(400, dtype=f64)
    theirs = torch.nn.functional.dropout(torch.sin(u), 0.6)
    eta = (theirs != 0).double()
    torch.testing.assert_close(DropoutEuler(lambda v: torch.sin(v) / 0.4, 1.0, 0.4).step(u, eta), u + theirs)


def all_gates(step: Callable, u: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a step of dropout over all gates of d entries."""
    etas = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(u))), dtype=f64)
    w = p ** etas.sum(1) * (1 - p) ** (len(u) - etas.sum(1))
    ends = step(u.expand_as(etas), etas)
    mean = w @ ends
    return mean, (w[:, None] * (ends - mean)).T @ (ends - mean)


def test_the_covariance_of_dropout_is_diagonal_and_that_of_a_lost_layer_has_rank_one() -> None:
    u, p, dt = torch.tensor([0.4, -1.2, 0.9], dtype=f64), 0.7, 0.1
    mean, cov = all_gates(DropoutEuler(wave, dt, p).step, u, p)
    torch.testing.assert_close(mean, u + dt * p * torch.sin(u))
    torch.testing.assert_close(cov, torch.diag(dt**2 * p * (1 - p) * torch.sin(u) ** 2))
    ends = torch.stack([GatedEuler(wave, dt, p).step(u, eta) for eta in (0.0, 1.0)])
    w = torch.tensor([1 - p, p], dtype=f64)
    shared = (w[:, None] * (ends - w @ ends)).T @ (ends - w @ ends)
    torch.testing.assert_close(shared.diag(), cov.diag())
    assert int(torch.linalg.matrix_rank(shared)) == 1


def test_scaled_dropout_tends_to_its_sde_at_the_rate_1() -> None:
    """F(u) = M u: E X X^T by the recursion of one step, over all gates, against Lyapunov's equation of the SDE with a
    Brownian motion for each entry, C' = p (M C + C M^T) + p (1-p) diag(M C M^T), by the exponential of its matrix.
    Without the scale the covariance falls like dt.
    """
    p, u0, d = 0.4, torch.tensor([1.0, -0.5, 0.3], dtype=f64), 3
    one, M = torch.eye(d, dtype=f64), MIX
    keep = torch.diag(one.flatten())  # the diagonal entries of a matrix, row by row
    L = p * (torch.kron(M, one) + torch.kron(one, M)) + p * (1 - p) * keep @ torch.kron(M, M)
    exact = torch.from_numpy(expm(L.numpy())) @ torch.outer(u0, u0).flatten()
    etas = torch.tensor(list(itertools.product((0.0, 1.0), repeat=d)), dtype=f64)
    w = p ** etas.sum(1) * (1 - p) ** (d - etas.sum(1))

    def second_moment(k: int, scaled: bool) -> tuple[Tensor, Tensor]:
        step = DropoutEuler(lambda u: u @ M.T, 1 / k, p, scaled).step
        factors = torch.stack([step(one, eta).T for eta in etas])  # the matrices of one step
        whole = sum(weight * torch.kron(A, A) for weight, A in zip(w, factors, strict=True))
        mean = torch.linalg.matrix_power((w[:, None, None] * factors).sum(0), k) @ u0
        return torch.linalg.matrix_power(whole, k) @ torch.outer(u0, u0).flatten(), mean

    errors = [float((second_moment(k, True)[0] - exact).norm()) for k in (40, 80)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.05)
    spread = [float((C - torch.outer(m, m).flatten()).norm()) for C, m in (second_moment(k, False) for k in (40, 80))]
    assert math.log2(spread[0] / spread[1]) == pytest.approx(1, abs=0.05)
    assert float((exact - torch.outer(m := torch.from_numpy(expm((p * M).numpy())) @ u0, m).flatten()).norm()) > 0.1


def test_the_limits_say_their_drift_and_diffusion() -> None:
    u = torch.randn(4, dtype=f64)
    gated = GatedEuler(wave, 0.1, 0.2, scaled=True).limit_sde()
    assert isinstance(gated, SDE)
    torch.testing.assert_close(gated.drift(u), 0.2 * torch.sin(u))
    torch.testing.assert_close(gated.diffusion(u), 0.4 * torch.sin(u))
    shaken = ShakeShake(wave, fall, 0.1, scaled=True).limit_sde()
    torch.testing.assert_close(shaken.drift(u), (torch.sin(u) - u) / 2)
    torch.testing.assert_close(shaken.diffusion(u), (torch.sin(u) + u) / math.sqrt(12))
    for plain in (GatedEuler(wave, 0.1, 0.2), ShakeShake(wave, fall, 0.1)):
        assert not plain.limit_sde().diffusion(u).any()


def test_gates_of_a_network_have_its_parameters_and_gradients() -> None:
    blocks = [torch.nn.Linear(3, 3) for _ in range(4)]
    net = torch.nn.ModuleList([GatedEuler(F, 0.5, 0.7) for F in blocks])
    run(net, torch.randn(50, 3)).u.square().sum().backward()
    assert all(F.weight.grad.abs().sum() > 0 for F in blocks)
    seeded = lambda: GatedEuler(fall, 0.5, 0.5, generator=torch.Generator().manual_seed(1))  # noqa: E731
    assert torch.equal(run(seeded(), torch.ones(9), k=5).u, run(seeded(), torch.ones(9), k=5).u)


@pytest.mark.parametrize("p", [-0.1, 1.01, math.nan])
def test_a_probability_lies_between_0_and_1(p: float) -> None:
    with pytest.raises(ValueError, match=rf"a probability p in \[0, 1\]; got p={p}"):
        GatedEuler(fall, 0.1, p)


@pytest.mark.parametrize("dt", [0.0, -0.1, math.inf])
def test_steps_are_positive(dt: float) -> None:
    for make in (
        lambda: EulerMaruyama(fall, fall, dt),
        lambda: GatedEuler(fall, dt, 0.5),
        lambda: ShakeShake(fall, fall, dt),
    ):
        with pytest.raises(ValueError, match="time step must be finite and > 0"):
            make()
