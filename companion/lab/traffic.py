r"""seconds = bytes moved / bandwidth: what a map costs where memory, not arithmetic, is what takes the time.

`moved(f, u)` adds up what every torch operation inside f(u) reads and writes, each tensor once: a view is free, an
entry that is repeated (stride 0) counts once, a fused loop counts what goes in and what comes out. `bandwidth(u)` is
what a copy of u moves in a second, its reads and its writes. The quotient is the least time that the operations take,
as they are written, if nothing stays in the cache between two of them; below some 2^20 numbers much does, and calls
cost their microseconds.

Paper: none.  Notebook: none; docs/scale.md shows how near it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

UNREAD = {"copy_", "fill_", "zero_", "normal_", "uniform_"}  # their first tensor is overwritten, or a pattern only
UNREAD |= {"new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like"}
FREE = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
CHOSEN = ("index_select", "gather", "index", "take")  # they read of their first argument only what they return


def moved(f: Callable[..., Any], *args: Any) -> int:
    """Bytes that the operations of f(*args) read and write.

    >>> u = torch.zeros(1000)
    >>> moved(lambda u: u[10:] + 1, u) == 4 * 2 * 990
    True
    """
    with torch.no_grad(), _Count() as count:
        f(*args)
    return count.bytes


def bandwidth(u: Tensor, seconds: float = 0.2) -> float:
    """Bytes a second of u.clone(), one read and one write an entry: the best of the copies made in so many seconds."""
    return 2 * _bytes(u) / best([u.clone], seconds)[0]


def best(calls: list[Callable[[], Any]], seconds: float = 1.0, least: int = 5) -> list[float]:
    """The shortest time of each call, all of them in turn, `least` rounds or more, until the time is up."""
    for call in calls:
        call()
    shortest, end, rounds = [float("inf")] * len(calls), time.perf_counter() + seconds, 0
    while rounds < least or time.perf_counter() < end:
        for i, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            shortest[i] = min(shortest[i], time.perf_counter() - begin)
        rounds += 1
    return shortest


class _Count(TorchDispatchMode):
    """Sees every operation that is not made of others."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not view and name not in FREE:
            read = list(_tensors([args, kwargs or {}]))
            written = sum(_bytes(v) for v in _tensors(out))
            if name in UNREAD:
                read = read[1:]
            chosen = written - _bytes(read[0]) if name in CHOSEN else 0
            self.bytes += sum(_bytes(v) for v in read) + chosen + written
        return out


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _bytes(u: Tensor) -> int:
    """Of the entries of u, those that an expanded axis repeats counted once."""
    size = u.element_size()
    for n, stride in zip(u.shape, u.stride(), strict=True):
        size *= n if stride else min(n, 1)
    return size
