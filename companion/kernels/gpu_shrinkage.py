r"""W~^T S(W u) on a GPU, whose bands live in registers and are never stored.   (4.5)

For a sample n the kernel makes all bands at every n - s k that the filters of W~ reach, shrinks them, and adds them up.
What is made again for neighbours costs less than to write the bands and read them. With more levels the average
goes down and comes back shrunk, as in kernels/shrinkage.py; of a volume the r + 1 pictures Q_e u along its first axis
are stored, and the step is done on their planes.

Paper: (4.4), (4.5).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from companion.kernels.cascade import Cascade, grids
from companion.kernels.gpu_frames import (
    Pass,
    bands,
    block,
    merge_pass,
    split_level,
    split_pass,
    taps,
)  # fmt: skip
from companion.kernels.shrinkage import Rule
from companion.kernels.tiles import at, constant, kernel, larger, launch, numbers, tile, tiles, tl, weight, wrap

SOFT, HARD, GARROTE, ISOTROPIC = map(constant, (Rule.SOFT, Rule.HARD, Rule.GARROTE, Rule.ISOTROPIC))
MOST = 25  # taps
SMALL = 2**8  # samples of a program, which holds all bands of each


@kernel
def shrink(x, lam, mu, tiny: tl.constexpr, rule: tl.constexpr):
    """S(x) of a band; firm where no other rule is meant."""
    t = tl.abs(x)
    if rule == SOFT:
        return x - tl.minimum(tl.maximum(x, -lam), lam)
    if rule == HARD:
        return tl.where(t > lam, x, 0 * x)
    if rule == GARROTE:
        return tl.where(t > lam, x - x * (lam * lam / tl.maximum(x * x, tiny)), 0 * x)
    rise = (mu - t) / tl.maximum(mu - lam, tiny)
    between = tl.minimum(tl.maximum(lam / tl.maximum(tl.maximum(t, lam), tiny) * rise, 0.0), 1.0)
    return x - tl.where(lam > 0, x * tl.where(t <= lam, 1.0, between), 0 * x)


@kernel
def step(
    u, z, out, lam, mu, planes, H, W, s, qd, lod, qa, loa, backd, signd, lod2, backa, signa, loa2,
    RD: tl.constexpr, KD: tl.constexpr, RA: tl.constexpr, KA: tl.constexpr, KD2: tl.constexpr, KA2: tl.constexpr,
    reflect: tl.constexpr, rule: tl.constexpr, own: tl.constexpr, tiny: tl.constexpr, BI: tl.constexpr,
    BJ: tl.constexpr,
):  # fmt: skip
    """W~^T S(W x) of every plane x; the first so many are averages, of which `own` takes z for the shrunk average."""
    g, i, j, inside = tile(H, W, BI, BJ)
    e, x, first = g // planes, u + g * H * W, z + (g % planes) * H * W
    total = tl.zeros((BI, BJ), u.dtype.element_ty)
    for o in range(KD2 * KA2):
        k, c = o // KA2, o % KA2
        vi, vj = i - s * (lod2 + k), j - s * (loa2 + c)
        y, x_ = wrap(vi, H, reflect), wrap(vj, W, reflect)
        d = bands(x, y, x_, H, W, s, qd, lod, qa, loa, RD, KD, RA, KA, reflect)
        share = tl.zeros((BI, BJ), u.dtype.element_ty)
        if rule == ISOTROPIC:
            for m in tl.static_range(1, RD * RA):
                share += d[m] * d[m]
            size = tl.sqrt(share)
            share = tl.where(size <= tl.load(lam), 1.0, tl.load(lam) / larger(size, tiny))
        for h in tl.static_range(RD):
            side = tl.zeros((BI, BJ), u.dtype.element_ty)
            for f in tl.static_range(RA):
                m, a = e * RD * RA + h * RA + f, d[h * RA + f]
                if rule != ISOTROPIC:
                    a = shrink(a, tl.load(lam + m), tl.load(mu + m), tiny, rule)
                elif h + f > 0:
                    a -= a * share
                if own and h + f == 0:
                    a = tl.where(e == 0, tl.load(at(first, y, x_, W)), a)
                side += weight(tl.load(backa + f * KA2 + c), tl.load(signa + f), vj, W, reflect)[None, :] * a
            total += weight(tl.load(backd + h * KD2 + k), tl.load(signd + h), vi, H, reflect)[:, None] * side
    tl.store(at(out + g * H * W, i, j, W), total, mask=inside)


def reaches(form: Cascade, space: tuple[int, ...]) -> bool:
    """Whether no tap looks too far, and the filters of one axis have no more than MOST taps, since one program makes
    all bands of a sample.
    """
    if len(form.length) * (max(form.k) - min(form.k) + 1) > MOST:
        return False
    return form.near(space)


def shrinkage(u: Tensor, form: Cascade, dual: Cascade, rule: Rule, lam: Tensor, mu: Tensor) -> Tensor:
    """W~^T S(W u), as kernels/shrinkage.py has it."""
    u = u.detach().resolve_neg().contiguous()
    space, most = tuple(u.shape[u.ndim - form.dim :]), torch.finfo(u.dtype).max
    volume = torch.Size(space).numel()
    lam, mu = (v.clamp(max=most).to(u) for v in (lam, mu))
    levels, pictures = grids(space, form, False), [u]
    for _, grid, _ in levels[:-1]:
        average = block(torch.empty_like(u), 1, u.numel() // volume, volume)
        split_level(pictures[-1], 1, average, grid.s, taps(form, u.dtype, u.device, True), space)
        pictures.append(average.d)
    result: Any = None
    for level, (where, grid, _) in reversed(list(enumerate(levels))):
        places = numbers((*where.clip(0).tolist(),), u, torch.int64)
        thresholds = (lam[level:],) * 2 if rule == Rule.ISOTROPIC else (lam[places], mu[places])
        result = step_level(pictures.pop(), result, grid.s, (form, dual), int(rule), thresholds)
    return result


def step_level(
    x: Tensor, z: Tensor | None, s: int, forms: tuple[Cascade, Cascade], rule: int, thresholds: tuple[Tensor, Tensor]
) -> Tensor:
    """One level, with z for the shrunk average if there is one; of a volume, on the planes of each Q_e x."""
    dim, out, tiny = forms[0].dim, torch.empty_like(x), torch.finfo(x.dtype).tiny
    (bank, delta), (back, _) = (taps(form, x.dtype, x.device) for form in forms)
    N, H, W = (1,) * (3 - dim) + tuple(x.shape[x.ndim - dim :])
    B, E, first = x.numel() // (N * H * W), bank.R if dim == 3 else 1, Pass(1, N, H * W, True, False)
    y, made = x, out
    if dim == 3:
        y, made = (x.new_empty(E * x.numel()) for _ in range(2))
        split_pass(x, 1, block(y, E, B, N * H * W), 1, B, first, s, (bank, delta))
    down, up = (bank, back) if dim > 1 else (delta, delta)
    programs, sides = tiles(E * B * N, H, W, SMALL)
    launch(
        step, programs, y, x if z is None else z, made, *thresholds, B * N, H, W, s, down.q, down.lo, bank.q, bank.lo,
        *up[:3], *back[:3], RD=down.R, KD=down.K, RA=bank.R, KA=bank.K, KD2=up.K, KA2=back.K, reflect=bank.reflect,
        rule=rule, own=z is not None, tiny=tiny, **sides,
    )  # fmt: skip
    if dim == 3:
        merge_pass(block(made, E, B, N * H * W), out, 1, B, first, s, (back, delta))
    return out
