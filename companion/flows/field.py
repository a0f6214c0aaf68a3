r"""u_t = F(u): a vector field on pictures, and its flow T_t u_0 = u(t).   (3.3), Section 3

A `Field` is a module u -> F(u) of a discretised evolution equation. It knows the largest step of the explicit Euler
scheme under which it is stable, and whether its extrema are then kept:

    max_dt              the bound on dt; a step beyond it is taken, and announced by a StabilityWarning
    maximum_principle   True promises min u_0 <= u(t) <= max u_0 for dt <= max_dt
    keeps_mean          True promises that the sum of F(u) over a picture is 0: no grey value is lost

A scheme (schemes.py) turns a field and a step dt into a map, and `run` iterates the map: `run(Euler(F, dt), u0, k=60)`.
`F.flow(u0, t)` is the same in units of time.

Paper: Section 3, (3.3).  Notebooks: 05, 06, 08.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import Trajectory, run
from companion.flows.schemes import Euler
from companion.kernels import gpu


class Field(nn.Module):
    """F(u), the right-hand side of u_t = F(u). Subclasses write `forward` and `max_dt`."""

    maximum_principle: bool = False
    keeps_mean: bool = False

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """F(u)."""
        raise TypeError(f"{type(self).__name__} is no field yet: it does not define forward(u) = F(u).")

    @property
    def together(self) -> int:
        """How many steps of `euler` are best taken at once."""
        return 1

    def euler(self, u: Float[Tensor, "*shape"], dt: float, k: int = 1) -> Float[Tensor, "*shape"]:
        """u <- u + dt F(u), k times: `Euler`. A field that has a faster way to the same numbers takes it here."""
        for _ in range(k):
            u = self._step(u, dt)
        return u

    @gpu.compiled
    def _step(self, u: Tensor, dt: float) -> Tensor:
        return u + dt * self(u)

    @property
    def max_dt(self) -> float:
        """The largest step of the explicit Euler scheme; infinity where there is no bound."""
        return math.inf

    def flow(
        self,
        u0: Float[Tensor, "*shape"],
        t: float,
        dt: float | None = None,
        scheme: Callable[..., Any] = Euler,
        **watch: Any,
    ) -> Trajectory:
        r"""T_t u_0: u(t) for u_t = F(u), u(0) = u_0.

        t       the time >= 0, in the unit that the grid step h implies (h^2 for a diffusion); t = 0 gives u_0 back
        dt      the step, by default max_dt; it is shortened to t/k, k = ceil(t/dt), so that the flow ends at t
        scheme  (F, dt) -> map, such as Euler, Heun, SemiImplicit
        watch   record, keep, progress, ... of `run`

        Raises ValueError for t < 0: a diffusion cannot be run backwards. StabilityWarning for dt > max_dt.
        """
        if not 0 <= t < math.inf:
            raise ValueError(
                f"A flow runs forwards, for a finite time t >= 0; got t={t}. Backwards in time a diffusion multiplies "
                "the highest frequencies without bound."
            )
        dt = self.max_dt if dt is None else dt
        if not dt > 0:
            raise ValueError(f"The time step must be > 0; got dt={dt}.")
        if t > 0 and dt == math.inf:
            raise ValueError(
                f"{type(self).__name__} has no largest step max_dt; got dt={dt}. Say how long one is: flow(u0, t, dt)."
            )
        k = math.ceil(t / dt * (1 - 1e-12)) if t > 0 else 0
        return run(scheme(self, t / k if k else 1.0) if k else nn.Identity(), u0, k=k, **watch)
