r"""sum_{i<=n} mean ((u_hat_i - u_i)/dt)^2 + n (a R_sym + b R_mom): what a PDE-Net is fitted by, and to what.   [101]

    huber          |x| made smooth at 0
    block_loss     the loss of PDE-Net 2.0 with n blocks
    relative_loss  the loss of PDE-Net 1.0: the last frame alone
    check_frames   are these frames of a periodic u on a uniform grid, at the times that the net steps to?
    odd_extension  u = 0 on the border of a square, as a periodic function on one four times as large

Sources: Long, Lu, Ma and Dong, PDE-Net (2018), [102]; Long, Lu and Dong, PDE-Net 2.0 (2019), [101].
Paper: Section 5.2.  Notebooks: 12, 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

JUMP = 4.0  # how much larger the difference across the border may be than that across any other line
SAME = 1e-6  # how much smaller


def huber(x: Float[Tensor, "*shape"], s: float) -> Float[Tensor, "*shape"]:
    r"""x^2 / (2 s) for |x| <= s, |x| - s/2 beyond: |x| with a smooth bottom.

    >>> huber(torch.tensor([0.0, 0.5, 3.0]), s=1.0)
    tensor([0.0000, 0.1250, 2.5000])
    """
    if not s > 0:
        raise ValueError(f"The smoothed |x| has a bottom of half-width s > 0; got s={s}.")
    return torch.where(x.abs() <= s, x.square() / (2 * s), x.abs() - s / 2)


def block_loss(
    net: Any,
    frames: Float[Tensor, "*shape"],
    dt: float,
    sparsity: float = 0.005,
    moments: float = 0.001,
) -> Float[Tensor, "*nets"]:
    r"""sum_{i=1}^{n} mean ((u_hat_i - u_i)/dt)^2 + n sparsity R_sym + n moments R_mom.   [101]

    net       a PDENet with a RightSide; u_hat_i is what i of its blocks make of u_0
    frames    u_0, u_1, ..., u_n, (*batch, n + 1, C, N1, N2): n is their number
    dt        the time between two frames, that of a block
    sparsity  weight of R_sym = sum huber(theta, 0.001) over the parameters of the SymNet
    moments   weight of R_mom = sum huber(m, 0.01) over the free moments; 0 for frozen filters

    One number, or one for each of S nets, whose sum has the gradients of all. Raises ValueError for another dt, or for
    less than two frames.
    """
    dim, nets = net.F.bank.dim, net.F.bank.nets
    _check_step(dt, net.dt, "dt", "of a block")
    if frames.ndim < dim + 2 or frames.shape[-dim - 2] < 2:
        raise ValueError(
            "A loss compares blocks with frames: two frames or more, (*batch, n + 1, C, N1, N2) on a plane; got shape "
            f"{tuple(frames.shape)}."
        )
    axis, n = frames.ndim - dim - 2, frames.shape[-dim - 2] - 1
    first, later = frames.select(axis, 0), frames.narrow(axis, 1, n)
    off = ((net.trajectory(first, n).narrow(axis, 1, n) - later) / dt).square()
    loss = n * (off.mean() if nets is None else off.flatten(1).mean(1))

    def total(p: Tensor, s: float) -> Tensor:
        return huber(p, s).sum() if nets is None else huber(p, s).flatten(1).sum(1)

    if sparsity:
        loss = loss + n * sparsity * sum(total(p, 1e-3) for p in net.F.response.parameters())
    if moments and net.F.bank.free_moments.requires_grad:
        loss = loss + n * moments * total(net.F.bank.free_moments, 1e-2)
    return loss


def relative_loss(net: Any, u0: Float[Tensor, "*start"], uT: Float[Tensor, "*end"], k: int) -> Float[Tensor, "*nets"]:
    r"""mean (u_hat_k - u_T)^2 / var(u_0), u_hat_k what k blocks make of u_0.   [102]

    One number, or one for each of S nets: u_0, u_T of shape (S or 1, *batch, C, N1, N2), each net by its own u_0.
    """
    if u0.shape != uT.shape:
        raise ValueError(
            f"u_0 and u_T are the same fields at two times; got shapes {tuple(u0.shape)} and {tuple(uT.shape)}."
        )
    off = (net(u0, k) - uT).square()
    if net.F.bank.nets is None:
        return off.mean() / u0.var(correction=0)
    return off.flatten(1).mean(1) / u0.flatten(1).var(1, correction=0)


def check_frames(
    u: Float[Tensor, "*shape"],
    dt: float | Sequence[float] | Tensor,
    h: float | Sequence[float] | Tensor,
    blocks: int = 1,
    net: Any = None,
) -> tuple[float, float]:
    r"""(dt, h) of frames u that a PDE-Net can be fitted to; for others a ValueError says why not.

    u       (*batch, frames, C, N1, N2)
    dt      the time between frames, or their times
    h       the grid step, or the coordinates of the grid along an axis
    blocks  how many steps in a row are fitted: there are blocks + 1 frames or more
    net     a PDENet: its dt and h are then compared

    Asked are: real and finite numbers, blocks + 1 frames, equal steps, and a periodic u: across the border u may not
    differ by more than 4 times what it differs by across the steepest other line (root of the mean square), nor may the
    first and the last line be equal, as if the end of the period were written down twice. A front that stands on the
    border in all trajectories cannot be told from a jump, nor the inner points of a u with u = 0 on the border from a
    period: see `odd_extension`.
    """
    if not u.is_floating_point() or u.ndim < 4:
        raise ValueError(
            f"Frames are real numbers of shape (*batch, frames, C, N1, N2); got shape {tuple(u.shape)} of {u.dtype}."
        )
    bad = int((~torch.isfinite(u)).sum())
    if bad:
        raise ValueError(
            f"Frames must be finite; {bad} of {u.numel()} entries are NaN or infinite. Leave out the trajectories they "
            "are in: if a solver made them, its time step was too large."
        )
    steps = u.shape[-4] - 1
    if blocks < 1 or blocks > steps:
        raise ValueError(
            f"n blocks are fitted to n + 1 frames in a row, n >= 1; got blocks={blocks} and {steps + 1} frames. Take "
            f"{'blocks=1' if blocks < 1 else f'at most {steps} blocks' if steps else 'more frames'}, "
            "or make longer trajectories."
        )
    dt, h = _equal_steps(dt, "frames", "times"), _equal_steps(h, "grid points", "coordinates")
    if net is not None:
        _check_step(dt, net.dt, "dt", "of a block")
        _check_step(h, net.F.bank.h, "h", "of the filters")
    for axis in (-2, -1):
        other = tuple(a for a in range(u.ndim) if a != u.ndim + axis)
        size = (u - u.roll(1, axis)).double().square().mean(other).sqrt()  # size[0]: across the border
        border, inner = float(size[0]), float(size[1:].max()) if len(size) > 1 else 0.0
        name = {-2: "x (axis -2)", -1: "y (axis -1)"}[axis]
        if border > JUMP * inner and inner > 0:
            raise ValueError(
                f"The filters take u for periodic, but along {name} it jumps by {border:.3g} across the border and by "
                f"at most {inner:.3g} inside. Is the domain a full period? If u = 0 on the border, take "
                "odd_extension(u); if a front just stands there, shift u with torch.roll."
            )
        if border < SAME * inner:
            zero = float(u.select(axis, 0).abs().max()) < SAME * float(u.abs().max())
            raise ValueError(
                f"The first and the last line along {name} are the same: a periodic grid ends one step before the "
                "period does. Leave out the last line"
                + ("; or, if u = 0 on the border of a square, take odd_extension of the inner points." if zero else ".")
            )
    return dt, h


def odd_extension(u: Float[Tensor, "*batch n m"]) -> Float[Tensor, "*batch M1 M2"]:
    r"""u at the n x m inner points of a square with u = 0 on its border -> (2n + 2) x (2m + 2) points of a period.

    u(-x, y) = u(x, -y) = -u(x, y): the only periodic continuation that is smooth wherever u and u_xx vanish on the
    border. An equation u_t = div(c grad u) + s(u) with an odd s keeps it odd.

    >>> odd_extension(torch.ones(1, 1)).int()
    tensor([[ 0,  0,  0,  0],
            [ 0,  1,  0, -1],
            [ 0,  0,  0,  0],
            [ 0, -1,  0,  1]], dtype=torch.int32)
    """
    for axis in (-2, -1):
        zero = torch.zeros_like(u.narrow(axis, 0, 1))
        u = torch.cat([zero, u, zero, -u.flip(axis)], axis)
    return u


def _equal_steps(x: float | Sequence[float] | Tensor, what: str, which: str) -> float:
    """The step, of a number or of equidistant numbers."""
    t = torch.as_tensor(x, dtype=torch.float64)
    steps = t.reshape(1) if t.ndim == 0 else t.diff()
    step = float(steps.mean()) if len(steps) else math.nan
    if t.ndim > 1 or not (0 < step < math.inf):
        raise ValueError(f"The step between {what} is a number > 0, or is read off their increasing {which}; got {x}.")
    if float((steps - step).abs().max()) > 1e-3 * step:
        raise ValueError(
            f"The {what} must be equidistant; got steps from {float(steps.min()):.6g} to {float(steps.max()):.6g}. "
            "Interpolate u to a uniform grid, or choose those that are."
        )
    return step


def _check_step(ours: float, nets: float, letter: str, whose: str) -> None:
    if not abs(ours - nets) <= 1e-6 * abs(nets):
        raise ValueError(
            f"The step {whose} is that of the data; got {letter}={ours:.6g} for the data and {letter}={nets:.6g} "
            f"{whose}. Make the net with {letter}={ours:.6g}, or choose frames that fit."
        )
