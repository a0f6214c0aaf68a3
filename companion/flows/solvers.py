r"""Four ways to minimise E(x) + R(K x), each a map for `run`.   Section 2

    solver           one step                                                 asks for
    ForwardBackward  x <- prox_{tau R}(x - tau grad E(x))                     E smooth, K = I              O(1/k)
    FISTA            the same at y = x + gamma^k (x - x_old), (4.7)           E smooth, K = I              O(1/k^2)
    ADMM             x <- argmin E + rho/2 |K x - d + b|^2;  d, b             prox of E and R, K^T K = I
    PDHG             x <- prox_{tau E}(x - tau K^T p);  p <- prox_{sigma R*}  prox of E and R, any K       O(1/k), gap

Each step of the first two costs a gradient of E; of ADMM a least-squares solve with A; of PDHG one prox of E. The step
sizes are computed from the norms of the operators. A problem that a solver cannot treat is refused with the name of one
that can; a step beyond the proven bound is announced by a StabilityWarning that states the bound.

Paper: (2.4)-(2.6), (4.7).  Notebooks: 04, 09.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from companion.dynamics import StabilityWarning, State, tensors
from companion.energies.functional import Composed, LeastSquares
from companion.energies.models import Problem
from companion.operators.measure import Identity


class _Solver(nn.Module):
    """What the four share: the problem, and how a picture is read out of a state, whose first field is x."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.problem, self.name = problem, type(self).__name__

    def image(self, state: State) -> Tensor:
        """The picture of the unknown."""
        return self.problem.decode(tensors(state)[0])


class ForwardBackward(_Solver):
    r"""x^{k+1} = prox_{step R}(x^k - step grad E(x^k)): proximal forward-backward splitting, PFBS.   (2.4), (2.6)

    problem  E smooth with an L-Lipschitz gradient, K = I
    step     0 < step < 2/L; default 1/L, for which E + R falls at every step and
             E(x^k) + R(x^k) - min <= L |x^0 - x*|^2 / (2 k)

    Raises ValueError for a problem with K or without a Lipschitz gradient; StabilityWarning for step >= 2/L.
    """

    def __init__(self, problem: Problem, step: float | None = None):
        super().__init__(problem)
        L = _forward_step(self.name, problem)
        self.step = 1 / L if step is None else check_step(self.name, "step", step)
        if self.step > 2 / L * (1 - 1e-6):
            _unstable(f"{self.name} has step = {self.step:.4g}, but it converges for step < 2/L = {2 / L:.4g}")

    def start(self, u0: Tensor) -> Tensor:
        """The unknown of a picture."""
        return self.problem.encode(u0)

    def forward(self, x: Tensor) -> Tensor:
        return self.problem.R.prox(x - self.step * self.problem.E.grad(x), self.step)


class Momentum(NamedTuple):
    """The state of FISTA: the last two iterates, and gamma of the step to come."""

    x: Tensor
    old: Tensor
    gamma: Tensor


class FISTA(_Solver):
    r"""y = x^k + gamma^k (x^k - x^{k-1}),  x^{k+1} = prox_{step R}(y - step grad E(y)),  gamma^k = (k-1)/(k+2).   (4.7)

    Nesterov's acceleration of ForwardBackward, APG: E(x^k) + R(x^k) - min <= 2 L |x^0 - x*|^2 / (k+1)^2, not falling at
    every step. From gamma^k alone follows gamma^{k+1} = (1 + 2 gamma^k) / (4 - gamma^k), so the state needs no counter.

    problem  as for ForwardBackward
    step     0 < step <= 1/L, by default 1/L
    restart  set gamma back to 0 whenever the step goes uphill, <y - x^{k+1}, x^{k+1} - x^k> > 0: then convergence is
             linear where E is strongly convex near the minimum. A batch restarts as one.

    Raises ValueError as ForwardBackward; StabilityWarning for step > 1/L.
    """

    def __init__(self, problem: Problem, step: float | None = None, restart: bool = False):
        super().__init__(problem)
        L = _forward_step(self.name, problem)
        self.step, self.restart = 1 / L if step is None else check_step(self.name, "step", step), restart
        if self.step > 1 / L * (1 + 1e-6):
            _unstable(f"{self.name} has step = {self.step:.4g}, but it converges for step <= 1/L = {1 / L:.4g}")

    def start(self, u0: Tensor) -> Momentum:
        """At rest, x^{-1} = x^0; gamma^0 = -1/2 acts on nothing, and gamma^1 = 0."""
        x = self.problem.encode(u0)
        return Momentum(x, x, x.new_full((), -0.5))

    def forward(self, s: Momentum) -> Momentum:
        y = s.x + s.gamma * (s.x - s.old)
        x = self.problem.R.prox(y - self.step * self.problem.E.grad(y), self.step)
        gamma = (1 + 2 * s.gamma) / (4 - s.gamma)
        if self.restart:
            gamma = torch.where(((y - x) * (x - s.x)).sum() > 0, 0.0, gamma)
        return Momentum(x, s.x, gamma)


