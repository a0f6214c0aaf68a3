r"""p <- P(q + tau D(f - share D^T q)), q = p + beta (p - p_old): a step of FGP in one pass over memory.   (3.2)

D are differences of neighbours, P cuts the length of p[n] (or each of its entries) to the radius. Of q and of
u = f - share D^T q a thread keeps two rows (of a volume, two planes); flows/rof.py defines the step.

Paper: (3.1), (3.2).  Notebook: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from companion.kernels import loop
from companion.kernels.differences import array, differ, differ_more, over, solid


@loop
def extrapolate(q: Any, p: Any, old: Any, i: Any, beta: Any) -> None:
    """q = p + beta (p - old) on plane i: q (d, H, W), p and old (d, A, H, W)."""
    d, H, W = q.shape
    for c in range(d):
        for r in range(H):
            out, x, y = q[c, r], p[c, i, r], old[c, i, r]
            for j in range(W):
                out[j] = x[j] + beta * (x[j] - y[j])


@loop
def decode(u: Any, f: Any, q: Any, before: Any, share: Any, last: Any, periodic: Any) -> None:
    """u = f - share D^T q on a plane; `before` is q_1 one plane up, and the last plane of a picture does not see its
    own.
    """
    d, H, W = q.shape
    zero = np.zeros(W, u.dtype)
    for i in range(H):
        x, y, z = u[i], q[d - 1, i], f[i]
        differ(x[1:], y[: W - 1], y[1:], share)
        x[0] = share * (y[0] - y[W - 1] if periodic else y[0])
        if not periodic:
            x[W - 1] -= share * y[W - 1]
        if d > 1:
            differ_more(x, before[i], zero if last else q[0, i], share)
        if d > 2:
            front = q[1, i - 1 if i else H - 1] if periodic or i else zero
            differ_more(x, front, q[1, i] if periodic or i < H - 1 else zero, share)
        for j in range(W):
            x[j] += z[j]


@loop
def project(p: Any, i: Any, q: Any, u: Any, below: Any, tau: Any, radius: Any, isotropic: Any, periodic: Any) -> None:
    """P(q + tau D u) on plane i of p; `below` is u one plane on."""
    d, H, W = q.shape
    size = np.empty(W, q.dtype)
    for r in range(H):
        x = u[r]
        size[:] = 0
        for c in range(d):
            out, y = p[c, i, r], q[c, r]
            if c == d - 1:
                here, right, inner, start = x[: W - 1], x[1:], out[: W - 1], y[: W - 1]
                for j in range(W - 1):
                    inner[j] = start[j] + tau * (right[j] - here[j])
                out[W - 1] = y[W - 1] + (tau * (x[0] - x[W - 1]) if periodic else 0)
            else:
                z = below[r] if c == 0 else u[(r + 1) % H if periodic else min(r + 1, H - 1)]
                for j in range(W):
                    out[j] = y[j] + tau * (z[j] - x[j])
            if isotropic:
                for j in range(W):
                    size[j] += out[j] * out[j]
            else:
                for j in range(W):
                    out[j] = radius if out[j] > radius else -radius if out[j] < -radius else out[j]
        if isotropic:
            for j in range(W):
                size[j] = radius / max(np.sqrt(size[j]), radius)
            for c in range(d):
                out = p[c, i, r]
                for j in range(W):
                    out[j] *= size[j]


@loop
def ascend_planes(
    f: Any,
    p: Any,
    old: Any,
    out: Any,
    beta: Any,
    tau: Any,
    share: Any,
    radius: Any,
    isotropic: Any,
    periodic: Any,
    start: Any,
    stop: Any,
) -> None:
    """The step on the planes start <= n A + i < stop of f (N, A, H, W), p, old and out (N, d, A, H, W)."""
    _, A, H, W = f.shape
    d = p.shape[1]
    q, u, before = np.empty((2, d, H, W), f.dtype), np.empty((2, H, W), f.dtype), np.empty((1, H, W), f.dtype)
    for t in range(start, stop):
        n, i = t // A, t % A
        here, there = t % 2, 1 - t % 2
        if t == start or i == 0:
            before[:] = 0
            if d > 1 and (i > 0 or periodic):
                extrapolate(before, p[n], old[n], i - 1 if i else A - 1, beta)
            extrapolate(q[here], p[n], old[n], i, beta)
            decode(u[here], f[n, i], q[here], before[0], share, i == A - 1 and not periodic, periodic)
        if i < A - 1 or periodic:
            k = (i + 1) % A
            extrapolate(q[there], p[n], old[n], k, beta)
            decode(u[there], f[n, k], q[there], q[here, 0], share, k == A - 1 and not periodic, periodic)
        else:
            u[there] = u[here]
        project(out[n], i, q[here], u[here], u[there], tau, radius, isotropic, periodic)


def ascend(
    f: Tensor, p: Tensor, old: Tensor, beta: float, tau: float, share: float, radius: float, isotropic: bool, dim: int,
    periodic: bool,
) -> Tensor:  # fmt: skip
    """The new p, (*batch, dim, *space), of f (*batch, *space): no derivative is taken through it."""
    space, out = solid(f.shape[-dim:]), p.new_empty(p.shape)
    n, x = math.prod(f.shape[:-dim]), array(f)
    fields = [v.reshape(n, dim, *space) for v in (array(p), array(old), out.numpy())]
    numbers = (x.dtype.type(number) for number in (beta, tau, share, radius))
    over(ascend_planes, n * space[0], f.numel(), x.reshape(n, *space), *fields, *numbers, isotropic, periodic)
    return out
