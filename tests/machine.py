"""How slow this machine is, by a fixed piece of work: for bounds in seconds that are meant for one core."""

import time

import torch

REFERENCE = 0.0025  # seconds that `arithmetic` takes on the core for which the bounds are meant


def arithmetic() -> None:
    """A fixed piece of work, by which a slower machine is known."""
    u = torch.ones(256, 256)
    for _ in range(300):
        u = torch.addcmul(u, u, u, value=1e-6)


def slowness(tries: int = 30) -> float:
    """The shortest time of `arithmetic` over REFERENCE, at least 1."""
    best = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        arithmetic()
        best = min(best, time.perf_counter() - start)
    return max(1.0, best / REFERENCE)
