r"""u_t = |grad u| div(grad u / |grad u|) = u_TT: every level line moves by its curvature.   Section 3

Diffusion along the level lines and none across: the tangential half of the Laplacian, Laplace u = u_TT + u_NN, and of
Perona-Malik, g u_TT + (g + 2 x g') u_NN. Level lines get shorter and vanish in a point; a disc of radius r_0 has at
time t the radius (r_0^2 - 2t)^{1/2} and is gone at t = r_0^2 / 2, whatever its contrast: u -> phi(u) for an increasing
phi commutes with the flow.

    CurvatureMotion    central differences, with |grad u| regularised
    MedianMotion       2/r^2 (the median of u on a circle of radius r - u): monotone, so it keeps order and extrema

Sources: Osher and Sethian (1988); Oberman, A convergent monotone difference scheme for motion by mean curvature (2004).
Paper: Section 3 ([3], u_TT).  Notebook: 06.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.field import Field
from companion.operators.checks import check_picture
from companion.operators.derivatives import central, check_grid_step, second
from companion.operators.grid import extend


class CurvatureMotion(Field):
    r"""F(u) = (u_22 u_1^2 - 2 u_1 u_2 u_12 + u_11 u_2^2 + eps^2/2 Laplace u) / (|grad u|^2 + eps^2), by differences.

    h         the grid step; time has the unit of h^2
    eps       > 0, a size of grad u below which there is no direction: there F is half the Laplacian, the mean of u_TT
              over all T. So a single bright pixel goes, too
    boundary  "reflect" or "periodic"

    F = tr(D Hess u), tr D = 1: stable for dt <= h^2/2, sharp for a checkerboard. Not monotone: where |grad u| jumps
    from pixel to pixel, u may leave its range a little. Constants stay, and the mean is not kept. Raises ValueError
    unless h, eps > 0.
    """

    def __init__(self, h: float = 1.0, eps: float = 1e-3, boundary: str = "reflect"):
        super().__init__()
        check_grid_step(h)
        if not 0 < eps < math.inf:
            raise ValueError(
                f"Curvature motion divides by |grad u|^2 + eps^2 and needs a finite eps > 0; got eps={eps}. Take a "
                "size of grad u that counts as flat."
            )
        self.h, self.eps, self.boundary = float(h), float(eps), boundary

    @property
    def max_dt(self) -> float:
        """h^2 / 2."""
        return self.h**2 / 2

    def forward(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        check_picture(u, "u", 2)
        x, y = (central(u, i, self.h, 2, self.boundary) for i in range(2))
        xx, yy = (second(u, i, i, self.h, 2, self.boundary) for i in range(2))
        xy = second(u, 0, 1, self.h, 2, self.boundary)
        flat = self.eps**2
        along = yy * x.square() - 2 * x * y * xy + xx * y.square()
        return (along + flat / 2 * (xx + yy)) / (x.square() + y.square() + flat)

    def extra_repr(self) -> str:
        return f"h={self.h:g}, eps={self.eps:g}, boundary={self.boundary!r}"


class MedianMotion(Field):
    r"""F(u) = (2/r^2) (median{u(x + r w_j)} - u(x)), w_j on the unit circle; ~ u_TT as r, h -> 0.

    On a small circle half of the points lie above the level line through x, unless the line is curved: the median is
    u + r^2/2 u_TT + ... With dt = max_dt a step is u -> median(u), the mean of the two middle values: it commutes with
    u -> a u + b, and with any other increasing change of contrast as far as these two are equal.

    h        the grid step; time has the unit of h^2
    radius   r in pixels: 1, 2, 3, ... Discs of a radius below about r vanish at once. Larger discs shrink
             at the speed of u_TT to 8 % for r >= 2, to 40 % for r = 1

    The lattice points nearest to the circle take part, without interpolation, an even number of them.
    max_dt = r^2 h^2 / 2 is sharp for the extrema. Raises ValueError unless h > 0 and r is a whole number >= 1.
    """

    maximum_principle = True

    def __init__(self, h: float = 1.0, radius: int = 3, boundary: str = "reflect"):
        super().__init__()
        check_grid_step(h)
        if not isinstance(radius, int) or radius < 1:
            raise ValueError(f"The radius of the circle of medians is a whole number >= 1 of pixels; got {radius}.")
        self.h, self.radius, self.boundary = float(h), radius, boundary
        self.circle = lattice_circle(radius)

    @property
    def max_dt(self) -> float:
        """r^2 h^2 / 2: one step to the median itself."""
        return (self.radius * self.h) ** 2 / 2

    def forward(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        check_picture(u, "u", 2)
        r = self.radius
        wide = extend(extend(u, r, r, -2, self.boundary), r, r, -1, self.boundary)
        H, W = u.shape[-2:]
        ring = torch.stack([wide[..., r + i : r + i + H, r + j : r + j + W] for i, j in self.circle])
        values = ring.sort(0).values
        n = len(self.circle) // 2
        return ((values[n - 1] + values[n]) / 2 - u) / self.max_dt

    def extra_repr(self) -> str:
        return f"h={self.h:g}, radius={self.radius}, boundary={self.boundary!r}"


def lattice_circle(r: int) -> list[tuple[int, int]]:
    """The lattice points nearest to r e^{i theta}, halves rounded towards 0, in the order of theta: symmetric under all
    turns by 90 degrees and all reflections of the grid, so that an affine u rests.

    >>> lattice_circle(1)
    [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    """
    angles = [2 * math.pi * k / (8 * r) for k in range(8 * r)]
    inside = r * (1 - 1e-9)
    points = [(round(inside * math.cos(a)), round(inside * math.sin(a))) for a in angles]
    return list(dict.fromkeys(points))
