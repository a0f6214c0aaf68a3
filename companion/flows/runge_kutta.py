r"""k_i = F(u + dt sum_j a_ij k_j, t + c_i dt), u^{k+1} = u^k + dt sum_i b_i k_i: Runge and Kutta's schemes.   (5.1)

    Tableau      the numbers A, b, and c = A 1
    RungeKutta   the explicit scheme of a tableau: a block of s values of F with connections a_ij between them
    Midpoint     u + dt F(u + dt/2 F(u))                                     order 2   limit 1
    Ralston      u + dt/4 (F(u) + 3 F(u + 2/3 dt F(u)))                      order 2   limit 1
    Kutta3       u + dt/6 (k_1 + 4 k_2 + k_3)                                order 3   limit 1.26
    SSP3         Shu and Osher's: three means of steps of Euler              order 3   limit 1.26

The order is p if and only if sum_i b_i Phi_i(tau) = 1/gamma(tau) for every rooted tree tau with at most p nodes. For a
tree made of the trees tau_1, ..., tau_m under one root, Phi_i(tau) is the product of the (A Phi(tau_j))_i, and
gamma(tau) is its number of nodes times gamma(tau_1) ... gamma(tau_m). There are 1, 1, 2, 4, 9, 20 trees with 1, 2, ...,
6 nodes. `tableau_order` goes through them, in fractions: exactly.

On u' = lambda u the scheme is R(z) = 1 + z b^T (I - z A)^{-1} 1, for an explicit one the polynomial
1 + sum_m z^m b^T A^{m-1} 1.

Paper: (5.1).  Notebook: 10.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from companion.flows.schemes import Scheme
from companion.flows.stability import real_interval

Number = int | float | Fraction
Tree = tuple[Any, ...]  # the trees under the root


class Tableau(NamedTuple):
    """A, b of a Runge-Kutta scheme, exact if they are Fractions. Shapes (s, s) and (s,)."""

    A: tuple[tuple[Number, ...], ...]
    b: tuple[Number, ...]

    @property
    def c(self) -> tuple[Number, ...]:
        """c = A 1: k_i is a value of F at the time t + c_i dt."""
        return tuple(sum(row) for row in self.A)


def tableau(*rows: Sequence[int | str], b: Sequence[int | str]) -> Tableau:
    """The explicit tableau with the rows a_21; a_31, a_32; ... and the weights b, in fractions.

    >>> tableau(["1/2"], b=[0, 1]).c
    (0, Fraction(1, 2))
    """
    full: list[list[Any]] = [[*map(Fraction, row), *[0] * (len(b) - len(row))] for row in ([], *rows)]
    return Tableau(tuple(tuple(row) for row in full), tuple(map(Fraction, b)))


def trees(n: int, most: Tree | None = None) -> Iterator[Tree]:
    """The rooted trees with n nodes, each once.

    >>> [len(list(trees(n))) for n in (1, 2, 3, 4, 5)]
    [1, 1, 2, 4, 9]
    """

    def forests(n: int, first: tuple[int, Tree]) -> Iterator[Tree]:
        """Trees with n nodes in all, from the largest to the smallest, none larger than the first."""
        if n == 0:
            yield ()
        for size in range(min(n, first[0]), 0, -1):
            for tree in trees(size):
                if (size, tree) <= first:
                    for rest in forests(n - size, (size, tree)):
                        yield (tree, *rest)

    yield from forests(n - 1, (n, ()))


def tableau_order(tableau: Tableau, most: int = 6) -> int:
    """The largest p <= most with sum_i b_i Phi_i(tau) = 1/gamma(tau) for every rooted tree with at most p nodes.

    Exact for Fractions and whole numbers; floats may miss by 1e-12.
    """
    A, b = tableau

    def nodes(tree: Tree) -> int:
        return 1 + sum(map(nodes, tree))

    def gamma(tree: Tree) -> int:
        return nodes(tree) * prod(map(gamma, tree))

    def phi(tree: Tree) -> list[Number]:
        inner = [phi(sub) for sub in tree]
        return [prod(sum(a * x for a, x in zip(row, v, strict=True)) for v in inner) for row in A]

    def holds(tree: Tree) -> bool:
        total: Any = sum(w * x for w, x in zip(b, phi(tree), strict=True))
        return abs(total - Fraction(1, gamma(tree))) <= 1e-12

    p = 0
    while p < most and all(map(holds, trees(p + 1))):
        p += 1
    return p


def stability_polynomial(tableau: Tableau) -> tuple[Number, ...]:
    r"""1, b^T 1, b^T A 1, ..., b^T A^{s-1} 1: the coefficients of R(z) for an explicit tableau, from z^0 on.

    >>> [str(c) for c in stability_polynomial(KUTTA_3)]
    ['1', '1', '1/2', '1/6']
    """
    A, b = tableau
    v: list[Number] = [Fraction(1)] * len(b)
    coefficients: list[Number] = [Fraction(1)]
    for _ in b:
        coefficients.append(sum(w * x for w, x in zip(b, v, strict=True)))
        v = [sum(a * x for a, x in zip(row, v, strict=True)) for row in A]
    return tuple(coefficients)


class RungeKutta(Scheme):
    r"""u + dt sum_i b_i k_i, k_i = F(u + dt sum_{j<i} a_ij k_j): the order of the tableau, R(z) its polynomial.   (5.1)

    Raises ValueError for a tableau that is not explicit, or of order 0, and as Scheme.

    >>> RungeKutta(lambda u: u, 1.0, MIDPOINT).order
    2
    """

    def __init__(self, F: Callable[..., Tensor], dt: float, tableau: Tableau, t: float | None = None):
        self.order, self.limit = check_tableau(tableau)
        super().__init__(F, dt, t)
        self.tableau = tableau
        self.A = tuple(tuple(map(float, row[:i])) for i, row in enumerate(tableau.A))
        self.b, self.c = tuple(map(float, tableau.b)), tuple(map(float, tableau.c))

    def forward(self, u: Tensor) -> Tensor:
        k: list[Tensor] = []
        for row, c in zip(self.A, self.c, strict=True):
            k.append(self.slope(_plus(u, self.dt, row, k), c))
        return _plus(u, self.dt, self.b, k)

    def R(self, z: Any) -> Any:
        return _polynomial(self.tableau, z)


def _plus(u: Tensor, dt: float, weights: Sequence[float], k: list[Tensor]) -> Tensor:
    """u + dt sum_j w_j k_j."""
    for w, slope in zip(weights, k, strict=True):
        if w:
            u = u + (dt * w) * slope
    return u


def _polynomial(tableau: Tableau, z: Any) -> Any:
    total = 0 * z
    for c in reversed(stability_polynomial(tableau)):
        total = total * z + float(c)
    return total


@functools.lru_cache(maxsize=64)
def check_tableau(tableau: Tableau) -> tuple[int, float]:
    """Order and limit of an explicit tableau."""
    A, b = tableau
    if len(A) != len(b) or any(len(row) != len(b) for row in A):
        raise ValueError(
            f"A tableau of s stages has s rows of s numbers a_ij and s weights b_i; got {len(A)} rows of "
            f"{sorted({len(row) for row in A})} numbers and {len(b)} weights."
        )
    if late := [(i + 1, j + 1) for i, row in enumerate(A) for j, a in enumerate(row) if j >= i and a]:
        raise ValueError(
            "An explicit scheme finds k_i from k_1, ..., k_{i-1}: a_ij = 0 for j >= i; got a number at "
            f"(i, j) = {late[0]}. Implicit is a scheme that solves an equation."
        )
    if not (order := tableau_order(tableau)):
        raise ValueError(f"The weights of a consistent scheme have sum b_i = 1; got {float(sum(b)):g}.")
    return order, real_interval(lambda z: _polynomial(tableau, z)) / 2


MIDPOINT = tableau(["1/2"], b=[0, 1])
RALSTON = tableau(["2/3"], b=["1/4", "3/4"])
KUTTA_3 = tableau(["1/2"], [-1, 2], b=["1/6", "2/3", "1/6"])
SSP_3 = tableau([1], ["1/4", "1/4"], b=["1/6", "1/6", "2/3"])


class Midpoint(RungeKutta):
    r"""u + dt F(u + dt/2 F(u)): order 2; R(z) = 1 + z + z^2/2."""

    def __init__(self, F: Callable[..., Tensor], dt: float, t: float | None = None):
        super().__init__(F, dt, MIDPOINT, t)


class Ralston(RungeKutta):
    r"""u + dt/4 (F(u) + 3 F(u + 2/3 dt F(u))): order 2, with the least bound on the error; R(z) = 1 + z + z^2/2."""

    def __init__(self, F: Callable[..., Tensor], dt: float, t: float | None = None):
        super().__init__(F, dt, RALSTON, t)


class Kutta3(RungeKutta):
    r"""u + dt/6 (k_1 + 4 k_2 + k_3), k_2 = F(u + dt/2 k_1), k_3 = F(u - dt k_1 + 2 dt k_2): order 3;
    R(z) = 1 + z + z^2/2 + z^3/6.
    """

    def __init__(self, F: Callable[..., Tensor], dt: float, t: float | None = None):
        super().__init__(F, dt, KUTTA_3, t)


class SSP3(RungeKutta):
    r"""u/3 + 2/3 E(3/4 u + 1/4 E(E(u))), E(u) = u + dt F(u): order 3; R(z) = 1 + z + z^2/2 + z^3/6. Means of steps of
    Euler: the extrema are kept where Euler's scheme keeps them.
    """

    def __init__(self, F: Callable[..., Tensor], dt: float, t: float | None = None):
        super().__init__(F, dt, SSP_3, t)
