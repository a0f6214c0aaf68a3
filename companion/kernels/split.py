r"""One level of W u, row by row: every picture is read once and every band written once.   (2.1)

For a row i of a plane, t_e = sum_k q_e[k] u[i + s k, .] are r + 1 rows that stay in the cache; each of them gives r + 1
bands by one more correlation along the row. A volume does the same with planes for rows along its first axis, a signal
is one row.

Rows are taken in the order c, c + s, c + 2s, ... for c = 0, ..., s - 1: what a dilated filter needs next is what
it needed just before, for every s = 2^l. The arrays of a bank have names of their own inside a loop: to take one out
of a tuple counts its owners anew, at every sample.

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import numpy as np

from companion.kernels import loop, part
from companion.kernels.rows import combine, extend, wrap


@loop
def place(g, p, b, n, i):
    """Where row i of plane n of band p of picture b starts; -1 - start of the picture's own row for p < 0."""
    return (((b * g.P + p) * g.N + n) * g.H + i) * g.W if p >= 0 else -1 - ((b * g.N + n) * g.H + i) * g.W


@part
def split_row(out, low, to, x, base, i, g, q, k, n, m, fq, fn, fm, along, t, pad, at):
    """All bands (e, f) of row i of a plane x[base:]: to out[to[e, f]:], or where that is negative to low[-1 - to:]."""
    for e in range(n.size):
        for c in range(n[e]):
            at[c] = base + g.W * wrap(i + g.s * k[e * m + c], g.H, g.reflect)
        combine(t, pad, x, at, 0, q, e * m, n[e], g.W, False)
        extend(t, pad, pad, g.W, g.reflect, t.dtype.type(1))
        for f in range(fn.size):
            a = to[e, f]
            if a >= 0:
                combine(out, a, t, along, f * fm, fq, f * fm, fn[f], g.W, g.past)
            else:
                combine(low, -1 - a, t, along, f * fm, fq, f * fm, fn[f], g.W, False)


@loop
def split(u, out, low, where, g, solid, down, across, order, first, last):
    """One level of W: the band (e, e', e'') of u to its place where[e, e', e''] in out, or to low where that is -1."""
    pad, size = g.s * max(across.hi, -across.lo), g.H * g.W
    sq, sk, sn, sm = solid.q, solid.k, solid.length, solid.most
    q, k, n, m = down.q, down.k, down.length, down.most
    fq, fn, fm, along = across.q, across.length, across.most, pad + g.s * across.k
    t, at, to = np.empty(g.W + 2 * pad, u.dtype), np.empty(fq.size, np.int64), np.empty((n.size, fn.size), np.int64)
    plane = np.empty(size if g.solid else 0, u.dtype)
    for r in range(first, last):
        b, c = r // order.size, order[r % order.size]
        for e in range(sn.size):
            if g.solid:
                for h in range(sn[e]):
                    at[h] = (b * g.of * g.N + wrap(c + g.s * sk[e * sm + h], g.N, g.reflect)) * size
                combine(plane, 0, u, at, 0, sq, e * sm, sn[e], size, False)
            for j in range(g.H if g.solid else 1):
                for f in range(n.size):
                    for h in range(fn.size):
                        p = where[e, f, h]
                        to[f, h] = place(g, p, b, c, j) if g.solid else place(g, p, b, 0, c)
                if g.solid:
                    split_row(out, low, to, plane, 0, j, g, q, k, n, m, fq, fn, fm, along, t, pad, at)
                else:
                    split_row(out, low, to, u, b * g.of * size, c, g, q, k, n, m, fq, fn, fm, along, t, pad, at)
