r"""dX = F(X) dt + G(X) dB: noise in the steps.   Section 5.1

    EulerMaruyama   u + dt F(u) + dt^{1/2} G(u) xi, xi normal                      strong order 1/2, weak order 1
    GatedEuler      u + dt eta F(u), eta = 1 with the probability p, else 0        stochastic depth
    DropoutEuler    the same with a gate for each entry of u                       dropout
    ShakeShake      u + dt (eta F_1(u) + (1 - eta) F_2(u)), eta uniform on [0, 1]

What the last three tend to depends on the scaling. As they are, the fluctuation dt (eta - E eta) F has the variance
dt^2, and t/dt of them sum up to O(dt): X_T tends to the solution of an ODE,

    u' = p F(u),     u' = (F_1(u) + F_2(u)) / 2,      Var X_T = O(dt),

and no noise is left. For an SDE the fluctuation must be of the order dt^{1/2} (scaled=True):

    u + dt p F + dt^{1/2} (eta - p) F                        dX = p F dt + (p (1-p))^{1/2} F dB
    u + dt (F_1 + F_2)/2 + dt^{1/2} (eta - 1/2)(F_1 - F_2)   dX = (F_1 + F_2)/2 dt + 12^{-1/2} (F_1 - F_2) dB

(in the sense of Ito). The convergence is weak, of E phi(X_T) for smooth phi: it asks for the first moments of eta only,
not for its law. The weak order is 1 for shake-shake and for p = 1/2. For another p it is 1/2, since the gate is skew:
E (eta - p)^3 = p (1-p)(1-2p), and the third moment of a step, of the order dt^{3/2}, sums up to O(dt^{1/2}).

One gate, and so one real Brownian motion, serves one sample: the entries of the leading axis have gates of their own,
the entries of a sample share one. With dropout each entry of a sample has a gate, and a Brownian motion, of its own.

Each map has a `step` that takes the noise as an argument, so that its law can be summed up exactly.

Paper: Section 5.1, [67], [80], [151].  Notebook: 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.schemes import check_dt, check_t

Function = Callable[..., Tensor]


class SDE(NamedTuple):
    """dX = drift(X) dt + diffusion(X) dB, B one real Brownian motion for each sample."""

    drift: Function
    diffusion: Function


class EulerMaruyama(nn.Module):
    r"""u + dt F(u) + dt^{1/2} G(u) xi, xi standard normal: strong order 1/2 (1 if G is constant), weak order 1.

    F, G       the drift and the diffusion, functions of u, or of (u, t) with the time t of the step
    matrix     False: G(u) is a number, a picture, ..., multiplied entry by entry: each entry has its own Brownian
               motion. True: u has shape (*batch, d), G(u) has (*batch, d, m): m Brownian motions for each sample
    generator  of the noise; torch's own if None

    Raises ValueError for dt or t as Scheme.

    >>> noise = torch.Generator().manual_seed(0)
    >>> EulerMaruyama(lambda x: -x, torch.ones_like, 0.25, noise)(torch.zeros(2))
    tensor([ 0.7705, -0.1467])
    """

    F: Any
    G: Any

    def __init__(
        self,
        F: Function,
        G: Function,
        dt: float,
        generator: torch.Generator | None = None,
        t: float | None = None,
        matrix: bool = False,
    ):
        super().__init__()
        self.F, self.G, self.dt, self.t = F, G, check_dt(dt), check_t(t)
        self.generator, self.matrix = generator, matrix

    def step(self, u: Float[Tensor, "*shape"], xi: Tensor) -> Float[Tensor, "*shape"]:
        """The step with the noise xi; dt^{1/2} xi is the increment of the Brownian motion."""
        time = () if self.t is None else (self.t,)
        G = self.G(u, *time)
        noise = (G @ xi[..., None]).squeeze(-1) if self.matrix else G * xi
        return u + self.dt * self.F(u, *time) + math.sqrt(self.dt) * noise

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        shape: tuple[int, ...] = u.shape
        if self.matrix:
            time = () if self.t is None else (self.t,)
            shape = (*u.shape[:-1], self.G(u, *time).shape[-1])
        xi = torch.randn(shape, generator=self.generator, dtype=u.dtype, device=u.device)
        return self.step(u, xi)


class Gated(nn.Module):
    """What the two random networks share: a gate eta for each sample, its mean in place of it after `.eval()`.

    scaled   False: the fluctuation is dt (eta - mean); True: dt^{1/2} (eta - mean)
    """

    mean: float

    def __init__(self, dt: float, scaled: bool, generator: torch.Generator | None):
        super().__init__()
        self.dt, self.scaled, self.generator = check_dt(dt), scaled, generator

    def draw(self, u: Tensor) -> Tensor:
        """Uniform numbers in [0, 1), one for each entry of the leading axis."""
        shape = (len(u), *[1] * (u.ndim - 1)) if u.ndim else ()
        return torch.rand(shape, generator=self.generator, dtype=u.dtype, device=u.device)

    def fluctuation(self, eta: float | Tensor) -> Any:
        """dt (eta - mean), or dt^{1/2} (eta - mean)."""
        return (math.sqrt(self.dt) if self.scaled else self.dt) * (eta - self.mean)


class GatedEuler(Gated):
    r"""u + dt eta F(u), eta = 1 with the probability p, else 0: stochastic depth. It tends to u' = p F(u), with
    Var = O(dt).

    scaled=True: u + dt p F(u) + dt^{1/2} (eta - p) F(u), which tends weakly to dX = p F dt + (p (1-p))^{1/2} F dB, with
    the order 1 for p = 1/2 and 1/2 for other p. After `.eval()`: u + dt p F(u).

    p          the probability that the layer is there, in [0, 1]
    generator  of the gates; torch's own if None

    Raises ValueError for p outside [0, 1], and for dt as Scheme.
    """

    F: Any

    def __init__(
        self,
        F: Callable[[Tensor], Tensor],
        dt: float,
        p: float,
        scaled: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__(dt, scaled, generator)
        if not 0 <= p <= 1:
            raise ValueError(f"A layer is there with a probability p in [0, 1]; got p={p}.")
        self.F, self.mean = F, float(p)

    def step(self, u: Float[Tensor, "*shape"], eta: float | Tensor) -> Float[Tensor, "*shape"]:
        """The step with the gate eta."""
        return u + (self.dt * self.mean + self.fluctuation(eta)) * self.F(u)

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.step(u, (self.draw(u) < self.mean).to(u.dtype) if self.training else self.mean)

    def limit_sde(self) -> SDE:
        """dX = p F dt + (p (1-p))^{1/2} F dB if scaled, else u' = p F with the diffusion 0."""
        p, F = self.mean, self.F
        size = math.sqrt(p * (1 - p)) if self.scaled else 0.0
        return SDE(lambda u: p * F(u), lambda u: size * F(u))


