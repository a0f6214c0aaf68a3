r"""o[j] = sum_k q[k] x[at_k + j]: rows combined, the one operation beneath every tensor-product filter.

Down a picture at_k are the starts of other rows, along a row they are the samples s k beside it. Sums stay in registers
over 64 samples, and may pass by the cache on their way to memory: where a result is larger than the cache, to fetch
its old contents first would be a third of all traffic.

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
STREAM = 2**24  # bytes; a larger result does not stay in the cache of a core, and is written past it


@primitive
def address() -> Any:
    """address(x, i): where x[i] stands in memory, as a number; x must live as long as the number is used."""
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def address(typing: Any, x: Any, i: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, b, args[0]).data
            return b.ptrtoint(b.gep(data, [args[1]]), ir.IntType(64))

        return types.int64(x, types.int64), codegen

    return address


@primitive
def weigh() -> Any:
    """The code of `sums`. Sums that stay in registers are more than numba can say, so it is written out here."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    long, short = ir.IntType(64), ir.IntType(32)

    def count(k: int) -> Any:
        return ir.Constant(long, k)

    def write(b: Any, number: Any, size: int, lanes: int, addresses: Any, n: Any, W: Any, past: Any) -> None:
        """The code, with a builder b."""
        real, whole = number.as_pointer(), long.as_pointer()
        out, start, rows, weights = (
            b.inttoptr(a, kind) for a, kind in zip(addresses, (real, real, whole, real), strict=True)
        )
        mark = b.module.add_metadata([ir.Constant(short, 1)])

        def tap(k: Any) -> tuple[Any, Any]:
            """q[k] and the place of x[at[k]]."""
            return b.load(b.gep(weights, [k])), b.gep(start, [b.load(b.gep(rows, [k]))])

        def term(weight: Any, source: Any, j: Any, vector: Any) -> Any:
            """q[k] x[at[k] + j], ..., as a vector."""
            undefined = ir.Constant(vector, ir.Undefined)
            lane = b.insert_element(undefined, weight, ir.Constant(short, 0))
            spread = b.shuffle_vector(lane, undefined, ir.Constant(ir.VectorType(short, vector.count), None))
            samples = b.load(b.bitcast(b.gep(source, [j]), vector.as_pointer()), align=size)
            return b.fmul(spread, samples, flags=("contract",))

        def sweep(lanes: int, lo: Any, hi: Any, past: bool = False, taps: int = 0) -> None:
            """The samples lo <= j < hi, `lanes` at a time; so many taps, or for 0 as many as there are."""
            vector, known = ir.VectorType(number, lanes), [tap(count(k)) for k in range(taps)]
            with cgutils.for_range_slice(b, lo, hi, count(lanes), intp=long) as (j, _):
                sum = cgutils.alloca_once(b, vector)
                b.store(term(*known[0], j, vector) if known else ir.Constant(vector, [0.0] * lanes), sum)
                for weight, source in known[1:]:
                    b.store(b.fadd(b.load(sum), term(weight, source, j, vector), flags=("contract",)), sum)
                if not known:
                    with cgutils.for_range_slice(b, count(0), n, count(1), intp=long) as (k, _):
                        b.store(b.fadd(b.load(sum), term(*tap(k), j, vector), flags=("contract",)), sum)
                place = b.bitcast(b.gep(out, [j]), vector.as_pointer())
                stored = b.store(b.load(sum), place, align=64 if past else size)
                if past:
                    stored.set_metadata("nontemporal", mark)

        def wide(hi: Any, past: bool) -> None:
            """With the number of taps of the usual filters known, their weights stay in registers, too."""
            end, many = b.append_basic_block(), b.append_basic_block()
            switch = b.switch(n, many)
            for taps in (1, 2, 3, 4, 5, 0):
                block = b.append_basic_block() if taps else many
                if taps:
                    switch.add_case(count(taps), block)
                b.position_at_end(block)
                sweep(lanes, count(0), hi, past, taps)
                b.branch(end)
            b.position_at_end(end)

        most, more = b.and_(W, count(-lanes)), b.and_(W, count(-8))
        aligned = b.icmp_unsigned("==", b.and_(b.ptrtoint(out, long), count(63)), count(0))
        with b.if_else(b.and_(aligned, past)) as (then, otherwise):
            with then:
                wide(most, True)
            with otherwise:
                wide(most, False)
        sweep(8, most, more)
        sweep(1, more, W)

    @intrinsic
    def weigh(typing: Any, o: Any, x: Any, at: Any, q: Any, n: Any, W: Any, past: Any, like: Any) -> Any:
        size, lanes = (4, 64) if like == types.float32 else (8, 32)

        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            b.function.attributes.add("noinline")  # long, and called from many places
            write(b, context.get_data_type(like), size, lanes, args[:4], *args[4:7])
            return context.get_dummy_value()

        whole = types.int64
        return types.void(whole, whole, whole, whole, whole, whole, types.boolean, like), codegen

    return weigh


@loop
def sums(o, x, at, q, n, W, past, like):
    """What `combine` says, of addresses, in numbers of the type of `like`."""
    weigh(o, x, at, q, n, W, past, like)


@part
def combine(o, a, x, at, b, q, c, n, W, past):
    """o[a + j] = sum_{k < n} q[c + k] x[at[b + k] + j] for 0 <= j < W.

    o, x, q are contiguous arrays of one type, `at` of int64; past: write past the cache, where o[a] is aligned. To be
    called in a loop that all four arrays outlive.
    """
    sums(address(o, a), address(x, 0), address(at, b), address(q, c), n, W, past, o.dtype.type(0))


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
def extend(x, a, pad, W, reflect, sign):
    """x[a + j] for -pad <= j < 0 and W <= j < W + pad from 0 <= j < W; a reversed picture is multiplied by sign."""
    for i in range(2 * pad):
        j = i - pad if i < pad else W + i - pad
        value = x[a + wrap(j, W, reflect)]
        x[a + j] = sign * value if mirrored(j, W, reflect) else value


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialised tensor of this shape and of the type of `like`.

    A large one takes the memory of another that nobody holds any more, if one fits: fresh memory is cleared by the
    system page by page, which can take longer than to compute what is written there.
    """
    n = prod(shape) * like.element_size()
    if n < PAGES:
        return torch.empty(shape, dtype=like.dtype)
    found = next((size for size in sorted(_spare) if n <= size - 64 <= 2 * n), 0)
    memory = _spare.pop(found, None)
    if memory is None:
        memory = np.empty(n + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array = memory[start : start + n].view(like.detach().numpy().dtype).reshape(shape)
    weakref.finalize(array, _keep, memory).atexit = False
    return torch.from_numpy(array)


_spare: dict[int, Any] = {}


def _keep(memory: Any) -> None:
    """The pieces let go last are kept, of different sizes, KEPT bytes in all."""
    _spare[memory.size] = memory
    while sum(_spare) > KEPT or len(_spare) > 4:
        _spare.pop(next(iter(_spare)), None)
