r"""The readable form itself, compiled for a GPU by torch.compile: few passes over memory instead of one an operation.

    @compiled
    def forward(self, u): ...     runs as written; on a GPU, for large pictures and without derivatives, compiled

Plain torch reads and writes a picture in every operation. torch.compile traces them all and writes loops that keep
what lies between in registers. Nothing is written twice: the formula is its own definition. Framelets, for which this
takes half a minute, and PDHG, which torch.compile cannot follow, have loops in Triton instead (tiles.py).

Paper: Sec 2, Sec 3 (its cost, not its content).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from threading import RLock
from types import FunctionType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from companion.kernels import TYPES, _wanted, plain, taken, unwatched

LEAST = 2**18  # entries; below, a loop of Triton saves less than the second in which it is compiled
MOST = 2**31 - 2**12  # entries; the kernels count the samples of a picture in 32 bits
SMALLEST = 2**20  # entries; below, launches cost more than memory, and compilation takes seconds
Method = TypeVar("Method", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {
    "force_pointwise_cat": True
}  # a continued border or a stack of components is no pass of its own
_forms: dict[tuple[Any, ...], Callable[..., Any]] = {}  # by method, and by what its object says of itself
_ours, _lock = False, RLock()  # whether one of them runs, or is traced


def on_gpu(u: Tensor) -> bool:
    """Whether u lies on a GPU for which torch.compile writes loops."""
    return u.is_cuda and _triton() and torch.cuda.get_device_capability(u.device) >= (7, 0)


@cache
def _triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def worth(*tensors: Tensor) -> bool:
    """Whether to compile what is done with these tensors: they lie on a GPU, are float32 or float64, no derivative is
    asked for, and the first has at least SMALLEST entries (`use` decides otherwise).
    """
    wanted = _wanted.get()
    if not tensors or wanted is False or not (wanted or tensors[0].numel() >= SMALLEST):
        return False
    return unwatched(*tensors) and all(
        on_gpu(u) and u.dtype in TYPES and torch.autograd.forward_ad.unpack_dual(u).tangent is None for u in tensors
    )


def works(device: torch.device) -> bool:
    """Whether Triton launches kernels there; it is imported, and tried once, when this is first asked."""
    from companion.kernels import tiles

    return bool(tiles.works(device))


def launched(*tensors: Tensor, least: int = LEAST) -> bool:
    """Whether a loop of tiles.py may stand in for the readable form of these tensors; as `taken` for those of a CPU."""
    if torch.compiler.is_compiling():
        return False
    wanted, size = _wanted.get(), tensors[0].numel()
    if wanted is False or not 0 < size < MOST or not (wanted or size >= least):
        return False
    return on_gpu(tensors[0]) and plain(*tensors) and works(tensors[0].device)


def embedded(*tensors: Tensor) -> bool:
    """Whether a loop of tiles.py stands in while torch.compile traces: never without, and see `_embedded`."""
    return False


def _there(u: Tensor) -> bool:
    return u.is_cuda


def _embedded(*tensors: Tensor) -> bool:
    """What `embedded` is while it traces: never in what a user compiles, of which nothing is known; in a form of
    `compiled`, for which no derivative is asked, where the tensors lie on a GPU.
    """
    return _ours and _there(tensors[0])


@contextmanager
def _form() -> Iterator[None]:
    """One at a time, whatever threads there are; what they compile for themselves is not told apart in between."""
    global _ours
    with _lock:
        before, _ours = _ours, True
        try:
            yield
        finally:
            _ours = before


def compiled(f: Method) -> Method:
    """The method f of a Module, compiled where that is `worth` it for the tensors in its arguments; else as written.

    Modules that say the same of themselves (repr) share a compiled form; different ones have their own, since torch
    keeps few forms of one function. Where compilation fails, f runs as written, and a RuntimeWarning says so once.
    """

    @wraps(f)
    def method(self: Any, *args: Any) -> Any:
        if torch.compiler.is_compiling() or not worth(*_tensors(args)) or not unwatched(*self.parameters()):
            return f(self, *args)
        key = f.__qualname__, repr(self), getattr(self, "sigma", None)  # sigma says how long a window is
        if _forms.get(key) is f:
            return f(self, *args)
        try:
            if key not in _forms:
                _without_loops()
                _forms[key] = torch.compile(_copy(f, len(_forms)), fullgraph=True, options=OPTIONS)
            with _form():
                return _forms[key](self, *args)
        except Exception as error:  # whatever a compiler raises; what is wrong with the arguments, f says itself
            value = f(self, *args)
            _forms[key] = f
            reason = str(error).partition("\n")[0]
            warnings.warn(f"{f.__qualname__} runs as written, not compiled: {reason}", RuntimeWarning, stacklevel=2)
            return value

    return cast(Method, method)


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    """The tensors in args and in a tuple there (the state of a solver)."""
    entries = (entry for a in args for entry in (a if isinstance(a, tuple) else (a,)))
    return [entry for entry in entries if isinstance(entry, Tensor)]


def _copy(f: Callable[..., Any], i: int) -> FunctionType:
    """f with code and a name of its own: by them torch counts the forms of a function, and learns which sizes vary."""
    g = cast(FunctionType, f)
    return FunctionType(
        g.__code__.replace(co_name=f"{g.__name__}_{i}"), g.__globals__, g.__name__, g.__defaults__, g.__closure__
    )


@cache
def _without_loops() -> None:
    """Tell torch.compile that no numba loop is taken in what it traces: it cannot follow the question."""

    def never(*tensors: Tensor, **options: int) -> bool:
        return False

    for question in (taken, launched, unwatched):
        torch.compiler.substitute_in_graph(question, skip_signature_check=True)(never)
    torch.compiler.substitute_in_graph(embedded, skip_signature_check=True)(_embedded)
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")  # the index maps of borders
