r"""div(D grad u) from the edges of D, pixel by pixel: D = sum_i rho_i e_i e_i^T, e_i in Z^2.   Section 3

    edges_of   rho_i[n] and e_i[n], Selling's or those to the 8 neighbours, in threads
    totals     W[n], the weights of all half edges that meet at n
    flows      the flux of each half edge, leaving one end and arriving at the other

The readable form, which says why, is operators/stencils.py with operators/lattice.py; this is its order of operations
for one pixel after the other.

Paper: Section 3 ([161]).  Notebook: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from companion.kernels import loop
from companion.kernels.differences import array, over

TINY = float(np.finfo(np.float64).tiny) ** 0.5


@loop
def form(a: Any, b: Any, c: Any, v: Any, w: Any, x: Any, y: Any) -> Any:
    """<(v, w), D (x, y)>."""
    return v * (a * x + b * y) + w * (b * x + c * y)


@loop
def edges_of(
    D: Any, rho: Any, e: Any, bad: Any, lattice: Any, thinnest: Any, rounds: Any, start: Any, stop: Any
) -> None:
    """rho (N, 3, H, W) and e (N, 3, 2, H, W) of D (N, 2, 2, H, W) on the rows start <= n H + i < stop; bad[row]: D has
    an eigenvalue < 0, or is no number.
    """
    H, W = rho.shape[2:]
    for t in range(start, stop):
        n, i = t // H, t % H
        for j in range(W):
            a, c = np.float64(D[n, 0, 0, i, j]), np.float64(D[n, 1, 1, i, j])
            b = (np.float64(D[n, 0, 1, i, j]) + np.float64(D[n, 1, 0, i, j])) / 2
            spread = math.sqrt((a - c) * (a - c) / 4 + b * b)
            large, small = (a + c) / 2 + spread, (a + c) / 2 - spread
            if not lattice:
                rho[n, 0, i, j], rho[n, 1, i, j], rho[n, 2, i, j] = a - abs(b), c - abs(b), abs(b)
                e[n, 0, 0, i, j], e[n, 0, 1, i, j], e[n, 1, 0, i, j], e[n, 1, 1, i, j] = 1, 0, 0, 1
                e[n, 2, 0, i, j], e[n, 2, 1, i, j] = 1, -1 if b < 0 else 1
                bad[t] |= not math.isfinite(spread)
                continue
            if not (small >= -1e-6 * abs(large) and large < math.inf):
                bad[t] = True
                continue
            if small <= large / thinnest:
                lift = max(large / thinnest - small, 0.0) + TINY
                a, c = a + lift, c + lift
            v, w, x, y = 1.0, 0.0, 0.0, 1.0
            for _ in range(rounds):
                one, two = form(a, b, c, v, w, v, w), form(a, b, c, x, y, x, y)
                if two < one:
                    v, w, x, y, one = x, y, v, w, two
                times = np.rint(form(a, b, c, v, w, x, y) / one)
                if times == 0:
                    break
                x, y = x - times * v, y - times * w
            if form(a, b, c, v, w, x, y) > 0:
                x, y = -x, -y
            p, q = -v - x, -w - y
            rho[n, 0, i, j] = max(-form(a, b, c, v, w, x, y), 0.0)
            rho[n, 1, i, j] = max(-form(a, b, c, x, y, p, q), 0.0)
            rho[n, 2, i, j] = max(-form(a, b, c, p, q, v, w), 0.0)
            e[n, 0, 0, i, j], e[n, 0, 1, i, j] = -q, p
            e[n, 1, 0, i, j], e[n, 1, 1, i, j] = -w, v
            e[n, 2, 0, i, j], e[n, 2, 1, i, j] = -y, x


@loop
def totals(rho: Any, e: Any, W: Any, start: Any, stop: Any) -> None:
    """W (N, H, L): rho_i / 2 at both ends of every half edge n, n +- e_i inside the pictures start <= n < stop."""
    H, L = W.shape[1:]
    for n in range(start, stop):
        W[n] = 0
        for i in range(H):
            for j in range(L):
                for k in range(3):
                    half, di, dj = rho[n, k, i, j] / 2, e[n, k, 0, i, j], e[n, k, 1, i, j]
                    for sign in (1, -1):
                        r, s = i + sign * di, j + sign * dj
                        if 0 <= r < H and 0 <= s < L:
                            W[n, i, j] += half
                            W[n, r, s] += half


@loop
def flows(u: Any, rho: Any, e: Any, share: Any, out: Any, scale: Any, start: Any, stop: Any) -> None:
    """out = scale sum_m w(n, m) (u[m] - u[n]), w = rho_i / 2 min(share[n], share[m]), on pictures start <= n < stop."""
    H, L = u.shape[1:]
    for n in range(start, stop):
        out[n] = 0
        for i in range(H):
            for j in range(L):
                for k in range(3):
                    half, di, dj = scale * rho[n, k, i, j] / 2, e[n, k, 0, i, j], e[n, k, 1, i, j]
                    for sign in (1, -1):
                        r, s = i + sign * di, j + sign * dj
                        if 0 <= r < H and 0 <= s < L:
                            flux = half * min(share[n, i, j], share[n, r, s]) * (u[n, r, s] - u[n, i, j])
                            out[n, i, j] += flux
                            out[n, r, s] -= flux


def divergence(
    D: Tensor, u: Tensor, h: float, ceiling: Tensor | None, thinnest: float, rounds: int
) -> Tensor | None:  # fmt: skip
    """div(D grad u), (*batch, H, W); Selling's edges with a `ceiling` (*batch, 1) of W, else those of the 8 neighbours.

    None where D has an eigenvalue below 0 or is no number: the readable form says so.
    """
    H, L = u.shape[-2:]
    N = math.prod(u.shape[:-2])
    x, out = array(u).reshape(N, H, L), u.new_empty(u.shape)
    rho, e, bad = np.empty((N, 3, H, L), x.dtype), np.empty((N, 3, 2, H, L), np.int32), np.zeros(N * H, np.bool_)
    over(
        edges_of, N * H, u.numel(), array(D).reshape(N, 2, 2, H, L), rho, e, bad, ceiling is not None, thinnest, rounds
    )
    if bad.any():
        return None
    share = np.ones((N, H, L), x.dtype)
    if ceiling is not None:
        totals(rho, e, share, 0, N)
        top = array(ceiling).reshape(N, 1, 1)
        share = top / np.maximum(share, top)
    flows(x, rho, e, share, out.numpy().reshape(N, H, L), x.dtype.type(1 / h**2), 0, N)
    return out
