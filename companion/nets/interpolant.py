r"""c(x) = sum_j c_j L_j(x): a continuous function, in each cell of a uniform mesh a polynomial, by its values at nodes.

The interval [a, b] is cut into `mesh` cells, and each cell by d + 1 equidistant nodes, its ends among them, so that
two neighbours share a value: n = mesh d + 1 nodes in all. In a cell, with s in [0, d] the place in units of the nodes,

    c = sum_{j=0}^{d} c_j l_j(s),    l_j(s) = prod_{m != j} (s - m) / (j - m).

In two dimensions the cells are squares and the basis is l_i(s_1) l_j(s_2). A polynomial of degree d in each variable
is met exactly, another smooth function with an error O(H^{d+1}) in the width H of a cell. Beyond [a, b] the function
keeps the value of the border.

Source: Long, Lu, Ma and Dong, PDE-Net (2018), [102].
Paper: Section 5.2.  Notebook: 12.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Interpolant(nn.Module):
    r"""x -> sum_j c_j L_j(x): the c_j are learned.

    lower, upper  the interval [a, b], the same for every axis
    mesh          cells along an axis
    degree        d >= 1 of the polynomials
    dim           1 or 2
    several       the shape of a family of such functions: (), (F,), (S, F)
    values        the c_j to start from, (*several, n) or (*several, n, n), n = mesh degree + 1; or a number

    In one dimension points of any shape (*points) are taken to (*several, *points), in two dimensions (*points, 2).
    The values are kept in float64, and the function is computed in the type of the points.

    >>> square = Interpolant(-1.0, 1.0, mesh=3)
    >>> square = Interpolant(-1.0, 1.0, mesh=3, values=square.nodes() ** 2)
    >>> bool(torch.isclose(square(torch.tensor(0.7)), torch.tensor(0.49)))
    True
    """

    def __init__(
        self,
        lower: float,
        upper: float,
        mesh: int = 20,
        degree: int = 2,
        dim: int = 1,
        several: tuple[int, ...] = (),
        values: Tensor | float = 0.0,
    ):
        super().__init__()
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
            raise ValueError(f"The mesh covers an interval [a, b] with a < b; got [{lower}, {upper}].")
        if mesh < 1 or degree < 1 or dim not in (1, 2):
            raise ValueError(
                "A piecewise polynomial has one cell or more, a degree >= 1 and one or two variables; got "
                f"mesh={mesh}, degree={degree}, dim={dim}."
            )
        self.lower, self.upper, self.mesh, self.degree, self.dim = float(lower), float(upper), mesh, degree, dim
        shape = (*several, *(mesh * degree + 1,) * dim)
        start = torch.as_tensor(values, dtype=torch.float64)
        if start.ndim and start.shape != shape:
            raise ValueError(
                f"There is a value for each of the {mesh} x {degree} + 1 nodes along an axis, shape {shape}; got shape "
                f"{tuple(start.shape)}. `nodes()` says where they are."
            )
        self.values = nn.Parameter(start.expand(shape).clone())

    def nodes(self) -> Float[Tensor, "n"]:
        """The n = mesh degree + 1 nodes along an axis, from a to b."""
        n = self.values.shape[-1]
        return torch.linspace(self.lower, self.upper, n, dtype=torch.float64, device=self.values.device)

    def forward(self, points: Float[Tensor, "*points"]) -> Float[Tensor, "*shape"]:
        return self.at(points, self.values)

    def at(self, points: Float[Tensor, "*points"], values: Float[Tensor, "*values"]) -> Float[Tensor, "*shape"]:
        """The same with other values, (*several, n) or (*several, n, n)."""
        if self.dim == 1:
            places, weights = self._basis(points)
        else:
            if points.ndim == 0 or points.shape[-1] != 2:
                raise ValueError(f"Points of the plane have shape (*points, 2); got shape {tuple(points.shape)}.")
            (i, v), (j, w) = self._basis(points[..., 0]), self._basis(points[..., 1])
            places = (i.unsqueeze(-1) * values.shape[-1] + j.unsqueeze(-2)).flatten(-2)
            weights = (v.unsqueeze(-1) * w.unsqueeze(-2)).flatten(-2)
        c = values.to(weights).flatten(-self.dim)
        lead = c.shape[:-1]
        near = c.index_select(-1, places.flatten()).reshape(*lead, *places.shape)
        return (near * weights).sum(-1)

    def matrix(self, x: Float[Tensor, "m"]) -> Float[Tensor, "m n"]:
        r"""A_{ij} = L_j(x_i), so that A c are the values at the points x, and A c B^T those at a grid of points x, y.

        >>> Interpolant(0.0, 1.0, mesh=1).matrix(torch.tensor([0.25]))
        tensor([[ 0.3750,  0.7500, -0.1250]])
        """
        places, weights = self._basis(x)
        return weights.new_zeros(len(x), self.values.shape[-1]).scatter(-1, places, weights)

    def _basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The nodes of the cell of each point and the values l_j there, (*points, d + 1) each."""
        if not x.is_floating_point():
            raise ValueError(f"An interpolant is evaluated at real numbers; got {x.dtype}.")
        d = self.degree
        s = ((x - self.lower) * (self.mesh / (self.upper - self.lower))).clamp(0, self.mesh)
        cell = s.detach().nan_to_num(0.0).floor().clamp(max=self.mesh - 1)  # NaN stays NaN, in the weights
        s = (s - cell) * d
        below, above = [torch.ones_like(s)], [torch.ones_like(s)]
        for m in range(d):
            below.append(below[-1] * (s - m))
            above.append(above[-1] * (s - (d - m)))
        weights = [
            p * q / ((-1) ** (d - j) * math.factorial(j) * math.factorial(d - j))
            for j, (p, q) in enumerate(zip(below, reversed(above), strict=True))
        ]
        first = cell.long() * d
        return first.unsqueeze(-1) + torch.arange(d + 1, device=x.device), torch.stack(weights, -1)

    def extra_repr(self) -> str:
        return f"[{self.lower:.6g}, {self.upper:.6g}], mesh={self.mesh}, degree={self.degree}, dim={self.dim}"
