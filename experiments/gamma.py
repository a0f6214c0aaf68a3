r"""Section 4.2 in numbers: minimisers of E_n against the exact ones, sharp edges, ramps.   (4.2), (4.3), Thm 4.1

    disc      min E_n for the disc R = 1/4, nu = 0.05, N = 32, ..., 256: value, L_1 and L_2 distance to the exact u;
              Haar, entrywise, also N = 512, as its distance tends to a number that is not 0
    square    the same for the square a = 1/4, whose exact u belongs to int |d_1 u| + |d_2 u|
    edges     TV_h(chi) / 2 pi R for the disc: point samples, cell means, ramps of width sqrt h, N = 32, ..., 512

Every minimum is certified by a duality gap of at most 1e-5 of it. L1 and L2 are exact distances of functions, from
the one that is u_n[k] on cell k to u; "L2 of the means" compares u_n with the means of u over the cells.
Seconds are of processor time on one thread, for one grid, from the field of the grid before.

    make experiments            # or: python experiments/gamma.py     some minutes on one core

writes experiments/results/gamma.json. Everything is computed from closed forms, nothing is random.
"""

from __future__ import annotations

import math
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from companion import VARIATIONS, Disc, DiscreteEnergy, Shape, Square, refine, sample
from companion.flows.refinement import Level
from companion.lab import store

NU, TOL = 0.05, 1e-5
GRIDS = (32, 64, 128, 256)
SHARP = (32, 64, 128, 256, 512)


def row(level: Level, shape: Shape, problem: torch.nn.Module) -> dict:
    """One minimiser beside the exact one; the `turn` is how far a quarter turn moves it, relative to its deviation."""
    N = level.u.shape[-1]
    exact = shape.minimiser(NU)
    turned = torch.rot90(level.u) - level.u
    middle, corner = N // 2, 3 * N // 4 - 1  # the last pixel within the square
    return {
        "energy": round(float(problem(level.u)), 6),
        "L1": round(float(exact.distance(level.u, shape, 1)), 5),
        "L2": round(float(exact.distance(level.u, shape, 2)), 5),
        "L2 of the means": round(float((level.u - exact.sampled(shape, N)).square().mean().sqrt()), 5),
        "gap": float(f"{level.gap:.2e}"),
        "centre": round(float(level.u[middle, middle]), 4),
        "corner": round(float(level.u[corner, corner]), 4),
        "turn": round(float(turned.norm() / (level.u - level.u.mean()).norm()), 4),
        "steps": level.steps,
        "seconds": round(level.seconds, 2),
    }


def minimisers(shape: Shape) -> dict:
    """{functional: {N: row}}."""
    table = {}
    for name, make in VARIATIONS.items():
        grids = (*GRIDS, 512) if isinstance(shape, Disc) and name == "Haar, entrywise" else GRIDS
        problems = [DiscreteEnergy(make(NU, 1 / N, "periodic"), shape.averages(N)).problem for N in grids]
        levels = refine(problems, tol=TOL, k=100000)
        rows = zip(grids, levels, problems, strict=True)
        table[name] = {str(N): row(level, shape, problem) for N, level, problem in rows}
        print(type(shape).__name__, name, table[name]["256"], flush=True)
    return table


def edges() -> dict:
    """{functional: {sampling: {N: ratio}}}."""
    disc = Disc()
    pictures = {
        "points": lambda N: sample(disc, N, points=1),
        "cell means": disc.averages,
        "ramps": lambda N: sample(disc.ramp(N**-0.5), N),
    }
    table: dict = {}
    for how, picture in pictures.items():
        for N in SHARP:
            u = picture(N)
            for name, make in VARIATIONS.items():
                ratio = float(make(1.0, 1 / N, "periodic")(u)) / disc.perimeter
                table.setdefault(name, {}).setdefault(how, {})[str(N)] = round(ratio, 5)
    return table


def main() -> None:
    torch.set_num_threads(1)
    begin = time.process_time()
    results = {"disc": minimisers(Disc()), "square": minimisers(Square()), "edges": edges()}
    results["exact"] = {
        name: {key: round(value, 7) for key, value in shape.minimiser(NU)._asdict().items()}
        for name, shape in (("disc", Disc()), ("square", Square()))
    }
    about = {
        "nu": NU,
        "relative gap": TOL,
        "theory, points, two Haar bands": round(8 * (math.sqrt(2) - 1) / math.pi, 5),
        "seconds in all": round(time.process_time() - begin),
    }
    store(__file__, results, **about)


if __name__ == "__main__":
    main()