class DropoutEuler(GatedEuler):
    r"""u + dt eta F(u), eta_i = 1 with the probability p, else 0, for each entry i: dropout. It tends to u' = p F(u),
    with Var = O(dt).

    scaled=True: u + dt p F(u) + dt^{1/2} (eta - p) F(u), which tends weakly to dX_i = p F_i dt + (p (1-p))^{1/2} F_i
    dB_i with independent B_i, the noise that `EulerMaruyama` draws. Mean and variances of a step are those of
    `GatedEuler`; its covariance is diagonal, where one gate for all entries has the rank 1. torch's dropout of F(u) at
    the rate 1 - p is eta F(u) / p: the step for F/p. After `.eval()`: u + dt p F(u).

    Parameters and errors as in GatedEuler.

    >>> DropoutEuler(torch.ones_like, 0.5, 0.5, generator=torch.Generator().manual_seed(0))(torch.zeros(1, 6))
    tensor([[0.5000, 0.0000, 0.5000, 0.5000, 0.5000, 0.0000]])
    """

    def draw(self, u: Tensor) -> Tensor:
        """Uniform numbers in [0, 1), one for each entry of u."""
        return torch.rand(u.shape, generator=self.generator, dtype=u.dtype, device=u.device)


class ShakeShake(Gated):
    r"""u + dt (eta F_1(u) + (1 - eta) F_2(u)), eta uniform on [0, 1]. It tends to u' = (F_1 + F_2)/2, with Var = O(dt).

    scaled=True: u + dt (F_1 + F_2)/2 + dt^{1/2} (eta - 1/2)(F_1 - F_2), which tends weakly to
    dX = (F_1 + F_2)/2 dt + 12^{-1/2} (F_1 - F_2) dB. After `.eval()`: u + dt (F_1 + F_2)/2.

    Raises ValueError for dt as Scheme.
    """

    F1: Any
    F2: Any
    mean = 0.5

    def __init__(
        self,
        F1: Callable[[Tensor], Tensor],
        F2: Callable[[Tensor], Tensor],
        dt: float,
        scaled: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__(dt, scaled, generator)
        self.F1, self.F2 = F1, F2

    def step(self, u: Float[Tensor, "*shape"], eta: float | Tensor) -> Float[Tensor, "*shape"]:
        """The step with the gate eta."""
        F1, F2 = self.F1(u), self.F2(u)
        return u + self.dt / 2 * (F1 + F2) + self.fluctuation(eta) * (F1 - F2)

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.step(u, self.draw(u) if self.training else self.mean)

    def limit_sde(self) -> SDE:
        """dX = (F_1 + F_2)/2 dt + 12^{-1/2} (F_1 - F_2) dB if scaled, else the diffusion is 0."""
        F1, F2 = self.F1, self.F2
        size = math.sqrt(1 / 12) if self.scaled else 0.0
        return SDE(lambda u: (F1(u) + F2(u)) / 2, lambda u: size * (F1(u) - F2(u)))