class Split(NamedTuple):
    """The state of ADMM: the unknown x, the coefficients d ~ K x, and the scaled multiplier b."""

    x: Tensor
    d: Tensor
    b: Tensor


class ADMM(_Solver):
    r"""x <- argmin E(x) + rho/2 |K x - d + b|^2,  d <- prox_{R/rho}(K x + b),  b <- b + delta (K x - d).   (2.5)

    The split Bregman iteration of [25] for the analysis model. With K^T K = I the first line is prox_{E/rho} at
    K^T(d - b): for E = 1/2 |A u - f|^2 one solve with A^T A + rho I. It converges for every rho > 0.

    problem  E and R with proximal maps, K tight
    rho      > 0: the speed, not the limit, depends on it; by default `penalty(problem)`. The shrinkage threshold is lam / rho
    delta    0 < delta < (1 + sqrt 5)/2, the step of the multiplier

    Raises ValueError where K^T K is not I: then K^T(d - b) is wrong, and the iteration would come to rest elsewhere, in
    silence, or diverge; and where E or R has no proximal map.
    """

    def __init__(self, problem: Problem, rho: float | None = None, delta: float = 1.0):
        super().__init__(problem)
        if not problem.K.tight:
            raise ValueError(
                f"ADMM solves for x by K^T K = I, and K = {type(problem.K).__name__} is not tight: it would go to another "
                "point, or diverge. Use PDHG, which takes any K."
            )
        _proximal(self.name, problem)
        self.rho = penalty(problem) if rho is None else check_step(self.name, "rho", rho)
        self.delta = check_step(self.name, "delta", delta)
        bound = (1 + math.sqrt(5)) / 2
        if not delta < bound:
            _unstable(f"ADMM has delta = {delta:.4g}, but it converges for delta < (1 + sqrt 5)/2 = {bound:.4g}")

    def start(self, u0: Tensor) -> Split:
        """d = K x, b = 0."""
        x = self.problem.encode(u0)
        d = self.problem.K(x)
        return Split(x, d, torch.zeros_like(d))

    def dual(self, s: Split) -> Tensor:
        """p = rho b, in the subdifferential of R at d (for delta = 1): the multiplier of K x = d."""
        return self.rho * s.b

    def forward(self, s: Split) -> Split:
        K, rho = self.problem.K, self.rho
        x = self.problem.E.prox(K.adjoint(s.d - s.b), 1 / rho)
        Kx = K(x)
        d = self.problem.R.prox(Kx + s.b, 1 / rho)
        return Split(x, d, s.b + self.delta * (Kx - d))


class PrimalDual(NamedTuple):
    """The state of PDHG: x, its extrapolation, the multiplier p of K x, and q of A x where E = F(A x), else empty."""

    x: Tensor
    bar: Tensor
    p: Tensor
    q: Tensor


