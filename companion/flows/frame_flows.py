r"""Perona-Malik, TV flow, Weickert, fourth order, shock: the flows of Section 3 as frame shrinkages.   (4.6)

                        terms (alpha_l, beta_l)                    frame
    frame_diffusion     (1,0), (0,1) both                          any spline: its first bands
    frame_tensor        (1,0), (0,1) both, (1,1)                   Haar, or a dual pair of given filters
    frame_directed      all ell with 1 <= ell_1 + ell_2, both      linear splines: all their bands
    frame_fourth_order  (2,0), (1,1), (0,2) both                   linear splines: their bands of second order
    frame_shock         alpha = 0; beta: (1,0), (0,1), each        one-sided differences, and a dual frame made for
                        twice, and (1,1)                           them

Each function returns a FramePDE F: `Euler(F, tau)` is the flow, `F.shrinkage(tau)` the shrinkage (4.5), and both are
the same map. On the torus; a picture between mirrors is one of twice the size on it.

Paper: (4.5), (4.6), Section 4.3.  Notebook: 08.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from companion.flows.diffusion import Diffusion
from companion.flows.frame_pde import FramePDE
from companion.flows.tensor import TensorDiffusion, diffusion_tensor
from companion.operators.banks import bspline
from companion.operators.derivatives import minmod, root
from companion.operators.filters import Filter, tensor_product
from companion.operators.gradients import FrameGradient, supremum
from companion.operators.lattice import entries
from companion.operators.smoothing import gaussian_smooth

Function = Callable[[Tensor], Tensor]
PAIR = ((1, 0), (0, 1))


def frame_diffusion(g: Function, order: int = 1, h: float = 1.0, dim: int = 2, boundary: str = "periodic") -> FramePDE:
    r"""u_t = div(g(|grad u|^2) grad u) by the first bands of bspline(order), level tau gamma^2 g(gamma^2 |d|^2).
    (4.5), (4.6)

    g         a decreasing function of s = |grad u|^2: Exponential, Rational for Perona and Malik; Regularised(eps), or
              diffusivity_from(Soft(mu), ...), for the flow of total variation
    boundary  "reflect" for an even order

    The other bands keep what the first bands do not see; `shrinkage_from(g, ..., rest=...)` takes it away.
    """
    axes = tuple(tuple(int(i == j) for j in range(dim)) for i in range(dim))
    like = Diffusion(g, FrameGradient(bspline(order), h=h, dim=dim, boundary=boundary))

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        return g(Du.square().sum(-dim - 1, keepdim=True)) * Du

    F = FramePDE(axes, axes, Phi, h, bspline(order), boundary, max_dt=like.max_dt)
    F.maximum_principle = like.maximum_principle
    return F


def frame_tensor(flow: TensorDiffusion, filters: Sequence[Filter] | None = None, corner: float = 0.0) -> FramePDE:
    r"""u_t = div(D grad u), D = D(J_rho(grad u_sigma)), by S_l(d) = d_l - tau gamma_l sum_m D_lm gamma_m d_m: the level
    is a matrix.   (4.6)

    flow     EdgeEnhancing, CoherenceEnhancing, ...: its eigenvalues, sigma, rho and h; its stencil is not used
    filters  two Filters of orders (1,0) and (0,1), such as `scharr_filters()`, with the dual frame made for them; by
             default Haar's
    corner   c in [0, 1]: the level 4 c tau (D_11 + D_22 - 2 |D_12|)/h^2 of Haar's diagonal band. 0: it passes

    G_sigma commutes with W: J_rho = G_rho * (v v^T), v = G_sigma * (gamma W u), so that S needs nothing but the
    coefficients. With Haar D lives at the centres of the cells, where the gradient is taken.

    The diagonal band (1,1) is what differences of first order do not see. With c = 1 and a constant D the scheme is
    ThreeByThree's, edges to the eight neighbours, but written as -W^T (...) W with a matrix >= 0 at each cell: |u|
    does not grow, however D turns. It is the stencil of Weickert, Welk and Wickert (L2-stable nonstandard finite
    differences for anisotropic diffusion, SSVM 2013) with alpha = (1 - c)/2, gamma = 1.
    c = 2/3 makes the error of D = I the same in all directions, up to h^4. A wave across a coherent structure, D n = 0,
    should stay: at c = 0 it fades like |w|^6 h^4, at multiples of 45 degrees not at all; the diagonal band takes
    |w|^4 h^2 but at 45 degrees, and there does not see a checkerboard either.

    max_dt = h^2 / (2 max(1, 2 c)), for `filters` 2 / (h^2 sup |G|^2). Raises ValueError for c outside [0, 1], or c > 0
    with filters.
    """
    h = flow.h
    if not 0 <= corner <= 1 or (corner and filters is not None):
        raise ValueError(
            "corner is the part in [0, 1] of the nine-point scheme's level that Haar's diagonal band has; other "
            f"filters have no such band. Got corner={corner} {'with' if filters is not None else 'without'} filters."
        )

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        D, flux = _tensor(flow, Du.narrow(-3, 0, 2))
        if not corner:
            return flux
        a, b, c = entries(D)
        diagonal = -corner * h**2 / 4 * (a + c - 2 * b.abs()).unsqueeze(-3) * Du.narrow(-3, 2, 1)
        return torch.cat([flux, diagonal], -3)

    if filters is not None:
        bound = _largest(filters) / h**2
        return FramePDE(PAIR, PAIR, Phi, h, analysis=filters, synthesis=filters, max_dt=2 / bound)
    terms = (*PAIR, (1, 1)) if corner else PAIR
    return FramePDE(terms, terms, Phi, h, max_dt=h**2 / (2 * max(1, 2 * corner)))


def frame_directed(flow: TensorDiffusion) -> FramePDE:
    r"""u_t = div(D grad u), D = m I + E, by all bands of linear splines: levels 2 tau m |ell|/h^2 for m I, directed
    ones for E.   (4.6)

    flow  EdgeEnhancing, CoherenceEnhancing, ...: its eigenvalues, sigma, rho and h. m is the smaller one of D, so that
          E >= 0 has rank one

    The levels 2 tau m |ell|/h^2, |ell| = ell_1 + ell_2, are m times the five-point Laplacian. The first bands alone are
    blind to stripes and checkerboards; so the energy <E grad u, grad u> is joined by

        h^2/4 tr(H E H) = h^2/4 sum_k <E grad u_k, grad u_k>,    H = (u_20, u_11; u_11, u_02),

    which sees stripes, and by the level tau tr E / h^2 in (2,2), where a checkerboard is. Both go with h. They take
    |w|^8 h^6 from a wave across a coherent structure, E n = 0, less than the first bands do, |w|^6 h^4; along it they
    make up for most of what differences over 2h are too slow. Nothing but constants is left where D > 0.

    max_dt = h^2/4.
    """
    h = flow.h

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        D, _ = _tensor(flow, Du.narrow(-3, 0, 2))
        return _directed(D, Du, h)

    terms = (*PAIR, (2, 0), (1, 1), (0, 2), (2, 1), (1, 2), (2, 2))
    return FramePDE(terms, terms, Phi, h, max_dt=h**2 / 4)


def _directed(D: Tensor, Du: Tensor, h: float) -> Tensor:
    """Phi of `frame_directed` in the bands (1,0), (0,1), (2,0), (1,1), (0,2), (2,1), (1,2), (2,2).

    The level 2 tau m |ell|/h^2 is Phi = (-1)^{|ell|+1} 2 |ell| C_ell^2 h^{2|ell|-2} m d^ell u.
    """
    a, b, c = entries(D)
    m = (a + c) / 2 - root(((a - c) / 2).square() + b.square())
    a, c = a - m, c - m
    x, y, xx, xy, yy, _, _, last = Du.unbind(-3)
    second = [a * xx + b * xy, b * (xx + yy) + (a + c) * xy, b * xy + c * yy]
    directed = [a * x + b * y, b * x + c * y, *(-(h**2) / 4 * q for q in second)]
    directed += [torch.zeros_like(x)] * 2 + [-(h**6) / 256 * (a + c) * last]
    levels = [1.0, 1.0, -(h**2) / 4, -(h**2), -(h**2) / 4, 3 * h**4 / 16, 3 * h**4 / 16, -(h**6) / 32]
    isotropic = torch.tensor(levels, dtype=Du.dtype, device=Du.device).reshape(-1, 1, 1)
    return m.unsqueeze(-3) * isotropic * Du + torch.stack(directed, -3)


def _tensor(flow: TensorDiffusion, p: Tensor) -> tuple[Tensor, Tensor]:
    """D of J_rho = G_rho * (v v^T), v = G_sigma * p, and D p, for p = grad u on the torus."""
    v = gaussian_smooth(p, flow.sigma, flow.h, 2, "periodic")
    J = gaussian_smooth(v.unsqueeze(-4) * v.unsqueeze(-3), flow.rho, flow.h, 2, "periodic")
    D = diffusion_tensor(J, flow.eigenvalues)
    return D, (D * p.unsqueeze(-4)).sum(-3)


def scharr_filters() -> tuple[Filter, Filter]:
    """(-1 0 1)/2 along one axis, (3 10 3)/16 along the other: Scharr's gradient as two Filters, C = 1."""
    d, m = Filter([-0.5, 0.0, 0.5]), Filter([3 / 16, 10 / 16, 3 / 16])
    return tensor_product(d, m), tensor_product(m, d)


