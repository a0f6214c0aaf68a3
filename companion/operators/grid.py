r"""(q-check[-.] (*) u)[n] = sum_k q[k] u[n + s k]: correlation on a grid; only this file knows the border.   (2.1)

The paper writes W_q u = q[-.] (*) u, a convolution with the flipped filter, that is a *correlation* with q. It is the
one primitive of the course: nothing else flips a filter. s = 2^l is the dilation of the a-trous level l.

The grid {0, ..., N-1} is continued to all of Z by an index map E, u[n] := u[E(n)]:

    "periodic"   E(n) = n mod N                                     ... u_{N-1} | u_0 u_1 ... u_{N-1} | u_0 ...
    "reflect"    half-sample symmetric, u[-1] = u[0], period 2N     ... u_1 u_0 | u_0 u_1 ... u_{N-1} | u_{N-1} ...

Index arithmetic, not padding: a filter longer than the picture still wraps as often as it must. `extend` applies E on
[-left, N + right), `fold` is its exact adjoint, and the adjoint of a correlation is "spread, then fold".

Paper: (2.1), (2.2) ("with a certain boundary condition").  Notebook: 02.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

BOUNDARIES = ("periodic", "reflect")


def check_boundary(boundary: str) -> None:
    """Raise ValueError for a boundary that is not one of BOUNDARIES."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"The boundary must be one of {', '.join(map(repr, BOUNDARIES))}; got {boundary!r}.")


@lru_cache(maxsize=1024)
def _index(n: int, lo: int, hi: int, boundary: str, device: torch.device) -> Tensor:
    """E(lo), ..., E(hi - 1) on a grid of n points."""
    with torch.inference_mode(False):  # kept in a cache: made in inference mode, it could not serve autograd later
        i = torch.arange(lo, hi, device=device)
        if boundary == "periodic":
            return i % n
        i = i % (2 * n)
        return torch.minimum(i, 2 * n - 1 - i)


