r"""D = sum_{i<3} rho_i e_i e_i^T, rho_i >= 0, e_i in Z^2: Selling's decomposition of a positive tensor.   Section 3

A superbase of Z^2 is a triple v_0 + v_1 + v_2 = 0 with det(v_1, v_2) = +-1. It is D-obtuse if <v_j, D v_k> <= 0 for
j != k, and every D > 0 has one (Selling 1874). With e_i = v_i turned by 90 degrees

    D = - sum_i <v_j, D v_k> e_i e_i^T,     {i, j, k} = {0, 1, 2}.

It is found by Lagrange's reduction of a basis in the norm <v, D v>^{1/2}, the Euclidean algorithm in the plane:
subtract the shorter vector from the longer as often as it fits, exchange, repeat; O(log(condition number)) steps, all
pixels of a picture at once. The vectors are constants to autograd; rho is linear in D while they stay, and continuous.

Source: Fehrenbach and Mirebeau, Sparse non-negative stencils for anisotropic diffusion, J. Math. Imaging Vis. (2014).
Paper: Section 3 ([161]).  Notebook: 06.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

THINNEST = 1e6  # tensors with a larger condition number are widened to this one
ROUNDS = 100  # far more exchanges than a condition number of 1e6 can ask for


class Decomposition(NamedTuple):
    """D[n] = sum_i rho_i[n] e_i[n] e_i[n]^T: weights (*batch, 3, H, W), offsets (*batch, 3, 2, H, W) in Z^2."""

    rho: Tensor
    e: Tensor


def selling(D: Float[Tensor, "*batch 2 2 H W"]) -> Decomposition:
    r"""rho_i >= 0 and e_i in Z^2 with sum_{i<3} rho_i e_i e_i^T = D, at each pixel; computed in float64.

    rho_i |e_i|^2 <= the largest eigenvalue of D, and sum_i rho_i |e_i|^2 = tr D. A tensor whose condition number is
    over 1e6, such as t t^T, first gets the smaller eigenvalue max / 1e6. Raises ValueError for a tensor with an
    eigenvalue below 0.
    """
    a, b, c = (x.double() for x in entries(D))
    spread = ((a - c).square() / 4 + b.square()).sqrt()
    large, small = (a + c) / 2 + spread, (a + c) / 2 - spread
    if bool((small < -1e-6 * large.abs()).any()):
        worst = float((small.detach()).min())
        raise ValueError(
            f"A diffusion tensor has eigenvalues >= 0; this one has {worst:.3g}: it would diffuse backwards. Take the "
            "eigenvalues of D from a law with values in [0, 1]."
        )
    lift = (large / THINNEST - small).clamp_min(0).detach() + torch.finfo(torch.float64).tiny ** 0.5
    lift = torch.where(small <= large / THINNEST, lift, 0.0)  # <=: D = 0 too
    a, c = a + lift, c + lift
    v1, v2 = _reduced(a.detach(), b.detach(), c.detach())
    v0 = (-v1[0] - v2[0], -v1[1] - v2[1])
    v = (v0, v1, v2)
    rho = [-_form(a, b, c, v[i - 2], v[i - 1]) for i in range(3)]
    e = [torch.stack([-y, x], -3) for x, y in v]
    return Decomposition(torch.stack(rho, -3).clamp_min(0).to(D.dtype), torch.stack(e, -4).long())


def _reduced(a: Tensor, b: Tensor, c: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """v_1, v_2 with <v_1, D v_1> <= <v_2, D v_2> and -1/2 <v_1, D v_1> <= <v_1, D v_2> <= 0; then v_1, v_2, -v_1 - v_2
    is D-obtuse.
    """
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    v1, v2 = (one, zero), (zero, one)
    for _ in range(ROUNDS):
        swap = _form(a, b, c, v2, v2) < _form(a, b, c, v1, v1)
        v1, v2 = _choose(swap, v2, v1), _choose(swap, v1, v2)
        times = torch.round(_form(a, b, c, v1, v2) / _form(a, b, c, v1, v1))
        if not bool(times.any()):
            break
        v2 = (v2[0] - times * v1[0], v2[1] - times * v1[1])
    sign = torch.where(_form(a, b, c, v1, v2) > 0, -one, one)
    return v1, (v2[0] * sign, v2[1] * sign)


def _form(a: Tensor, b: Tensor, c: Tensor, v: tuple[Tensor, Tensor], w: tuple[Tensor, Tensor]) -> Tensor:
    """<v, D w>."""
    return v[0] * (a * w[0] + b * w[1]) + v[1] * (b * w[0] + c * w[1])


def _choose(where: Tensor, v: tuple[Tensor, Tensor], w: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.where(where, v[0], w[0]), torch.where(where, v[1], w[1])


def entries(D: Float[Tensor, "*batch 2 2 H W"]) -> tuple[Tensor, Tensor, Tensor]:
    """a, b, c of D = (a b; b c)."""
    return D[..., 0, 0, :, :], (D[..., 0, 1, :, :] + D[..., 1, 0, :, :]) / 2, D[..., 1, 1, :, :]


def edge_ends(
    rho: Float[Tensor, "*batch k H W"], e: Int[Tensor, "*batch k 2 H W"]
) -> tuple[Int[Tensor, "*batch m N"], Float[Tensor, "*batch m N"]]:
    """The m = 2k half edges n -> n + e_i, n -> n - e_i of each of the N = HW pixels: where they end, row by row, and
    their weights rho_i / 2, 0 where they leave the grid.
    """
    H, W = rho.shape[-2:]
    row, column = torch.meshgrid(torch.arange(H, device=rho.device), torch.arange(W, device=rho.device), indexing="ij")
    i, j = e[..., 0, :, :], e[..., 1, :, :]
    rows, columns = torch.cat([row + i, row - i], -3), torch.cat([column + j, column - j], -3)
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    target = torch.where(inside, rows * W + columns, 0)
    weight = torch.where(inside, torch.cat([rho, rho], -3) / 2, 0.0)
    return target.flatten(-2), weight.flatten(-2)


def total_weights(target: Int[Tensor, "*batch m N"], weight: Float[Tensor, "*batch m N"]) -> Float[Tensor, "*batch N"]:
    """W[n] = sum_m w(n, m): what leaves n along its own edges, and along those of other pixels that end at n."""
    own = weight.sum(-2)
    return own.scatter_add(-1, target.flatten(-2), weight.flatten(-2))
