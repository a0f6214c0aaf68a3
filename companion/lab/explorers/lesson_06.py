r"""Lesson 06, diffusion: one picture under nine flows, with a time to move.   (3.3)

Notebook: 06.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable

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
    Field,
    Heat,
    PeronaMalik,
    Rational,
    Scharr,
    ShockFilter,
    run,
)
from companion.lab.explorers.drawing import SIGNED, Answer, noisy, signal, stack
from companion.lab.explorers.lesson_05 import plot
from companion.lab.images import fur
from companion.lab.quality import psnr
from companion.lab.raster import beside, enlarged, pixels

SCHARR = Scharr()
FLOWS: dict[str, Callable[[float], tuple[Field, float]]] = {  # contrast -> F, longest step
    "heat": lambda c: (Heat(), 0.22),
    "Perona-Malik, rational": lambda c: (PeronaMalik(Rational(c)), 0.22),
    "Perona-Malik, exponential": lambda c: (PeronaMalik(Exponential(c)), 0.22),
    "Catte": lambda c: (PeronaMalik(Rational(c), sigma=1.0), 0.22),
    "TV": lambda c: (Diffusion(Charbonnier(c)), 0.22),
    "edge-enhancing": lambda c: (EdgeEnhancing(FastDecay(c), sigma=1.0, stencil=SCHARR), 1.0),
    "coherence-enhancing": lambda c: (CoherenceEnhancing(c, rho=3.0, stencil=SCHARR), 1.0),
    "curvature": lambda c: (CurvatureMotion(), 0.25),
    "shock filter": lambda c: (ShockFilter(), 0.7),
}


def flow(
    picture: str = "noisy photograph",
    flow: str = "Perona-Malik, rational",
    contrast: float = 0.05,
    t: float = 4.0,
    n: int = 128,
) -> Answer:
    """A flow at time t: u_0 and u(t); below what was taken away, and the middle row (u_0 in black, u(t) orange).

    contrast is the slope K^{1/2} of Perona and Malik's two diffusivities and of edge enhancement, eps of TV; heat,
    curvature motion and the shock filter have none. TV is u_t = div(g grad u), g(s) = (1 + s/contrast^2)^{-1/2}: eps
    times the flow of lesson 05. All steps are explicit; both tensors have Scharr's stencil, the fastest.
    """
    u0, true = start(picture, n)
    F, longest = FLOWS[flow](contrast)
    k = math.ceil(t / longest - 1e-9)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        u = run(Euler(F, t / k), u0, k=k).u if k else u0
    beyond = max(float(u.max() - u0.max()), float(u0.min() - u.min()), 0.0)
    facts = {
        "PSNR": f"{psnr(u, true):.2f} dB" if picture.startswith("noisy") else "no truth to compare with",
        "beyond the extrema": f"{beyond:.3f}" if beyond > 5e-4 else "nothing",
        "change of the mean": f"{float((u - u0).mean()):.3f}".replace("-0.000", "0.000"),
        "steps": k,
    }
    m = len(u) // 2
    above = beside(pixels(u0), pixels(u))[..., None].repeat(3, axis=2)
    below = beside(pixels(u0 - u, -0.4, 0.4, SIGNED), plot(u0[m], u[m]))
    return enlarged(stack(above, below), 2), facts


@functools.lru_cache(maxsize=3)
def start(picture: str, n: int) -> tuple[Tensor, Tensor]:
    """u_0 and what it was before the noise, float32; the fur has at most 128 pixels a side."""
    if picture == "fur":
        u = fur(min(n, 128)).float()
        return u, u
    return noisy(n), signal("camera", n)
