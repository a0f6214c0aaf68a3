r"""The few fused loops that speed asks for: each equals the readable form beside which it is taken.

An operator of the floors above keeps its readable torch form, which is its definition; where `taken` says so, a loop
compiled by numba computes the same numbers in one pass over memory. The readable form stays in use without numba (the
extra `fast`), on a GPU, in other types than float32 and float64, and for small pictures.

    loop(f)            f, compiled at its first call
    part(f)            f, copied into the loops that call it
    parallel(f, n, ..) f(..., start, stop) over parts of range(n), one thread each
    taken(u, ...)      whether a loop may stand in for the readable form of these tensors
    use(True / False)  with use(False): ...   never take a loop there; with True, at every size

Paper: Sec 2, Sec 3 (its cost, not its content).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor

SMALLEST = 2**18  # entries; below, a lesson's picture, loops save less than their compilation and its memory cost
TYPES = (torch.float32, torch.float64)
_wanted: ContextVar[bool | None] = ContextVar("wanted", default=None)  # a choice made by `use`, of this thread alone


@cache
def available() -> bool:
    """Whether numba is installed: `pip install companion[fast]`."""
    return importlib.util.find_spec("numba") is not None


@cache
def _loads() -> bool:
    """Whether numba can be imported, too; said once where it cannot."""
    try:
        import numba  # noqa: F401
    except Exception as error:  # such as numba for another numpy
        warnings.warn(f"The readable forms are used, for numba fails: {error}", RuntimeWarning, stacklevel=4)
        return False
    return True


@contextmanager
def use(kernels: bool) -> Iterator[None]:
    """Inside, take the loops at every size (True) or never (False).

    >>> from companion import FrameletTransform, bspline
    >>> W, u = FrameletTransform(bspline(1)), torch.rand(9, 9, dtype=torch.float64)
    >>> with use(False):
    ...     readable = W(u)
    >>> with use(True):
    ...     torch.allclose(W(u), readable, rtol=0, atol=1e-15)
    True
    """
    before = _wanted.set(kernels)
    try:
        yield
    finally:
        _wanted.reset(before)


def taken(*tensors: Tensor, least: int = SMALLEST) -> bool:
    """Whether a loop may stand in for the readable form: numba is there, all tensors are plain ones on the CPU, of one
    type, float32 or float64, and the first has at least `least` entries (`use` decides otherwise).

    Never while torch.compile traces, or under forward derivatives and transforms of torch.func, which the readable form
    knows.
    """
    wanted = _wanted.get()
    size = tensors[0].numel()
    if wanted is False or size == 0 or not (wanted or size >= least) or not (available() and _loads()):
        return False
    return tensors[0].device.type == "cpu" and plain(*tensors)


def plain(*tensors: Tensor) -> bool:
    """Whether a loop can read these tensors: of one type, float32 or float64, and one device, as they are."""
    return not torch.compiler.is_compiling() and all(
        type(u) in (Tensor, torch.nn.Parameter)
        and u.device == tensors[0].device
        and u.dtype in TYPES
        and u.dtype == tensors[0].dtype
        and u.layout == torch.strided
        and torch.autograd.forward_ad.unpack_dual(u).tangent is None
        and not torch._C._functorch.is_functorch_wrapped_tensor(u)
        for u in tensors
    )


def unwatched(*tensors: Any) -> bool:
    """Whether no derivative and no batching is asked for, by autograd or by a transform of torch.func: then a loop
    need not say how it is differentiated.
    """
    return not any(
        isinstance(u, Tensor)
        and (
            (u.requires_grad and torch.is_grad_enabled())
            or torch._C._functorch.is_functorch_wrapped_tensor(u)
            or torch.autograd.forward_ad.unpack_dual(u).tangent is not None
        )
        for u in tensors
    )


def hooked(*maps: Any) -> bool:
    """Whether somebody looks on at one of these modules by a hook: then it is to be called."""
    return any(getattr(f, "_forward_hooks", None) or getattr(f, "_forward_pre_hooks", None) for f in maps)


def transposed(op: Any, other: Any) -> None:
    """op(v, *numbers) is linear in v with the transpose other(v, *numbers): told to autograd; and vmap hands it batches
    along a first axis.
    """

    def keep(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.numbers = inputs[1:]

    op.register_autograd(
        lambda ctx, v: (_with_tangent(other, v, ctx.numbers), *[None] * len(ctx.numbers)), setup_context=keep
    )
    op.register_vmap(lambda info, at, v, *numbers: (_with_tangent(op, v.movedim(at[0], 0), numbers), 0))


def _with_tangent(op: Any, v: Tensor, numbers: tuple[Any, ...]) -> Tensor:
    """op(v), linear in v, with the forward derivative of v, which an operation of torch.library would drop (and drops
    of a batch of gradients, `is_grads_batched`).
    """
    functorch = torch._C._functorch
    if functorch.is_functorch_wrapped_tensor(v) or functorch.is_legacy_batchedtensor(v):
        return cast(Tensor, op(v, *numbers))
    v, tangent = torch.autograd.forward_ad.unpack_dual(v)
    u: Tensor = op(v, *numbers)
    return u if tangent is None else torch.autograd.forward_ad.make_dual(u, op(tangent, *numbers))


@cache
def _stamp() -> tuple[Any, ...]:
    """When the files of this folder were written. A kept loop holds copies of loops of other files, so it is as old as
    the youngest of them; numba looks at its own file alone.
    """
    return tuple((file.name, file.stat().st_mtime_ns) for file in sorted(Path(__file__).parent.glob("*.py")))


class Loop:
    """f(arrays, numbers), compiled by numba at its first call and kept beside its file for the next process.

    Global loops that f calls are compiled into it; f holds no interpreter lock, so `parallel` may run parts of it at
    once. Sums may be reordered, NaN and infinity keep their meaning.
    """

    def __init__(self, f: Callable[..., Any], inlined: bool = False, kept: bool = True):
        self.f, self.inlined, self.kept = inspect.unwrap(f), inlined, kept
        self.__doc__ = f.__doc__

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """The function as numba knows it."""
        import numba

        f = self.f
        used = {name: f.__globals__[name] for name in f.__code__.co_names if name in f.__globals__}
        loops = {name: value.compiled for name, value in used.items() if isinstance(value, Loop)}
        g = FunctionType(f.__code__, {**f.__globals__, **loops}, f.__name__, f.__defaults__, f.__closure__)
        g.__qualname__, g.__module__ = f.__qualname__, f.__module__
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}
        if self.inlined:
            return numba.njit(inline="always", **options)(g)
        if not self.kept:
            return numba.njit(**options)(g)
        try:
            kept = numba.njit(cache=True, **options)(g)
        except RuntimeError:  # no folder to keep it in
            return numba.njit(**options)(g)
        kept._cache._cache_file._source_stamp = _stamp()
        return kept

    def __call__(self, *args: Any) -> Any:
        return self.compiled(*args)


class Primitive(Loop):
    """What numba has no loop for: f() makes it, when a loop that uses it is first called."""

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """What f makes."""
        return self.f()


def loop(f: Callable[..., Any]) -> Loop:
    """f as a `Loop`: numba is imported, and f compiled, when it is first called."""
    return Loop(f)


def part(f: Callable[..., Any]) -> Loop:
    """f as a `Loop` that is copied into every loop that calls it: a call with arrays would count their owners anew."""
    return Loop(f, inlined=True)


def primitive(f: Callable[[], Any]) -> Loop:
    """f() as part of a `Loop`, made when it is first needed."""
    return Primitive(f)


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads are kept; those of a parent do not live on in a forked process."""
    return ThreadPoolExecutor(workers, "kernels")


def parallel(f: Loop | Callable[..., None], n: int, *args: Any, keep: tuple[Any, ...] = ()) -> None:
    """f(*args, start, stop) on consecutive parts of range(n), as many as torch has threads; waits for all of them.

    keep    what f reaches only by an address: it lives until every part is done, even if the wait is interrupted
    """
    parts = max(1, min(n, torch.get_num_threads()))
    bounds = [n * i // parts for i in range(parts + 1)]
    compiled = f.compiled if isinstance(f, Loop) else f

    def work(start: int, stop: int) -> Any:
        return compiled(*args, start, stop), keep

    waiting = [_pool(parts - 1, os.getpid()).submit(work, *bounds[i : i + 2]) for i in range(1, parts)]
    compiled(*args, *bounds[:2])
    for part in waiting:
        part.result()
