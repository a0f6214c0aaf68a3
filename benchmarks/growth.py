"""log time against log pixels: a slope of 1 is linear. 256^2 to 4096^2, 64^3 to 256^3.

No peers: the same calls as in frames.py and diffusion.py at growing sizes; report.py fits the slopes to the minima.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks import diffusion, frames
from benchmarks.harness import Case, Size, Task

PLANE: tuple[Size, ...] = tuple((n, n) for n in (256, 512, 1024, 2048, 4096))
SPACE: tuple[Size, ...] = tuple((n, n, n) for n in (64, 128, 256))


def alone(make: Callable[..., Case]) -> Callable[..., Case]:
    """The case without its peers."""

    def single(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        case = make(size, dtype, device)
        case.peers = {}
        return case

    return single


TASKS = [
    Task("growth: W, Haar, 1 level", alone(frames.analysis(1, 1)), PLANE, PLANE[:3]),
    Task("growth: W^T, Haar, 1 level", alone(frames.synthesis(1, 1)), PLANE),
    Task("growth: W^T S W, Haar, 1 level", alone(frames.shrinkage(1)), PLANE),
    Task("growth: W in space, Haar, 1 level", alone(frames.analysis(1, 1)), SPACE),
    Task("growth: Perona-Malik, 10 steps", alone(partial(diffusion.perona_malik, k=10)), PLANE),
]
