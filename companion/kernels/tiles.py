r"""What every loop for a GPU is made of: a tile of a picture for each program, and the border.   (2.1)

    kernel(f)                       f as Triton compiles it; f itself where there is no Triton
    launch(f, programs, like, ...)  f(...) by so many programs, on the device of `like`
    numbers(values, like)           numbers that a kernel reads; handed over as such they would become float32

A kernel sees a batch of planes of H rows of W samples, and a program makes BI x BJ samples of one plane. What it holds
in between lies in registers; a tuple of tiles is unrolled when it is compiled. The tests run the kernels in Triton's
interpreter, and compile them for two generations of GPUs.

Paper: (2.1) (its cost, not its content).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from contextlib import nullcontext
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

try:
    triton: Any = importlib.import_module("triton")
    tl: Any = importlib.import_module("triton.language")
except ImportError:  # no Triton for this system: nothing here is ever launched
    triton = tl = None

TILE = 2**9  # samples of a program, in rows of up to ROW
ROW = 2**7
VARIED = {"B", "of", "N", "H", "s", "lod", "loa", "lod2", "loa2", "planes", "rounds"}


def kernel(f: Any) -> Any:
    """f, compiled by Triton at its first launch; numbers annotated as constexpr are compiled into it, those of VARIED
    are not looked at: by others Triton learns that they are 1 or multiples of 16, and compiles for each case.
    """
    if not triton:
        return f
    f = inspect.unwrap(f)
    return triton.jit(f, do_not_specialize=[name for name in inspect.signature(f).parameters if name in VARIED])


def constant(value: int) -> Any:
    """A number that kernels may compare with."""
    return tl.constexpr(int(value)) if triton else int(value)


def launch(f: Any, programs: int, like: Tensor, *args: Any, **constants: Any) -> None:
    """f(like, *args) by `programs` programs on the device of `like`."""
    with torch.cuda.device(like.device) if like.is_cuda else nullcontext():
        f[(programs,)](like, *args, **constants)


@lru_cache(maxsize=256)
def _numbers(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def numbers(values: tuple[float, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """These numbers on the device of `like`, in its type or in another; made once, never to be changed."""
    return _numbers(values, dtype or like.dtype, like.device)


def tiles(planes: int, H: int, W: int, most: int = TILE) -> tuple[int, dict[str, int]]:
    """How many programs, and the sides BI, BJ of their tiles, powers of 2 with BI BJ <= most."""
    BJ = min(ROW, 1 << (W - 1).bit_length())
    BI = min(most // BJ, 1 << (H - 1).bit_length())
    return planes * -(-H // BI) * -(-W // BJ), {"BI": BI, "BJ": BJ}


@kernel
def larger(a, b):
    """The maximum, NaN if one of them is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@kernel
def smaller(a, b):
    """The minimum, NaN if one of them is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@kernel
def trial(x):
    """x + 1."""
    tl.store(x, tl.load(x) + 1)


@cache
def works(device: torch.device) -> bool:
    """Whether a kernel can be launched there: with Triton 3.4 or later, and what it needs, such as a C compiler. Where
    it fails a RuntimeWarning says so once.
    """
    if triton is None or tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4):
        return False
    try:
        x = torch.zeros(1, device=device)
        launch(trial, 1, x)
        return bool(x == 1)
    except Exception as error:  # whatever a compiler raises
        words = f"The readable forms are used on {device}, for Triton fails: {error}".partition("\n")[0]
        warnings.warn(words, RuntimeWarning, stacklevel=4)
        return False


@kernel
def tile(H, W, BI: tl.constexpr, BJ: tl.constexpr):
    """The plane, rows and columns of this program, and which of them lie inside; those outside stand at the border."""
    down, across, t = tl.cdiv(H, BI), tl.cdiv(W, BJ), tl.program_id(0)
    r = t % (down * across)
    i, j = (r // across) * BI + tl.arange(0, BI), (r % across) * BJ + tl.arange(0, BJ)
    inside = (i < H)[:, None] & (j < W)[None, :]
    return (t // (down * across)).to(tl.int64), tl.minimum(i, H - 1), tl.minimum(j, W - 1), inside


@kernel
def samples(size, BLOCK: tl.constexpr):
    """The picture of this program, its samples, and which of them there are; the others stand at the last one."""
    parts = tl.cdiv(size, BLOCK)
    n = (tl.program_id(0) % parts) * BLOCK + tl.arange(0, BLOCK)
    return (tl.program_id(0) // parts).to(tl.int64), tl.minimum(n, size - 1), n < size


@kernel
def at(x, i, j, W):
    """The addresses of the samples (i, j) of a plane at x."""
    return x + i[:, None] * W + j[None, :]


@kernel
def wrap(v, n, reflect: tl.constexpr):
    """E(v) of `operators.grid`, the point of {0, ..., n-1} whose value stands at v, for -n <= v < 2 n."""
    if reflect:
        v = tl.where(v < 0, -1 - v, v)
        return tl.where(v >= n, 2 * n - 1 - v, v)
    v = tl.where(v < 0, v + n, v)
    return tl.where(v >= n, v - n, v)


@kernel
def weight(q, sign, v, n, reflect: tl.constexpr):
    """The tap q, times the parity `sign` of its filter where the continued picture stands at v reversed."""
    if reflect:
        return tl.where((v < 0) | (v >= n), sign * q, q)
    return tl.where((v < 0) | (v >= n), q, q)
