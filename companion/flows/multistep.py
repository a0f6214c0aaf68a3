r"""u^{k+1} = (1 - alpha) u^k + alpha u^{k-1} + dt F(u^k): schemes with a memory.   (5.2)

    TwoStep             (5.2), with the factor dt that is lost in print: the LM-ResNet
    LinearMultistep     u^{k+1} = sum_j a_j u^{k-j} + dt sum_j b_j F(u^{k-j}), explicit
    AdamsBashforth      u^{k+1} = u^k + dt sum_j b_j F(u^{k-j}): order q from q values of F, one of them new
    Leapfrog            u^{k+1} = u^{k-1} + 2 dt F(u^k): order 2, stable on the imaginary axis only

What (5.2) approximates. With u^{k+-1} = u +- dt u' + dt^2/2 u'' + O(dt^3) the scheme reads

    (1 + alpha) u' + (1 - alpha) dt/2 u'' = F(u) + O(dt^2),                                                  (5.3)

so for a fixed alpha the limit is (1 + alpha) u' = F(u), not u' = F(u): a change of the unit of time. The roots of
zeta^2 - (1 - alpha) zeta - alpha are 1 and -alpha. The scheme is zero-stable, and so convergent, for -1 < alpha <= 1:
at alpha = -1 the two roots meet and u^k grows like k, for |alpha| > 1 it grows like |alpha|^k. Since
(1 - alpha) u^k + alpha u^{k-1} = u^k - alpha (u^k - u^{k-1}), it is the heavy ball with the momentum -alpha.

The algebra of the roots is in roots.py.

Paper: (5.2), (5.3).  Notebook: 10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from companion.flows.roots import Number, check_alpha, check_multistep, largest_root, real_limit
from companion.flows.schemes import RK4, Scheme


class TwoStepState(NamedTuple):
    """The last two iterates u^k, u^{k-1}."""

    u: Tensor
    old: Tensor


class TwoStep(Scheme):
    r"""u^{k+1} = (1 - alpha) u^k + alpha u^{k-1} + dt F(u^k): order 1 for (1 + alpha) u' = F(u); R(z) is the root of
    zeta^2 - (1 - alpha + z) zeta - alpha of largest modulus, limit 1 - alpha.   (5.2)

    alpha   a number, or a tensor without axes such as a `Parameter`, in (-1, 1]; 0 is Euler's scheme. It is tested when
            the map is made, not while it is learned
    before  u^{-1} as a function of u^0; None is u^{-1} = u^0, with which the first step is one of Euler, as in the
            networks. The order is 1 with either; the modified equation (5.3) is met at order 2 only from a u^{-1} of
            order 2, such as lambda u: u - dt * F(u) / (1 + alpha)

    Stable on u' = -a u for a dt <= 2 (1 - alpha): with alpha < 0 beyond Euler's 2. A list of these maps with the
    numbers alpha_k and the fields F(., t_k) is the LM-ResNet.

    Raises ValueError for alpha outside (-1, 1], and as Scheme.

    >>> from companion import run
    >>> run(TwoStep(lambda u: -u, dt=1.0, alpha=-0.25), torch.tensor([1.0]), k=3).u
    tensor([-0.0625])
    """

    def __init__(
        self,
        F: Callable[..., Tensor],
        dt: float,
        alpha: float | Tensor = 0.0,
        before: Callable[[Tensor], Tensor] | None = None,
        t: float | None = None,
    ):
        self.limit = 1 - check_alpha(alpha)
        super().__init__(F, dt, t)
        self.before = before
        if isinstance(alpha, nn.Parameter):
            self.alpha = alpha
        else:
            self.register_buffer("alpha", torch.as_tensor(alpha, dtype=torch.float64))

    def start(self, u0: Tensor) -> TwoStepState:
        """(u^0, u^{-1})."""
        return TwoStepState(u0, u0 if self.before is None else self.before(u0))

    def forward(self, s: TwoStepState) -> TwoStepState:
        alpha = self.alpha.to(s.u.dtype)
        return TwoStepState((1 - alpha) * s.u + alpha * s.old + self.dt * self.slope(s.u), s.u)

    def R(self, z: Any) -> Any:
        return largest_root((1 - self.alpha.item(), self.alpha.item()), (1, 0))(z)


class History(NamedTuple):
    """u^k; u^{k-1}, ..., u^{k-s+1}; the values of F there; the clock k."""

    u: Tensor
    old: Tensor
    slopes: Tensor
    k: Tensor


class LinearMultistep(Scheme):
    r"""u^{k+1} = sum_{j<s} a_j u^{k-j} + dt sum_{j<s} b_j F(u^{k-j}): explicit, one value of F a step; R(z) is the root
    of zeta^s - sum_j (a_j + z b_j) zeta^{s-1-j} of largest modulus.

    a, b     s numbers each, those of u^k first; consistent: sum a_j = 1, sum b_j = 1 + sum j a_j
    starter  the scheme of the first s - 1 steps; its order may be one less than the order of this one

    `order` is that of the conditions (`multistep_order`). `limit` is found from R on the negative axis. A list of such
    maps shares one memory: give each its F, or its time t.

    Raises ValueError for lists of different lengths, an inconsistent pair, or one without zero-stability.
    """

    def __init__(
        self,
        F: Callable[..., Tensor],
        dt: float,
        a: Sequence[Number],
        b: Sequence[Number],
        starter: Callable[..., Any] = RK4,
        t: float | None = None,
    ):
        self.order = check_multistep(a, b)
        self.limit = real_limit(a, b)
        super().__init__(F, dt, t)
        self.a, self.b = tuple(map(float, a)), tuple(map(float, b))
        self.starter = starter(F, dt) if t is None else starter(F, dt, t=t)

    def start(self, u0: Tensor) -> History:
        """u^0 and an empty memory."""
        empty = u0.new_zeros((len(self.a) - 1, *u0.shape))
        return History(u0, empty, empty, u0.new_zeros((), dtype=torch.float64))

    def forward(self, s: History) -> History:
        slope = self.slope(s.u)
        us, slopes = torch.cat([s.u[None], s.old]), torch.cat([slope[None], s.slopes])
        if int(s.k) < len(self.a) - 1:
            u = self.starter(s.u)
        else:
            u = sum(a * v for a, v in zip(self.a, us, strict=True) if a)
            u = u + self.dt * sum(b * f for b, f in zip(self.b, slopes, strict=True) if b)
        return History(u, us[:-1], slopes[:-1], s.k + 1)

    def R(self, z: Any) -> Any:
        return largest_root(self.a, self.b)(z)


ADAMS = {  # b_j: the integral from 0 to 1 of the j-th Lagrange polynomial of the nodes 0, -1, ..., 1 - q
    1: (Fraction(1),),
    2: (Fraction(3, 2), Fraction(-1, 2)),
    3: (Fraction(23, 12), Fraction(-16, 12), Fraction(5, 12)),
    4: (Fraction(55, 24), Fraction(-59, 24), Fraction(37, 24), Fraction(-9, 24)),
}


class AdamsBashforth(LinearMultistep):
    r"""u^{k+1} = u^k + dt sum_{j<q} b_j F(u^{k-j}): the integral of the polynomial through the last q values of F;
    order q = 1, ..., 4, R as in LinearMultistep, limit 1, 1/2, 3/11, 3/20.

    Raises ValueError for another q.

    >>> AdamsBashforth(lambda u: -u, 0.1, q=2).b
    (1.5, -0.5)
    """

    def __init__(
        self,
        F: Callable[..., Tensor],
        dt: float,
        q: int = 2,
        starter: Callable[..., Any] = RK4,
        t: float | None = None,
    ):
        if q not in ADAMS:
            raise ValueError(f"Adams-Bashforth schemes are here for the orders q = 1, 2, 3, 4; got q={q}.")
        super().__init__(F, dt, (1, *[0] * (q - 1)), ADAMS[q], starter, t)


class Leapfrog(LinearMultistep):
    r"""u^{k+1} = u^{k-1} + 2 dt F(u^k): the two-step midpoint rule, order 2; R(z) is the larger of
    z +- (1 + z^2)^{1/2}, of modulus 1 on i [-1, 1] (a double root at the ends) and > 1 elsewhere: limit 0. It is (5.2)
    with alpha = 1 and the step 2 dt.
    """

    def __init__(self, F: Callable[..., Tensor], dt: float, starter: Callable[..., Any] = RK4, t: float | None = None):
        super().__init__(F, dt, (0, 1), (2, 0), starter, t)
