r"""u^k = (I - mu A^T A) W~^T S((1 + gamma^{k-1}) W u^{k-1} - gamma^{k-1} W u^{k-2}) + mu A^T f.   (4.7)

    Accelerated       a framelet shrinkage (4.5) at the picture v = u^{k-1} + gamma^{k-1} (u^{k-1} - u^{k-2}), then a
                      step mu towards the data
    HeavyBall         u^k = u^{k-1} + gamma (u^{k-1} - u^{k-2}) + tau^2 F(u^{k-1}): F at u^{k-1}, not at v
    accelerated_from  (4.7) made from (4.8), u_tt + C u_t = F(u) - kappa A^T (A u - f), with the time step tau:

        gamma = 1 - C tau,    level_ell = tau^2 g / (C_ell^2 h^2),    mu = kappa tau^2

Why: (u^k - 2 u^{k-1} + u^{k-2}) / tau^2 + C (u^{k-1} - u^{k-2}) / tau = (u^k - v) / tau^2, and u^k - v is tau^2 times
the right side of (4.8) at v, up to tau^4. Levels and mu are of the order of tau^2: a threshold that stays while
tau -> 0 does not give (4.8). Since F is taken at v, the step itself adds a friction tau w^2 to the mode w: (4.7) damps
the high frequencies, which the heavy ball does not, and pays with a smaller bound on tau (momentum.py).

Letters: C is a friction, C_ell the constant of a band; gamma is a momentum here and the factor 1/(C_ell h) in (4.5);
alpha of (4.7) is a threshold, no multi-index; A^T on the grid stands for the adjoint of the A of the continuum.

Paper: (4.7), (4.8).  Notebook: 09.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from companion.dynamics import StabilityWarning
from companion.energies.functional import LeastSquares
from companion.flows.dictionary import DiffusionShrinkage
from companion.flows.momentum import check_gamma, max_tau, momentum, nesterov
from companion.flows.shrinkage import Shrinkage
from companion.flows.solvers import announce, check_step
from companion.operators.frames import FrameletTransform
from companion.operators.linear import LinearOperator

Momentum = float | Callable[[Any], Any] | None


class Moving(NamedTuple):
    """The last two pictures u^k, u^{k-1}, and the clock k."""

    u: Tensor
    old: Tensor
    k: Tensor


class Inertia(nn.Module):
    """What the two maps share: gamma^k, and the start at rest.

    gamma  None: (k-1)/(k+2), Nesterov's, the friction C(t) = 3/t; a number in [0, 1]; or a function of k = 0, 1, ...,
           whose value at k is used between u^k and u^{k+1}

    Raises ValueError for a number outside [0, 1].
    """

    gamma: Tensor
    rule: Any

    def __init__(self, gamma: Momentum):
        super().__init__()
        self.rule = nesterov if gamma is None else gamma if callable(gamma) else None
        if gamma is not None and not callable(gamma):
            self.register_buffer("gamma", check_gamma(gamma))

    def start(self, u0: Tensor) -> Moving:
        """At rest: u^{-1} = u^0, k = 0."""
        return Moving(u0, u0, u0.new_zeros(()))

    def momentum(self, s: Moving) -> Tensor:
        """gamma^k (u^k - u^{k-1})."""
        gamma = self.gamma.to(s.u.dtype) if self.rule is None else self.rule(s.k)
        return gamma * (s.u - s.old)


class Accelerated(Inertia):
    r"""u^k = (I - mu A^T A) W~^T S(W v) + mu A^T f,  v = (1 + gamma^{k-1}) u^{k-1} - gamma^{k-1} u^{k-2}.   (4.7)

    W, S     as in Shrinkage. W is linear, so one transform, of v, serves for the two of (4.7)
    A, f     a measurement and its data, with mu > 0; without them only the shrinkage is iterated
    mu       the step towards the data. For W tight and S = Soft(lam), (4.7) is FISTA for (2.4) with kappa = 1/mu and
             lam/mu in place of lam; mu <= 1/|A|^2 is then its step <= 1/L
    gamma    None for Nesterov's, a number, or a function of k: see Inertia
    restart  set u^{k-1} = u^k and k = 1 whenever a step went uphill, <v - u^k, u^k - u^{k-1}> > 0. A batch restarts as
             one

    Raises ValueError as Shrinkage and Inertia, and for A, f and mu > 0 that are not given together. StabilityWarning
    for mu > 1/|A|^2.
    """

    def __init__(
        self,
        W: FrameletTransform,
        S: Callable[[Tensor], Tensor],
        A: LinearOperator | None = None,
        f: Tensor | None = None,
        mu: float = 0.0,
        gamma: Momentum = None,
        restart: bool = False,
    ):
        super().__init__(gamma)
        self.shrink, self.mu, self.restart = Shrinkage(W, S), float(mu), restart
        self.data = together("the step mu A^T(f - A u) of (4.7)", A, f, "mu", mu)
        if self.data is not None and mu * (L := self.data.lipschitz()) > 1 + 1e-6:
            announce(f"Accelerated has mu = {mu:.4g}, but (4.7) is stable for mu <= 1/|A|^2 = {1 / L:.4g}")

    def forward(self, s: Moving) -> Moving:
        v = s.u + self.momentum(s)
        u = self.shrink(v)
        if self.data is not None:
            u = u - self.mu * self.data.grad(u)
        old, k = s.u, s.k + 1
        if self.restart:
            uphill = ((v - u) * (u - old)).sum() > 0
            old, k = torch.where(uphill, u, old), torch.where(uphill, 1.0, k)
        return Moving(u, old, k)


class HeavyBall(Inertia):
    r"""u^k = u^{k-1} + gamma^{k-1} (u^{k-1} - u^{k-2}) + tau^2 F(u^{k-1}): Polyak's.   (4.8)

    F      a field, or any function from pictures to pictures, such as -grad E
    tau    the time step for u_tt + C u_t = F(u), gamma = 1 - C tau; as a descent on E its step is tau^2
    gamma  None for Nesterov's, a number, or a function of k: see Inertia

    Stable on F = -w^2 u for tau^2 w^2 <= 2 (1 + gamma). An explicit Euler step dt <= F.max_dt has w^2 dt <= 2, so
    tau <= ((1 + gamma) F.max_dt)^{1/2} is enough; a larger step is announced. For a quadratic E with m <= E'' <= L and
    kappa = L/m the best are tau = 2 / (sqrt L + sqrt m) and gamma = ((sqrt kappa - 1) / (sqrt kappa + 1))^2: all roots
    then have modulus sqrt gamma.

    Raises ValueError for tau <= 0 and as Inertia; StabilityWarning for a larger tau.

    >>> from companion import run
    >>> run(HeavyBall(lambda u: -u, tau=1.0, gamma=0.25), torch.tensor([1.0]), k=3).u
    tensor([-0.0625])
    """

    F: Any

    def __init__(self, F: Callable[[Tensor], Tensor], tau: float, gamma: Momentum = None):
        super().__init__(gamma)
        self.F, self.tau = F, check_step("HeavyBall", "tau", tau)
        most = 1.0 if self.rule is not None else float(self.gamma)
        bound = math.sqrt((1 + most) * float(getattr(F, "max_dt", math.inf)))
        if tau > bound * (1 + 1e-9):
            announce(f"HeavyBall has tau = {tau:.4g}, but with {type(F).__name__} it is stable for tau <= {bound:.4g}")

    def forward(self, s: Moving) -> Moving:
        return Moving(s.u + self.momentum(s) + self.tau**2 * self.F(s.u), s.u, s.k + 1)


def accelerated_from(
    g: Callable[[Tensor], Tensor],
    W: FrameletTransform,
    tau: float,
    C: float | None,
    h: float = 1.0,
    A: LinearOperator | None = None,
    f: Tensor | None = None,
    kappa: float = 0.0,
) -> Accelerated:
    r"""(4.7) with gamma = 1 - C tau, level = tau^2 g / (C_ell^2 h^2), mu = kappa tau^2: first order for (4.8).

    g, W, h      as in `shrinkage_from`, whose levels are these with tau for tau^2
    tau, C       0 <= C tau <= 1; C = None is 3/t, gamma^k = (k-1)/(k+2)
    A, f, kappa  the term -kappa A^T (A u - f), kappa in the unit 1/time^2

    It approximates DampedWave(F, C, A, f, kappa) with F = Diffusion(g, grad) and
    grad = FrameGradient(W.bank, h=h, dim=W.dim, boundary=W.boundary); without data a step is u^k = v + tau^2 F(v),
    exactly. For orders |beta_ell| other than 1 use Accelerated with the levels tau^2 g / (C_ell^2 h^{2 |beta_ell|}).

    Raises ValueError as DiffusionShrinkage and `momentum`; StabilityWarning for kappa tau^2 > 1/|A|^2, and for
    tau > max_tau(g(0) |grad|^2, C): proven for constant g, the bound of flat pictures for others.
    """
    tau = check_step("accelerated_from", "tau", tau)
    gamma = None if C is None else momentum(C, tau)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)  # the bound of the diffusion: a wave has one of its own
        S = DiffusionShrinkage(g, W, tau**2, h)
    bound = max_tau(2 / S.max_tau, C)
    if tau > bound * (1 + 1e-9):
        announce(f"accelerated_from has tau = {tau:.4g}, but (4.7) is stable for tau <= {bound:.4g}")
    return Accelerated(W, S, A, f, kappa * tau**2, gamma)


def together(term: str, A: LinearOperator | None, f: Tensor | None, name: str, weight: float) -> LeastSquares | None:
    """|A u - f|^2 / 2, or None where there are no data; ValueError unless A, f and a weight > 0 come together."""
    if A is None and f is None and weight == 0:
        return None
    if A is None or f is None or not 0 < weight < math.inf:
        came = f"A={'None' if A is None else type(A).__name__}, f={'None' if f is None else 'data'}, {name}={weight}"
        raise ValueError(f"For {term} A, f and a finite {name} > 0 come together, or none of them; got {came}.")
    return LeastSquares(f, A)
