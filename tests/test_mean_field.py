"""Mean-field control: exact expectations over two-point noise, closed forms, what a feedback gains, Bellman."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch
from scipy.optimize import minimize_scalar
from scipy.special import lambertw
from torch import Tensor

from companion import Euler, EulerMaruyama, LinearQuadratic, MeanField, brownian, run, tracking

D = torch.float64


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def all_signs(N: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every path of xi = +-1 for every sample of dimension one: means over them are expectations, without error."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=N)), dtype=D)
    noise = signs.T[:, :, None].repeat(1, len(x), 1)
    return x.repeat_interleave(len(signs), 0), y.repeat_interleave(len(signs), 0), noise


def half_square(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(1) / 2


def energy(x: Tensor, a: Tensor) -> Tensor:
    return a.square().sum(-1) / 2


def additive(sigma: float, x: Tensor, y: Tensor, noise: Tensor, T: float = 1.0) -> MeanField:
    """dX = theta dt + sigma dB."""
    return MeanField(
        lambda x, a: a.expand_as(x), lambda x, a: torch.full_like(x, sigma), half_square, x, y, T / len(noise), noise,
        energy,
    )  # fmt: skip


def multiplicative(sigma: float, x: Tensor, noise: Tensor, T: float = 1.0) -> MeanField:
    """dX = theta X dt + sigma X dB."""
    return MeanField(
        lambda x, a: a * x, lambda x, a: sigma * x, half_square, x, 0 * x, T / len(noise), noise, energy
    )  # fmt: skip


X = torch.tensor([[0.5], [1.5], [-0.2], [2.0]], dtype=D)
Y = torch.tensor([[0.0], [0.4], [0.3], [-1.0]], dtype=D)


def test_the_layers_are_the_steps_of_euler_and_maruyama() -> None:
    """The same maps as flows/stochastic.py, with the noise drawn beforehand."""
    x, N = seeded(5, 3), 4
    f, g = (lambda x, a: torch.sin(a * x)), (lambda x, a: 0.3 + a * x**2)
    theta = seeded(N, 1, seed=1)
    generator = torch.Generator().manual_seed(7)
    noise = torch.stack([torch.randn(5, 3, dtype=D, generator=generator) for _ in range(N)])
    problem = MeanField(f, g, half_square, x, 0 * x, 0.1, noise)
    generator = torch.Generator().manual_seed(7)
    steps = [EulerMaruyama(lambda u, a=a: f(u, a), lambda u, a=a: g(u, a), 0.1, generator=generator) for a in theta]
    torch.testing.assert_close(run(problem.maps(theta), x).u, run(steps, x).u, rtol=0, atol=1e-14)


def test_the_gradient_is_that_of_back_propagation_with_noise_too() -> None:
    """The control acts on the size of the noise as well."""
    x, N = seeded(6, 2), 5
    f, g = (lambda x, a: torch.tanh(a * x)), (lambda x, a: 0.3 + 0.1 * a * x)
    problem = MeanField(f, g, half_square, x, seeded(6, 2, seed=3), 0.2, brownian(N, x), energy)
    theta = seeded(N, 2, seed=2).requires_grad_()
    expected = torch.autograd.grad(problem(theta), theta)[0]
    torch.testing.assert_close(problem.gradient(theta), expected, rtol=0, atol=1e-13)
    w = x
    for t in range(N):
        w = w + 0.2 * f(w, theta[t]) + math.sqrt(0.2) * g(w, theta[t]) * problem.noise[t]
    cost = half_square(w, problem.y).mean() + 0.2 * theta.square().sum() / 2
    assert float(problem(theta).detach()) == pytest.approx(float(cost.detach()), abs=1e-13)


def test_the_expectation_of_a_linear_equation() -> None:
    """E X_N^2 = E x^2 prod ((1 + dt theta_t)^2 + sigma^2 dt), over all paths of two-point noise, to rounding."""
    N, sigma, theta = 6, 0.7, seeded(6, 1, seed=4)
    x, _, noise = all_signs(N, X, Y)
    J = multiplicative(sigma, x, noise)(theta)
    growth = ((1 + theta / N) ** 2 + sigma**2 / N).prod()
    expected = X.square().mean() * growth / 2 + theta.square().sum() / (2 * N)
    assert float(J) == pytest.approx(float(expected), abs=1e-12)


def test_the_sampled_gradient_finds_the_optimum_at_order_one() -> None:
    """J(Theta) = E x^2 e^{2 Theta + sigma^2}/2 + Theta^2/2 for dX = theta X dt + sigma X dB, T = 1, theta = Theta
    constant: its minimum by Lambert's W. Descent finds the least J of N layers, which tends to it like 1/N.
    """
    sigma, second = 0.7, float(X.square().mean())
    a = second * math.exp(sigma**2)
    Theta = -float(lambertw(2 * a).real) / 2  # a e^{2 Theta} + Theta = 0
    exact = a * math.exp(2 * Theta) / 2 + Theta**2 / 2

    def least(N: int) -> float:
        J = lambda v: second * ((1 + v / N) ** 2 + sigma**2 / N) ** N / 2 + v**2 / 2  # noqa: E731
        return float(minimize_scalar(J, bracket=(-1, 0), tol=1e-12).fun)

    for N in (2, 4, 8):
        x, _, noise = all_signs(N, X, Y)
        problem = multiplicative(sigma, x, noise)
        theta = run(Euler(problem.descent, 0.5 * N), torch.zeros(N, 1, dtype=D), k=60).u
        assert float(problem.gradient(theta).abs().max()) < 1e-9
        assert float(theta.std()) < 1e-8, "the best control is constant"
        assert float(problem(theta)) == pytest.approx(least(N), abs=1e-10)
    gaps = [abs(least(N) - exact) for N in (8, 64, 128)]
    assert gaps[0] < 0.005 and np.log2(gaps[1] / gaps[2]) == pytest.approx(1, abs=0.05)


def test_the_three_controls_of_the_additive_problem() -> None:
    """Shared: the closed form, exactly; one for each sample; a feedback: closed form at order 1, Riccati exactly."""
    sigma, T = 0.8, 1.5
    exact = tracking(X, Y, sigma, T)
    feedback_gaps = []
    for N in (4, 8):
        x, y, noise = all_signs(N, X, Y)
        shared = additive(sigma, x, y, noise, T)
        theta = run(Euler(shared.descent, N / T / 3), torch.zeros(N, 1, dtype=D), k=60).u
        torch.testing.assert_close(theta, exact.theta.expand(N, 1), rtol=0, atol=1e-8)
        assert float(shared(theta)) == pytest.approx(exact.shared, abs=1e-12)

        # for each sample its own constant, as a function of (x, y): theta acts on x_0 - y, which travels in a channel
        z = torch.cat([x, x - y], 1)
        sample = MeanField(
            lambda z, a: torch.cat([a * z[:, 1:], 0 * z[:, 1:]], 1),
            lambda z, a: torch.tensor([sigma, 0.0], dtype=D).expand_as(z),
            lambda z, y: half_square(z[:, :1], y),
            z, y, T / N, torch.cat([noise, 0 * noise], 2),
            lambda z, a: (a * z[:, 1]).square() / 2,
        )  # fmt: skip
        theta = run(Euler(sample.descent, N / T / 6), torch.zeros(N, 1, dtype=D), k=150).u
        torch.testing.assert_close(theta, torch.full((N, 1), -1 / (1 + T), dtype=D), rtol=0, atol=1e-7)
        assert float(sample(theta)) == pytest.approx(exact.sample, abs=1e-10)

        # a gain: theta_t (X_t - y)
        gain = MeanField(
            lambda w, a: a * w, lambda w, a: torch.full_like(w, sigma), half_square, x - y, 0 * y, T / N, noise,
            lambda w, a: (a * w).square().sum(1) / 2,
        )  # fmt: skip
        one = torch.ones(1, 1, dtype=D)
        K, P = LinearQuadratic(0 * one, one, 0 * one, one, one).riccati(N, T / N)
        assert float(gain.gradient(-K[:, 0]).abs().max()) < 1e-12
        value = (X - Y).square().mean() * P[0] / 2 + sigma**2 * T / N * P[1:].sum() / 2
        assert float(gain(-K[:, 0])) == pytest.approx(float(value), abs=1e-12)
        feedback_gaps.append(float(value) - exact.feedback)
    assert np.log2(feedback_gaps[0] / feedback_gaps[1]) == pytest.approx(1, abs=0.2)
    assert exact.feedback < exact.sample < exact.shared


def test_normal_noise_agrees_within_its_error() -> None:
    """20000 paths, four standard deviations of the mean."""
    x, y = (a.repeat(5000, 1) for a in (X, Y))
    noise = brownian(8, x, torch.Generator().manual_seed(3))
    problem, exact = additive(0.8, x, y, noise), tracking(X, Y, 0.8)
    theta = run(Euler(problem.descent, 8 / 3), torch.zeros(8, 1, dtype=D), k=40).u
    end = run(problem.maps(theta), x).u
    error = float(half_square(end, y).std()) / math.sqrt(len(x))
    assert abs(float(problem(theta)) - exact.shared) < 4 * error < 0.05
    torch.testing.assert_close(theta, exact.theta.expand(8, 1), rtol=0, atol=1e-6), "paired noise has mean 0"


def test_brownian_noise_is_paired_and_of_variance_one() -> None:
    noise = brownian(50, torch.zeros(400, 2, dtype=D), torch.Generator().manual_seed(0))
    assert noise.shape == (50, 400, 2) and float(noise.mean(1).abs().max()) < 1e-14
    assert float(noise.square().mean()) == pytest.approx(1, abs=0.03)
    assert brownian(3, torch.zeros(5, 2)).shape == (3, 5, 2)


def test_the_costate_of_a_path_is_pontryagins_in_the_mean() -> None:
    """E[p_{t+1} | X_t, y] = -(X_N - y) in the mean over later noise: -(X_t + theta (T - t) - y), at every node of the
    tree of two-point noise; so dH/dtheta = 0 needs the mean over all samples, and a feedback has it at each node.
    """
    N, sigma = 4, 0.8
    x, y, noise = all_signs(N, X[:1], Y[:1])
    problem = additive(sigma, x, y, noise)
    theta = torch.full((N, 1), -0.3, dtype=D)
    states, costate = problem.paths(theta)
    for t in range(N):
        mean = costate[t + 1].view(2**t, -1).mean(1)  # the paths that agree up to t stand side by side
        here = states[t].view(2**t, -1)[:, 0]
        torch.testing.assert_close(mean, -(here - 0.3 * (1 - t / N) - y[0]), rtol=0, atol=1e-12)


def test_bellmans_equation() -> None:
    """V = z^2/(2 (1 + T - s)) + sigma^2 log(1 + T - s)/2 in one dimension; the minimum is at -z/(1 + T - s)."""
    s, z, T, theta = sympy.symbols("s z T theta", real=True)
    sigma = sympy.symbols("sigma", positive=True)
    V = z**2 / (2 * (1 + T - s)) + sigma**2 * sympy.log(1 + T - s) / 2
    inner = theta * V.diff(z) + theta**2 / 2
    best = sympy.solve(inner.diff(theta), theta)[0]
    assert sympy.simplify(best + z / (1 + T - s)) == 0
    assert sympy.simplify(V.diff(s) + inner.subs(theta, best) + sigma**2 * V.diff(z, 2) / 2) == 0
    assert sympy.simplify(V.subs(s, T) - z**2 / 2) == 0
    exact = tracking(X, Y, 0.8, 1.5)
    value = np.mean([float(V.subs({s: 0, T: 1.5, sigma: 0.8, z: float(v)})) for v in X - Y])
    assert exact.feedback == pytest.approx(value, abs=1e-12)


def test_tracking_in_several_dimensions_is_a_sum() -> None:
    x, y = seeded(9, 3), seeded(9, 3, seed=1)
    whole = tracking(x, y, 0.6, 2.0)
    parts = [tracking(x[:, j : j + 1], y[:, j : j + 1], 0.6, 2.0) for j in range(3)]
    for value in ("shared", "sample", "feedback"):
        assert getattr(whole, value) == pytest.approx(sum(getattr(part, value) for part in parts), abs=1e-12)
    torch.testing.assert_close(whole.theta, torch.cat([part.theta for part in parts]), rtol=0, atol=1e-14)
