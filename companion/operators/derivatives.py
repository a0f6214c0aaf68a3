r"""u_i ~ (u[n + e_i] - u[n - e_i]) / (2h), u_ij ~ ...: pointwise derivatives of second order, for flows that are no
divergence.   Section 3

    central       (u[n + e_i] - u[n - e_i]) / (2 h)
    second        (u[n + e_i] - 2 u[n] + u[n - e_i]) / h^2, and for i != j the central difference of the central one
    minmod        the smaller of two slopes of one sign, else 0
    root          |.| from its square, with a derivative (0) at 0

Plain functions of a picture, along axis i of its last `dim` axes. A divergence, its adjoint and the rest of the
calculus with summation by parts are in `differences.py`.

Paper: Section 3 ([120], [12]).  Notebook: 06.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from companion.operators.grid import shift


def central(
    u: Float[Tensor, "*shape"], i: int, h: float = 1.0, dim: int = 2, boundary: str = "reflect"
) -> Float[Tensor, "*shape"]:
    """(u[n + e_i] - u[n - e_i]) / (2h) = d_i u + O(h^2); i = 0 differentiates along x_1, axis -dim.

    >>> central(torch.tensor([0., 1., 4., 9.]), 0, dim=1)
    tensor([0.5000, 2.0000, 4.0000, 2.5000])
    """
    return (shift(u, 1, i - dim, boundary) - shift(u, -1, i - dim, boundary)) / (2 * h)


def second(
    u: Float[Tensor, "*shape"], i: int, j: int, h: float = 1.0, dim: int = 2, boundary: str = "reflect"
) -> Float[Tensor, "*shape"]:
    """d_i d_j u + O(h^2): (u[n + e_i] - 2 u[n] + u[n - e_i]) / h^2 for i = j, central differences in i and j else."""
    if i != j:
        return central(central(u, i, h, dim, boundary), j, h, dim, boundary)
    return (shift(u, 1, i - dim, boundary) - 2 * u + shift(u, -1, i - dim, boundary)) / h**2


def minmod(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """m(a, b) = sign(a) min(|a|, |b|) where a b > 0, else 0.

    >>> minmod(torch.tensor([1., -3., 2.]), torch.tensor([2., -1., -2.]))
    tensor([ 1., -1.,  0.])
    """
    return torch.relu(torch.minimum(a, b)) - torch.relu(-torch.maximum(a, b))


def root(square: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """s^{1/2} for s >= 0; at s = 0 its derivative counts as 0."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def check_grid_step(h: float) -> None:
    """Raise unless the grid step is a finite length > 0."""
    if not 0 < h < float("inf"):
        raise ValueError(
            f"The grid step h is a length > 0; got h={h}. On the unit square with N points a side, h = 1/N."
        )
