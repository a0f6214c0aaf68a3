r"""u^{k+1} = F(u^k) block by block: a block and the halo of pixels around it that F looks at are enough.   (3.3), (4.5)

If F(u)[n] depends on u[m] for |m_i - n_i| <= w only, then k steps on a block need k w pixels more on each of its sides,
and are exact inside. So a picture larger than the memory is a Dask array, and its blocks go to the processors, or the
machines, that there are:

    u = dask.array.from_array(OnDisk("scan.npy"), chunks=(64, 512, 512))
    v = over_blocks(Shrinkage(W, S), u)                                     (4.5); nothing is computed yet
    v = over_blocks(Euler(PeronaMalik(g, grad), dt), u, k=20, at_once=4)    20 steps of (3.3), 5 exchanges of halos
    v.store(OnDisk.new("result.npy", u.shape, u.dtype), lock=False)         as many blocks at once as there are workers

w is read off the filters: the reach of W and of W~^T together, of grad and grad^T, of the truncated Gaussian. The
border of the picture is the map's own: where it reflects, a block at the border has no halo beyond it, and the map
mirrors it as it mirrors the picture; where it is periodic, the halo comes from the other end.

Paper: (3.3), (4.5).  Notebook: none; docs/scale.md says when this pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from companion.dynamics import Map, run
from companion.flows.diffusion import Diffusion, Heat, PeronaMalik, TVFlow
from companion.flows.schemes import RK4, Euler, Heun
from companion.flows.shrinkage import Firm, Garrote, Hard, Isotropic, IsotropicSoft, Shrinkage, Soft
from companion.operators.differences import Gradient
from companion.operators.frames import FrameletTransform
from companion.operators.gradients import FrameGradient
from companion.operators.grid import BOUNDARIES
from companion.operators.measure import gaussian_kernel

STAGES = {Euler: 1, Heun: 2, RK4: 4}  # evaluations of F, one within the other


class Halo(NamedTuple):
    """What a map sees: F(u)[n] depends on u[m] with |m_i - n_i| <= width only, along the last `dim` axes; `boundary` is
    that of its grid.
    """

    width: int
    dim: int
    boundary: str


def reach(step: Any) -> Halo:
    r"""The least width w such that one step is exact inside a block that is w pixels wider on each side.

    Shrinkage            (4.5): that of W~^T W, (p - 1)(2^L - 1) for a tight frame of L levels and filters of p taps
    PeronaMalik, Heat    (3.3): that of grad^T grad, 1 for forward differences; sigma > 0 adds the Gaussian's radius,
                         ceil(4 sigma/h). Diffusion and TVFlow (without data) likewise
    Euler, Heun, RK4     once, twice and four times that of their field

    Raises TypeError for a map whose reach is not known, ValueError for one that holds data of the whole picture.

    >>> from companion import Soft, bspline
    >>> W = FrameletTransform(bspline(2), levels=3, dim=3, boundary="reflect")
    >>> reach(Shrinkage(W, Soft(W.weights(0.1))))
    Halo(width=14, dim=3, boundary='reflect')
    """
    if type(step) in STAGES:
        F = reach(step.F)
        return F._replace(width=STAGES[type(step)] * F.width)
    if type(step) is Shrinkage and _pointwise(step.S, step.W.dim):
        W, dual = _span(step.W), _span(step.dual)
        return Halo(max(dual[1] - W[0], W[1] - dual[0]), step.W.dim, step.W.boundary)
    if type(step) in (Diffusion, Heat, PeronaMalik, TVFlow) and type(step.grad) in (Gradient, FrameGradient):
        if getattr(step, "f", None) is not None:
            raise ValueError(
                "A block needs its own part of all that a step holds, and the term (f - u) / nu of this TVFlow holds "
                f"data f of the whole picture, shape {tuple(step.f.shape)}. Leave f and nu out, or run the flow in "
                "memory."
            )
        lo, hi = _span(step.grad)
        smoothing = len(gaussian_kernel(step.sigma / step.grad.h, dim=1)) // 2 if step.sigma else 0
        return Halo(hi - lo + smoothing, step.grad.dim, step.grad.boundary)
    raise TypeError(
        "A block needs a halo as wide as a step looks, the same rule at every pixel. How far a step of "
        f"{_name(step)} looks is not known. Say it, by halo=Halo(width, dim, boundary), if step(u)[n] depends on the "
        "pixels within `width` alone. What goes through the Fourier transform or a linear solve depends on all of "
        "them, what has a number for each pixel needs its own part of these: both are run in memory."
    )


def over_blocks(step: Map, u: Any, k: int = 1, at_once: int = 1, halo: Halo | None = None) -> Any:
    r"""u^k of u^{k+1} = F(u^k), for a Dask array: equal to `run(step, u, k=k).u`, to rounding, and computed when asked.

    u        a dask array (*batch, *space) of real floating point, cut along any axes; dask comes with the extra `scale`
    at_once  steps between two exchanges: halos as many times as wide, and the pixels in them computed anew
    halo     of one step, where `reach(step)` does not know it

    Raises ImportError without dask, TypeError for what is no dask array or not real, ValueError for blocks smaller than
    the halo, too few axes, k < 0, a halo that is none.
    """
    try:
        import dask.array as da
    except ImportError as error:
        raise ImportError(
            "Blocks are those of a dask array, and there is no dask: pip install 'companion[scale]'. In memory "
            "run(step, u, k=k) works without."
        ) from error
    if not isinstance(u, da.Array):
        raise TypeError(
            f"Blocks are those of a dask array; got {type(u).__name__}. Cut it, "
            "dask.array.from_array(numpy.asarray(u), chunks=...), or use run(step, u, k=k), in memory."
        )
    if u.dtype.kind != "f":
        raise TypeError(f"A picture is real and floating point; got {u.dtype}. Convert it, u.astype('float32').")
    if k < 0 or at_once < 1:
        raise ValueError(
            f"k >= 0 steps are taken, at_once >= 1 of them between exchanges; got {k=}, {at_once=}. k=0 gives u "
            "itself, at_once=1 an exchange after every step."
        )
    width, dim, boundary = reach(step) if halo is None else halo
    if width < 0 or dim < 1 or boundary not in BOUNDARIES:
        raise ValueError(
            f"A halo is width >= 0 pixels along dim >= 1 axes, with a boundary of {', '.join(BOUNDARIES)}; got "
            f"{width=}, {dim=}, {boundary=}. For a step that looks at neighbours: Halo(1, 2, 'reflect')."
        )
    if u.ndim < dim:
        raise ValueError(
            f"The map acts on the last {dim} axes; got an array of shape {u.shape}. Give one with {dim} axes or more, "
            f"or make the map for dim={u.ndim}."
        )
    cut = {axis: len(sizes) > 1 and axis >= u.ndim - dim for axis, sizes in enumerate(u.chunks)}
    for n in [at_once] * (k // at_once) + [k % at_once] * (k % at_once > 0):
        _check_blocks(u.chunks, n, width, cut)
        u = da.map_overlap(
            _steps,
            u,
            depth={axis: n * width if cut[axis] else 0 for axis in cut},
            boundary={axis: "periodic" if boundary == "periodic" and cut[axis] else "none" for axis in cut},
            allow_rechunk=False,
            dtype=u.dtype,
            meta=u._meta,
            step=step,
            k=n,
        )
    return u


class OnDisk:
    """u[i:j, ...] of a picture in a .npy file: a block is read from the file, or written to it, when it is asked for.

    What travels to a worker is the name of the file, so workers share a folder, and none holds more than its blocks.

    path  a file that is there; OnDisk.new(path, shape, dtype) makes one, of zeros, without writing them out
    """

    def __init__(self, path: str | Path):
        self.path = str(path)
        file = np.load(self.path, mmap_mode="r")
        self.shape, self.dtype, self.ndim = file.shape, file.dtype, file.ndim

    @classmethod
    def new(cls, path: str | Path, shape: Sequence[int], dtype: Any = np.float32) -> OnDisk:
        """A file for a picture of this shape, all 0."""
        np.lib.format.open_memmap(str(path), mode="w+", dtype=np.dtype(dtype), shape=tuple(shape))
        return cls(path)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.array(np.load(self.path, mmap_mode="r")[index])

    def __setitem__(self, index: Any, block: np.ndarray) -> None:
        np.load(self.path, mmap_mode="r+")[index] = block


def _steps(block: np.ndarray, step: Map, k: int) -> np.ndarray:
    """k steps on one block and its halo."""
    with torch.no_grad():
        return run(step, torch.from_numpy(np.require(block, requirements=["C", "W"])), k=k).u.numpy()


def _span(K: FrameletTransform | Gradient | FrameGradient) -> tuple[int, int]:
    """(lo, hi): (K u)[n] depends on u[n + k] with lo <= k_i <= hi."""
    if isinstance(K, Gradient):
        return 0, 1
    filters: Iterable = K.filters if isinstance(K, FrameGradient) else [K.filter(*band) for band in K.bands]
    ends = [(o, o + p - 1) for q in filters for o, p in zip(q.origin, q.taps.shape, strict=True)]
    return min(0, *(lo for lo, _ in ends)), max(0, *(hi for _, hi in ends))


def _pointwise(S: Any, dim: int) -> bool:
    """Whether S acts on the coefficients of each pixel alone, with the same thresholds everywhere."""
    if type(S) is Isotropic:
        return _pointwise(S.S, dim)
    known = type(S) in (Soft, Hard, Garrote, Firm, IsotropicSoft)
    return known and all(n == 1 for lam in (S.lam, getattr(S, "mu", S.lam)) for n in lam.shape[-dim:])


def _check_blocks(chunks: Sequence[Sequence[int]], k: int, width: int, cut: dict[int, bool]) -> None:
    for axis, sizes in enumerate(chunks):
        if cut[axis] and min(sizes) < k * width:
            raise ValueError(
                f"A halo comes from the next block alone: {k} step(s) look {k * width} pixels beyond a block, and "
                f"along axis {axis} one has only {min(sizes)}. Cut the array into larger blocks, u.rechunk(...), or "
                "take fewer steps at once."
            )


def _name(step: Any) -> str:
    inner = getattr(step, "F", getattr(step, "S", None))
    return type(step).__name__ + (f"({type(inner).__name__})" if inner is not None else "")
