r"""Lesson 08, the dictionary: a level is drawn, and its equation runs; a diffusivity is chosen, and it is a level.
(4.4)-(4.6)

Notebook: 08.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from companion import Charbonnier, Exponential, Firm, Garrote, Hard, Rational, Soft
from companion.lab.explorers.drawing import Answer, noisy, plot, signal, stack, zoom
from companion.lab.quality import psnr
from companion.lab.raster import beside, enlarged, pixels

Level = Callable[[Tensor], Tensor]
KNOTS = (0.0, 0.5, 1.0, 2.0, 4.0)  # in thresholds: where a drawn level is given
REACH = 5.0  # the curves are drawn up to so many thresholds, or contrasts
CURVES: dict[str, Callable[[float], Level]] = {
    "soft": lambda a: Soft(a).level,
    "hard": lambda a: Hard(a).level,
    "garrote": lambda a: Garrote(a).level,
    "firm, 3 thresholds": lambda a: Firm(a, 3 * a).level,
}
LAWS: dict[str, Callable[[float], Level]] = {
    "rational": Rational,
    "exponential": Exponential,
    "Charbonnier": Charbonnier,
    "TV, capped": lambda c: lambda s: c / s.sqrt().clamp_min(c),
}


def dictionary(
    curve: str = "drawn",
    threshold: float = 0.02,
    at_0: float = 1.0,
    at_half: float = 1.0,
    at_1: float = 1.0,
    at_2: float = 0.3,
    at_4: float = 0.1,
    k: int = 20,
    n: int = 128,
) -> Answer:
    """From a shrinkage to its equation. Above S(t) (the identity in black), the level, which is the diffusivity up to a
    factor (1 in black), and what is taken away, the flux (that of heat in black), over t from 0 to five thresholds;
    below the noisy photograph, k shrinkages of it and the level at the result, white 1.

    Haar, one level, h = 1, all three high bands in one group: t is the standard deviation of the four grey values of a
    cell. "drawn" is the level through the five given values, at 0, 1/2, 1, 2 and 4 thresholds, straight between and
    constant beyond; for the other curves those are ignored. One shrinkage is a step of 1/4 in time.
    """
    level = drawn(threshold, (at_0, at_half, at_1, at_2, at_4)) if curve == "drawn" else CURVES[curve](threshold)
    u0, true = noisy(n), signal("camera", n)
    u = u0
    for _ in range(k):
        u = block_step(u, level)
    fine = torch.linspace(0, REACH * threshold, 2001)
    taken, every = fine * level(fine), torch.linspace(0, 2000, n).round().long()
    t, lam, flux = fine[every], level(fine[every]), taken[every]
    size = block_variance(u0)[1].clamp_min(0).sqrt()
    steep = flux_falls(level, size, 1e-3 * threshold)
    turn = threshold_of(taken, fine)
    steepest = float(1 - (taken.diff() / fine.diff()).min())
    facts = {
        "PSNR": f"{psnr(u, true):.2f} dB",
        "steepest S'": f"{steepest:.2f}" if steepest < 50 else "infinite, a jump",
        "K^(1/2)": "infinite" if turn is None else f"{2 * turn:.3f}",
        "backward at the start": f"{100 * float(steep.float().mean()):.0f} % of the cells",
    }
    top = REACH * threshold
    above = beside(plot(t / top, (t - flux) / top), from_above(lam), plot(4 * t / top, 4 * flux / top, clip=True))
    at_end = level(block_variance(u)[1].clamp_min(0).sqrt())
    return enlarged(stack(above, shown(u0, u, at_end)), zoom(n)), facts


def diffusing(
    diffusivity: str = "rational",
    contrast: float = 0.05,
    tau: float = 1.0,
    rest: float = 0.0,
    k: int = 20,
    n: int = 128,
) -> Answer:
    """From an equation to its shrinkage. Above the curve S(t), t = r/2 (the identity in black; 0 is at a sixth of the
    height), the diffusivity g (1 in black) and the flux r g(r^2) (that of heat in black), over slopes r from 0 to five
    contrasts; below the noisy photograph, k shrinkages of it and the level at the result, white 1.

    Haar's pair, h = 1; tau is counted in h^2/4, so that it is the largest level, and beyond 1 S changes signs; `rest`
    is the level of the diagonal band.
    """
    g = LAWS[diffusivity](contrast)
    u0, true = noisy(n), signal("camera", n)
    u = u0
    with torch.no_grad():
        for _ in range(k):
            u = pair_step(u, g, tau, rest)
        fine = torch.linspace(0, REACH * contrast, 2001)
        turn = threshold_of(fine * g(fine.square()), fine)
        r = torch.linspace(0, REACH * contrast, n)
        d = g(r.square())
    t, flux = r / 2, r * d
    board = at_the_corner(u) / at_the_corner(u0)
    facts = {
        "PSNR": f"{psnr(u, true):.2f} dB",
        "largest level": f"{tau:.2f}" + (": no shrinkage" if tau > 1 else ""),
        "K^(1/2)": "infinite" if turn is None else f"{turn:.3f}",
        "left at (π, π)": f"{100 * board:.0f} %",
        "beyond the extrema": f"{max(float(u.max() - u0.max()), float(u0.min() - u.min()), 0.0):.3f}",
    }
    top = REACH * contrast
    curve = plot((2 * t / top + 0.2) / 1.2, (2 * t * (1 - tau * d) / top + 0.2) / 1.2)  # S may be negative
    above = beside(curve, from_above(d), plot(4 * r / top, 4 * flux / top, clip=True))
    p, q = cross(u)
    at_end = tau * g((p.square() + q.square()) / 2)
    return enlarged(stack(above, shown(u0, u, at_end)), zoom(n)), facts


def drawn(threshold: float, values: tuple[float, ...]) -> Level:
    """The level through `values` at KNOTS times the threshold: straight between, constant beyond."""

    def level(t: Tensor) -> Tensor:
        x, out = t / threshold, torch.full_like(t, values[0])
        for a, b, rise in zip(KNOTS, KNOTS[1:], torch.tensor(values).diff().tolist(), strict=False):
            if rise:
                out = out + rise * ((x - a) / (b - a)).clamp(0, 1)
        return out

    return level


def block_variance(u: Tensor) -> tuple[Tensor, Tensor]:
    """The mean m and the variance |d|^2 = mean u^2 - m^2 of the four grey values of a cell, on the torus."""
    m = means(u)
    return m, means(u.square()) - m.square()


def block_step(u: Tensor, level: Level) -> Tensor:
    """W^T S(W u), all three bands of Haar in one group: every cell is pulled towards its mean by the fraction lambda of
    its deviation, and a pixel takes the mean of its four cells.
    """
    m, variance = block_variance(u)
    lam = level(variance.clamp_min(0).sqrt())
    return u * (1 - means(lam, -1)) + means(lam * m, -1)


def pair_step(u: Tensor, g: Level, tau: float, rest: float) -> Tensor:
    """W^T S(W u), level tau g(4 |d|^2) on Haar's pair, rest on the diagonal band; tau in h^2/4."""
    p, q = cross(u)
    c = (tau / 8) * g((p.square() + q.square()) / 2)
    p, q = c * p, c * q
    out = u + p - p.roll((1, 1), (0, 1)) + q.roll(1, 0) - q.roll(1, 1)
    if rest:
        d = diagonal(u)
        out = out - rest / 4 * (d - d.roll(1, 0) - d.roll(1, 1) + d.roll((1, 1), (0, 1)))
    return out


