r"""How near a picture is to another one: PSNR and SSIM, for grey values that span [0, 1]; and the weight that is best.

Notebook: all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def psnr(u: Tensor, ref: Tensor) -> float:
    """10 log10(1 / mean |u - ref|^2) in decibels, for grey values that span [0, 1]; infinite where u = ref."""
    _alike(u, ref)
    mse = float((u.detach() - ref.detach()).to(torch.float64).square().mean())
    return math.inf if mse == 0 else -10 * math.log10(mse)


def ssim(u: Tensor, ref: Tensor) -> float:
    """Structural similarity, 1 for equal pictures, through scikit-image with Wang's window (Gaussian, sigma = 1.5).

    Pictures are (H, W) or (3, H, W), with grey values that span [0, 1].
    """
    from skimage.metrics import structural_similarity

    _alike(u, ref)
    a, b = (v.detach().cpu().to(torch.float64).numpy() for v in (u, ref))
    window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(a, b, data_range=1.0, channel_axis=0 if a.ndim == 3 else None, **window))


def best_weight(score: Callable[[float], float], lo: float, hi: float, factor: float = 1.05) -> tuple[float, float]:
    """(weight, score) where score is highest for lo <= weight <= hi: golden-section search on log weight, which is then
    known to the given factor if the score has one maximum. No weight is tried twice.

    >>> weight, _ = best_weight(lambda w: -abs(w - 0.1), 0.01, 1.0)
    >>> 0.095 < weight < 0.105
    True
    """
    golden = (math.sqrt(5) - 1) / 2
    found: dict[float, float] = {}

    def at(x: float) -> float:
        if x not in found:
            found[x] = score(math.exp(x))
        return found[x]

    a, b = math.log(lo), math.log(hi)
    x, y = b - golden * (b - a), a + golden * (b - a)
    while b - a > math.log(factor):
        if at(x) > at(y):
            b, y, x = y, x, a + (y - a) * (1 - golden)
        else:
            a, x, y = x, y, b - (b - x) * (1 - golden)
    top = max(found, key=lambda x: found[x])
    return math.exp(top), found[top]


def _alike(u: Tensor, ref: Tensor) -> None:
    if u.shape != ref.shape:
        raise ValueError(
            f"Two pictures are compared pixel by pixel: equal shapes; got {tuple(u.shape)} and {tuple(ref.shape)}."
        )
