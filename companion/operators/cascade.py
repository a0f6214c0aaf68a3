r"""K (u, w) = (D u - w, E w): the operator of TGV, and A (u, w) = A u, a measurement of the first of several pictures.

    GradientCascade   (u, w) -> (D u - w, E w)        a picture and its slope: zero where u is affine and w = D u
    FrameCascade      (u, v) -> (G u - v, G v)        the same with the bands of a frame for D and for E
    OnFirst           (x_0, ..., x_n) -> A x_0        what is measured of a picture with companions

A backward difference in E w = (D_i^- w_j + D_j^- w_i) / 2 is taken where both samples lie inside the grid, and is 0
elsewhere: a border that charges nothing. `SymmetrisedGradient` continues w by 0 over the border, as the adjoint of -D
does, and so charges every ramp there; on the torus the two agree.

Paper: Section 3 (TGV), [18]; Sections 1 and 4, [52].  Notebook: 05.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from companion.operators.checks import check_picture
from companion.operators.differences import Gradient
from companion.operators.gradients import FrameGradient
from companion.operators.grid import constants, correlate, correlate_adjoint
from companion.operators.linear import LinearOperator, check_rho


class GradientCascade(LinearOperator):
    r"""K (u, w) = (D u - w, E w): (*batch, 1 + d, *space) -> (*batch, d + d^2, *space).   Section 3

    The components of x are u, w_1, ..., w_d; those of K x are D u - w and the rows of the symmetric matrix E w. D are
    the forward differences of `Gradient`, E backward ones: (E w)_ij = (D_i^- w_j + D_j^- w_i) / 2.

    With the boundary "reflect" D_i^- w_j is 0 at n_i = 0, and D_i^- w_i also at n_i = N - 1, where D_i u = 0 is no
    difference of two pixels: so K (u, w) = 0 for every affine u with w = D u.

    ||K||^2 <= m + 1/2 + sqrt(m + 1/4), m = 4 d / h^2: under 11.4 for d = 2, h = 1.

    >>> x = torch.stack([torch.arange(4.), torch.tensor([1., 1., 1., 0.])])        # a ramp and its slope, d = 1
    >>> GradientCascade(dim=1)(x).abs().max()
    tensor(0.)
    """

    def __init__(self, h: float = 1.0, dim: int = 2, boundary: str = "reflect"):
        super().__init__()
        self.D = Gradient(h, dim, boundary)
        self.h, self.dim, self.boundary = self.D.h, dim, boundary

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        d = self.dim
        check_stack(u, "x = (u, w)", 1 + d, d)
        w = u.narrow(-d - 1, 1, d)
        return torch.cat([self.D(u.select(-d - 1, 0)) - w, self.symmetrised(w)], -d - 1)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """K^T (p, s) = (D^T p, E^T s - p)."""
        d = self.dim
        check_stack(f, "the multiplier (p, s)", d + d * d, d)
        p, s = f.split([d, d * d], -d - 1)
        return torch.cat([self.D.adjoint(p).unsqueeze(-d - 1), self.symmetrised_adjoint(s) - p], -d - 1)

    def symmetrised(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E w, row by row: (*batch, d, *space) -> (*batch, d^2, *space)."""
        d, taps = self.dim, self._taps(w)
        rows = [
            self._inside(correlate(w, taps, (-1,), (i - d,), boundary=self.boundary), i) for i in range(d)
        ]  # D_i^- w_j = (w_j[n] - w_j[n - e_i]) / h
        J = torch.stack(rows, -d - 2)
        return ((J + J.transpose(-d - 2, -d - 1)) / 2).flatten(-d - 2, -d - 1)

    def symmetrised_adjoint(self, s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(E^T s)_j = sum_i (D_i^-)^T (s_ij + s_ji) / 2."""
        d, taps = self.dim, self._taps(s)
        J = s.unflatten(-d - 1, (d, d))
        rows = ((J + J.transpose(-d - 2, -d - 1)) / 2).unbind(-d - 2)
        terms = [
            correlate_adjoint(self._inside(row, i), taps, (-1,), (i - d,), boundary=self.boundary)
            for i, row in enumerate(rows)
        ]
        return functools.reduce(torch.add, terms)

    def _inside(self, v: Tensor, i: int) -> Tensor:
        """D_i^- w, but D_i^- w_i = 0 at n_i = N - 1, where w_i has no sample of its own; a projection."""
        if self.boundary == "periodic":
            return v
        parts = list(v.unbind(-self.dim - 1))
        body, last = parts[i].split([v.shape[i - self.dim] - 1, 1], i - self.dim)
        parts[i] = torch.cat([body, torch.zeros_like(last)], i - self.dim)
        return torch.stack(parts, -self.dim - 1)

    def _taps(self, like: Tensor) -> Tensor:
        return constants(-1 / self.h, 1 / self.h, like=like)

    def extra_repr(self) -> str:
        return f"h={self.h:g}, dim={self.dim}, boundary={self.boundary!r}"


class FrameCascade(LinearOperator):
    r"""K (u, h v) = h (G u - v, h G v_1, ..., h G v_r): (*batch, 1 + r, *space) -> (*batch, r + r^2, *space).   [52]

    G    a gradient made of r bands of a frame, with the grid step h

    The second unknown is the slope per pixel, h v, so that K does not depend on h. Zero where u is affine and v = G u;
    at a border that mirrors the picture, or cuts G, an affine u has no slope, and that is charged.

    >>> from companion import haar_gradient
    >>> x = torch.zeros(3, 4, 4)
    >>> x[0, 2:], x[1, 1] = 1.0, 1.0      # a step along x_1, and its slope where Haar sees it
    >>> FrameCascade(haar_gradient(boundary="periodic"))(x)[0, 1]
    tensor([0., 0., 0., 0.])
    """

    def __init__(self, G: FrameGradient):
        super().__init__()
        self.G, self.r, self.dim = G, len(G.bands), G.dim

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        d, r = self.dim, self.r
        check_stack(u, "x = (u, h v)", 1 + r, d)
        D = self.G.h * self.G(u)  # (*batch, 1 + r, r, *space)
        first, rest = D.split([1, r], -d - 2)
        return torch.cat([first.squeeze(-d - 2) - u.narrow(-d - 1, 1, r), rest.flatten(-d - 2, -d - 1)], -d - 1)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """K^T (p, s) = (h G^T p, h G^T s_1 - p_1, ..., h G^T s_r - p_r)."""
        d, r = self.dim, self.r
        check_stack(f, "the multiplier (p, s)", r + r * r, d)
        p, s = f.split([r, r * r], -d - 1)
        rest = self.G.h * self.G.adjoint(s.unflatten(-d - 1, (r, r)))
        return torch.cat([(self.G.h * self.G.adjoint(p)).unsqueeze(-d - 1), rest - p], -d - 1)


class OnFirst(LinearOperator):
    r"""(x_0, x_1, ..., x_{n-1}) -> A x_0: (*batch, n, *space) -> the range of A.   (1.1)

    A    a measurement of one picture
    n    how many components the unknown has, on the axis before its `dim` space axes

    ||.|| = ||A||, and the least-squares step is A's own on x_0, v/rho on the others: rho > 0 unless n = 1.
    """

    def __init__(self, A: LinearOperator, n: int, dim: int = 2):
        super().__init__()
        self.A, self.n, self.dim = A, n, dim
        self.tight = A.tight and n == 1

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_stack(u, "x", self.n, self.dim)
        return self.A(u.select(-self.dim - 1, 0))

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(A^T f, 0, ..., 0)."""
        return self._with_zeros(self.A.adjoint(f))

    def restrict(self, f: Tensor) -> Tensor:
        return self.A.restrict(f)

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """||A||."""
        return self.A.norm(like.select(-self.dim - 1, 0), k, tol)

    def normal_solve(self, v: Tensor, rho: float | Tensor, tol: float | None = None, k: int = 1000) -> Tensor:
        """((A^T A + rho I)^{-1} v_0, v_1 / rho, ...)."""
        check_rho(rho)
        if rho == 0 and self.n > 1:
            raise ValueError(
                f"A measures the first of {self.n} components only, so (A^T A + rho I)^{{-1}} needs rho > 0; "
                f"got rho={rho}."
            )
        first = self.A.normal_solve(v.select(-self.dim - 1, 0), rho, tol, k).unsqueeze(-self.dim - 1)
        return torch.cat([first, v.narrow(-self.dim - 1, 1, self.n - 1) / (rho or 1.0)], -self.dim - 1)

    def _with_zeros(self, u: Tensor) -> Tensor:
        u = u.unsqueeze(-self.dim - 1)
        return torch.cat([u, *[torch.zeros_like(u)] * (self.n - 1)], -self.dim - 1)

    def extra_repr(self) -> str:
        return f"n={self.n}, dim={self.dim}"


def check_stack(x: Tensor, name: str, n: int, dim: int) -> None:
    """Raise unless x has n components on the axis before its `dim` space axes."""
    check_picture(x, name, dim + 1)
    if x.shape[-dim - 1] != n:
        raise ValueError(
            f"{name} must have {n} components on axis {-dim - 1}, before its {dim} space axes; got shape "
            f"{tuple(x.shape)}. A picture alone becomes an unknown by problem.encode(u)."
        )
