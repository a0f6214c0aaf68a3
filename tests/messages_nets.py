"""Rows of test_messages.py about residual networks: (name, what somebody does, the error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    Head,
    ImplicitSkip,
    deepen,
    lm_resnet,
    mlp_resnet,
    polynet,
    resnet,
    revnet,
    stochastic_depth,
)
from companion.nets.blocks import conv

Row = tuple[str, Callable[[], Any], type[Exception], str]
NET = resnet(8, width=2)

NETS: list[Row] = [
    ("21 layers", lambda: resnet(21), ValueError, "depth = 6n + 2; got «21». Take 20 or 26."),
    ("two layers", lambda: resnet(2), ValueError, "depth = 6n + 2; got «2». Take 8."),
    ("a polynet of 110.5 layers", lambda: polynet(110.5), ValueError, "depth = 6n + 2; got «110.5». Take 110 or 116."),
    ("a network in space", lambda: conv(3, 1, 1), ValueError, "(dim=1) or pictures (dim=2); got «dim=3»."),
    (
        "alpha = -1 in a network",
        lambda: lm_resnet(14, -1.0),
        ValueError,
        "zero-stable for -1 < alpha <= 1; got «alpha=-1»",
    ),
    ("alpha = 1.1, though it never acts", lambda: lm_resnet(8, 1.1), ValueError, "<= 1; got «alpha=1.1»"),
    (
        "grey pictures without a channel",
        lambda: NET(torch.zeros(5, 8, 8)),
        ValueError,
        "a batch of shape (batch, 3, H, W); got «(5, 8, 8)» ... x[:, None]",
    ),
    ("one channel for three", lambda: NET(torch.zeros(5, 1, 8, 8)), ValueError, "3, H, W); got «(5, 1, 8, 8)»."),
    (
        "a picture for a signal",
        lambda: resnet(8, width=2, dim=1)(torch.zeros(5, 3, 8, 8)),
        ValueError,
        "(batch, 3, n); got «(5, 3, 8, 8)».",
    ),
    (
        "a picture of 3 x 8",
        lambda: NET(torch.zeros(5, 3, 3, 8)),
        ValueError,
        "an axis needs 4 points or more; got «(3, 8)».",
    ),
    (
        "a batch of one point with batch norm",
        lambda: NET(torch.randn(1, 3, 4, 4)),
        ValueError,
        "two values or more in a channel; got «a batch of 1 with 1 point» ... or net.eval().",
    ),
    (
        "a head in training on one point",
        lambda: Head(2, 2)(torch.randn(1, 2, 1)),
        ValueError,
        "two values or more in a channel; got «a batch of 1 with 1 point»",
    ),
    ("no steps on the plane", lambda: mlp_resnet(2, 4, 0), ValueError, "at least one step; got «depth=0»."),
    (
        "-1 gradient steps",
        lambda: ImplicitSkip(NET.maps[1].F, -1),
        ValueError,
        "steps >= 0 ... got «steps=-1, lr=None»",
    ),
    ("a rate of 0", lambda: ImplicitSkip(NET.maps[1].F, 2, 0.0), ValueError, "lr > 0; got «steps=2, lr=0.0»."),
    ("a step as no steps", lambda: deepen(NET, 0), ValueError, "times >= 1 shorter ones; got «times=0»."),
    ("a step that never survives", lambda: stochastic_depth(14, 0.0), ValueError, "in (0, 1]; got «survival=0.0»."),
    (
        "halves of 15 channels",
        lambda: revnet(14, width=15),
        ValueError,
        "two halves of equal size, so width is even; got «width=15». Take 14 or 16.",
    ),
]
