"""Rows of test_messages.py about regions, surfaces and Rician noise: (name, what is done, the error, what it says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    FrameletTransform,
    RicianNoise,
    Soft,
    TightFrameSegmentation,
    TwoRegions,
    WeightedLength,
    biorthogonal,
    bspline,
    distance_to,
    inside_outside,
    region_cost,
    rounding,
    surface_model,
    tv_segmentation,
)

Row = tuple[str, Callable[[], Any], type[Exception], str]
PICTURE = torch.arange(64.0).reshape(8, 8) / 64
HAAR, SPACE = FrameletTransform(bspline(1)), FrameletTransform(bspline(1), dim=3)
DUAL = FrameletTransform(biorthogonal(2, 2)[0], dual=biorthogonal(2, 2)[1])
POINTS = torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
CUT = tv_segmentation(PICTURE, torch.tensor([0.8, 0.2]), 0.1)

BEYOND: list[Row] = [
    (
        "three means",
        lambda: region_cost(PICTURE, torch.ones(3)),
        ValueError,
        "two means (c_1, c_2) ... got shape «(3,)».",
    ),
    ("a level set over the top", lambda: rounding(CUT, PICTURE, 1.0), ValueError, "needs 0 <= s < 1; got s = «1.0»."),
    (
        "means that never move",
        lambda: TwoRegions(PICTURE, lambda c: CUT, inner=0),
        ValueError,
        "inner >= 1 steps of PDHG; got «0».",
    ),
    (
        "vessels by a frame that is not tight",
        lambda: TightFrameSegmentation(DUAL, Soft(DUAL.weights(0.1))),
        ValueError,
        "W^T S(W .), so W^T W = I; got FrameletTransform(«2» filters, 1 levels, dim=2, periodic, with a dual).",
    ),
    (
        "a slope below nothing",
        lambda: TightFrameSegmentation(HAAR, Soft(HAAR.weights(0.1)), eps=-1.0),
        ValueError,
        "|grad f| >= eps, eps >= 0; got eps = «-1.0».",
    ),
    (
        "weights of another picture",
        lambda: WeightedLength(PICTURE)(torch.ones(4, 8, 9)),
        ValueError,
        "The weights have shape (8, 8), so the last axes of W u must too; got shape «(4, 8, 9)».",
    ),
    (
        "points in the plane",
        lambda: distance_to(torch.zeros(5, 2), 8),
        ValueError,
        "(N, 3), N >= 1; got shape «(5, 2)».",
    ),
    ("points far away", lambda: distance_to(3 * POINTS, 8), ValueError, "a coordinate of size «1.5». Shift and scale"),
    (
        "a cube without voxels",
        lambda: distance_to(POINTS, 0),
        ValueError,
        "n >= 1 voxels along each ... got n = «0».",
    ),
    (
        "a band without width",
        lambda: inside_outside(distance_to(POINTS, 8), 0.0),
        ValueError,
        "needs a finite delta > 0; got «0.0».",
    ),
    (
        "a body with a leak",
        lambda: inside_outside(distance_to(POINTS, 8), 0.3),
        ValueError,
        "With delta = «0.3» no voxel is inside: ... a larger delta closes it, or it fills the body, and a smaller one",
    ),
    (
        "a weight of power 0",
        lambda: surface_model(POINTS, SPACE, 1.0, 8, 0.3, p=0.0),
        ValueError,
        "(phi/delta)^p of a surface needs a finite p > 0; got p = «0.0».",
    ),
    ("Rician noise of no size", lambda: RicianNoise(0.0), ValueError, "must be finite and > 0; got «0.0»."),
]
