r"""Lesson 07, Gamma-convergence: functions of one variable and their lower envelopes; what a grid charges an edge.

Notebook: 07.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion import VARIATIONS, edge_cost
from companion.lab.explorers.drawing import Answer
from companion.lab.raster import beside, enlarged, pixels

BLUE, ORANGE, GREY, PALE = (0, 114, 178), (213, 94, 0), (170, 170, 170), (204, 226, 240)
WIDTH, HEIGHT, FINE = 640, 360, 16  # columns, rows, and points per column
SIDE = 256  # of the polar plot


class Family(NamedTuple):
    """F_n, its Gamma-limit (inf where there is no finite value), a point where F_n is least, the window x, y."""

    F: Callable[[Tensor, int], Tensor]
    limit: Callable[[Tensor], Tensor]
    lowest: Callable[[int], float]
    x: tuple[float, float]
    y: tuple[float, float]


FAMILIES = {
    "a dip that moves": Family(
        lambda x, n: x**2 - 3 * (1 - n**2 * (x - 1 - 1 / n).abs()).clamp_min(0),
        lambda x: torch.where(x == 1, -2.0, x**2),
        lambda n: 1 + 1 / n,
        (-1, 3),
        (-2.4, 5),
    ),
    "faster and faster waves": Family(
        lambda x, n: x**2 / 4 + torch.sin(2 * math.pi * n * x) / 2,
        lambda x: x**2 / 4 - 0.5,
        lambda n: -1 / (4 * n),
        (-1, 3),
        (-0.9, 2.8),
    ),
    "a steeper and steeper wall": Family(
        lambda x, n: n * x**2,
        lambda x: torch.where(x == 0, 0.0, math.inf),
        lambda n: 0.0,
        (-2, 2),
        (-0.6, 5),
    ),
    "a well that runs away": Family(
        lambda x, n: x**2 / (1 + x**2) - 2 * (1 - (x - n).abs()).clamp_min(0),
        lambda x: x**2 / (1 + x**2),
        float,
        (-1, 7),
        (-1.4, 1.6),
    ),
}


def envelope(family: str = "a dip that moves", n: int = 6, radius: float = 0.1) -> Answer:
    """F_n (blue), its lower envelope inf over |y - x| <= r of F_n(y) (orange), the Gamma-limit (black).

    Grey: the level 0 and the whole numbers, 0 dashed. The envelope is taken column by column of the picture, so that
    the radius is a whole number of columns.
    """
    F, limit, lowest, (left, right), (low, high) = FAMILIES[family]
    x = left + (torch.arange(WIDTH * FINE, dtype=torch.float64) + 0.5) * (right - left) / (WIDTH * FINE)
    columns = F(x, n).reshape(WIDTH, FINE)
    least, most = columns.amin(1), columns.amax(1)
    place, value = lowest(n), float(F(torch.tensor(lowest(n), dtype=torch.float64), n))
    at = int((place - left) / (right - left) * WIDTH)
    if at < WIDTH:
        least[at] = min(float(least[at]), value)  # the dip is narrower than the points lie
    r = round(radius / (right - left) * WIDTH)
    below = -torch.nn.functional.max_pool1d(-least[None, None], 2 * r + 1, 1, r)[0, 0]

    rows = lambda v: ((high - v.clamp(low - 1, high + 1)) / (high - low) * HEIGHT).round().numpy()  # noqa: E731
    out = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for whole in range(math.ceil(left), math.floor(right) + 1):
        column = min(round((whole - left) / (right - left) * WIDTH), WIDTH - 1)
        out[:: 1 if whole else 2, column] = GREY
    out[int(rows(torch.zeros(1))[0])] = GREY
    draw(out, rows(most), rows(least), BLUE, 1)
    line(out, rows(below), ORANGE, 2)
    middle = x.reshape(WIDTH, FINE)[:, FINE // 2]
    line(out, rows(limit(middle)), (0, 0, 0), 1)
    special = {1.0: float(limit(torch.ones(1))), 0.0: float(limit(torch.zeros(1)))}
    for where, v in special.items():  # values of the limit at single points
        if abs(v - float(limit(torch.full((1,), where + 1e-5)))) > 0.1:
            column, row = round((where - left) / (right - left) * WIDTH), int(rows(torch.tensor([v]))[0])
            out[row - 4 : row + 5, column - 4 : column + 5] = 0
    one = min(int((1 - left) / (right - left) * WIDTH), WIDTH - 1)
    facts = {
        "least value": f"{value:.3f} at {place:.3f}",
        "F_n(1)": f"{float(F(torch.ones(1).double(), n)):.3f}",
        "envelope at 1": f"{float(below[one]):.3f}",
        "limit at 1": f"{special[1.0]:.3f}".replace("inf", "infinite"),
    }
    return out, facts


def edge(discretisation: str = "Haar, two bands", angle: float = 30.0, n: int = 20) -> Answer:
    """A sharp edge, the length |grad| that the grid sees in each pixel, and its cost per length in all directions.

    The angle is that of the normal, in degrees: 0 down, 90 right; h = 1. In the polar plot the grey circle is the cost
    1, that of the total variation, the orange point is the edge of the picture, and blue is the shape {x : <x, n> <=
    cost(n) for all n}, of least cost for its area. Costs are means over all offsets of the edge.
    """
    J = VARIATIONS[discretisation](1.0, 1.0)
    theta = math.radians(angle)
    x = torch.arange(n + 4, dtype=torch.float64) - (n + 3) / 2
    half = (x[:, None] * math.cos(theta) + x * math.sin(theta) > 0.1).double()
    seen = J.density(half)[2:-2, 2:-2]
    zoom = SIDE // n
    circle = around(discretisation)
    here = float(edge_cost(J, torch.tensor([theta], dtype=torch.float64))[0])
    panels = [
        enlarged(p, zoom)[:SIDE, :SIDE] for p in (pixels(0.15 + 0.7 * half[2:-2, 2:-2]), pixels(-seen, -2.2, 0.0))
    ]
    panels = [np.pad(p, ((0, SIDE - len(p)), (0, SIDE - len(p))), constant_values=255) for p in panels]
    facts = {
        "cost per length": f"{here:.4f}",
        "mean over all directions": f"{float(circle.mean()):.4f}",
        "least and largest": f"{float(circle.min()):.3f} and {float(circle.max()):.3f}",
    }
    return beside(*panels, polar(circle, theta, here)), facts


@functools.cache
def around(discretisation: str) -> Tensor:
    """The cost of edges in 720 directions, from 0 to 2 pi."""
    theta = torch.arange(720, dtype=torch.float64) * math.pi / 360
    return edge_cost(VARIATIONS[discretisation](1.0, 1.0), theta)


def polar(circle: Tensor, theta: float, here: float) -> np.ndarray:
    """The costs as a curve about the middle, 0 down, 90 degrees right; the unit circle; the shape of Wulff."""
    costs, angles = circle.numpy(), np.arange(720) * math.pi / 360
    normals = np.stack([np.cos(angles), np.sin(angles)])
    unit = SIDE / (2 * max(1.5, float(costs.max()) + 0.1))
    x = (np.arange(SIDE) - SIDE / 2 + 0.5) / unit
    inside = np.ones((SIDE, SIDE), bool)
    for (c, s), cost in zip(normals.T[::5], costs[::5], strict=True):
        inside &= c * x[:, None] + s * x <= cost
    out = np.full((SIDE, SIDE, 3), 255, np.uint8)
    out[inside] = PALE
    turn = np.arange(2160) * math.pi / 1080
    around = np.stack([np.cos(turn), np.sin(turn)])
    fine = np.interp(np.arange(2160) / 3, np.arange(721), np.append(costs, costs[0]))
    for radius, colour, thick in ((np.ones(2160), GREY, 1), (fine, (0, 0, 0), 2)):
        i, j = (SIDE / 2 + unit * radius * around).astype(int).clip(0, SIDE - 2)
        for di, dj in ((0, 0), (1, 0), (0, 1))[: 2 * thick - 1]:
            out[i + di, j + dj] = colour
    way = np.linspace(0, here, 200)
    i, j = (SIDE / 2 + unit * way * np.array([[math.cos(theta)], [math.sin(theta)]])).astype(int)
    out[i, j] = ORANGE
    out[i[-1] - 4 : i[-1] + 5, j[-1] - 4 : j[-1] + 5] = ORANGE
    return out


def draw(out: np.ndarray, top: np.ndarray, bottom: np.ndarray, colour: tuple[int, int, int], thick: int) -> None:
    """In each column the rows from `top` to `bottom`, and in the next: a steep piece is as thick as a flat one."""
    rows = np.arange(len(out))[:, None]
    mask = (rows >= top - thick) & (rows <= bottom + thick)
    mask[:, 1:] |= mask[:, :-1].copy()
    out[mask] = colour


def line(out: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], thick: int) -> None:
    """A curve through the rows y, one for each column, without gaps."""
    before = np.concatenate([y[:1], y[:-1]])
    draw(out, np.minimum(y, before), np.maximum(y, before), colour, thick)
