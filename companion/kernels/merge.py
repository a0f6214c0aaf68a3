r"""One level of W^T d, row by row.   (2.1)

For a row i of a plane, t_f = sum_{e, k} q_e[k] d_ef[i - s k, .] are r + 1 rows that stay in the cache; combined along
the row they are the row of the result. What a band is read for again, the cache still holds. A volume does the same
with planes for rows along its first axis.

Beyond the border u[i] = u[E(i)]. The adjoint of a filter on the continued picture is the flipped filter on a picture
continued the same way, times the parity of the filter wherever the continued picture stands reversed: with reflection
all filters are symmetric or antisymmetric about 0, q[-k] = sign q[k].

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import numpy as np

from companion.kernels import loop, part
from companion.kernels.cascade import pointers
from companion.kernels.rows import aligned, combine, extend, mirrored, row, stream, wrap
from companion.kernels.split import start


@loop
def flipped(b, s, T, k, q):
    """The filters of b, flipped, as one on rows T apart: k[c] = f T - s k_f, q[c] = q_f[k_f]. How many taps it has."""
    c = 0
    for f in range(b.R):
        for h in range(f * b.most, f * b.most + b.n[f]):
            k[c], q[c] = f * T - s * b.k[h], b.q[h]
            c += 1
    return c


@part
def merge_lines(o, d, starts, apart, i, lines, size, g, b, at, w):
    """o = sum_{e, k} q_e[k] d_e[i - s k], of lines `size` long; d_e starts at d[starts[e apart]]."""
    c = np.int64(0)  # not the literal 0, for which numba would compile anew
    for e in range(b.R):
        for h in range(e * b.most, e * b.most + b.n[e]):
            v = i - g.s * b.k[h]
            at[c] = starts[e * apart] + size * wrap(v, lines, g.reflect)
            w[c] = b.sign[e] * b.q[h] if mirrored(v, lines, g.reflect) else b.q[h]
            c += 1
    for a in range(0, size, g.W):
        combine(row(o, a), row(d, a), np.int64(1), at, w, c, g.W)


@loop
def merge(d, low, out, where, g, bank, delta, order, first, last):
    """One level of W^T: out from the bands of d at their places `where`, and from d[low:] where that is -1."""
    solid = pointers(bank if g.dim > 2 else delta)
    down, across = pointers(bank if g.dim > 1 else delta), pointers(bank)
    reach, size, bands = g.s * max(across.hi, -across.lo), g.H * g.W, down.R * across.R
    pad = aligned(reach)
    T, room = g.W + 2 * pad, bank.R * bank.most
    rows, made, planes = (
        np.empty(across.R * T, d.dtype),
        np.empty(g.W, d.dtype),
        np.empty(bands * size if g.dim > 2 else 0, d.dtype),
    )
    at, along, starts = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(solid.R * bands, np.int64)
    w, weights = np.empty(room, d.dtype), np.empty(room, d.dtype)
    taps = flipped(across, g.s, T, row(along, 0), row(weights, 0))
    for r in range(first, last):
        b, c = r // order.size, order[r % order.size]
        for p in range(starts.size):
            starts[p] = start(where[p], b, 0, g, low)
        x, n, top, end = row(d, 0), 0, c, c + 1
        if g.dim > 2:
            for p in range(bands):
                merge_lines(
                    row(planes, p * size), x, row(starts, p), bands, c, g.N, size, g, solid, row(at, 0), row(w, 0)
                )
                starts[p] = p * size
            x, n, top, end = row(planes, 0), c, 0, g.H
        for i in range(top, end):
            for f in range(across.R):
                t = row(rows, f * T + pad)
                merge_lines(t, x, row(starts, f), across.R, i, g.H, g.W, g, down, row(at, 0), row(w, 0))
                extend(t, reach, g.W, g.reflect, across.sign[f])
            o = row(out, ((b * g.N + n) * g.H + i) * g.W)
            combine(
                row(made, 0) if g.past else o, row(rows, pad), np.int64(1), row(along, 0), row(weights, 0), taps, g.W
            )
            if g.past:
                stream(o, row(made, 0), g.W)
