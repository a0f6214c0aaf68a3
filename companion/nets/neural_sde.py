r"""dX = f(X, t) dt + g(X, t) dB, f and g learned: a residual network with noise in its layers.   Section 5.1

    NeuralSDE           n steps of Euler and Maruyama's scheme: a list of maps for `run`
    PositiveField            log(1 + e^F): a diffusion that does not vanish, made of a field F
    energy_distance     how far two laws are, from their samples
    OrnsteinUhlenbeck   dX = theta (mu - X) dt + sigma dB, with the moments of X_t and of the scheme

The noise enters by standard normal numbers xi that do not depend on the weights: u + dt f(u) + dt^{1/2} g(u) xi. For
fixed xi the end X_T is a differentiable function of the weights, and its derivative along the path is an unbiased
estimate of that of E phi(X_T): back-propagation through `run` is all that training needs.

An ODE takes a point to a point. An SDE takes it to a law: the weights are fitted so that this law is that of the data,
here by a distance of samples.

Sources: Kloeden and Platen, Numerical solution of stochastic differential equations (1992), chapter 14 (weak order);
Szekely and Rizzo, Energy statistics (2013).
Paper: Section 5.1 (the control problem of SDEs).  Notebook: 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import Trajectory, run
from companion.flows.stochastic import EulerMaruyama
from companion.nets.neural_ode import check_steps, check_time


class NeuralSDE(nn.Module):
    r"""X^{k+1} = X^k + dt f(X^k, k dt) + dt^{1/2} g(X^k, k dt) xi^k, dt = T/n: weak order 1.   Section 5.1

    f, g   (x, t) -> drift and diffusion; g(x, t) is multiplied entry by entry with the noise
    T, n   the time > 0 and the number of steps >= 1

    Raises ValueError unless T is finite and > 0, and n a whole number >= 1.

    >>> walk = NeuralSDE(lambda x, t: 0 * x, lambda x, t: torch.ones_like(x), T=4.0)
    >>> walk(torch.zeros(1000, 1), torch.Generator().manual_seed(0)).std().round()
    tensor(2.)
    """

    f: Any
    g: Any

    def __init__(self, f: Callable[..., Any], g: Callable[..., Any], T: float = 1.0, n: int = 16):
        super().__init__()
        self.f, self.g, self.T, self.n = f, g, check_time(T), check_steps(n)

    def maps(self, n: int | None = None, generator: torch.Generator | None = None) -> list[EulerMaruyama]:
        """The n layers, layer k from k dt to (k + 1) dt, with noise from the generator."""
        n = self.n if n is None else check_steps(n)
        return [EulerMaruyama(self.f, self.g, self.T / n, generator, t=k * self.T / n) for k in range(n)]

    def forward(self, x0: Float[Tensor, "*shape"], generator: torch.Generator | None = None) -> Float[Tensor, "*shape"]:
        """X_T, one path for each sample of x_0. A generator with the same seed gives the same noise again."""
        return run(self.maps(generator=generator), x0).u

    def trajectory(
        self, x0: Float[Tensor, "*shape"], generator: torch.Generator | None = None, keep: int = 1
    ) -> Trajectory:
        """The whole run: `kept` holds every keep-th X^k, detached."""
        return run(self.maps(generator=generator), x0, keep=keep)


class PositiveField(nn.Module):
    r"""g(x, t) = log(1 + e^{F(x, t)}) > 0, for a field F such as DenseField."""

    F: Any

    def __init__(self, F: Callable[..., Any]):
        super().__init__()
        self.F = F

    def forward(self, x: Float[Tensor, "*shape"], t: float | Tensor = 0.0) -> Float[Tensor, "*shape"]:
        return nn.functional.softplus(self.F(x, t))


def energy_distance(x: Float[Tensor, "m d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""2 E|X - Y| - E|X - X'| - E|Y - Y'|, from samples of X and Y: 0 if and only if the two laws agree.

    Unbiased (a sample is not compared with itself), so it may come out below 0; differentiable in the samples.

    Raises ValueError for fewer than two samples.

    >>> energy_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]]))      # 2 * 1 - 2 - 2
    tensor(-2.)
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"A distance of laws needs two samples or more of each; got {len(x)} and {len(y)}.")

    def within(a: Tensor) -> Tensor:
        return torch.cdist(a, a).sum() / (len(a) * (len(a) - 1))

    return 2 * torch.cdist(x, y).mean() - within(x) - within(y)


class OrnsteinUhlenbeck(nn.Module):
    r"""dX = theta (mu - X) dt + sigma dB. From X_0 = x_0 the law of X_t is normal, with

        mean mu + e^{-theta t} (x_0 - mu),     variance sigma^2 (1 - e^{-2 theta t}) / (2 theta).

    theta, mu and sigma are buffers; assign an nn.Parameter to one to learn it. `NeuralSDE(ou.drift, ou.diffusion)`.

    Raises ValueError unless theta > 0 and sigma >= 0.
    """

    theta: Tensor
    mu: Tensor
    sigma: Tensor

    def __init__(self, theta: float = 1.0, mu: float = 0.0, sigma: float = 1.0):
        super().__init__()
        if not (theta > 0 and sigma >= 0):
            raise ValueError(
                f"An Ornstein-Uhlenbeck process has theta > 0 and sigma >= 0; got theta={theta}, sigma={sigma}."
            )
        for name, value in (("theta", theta), ("mu", mu), ("sigma", sigma)):
            self.register_buffer(name, torch.tensor(float(value)))

    def drift(self, x: Float[Tensor, "*shape"], t: float | Tensor = 0.0) -> Float[Tensor, "*shape"]:
        """theta (mu - x)."""
        return self.theta * (self.mu - x)

    def diffusion(self, x: Float[Tensor, "*shape"], t: float | Tensor = 0.0) -> Float[Tensor, "*shape"]:
        """sigma."""
        return self.sigma * torch.ones_like(x)

    def moments(self, x0: float, t: float) -> tuple[float, float]:
        """The mean and the variance of X_t, from X_0 = x_0."""
        theta, mu, sigma = float(self.theta), float(self.mu), float(self.sigma)
        q = math.exp(-theta * t)
        return mu + q * (x0 - mu), sigma**2 * (1 - q**2) / (2 * theta)

    def scheme_moments(self, x0: float, t: float, n: int) -> tuple[float, float]:
        r"""The mean and the variance of X^n, n steps of dt = t/n: e^{-theta dt} becomes q = 1 - theta dt, and the
        variance sigma^2 dt (1 + q^2 + ... + q^{2(n-1)}). Both differ from the exact ones by O(dt).
        """
        theta, mu, sigma = float(self.theta), float(self.mu), float(self.sigma)
        dt = t / check_steps(n)
        q = 1 - theta * dt
        return mu + q**n * (x0 - mu), sigma**2 * dt * sum(q ** (2 * k) for k in range(n))
