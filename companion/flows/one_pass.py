r"""W~^T S(W u) without storing W u, where companion.kernels knows W and S and no derivative is asked for.   (4.5)

Paper: (4.5).  Notebook: none, it is what `Shrinkage` takes by itself.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from companion.kernels import hooked, unwatched
from companion.kernels.frames import cascade
from companion.kernels.gpu import on_gpu
from companion.kernels.shrinkage import Rule, shrinkage
from companion.operators.frames import FrameletTransform


def one_pass(u: Tensor, W: FrameletTransform, S: Any, dual: FrameletTransform) -> Tensor | None:
    """W~^T S(W u), or None where it is to be composed of its three parts.

    S is known if its class names its `rule` and its thresholds are one number for each band, or for each level where
    a rule shrinks all bands of a level together.
    """
    rule = vars(type(S)).get("rule")  # not inherited: a subclass shrinks in its own way
    together = rule == Rule.ISOTROPIC
    plain = type(W) is FrameletTransform and type(dual) is FrameletTransform and not hooked(W, S, dual)
    if rule is None or not plain or (together and W.dim == 3):
        return None
    if together and (S.levels, S.dim, S.bands) != (W.levels, W.dim, len(W.bands)):
        return None
    thresholds = [S.lam, getattr(S, "mu", S.lam)]
    shape = (W.levels if together else len(W.bands), *[1] * (W.dim + together))
    if not unwatched(u, *thresholds) or any(v.ndim and v.shape != shape for v in thresholds):
        return None
    W._check(u, "u", W.dim)
    form = cascade(W, u)
    back = form if dual is W else cascade(dual, u)
    if form is None or back is None:
        return None
    lam, mu = (v.expand(shape).flatten() for v in thresholds)
    if not on_gpu(u):
        return shrinkage(u, form, back, rule, lam, mu)
    from companion.kernels import gpu_shrinkage as gpu

    fits = all(gpu.reaches(f, tuple(u.shape[u.ndim - W.dim :])) for f in (form, back))
    return gpu.shrinkage(u, form, back, rule, lam, mu) if fits else None
