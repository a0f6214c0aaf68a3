r"""u + dt div(g(|grad v|^2) grad u), one pass over memory: an explicit step of Section 3.   (3.3)

With forward differences, c[n] = g(sum_i (v[n + e_i] - v[n])^2 / h^2) and k = dt/h^2,

    f_i[n] = c[n] (u[n + e_i] - u[n]),   out[n] = u[n] + k sum_i (f_i[n] - f_i[n - e_i]):

each flux is computed once, for the two pixels beside it. The one to the left is at hand; a thread keeps those of the
row above and, in a volume, of the plane before. At the border "reflect" u[-1] = u[0]: no flux.

A law g(s, a, b) is a function of one number, written so that it runs on vectors. Each `Diffusivity` names its own
beside its formula (`law`), and the step is compiled for each law that is used. e^x is written out for this reason:
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
from companion.kernels.blocks import repeat
from companion.kernels.differences import array, over, solid

LOG2 = math.log(2)


@primitive
def two_to() -> Any:
    """2^n for a whole number n held as a float: n in the place of the exponent."""
    import numba
    from numba.extending import overload

    def two_to(n):
        """Known to loops alone."""

    @overload(two_to)
    def power(n):
        if n == numba.float32:
            return lambda n: np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        return lambda n: np.int64((np.int64(np.int32(n)) + 1023) << 52).view(np.float64)

    return two_to


@loop
def grow(x: Any) -> Any:
    """e^x - 1, for x <= 0."""
    real = type(x)
    one, half, lowest = real(1), real(0.5), real(-87)  # e^-87 is 0 beside 1, and no underflow
    y = lowest if x < lowest else x
    n = np.floor(y * real(1 / LOG2) + half)
    r = y - n * real(LOG2)
    p = one + r * real(1 / 9) * (one + r * real(1 / 10) * (one + r * real(1 / 11) * (one + r * real(1 / 12))))
    p = one + r * real(1 / 5) * (one + r * real(1 / 6) * (one + r * real(1 / 7) * (one + r * real(1 / 8) * p)))
    p = r * (one + r * half * (one + r * real(1 / 3) * (one + r * real(1 / 4) * p)))
    power = two_to(n)
    return power * p + (power - one)


@loop
def constant(s: Any, a: Any, b: Any) -> Any:
    """g = a."""
    return a


@loop
def exponential(s: Any, a: Any, b: Any) -> Any:
    """g = e^{-a s}."""
    return grow(-a * s) + type(s)(1)


@loop
def rational(s: Any, a: Any, b: Any) -> Any:
    """g = 1 / (1 + a s)."""
    one = type(s)(1)
    return one / (one + a * s)


@loop
def rational_square(s: Any, a: Any, b: Any) -> Any:
    """g = 1 / (1 + a s^2)."""
    one = type(s)(1)
    return one / (one + a * s * s)


@loop
def root(s: Any, a: Any, b: Any) -> Any:
    """g = 1 / sqrt(a s + b)."""
    return type(s)(1) / np.sqrt(a * s + b)


@loop
def fast_decay(s: Any, a: Any, b: Any) -> Any:
    """g = 1 - exp(-b / (a s)^4)."""
    real, z = type(s), a * s
    z = real(0.05) if z < real(0.05) else z
    z = real(1) / (z * z)
    return -grow(-b * z * z)


Law = tuple[Loop, float | Tensor, float | Tensor]  # g and its two numbers
g = constant  # the law; `stepper` puts another in its place


@loop
def neighbours(i: int, n: int, periodic: bool) -> tuple[int, int]:
    """i - 1 and i + 1 on an axis of n points."""
    return (i - 1 if i else n - 1 if periodic else 0), (i + 1 if i < n - 1 else 0 if periodic else n - 1)


@loop
def step_row(
    out: Any, u: Any, below: Any, v: Any, under: Any, up: Any, keep: Any, k: Any, scale: Any, a: Any, b: Any, turn: Any
) -> None:
    """out = keep u + k sum_i (f_i[n] - f_i[n - e_i]) on a row of a picture; `below` and `under` are the next rows of u
    and v, u[turn] stands behind the row's end; `up` holds the fluxes from the row above, then those to the next.
    """
    end = u.size - 1
    right, beside = u[1:], v[1:]
    x, y = v[turn] - v[end], under[end] - v[end]
    c = g(scale * (x * x + y * y), a, b)
    last, down = c * (u[turn] - u[end]), c * (below[end] - u[end])
    left = last  # 0 at the border "reflect"
    for j in range(end):
        x, y = beside[j] - v[j], under[j] - v[j]
        c = g(scale * (x * x + y * y), a, b)
        x, y = c * (right[j] - u[j]), c * (below[j] - u[j])
        out[j] = keep * u[j] + k * ((x - left) + (y - up[j]))
        left, up[j] = x, y
    out[end] = keep * u[end] + k * ((last - left) + (down - up[end]))
    up[end] = down


@loop
def steps_picture(
    u: Any, v: Any, out: Any, keep: Any, k: Any, scale: Any, a: Any, b: Any, periodic: Any, start: Any, stop: Any
) -> None:
    """out = keep u + k h^2 div(g(|grad v|^2) grad u) on the rows start <= n A + i < stop of pictures (N, A, 1, W)."""
    _, A, _, W = u.shape
    up, spare = np.empty(W, u.dtype), np.empty(W, u.dtype)
    turn = 0 if periodic else W - 1
    for t in range(start, stop):
        n, i = t // A, t % A
        above, below = neighbours(i, A, periodic)
        if t == start or i == 0:
            step_row(spare, u[n, above, 0], u[n, i, 0], v[n, above, 0], v[n, i, 0], up, keep, k, scale, a, b, turn)
        step_row(out[n, i, 0], u[n, i, 0], u[n, below, 0], v[n, i, 0], v[n, below, 0], up, keep, k, scale, a, b, turn)


@loop
def weigh(c: Any, v: Any, under: Any, beyond: Any, scale: Any, a: Any, b: Any, turn: Any) -> None:
    """c = g(scale |D v|^2) on a row of a volume, from the next rows of v on both other axes."""
    end, beside = v.size - 1, v[1:]
    for j in range(end):
        x, y, z = beside[j] - v[j], under[j] - v[j], beyond[j] - v[j]
        c[j] = g(scale * (x * x + y * y + z * z), a, b)
    x, y, z = v[turn] - v[end], under[end] - v[end], beyond[end] - v[end]
    c[end] = g(scale * (x * x + y * y + z * z), a, b)


@loop
def along(out: Any, u: Any, c: Any, keep: Any, k: Any, turn: Any) -> None:
    """out = keep u + k (f - f[. - 1]), f = c (u[. + 1] - u)."""
    end, right = u.size - 1, u[1:]
    last = c[end] * (u[turn] - u[end])
    left = last
    for j in range(end):
        x = c[j] * (right[j] - u[j])
        out[j] = keep * u[j] + k * (x - left)
        left = x
    out[end] = keep * u[end] + k * (last - left)


@loop
def across(out: Any, u: Any, after: Any, c: Any, before: Any, k: Any) -> None:
    """out += k (f - before), f = c (after - u); then before = f."""
    for j in range(u.size):
        y = c[j] * (after[j] - u[j])
        out[j] += k * (y - before[j])
        before[j] = y


@loop
def steps_volume(
    u: Any, v: Any, out: Any, keep: Any, k: Any, scale: Any, a: Any, b: Any, periodic: Any, start: Any, stop: Any
) -> None:
    """The same on the planes start <= n A + i < stop of volumes (N, A, H, W)."""
    _, A, H, W = u.shape
    front, (up, c, spare) = np.empty((H, W), u.dtype), np.empty((3, W), u.dtype)
    turn = 0 if periodic else W - 1
    for t in range(start, stop):
        n, i = t // A, t % A
        above, below = neighbours(i, A, periodic)
        if t == start or i == 0:
            for r in range(H):
                _, after = neighbours(r, H, periodic)
                weigh(c, v[n, above, r], v[n, above, after], v[n, i, r], scale, a, b, turn)
                across(spare, u[n, above, r], u[n, i, r], c, front[r], k)
        before, _ = neighbours(0, H, periodic)
        weigh(c, v[n, i, before], v[n, i, 0], v[n, below, before], scale, a, b, turn)
        across(spare, u[n, i, before], u[n, i, 0], c, up, k)
        for r in range(H):
            _, after = neighbours(r, H, periodic)
            weigh(c, v[n, i, r], v[n, i, after], v[n, below, r], scale, a, b, turn)
            along(out[n, i, r], u[n, i, r], c, keep, k, turn)
            across(out[n, i, r], u[n, i, r], u[n, i, after], c, up, k)
            across(out[n, i, r], u[n, i, r], u[n, below, r], c, front[r], k)


def beside(kind: type) -> bool:
    """Whether `law` stands for `forward`: one class defines both. A subclass with a `forward` of
    its own takes no loop until it has a `law` of its own.
    """
    law, forward = (next(c for c in kind.__mro__ if name in vars(c)) for name in ("law", "forward"))
    return law is forward


def put(f: Loop, name: str, **loops: Loop) -> Loop:
    """The loop f under a name of its own, with other loops in the place of those that it calls."""
    own = FunctionType(f.f.__code__, {**f.f.__globals__, **loops}, f"{f.f.__name__}_{name}")
    own.__qualname__, own.__module__ = own.__name__, f.f.__module__
    ours = all(other.kept and other.f.__module__ == __name__ for other in loops.values())
    return Loop(own, kept=ours)  # a law from elsewhere may change, or have the name of one of these


@cache
def stepper(law: Loop, dim: int) -> Loop:
    """The steps with this law for g."""
    name = law.f.__name__
    if dim == 3:
        return put(steps_volume, name, weigh=put(weigh, name, g=law))
    return put(steps_picture, name, step_row=put(step_row, name, g=law))


def diffuse(
    law: Law, u: Tensor, v: Tensor, keep: float, dt: float, h: float, dim: int, periodic: bool, k: int = 1
) -> Tensor:
    """keep u + dt div(g(|grad v|^2) grad u), (*batch, *space), and for v = u k times; without derivatives."""
    space = solid(u.shape[-dim:])
    n = math.prod(u.shape[:-dim])
    g, a, b = law
    x = array(u).reshape(n, *space)
    numbers = [x.dtype.type(number) for number in (keep, dt / h**2, 1 / h**2, float(a), float(b))]
    steps = stepper(g, dim)
    if k > 1:
        pictures = u.detach().reshape(n, *space)
        many = repeat(lambda y, z: steps(y, y, z, *numbers, periodic, 0, y.shape[1]), pictures, k, periodic)
        return many.view(u.shape)
    y, out = x if v is u else array(v).reshape(n, *space), u.new_empty(u.shape)
    over(steps, n * space[0], u.numel(), x, y, out.numpy().reshape(n, *space), *numbers, periodic)
    return out
