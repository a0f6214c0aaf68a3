r"""One level of W^T d, row by row: every band is read once.   (2.1)

The rows of the bands (e, f) are combined along the row into g_e, one for each filter down the columns; the last few
g_e stay in a ring, from which a row of the result is sum_{e, k} q_e[k] g_e[i - s k]. A volume has a ring of planes.

Beyond the border u[i] = u[E(i)]. The adjoint of a filter on the continued picture is the flipped filter on a picture
continued the same way, times the parity of the filter wherever the continued picture stands reversed: with reflection
all filters are symmetric or antisymmetric about 0, q[-k] = sign q[k].

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import numpy as np

from companion.kernels import loop, part
from companion.kernels.rows import combine, extend, mirrored, wrap
from companion.kernels.split import place


@part
def merge_along(ring, slot, D, d, g, q, n, m, sign, back, pad, at, w):
    """ring[slot + e W:] = sum_{f, k} q_f[k] d_ef[. - s k]; the D rows of rows d_ef stand in d one after the other, each
    with room for `pad` samples on both sides; back = -s k.
    """
    F, T = n.size, g.W + 2 * pad
    for e in range(D):
        c = 0
        for f in range(F):
            a = (e * F + f) * T + pad
            extend(d, a, pad, g.W, g.reflect, sign[f])
            for h in range(n[f]):
                at[c], w[c] = a + back[f * m + h], q[f * m + h]
                c += 1
        combine(ring, slot + e * g.W, d, at, 0, w, 0, c, g.W, False)


@part
def merge_down(out, a, ring, M, size, i, lines, s, reflect, q, k, n, m, sign, at, w, past):
    """out[a:] = sum_{e, k} q_e[k] g_e[i - s k] of lines `size` long; line v of g_e stands in a ring of M."""
    c, D = 0, n.size
    for e in range(D):
        for h in range(e * m, e * m + n[e]):
            v = i - s * k[h]
            at[c] = ((v // s) % M * D + e) * size
            w[c] = sign[e] * q[h] if mirrored(v, lines, reflect) else q[h]
            c += 1
    combine(out, a, ring, at, 0, w, 0, c, size, past)


@part
def merge_edges(ring, slot, d, g, start, e, row, q, n, m, sign, back, pad, edge, at, w):
    """What `merge_along` makes, of rows that stand in d: inside, straight from there; the first and last `pad` samples
    by way of a copy.
    """
    for side in range(3):
        c = 0
        for f in range(n.size):
            a = start[e, f] + row
            if side > 0:
                for j in range(3 * pad):
                    p = j - pad if side == 1 else j + g.W - 2 * pad
                    value = d[a + wrap(p, g.W, g.reflect)]
                    edge[3 * pad * f + j] = sign[f] * value if mirrored(p, g.W, g.reflect) else value
                a = 3 * pad * f
            for h in range(n[f]):
                at[c], w[c] = a + pad + back[f * m + h], q[f * m + h]
                c += 1
        if side == 0:
            combine(ring, slot + pad, d, at, 0, w, 0, c, g.W - 2 * pad, False)
        else:
            combine(ring, slot if side == 1 else slot + g.W - pad, edge, at, 0, w, 0, c, pad, False)


@loop
def merge_rows(out, a, d, low, start, g, down, across, order, first, last, past):
    """Rows order[first:last] of out[a:] from the planes of bands at d[start[e, f]:], or for a negative start at
    low[-1 - start:].
    """
    q, k, n, m, sign = down.q, down.k, down.length, down.most, down.sign
    fq, fn, fm, fsign, back = across.q, across.length, across.most, across.sign, -g.s * across.k
    D, F, least, pad = n.size, fn.size, down.lo, g.s * max(across.hi, -across.lo)
    M, T = down.hi - least + 1, g.W + 2 * pad
    rows, ring, room = np.empty(F * (T + 3 * pad), d.dtype), np.empty(M * D * g.W, d.dtype), max(q.size, fq.size)
    at, w, one = np.empty(room, np.int64), np.empty(room, d.dtype), np.ones(1, d.dtype)
    held = np.full(M, -g.H * g.s - 1)  # which row stands in each place of the ring
    for r in range(first, last):
        i = order[r]
        for h in range(M):
            v = i - g.s * (least + h)
            slot = (v // g.s) % M
            if held[slot] == v:
                continue
            held[slot] = v
            row = wrap(v, g.H, g.reflect) * g.W
            for e in range(D):
                begin = (slot * D + e) * g.W
                if start[e, 0] >= 0 and 128 * pad < g.W:
                    merge_edges(ring, begin, d, g, start, e, row, fq, fn, fm, fsign, back, pad, rows, at, w)
                    continue
                for f in range(F):
                    at[0] = row + (start[e, f] if start[e, f] >= 0 else -1 - start[e, f])
                    if start[e, f] >= 0:
                        combine(rows, f * T + pad, d, at, 0, one, 0, 1, g.W, False)
                    else:
                        combine(rows, f * T + pad, low, at, 0, one, 0, 1, g.W, False)
                merge_along(ring, begin, 1, rows, g, fq, fn, fm, fsign, back, pad, at, w)
        merge_down(out, a + i * g.W, ring, M, g.W, i, g.H, g.s, g.reflect, q, k, n, m, sign, at, w, past)


@loop
def merge_plane(d, low, out, where, g, solid, down, across, order, first, last):
    """One level of W^T of signals or pictures: out from the bands of d at their places `where`, and from low where that
    is -1.
    """
    L, start = order.size, np.empty(where.shape[1:], np.int64)
    for b in range(first // L, (last + L - 1) // L):
        lo, hi = max(first - b * L, 0), min(last - b * L, L)
        for f in range(start.shape[0]):
            for c in range(start.shape[1]):
                start[f, c] = place(g, where[0, f, c], b, 0, 0)
        merge_rows(out, b * g.H * g.W, d, low, start, g, down, across, order, lo, hi, g.past)


@loop
def merge_solid(d, low, out, where, g, solid, down, across, order, first, last):
    """The same of volumes, by a ring of planes."""
    q, k, n, m, sign = solid.q, solid.k, solid.length, solid.most, solid.sign
    S, L, size, M = n.size, order.size, g.H * g.W, solid.hi - solid.lo + 1
    start, rows = np.empty(where.shape[1:], np.int64), np.arange(g.H)
    ring, held = np.empty(M * S * size, d.dtype), np.full((M, 2), -g.N * g.s - 1)
    at, w = np.empty(q.size, np.int64), np.empty(q.size, d.dtype)
    for r in range(first, last):
        b, i = r // L, order[r % L]
        for h in range(M):
            v = i - g.s * (solid.lo + h)
            slot = (v // g.s) % M
            if held[slot, 0] == v and held[slot, 1] == b:
                continue
            held[slot, 0], held[slot, 1] = v, b
            for e in range(S):
                for f in range(start.shape[0]):
                    for c in range(start.shape[1]):
                        start[f, c] = place(g, where[e, f, c], b, wrap(v, g.N, g.reflect), 0)
                merge_rows(ring, (slot * S + e) * size, d, low, start, g, down, across, rows, 0, g.H, False)
        a = (b * g.N + i) * size
        merge_down(out, a, ring, M, size, i, g.N, g.s, g.reflect, q, k, n, m, sign, at, w, g.past)
