r"""W u and W^T d of a tensor-product bank by fused loops, with derivatives of every order.   (2.1)-(2.3)

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from companion.kernels import parallel, taken, transposed, unwatched
from companion.kernels.cascade import Cascade, banks, between, flat, grids, numbers
from companion.kernels.gpu import launched, on_gpu
from companion.kernels.merge import merge
from companion.kernels.rows import STREAM, empty, streamed
from companion.kernels.split import split


def cascade(W: Any, u: Tensor) -> Cascade | None:
    """The FrameletTransform W for the loops, where they may stand in for its readable form on a picture u."""
    taps = [getattr(W, f"q{e}") for e in range(len(W.bank))]
    if not (W.separable and (taken(u) or launched(u)) and unwatched(*taps)):
        return None
    filters = tuple((q.origin[0], *tap) for q, tap in zip(W.bank, known(W, taps), strict=True))
    form: Cascade | None = numbers(filters, W.levels, W.dim, W.boundary == "reflect", tuple(W.indices))
    return None if form and on_gpu(u) and not form.near(u.shape[-W.dim :]) else form


class Known:
    """Taps as numbers, and of which tensors; a copy begins empty."""

    def __init__(self, taps: Sequence[Tensor] = ()):
        self.stamps, self.numbers = [(q, q._version) for q in taps], [q.tolist() for q in taps]

    def of(self, taps: list[Tensor]) -> bool:
        """Whether these are the tensors, unchanged."""
        same = len(taps) == len(self.stamps)
        return same and all(q is p and q._version == v for q, (p, v) in zip(taps, self.stamps, strict=True))

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Known, ()


def known(W: Any, taps: list[Tensor]) -> list[list[float]]:
    """The taps of W as numbers, for which a GPU is asked once, not at every call."""
    if not on_gpu(taps[0]) or any(q.is_inference() for q in taps):
        return [q.tolist() for q in taps]
    if not vars(W).setdefault("_known", Known()).of(taps):
        W._known = Known(taps)
    numbers: list[list[float]] = W._known.numbers
    return numbers


def split_all(u: Tensor, form: Cascade, out: Tensor) -> None:
    """out = W u; both contiguous."""
    i = u.ndim - form.dim
    source, beside, many = u, empty(u.shape, u) if form.levels > 1 else u, u.shape[:i].numel()
    axes = banks(form, u.dtype == torch.float32)
    for where, grid, order in grids(tuple(u.shape[i:]), form, streamed(out, STREAM)):
        args = flat(source), flat(out), between(out, beside), where, grid, *axes, order
        parallel(split, many * order.size, *args, keep=(out, beside))
        source = out if where[form.order[0]] == 0 else beside


def merge_all(d: Tensor, form: Cascade, out: Tensor) -> None:
    """out = W^T d; both contiguous."""
    i = out.ndim - form.dim
    beside, many = empty(out.shape, out) if form.levels > 1 else out, out.shape[:i].numel()
    axes, low = banks(form, d.dtype == torch.float32), out
    levels = grids(tuple(out.shape[i:]), form, streamed(out))
    for level, (where, grid, order) in reversed(list(enumerate(levels))):
        source = where.copy()
        source[form.order[0]] = 0 if level == form.levels - 1 else -1
        target = out if level % 2 == 0 else beside
        args = flat(d), between(d, low), flat(target), source, grid, *axes, order
        parallel(merge, many * order.size, *args, keep=(d, low))
        low = target


def packed(u: Tensor) -> Tensor:
    """u, contiguous and at an address that is a multiple of the size of an entry."""
    u = u.resolve_neg()
    return u.contiguous() if u.data_ptr() % u.element_size() == 0 else u.clone(memory_format=torch.contiguous_format)


def _bands(u: Tensor, *form: Any) -> Any:
    """The shape of W u."""
    _, _, _, _, levels, dim, _, order = form
    return (*u.shape[: u.ndim - dim], 1 + levels * (len(order) - 1), *u.shape[u.ndim - dim :])


def _picture(d: Tensor, *form: Any) -> Any:
    """The shape of W^T d."""
    axis = d.ndim - form[5] - 1
    return (*d.shape[:axis], *d.shape[axis + 1 :])


def _analysis(u: Tensor, *form: Any) -> Tensor:
    if on_gpu(u):
        from companion.kernels import gpu_frames

        out = u.new_empty(_bands(u, *form))
        gpu_frames.split_all(packed(u), Cascade.of(*form), out)
        return out
    out = empty(_bands(u, *form), u)
    split_all(packed(u), Cascade.of(*form), out)
    return out


def _synthesis(d: Tensor, *form: Any) -> Tensor:
    if on_gpu(d):
        from companion.kernels import gpu_frames

        out = d.new_empty(_picture(d, *form))
        gpu_frames.merge_all(packed(d), Cascade.of(*form), out)
        return out
    out = empty(_picture(d, *form), d)
    merge_all(packed(d), Cascade.of(*form), out)
    return out


FORM = (
    "(Tensor u, float[] q, int[] k, int[] length, int[] sign, int levels, int dim, bool reflect, int[] order) -> Tensor"
)
_W = torch.library.custom_op("companion::framelets", _analysis, mutates_args=(), schema=FORM)
_WT = torch.library.custom_op("companion::framelets_adjoint", _synthesis, mutates_args=(), schema=FORM)
_W.register_fake(lambda u, *form: u.new_empty(_bands(u, *form)))
_WT.register_fake(lambda d, *form: d.new_empty(_picture(d, *form)))


transposed(_W, _WT)
transposed(_WT, _W)


def analysis(u: Tensor, form: Cascade) -> Tensor:
    """W u, (*batch, *space) -> (*batch, band, *space), with derivatives of every order."""
    return (_analysis if unwatched(u) else _W)(u, *form)


def synthesis(d: Tensor, form: Cascade) -> Tensor:
    """W^T d, (*batch, band, *space) -> (*batch, *space), with derivatives of every order."""
    return (_synthesis if unwatched(d) else _WT)(d, *form)
