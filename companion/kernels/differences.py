r"""D u = ((u[n + e_i] - u[n]) / h)_i and D^T p = sum_i (p_i[n - e_i] - p_i[n]) / h, row by row.   Sec. 3, (3.3)

    gradient, gradient_adjoint    D and D^T, under operators/differences.py, which defines them

A picture of one, two or three dimensions is one of three: an axis it does not have has one pixel, along which every
difference is 0. So one loop does for all, and a thread takes a range of the first axis.

At the border "reflect" the last forward difference is 0, and D^T does not see the last p_i.

Paper: (3.1), (3.3).  Notebook: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.kernels import Loop, loop, parallel, transposed, unwatched

LARGE = 2**20  # entries; below, one gradient alone saves less than its compilation costs
ALONE = 2**19  # entries; below, a second thread costs more than it saves


def array(u: Tensor) -> Any:
    """The numbers of a tensor, in order."""
    return u.detach().resolve_neg().contiguous().numpy()


def solid(space: Sequence[int]) -> tuple[int, int, int]:
    """A picture's axes as a volume's: (W) -> (1, 1, W), (H, W) -> (H, 1, W)."""
    first, second = (*space[:-1], 1, 1)[:2]
    return first, second, space[-1]


@loop
def differ(out: Any, u: Any, right: Any, scale: Any) -> None:
    """scale (right - u), entry by entry."""
    for j in range(out.size):
        out[j] = scale * (right[j] - u[j])


@loop
def differ_more(out: Any, u: Any, right: Any, scale: Any) -> None:
    """out + scale (right - u), entry by entry."""
    for j in range(out.size):
        out[j] += scale * (right[j] - u[j])


@loop
def forward_rows(u: Any, p: Any, scale: Any, periodic: Any, start: Any, stop: Any) -> None:
    """p = D u on the rows start <= b A + a < stop: u (B, A, H, W), p (B, d, A, H, W)."""
    _, A, H, W = u.shape
    d = p.shape[1]
    for t in range(start, stop):
        b, a = t // A, t % A
        below = (a + 1) % A if periodic else min(a + 1, A - 1)
        for i in range(H):
            x, y = u[b, a, i], p[b, d - 1, a, i]
            differ(y[: W - 1], x[: W - 1], x[1:], scale)
            y[W - 1] = scale * (x[0] - x[W - 1]) if periodic else 0
            if d > 1:
                differ(p[b, 0, a, i], x, u[b, below, i], scale)
            if d > 2:
                differ(p[b, 1, a, i], x, u[b, a, (i + 1) % H if periodic else min(i + 1, H - 1)], scale)


@loop
def adjoint_rows(p: Any, u: Any, scale: Any, periodic: Any, start: Any, stop: Any) -> None:
    """u = D^T p on the rows start <= b A + a < stop."""
    _, A, H, W = u.shape
    d = p.shape[1]
    zero = np.zeros(W, p.dtype)
    for t in range(start, stop):
        b, a = t // A, t % A
        for i in range(H):
            x, y = u[b, a, i], p[b, d - 1, a, i]
            differ(x[1:], y[1:], y[: W - 1], scale)
            x[0] = -scale * y[0]
            if periodic:
                x[0] += scale * y[W - 1]
            else:
                x[W - 1] += scale * y[W - 1]
            if d > 1:
                before = p[b, 0, a - 1 if a else A - 1, i] if periodic or a else zero
                differ_more(x, p[b, 0, a, i] if periodic or a < A - 1 else zero, before, scale)
            if d > 2:
                before = p[b, 1, a, i - 1 if i else H - 1] if periodic or i else zero
                differ_more(x, p[b, 1, a, i] if periodic or i < H - 1 else zero, before, scale)


def over(rows: Loop, n: int, size: int, *args: Any) -> None:
    """rows(*args, start, stop) on range(n): in threads where the picture of `size` entries is worth it."""
    if size < ALONE:
        rows(*args, 0, n)
    else:
        parallel(rows, n, *args)


def _gradient(u: Tensor, h: float, dim: int, periodic: bool) -> Tensor:
    batch, space = u.shape[:-dim], solid(u.shape[-dim:])
    p = u.new_empty(*batch, dim, *u.shape[-dim:])
    n, x = math.prod(batch), array(u)
    y, x = p.numpy().reshape(n, dim, *space), x.reshape(n, *space)
    over(forward_rows, n * space[0], u.numel(), x, y, x.dtype.type(1 / h), periodic)
    return p


def _gradient_adjoint(p: Tensor, h: float, dim: int, periodic: bool) -> Tensor:
    batch, space = p.shape[: -dim - 1], solid(p.shape[-dim:])
    u = p.new_empty(*batch, *p.shape[-dim:])
    n, y = math.prod(batch), array(p)
    y, x = y.reshape(n, dim, *space), u.numpy().reshape(n, *space)
    over(adjoint_rows, n * space[0], u.numel(), y, x, y.dtype.type(1 / h), periodic)
    return u


GRID = "(Tensor u, float h, int dim, bool periodic) -> Tensor"
_forward_op = torch.library.custom_op("companion::gradient", _gradient, mutates_args=(), schema=GRID)
_adjoint_op = torch.library.custom_op("companion::gradient_adjoint", _gradient_adjoint, mutates_args=(), schema=GRID)
_forward_op.register_fake(lambda u, h, dim, periodic: u.new_empty(*u.shape[:-dim], dim, *u.shape[-dim:]))
_adjoint_op.register_fake(lambda p, h, dim, periodic: p.new_empty(*p.shape[: -dim - 1], *p.shape[-dim:]))


transposed(_forward_op, _adjoint_op)
transposed(_adjoint_op, _forward_op)


def gradient(u: Tensor, h: float, dim: int, periodic: bool) -> Tensor:
    """D u: (*batch, *space) -> (*batch, dim, *space), dim <= 3."""
    return (_gradient if unwatched(u) else _forward_op)(u, h, dim, periodic)


def gradient_adjoint(p: Tensor, h: float, dim: int, periodic: bool) -> Tensor:
    """D^T p: (*batch, dim, *space) -> (*batch, *space), dim <= 3."""
    return (_gradient_adjoint if unwatched(p) else _adjoint_op)(p, h, dim, periodic)
