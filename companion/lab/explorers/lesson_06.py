r"""Lesson 06, diffusion: one picture under nine flows, with a time to move.   (3.3)

Notebook: 06.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion import (
    Charbonnier,
    CoherenceEnhancing,
    CurvatureMotion,
    Diffusion,
    EdgeEnhancing,
    Euler,
    Exponential,
    FastDecay,
    Heat,
    PeronaMalik,
    Rational,
    ShockFilter,
    run,
)
from companion.lab.explorers.drawing import SIGNED, Answer, loops, noisy, plot, signal, stack, zoom
from companion.lab.images import fur
from companion.lab.quality import psnr
from companion.lab.raster import beside, enlarged, pixels

FLOWS: dict[str, Callable[[float], tuple[Any, float, int]]] = {  # contrast -> F, longest step, steps with one F.frozen
    "heat": lambda c: (Heat(), 0.22, 1),
    "Perona-Malik, rational": lambda c: (PeronaMalik(Rational(c)), 0.22, 1),
    "Perona-Malik, exponential": lambda c: (PeronaMalik(Exponential(c)), 0.22, 1),
    "Catte": lambda c: (PeronaMalik(Rational(c), sigma=1.0), 0.22, 3),
    "TV": lambda c: (Diffusion(Charbonnier(c)), 0.22, 1),
    "edge-enhancing": lambda c: (EdgeEnhancing(FastDecay(c), sigma=1.0), 0.25, 6),
    "coherence-enhancing": lambda c: (CoherenceEnhancing(c, rho=3.0), 0.25, 6),
    "curvature": lambda c: (CurvatureMotion(), 0.25, 1),
    "shock filter": lambda c: (ShockFilter(), 0.7, 1),
}
TENSORS = ("edge-enhancing", "coherence-enhancing")  # at most 128 pixels a side: six half edges at each pixel cost time


def flow(
    picture: str = "noisy photograph",
    flow: str = "Perona-Malik, rational",
    contrast: float = 0.05,
    t: float = 4.0,
    n: int = 128,
) -> Answer:
    """A flow at time t: u_0 and u(t); below what was taken away, and the middle row (u_0 in black, u(t) orange).

    contrast is the slope K^{1/2} of Perona and Malik's two diffusivities and of edge enhancement, eps of TV, the length
    c of coherence enhancement; heat, curvature motion and the shock filter have none. TV is u_t = div(g grad u),
    g(s) = (1 + s/contrast^2)^{-1/2}: eps times the flow of lesson 05. All steps are explicit. Catte's g is renewed
    every third one, the tensor D of the last two every sixth; its edges are Selling's, so that extrema are kept.
    """
    u0, true = start(picture, min(n, 128) if flow in TENSORS else n)
    F, longest, each = FLOWS[flow](contrast)
    k = math.ceil(t / longest / each - 1e-9)
    with torch.no_grad(), warnings.catch_warnings(), loops(len(u0)):
        warnings.simplefilter("ignore")
        step = lagged(F, t / k / each, each) if k and each > 1 else Euler(F, t / max(k, 1) or 1.0)
        u = run(step, u0, k=k).u
    beyond = max(float(u.max() - u0.max()), float(u0.min() - u.min()), 0.0)
    facts = {
        "PSNR": f"{psnr(u, true):.2f} dB" if picture.startswith("noisy") else "no truth to compare with",
        "beyond the extrema": f"{beyond:.3f}" if beyond > 5e-4 else "nothing",
        "change of the mean": f"{float((u - u0).mean()):.3f}".replace("-0.000", "0.000"),
        "steps": each * k,
    }
    m = len(u) // 2
    above = beside(pixels(u0), pixels(u))[..., None].repeat(3, axis=2)
    below = beside(pixels(u0 - u, -0.4, 0.4, SIGNED), plot(u0[m], u[m]))
    return enlarged(stack(above, below), zoom(len(u))), facts


def lagged(F: Any, dt: float, times: int) -> Callable[[Tensor], Tensor]:
    """u -> so many steps of u + dt L u, L = L(u) of the first: means of grey values as before, L's parts made once."""

    def step(u: Tensor) -> Tensor:
        L = F.frozen(u)
        for _ in range(times):
            u = u + dt * L(u)
        return u

    return step


@functools.lru_cache(maxsize=3)
def start(picture: str, n: int) -> tuple[Tensor, Tensor]:
    """u_0 and what it was before the noise, float32; the fur has at most 128 pixels a side."""
    if picture == "fur":
        u = fur(min(n, 128)).float()
        return u, u
    return noisy(n), signal("camera", n)
