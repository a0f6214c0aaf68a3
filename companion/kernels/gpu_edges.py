r"""div(D grad u) from Selling's edges of D on a GPU: D = sum_i rho_i e_i e_i^T, e_i in Z^2.   Section 3

    edges_of    rho_i[n], e_i[n], and W[n], the weights of all half edges that meet at n
    flows       the flux of each half edge, leaving one end and arriving at the other

As kernels/edges.py, pixel by pixel; under operators/stencils.py with operators/lattice.py, which say why. What arrives
at a pixel is added in no fixed order, as torch's scatter_add does on a GPU: the last digits may differ between runs.

Paper: Section 3 ([161]).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import torch
from torch import Tensor

from companion.kernels.tiles import kernel, launch, numbers, samples, tl

BLOCK = 2**7
TINY = torch.finfo(torch.float64).tiny ** 0.5


@kernel
def form(a, b, c, v, w, x, y):
    """<(v, w), D (x, y)>."""
    return v * (a * x + b * y) + w * (b * x + c * y)


@kernel
def meet(W, rho, e_i, e_j, n, H, L, there):
    """Half of rho at both ends of n, n + e and n, n - e, where these are pixels."""
    i, j, half = n // L, n % L, rho / 2
    for sign in tl.static_range(-1, 2, 2):
        r, s = i + sign * e_i, j + sign * e_j
        inside = there & (r >= 0) & (r < H) & (s >= 0) & (s < L)
        tl.atomic_add(W + n, half, mask=inside)
        tl.atomic_add(W + r * L + s, half, mask=inside)


@kernel
def edges_of(D, rho, e, W, bad, constants, H, L, rounds, BLOCK: tl.constexpr):
    """rho (N, 3, H, L), e (N, 3, 2, H, L), W (N, H, L) of D (N, 2, 2, H, L); bad: an eigenvalue < 0, or no number."""
    size = H * L
    g, n, there = samples(size, BLOCK)
    x = D + n  # g is an int64, and so what is multiplied by it
    a, c = tl.load(x + 4 * g * size).to(tl.float64), tl.load(x + (4 * g + 3) * size).to(tl.float64)
    b = (tl.load(x + (4 * g + 1) * size).to(tl.float64) + tl.load(x + (4 * g + 2) * size).to(tl.float64)) / 2
    spread = tl.sqrt((a - c) * (a - c) / 4 + b * b)
    large, small = (a + c) / 2 + spread, (a + c) / 2 - spread
    good = (small >= -1e-6 * tl.abs(large)) & (large < float("inf"))
    tl.atomic_max(bad, tl.max((~good).to(tl.int32)))
    floor, one = large / tl.load(constants), tl.full((BLOCK,), 1.0, tl.float64)
    lift = tl.where(small <= floor, tl.maximum(floor - small, 0.0) + tl.load(constants + 1), 0.0)
    a, b, c = tl.where(good, a + lift, one), tl.where(good, b, 0.0), tl.where(good, c + lift, one)
    v, w, x, y = one, 0 * one, 0 * one, one
    k, moved = 0, 1
    while (moved > 0) & (k < rounds):  # (v, w) the shorter one, (x, y) less as many of it as fit
        first, second = form(a, b, c, v, w, v, w), form(a, b, c, x, y, x, y)
        swap = second < first
        v, w, x, y = tl.where(swap, x, v), tl.where(swap, y, w), tl.where(swap, v, x), tl.where(swap, w, y)
        times = tl.floor(form(a, b, c, v, w, x, y) / tl.minimum(first, second) + 0.5)
        x, y = x - times * v, y - times * w
        moved = tl.max((times != 0).to(tl.int32))
        k += 1
    turn = tl.where(form(a, b, c, v, w, x, y) > 0, -one, one)
    x, y = turn * x, turn * y
    p, q = -v - x, -w - y
    rhos = (-form(a, b, c, v, w, x, y), -form(a, b, c, x, y, p, q), -form(a, b, c, p, q, v, w))
    ends = ((-q, p), (-w, v), (-y, x))
    for m in tl.static_range(3):
        weight = tl.maximum(rhos[m], 0.0).to(rho.dtype.element_ty)
        e_i, e_j = ends[m][0].to(tl.int32), ends[m][1].to(tl.int32)
        tl.store(rho + (3 * g + m) * size + n, weight, mask=there)
        tl.store(e + (6 * g + 2 * m) * size + n, e_i, mask=there)
        tl.store(e + (6 * g + 2 * m + 1) * size + n, e_j, mask=there)
        meet(W + g * size, weight, e_i, e_j, n, H, L, there)


@kernel
def flows(u, rho, e, share, out, constants, H, L, BLOCK: tl.constexpr):
    """out += scale sum_m w(n, m) (u[m] - u[n]), w = rho_i / 2 min(share[n], share[m])."""
    size = H * L
    g, n, there = samples(size, BLOCK)
    i, j, u, share, out = n // L, n % L, u + g * size, share + g * size, out + g * size
    here, own = tl.load(u + n), tl.load(share + n)
    total = 0 * here
    for m in tl.static_range(3):
        half = tl.load(constants) * tl.load(rho + (3 * g + m) * size + n) / 2
        e_i, e_j = tl.load(e + (6 * g + 2 * m) * size + n), tl.load(e + (6 * g + 2 * m + 1) * size + n)
        for sign in tl.static_range(-1, 2, 2):
            r, s = i + sign * e_i, j + sign * e_j
            inside = there & (r >= 0) & (r < H) & (s >= 0) & (s < L)
            to = r * L + s
            least = tl.minimum(own, tl.load(share + to, mask=inside, other=0.0))
            flux = half * least * (tl.load(u + to, mask=inside, other=0.0) - here)
            total += tl.where(inside, flux, 0.0)
            tl.atomic_add(out + to, -flux, mask=inside)
    tl.atomic_add(out + n, total, mask=there)


def divergence(D: Tensor, u: Tensor, h: float, ceiling: Tensor, thinnest: float, rounds: int) -> Tensor | None:
    """div(D grad u), (*batch, H, W), with a `ceiling` (*batch, 1) of W; no derivative.

    None where D has an eigenvalue below 0 or is no number: the readable form says so.
    """
    D, u = (v.detach().resolve_neg().contiguous() for v in (D, u))
    H, L = u.shape[-2:]
    N = u.numel() // (H * L)
    rho, e = u.new_empty(N, 3, H, L), torch.empty(N, 3, 2, H, L, dtype=torch.int32, device=u.device)
    W, bad = u.new_zeros(N, H, L), torch.zeros((), dtype=torch.int32, device=u.device)
    programs, limits = N * -(-H * L // BLOCK), numbers((float(thinnest), TINY), u, torch.float64)
    launch(edges_of, programs, D, rho, e, W, bad, limits, H, L, rounds, BLOCK=BLOCK)
    if bad:
        return None
    top, out = ceiling.reshape(N, 1, 1), torch.zeros_like(u)
    launch(flows, programs, u, rho, e, top / torch.maximum(W, top), out, numbers((1 / h**2,), u), H, L, BLOCK=BLOCK)
    return out
