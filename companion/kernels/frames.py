r"""W u and W^T d of a tensor-product bank by fused loops, with derivatives of every order.   (2.1)-(2.3)

Paper: (2.1)-(2.3).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from companion.kernels import parallel, taken, unwatched
from companion.kernels.cascade import Cascade, banks, flat, grids, numbers
from companion.kernels.merge import merge
from companion.kernels.rows import empty, streamed
from companion.kernels.split import split


def cascade(W: Any, u: Tensor) -> Cascade | None:
    """The FrameletTransform W for the loops, where they may stand in for its readable form on a picture u."""
    taps = [getattr(W, f"q{e}") for e in range(len(W.bank))]
    if not (W.separable and taken(u) and unwatched(*taps)):
        return None
    filters = tuple((q.origin[0], *tap.tolist()) for q, tap in zip(W.bank, taps, strict=True))
    return numbers(filters, W.levels, W.dim, W.boundary == "reflect", tuple(W.indices))


def between(x: Tensor, y: Tensor) -> int:
    """The i for which x[i] would be y[0], if x went on so far."""
    return (y.data_ptr() - x.data_ptr()) // x.element_size()


def split_all(u: Tensor, form: Cascade, out: Tensor) -> None:
    """out = W u; both contiguous."""
    i = u.ndim - form.dim
    source, beside, many = u, empty(u.shape, u) if form.levels > 1 else u, u.shape[:i].numel()
    axes = banks(form, u.dtype == torch.float32)
    for where, grid, order in grids(tuple(u.shape[i:]), form, streamed(out)):
        parallel(split, many * order.size, flat(source), flat(out), between(out, beside), where, grid, *axes, order)
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
        parallel(merge, many * order.size, flat(d), between(d, low), flat(target), source, grid, *axes, order)
        low = target


class _Linear(torch.autograd.Function):
    """A linear map and its adjoint, each the derivative of the other; a batch of inputs is one more axis in front."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Cascade], output: Tensor) -> None:
        ctx.form = inputs[1]

    @classmethod
    def vmap(cls, info: Any, dims: Any, u: Tensor, form: Cascade) -> tuple[Tensor, int]:
        return cls.apply(u.movedim(dims[0], 0), form), 0


class _Analysis(_Linear):
    @staticmethod
    def forward(u: Tensor, form: Cascade) -> Tensor:
        i = u.ndim - form.dim
        out = empty((*u.shape[:i], 1 + form.levels * (len(form.order) - 1), *u.shape[i:]), u)
        split_all(u.contiguous(), form, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Synthesis.apply(grad, ctx.form), None


class _Synthesis(_Linear):
    @staticmethod
    def forward(d: Tensor, form: Cascade) -> Tensor:
        i = d.ndim - form.dim
        out = empty((*d.shape[: i - 1], *d.shape[i:]), d)
        merge_all(d.contiguous(), form, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Analysis.apply(grad, ctx.form), None


def analysis(u: Tensor, form: Cascade) -> Tensor:
    """W u, (*batch, *space) -> (*batch, band, *space), with derivatives of every order."""
    return _Analysis.forward(u, form) if unwatched(u) else _Analysis.apply(u, form)


def synthesis(d: Tensor, form: Cascade) -> Tensor:
    """W^T d, (*batch, band, *space) -> (*batch, *space), with derivatives of every order."""
    return _Synthesis.forward(d, form) if unwatched(d) else _Synthesis.apply(d, form)
