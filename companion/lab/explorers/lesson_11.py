r"""Lesson 11, noise and control: the law of a random block, and training layer by layer.   Section 5.1

Notebook: 11.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from companion.lab.explorers.drawing import Answer
from companion.lab.explorers.lesson_09 import BLACK, BLUE, GREY, ORANGE, PALE, polyline
from companion.lab.raster import beside

Array = np.ndarray

# ---- a random block on u' = -u, u(0) = 1, up to T = 1 ----

BLOCKS = ("stochastic depth", "shake-shake")
AXIS = {BLOCKS[0]: (-0.1, 2.1), BLOCKS[1]: (-1.1, 2.1)}  # of x; one block of shake-shake reaches from -1 to 1
DRAWS, PATHS = 4000, 24
BAR = (240, 180, 120)


def step_law(block: str, p: float) -> tuple[float, float]:
    """Mean and standard deviation of the random slope: -eta, eta = 1 with probability p; or -2 eta, eta uniform."""
    return (-p, math.sqrt(p * (1 - p))) if block == BLOCKS[0] else (-1.0, 1 / math.sqrt(3))


def moments(block: str, p: float, n: int, scaled: bool) -> tuple[float, float]:
    """Mean and standard deviation of X_n: E (1 + dt m + c s xi)^j to the power n, j = 1, 2, with c = dt or dt^(1/2)."""
    (m, s), dt = step_law(block, p), 1 / n
    one, two = 1 + dt * m, (1 + dt * m) ** 2 + (dt if scaled else dt**2) * s**2
    return one**n, math.sqrt(max(0.0, two**n - one ** (2 * n)))


def gated(p: float, n: int, scaled: bool) -> tuple[Array, Array, Array]:
    """The law of X_n of stochastic depth: its n + 1 points, in descending order, their binomial probabilities, and
    these divided by the spacing of the points, which is to be compared with a density.
    """
    dt, k = 1 / n, np.arange(n + 1)  # k blocks are carried out
    on, off = (1 - p * dt - math.sqrt(dt) * (1 - p), 1 - p * dt + math.sqrt(dt) * p) if scaled else (1 - dt, 1.0)
    x = on**k * off ** (n - k)
    chance = np.array([math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in k.tolist()])
    return x, chance, chance / -np.gradient(x)


def density(y: Array, m: float, s: float) -> Array:
    """Of exp(m - s^2/2 + s B_1) at y > 0, the end of dX = m X dt + s X dB from 1."""
    return np.exp(-((np.log(y) - m + s**2 / 2) ** 2) / (2 * s**2)) / (y * s * math.sqrt(2 * math.pi))


def gate(block: str = "stochastic depth", scaled: bool = True, p: float = 0.5, n: int = 64, side: int = 256) -> Answer:
    """Left 24 paths (orange) of n random blocks on u' = -u from 1, over time, and the ODE of the mean slope (blue).
    Right on the same vertical axis (lines at 0, 1/2, 1, 3/2, 2) the law of the last state (orange), the density of
    the limiting SDE (black) and the end of the ODE (blue). For stochastic depth the law is exact: n + 1 points, at the
    height probability / spacing; for shake-shake, which has no p, a histogram of 4000 draws.
    """
    m, s = step_law(block, p)
    exact = block == BLOCKS[0]
    low, high = AXIS[block]
    place = lambda x: (x - low) / (high - low)  # noqa: E731
    left, right = (np.full((side, side, 3), 255, np.uint8) for _ in range(2))
    for panel in (left, right):
        for level in np.arange(-1, 2.5, 0.5):
            polyline(panel, [0, 1], [place(level)] * 2, GREY if level == 0 else PALE)
    x = place(_paths(block, round(p, 4), n, scaled, PATHS) if exact else _paths(block, 0.5, n, scaled, DRAWS))
    for path in x[:PATHS]:
        polyline(left, np.linspace(0, 1, n + 1), path, ORANGE)
    fine = np.linspace(0, 1, 65)
    polyline(left, fine, place(np.exp(m * fine)), BLUE)

    mean, deviation = moments(block, p, n, scaled)
    y = np.sort(np.append(np.linspace(1e-3, high, 129), np.exp(m + s * np.linspace(-4, 4, 129))))  # finer at the mode
    limit = density(y, m, s) if scaled and s > 0 else np.zeros(0)
    if exact:
        points, chance, height = gated(p, n, scaled)
        points, chance, height = points[chance > 0], chance[chance > 0], height[chance > 0]  # one if p = 1
    else:
        thick = max(1, round(deviation / 6 / (high - low) * side))  # rows of a bar
        bar = np.floor(x[:, -1] * side).astype(int) // thick
        height = np.bincount(bar[bar * thick < side], minlength=side) / DRAWS / (thick * (high - low) / side)
    most = 1.1 * max(height.max(), limit.max(initial=0))
    if exact:
        polyline(right, height / most, place(points), BAR)
    else:
        long = height[(side - 1 - np.arange(side)) // thick] / most * (side - 1)
        right[np.arange(side) < long[:, None]] = BAR
    polyline(right, [0, 1], [place(math.exp(m))] * 2, BLUE)
    if limit.size:
        polyline(right, limit / most, place(y), BLACK)
    if exact:
        far = p == 1 or (chance / height)[height.argmax()] / (high - low) * side > 8  # in pixels, at the mode
        for a, b in ((0, 0), (-2, 0), (2, 0), (0, -2), (0, 2)) if far else ((0, 0),):
            polyline(right, height / most + a / side, place(points) + b / side, ORANGE, dots=True)

    spread = math.exp(m) * math.sqrt(math.expm1(s**2)) if scaled else 0.0
    facts = {
        "deviation of X(1)": f"{deviation:.4f}",
        "of the limit": f"{spread:.4f}"
        + (" (an SDE)" if spread else " (a point)" if not scaled else " (no noise left)"),
        "mean": f"{mean:.4f}; of the limit {math.exp(m):.4f}",
    }
    return beside(left, right), facts


@functools.lru_cache(maxsize=4)
def _paths(block: str, p: float, n: int, scaled: bool, count: int) -> Array:
    """That many paths X_0 = 1, ..., X_n of the block."""
    m, dt = step_law(block, p)[0], 1 / n
    draw = np.random.default_rng(1).random((count, n))
    slope = -(draw < p).astype(float) if block == BLOCKS[0] else -2 * draw
    step = dt * m + math.sqrt(dt) * (slope - m) if scaled else dt * slope
    return np.concatenate([np.ones((count, 1)), np.cumprod(1 + step, axis=1)], axis=1)


# ---- x_{t+1} = x_t + dt Theta_t phi(x_t), t = 0, ..., LAYERS - 1: the sine by a net of two channels ----

LAYERS, PUPILS, DECAY, DT, ROUNDS = 12, 32, 1e-3, 1 / 3, 60
INPUT = np.linspace(-math.pi, math.pi, PUPILS)
START = np.stack([INPUT / 2, 0 * INPUT], 1)


def phi(x: Array) -> Array:
    """(1, x_1, x_2, tanh 2 x_1, tanh 2 x_2): (M, 2) -> (M, 5)."""
    return np.concatenate([np.ones((len(x), 1)), x, np.tanh(2 * x)], 1)


def dphi(x: Array) -> Array:
    """d phi_j / d x_b, (M, 5, 2)."""
    D, slope = np.zeros((len(x), 5, 2)), 2 - 2 * np.tanh(2 * x) ** 2
    for b in range(2):
        D[:, 1 + b, b], D[:, 3 + b, b] = 1, slope[:, b]
    return D


def states(theta: Array) -> Array:
    """x_0, ..., x_N for the controls theta (N, 2, 5)."""
    x = [START]
    for layer in theta:
        x.append(x[-1] + DT * phi(x[-1]) @ layer.T)
    return np.stack(x)


def loss(theta: Array, x: Array) -> float:
    """J = mean of (x_N,1 - sin)^2 / 2 + dt DECAY/2 sum |theta|^2."""
    return float(((x[-1, :, 0] - np.sin(INPUT)) ** 2).mean() / 2 + DT * DECAY / 2 * (theta**2).sum())


def maximised(theta: Array, x: Array, rho: float) -> Array:
    """The argmax, layer by layer, of the mean of H - rho/2 |v - f|^2 - rho/2 |q + grad_x H|^2 over the samples, where
    v = f and q = -grad_x H at the old theta, H = p . f - DECAY/2 |theta|^2: a linear system, as f is linear in theta.
    """
    D, P = dphi(x[:-1].reshape(-1, 2)).reshape(LAYERS, PUPILS, 5, 2), phi(x[:-1].reshape(-1, 2))
    P = P.reshape(LAYERS, PUPILS, 5)
    p = np.zeros((LAYERS, PUPILS, 2))
    p[-1, :, 0] = np.sin(INPUT) - x[-1, :, 0]
    for t in range(LAYERS - 1, 0, -1):
        p[t - 1] = p[t] + DT * np.einsum("mj,mjb->mb", p[t] @ theta[t], D[t])
    G = np.einsum("tma,tmjb->tmbaj", p, D).reshape(LAYERS, 2 * PUPILS, 10)  # grad_x H = G theta
    A = G.transpose(0, 2, 1) @ G
    for a in (slice(0, 5), slice(5, 10)):
        A[:, a, a] += P.transpose(0, 2, 1) @ P
    A *= rho / PUPILS
    right = (p.transpose(0, 2, 1) @ P).reshape(LAYERS, 10) / PUPILS + np.einsum("tij,tj->ti", A, theta.reshape(-1, 10))
    return np.linalg.solve(A + DECAY * np.eye(10), right[..., None]).reshape(theta.shape)


@functools.lru_cache(maxsize=8)
def training(rho: float, seed: int = 0) -> tuple[list[Array], list[float]]:
    """The controls and losses of at most ROUNDS rounds, ended where the loss exceeds 1e6."""
    theta = 0.1 * np.random.default_rng(seed).normal(size=(LAYERS, 2, 5))
    path, losses = [], []
    with np.errstate(all="ignore"):
        for _ in range(ROUNDS + 1):
            x = states(theta)
            path.append(theta)
            losses.append(loss(theta, x))
            if not losses[-1] < 1e6:
                break
            theta = maximised(theta, x, rho)
    return path, losses


def msa(rho: float = 3.0, k: int = 12, side: int = 256) -> Answer:
    """Left the sine on [-pi, pi] (black) and a net of 12 layers after k rounds of successive approximations (orange).
    Right the loss over 60 rounds, a line for each decade from 1e-3 to 1e3 (grey: round k).
    """
    path, losses = training(round(rho, 6))
    at = min(k, len(losses) - 1)
    left, right = (np.full((side, side, 3), 255, np.uint8) for _ in range(2))
    place = lambda y: (y + 1.5) / 3  # noqa: E731
    polyline(left, [0, 1], [0.5, 0.5], PALE)
    polyline(left, np.linspace(0, 1, PUPILS), place(np.sin(INPUT)), BLACK)
    with np.errstate(all="ignore"):
        out = np.clip(np.nan_to_num(states(path[at])[-1, :, 0]), -9, 9)  # beyond +-1.5 it leaves the panel
    for dots in (False, True):
        polyline(left, np.linspace(0, 1, PUPILS), place(out), ORANGE, dots=dots)

    for decade in range(1, 8):
        polyline(right, [0, 1], [decade / 8] * 2, PALE)
    polyline(right, [at / ROUNDS] * 2, [0, 1], GREY)
    height = (np.log10(np.clip(np.nan_to_num(losses, nan=1e9, posinf=1e9), 1e-9, 1e9)) + 4) / 8
    for dots in (False, True):
        polyline(right, np.arange(len(losses)) / ROUNDS, height, ORANGE, dots=dots)
    rises = int((np.diff(losses) > 0).sum())
    gone = len(losses) <= ROUNDS
    facts = {
        "loss": "above 1e6, blown up" if gone and at == len(losses) - 1 else f"{losses[at]:.3g}",
        "rounds in which the loss rises": f"{rises} of {len(losses) - 1}",
        "least loss": f"{min(losses):.3g} in round {int(np.argmin(losses))}",
    }
    return beside(left, right), facts
