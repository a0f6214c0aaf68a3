r"""grad u = ((u[n + e_i] - u[n]) / h)_i: finite differences on a grid with step h, and their exact adjoints.   Sec. 3

    Gradient                D  u = (D_1^+ u, ..., D_d^+ u)           forward differences,   ~ (d_1 u, ..., d_d u) + O(h)
    Divergence              -D^T p = sum_i D_i^- p_i                  so that <D u, p> = -<u, div p>
    SymmetrisedGradient     (E p)_ij = (D_i^- p_j + D_j^- p_i) / 2    backward differences, so that E D is a Hessian
    Hessian                 E D u, the diagonal u[n+1] - 2 u[n] + u[n-1] over h^2; ~ d_i d_j u + O(h^2) inside

With the boundary "reflect" (the default: u[-1] = u[0], a zero flux through the border) the last forward difference is
0, and the mean of div p is 0. The step h is explicit wherever a derivative appears: h = 1/N for a picture on the unit
square, h = 1 for "pixel units".

Paper: (3.1), (3.3), Prop 4.1.  Notebooks: 00, 05, 06.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from companion.kernels import gpu, taken
from companion.kernels.differences import LARGE, gradient, gradient_adjoint
from companion.operators.checks import check_picture
from companion.operators.grid import check_boundary
from companion.operators.linear import LinearOperator


class _Difference(LinearOperator):
    """D_i^+ u[n] = (u[n + e_i] - u[n]) / h along one axis, and its adjoint: what the operators below are made of."""

    def __init__(self, h: float = 1.0, dim: int = 2, boundary: str = "reflect"):
        super().__init__()
        check_boundary(boundary)
        if not h > 0:
            raise ValueError(
                f"The grid step h is a length > 0; got h={h}. On the unit square with N points a side, h = 1/N."
            )
        if dim < 1:
            raise ValueError(f"The dimension of the grid must be >= 1; got {dim}.")
        self.h, self.dim, self.boundary = float(h), dim, boundary

    def _plus(self, u: Tensor, i: int) -> Tensor:
        """D_i^+ u, i = 0, ..., d-1 counting from x_1; behind the last sample comes the first, or itself once more."""
        axis = i - self.dim
        behind = u.narrow(axis, 0 if self.boundary == "periodic" else u.shape[axis] - 1, 1)
        return u.diff(dim=axis, append=behind) / self.h

    def _minus(self, p: Tensor, i: int) -> Tensor:
        """D_i^- p = -(D_i^+)^T p: the backward difference, where a mirrored border lets nothing in or out."""
        axis, n = i - self.dim, p.shape[i - self.dim]
        if self.boundary == "periodic":
            return p.diff(dim=axis, prepend=p.narrow(axis, n - 1, 1)) / self.h
        shut = torch.zeros_like(p.narrow(axis, 0, 1))
        return p.narrow(axis, 0, n - 1).diff(dim=axis, prepend=shut, append=shut) / self.h

    def extra_repr(self) -> str:
        return f"h={self.h:g}, dim={self.dim}, boundary={self.boundary!r}"


class Gradient(_Difference):
    r"""D u = ((u[n + e_i] - u[n]) / h)_{i = 1..d}: (*batch, *space) -> (*batch, d, *space).   (3.3)

    D is not tight: ||D||^2 <= 4 d / h^2. A solver that needs D^T D = I must not be given it.

    >>> Gradient(h=0.5, dim=1)(torch.tensor([0., 1., 3.]))
    tensor([[2., 4., 0.]])
    """

    @gpu.compiled
    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_picture(u, "u", self.dim)
        if self.dim <= 3 and taken(u, least=LARGE):
            return gradient(u, self.h, self.dim, self.boundary == "periodic")
        return torch.stack([self._plus(u, i) for i in range(self.dim)], dim=-self.dim - 1)

    @gpu.compiled
    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """D^T p = -div p."""
        check_components(f, "p", self.dim, 1)
        if self.dim <= 3 and taken(f, least=LARGE):
            return gradient_adjoint(f, self.h, self.dim, self.boundary == "periodic")
        return -_total(self._minus(p, i) for i, p in enumerate(f.unbind(-self.dim - 1)))

    @property
    def bound(self) -> float:
        """4 d / h^2: the supremum of ||D||^2 over all sizes of pictures."""
        return 4 * self.dim / self.h**2

    @property
    def per_pixel(self) -> Gradient:
        """h D: differences of neighbours, whose norm does not grow as the grid is refined."""
        return Gradient(1.0, self.dim, self.boundary)

    def spectrum(self, shape: Sequence[int]) -> Tensor:
        r"""sum_i (4 / h^2) sin^2(w_i / 2), w = 2 pi k / shape: the eigenvalues of D^T D on a torus, float64.

        With the boundary "reflect" those of D^T D on n points are these at w = pi k / n: a torus of twice the size.
        """
        waves = [4 / self.h**2 * torch.sin(torch.pi * torch.arange(n, dtype=torch.float64) / n).square() for n in shape]
        return torch.stack(torch.meshgrid(*waves, indexing="ij")).sum(0)

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        r"""||D||^2 = sum_i (4 / h^2) cos^2(pi / (2 n_i)); on the torus 4 / h^2 for an even n_i."""
        check_picture(like, "u", self.dim)
        n = torch.tensor(like.shape[-self.dim :], dtype=torch.float64)
        angle = torch.pi / (2 * n) * ((n % 2 == 1) if self.boundary == "periodic" else 1)
        return (2 / self.h * torch.cos(angle).square().sum().sqrt()).to(like)


class Divergence(_Difference):
    r"""div p = -D^T p = sum_i (p_i[n] - p_i[n - e_i]) / h: (*batch, d, *space) -> (*batch, *space).   (3.1)"""

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return -Gradient(self.h, self.dim, self.boundary).adjoint(u)

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """div^T u = -D u."""
        return -Gradient(self.h, self.dim, self.boundary)(f)


class SymmetrisedGradient(_Difference):
    r"""(E p)_ij = (D_i^- p_j + D_j^- p_i) / 2: (*batch, d, *space) -> (*batch, d, d, *space), symmetric; used by
    TGV.
    """

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        check_components(u, "p", self.dim, 1)
        p = u.unbind(-self.dim - 1)
        J = torch.stack(
            [torch.stack([self._minus(pj, i) for pj in p], -self.dim - 1) for i in range(self.dim)], -self.dim - 2
        )
        return (J + J.transpose(-self.dim - 1, -self.dim - 2)) / 2

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """(E^T s)_j = -sum_i D_i^+ (s_ij + s_ji) / 2."""
        check_components(f, "s", self.dim, 2)
        s = (f + f.transpose(-self.dim - 1, -self.dim - 2)) / 2
        rows = s.unbind(-self.dim - 2)
        columns = [
            -_total(self._plus(row.select(-self.dim - 1, j), i) for i, row in enumerate(rows)) for j in range(self.dim)
        ]
        return torch.stack(columns, -self.dim - 1)


class Hessian(_Difference):
    r"""H u = E D u ~ (d_i d_j u)_{ij}: (*batch, *space) -> (*batch, d, d, *space), symmetric, second order inside.

    >>> Hessian(dim=1)(torch.tensor([0., 1., 4., 9.])).flatten()        # the border sees the reflected picture
    tensor([ 1.,  2.,  2., -5.])
    """

    def forward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        E = SymmetrisedGradient(self.h, self.dim, self.boundary)
        return E(Gradient(self.h, self.dim, self.boundary)(u))

    def adjoint(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """H^T = D^T E^T."""
        E = SymmetrisedGradient(self.h, self.dim, self.boundary)
        return Gradient(self.h, self.dim, self.boundary).adjoint(E.adjoint(f))

    @property
    def bound(self) -> float:
        """16 d^2 / h^4: the supremum of ||H||^2 over all sizes of pictures, met by a checkerboard on the torus."""
        return 16 * self.dim**2 / self.h**4


def _total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor."""
    return functools.reduce(torch.add, terms)


def check_components(p: Tensor, name: str, d: int, axes: int) -> None:
    """Raise unless p has `axes` component axes of length d before its d space axes."""
    check_picture(p, name, d + axes)
    found = tuple(p.shape[-d - axes : -d])
    if found != (d,) * axes:
        raise ValueError(
            f"{name} must have {axes} component axes of length {d} before its {d} space axes; "
            f"got shape {tuple(p.shape)}."
        )
