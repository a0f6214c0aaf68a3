r"""log p(u(T), T) = log p(u(0), 0) - int_0^T div F(u(t), t) dt: the density that a flow carries along.   (5.1)

A flow u' = F(u, t) takes samples of a normal law to samples of a law with a density, and the density is known, since
the continuity equation p_t + div(p F) = 0 says along a trajectory

    d/dt log p(u(t), t) = -div F(u(t), t)          ("instantaneous change of variables").

A residual network has no such formula: it would need the determinant of its Jacobian, and an inverse. Both directions
of the flow are one `run`: backwards from x for log p(x), forwards from noise for samples. Fitting is maximum
likelihood:

    loss = -flow.log_prob(x).mean()

which is the entropy of the data's law plus its Kullback-Leibler divergence from the flow's, in nats.

With n steps all this holds up to O(dt^order), and training finds out: where the steps are long for the field that it
makes, it is rewarded for a "density" whose integral exceeds 1, and a loss below the entropy. The integral, or the loss
with finer steps, tells.

Sources: Chen, Rubanova, Bettencourt and Duvenaud, Neural ordinary differential equations (2018); Grathwohl et al.,
FFJORD (2019), for the estimate by random signs.
Paper: Section 5.1 (ODEs and SDEs in generative modelling).  Notebook: 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import Trajectory, run
from companion.flows.schemes import RK4
from companion.nets.dense_field import exact_trace, hutchinson
from companion.nets.neural_ode import check_steps, check_time, steps


class FlowDensity(nn.Module):
    r"""The law of u(T), where u' = F(u, t) and u(0) is normal with mean 0 and covariance I.   (5.1)

    F         (u, t) -> F(u, t) on R^d, made of torch's functions; one with `with_divergence`, like DenseField, is fast
    n, scheme, T   n steps of the scheme over the time T; the density then integrates to 1 up to O(dt^order)
    dim       d, by default F.dim
    signs     True estimates div F by one random sign vector for each sample and solve, instead of d derivatives:
              log p is then right in the mean only

    Raises ValueError unless T is finite and > 0 and n >= 1, and where no dimension is known.

    >>> spread = FlowDensity(lambda u, t: u, dim=1)                # u(1) = e u(0): normal, with deviation e
    >>> spread.log_prob(torch.zeros(1, 1)).item()                  # -log(2 pi)/2 - 1
    -1.9189...
    """

    F: Any

    def __init__(
        self,
        F: Callable[..., Any],
        n: int = 8,
        scheme: Callable[..., Any] = RK4,
        T: float = 1.0,
        dim: int | None = None,
        signs: bool = False,
    ):
        super().__init__()
        d = getattr(F, "dim", None) if dim is None else dim
        if not isinstance(d, int) or d < 1:
            raise ValueError(f"A density lives on R^d: say which d >= 1, by dim=... or F.dim; got {d}.")
        self.F, self.n, self.scheme, self.T = F, check_steps(n), scheme, check_time(T)
        self.dim, self.signs = d, signs

    def log_prob(
        self, x: Float[Tensor, "*batch d"], t: float | None = None, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*batch"]:
        r"""log p(x, t) = log N(u(0)) - int_0^t div F ds, along the trajectory with u(t) = x, found backwards.

        t  the time in (0, T] at which the density is meant, by default T; generator draws the signs

        Raises ValueError for points that are not in R^d.
        """
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"The density is one on R^{self.dim}: points (*, {self.dim}); got {tuple(x.shape)}.")
        T = self.T if t is None else check_time(t)
        e = torch.randint(2, x.shape, generator=generator, device=x.device).to(x) * 2 - 1 if self.signs else None

        def backwards(y: Tensor, s: float) -> Tensor:
            """d/ds (u, D) = (-F, div F) at the time T - s."""
            u = y[..., :-1]
            F, div = exact_trace(self.F, u, T - s) if e is None else hutchinson(self.F, u, T - s, e)
            return torch.cat([-F, div.unsqueeze(-1)], -1)

        y = run(steps(backwards, T, self.n, self.scheme), torch.cat([x, torch.zeros_like(x[..., :1])], -1)).u
        return normal_log_prob(y[..., :-1]) - y[..., -1]

    def sample(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "count d"]:
        """`count` samples: noise, carried forwards, with type and device of F's parameters.

        They carry gradients unless the caller is in torch.no_grad().
        """
        like = next(self.parameters(), torch.zeros(()))
        z = torch.randn(count, self.dim, generator=generator, dtype=like.dtype, device=like.device)
        return self.trajectory(z, keep=0).u

    def trajectory(self, z: Float[Tensor, "*batch d"], keep: int = 1) -> Trajectory:
        """The run from u(0) = z to u(T); `kept` holds every keep-th state on the way."""
        return run(steps(self.F, self.T, self.n, self.scheme), z, keep=keep)


def normal_log_prob(z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """log N(z; 0, I) = -|z|^2/2 - d/2 log 2 pi."""
    return -z.square().sum(-1) / 2 - z.shape[-1] / 2 * math.log(2 * math.pi)
