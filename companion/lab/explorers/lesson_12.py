r"""Lesson 12, filters that learn derivatives: the free entries of a moment matrix, and which are best.   (5.5)-(5.7)

Notebook: 12.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from companion import Filter, central, constrained, from_moments
from companion.lab.explorers.drawing import Answer, stack, taps
from companion.lab.explorers.lesson_09 import BLACK, BLUE, GREY, ORANGE, PALE, polyline
from companion.lab.raster import beside, pixels

Array = np.ndarray
STEPS = 2.0 ** -np.arange(1.0, 7.0)
WAVES = np.linspace(0, math.pi, 129)
SHADE = (238, 238, 238)

# ---- the stars of (5.7): d/dx by 3 x 3 taps ----

FREE = ((2, 0), (1, 1), (0, 2), (1, 2), (2, 1))


def stars(
    accuracy: int = 1,
    m_20: float = 0.3,
    m_11: float = 0.0,
    m_02: float = 0.0,
    m_12: float = 0.0,
    m_21: float = 0.0,
    side: int = 128,
) -> Answer:
    """A 3 x 3 filter for d/dx by its moment matrix. Above its taps (purple positive, x downwards) and the symbol for
    waves along x: imaginary part (orange) beside w (black), real part (blue) beside 0. Below the distance of the symbol
    from i w_1 for all waves, the darker the larger, and over the steps 1/64 to 1/2 the largest relative error for
    e^(x + c y), c = 1, 0.4, -0.4, -1, beside lines of slope 1 and 2 (grey).

    Accuracy 2 fixes the moments of order two at 0, whatever their sliders say.
    """
    M = np.zeros((3, 3))
    M[1, 0] = 1
    for (i, j), value in zip(FREE, (m_20, m_11, m_02, m_12, m_21), strict=True):
        M[i, j] = value if i + j > accuracy else 0.0
    q = from_moments(torch.from_numpy(M)).numpy()

    k = np.arange(-1, 2)
    along = symbol(q.sum(1), WAVES)
    left = np.full((side, side, 3), 255, np.uint8)
    for level in (-2, -1, 0, 1, 2, 3):
        polyline(left, [0, 1], [(level + 2.5) / 6] * 2, GREY if level == 0 else PALE)
    x = WAVES / math.pi
    for y, colour in ((WAVES, BLACK), (along.real, BLUE), (along.imag, ORANGE)):
        polyline(left, x, (y + 2.5) / 6, colour)

    w = np.linspace(-math.pi, math.pi, side)
    wave = np.exp(1j * np.outer(w, k))
    distance = np.abs(wave @ q @ wave.T - 1j * w[:, None])
    field = pixels(-distance, -math.pi, 0.0)

    c = np.array([1.0, 0.4, -0.4, -1.0])[:, None]  # four: no form of degree up to three in (1, c) is 0 at all of them
    error = np.array([np.abs(np.exp(h * c * k) @ q.T @ np.exp(h * k) / h - 1).max() for h in STEPS])
    slope = float(np.log2(error[-2] / error[-1])) if error[-1] > 1e-13 else math.inf
    right = _slopes(error, side)

    term = _leading(q)
    facts = {
        "slope of the error": f"{slope:.2f}",
        "error begins with": term,
        "noise is multiplied by": f"{np.sqrt((q**2).sum()):.2f} / h",
        "free moments": 6 if accuracy == 1 else 3,
    }
    above = beside(taps(q, side), left)
    return stack(above, beside(np.repeat(field[..., None], 3, -1), right)), facts


def symbol(q: Array, w: Array) -> Array:
    """sum_k q[k] e^{i k w} of taps about 0."""
    k = np.arange(len(q)) - len(q) // 2
    return np.exp(1j * np.outer(w, k)) @ q


def _leading(q: Array) -> str:
    """The terms of lowest order in (Q u)/h - u_x: 'h (0.3 u_xx)'."""
    f = Filter(q)
    for order in range(2, 8):
        found = {(order - j, j): f.constant((order - j, j)) for j in range(order + 1)}
        kept = {b: c for b, c in found.items() if abs(c) > 1e-9}
        if kept:
            terms = " ".join(f"{round(c, 3):+.2g} u_{'x' * b[0]}{'y' * b[1]}" for b, c in kept.items())
            return f"h{'' if order == 2 else f'^{order - 1}'} ({terms.removeprefix('+')})"
    return "nothing"


def _slopes(error: Array, side: int) -> Array:
    """log_2 of the error over the steps 1/64, ..., 1/2, from 2^-16 to 4, with lines of slope 1 and 2."""
    out = np.full((side, side, 3), 255, np.uint8)
    x = np.linspace(0.95, 0.05, len(error))
    place = lambda e: (np.log2(np.maximum(e, 2.0**-40)) + 16) / 18  # noqa: E731
    for slope in (1, 2):
        polyline(out, x, place(error[0] * STEPS**slope / STEPS[0] ** slope), GREY)
    polyline(out, x, place(error), ORANGE)
    polyline(out, x, place(error), ORANGE, dots=True)
    return out


# ---- the free moments that are best for given data: least squares ----


@functools.lru_cache(maxsize=16)
def _basis(N: int, accuracy: int) -> tuple[Array, Array]:
    """The central difference for d/dx on N taps, and a filter for each free moment: all filters are q + B theta."""
    free = (~constrained(1, N, min(accuracy, N - 1))).nonzero().flatten()  # at accuracy N - 1 there is none
    return central(1, N).numpy(), from_moments(torch.eye(N, dtype=torch.float64)[free], dim=1).numpy().T


def best(N: int, accuracy: int, band: float, noise: float) -> Array:
    """The taps with the least E |Q (u + noise) - u_x|^2, h = 1, for u of variance 1 with equal power on |w| <= band."""
    q, B = _basis(N, accuracy)
    if B.shape[1] == 0:
        return q
    w = np.linspace(-band, band, 257)
    wave = np.exp(1j * np.outer(w, np.arange(N) - N // 2)) / math.sqrt(len(w))
    rows = np.concatenate([wave.real, wave.imag, noise * np.eye(N)])
    goal = np.concatenate([0 * w, w / math.sqrt(len(w)), np.zeros(N)])
    return q + B @ np.linalg.lstsq(rows @ B, goal - rows @ q, rcond=None)[0]


def rms(q: Array, band: float, noise: float) -> float:
    """(E |Q (u + noise) - u_x|^2)^(1/2) over that of u_x."""
    w = np.linspace(-band, band, 257)
    square = (np.abs(symbol(q, w) - 1j * w) ** 2).mean() + noise**2 * (q**2).sum()
    return float(np.sqrt(square / (w**2).mean()))


def fitted(N: int = 5, accuracy: int = 2, band: float = 1.5, noise: float = 0.0, side: int = 256) -> Answer:
    """d/dx on N taps for data whose waves fill |w| <= band (grey), with noise. Left the imaginary part of the symbol:
    of d/dx, w (black), of the central difference (blue), of the filter whose free moments are best (orange). Right the
    distance from i w of both, a pale line for each factor of ten from 1 down to 10^-5.

    Accuracy 1 and 2 are the same here, since the best even moments are 0, and so are 3 and 4.
    """
    q, found = central(1, N).numpy(), best(N, accuracy, band, noise)
    panels = [np.full((side, side, 3), 255, np.uint8) for _ in range(2)]
    x, cut = WAVES / math.pi, round(band / math.pi * side)
    for panel in panels:
        panel[:, :cut] = SHADE
    polyline(panels[0], x, x, BLACK)
    for decade in range(1, 7):
        polyline(panels[1], [0, 1], [decade / 6.5] * 2, (200, 200, 200))
    for taps_, colour in ((q, BLUE), (found, ORANGE)):
        hat = symbol(taps_, WAVES)
        polyline(panels[0], x, hat.imag / math.pi, colour)
        far = np.log10(np.maximum(np.abs(hat - 1j * WAVES), 1e-12))
        polyline(panels[1], x, (far + 6) / 6.5, colour)
    free = np.flatnonzero(~constrained(1, N, min(accuracy, N - 1)).numpy())
    values = [round((np.arange(N) - N // 2.0) ** i @ found / math.factorial(i), 3) + 0.0 for i in free]
    facts = {
        "error of the best": f"{100 * rms(found, band, noise):.2g} %",
        "of the central difference": f"{100 * rms(q, band, noise):.2g} %",
        "free moments": ", ".join(f"m_{i} = {m:.3f}" for i, m in zip(free, values, strict=True)) or "none",
    }
    return beside(*panels), facts
