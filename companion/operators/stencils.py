r"""div(D grad u) and tr(D Hess u) on a grid, for a symmetric tensor D[n] at each pixel: three discretisations.   Sec. 3

    ThreeByThree    edges to the 8 neighbours; non-negative weights only for moderate tensors
    Scharr          first derivatives with optimised 3 x 3 filters, applied twice; no sign at all
    Selling         edges along a reduced basis of the lattice; weights >= 0 for every D > 0

A tensor is a sum of edges, D = sum_i rho_i e_i e_i^T with e_i in Z^2, and then

    (div(D grad u))[n] = h^{-2} sum_m w(n, m) (u[m] - u[n]),   w(n, n + e) = (rho_e[n] + rho_e[n + e]) / 2.

The weights are symmetric and no edge leaves the grid: no flux goes through the border, and the mean of u is kept. If
all rho_i are >= 0, an explicit step is a mean of grey values and keeps the extrema. With edges to the 8 neighbours
rho = (a - |b|, c - |b|, |b|) for D = (a b; b c): non-negative for all directions of the eigenvectors iff the condition
number of D is at most 3 + 2 sqrt 2 = 5.83. Longer edges are the price of every other tensor.

Sources: Weickert, Anisotropic Diffusion in Image Processing (1998), Sec. 3.4; Weickert and Scharr (2002); Fehrenbach
and Mirebeau, Sparse non-negative stencils for anisotropic diffusion (2014).
Paper: Section 3 ([161]).  Notebook: 06.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from companion.kernels import taken, unwatched
from companion.kernels.edges import divergence
from companion.kernels.gpu import embedded, launched
from companion.operators.grid import check_boundary, constants, correlate, correlate_adjoint
from companion.operators.lattice import ROUNDS, THINNEST, Decomposition, edge_ends, entries, selling, total_weights

STEEPEST = (97**0.5 - 5) / 12  # cos w_1 = cos w_2 where Scharr's |G|^2 = 2 sin^2(w) (5 + 3 cos w)^2 / 64 is largest


class Stencil:
    """A way to discretise div(D grad u) and the gradient that D is made of; holds no numbers of its own.

    boundary           "reflect": no flux through the border; Scharr's may be "periodic"
    maximum_principle  True promises weights >= 0 for every D > 0
    limit              explicit Euler is stable for dt <= limit * h^2 if the eigenvalues of D lie in [0, 1]; but where
                       weights are negative and D varies, |u| may grow slowly all the same
    """

    boundary: str = "reflect"
    maximum_principle: bool = False
    limit: float = 0.25

    def gradient(self, u: Float[Tensor, "*batch H W"], h: float) -> Float[Tensor, "*batch 2 H W"]:
        """grad u at the pixels, by Scharr's filters (-1 0 1)/2 and (3 10 3)/16: of second order; the direction of a
        wave is met to 0.006 rad up to |w| = 2, by (-1 0 1)/2 alone to 0.24.
        """
        return scharr_gradient(u, h, self.boundary)

    def divergence(
        self, D: Float[Tensor, "*batch 2 2 H W"], u: Float[Tensor, "*batch H W"], h: float
    ) -> Float[Tensor, "*batch H W"]:
        """div(D grad u), no flux through the border."""
        raise TypeError(f"{type(self).__name__} is no stencil yet: it does not define divergence(D, u, h).")

    def frozen(self, D: Float[Tensor, "*batch 2 2 H W"], h: float) -> Callable[[Tensor], Tensor]:
        """u -> div(D grad u): for many u and one D, whose edges are then looked for once."""
        return lambda u: self.divergence(D, u, h)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _EdgeStencil(Stencil):
    """div(D grad u) from the edges of D."""

    def edges(self, D: Float[Tensor, "*batch 2 2 H W"]) -> Decomposition:
        """rho_i and e_i with D = sum_i rho_i e_i e_i^T."""
        raise TypeError(f"{type(self).__name__} is no stencil yet: it does not define edges(D).")

    def divergence(
        self, D: Float[Tensor, "*batch 2 2 H W"], u: Float[Tensor, "*batch H W"], h: float
    ) -> Float[Tensor, "*batch H W"]:
        fused = self._fused(D, u, h)
        return self.frozen(D, h)(u) if fused is None else fused

    def _fused(self, D: Tensor, u: Tensor, h: float) -> Tensor | None:
        """The same by the loops, where they may stand in for it: they know two sets of edges, on a GPU one."""
        lattice = type(self) is Selling
        if D.shape[:-4] != u.shape[:-2] or D.shape[-2:] != u.shape[-2:]:
            return None
        if lattice and embedded(D, u):
            return _traced(D, u, float(h))
        if lattice and launched(u, D) and unwatched(D, u):
            return _on_gpu(D, u, h)
        if not (lattice or type(self) is ThreeByThree) or not (taken(u, D) and unwatched(D, u)):
            return None
        return divergence(D, u, h, _ceiling(D) if lattice else None, THINNEST, ROUNDS)

    def frozen(self, D: Float[Tensor, "*batch 2 2 H W"], h: float) -> Callable[[Tensor], Tensor]:
        """u -> div(D grad u), the edges of D found."""
        target, w = edge_ends(*self.edges(D))
        if self.maximum_principle:
            W, ceiling = total_weights(target, w), _ceiling(D)
            share = ceiling / torch.maximum(W, ceiling)
            w = w * torch.minimum(share.unsqueeze(-2), _at(share, target))

        def divergence(u: Tensor) -> Tensor:
            v = u.flatten(-2)
            flux = w * (_at(v, target) - v.unsqueeze(-2))
            back = torch.zeros_like(v).scatter_add(-1, target.flatten(-2), flux.flatten(-2))
            return (flux.sum(-2) - back).reshape(u.shape) / h**2

        return divergence

    def negative(self, D: Float[Tensor, "*batch 2 2 H W"]) -> float:
        """The fraction of pixels where an edge has a weight < 0: where the maximum principle is not promised."""
        return float((self.edges(D).rho < 0).any(-3).double().mean())


class ThreeByThree(_EdgeStencil):
    r"""D = (a - |b|) e_1 e_1^T + (c - |b|) e_2 e_2^T + |b| e e^T,  e = (1, sign b): the nine-point scheme.

    Second order inside; along lines where b changes its sign only first order, in the mean. Weights >= 0 where
    |b| <= min(a, c): for a condition number up to 3 + 2 sqrt 2 always, beyond it along some directions not: then a step
    may leave the range of u. `negative(D)` says at how many pixels.
    """

    def edges(self, D: Float[Tensor, "*batch 2 2 H W"]) -> Decomposition:
        """rho = (a - |b|, c - |b|, |b|), e = (1, 0), (0, 1), (1, sign b)."""
        a, b, c = entries(D)
        rho = torch.stack([a - b.abs(), c - b.abs(), b.abs()], -3)
        one, zero = torch.ones_like(b, dtype=torch.long), torch.zeros_like(b, dtype=torch.long)
        e = [torch.stack(pair, -3) for pair in ((one, zero), (zero, one), (one, torch.where(b < 0, -one, one)))]
        return Decomposition(rho, torch.stack(e, -4))


class Selling(_EdgeStencil):
    r"""D = sum_{i<3} rho_i e_i e_i^T, rho_i >= 0: Selling's decomposition; a mean of grey values for every D > 0.

    A step keeps the extrema for dt <= h^2/4 where the eigenvalues of D are at most 1, and this is sharp: for D = I the
    scheme is the five-point Laplacian. Edges of up to (2 condition number)^{1/2} pixels are the price: second order
    inside while the e_i stay, first order in the mean where D turns and they change.

    Where D varies, edges of many neighbours may end at one pixel n and its total weight W[n] = sum_m w(n, m) exceed 4.
    Such weights are reduced, w(n, m) min(1, 4/W[n], 4/W[m]): the same for n and m, so the mean is still kept. `excess`
    says at how many pixels; for a constant D at none.
    """

    maximum_principle = True

    def edges(self, D: Float[Tensor, "*batch 2 2 H W"]) -> Decomposition:
        """`selling(D)`: rho_i >= 0, e_i in Z^2."""
        return selling(D)

    def excess(self, D: Float[Tensor, "*batch 2 2 H W"]) -> float:
        """The fraction of pixels with a total weight above 4, where weights are reduced."""
        W = total_weights(*edge_ends(*self.edges(D)))
        return float((_ceiling(D) * (1 + 1e-9) < W).double().mean())


class Scharr(Stencil):
    r"""-G^T D G u, G = Scharr's gradient: the derivatives of Weickert and Scharr, 5 x 5 pixels in all.

    G has the symbol i sin(w_1) (5 + 3 cos w_2)/8 /h along x_1: nearly the same error in every direction, so that the
    diffusion hardly knows the grid, and a step may be eight times as long: 2/max |G|^2 = 1.98 h^2. No maximum
    principle, and sin(pi) = 0: stripes and checkerboards of period 2 are left as they are.
    """

    limit = 64 / ((1 - STEEPEST**2) * (5 + 3 * STEEPEST) ** 2)

    def __init__(self, boundary: str = "reflect"):
        check_boundary(boundary)
        self.boundary = boundary

    def divergence(
        self, D: Float[Tensor, "*batch 2 2 H W"], u: Float[Tensor, "*batch H W"], h: float
    ) -> Float[Tensor, "*batch H W"]:
        """-G^T D G u."""
        a, b, c = entries(D)
        x, y = self.gradient(u, h).unbind(-3)
        flux = (a * x + b * y, b * x + c * y)
        back = [_scharr(correlate_adjoint, p, i, h, self.boundary) for i, p in enumerate(flux)]
        return -back[0] - back[1]


def scharr_gradient(
    u: Float[Tensor, "*batch H W"], h: float = 1.0, boundary: str = "reflect"
) -> Float[Tensor, "*batch 2 H W"]:
    r"""grad u ~ ((3 10 3)/16 in x_2 times (u[n + e_1] - u[n - e_1])/(2h), the same with the axes exchanged)."""
    return torch.stack([_scharr(correlate, u, i, h, boundary) for i in range(2)], -3)


def _scharr(apply: Callable[..., Tensor], u: Tensor, i: int, h: float, boundary: str) -> Tensor:
    """One component, or its adjoint."""
    mean, difference = constants(3 / 16, 10 / 16, 3 / 16, like=u), constants(-0.5 / h, 0.0, 0.5 / h, like=u)
    v = apply(u, mean, (-1,), (-1 - i,), boundary=boundary)
    return apply(v, difference, (-1,), (i - 2,), boundary=boundary, zero=(False, True, False))


def _at(v: Tensor, target: Tensor) -> Tensor:
    """v[m] at the ends m of the edges: (*batch, HW) and (*batch, edges, HW) -> (*batch, edges, HW)."""
    return v.gather(-1, target.flatten(-2)).reshape(target.shape)


def _ceiling(D: Tensor) -> Tensor:
    """4 max(1, the largest eigenvalue of D in the picture), (*batch, 1)."""
    a, b, c = entries(D)
    largest = (a + c) / 2 + ((a - c).square() / 4 + b.square()).sqrt()
    return 4 * largest.detach().flatten(-2).amax(-1, keepdim=True).clamp_min(1)


def _on_gpu(D: Tensor, u: Tensor, h: float) -> Tensor | None:
    """Selling's by the kernels for a GPU; None where D is no diffusion tensor, and the readable form says so, and where
    sums are asked for in a fixed order.
    """
    if torch.are_deterministic_algorithms_enabled():
        return None
    from companion.kernels import gpu_edges

    made: Tensor | None = gpu_edges.divergence(D, u, h, _ceiling(D), THINNEST, ROUNDS)
    return made


@torch.library.custom_op("companion::selling", mutates_args=(), schema="(Tensor D, Tensor u, float h) -> Tensor")
def _traced(D: Tensor, u: Tensor, h: float) -> Tensor:
    """The same as one operation of what torch.compile traces, which cannot look into it."""
    made = _on_gpu(D, u, h) if launched(u, D, least=0) else None
    return Selling().frozen(D, h)(u) if made is None else made


_traced.register_fake(lambda D, u, h: torch.empty_like(u, memory_format=torch.contiguous_format))
