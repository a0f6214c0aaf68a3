r"""(I - dt F)^{-1} = I + dt F + (dt F)^2 + ...: implicit Euler unrolled, PolyNet.   Section 5.1

    Neumann                u + dt F(u + dt F(u + ...)), n times F            order 1   limit 1/2 for n = 2
    Neumann, printed=True  u + dt F(u) + dt F(dt F(u)) + ..., n terms        order 1 where F(0) = 0, else none
    Picard                 z = u + dt F(z) by its fixed point: n = infinity  order 1   limit 1/2
    Fractal                the mean of one step and of two half steps, ...   order 1   limit 4 for two columns

For a linear F both forms of `Neumann` are the polynomial I + dt F + ... + (dt F)^n. For another F the powers are not
the Neumann series of anything: with F = 1, the printed u + dt F(u) + dt F(dt F(u)) moves by 2 dt instead of dt. The
nested form is n Picard steps for implicit Euler from z = u, for any F. From implicit Euler it differs by O(dt^{n+1}),
so for n = 2 by O(dt^3); Euler does by O(dt^2), and the printed form by O(dt) where F(0) != 0.

The larger step of the implicit scheme is not inherited. |1 + z + z^2| <= 1 on the real axis only on [-1, 0], half of
Euler's interval; no polynomial is bounded on the half-plane, and more terms do not help: the interval is [-1, 0] for
every even n, and for odd n it shrinks from [-2, 0] to [-1.35, 0] (n = 3) and on to [-1, 0], the series' radius of
convergence. What is gained for n = 2 is i [-1, 1], where Euler's scheme has |R| > 1.

Paper: Section 5.1.  Notebook: 10.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion.flows.schemes import Scheme
from companion.flows.stability import real_interval


class Neumann(Scheme):
    r"""u + dt F(u + dt F(u + ... dt F(u))), F taken n times: order 1; R(z) = 1 + z + ... + z^n.   (5.1)

    n        how many times F is taken; n = 1 is Euler's scheme, n = 2 PolyNet's block as it should read
    printed  True: u + dt F(u) + dt F(dt F(u)) + ..., n terms besides u, the form in which PolyNet is written. For a
             linear F it is the same map. In general its limit is u' = F(u) + (n - 1) F(0)

    Told the time, it takes F(., t + dt), as implicit Euler does. Raises ValueError for n < 1, and as Scheme.

    >>> u = torch.tensor([8.0])
    >>> Neumann(lambda u: -u, 0.5)(u), Neumann(lambda u: -u, 0.5, printed=True)(u)
    (tensor([6.]), tensor([6.]))
    """

    def __init__(self, F: Callable[..., Tensor], dt: float, n: int = 2, printed: bool = False, t: float | None = None):
        if n < 1:
            raise ValueError(f"A Neumann series has n >= 1 terms besides the identity; got n={n}.")
        self.n, self.printed, self.limit = n, printed, _neumann_limit(n)
        super().__init__(F, dt, t)

    def forward(self, u: Tensor) -> Tensor:
        if self.printed:
            total = power = u
            for _ in range(self.n):
                power = self.dt * self.slope(power, 1.0)
                total = total + power
            return total
        z = u
        for _ in range(self.n):
            z = u + self.dt * self.slope(z, 1.0)
        return z

    def R(self, z: Any) -> Any:
        return _sum(z, self.n)


class Picard(Scheme):
    r"""u -> z with z = u + dt F(z), from the iteration z <- u + dt F(z): implicit Euler by its fixed point, order 1;
    R(z) = 1/(1 - z), for |z| < 1 only.

    tol  the iteration ends where a step moves z by <= tol |z|
    k    the most steps

    It converges where dt times the Lipschitz constant of F is less than 1: for so short a step that an explicit scheme
    would do. `Implicit`, by Newton's method, takes any step. Gradients go through all steps.

    Raises ValueError for tol <= 0 or k < 1; RuntimeError where it does not contract or k steps do not suffice.
    """

    limit = 0.5

    def __init__(self, F: Callable[..., Tensor], dt: float, tol: float = 1e-10, k: int = 200, t: float | None = None):
        super().__init__(F, dt, t)
        if k < 1 or not tol > 0:
            raise ValueError(
                f"A fixed-point iteration needs tol > 0 and at least one step k >= 1; got tol={tol}, k={k}."
            )
        self.tol, self.k = tol, k

    @staticmethod
    def R(z: Any) -> Any:
        return 1 / (1 - z)

    def forward(self, u: Tensor) -> Tensor:
        goal = max(self.tol, 10 * torch.finfo(u.dtype).eps)
        z, moved, first = u, torch.tensor(torch.inf), None
        for _ in range(self.k):
            new = u + self.dt * self.slope(z, 1.0)
            before, moved = moved, torch.linalg.vector_norm((new - z).detach())
            z = new
            if moved <= goal * torch.linalg.vector_norm(z.detach()) < torch.inf:
                return z
            first = moved if first is None else first
            if not moved <= 1e6 * first:  # it has left, or is no number
                break
        raise RuntimeError(
            f"z <- u + dt F(z) does not converge: its last step was {float(moved / before):.2g} times the one before. "
            f"It contracts for dt Lip(F) < 1; got dt={self.dt:.4g}. Take a shorter step, more steps k, or Implicit."
        )


class Fractal(Scheme):
    r"""f_1 = u + dt F(u), f_{C+1}(dt) = (f_C(dt/2) o f_C(dt/2) + f_1(dt)) / 2: order 1, FractalNet's block of C columns
    with the Euler step in the place of its convolution.

    R_1(z) = 1 + z, R_{C+1}(z) = (R_C(z/2)^2 + 1 + z) / 2, and R_2(z) = 1 + z + z^2/8 = T_2(1 + z/4): two columns are
    the Chebyshev method of two stages, stable on [-8, 0], the longest interval that two values of F can give. With
    three it is [-3.06, 0], with more about [-3.04, 0]. The mean of two keeps 3/4 of Euler's local error. The weights of
    Richardson, 2 f_1(dt/2) o f_1(dt/2) - f_1(dt), give order 2: the midpoint rule. With steps dt on all paths, as the
    network has them, a block moves by (C + 1)/2 dt.

    Raises ValueError for columns < 1, and as Scheme.
    """

    def __init__(self, F: Callable[..., Tensor], dt: float, columns: int = 2, t: float | None = None):
        if columns < 1:
            raise ValueError(f"A fractal block has at least one column; got columns={columns}.")
        self.columns, self.limit = columns, _fractal_limit(columns)
        super().__init__(F, dt, t)

    def forward(self, u: Tensor) -> Tensor:
        return self._columns(u, self.columns, 0.0, 1.0)

    def _columns(self, u: Tensor, columns: int, c: float, h: float) -> Tensor:
        """f_columns with the step h dt, at the time t + c dt."""
        short = u + h * self.dt * self.slope(u, c)
        if columns == 1:
            return short
        middle = self._columns(u, columns - 1, c, h / 2)
        return (self._columns(middle, columns - 1, c + h / 2, h / 2) + short) / 2

    def R(self, z: Any) -> Any:
        return _columns(z, self.columns)


def _sum(z: Any, n: int) -> Any:
    """1 + z + ... + z^n."""
    return 1 + z * _sum(z, n - 1) if n else 1 + 0 * z


def _columns(z: Any, columns: int) -> Any:
    """R of Fractal."""
    return 1 + z if columns == 1 else (_columns(z / 2, columns - 1) ** 2 + 1 + z) / 2


@functools.cache
def _neumann_limit(n: int) -> float:
    return real_interval(lambda z: _sum(z, n)) / 2


@functools.cache
def _fractal_limit(columns: int) -> float:
    return real_interval(lambda z: _columns(z, columns)) / 2
