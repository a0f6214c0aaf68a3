r"""Is the fast route right on 32 points, or are two errors of it equal and opposite? The same films on finer grids.

    upwind     as in [101]: second-order upwind and Heun on 128 x 128 cells, whose films obey another equation a little
    spectral   Fourier series and RK4 there, whose films obey the printed one to four digits

both read at 128, 64 and 32 points a side, with a noise of 0.001 that is the same on all grids; and four ways to
identify Burgers' equation from them, `identify` of companion.lab with 30000 points:

    fast             7 x 7 taps of accuracy 3, learned
    central          7 x 7 taps, frozen
    fast, N = 5      5 x 5 taps of accuracy 3, learned
    fast, r = 2      7 x 7 taps of accuracy 2, learned

Stored for each: the coefficients, mean and deviation over the seeds; the means of the four transports and of the four
viscosities; the largest relative error over terms and seeds against the printed equation ("worst"), and against what
the films obey ("worst from the films"). That, under "films", is by exact derivatives on all points without noise.

    python experiments/pdenet_grids.py          about ten minutes on one core

writes experiments/results/pdenet_grids.json after every run; a run that is there is not made again.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from pdenet import FAST
from pdenet_score import averaged, compared, distances, obeyed

from companion import RK4
from companion.lab import store, stored
from companion.lab.identify import identify
from companion.lab.pde_data import Data, frames
from companion.lab.pdes import Burgers, Recipe, Spectral

SEEDS, GRIDS, NOISE = range(4), (32, 64, 128), 0.001
KINDS = {"upwind": Recipe(), "spectral": Recipe(Spectral, RK4, 1 / 200)}
FILMS: dict[str, Any] = {"n": 8, "steps": 15, "coarse": 128}
WAYS: dict[str, dict[str, Any]] = {
    "fast": {},
    "central": {"learned": False},
    "fast, N = 5": {"N": 5},
    "fast, r = 2": {"accuracy": 2},
}


def films(kind: str, noise: float, seed: int, grid: int | None = None) -> Data:
    """Films on all points with noise, then every so many of them."""
    equation = Burgers(0.05)
    equation.recipe = KINDS[kind]
    data = frames(equation, **FILMS, noise=noise, seed=seed)
    every = 1 if grid is None else FILMS["coarse"] // grid
    return data._replace(u=data.u[..., ::every, ::every].contiguous(), h=data.h * every)


def summary(runs: list[dict[str, Any]], obeyed: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and the worst of all errors."""
    coefficients = averaged([r["coefficients"] for r in runs])
    means: dict[bool, list[float]] = {True: [], False: []}
    for row in coefficients:
        for name, (mean, _) in row.items():
            means["*" in name].append(mean)
    own = {f["seed"]: f["coefficients"] for f in obeyed}
    return {
        "coefficients": coefficients,
        "transport": round(float(np.mean(means[True])), 5),
        "viscosity": round(float(np.mean(means[False])), 5),
        "worst": max(r["relative"] for r in runs),
        "worst from the films": max(distances(r["coefficients"], own[r["seed"]])["relative"] for r in runs),
        "spurious": max(r["spurious"] for r in runs),
    }


def main() -> None:
    torch.set_num_threads(1)
    try:
        results = stored("pdenet_grids")
    except FileNotFoundError:
        results = {}
    results.pop("about", None)
    for kind in KINDS:
        if "films" not in results.setdefault(kind, {}):
            runs = [{"seed": s} | obeyed(Burgers(0.05), films(kind, 0.0, s)) for s in SEEDS]
            results[kind]["films"] = {"coefficients": averaged([r["coefficients"] for r in runs]), "runs": runs}
    for seed, grid, kind, way in product(SEEDS, GRIDS, KINDS, WAYS):
        part = results[kind].setdefault(str(grid), {}).setdefault(way, {"runs": []})
        if seed in [r["seed"] for r in part["runs"]]:
            continue
        data = films(kind, NOISE, seed, grid)
        found = identify(data, **(FAST["Burgers"] | WAYS[way]), seed=seed)
        run = compared(found.terms(), Burgers(0.05)) | {"seconds": round(found.seconds, 1)}
        part["runs"].append({"seed": seed} | run)
        part |= summary(part["runs"], results[kind]["films"]["runs"])
        store(__file__, results, seeds=len(SEEDS), noise=NOISE, films=FILMS, ways=WAYS, fast=FAST["Burgers"])
        print(seed, grid, kind, way, part["transport"], part["viscosity"], part["worst"], part["spurious"], flush=True)


if __name__ == "__main__":
    main()
