r"""One level of W u, and of W^T d, on a GPU: a tile reads what it needs once and makes all its bands.   (2.1)

    split, merge           the two kernels, on planes: one axis or both
    split_all, merge_all   W and W^T

For a tile, t_hc = sum_k q_h[k] u[i + s k, j + s c] are a few tiles in registers, and every band is one more sum over c.
The adjoint gathers: sum_{h, f, k, c} q_h[k] q_f[c] d_hf[i - s k, j - s c], with the parity of a filter where the
picture continued beyond the border stands reversed (kernels/merge.py). A volume goes along its first axis before, as
one picture of N rows; filters of more than FUSED taps go axis by axis: a pass over the few pictures between costs less
than to gather what two axes reach.

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from companion.kernels.cascade import Cascade, between, grids
from companion.kernels.tiles import at, kernel, launch, numbers, tile, tiles, tl, weight, wrap

FUSED = 9  # taps of all filters of an axis: two axes make and gather their square


class Taps(NamedTuple):
    """R filters q_f[lo + c], 0 <= c < K, and their parities, as a kernel takes them."""

    q: Tensor
    sign: Tensor
    lo: int
    R: int
    K: int
    reflect: bool


@lru_cache(maxsize=64)
def taps(form: Cascade, dtype: torch.dtype, device: torch.device, average: bool = False) -> tuple[Taps, Taps]:
    """The filters of an axis, or only its average; and the one of an axis that a picture lacks: delta."""
    with torch.inference_mode(False):
        R, start, lo = 1 if average else len(form.length), 0, min(form.k)
        q = torch.zeros(len(form.length), max(form.k) - lo + 1, dtype=dtype)
        for f, n in enumerate(form.length):
            for k, tap in zip(form.k[start : start + n], form.q[start : start + n], strict=True):
                q[f, k - lo] = tap
            start += n
        sign, one = torch.tensor(form.sign, dtype=dtype, device=device), torch.ones(1, dtype=dtype, device=device)
        far = form.reflect
        return Taps(q[:R].to(device), sign[:R], lo, R, q.shape[1], far), Taps(one, one, 0, 1, 1, far)


class Pass(NamedTuple):
    """Planes of a picture, and along which of their two axes filters go."""

    N: int
    H: int
    W: int
    down: bool
    across: bool

    def bands(self, axes: tuple[Taps, Taps]) -> int:
        """How many bands it makes of one."""
        return int(axes[0].R ** (self.down + self.across))


def passes(space: tuple[int, ...], bank: Taps) -> list[Pass]:
    """The passes of one level, the first axis first."""
    N, H, W = (1,) * (3 - len(space)) + space
    first = [Pass(1, N, H * W, True, False)] if len(space) == 3 else []
    if len(space) == 1:
        return [Pass(1, 1, W, False, True)]
    if bank.R * bank.K <= FUSED:
        return [*first, Pass(N, H, W, True, True)]
    return [*first, Pass(N, H, W, True, False), Pass(N, H, W, False, True)]


@kernel
def bands(
    x, i, j, H, W, s, qd, lod, qa, loa, RD: tl.constexpr, KD: tl.constexpr, RA: tl.constexpr, KA: tl.constexpr,
    reflect: tl.constexpr,
):  # fmt: skip
    """The tuple of all bands (h, f) of the plane x at (i, j)."""
    t, d = (), ()
    for c in tl.static_range(KA):
        u, y = (), wrap(j + s * (loa + c), W, reflect)
        for k in tl.static_range(KD):
            u = u + (tl.load(at(x, wrap(i + s * (lod + k), H, reflect), y, W)),)
        for h in tl.static_range(RD):
            a = tl.load(qd + h * KD) * u[0]
            for k in tl.static_range(1, KD):
                a += tl.load(qd + h * KD + k) * u[k]
            t = t + (a,)
    for h in tl.static_range(RD):
        for f in tl.static_range(RA):
            a = tl.load(qa + f * KA) * t[h]
            for c in tl.static_range(1, KA):
                a += tl.load(qa + f * KA + c) * t[c * RD + h]
            d = d + (a,)
    return d


@kernel
def start(p, b, n, N, size, apart, each, low):
    """Where plane n of band p of picture b starts; for p < 0 that of the average, which is a picture of its own."""
    return tl.where(p >= 0, p * apart + b * each, low + b * N * size) + n * size


@kernel
def split(
    x, out, places, B, of, N, H, W, s, apart, each, low, qd, lod, qa, loa, RD: tl.constexpr, KD: tl.constexpr,
    RA: tl.constexpr, KA: tl.constexpr, reflect: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """The bands (e, h, f) of picture b to their places in out, from band e of x: every `of` pictures of x is one."""
    g, i, j, inside = tile(H, W, BI, BJ)
    n, b, e = g % N, (g // N) % B, g // (N * B)
    d = bands(x + ((e * B + b) * of * N + n) * H * W, i, j, H, W, s, qd, lod, qa, loa, RD, KD, RA, KA, reflect)
    for c in tl.static_range(RD * RA):
        p = tl.load(places + e * RD * RA + c)
        tl.store(at(out + start(p, b, n, N, H * W, apart, each, low), i, j, W), d[c], mask=inside)


@kernel
def merge(
    d, out, places, B, N, H, W, s, apart, each, low, qd, signd, lod, qa, signa, loa, RD: tl.constexpr,
    KD: tl.constexpr, RA: tl.constexpr, KA: tl.constexpr, reflect: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """Band e of out from the bands (e, h, f) at their places in d."""
    g, i, j, inside = tile(H, W, BI, BJ)
    n, b, e = g % N, (g // N) % B, g // (N * B)
    total = tl.zeros((BI, BJ), d.dtype.element_ty)
    for f in tl.static_range(RA):
        for c in tl.static_range(KA):
            vj = j - s * (loa + c)
            y, side = wrap(vj, W, reflect), tl.zeros((BI, BJ), d.dtype.element_ty)
            for h in tl.static_range(RD):
                p = tl.load(places + (e * RD + h) * RA + f)
                band = d + start(p, b, n, N, H * W, apart, each, low)
                for k in tl.static_range(KD):
                    vi = i - s * (lod + k)
                    q = weight(tl.load(qd + h * KD + k), tl.load(signd + h), vi, H, reflect)
                    side += q[:, None] * tl.load(at(band, wrap(vi, H, reflect), y, W))
            total += weight(tl.load(qa + f * KA + c), tl.load(signa + f), vj, W, reflect)[None, :] * side
    tl.store(at(out + g * H * W, i, j, W), total, mask=inside)


class Bands(NamedTuple):
    """Bands in memory: band p of picture b starts at p apart + b each, the average of place -1 at `low`."""

    d: Tensor
    places: Tensor
    apart: int
    each: int
    low: int


def block(d: Tensor, n: int, pictures: int, volume: int) -> Bands:
    """n bands of so many pictures one after the other, each band of all pictures."""
    return Bands(d, numbers((*range(n),), d, torch.int64), pictures * volume, volume, 0)


def split_pass(x: Tensor, of: int, to: Bands, E: int, B: int, way: Pass, s: int, axes: tuple[Taps, Taps]) -> None:
    """E bands of B pictures, split along the axes of this pass; every `of` pictures of x is one."""
    (bank, delta), (programs, sides) = axes, tiles(E * B * way.N, way.H, way.W)
    down, across = (bank if way.down else delta), (bank if way.across else delta)
    launch(
        split, programs, x, to.d, to.places, B, of, *way[:3], s, *to[2:], down.q, down.lo, across.q, across.lo,
        RD=down.R, KD=down.K, RA=across.R, KA=across.K, reflect=bank.reflect, **sides,
    )  # fmt: skip


def merge_pass(bands: Bands, out: Tensor, E: int, B: int, way: Pass, s: int, axes: tuple[Taps, Taps]) -> None:
    """E bands of B pictures of out, from those into which this pass would split them."""
    (bank, delta), (programs, sides) = axes, tiles(E * B * way.N, way.H, way.W)
    down, across = (bank if way.down else delta), (bank if way.across else delta)
    launch(
        merge, programs, bands.d, out, bands.places, B, *way[:3], s, *bands[2:], *down[:3], *across[:3],
        RD=down.R, KD=down.K, RA=across.R, KA=across.K, reflect=bank.reflect, **sides,
    )  # fmt: skip


def split_level(x: Tensor, of: int, to: Bands, s: int, axes: tuple[Taps, Taps], space: tuple[int, ...]) -> None:
    """One level of W: a pass to blocks of memory between, and the last one to the places of the bands."""
    E, (*ways, last), volume = 1, passes(space, axes[0]), torch.Size(space).numel()
    B = x.numel() // (of * volume)
    for way in ways:
        n = E * way.bands(axes)
        between = block(x.new_empty(n * B * volume), n, B, volume)
        split_pass(x, of, between, E, B, way, s, axes)
        x, of, E = between.d, 1, n
    split_pass(x, of, to, E, B, last, s, axes)


def merge_level(bands: Bands, out: Tensor, s: int, axes: tuple[Taps, Taps], space: tuple[int, ...]) -> None:
    """One level of W^T, backwards through the passes."""
    E, (first, *ways), volume = axes[0].R ** len(space), passes(space, axes[0]), torch.Size(space).numel()
    B = out.numel() // volume
    for way in reversed(ways):
        E //= way.bands(axes)
        between = block(out.new_empty(E * B * volume), E, B, volume)
        merge_pass(bands, between.d, E, B, way, s, axes)
        bands = between
    merge_pass(bands, out, 1, B, first, s, axes)


def split_all(u: Tensor, form: Cascade, out: Tensor) -> None:
    """out = W u; both contiguous."""
    space, axes = tuple(u.shape[u.ndim - form.dim :]), taps(form, u.dtype, u.device)
    source, beside, volume = u, torch.empty_like(u) if form.levels > 1 else u, torch.Size(space).numel()
    each = (1 + form.levels * (len(form.order) - 1)) * volume
    for where, grid, _ in grids(space, form, False):
        places = numbers((*where.tolist(),), u, torch.int64)
        split_level(source, grid.of, Bands(out, places, volume, each, between(out, beside)), grid.s, axes, space)
        source = out if where[form.order[0]] == 0 else beside


def merge_all(d: Tensor, form: Cascade, out: Tensor) -> None:
    """out = W^T d; both contiguous."""
    space, axes = tuple(out.shape[out.ndim - form.dim :]), taps(form, out.dtype, out.device)
    beside, volume, low = torch.empty_like(out) if form.levels > 1 else out, torch.Size(space).numel(), out
    each = (1 + form.levels * (len(form.order) - 1)) * volume
    for level, (where, grid, _) in reversed(list(enumerate(grids(space, form, False)))):
        source = where.copy()
        source[form.order[0]] = 0 if level == form.levels - 1 else -1
        bands = Bands(d, numbers((*source.tolist(),), d, torch.int64), volume, each, between(d, low))
        low = out if level % 2 == 0 else beside
        merge_level(bands, low, grid.s, axes, space)
