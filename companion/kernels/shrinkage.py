r"""W~^T S(W u) in one pass: the bands live for as long as their row is in the cache, and are never stored.   (4.5)

For a row of the picture the loop makes the rows of all bands, shrinks them, and combines them along the row into g_e,
one for each filter down the columns. The last few g_e stay in a ring, from which a row of the result is
sum_{e, k} q~_e[k] g_e[i - s k]. With more levels, T_l u = Q~_0^T T_{l+1}(Q_0 u) + sum_{e > 0} Q~_e^T S(Q_e u): the
average goes down a level, comes back shrunk, and its rows stand in for those of the average. A volume has a ring of
planes about the same step on planes.

Paper: (4.4), (4.5).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from companion.kernels import loop, parallel, part
from companion.kernels.cascade import Cascade, banks, flat, grids, pointers
from companion.kernels.merge import flipped, merge_ring, place
from companion.kernels.rows import aligned, combine, correlate, empty, extend, row, streamed, wrap
from companion.kernels.split import split_lines


class Rule(IntEnum):
    """The shrinkages of (4.4) that the loop knows."""

    SOFT = 0
    HARD = 1
    GARROTE = 2
    FIRM = 3
    ISOTROPIC = 4


@loop
def shrink(x, W, rule, lam, mu, tiny):
    """x <- S(x) on a row, for lam > 0."""
    zero, one = 0 * lam, lam / lam
    if rule == Rule.SOFT:
        for j in range(W):
            x[j] -= min(max(x[j], -lam), lam)
    elif rule == Rule.HARD:
        for j in range(W):
            x[j] = x[j] if abs(x[j]) > lam else zero
    elif rule == Rule.GARROTE:
        for j in range(W):
            x[j] -= x[j] * (lam * lam / max(max(lam * lam, x[j] * x[j]), tiny))
    else:
        for j in range(W):
            t = abs(x[j])
            between = min(max(lam * (mu - t) / (max(t, lam) * (mu - lam)), zero), one)
            x[j] -= x[j] * (one if t <= lam else between)


@loop
def shrink_together(d, first, last, T, W, lam, size, tiny):
    """d_m <- d_m (1 - min(1, lam / |d|)), |d|^2 = sum_m d_m^2, for the rows d[m T:], first <= m T < last."""
    for j in range(W):
        size[j] = 0
    for a in range(first, last, T):
        for j in range(W):
            size[j] += d[a + j] * d[a + j]
    for j in range(W):
        size[j] = lam / max(max(lam, np.sqrt(max(size[j], tiny))), tiny)
    for a in range(first, last, T):
        for j in range(W):
            d[a + j] -= d[a + j] * size[j]


@part
def step_rows(o, x, z, own, g, axes, order, rule, lam, mu, tiny, first, last, past):
    """Rows order[first:last] of W~^T S(W x), x a plane; where own, z in place of the average. lam is for this plane."""
    down, across, up, back = axes
    reach, M = g.s * max(across.hi, -across.lo, back.hi, -back.lo), up.hi - up.lo + 1
    pad, F, like = aligned(reach), across.R, lam.dtype
    T, room = g.W + 2 * pad, max(down.R * down.most, across.R * across.most, up.R * up.most, back.R * back.most)
    t, made, ring = np.empty(T, like), np.empty(g.W, like), np.empty(M * down.R * g.W, like)
    rows = np.empty(down.R * F * T, like)
    at, along = np.empty(room, np.int64), np.empty(room, np.int64)
    w, weights = np.empty(room, like), np.empty(room, like)
    taps = flipped(back, g.s, T, row(along, 0), row(weights, 0))
    held = np.full(M, -g.s * up.hi - 1)  # which row stands in each place of the ring; no v is as small
    for r in range(first, last):
        i = order[r]
        for k in range(up.lo, up.hi + 1):
            v, slot = i - g.s * k, place(i, k, g.s, M)
            if held[slot] == v:
                continue
            held[slot], h = v, wrap(v, g.H, g.reflect)
            for e in range(down.R):
                split_lines(row(t, pad), x, h, g.H, g.W, g, down, e, row(at, 0))
                extend(row(t, pad), reach, g.W, g.reflect, like.type(1))
                for f in range(F):
                    p = e * F + f
                    y = row(rows, p * T + pad)
                    if own and p == 0:
                        for j in range(g.W):
                            y[j] = z[h * g.W + j]
                    else:
                        correlate(y, row(t, pad), g.s, across, f, g.W)
                        if rule != Rule.ISOTROPIC and lam[p] > 0:
                            shrink(y, g.W, rule, lam[p], mu[p], tiny)
            if rule == Rule.ISOTROPIC:
                shrink_together(row(rows, pad), T, down.R * F * T, T, g.W, lam[0], row(t, pad), tiny)
            for e in range(down.R):
                y = row(rows, e * F * T + pad)
                for f in range(F):
                    extend(row(y, f * T), reach, g.W, g.reflect, back.sign[f])
                a = row(ring, (slot * down.R + e) * g.W)
                combine(a, y, np.int64(1), row(along, 0), row(weights, 0), taps, g.W)
        merge_ring(row(o, i * g.W), row(ring, 0), M, g.W, i, g.H, g, up, row(at, 0), row(w, 0), row(made, 0), past)


@loop
def step(u, z, out, g, bank, dual, delta, order, rule, lam, mu, tiny, first, last):
    """One level of W~^T S(W u) of signals or pictures: W has `bank`, W~ has `dual`; z is the shrunk average of the
    levels below, or empty.
    """
    L, size = order.size, g.H * g.W
    down, up = pointers(bank if g.dim > 1 else delta), pointers(dual if g.dim > 1 else delta)
    axes = down, pointers(bank), up, pointers(dual)
    for b in range(first // L, (last + L - 1) // L):
        o, x, y = row(out, b * size), row(u, b * size), row(z, b * size)
        lo, hi = max(first - b * L, 0), min(last - b * L, L)
        step_rows(o, x, y, z.size > 0, g, axes, order, rule, lam, mu, tiny, lo, hi, g.past)


@loop
def step_solid(u, z, out, g, bank, dual, delta, order, rule, lam, mu, tiny, first, last):
    """The same of volumes, by a ring of planes; of rules that shrink each band alone."""
    L, size, M, F = order.size, g.H * g.W, dual.hi - dual.lo + 1, bank.R
    solid, up = pointers(bank), pointers(dual)
    axes, rows, room = (solid, solid, up, up), np.arange(g.H), max(bank.q.size, dual.q.size)
    plane, made, ring = np.empty(size, u.dtype), np.empty(g.W, u.dtype), np.empty(M * F * size, u.dtype)
    at, w, held = np.empty(room, np.int64), np.empty(room, u.dtype), np.full(M, -1)
    for r in range(first, last):
        b, i = r // L, order[r % L]
        base = b * g.N * size
        for k in range(up.lo, up.hi + 1):
            v, slot = i - g.s * k, place(i, k, g.s, M)
            mark = b * (g.N + g.s * M) + v + g.s * up.hi
            if held[slot] == mark:
                continue
            held[slot], n = mark, wrap(v, g.N, g.reflect)
            for e in range(F):
                split_lines(row(plane, 0), row(u, base), n, g.N, size, g, solid, e, row(at, 0))
                o, y, own, c = (
                    row(ring, (slot * F + e) * size),
                    row(z, base + n * size),
                    z.size > 0 and e == 0,
                    e * F * F,
                )
                step_rows(o, row(plane, 0), y, own, g, axes, rows, rule, lam[c:], mu[c:], tiny, 0, g.H, False)
        o = row(out, base + i * size)
        merge_ring(o, row(ring, 0), M, size, i, g.N, g, up, row(at, 0), row(w, 0), row(made, 0), g.past)


@loop
def average(u, out, g, bank, delta, order, first, last):
    """out = Q_0 u, the average of one level."""
    solid = pointers(bank if g.dim > 2 else delta)
    down, across = pointers(bank if g.dim > 1 else delta), pointers(bank)
    reach, size = g.s * max(across.hi, -across.lo), g.H * g.W
    pad = aligned(reach)
    t, at, plane = np.empty(g.W + 2 * pad, u.dtype), np.empty(bank.most, np.int64), np.empty(size, u.dtype)
    for r in range(first, last):
        b, c = r // order.size, order[r % order.size]
        base = b * g.N * size
        x, o, top, end = row(u, base), row(out, base), c, c + 1
        if g.dim > 2:
            split_lines(row(plane, 0), x, c, g.N, size, g, solid, 0, row(at, 0))
            x, o, top, end = row(plane, 0), row(out, base + c * size), 0, g.H
        for i in range(top, end):
            split_lines(row(t, pad), x, i, g.H, g.W, g, down, 0, row(at, 0))
            extend(row(t, pad), reach, g.W, g.reflect, u.dtype.type(1))
            correlate(row(o, i * g.W), row(t, pad), g.s, across, 0, g.W)


def shrinkage(u: Tensor, form: Cascade, dual: Cascade, rule: Rule, lam: Tensor, mu: Tensor | None = None) -> Tensor:
    """W~^T S(W u), (*batch, *space); without derivatives. Not for volumes with Rule.ISOTROPIC.

    form, dual  W and W~
    lam, mu     one number a band, or for Rule.ISOTROPIC one a level
    """
    u = u.detach().resolve_neg().contiguous()
    real, most = u.numpy().dtype.type, torch.finfo(u.dtype).max
    lams, mus = (v.clamp(max=most).numpy().astype(real) for v in (lam, lam if mu is None else mu))
    levels = grids(tuple(u.shape[u.ndim - form.dim :]), form, streamed(u))
    (bank, delta), (back, _) = (banks(f, u.dtype == torch.float32) for f in (form, dual))
    pictures, nothing, tiny = [u], torch.empty(0, dtype=u.dtype), real(torch.finfo(u.dtype).tiny)
    rows = u.shape[: u.ndim - form.dim].numel() * levels[0][2].size
    for _, grid, order in levels[:-1]:
        pictures.append(empty(u.shape, u))
        parallel(average, rows, flat(pictures[-2]), flat(pictures[-1]), grid, bank, delta, order)
    result = nothing
    for level, (where, grid, order) in reversed(list(enumerate(levels))):
        bands = np.full(1, level) if rule == Rule.ISOTROPIC else np.maximum(where, 0)
        below, result = result, empty(u.shape, u)
        parallel(
            step_solid if form.dim == 3 else step,
            rows,
            flat(pictures.pop()),
            flat(below),
            flat(result),
            grid,
            bank,
            back,
            delta,
            order,
            int(rule),
            lams[bands],
            mus[bands],
            tiny,
        )
    return result
