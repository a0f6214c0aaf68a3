r"""Lesson 00, start here: an iteration, step by step.   (4.5)

Notebook: 00.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

from torch import Tensor

from companion import Shrinkage, Soft, iterate
from companion.lab.explorers.drawing import SIGMA, Answer, analysed, noisy, signal
from companion.lab.quality import psnr
from companion.lab.raster import beside, pixels


def iterated(lam: float = 0.5, k: int = 6, n: int = 256) -> Answer:
    """The iteration (4.5), u^k = W^T S(W u^{k-1}), on a noisy photograph: u^0 and u^k, Haar framelets of two levels."""
    known, onwards = _orbit(lam, n)
    known.extend(itertools.islice(onwards, max(0, k + 1 - len(known))))
    u = known[k]
    facts = {
        "PSNR of u^k": f"{psnr(u, signal('camera', n)):.2f} dB",
        "PSNR of u^0": f"{psnr(noisy(n), signal('camera', n)):.2f} dB",
    }
    return beside(pixels(noisy(n)), pixels(u)), facts


@functools.lru_cache(maxsize=1)
def _orbit(lam: float, n: int) -> tuple[list[Tensor], Iterator[Tensor]]:
    """u^0, u^1, ... as far as they have been asked for, and the rest."""
    W, gains, _ = analysed(1, 2, n)
    return [], iterate(Shrinkage(W, Soft(W.weights(lam * SIGMA * gains))), noisy(n))
