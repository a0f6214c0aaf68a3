r"""Lesson 02, framelets: one band of the transform; one threshold.   (2.1), (4.4)

Notebook: 02.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from companion import FrameletTransform, Hard, Soft
from companion.lab.explorers.drawing import (
    SIGMA,
    SIGNED,
    Answer,
    analysed,
    histogram,
    noisy,
    signal,
    stack,
    taps,
    transform,
)
from companion.lab.quality import psnr
from companion.lab.raster import beside, pixels

RULES = {"soft": Soft, "hard": Hard}


def band(
    picture: str = "camera", order: int = 2, level: int = 0, along_x1: int = 1, along_x2: int = 0, n: int = 256
) -> Answer:
    """One band of the framelet transform: the picture; its filter above the modulus of the filter's symbol; the band.

    along_x1, along_x2   which filter acts along each axis, 0 the average; more than the order means the order
    """
    ell = (min(along_x1, order), min(along_x2, order))
    u = signal(picture, n)
    W, bands = _bands(picture, order, level + 1, n)
    q, d = W.filter(ell, level), bands[W.band(ell, level)]
    reach = max(float(d.abs().flatten().kthvalue(int(0.99 * d.numel())).values), 1e-3)
    side = n // 2 - 4
    symbol = torch.from_numpy(np.abs(np.fft.fftshift(np.fft.fft2(q.taps, (side, side)))))
    column = stack(taps(q.taps, side), pixels(symbol, 0, max(float(symbol.max()), 1e-9), "cividis"), gap=8)
    facts = {
        "filter": f"({ell[0]}, {ell[1]}) at level {level}, {q.taps.shape[0]} x {q.taps.shape[1]} taps",
        "vanishing moments of order": q.vanishing_order() or "none",
        "C_alpha": q.constant(ell),
        "coefficients below 0.02": f"{100 * float((d.abs() < 0.02).double().mean()):.0f} %",
    }
    return beside(pixels(u), column, pixels(d) if ell == (0, 0) else pixels(d, -reach, reach, SIGNED)), facts


@functools.lru_cache(maxsize=1)
def _bands(picture: str, order: int, levels: int, n: int) -> tuple[FrameletTransform, Tensor]:
    """W, and all of W u: the sliders along_x1 and along_x2 choose among them."""
    W = transform(order, levels)
    return W, W(signal(picture, n))


def threshold(order: int = 1, levels: int = 2, lam: float = 1.5, rule: str = "soft", n: int = 256) -> Answer:
    """Shrinkage of a noisy photograph: noisy, restored; below, the histogram of one band with the threshold, and what
    is kept of it.

    The threshold of band (ell, l) is lam sigma |q_{ell,l}|_2, that is lam deviations of the noise in that band; sigma
    = 0.1.
    """
    W, gains, d = analysed(order, levels, n)
    shrunk = RULES[rule](W.weights(lam * SIGMA * gains))(d)
    restored = W.T(shrunk)
    i = W.band((1, 0))
    deviation = SIGMA * float(gains[i])
    kept = pixels(shrunk[i], -5 * deviation, 5 * deviation, SIGNED)
    facts = {
        "PSNR restored": f"{psnr(restored, signal('camera', n)):.2f} dB",
        "PSNR noisy": f"{psnr(noisy(n), signal('camera', n)):.2f} dB",
        "details kept": f"{100 * int(shrunk[1:].count_nonzero()) / shrunk[1:].numel():.1f} %",
        "bands": len(W.bands),
    }
    top = beside(pixels(noisy(n)), pixels(restored))
    return stack(np.repeat(top[..., None], 3, 2), beside(histogram(d[i] / deviation, lam, n), kept)), facts
