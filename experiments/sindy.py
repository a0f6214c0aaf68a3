r"""PySINDy's PDE-FIND, strong and weak form, beside the fast identification, on the same films of Burgers' equation.

    strong   u_t by differences in time, u_x, ..., u_yy by differences in space, at every point
    weak     all is multiplied by (1 - s^2)^p for each of x, y, t and integrated over small boxes. By parts, no
             derivative of the data is left in u_t, u_x, u_xx; one is left in u u_x and v u_y, of which the latter is no
             divergence
    fast     companion.lab.identify, whose SymNet has all 91 products of two features at hand

Strong and weak have 33 terms, namely 1, u, v, their derivatives up to the second, and the products of these with u and
v; least squares, terms below 0.03 left out, and again (STLSQ, with a ridge of 1e-8). With 0.01, the best settings had
about the same errors on films for tuning, and more false terms.

The films, two for each seed, 16 frames, are read at 128, 64 or 32 points a side, with noise 0, 0.001 and 0.01 of the
deviation of u. Two kinds: "spectral", which obeys Burgers' equation to four digits, and "upwind" as in [101], which
obeys it with other coefficients: -1.010 for -1 and 0.051 for 0.05 at the points, -1.007 and 0.051 over boxes, where
long waves count more. The noise of a point is the same on all grids.

Each method has settings; for each grid and noise those are taken that are best on another film of the kind "spectral",
by an error that only someone who knows the equation can compute. (On films of [101] a setting would be rewarded for an
error that undoes the film's.) The settings:

    STRONG   space   Fourier series; differences of order 6, periodic; local polynomials (width, degree), periodic
             time    differences of order 4, or these after the frames are smoothed by quartics of eleven, as in `fast`
    WEAK     space   of the one derivative that is left: differences of order 6, periodic, or Fourier series
             box     half a side of a box in space; its half in time is 0.07, that of a film 0.075. 200 boxes
             p       2 is the least that u_xx allows
    FAST     N taps a side; width and time_degree of the fit in time; ridge, how firmly the filters are held at their
             start where the films say nothing

They are what was left of a longer list after a trial on films for tuning. Strong: differences of order 2 and 4, other
widths, cubics of fifteen frames were the best nowhere, or by little. Weak: differences of order 2, the default of
PySINDy, cost 6 % on 64 x 64 points and 24 % on 32 x 32, those of order 4 cost 1 and 12 %, where Fourier series have
0.00 and 1 %; boxes of 0.6, 1.2 and 1.6, shorter ones, p = 3 and 8 were not better, or by little.

Boxes are integrated as if the data were linear between points. That is no error of second order here: the weights are
those of a test function smoothed by a hat, the same in all terms. Three times as many boxes change the errors by a
third at most, up or down: these overlap already. Films twice as long halve the errors of the weak form under noise.
FiniteDifference differentiates along axis 0 by default; time is the last axis but one here, and is named. Under noise
Rudy et al. differentiate local polynomials, too; PySINDy's (Savitzky and Golay) smooth along axis 0 only, so that they
are written here.

The error is the largest relative one over the eight true terms, against -1 and 0.05; beside it the number of others.

    python experiments/sindy.py                 about an hour on one core
    python experiments/sindy.py strong weak     these alone; what is stored of the others stays

writes experiments/results/sindy.json, after each grid. PySINDy: Kaptanoglu et al., PySINDy (2022). Strong form: Rudy,
Brunton, Proctor and Kutz, Data-driven discovery of partial differential equations (2017). Weak form: Reinbold, Gurevich
and Grigoriev, Using noisy or incomplete data to discover models of spatiotemporal dynamics (2020); Messenger and Bortz,
Weak SINDy for partial differential equations (2021).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy.signal import savgol_filter

from companion import RK4
from companion.lab import store, stored
from companion.lab.identify import identify
from companion.lab.pde_data import Data, frames
from companion.lab.pdes import Burgers, Recipe, Spectral

SEEDS, TUNING = range(10), 100
KINDS = {"spectral": Recipe(Spectral, RK4, 1 / 200, 128, 128), "upwind": Recipe()}
GRIDS, NOISES = (64, 32, 128), (0.0, 0.001, 0.01)
FILMS: dict[str, Any] = {"n": 2, "steps": 15}
THRESHOLD = 0.03
STRONG: list[dict[str, Any]] = [{"space": "Fourier", "time": 4}] + [
    {"space": space, "time": "smoothed"} for space in ("Fourier", 6, (9, 4), (9, 6))
]
WEAK: list[dict[str, Any]] = [
    {"space": space, "box": box, "duration": 0.07, "boxes": 200, "p": p}
    for space, box, p in (
        (6, 0.8, 2),
        ("Fourier", 0.4, 2),
        ("Fourier", 0.4, 4),
        ("Fourier", 0.8, 2),
        ("Fourier", 0.8, 4),
    )
]
FAST: list[dict[str, Any]] = [
    {"N": N, "points": 20_000, "width": width, "time_degree": degree, "ridge": ridge}
    for N in (5, 7)
    for width, degree in ((2, 1), (11, 4))
    for ridge in (0.0, 0.0004)
]
TRUE = (
    {"uu_1": -1.0, "vu_2": -1.0, "u_11": 0.05, "u_22": 0.05},
    {"uv_1": -1.0, "vv_2": -1.0, "v_11": 0.05, "v_22": 0.05},
)


def films(kind: str, grid: int, noise: float, seed: int) -> Data:
    """Films on 128 x 128 points with noise, then every so many of them."""
    equation = Burgers(0.05)
    equation.recipe = KINDS[kind]
    data = frames(equation, **FILMS, grid=128, coarse=128, noise=noise, seed=seed)
    every = 128 // grid
    return data._replace(u=data.u[..., ::every, ::every].contiguous(), h=data.h * every)


def arrays(data: Data) -> list[np.ndarray]:
    """Each film as PySINDy has it: x, y, time, component."""
    return [np.ascontiguousarray(film.permute(2, 3, 0, 1).numpy()) for film in data.u]


def points(data: Data) -> np.ndarray:
    return data.h * np.arange(data.u.shape[-1])


class Local:
    """The derivative of the polynomial of a degree that fits `width` points of a circle best, in PySINDy's form."""

    def __init__(self, d: int, axis: int, width: int, degree: int) -> None:
        self.derivative = partial(savgol_filter, window_length=width, polyorder=degree, deriv=d, axis=axis, mode="wrap")

    def _differentiate(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.derivative(x, delta=t[1] - t[0])


def differences(space: int | str | tuple[int, int]) -> dict[str, Any]:
    """Periodic derivatives in space: of an order, by Fourier series, by polynomials (width, degree)."""
    import pysindy as ps

    if space == "Fourier":
        return {"differentiation_method": ps.SpectralDerivative}
    if isinstance(space, int):
        return {"diff_kwargs": {"order": space, "periodic": True, "is_uniform": True}}
    return {"differentiation_method": Local, "diff_kwargs": {"width": space[0], "degree": space[1]}}


def strong(data: Data, space: int | str | tuple[int, int], time: int | str) -> tuple[np.ndarray, list[str]]:
    """Coefficients (2, terms) and the names of the terms."""
    import pysindy as ps

    x = points(data)
    library = ps.PDELibrary(
        function_library=ps.PolynomialLibrary(degree=1, include_bias=False),
        derivative_order=2,
        spatial_grid=np.stack(np.meshgrid(x, x, indexing="ij"), -1),
        include_bias=True,
        **differences(space),
    )
    if isinstance(time, int):
        return fitted(data, library, ps.FiniteDifference(order=time, axis=-2))
    smoother = partial(savgol_filter, window_length=11, polyorder=4, axis=-2)
    return fitted(data, library, ps.SmoothedFiniteDifference(smoother=smoother, order=4, axis=-2))


def weak(data: Data, space: int | str, box: float, duration: float, boxes: int, p: int) -> tuple[np.ndarray, list[str]]:
    """As `strong`; box and duration are half the lengths of a box in space and in time."""
    import pysindy as ps

    x, t = points(data), data.dt * np.arange(data.u.shape[1])
    np.random.seed(0)  # noqa: NPY002  PySINDy draws its boxes from the global generator
    library = ps.WeakPDELibrary(
        function_library=ps.PolynomialLibrary(degree=1, include_bias=False),
        derivative_order=2,
        spatiotemporal_grid=np.stack(np.meshgrid(x, x, t, indexing="ij"), -1),
        include_bias=True,
        K=boxes,
        H_xt=[box, box, duration],
        p=p,
        **differences(space),
    )
    return fitted(data, library, None)


def fitted(data: Data, library: Any, in_time: Any) -> tuple[np.ndarray, list[str]]:
    import pysindy as ps

    more = {} if in_time is None else {"differentiation_method": in_time}
    model = ps.SINDy(feature_library=library, optimizer=ps.STLSQ(threshold=THRESHOLD, alpha=1e-8), **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(arrays(data), t=data.dt)
    return np.asarray(model.coefficients()), library.get_feature_names(["u", "v"])


def fast(data: Data, **settings: Any) -> tuple[np.ndarray, list[str]]:
    """The same form from `identify`."""
    found = identify(data, **settings)
    rows = [{spelled(name): c for name, c in row.items()} for row in found.terms()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return np.array([[row.get(name, 0.0) for name in names] for row in rows]), names


def spelled(name: str) -> str:
    """v_xy*u in PySINDy's spelling, uv_12."""
    factors = sorted(name.split("*"), key=lambda f: ("_" in f, f))
    return "".join(f.replace("x", "1").replace("y", "2") for f in factors)


def scored(coefficients: np.ndarray, names: list[str], seconds: float) -> dict[str, Any]:
    """The largest relative error over the true terms, the others, the seconds."""
    rows = [dict(zip(names, row.tolist(), strict=True)) for row in coefficients]
    error = max(abs(row.get(n, 0.0) / c - 1) for row, t in zip(rows, TRUE, strict=True) for n, c in t.items())
    others = [abs(c) for row, t in zip(rows, TRUE, strict=True) for n, c in row.items() if c and n not in t]
    return {
        "error": float(f"{error:.4g}"),
        "others": len(others),
        "largest other": round(max(others, default=0.0), 5),
        "seconds": round(seconds, 2),
        "coefficients": [[round(row.get(n, 0.0), 5) for n in t] for row, t in zip(rows, TRUE, strict=True)],
    }


METHODS: dict[str, tuple[Callable[..., Any], list[dict[str, Any]]]] = {
    "strong": (strong, STRONG),
    "weak": (weak, WEAK),
    "fast": (fast, FAST),
}


def measured(method: str, data: Data, settings: dict[str, Any]) -> dict[str, Any]:
    begin = time.process_time()
    coefficients, names = METHODS[method][0](data, **settings)
    return scored(coefficients, names, time.process_time() - begin)


def best(method: str, data: Data) -> dict[str, Any]:
    """The settings with the least error on a film for tuning; another term counts as the error it is."""
    scores = [measured(method, data, settings) for settings in METHODS[method][1]]
    return METHODS[method][1][min(range(len(scores)), key=lambda i: scores[i]["error"] + scores[i]["largest other"])]


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    errors, seconds = ([r[key] for r in runs] for key in ("error", "seconds"))
    return {
        "median": float(f"{statistics.median(errors):.4g}"),
        "worst": max(errors),
        "seconds": round(statistics.mean(seconds), 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="strong, weak, fast; all by default")
    methods = parser.parse_args(arguments).methods or list(METHODS)
    import pysindy

    torch.set_num_threads(1)
    before = {} if set(methods) == set(METHODS) else stored("sindy")
    results: dict[str, Any] = {kind: before.get(kind, {}) for kind in KINDS}
    for grid in GRIDS:
        for noise in NOISES:
            tuning = films(next(iter(KINDS)), grid, noise, TUNING)
            for method in methods:
                settings = best(method, tuning)
                for kind in KINDS:
                    runs = [measured(method, films(kind, grid, noise, seed), settings) for seed in SEEDS]
                    row = {"settings": settings} | summary(runs)
                    print(kind, grid, noise, method, row, [r["others"] for r in runs], flush=True)
                    results[kind].setdefault(str(grid), {}).setdefault(str(noise), {})[method] = row | {"runs": runs}
        about = {"seeds": len(SEEDS), "films": FILMS, "threshold": THRESHOLD, "pysindy": pysindy.__version__}
        store(__file__, results, **about)


if __name__ == "__main__":
    main()
