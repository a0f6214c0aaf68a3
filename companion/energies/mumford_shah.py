r"""min over a picture u and its edges: two models of Mumford and Shah, both of them not convex.

    AmbrosioTortorelli   1/2 int |A u - f|^2 + alpha int (v^2 + delta) |grad u|^2           v: 0 on an edge, 1 away
                         + beta int (eps |grad v|^2 + (1 - v)^2 / (4 eps))
    piecewise_smooth     1/2 |A u - f|^2 + |[lam . W u] off Gamma|_2^2 + |[gamma . W u] on Gamma|_1            [26]

Both smooth u where there is no edge and let it jump where there is one; Mumford and Shah's own functional charges the
length of the edges, beta |Gamma|. For fixed edges each is a linear or convex problem in u, for fixed u the edges are
found in closed form or by one linear system. No local minimum is promised to be the global one.

L. Ambrosio, V. M. Tortorelli, Approximation of functionals depending on jumps by elliptic functionals via
Gamma-convergence, Comm. Pure Appl. Math. 43 (1990).

Paper: Section 3 [115], Section 1 [26].  Notebook: 05.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from companion.energies.functional import Functional, LeastSquares
from companion.energies.models import Problem
from companion.energies.norms import GroupL1
from companion.operators.differences import Gradient
from companion.operators.frames import FrameletTransform
from companion.operators.grid import constants, correlate, correlate_adjoint
from companion.operators.linear import LinearOperator, conjugate_gradients


class Edges(NamedTuple):
    """A picture u, and its edges v in [0, 1]: 0 on an edge, 1 away from it."""

    u: Tensor
    v: Tensor


class AmbrosioTortorelli(nn.Module):
    r"""h^d (1/2 |A u - f|^2 + alpha sum (v^2 + delta) |D u|^2 + beta sum (eps |D v|^2 + (1 - v)^2 / (4 eps))).

    A, f         the measurement of u and the data
    alpha, beta  > 0: smoothness is charged alpha |grad u|^2 away from the edges, an edge beta for each unit of length
    eps          > 0: the edges are about 4 eps wide. For eps -> 0, with delta / eps -> 0 and h / eps -> 0, the energy
                 Gamma-converges to Mumford and Shah's functional (Ambrosio and Tortorelli, 1990). On a grid eps is one
                 to three steps; with eps = h an edge is found, and charged some 15 to 30 % more than beta
    delta        > 0, small: what conducts on an edge. With delta fixed, eps -> 0 would forbid every jump
    h, dim       the grid step and the dimension d;  boundary "reflect" or "periodic"

    Between the pixels n and n + e_i the conductivity is the mean of v^2 at both, plus delta, so that the energy is the
    same for the picture turned by 90 degrees or reflected. It is quadratic and convex in u for fixed v, and in v for
    fixed u, not in both: `AlternatingMinimisation` lowers it at every step.

    forward(state) is the energy of an `Edges`. Raises ValueError unless alpha, beta, eps, delta > 0.
    """

    of_state = True  # `run(record=)` hands it u and v

    def __init__(
        self,
        A: LinearOperator,
        f: Tensor,
        alpha: float,
        beta: float,
        eps: float,
        h: float = 1.0,
        dim: int = 2,
        boundary: str = "reflect",
        delta: float = 1e-4,
    ):
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta), ("eps", eps), ("delta", delta)):
            if not 0 < value < math.inf:
                raise ValueError(
                    f"Ambrosio and Tortorelli's energy needs a finite {name} > 0; got {name}={value}. eps is the width "
                    "of an edge in units of h, delta a small number such as 1e-4."
                )
        self.E, self.D = LeastSquares(f, A), Gradient(h, dim, boundary)
        self.alpha, self.beta, self.eps, self.delta = float(alpha), float(beta), float(eps), float(delta)
        self.h, self.dim, self.boundary = self.D.h, dim, boundary

    def forward(self, state: Any) -> Float[Tensor, ""]:
        u, v = state
        return self.h**self.dim * (self.E(u) + self.smoothness(u, v).sum() + self.length(v))

    def smoothness(self, u: Float[Tensor, "..."], v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """alpha (v^2 + delta) |D u|^2, for each edge of the grid: (*batch, d, *space)."""
        return self.alpha * self.conductivity(v) * self.D(u).square()

    def length(self, v: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        """beta sum (eps |D v|^2 + (1 - v)^2 / (4 eps)): h^d times it is near beta times the length of the edges."""
        return self.beta * (self.eps * self.D(v).square().sum() + (1 - v).square().sum() / (4 * self.eps))

    def conductivity(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """c_i[n] = (v[n]^2 + v[n + e_i]^2) / 2 + delta: (*batch, d, *space)."""
        means = [
            correlate(v.square(), self._half(v), (0,), (i - self.dim,), boundary=self.boundary) for i in range(self.dim)
        ]
        return torch.stack(means, -self.dim - 1) + self.delta

    def best_u(self, v: Tensor, u: Tensor, tol: float = 1e-6, k: int = 2000) -> Float[Tensor, "..."]:
        r"""argmin_u: (A^T A + 2 alpha D^T c(v) D) u = A^T f, by conjugate gradients from u.

        tol  residual relative to A^T f; however large, the energy does not rise
        """
        A, c = self.E.A, 2 * self.alpha * self.conductivity(v)
        return _solve(lambda w: A.adjoint(A(w)) + self.D.adjoint(c * self.D(w)), self.E.domain().to(u.dtype), u, tol, k)

    def best_v(self, u: Tensor, v: Tensor, tol: float = 1e-6, k: int = 2000) -> Float[Tensor, "..."]:
        r"""argmin_v: (2 alpha s + beta / (2 eps) + 2 beta eps D^T D) v = beta / (2 eps).

        s[n] is the sum over the axes of the mean of (D_i u)^2 on the two sides of n. No entry off the diagonal of the
        matrix is positive and the right-hand side is, so 0 < v <= 1.
        """
        g = self.D(u).square().unbind(-self.dim - 1)
        s = torch.stack(
            [
                correlate_adjoint(gi, self._half(u), (0,), (i - self.dim,), boundary=self.boundary)
                for i, gi in enumerate(g)
            ]
        ).sum(0)
        mass, stiff = 2 * self.alpha * s + self.beta / (2 * self.eps), 2 * self.beta * self.eps
        scale = (mass + 4 * self.dim * stiff / self.h**2 / 2).rsqrt()  # Jacobi's: s spans orders of magnitude
        M = lambda w: scale * (mass * scale * w + stiff * self.D.adjoint(self.D(scale * w)))  # noqa: E731
        b = torch.full_like(v, self.beta / (2 * self.eps))
        return scale * _solve(M, scale * b, v / scale, tol, k)

    def _half(self, like: Tensor) -> Tensor:
        return constants(0.5, 0.5, like=like)


class SmoothOrEdge(Functional):
    r"""sum_k sum_g min(lam_g^2 s^2, gamma_g s),  s = (sum_{i in g} |v_i[k]|^2)^{1/2}: NOT convex.   [26]

    The minimum over Gamma of |[lam . v] off Gamma|_2^2 + |[gamma . v] on Gamma|_1, where Gamma takes or leaves the
    group g at a pixel k as a whole: it takes it where s > gamma / lam^2.

    lam, gamma  >= 0, one number or one for each group
    axis, sizes as for GroupL1

    prox_tau is the exact global minimiser: of the two candidates s / (1 + 2 tau lam^2) and max(s - tau gamma, 0) the
    one with the lower objective. It jumps, where both are equally low. A functional that is not convex has no prox of
    its conjugate by Moreau's identity: ADMM takes this one, and PDHG does not.
    """

    proximal, convex = True, False

    def __init__(
        self, lam: Tensor | float, gamma: Tensor | float, axis: int = -3, sizes: tuple[int, ...] | None = None
    ):
        super().__init__()
        self.off, self.on = GroupL1(lam, axis, sizes), GroupL1(gamma, axis, sizes)

    @property
    def lam(self) -> Tensor:
        """lam, of the squares off Gamma."""
        return self.off.lam

    @property
    def gamma(self) -> Tensor:
        """gamma, of the lengths on Gamma."""
        return self.on.lam

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        return torch.stack(
            [torch.minimum((lam * s).square(), gamma * s).sum() for lam, gamma, s, _ in self._split(v)]
        ).sum()

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        out = []
        for lam, gamma, s, part in self._split(v):
            off = 1 / (1 + 2 * tau * lam.square())
            on = (1 - tau * gamma / s.clamp_min(torch.finfo(v.dtype).tiny)).clamp_min(0.0)
            cost_off = (lam * s).square() * off
            cost_on = gamma * on * s + (s - on * s).square() / (2 * tau)
            out.append(part * torch.where(cost_on < cost_off, on, off))
        return torch.cat(out, self.off.axis)

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """Refused: there is none."""
        raise TypeError(
            f"Moreau's identity is for convex functionals, and {type(self).__name__} is not: it has no prox of a "
            "conjugate. Use ADMM."
        )

    def edges(self, v: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """Gamma: True where gamma s < (lam s)^2, one entry for each group on the axis of the groups."""
        return torch.cat([gamma * s < (lam * s).square() for lam, gamma, s, _ in self._split(v)], self.off.axis)

    def _split(self, v: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(lam_g, gamma_g, s, the group) for each group."""
        pairs = zip(self.off._groups(v), self.on._groups(v), strict=True)
        return [
            (lam, gamma, torch.linalg.vector_norm(part, dim=self.off.axis, keepdim=True), part)
            for (lam, part), (gamma, _) in pairs
        ]


