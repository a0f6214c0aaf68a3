r"""u_t = -sum_ij d_i d_j (g(|Hess u|^2) d_i d_j u): diffusion of fourth order, whose rest is planes, not constants.

Steepest descent of int G(|Hess u|), G'(r) = r g(r^2): with g(s) = 1/sqrt s that of int |Hess u|, the functional of
Lysaker, Lundervold and Tai. A ramp has Hess u = 0 and costs nothing, so that it does not break into steps as under
Perona and Malik's flow, and edges are less sharp. There is no maximum principle: a wave of frequency w decays like
e^{-|w|^4 t} where g = 1, and the kernel of u_t = -Laplace^2 u changes its sign.

Paper: (4.6), Section 3.  Notebook: 08.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.field import Field
from companion.operators.checks import check_picture
from companion.operators.differences import Hessian
from companion.operators.linear import LinearOperator


class FourthOrder(Field):
    r"""F(u) = -H^T(g(|H u|^2) H u), |H u|^2 = sum_ij |(H u)_ij|^2 ~ |Hess u|^2.

    g   a decreasing function of s = |Hess u|^2, in the unit of h^{-4}: any Diffusivity, (4.6) does not ask for g(0) = 1
    H   second differences with H 1 = 0 and attributes dim and bound = sup |H|^2: by default Hessian(h=1); or a
        FrameGradient of second-order bands, weights[(1,1)] times sqrt 2, as the mixed derivative counts twice

    max_dt = 2 / (|H|^2 max g), h^4/32 in the plane for Hessian: steps are short.

    Raises TypeError for an H without bound.

    >>> F = FourthOrder(torch.ones_like)
    >>> F.max_dt, float(F(torch.arange(9.0).expand(9, 9)).abs()[4, 4])       # a ramp stays, away from the border
    (0.03125, 0.0)
    """

    keeps_mean = True
    g: Any
    H: Any

    def __init__(self, g: Callable[[Tensor], Tensor], H: LinearOperator | None = None):
        super().__init__()
        self.g = g
        self.H = Hessian() if H is None else H
        if not hasattr(self.H, "bound"):
            raise TypeError(
                "A diffusion of fourth order needs an H that knows bound = sup |H|^2, for its largest step; got "
                f"{type(self.H).__name__}. Hessian and FrameGradient do."
            )

    @property
    def max_dt(self) -> float:
        """2 / (sup |H|^2 max g), g(0) being the maximum."""
        return 2 / (self.H.bound * self.g(torch.zeros(1, dtype=torch.float64)).item())

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(u, "u", self.H.dim)
        p = self.H(u)
        components = tuple(range(u.ndim - self.H.dim, p.ndim - self.H.dim))
        return -self.H.adjoint(self.g(p.square().sum(components, keepdim=True)) * p)
