r"""1/2 |A W^T d - f|^2 + kappa/2 |(I - W W^T) d|^2: the data term, and the distance of d from the range of W.   (2.4)

Paper: (2.4), (2.6).  Notebook: 04.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from companion.energies.functional import Functional, LeastSquares
from companion.operators.frames import FrameletTransform
from companion.operators.linear import LinearOperator


class FrameLeastSquares(Functional):
    r"""1/2 |A W^T d - f|^2 + kappa/2 |(I - W W^T) d|^2: the smooth part of (2.4), for a tight frame W.

    Its Hessian H = W A^T A W^T + kappa (I - W W^T) acts as A^T A on the range of W and as kappa on its complement. So
    |H| = max(|A|^2, kappa), and (H + rho)^{-1} v = W (A^T A + rho)^{-1} W^T v + (v - W W^T v) / (kappa + rho).
    """

    smooth = proximal = True
    f: Tensor

    def __init__(self, A: LinearOperator, f: Tensor, W: FrameletTransform, kappa: float = 0.0):
        super().__init__()
        if not W.tight or W.dual_bank is not None:
            raise ValueError(f"I - W W^T is a projection only for a tight frame, W^T W = I; got {W}.")
        if not 0 <= kappa < math.inf:
            raise ValueError(
                f"The weight kappa of (2.4) is finite and >= 0; got {kappa}. The limit kappa -> infinity is analysis."
            )
        self.data, self.W, self.kappa = LeastSquares(f, A), W, float(kappa)

    def domain(self) -> Tensor:
        """W A^T f: coefficients of the shape on which the functional acts."""
        return self.W(self.data.domain())

    def forward(self, v: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        u = self.W.adjoint(v)
        return self.data(u) + (self.kappa / 2 * (v - self.W(u)).square().sum() if self.kappa else 0)

    def grad(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """W A^T (A u - f) + kappa (d - W u), u = W^T d."""
        u = self.W.adjoint(v)
        return self.W(self.data.grad(u) - self.kappa * u) + self.kappa * v

    def lipschitz(self) -> float:
        """max(|A|^2, kappa)."""
        return max(self.data.lipschitz(), self.kappa)

    def prox(self, v: Float[Tensor, "..."], tau: float | Tensor) -> Float[Tensor, "..."]:
        u, c = self.W.adjoint(v), 1 / (1 + self.kappa * tau)
        return self.W(self.data.prox(u, tau) - c * u) + c * v
