r"""TV(u) = sup {int u div v : |v| <= 1} = int |grad u|, and min_u nu TV(u) + 1/2 int |A u - f|^2.   (3.1), (3.2)

On a grid of step h in d dimensions, with any gradient of the course and nu = 1/lambda of (3.2):

    TV_h(u) = h^d sum_k |(grad u)[k]|          = max {h^d sum_k <v[k], (grad u)[k]> : |v[k]| <= 1}
    tv        min_u  nu TV_h(u) + h^d/2 |A u - f|^2                          any A, by PDHG or SplitBregman
    ROF       the same with A = I, whose minimiser is u = f - nu grad^T v, v the maximising field
    rof_dual  min_v  h^d/2 |f - nu grad^T v|^2  over |v| <= 1                by FISTA: O(1/k^2)

The length |.| is Euclidean, as (3.1) has it: `isotropic`. The sum of the absolute components (entrywise) is another
functional with another limit as h -> 0, int |d_1 u| + |d_2 u|, which depends on the axes: up to sqrt 2 TV.

A Problem here has K = h grad, differences per pixel: |K| does not grow as the grid is refined, and the default steps of
the solvers serve every h. Its multiplier p, |p| <= nu h^{d-1}, becomes the field of (3.1) by `field(p)`.

Paper: (3.1), (3.2), (4.2).  Notebooks: 05, 07.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.functional import Functional, LeastSquares
from companion.energies.models import Problem
from companion.energies.norms import L1, Box, GroupBall, GroupL1
from companion.operators.derivatives import root
from companion.operators.differences import Gradient
from companion.operators.gradients import FrameGradient, haar_gradient, spline_gradient
from companion.operators.linear import LinearOperator
from companion.operators.measure import Identity

AnyGradient = Gradient | FrameGradient


class TotalVariation(Functional):
    r"""nu h^d sum_k |(grad u)[k]|: the total variation on a grid, times its weight.   (3.1)

    nu         > 0
    grad       a Gradient or FrameGradient, which brings h and d; by default forward differences with h = 1, d = 2
    isotropic  True: the Euclidean length over the components; False: the sum of their absolute values

    `norm` is the functional of grad u that this is, a GroupL1 or an L1 with lam = nu h^d. The proximal map of the total
    variation is the problem ROF itself. Raises ValueError unless nu is finite and > 0.

    >>> TotalVariation(0.5)(torch.tensor([[0., 0.], [0., 2.]]))
    tensor(2.)
    """

    def __init__(self, nu: float = 1.0, grad: AnyGradient | None = None, isotropic: bool = True):
        super().__init__()
        grad = Gradient() if grad is None else grad
        if not 0 < nu < math.inf:
            raise ValueError(
                f"The weight nu of the total variation is finite and > 0; got nu={nu}. It is 1/lambda of (3.2); with "
                "nu = 0 nothing regularises, and that is least squares: A.normal_solve(A.T(f), 0.0)."
            )
        if not isinstance(grad, AnyGradient):
            raise TypeError(
                f"The total variation asks grad for its step h and dimension; got {type(grad).__name__}. Give a "
                "Gradient or a FrameGradient."
            )
        self.nu, self.D, self.isotropic = float(nu), grad, isotropic
        self.norm = self.length(self.nu * grad.h**grad.dim)

    def length(self, lam: float) -> GroupL1 | L1:
        """p -> lam sum_k |p[k]|, with the length of this total variation."""
        return GroupL1(lam, axis=-self.D.dim - 1) if self.isotropic else L1(lam)

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        return self.norm(self.D(v))

    def density(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """|(grad u)[k]|: a picture of where the variation is; nu h^d times its sum is the value."""
        p, axis = self.D(u), -self.D.dim - 1
        return root(p.square().sum(axis)) if self.isotropic else p.abs().sum(axis)


def _discretisation(
    grad: Callable[..., AnyGradient], isotropic: bool, nu: float = 1.0, h: float = 1.0, boundary: str = "reflect"
) -> TotalVariation:
    return TotalVariation(nu, grad(h=h, boundary=boundary), isotropic)


DISCRETISATIONS: dict[str, Callable[..., TotalVariation]] = {  # (nu, h, boundary) -> TotalVariation in the plane
    "forward differences": partial(_discretisation, Gradient, True),
    "Haar, two bands": partial(_discretisation, haar_gradient, True),
    "Haar, three bands": partial(_discretisation, partial(haar_gradient, bands=3), True),
    "linear splines, first pair": partial(_discretisation, spline_gradient, True),
    "forward differences, entrywise": partial(_discretisation, Gradient, False),
    "Haar, entrywise": partial(_discretisation, haar_gradient, False),
}


class TVModel(Problem):
    r"""min_u nu h^d sum_k |(grad u)[k]| + h^d/2 |A u - f|^2, with the parts E, R and K = h grad.   (3.2)

    J  the TotalVariation: weight nu, gradient, isotropic or not
    """

    J: TotalVariation

    def __init__(self, A: LinearOperator, f: Tensor, J: TotalVariation):
        h, d = J.D.h, J.D.dim
        super().__init__(LeastSquares(f, A, weight=h**d), J.length(J.nu * h ** (d - 1)), J.D.per_pixel)
        self.J = J
        data = self.E.domain()
        self.K(data)  # a picture too small or of too few axes is answered now
        self.ratio = _ratio(
            24.0 if isinstance(A, Identity) else 4.0, float(data.abs().max()) if data.numel() else 0.0, J
        )

    def field(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """v = p / (nu h^{d-1}), |v| <= 1: the field of (3.1) of a multiplier p of K u."""
        return p / (self.J.nu * self.J.D.h ** (self.J.D.dim - 1))


def _ratio(factor: float, size: float, J: TotalVariation) -> float:
    r"""|K| / rho, rho = factor h^d (nu / (h max |A^T f|))^{1/2}: PDHG's ratio of the sizes of u and p.

    The factor is 24 for A = I: within 3 of the best on discs and a photograph, nu = h/50 to 3 h. For a blur, a mask and
    half of the frequencies of the photograph, nu = h/1000 to h/10, the best factors are from 1 to 12.
    """
    h, d = J.D.h, J.D.dim
    return (J.D.bound * h * h) ** 0.5 / (factor * h**d * (J.nu / (h * size)) ** 0.5) if size > 0 else 1.0


class ROF(TVModel):
    r"""min_u nu TV_h(u) + h^d/2 |u - f|^2: Rudin, Osher and Fatemi's denoising.   (3.2) with A = I

    f          the data, (*batch, *space)
    nu         > 0, 1/lambda of (3.2)
    grad       by default forward differences with h = 1; Gradient(h=1/N) for a picture on the unit square
    isotropic  as for TotalVariation

    A disc of radius R in the plane, height 1, comes back at height 1 - 2 nu / R.

    >>> ROF(torch.tensor([0., 1.]), 0.25, Gradient(dim=1))(torch.tensor([0.25, 0.75]))
    tensor(0.1875)
    """

    def __init__(self, f: Tensor, nu: float, grad: AnyGradient | None = None, isotropic: bool = True):
        super().__init__(Identity(), f, TotalVariation(nu, grad, isotropic))

    def primal(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """u = f - K^T p / h^d: the picture of a multiplier, f - nu grad^T v."""
        u = self.K.adjoint(p)
        return self.E.f.to(u.dtype) - u / self.E.weight

    def gap(self, x: Float[Tensor, "..."], p: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        r"""h^d/2 |u - (f - nu grad^T v)|^2 + nu h^d sum_k (|(grad u)[k]| - <v[k], (grad u)[k]>); infinity for |v| > 1.

        The duality gap of (u, p), in a form where nothing of the size of |f|^2 cancels: both terms are >= 0. It bounds
        the excess of the objective at u, and that bounds h^d/2 |u - u*|^2.
        """
        Ku = self.K(x)
        defect = self.E.weight / 2 * (x - self.primal(p)).square().sum()
        return defect + (self.R(Ku) - (Ku * p).sum()).clamp_min(0) + self.R.conjugate(p)


def tv(A: LinearOperator, f: Tensor, nu: float, grad: AnyGradient | None = None, isotropic: bool = True) -> TVModel:
    r"""min_u nu TV_h(u) + h^d/2 |A u - f|^2.   (3.2)   For PDHG, SplitBregman and LaggedDiffusivity.

    With A = I a ROF; a discretisation J of the registry enters as tv(A, f, nu, J.D, J.isotropic).
    """
    if isinstance(A, Identity):
        return ROF(f, nu, grad, isotropic)
    return TVModel(A, f, TotalVariation(nu, grad, isotropic))


class ROFDual(Problem):
    r"""min_p h^d/2 |f - K^T p / h^d|^2 over |p| <= nu h^{d-1}, K = h grad: the dual of ROF, for FISTA.   (3.1)

    The unknown p is a field, decode(p) = f - K^T p / h^d its picture u. The value is h^d/2 |u|^2, which is h^d/2 |f|^2
    minus the dual objective of ROF; the Lipschitz constant of its gradient is |K|^2 / h^d.
    """

    def __init__(self, rof: ROF):
        K, radius = rof.K, rof.J.nu * rof.J.D.h ** (rof.J.D.dim - 1)
        ball = GroupBall(radius, axis=-rof.J.D.dim - 1) if rof.J.isotropic else Box(-radius, radius)
        super().__init__(_DualFit(rof.E.f, (1 / rof.E.weight) * K.T, rof.E.weight), ball)
        self.E.size = rof.J.D.h**2 * rof.J.D.bound / rof.E.weight
        self.rof = rof

    def decode(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """u = f - K^T p / h^d."""
        return self.rof.primal(x)

    def encode(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """p = 0, whose picture is f, for every u."""
        return torch.zeros_like(self.rof.K(u))

    def gap(self, x: Float[Tensor, "..."], p: Float[Tensor, "..."] | None = None) -> Float[Tensor, ""]:
        """nu h^d sum_k (|(grad u)[k]| - <v[k], (grad u)[k]>): the gap of ROF at a field and its own picture u."""
        return self.rof.gap(self.decode(x), x)


class _DualFit(LeastSquares):
    """w/2 |K^T p / w - f|^2, its Lipschitz constant known."""

    size: Any = math.inf

    def lipschitz(self) -> float:
        return self.size


def rof_dual(problem: ROF) -> ROFDual:
    r"""min_p h^d/2 |f - K^T p / h^d|^2 over |p| <= nu h^{d-1}: the dual of ROF as a Problem, for FISTA.   (3.1)

    `problem.field(p)` is the maximising field v of (3.1). Raises TypeError for another problem.
    """
    if not isinstance(problem, ROF):
        raise TypeError(
            f"The dual is a smooth problem on a ball for A = I only; got a {type(problem).__name__}. Build it with "
            "ROF(f, nu), or solve tv(A, f, nu) by PDHG, whose state holds the multiplier."
        )
    return ROFDual(problem)
