r"""v = w f + rho D^T(d - b), and b + D x shrunk by lengths: a step of split Bregman, but for its system.   (3.2)

    pull    the first, the right side of the system for x
    split   the second, and what the shrinkage takes away: the new d and b

both under flows/bregman.py, which defines them.

D are forward differences over h in the plane. Pictures and fields come as lists of rows, x as (N A, W) and b as
(2 N A, W). A row needs the one below it, or above it for D^T, which the cache still holds.

Paper: (3.2), [25].  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from companion.kernels import loop, part
from companion.kernels.differences import array, over
from companion.kernels.dual import cut_pair
from companion.kernels.primal_dual import rise
from companion.kernels.rows import empty


@part
def fall(out: Any, w: Any, f: Any, d: Any, b: Any, d_above: Any, b_above: Any, own: Any, theirs: Any) -> None:
    """w f + theirs (d - b) of the row above - own (d - b)."""
    for j in range(out.size):
        out[j] = w * f[j] + (theirs * (d_above[j] - b_above[j]) - own * (d[j] - b[j]))


@part
def fall_across(out: Any, d: Any, b: Any, scale: Any, around: Any) -> None:
    """out + scale (d - b) of the left neighbour - scale (d - b): around is scale, or 0 where the picture ends."""
    last = out.size - 1
    inner, d_left, b_left, d_right, b_right = out[1:], d[:last], b[:last], d[1:], b[1:]
    for j in range(last):
        inner[j] += scale * ((d_left[j] - b_left[j]) - (d_right[j] - b_right[j]))
    end = d[last] - b[last]
    out[0] += around * end - scale * (d[0] - b[0])
    out[last] += (scale - around) * end


@loop
def pull_rows(
    f: Any, d: Any, b: Any, out: Any, A: Any, w: Any, scale: Any, periodic: Any, start: Any, stop: Any
) -> None:  # fmt: skip
    """out = w f + scale h D^T(d - b) on the rows start <= n A + i < stop."""
    zero = f.dtype.type(0)
    for t in range(start, stop):
        n, i = t // A, t % A
        m = t + n * A
        above = m - 1 if i else m + A - 1
        own, theirs = scale if periodic or i < A - 1 else zero, scale if periodic or i else zero
        fall(out[t], w, f[t], d[m], b[m], d[above], b[above], own, theirs)
        fall_across(out[t], d[m + A], b[m + A], scale, scale if periodic else zero)


@loop
def split_rows(
    x: Any, b: Any, near: Any, rest: Any, A: Any, scale: Any, radius: Any, periodic: Any, start: Any, stop: Any
) -> None:  # fmt: skip
    """rest = P(b + D x), near = b + D x - rest, scale = 1/h, on the rows start <= n A + i < stop of x."""
    W = x.shape[1]
    u = np.empty(W + 1, x.dtype)
    for t in range(start, stop):
        n, i = t // A, t % A
        u[:W] = x[t]
        u[W] = x[t, 0] if periodic else x[t, W - 1]
        m, below = t + n * A, n * A + ((i + 1) % A if periodic else min(i + 1, A - 1))
        rise(near[m], b[m], u[:W], x[below], scale)
        rise(near[m + A], b[m + A], u[:W], u[1:], scale)
        cut_pair(rest[m], rest[m + A], near[m], near[m + A], radius)
        for c in range(2):
            y, z = near[m + c * A], rest[m + c * A]
            for j in range(W):
                y[j] -= z[j]


def pull(f: Tensor, d: Tensor, b: Tensor, w: float, rho: float, h: float, periodic: bool) -> Tensor:
    """w f + rho D^T(d - b) of pictures f (*batch, H, W), d and b (*batch, 2, H, W); no derivative."""
    A, W = f.shape[-2:]
    out = empty(f.shape, f)
    fields = [array(v).reshape(-1, W) for v in (f, d, b)] + [out.view(-1, W).numpy()]
    numbers = (fields[0].dtype.type(number) for number in (w, rho / h))
    over(pull_rows, len(fields[0]), f.numel(), *fields, A, *numbers, periodic)
    return out


def split(x: Tensor, b: Tensor, radius: float, h: float, periodic: bool) -> tuple[Tensor, Tensor]:
    """(v - P v, P v), v = b + D x: the shrinkage of every length |v[n]| by the radius, and what it takes away; pictures
    x (*batch, H, W), no derivative.
    """
    A, W = x.shape[-2:]
    near, rest = empty(b.shape, b), empty(b.shape, b)
    fields = [array(v).reshape(-1, W) for v in (x, b)] + [v.view(-1, W).numpy() for v in (near, rest)]
    numbers = (fields[0].dtype.type(number) for number in (1 / h, radius))
    over(split_rows, len(fields[0]), x.numel(), *fields, A, *numbers, periodic)
    return near, rest
