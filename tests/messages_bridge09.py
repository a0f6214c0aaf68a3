"""Rows of test_messages.py about acceleration: (name, what somebody does, the error, what the message says)."""

import math
from collections.abc import Callable
from typing import Any

import torch

from companion import (
    Accelerated,
    DampedWave,
    FrameletTransform,
    HeavyBall,
    Identity,
    Soft,
    accelerated_from,
    bspline,
    cfl,
    friction,
    max_tau,
    momentum,
)

Row = tuple[str, Callable[[], Any], type[Exception], str]
W = FrameletTransform(bspline(1))
S = Soft(W.weights(0.1))
PICTURE = torch.arange(64.0).reshape(8, 8) / 64


def sink(u: torch.Tensor) -> torch.Tensor:
    return -u


def explosion(u: torch.Tensor) -> torch.Tensor:
    return u**3


WAVES: list[Row] = [
    ("a friction beyond 1/tau", lambda: momentum(30.0, 0.1), ValueError, "0 <= C tau <= 1; got «C=30, tau=0.1»."),
    (
        "a momentum that feeds",
        lambda: momentum(-1.0, 0.1),
        ValueError,
        "0 <= C tau <= 1; got «C=-1, tau=0.1» ... smaller",
    ),
    ("no friction in no time", lambda: friction(0.9, 0.0), ValueError, "a time step tau > 0; got «tau=0»."),
    (
        "a wave of the equation with too much friction",
        lambda: accelerated_from(torch.ones_like, W, 0.4, 3.0),
        ValueError,
        "0 <= C tau <= 1; got «C=3, tau=0.4» ... take a smaller one.",
    ),
    (
        "a wave without a time step",
        lambda: accelerated_from(torch.ones_like, W, 0.0, 1.0),
        ValueError,
        "accelerated_from needs a finite tau > 0; got «0.0».",
    ),
    ("gamma = 1.1", lambda: Accelerated(W, S, gamma=1.1), ValueError, "in [0, 1]; got «1.1» ... grows for gamma > 1"),
    ("gamma = -0.2", lambda: HeavyBall(sink, 0.1, -0.2), ValueError, "in [0, 1]; got «-0.2» ... at every step."),
    ("the bound of gamma = NaN", lambda: cfl(math.nan), ValueError, "gamma lies in [0, 1]; got «nan»."),
    ("a heavy ball at rest", lambda: HeavyBall(sink, 0.0), ValueError, "HeavyBall needs a finite tau > 0; got «0.0»."),
    ("no gradient to bound", lambda: max_tau(0.0), ValueError, "max g |grad|^2 > 0 ... got «bound=0, C=None»."),
    ("a bound with C = -1", lambda: max_tau(4.0, -1.0), ValueError, "a friction C >= 0; got «bound=4, C=-1.0»."),
    (
        "a step towards no data",
        lambda: Accelerated(W, S, mu=1.0),
        ValueError,
        "the step mu A^T(f - A u) of (4.7) A, f and a finite mu > 0 come together ... got «A=None, f=None, mu=1.0».",
    ),
    (
        "data without a step",
        lambda: Accelerated(W, S, Identity(), PICTURE),
        ValueError,
        "a finite mu > 0 come together, or none of them; got «A=Identity, f=data, mu=0.0».",
    ),
    (
        "a measurement without data",
        lambda: DampedWave(sink, 1.0, Identity(), kappa=2.0),
        ValueError,
        "-kappa A^T(A u - f) of (4.8) A, f and a finite kappa > 0 ... got «A=Identity, f=None, kappa=2.0».",
    ),
    ("a wave that is fed", lambda: DampedWave(sink, -1.0), ValueError, "C < 0 would feed the wave; got «C=-1.0»."),
    ("a wave backwards", lambda: DampedWave(sink, 1.0).solve(PICTURE, -1.0), ValueError, "increase; got «t=[-1.0]»."),
    (
        "times out of order",
        lambda: DampedWave(sink, 1.0).solve(PICTURE, [0.0, 2.0, 1.0]),
        ValueError,
        "The times of a wave are >= 0 and increase; got «t=[0.0, 2.0, 1.0]».",
    ),
    (
        "a moving start under 3/t",
        lambda: DampedWave(sink, lambda t: 3 / t).solve(PICTURE, 1.0, PICTURE),
        ValueError,
        "infinite at t = 0 stops every motion ... got v0 with max |v0| = «0.984» ... v0=None.",
    ),
    (
        "a wave that explodes",
        lambda: DampedWave(explosion, 0.0).solve(PICTURE + 1, 10.0),
        RuntimeError,
        "(4.8) could not be followed to t = «10» ... Does F drive u to infinity?",
    ),
]
