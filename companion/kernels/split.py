r"""One level of W u, row by row: every picture is read once and every band written once.   (2.1)

For a row i of a plane, t_e = sum_k q_e[k] u[i + s k, .] are r + 1 rows that stay in the cache; each of them gives r + 1
bands by one more correlation along the row. A volume does the same with planes for rows along its first axis, a signal
is one row.

Rows are taken in the order c, c + s, c + 2s, ... for c = 0, ..., s - 1: what a dilated filter needs next is what
it needed just before, for every s = 2^l.

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import numpy as np

from companion.kernels import loop, part
from companion.kernels.cascade import pointers
from companion.kernels.rows import aligned, combine, correlate, extend, row, stream, wrap


@part
def start(p, b, n, g, low):
    """Where plane n of band p of picture b starts in d; for p < 0, where plane n of the average at d[low:] starts."""
    return ((b * g.P + p) * g.N + n) * g.H * g.W if p >= 0 else low + (b * g.N + n) * g.H * g.W


@part
def split_lines(o, u, i, lines, size, g, b, e, at):
    """o = sum_k q_e[k] u[i + s k], of lines `size` long."""
    for c in range(b.n[e]):
        at[c] = wrap(i + g.s * b.k[e * b.most + c], lines, g.reflect)
    combine(o, u, size, at, row(b.q, e * b.most), b.n[e], size)


@loop
def split(u, out, low, where, g, bank, delta, order, first, last):
    """One level of W: the band (e, h, f) of u to its place where[e, h, f] in out, or to out[low:] where that is -1."""
    solid = pointers(bank if g.dim > 2 else delta)
    down, across = pointers(bank if g.dim > 1 else delta), pointers(bank)
    reach, size = g.s * max(across.hi, -across.lo), g.H * g.W
    pad = aligned(reach)
    t, made, at = np.empty(g.W + 2 * pad, u.dtype), np.empty(g.W, u.dtype), np.empty(bank.most, np.int64)
    plane = np.empty(size if g.dim > 2 else 0, u.dtype)
    for r in range(first, last):
        b, c = r // order.size, order[r % order.size]
        x, n, top, end = row(u, b * g.of * g.N * size), 0, c, c + 1
        for e in range(solid.R):
            if g.dim > 2:
                split_lines(row(plane, 0), row(u, b * g.of * g.N * size), c, g.N, size, g, solid, e, row(at, 0))
                x, n, top, end = row(plane, 0), c, 0, g.H
            for i in range(top, end):
                for h in range(down.R):
                    split_lines(row(t, pad), x, i, g.H, g.W, g, down, h, row(at, 0))
                    extend(row(t, pad), reach, g.W, g.reflect, u.dtype.type(1))
                    for f in range(across.R):
                        p = where[(e * down.R + h) * across.R + f]
                        o, past = row(out, start(p, b, n, g, low) + i * g.W), g.past and p >= 0
                        correlate(row(made, 0) if past else o, row(t, pad), g.s, across, f, g.W)
                        if past:
                            stream(o, row(made, 0), g.W)