def frame_fourth_order(g: Function, h: float = 1.0) -> FramePDE:
    r"""u_t = -sum_ij d_i d_j(g(|Hess u|^2) d_i d_j u) by linear splines: in (2,0), (1,1), (0,2) the levels are
    tau gamma^2 g(|Hess u|^2) times 1, 2, 1, gamma = -4/h^2, 2/h^2, -4/h^2.   (4.6)

    |Hess u|^2 = d_20^2 + 2 d_11^2 + d_02^2, each d divided by its C h^2: the mixed derivative counts twice.

    For g = 1 the sum of the three is (s_1 c_2 + c_1 s_2)^2 16/h^4, s = sin^2(w/2), c = cos^2(w/2): the square of Haar's
    Laplacian. So max_dt = h^4/(8 max g), four times that of finite differences, and the levels lie in [0, 1] up to half
    of it. Stripes pass no longer, checkerboards do.
    """

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        weighted = Du * torch.tensor([1.0, 2.0, 1.0], dtype=u.dtype, device=u.device).reshape(3, 1, 1)
        return -g((Du * weighted).sum(-3, keepdim=True)) * weighted

    terms = ((2, 0), (1, 1), (0, 2))
    return FramePDE(terms, terms, Phi, h, max_dt=h**4 / (8 * float(g(torch.zeros(1, dtype=torch.float64)))))


