r"""What the explorers draw with, and the signals they share: arrays of pixels, kept while a slider moves.

Notebook: all, inside the explorers.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import FrameletTransform, GaussianNoise, bspline
from companion.kernels import use
from companion.lab.images import camera, phantom, texture
from companion.lab.raster import beside, pixels

SIGMA = 0.1  # deviation of the noise, in grey values
SIGNED = "PuOr"
PICTURES = {"camera": camera, "phantom": phantom, "texture": texture}
Answer = tuple[np.ndarray, dict[str, Any]]

# ---- what does not change while a slider moves ----


@functools.lru_cache(maxsize=8)
def signal(name: str, n: int) -> Tensor:
    """The picture of that name, n x n, float32."""
    return PICTURES[name](n).float()


@functools.lru_cache(maxsize=1)
def noisy(n: int) -> Tensor:
    """The photograph with Gaussian noise of deviation SIGMA."""
    return GaussianNoise(SIGMA, seed=1)(signal("camera", n))


@functools.lru_cache(maxsize=16)
def transform(order: int, levels: int) -> FrameletTransform:
    """W of the splines of that order."""
    return FrameletTransform(bspline(order), levels)


@functools.lru_cache(maxsize=1)
def analysed(order: int, levels: int, n: int) -> tuple[FrameletTransform, Tensor, Tensor]:
    """W, the gains of its bands, and W f of the noisy photograph f."""
    W = transform(order, levels)
    return W, W.gains, W(noisy(n))


def zoom(n: int) -> int:
    """How often a picture of n pixels a side is enlarged: twice, where it is small."""
    return 2 if n < 256 else 1


def loops(n: int) -> AbstractContextManager[None]:
    """Inside, the fused loops for pictures of 256 pixels a side or more: they halve the time of an answer, the first
    one apart, which may compile them.
    """
    return use(True) if n >= 256 else nullcontext()


# ---- drawing ----


def stack(*rows: np.ndarray, gap: int = 4) -> np.ndarray:
    """Colour pictures of equal width, one above the other."""
    return np.moveaxis(beside(*(np.moveaxis(row, 0, 1) for row in rows), gap=gap), 0, 1)


def taps(q: np.ndarray, side: int) -> np.ndarray:
    """A filter as a square picture, each tap a block of pixels, on white."""
    cut = max(0, (max(q.shape) - side + 1) // 2)  # a filter wider than the square loses its (small) outermost taps
    q = q[cut : q.shape[0] - cut, cut : q.shape[1] - cut]
    scale = side // max(q.shape)
    q = np.kron(q, np.ones((scale, scale)))
    before = [(side - n) // 2 for n in q.shape]
    q = np.pad(q, [(b, side - n - b) for b, n in zip(before, q.shape, strict=True)])
    size = float(np.abs(q).max())
    return pixels(q, -size, size, SIGNED)


def histogram(t: Tensor, lam: float, side: int, end: float = 6.0) -> np.ndarray:
    """How often |t| takes each value in [0, 6], on a logarithmic scale from 1 up; grey below lam, orange above;
    black: pure noise.
    """
    bins = side // 4
    edge = torch.linspace(0, end, bins + 1, dtype=torch.float64)
    count = torch.histc(t.abs().double().clamp(max=end), bins, 0.0, end)
    noise = t.numel() * (torch.erf(edge[1:] / 2**0.5) - torch.erf(edge[:-1] / 2**0.5))
    tall = np.log(t.numel())
    height = (side * count.clamp(min=1).log() / tall).int().numpy().repeat(4)
    line = (side * noise.clamp(min=1).log() / tall).int().numpy().repeat(4)
    rows = np.arange(side, 0, -1)[:, None]
    out = np.full((side, side, 3), 255, np.uint8)
    above = np.arange(side) >= lam / end * side
    out[(rows <= height) & ~above] = (190, 190, 190)
    out[(rows <= height) & above] = (230, 140, 40)
    out[(abs(rows - line) < 2) & (line > 0)] = 0
    return out


def plot(true: Tensor, found: Tensor, clip: bool = False) -> np.ndarray:
    """Two rows of n grey values as curves on n x n pixels, 0 at the bottom and 1 at the top: `found` orange. What is
    above 1 is drawn at 1; clip=True leaves it out.
    """
    n = len(true)
    out = np.full((n, n, 3), 255, np.uint8)
    rows = np.arange(n)[:, None]
    for row, colour, thick in ((found, (213, 94, 0), 1), (true, (0, 0, 0), 0)):
        y = ((1 - row.clamp(0, 1)) * (n - 1)).round().int().numpy()
        before = np.concatenate([y[:1], y[:-1]])
        low, high = np.minimum(y, before), np.maximum(y, before)
        seen = (row <= 1).numpy() if clip else True
        out[(rows >= low) & (rows <= high + thick) & seen] = colour
    return out
