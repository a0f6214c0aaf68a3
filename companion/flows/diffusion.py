r"""u_t = div(g(|grad u|^2) grad u): heat, Perona-Malik, total variation flow.   (3.3)

    Heat            u_t = Laplace u                                                             g = 1
    PeronaMalik     u_t = div(g(|grad u_sigma|^2) grad u), u_sigma = G_sigma * u                (3.3), [28]: sigma > 0
    TVFlow          u_t = div(grad u / sqrt(|grad u|^2 + eps^2)) + (f - u) / nu                 (3.2), steepest descent

All are F(u) = -grad^T(g grad u) with one matrix grad and its transpose, which has three consequences, whatever grad is:

    mean            sum F(u) = -<g grad u, grad 1> = 0
    stability       I - dt grad^T g grad has norm <= 1 for dt <= 2 / (|grad|^2 max g)
    maximum         where every grad^T g grad with g >= 0 has off-diagonal entries <= 0, a step with dt <= 1 / (largest
                    diagonal entry) is a mean of grey values, and the extrema are kept. So it is with forward
                    differences (dt <= h^2/(2 d max g)), with Haar's pair (dt <= h^2/(2 max g), d = 2) and with Haar's
                    three bands (dt <= h^2/(3 max g)), not with linear splines. `monotone` decides it by looking at all
                    columns of a small grid.

The discrete Perona-Malik flow keeps its range although (3.3) diffuses backwards: g > 0 is all that is needed. It does
so on every grid, and yet slopes do not settle as h -> 0: those beyond K^{1/2} break into steps, ever more and steeper
ones, like 1/h. The largest distance of two grids does not fall, that of the means falls slowly; a perturbation of 1e-6
moves the steps. With sigma > 0 the error falls like h^2 in one dimension, and like h in the plane, where forward
differences meet |grad u|^2 beside the edge.

Paper: (3.3), Section 3.  Notebooks: 05, 06, 08.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.conditions import check_diffusivity
from companion.flows.diffusivities import Diffusivity, Regularised
from companion.flows.field import Field
from companion.kernels import available, hooked, taken, unwatched
from companion.kernels import diffusion as kernels
from companion.operators.checks import check_picture
from companion.operators.differences import Gradient
from companion.operators.linear import LinearOperator
from companion.operators.smoothing import gaussian_smooth

SIDES = {1: 17, 2: 9, 3: 5}  # pixels a side, by dimension, of the grid that `monotone` looks at


class Diffusion(Field):
    r"""F(u) = -grad^T(g(|grad u_sigma|^2) grad u), and |.| runs over the components of grad.   (3.3)

    g      from s = |grad u|^2 to (0, g(0)], decreasing, so that g(0) is its maximum
    grad   (*batch, *space) -> (*batch, r, *space), with attributes h, dim, boundary and bound = sup |grad|^2
    sigma  >= 0: the scale of u_sigma = G_sigma * u, in the unit of h

    maximum_principle is True where grad is monotone; max_dt is then the bound for the extrema, else that of stability.

    Raises TypeError for a grad without bound; ValueError for sigma < 0.
    """

    keeps_mean = True
    g: Any
    grad: Any

    def __init__(self, g: Callable[[Tensor], Tensor], grad: LinearOperator | None = None, sigma: float = 0.0):
        super().__init__()
        self.g = g
        self.grad = Gradient() if grad is None else grad
        if not hasattr(self.grad, "bound"):
            raise TypeError(
                "A diffusion needs a grad that knows bound = sup |grad|^2, for its largest step; got "
                f"{type(self.grad).__name__}. Gradient, haar_gradient and FrameGradient do."
            )
        if not 0 <= sigma < math.inf:
            raise ValueError(f"The scale sigma of u_sigma is a finite length >= 0; got sigma={sigma}.")
        self.sigma = float(sigma)
        self.maximum_principle, self._diagonal = monotone(self.grad)

    @property
    def max_dt(self) -> float:
        """1 / (max g max_n |grad e_n|^2) where grad is monotone, else 2 / (max g sup |grad|^2)."""
        largest = self.g(torch.zeros(1, dtype=torch.float64)).item()
        return 1 / (largest * (self._diagonal if self.maximum_principle else self.grad.bound / 2))

    def diffusivity(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "..."]:
        """g(|grad u_sigma|^2): (*batch, 1, *space)."""
        axis = -self.grad.dim - 1
        p = self.grad(gaussian_smooth(u, self.sigma, self.grad.h, self.grad.dim, self.grad.boundary))
        return self.g(p.square().sum(axis, keepdim=True))

    def conductivity(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "..."]:
        """(*batch, r, *space): c_i of -grad^T(c_i grad_i u); with forward differences that of the edge n, n + e_i."""
        c = self.diffusivity(u)
        return c.expand(*c.shape[: -self.grad.dim - 1], self.grad.dim, *c.shape[-self.grad.dim :])

    def frozen(self, u: Float[Tensor, "*shape"]) -> Callable[[Tensor], Tensor]:
        """L(u): v -> -grad^T(g(|grad u_sigma|^2) grad v), linear and symmetric in v; F(u) = L(u) u."""
        c = self.diffusivity(u)
        return lambda v: -self.grad.adjoint(c * self.grad(v))

    def law(self) -> kernels.Law | None:
        """g as a loop of kernels/diffusion.py, where it has one."""
        return self.g.law() if isinstance(self.g, Diffusivity) and kernels.beside(type(self.g)) else None

    @property
    def together(self) -> int:
        """Twenty, where a loop takes them in one pass."""
        fused = kernels.beside(type(self)) and type(self.grad) is Gradient and self.grad.dim <= 3 and not self.sigma
        return 20 if fused and available() and self.law() is not None else 1

    def euler(self, u: Float[Tensor, "*shape"], dt: float, k: int = 1) -> Float[Tensor, "*shape"]:
        """u <- u + dt F(u), k times, in one pass over memory where that is possible."""
        if k > 1 and self.sigma:
            for _ in range(k):
                u = self.euler(u, dt)
            return u
        fused = self._fused(u, 1.0, dt, k) if kernels.beside(type(self)) else None
        return super().euler(u, dt, k) if fused is None else fused

    def _fused(self, u: Tensor, keep: float, dt: float, k: int = 1) -> Tensor | None:
        """keep u - dt grad^T(g(|grad u_sigma|^2) grad u) by a loop where one may stand in; for sigma = 0, k times."""
        D = self.grad
        plain = type(D) is Gradient and type(self).diffusivity is Diffusion.diffusivity
        if not plain or D.dim > 3 or not taken(u) or hooked(self, self.g, D):
            return None
        law = self.law()
        if law is None or not unwatched(u, *law[1:]) or max(map(float, law[1:])) > torch.finfo(u.dtype).max:
            return None
        check_picture(u, "u", D.dim)
        v = gaussian_smooth(u, self.sigma, D.h, D.dim, D.boundary)
        out = kernels.diffuse(law, u, v, keep, dt, D.h, D.dim, D.boundary == "periodic", k)
        if k > 1:
            check_picture(out, "u", D.dim)
        return out

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(u, "u", self.grad.dim)
        if (fused := self._fused(u, 0.0, 1.0)) is not None:
            return fused
        if self.sigma:
            return -self.grad.adjoint(self.diffusivity(u) * self.grad(u))
        p = self.grad(u)
        return -self.grad.adjoint(self.g(p.square().sum(-self.grad.dim - 1, keepdim=True)) * p)


class Heat(Diffusion):
    r"""u_t = Laplace u, by the 2 d + 1 points u[n] and u[n +- e_i]; max_dt = h^2 / (2 d).   Section 3

    h, dim, boundary  the grid

    On the whole space u(t) = G_sigma * u_0 with sigma = sqrt(2 t). A cosine that fits the border is multiplied by
    1 - 4 dt/h^2 sin^2(w h/2) in each step, by e^{-w^2 t} in the limit.
    """

    def __init__(self, h: float = 1.0, dim: int = 2, boundary: str = "reflect"):
        super().__init__(torch.ones_like, Gradient(h, dim, boundary))

    def law(self) -> kernels.Law:
        """g = a."""
        return kernels.constant, 1.0, 0.0

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return -self.grad.adjoint(self.grad(u))


class PeronaMalik(Diffusion):
    r"""u_t = div(g(|grad u_sigma|^2) grad u), zero flux through a reflecting border; u_sigma = G_sigma * u.   (3.3)

    g      a Diffusivity, such as Exponential or Rational, or any function of s = |grad u|^2 that satisfies (3.3):
           what is no Diffusivity is checked, and K found, by `check_diffusivity`
    grad   by default Gradient(h=1); Gradient(h), haar_gradient(h), ...
    sigma  0: Perona and Malik's equation, which in the continuum has no classical solution unless u_0 is infinitely
           smooth where |grad u_0|^2 > K, and infinitely many Lipschitz ones; > 0: Catte's, which has one

    `threshold` is K, in the unit of |grad u|^2. A learned g is a subclass of Diffusivity, decreasing by construction.

    Raises ValueError if g violates (3.3).

    >>> F = PeronaMalik(lambda s: 1 / (1 + s / 4))
    >>> round(F.threshold, 9), F.max_dt
    (4.0, 0.25)
    """

    def __init__(self, g: Callable[[Tensor], Tensor], grad: LinearOperator | None = None, sigma: float = 0.0):
        super().__init__(g, grad, sigma)
        self._threshold = None if isinstance(g, Diffusivity) else check_diffusivity(g)

    @property
    def threshold(self) -> float:
        """K: where |grad u|^2 > K it is diffused backwards across the edges."""
        return self.g.threshold if self._threshold is None else self._threshold


class TVFlow(Diffusion):
    r"""u_t = div(grad u / sqrt(|grad u|^2 + eps^2)) + (f - u) / nu: steepest descent of TV, or of (3.2) with A = I.

    grad   by default Gradient(h=1)
    eps    > 0, in the unit of |grad u|: below it the flow is that of heat, 1/eps times as fast
    f, nu  data, broadcast to u, and the weight nu of TV in nu TV(u) + |u - f|^2 / 2; both or none

    max_dt = 1 / (2 d / (h^2 eps) + 1 / nu) with forward differences: it shrinks with eps; SemiImplicit has no bound.
    Without f the mean and the extrema are kept; with f, where grad is monotone, u stays between the extrema of u_0 and
    f, and the flow ends at ROF's minimiser (smoothed by eps).

    Raises ValueError for eps <= 0, nu <= 0, or one of f and nu alone.
    """

    def __init__(
        self, grad: LinearOperator | None = None, eps: float = 1e-2, f: Tensor | None = None, nu: float | None = None
    ):
        super().__init__(Regularised(eps), grad)
        if (f is None) != (nu is None):
            given = "f without nu" if nu is None else f"nu={nu} without f"
            raise ValueError(f"The term (f - u) / nu needs both the data f and the weight nu > 0; got {given}.")
        if nu is not None and not 0 < nu < math.inf:
            raise ValueError(f"The weight nu of TV is a finite number > 0; got nu={nu}. In (3.2) it is 1 / lambda.")
        self.nu = nu
        self.f: Tensor | None
        self.register_buffer("f", None if f is None else f.detach().clone())
        self._monotone = self.maximum_principle
        if nu is not None:  # f may lie outside the extrema of u_0, and have another mean
            self.maximum_principle = self.keeps_mean = False

    @property
    def max_dt(self) -> float:
        """1 / (D/eps + 1/nu), D = max_n |grad e_n|^2 where grad is monotone, else sup |grad|^2 / 2."""
        diagonal = self._diagonal if self._monotone else self.grad.bound / 2
        return 1 / (diagonal / self.g.eps.item() + (1 / self.nu if self.nu else 0.0))

    def reaction(self, u: Float[Tensor, "*shape"]) -> tuple[float, Tensor | float]:
        """(r, s) of the term s - r u: (1/nu, f/nu), or zeros."""
        return (0.0, 0.0) if self.nu is None or self.f is None else (1 / self.nu, self.f.to(u.dtype) / self.nu)

    def frozen(self, u: Float[Tensor, "*shape"]) -> Callable[[Tensor], Tensor]:
        """L(u) - 1/nu: the linear part."""
        L, rate = super().frozen(u), 1 / self.nu if self.nu else 0.0
        return lambda v: L(v) - rate * v

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        r, s = self.reaction(u)
        return super().forward(u) + (s - r * u)


def monotone(grad: Any) -> tuple[bool, float]:
    """(every grad^T g grad with g >= 0 has off-diagonal entries <= 0; the largest diagonal entry of grad^T grad).

    grad^T g grad = sum_n g[n] R_n, R_n = sum_i r_i r_i^T over the rows r_i of the components at n: so it is enough, and
    needed, that no R_n has an off-diagonal entry > 0. All n of a small grid are looked at; a larger one repeats them.
    """
    if type(grad) is Gradient:
        return True, grad.bound / 2
    side = SIDES.get(grad.dim, 3)
    n = side**grad.dim
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *[side] * grad.dim)
    rows = grad(basis).reshape(n, -1, n).permute(2, 1, 0)  # position, component, pixel
    diagonal = rows.square().sum((0, 1))
    largest = max(float((R - torch.diag(torch.diag(R))).max()) for R in (r.T @ r for r in rows))
    return largest <= 1e-12 * float(diagonal.max()), float(diagonal.max())