def frame_shock(h: float = 1.0, sigma: float = 0.0) -> FramePDE:
    r"""u_t = -sign(L(G_sigma * u)) |grad u|, L = sum_ij u_i u_j u_ij: Osher and Rudin's scheme as a shrinkage.   (4.6)

    alpha_l = 0: no derivative is taken after Phi. The bands are the one-sided differences D_1^-, D_1^+, D_2^-, D_2^+,
    so that the smaller slope (minmod) is a choice between two coefficients, and the mixed central difference; (D_i^- +
    D_i^+)/2 and (D_i^+ - D_i^-)/h are the other derivatives. Only the first band is synthesised, by delta.

    It is ShockFilter(h, sigma=sigma, boundary="periodic"); max_dt = h / sqrt 2.
    """

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        slopes = [minmod(Du[..., i, :, :], Du[..., i + 1, :, :]) for i in (0, 2)]
        v = gaussian_smooth(Du, sigma, h, 2, "periodic")
        x, y = ((v[..., i, :, :] + v[..., i + 1, :, :]) / 2 for i in (0, 2))
        xx, yy = ((v[..., i + 1, :, :] - v[..., i, :, :]) / h for i in (0, 2))
        L = x.square() * xx + 2 * x * y * v[..., 4, :, :] + y.square() * yy
        speed = -torch.sign(L).detach() * root(slopes[0].square() + slopes[1].square())
        return torch.stack([speed, *[torch.zeros_like(speed)] * 4], -3)

    line, delta = [-1.0, 1.0], Filter([[1.0]])
    sides = [Filter([[a] for a in line], (k, 0)) for k in (-1, 0)] + [Filter([line], (0, k)) for k in (-1, 0)]
    mixed = tensor_product(*[Filter([-0.5, 0.0, 0.5])] * 2)
    nothing = [Filter([[0.0]])] * 4
    betas = ((1, 0), (1, 0), (0, 1), (0, 1), (1, 1))
    F = FramePDE(
        ((0, 0),) * 5, betas, Phi, h, analysis=[*sides, mixed], synthesis=[delta, *nothing], max_dt=h / math.sqrt(2)
    )
    F.maximum_principle = True
    return F


def _largest(filters: Sequence[Filter]) -> float:
    """sup_w sum_l |q_l^(w)|^2 / C_l^2."""
    constants = [q.constant(q.vanishing_order() or (0, 0)) for q in filters]

    def square(frequencies: Sequence[np.ndarray]) -> np.ndarray:
        w = np.meshgrid(*frequencies, indexing="ij")
        return np.sum([abs(q.symbol(*w) / C) ** 2 for q, C in zip(filters, constants, strict=True)], axis=0)

    return supremum(square, 2)
