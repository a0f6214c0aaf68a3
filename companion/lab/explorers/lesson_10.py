r"""Lesson 10, residual networks: stability regions of architectures, and a plane carried through layers.   (5.1), (5.2)

Notebook: 10.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch

from companion import RK4
from companion.lab.explorers.drawing import Answer
from companion.lab.explorers.lesson_09 import BLACK, BLUE, GREY, ORANGE, PALE, polyline
from companion.lab.raster import beside

Array = np.ndarray
ARCHITECTURES = ("ResNet", "LM-ResNet", "PolyNet", "FractalNet", "RevNet", "implicit skip", "neural ODE, RK4")
REAL, IMAGINARY = (-8.5, 1.5), (-5.0, 5.0)  # the square of dt lambda that is drawn
REACH = 1.6  # of the orbit's panel: |Re u|, |Im u| <= REACH

# R(z) of the architectures of one step; RevNet and LM-ResNet have a matrix of two rows in its place
ONE_STEP: dict[str, Callable[[Array], Array]] = {
    "ResNet": lambda z: 1 + z,
    "PolyNet": lambda z: 1 + z + z**2,
    "FractalNet": lambda z: 1 + z + z**2 / 8,
    "implicit skip": lambda z: 1 / np.where(z == 1, 1e-12, 1 - z),
    "neural ODE, RK4": RK4.R,
}


def trace_and_det(name: str, alpha: float, z: Array) -> tuple[Array, Array]:
    """Sum and product of the two roots: 1 - alpha + z and -alpha of (5.2), 2 + z^2 and 1 of the pair a' = b, b' = a."""
    return (1 - alpha + z, -alpha + 0 * z) if name == "LM-ResNet" else (2 + z**2, 1 + 0 * z)


def growth(name: str, alpha: float, z: Array) -> Array:
    """The factor by which a layer can stretch u' = lambda u, z = dt lambda: |R(z)|, or the larger root's modulus."""
    z = np.atleast_1d(z).astype(complex)
    if name in ONE_STEP:
        return np.abs(ONE_STEP[name](z))
    p, q = trace_and_det(name, alpha, z)
    root = np.sqrt(p * p - 4 * q)
    return np.maximum(np.abs(p + root), np.abs(p - root)) / 2


def orbit(name: str, alpha: float, z: complex, k: int) -> Array:
    """u^0 = 1, ..., u^k by layers of that architecture; LM-ResNet's first is a step of Euler, RevNet's halves are 1."""
    u, other, path = 1 + 0j, 1 + 0j, [1 + 0j]
    R = ONE_STEP[name](np.array([z])).item() if name in ONE_STEP else 0j
    for _ in range(k):
        if name in ONE_STEP:
            u = R * u
        elif name == "LM-ResNet":
            u, other = (1 - alpha) * u + alpha * other + z * u, u
        else:
            u = u + z * other
            other = other + z * u
        path.append(u)
        if abs(u) > 1e6:  # out of every picture
            break
    return np.array(path)


def stability(
    architecture: str = "LM-ResNet", alpha: float = -0.5, re: float = -1.2, im: float = 0.3, k: int = 20, n: int = 256
) -> Answer:
    """Left the plane of dt lambda, blue where a layer does not stretch the solutions of u' = lambda u, the darker the
    more it shrinks them; the cross is the origin, the orange dot the chosen dt lambda. Right the layers' u^0 = 1, ...,
    u^k (orange) in the plane of u, the exact solution (black) and the unit circle.
    """
    z = complex(re, im)
    factor = growth(architecture, alpha, np.asarray(z)).item()
    region = _region(architecture, round(alpha, 3), n).copy()
    x, y = _place(z)
    polyline(region, [x], [y], ORANGE, dots=True)
    _blob(region, x, y)

    plane = np.full((n, n, 3), 255, np.uint8)
    into = lambda u: ((u.real / REACH + 1) / 2, (u.imag / REACH + 1) / 2)  # noqa: E731
    polyline(plane, [0, 1], [0.5, 0.5], PALE)
    polyline(plane, [0.5, 0.5], [0, 1], PALE)
    polyline(plane, *into(np.exp(1j * np.linspace(0, 2 * np.pi, 100))), GREY)
    exact = np.exp(z * np.linspace(0, k, 10 * k + 1))
    for path, colour in ((exact, BLACK), (orbit(architecture, alpha, z, k), ORANGE)):
        gone = np.flatnonzero(np.abs(path) > 4)
        path = path[: gone[0] + 1] if len(gone) else path
        polyline(plane, *into(path), colour)
        if colour == ORANGE:
            polyline(plane, *into(path), colour, dots=True)
    bound = "stretches" if factor > 1 + 1e-9 else "does not stretch"
    facts = {
        "dt lambda": f"{re:.2f} {'-' if im < 0 else '+'} {abs(im):.2f} i",
        "a layer": f"{bound}, factor {factor:.3f}",
        "exact factor": f"{np.exp(re):.3f}",
    }
    if architecture == "LM-ResNet":
        facts["exact factor of the limit (1 + alpha) u' = lambda u"] = (
            f"{np.exp(re / (1 + alpha)):.3f}" if alpha > -1 else "none"
        )
    return beside(region, plane), facts


def _place(z: complex) -> tuple[float, float]:
    return (z.real - REAL[0]) / (REAL[1] - REAL[0]), (z.imag - IMAGINARY[0]) / (IMAGINARY[1] - IMAGINARY[0])


def _blob(out: Array, x: float, y: float) -> None:
    """A disc of radius 4 pixels."""
    side = len(out)
    rows, columns = np.ogrid[:side, :side]
    out[(columns - x * (side - 1)) ** 2 + (side - 1 - rows - y * (side - 1)) ** 2 <= 16] = ORANGE


@functools.lru_cache(maxsize=4)
def _region(name: str, alpha: float, n: int) -> Array:
    x, y = np.linspace(*REAL, n), np.linspace(IMAGINARY[1], IMAGINARY[0], n)
    if name == "RevNet":
        x = np.where(np.abs(x) == np.abs(x).min(), 0.0, x)  # its region is a segment of the imaginary axis
    factor = growth(name, alpha, x + 1j * y[:, None])
    inside = factor <= 1 + 1e-9
    if name == "RevNet":
        inside |= np.roll(inside, 1, 1) | np.roll(inside, -1, 1)
        factor = np.where(inside, 1.0, factor)
    out = np.full((n, n, 3), 255, np.uint8)
    light, dark = np.array([205.0, 226, 240]), np.array([70.0, 140, 190])
    level = np.floor(np.clip(factor, 0, 0.999) * 5)[..., None] / 4  # five shades
    out[inside] = (dark + (light - dark) * level)[inside].astype(np.uint8)
    edge = inside & ~(np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1))
    edge[[0, -1]], edge[:, [0, -1]] = False, False
    out[edge] = BLUE
    x0, y0 = _place(0j)
    polyline(out, [0, 1], [y0, y0], GREY)
    polyline(out, [x0, x0], [0, 1], GREY)
    return out


# ---- a plane carried through layers ----

WEIGHTS = ("smooth in t", "independent", "independent, dt = T/√N")
SCHEMES = ("Euler", "Heun", "RK4")
LINES, POINTS = 11, 41
SIDE = 2.8  # of the panels: |x|, |y| <= SIDE


def fields(weights: str, layers: int) -> Callable[[Array, float], Array]:
    """F(u, t) = tanh(A(t) u + b(t)), 0 <= t < 1; A, b two Fourier modes, or drawn anew for each of the layers, with a
    mean of their own where dt = T/N, with mean 0 where dt = T/N^(1/2).
    """
    if weights != WEIGHTS[0]:
        draw = np.random.default_rng(layers)
        A, b = 1.5 * draw.normal(size=(layers, 2, 2)), draw.normal(size=(layers, 2))
        if weights == WEIGHTS[1]:
            A, b = A + np.array([[-1.0, -2.0], [2.0, 1.0]]), b + np.array([0.3, -0.2])
        layer = lambda t: min(int(t * layers + 1e-9), layers - 1)  # noqa: E731
        return lambda u, t: tanh(u @ A[layer(t)].T + b[layer(t)])
    A0, A1 = np.array([[-2.5, -1.0], [1.5, 0.5]]), np.array([[1.2, 0.8], [0.8, -1.2]])
    b0 = np.array([0.3, -0.2])

    def F(u: Array, t: float) -> Array:
        A = A0 * np.cos(np.pi * t) + A1 * np.sin(2 * np.pi * t)
        return tanh(u @ A.T + b0 * np.cos(2 * np.pi * t))

    return F


def tanh(u: Array) -> Array:
    """By torch: two to three times as fast as NumPy's."""
    return torch.from_numpy(u).tanh().numpy()


