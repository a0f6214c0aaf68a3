r"""p <- P(p + sigma D x-bar),  v = x - tau D^T p,  x <- (v + w tau f) / (1 + w tau): PDHG on a GPU.   (2.5)

    move    this step, under kernels/primal_dual.py, in two passes over memory

D are differences of neighbours, P cuts the length of p[n] (or each of its entries) to the radius. A program takes BLOCK
samples of one picture: the first kernel makes the new p there, the second reads it at the samples and their neighbours.

Paper: (2.5), (3.2).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import torch
from torch import Tensor

from companion.kernels.tiles import kernel, larger, launch, numbers, samples, smaller, tl

BLOCK = 2**10


@kernel
def axis(c: tl.constexpr, D: tl.constexpr, A, H, W):
    """How many samples axis c of the last D axes of (A, H, W) has, and how far apart they stand."""
    if D - c == 1:
        return W, 1
    elif D - c == 2:
        return H, W
    else:
        return A, H * W


@kernel
def ascend(
    bar, p, out, numbers, A, H, W, D: tl.constexpr, isotropic: tl.constexpr, periodic: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """out = P(p + sigma D x-bar)."""
    size, sigma, radius = A * H * W, tl.load(numbers), tl.load(numbers + 1)
    b, n, there = samples(size, BLOCK)
    u, q, square = tl.load(bar + b * size + n), (), tl.zeros((BLOCK,), bar.dtype.element_ty)
    for c in tl.static_range(D):
        L, stride = axis(c, D, A, H, W)
        last = (n // stride) % L == L - 1
        ahead = tl.where(last, n - (L - 1) * stride if periodic else n, n + stride)
        y = tl.load(p + (b * D + c) * size + n) + sigma * (tl.load(bar + b * size + ahead) - u)
        q, square = q + (y,), square + y * y
    for c in tl.static_range(D):
        if isotropic:
            y = radius / larger(tl.sqrt(square), radius) * q[c]
        else:
            y = smaller(larger(q[c], -radius), radius)
        tl.store(out + (b * D + c) * size + n, y, mask=there)


@kernel
def descend(
    x, p, f, new, bar, numbers, A, H, W, D: tl.constexpr, settled: tl.constexpr, periodic: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """v = x - tau D^T p in `new`; where it settles, share v + rest f there and 2 new - x in x-bar."""
    size, tau = A * H * W, tl.load(numbers)
    b, n, there = samples(size, BLOCK)
    old = tl.load(x + b * size + n)
    v = old
    for c in tl.static_range(D):
        L, stride = axis(c, D, A, H, W)
        k, y = (n // stride) % L, p + (b * D + c) * size
        if periodic:
            v += tau * (tl.load(y + n) - tl.load(y + tl.where(k == 0, n + (L - 1) * stride, n - stride)))
        else:
            v += tau * (tl.load(y + n, mask=k < L - 1, other=0.0) - tl.load(y + n - stride, mask=k > 0, other=0.0))
    if settled:
        v = tl.load(numbers + 1) * v + tl.load(numbers + 2) * tl.load(f + b * size + n)
        tl.store(bar + b * size + n, 2 * v - old, mask=there)
    tl.store(new + b * size + n, v, mask=there)


def move(
    f: Tensor, x: Tensor, bar: Tensor, p: Tensor, sigma: float, tau: float, radius: float, share: float, rest: float,
    isotropic: bool, dim: int, periodic: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(x or v, x-bar where share > 0, p)."""
    f, x, bar, p = (u.detach().resolve_neg().contiguous() for u in (f, x, bar, p))
    new, out = torch.empty_like(x), torch.empty_like(p)
    new_bar = torch.empty_like(x) if share > 0 else new
    space = (1,) * (3 - dim) + tuple(x.shape[-dim:])
    size = torch.Size(space).numel()
    programs = x.numel() // size * -(-size // BLOCK)
    kind = {"D": dim, "periodic": periodic, "BLOCK": BLOCK}
    up, down = numbers((sigma, radius), x), numbers((tau, share, rest), x)
    launch(ascend, programs, bar, p, out, up, *space, isotropic=isotropic, **kind)
    launch(descend, programs, x, out, f, new, new_bar, down, *space, settled=share > 0, **kind)
    return new, new_bar, out
