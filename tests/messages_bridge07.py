"""Rows of test_messages.py about Gamma-convergence: (name, what somebody does, the error, what the message says)."""

import math
from collections.abc import Callable
from typing import Any

import torch

from companion import (
    ROF,
    VARIATIONS,
    ContinuumEnergy,
    Disc,
    DiscreteEnergy,
    Filter,
    FrameletTransform,
    Gradient,
    Shape,
    Square,
    TotalVariation,
    bspline,
    edge_cost,
    infimum,
    lambda_n,
    lower_limit,
    mean_edge_cost,
    refine,
    sample,
    tensor_product,
)
from companion.flows.refinement import prolong

Row = tuple[str, Callable[[], Any], type[Exception], str]
HAAR = FrameletTransform(bspline(1))


def mixed() -> tuple[Filter, ...]:
    """Haar in the plane with two bands turned into their sum and difference: d_1 + d_2 has no order alpha."""
    p, q = bspline(1)
    low, a, b, c = tensor_product(p, p), tensor_product(q, p), tensor_product(p, q), tensor_product(q, q)
    r = math.sqrt(0.5)
    return low, Filter(r * (a.taps + b.taps), 0), Filter(r * (a.taps - b.taps), 0), c


def wave(x: torch.Tensor, n: int) -> torch.Tensor:
    return torch.sin(n * x)


GAMMA: list[Row] = [
    ("no cells", lambda: sample(lambda x, y: x, 0), ValueError, "N >= 1 cells a side, an integer; got «0»."),
    ("half a cell", lambda: sample(lambda x, y: x, 2.5), ValueError, "N >= 1 cells a side, an integer; got «2.5»."),
    ("a spline of order 0", lambda: sample(lambda x, y: x, 4, 0), ValueError, "order m ... >= 1 ... got «0»."),
    ("lambda_n without a step", lambda: lambda_n(HAAR, 0.0), ValueError, "length > 0; got «h=0.0» ... it is 1/N."),
    (
        "lambda_n of a slanted band",
        lambda: lambda_n(FrameletTransform(mixed()), 0.5),
        ValueError,
        "the constant C_alpha of Prop 4.1 ... band «((1,), 0)» has none ... Use a bank such as bspline(m).",
    ),
    (
        "E_n on a mirrored square",
        lambda: DiscreteEnergy(VARIATIONS["Haar, two bands"](1.0, 1 / 8), torch.zeros(8, 8)),
        ValueError,
        "periodic unit square ... boundary=«'reflect'». Build it by VARIATIONS[name](nu, 1/N, 'periodic').",
    ),
    (
        "E_n in pixel units",
        lambda: DiscreteEnergy(TotalVariation(1.0, Gradient(0.3, boundary="periodic")), torch.zeros(8, 8)),
        ValueError,
        "whose step is h = 1/N; J has «h=0.3»",
    ),
    (
        "samples of another grid",
        lambda: DiscreteEnergy(VARIATIONS["Haar, two bands"](1.0, 1 / 8, "periodic"), torch.zeros(6, 8)),
        ValueError,
        "The samples of E_n are 8 x 8, as h = 1/8; got «(6, 8)».",
    ),
    (
        "E with a weight below 0",
        lambda: ContinuumEnergy(-1.0, lambda x, y: x),
        ValueError,
        "nu of the regulariser is finite and >= 0; got «nu=-1.0».",
    ),
    ("a disc too large", lambda: Disc(0.4), ValueError, "0 < R <= 0.35 ... certified; got «R=0.4»."),
    ("a square of the whole cell", lambda: Square(0.5), ValueError, "0 < a < 1/2; got «a=0.5»."),
    (
        "a weight at which the disc is gone",
        lambda: Disc(0.25).minimiser(0.2),
        ValueError,
        "The two levels meet at nu = A (1 - A) / P = 0.1005 ... got «nu=0.2». Take 0 < nu <= 0.1005.",
    ),
    ("a ramp without a width", lambda: Disc().ramp(0.0), ValueError, "a width > 0 ... got «0.0»."),
    (
        "a shape not begun",
        lambda: Shape()(torch.zeros(1), torch.zeros(1)),
        TypeError,
        "«Shape» is no shape yet ... depth(x1, x2).",
    ),
    ("means of a shape not begun", lambda: Shape().averages(4), TypeError, "«Shape» is no shape yet ... averages(N)."),
    (
        "the field of a shape not begun",
        lambda: Shape().certificate(torch.zeros(1), torch.zeros(1)),
        TypeError,
        "«Shape» is no shape yet ... certificate(x1, x2).",
    ),
    (
        "an angle that is no tensor",
        lambda: edge_cost(TotalVariation(), 0.5),
        TypeError,
        "theta is a floating-point tensor of angles in radians; got «0.5». Use torch.tensor.",
    ),
    (
        "an edge in space",
        lambda: edge_cost(TotalVariation(1.0, Gradient(dim=3)), torch.zeros(1)),
        ValueError,
        "one in the plane; the gradient has «dim=3».",
    ),
    ("a mean over no angle", lambda: mean_edge_cost(TotalVariation(), 0), ValueError, "n >= 1 angles; got «n=0»."),
    (
        "a window turned inside out",
        lambda: infimum(wave, torch.zeros(1), 1, -0.5),
        ValueError,
        "a radius >= 0 and points >= 3; got «radius=-0.5»",
    ),
    (
        "a window of two points",
        lambda: lower_limit(wave, torch.zeros(1), (1,), 0.5, points=2),
        ValueError,
        "points >= 3; got ... «points=2».",
    ),
    ("refinement of nothing", lambda: refine([]), ValueError, "at least one problem; got «none»."),
    (
        "refinement from 8 to 12",
        lambda: refine([ROF(torch.eye(n), 0.1, Gradient(1 / n)) for n in (8, 12)]),
        ValueError,
        "a multiple of the coarser one's; got «(2, 8, 8), then (2, 12, 12)» ... 32, 64, 128.",
    ),
    (
        "prolongation of another rank",
        lambda: prolong(torch.zeros(2, 4), (2, 4, 4)),
        ValueError,
        "got «(2, 4), then (2, 4, 4)»",
    ),
]
