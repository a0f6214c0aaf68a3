r"""o[j] = sum_k q[k] x[at_k + j]: rows combined, the one operation beneath every tensor-product filter.

Along the columns of a picture at_k are the starts of other rows, along a row they are the samples s k beside it. The sum
stays in registers over 64 samples, and may pass by the cache on its way to memory: a result larger than the cache is
not read back, so fetching its old contents first would be a third of all traffic.

Paper: (2.1).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from companion.kernels import loop, primitive

STREAM = 2**23  # bytes; a larger result does not stay in the cache of a core, and is written past it


@primitive
def weigh() -> Any:
    """weigh(o, a, x, at, q, n, W, past): o[a + j] = sum_{k < n} q[k] x[at[k] + j] for 0 <= j < W, n >= 1.

    o, x, q are contiguous arrays of one type, `at` of int64; past: write past the cache where o[a] is aligned.
    """
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def weigh(typing: Any, o: Any, a: Any, x: Any, at: Any, q: Any, n: Any, W: Any, past: Any) -> Any:
        real, single = o.dtype, o.dtype == types.float32
        size, lanes = (4, 64) if single else (8, 32)

        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            def data(i: int) -> Any:
                return context.make_array(signature.args[i])(context, b, args[i]).data

            number, long = context.get_data_type(real), ir.IntType(64)
            out, start, rows, weights = b.gep(data(0), [args[1]]), data(2), data(3), data(4)
            zero, one = ir.Constant(long, 0), ir.Constant(long, 1)
            mark = b.module.add_metadata([ir.Constant(ir.IntType(32), 1)])

            def term(k: Any, j: Any, vector: Any) -> tuple[Any, Any]:
                """q[k] and x[at[k] + j], ..., as vectors."""
                source = b.gep(start, [b.add(b.load(b.gep(rows, [k])), j)])
                lane = b.insert_element(
                    ir.Constant(vector, ir.Undefined), b.load(b.gep(weights, [k])), ir.Constant(ir.IntType(32), 0)
                )
                same = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
                spread = b.shuffle_vector(lane, ir.Constant(vector, ir.Undefined), same)
                return spread, b.load(b.bitcast(source, vector.as_pointer()), align=size)

            def sweep(lanes: int, lo: Any, hi: Any, past: bool = False) -> None:
                """The samples lo <= j < hi, `lanes` at a time."""
                vector = ir.VectorType(number, lanes)
                with cgutils.for_range_slice(b, lo, hi, ir.Constant(long, lanes), intp=long) as (j, _):
                    total = cgutils.alloca_once(b, vector)
                    b.store(b.fmul(*term(zero, j, vector)), total)
                    with cgutils.for_range_slice(b, one, args[5], one, intp=long) as (k, _):
                        product = b.fmul(*term(k, j, vector), flags=("contract",))
                        b.store(b.fadd(b.load(total), product, flags=("contract",)), total)
                    place = b.bitcast(b.gep(out, [j]), vector.as_pointer())
                    stored = b.store(b.load(total), place, align=64 if past else size)
                    if past:
                        stored.set_metadata("nontemporal", mark)

            W = args[6]
            wide = b.and_(W, ir.Constant(long, -lanes))
            rest = b.and_(W, ir.Constant(long, -8))
            aligned = b.icmp_unsigned("==", b.and_(b.ptrtoint(out, long), ir.Constant(long, 63)), zero)
            with b.if_else(b.and_(aligned, args[7])) as (then, otherwise):
                with then:
                    sweep(lanes, zero, wide, past=True)
                with otherwise:
                    sweep(lanes, zero, wide)
            sweep(8, wide, rest)
            sweep(1, rest, W)
            return context.get_dummy_value()

        return types.void(o, types.int64, x, at, q, types.int64, types.int64, types.boolean), codegen

    return weigh


@loop
def wrap(i: int, n: int, reflect: bool) -> int:
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
    return reflect and i % (2 * n) >= n


@loop
def extend(x: Any, a: int, pad: int, W: int, reflect: bool, sign: float) -> None:
    """x[a + j] for -pad <= j < 0 and W <= j < W + pad from 0 <= j < W; a reversed picture is multiplied by sign."""
    for i in range(2 * pad):
        j = i - pad if i < pad else W + i - pad
        value = x[a + wrap(j, W, reflect)]
        x[a + j] = sign * value if mirrored(j, W, reflect) else value


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialised tensor of this shape, in large pages where the system grants them to numpy's arrays."""
    return torch.empty(shape, dtype=like.dtype)
