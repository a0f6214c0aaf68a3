r"""W~^T S(W u) in one pass: the bands live for as long as their row is in the cache, and are never stored.   (4.5)

For a row of the picture the loop makes the rows of all bands, shrinks them, and combines them along the row into g_e,
one for each filter down the columns. The last few g_e stay in a ring, from which a row of the result is
sum_{e, k} q~_e[k] g_e[i - s k]. With more levels, T_l u = Q~_0^T T_{l+1}(Q_0 u) + sum_{e > 0} Q~_e^T S(Q_e u): the
average goes down a level, comes back shrunk, and its rows stand in for those of the average.

Paper: (4.4), (4.5).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from companion.kernels import loop, parallel, part
from companion.kernels.cascade import Cascade, banks, flat, grids, pointers
from companion.kernels.merge import flipped
from companion.kernels.rows import aligned, combine, correlate, empty, extend, mirrored, row, stream, streamed, wrap
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
    if rule == 0:
        for j in range(W):
            x[j] -= min(max(x[j], -lam), lam)
    elif rule == 1:
        for j in range(W):
            x[j] = x[j] if abs(x[j]) > lam else zero
    elif rule == 2:
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


@loop
def shrunk_row(d, x, z, own, i, g, down, across, T, reach, rule, lam, mu, tiny, t, at):
    """S(d_ef), the rows of all bands T apart, for row i of the picture x; where own, row i of z in place of d_00."""
    for e in range(down.R):
        split_lines(t, x, i, g.H, g.W, g, down, e, at)
        extend(t, reach, g.W, g.reflect, 1)
        for f in range(across.R):
            p = e * across.R + f
            y = row(d, p * T)
            if p == 0 and own:
                for j in range(g.W):
                    y[j] = z[i * g.W + j]
            else:
                correlate(y, t, g.s, across, f, g.W)
                if rule < 4 and lam[p] > 0:
                    shrink(y, g.W, rule, lam[p], mu[p], tiny)
    if rule == 4:
        shrink_together(d, T, down.R * across.R * T, T, g.W, lam[0], t, tiny)


@part
def place(i, k, s, M):
    """Where line i - s k stands in a ring of M lines, |k| < M."""
    return (i // s - k) % M


@part
def merge_ring(o, ring, M, size, i, lines, g, b, at, w, made):
    """o = sum_{e, k} q_e[k] g_e[i - s k] of lines `size` long; line v of all g_e stands in a ring of M."""
    c = 0
    for e in range(b.R):
        for h in range(e * b.most, e * b.most + b.n[e]):
            at[c] = place(i, b.k[h], g.s, M) * b.R + e
            w[c] = b.sign[e] * b.q[h] if mirrored(i - g.s * b.k[h], lines, g.reflect) else b.q[h]
            c += 1
    for a in range(0, size, g.W):
        combine(made if g.past else row(o, a), row(ring, a), size, at, w, c, g.W)
        if g.past:
            stream(row(o, a), made, g.W)


@loop
def step(u, z, out, g, bank, dual, delta, order, rule, lam, mu, tiny, first, last):
    """One level of W~^T S(W u); z is the shrunk average of the levels below, or empty. W~ has the bank dual."""
    down, across = pointers(bank if g.dim > 1 else delta), pointers(bank)
    up, back = pointers(dual if g.dim > 1 else delta), pointers(dual)
    reach, M = g.s * max(across.hi, -across.lo, back.hi, -back.lo), up.hi - up.lo + 1
    pad = aligned(reach)
    T, D, F, room = g.W + 2 * pad, down.R, across.R, max(bank.q.size, dual.q.size)
    t, d, ring, made = (
        np.empty(T, u.dtype),
        np.empty(D * F * T, u.dtype),
        np.empty(M * D * g.W, u.dtype),
        np.empty(g.W, u.dtype),
    )
    at, w, along, weight = (
        np.empty(room, np.int64),
        np.empty(room, u.dtype),
        np.empty(room, np.int64),
        np.empty(room, u.dtype),
    )
    taps = flipped(back, g.s, T, row(along, 0), row(weight, 0))
    held = np.full(M, -g.H * g.s - 1)  # which row, of which picture, stands in each place of the ring
    for r in range(first, last):
        b, i = r // order.size, order[r % order.size]
        base = b * g.H * g.W
        for k in range(up.lo, up.hi + 1):
            v, slot = i - g.s * k, place(i, k, g.s, M)
            mark = v + 3 * b * g.H
            if held[slot] != mark:
                held[slot] = mark
                x, y, h = row(u, base), row(z, base), wrap(v, g.H, g.reflect)
                shrunk_row(
                    row(d, pad),
                    x,
                    y,
                    z.size > 0,
                    h,
                    g,
                    down,
                    across,
                    T,
                    reach,
                    rule,
                    row(lam, 0),
                    row(mu, 0),
                    tiny,
                    row(t, pad),
                    row(at, 0),
                )
                for e in range(D):
                    for f in range(F):
                        extend(row(d, (e * F + f) * T + pad), reach, g.W, g.reflect, back.sign[f])
                    o = row(ring, (slot * D + e) * g.W)
                    combine(o, row(d, e * F * T + pad), 1, row(along, 0), row(weight, 0), taps, g.W)
        o = row(out, base + i * g.W)
        merge_ring(o, row(ring, 0), M, g.W, i, g.H, g, up, row(at, 0), row(w, 0), row(made, 0))


@loop
def average(u, out, g, bank, delta, order, first, last):
    """out = Q_0 u, the average of one level."""
    down, across = pointers(bank if g.dim > 1 else delta), pointers(bank)
    reach = g.s * max(across.hi, -across.lo)
    pad = aligned(reach)
    t, at = np.empty(g.W + 2 * pad, u.dtype), np.empty(bank.most, np.int64)
    for r in range(first, last):
        b, i = r // order.size, order[r % order.size]
        base = b * g.H * g.W
        split_lines(row(t, pad), row(u, base), i, g.H, g.W, g, down, 0, row(at, 0))
        extend(row(t, pad), reach, g.W, g.reflect, 1)
        correlate(row(out, base + i * g.W), row(t, pad), g.s, across, 0, g.W)


def shrinkage(u: Tensor, form: Cascade, dual: Cascade, rule: Rule, lam: Tensor, mu: Tensor | None = None) -> Tensor:
    """W~^T S(W u) for a signal or picture, (*batch, *space); without derivatives.

    form, dual  W and W~
    lam, mu     one number a band, or for Rule.ISOTROPIC one a level
    """
    real = u.detach().numpy().dtype.type
    lams, mus = lam.numpy().astype(real), (lam if mu is None else mu).numpy().astype(real)
    levels = grids(tuple(u.shape[u.ndim - form.dim :]), form, streamed(u))
    (bank, delta), (back, _) = (banks(f, u.dtype == torch.float32) for f in (form, dual))
    pictures, nothing, tiny = [u.contiguous()], torch.empty(0, dtype=u.dtype), real(torch.finfo(u.dtype).tiny)
    rows = u.shape[: u.ndim - form.dim].numel() * levels[0][2].size
    for _, grid, order in levels[:-1]:
        pictures.append(empty(u.shape, u))
        parallel(average, rows, flat(pictures[-2]), flat(pictures[-1]), grid, bank, delta, order)
    result = nothing
    for level, (where, grid, order) in reversed(list(enumerate(levels))):
        bands = np.full(1, level) if rule == Rule.ISOTROPIC else np.maximum(where, 0)
        below, result = result, empty(u.shape, u)
        parallel(
            step,
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
