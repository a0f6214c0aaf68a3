"""Rows of test_messages.py about the schemes of Section 5.1: (name, what somebody does, the error, its message)."""

import math
from collections.abc import Callable
from typing import Any

import torch

from companion import (
    AdamsBashforth,
    Euler,
    Fractal,
    GatedEuler,
    LinearMultistep,
    Neumann,
    Picard,
    Reversible,
    RungeKutta,
    SemiImplicit,
    Tableau,
    TwoStep,
    Verlet,
)
from companion.flows.diffusion import Heat
from companion.flows.runge_kutta import tableau

Row = tuple[str, Callable[[], Any], type[Exception], str]


def sink(u: torch.Tensor) -> torch.Tensor:
    return -u


SCHEMES: list[Row] = [
    ("a step at the time NaN", lambda: Euler(sink, 0.1, t=math.nan), ValueError, "a finite number t ... got «t=nan»."),
    (
        "splitting at a time",
        lambda: SemiImplicit(Heat(), 0.1, t=1.0),
        ValueError,
        "conductivities at u alone, so it has no time t; got «t=1.0». Implicit has one.",
    ),
    (
        "a tableau with two weights for one stage",
        lambda: RungeKutta(sink, 0.1, Tableau(((0.0,),), (0.5, 0.5))),
        ValueError,
        "s rows of s numbers a_ij and s weights b_i; got «1 rows of [1] numbers and 2 weights».",
    ),
    (
        "an implicit tableau",
        lambda: RungeKutta(sink, 0.1, Tableau(((0.5,),), (1.0,))),
        ValueError,
        "a_ij = 0 for j >= i; got a number at «(i, j) = (1, 1)». Implicit is a scheme",
    ),
    (
        "weights of a tableau that sum to 2",
        lambda: RungeKutta(sink, 0.1, tableau([1], b=[1, 1])),
        ValueError,
        "sum b_i = 1; got «2».",
    ),
    (
        "a two-step scheme with alpha = -1",
        lambda: TwoStep(sink, 0.1, -1.0),
        ValueError,
        "got «alpha=-1», where the root 1",
    ),
    (
        "a two-step scheme with alpha = 1.5",
        lambda: TwoStep(sink, 0.1, 1.5),
        ValueError,
        "zero-stable for -1 < alpha <= 1; got «alpha=1.5», so u^k grows by the root -1.5 at every step.",
    ),
    (
        "two a_j and one b_j",
        lambda: LinearMultistep(sink, 0.1, (1, 0), (1,)),
        ValueError,
        "s numbers a_j and s numbers b_j, those of u^k first; got «2 and 1».",
    ),
    (
        "a multistep scheme for another equation",
        lambda: LinearMultistep(sink, 0.1, (1, 0), (2, 0)),
        ValueError,
        "sum a_j = 1 and sum b_j = 1 + sum j a_j; got «sum a_j = 1, sum b_j = 2, sum j a_j = 0».",
    ),
    (
        "a multistep scheme of order 3 that explodes",
        lambda: LinearMultistep(sink, 0.1, (-4, 5), (4, 2)),
        ValueError,
        "lie in |zeta| <= 1 ... got «a=(-4.0, 5.0)», the largest root -5 ... Take other a_j.",
    ),
    ("Adams-Bashforth of order 5", lambda: AdamsBashforth(sink, 0.1, 5), ValueError, "q = 1, 2, 3, 4; got «q=5»."),
    ("a series without terms", lambda: Neumann(sink, 0.1, 0), ValueError, "n >= 1 terms ... got «n=0»."),
    (
        "Picard without steps",
        lambda: Picard(sink, 0.1, k=0),
        ValueError,
        "tol > 0 and at least one step k >= 1; got «tol",
    ),
    (
        "Picard that does not contract",
        lambda: Picard(sink, 3.0)(torch.ones(2)),
        RuntimeError,
        "its last step was 3 times the one before ... dt Lip(F) < 1; got «dt=3». Take a shorter step ... or Implicit.",
    ),
    ("a fractal without columns", lambda: Fractal(sink, 0.1, 0), ValueError, "at least one column; got «columns=0»."),
    (
        "halves of 5 channels",
        lambda: Reversible(sink, sink, axis=-3)(torch.zeros(2, 5, 4, 4)),
        ValueError,
        "two halves of equal length; got «5 entries along axis -3», an odd number.",
    ),
    (
        "Verlet with three unknowns",
        lambda: Verlet(sink, sink, 0.1)(torch.zeros(3)),
        ValueError,
        "two halves of equal length; got «3 entries along axis -1» ... Add one",
    ),
    ("a gate with p = 1.2", lambda: GatedEuler(sink, 0.1, 1.2), ValueError, "a probability p in [0, 1]; got «p=1.2»."),
]
