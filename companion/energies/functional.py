r"""F: v -> R, convex, with its gradient and prox_{tau F}(v) = argmin_w F(w) + |w - v|^2 / (2 tau).   (2.4)-(2.6)

    LeastSquares   w/2 |A u - f|^2      the data term of Gaussian noise; with f = 0 Tikhonov's penalty
    Composed       F(A u)               any data term after any measurement
    L1, GroupL1, Box, KL                in norms.py and likelihood.py

A functional sums over everything it is given: a batch is one problem in the product space, and its minimiser is the
batch of the minimisers. What a solver may ask is said by two flags: `smooth` (grad and lipschitz exist), `proximal`
(prox exists in closed form). A third, `convex`, is False for one functional of the course, SmoothOrEdge.

`prox_conjugate` is Moreau's identity, prox_{sigma F*}(p) = p - sigma prox_{F/sigma}(p/sigma); `conjugate` is the value
F*(p) = sup_v <p, v> - F(v), for duality gaps.

Paper: (1.1), (2.4)-(2.6).  Notebooks: 01, 04.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.operators.checks import check_picture
from companion.operators.kept import Kept
from companion.operators.linear import LinearOperator
from companion.operators.measure import Identity


class Functional(nn.Module):
    """F: v -> R, lower semicontinuous and convex (or `convex` is False). Subclasses write `forward`, and `grad`
    or `prox` or both.
    """

    smooth: bool = False
    proximal: bool = False
    convex: bool = True

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """F(v), one number; infinity outside the domain of F."""
        raise TypeError(f"{type(self).__name__} is no functional yet: it does not define forward(v) = F(v).")

    def domain(self) -> Tensor:
        """A tensor of the shape on which F acts: its data."""
        f = getattr(self, "f", None)
        if f is None or not f.ndim:
            raise TypeError(
                f"{type(self).__name__} has no data, so it does not tell the shape of the unknown x of E(x) + R(K x). "
                "Make it R, or give it data f."
            )
        return f

    def grad(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The gradient of F at v."""
        raise TypeError(f"{type(self).__name__} has no gradient: it is not smooth. Use its prox.")

    def lipschitz(self) -> float:
        """The Lipschitz constant of the gradient; infinity where there is none."""
        return math.inf

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        """argmin_w F(w) + |w - v|^2 / (2 tau)."""
        raise TypeError(f"The proximal map of {type(self).__name__} has no closed form. Use its gradient, or PDHG.")

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """prox_{sigma F*}(p), by Moreau's identity."""
        return p - sigma * self.prox(p / sigma, 1 / sigma)

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """F*(p) = sup_v <p, v> - F(v); infinity outside its domain."""
        raise TypeError(f"The conjugate of {type(self).__name__} is not known in closed form: no duality gap.")


class LeastSquares(Functional):
    r"""w/2 |A u - f|^2: minus the logarithm of a Gaussian likelihood for w = 1/sigma^2.   (2.4)-(2.6)

    f       the data, real and finite; 0.0 for a penalty
    A       a LinearOperator, by default the identity
    weight  w > 0

    grad = w A^T (A u - f), Lipschitz constant w |A|^2; prox_tau(v) = (w A^T A + 1/tau)^{-1} (w A^T f + v/tau), by
    `A.normal_solve`: in closed form for a mask, a periodic blur, a partial Fourier transform, else by conjugate
    gradients.
    The conjugate is finite everywhere if A is injective, and needs (A^T A)^{-1}.
    """

    smooth = proximal = True
    f: Tensor

    def __init__(self, f: Tensor | float, A: LinearOperator | None = None, weight: float = 1.0):
        super().__init__()
        self.A = Identity() if A is None else A
        self.register_buffer("f", check_data(f))
        self.weight = check_weight(weight)
        self._domain = Kept()

    def domain(self) -> Tensor:
        """A^T f: a picture of the shape on which the functional acts."""
        if not all(type(part).__module__.startswith("companion.") for part in self.A.modules()):
            return self.A.adjoint(self.f)  # an operator from elsewhere may hold tensors that it does not register
        return self._domain(lambda: self.A.adjoint(self.f), self.f, *self.A.parameters(), *self.A.buffers(), key=self.A)

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        Av = self.A(v)
        return self.weight / 2 * (Av - fitted(self.f, Av)).square().sum()

    def grad(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        Av = self.A(v)
        return self.weight * self.A.adjoint(Av - fitted(self.f, Av))

    def lipschitz(self) -> float:
        """w |A|^2."""
        return self.weight * float(self.A.norm(self.domain())) ** 2

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        rho = 1 / (self.weight * tau)
        return self.A.normal_solve(fitted(self.domain(), v) + rho * v, rho)

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """<p, u> - F(u) at the u with A^T A u = A^T f + p/w."""
        u = self.A.normal_solve(fitted(self.domain(), p) + p / self.weight, 0.0)
        return (p * u).sum() - self(u)


class Composed(Functional):
    r"""F(A u): any data term after any measurement; PDHG treats F and A apart."""

    F: Any

    def __init__(self, F: Functional, A: LinearOperator):
        super().__init__()
        self.F, self.A = F, A
        self.smooth = F.smooth

    def domain(self) -> Tensor:
        """A^T f: a picture of the shape on which the functional acts."""
        return self.A.adjoint(self.F.domain())

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        return self.F(self.A(v))

    def grad(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """A^T grad F(A v)."""
        return self.A.adjoint(self.F.grad(self.A(v)))

    def lipschitz(self) -> float:
        """Lip(grad F) |A|^2."""
        return self.F.lipschitz() * float(self.A.norm(self.domain())) ** 2


def check_data(f: Tensor | float) -> Tensor:
    """Data as a real, finite, floating-point tensor; a number stands for itself in every entry."""
    f = torch.tensor(float(f), dtype=torch.float64) if isinstance(f, (int, float)) else f
    check_picture(f, "f", 0)
    return f.detach()


def fitted(f: Tensor, v: Tensor) -> Tensor:
    """f in the type of v; ValueError unless its shape is that of v, or of each member of a batch v."""
    if f.shape != v.shape[max(0, v.ndim - f.ndim) :]:
        raise ValueError(
            f"The data have shape {tuple(f.shape)}, what they are compared with {tuple(v.shape)}: the last axes must "
            "agree, all axes of the data included. A batch of data asks for a batch of pictures."
        )
    return f.to(v.dtype)


def check_weight(w: float) -> float:
    """A positive, finite factor."""
    if not 0 < w < math.inf:
        raise ValueError(
            f"The weight of a data term is a finite number > 0; got {w}. For noise of deviation sigma it is 1/sigma^2."
        )
    return float(w)
