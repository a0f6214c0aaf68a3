r"""min E(x) + R(K x) with a multiplier for d = K x: ADMM, and PDHG.   (2.5)

Paper: (2.5), Section 2.  Notebook: 04.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from companion.energies.functional import Composed, LeastSquares, fitted
from companion.energies.models import Problem
from companion.energies.norms import L1, GroupL1
from companion.flows.solvers import Solver, announce, check_proximal, check_step, number
from companion.kernels import hooked, taken, unwatched
from companion.kernels.gpu import launched
from companion.kernels.primal_dual import climb, step
from companion.operators.differences import Gradient
from companion.operators.kept import Kept
from companion.operators.measure import Identity


class Split(NamedTuple):
    """The state of ADMM: the unknown x, the coefficients d ~ K x, and the scaled multiplier b."""

    x: Tensor
    d: Tensor
    b: Tensor


class ADMM(Solver):
    r"""x <- argmin E(x) + rho/2 |K x - d + b|^2,  d <- prox_{R/rho}(K x + b),  b <- b + delta (K x - d).   (2.5)

    The split Bregman iteration of [25] for the analysis model. With K^T K = I the first line is prox_{E/rho} at
    K^T(d - b): for E = 1/2 |A u - f|^2 one solve with A^T A + rho I. It converges for every rho > 0.

    problem  E and R with proximal maps, K tight
    rho      > 0: the speed, not the limit, depends on it; by default `penalty(problem)`, one for a
             whole batch. R/rho shrinks by lam / rho
    delta    0 < delta < (1 + sqrt 5)/2, the step of the multiplier

    Raises ValueError where K^T K is not I: then K^T(d - b) is wrong, and the iteration would come to rest elsewhere, in
    silence, or diverge; and where E or R has no proximal map.
    """

    rho: Tensor
    delta: Tensor

    def __init__(self, problem: Problem, rho: float | None = None, delta: float = 1.0):
        super().__init__(problem)
        if not problem.K.tight:
            raise ValueError(
                f"ADMM solves for x by K^T K = I, and K = {type(problem.K).__name__} is not tight: it would go to "
                "another point, or diverge. Use PDHG, which takes any K."
            )
        check_proximal(self.name, problem)
        self.register_buffer("rho", number(penalty(problem) if rho is None else check_step(self.name, "rho", rho)))
        self.register_buffer("delta", number(check_step(self.name, "delta", delta)))
        bound = (1 + math.sqrt(5)) / 2
        if not delta < bound:
            announce(f"ADMM has delta = {delta:.4g}, but it converges for delta < (1 + sqrt 5)/2 = {bound:.4g}")

    def start(self, u0: Tensor) -> Split:
        """d = K x, b = 0."""
        x = self.problem.encode(u0)
        d = self.problem.K(x)
        return Split(x, d, torch.zeros_like(d))

    def dual(self, s: Split) -> Tensor:
        """p = rho b, in the subdifferential of R at d (for delta = 1): the multiplier of K x = d."""
        return self.rho * s.b

    def forward(self, s: Split) -> Split:
        K, rho = self.problem.K, self.rho
        x = self.problem.E.prox(K.adjoint(s.d - s.b), 1 / rho)
        Kx = K(x)
        d = self.problem.R.prox(Kx + s.b, 1 / rho)
        return Split(x, d, s.b + self.delta * (Kx - d))


class PrimalDual(NamedTuple):
    """The state of PDHG: x, its extrapolation, the multiplier p of K x, and q of A x where E = F(A x), else empty."""

    x: Tensor
    bar: Tensor
    p: Tensor
    q: Tensor


class PDHG(Solver):
    r"""p <- prox_{sigma R*}(p + sigma K x-bar),  x_new <- prox_{tau E}(x - tau K^T p),  x-bar <- 2 x_new - x.   (2.5)

    The primal-dual hybrid gradient method for min_x max_p E(x) + <K x, p> - R*(p). Any K; no system is solved but the
    prox of E. Where E = F(A x) is Composed, F too is dualised, with a multiplier q of A x, and K becomes (K; A).

    problem     R with a proximal map, and E (or its F)
    tau, sigma  tau sigma |K|^2 <= 1; by default tau = ratio / |K|, sigma = 1 / (ratio |K|), |K|^2 being |K|^2+|A|^2
                if F is dualised
    ratio       the size of x over that of p: the speed, not the limit, depends on it; default `problem.ratio`, or
                |K| / `penalty(problem)` where the problem does not know it

    dualise     treat E = w/2 |A u - f|^2 as Composed: products with A and A^T, no system, where A^T A + rho I has no
                closed form (a Radon transform)

    tau and square = 1 / (tau sigma) are buffers, sigma follows: whatever tau is learned, tau sigma stays.

    Raises ValueError where a proximal map is missing; StabilityWarning for tau sigma |K|^2 > 1.
    """

    tau: Tensor
    square: Tensor

    def __init__(
        self,
        problem: Problem,
        tau: float | None = None,
        sigma: float | None = None,
        ratio: float | None = None,
        dualise: bool = False,
    ):
        super().__init__(problem)
        E: Any = problem.E
        if dualise and isinstance(E, LeastSquares):
            E = Composed(LeastSquares(E.f, weight=E.weight), E.A)
        self.E, self.split = E, isinstance(E, Composed)
        check_proximal(self.name, problem)
        x = E.domain()
        square = float(problem.K.norm(x)) ** 2 + (float(E.A.norm(x)) ** 2 if self.split else 0.0)
        known = problem.ratio or square**0.5 / penalty(problem)
        ratio = known if ratio is None else check_step(self.name, "ratio", ratio)
        first = ratio / square**0.5 if tau is None else check_step(self.name, "tau", tau)
        second = 1 / (first * square) if sigma is None else check_step(self.name, "sigma", sigma)
        if tau is None and sigma is not None:
            first = 1 / (second * square)
        if first * second * square > 1 + 1e-4:
            announce(
                f"PDHG has tau sigma = {first * second:.4g}, but it converges for tau sigma <= 1/|K|^2 = "
                f"{1 / square:.4g}"
            )
        self._numbers = Kept()
        self.register_buffer("tau", number(first))
        self.register_buffer("square", number(1 / (first * second) if sigma and tau else square))

    @property
    def sigma(self) -> Tensor:
        """1 / (tau square)."""
        return 1 / (self.tau * self.square)

    def start(self, u0: Tensor) -> PrimalDual:
        """x-bar = x, p = 0, q = 0."""
        x = self.problem.encode(u0)
        q = torch.zeros_like(self.E.A(x)) if self.split else x.new_zeros(0)
        return PrimalDual(x, x, torch.zeros_like(self.problem.K(x)), q)

    def dual(self, s: PrimalDual) -> Tensor:
        """The multiplier p of K x."""
        return s.p

    def forward(self, s: PrimalDual) -> PrimalDual:
        E, q = self.E, s.q
        numbers = self._loop(s)
        plain = type(E) is LeastSquares and type(E.A) is Identity and unwatched(E.f) and not hooked(E, E.A)
        plain = plain and E.f.device == s.x.device
        if numbers and plain:
            pull = E.weight * self._told()[1]
            return PrimalDual(*step(fitted(E.f, s.x).expand_as(s.x), *s[:3], pull, *numbers), q)
        p, v = climb(*s[:3], *numbers) if numbers else self._climb(s)
        if self.split:
            q = E.F.prox_conjugate(q + self.sigma * E.A(s.bar), self.sigma)
            x = v - self.tau * E.A.adjoint(q)
        else:
            x = E.prox(v, self.tau)
        return PrimalDual(x, 2 * x - s.x, p, q)

    def _climb(self, s: PrimalDual) -> tuple[Tensor, Tensor]:
        """p, and v = x - tau K^T p."""
        R, K = self.problem.R, self.problem.K
        p = R.prox_conjugate(s.p + self.sigma * K(s.bar), self.sigma)
        return p, s.x - self.tau * K.adjoint(p)

    def _loop(self, s: PrimalDual) -> tuple[Any, ...]:
        """(sigma, tau, lam, isotropic, dim, periodic) where kernels/primal_dual.py may stand in: K are plain
        differences, R one weight times their lengths or entries; else nothing.
        """
        K: Any = self.problem.K
        R: Any = self.problem.R
        tensors = s[:3]
        known = type(K) is Gradient and K.dim <= min(3, s.x.ndim) and type(R) in (GroupL1, L1) and not hooked(K, R)
        fused = known and (taken(*tensors) or launched(*tensors))
        if not (fused and unwatched(*tensors, self.tau, R.lam) and R.lam.numel() == 1):
            return ()
        isotropic, space = type(R) is GroupL1, s.x.shape[-K.dim :]
        if isotropic and (R.axis != -K.dim - 1 or R.sizes not in (None, (K.dim,))):
            return ()
        if (not isotropic and (R.f.numel() > 1 or R.f)) or s.p.shape != (*s.x.shape[: -K.dim], K.dim, *space):
            return ()
        (sigma, tau, lam), scale = self._told(), 1 / K.h
        if not lam > 0:  # the loops divide by a length or lam
            return ()
        return scale * sigma, scale * tau, lam, isotropic, K.dim, K.boundary == "periodic"

    def _told(self) -> list[float]:
        """sigma, tau and the one number lam, for which a GPU is asked once, not at every step."""
        lam: Tensor = self.problem.R.lam

        def numbers() -> Tensor:
            return torch.stack([v.detach().reshape(()).double().cpu() for v in (self.sigma, self.tau, lam)])

        told: list[float] = self._numbers(numbers, self.tau, self.square, lam).tolist()
        return told


def penalty(problem: Problem) -> float:
    r"""rho = 4 (lam L / size)^{1/2}: the default of ADMM.

    lam is the mean weight that is not 0, L the Lipschitz constant of grad E, size = max |A^T f| / |A|^2 of the picture.
    It scales as the problem does: with f and lam not at all, with E and lam like E. The factor is the best on the four
    restorations of lesson 04, over weights from 3e-4 to 5e-2. Where there is no lam or no L they count as 0.01 and 1.
    """
    L = problem.E.lipschitz() if problem.E.smooth else math.inf
    L = L if 0 < L < math.inf else 1.0
    lam = getattr(problem.R, "lam", torch.zeros(()))
    mean = float(lam[lam > 0].mean()) if bool((lam > 0).any()) else 0.01
    weight = getattr(getattr(problem.E, "F", problem.E), "weight", 1.0) if problem.E.smooth else 1.0
    size = float(problem.decode(problem.E.domain()).abs().max()) * weight / L
    return 4 * math.sqrt(mean * L / size) if size > 0 else L
