r"""seconds = bytes moved / bandwidth; a fused loop takes between the larger and the sum of this and work in the cache.

`moved(f, u)` adds up what every torch operation inside f(u) reads and writes, each tensor once: a view is free, an
entry that is repeated (stride 0) counts once. A copy of u, which reads and writes each entry once, says what a byte
costs. The product is what the operations take, as they are written, if nothing stays in the cache between two of them;
below some 2^20 numbers much does, and calls cost their microseconds.

A fused loop is no operation of torch: it moves what goes in and what comes out, and works on rows in the cache. The
first is bytes over bandwidth; the second, `in_cache`, is measured on two strips so thin that they stay there. A core
fetches rows while it works on others, wholly or not at all: `foretold` lies in the middle.

Memory that is new to the process costs more than a copy, for the system clears every page first. The C library gives
large results back when they are dropped, so a step may pay that in each of its operations: `keep_memory` ends it.

Paper: none.  Notebook: none; docs/scale.md shows how near it comes.
"""

from __future__ import annotations

import contextlib
import ctypes
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
    """Bytes that the torch operations of f(*args) read and write.

    >>> u = torch.zeros(1000)
    >>> moved(lambda u: u[10:] + 1, u)
    7920
    """
    with torch.no_grad(), _Count() as count:
        f(*args)
    return count.bytes


def keep_memory() -> bool:
    """From now on, what this process frees stays with it, for its next results; False where there is no glibc.

    Steps on large pictures become faster, and the process never shrinks again.
    """
    trim, most, at_most = -1, 2**31 - 1, -4  # M_TRIM_THRESHOLD, and M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(trim, most) and libc.mallopt(at_most, 0))
    return False


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


def in_cache(case: Callable[[Tensor], Callable[[], Any]], u: Tensor, rows: int = 64, seconds: float = 0.2) -> float:
    """Seconds a pixel of the call case(u) where memory is near: 2 `rows` rows of u against `rows`, each many times.

    What a call costs whatever its size is in both, and drops out.
    """
    thick, thin = (best([case(u[:n])], seconds)[0] for n in (2 * rows, rows))
    return (thick - thin) / u[:rows].numel()


def foretold(memory: float, cache: float = 0.0) -> float:
    """max + min/2 of the two times: the middle between max, all of the shorter one hidden, and the sum, nothing hidden.

    What is between these two is 2/3 to 4/3 of it.

    >>> foretold(6.0, 4.0)
    8.0
    """
    return max(memory, cache) + min(memory, cache) / 2


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
