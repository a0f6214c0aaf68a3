"""Rows of test_messages.py about control and attacks: (name, what somebody does, the error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from companion import (
    EMSA,
    MSA,
    YOPO,
    Control,
    LinearQuadratic,
    MeanField,
    PGDTraining,
    costates,
    explicit,
    lm_resnet,
    pgd,
    robust_accuracy,
    tracking,
)

Row = tuple[str, Callable[[], Any], type[Exception], str]
X, Y = torch.full((4, 1), 0.5), torch.zeros(4, dtype=torch.long)
ONE = torch.ones(1, 1)
NET = [nn.Linear(1, 3), nn.Linear(3, 2)]


def add(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return a.expand_as(x)


def squares(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x - y).square().sum(1)


def problem(**changes: Any) -> Control:
    return Control(**{"f": add, "loss": squares, "x": X, "y": X, "dt": 0.5} | changes)


def noisy(layers: int = 2, **changes: Any) -> MeanField:
    noise = torch.zeros(layers, 4, 1)
    return MeanField(**{"f": add, "g": add, "loss": squares, "x": X, "y": X, "dt": 0.5, "noise": noise} | changes)


def quadratic(**changes: Any) -> LinearQuadratic:
    return LinearQuadratic(**dict.fromkeys("ABQRS", ONE) | changes)


CONTROL: list[Row] = [
    (
        "more samples than answers",
        lambda: problem(y=X[:3]),
        ValueError,
        "M >= 1 samples x and as many y, M in front; got shapes «(4, 1)» and «(3, 1)».",
    ),
    ("a control problem in no time", lambda: problem(dt=0.0), ValueError, "finite and > 0; got «dt=0.0»."),
    (
        "a control without layers",
        lambda: problem()(torch.zeros(0, 1)),
        ValueError,
        "a row theta_t for each of N >= 1 layers; got shape «(0, 1)» of torch.float32.",
    ),
    (
        "a control of whole numbers",
        lambda: problem()(torch.zeros(2, 1, dtype=torch.long)),
        ValueError,
        "one tensor of real numbers ... got shape (2, 1) of «torch.int64».",
    ),
    (
        "a loss for every component",
        lambda: problem(loss=lambda x, y: (x - y) ** 2)(torch.zeros(2, 1)),
        ValueError,
        "one number for each of the M=4 samples; got shape «(4, 1)». Sum over the other axes, not over the samples.",
    ),
    (
        "costates of a two-step net",
        lambda: costates(lm_resnet(14, channels=1).eval().maps, torch.zeros(2, 1, 8, 8), lambda u: u.sum(1)),
        TypeError,
        "a state that is one tensor; got a list of maps with states «TwoStepState» ... back-propagate through it.",
    ),
    ("a control without weights", lambda: explicit(nn.ReLU()), ValueError, "parameters to act on; «ReLU» has none."),
    ("a maximum in no iteration", lambda: MSA(problem(), k=0), ValueError, "k >= 1 iterations of L-BFGS; got «k=0»."),
    (
        "successive approximations with noise",
        lambda: MSA(noisy()),
        TypeError,
        "with noise it has a term of g ... got a «MeanField». Descend along problem.descent.",
    ),
    ("EMSA without its terms", lambda: EMSA(problem(), 0.0), ValueError, "got «rho=0.0». rho = 0 is MSA."),
    (
        "Newton's step without a maximum",
        lambda: MSA(problem(), newton=True)(torch.ones(2, 1)),
        ValueError,
        "is not positive definite in «layer 0». Climb by L-BFGS, newton=False, or add weight decay to L.",
    ),
    ("a rho that shrinks", lambda: EMSA(problem(), 1.0, grow=0.5), ValueError, "got «grow=0.5». 1 keeps rho."),
    (
        "a control matrix too wide",
        lambda: quadratic(A=torch.eye(2)),
        ValueError,
        "with d=2 and m=1 B is (2, 1), but has shape «(1, 1)».",
    ),
    (
        "a control that costs nothing",
        lambda: quadratic(R=0 * ONE),
        ValueError,
        "R symmetric and > 0; R has the least eigenvalue «0» of its symmetric part",
    ),
    ("Riccati without layers", lambda: quadratic().riccati(0, 0.5), ValueError, "N >= 1 layers; got «N=0»."),
    (
        "noise of another shape",
        lambda: noisy(noise=torch.zeros(2, 3, 1)),
        ValueError,
        "shape (N, 4, 1); got shape «(2, 3, 1)».",
    ),
    (
        "noise for fewer layers",
        lambda: noisy(2)(torch.zeros(3, 1)),
        ValueError,
        "noise for N=2 layers, so theta has a row for each; got «3» rows.",
    ),
    (
        "tracking backwards in time",
        lambda: tracking(X, X, 1.0, T=-1.0),
        ValueError,
        "of one shape (M, d), for T > 0; got shapes (4, 1) and (4, 1), «T=-1.0».",
    ),
    ("an attack on a layer", lambda: pgd(NET[0], X, Y, 0.1, 0.1, 1), TypeError, "net.maps; got «Linear»."),
    ("an attack of no steps", lambda: pgd(NET, X, Y, 0.1, 0.1, -1), ValueError, "k >= 0 steps; got «k=-1»."),
    ("an attack in no ball", lambda: pgd(NET, X, Y, 0.0, 0.1, 1), ValueError, "eps > 0 and a step > 0; got «eps=0.0»"),
    (
        "an attack on pictures about 0",
        lambda: PGDTraining(NET, 0.1, 0.1)(X - 1, Y),
        ValueError,
        "values in [0, 1]; got values from «-0.5 to -0.5».",
    ),
    (
        "robustness without pictures",
        lambda: robust_accuracy(NET, X[:0], Y[:0], 0.1, 0.1, 1),
        ValueError,
        "one picture at least, each with its class; got restarts=1, «0 x and 0 y».",
    ),
    (
        "YOPO without a pass",
        lambda: YOPO(NET, 0.1, 0.1, 0, 3),
        ValueError,
        "m >= 1 full passes with n >= 1 steps of eta each; got «m=0, n=3».",
    ),
    (
        "YOPO without a rest",
        lambda: YOPO(NET, 0.1, 0.1, first=2),
        ValueError,
        "splits a net of 2 maps into a first layer and a rest, so 1 <= first < 2; got «first=2».",
    ),
]
