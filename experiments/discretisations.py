r"""Better reconstructed images? Denoising by eight discretisations of total variation, each at its best.   Section 4.2

Six photographs, the middle 128 x 128 of 256 x 256 pixels, with noise of deviation 0.1 and 0.05 (seeded), and once the
whole of one, 256 x 256. Each is denoised by min_u nu J(u) + 1/2 |u - f|^2 (h = 1, a mirrored border) for

    FD iso, FD l1               forward differences; Euclidean length, absolute values
    Haar 2 iso, Haar 3 iso      the bands (1,0), (0,1); with the diagonal band; one length for each place
    Haar 3 l1                   the three high bands entrywise: the analysis model (2.5) with one level
    PL pair iso                 the first pair of linear splines
    PL 8 l1, PL 8 iso           all eight high bands, entrywise; one length for each place

with the weight that golden-section search on log nu finds best for the PSNR of this picture, to a factor 1.05. It knows
the true picture: an oracle, the same for all. Each minimum has a relative duality gap of at most 10^-4. A difference
to FD iso is one of the same picture with the same noise: its mean over the pictures, and the standard error of that.

    make experiments            # or: python experiments/discretisations.py     about 4 minutes on one core

writes experiments/results/discretisations.json.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

from companion import (
    FISTA,
    ROF,
    FrameGradient,
    GaussianNoise,
    Gradient,
    bspline,
    haar_gradient,
    rof_dual,
    spline_gradient,
)
from companion.lab import best_weight, photographs, psnr, store

FACTOR, GAP, STEPS = 1.05, 1e-4, 1500
EIGHT = tuple((i, j) for i in range(3) for j in range(3) if i or j)
EIGHT_BANDS = FrameGradient(bspline(2), EIGHT, weights=[1.0] * 8)
# (gradient, isotropic, about where the best nu is, in units of the noise)
FUNCTIONALS = {
    "FD iso": (Gradient(), True, 0.7),
    "FD l1": (Gradient(), False, 0.5),
    "Haar 2 iso": (haar_gradient(), True, 0.7),
    "Haar 3 iso": (haar_gradient(bands=3), True, 0.6),
    "Haar 3 l1": (haar_gradient(bands=3), False, 0.4),
    "PL pair iso": (spline_gradient(), True, 1.8),
    "PL 8 l1": (EIGHT_BANDS, False, 0.6),
    "PL 8 iso": (EIGHT_BANDS, True, 1.0),
}


def variational(f: Tensor, name: str) -> Callable[[float], Tensor]:
    """nu -> argmin, each from the field of the last."""
    D, isotropic, _ = FUNCTIONALS[name]
    last: dict[str, Tensor] = {}

    def at(nu: float) -> Tensor:
        dual = rof_dual(ROF(f, nu, D, isotropic))
        step = FISTA(dual, restart=True)
        s = step.start(f)
        if last:
            p = last["v"] * nu
            s = s._replace(x=p, old=p)
        for i in range(1, STEPS + 1):
            s = step(s)
            if i % 20 == 0 and float(dual.gap(s.x)) <= GAP * float(dual.rof(dual.decode(s.x))):
                break
        else:
            print(f"    {name}: nu = {nu:.3g} stopped at {STEPS} steps", flush=True)
        last["v"] = s.x / nu
        return dual.decode(s.x)

    return at


def compared(u: Tensor, sigma: float, seed: int) -> dict[str, dict[str, float]]:
    """One noisy picture, all functionals."""
    f = GaussianNoise(sigma, seed=seed)(u)
    rows = {}
    for name in FUNCTIONALS:
        at, guess = variational(f, name), FUNCTIONALS[name][2] * sigma
        weight, value = best_weight(lambda nu, at=at: psnr(at(nu), u), guess / 3, 3 * guess, FACTOR)
        if not guess / 3 * FACTOR**2 < weight < 3 * guess / FACTOR**2:
            print(f"    {name}: the best weight {weight:.3g} is at the end of its range", flush=True)
        rows[name] = {"psnr": round(value, 3), "weight": float(f"{weight:.3g}")}
    rows["noisy"] = {"psnr": round(psnr(f, u), 3)}
    return rows


def differences(table: dict[str, dict]) -> dict[str, dict[str, float]]:
    """{functional: mean PSNR, mean difference to FD iso, its standard error, pictures where it wins}."""
    summary = {}
    for name in FUNCTIONALS:
        values = [rows[name]["psnr"] for rows in table.values()]
        gains = [rows[name]["psnr"] - rows["FD iso"]["psnr"] for rows in table.values()]
        summary[name] = {
            "psnr": round(statistics.mean(values), 2),
            "gain": round(statistics.mean(gains), 3),
            "error": round(statistics.stdev(gains) / math.sqrt(len(gains)), 3),
            "wins": sum(gain > 0 for gain in gains),
        }
    return summary


def main() -> None:
    torch.set_num_threads(1)
    begin = time.process_time()
    results: dict = {}
    for sigma in (0.1, 0.05):
        table = {}
        for seed, (name, u) in enumerate(photographs(256).items()):
            table[name] = compared(u[64:192, 64:192].contiguous(), sigma, seed)
            print(sigma, name, {k: row["psnr"] for k, row in table[name].items()}, flush=True)
        results[f"sigma {sigma}"] = {"pictures": table, "differences": differences(table)}
    results["camera 256, sigma 0.1"] = compared(photographs(256)["camera"], 0.1, 0)
    about = {"relative gap": GAP, "weight to a factor": FACTOR, "seconds in all": round(time.process_time() - begin)}
    store(__file__, results, **about)


if __name__ == "__main__":
    main()
