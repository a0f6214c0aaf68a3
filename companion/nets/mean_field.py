r"""min over theta of E_{(x,y) ~ P} E [l(X_T, y) + int_0^T r(X_s, theta_s) ds],  dX = f(X, theta) dt + g(X, theta) dB.

The problem of Section 5.1, with the "over theta" that its min needs: X_0 = x is drawn from the data, B is a Brownian
motion for each sample. theta_s depends on s alone. All samples share it, as they share the weights of a network: such
a control sees the law of (X_s, y), not X_s; it is of mean-field type. On a grid, and with M samples of (x, y) and of
the noise in place of both expectations, it is a control problem as in control.py, with the layers

    X_{t+1} = X_t + dt f(X_t, theta_t) + dt^{1/2} g(X_t, theta_t) xi_t.

A control that may look at X_s is a *feedback*; it can only be better. Where f = theta, g = sigma, l = |X_T - y|^2 / 2,
r = |theta|^2 / 2, everything is known, with z = x - y in R^d:

    theta of s alone          theta = -E z / (1 + T),         |E z|^2 / (2 + 2T) + tr Cov(z) / 2 + d sigma^2 T / 2
    of s and the sample       theta = -z / (1 + T),           E |z|^2 / (2 + 2T) + d sigma^2 T / 2
    of s, X_s and y           theta = -(X - y) / (1 + T - s),  E |z|^2 / (2 + 2T) + d sigma^2 ln(1 + T) / 2

The last has the value function V(s, X) = |X - y|^2 / (2 + 2T - 2s) + d sigma^2 ln(1 + T - s) / 2, which solves
Hamilton's, Jacobi's and Bellman's equation V_s + min over theta of (theta . V_X + |theta|^2/2) + sigma^2 Lap V / 2 = 0.

Sources: E, Han and Li, A mean-field optimal control formulation of deep learning (2019).
Paper: Section 5.1.  Notebook: 11.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from companion.dynamics import Map
from companion.nets.control import Control, Dynamics, Loss, Running


class MeanField(Control):
    r"""J(theta) = (1/M) sum_i [l(X_N^i, y^i) + dt sum_t r(X_t^i, theta_t)], with the noise xi^i of every sample fixed.

    f, loss, x, y, dt, running  as in Control
    g      (x, theta_t) -> the size of the noise, one number for each component of x, or what broadcasts to it
    noise  xi_t^i, of shape (N, M, ...): for each of the N layers one like x; `brownian` draws it

    With xi fixed, J is a function of theta like any other: its gradient is Control's. The costate p_t^i is that of one
    path and knows its future noise; Pontryagin's is its conditional mean.

    Raises ValueError as Control, and where noise and x, or noise and theta, do not fit.
    """

    noise: Tensor

    def __init__(
        self,
        f: Dynamics,
        g: Dynamics,
        loss: Loss,
        x: Tensor,
        y: Tensor,
        dt: float,
        noise: Tensor,
        running: Running | None = None,
    ):
        super().__init__(f, loss, x, y, dt, running)
        if noise.shape[1:] != x.shape:
            raise ValueError(
                f"The noise has one xi like x for each layer, shape (N, {', '.join(map(str, x.shape))}); got shape "
                f"{tuple(noise.shape)}."
            )
        self.g = g
        self.register_buffer("noise", noise)

    def maps(self, theta: Tensor) -> list[Map]:
        """[x -> x + dt f(x, theta_t) + dt^{1/2} g(x, theta_t) xi_t for each t]."""
        self._check(theta)
        if len(theta) != len(self.noise):
            raise ValueError(
                f"There is noise for N={len(self.noise)} layers, so theta has a row for each; got {len(theta)} rows."
            )
        return [partial(self._step, theta=a, xi=xi) for a, xi in zip(theta, self.noise, strict=True)]

    def _step(self, x: Tensor, theta: Tensor, xi: Tensor) -> Tensor:
        return x + self.dt * self.f(x, theta) + math.sqrt(self.dt) * self.g(x, theta) * xi


def brownian(N: int, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """xi, normal, of shape (N, *x.shape); the second half of the samples has the negative of the first half's, so that
    the mean of the noise is 0 for an even number of samples.
    """
    half = torch.randn(N, (len(x) + 1) // 2, *x.shape[1:], generator=generator, dtype=x.dtype, device=x.device)
    return torch.cat([half, -half], 1)[:, : len(x)]


class Tracking(NamedTuple):
    """The best shared control, and the costs of the best control of s; of s and the sample; of s, X_s and y."""

    theta: Tensor
    shared: float
    sample: float
    feedback: float


def tracking(x: Tensor, y: Tensor, sigma: float, T: float = 1.0) -> Tracking:
    r"""dX = theta dt + sigma dB, |X_T - y|^2 / 2 + int |theta|^2 / 2, exactly, for the law of the samples x, y (M, d).

    >>> x = torch.tensor([[0.0], [2.0]])
    >>> [round(value, 4) for value in tracking(x, 0 * x, sigma=1.0)[1:]]
    [1.25, 1.0, 0.8466]
    """
    if x.ndim != 2 or x.shape != y.shape or not T > 0:
        raise ValueError(
            "The exact values are those of samples x and y of one shape (M, d), for T > 0; got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}, T={T}."
        )
    z, d = (x - y).double(), x.shape[1]
    mean, second = z.mean(0), float(z.square().sum(1).mean())
    square, noise = float(mean.square().sum()), d * sigma**2 / 2
    shared = square / (2 + 2 * T) + (second - square) / 2 + noise * T
    sample = second / (2 + 2 * T)
    return Tracking((-mean / (1 + T)).to(x.dtype), shared, sample + noise * T, sample + noise * math.log1p(T))
