r"""F^k(u) block by block, for a map F that sees one plane to each side: k steps while a block is in the cache.

A block of planes goes all k steps alone, with k planes more on both sides. What is wrong where it was cut comes nearer
by one plane with each step, and has eaten up just these. So memory is read and written once for k steps, and threads
meet once.

Paper: Sec 3 (its cost, not its content).  Notebook: none, a kernel is invisible to a lesson.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion.kernels import parallel
from companion.kernels.differences import ALONE, array
from companion.kernels.rows import empty

BLOCK = 2**20  # bytes of a block: it and the result of its step stay in the cache of a core


def repeat(step: Callable[[Any, Any], None], u: Tensor, k: int, periodic: bool) -> Tensor:
    """F^k(u) for pictures or volumes u (N, A, H, W), where step(y, z) writes z = F(y) for arrays of any number of
    planes.
    """
    N, A = u.shape[:2]
    x, result, threads = array(u), empty(u.shape, u), torch.get_num_threads()
    out = result.numpy()
    parts = -(-A // max(BLOCK // x[0, 0].nbytes, 4 * k))  # no thinner: the planes beside are computed twice
    if x.size >= ALONE:
        parts = max(parts, min(threads, A // k))
    edges = [A * i // parts for i in range(parts + 1)]

    def blocks(start: int, stop: int) -> None:
        for t in range(start, stop):
            n, (first, last) = t // parts, edges[t % parts : t % parts + 2]
            lo, hi = (first - k, last + k) if periodic and parts > 1 else (max(first - k, 0), min(last + k, A))
            y = x[n : n + 1] if parts == 1 else x[n : n + 1].take(range(lo, hi), axis=1, mode="wrap")
            room = [empty(y.shape, u).numpy() for _ in range(2)]
            for i in range(k):
                step(y, room[i % 2])
                y = room[i % 2]
            out[n, first:last] = y[0, first - lo : last - lo]

    parallel(blocks, N * parts)
    return result
