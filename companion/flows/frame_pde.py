r"""u_t = sum_l d^{alpha_l} Phi_l(D u, u),  D = (d^{beta_1}, ..., d^{beta_L}): its frame and its shrinkage, by
construction.   (4.6)

With filters a_l of order beta_l and b_l of order alpha_l (Prop 4.1),

    gamma_l W_l u ~ d^{beta_l} u,                        gamma_l = 1/(C_{a_l} h^{|beta_l|}),
    (-1)^{|alpha_l|} gamma~_l W~_l^T p ~ d^{alpha_l} p,  gamma~_l = 1/(C_{b_l} h^{|alpha_l|}),

the sign because (gamma~ W~_l)^T ~ (d^alpha)^T = (-1)^{|alpha|} d^alpha; without it, as printed, a diffusion runs
backwards. So

    F(u) = sum_l (-1)^{|alpha_l|} gamma~_l W~_l^T Phi_l(gamma W u, u)

discretises (4.6), and if W~^T W = I an explicit step u + tau F(u) is the frame shrinkage W~^T S(W u) with

    S_l(d) = d_l + tau (-1)^{|alpha_l|} gamma~_l Phi_l(gamma_1 d_1, ..., gamma_L d_L, W~^T d);   other bands pass.

Which frame?  (a) If alpha_l = beta_l for all l, the tensor products of a spline bank of order m >= all indices have
bands of all these orders: a tight frame, W~ = W.  (b) Else, and for any filters, the pair

    W = {delta, a_1, ..., a_L},    W~ = {delta - sum_l b_l (*) a_l[-.], b_1, ..., b_L}

has sum_l q~_l^ conj q_l^ = 1 and so W~^T W = I. Its band 0 is u itself. Its first filters are low-pass, as they must
be, if no term has alpha_l = beta_l = 0. (A frame of the grid: the second condition of the mixed extension principle,
which makes functions psi_l of the filters, is not asked for.)

Paper: (4.5), (4.6), Section 4.3.  Notebook: 08.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.dictionary import check_step
from companion.flows.field import Field
from companion.flows.shrinkage import Shrinkage
from companion.operators.banks import bspline
from companion.operators.checks import check_picture
from companion.operators.derivatives import check_grid_step
from companion.operators.filters import Filter, tensor_product
from companion.operators.frames import FrameletTransform

Index = tuple[int, ...]


class FramePDE(Field):
    r"""F(u) = sum_l (-1)^{|alpha_l|} gamma~_l W~_l^T Phi_l(gamma W u, u) ~ sum_l d^{alpha_l} Phi_l(D u, u).   (4.6)

    alphas     alpha_1, ..., alpha_L, multi-indices in d = 1, 2 or 3 dimensions
    betas      beta_1, ..., beta_L
    Phi        (D u, u) -> (Phi_1, ..., Phi_L): (*batch, L, *space), (*batch, *space) -> (*batch, L, *space)
    h          the grid step
    bank       one-dimensional filters of a tight frame with all orders needed, by default bspline of the least order
    boundary   "periodic", or for a frame of kind (a) with a bank of even order "reflect"
    analysis   a_1, ..., a_L, d-dimensional Filters of orders beta_l, and
    synthesis  b_1, ..., b_L, of orders alpha_l, or the zero filter where Phi_l = 0 is meant: both or none
    max_dt     the largest stable step, where one knows it

    `W` and `dual` are the frame and its dual; `band[l]` says which band of W is the l-th. A frame of
    kind (a) is taken if alphas = betas, without repetition, and no filters are given.

    Raises ValueError for lists of different lengths, alpha_l = beta_l = 0, filters of other orders than declared, a
    bank without them; in use for Phi of another shape.

    >>> F = FramePDE([(1,)], [(1,)], lambda Du, u: Du)                  # u_t = u_xx, by Haar
    >>> F(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    tensor([ 0.,  1., -2.,  1.])
    """

    def __init__(
        self,
        alphas: Sequence[Sequence[int]],
        betas: Sequence[Sequence[int]],
        Phi: Callable[[Tensor, Tensor], Tensor],
        h: float = 1.0,
        bank: Sequence[Filter] | None = None,
        boundary: str = "periodic",
        analysis: Sequence[Filter] | None = None,
        synthesis: Sequence[Filter] | None = None,
        max_dt: float = math.inf,
    ):
        super().__init__()
        check_grid_step(h)
        self.alphas, self.betas = check_indices(alphas, betas)
        self.Phi, self.h, self._max_dt = Phi, float(h), float(max_dt)
        self.dim = dim = len(self.alphas[0])
        if (analysis is None) != (synthesis is None):
            raise ValueError("A pair of frames needs both analysis = [a_1, ...] and synthesis = [b_1, ...]; got one.")
        filters = bspline(max(1, *map(max, self.alphas + self.betas))) if bank is None else tuple(bank)
        if analysis is None and self.alphas == self.betas and len(set(self.betas)) == len(self.betas):
            check_orders("the bank", [_product(filters, beta) for beta in self.betas], self.betas)
            self.W = FrameletTransform(filters, 1, dim, boundary)
            self.band = [self.W.band(beta) for beta in self.betas]
            a = b = [self.W.filter(beta) for beta in self.betas]
        else:
            a = [_product(filters, beta) for beta in self.betas] if analysis is None else list(analysis)
            b = [_product(filters, alpha) for alpha in self.alphas] if synthesis is None else list(synthesis)
            check_orders("analysis", a, self.betas)
            check_orders("synthesis", b, self.alphas, zero=True)
            pair, dual = dual_pair(a, b)
            self.W = FrameletTransform(pair, 1, dim, boundary, dual)
            self.band = list(range(1, len(a) + 1))
        self.dual = self.W.dual
        self.keeps_mean = all(map(any, self.alphas))
        self.gamma = [1 / (q.constant(beta) * h ** sum(beta)) for q, beta in zip(a, self.betas, strict=True)]
        self.gamma_dual = [
            1 / (q.constant(alpha) * h ** sum(alpha)) if q.taps.any() else 0.0
            for q, alpha in zip(b, self.alphas, strict=True)
        ]

    @property
    def max_dt(self) -> float:
        """The largest step of Euler's scheme, if the author of the field has given one; else infinity."""
        return self._max_dt

    def velocity(self, d: Float[Tensor, "..."], u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(-1)^{|alpha_l|} gamma~_l Phi_l(gamma d, u) in the band of the l-th term, 0 in all others: like d."""
        axis = -self.dim - 1
        band = torch.tensor(self.band, device=d.device)
        Du = d.index_select(axis, band) * self._column(self.gamma, d)
        phi = self.Phi(Du, u)
        if not isinstance(phi, Tensor) or phi.shape != Du.shape:
            raise ValueError(
                f"Phi(D u, u) has one component for each of the {len(self.band)} terms of (4.6), shape "
                f"{tuple(Du.shape)}; got {tuple(phi.shape) if isinstance(phi, Tensor) else type(phi).__name__}."
            )
        signs = [(-1) ** sum(alpha) * gamma for alpha, gamma in zip(self.alphas, self.gamma_dual, strict=True)]
        return torch.zeros_like(d).index_copy(axis, band, phi * self._column(signs, d))

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_picture(u, "u", self.dim)
        return self.dual.T(self.velocity(self.W(u), u))

    def shrinkage(self, tau: float) -> Shrinkage:
        """u -> W~^T S(W u), S = `FrameStep(F, tau)`: one step of (4.5), which is u + tau F(u)."""
        return Shrinkage(self.W, FrameStep(self, tau))

    def _column(self, numbers: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(-1, *[1] * self.dim)

    def extra_repr(self) -> str:
        return f"alphas={self.alphas}, betas={self.betas}, h={self.h:g}"


class FrameStep(nn.Module):
    r"""S_l(d) = d_l + tau (-1)^{|alpha_l|} gamma~_l Phi_l(gamma d, W~^T d); the other bands pass.   (4.5), (4.6)

    F, tau   a FramePDE and the time step

    (The paper prints S_l = xi_l - tau gamma~_l Phi_l(xi_1, xi_2, zeta), without the factors gamma inside.)
    """

    def __init__(self, F: FramePDE, tau: float):
        super().__init__()
        check_step(tau)
        self.F, self.tau = F, float(tau)

    def level(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """lambda with S(d) = d (1 - lambda): -tau (-1)^{|alpha_l|} gamma~_l Phi_l / d_l. Where d_l = 0 there is none,
        and 0 is returned. Nothing says that it lies in [0, 1].
        """
        zero = d == 0
        return torch.where(zero, 0.0, -self._change(d) / torch.where(zero, 1.0, d))

    def forward(self, d: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """S(d)."""
        return d + self._change(d)

    def _change(self, d: Tensor) -> Tensor:
        return self.tau * self.F.velocity(d, self.F.dual.T(d))


def dual_pair(a: Sequence[Filter], b: Sequence[Filter]) -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    r"""W = {delta, a_1, ..., a_L}, W~ = {delta - sum_l b_l (*) a_l[-.], b_1, ..., b_L}: W~^T W = I for any filters.

    sum_l q~_l^ conj q_l^ = (1 - sum_l b_l^ conj a_l^) + sum_l b_l^ conj a_l^ = 1. FrameletTransform asks besides that
    the first filter of W~ be a low-pass, sum_l b_l^(0) conj a_l^(0) = 0.

    >>> a = Filter([-1.0, 1.0], 0)
    >>> dual_pair([a], [a])[1]                                           # delta - (-1, 2, -1)
    (Filter([ 1., -1.,  1.], origin=-1), Filter([-1.,  1.], origin=0))
    """
    delta = Filter(np.ones((1,) * a[0].ndim))
    low = delta
    for p, q in zip(a, b, strict=True):
        low = _minus(low, q.convolve(p.flip()))
    return (delta, *a), (low, *b)


def check_indices(alphas: Sequence[Sequence[int]], betas: Sequence[Sequence[int]]) -> tuple[list[Index], list[Index]]:
    """The multi-indices as tuples; ValueError unless they are as many, of one dimension, and never both 0."""
    alphas, betas = ([tuple(map(int, index)) for index in indices] for indices in (alphas, betas))
    if len(alphas) != len(betas) or not alphas:
        raise ValueError(
            f"(4.6) has one alpha_l and one beta_l for each term; got {len(alphas)} alphas and {len(betas)} betas. "
            "Where a term needs more derivatives than one, give more terms, with Phi_l = 0."
        )
    if len({len(index) for index in alphas + betas}) > 1 or min(map(min, alphas + betas)) < 0:
        raise ValueError(f"alpha_l and beta_l are d indices >= 0 each, for one d; got {alphas} and {betas}.")
    for alpha, beta in zip(alphas, betas, strict=True):
        if not any(alpha) and not any(beta):
            raise ValueError(
                "A term with alpha_l = beta_l = 0 has no band of its own: Phi may depend on u without it. Put a "
                "reaction into Phi_l of a term with alpha_l = 0 and beta_l != 0."
            )
    return alphas, betas


def check_orders(name: str, filters: Sequence[Filter], orders: Sequence[Index], zero: bool = False) -> None:
    """ValueError unless filter l has vanishing moments of order orders[l]; the zero filter passes where `zero`."""
    if len(filters) != len(orders):
        raise ValueError(f"There is one filter for each term of (4.6); {name} has {len(filters)} for {len(orders)}.")
    for q, order in zip(filters, orders, strict=True):
        found = q.vanishing_order() if q.taps.any() else None
        if found != order and not (zero and not q.taps.any()):
            raise ValueError(
                f"A filter for d^alpha, alpha = {order}, has vanishing moments of that order; in {name} that with taps "
                f"{q.taps.tolist()} has {'none' if found is None else found}."
            )


def _product(bank: Sequence[Filter], index: Index) -> Filter:
    if max(index) >= len(bank):
        raise ValueError(f"The bank has filters of order 0, ..., {len(bank) - 1}; the equation needs {index}.")
    return tensor_product(*(bank[i] for i in index))


def _minus(p: Filter, q: Filter) -> Filter:
    """p - q, tap by tap."""
    low = np.minimum(p.origin, q.origin)
    high = np.maximum(np.add(p.origin, p.taps.shape), np.add(q.origin, q.taps.shape))
    taps = np.zeros(high - low)
    for sign, filter_ in ((1, p), (-1, q)):
        start = np.subtract(filter_.origin, low)
        taps[tuple(slice(i, i + n) for i, n in zip(start, filter_.taps.shape, strict=True))] += sign * filter_.taps
    return Filter(taps, [int(i) for i in low])
