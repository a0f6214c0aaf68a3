"""Rows of test_messages.py about equations and data: (name, what somebody does, the error, what the message says)."""

from collections.abc import Callable
from typing import Any

import torch

from companion.lab.cache import cached
from companion.lab.pde_data import frames, random_initial
from companion.lab.pdes import Burgers, Heat, SinSource, Spectral, Upwind, cole_hopf, solve

Row = tuple[str, Callable[[], Any], type[Exception], str]
U = torch.ones(2, 16, 16)
SMALL = {"n": 1, "steps": 1, "grid": 16, "coarse": 8, "start_time": 0.0, "cache": False}


def films(**changes: Any) -> Any:
    return frames(Burgers(), **SMALL | changes)


PDES: list[Row] = [
    ("viscosity backwards", lambda: Burgers(-0.05), ValueError, "viscosities > 0 ... got nu = («-0.05, -0.05»)."),
    ("a grid of four cells", lambda: Upwind(Heat(), 4), ValueError, "N >= 5 cells along each side; got «N=4»."),
    (
        "u on another grid",
        lambda: Spectral(Burgers(), 32)(U),
        ValueError,
        "Burgers on 32 x 32 cells has u of shape (*batch, 2, 32, 32); got shape «(2, 16, 16)».",
    ),
    (
        "u with its border",
        lambda: Upwind(SinSource(), 16)(U[:1]),
        ValueError,
        "border left out, has u of shape (*batch, 1, 15, 15); got shape «(1, 16, 16)».",
    ),
    (
        "a trajectory of -1 steps",
        lambda: solve(Upwind(Burgers(), 16), U, 0.1, -1),
        ValueError,
        "steps >= 0 frames after the first; got «steps=-1».",
    ),
    ("no time between frames", lambda: solve(Upwind(Burgers(), 16), U, 0.0, 1), ValueError, "> 0; got «dt=0.0»."),
    (
        "steps that blow up",
        lambda: solve(Spectral(Heat(), 16), torch.randn(1, 16, 16), 1e6, 9, max_dt=1e6),
        ValueError,
        "must stay finite; in steps of «1e+06» it did not. Take shorter ones, by max_dt.",
    ),
    (
        "a phi that vanishes",
        lambda: cole_hopf(torch.zeros(8, 8), 0.1, 0.0),
        ValueError,
        "phi > 0 everywhere; got the minimum «0».",
    ),
    ("no trajectories", lambda: films(n=0), ValueError, "n >= 1 trajectories; got «n=0»."),
    ("negative noise", lambda: films(noise=-0.1), ValueError, "a finite number >= 0 ... got «noise=-0.1»."),
    ("data from before t = 0", lambda: films(start_time=-1.0), ValueError, ">= 0; got «start_time=-1.0»."),
    (
        "no part of the fine grid",
        lambda: frames(SinSource(), **SMALL | {"coarse": 6}),
        ValueError,
        "coarse >= 5 divides grid, unless the equation is periodic; got «grid=16, coarse=6».",
    ),
    ("four coarse cells", lambda: films(coarse=4), ValueError, "coarse >= 5 ... got «grid=16, coarse=4»."),
    (
        "a grid too coarse for u_0",
        lambda: random_initial(Burgers(), 1, 8),
        ValueError,
        "frequencies up to 4, so the grid needs more than 8 cells; got «8».",
    ),
    (
        "a generator as an argument to keep",
        lambda: cached(list)(iter([1])),
        TypeError,
        "the hash of the arguments ... got «list_iterator». Call the function itself, without cached.",
    ),
]
