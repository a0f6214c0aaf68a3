r"""Lesson 14, a moving endpoint: one orbit, and the steps at which three rules stop.   [175]

Notebook: 14.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion import GaussianNoise, Observed, iterate, noise_level, oracle_stop
from companion.lab.explorers.drawing import Answer, stack
from companion.lab.explorers.lesson_09 import BLACK, BLUE, GREY, ORANGE, PALE, polyline
from companion.lab.photos import held_out
from companion.lab.quality import psnr
from companion.lab.raster import beside, enlarged, pixels
from companion.lab.trained import trained

SIDE = 96  # of the pictures: an orbit within a slider's patience
LOW, HIGH = 12.0, 42.0  # dB, the ends of the plot


class Stops(NamedTuple):
    """u^0, ..., u^K of one picture, their PSNR, what the policy says, and where each rule stops."""

    u: Tensor
    psnr: list[float]
    chance: list[float]
    oracle: int
    policy: int
    morozov: int


def endpoint(sigma: float = 0.1, k: int = 6, picture: str = "camera") -> Answer:
    """Above the noisy photograph and u^k; below the PSNR of u^0, u^1, ... (grey: 20, 30, 40 dB; the pale line is k) and
    the probability of stopping (on [0, 1]; the pale line is 1/2). Dots and lines: where the oracle stops, black, the
    learned policy, orange, and Morozov's principle, blue.

    sigma    the noise in the data; the net was trained with 0.05, 0.1, 0.15, 0.2
    k        the step shown
    picture  a photograph that nothing was learned from
    """
    s = stops(picture, round(sigma, 3))
    last = len(s.psnr) - 1
    k = min(k, last)
    facts = {
        "PSNR": f"{s.psnr[k]:.2f} dB",
        "oracle": f"step {s.oracle}, {s.psnr[s.oracle]:.2f} dB",
        "policy": f"step {s.policy}, {s.psnr[s.policy]:.2f} dB",
        "Morozov": f"step {s.morozov}, {s.psnr[s.morozov]:.2f} dB",
    }
    above = beside(pixels(s.u[0]), pixels(s.u[k]))[..., None].repeat(3, axis=2)
    x = np.arange(last + 1) / last
    height = [(p - LOW) / (HIGH - LOW) for p in s.psnr]
    marks = ((s.morozov, BLUE), (s.policy, ORANGE), (s.oracle, BLACK))
    below = beside(
        _curve(x, height, k / last, [(level - LOW) / (HIGH - LOW) for level in (20, 30, 40)], marks),
        _curve(x[1:], s.chance, k / last, [0.5], marks),
        gap=8,
    )
    return stack(enlarged(above, 2), below), facts


def _curve(x: np.ndarray, y: list[float], at: float, levels: list[float], marks: Any) -> np.ndarray:
    """A curve on [0, 1]^2 with its level lines, the step shown, and where the rules stop: dots, and lines below."""
    out = np.full((2 * SIDE, 2 * SIDE, 3), 255, np.uint8)
    for level in levels:
        polyline(out, [0, 1], [level] * 2, PALE)
    polyline(out, [at] * 2, [0, 1], PALE)
    for i, (k, colour) in enumerate(marks):
        place = k / (len(x) - 1 + (x[0] > 0))
        polyline(out, [place] * 2, [0.02, 0.1 + 0.04 * i], colour)
    polyline(out, x, y, GREY)
    for k, colour in marks:
        i = k - int(x[0] > 0)
        polyline(out, [x[i]], [y[i]], colour, dots=True)
    return out


@functools.lru_cache(maxsize=64)
def stops(picture: str, sigma: float) -> Stops:
    """The orbit of the trained unit, and the three rules."""
    clean = _clean(picture)
    f = GaussianNoise(sigma, seed=1)(clean)
    unit, policy, K = _net()
    with torch.no_grad():
        orbit = list(itertools.islice(iterate(unit, unit.start(f)), K + 1))
        u, data = (torch.stack(parts) for parts in zip(*orbit, strict=True))
        chance = policy.probability(Observed(u[1:], data[1:])).tolist()
    losses = (u - clean).square().mean((-2, -1))
    size = float(noise_level(f))
    gone = [float((v - f).square().mean()) ** 0.5 >= size for v in u]
    first = lambda stop: next((k for k in range(1, K) if stop[k]), K)  # noqa: E731
    return Stops(
        u,
        [psnr(v, clean) for v in u],
        chance,
        oracle=int(oracle_stop(losses)),
        policy=first([False, *(p > 0.5 for p in chance)]),
        morozov=first(gone),
    )


@functools.lru_cache(maxsize=8)
def _clean(picture: str) -> Tensor:
    return held_out(128, [picture])[picture][16 : 16 + SIDE, 16 : 16 + SIDE]


@functools.lru_cache(maxsize=1)
def _net() -> tuple[Any, Any, int]:
    net: Any = trained("moving endpoint", "denoise .1")
    return net.unit, net.policy, net.K
