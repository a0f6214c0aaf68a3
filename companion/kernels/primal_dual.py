r"""p <- P(p + sigma D x-bar),  v = x - tau D^T p,  x <- (v + w tau f) / (1 + w tau): PDHG in one pass.   (2.5)

    climb      the first two, for every data term, under flows/splitting.py, which defines them
    step       all three and x-bar <- 2 x - x_old, for ROF

D are differences of neighbours, P cuts the length of p[n] (or each of its entries) to the radius. Pictures and fields
come as lists of rows, x as (N A H, W) and p as (N d A H, W): what a plane of D^T p needs of the new p is this plane and
the one before, which the cache still holds. A thread makes the plane before its first one for itself.

Paper: (2.5), (3.2).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from companion.kernels import loop, part
from companion.kernels.differences import array, over, solid
from companion.kernels.dual import add, clip, cut, cut_pair, square
from companion.kernels.gpu import on_gpu
from companion.kernels.rows import empty


@part
def rise(q: Any, y: Any, u: Any, ahead: Any, sigma: Any) -> None:
    """q = y + sigma (ahead - u)."""
    for j in range(u.size):
        q[j] = y[j] + sigma * (ahead[j] - u[j])


@part
def ascend_plane(
    out: Any, to: Any, apart: Any, p: Any, bar: Any, n: Any, i: Any, d: Any, A: Any, H: Any, q: Any, size: Any,
    sigma: Any, radius: Any, isotropic: Any, periodic: Any,
) -> None:  # fmt: skip
    """Plane i of P(p + sigma D x-bar), picture n; row r of component c goes to out[to + c apart + r]."""
    W, last = bar.shape[1], d - 1
    below = (i + 1) % A if periodic else min(i + 1, A - 1)
    for r in range(H):
        u, m = bar[(n * A + i) * H + r], (n * d * A + i) * H + r
        for c in range(last):
            under = (r + 1) % H if periodic else min(r + 1, H - 1)
            ahead = (n * A + below) * H + r if c == 0 else (n * A + i) * H + under
            rise(q[c], p[m + c * A * H], u, bar[ahead], sigma)
        y = p[m + last * A * H]
        rise(q[last][: W - 1], y[: W - 1], u[: W - 1], u[1:], sigma)
        q[last, W - 1] = y[W - 1] + (sigma * (u[0] - u[W - 1]) if periodic else 0)
        if d == 2 and isotropic:
            cut_pair(out[to + r], out[to + apart + r], q[0], q[1], radius)
            continue
        size[:] = 0
        for c in range(d):
            square(size, q[c])
        for c in range(d):
            if isotropic:
                cut(out[to + c * apart + r], q[c], size, radius)
            else:
                clip(out[to + c * apart + r], q[c], radius)


@part
def settle(x: Any, bar: Any, v: Any, old: Any, f: Any, share: Any, rest: Any) -> None:
    """x = share v + rest f, x-bar = 2 x - old."""
    for j in range(v.size):
        new = share * v[j] + rest * f[j]
        x[j] = new
        bar[j] = 2 * new - old[j]


@loop
def step_planes(
    f: Any, x: Any, bar: Any, p: Any, new: Any, new_bar: Any, out: Any, d: Any, A: Any, H: Any, sigma: Any, tau: Any,
    radius: Any, share: Any, rest: Any, isotropic: Any, periodic: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """The step on the planes start <= n A + i < stop: out the new p; share is 0 where `new` is v."""
    W, zero = x.shape[1], x.dtype.type(0)
    q, size, v = np.empty((d, W), x.dtype), np.empty(W, x.dtype), np.empty(W, x.dtype)
    edge = np.empty((d * H, W), x.dtype)
    for t in range(start, stop):
        n, i = t // A, t % A
        to, before = (n * d * A + i) * H, i - 1 if i else A - 1
        fresh = d > 1 and (t == start or i == 0)
        if fresh and (i > 0 or periodic):
            ascend_plane(edge, 0, H, p, bar, n, before, d, A, H, q, size, sigma, radius, isotropic, periodic)
        elif fresh:
            edge[:] = 0
        ascend_plane(out, to, A * H, p, bar, n, i, d, A, H, q, size, sigma, radius, isotropic, periodic)
        for r in range(H):
            y, u, z = out[to + (d - 1) * A * H + r], x[t * H + r], v if share > 0 else new[t * H + r]
            rise(z[1:], u[1:], y[: W - 1], y[1:], tau)
            z[0] = u[0] + tau * y[0] - (tau * y[W - 1] if periodic else zero)
            if not periodic:
                z[W - 1] -= tau * y[W - 1]
            if d > 1:
                above = edge[r] if fresh else out[to - H + r]
                add(z, out[to + r], above, tau if periodic or i < A - 1 else zero, tau)
            if d > 2:
                m = to + A * H + r
                own, theirs = tau if periodic or r < H - 1 else zero, tau if periodic or r > 0 else zero
                add(z, out[m], out[m - 1 if r else m + H - 1], own, theirs)
            if share > 0:
                settle(new[t * H + r], new_bar[t * H + r], z, u, f[t * H + r], share, rest)


def _step(
    f: Tensor, x: Tensor, bar: Tensor, p: Tensor, sigma: float, tau: float, radius: float, share: float, rest: float,
    isotropic: bool, dim: int, periodic: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(x or v, x-bar where share > 0, p)."""
    if on_gpu(x):
        from companion.kernels.gpu_primal_dual import move

        return move(f, x, bar, p, sigma, tau, radius, share, rest, isotropic, dim, periodic)
    A, H, W = solid(x.shape[-dim:])
    new, out = empty(x.shape, x), empty(p.shape, p)
    new_bar = empty(x.shape, x) if share > 0 else new
    fields = [array(u).reshape(-1, W) for u in (f, x, bar, p)] + [u.view(-1, W).numpy() for u in (new, new_bar, out)]
    numbers = (fields[0].dtype.type(number) for number in (sigma, tau, radius, share, rest))
    n = math.prod(x.shape[:-dim]) * A
    over(step_planes, n, x.numel(), *fields, dim, A, H, *numbers, isotropic, periodic)
    return new, new_bar, out


def climb(
    x: Tensor, bar: Tensor, p: Tensor, sigma: float, tau: float, radius: float, isotropic: bool, dim: int,
    periodic: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(p, v), the new p (*batch, dim, *space) and v = x - tau D^T p, of x and x-bar (*batch, *space); no derivative is
    taken through it. sigma and tau are those of D, without its 1/h.
    """
    v, _, out = _step(x, x, bar, p, sigma, tau, radius, 0.0, 0.0, isotropic, dim, periodic)
    return out, v


def step(
    f: Tensor, x: Tensor, bar: Tensor, p: Tensor, pull: float, sigma: float, tau: float, radius: float,
    isotropic: bool, dim: int, periodic: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The new (x, x-bar, p) for the data term w/2 |u - f|^2, f (*batch, *space), pull = w tau; no derivative."""
    share, rest = 1 / (1 + pull), pull / (1 + pull)
    return _step(f, x, bar, p, sigma, tau, radius, share, rest, isotropic, dim, periodic)
