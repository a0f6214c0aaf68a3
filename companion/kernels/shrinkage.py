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
from companion.kernels.cascade import Cascade, banks, flat, grids
from companion.kernels.merge import merge_along, merge_down
from companion.kernels.rows import STREAM, combine, empty, extend, wrap


class Rule(IntEnum):
    """The shrinkages of (4.4) that the loop knows."""

    SOFT = 0
    HARD = 1
    GARROTE = 2
    FIRM = 3
    ISOTROPIC = 4


@part
def shrink(d, a, W, rule, lam, mu, tiny):
    """d <- S(d) on the row d[a:a + W], for lam > 0."""
    x, zero, one = d[a : a + W], d.dtype.type(0), d.dtype.type(1)
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


@part
def shrink_together(d, first, last, T, W, lam, size, tiny):
    """d_m <- d_m (1 - min(1, lam / |d|)), |d|^2 = sum_m d_m^2, for the rows d[m T:], first <= m T + pad < last."""
    size[:] = 0
    for a in range(first, last, T):
        x = d[a : a + W]
        for j in range(W):
            size[j] += x[j] * x[j]
    for j in range(W):
        t = np.sqrt(max(size[j], tiny))
        size[j] = lam / max(max(lam, t), tiny)
    for a in range(first, last, T):
        x = d[a : a + W]
        for j in range(W):
            x[j] -= x[j] * size[j]


@part
def shrunk_row(d, u, z, base, i, g, q, k, n, m, fq, fn, fm, along, rule, lam, mu, tiny, t, pad, at, one):
    """S(d_ef), the rows of all bands one after the other, for row i of the picture u[base:]; z in place of d_00."""
    D, F, T = n.size, fn.size, t.size
    for e in range(D):
        for c in range(n[e]):
            at[c] = base + g.W * wrap(i + g.s * k[e * m + c], g.H, g.reflect)
        combine(t, pad, u, at, 0, q, e * m, n[e], g.W, False)
        extend(t, pad, pad, g.W, g.reflect, t.dtype.type(1))
        for f in range(F):
            a = (e * F + f) * T + pad
            if e + f == 0 and z.size > 0:
                at[0] = base + i * g.W
                combine(d, a, z, at, 0, one, 0, 1, g.W, False)
            else:
                combine(d, a, t, along, f * fm, fq, f * fm, fn[f], g.W, False)
                if rule < 4 and lam[e, f] > 0:
                    shrink(d, a, g.W, rule, lam[e, f], mu[e, f], tiny)
    if rule == 4:
        shrink_together(d, T + pad, D * F * T, T, g.W, lam[0, 0], t, tiny)


@loop
def step(u, z, out, g, down, across, up, back, order, rule, lam, mu, tiny, first, last):
    """One level of W~^T S(W u); z is the shrunk average of the levels below, or empty. The adjoint has the banks up,
    back.
    """
    q, k, n, m = down.q, down.k, down.length, down.most
    uq, uk, un, um, usign = up.q, up.k, up.length, up.most, up.sign
    fq, fn, fm, bq, bn, bm, bsign = across.q, across.length, across.most, back.q, back.length, back.most, back.sign
    pad = g.s * max(across.hi, -across.lo, back.hi, -back.lo)
    along, against = pad + g.s * across.k, -g.s * back.k
    D, F, T, least = n.size, fn.size, g.W + 2 * pad, up.lo
    M, room = up.hi - least + 1, max(q.size, fq.size, uq.size, bq.size)
    t, d, ring = np.empty(T, u.dtype), np.empty(D * F * T, u.dtype), np.empty(M * D * g.W, u.dtype)
    at, w, one = np.empty(room, np.int64), np.empty(room, u.dtype), np.ones(1, u.dtype)
    held = np.full((M, 2), -g.H * g.s - 1)  # which row, of which picture, stands in each place of the ring
    for r in range(first, last):
        b, i = r // order.size, order[r % order.size]
        base = b * g.H * g.W
        for h in range(M):
            v = i - g.s * (least + h)
            slot = (v // g.s) % M
            if held[slot, 0] != v or held[slot, 1] != b:
                held[slot, 0], held[slot, 1] = v, b
                row = wrap(v, g.H, g.reflect)
                shrunk_row(d, u, z, base, row, g, q, k, n, m, fq, fn, fm, along, rule, lam, mu, tiny, t, pad, at, one)
                merge_along(ring, slot * D * g.W, D, d, g, bq, bn, bm, bsign, against, pad, at, w)
        a = base + i * g.W
        merge_down(out, a, ring, M, g.W, i, g.H, g.s, g.reflect, uq, uk, un, um, usign, at, w, g.past)


@loop
def average(u, out, g, down, across, order, first, last):
    """out = Q_0 u, the average of one level."""
    q, k, n, fq, fn = down.q, down.k, down.length, across.q, across.length
    pad = g.s * max(across.hi, -across.lo)
    t, at, along = np.empty(g.W + 2 * pad, u.dtype), np.empty(q.size, np.int64), pad + g.s * across.k
    for r in range(first, last):
        b, i = r // order.size, order[r % order.size]
        for c in range(n[0]):
            at[c] = (b * g.H + wrap(i + g.s * k[c], g.H, g.reflect)) * g.W
        combine(t, pad, u, at, 0, q, 0, n[0], g.W, False)
        extend(t, pad, pad, g.W, g.reflect, t.dtype.type(1))
        combine(out, (b * g.H + i) * g.W, t, along, 0, fq, 0, fn[0], g.W, g.past)


def shrinkage(u: Tensor, form: Cascade, dual: Cascade, rule: Rule, lam: Tensor, mu: Tensor | None = None) -> Tensor:
    """W~^T S(W u) for a signal or picture, (*batch, *space); without derivatives.

    form, dual  W and W~
    lam, mu     one number a band, or for Rule.ISOTROPIC one a level
    """
    real = u.detach().numpy().dtype.type
    lams, mus = lam.numpy().astype(real), (lam if mu is None else mu).numpy().astype(real)
    levels = grids(tuple(u.shape[u.ndim - form.dim :]), form, u.nbytes >= STREAM)
    (_, down, across), (_, up, back) = (banks(f, u.dtype == torch.float32) for f in (form, dual))
    pictures, nothing, tiny = [u.contiguous()], torch.empty(0, dtype=u.dtype), real(torch.finfo(u.dtype).tiny)
    rows = u.shape[: u.ndim - form.dim].numel() * levels[0][2].size
    for _, grid, order in levels[:-1]:
        pictures.append(empty(u.shape, u))
        parallel(average, rows, flat(pictures[-2]), flat(pictures[-1]), grid, down, across, order)
    result = nothing
    for level, (where, grid, order) in reversed(list(enumerate(levels))):
        bands = np.full(1, level) if rule == Rule.ISOTROPIC else np.maximum(where[0], 0)
        below, result = result, empty(u.shape, u)
        parallel(
            step,
            rows,
            flat(pictures.pop()),
            flat(below),
            flat(result),
            grid,
            down,
            across,
            up,
            back,
            order,
            int(rule),
            lams[bands].reshape(bands.shape if bands.ndim == 2 else (1, 1)),
            mus[bands].reshape(bands.shape if bands.ndim == 2 else (1, 1)),
            tiny,
        )
    return result
