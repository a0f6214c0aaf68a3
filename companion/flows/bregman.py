r"""min 1/2 |A u - f|^2 + nu |grad u| by linear solves: the split Bregman iteration, and lagged diffusivity.   (3.2)

    SplitBregman        x <- (w A^T A + rho K^T K)^{-1} (w A^T f + rho K^T (d - b))     then d, b as in ADMM; any K
    LaggedDiffusivity   u <- (w A^T A + K^T diag(lam / |K u|_eps) K)^{-1} w A^T f       |p|_eps = sqrt(|p|^2 + eps^2)

w is the weight of the data term. The first system has the same matrix at every step. On a torus K^T K is diagonal in
the Fourier basis; with a mirrored border it is so for the picture mirrored to twice its size: the cosine transform. So
with A = I, or a periodic blur and a periodic K, a step is two Fourier transforms; else a few conjugate gradient steps
from the last iterate. The second system changes with u and is always solved so.

Paper: (3.2), (2.5), [25].  Notebook: 05.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.functional import LeastSquares
from companion.energies.models import Problem
from companion.energies.norms import GroupL1
from companion.energies.variation import TVModel
from companion.flows.solvers import Solver, check_proximal, check_step, number
from companion.flows.splitting import Split, penalty
from companion.kernels import hooked, taken, unwatched
from companion.kernels.bregman import pull, split
from companion.operators.differences import Gradient
from companion.operators.gradients import FrameGradient
from companion.operators.grid import shift
from companion.operators.kept import Kept
from companion.operators.linear import LinearOperator
from companion.operators.measure import Blur, Identity

Solve = Callable[..., Tensor]
Map = Callable[[Tensor], Tensor]


class SplitBregman(Solver):
    r"""x <- argmin E(x) + rho/2 |K x - d + b|^2,  d <- prox_{R/rho}(K x + b),  b <- b + K x - d, for any K.   (3.2)

    ADMM without K^T K = I: the split Bregman iteration of Goldstein and Osher for total variation. It converges for
    every rho > 0.

    problem  E = w/2 |A x - f|^2 and R with a proximal map, such as tv(A, f, nu)
    rho      > 0; the speed, not the limit, depends on it. By default |K| / `problem.ratio` for A = I, 0.3 of it for
             another A; without a ratio `penalty(problem)`
    tol      where the first line has no closed form: the relative residual of its conjugate gradients

    Raises ValueError for another E, and where R has no proximal map.
    """

    rho: Tensor

    def __init__(self, problem: Problem, rho: float | None = None, tol: float = 1e-8):
        super().__init__(problem)
        E = problem.E
        if type(E) is not LeastSquares:
            raise ValueError(
                f"SplitBregman solves with w A^T A + rho K^T K, so E must be LeastSquares; got {type(E).__name__}. Use "
                "PDHG, which needs the proximal map of E only."
            )
        check_proximal(self.name, problem)
        if rho is None and problem.ratio:
            rho = float(problem.K.norm(E.domain())) / problem.ratio
            rho *= 1.0 if isinstance(E.A, Identity) else 0.3  # measured, as the ratio was
        rho = penalty(problem) if rho is None else check_step(self.name, "rho", rho)
        self.register_buffer("rho", number(rho))
        self.solve = normal_solver(E.A, problem.K, E.weight, rho, E.domain(), tol)

    def start(self, u0: Tensor) -> Split:
        """d = K x, b = 0."""
        x = self.problem.encode(u0)
        d = self.problem.K(x)
        return Split(x, d, torch.zeros_like(d))

    def dual(self, s: Split) -> Tensor:
        """p = rho b, in the subdifferential of R at d: the multiplier of K x = d."""
        return self.rho * s.b

    def forward(self, s: Split) -> Split:
        R, w, data = self.problem.R, self.problem.E.weight, self.problem.E.domain().to(s.x.dtype)
        K: Any = self.problem.K
        if self._by_loops(data, s.b, s.d):
            v = pull(data, s.d, s.b, w, float(self.rho), K.h, K.boundary == "periodic")
        else:
            v = w * data + self.rho * K.adjoint(s.d - s.b)
        x = self.solve(v, s.x, self.rho)
        if self._by_loops(x, s.b):
            return Split(x, *split(x, s.b, float(R.lam / self.rho), K.h, K.boundary == "periodic"))
        Kx = K(x)
        d = R.prox(Kx + s.b, 1 / self.rho)
        return Split(x, d, s.b + Kx - d)

    def _by_loops(self, x: Tensor, *fields: Tensor) -> bool:
        """Whether kernels/bregman.py may stand in for the lines around the system: the length of plain differences."""
        K, R = self.problem.K, self.problem.R
        known = type(K) is Gradient and K.dim == 2 and type(R) is GroupL1 and R.axis == -3 and R.lam.numel() == 1
        shape = (*x.shape[:-2], 2, *x.shape[-2:])
        alike = known and R.sizes in (None, (2,)) and all(p.shape == shape for p in fields) and not hooked(K, R)
        free = alike and taken(x, *fields) and unwatched(x, *fields, self.rho, R.lam)
        return free and bool(R.lam > 0)  # the loop divides by a length or lam


class LaggedDiffusivity(Solver):
    r"""u <- (w A^T A + K^T diag(lam / sqrt(|K u|^2 + eps^2)) K)^{-1} w A^T f: Vogel and Oman's fixed point.   (3.2)

    The Euler-Lagrange equation of nu h^d sum sqrt(|grad u|^2 + eps^2) + h^d/2 |A u - f|^2, its diffusivity taken from
    the last iterate. Each step minimises a parabola that lies above this smoothed energy and touches it at u, so that
    the energy falls at every step; its minimum exceeds that of tv by at most nu eps times the area, for each length
    at a position: one if isotropic, else one for each component.

    problem  tv(A, f, nu) or ROF, isotropic or entrywise
    eps      > 0, a slope in the units of |grad u|
    tol      the relative residual of the conjugate gradients, started at the last iterate

    Raises ValueError for another problem.
    """

    def __init__(self, problem: Problem, eps: float, tol: float = 1e-6):
        super().__init__(problem)
        if not isinstance(problem, TVModel):
            raise ValueError(
                f"LaggedDiffusivity smooths the length |grad u| of a total variation; got a {type(problem).__name__}. "
                "Use tv(A, f, nu) or ROF(f, nu)."
            )
        self.eps, self.tol = check_step(self.name, "eps", eps), tol
        self.model = problem

    def diffusivity(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """1 / sqrt(|grad u|^2 + eps^2), (*batch, r or 1, *space)."""
        p, axis = self.model.J.D(u), -self.model.J.D.dim - 1
        s = p.square().sum(axis, keepdim=True) if self.model.J.isotropic else p.square()
        return (s + self.eps**2).rsqrt()

    def energy(self, u: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        """nu h^d sum sqrt(|grad u|^2 + eps^2) + h^d/2 |A u - f|^2: what falls at every step."""
        J = self.model.J
        return J.nu * J.D.h**J.D.dim * (1 / self.diffusivity(u)).sum() + self.model.E(u)

    def start(self, u0: Tensor) -> Tensor:
        """The picture itself."""
        return u0

    def forward(self, u: Tensor) -> Tensor:
        E, K, J = self.model.E, self.model.K, self.model.J
        c = J.nu * J.D.h ** (J.D.dim - 2) * self.diffusivity(u)  # K = h grad
        jacobi = E.weight + _diagonal(K, c)
        return solve_from(
            lambda x: E.weight * E.A.adjoint(E.A(x)) + K.adjoint(c * K(x)),
            (E.weight * E.domain().to(u.dtype)).expand_as(u),
            u,
            self.tol,
            lambda r: r / jacobi,
        )


def normal_solver(A: LinearOperator, K: LinearOperator, w: float, rho: float, like: Tensor, tol: float) -> Solve:
    """(v, guess) -> (w A^T A + rho K^T K)^{-1} v: by the Fourier or cosine transform where both are diagonal there,
    else by conjugate gradients, which the same transform preconditions where K alone is nearly diagonal and A = I.
    A third argument is another rho.
    """
    reciprocal, exact = _reciprocal(A, K, w, like)

    def solve(v: Tensor, x: Tensor, rho: float | Tensor = rho) -> Tensor:
        inverse = _transform(K, reciprocal(rho)) if reciprocal is not None else None
        if inverse is not None and exact:
            return inverse(v)
        return solve_from(lambda y: w * A.adjoint(A(y)) + rho * K.adjoint(K(y)), v, x, tol, inverse)

    return solve


def solve_from(
    M: Map, v: Tensor, x: Tensor, tol: float, inverse: Map | None = None, k: int = 500
) -> Float[Tensor, "..."]:
    """u with |v - M u| <= tol |v|, M symmetric and positive definite: at most k conjugate gradient steps from x.

    inverse  an approximate inverse of M, symmetric and positive definite, such as 1 / its diagonal

    Every step brings u closer to the minimum of <u, M u>/2 - <v, u>: stopped early, it is no worse than x.
    """
    goal = max(tol, 100 * torch.finfo(v.dtype).eps) * float(torch.linalg.vector_norm(v.detach()))
    r = v - M(x)
    z = inverse(r) if inverse else r
    p, rz = z, (r * z).sum()
    for _ in range(k):
        if float(torch.linalg.vector_norm(r.detach())) <= goal:
            break
        Mp = M(p)
        step = rz / (p * Mp).sum()
        x, r = x + step * p, r - step * Mp
        z = inverse(r) if inverse else r
        rz, old = (r * z).sum(), rz
        p = z + (rz / old) * p
    return x


def _reciprocal(A: Any, K: Any, w: float, like: Tensor) -> tuple[Callable[..., Tensor] | None, bool]:
    """rho -> 1 over the eigenvalues of w A^T A + rho K^T K in the layout of rfftn, on the torus or on the mirrored
    picture's, kept from step to step; and whether they are exact; None if there are none.
    """
    if not isinstance(K, Gradient | FrameGradient):
        return None, False
    mirrored, kept = K.boundary == "reflect", Kept()
    space = [n * (1 + mirrored) for n in like.shape[-K.dim :]]
    square = K.spectrum(space)[..., : space[-1] // 2 + 1].to(like)
    exact = not getattr(K, "cut", False)
    if isinstance(A, Identity):
        blurred = torch.full_like(square, w)
    elif isinstance(A, Blur) and A.boundary == "periodic" and not mirrored and A.dim == K.dim:
        blurred, exact = w * A.symbol(like).abs().square(), True
    else:
        return None, False

    def reciprocal(rho: float | Tensor) -> Tensor:
        numbers, key = ((rho,), None) if isinstance(rho, Tensor) else ((), rho)
        return kept(lambda: 1 / (blurred + rho * square), blurred, square, *numbers, key=key)

    return reciprocal, exact


def _transform(K: Any, reciprocal: Tensor) -> Map:
    """v -> the product with this in the Fourier domain, v mirrored to twice its size where the border reflects."""
    axes = tuple(range(-K.dim, 0))

    def divide(v: Tensor) -> Tensor:
        space = v.shape[-K.dim :]
        for axis in axes if K.boundary == "reflect" else ():
            v = torch.cat([v, v.flip(axis)], axis)
        u = torch.fft.irfftn(torch.fft.rfftn(v, dim=axes) * reciprocal.to(v), s=v.shape[-K.dim :], dim=axes)
        for axis, n in zip(axes, space, strict=True):
            u = u.narrow(axis, 0, n)
        return u

    return divide


def _diagonal(K: Any, c: Tensor) -> Tensor:
    """The diagonal of K^T diag(c) K, but for what a mirrored border folds together: (K o K)^T c."""
    if isinstance(K, FrameGradient):
        return K.squared().adjoint(c.expand(*c.shape[: -K.dim - 1], len(K.filters), *c.shape[-K.dim :]))
    parts = c.expand(*c.shape[: -K.dim - 1], K.dim, *c.shape[-K.dim :]).unbind(-K.dim - 1)
    return torch.stack([q + shift(q, -1, i - K.dim, K.boundary) for i, q in enumerate(parts)]).sum(0) / K.h**2
