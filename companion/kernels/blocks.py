r"""F^k(u) block by block, for a map F that sees one plane to each side: k steps while a block is in the cache.

A block of planes goes all k steps alone, with k planes more on both sides. What is wrong where it was cut comes nearer
by one plane with each step, and has eaten up just these. So memory is read and written once for k steps, and threads
meet once.

Paper: Sec 3 (its cost, not its content).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from companion.kernels import parallel
from companion.kernels.differences import ALONE

BLOCK = 2**20  # bytes of a block: it and the result of its step stay in the cache of a core


def repeat(step: Callable[[Any, Any], None], x: Any, k: int, periodic: bool) -> Any:
    """F^k(x) for pictures or volumes x (N, A, H, W), where step(y, z) writes z = F(y) for any number of planes."""
    N, A = x.shape[:2]
    out, threads = np.empty_like(x), torch.get_num_threads()
    parts = -(-A // max(BLOCK // x[0, 0].nbytes, 4 * k))  # not more: the planes beside a block are computed twice
    if x.size >= ALONE:
        parts = max(parts, min(threads, A // k))
    edges = [A * i // parts for i in range(parts + 1)]

    def blocks(start: int, stop: int) -> None:
        for t in range(start, stop):
            n, (first, last) = t // parts, edges[t % parts : t % parts + 2]
            lo, hi = (first - k, last + k) if periodic and parts > 1 else (max(first - k, 0), min(last + k, A))
            y = x[n : n + 1].take(range(lo, hi), axis=1, mode="wrap")
            z = np.empty_like(y)
            for _ in range(k):
                step(y, z)
                y, z = z, y
            out[n, first:last] = y[0, first - lo : last - lo]

    parallel(blocks, N * parts)
    return out
