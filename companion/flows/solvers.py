r"""Four ways to minimise E(x) + R(K x), each a map for `run`.   Section 2

    solver           one step                                                 asks for
    ForwardBackward  x <- prox_{tau R}(x - tau grad E(x))                     E smooth, K = I              O(1/k)
    FISTA            the same at y = x + gamma^k (x - x_old), (4.7)           E smooth, K = I              O(1/k^2)
    ADMM             x <- argmin E + rho/2 |K x - d + b|^2;  d, b             prox of E and R, K^T K = I
    PDHG             x <- prox_{tau E}(x - tau K^T p);  p <- prox_{sigma R*}  prox of E and R, any K       O(1/k), gap

Each step of the first two costs a gradient of E; of ADMM a least-squares solve with A; of PDHG one prox of E. The last
two are in splitting.py. The step sizes are computed from the norms of the operators, and are buffers. A problem that a
solver cannot treat is refused with the name of one that can; a step beyond the proven bound is announced by a
StabilityWarning that states the bound.

Paper: (2.4)-(2.6), (4.7).  Notebooks: 04, 09.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from companion.dynamics import StabilityWarning, State, tensors
from companion.energies.functional import Composed
from companion.energies.models import Problem
from companion.operators.measure import Identity


class Solver(nn.Module):
    """What the four share: the problem, and how a picture is read out of a state, whose first field is x."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.problem, self.name = problem, type(self).__name__

    def image(self, state: State) -> Tensor:
        """The picture of the unknown."""
        return self.problem.decode(tensors(state)[0])


class ForwardBackward(Solver):
    r"""x^{k+1} = prox_{step R}(x^k - step grad E(x^k)): proximal forward-backward splitting, PFBS.   (2.4), (2.6)

    problem  E smooth with an L-Lipschitz gradient, K = I
    step     0 < step < 2/L; default 1/L, for which E + R falls at every step and
             E(x^k) + R(x^k) - min <= L |x^0 - x*|^2 / (2 k)

    Raises ValueError for a problem with K or without a Lipschitz gradient; StabilityWarning for step >= 2/L.
    """

    step: Tensor

    def __init__(self, problem: Problem, step: float | None = None):
        super().__init__(problem)
        L = _forward_step(self.name, problem)
        self.register_buffer("step", number(1 / L if step is None else check_step(self.name, "step", step)))
        if self.step > 2 / L * (1 - 1e-6):
            announce(f"{self.name} has step = {self.step:.4g}, but it converges for step < 2/L = {2 / L:.4g}")

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


class FISTA(Solver):
    r"""y = x^k + gamma^k (x^k - x^{k-1}),  x^{k+1} = prox_{step R}(y - step grad E(y)),  gamma^k = (k-1)/(k+2).   (4.7)

    Nesterov's acceleration of ForwardBackward, APG: E(x^k) + R(x^k) - min <= 2 L |x^0 - x*|^2 / (k+1)^2, not falling at
    every step. From gamma^k alone follows gamma^{k+1} = (1 + 2 gamma^k) / (4 - gamma^k), so the state needs no counter.

    problem  as for ForwardBackward
    step     0 < step <= 1/L, by default 1/L
    restart  set gamma back to 0 whenever the step goes uphill, <y - x^{k+1}, x^{k+1} - x^k> > 0: in practice much
             faster where E is strongly convex near the minimum. A batch restarts as one.

    Raises ValueError as ForwardBackward; StabilityWarning for step > 1/L.
    """

    step: Tensor

    def __init__(self, problem: Problem, step: float | None = None, restart: bool = False):
        super().__init__(problem)
        L = _forward_step(self.name, problem)
        self.register_buffer("step", number(1 / L if step is None else check_step(self.name, "step", step)))
        self.restart = restart
        if self.step > 1 / L * (1 + 1e-6):
            announce(f"{self.name} has step = {self.step:.4g}, but it converges for step <= 1/L = {1 / L:.4g}")

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


def check_step(name: str, what: str, value: float) -> float:
    """A positive, finite parameter of a solver."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} needs a finite {what} > 0; got {value}.")
    return float(value)


def number(value: float) -> Tensor:
    """A number as a buffer holds it, float64 without axes: no tensor that it multiplies changes its type."""
    return torch.tensor(value, dtype=torch.float64)


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
    check_proximal(name, problem, of_E=False)
    return L


def check_proximal(name: str, problem: Problem, of_E: bool = True) -> None:
    """Raise unless the proximal maps that a solver asks for exist."""
    E = problem.E.F if isinstance(problem.E, Composed) and name == "PDHG" else problem.E
    for what, F in (("E", E), ("R", problem.R)) if of_E else (("R", problem.R),):
        if not F.proximal:
            other = "PDHG treats its parts apart" if isinstance(F, Composed) else "write it as F(A x) with a proximal F"
            raise ValueError(f"{name} needs the proximal map of {what}, and {type(F).__name__} has none: {other}.")


def announce(words: str) -> None:
    """A StabilityWarning at the caller's line."""
    warnings.warn(f"{words}. The iteration may diverge.", StabilityWarning, stacklevel=3)