def carried(u: Array, F: Callable[[Array, float], Array], scheme: str, dt: float, layers: int) -> Array:
    """u after `layers` steps of dt; t runs through [0, 1]."""
    h = 1 / layers
    for k in range(layers):
        t = k * h
        a = F(u, t)
        if scheme == "Euler":
            u = u + dt * a
        elif scheme == "Heun":
            u = u + dt / 2 * (a + F(u + dt * a, t + h))
        else:
            b = F(u + dt / 2 * a, t + h / 2)
            c = F(u + dt / 2 * b, t + h / 2)
            u = u + dt / 6 * (a + 2 * b + 2 * c + F(u + dt * c, t + h))
    return u


def depth(weights: str = "smooth in t", scheme: str = "Euler", layers: int = 4, T: float = 3.0, n: int = 256) -> Answer:
    """A net of lines in the square [-1, 1]^2, carried by a residual network of that many layers to the time T (left),
    and by one with twice as many (right). Orange: cells that have been turned over, where two points of the square have
    come to the same place.
    """
    step = lambda m: T / (m**0.5 if weights == WEIGHTS[2] else m)  # noqa: E731
    images = [carried(_mesh(), fields(weights, m), scheme, step(m), m) for m in (layers, 2 * layers)]
    apart = float(np.sqrt(((images[0] - images[1]) ** 2).sum(-1).mean()))
    panels, folded = [], []
    for image in images:
        out = np.full((n, n, 3), 255, np.uint8)
        turned = areas(image) < 0
        folded.append(float(turned.mean()))
        x, y = ((image[..., i] / SIDE + 1) / 2 for i in (0, 1))
        for a, b in ((x, y), (x.T, y.T)):
            for line_x, line_y in zip(a[:: POINTS // (LINES - 1)], b[:: POINTS // (LINES - 1)], strict=True):
                polyline(out, line_x, line_y, BLUE)
        across, up = ((c[:-1, :-1] + c[1:, 1:])[turned] / 2 for c in (x, y))
        polyline(out, across, up, ORANGE, dots=True)
        panels.append(out)
    facts = {
        "layers": f"{layers} and {2 * layers}",
        "distance of the two": f"{apart:.1e}",
        "turned over": f"{100 * folded[0]:.1f} and {100 * folded[1]:.1f} %",
    }
    return beside(*panels), facts


def areas(image: Array) -> Array:
    """Twice the signed area of each cell of a net, by its diagonals; > 0 where the orientation is kept."""
    p, q = image[1:, 1:] - image[:-1, :-1], image[1:, :-1] - image[:-1, 1:]
    return q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]


@functools.lru_cache(maxsize=1)
def _mesh() -> Array:
    """(POINTS, POINTS, 2): the points (x, y) of the square, x by rows."""
    s = np.linspace(-1, 1, POINTS)
    return np.stack(np.meshgrid(s, s, indexing="ij"), axis=-1)
