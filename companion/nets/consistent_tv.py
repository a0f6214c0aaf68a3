r"""TV_h(u) = sup {h^2 <p, D u> : |(L_l p)[n]| <= 1 for all n and l = 1, ..., m}: which of them?   (3.1)

D u are forward differences; p_1[n] lives on the edge between n and n + e_1, p_2[n] between n and n + e_2. Where is its
length to be at most 1, as (3.1) asks? The two components are nowhere at one point, so that each constraint interpolates
them, (L_l p)_i = sum_k xi_li[k] p_i[n + k], with kernels of sum 1:

    forward   xi_11 = xi_12 = delta                                      the TV of forward differences
    condat    at the points n, n + e_1/2 and n + e_2/2, by means of 2 and 4 neighbours      Condat's TV, m = 3

and any other kernels of sum 1: a smooth p is then its own interpolation up to O(h), and as h -> 0 no limit of TV_h is
below TV. If also sum_l |xi_li^(w)|^2 >= c > 0 for i = 1, 2 and all w, as with a delta among the kernels of each i, the
cheapest shares below cost TV + O(h) for smooth u, and TV_h -> TV. Without it TV_h may be infinite: with m = 1 and means
of two neighbours L annihilates an alternating p. `Interpolation.spectrum` tells. Which kernels are best on a finite
grid is left open by that, and can be learned. By duality

    TV_h(u) = min {h^2 sum_l sum_n |v_l[n]| : sum_l L_l^T v_l = D u}                                        (*)

D u is shared out among m gradients v_l, each at points of its own. ROF's problem with (*),

    min over u, v of  nu h^2 sum_l |v_l| + h^2/2 |u - f|^2   subject to  D u - sum_l L_l^T v_l = 0,

is a Problem of x = (u, v) for PDHG. Unrolled, run(PDHG(problem), f, k=150), or by `unrolled`, it passes gradients on to
the kernels. Over 10 steps these learn to be quick, not to be isotropic: from Condat's on, whose costs of straight edges
spread over 5 %, the error after 10 steps falls, and in lesson 14 the costs spread over 10 %; over 30 steps over 2 %.

Sources: Chambolle and Pock, Learning consistent discretizations of the total variation (2021), [31]; Condat, Discrete
total variation: new definition and minimization (2017).
Paper: (3.1), (3.2), Section 5.2, [31].  Notebook: 14.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import run
from companion.energies.functional import Functional, LeastSquares
from companion.energies.models import Problem
from companion.energies.norms import Box, GroupL1
from companion.nets.interpolation import Interpolation
from companion.operators.checks import check_picture
from companion.operators.linear import LinearOperator


class ConsistentROF(Problem):
    r"""min_u nu TV_h(u) + h^2/2 |u - f|^2 with TV_h of L, in the unknown x = (u, v) of (*): for PDHG.   (3.2)

    f      data, (*batch, N1, N2)
    nu, L  the weight > 0, an Interpolation
    h      the grid step

    x has the shape (*batch, 1 + 2 m, N1, N2), u first. Called at any x, the problem makes v obey (*), at the least cost
    in |v|_2, and gives the objective of that: an upper bound of that of u, sharp at the solution; never infinity.

    >>> from companion import PDHG, condat_kernels
    >>> f = torch.zeros(4, 4); f[1:3, 1:3] = 1
    >>> problem = ConsistentROF(f, 0.1, Interpolation(condat_kernels()))
    >>> problem.solve(PDHG, k=500, tol=1e-5).u.shape
    torch.Size([4, 4])
    """

    def __init__(self, f: Tensor, nu: float, L: Interpolation, h: float = 1.0):
        check_picture(f, "f", 2)
        if not nu > 0 or not h > 0:
            raise ValueError(f"The weight nu of the total variation and the grid step h are > 0; got nu={nu}, h={h}.")
        E = _SharedOut(f, h, nu * h, len(L.xi.start))
        super().__init__(E, Box(0.0, 0.0), Balance(L))
        self.L, self.nu, self.h = L, float(nu), float(h)
        size = float(f.abs().max()) if f.numel() else 0.0
        K = float(self.K.norm(self.E.domain()))
        self.ratio = K / (12 * h * h * (nu / (h * size)) ** 0.5) if size > 0 else 1.0  # good for nu = h/10 to 10 h

    def encode(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(u, 0)."""
        return torch.cat([u.unsqueeze(-3), u.new_zeros(*u.shape[:-2], 2 * len(self.L.xi.start), *u.shape[-2:])], -3)

    def decode(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """u."""
        return x.select(-3, 0)

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Float[Tensor, ""]:
        x = x if isinstance(x, Tensor) else x[0]
        u, v = parts(x)
        return self.E(joined(u, share_out(self.L, u, v)))


class Balance(LinearOperator):
    r"""x = (u, v) -> D u - sum_l L_l^T v_l: (*batch, 1 + 2 m, N1, N2) -> (*batch, 2, N1, N2); 0 for (*).

    L  an Interpolation; D are forward differences per pixel at its border
    """

    def __init__(self, L: Interpolation):
        super().__init__()
        self.L = L

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_picture(u, "x", 3)
        w, v = parts(u)
        return self.L.D(w) - self.L.adjoint(v)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """p -> (D^T p, -L p)."""
        return joined(self.L.D.adjoint(f), -self.L(f))

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """On a torus max_w of the larger eigenvalue of D D^T + L^T L, else by power iteration; without derivative."""
        with torch.no_grad():
            if self.L.boundary != "periodic":
                return super().norm(like, k, tol)
            s = self.L.spectrum(like.shape[-2:])
            w = [torch.pi / n * torch.arange(n, dtype=s.dtype, device=s.device) for n in like.shape[-2:]]
            d1, d2 = torch.meshgrid(*[4 * v.sin().square() for v in w], indexing="ij")
            a, c = d1 + s[0], d2 + s[1]
            return ((a + c) / 2 + ((a - c).square() / 4 + d1 * d2).sqrt()).max().sqrt().to(like)


class _SharedOut(Functional):
    """h^2/2 |u - f|^2 + lam sum_l |v_l| of x = (u, v)."""

    proximal = True

    def __init__(self, f: Tensor, h: float, lam: float, m: int):
        super().__init__()
        self.fit, self.norm, self.m = LeastSquares(f, weight=h * h), GroupL1(lam), m

    def domain(self) -> Tensor:
        f = self.fit.f
        return joined(f, f.new_zeros(*f.shape[:-2], self.m, 2, *f.shape[-2:]))

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        u, w = parts(v)
        return self.fit(u) + self.norm(w)

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        u, w = parts(v)
        return joined(self.fit.prox(u, tau), self.norm.prox(w, tau))


class Bounds(NamedTuple):
    """lower <= TV_h(u) <= upper for each picture, by a field p that obeys all constraints and by v that obey (*)."""

    lower: Tensor
    upper: Tensor
    p: Tensor
    v: Tensor


def consistent_tv(u: Float[Tensor, "*batch N1 N2"], L: Interpolation, h: float = 1.0, k: int = 1000) -> Bounds:
    r"""TV_h(u) = sup {h^2 <p, D u/h> : |L_l p| <= 1} between two bounds: k steps of PDHG on (*), for each picture.

    The bounds close in like 1/k at worst. `lower` is differentiable in u, with the derivative h D^T p.

    >>> from companion import forward_kernel
    >>> bounds = consistent_tv(torch.tensor([[0., 0.], [0., 2.]]), Interpolation(forward_kernel()))
    >>> round(bounds.lower.item(), 4), round(bounds.upper.item(), 4)
    (4.0, 4.0)
    """
    check_picture(u, "u", 2)
    with torch.no_grad():
        step = _Sharing(L, u)
        v, _, p = run(step, share_out(L, u, torch.zeros_like(L(step.Du))), k=k).x
        v = share_out(L, u, v)
        p = L.inside(p)
        p = p / torch.linalg.vector_norm(L(p), dim=-3).amax((-3, -2, -1)).clamp_min(1.0)[..., None, None, None]
        upper = torch.linalg.vector_norm(v, dim=-3).sum((-3, -2, -1))
    return Bounds(h * (p * L.D(u)).sum((-3, -2, -1)), h * upper, p, v)


class _Shares(NamedTuple):
    v: Tensor
    bar: Tensor
    p: Tensor


class _Sharing(nn.Module):
    """p <- p + s (D u - L^T v-bar),  v <- v + s L p, every length shortened by s, s = 1/|L|: PDHG for (*)."""

    def __init__(self, L: Interpolation, u: Tensor):
        super().__init__()
        self.L, self.Du, self.norm = L, L.D(u), GroupL1(1.0)
        self.s = 1 / float(L.norm(self.Du))

    def start(self, v: Tensor) -> _Shares:
        return _Shares(v, v, torch.zeros_like(self.Du))

    def forward(self, x: _Shares) -> _Shares:
        p = x.p + self.s * (self.Du - self.L.adjoint(x.bar))
        v = self.norm.prox(x.v + self.s * self.L(p), self.s)
        return _Shares(v, 2 * v - x.v, p)


def share_out(L: Interpolation, u: Tensor, v: Tensor) -> Tensor:
    """v + L (L^T L)^{-1} (D u - L^T v): the gradients nearest to v that obey (*)."""
    rest = L.D(u) - L.adjoint(v)
    return v + L(L.normal_solve(rest, 0.0)) if bool(rest.any()) else v


def parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """(u, v) of x = (u, v): (*batch, N1, N2) and (*batch, m, 2, N1, N2)."""
    return x.select(-3, 0), x[..., 1:, :, :].unflatten(-3, (-1, 2))


def joined(u: Tensor, v: Tensor) -> Tensor:
    """x = (u, v) as one tensor, (*batch, 1 + 2 m, N1, N2)."""
    return torch.cat([u.unsqueeze(-3), v.flatten(-4, -3)], -3)
