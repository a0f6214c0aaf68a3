r"""u + dt div(g(|grad v|^2) grad u), one pass over memory: an explicit step of Section 3.   (3.3)

With forward differences, c[n] = g(sum_i (v[n + e_i] - v[n])^2 / h^2) and k = dt/h^2,

    out[n] = u[n] + k sum_i (c[n] (u[n + e_i] - u[n]) - c[n - e_i] (u[n] - u[n - e_i])),

and of c a thread keeps two rows (of a volume, two planes). At the border "reflect" u[-1] = u[0]: no flux.

A law g works on a row of s in place: law(s, a, b). Each `Diffusivity` names its own beside its formula (`law`), and
the step is compiled for each law that is used. e^x is written out so that it runs on vectors:
x = n log 2 + r, |r| <= log(2)/2, e^x - 1 = 2^n (e^r - 1) + (2^n - 1), e^r - 1 by its series.

Paper: (3.3).  Notebook: none.
"""

from __future__ import annotations

import math
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor

from companion.kernels import Loop, loop, primitive
from companion.kernels.differences import array, over, solid

LOG2 = math.log(2)


@primitive
def two_to() -> Any:
    """2^n for a whole number n held as a float: n in the place of the exponent."""
    import numba
    from numba.extending import overload

    def two_to(n):
        raise NotImplementedError

    @overload(two_to)
    def power(n):
        if n == numba.float32:
            return lambda n: np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        return lambda n: np.int64((np.int64(np.int32(n)) + 1023) << 52).view(np.float64)

    return two_to


@loop
def grow(x: Any) -> None:
    """x <- e^x - 1, for x <= 0."""
    real, one, half = x.dtype.type, x.dtype.type(1), x.dtype.type(0.5)
    lowest = real(-87 if x.itemsize == 4 else -700)  # e^lowest is 0 beside 1, and no underflow
    log2, per_log2 = real(LOG2), real(1 / LOG2)
    k2, k3, k4, k5, k6 = half, real(1 / 3), real(1 / 4), real(1 / 5), real(1 / 6)
    k7, k8, k9, k10, k11, k12 = real(1 / 7), real(1 / 8), real(1 / 9), real(1 / 10), real(1 / 11), real(1 / 12)
    for j in range(x.size):
        y = lowest if x[j] < lowest else x[j]
        n = np.floor(y * per_log2 + half)
        r = y - n * log2
        p = one + r * k9 * (one + r * k10 * (one + r * k11 * (one + r * k12)))
        p = one + r * k5 * (one + r * k6 * (one + r * k7 * (one + r * k8 * p)))
        p = r * (one + r * k2 * (one + r * k3 * (one + r * k4 * p)))
        power = two_to(n)
        x[j] = power * p + (power - one)


@loop
def constant(s: Any, a: Any, b: Any) -> None:
    """g = a."""
    for j in range(s.size):
        s[j] = a


@loop
def exponential(s: Any, a: Any, b: Any) -> None:
    """g = e^{-a s}."""
    one = s.dtype.type(1)
    for j in range(s.size):
        s[j] *= -a
    grow(s)
    for j in range(s.size):
        s[j] += one


@loop
def rational(s: Any, a: Any, b: Any) -> None:
    """g = 1 / (1 + a s)."""
    one = s.dtype.type(1)
    for j in range(s.size):
        s[j] = one / (one + a * s[j])


@loop
def rational_square(s: Any, a: Any, b: Any) -> None:
    """g = 1 / (1 + a s^2)."""
    one = s.dtype.type(1)
    for j in range(s.size):
        s[j] = one / (one + a * s[j] * s[j])


@loop
def root(s: Any, a: Any, b: Any) -> None:
    """g = 1 / sqrt(a s + b)."""
    one = s.dtype.type(1)
    for j in range(s.size):
        s[j] = one / np.sqrt(a * s[j] + b)


@loop
def fast_decay(s: Any, a: Any, b: Any) -> None:
    """g = 1 - exp(-b / (a s)^4)."""
    least, one = s.dtype.type(0.05), s.dtype.type(1)
    for j in range(s.size):
        z = a * s[j]
        z = least if z < least else z
        z = one / (z * z)
        s[j] = -b * z * z
    grow(s)
    for j in range(s.size):
        s[j] = -s[j]


Law = tuple[Loop, float | Tensor, float | Tensor]  # g and its two numbers


