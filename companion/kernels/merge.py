r"""One level of W^T d, row by row.   (2.1)

For a row i of a plane, t_f = sum_{e, k} q_e[k] d_ef[i - s k, .] are r + 1 rows that stay in the cache; combined along
the row they are the row of the result. What a band is read for again, the cache still holds. Of a volume these are
planes, one for each filter along its first axis, and the last few of them stay in a ring: every band is read once.

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

PIECE = 2**11  # samples of planes that are combined at once


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
def merge_lines(o, d, starts, apart, i, g, b, at, w):
    """o = sum_{e, k} q_e[k] d_e[i - s k], of rows; d_e starts at d[starts[e apart]]."""
    c = np.int64(0)  # not the literal 0, for which numba would compile anew
    for e in range(b.R):
        for h in range(e * b.most, e * b.most + b.n[e]):
            v = i - g.s * b.k[h]
            at[c] = starts[e * apart] + g.W * wrap(v, g.H, g.reflect)
            w[c] = b.sign[e] * b.q[h] if mirrored(v, g.H, g.reflect) else b.q[h]
            c += 1
    combine(o, d, np.int64(1), at, w, c, g.W)


@part
def place(i, k, s, M):
    """Where line i - s k stands in a ring of M lines, |k| < M."""
    return (i // s - k) % M


@part
def merge_ring(o, ring, M, size, i, lines, g, b, at, w, made, past):
    """o = sum_{e, k} q_e[k] g_e[i - s k] of lines `size` long; line v of all g_e stands in a ring of M."""
    c = np.int64(0)  # not the literal 0, for which numba would compile anew
    for e in range(b.R):
        for h in range(e * b.most, e * b.most + b.n[e]):
            at[c] = place(i, b.k[h], g.s, M) * b.R + e
            w[c] = b.sign[e] * b.q[h] if mirrored(i - g.s * b.k[h], lines, g.reflect) else b.q[h]
            c += 1
    piece = g.W if past else max(g.W, PIECE)
    for a in range(0, size, piece):
        many = min(piece, size - a)
        combine(made if past else row(o, a), row(ring, a), size, at, w, c, many)
        if past:
            stream(row(o, a), made, many)


@part
def merge_plane(o, d, starts, apart, g, down, across, taps, along, weights, rows, made, at, w, top, end, past):
    """Rows top <= i < end of the plane at o, from the bands (h, f), whose planes start at d[starts[h apart + f]]."""
    reach = g.s * max(across.hi, -across.lo)
    pad = aligned(reach)
    T = g.W + 2 * pad
    for f in range(across.R):  # one at a time over all rows: few bands are read at once, each from end to end
        for i in range(top, end):
            t = row(rows, (f * (end - top) + i - top) * T + pad)
            merge_lines(t, d, row(starts, f), apart, i, g, down, at, w)
            extend(t, reach, g.W, g.reflect, across.sign[f])
    for i in range(top, end):
        y, t = row(o, i * g.W), row(rows, (i - top) * T + pad)
        combine(made if past else y, t, np.int64(1), along, weights, taps, g.W)
        if past:
            stream(y, made, g.W)


@loop
def merge(d, low, out, where, g, bank, delta, order, first, last):
    """One level of W^T: out from the bands of d at their places `where`, and from d[low:] where that is -1."""
    solid = pointers(bank if g.dim > 2 else delta)
    down, across = pointers(bank if g.dim > 1 else delta), pointers(bank)
    size, bands, M = g.H * g.W, down.R * across.R, solid.hi - solid.lo + 1
    T, room = g.W + 2 * aligned(g.s * max(across.hi, -across.lo)), bank.R * bank.most
    lines = g.H if g.dim > 2 and across.R > 2 else np.int64(1)  # that are made at once
    rows, made = np.empty(across.R * lines * T, d.dtype), np.empty(g.W, d.dtype)
    at, along, starts = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(solid.R * bands, np.int64)
    w, weights = np.empty(room, d.dtype), np.empty(room, d.dtype)
    taps = flipped(across, g.s, lines * T, row(along, 0), row(weights, 0))
    ring, held = np.empty(M * solid.R * size if g.dim > 2 else 0, d.dtype), np.full(M, -1)
    for r in range(first, last):
        b, c = r // order.size, order[r % order.size]
        if g.dim < 3:
            for p in range(bands):
                starts[p] = start(where[p], b, 0, g, low)
            merge_plane(
                row(out, b * size), row(d, 0), row(starts, 0), across.R, g, down, across, taps, row(along, 0),
                row(weights, 0), row(rows, 0), row(made, 0), row(at, 0), row(w, 0), c, c + 1, g.past,
            )  # fmt: skip
            continue
        for k in range(solid.lo, solid.hi + 1):
            v, slot = c - g.s * k, place(c, k, g.s, M)
            mark = b * (g.N + g.s * M) + v + g.s * solid.hi  # which plane of all volumes; never below 0
            if held[slot] == mark:
                continue
            held[slot], n = mark, wrap(v, g.N, g.reflect)
            for e in range(solid.R):
                for p in range(bands):
                    starts[p] = start(where[e * bands + p], b, n, g, low)
                for top in range(0, g.H, lines):
                    merge_plane(
                        row(ring, (slot * solid.R + e) * size), row(d, 0), row(starts, 0), across.R, g, down, across,
                        taps, row(along, 0), row(weights, 0), row(rows, 0), row(made, 0), row(at, 0), row(w, 0), top,
                        top + lines, False,
                    )  # fmt: skip
        o = row(out, (b * g.N + c) * size)
        merge_ring(o, row(ring, 0), M, size, c, g.N, g, solid, row(at, 0), row(w, 0), row(made, 0), g.past)
