r"""A framelet transform in numbers and arrays, as the loops take it: filters, levels, places of bands.   (2.2)

Paper: (2.1), (2.2).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from companion.kernels import loop
from companion.kernels.rows import row


class Cascade(NamedTuple):
    """A transform in numbers: the taps q of all filters that are not 0, the k where they stand, how many each filter
    has, its parity (0: none); levels, dim, reflect, and a level's bands in their order, as numbers in base r + 1.
    """

    q: tuple[float, ...]
    k: tuple[int, ...]
    length: tuple[int, ...]
    sign: tuple[int, ...]
    levels: int
    dim: int
    reflect: bool
    order: tuple[int, ...]

    @classmethod
    def of(cls, *values: Any) -> Cascade:
        """The transform of these numbers, lists for tuples."""
        return cls._make(tuple(v) if isinstance(v, list) else v for v in values)

    def near(self, space: Sequence[int]) -> bool:
        """Whether no tap looks further beyond the border than a picture is long: one reflection or period away."""
        return max(map(abs, self.k)) * 2 ** (self.levels - 1) <= min(space)


@lru_cache(maxsize=64)
def numbers(
    filters: tuple[tuple[Any, ...], ...], levels: int, dim: int, reflect: bool, indices: tuple[tuple[int, ...], ...]
) -> Any:
    """The transform of the filters (origin, taps ...), with these indices of a level's bands; None where a filter is to
    be reflected that has no parity.
    """
    q: list[float] = []
    k: list[int] = []
    length, sign = [], []
    for origin, *taps in filters:
        pairs = {int(origin) + i: tap for i, tap in enumerate(taps) if tap != 0} or {0: 0.0}
        q, k = q + list(pairs.values()), k + list(pairs)
        length.append(len(pairs))
        sign.append(next((p for p in (1, -1) if all(pairs.get(-i) == p * tap for i, tap in pairs.items())), 0))
    if reflect and not all(sign):
        return None
    order = tuple(sum(i * len(filters) ** axis for axis, i in enumerate(reversed(index))) for index in indices)
    return Cascade(tuple(q), tuple(k), tuple(length), tuple(sign), levels, dim, reflect, order)


class Bank(NamedTuple):
    """R filters q_f[k], lo <= k <= hi, with room for `most` taps each: q[f most + c] and their k, how many there are,
    and the parity of q_f. `pointers` makes the four arrays pointers.
    """

    R: int
    most: int
    lo: int
    hi: int
    q: Any
    k: Any
    n: Any
    sign: Any


class Grid(NamedTuple):
    """P bands of N planes of H rows of W samples; every `of` pictures of u is one to split; s = 2^l; dim, of which 3
    means that planes, not rows, are dealt out to threads; whether to write past the cache.
    """

    P: int
    of: int
    N: int
    H: int
    W: int
    s: int
    reflect: bool
    dim: int
    past: bool


@loop
def pointers(b):
    """The bank b with pointers for arrays: to hand it on counts no owners."""
    return Bank(b.R, b.most, b.lo, b.hi, row(b.q, 0), row(b.k, 0), row(b.n, 0), row(b.sign, 0))


@lru_cache(maxsize=64)
def banks(form: Cascade, single: bool) -> tuple[Bank, Bank]:
    """The bank of every axis, and the one of the axes that a picture lacks: delta."""
    kind, R, start = np.float32 if single else np.float64, len(form.length), 0
    q, k = np.zeros((R, max(form.length)), kind), np.zeros((R, max(form.length)), np.int64)
    for f, n in enumerate(form.length):
        q[f, :n], k[f, :n] = form.q[start : start + n], form.k[start : start + n]
        start += n
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    length, sign = np.array(form.length), np.array(form.sign, kind)
    bank = Bank(R, q.shape[1], int(k.min()), int(k.max()), q.ravel(), k.ravel(), length, sign)
    return bank, Bank(1, 1, 0, 0, one.astype(kind), zero, one, one.astype(kind))


@lru_cache(maxsize=64)
def grids(space: tuple[int, ...], form: Cascade, past: bool) -> tuple[tuple[Any, Grid, Any], ...]:
    """For each level: the places of the bands, the grid, and the order in which its rows or planes are taken.

    The averages on the way to the last one take turns between its place, 0, and a picture beside, place -1.
    """
    N, H, W = (1,) * (3 - form.dim) + tuple(space)
    lines, high, R, made = N if form.dim == 3 else H, len(form.order) - 1, len(form.length), []
    order = np.array(form.order)
    for level in range(form.levels):
        where, s, P = np.empty(R**form.dim, np.int64), 2**level, 1 + form.levels * high
        where[order[1:]] = 1 + level * high + np.arange(high)
        where[order[0]] = -((form.levels - 1 - level) % 2)
        of = P if level and where[order[0]] < 0 else 1
        lined = np.concatenate([np.arange(c, lines, s) for c in range(min(s, lines))])
        made.append((where, Grid(P, of, N, H, W, s, form.reflect, form.dim, past), lined))
    return tuple(made)


def between(x: Tensor, y: Tensor) -> int:
    """The i for which x[i] would be y[0], if x went on so far."""
    return (y.data_ptr() - x.data_ptr()) // x.element_size()


def flat(u: Tensor) -> Any:
    """The numbers of a contiguous tensor, one after the other."""
    return u.detach().numpy().reshape(-1)
