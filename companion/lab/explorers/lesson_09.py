r"""Lesson 09, acceleration: one quadratic energy, with memory and without.   (4.7), (4.8)

Notebook: 09.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from companion.lab.explorers.drawing import Answer, stack
from companion.lab.images import step_and_ramp
from companion.lab.raster import beside

ORANGE, BLUE, BLACK, GREY, PALE = (213, 94, 0), (0, 114, 178), (0, 0, 0), (150, 150, 150), (222, 222, 222)
START = np.array([0.95, 0.62])  # of the ball: slow mode, fast mode
METHODS = ("(4.7)", "heavy ball")
STEPS = 200  # of the energy's axis


def acceleration(
    method: str = "(4.7)", momentum: float = 0.8, level: float = 0.5, Q: float = 50.0, k: int = 40, n: int = 128
) -> Answer:
    """A quadratic energy with condition number Q, with momentum (orange) and without (blue): the paths of a ball in the
    landscape of two modes, and the energy over 200 steps, a line for each decade from 1 down to 1e-11 (grey: step k);
    below the roots of all modes in the unit disc (black: the slowest mode), and the signal of the course on its way
    from the data to the minimiser (black).

    level is tau^2 L, L the largest eigenvalue of E''. The signal has E = m/2 |u - f|^2 + 1/2 |u'|^2 with h = 1 and
    m = 4/(Q - 1), so that its eigenvalues fill [m, m + 4], and starts at f; a level is one of (4.7) for Haar.
    """
    heavy = method == METHODS[1]
    spectrum = np.geomspace(1 / Q, 1, 32) * level
    z = roots(spectrum, momentum, heavy)
    rate, alone = float(np.abs(z).max()), float(np.abs(1 - spectrum).max())

    m = 4 / (Q - 1)
    f = _signal(n)
    goal = np.fft.irfft(np.fft.rfft(f) * m / (m + 2 - 2 * np.cos(2 * np.pi * np.arange(n // 2 + 1) / n)), n)
    force = lambda u: level / (m + 4) * (np.roll(u, 1, -1) + np.roll(u, -1, -1) - 2 * u - m * (u - f))  # noqa: E731
    u, plain = orbit(f, force, momentum, k, heavy)[-1], orbit(f, force, 0.0, k, heavy)[-1]

    hessian = np.array([1 / Q, 1.0])
    pull = lambda p: -level * hessian * p  # noqa: E731
    ball, descent = (orbit(START, pull, c, max(k, STEPS), heavy) for c in (momentum, 0.0))
    energy = [(hessian * p**2).sum(-1) / 2 for p in (ball, descent)]

    side = 2 * n
    signal = np.full((side, side, 3), 255, np.uint8)
    x = (np.arange(n) + 0.5) / n
    for row, colour in ((f, GREY), (plain, BLUE), (goal, BLACK), (u, ORANGE)):
        if np.abs(row).max() < 5:  # what has blown up is nowhere
            polyline(signal, x, (row + 0.1) / 1.3, colour)
    above = beside(_landscape(side, Q, ball[: k + 1], descent[: k + 1]), _energies(side, energy, k))
    below = beside(_disc(side, z), signal)
    return stack(above, below), _facts(momentum, level / Q, heavy, rate, alone, k, energy)


def orbit(u0: np.ndarray, force: Any, momentum: float, k: int, heavy: bool) -> np.ndarray:
    """u^0, ..., u^k from rest: the force (tau^2 times -grad E) at v, or at u^{k-1} for the heavy ball."""
    u = old = u0
    path = [u]
    for _ in range(k):
        v = u + momentum * (u - old)
        u, old = np.clip(v + force(u if heavy else v), -1e60, 1e60), u
        path.append(u)
    return np.stack(path)


def roots(spectrum: np.ndarray, momentum: float, heavy: bool) -> np.ndarray:
    """The two roots of z^2 - p z + q for each mode, (2, modes): p = a (1 + gamma), q = a gamma, a = 1 - level; or
    p = 1 + gamma - level, q = gamma for the heavy ball.
    """
    a = 1 - spectrum
    p, q = (a + momentum, momentum + 0 * a) if heavy else (a * (1 + momentum), a * momentum)
    root = np.sqrt((p * p - 4 * q).astype(complex))
    return np.stack([p + root, p - root]) / 2


def damping(momentum: float, slowest: float, heavy: bool) -> str:
    """What the roots of the slowest mode, of the level tau^2 omega_1^2 = slowest, are: two real ones, a double one or a
    conjugate pair. They meet at a (1 + gamma)^2 = 4 gamma, a = 1 - slowest; at (1 - tau omega_1)^2 for the heavy ball.
    """
    if slowest >= 1 and not heavy:
        return "two real roots"  # a <= 0: they never meet
    root = math.sqrt(slowest)
    meet = (1 - root) ** 2 if heavy else (1 - root) / (1 + root)
    if abs(momentum - meet) < 0.005:
        return "critical, a double root"
    return "overdamped, two real roots" if momentum < meet else "underdamped, a conjugate pair"


def _facts(
    momentum: float, slowest: float, heavy: bool, rate: float, alone: float, k: int, energy: list[np.ndarray]
) -> dict[str, Any]:
    return {
        "largest root": f"{rate:.4f}" + (" > 1: it blows up" if rate > 1 + 1e-9 else ""),
        "without momentum": f"{alone:.4f}" + (" > 1: it blows up" if alone > 1 + 1e-9 else ""),
        "slowest mode": damping(momentum, slowest, heavy),
        "C / (2 omega_1)": f"{(1 - momentum) / (2 * math.sqrt(slowest)):.2f}",
        "energy left": f"{energy[0][k] / energy[0][0]:.1e}; without momentum {energy[1][k] / energy[1][0]:.1e}",
    }


@functools.lru_cache(maxsize=2)
def _signal(n: int) -> np.ndarray:
    return step_and_ramp(n).numpy()


# ---- drawing: each panel is side x side, white ----


def polyline(out: np.ndarray, x: Any, y: Any, colour: tuple[int, int, int], dots: bool = False) -> None:
    """The line through (x, y), 0 <= x, y <= 1 from the lower left, two pixels wide; what lies outside is left out."""
    side = len(out)
    x, y = (np.clip(np.asarray(v, float), -3, 4) * (side - 1) for v in (x, y))
    if dots:
        u, v = x, y
    else:
        longest = int(np.hypot(np.diff(x), np.diff(y)).max(initial=1.0)) + 1
        s = np.linspace(0, len(x) - 1, (len(x) - 1) * longest + 1)
        u, v = np.interp(s, np.arange(len(x)), x), np.interp(s, np.arange(len(x)), y)
    u, v = np.rint(u).astype(np.intp), side - 1 - np.rint(v).astype(np.intp)
    reach = range(-1, 2) if dots else range(2)
    for i in reach:
        for j in reach:
            column, row = u + i, v + j
            inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
            out[row[inside], column[inside]] = colour


@functools.lru_cache(maxsize=4)
def _levels(side: int, Q: float) -> np.ndarray:
    """Level lines of (x^2/Q + y^2)/2 on [-1, 1] x [-3/4, 3/4], each at half the energy of the next."""
    x, y = np.linspace(-1, 1, side), np.linspace(0.75, -0.75, side)
    band = np.floor(np.log2(x**2 / Q + y[:, None] ** 2 + 1e-12))
    edge = (band != np.roll(band, 1, 0)) | (band != np.roll(band, 1, 1))
    edge[0], edge[:, 0] = False, False
    out = np.full((side, side, 3), 255, np.uint8)
    out[edge & (band > band.max() - 12)] = PALE
    return out


def _landscape(side: int, Q: float, ball: np.ndarray, descent: np.ndarray) -> np.ndarray:
    out = _levels(side, round(Q, 3)).copy()
    for path, colour in ((descent, BLUE), (ball, ORANGE)):
        gone = np.flatnonzero(np.abs(path).max(-1) > 1.5)
        path = path[: gone[0] + 1] if len(gone) else path
        x, y = (path[:, 0] + 1) / 2, (path[:, 1] + 0.75) / 1.5
        polyline(out, x, y, colour)
        polyline(out, x, y, colour, dots=True)
    polyline(out, [0.5], [0.5], BLACK, dots=True)
    return out


def _energies(side: int, energy: list[np.ndarray], k: int) -> np.ndarray:
    """log_10 E over the steps: from 1e-12 to 10 times the first; a pale line for each decade, a grey one at k."""
    out = np.full((side, side, 3), 255, np.uint8)
    for decade in range(1, 13):
        polyline(out, [0, 1], [decade / 13] * 2, PALE)
    at = np.arange(len(energy[0])) / (len(energy[0]) - 1)
    polyline(out, [at[k]] * 2, [0, 1], GREY)
    for e, colour in ((energy[1], BLUE), (energy[0], ORANGE)):
        polyline(out, at, (np.log10(np.maximum(e / e[0], 1e-30)) + 12) / 13, colour)
    return out


def _disc(side: int, z: np.ndarray) -> np.ndarray:
    """The roots in the square |Re z|, |Im z| <= 1.25, with the unit circle."""
    out = np.full((side, side, 3), 255, np.uint8)
    angle = np.linspace(0, 2 * math.pi, 200)
    place = lambda w: ((w.real + 1.25) / 2.5, (w.imag + 1.25) / 2.5)  # noqa: E731
    polyline(out, [0, 1], [0.5, 0.5], PALE)
    polyline(out, [0.5, 0.5], [0, 1], PALE)
    polyline(out, *place(np.exp(1j * angle)), GREY)
    polyline(out, *place(z.ravel()), ORANGE, dots=True)
    polyline(out, *place(z[:, 0]), BLACK, dots=True)
    return out