class PDHG(_Solver):
    r"""p <- prox_{sigma R*}(p + sigma K x-bar),  x_new <- prox_{tau E}(x - tau K^T p),  x-bar <- 2 x_new - x.   (2.5)

    The primal-dual hybrid gradient method for min_x max_p E(x) + <K x, p> - R*(p). Any K; no system is solved but the
    prox of E. Where E = F(A x) is Composed, F too is dualised, with a multiplier q of A x, and K becomes (K; A).

    problem     R with a proximal map, and E (or its F)
    tau, sigma  tau sigma |K|^2 <= 1; by default tau = ratio / |K|, sigma = 1 / (ratio |K|), |K|^2 being |K|^2+|A|^2
                if F is dualised
    ratio       the size of x over that of p: the speed, not the limit, depends on it; by default |K| / `penalty(problem)`

    dualise     treat E = w/2 |A u - f|^2 as Composed: products with A and A^T, no system, where A^T A + rho I has no
                closed form (a Radon transform)

    Raises ValueError where a proximal map is missing; StabilityWarning for tau sigma |K|^2 > 1.
    """

    def __init__(
        self,
        problem: Problem,
        tau: float | None = None,
        sigma: float | None = None,
        ratio: float | None = None,
        dualise: bool = False,
    ):
        super().__init__(problem)
        E: Any = problem.E
        if dualise and isinstance(E, LeastSquares):
            E = Composed(LeastSquares(E.f, weight=E.weight), E.A)
        self.E, self.split = E, isinstance(E, Composed)
        _proximal(self.name, problem)
        x = E.domain()
        square = float(problem.K.norm(x)) ** 2 + (float(E.A.norm(x)) ** 2 if self.split else 0.0)
        ratio = square**0.5 / penalty(problem) if ratio is None else check_step(self.name, "ratio", ratio)
        self.tau = ratio / square**0.5 if tau is None else check_step(self.name, "tau", tau)
        self.sigma = 1 / (self.tau * square) if sigma is None else check_step(self.name, "sigma", sigma)
        if tau is None and sigma is not None:
            self.tau = 1 / (self.sigma * square)
        if self.tau * self.sigma * square > 1 + 1e-4:
            _unstable(
                f"PDHG has tau sigma = {self.tau * self.sigma:.4g}, but it converges for tau sigma <= 1/|K|^2 = "
                f"{1 / square:.4g}"
            )

    def start(self, u0: Tensor) -> PrimalDual:
        """x-bar = x, p = 0, q = 0."""
        x = self.problem.encode(u0)
        q = torch.zeros_like(self.E.A(x)) if self.split else x.new_zeros(0)
        return PrimalDual(x, x, torch.zeros_like(self.problem.K(x)), q)

    def dual(self, s: PrimalDual) -> Tensor:
        """The multiplier p of K x."""
        return s.p

    def forward(self, s: PrimalDual) -> PrimalDual:
        E, R, K = self.E, self.problem.R, self.problem.K
        p, q = R.prox_conjugate(s.p + self.sigma * K(s.bar), self.sigma), s.q
        if self.split:
            q = E.F.prox_conjugate(q + self.sigma * E.A(s.bar), self.sigma)
            x = s.x - self.tau * (K.adjoint(p) + E.A.adjoint(q))
        else:
            x = E.prox(s.x - self.tau * K.adjoint(p), self.tau)
        return PrimalDual(x, 2 * x - s.x, p, q)


def check_step(name: str, what: str, value: float) -> float:
    """A positive, finite parameter of a solver."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} needs a finite {what} > 0; got {value}.")
    return float(value)


def _forward_step(name: str, problem: Problem) -> float:
    """L, where the problem can be treated by forward-backward splitting."""
    if not isinstance(problem.K, Identity):
        other = "ADMM or PDHG" if problem.K.tight else "PDHG"
        raise ValueError(
            f"{name} needs the proximal map of R(K x), known only for K = I; here K = {type(problem.K).__name__}. "
            f"Use {other}."
        )
    L = problem.E.lipschitz() if problem.E.smooth else math.inf
    if not math.inf > L:
        raise ValueError(
            f"{name} needs a data term with a Lipschitz gradient, and {type(problem.E).__name__} has none. Use PDHG."
        )
    _proximal(name, problem, of_E=False)
    return L


def penalty(problem: Problem) -> float:
    r"""rho = 4 (lam L / size)^{1/2}: where ADMM starts from, lam the mean weight, L as above, size = max |A^T f| / L.

    It scales as the problem does: with f and lam not at all, with E and lam like E. The factor is the best on the four
    restorations of lesson 04, over weights from 3e-4 to 5e-2. Where there is no lam or no L they count as 0.01 and 1.
    """
    L = problem.E.lipschitz() if problem.E.smooth else math.inf
    L = L if 0 < L < math.inf else 1.0
    lam = getattr(problem.R, "lam", torch.zeros(()))
    mean = float(lam[lam > 0].mean()) if bool((lam > 0).any()) else 0.01
    size = float(problem.decode(problem.E.domain()).abs().max()) / L
    return 4 * math.sqrt(mean * L / size) if size > 0 else L


def _proximal(name: str, problem: Problem, of_E: bool = True) -> None:
    """Raise unless the proximal maps that a solver asks for exist."""
    E = problem.E.F if isinstance(problem.E, Composed) and name == "PDHG" else problem.E
    for what, F in (("E", E), ("R", problem.R)) if of_E else (("R", problem.R),):
        if not F.proximal:
            other = "PDHG treats its parts apart" if isinstance(F, Composed) else "write it as F(A x) with a proximal F"
            raise ValueError(f"{name} needs the proximal map of {what}, and {type(F).__name__} has none: {other}.")


def _unstable(words: str) -> None:
    warnings.warn(f"{words}. The iteration may diverge.", StabilityWarning, stacklevel=3)