@lru_cache(maxsize=1024)
def _constants(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def constants(*values: float, like: Tensor) -> Tensor:
    """These numbers, the taps of a filter, in the type and on the device of `like`: made once, never to be changed."""
    return _constants(values, like.dtype, like.device)


def extend(u: Tensor, left: int, right: int, axis: int, boundary: str) -> Tensor:
    """(E u)[n] = u[E(n)] for -left <= n < N + right, along one axis."""
    n = u.shape[axis]
    parts = [u]
    if left:
        parts.insert(0, u.index_select(axis, _index(n, -left, 0, boundary, u.device)))
    if right:
        parts.append(u.index_select(axis, _index(n, n, n + right, boundary, u.device)))
    return torch.cat(parts, axis) if len(parts) > 1 else u


def fold(v: Tensor, left: int, right: int, axis: int, boundary: str) -> Tensor:
    """E^T v: every entry of the continued grid is added back to the point it was copied from; the adjoint of
    `extend`.
    """
    n = v.shape[axis] - left - right
    u = v.narrow(axis, left, n)
    if left:
        u = u.index_add(axis, _index(n, -left, 0, boundary, v.device), v.narrow(axis, 0, left))
    if right:
        u = u.index_add(axis, _index(n, n, n + right, boundary, v.device), v.narrow(axis, left + n, right))
    return u


def _reach(origin: int, length: int, step: int) -> tuple[int, int]:
    """How far step * {origin, ..., origin + length - 1} reaches to the left and to the right of 0."""
    first, last = sorted((step * origin, step * (origin + length - 1)))
    return max(0, -first), max(0, last)


def correlate(
    u: Tensor,
    q: Tensor,
    origin: Sequence[int],
    axes: Sequence[int],
    step: int = 1,
    boundary: str = "periodic",
    zero: Sequence[bool] = (),
) -> Tensor:
    r"""(W_q u)[n] = sum_k q[k] u[n + step k], k = origin, origin + 1, ... along `axes`.   (2.1)

    u       any shape; the axes (negative numbers) are correlated, the others are batch
    q       taps, one dimension for each axis, of u's dtype and device; gradients flow to u and to q
    origin  the index k of the first tap, one for each axis
    step    dilation 2^l of (2.2)
    zero    optional flags, flattened like q: taps known to vanish, which are skipped
    """
    check_boundary(boundary)
    reach = [_reach(o, n, step) for o, n in zip(origin, q.shape, strict=True)]
    v = u
    for axis, (left, right) in zip(axes, reach, strict=True):
        v = extend(v, left, right, axis, boundary)
    out = None
    for tap, window in _windows(v, u, q, origin, axes, step, zero):
        out = window * tap if out is None else out.addcmul_(window, tap)
    return torch.zeros_like(u) if out is None else out


def correlate_adjoint(
    d: Tensor,
    q: Tensor,
    origin: Sequence[int],
    axes: Sequence[int],
    step: int = 1,
    boundary: str = "periodic",
    zero: Sequence[bool] = (),
) -> Tensor:
    r"""(W_q^T d)[n] = sum_k q[k] d[n - step k], folded at the border: the exact adjoint of `correlate`; same
    arguments.
    """
    check_boundary(boundary)
    if boundary == "periodic":  # on the torus, the correlation with q[-.]
        return correlate(d, q, origin, axes, -step, boundary, zero)
    reach = [_reach(o, n, step) for o, n in zip(origin, q.shape, strict=True)]
    shape = list(d.shape)
    for axis, (left, right) in zip(axes, reach, strict=True):
        shape[axis] += left + right
    v = d.new_zeros(shape)
    for tap, window in _windows(v, d, q, origin, axes, step, zero):
        window.addcmul_(d, tap)
    for axis, (left, right) in zip(axes, reach, strict=True):
        v = fold(v, left, right, axis, boundary)
    return v


@lru_cache(maxsize=1024)
def _places(
    shape: tuple[int, ...], origin: tuple[int, ...], step: int, zero: tuple[bool, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each tap not flagged zero: its index, and where on the continued grid its window starts, along each axis."""
    taps = itertools.product(*map(range, shape))
    kept = itertools.compress(taps, (not skip for skip in zero)) if zero else taps
    left = [_reach(o, n, step)[0] for o, n in zip(origin, shape, strict=True)]
    return [(k, tuple(far + step * (o + i) for far, o, i in zip(left, origin, k, strict=True))) for k in kept]


def _windows(
    v: Tensor, like: Tensor, q: Tensor, origin: Sequence[int], axes: Sequence[int], step: int, zero: Sequence[bool]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs (q[k], view of the continued grid v moved by step k and as large as `like`), but for taps flagged
    zero.
    """
    for k, starts in _places(tuple(q.shape), tuple(origin), step, tuple(zero)):
        window = v
        for axis, start in zip(axes, starts, strict=True):
            window = window.narrow(axis, start, like.shape[axis])
        yield q[k], window


def shift(u: Tensor, k: int, axis: int, boundary: str = "periodic") -> Tensor:
    """(shift u)[n] = u[n + k] along one axis, continued over the border by `boundary`.

    >>> shift(torch.tensor([1., 2., 3.]), 1, -1), shift(torch.tensor([1., 2., 3.]), 1, -1, "reflect")
    (tensor([2., 3., 1.]), tensor([2., 3., 3.]))
    """
    check_boundary(boundary)
    n = u.shape[axis]
    if not 0 < abs(k) < n:
        return u.index_select(axis, _index(n, k, n + k, boundary, u.device))
    over = u.index_select(axis, _index(n, *((n, n + k) if k > 0 else (k, 0)), boundary, u.device))
    return torch.cat([u.narrow(axis, k, n - k), over] if k > 0 else [over, u.narrow(axis, 0, n + k)], axis)
