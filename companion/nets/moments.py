r"""u -> (h^{-|alpha|} Q_alpha u): filters with some entries of their moment matrices fixed, the rest learned.   (5.7)

The entries that an order of accuracy asks for are fixed by construction; what is learned is the free ones, the stars
of (5.7), and nothing else. So each filter is the derivative it is called after, to the order asked for, before, during
and after the training.

Sources: Long, Lu, Ma and Dong, PDE-Net (2018), [102]; Long, Lu and Dong, PDE-Net 2.0 (2019), [101].
Paper: (5.4)-(5.7).  Notebooks: 12, 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn

from companion.operators.grid import extend
from companion.operators.moments import (
    Order,
    accuracy_of,
    central,
    constrained,
    degrees_of_freedom,
    from_moments,
    moment_matrix,
    order_of,
    upwind,
)

__all__ = [
    "MomentBank",
    "accuracy_of",
    "central",
    "constrained",
    "degrees_of_freedom",
    "from_moments",
    "moment_matrix",
    "upwind",
]


class MomentBank(nn.Module):
    r"""u -> (h^{-|alpha|} Q_alpha u) for a list of alpha: (*batch, N1, N2) -> (*batch, F, N1, N2).   (5.7)

    orders    alpha = (i, j) each, or i each in one dimension
    N         taps along an axis, odd
    accuracy  r of every filter: |beta| < |alpha| + r is fixed
    h         the grid step
    start     (alpha, N) -> taps whose free moments the learning starts from: `central`, `upwind`
    learned   False keeps the free moments as a buffer: frozen filters
    nets      S for S independent banks at once: taps (S, F, N, N), u of shape (S or 1, *batch, N1, N2)

    The only parameter is `free`, the free moments of all filters one after another, (*nets, number): the constraints
    hold whatever values it has. It is kept in float64; the filters act in the type of u. Periodic grid.

    >>> bank = MomentBank([(1, 0), (0, 1)], N=3, accuracy=2, h=0.1)
    >>> bank(torch.zeros(7, 16, 16)).shape, bank.free.shape
    (torch.Size([7, 2, 16, 16]), torch.Size([6]))
    """

    mask: Tensor
    fixed: Tensor
    places: Tensor
    scale: Tensor
    free: Tensor

    def __init__(
        self,
        orders: Sequence[Order],
        N: int = 5,
        accuracy: int = 2,
        h: float = 1.0,
        start: Callable[[Order, int], Tensor] = central,
        learned: bool = True,
        nets: int | None = None,
    ):
        super().__init__()
        self.orders = [order_of(alpha, N) for alpha in orders]
        if not self.orders or len({len(alpha) for alpha in self.orders}) > 1:
            raise ValueError(
                "A bank has one derivative or more, all in one dimension or all in two: orders [(i, j), ...] or "
                f"[i, ...]; got {list(orders)}."
            )
        if not h > 0 or not math.isfinite(h):
            raise ValueError(f"The grid step h must be finite and > 0; got h={h}.")
        self.N, self.dim, self.accuracy, self.h, self.nets = N, len(self.orders[0]), accuracy, h, nets
        first = moment_matrix(torch.stack([start(alpha, N).double() for alpha in self.orders]), self.dim)
        mask = torch.stack([constrained(alpha, N, accuracy) for alpha in self.orders])
        target = torch.zeros_like(first)
        for M, alpha in zip(target, self.orders, strict=True):
            M[alpha] = 1
        self.register_buffer("mask", mask)
        self.register_buffer("fixed", torch.where(mask, target, 0))
        self.register_buffer("places", (~mask).flatten().nonzero().squeeze(-1))
        self.register_buffer("scale", torch.tensor([h ** -sum(alpha) for alpha in self.orders], dtype=torch.float64))
        free = first[~mask].expand(*self._nets, -1).clone()
        if learned:
            self.free = nn.Parameter(free)
        else:
            self.register_buffer("free", free)

    @property
    def _nets(self) -> tuple[int, ...]:
        return () if self.nets is None else (self.nets,)

    @property
    def free_moments(self) -> Tensor:
        """The free entries of all moment matrices, (*nets, number): what a regulariser acts on."""
        return self.free

    def moments(self) -> Float[Tensor, "*shape"]:
        """M of every filter, (*nets, F, N, N): the free entries put in their places.   (5.5)"""
        M = self.fixed.flatten().expand(*self._nets, -1).index_copy(-1, self.places, self.free)
        return M.unflatten(-1, self.fixed.shape)

    def taps(self) -> Float[Tensor, "*shape"]:
        """q of every filter, (*nets, F, N, N), without the factor h^{-|alpha|}.   (5.6)"""
        return from_moments(self.moments(), self.dim)

    def forward(self, u: Float[Tensor, "*grid"]) -> Float[Tensor, "*shape"]:
        return self.correlate(u, self.scaled_taps(u))

    def correlate(self, u: Float[Tensor, "*grid"], q: Float[Tensor, "*taps"]) -> Float[Tensor, "*shape"]:
        """sum_k q[k] u[n + k] with any taps of this size, (*nets, F, N, N), as one convolution: (*batch, F, N1, N2)."""
        self._check(u)
        F, S, space = q.shape[q.ndim - self.dim - 1], self.nets or 1, u.shape[u.ndim - self.dim :]
        v = u if self.nets is None else u.expand(S, *u.shape[1:])
        batch = v.shape[len(self._nets) : v.ndim - self.dim]
        v = self._extend(v)
        v = v.reshape(S, -1, *v.shape[v.ndim - self.dim :]).transpose(0, 1)
        q = q.reshape(S * F, 1, *(self.N,) * self.dim)
        d = (nnf.conv1d, nnf.conv2d)[self.dim - 1](v, q, groups=S)  # torch's conv is a correlation
        return d.unflatten(1, (S, F)).transpose(0, 1).reshape(*self._nets, *batch, F, *space)

    def patches(self, u: Float[Tensor, "*grid"]) -> Float[Tensor, "*shape"]:
        """u[n + k] for every point n: (*batch, N1, N2) -> (*batch, N^2, N1 N2), k_1 and n_1 slowest."""
        self._check(u)
        lead, v = u.ndim - self.dim, self._extend(u)
        for axis in range(lead, u.ndim):
            v = v.unfold(axis, self.N, 1)
        v = v.permute(*range(lead), *range(u.ndim, u.ndim + self.dim), *range(lead, u.ndim))
        return v.reshape(*u.shape[:lead], self.N**self.dim, -1)

    def at(self, patches: Float[Tensor, "*windows"]) -> Float[Tensor, "*shape"]:
        """h^{-|alpha|} Q_alpha u at the points of some patches, (*batch, N^2, points) -> (*batch, F, points)."""
        q = self.scaled_taps(patches).flatten(-self.dim)
        if self.nets is not None:
            q = q.reshape(self.nets, *(1,) * (patches.ndim - 3), *q.shape[1:])
        return q @ patches

    def _extend(self, u: Tensor) -> Tensor:
        for axis in range(-self.dim, 0):
            u = extend(u, self.N // 2, self.N // 2, axis, "periodic")
        return u

    def _check(self, u: Tensor) -> None:
        rank = len(self._nets) + self.dim
        if not u.is_floating_point() or u.ndim < rank:
            raise ValueError(
                f"The filters act on real numbers with {rank} axes or more, (*batch, N1, N2) in two dimensions, the "
                f"nets in front; got shape {tuple(u.shape)} of {u.dtype}."
            )
        if self.nets is not None and u.shape[0] not in (1, self.nets):
            raise ValueError(
                f"This is a bank of {self.nets} nets, so u has {self.nets} or 1 in front, (S, *batch, N1, N2); got "
                f"shape {tuple(u.shape)}. Take u.unsqueeze(0) to give all of them the same u."
            )

    def scaled_taps(self, like: Tensor) -> Tensor:
        """h^{-|alpha|} q_alpha of every filter, (*nets, F, N, N), in the type of `like`."""
        return (self.taps() * self.scale.reshape(-1, *(1,) * self.dim)).to(like)

    def extra_repr(self) -> str:
        return f"orders={self.orders}, N={self.N}, accuracy={self.accuracy}, h={self.h:.6g}, nets={self.nets}"