class PiecewiseSmooth(Problem):
    r"""min_{u,Gamma} 1/2 |A u - f|^2 + |[lam . W u] off Gamma|_2^2 + |[gamma . W u] on Gamma|_1.   [26]"""

    def edges(self, u: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """Gamma of the picture u, for each level of W: (*batch, level, *space), the finest first."""
        return self.R.edges(self.K(u)).narrow(self.R.off.axis, 1, self.K.levels)


def piecewise_smooth(
    A: LinearOperator, f: Tensor, W: FrameletTransform, lam: Tensor | float, gamma: Tensor | float
) -> PiecewiseSmooth:
    r"""min_{u,Gamma} 1/2 |A u - f|^2 + |[lam . W u] off Gamma|_2^2 + |[gamma . W u] on Gamma|_1.   [26]   For ADMM.

    lam, gamma  one number, or one for each level; the average of W is free. At a pixel k and a level the details are
                an edge where their length exceeds gamma / lam^2: gamma -> infinity is a quadratic penalty, lam ->
                infinity the isotropic l1 penalty of (2.5)

    Gamma is eliminated: the minimum over Gamma is the functional `SmoothOrEdge` of W u, whose proximal map is exact.
    Not convex: where ADMM comes to rest depends on the start and, a little, on rho; and for a small rho it may not.
    """
    levels, r = W.levels, len(W.indices) - 1
    weights = [
        torch.cat([torch.zeros(1, dtype=torch.float64), torch.as_tensor(x, dtype=torch.float64).expand(levels)])
        for x in (lam, gamma)
    ]
    R = SmoothOrEdge(weights[0], weights[1], -W.dim - 1, (1, *[r] * levels))
    return PiecewiseSmooth(LeastSquares(f, A), R, W)


def _solve(M: Callable[[Tensor], Tensor], b: Tensor, x: Tensor, tol: float, k: int) -> Tensor:
    """x with |b - M x| <= tol |b|, by conjugate gradients from the given x: the quadratic energy falls all the way."""
    r = b - M(x)
    size, goal = float(torch.linalg.vector_norm(r.detach())), tol * float(torch.linalg.vector_norm(b.detach()))
    return x if size <= goal else x + conjugate_gradients(M, r, goal / size, k)
