r"""u^{k+1} = u^k + dt F(u^{k+1}): schemes without a largest step.   Section 3

    SemiImplicit   (1/d) sum_i (I - d dt L_i(u))^{-1} u      order 1, any dt: additive operator splitting
    Implicit       u_new = u + dt F(u_new)                   order 1, any dt: Newton's method

For u_t = sum_i L_i(u) u, L_i(u) v = -D_i^T (c_i(u) D_i v): diffusion along axis i with a conductivity c_i > 0 that is
frozen at u. Each I - d dt L_i is tridiagonal on the grid's lines, its inverse has entries >= 0 and row sums 1: a mean
of grey values, so the extrema are kept for every dt, and so is the sum. All axes enter alike, unlike a product of
one-dimensional steps.

The step is then limited by accuracy alone: both are of order 1, with an error that grows like dt.

Sources: Weickert, ter Haar Romeny and Viergever, Efficient and reliable schemes for nonlinear diffusion filtering
(1998).
Paper: Section 3.  Notebook: 06.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion.flows.schemes import Scheme
from companion.operators.differences import Gradient
from companion.operators.krylov import gmres
from companion.operators.tridiagonal import tridiagonal_solve

LAGGED = 4  # steps with the lagged diffusivity before the first of Newton's method


class SemiImplicit(Scheme):
    r"""u -> (1/d) sum_i (I + dt r - d dt L_i(u))^{-1} (u + dt s): additive operator splitting, for any dt. On the
    reaction alone R(z) = 1/(1 - z).

    F     a field u_t = sum_i L_i(u) u - r u + s, with

          F.conductivity(u)   (*batch, d, *space): c_i of the edge from n to n + e_i, >= 0
          F.grad              the Gradient whose components D_i are meant: its h, dim and boundary
          F.reaction(u)       optional: (r, s), r >= 0 a number and s a picture

    Raises TypeError for a field that does not split along the axes, such as one with Haar's diagonal differences, and
    ValueError for a time t: conductivities do not ask for it.
    """

    limit = math.inf

    def __init__(self, F: Callable[[Tensor], Tensor], dt: float, t: float | None = None):
        super().__init__(F, dt)
        if t is not None:
            raise ValueError(
                f"SemiImplicit takes its conductivities at u alone, so it has no time t; got t={t}. Implicit has one."
            )
        if not hasattr(F, "conductivity") or not isinstance(getattr(F, "grad", None), Gradient):
            grad = f" with grad = {type(F.grad).__name__}" if hasattr(F, "grad") else ""
            raise TypeError(
                "SemiImplicit splits a diffusion along the axes, so it needs a field with conductivities of the edges, "
                f"made of a Gradient of forward differences; got {type(F).__name__}{grad}. Implicit takes any field."
            )

    @staticmethod
    def R(z: Any) -> Any:
        return 1 / (1 - z)

    def forward(self, u: Tensor) -> Tensor:
        grad: Gradient = self.F.grad
        d = grad.dim
        c = self.F.conductivity(u) * (d * self.dt / grad.h**2)
        r, s = self.F.reaction(u) if hasattr(self.F, "reaction") else (0.0, 0.0)
        v = u + self.dt * s
        parts = [self._line(c.select(-d - 1, i), v, i - d, 1 + self.dt * r) for i in range(d)]
        return torch.stack(parts).mean(0)

    def _line(self, c: Tensor, v: Tensor, axis: int, one: float) -> Tensor:
        """(one I - d dt L_i)^{-1} v, c already multiplied by d dt / h^2."""
        ring = self.F.grad.boundary == "periodic"
        if not ring:  # no edge leaves the grid
            c = torch.cat([c.narrow(axis, 0, c.shape[axis] - 1), torch.zeros_like(c.narrow(axis, 0, 1))], axis)
        before = c.roll(1, axis)
        return tridiagonal_solve(-before, one + c + before, -c, v, axis, ring)


class Implicit(Scheme):
    r"""u -> z with z = u + dt F(z), by Newton's method: the backward Euler scheme, for any dt and any F; told the time,
    z = u + dt F(z, t + dt). R(z) = 1/(1 - z).

    tol   |u + dt F(z) - z| <= tol |u|; default max(1000, dt / F.max_dt) times the rounding unit of u's type: the
          longer the step, the more digits of dt F(z) are lost
    k     the most steps; one step of Newton's method solves (I - dt F'(z)) w = u + dt F(z) - z by GMRES, and is halved
          as long as it does not lower the residual

    Where F has `frozen(z)`, the linear map w -> -grad^T(g(|grad z|^2) grad w), the first steps, and those after a
    Newton step that gained little, put it in place of F'(z): the lagged diffusivity. If g is decreasing and
    F minus the gradient of an energy, each of them lowers |z - u|^2 / 2 + dt energy(z), whatever dt. That is needed:
    for a backward diffusion and a large dt the equation has more than one solution. What is found is one of them.

    F is differentiated by torch, so it must be made of torch's functions. One Krylov space and one stopping rule serve
    a batch. The gradient of z is that of the implicit function: one linear system with the transpose, whatever number
    of steps was taken; it can be taken once, not twice. Raises ValueError for k < 1 or tol <= 0; RuntimeError, with the
    residual reached, if k steps do not suffice.
    """

    limit = math.inf

    def __init__(
        self,
        F: Callable[..., Tensor],
        dt: float,
        tol: float | None = None,
        k: int = 100,
        t: float | None = None,
    ):
        super().__init__(F, dt, t)
        if k < 1 or (tol is not None and not tol > 0):
            raise ValueError(f"Newton's method needs tol > 0 and at least one step k >= 1; got tol={tol}, k={k}.")
        self.tol, self.k = tol, k

    @staticmethod
    def R(z: Any) -> Any:
        return 1 / (1 - z)

    def forward(self, u: Tensor) -> Tensor:
        with torch.no_grad():
            z = self._solve(u.detach())
        if not torch.is_grad_enabled():
            return z
        new = u + self.dt * self.slope(z, 1.0)  # its derivative with z fixed; (I - dt F'(z))^{-1} of it is that of z
        if not new.requires_grad:
            return z
        z = z.requires_grad_()
        at_z = self.slope(z, 1.0)

        def transposed(g: Tensor | None) -> Tensor | None:
            if g is None:  # nothing depends on z
                return None

            def M(y: Tensor) -> Tensor:
                return y - self.dt * torch.autograd.grad(at_z, z, y, retain_graph=True, materialize_grads=True)[0]

            return gmres(M, g, k=1000)

        if at_z.requires_grad:
            new.register_hook(transposed)
        return new + (z - new).detach()

    def _solve(self, u: Tensor) -> Tensor:
        rounding = max(1000.0, self.dt / float(getattr(self.F, "max_dt", math.inf))) * torch.finfo(u.dtype).eps
        goal = (rounding if self.tol is None else self.tol) * torch.linalg.vector_norm(u)
        lagged = wait = LAGGED if hasattr(self.F, "frozen") and self.t is None else 0
        z, r = u, self.dt * self.slope(u, 1.0)
        for _ in range(self.k):
            size = torch.linalg.vector_norm(r)
            if size <= goal:
                return z
            new = z + self._lagged(z, r) if lagged else self._newton(u, z, r, size)
            r_new = u + self.dt * self.slope(new, 1.0) - new
            if lagged or not wait or torch.linalg.vector_norm(r_new) <= size / 2:
                z, r, lagged = new, r_new, max(lagged - 1, 0)
            else:  # too far away for Newton's method
                lagged = wait = 2 * wait
        raise RuntimeError(
            f"z = u + dt F(z): {self.k} steps of Newton's method reached a residual of {float(size):.1e}, not "
            f"{float(goal):.1e}. Take a shorter step than dt={self.dt:.4g}, a looser tol, or SemiImplicit."
        )

    def _lagged(self, z: Tensor, r: Tensor) -> Tensor:
        """w with (I - dt L(z)) w = r: z + w solves the equation with the conductivity of z."""
        L = self.F.frozen(z)
        return gmres(lambda w: w - self.dt * L(w), r, tol=1e-2, k=400, strict=False)

    def _newton(self, u: Tensor, z: Tensor, r: Tensor, size: Tensor) -> Tensor:
        """z + w, or z + w/2, z + w/4, ..., with (I - dt F'(z)) w = r."""

        def M(w: Tensor) -> Tensor:
            return w - self.dt * torch.func.jvp(lambda v: self.slope(v, 1.0), (z,), (w,))[1]

        w = gmres(M, r, tol=1e-2, k=160, strict=False)
        for _ in range(8):
            new = z + w
            if torch.linalg.vector_norm(u + self.dt * self.slope(new, 1.0) - new) < size:
                break
            w = w / 2
        return new