def cross(u: Tensor) -> tuple[Tensor, Tensor]:
    """The differences along the two diagonals of a cell, the cross of Roberts: |grad u|^2 = (p^2 + q^2) / 2."""
    right, down = u.roll(-1, 1), u.roll(-1, 0)
    return right.roll(-1, 0) - u, right - down


def diagonal(u: Tensor) -> Tensor:
    """The band (1,1) of Haar."""
    d = u - u.roll(-1, 1)
    return (d - d.roll(-1, 0)) / 4


def at_the_corner(u: Tensor) -> float:
    """The Fourier coefficient of u at (pi, pi): its mean with a checkerboard of +-1."""
    sign = 1 - 2 * (torch.arange(len(u)) % 2).double()
    return float(sign @ u.double() @ sign) / u.numel()


def means(u: Tensor, step: int = 1) -> Tensor:
    """Means over cells of 2 x 2; with step = -1 the transpose."""
    u = u + u.roll(-step, 0)
    return (u + u.roll(-step, 1)) / 4


def flux_falls(level: Level, t: Tensor, step: float) -> Tensor:
    """Where t lambda(t) falls: S'(t) > 1, the diffusion runs backwards across edges."""
    ahead = t + step
    return ahead * level(ahead) < t * level(t) - 1e-9


def threshold_of(flux: Tensor, r: Tensor) -> float | None:
    """The first place where the flux turns down, None where it never does."""
    falls = (flux.diff() < -1e-6 * float(r[-1])).nonzero()
    return float(r[int(falls[0])]) if len(falls) else None


def from_above(level: Tensor) -> np.ndarray:
    """A level or a diffusivity, and 1 a little below the upper edge."""
    return plot(torch.ones(len(level)) / 1.1, level / 1.1)


def shown(u0: Tensor, u: Tensor, level: Tensor) -> np.ndarray:
    """The picture, the result and the level at each cell of it, white 1."""
    return beside(*(pixels(v) for v in (u0, u, level)))[..., None].repeat(3, axis=2)