@loop
def squares(s: Any, v: Any, below: Any, scale: Any, periodic: Any) -> None:
    """s = scale sum_i (v[n + e_i] - v[n])^2 on a plane v (H, W) and the plane below it."""
    H, W = v.shape
    for i in range(H):
        row, x, y = s[i], v[i], below[i]
        out, here, right, under = row[: W - 1], x[: W - 1], x[1:], y[: W - 1]
        for j in range(W - 1):
            out[j] = scale * ((right[j] - here[j]) ** 2 + (under[j] - here[j]) ** 2)
        end = x[0] if periodic else x[W - 1]
        row[W - 1] = scale * ((end - x[W - 1]) ** 2 + (y[W - 1] - x[W - 1]) ** 2)
        if H > 1:
            z = v[(i + 1) % H if periodic else min(i + 1, H - 1)]
            for j in range(W):
                row[j] += scale * (z[j] - x[j]) ** 2


@loop
def spread(out: Any, u: Any, above: Any, below: Any, c: Any, before: Any, keep: Any, k: Any, periodic: Any) -> None:
    """out = keep u + k sum_i (c (u[n + e_i] - u) - c[n - e_i] (u - u[n - e_i])) on a plane; before = c[n - e_1]."""
    H, W = u.shape
    for i in range(H):
        o, x, up, down, g, gup = out[i], u[i], above[i], below[i], c[i], before[i]
        if W > 1:
            inner, here, left, right = o[1 : W - 1], x[1 : W - 1], x[: W - 2], x[2:]
            over, under, here_c, left_c, up_c = up[1 : W - 1], down[1 : W - 1], g[1 : W - 1], g[: W - 2], gup[1 : W - 1]
            for j in range(W - 2):
                inner[j] = keep * here[j] + k * (
                    here_c[j] * ((right[j] - here[j]) + (under[j] - here[j]))
                    + left_c[j] * (left[j] - here[j])
                    + up_c[j] * (over[j] - here[j])
                )
        for j in (0, W - 1):
            before_j = j - 1 if j else W - 1 if periodic else 0
            after_j = j + 1 if j < W - 1 else 0 if periodic else W - 1
            o[j] = keep * x[j] + k * (
                g[j] * ((x[after_j] - x[j]) + (down[j] - x[j]))
                + g[before_j] * (x[before_j] - x[j])
                + gup[j] * (up[j] - x[j])
            )
        if H > 1:
            m = i - 1 if i else H - 1 if periodic else 0
            front, back, gfront = u[m], u[(i + 1) % H if periodic else min(i + 1, H - 1)], c[m]
            for j in range(W):
                o[j] += k * (g[j] * (back[j] - x[j]) + gfront[j] * (front[j] - x[j]))


g: Loop  # the law, put in by `stepper`


@loop
def steps(
    u: Any, v: Any, out: Any, keep: Any, k: Any, scale: Any, a: Any, b: Any, periodic: Any, start: Any, stop: Any
) -> None:
    """out = keep u + k h^2 div(g(|grad v|^2) grad u) on the planes start <= n A + i < stop of pictures (N, A, H, W)."""
    _, A, H, W = u.shape
    ring = np.empty((2, H, W), u.dtype)
    for t in range(start, stop):
        n, i = t // A, t % A
        above = i - 1 if i else A - 1 if periodic else 0
        below = i + 1 if i < A - 1 else 0 if periodic else A - 1
        c, before = ring[t % 2], ring[1 - t % 2]
        if t == start or i == 0:
            squares(before, v[n, above], v[n, i], scale, periodic)  # at the border "reflect" any c does: no flux
            g(before.ravel(), a, b)
        squares(c, v[n, i], v[n, below], scale, periodic)
        g(c.ravel(), a, b)
        spread(out[n, i], u[n, i], u[n, above], u[n, below], c, before, keep, k, periodic)


def beside(kind: type) -> bool:
    """Whether `law` stands for `forward`: one class defines both. Who writes another formula has no loop for it yet."""
    law, forward = (next(c for c in kind.__mro__ if name in vars(c)) for name in ("law", "forward"))
    return law is forward


@cache
def stepper(law: Loop) -> Loop:
    """`steps` with this law for g, compiled under a name of its own."""
    f = steps.f
    own = FunctionType(f.__code__, {**f.__globals__, "g": law}, f"steps_{law.f.__name__}")
    own.__qualname__, own.__module__ = own.__name__, f.__module__
    return loop(own)


def diffuse(law: Law, u: Tensor, v: Tensor, keep: float, dt: float, h: float, dim: int, periodic: bool) -> Tensor:
    """keep u + dt div(g(|grad v|^2) grad u), (*batch, *space): no derivative is taken through it."""
    space = solid(u.shape[-dim:])
    n = math.prod(u.shape[:-dim])
    g, a, b = law
    x, out = array(u).reshape(n, *space), u.new_empty(u.shape)
    y, z = x if v is u else array(v).reshape(n, *space), out.numpy().reshape(n, *space)
    numbers = (x.dtype.type(number) for number in (keep, dt / h**2, 1 / h**2, float(a), float(b)))
    over(stepper(g), n * space[0], u.numel(), x, y, z, *numbers, periodic)
    return out
