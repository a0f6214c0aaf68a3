r"""The explorers of the lessons: plain functions explorer(**parameters) -> (picture, facts).

Each computes with the package, draws with `pixels` (an array is on the page in milliseconds), and answers within 100 ms
at 256 x 256 on one core. A notebook makes one live by `live(explorers.band, ...)` and prints it by `film(...)`; the
tests call it at its default, its corners and at random points.

Notebooks: 00, 02.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import FrameletTransform, GaussianNoise, Hard, Shrinkage, Soft, bspline, run
from companion.lab.images import camera, phantom, psnr, texture
from companion.lab.raster import beside, pixels

SIGMA = 0.1  # deviation of the noise, in grey values
SIGNED = "PuOr"
PICTURES = {"camera": camera, "phantom": phantom, "texture": texture}
RULES = {"soft": Soft, "hard": Hard}
Answer = tuple[np.ndarray, dict[str, Any]]


def band(
    picture: str = "camera", order: int = 2, level: int = 0, along_x1: int = 1, along_x2: int = 0, n: int = 256
) -> Answer:
    """One band of the framelet transform: the picture; its filter above the modulus of the filter's symbol; the band.

    along_x1, along_x2   which filter acts along each axis, 0 the average; more than the order means the order
    """
    ell = (min(along_x1, order), min(along_x2, order))
    u = _signal(picture, n)
    W = _transform(order, level + 1)
    q = W.filter(ell, level)
    d = W(u)[W.band(ell, level)]
    reach = max(float(d.abs().flatten().kthvalue(int(0.99 * d.numel())).values), 1e-3)
    side = n // 2 - 4
    symbol = torch.from_numpy(np.abs(np.fft.fftshift(np.fft.fft2(q.taps, (side, side)))))
    column = _stack(_taps(q.taps, side), pixels(symbol, 0, max(float(symbol.max()), 1e-9), "cividis"), gap=8)
    facts = {
        "filter": f"({ell[0]}, {ell[1]}) at level {level}, {q.taps.shape[0]} x {q.taps.shape[1]} taps",
        "vanishing moments of order": q.vanishing_order() or "none",
        "C_alpha": q.constant(ell),
        "coefficients below 0.02": f"{100 * float((d.abs() < 0.02).double().mean()):.0f} %",
    }
    return beside(pixels(u), column, pixels(d) if ell == (0, 0) else pixels(d, -reach, reach, SIGNED)), facts


def threshold(order: int = 1, levels: int = 2, lam: float = 1.5, rule: str = "soft", n: int = 256) -> Answer:
    """Shrinkage of a noisy photograph: noisy, restored; below, the histogram of one band with the threshold, and what
    is kept of it.

    The threshold of band (ell, l) is lam sigma |q_{ell,l}|_2, that is lam deviations of the noise in that band; sigma
    = 0.1.
    """
    W, gains, d = _analysed(order, levels, n)
    shrunk = RULES[rule](W.weights(lam * SIGMA * gains))(d)
    restored = W.T(shrunk)
    i = W.band((1, 0))
    deviation = SIGMA * float(gains[i])
    kept = pixels(shrunk[i], -5 * deviation, 5 * deviation, SIGNED)
    facts = {
        "PSNR restored": f"{psnr(restored, _signal('camera', n)):.2f} dB",
        "PSNR noisy": f"{psnr(_noisy(n), _signal('camera', n)):.2f} dB",
        "details kept": f"{100 * int(shrunk[1:].count_nonzero()) / shrunk[1:].numel():.1f} %",
        "bands": len(W.bands),
    }
    top = beside(pixels(_noisy(n)), pixels(restored))
    return _stack(np.repeat(top[..., None], 3, 2), beside(_histogram(d[i] / deviation, lam, n), kept)), facts


def iterated(lam: float = 0.5, k: int = 6, n: int = 256) -> Answer:
    """The iteration (4.5), u^k = W^T S(W u^{k-1}), on a noisy photograph: u^0 and u^k, Haar framelets of two levels."""
    W, gains, _ = _analysed(1, 2, n)
    u = run(Shrinkage(W, Soft(W.weights(lam * SIGMA * gains))), _noisy(n), k=k).u
    facts = {
        "PSNR of u^k": f"{psnr(u, _signal('camera', n)):.2f} dB",
        "PSNR of u^0": f"{psnr(_noisy(n), _signal('camera', n)):.2f} dB",
    }
    return beside(pixels(_noisy(n)), pixels(u)), facts


# ---- what does not change while a slider moves ----


@functools.lru_cache(maxsize=8)
def _signal(name: str, n: int) -> Tensor:
    return PICTURES[name](n).float()


@functools.lru_cache(maxsize=1)
def _noisy(n: int) -> Tensor:
    return GaussianNoise(SIGMA, seed=1)(_signal("camera", n))


@functools.lru_cache(maxsize=16)
def _transform(order: int, levels: int) -> FrameletTransform:
    return FrameletTransform(bspline(order), levels)


@functools.lru_cache(maxsize=1)
def _analysed(order: int, levels: int, n: int) -> tuple[FrameletTransform, Tensor, Tensor]:
    """W, the gains of its bands, and W f of the noisy photograph f."""
    W = _transform(order, levels)
    return W, W.gains, W(_noisy(n))


# ---- drawing ----


def _stack(*rows: np.ndarray, gap: int = 4) -> np.ndarray:
    """Colour pictures of equal width, one above the other."""
    return np.moveaxis(beside(*(np.moveaxis(row, 0, 1) for row in rows), gap=gap), 0, 1)


def _taps(q: np.ndarray, side: int) -> np.ndarray:
    """A filter as a square picture, each tap a block of pixels, on white."""
    cut = max(0, (max(q.shape) - side + 1) // 2)  # a filter wider than the square loses its (small) outermost taps
    q = q[cut : q.shape[0] - cut, cut : q.shape[1] - cut]
    scale = side // max(q.shape)
    q = np.kron(q, np.ones((scale, scale)))
    before = [(side - n) // 2 for n in q.shape]
    q = np.pad(q, [(b, side - n - b) for b, n in zip(before, q.shape, strict=True)])
    size = float(np.abs(q).max())
    return pixels(q, -size, size, SIGNED)


def _histogram(t: Tensor, lam: float, side: int, end: float = 6.0) -> np.ndarray:
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
