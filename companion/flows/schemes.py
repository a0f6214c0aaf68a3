r"""u^{k+1} = u^k + dt F(u^k), and its relatives: a field and a step become a map for `run`.   (5.1)

    Euler          u + dt F(u)                                                order 1   limit 1
    Heun           u + dt/2 (F(u) + F(u + dt F(u)))                           order 2   limit 1
    RK4            u + dt/6 (k_1 + 2 k_2 + 2 k_3 + k_4)                       order 4   limit 1.39

A scheme takes any function F from pictures to pictures. Where F has a bound `max_dt` (a `Field`), an explicit step
beyond `limit` times the bound is taken, and announced by a StabilityWarning. On u' = -a u, a > 0, one step multiplies
by the polynomial R(-a dt), and |R(z)| <= 1 for z in [-2, 0] (Euler and Heun) or [-2.785, 0] (RK4).

Implicit schemes, without such a limit, are in implicit.py.

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
    """u^k -> u^{k+1}, for u_t = F(u). `order`: the global error is O(dt^order); `limit`: the scheme is stable for
    dt <= limit * F.max_dt, infinity for an implicit one.

    Raises ValueError unless dt is finite and > 0.
    """

    order: int = 1
    limit: float = 1.0
    F: Any

    def __init__(self, F: Callable[[Tensor], Tensor], dt: float):
        super().__init__()
        if not 0 < dt < math.inf:
            raise ValueError(f"The time step must be finite and > 0; got dt={dt}.")
        self.F, self.dt = F, float(dt)
        bound = self.limit * float(getattr(F, "max_dt", math.inf))
        if dt > bound * (1 + 1e-9):
            warnings.warn(
                f"{type(self).__name__} has dt = {dt:.4g}, but {type(F).__name__} is stable for dt <= {bound:.4g}. "
                "The iteration may diverge.",
                StabilityWarning,
                stacklevel=2,
            )


class Euler(Scheme):
    r"""u + dt F(u): order 1; R(z) = 1 + z.   (5.1)"""

    def forward(self, u: Tensor) -> Tensor:
        return u + self.dt * self.F(u)


class Heun(Scheme):
    r"""u + dt/2 (F(u) + F(u + dt F(u))): order 2; R(z) = 1 + z + z^2/2. It keeps the extrema where Euler does: it is
    the mean of u and of two steps of Euler.
    """

    order = 2

    def forward(self, u: Tensor) -> Tensor:
        a = self.F(u)
        return u + self.dt / 2 * (a + self.F(u + self.dt * a))


class RK4(Scheme):
    r"""u + dt/6 (k_1 + 2 k_2 + 2 k_3 + k_4), k_1 = F(u), k_2 = F(u + dt/2 k_1), k_3 = F(u + dt/2 k_2),
    k_4 = F(u + dt k_3): order 4; R(z) = 1 + z + z^2/2 + z^3/6 + z^4/24, limit 2.785/2.

    It is no mean of steps of Euler: extrema are kept only as far as the error allows.
    """

    order = 4
    limit = 2.7852935634 / 2  # R(-2.785...) = 1

    def forward(self, u: Tensor) -> Tensor:
        dt, F = self.dt, self.F
        k1 = F(u)
        k2 = F(u + dt / 2 * k1)
        k3 = F(u + dt / 2 * k2)
        k4 = F(u + dt * k3)
        return u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
