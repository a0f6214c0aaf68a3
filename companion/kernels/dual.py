r"""p <- P(q + tau D(f - share D^T q)), q = p + beta (p - p_old): a step of FGP in one pass over memory.   (3.2)

    ascend     this step, under flows/rof.py, which defines it
    measure    its gap and objective, under flows/rof.py

D are differences of neighbours, P cuts the length of p[n] (or each of its entries) to the radius. Pictures and fields
come as lists of rows, f as (N A H, W) and p as (N d A H, W). Of q and of u = f - share D^T q a thread keeps two planes
(of a picture, two rows), plane l in the place l mod 2. A row of u has one entry more, u[W]: what is right of u[W - 1],
or u[W - 1] itself where D is 0.

Paper: (3.1), (3.2).  Notebook: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.kernels import loop, part
from companion.kernels.differences import array, over, solid
from companion.kernels.rows import empty


@part
def extrapolate(q: Any, x: Any, y: Any, beta: Any) -> None:
    """q = x + beta (x - y)."""
    for j in range(q.size):
        q[j] = x[j] + beta * (x[j] - y[j])


@part
def decode(u: Any, f: Any, y: Any, down: Any, up: Any, share: Any, own: Any, around: Any) -> None:
    """u = f + share (y - its left neighbour) + own down - share up: a picture's row of f - share D^T q, y its q_2, down
    and up the rows of q_1 at and above it. own and around are share, or 0 where D does not leave the picture.
    """
    W = y.size
    inner, data, left, right, before, after = u[1:W], f[1:], y[: W - 1], y[1:], up[1:], down[1:]
    for j in range(inner.size):
        inner[j] = data[j] + share * (right[j] - left[j]) + (own * after[j] - share * before[j])
    u[0] = f[0] + share * y[0] - around * y[W - 1] + (own * down[0] - share * up[0])
    u[W - 1] += (around - share) * y[W - 1]


@part
def add(u: Any, y: Any, before: Any, own: Any, theirs: Any) -> None:
    """u + own y - theirs before."""
    for j in range(y.size):
        u[j] += own * y[j] - theirs * before[j]


@part
def climb(q: Any, u: Any, ahead: Any, tau: Any) -> None:
    """q + tau (ahead - u), in place."""
    for j in range(q.size):
        q[j] += tau * (ahead[j] - u[j])


@part
def cut_pair(a: Any, b: Any, x: Any, y: Any, radius: Any) -> None:
    """(a, b) = (x, y), its lengths cut to the radius."""
    for j in range(x.size):
        scale = radius / max(np.sqrt(x[j] * x[j] + y[j] * y[j]), radius)
        a[j] = scale * x[j]
        b[j] = scale * y[j]


@part
def square(size: Any, x: Any) -> None:
    """size + x^2."""
    for j in range(size.size):
        size[j] += x[j] * x[j]


@part
def cut(out: Any, x: Any, size: Any, radius: Any) -> None:
    """x, cut to the radius where the length is size^{1/2}."""
    for j in range(size.size):
        out[j] = radius / max(np.sqrt(size[j]), radius) * x[j]


@part
def clip(out: Any, x: Any, radius: Any) -> None:
    """Every entry of x, cut to the radius."""
    for j in range(x.size):
        out[j] = np.minimum(np.maximum(x[j], -radius), radius)


@part
def arrive(
    q: Any, u: Any, f: Any, p: Any, old: Any, d: Any, A: Any, H: Any, t: Any, fresh: Any, beta: Any, share: Any,
    periodic: Any,
) -> None:  # fmt: skip
    """q and u on plane i + 1 of picture n, t = n A + i; where `fresh`, on plane i too. Beyond the border D u is 0."""
    W, n, i, zero = f.shape[1], t // A, t % A, f.dtype.type(0)
    around = share if periodic else zero
    first, last, bottom = (-1, A, A) if periodic and d > 1 else (0, A - 1, A - 2)
    for l in range(i - 1 if fresh else i + 1, i + 2):
        k, here, there, inside = l % A, l % 2, 1 - l % 2, first <= l <= last
        for c in range(d):
            for r in range(H):
                y, m = q[(here * d + c) * H + r], ((n * d + c) * A + k) * H + r
                if inside:
                    extrapolate(y, p[m], old[m], beta)
                else:
                    y[:] = 0
        own = share if l <= bottom else zero
        for r in range(H if l >= i else 0):
            x, m = u[here * H + r], here * d * H + r
            if inside:
                decode(x, f[(n * A + k) * H + r], q[m + (d - 1) * H], q[m], q[there * d * H + r], share, own, around)
                for c in range(1, d - 1):
                    here_too, above = share if r < H - 1 else around, share if r > 0 else around
                    add(x, q[m + c * H], q[m + c * H - 1 + (0 if r else H)], here_too, above)
                x[W] = x[0] if around > 0 else x[W - 1]
            else:
                x[:] = u[there * H + r]


@loop
def ascend_planes(
    f: Any, p: Any, old: Any, out: Any, d: Any, A: Any, H: Any, beta: Any, tau: Any, share: Any, radius: Any,
    isotropic: Any, periodic: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """The step on the planes start <= n A + i < stop."""
    W = f.shape[1]
    q, u, size = np.empty((2 * d * H, W), f.dtype), np.empty((2 * H, W + 1), f.dtype), np.empty(W, f.dtype)
    for t in range(start, stop):
        n, i = t // A, t % A
        arrive(q, u, f, p, old, d, A, H, t, t == start or i == 0, beta, share, periodic)
        here, there = i % 2, 1 - i % 2
        for r in range(H):
            x, m, to = u[here * H + r], here * d * H + r, (n * d * A + i) * H + r
            climb(q[m + (d - 1) * H], x, x[1:], tau)
            for c in range(d - 1):
                s = there * H + r if c == 0 else here * H + ((r + 1) % H if periodic else min(r + 1, H - 1))
                climb(q[m + c * H], x, u[s], tau)
            if d == 2 and isotropic:
                cut_pair(out[to], out[to + A * H], q[m], q[m + H], radius)
                continue
            size[:] = 0
            for c in range(d):
                square(size, q[m + c * H])
            for c in range(d):
                if isotropic:
                    cut(out[to + c * A * H], q[m + c * H], size, radius)
                else:
                    clip(out[to + c * A * H], q[m + c * H], radius)


@part
def spread(size: Any, q: Any, u: Any, ahead: Any, isotropic: Any) -> Any:
    """<q, z> on a row, z = ahead - u; z^2, or |z|, is added to `size`."""
    product = 0.0
    for j in range(q.size):
        z = np.float64(ahead[j]) - np.float64(u[j])
        size[j] += z * z if isotropic else abs(z)
        product += z * np.float64(q[j])
    return product


@loop
def measure_planes(
    f: Any, p: Any, out: Any, d: Any, A: Any, H: Any, w: Any, radius: Any, isotropic: Any, periodic: Any, start: Any,
    stop: Any,
) -> None:  # fmt: skip
    """out[n A + i] = (sum of radius |D u| - <p, D u>, sum of radius |D u| + w/2 (u - f)^2) over plane i, u = u(p): u as
    the step has it, all that follows in float64.
    """
    W, zero, share = f.shape[1], f.dtype.type(0), f.dtype.type(1) / w
    q, u, size = np.empty((2 * d * H, W), f.dtype), np.empty((2 * H, W + 1), f.dtype), np.empty(W)
    for t in range(start, stop):
        i = t % A
        arrive(q, u, f, p, p, d, A, H, t, t == start or i == 0, zero, share, periodic)
        here, there = i % 2, 1 - i % 2
        length, product, misfit = 0.0, 0.0, 0.0
        for r in range(H):
            x, y, m = u[here * H + r], f[t * H + r], here * d * H + r
            size[:] = 0
            product += spread(size, q[m + (d - 1) * H], x, x[1:], isotropic)
            for c in range(d - 1):
                s = there * H + r if c == 0 else here * H + ((r + 1) % H if periodic else min(r + 1, H - 1))
                product += spread(size, q[m + c * H], x, u[s], isotropic)
            for j in range(W):
                length += np.sqrt(size[j]) if isotropic else size[j]
            for j in range(W):
                z = np.float64(x[j]) - np.float64(y[j])
                misfit += z * z
        out[t, 0], out[t, 1] = radius * length - product, radius * length + w / 2 * misfit


def measure(
    f: Tensor, p: Tensor, w: float, radius: float, isotropic: bool, dim: int, periodic: bool
) -> Tensor:  # fmt: skip
    """The gap and the objective at u(p) of each picture, (2, *batch) in float64."""
    A, H, W = solid(f.shape[-dim:])
    x, batch = array(f).reshape(-1, W), f.shape[:-dim]
    out = np.empty((math.prod(batch) * A, 2))
    fields, numbers = (x, array(p).reshape(-1, W), out), (x.dtype.type(w), x.dtype.type(radius))
    over(measure_planes, len(out), f.numel(), *fields, dim, A, H, *numbers, isotropic, periodic)
    return torch.from_numpy(out.reshape(*batch, A, 2).sum(-2)).movedim(-1, 0)


def ascend(
    f: Tensor, p: Tensor, old: Tensor, beta: float, tau: float, share: float, radius: float, isotropic: bool, dim: int,
    periodic: bool,
) -> Tensor:  # fmt: skip
    """The new p, (*batch, dim, *space), of f (*batch, *space): no derivative is taken through it."""
    (A, H, W), out = solid(f.shape[-dim:]), empty(p.shape, p)
    fields = [v.reshape(-1, W) for v in (array(f), array(p), array(old), out.numpy())]
    numbers = (fields[0].dtype.type(number) for number in (beta, tau, share, radius))
    over(ascend_planes, math.prod(f.shape[:-dim]) * A, f.numel(), *fields, dim, A, H, *numbers, isotropic, periodic)
    return out
