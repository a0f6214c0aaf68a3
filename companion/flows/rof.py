r"""max_p over |p| <= nu h^{d-1} of the dual of ROF, by FGP: denoising with a certified gap.   (3.2)

    q = p^k + gamma^k (p^k - p^{k-1}),   u(q) = f - K^T q / h^d,   p^{k+1} = P(q + tau K u(q)),   tau = h^d / (4 d)

K = h grad are differences of neighbours, P cuts every length |p[n]| to nu h^{d-1}, and tau h^{-d} |K|^2 <= 1. This is
Chambolle's projection with Nesterov's momentum: the gap of p^k and its picture u(p^k) bounds how far u(p^k) is from the
minimum of (3.2), and h^d/2 |u(p^k) - u*|^2. The dual objective is within 2 |p^0 - p*|^2 / (tau (k+1)^2) of its maximum.

It is FISTA for `rof_dual(problem)`, written for this one problem so that a step is one pass over memory.

Sources: Chambolle, An algorithm for total variation minimization (2004); Beck and Teboulle, Fast gradient-based
algorithms for constrained total variation image denoising and deblurring (2009).
Paper: (3.1), (3.2).  Notebook: 05.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.energies.variation import ROF, AnyGradient
from companion.flows.momentum import nesterov
from companion.kernels import gpu, taken, unwatched
from companion.kernels.dual import ascend, measure
from companion.operators.differences import Gradient


class Ascent(NamedTuple):
    """The last two fields p^k, p^{k-1}, and the clock k."""

    p: Tensor
    old: Tensor
    k: Tensor


class FastROF(nn.Module):
    r"""p <- P(q + tau K (f - K^T q / h^d)),  q = p + gamma^k (p - p_old): FGP for min nu TV_h(u) + h^d/2 |u - f|^2.

    f          the data, (*batch, *space); a batch is denoised picture by picture
    nu         > 0, the weight 1/lambda of (3.2)
    grad       by default Gradient(h=1); any gradient of the course
    isotropic  as for TotalVariation

    A map for `run`, from any u0 (the field starts at 0, its picture is f), with two companions:

        run(step, f, k=100, record={"gap": step.gap})     the gap as a curve, one for each picture of the batch
        run(step, f, until=step.certified(1e-4))          ends where every gap is 1e-4 of the objective or less

    Raises ValueError as ROF.

    >>> from companion import run
    >>> f = torch.tensor([0.0, 1.0], dtype=torch.float64)
    >>> run(FastROF(f, 0.25, Gradient(dim=1)), f, k=20).u
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """

    def __init__(self, f: Tensor, nu: float, grad: AnyGradient | None = None, isotropic: bool = True):
        super().__init__()
        self.problem = ROF(f, nu, grad, isotropic)
        D = self.problem.J.D
        self.tau, self.radius = self.problem.E.weight / (D.bound * D.h**2), nu * D.h ** (D.dim - 1)

    def start(self, u0: Float[Tensor, "*shape"]) -> Ascent:
        """p = 0."""
        p = torch.zeros_like(self.problem.K(u0))
        return Ascent(p, p, u0.new_zeros(()))

    def image(self, s: Ascent) -> Float[Tensor, "*shape"]:
        """u(p) = f - K^T p / h^d."""
        return self.problem.primal(s.p)

    @gpu.compiled
    def forward(self, s: Ascent) -> Ascent:
        f = self._data(s.p)
        if (grid := self._grid(f, s.p, s.old)) is not None:
            numbers = nesterov(int(s.k)), self.tau, 1 / self.problem.E.weight, self.radius
            p = ascend(f, s.p, s.old, *numbers, *grid)
        else:
            q = s.p + nesterov(s.k) * (s.p - s.old)
            p = self.problem.R.prox_conjugate(q + self.tau * self.problem.K(self.problem.primal(q)), self.tau)
        return Ascent(p, s.p, s.k + 1)

    def _data(self, p: Tensor) -> Tensor:
        """f, as large as the picture of p."""
        return self.problem.E.f.to(p.dtype).expand_as(p.select(-self.problem.J.D.dim - 1, 0))

    def _grid(self, *tensors: Tensor) -> tuple[bool, int, bool] | None:
        """(isotropic, dimension, periodic) where a loop may stand in for the readable form."""
        J = self.problem.J
        D = J.D
        if type(D) is Gradient and D.dim <= 3 and taken(*tensors) and unwatched(*tensors):
            return J.isotropic, D.dim, D.boundary == "periodic"
        return None

    def gap(self, s: Ascent) -> Float[Tensor, "*batch"]:
        """nu h^d sum_n (|(grad u)[n]| - <v[n], (grad u)[n]>) at u = u(p), v = p / (nu h^{d-1}), of each picture."""
        return self._measure(s)[0]

    def certified(self, tol: float, every: int = 10) -> Callable[[Ascent, Ascent], bool]:
        """A rule for `run(until=)`: gap <= tol * objective for every picture, measured at multiples of `every` steps.

        While the gap is far from its goal it is measured less often: next where k^{-3} would have brought it there, but
        not beyond 2 k. It falls about like k^{-2}, so that it is measured too early, if anything.

        Raises ValueError unless tol > 0 and every >= 1.
        """
        if not tol > 0 or every < 1:
            raise ValueError(
                f"A gap is certified for tol > 0, looked at every >= 1 steps; got tol={tol}, every={every}. "
                "Take certified(1e-4), or run(k=) for a number of steps."
            )
        due = 0.0

        def rule(new: Ascent, old: Ascent) -> bool:
            nonlocal due
            k = int(new.k)
            if k % every or every < k < due:
                return False
            gap, objective = self._measure(new)
            excess = gap / (tol * objective)
            due = k * min(2.0, float(excess.max()) ** (1 / 3))
            return bool((gap <= tol * objective).all())

        return rule

    def _measure(self, s: Ascent) -> tuple[Tensor, Tensor]:
        """The gap and the objective at u(p), of each picture, summed in float64."""
        J, w = self.problem.J, self.problem.E.weight
        axes, axis = tuple(range(-J.D.dim, 0)), -J.D.dim - 1
        with torch.no_grad():
            f = self._data(s.p)
            if (grid := self._grid(f, s.p)) is not None:
                gap, total = measure(f, s.p, w, self.radius, *grid)
                return gap.clamp_min(0), total
            u = self.image(s)
            Ku = self.problem.K(u)
            length = sum(x.square() for x in Ku.unbind(axis)).sqrt() if J.isotropic else Ku.abs().sum(axis)
            gap = self.radius * length - (s.p * Ku).sum(axis)
            fit = w / 2 * (u - self.problem.E.f).square()
            total = (self.radius * length + fit).sum(axes, dtype=torch.float64)
        return gap.sum(axes, dtype=torch.float64).clamp_min(0), total


FastROF.gap.of_state = True  # type: ignore[attr-defined]  # `run(record=)` hands it the state, not the picture
