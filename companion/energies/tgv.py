r"""min_{u,w} h^d/2 |A u - f|^2 + h^d (alpha_1 sum |D u - w| + alpha_0 sum |E w|): total generalised variation, TGV^2.

TV charges every slope, so that a ramp becomes a staircase. TGV lets a second field w take the slope away: D u - w is
charged as in TV, and w pays for its own variation E w = (grad w + grad w^T) / 2 alone. An affine u costs nothing; a
jump costs what it costs in TV, alpha_1 for each unit of height and length. The ratio alpha_0 / alpha_1 is a length, a
few grid steps; with alpha_0 -> 0 every u is free, with alpha_0 -> infinity E w = 0 and TGV is TV up to such a w.

`frame_tgv` is the same with the bands of a wavelet frame in the place of D and of E: a case of the general frame model
of Dong, Shen and Xie, min over u and v of |lam' . (W' u - v)| + |lam'' . W'' v| and the data term.

Paper: Section 3, [18]; (3.2) is the model with w = 0. Sections 1 and 4, [52].  Notebook: 05.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from companion.dynamics import tensors
from companion.energies.functional import LeastSquares
from companion.energies.models import Problem
from companion.energies.norms import GroupL1
from companion.operators.cascade import FrameCascade, GradientCascade, OnFirst
from companion.operators.gradients import FrameGradient
from companion.operators.linear import LinearOperator


class TGV(Problem):
    r"""min_{u,w} h^d/2 |A u - f|^2 + h^d (alpha_1 sum |D u - w| + alpha_0 sum |E w|), for PDHG.

    A, f            the measurement of u and the data
    alpha1, alpha0  > 0; |.| is the Euclidean length of d numbers, and of d x d
    h, dim          the grid step and the dimension d
    boundary        "reflect" (a border that charges nothing), or "periodic"

    The unknown is x = (u, h w), (*batch, 1 + d, *space): with the slope per pixel in place of the slope, both are of
    one size, and K = GradientCascade(h=1) has |K| < 3.4 on every grid; the powers of h are in R.

    decode(x) is u, second(x) is w.   Raises ValueError unless alpha1, alpha0 > 0.
    """

    K: GradientCascade

    def __init__(
        self,
        A: LinearOperator,
        f: Tensor,
        alpha1: float,
        alpha0: float,
        h: float = 1.0,
        dim: int = 2,
        boundary: str = "reflect",
    ):
        K, R = _penalty(alpha1, alpha0, h, dim, boundary)
        super().__init__(LeastSquares(f, OnFirst(A, 1 + dim, dim), weight=h**dim), R, K)
        self.alpha1, self.alpha0, self.h, self.dim = float(alpha1), float(alpha0), float(h), dim
        self.ratio = 0.15 / h**dim if A.tight else None  # denoising, measured: the least gap after 300 steps

    def decode(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """u, the first component of the unknown."""
        return x.select(-self.dim - 1, 0)

    def encode(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(u, 0): the picture without a slope, at which the model is that of TV."""
        return _stack(u, self.dim)

    def second(self, x: Any) -> Float[Tensor, "..."]:
        """w, the slope that is not charged: (*batch, d, *space), from the unknown or a solver's state."""
        return tensors(x)[0].narrow(-self.dim - 1, 1, self.dim) / self.h

    def gap(self, x: Float[Tensor, "..."], p: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        r"""The objective at x minus that of the dual problem, max -F*(-D^T p_1) over p_1 = E^T p_0, |p_i| <= alpha_i.

        The multiplier p = (p_1, p_0) of a solver meets E^T p_0 = p_1 in the limit only. So p_0 is taken, cut to its
        bound, p_1 = E^T p_0, and both are scaled down where p_1 is too long: a feasible pair, so the gap is
        >= 0, bounds how far x is from the minimum, and goes to 0. It asks for an injective A (else ValueError).
        """
        p1 = _feasible(self.K, p, *self.R.lam.to(p.dtype))
        F = LeastSquares(self.E.f, self.E.A.A, self.E.weight)
        return self(x) + F.conjugate(-self.K.D.adjoint(p1).reshape(self.decode(x).shape))


def tgv(
    A: LinearOperator,
    f: Tensor,
    alpha1: float,
    alpha0: float,
    h: float = 1.0,
    dim: int = 2,
    boundary: str = "reflect",
) -> TGV:
    r"""min_{u,w} h^d/2 |A u - f|^2 + h^d (alpha_1 sum |D u - w| + alpha_0 sum |E w|): see `TGV`.   Section 3

    >>> from companion import PDHG, Identity
    >>> f = torch.arange(8.0).double().expand(8, 8) / 8
    >>> float((tgv(Identity(), f, 0.5, 1.0).solve(PDHG, k=500, tol=None).u - f).abs().max()) < 1e-3    # a ramp stays
    True
    """
    return TGV(A, f, alpha1, alpha0, h, dim, boundary)


class FrameTGV(Problem):
    r"""min_{u,v} h^d/2 |A u - f|^2 + h^d (alpha_1 sum |G u - v| + alpha_0 sum |G v|), G from a frame, for PDHG.   [52]

    A, f            the measurement of u and the data
    G               a gradient made of r bands, such as haar_gradient(h, boundary="periodic"); |.| are lengths of r
                    and of r x r numbers
    alpha1, alpha0  > 0

    The unknown is x = (u, h v), (*batch, 1 + r, *space). decode(x) is u. Raises ValueError unless alpha1, alpha0 > 0.
    """

    def __init__(self, A: LinearOperator, f: Tensor, G: FrameGradient, alpha1: float, alpha0: float):
        K, h, d = FrameCascade(G), G.h, G.dim
        lam = torch.tensor(_weights(alpha1, alpha0, h, d), dtype=torch.float64)
        data = LeastSquares(f, OnFirst(A, 1 + K.r, d), weight=h**d)
        super().__init__(data, GroupL1(lam, axis=-d - 1, sizes=(K.r, K.r**2)), K)
        self.r, self.dim = K.r, d

    def decode(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """u, the first component of the unknown."""
        return x.select(-self.dim - 1, 0)

    def encode(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(u, 0): the picture without a slope, at which the model is the analysis model of G."""
        return _stack(u, self.dim, self.r)


def frame_tgv(A: LinearOperator, f: Tensor, G: FrameGradient, alpha1: float, alpha0: float) -> FrameTGV:
    r"""min_{u,v} h^d/2 |A u - f|^2 + h^d (alpha_1 sum |G u - v| + alpha_0 sum |G v|): see `FrameTGV`.   [52]"""
    return FrameTGV(A, f, G, alpha1, alpha0)


def tgv_value(
    u: Float[Tensor, "..."],
    alpha1: float,
    alpha0: float,
    h: float = 1.0,
    dim: int = 2,
    boundary: str = "reflect",
    tol: float = 1e-3,
    k: int = 20000,
) -> Float[Tensor, ""]:
    r"""TGV(u) = min_w h^d (alpha_1 sum |D u - w| + alpha_0 sum |E w|).   Section 3

    u    a picture, or a batch, whose values are added up
    tol  > 0: the value is above the minimum by at most tol alpha_1 TV(u), by its duality gap; TGV(u) <= alpha_1 TV(u)

    Computed by the primal-dual hybrid gradient method, without gradients. Raises ValueError unless alpha1, alpha0 and
    tol > 0, RuntimeError where k steps do not reach tol.
    """
    K, R = _penalty(alpha1, alpha0, h, dim, boundary)
    if not tol > 0:
        raise ValueError(f"The gap of TGV falls to 0 in the limit only, so tol > 0 is needed; got tol={tol}.")
    with torch.no_grad():
        slope, x, gap = K.D(u), _stack(u, dim), math.inf
        free = 1 - _stack(torch.ones_like(u), dim)  # u stays, w moves
        most = float(R(K(x)))
        if most == 0:
            return u.new_zeros(())
        ratio = 0.1 * float(slope.abs().max() / R.lam[0])  # measured
        norm = math.sqrt(1 + 4 * dim)  # |w -> (-w, E w)|, at most
        tau, sigma = ratio / norm, 1 / (ratio * norm)
        p, bar = torch.zeros_like(K(x)), x
        for i in range(1, k + 1):
            p = R.prox_conjugate(p + sigma * K(bar), sigma)
            new = x - tau * free * K.adjoint(p)
            bar, x = 2 * new - x, new
            if i % 20 == 0 or i == k:
                value = R(K(x))
                gap = float(value - (slope * _feasible(K, p, *R.lam.to(u.dtype))).sum())
                if gap <= tol * most:
                    return value
    raise RuntimeError(
        f"TGV(u): {k} steps reached a gap of {gap:.1e}, not {tol:.1e} alpha_1 TV(u) = {tol * most:.1e}. Allow more "
        "steps (k=...) or a larger tol."
    )


def _penalty(alpha1: float, alpha0: float, h: float, dim: int, boundary: str) -> tuple[GradientCascade, GroupL1]:
    """K = GradientCascade(h=1) and R with the weights alpha_1 h^{d-1}, alpha_0 h^{d-2}."""
    GradientCascade(h, dim, boundary)  # speaks where h, dim or the boundary is none
    lam = torch.tensor(_weights(alpha1, alpha0, h, dim), dtype=torch.float64)
    return GradientCascade(1.0, dim, boundary), GroupL1(lam, axis=-dim - 1, sizes=(dim, dim * dim))


def _weights(alpha1: float, alpha0: float, h: float, dim: int) -> list[float]:
    """alpha_1 h^{d-1}, alpha_0 h^{d-2}."""
    if not (0 < alpha1 < math.inf and 0 < alpha0 < math.inf):
        raise ValueError(
            f"TGV charges |D u - w| by alpha1 > 0 and |E w| by alpha0 > 0; got alpha1={alpha1}, alpha0={alpha0}. With "
            "one of them 0 every picture is free."
        )
    return [alpha1 * h ** (dim - 1), alpha0 * h ** (dim - 2)]


def _stack(u: Tensor, dim: int, r: int | None = None) -> Tensor:
    u = u.unsqueeze(-dim - 1)
    return torch.cat([u, *[torch.zeros_like(u)] * (r or dim)], -dim - 1)


def _feasible(K: GradientCascade, p: Tensor, bound1: Tensor, bound0: Tensor) -> Tensor:
    """p_1 = E^T p_0 with |p_0| <= bound0 and |p_1| <= bound1, made from the multiplier p, image by image."""
    d = K.dim
    axis = -d - 1
    p0 = p.narrow(axis, d, d * d)
    size = torch.linalg.vector_norm(p0, dim=axis, keepdim=True)
    p0 = p0 * (bound0 / size.clamp_min(torch.finfo(p.dtype).tiny)).clamp(max=1.0)
    p1 = K.symmetrised_adjoint(p0)
    longest = torch.linalg.vector_norm(p1, dim=axis, keepdim=True).flatten(axis).amax(-1)
    factor = (bound1 / longest.clamp_min(torch.finfo(p.dtype).tiny)).clamp(max=1.0)
    return p1 * factor.reshape(*factor.shape, *[1] * (d + 1))
