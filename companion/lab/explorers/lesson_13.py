r"""Lesson 13, discovering equations: coefficients by least squares from what filters see, and an equation run again.

Notebook: 13.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from companion import RK4, Heun
from companion.lab.explorers.drawing import Answer
from companion.lab.explorers.lesson_09 import BLACK, BLUE, GREY, ORANGE, PALE, polyline
from companion.lab.identify import at_points, in_time
from companion.lab.pde_data import frames
from companion.lab.pdes import Burgers, Recipe, Spectral, Upwind, solve
from companion.lab.raster import beside, enlarged, pixels
from companion.nets.moments import MomentBank, central
from companion.nets.pdenet import ORDERS

# ---- u_t = c . terms, by least squares ----

TERMS = ("u u_x", "v u_y", "u_xx", "u_yy", "u", "v", "u_x", "u_y", "u u_y", "v u_x", "u_xy", "1")
TRUE = (-1.0, -1.0, 0.05, 0.05)
POINTS, WIDEST, FILM = 4000, 7, 16
DEGREES = {2: 1, 5: 2, 11: 4}  # of the polynomial in time, by the number of frames it is fitted to


def identified(
    noise: float = 1.0, grid: int = 64, taps: int = 3, fitted: int = 2, threshold: float = 0.02, side: int = 256
) -> Answer:
    """Left the coefficients that least squares finds in a film of Burgers' equation, over the true ones (black line:
    1): transport in x and y, viscosity in x and y; then the eight other terms (grey), as shares of u_t. Right, over
    the wave number k up to 16, what central differences make of a wave, over what they should: d/dx orange, d2/dx2
    blue; grey: the spectrum of u_x.

    noise      its deviation, in per cent of that of u
    grid       points along a side; the film is read at 4000 random ones
    taps       3, 5, 7: central differences of order 2, 4, 6
    fitted     2, 5, 11 frames of 0.01, to which a polynomial in time is fitted
    threshold  terms whose share of u_t is smaller are left out, and the rest is fitted again
    """
    near, right, deviation, weights = _windows(grid, fitted)
    sigma = noise / 100 * deviation
    xi, eta = _noise()
    q, h, cut = _taps(taps), 2 * math.pi / grid, (WIDEST - taps) // 2
    values = (near + sigma * weights[0] * xi).unflatten(1, (WIDEST, WIDEST))
    values = values[:, cut : WIDEST - cut, cut : WIDEST - cut].flatten(1, 2)
    scale = torch.tensor([h ** -sum(a) for a in ORDERS], dtype=torch.float64)
    d = (q.flatten(1) * scale[:, None]) @ values
    u_t = right + sigma * weights[1] * eta
    (u, u_x, u_y, u_xx, u_xy, u_yy), v = d[0], d[1, 0]
    X = torch.stack([u * u_x, v * u_y, u_xx, u_yy, u, v, u_x, u_y, u * u_y, v * u_x, u_xy, torch.ones_like(u)])
    c, share = fit(X, u_t, threshold)

    variance = float((sigma * weights[0]) ** 2 * (q[3] ** 2).sum() / h**4)
    seen = float(X[2].square().mean())
    rho = factors(q, h)
    facts = {
        "transport": f"{c[0]:.3f}, {c[1]:.3f}",
        "viscosity": f"{c[2]:.4f}, {c[3]:.4f}",
        "other terms": int((c[4:] != 0).sum()),
        "spectrum predicts": f"{-weighted(rho[0]):.3f}",
        "noise predicts": f"{TRUE[2] * max(0.0, 1 - variance / seen):.4f}",
    }
    return beside(_bars(c, share, side), _symbols(rho, side)), facts


def fit(X: Tensor, y: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """c of least |c . X - y|, terms with rms(c_i X_i) < threshold rms(y) left out one after another; these shares."""
    scale, size = X.square().mean(1).sqrt(), y.square().mean().sqrt()
    G, b = (X / scale[:, None]) @ (X / scale[:, None]).T / X.shape[1], (X / scale[:, None]) @ y / X.shape[1]
    keep = torch.ones(len(X), dtype=torch.bool)
    while True:
        a = torch.zeros(len(X), dtype=X.dtype)
        a[keep] = torch.linalg.lstsq(G[keep][:, keep], b[keep, None]).solution[:, 0]
        share = a.abs() / size
        least = torch.where(keep, share, torch.inf).argmin()
        if share[least] >= threshold or keep.sum() == 1:
            return a / scale, share
        keep[least] = False


def factors(q: Tensor, h: float) -> np.ndarray:
    """For k = 0, ..., 16: the symbols of the filters d/dx and d2/dx2 along x, over i k h and -(k h)^2; 1 at k = 0."""
    k = np.arange(17) * h
    j = np.arange(q.shape[-1]) - q.shape[-1] // 2
    rows = q.sum(-1).numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.stack([np.sin(k[:, None] * j) @ rows[1] / k, np.cos(k[:, None] * j) @ rows[3] / -(k**2)])
    rho[:, 0] = 1
    return rho


def weighted(rho: np.ndarray) -> float:
    """sum k^2 |u^|^2 rho / sum k^2 |u^|^2 rho^2."""
    a = _spectrum()[: len(rho)]
    return float((a * rho).sum() / (a * rho**2).sum())


@functools.lru_cache(maxsize=1)
def _film() -> Tensor:
    equation = Burgers(0.05)
    equation.recipe = Recipe(Spectral, RK4, 1 / 100, 128, 128)
    return frames(equation, n=2, steps=FILM - 1, noise=0.0, start_time=0.0, seed=0).u


@functools.lru_cache(maxsize=1)
def _spectrum() -> np.ndarray:
    """k^2 |u^(k)|^2 along x, of all frames, for k = 0, ..., 16."""
    a = torch.fft.fft(_film(), dim=-2).abs().square().mean((0, 1, 2, 4)).numpy()[:17]
    a = a * np.arange(17) ** 2
    return a / a.max()


@functools.lru_cache(maxsize=9)
def _windows(grid: int, fitted: int) -> tuple[Tensor, Tensor, float, tuple[float, float]]:
    """Windows (2, 49, points) of u, v fitted in time, u_t (points,), the deviation of u, and what the fits make of
    noise of deviation 1: they are independent, one being even in time and the other odd.
    """
    every, dt = 128 // grid, 0.01
    film = _film()[..., ::every, ::every].contiguous()
    u, u_t = (f.flatten(0, 1) for f in in_time(film, dt, fitted, DEGREES[fitted]))
    near, right = at_points(u, u_t, WIDEST, POINTS, torch.Generator().manual_seed(0))
    value, slope = in_time(torch.eye(fitted, dtype=torch.float64)[:, :, None], dt, fitted, DEGREES[fitted])
    return near, right[0], float(film[:, 0].std()), (float(value.norm()), float(slope.norm()))


@functools.lru_cache(maxsize=1)
def _noise() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    xi = torch.randn(2, WIDEST**2, POINTS, generator=g, dtype=torch.float64)
    return xi, torch.randn(POINTS, generator=g, dtype=torch.float64)


@functools.lru_cache(maxsize=3)
def _taps(N: int) -> Tensor:
    return MomentBank(ORDERS, N, 1, start=central, learned=False).taps()


def _bars(c: Tensor, share: Tensor, side: int) -> np.ndarray:
    """Twelve bars on [0, 1.5]: the first four c over the true one, the rest shares; the black line is 1."""
    out = np.full((side, side, 3), 255, np.uint8)
    height = [max(0.0, float(a) / b) for a, b in zip(c[:4], TRUE, strict=True)] + share[4:].tolist()
    rows = side - 1 - np.arange(side)
    for i, y in enumerate(height):
        columns = slice(round((i + 0.15) * side / 12), round((i + 0.85) * side / 12))
        filled = (rows < min(1.5, y) / 1.5 * side)[:, None]
        out[:, columns] = np.where(filled[..., None], (ORANGE, BLUE, GREY)[0 if i < 2 else 1 if i < 4 else 2], 255)
    polyline(out, [0, 4 / 12], [1 / 1.5] * 2, BLACK)
    polyline(out, [4 / 12] * 2, [0, 1], PALE)
    return out


def _symbols(rho: np.ndarray, side: int) -> np.ndarray:
    """The factors on [0, 1.5] over k in [0, 16], above the spectrum."""
    out = np.full((side, side, 3), 255, np.uint8)
    x = np.linspace(0, 1, side)
    under = np.interp(x, np.arange(17) / 16, _spectrum()) / 1.5 * side
    out[(side - 1 - np.arange(side))[:, None] < under] = (228, 228, 228)
    polyline(out, [0, 1], [1 / 1.5] * 2, BLACK)
    for row, colour in zip(rho, (ORANGE, BLUE), strict=True):
        polyline(out, np.arange(17) / 16, row / 1.5, colour)
    return out


# ---- u_t = -c (u u_x + v u_y) + nu Lap u, run on 32 x 32 points ----


class Changed(Burgers):
    """Burgers' equation with a transport of c times that."""

    def __init__(self, c: float, nu: float):
        super().__init__(nu)
        self.c = c

    def velocity(self, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """c (u, v)."""
        return self.c * u[..., :1, :, :], self.c * u[..., 1:, :, :]


COARSE, STEPS = 32, 10  # points a side; frames of 0.1


def rerun(c: float = 1.0, nu: float = 0.05, t: float = 0.5, zoom: int = 4) -> Answer:
    """A film of Burgers' equation, computed on 128 x 128 points and read at 32 x 32; the same equation with transport c
    and viscosity nu, run on the 32 x 32 points by upwind differences; and the second less the first. All three are
    u, orange negative, purple positive, the difference with three times the contrast.
    """
    true, k = _truth(), max(1, round(t * STEPS))
    u = run_on_points(c, nu, k)
    size = float(true.abs().max())
    panels = (true[k, 0], u[k, 0], 3 * (u[k, 0] - true[k, 0]))
    picture = beside(*(enlarged(pixels(p, -size, size, "PuOr"), zoom) for p in panels))
    error = {n: _relative(w[k], true[k]) for n, w in (("here", u), ("same", _truth_on_points()))}
    facts = {
        "time": f"{k / STEPS:.1f}",
        "error": f"{100 * error['here']:.1f} %",
        "error with the true coefficients": f"{100 * error['same']:.1f} %",
    }
    return picture, facts


def run_on_points(c: float, nu: float, k: int) -> Tensor:
    """Frames 0, ..., k."""
    return solve(Upwind(Changed(c, nu), COARSE), _truth()[0], 0.1, k, scheme=Heun, max_dt=0.02)


@functools.lru_cache(maxsize=1)
def _truth_on_points() -> Tensor:
    """All frames of the true equation on the 32 x 32 points."""
    return run_on_points(1.0, 0.05, STEPS)


def _relative(a: Tensor, b: Tensor) -> float:
    """|a - b| over the deviation of b from its mean."""
    return float((a - b).norm() / (b - b.mean((-2, -1), keepdim=True)).norm())


@functools.lru_cache(maxsize=1)
def _truth() -> Tensor:
    equation = Burgers(0.05)
    equation.recipe = Recipe(Spectral, RK4, 1 / 100, 128, COARSE, size=1.0, shift=1.0)
    return frames(equation, n=1, steps=STEPS, dt=0.1, noise=0.0, start_time=0.0, seed=1).u[0]
