r"""Lesson 03, vanishing moments: taps -> moments, symbol, slope of the error.   (4.1), Prop 4.1

Notebook: 03.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import factorial
from typing import Any

import numpy as np

from companion import Filter
from companion.lab.explorers.drawing import Answer
from companion.lab.raster import beside

BLUE, ORANGE, GREY, PALE, BLACK = (0, 114, 178), (213, 94, 0), (120, 120, 120), (215, 215, 215), (0, 0, 0)
STEPS = 2.0 ** -np.arange(1.0, 7.0)
Number = float | int
FINE = 2  # drawn at twice the size, then shrunk: smooth lines


def moments(
    q_m2: int = 0, q_m1: int = 6, q_0: int = 0, q_1: int = -6, q_2: int = 0, about: Number = 0.0, n: int = 256
) -> Answer:
    """Five taps, in twelfths: taps above their moments m_j / j!; |q^| with the power |C w^alpha| (dashed) it starts as;
    the error of Prop 4.1 against the step, doubly logarithmic, beside lines of slope 1, 2 and 4 through its right end.

    q_m2, ..., q_2   12 q[-2], ..., 12 q[2]
    about            the place, in steps, where the derivative is meant, and about which moments are taken

    The error is that of the derivative of order alpha, relative, for F(x) = e^x, all of whose derivatives are 1 at 0.
    """
    whole = np.array([q_m2, q_m1, q_0, q_1, q_2], dtype=np.float64)
    k = np.arange(-2, 3) - about
    values = [float((k**j * whole).sum()) / 12 / factorial(j) for j in range(6)]
    order = next((j for j, m in enumerate(values) if abs(m) > 1e-9), None)
    if order is None:
        empty = np.full((n, n, 3), 255, np.uint8)
        facts: dict[str, Any] = {"slope": "none: every tap is 0", "order alpha": "none"}
        return beside(_bars(whole / 12, values, n), empty, empty), facts
    C = values[order]
    sums = (np.exp(STEPS[:, None] * k) * whole / 12).sum(axis=1)
    error = np.abs(sums / (C * STEPS**order) - 1)
    exact = bool(error.max() < 1e-12)
    slope = float(np.log2(error[-2:] + 2.0**-60) @ [1, -1])
    q = Filter(whole / 12, -2).dilate(2)
    moved = Filter(q.taps, q.origin[0] - round(2 * about))  # taps at 2 (k - about), whole numbers
    facts = {
        "slope": "none: the error is 0" if exact else f"{slope:.2f}",
        "relative error at step 1/64": float(f"{error[-1]:.1e}"),
        "order alpha": order,
        "C alpha": C,
        "K": "infinite" if exact else moved.total_order(allow=order),
    }
    return beside(_bars(whole / 12, values, n), _symbol(whole / 12, order, C, n), _slopes(error, order, n)), facts


# ---- drawing ----


def _bars(taps: np.ndarray, values: Sequence[float], n: int) -> np.ndarray:
    """Taps above, moments below: bars from a line of zero, small circles where they vanish."""
    image, draw = _sheet(n)
    rows = (("taps q[k]", taps, -2), ("moments m_j / j!", np.array(values), 0))
    for row, (title, bars, first) in enumerate(rows):
        top, zero, half = row * n / 2, row * n / 2 + 0.56 * n / 2, 0.24 * n / 2
        size = max(float(np.abs(bars).max()), 1e-9)
        _text(draw, 6, top + 2, title, n)
        _line(draw, [(8, zero), (n - 8, zero)], GREY, 1)
        for i, value in enumerate(bars):
            x = n * (i + 0.5) / len(bars)
            if abs(value) < 1e-9:
                _dot(draw, x, zero, 0.013 * n, GREY)
            else:
                height = np.copysign(max(half * abs(value) / size, 0.012 * n), value)
                _line(draw, [(x, zero), (x, zero - height)], BLUE if value > 0 else ORANGE, n / 16)
            _text(draw, x - 0.02 * n, top + 0.85 * n / 2, str(first + i), n)
    return _small(image, n)


def _symbol(taps: np.ndarray, order: int, C: float, n: int) -> np.ndarray:
    """|q^(w)| for 0 <= w <= pi, and |C| w^alpha."""
    image, draw = _sheet(n)
    w = np.linspace(0, np.pi, 97)
    height = np.abs(Filter(taps, -2).symbol(w))
    top = float(height.max())
    x, y = 0.06 * n + 0.88 * n * w / np.pi, 0.9 * n - 0.74 * n * height / top
    power = 0.9 * n - 0.74 * n * np.abs(C) * w**order / top
    _text(draw, 6, 2, "|symbol|, dashes |C| w^a", n)
    _line(draw, [(x[0], 0.9 * n), (x[-1], 0.9 * n)], GREY, 1)
    for i in range(0, len(w) - 3, 4):
        if power[i + 2] > 0.1 * n:
            _line(draw, [(x[i], power[i]), (x[i + 2], power[i + 2])], ORANGE, 2)
    _line(draw, list(zip(x, y, strict=True)), BLUE, 2.5)
    _text(draw, x[0] - 3, 0.91 * n, "0", n)
    _text(draw, x[-1] - 12, 0.91 * n, "pi", n)
    return _small(image, n)


def _slopes(error: np.ndarray, order: int, n: int) -> np.ndarray:
    """log2 of the error against log2 of the step; lines of slope 1, 2, 4 through the same first point."""
    image, draw = _sheet(n)
    log, span = np.log2(np.maximum(error, 2.0**-52)), 22.0  # the sheet holds 22 halvings
    highest = float(log.max())
    x = 0.88 * n - 0.78 * n * np.arange(len(error)) / (len(error) - 1)

    def place(values: np.ndarray) -> list[tuple[Any, Any]]:
        y = np.minimum(0.14 * n + 0.74 * n * (highest - values) / span, 0.9 * n)
        return list(zip(x, y, strict=True))

    _text(draw, 6, 2, f"error, alpha = {order}, by step", n)
    for slope in (1, 2, 4):
        line = place(log[0] - slope * np.arange(len(error)))
        _line(draw, line, PALE, 2)
        _text(draw, line[-1][0] - 0.055 * n, line[-1][1] - 0.03 * n, str(slope), n)
    _line(draw, place(log), BLUE, 2.5)
    for point in place(log):
        _dot(draw, *point, 0.013 * n, BLUE)
    _text(draw, 0.06 * n, 0.91 * n, "1/64", n)
    _text(draw, 0.82 * n, 0.91 * n, "1/2", n)
    return _small(image, n)


def _sheet(n: int) -> tuple[Any, Any]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (FINE * n, FINE * n), (255, 255, 255))
    return image, ImageDraw.Draw(image)


def _small(image: Any, n: int) -> np.ndarray:
    return np.array(image.reduce(FINE)).reshape(n, n, 3)


def _line(draw: Any, points: Sequence[tuple[Any, Any]], colour: tuple[int, int, int], width: Number) -> None:
    draw.line([(FINE * x, FINE * y) for x, y in points], fill=colour, width=max(1, round(FINE * width)), joint="curve")


def _dot(draw: Any, x: Any, y: Any, r: Number, colour: tuple[int, int, int]) -> None:
    draw.ellipse([FINE * (x - r), FINE * (y - r), FINE * (x + r), FINE * (y + r)], fill=colour)


def _text(draw: Any, x: Any, y: Any, text: str, n: int) -> None:
    draw.text((FINE * x, FINE * y), text, fill=BLACK, font=_font(round(FINE * n * 0.06)))


@functools.lru_cache(maxsize=4)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
