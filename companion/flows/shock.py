r"""u_t = -sign(L(u)) |grad u|: the shock filter, which makes a blurred edge sharp.   Section 3, [120]

Dilation where L(u) < 0, on the bright side of an edge, erosion where L(u) > 0, on the dark side; they meet in a shock
where L(u) = 0. L is a second derivative: along the gradient, L = |grad u|^2 u_NN, or the Laplacian. Nothing is known
about the blur. An extremum keeps its height, and in one dimension none is made. Noise has edges too and is sharpened
with the rest; `sigma` looks for L in G_sigma * u.

The scheme of Osher and Rudin takes for each derivative the smaller of the two one-sided differences where both have the
same sign, and 0 where they have not:

    |grad u|[n]^2 = sum_i m(D_i^- u, D_i^+ u)^2,   m(a, b) = sign(a) min(|a|, |b|) if a b > 0, else 0,

so that an extremum stays as it is, and no value passes what its neighbours were, for dt <= h / sqrt d.

Paper: Section 3 ([120]).  Notebook: 06.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.field import Field
from companion.operators.checks import check_picture
from companion.operators.derivatives import central, check_grid_step, minmod, root, second
from companion.operators.grid import shift
from companion.operators.smoothing import gaussian_smooth


def along_gradient(
    u: Float[Tensor, "*shape"], h: float = 1.0, dim: int = 2, boundary: str = "reflect"
) -> Float[Tensor, "*shape"]:
    r"""|grad u|^2 u_NN = sum_ij u_i u_j u_ij, by central differences: L of the shock filter, 0 on an edge's steepest
    line.
    """
    first = [central(u, i, h, dim, boundary) for i in range(dim)]
    total = torch.zeros_like(u)
    for i in range(dim):
        for j in range(i + 1):
            total = total + (1 if i == j else 2) * first[i] * first[j] * second(u, i, j, h, dim, boundary)
    return total


def laplacian(
    u: Float[Tensor, "*shape"], h: float = 1.0, dim: int = 2, boundary: str = "reflect"
) -> Float[Tensor, "*shape"]:
    r"""Laplace u = sum_i (u[n + e_i] - 2 u[n] + u[n - e_i]) / h^2: the other L, off the edge where that is curved."""
    return sum((second(u, i, i, h, dim, boundary) for i in range(dim)), torch.zeros_like(u))


class ShockFilter(Field):
    r"""F(u) = -sign(L(G_sigma * u)) |grad u|, |grad u| by the smaller one-sided differences (minmod).

    h         the grid step; time has the unit of h: an edge is sharpened at speed 1
    detector  L: (u, h, dim, boundary) -> a tensor like u; `along_gradient` by default, `laplacian`, or one's own
    sigma     the scale at which L is looked for, in the unit of h; 0 for none
    dim       the dimension of a picture
    boundary  "reflect" or "periodic"

    max_dt = h / sqrt d for d > 1: no value passes what its neighbours were, and this is sharp; two that approach each
    other may pass, which makes local extrema inside the range. In one dimension max_dt = h/2: they do not pass, so that
    the total variation does not grow. Stationary after finitely many steps, but for values that creep to their
    neighbour's. The sign is a constant to autograd. Raises ValueError for h <= 0.
    """

    maximum_principle = True

    def __init__(
        self,
        h: float = 1.0,
        detector: Callable[[Tensor, float, int, str], Tensor] = along_gradient,
        sigma: float = 0.0,
        dim: int = 2,
        boundary: str = "reflect",
    ):
        super().__init__()
        check_grid_step(h)
        self.h, self.detector, self.sigma, self.dim, self.boundary = float(h), detector, float(sigma), dim, boundary

    @property
    def max_dt(self) -> float:
        """h/2 in one dimension, h / sqrt d in d > 1."""
        return self.h / max(math.sqrt(self.dim), 2.0 if self.dim == 1 else 1.0)

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(u, "u", self.dim)
        smooth = gaussian_smooth(u, self.sigma, self.h, self.dim, self.boundary)
        side = torch.sign(self.detector(smooth, self.h, self.dim, self.boundary)).detach()
        return -side * root(sum((self._slope(u, i).square() for i in range(self.dim)), torch.zeros_like(u)))

    def _slope(self, u: Tensor, i: int) -> Tensor:
        """m(D_i^- u, D_i^+ u)."""
        axis = i - self.dim
        behind = (u - shift(u, -1, axis, self.boundary)) / self.h
        ahead = (shift(u, 1, axis, self.boundary) - u) / self.h
        return minmod(behind, ahead)

    def extra_repr(self) -> str:
        name = getattr(self.detector, "__name__", type(self.detector).__name__)
        return f"h={self.h:g}, detector={name}, sigma={self.sigma:g}, dim={self.dim}"
