r"""Lesson 05, total variation: what a weight takes away from a photograph, a disc, a ramp.   (3.2)

Notebook: 05.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from companion import ROF, GaussianNoise, Gradient, Identity, SplitBregman, tikhonov
from companion.lab.explorers.drawing import SIGMA, SIGNED, Answer, plot, stack, zoom
from companion.lab.images import camera
from companion.lab.quality import psnr
from companion.lab.raster import beside, enlarged, pixels

LEVELS = ((4, 40), (2, 20), (1, 12))  # the side of a pixel, and how many steps on that grid


def variation(picture: str = "photograph", model: str = "TV", nu: float = 0.1, n: int = 128) -> Answer:
    """Denoising: the data, and the restored picture; below what was taken away, and the middle row (truth in black).

    nu is counted in pixels, h = 1; "squares" has 10 nu |grad u|^2 in place of nu |grad u|. TV is what some steps of
    split Bregman reach, for nu > 0.07 from coarser grids: within 0.006 of the minimiser on average. Noise of deviation
    0.1.
    """
    u, f = data(picture, n)
    with torch.no_grad():
        if model == "squares":
            v = tikhonov(Identity(), f, 20 * nu, Gradient()).minimiser(1e-3)
        else:
            v = rof(f, nu, isotropic=model == "TV")
    inner = v[n // 2 - n // 8 : n // 2 + n // 8, n // 2 - n // 8 : n // 2 + n // 8]
    facts = {
        "PSNR": f"{psnr(v, u):.2f} dB",
        "PSNR of the data": f"{psnr(f, u):.2f} dB",
        "total variation": f"{float(ROF(f, 1.0).J(v)) / float(ROF(f, 1.0).J(u)):.2f} of the true one",
        "mean of the middle": f"{float(inner.mean()):.3f}",
    }
    above = beside(pixels(f), pixels(v))[..., None].repeat(3, axis=2)
    below = beside(pixels(f - v, -0.4, 0.4, SIGNED), plot(u[n // 2], v[n // 2]))
    return enlarged(stack(above, below), zoom(n)), facts


def rof(f: Tensor, nu: float, isotropic: bool) -> Tensor:
    """ROF's picture, nearly: split Bregman on means over 4 x 4 and 2 x 2 pixels, then on f, each from the last u and v.

    A step reaches the neighbours, so a contrast is equalised over a large region on a coarse grid, noise on the fine.
    """
    u = v = f[:0]
    for side, k in LEVELS if nu > 0.07 and f.shape[-1] % 4 == 0 else ((1, 14),):
        weight = nu / side  # the unit is the pixel
        data = f.unfold(0, side, side).unfold(1, side, side).mean((-2, -1))
        solver = SplitBregman(ROF(data, weight, Gradient(), isotropic), rho=2 * weight**0.5)
        x = solver.start(enlarge(u) if len(u) else data)
        if len(u):
            x = x._replace(b=enlarge(v) * weight / solver.rho)
        for _ in range(k):
            x = solver(x)
        u, v = x.x, solver.rho * x.b / weight
    return u


def enlarge(v: Tensor) -> Tensor:
    """Every pixel twice along both axes."""
    return v.repeat_interleave(2, -2).repeat_interleave(2, -1)


@functools.lru_cache(maxsize=3)
def data(picture: str, n: int) -> tuple[Tensor, Tensor]:
    """The true picture and its noisy data, float32."""
    x = (torch.arange(n) + 0.5) / n - 0.5
    disc = (x[:, None] ** 2 + x**2 < 0.0625).float()
    if picture == "disc":
        u = 0.2 + 0.6 * disc
    elif picture == "ramp":
        u = 0.4 + 0.5 * x.expand(n, n) + 0.3 * disc
    else:
        u = camera(n).float()
    return u, GaussianNoise(SIGMA, seed=1)(u)
