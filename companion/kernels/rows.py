r"""o[j] = sum_c q[c] x[s k[c] + j]: rows combined, the one operation beneath every tensor-product filter.

Down a picture s is the length of a row and k[c] are other rows, along a row s = 2^l and k are the places of the taps.
Rows are pointers, x[j] without a count of owners and without x[-1] for the last: `row(x, i)` is x[i:]. The array must
outlive the pointer: it is used again in the loop about, or it is an argument of the outermost loop.

A result larger than the cache passes it by on its way to memory (`stream`): to fetch its old contents first would be a
third of all traffic.

Paper: (2.1).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import weakref
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.kernels import loop, part, primitive

PAGES, KEPT = 2**20, 2**30  # bytes; memory of at least this size is used again, so much of it is kept
MOST = 8  # pieces of it
STREAM = 2**22  # bytes; larger bands are written past the cache, and a picture of four times that, which is read soon
LINE = 64  # bytes of memory that are written at once
KINDS = {torch.float32: np.float32, torch.float64: np.float64}


@primitive
def row() -> Any:
    """row(x, i): x[i:] of an array or a pointer, as a pointer."""
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def row(typing: Any, x: Any, i: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            start = args[0] if pointer else context.make_array(x)(context, b, args[0]).data
            return b.gep(start, [args[1]])

        pointer = isinstance(x, types.CPointer)
        return types.CPointer(x.dtype)(x, types.int64), codegen

    return row


@primitive
def stream() -> Any:
    """stream(o, x, W): o[j] = x[j], past the cache; o starts at a multiple of LINE bytes, and W fills whole lines."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def stream(typing: Any, o: Any, x: Any, W: Any) -> Any:
        lanes = LINE * 8 // o.dtype.bitwidth

        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            o, x, W = args
            line = ir.VectorType(o.type.pointee, lanes).as_pointer()
            zero, step = ir.Constant(W.type, 0), ir.Constant(W.type, lanes)
            with cgutils.for_range_slice(b, zero, W, step, intp=W.type) as (j, _):
                value = b.load(b.bitcast(b.gep(x, [j]), line), align=LINE // lanes)
                stored = b.store(value, b.bitcast(b.gep(o, [j]), line), align=LINE)
                stored.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
            return context.get_dummy_value()

        return types.void(o, x, types.int64), codegen

    return stream


@loop
def combine(o, x, s, k, q, n, W):
    """o[j] = sum_{c < n} q[c] x[s k[c] + j] for 0 <= j < W; up to five terms at once."""
    first = n if n < 6 else 2 + (n - 2) % 4
    a, qa = s * k[0], q[0]
    if first == 1:
        for j in range(W):
            o[j] = qa * x[a + j]
    elif first == 2:
        b, qb = s * k[1], q[1]
        for j in range(W):
            o[j] = qa * x[a + j] + qb * x[b + j]
    elif first == 3:
        b, c, qb, qc = s * k[1], s * k[2], q[1], q[2]
        for j in range(W):
            o[j] = qa * x[a + j] + qb * x[b + j] + qc * x[c + j]
    elif first == 4:
        b, c, d, qb, qc, qd = s * k[1], s * k[2], s * k[3], q[1], q[2], q[3]
        for j in range(W):
            o[j] = qa * x[a + j] + qb * x[b + j] + qc * x[c + j] + qd * x[d + j]
    else:
        b, c, d, e, qb, qc, qd, qe = s * k[1], s * k[2], s * k[3], s * k[4], q[1], q[2], q[3], q[4]
        for j in range(W):
            o[j] = qa * x[a + j] + qb * x[b + j] + qc * x[c + j] + qd * x[d + j] + qe * x[e + j]
    for m in range(first, n, 4):
        a, b, c, d = s * k[m], s * k[m + 1], s * k[m + 2], s * k[m + 3]
        qa, qb, qc, qd = q[m], q[m + 1], q[m + 2], q[m + 3]
        for j in range(W):
            o[j] += qa * x[a + j] + qb * x[b + j] + qc * x[c + j] + qd * x[d + j]


@part
def correlate(o, x, s, b, f, W):
    """o[j] = sum_c q_f[c] x[s c + j], by filter f of the bank b."""
    combine(o, x, s, row(b.k, f * b.most), row(b.q, f * b.most), b.n[f], W)


@loop
def wrap(i, n, reflect):
    """E(i) of `operators.grid`: the point of {0, ..., n-1} whose value stands at i."""
    if 0 <= i < n:
        return i
    if not reflect:
        return i % n
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


@loop
def mirrored(i: int, n: int, reflect: bool) -> bool:
    """Whether the picture stands there reversed: an odd number of reflections away."""
    return reflect and not 0 <= i < n and i % (2 * n) >= n


@part
def aligned(pad):
    """Room for `pad` samples in whole lines: what stands behind it starts at a line again."""
    return -(-pad // 16) * 16


@loop
def extend(x, pad, W, reflect, sign):
    """x[j] for -pad <= j < 0 and W <= j < W + pad from 0 <= j < W; a reversed picture is multiplied by sign."""
    for i in range(2 * pad):
        j = i - pad if i < pad else W + i - pad
        x[j] = sign * x[wrap(j, W, reflect)] if mirrored(j, W, reflect) else x[wrap(j, W, reflect)]


def streamed(out: Tensor, least: int = 4 * STREAM) -> bool:
    """Whether the rows of `out`, at least so many bytes, are to be written past the cache."""
    return out.nbytes >= least and out.shape[-1] * out.element_size() % LINE == 0 and out.data_ptr() % LINE == 0


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialised tensor of this shape and of the type of `like`.

    A large one takes the memory of another that nobody holds any more, if one fits: fresh memory is cleared by the
    system page by page, which can take longer than to compute what is written there.
    """
    n = prod(shape) * like.element_size()
    if n < PAGES:
        return torch.empty(shape, dtype=like.dtype)
    key = next((key for key in sorted(_spare) if n <= key[0] - LINE <= 2 * n), (0, 0))
    memory = _spare.pop(key, None)
    if memory is None:
        memory = np.empty(n + LINE, np.uint8)
        key = memory.size, memory.ctypes.data
    start = -key[1] % LINE
    array = memory[start : start + n].view(KINDS[like.dtype]).reshape(shape)
    weakref.finalize(array, _keep, key, memory).atexit = False
    return torch.from_numpy(array)


_spare: dict[tuple[int, int], Any] = {}  # by size, and by address


def _keep(key: tuple[int, int], memory: Any) -> None:
    """The pieces let go last are kept, MOST at most, KEPT bytes in all."""
    _spare[key] = memory
    while len(_spare) > MOST or sum(size for size, _ in list(_spare)) > KEPT:
        _spare.pop(next(iter(_spare)), None)
