r"""zeta^s = sum_j (a_j + z b_j) zeta^{s-1-j}: the algebra of the schemes with a memory.   (5.2)

On u' = lambda u the scheme u^{k+1} = sum_{j<s} a_j u^{k-j} + dt sum_{j<s} b_j F(u^{k-j}) is a linear recursion. Its
solutions are sums of the powers zeta^k of the roots, with z = dt lambda (times k, k^2, ... at multiple ones).

    largest_root      the root of largest modulus, as a function of z
    root_condition    zero-stability, z = 0: |zeta| <= 1, and < 1 for a multiple root
    multistep_order   the order of consistency, from sum_j a_j (-j)^m + m sum_j b_j (-j)^{m-1} = 1, m = 0, 1, ...
    real_limit        half the length of the interval [-x, 0] on which all roots lie in |zeta| <= 1

By the theorem of Dahlquist a consistent scheme converges if and only if it meets the root condition, with the order of
its consistency. The numbers may be Fractions: then the order is exact.

Paper: (5.2).  Notebook: 10.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from companion.flows.stability import real_interval

Number = int | float | Fraction


def roots(a: Sequence[Number], b: Sequence[Number], z: Any = 0.0) -> Tensor:
    r"""The s roots zeta, shape (*z.shape, s), of zeta^s = sum_j (a_j + z b_j) zeta^{s-1-j}: eigenvalues."""
    z = torch.as_tensor(z, dtype=torch.complex128)
    s = len(a)
    M = z.new_zeros((*z.shape, s, s))
    M[..., 0, :] = torch.stack([float(p) + z * float(q) for p, q in zip(a, b, strict=True)], -1)
    M[..., range(1, s), range(s - 1)] = 1
    return torch.linalg.eigvals(M)


def largest_root(a: Sequence[Number], b: Sequence[Number]) -> Callable[[Any], Any]:
    r"""z -> the root zeta of largest modulus: what each step of the scheme multiplies by, in the end. A tensor for a
    tensor z, else a complex number or an array of NumPy.

    >>> round(abs(largest_root((0, 1), (2, 0))(0.5j)), 12)
    1.0
    """

    def R(z: Any) -> Any:
        all_roots = roots(a, b, z if hasattr(z, "shape") else complex(z))
        largest = all_roots.gather(-1, all_roots.abs().argmax(-1, keepdim=True)).squeeze(-1)
        return largest if isinstance(z, Tensor) else largest.numpy() if getattr(z, "shape", ()) else largest.item()

    return R


def root_condition(a: Sequence[Number], tol: float = 1e-6) -> bool:
    r"""True if the roots of zeta^s = sum_j a_j zeta^{s-1-j} have |zeta| <= 1, and those with |zeta| = 1 are simple:
    whatever the start, u^k stays bounded for F = 0. Roots nearer than tol^{1/2} count as one.

    >>> root_condition((1.5, -0.5)), root_condition((2.0, -1.0)), root_condition((0, 1))
    (True, False, True)
    """
    zeta = roots(a, [0] * len(a))
    outside = zeta.abs() > 1 + tol
    near = (zeta[:, None] - zeta).abs() < math.sqrt(tol)
    multiple = (near.sum(-1) > 1) & (zeta.abs() > 1 - math.sqrt(tol))
    return not bool((outside | multiple).any())


def multistep_order(a: Sequence[Number], b: Sequence[Number]) -> int:
    r"""The largest q such that the scheme is exact for u = t^m, m = 0, ..., q; -1 unless sum a_j = 1.

    Exact for Fractions and whole numbers; floats may miss by 1e-12.

    >>> multistep_order((0, 1), (2, 0)), multistep_order((Fraction(1, 2), Fraction(1, 2)), (Fraction(3, 2), 0))
    (2, 1)
    """

    def defect(m: int) -> Any:  # of u = t^m at k = 0, dt = 1
        value = sum(p * (-j) ** m for j, p in enumerate(a))
        slope = sum(q * m * (-j) ** (m - 1) for j, q in enumerate(b)) if m else 0
        return value + slope - 1

    m = 0
    while m <= 2 * len(a) and abs(defect(m)) <= 1e-12:
        m += 1
    return m - 1


def check_multistep(a: Sequence[Number], b: Sequence[Number]) -> int:
    """The order >= 1 of a scheme that converges."""
    if len(a) != len(b) or not a:
        raise ValueError(
            f"A scheme of s steps has s numbers a_j and s numbers b_j, those of u^k first; got {len(a)} and {len(b)}."
        )
    if (order := multistep_order(a, b)) < 1:
        raise ValueError(
            "A consistent scheme has sum a_j = 1 and sum b_j = 1 + sum j a_j; got "
            f"sum a_j = {float(sum(a)):g}, sum b_j = {float(sum(b)):g}, "
            f"sum j a_j = {float(sum(j * p for j, p in enumerate(a))):g}."
        )
    if not root_condition(a):
        zeta = max(roots(a, [0] * len(a)).tolist(), key=abs)
        raise ValueError(
            "A scheme converges only if its roots at dt = 0 lie in |zeta| <= 1, those with |zeta| = 1 simple; got "
            f"a={tuple(map(float, a))}, the largest root {zeta:.4g}. Take other a_j."
        )
    return order


def check_alpha(alpha: float | Tensor) -> float:
    """alpha as a number in (-1, 1]."""
    value = float(alpha.detach() if isinstance(alpha, Tensor) else alpha)
    if not -1 < value <= 1:
        raise ValueError(
            "u^{k+1} = (1 - alpha) u^k + alpha u^{k-1} + dt F(u^k) has the roots 1 and -alpha at dt = 0: it is "
            f"zero-stable for -1 < alpha <= 1; got alpha={value:g}, "
            + (
                "where the root 1 is double and u^k grows like k."
                if value == -1
                else f"so u^k grows by the root {-value:g} at every step."
            )
        )
    return value


def real_limit(a: Sequence[Number], b: Sequence[Number]) -> float:
    r"""x/2 for the largest x with all roots in |zeta| <= 1 for z in [-x, 0]: `limit` of the scheme, 1 for Euler's."""
    return _real_limit(tuple(map(float, a)), tuple(map(float, b)))


@functools.lru_cache(maxsize=64)
def _real_limit(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return real_interval(largest_root(a, b)) / 2
