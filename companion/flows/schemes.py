r"""u^{k+1} = u^k + dt F(u^k), and its relatives: a field and a step become a map for `run`.   (5.1)

    Euler          u + dt F(u)                                                order 1   limit 1
    Heun           u + dt/2 (F(u) + F(u + dt F(u)))                           order 2   limit 1
    RK4            u + dt/6 (k_1 + 2 k_2 + 2 k_3 + k_4)                       order 4   limit 1.39

A scheme takes any function F from pictures to pictures. Told the time t of its step it takes F(u, t), and is then the
step from t to t + dt: a network whose layers differ is a list of steps, run once through,

    run([Euler(F, dt, t=k * dt) for k in range(n)], u0)        (5.1) as printed, with t_k = k dt
    run([Euler(block, 1.0) for block in blocks], u0)           a residual network: F(., t_k) is the k-th block

Where F has a bound `max_dt` (a `Field`), an explicit step beyond `limit` times the bound is taken, and announced by a
StabilityWarning. On u' = lambda u one step multiplies by R(z), z = dt lambda, the stability function `R`;
|R(z)| <= 1 for z in [-2, 0] (Euler and Heun) or [-2.785, 0] (RK4), and so for u' = -a u up to dt = limit * 2/a.

More one-step schemes are in runge_kutta.py and neumann.py, those with a memory in multistep.py, implicit ones, without
a limit, in implicit.py; stability.py measures R.

Paper: (5.1), Section 3.  Notebooks: 06, 10.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from companion.dynamics import StabilityWarning


class Scheme(nn.Module):
    """u^k -> u^{k+1}, for u_t = F(u), or for u_t = F(u, t) with the time t of the step. `order`: the global error is
    O(dt^order); `limit`: the scheme is stable for dt <= limit * F.max_dt, infinity for an implicit one.

    Raises ValueError unless dt is finite and > 0, and t finite.
    """

    order: int = 1
    limit: float = 1.0
    F: Any

    def __init__(self, F: Callable[..., Tensor], dt: float, t: float | None = None):
        super().__init__()
        self.F, self.dt, self.t = F, check_dt(dt), check_t(t)
        bound = self.limit * float(getattr(F, "max_dt", math.inf))
        if dt > bound * (1 + 1e-9):
            warnings.warn(
                f"{type(self).__name__} has dt = {dt:.4g}, but {type(F).__name__} is stable for dt <= {bound:.4g}. "
                "The iteration may diverge.",
                StabilityWarning,
                stacklevel=2,
            )

    def slope(self, u: Tensor, c: float = 0.0) -> Tensor:
        """F(u); told the time t, F(u, t + c dt)."""
        return self.F(u) if self.t is None else self.F(u, self.t + c * self.dt)


class Euler(Scheme):
    r"""u + dt F(u): order 1; R(z) = 1 + z.   (5.1)

    >>> import torch
    >>> Euler(lambda u: -u, dt=0.5)(torch.tensor([8.0]))
    tensor([4.])
    """

    @staticmethod
    def R(z: Any) -> Any:
        return 1 + z

    @property
    def together(self) -> int:
        """How many steps `power` should take at once."""
        return getattr(self.F, "together", 1) if self._plain() else 1

    def forward(self, u: Tensor) -> Tensor:
        return self.power(u, 1)

    def power(self, u: Tensor, k: int) -> Tensor:
        """The k-th iterate."""
        if self._plain():
            return self.F.euler(u, self.dt, k)  # a Field: the same, in one pass where it can
        for _ in range(k):
            u = u + self.dt * self.slope(u)
        return u

    def _plain(self) -> bool:
        """Whether `F.euler` says how a step is made, and nobody has another slope in mind."""
        return self.t is None and type(self).slope is Scheme.slope and hasattr(type(self.F), "euler")


class Heun(Scheme):
    r"""u + dt/2 (F(u) + F(u + dt F(u))): order 2; R(z) = 1 + z + z^2/2. It keeps the extrema where Euler does: it is
    the mean of u and of two steps of Euler.
    """

    order = 2

    @staticmethod
    def R(z: Any) -> Any:
        return 1 + z + z**2 / 2

    def forward(self, u: Tensor) -> Tensor:
        a = self.slope(u)
        return u + self.dt / 2 * (a + self.slope(u + self.dt * a, 1.0))


class RK4(Scheme):
    r"""u + dt/6 (k_1 + 2 k_2 + 2 k_3 + k_4), k_1 = F(u), k_2 = F(u + dt/2 k_1), k_3 = F(u + dt/2 k_2),
    k_4 = F(u + dt k_3): order 4; R(z) = 1 + z + z^2/2 + z^3/6 + z^4/24, limit 2.785/2.

    It is no mean of steps of Euler: extrema are kept only as far as the error allows.
    """

    order = 4
    limit = 2.7852935634 / 2  # R(-2.785...) = 1

    @staticmethod
    def R(z: Any) -> Any:
        return 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24

    def forward(self, u: Tensor) -> Tensor:
        dt, F = self.dt, self.slope
        k1 = F(u)
        k2 = F(u + dt / 2 * k1, 0.5)
        k3 = F(u + dt / 2 * k2, 0.5)
        k4 = F(u + dt * k3, 1.0)
        return u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def check_dt(dt: float) -> float:
    """dt, finite and > 0."""
    if not 0 < dt < math.inf:
        raise ValueError(f"The time step must be finite and > 0; got dt={dt}.")
    return float(dt)


def check_t(t: float | None) -> float | None:
    """The time t of a step, finite; None for a field that does not ask for it."""
    if t is not None and not math.isfinite(t):
        raise ValueError(f"The time of a step is a finite number t, or None for a field F(u) without time; got t={t}.")
    return t
