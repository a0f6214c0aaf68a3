r"""Sure pixels are 0 or 1, unsure ones are smoothed by W^T S(W .): vessels by a tight frame.   After [27]

With Lambda the set of unsure pixels of u, one step is

    mu, mu_-, mu_+   the means of u over Lambda, over Lambda where u <= mu, over Lambda where u >= mu
    alpha, beta      max((mu + mu_-)/2, 0),  min((mu + mu_+)/2, 1)
    w                0 where u <= alpha,  1 where u >= beta,  (u - m) / (M - m) between, m and M the extremes there
    Lambda           {0 < w < 1}
    u                W^T S(W w) on Lambda,  w elsewhere

It ends after finitely many steps at a picture of zeros and ones. The first step sorts all pixels anew. From then on a
pixel off Lambda is 0 or 1 and keeps its value, as long as alpha < 1 and beta > 0, and the least u on Lambda is at most
mu_- <= alpha, so that it leaves: Lambda shrinks strictly.

No energy is minimised. The first Lambda is {|grad f| >= eps}.

Of [27] its abstract was at hand: each step finds a range of values that the boundary may have, sorts what lies outside,
and denoises and smooths what lies inside by a tight frame; the iteration ends after finitely many steps. How alpha,
beta, w and the first Lambda are made is decided here, and may differ from [27].

Paper: Section 4.2 [27].  Notebook: 15.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from companion.flows.shrinkage import Shrinkage
from companion.operators.differences import Gradient
from companion.operators.frames import FrameletTransform


class Sorted(NamedTuple):
    """The state: u, and True where a pixel is unsure."""

    u: Tensor
    unsure: Tensor


class TightFrameSegmentation(nn.Module):
    r"""Classify by [alpha, beta], smooth what lies between by W^T S(W w): a map for `run`.   After [27]

    W    a tight FrameletTransform
    S    a threshold of coefficients, such as Soft(W.weights(lam))
    eps  >= 0: at the start the pixels with |grad f| >= eps are unsure

    Pictures of a batch are sorted one by one. Grey values should span [0, 1], vessels bright.

        run(TightFrameSegmentation(W, Soft(W.weights(0.02))), f, k=100, until=all_sure)

    Raises ValueError if W is not tight, and for eps < 0.
    """

    eps: float

    def __init__(self, W: FrameletTransform, S: Callable[[Tensor], Tensor], eps: float = 0.05):
        super().__init__()
        if not W.tight:
            raise ValueError(f"The tight-frame algorithm smooths by W^T S(W .), so W^T W = I; got {W}.")
        if not 0 <= eps < math.inf:
            raise ValueError(f"A pixel is unsure at the start where |grad f| >= eps, eps >= 0; got eps = {eps}.")
        self.smooth, self.eps, self.dim = Shrinkage(W, S), eps, W.dim
        self.grad = Gradient(dim=W.dim, boundary=W.boundary)

    def start(self, u0: Float[Tensor, "..."]) -> Sorted:
        """Lambda = {|grad f| >= eps}; all pixels, where a picture has no such gradient."""
        steep = torch.linalg.vector_norm(self.grad(u0), dim=-self.dim - 1) >= self.eps
        return Sorted(u0, steep | ~steep.flatten(-self.dim).any(-1).reshape(*steep.shape[: -self.dim], *[1] * self.dim))

    def image(self, state: Sorted) -> Tensor:
        """u."""
        return state.u

    def interval(self, state: Sorted) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """alpha and beta, one number for each picture: (*batch, 1, ..., 1)."""
        u, unsure = state
        mu = self._mean(u, unsure)
        lower, upper = self._mean(u, unsure & (u <= mu)), self._mean(u, unsure & (u >= mu))
        return ((mu + lower) / 2).clamp_min(0), ((mu + upper) / 2).clamp_max(1)

    def forward(self, state: Sorted) -> Sorted:
        u, (alpha, beta) = state.u, self.interval(state)
        between = (u > alpha) & (u < beta)
        m, M = self._extreme(u, between, math.inf, torch.amin), self._extreme(u, between, -math.inf, torch.amax)
        several = m < M
        inner = torch.where(several, (u - m) / torch.where(several, M - m, 1.0), 0.5)
        w = torch.where(u <= alpha, 0.0, torch.where(u >= beta, 1.0, inner)).to(u.dtype)
        unsure = (w > 0) & (w < 1)
        return Sorted(torch.where(unsure, self.smooth(w), w), unsure)

    def _mean(self, u: Tensor, where: Bool[Tensor, "..."]) -> Tensor:
        axes = tuple(range(-self.dim, 0))
        return (u * where).sum(axes, keepdim=True) / where.sum(axes, keepdim=True).clamp_min(1)

    def _extreme(self, u: Tensor, where: Tensor, empty: float, extreme: Callable[..., Tensor]) -> Tensor:
        return extreme(torch.where(where, u, empty), dim=tuple(range(-self.dim, 0)), keepdim=True)


def all_sure(new: Sorted, old: Sorted) -> bool:
    """True where no pixel is unsure: the iteration has ended, and a further step changes nothing."""
    return not bool(new.unsure.any())
