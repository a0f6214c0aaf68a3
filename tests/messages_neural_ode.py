"""Rows of test_messages.py about neural ODEs and SDEs: (name, what somebody does, the error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion import (
    DenseField,
    FlowDensity,
    NeuralODE,
    NeuralSDE,
    OrnsteinUhlenbeck,
    Potential,
    RoughPath,
    SmoothPath,
    adaptive,
    energy_distance,
    pieces,
)

Row = tuple[str, Callable[[], Any], type[Exception], str]
POINTS = torch.ones(4, 2)


def sink(u: torch.Tensor, t: Any) -> torch.Tensor:
    return -u


def explosion(u: torch.Tensor, t: Any) -> torch.Tensor:
    return u**2


NEURAL_ODES: list[Row] = [
    ("a neural ODE over no time", lambda: NeuralODE(sink, T=0.0), ValueError, "a finite time T > 0; got «T=0.0»."),
    ("a neural ODE of depth 0", lambda: NeuralODE(sink, n=0), ValueError, "a whole number >= 1; got «n=0»."),
    ("half a layer", lambda: NeuralODE(sink).maps(2.5), ValueError, "a whole number >= 1; got «n=2.5»."),
    ("a neural SDE of depth 0", lambda: NeuralSDE(sink, sink, n=0), ValueError, "whole number >= 1; got «n=0»."),
    (
        "an ODE read off before its start",
        lambda: adaptive(sink, POINTS, -1.0),
        ValueError,
        "starts at t = 0 and is read off at times > 0 that increase; got «t=-1.0».",
    ),
    (
        "an ODE read off out of order",
        lambda: adaptive(sink, POINTS, [2.0, 1.0]),
        ValueError,
        "times > 0 that increase; got «t=[2.0, 1.0]».",
    ),
    (
        "an ODE that explodes",
        lambda: adaptive(explosion, POINTS.double(), 2.0),
        RuntimeError,
        "could not be followed to «t = 2»: torchdiffeq says ... F may drive u to infinity",
    ),
    (
        "a dense field with three hidden layers",
        lambda: DenseField(2, 8, depth=3),
        ValueError,
        "one or two hidden layers; got «dim=2, width=8, depth=3». Deeper ones are any nn.Module",
    ),
    (
        "a rough path that is smooth",
        lambda: RoughPath(2, exponent=1.0),
        ValueError,
        "0 < h < 1; got «h=1.0». SmoothPath is smooth.",
    ),
    ("a path of no weights", lambda: SmoothPath(0), ValueError, "a dimension dim >= 1; got «dim=0»."),
    (
        "a density on no space",
        lambda: FlowDensity(sink),
        ValueError,
        "say which d >= 1, by dim=... or F.dim; got «None».",
    ),
    (
        "points of another space",
        lambda: FlowDensity(sink, dim=3).log_prob(POINTS),
        ValueError,
        "one on R^3: points (*, 3); got «(4, 2)».",
    ),
    (
        "an Ornstein-Uhlenbeck process that runs away",
        lambda: OrnsteinUhlenbeck(theta=-1.0),
        ValueError,
        "theta > 0 and sigma >= 0; got «theta=-1.0, sigma=1.0».",
    ),
    (
        "a law of one sample",
        lambda: energy_distance(POINTS[:1], POINTS),
        ValueError,
        "two samples or more of each; got «1 and 4».",
    ),
    (
        "a potential without terms",
        lambda: Potential(1, 0),
        ValueError,
        "dim >= 1 and width >= 1; got «dim=1, width=0».",
    ),
    (
        "a piece longer than its trajectory",
        lambda: pieces(POINTS, 4),
        ValueError,
        "1 <= k < the number of times; got «k=4, 4 times».",
    ),
]
