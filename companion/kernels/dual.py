r"""p <- P(q + tau D(f - share D^T q)), q = p + beta (p - p_old): a step of FGP in one pass over memory.   (3.2)

D are differences of neighbours, P cuts the length of p[n] (or each of its entries) to the radius. Of q and of
u = f - share D^T q a thread keeps two rows (of a volume, two planes); flows/rof.py defines the step.

Paper: (3.1), (3.2).  Notebook: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.kernels import loop
from companion.kernels.differences import array, differ_more, over, solid


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
        up, own = before[i] if d > 1 else zero, q[0, i] if d > 1 and not last else zero
        inner, data, left, right, over, under = x[1:], z[1:], y[: W - 1], y[1:], up[1:], own[1:]
        for j in range(W - 1):
            inner[j] = data[j] + share * ((right[j] - left[j]) + (under[j] - over[j]))
        x[0] = z[0] + share * ((y[0] - y[W - 1] if periodic else y[0]) + (own[0] - up[0]))
        if not periodic:
            x[W - 1] -= share * y[W - 1]
        if d > 2:
            front = q[1, i - 1 if i else H - 1] if periodic or i else zero
            differ_more(x, front, q[1, i] if periodic or i < H - 1 else zero, share)


@loop
def ahead(out: Any, q: Any, x: Any, y: Any, tau: Any) -> None:
    """out = q + tau (y - x), entry by entry."""
    for j in range(out.size):
        out[j] = q[j] + tau * (y[j] - x[j])


@loop
def cut(out: Any, radius: Any, isotropic: Any, size: Any) -> None:
    """out (d, W) <- its projection: every length, or every entry, cut to the radius. `size` is a spare row."""
    d, W = out.shape
    if not isotropic:
        for c in range(d):
            y = out[c]
            for j in range(W):
                y[j] = radius if y[j] > radius else -radius if y[j] < -radius else y[j]
        return
    x, y = out[0], out[d - 1]
    for j in range(W):
        size[j] = x[j] * x[j]
    if d > 2:
        z = out[1]
        for j in range(W):
            size[j] += z[j] * z[j]
    if d > 1:
        for j in range(W):
            size[j] += y[j] * y[j]
    for j in range(W):
        size[j] = radius / max(np.sqrt(size[j]), radius)
    for c in range(d):
        y = out[c]
        for j in range(W):
            y[j] *= size[j]


@loop
def cut_plane(x: Any, y: Any, radius: Any) -> None:
    """(x, y), cut to the radius: `cut` for a picture."""
    for j in range(x.size):
        s = radius / max(np.sqrt(x[j] * x[j] + y[j] * y[j]), radius)
        x[j] *= s
        y[j] *= s


@loop
def project(p: Any, i: Any, q: Any, u: Any, below: Any, tau: Any, radius: Any, isotropic: Any, periodic: Any) -> None:
    """P(q + tau D u) on plane i of p; `below` is u one plane on."""
    d, H, W = q.shape
    size = np.empty(W, q.dtype)
    for r in range(H):
        x, out, y = u[r], p[d - 1, i, r], q[d - 1, r]
        ahead(out[: W - 1], y[: W - 1], x[: W - 1], x[1:], tau)
        out[W - 1] = y[W - 1] + tau * (x[0] - x[W - 1]) if periodic else y[W - 1]
        if d > 1:
            ahead(p[0, i, r], q[0, r], x, below[r], tau)
        if d > 2:
            ahead(p[1, i, r], q[1, r], x, u[(r + 1) % H if periodic else min(r + 1, H - 1)], tau)
        if d == 2 and isotropic:
            cut_plane(p[0, i, r], out, radius)
        else:
            cut(p[:, i, r], radius, isotropic, size)


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


@loop
def measure_planes(
    f: Any, p: Any, out: Any, w: Any, radius: Any, isotropic: Any, periodic: Any, start: Any, stop: Any
) -> None:  # fmt: skip
    """out[n A + i] = (sum of radius |D u| - <p, D u>, sum of radius |D u| + w/2 (u - f)^2) over plane i, u = u(p)."""
    _, A, H, W = f.shape
    d = p.shape[1]
    q, u, before = np.empty((2, d, H, W), f.dtype), np.empty((2, H, W), f.dtype), np.empty((1, H, W), f.dtype)
    Du, zero, beta, one = np.empty((d, W), f.dtype), np.zeros(W, f.dtype), f.dtype.type(0), f.dtype.type(1)
    share = one / w
    for t in range(start, stop):
        n, i = t // A, t % A
        here, there = t % 2, 1 - t % 2
        if t == start or i == 0:
            before[:] = 0
            if d > 1 and (i > 0 or periodic):
                extrapolate(before, p[n], p[n], i - 1 if i else A - 1, beta)
            extrapolate(q[here], p[n], p[n], i, beta)
            decode(u[here], f[n, i], q[here], before[0], share, i == A - 1 and not periodic, periodic)
        if i < A - 1 or periodic:
            k = (i + 1) % A
            extrapolate(q[there], p[n], p[n], k, beta)
            decode(u[there], f[n, k], q[there], q[here, 0], share, k == A - 1 and not periodic, periodic)
        else:
            u[there] = u[here]
        length, product, misfit = 0.0, 0.0, 0.0
        for r in range(H):
            x, y = u[here, r], f[n, i, r]
            ahead(Du[d - 1, : W - 1], zero[: W - 1], x[: W - 1], x[1:], one)
            Du[d - 1, W - 1] = x[0] - x[W - 1] if periodic else zero[0]
            if d > 1:
                ahead(Du[0], zero, x, u[there, r], one)
            if d > 2:
                ahead(Du[1], zero, x, u[here, (r + 1) % H if periodic else min(r + 1, H - 1)], one)
            for j in range(W):
                size = np.float64(0)
                for c in range(d):
                    z = np.float64(Du[c, j])
                    size += z * z if isotropic else abs(z)
                    product += q[here, c, r, j] * z
                length += math.sqrt(size) if isotropic else size
                misfit += (np.float64(x[j]) - y[j]) ** 2
        out[t, 0], out[t, 1] = radius * length - product, radius * length + w / 2 * misfit


def measure(
    f: Tensor, p: Tensor, w: float, radius: float, isotropic: bool, dim: int, periodic: bool
) -> Tensor:  # fmt: skip
    """The gap and the objective at u(p) of each picture, (2, *batch) in float64."""
    space, batch = solid(f.shape[-dim:]), f.shape[:-dim]
    n, x = math.prod(batch), array(f)
    out = np.empty((n * space[0], 2))
    fields = x.reshape(n, *space), array(p).reshape(n, dim, *space), out
    over(measure_planes, n * space[0], f.numel(), *fields, x.dtype.type(w), x.dtype.type(radius), isotropic, periodic)
    return torch.from_numpy(out.reshape(*batch, space[0], 2).sum(-2)).movedim(-1, 0)


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
