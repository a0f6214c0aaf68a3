r"""Equations found in noisy films, by PDE-Net 2.0 and by a fast route; what the found equations predict.   (5.4), [101]

    frozen    the nets of [101] with their one-sided filters as they are: a warm-up and one block
    blocks    the same with filters learned, 5 x 5 taps of accuracy 2: a warm-up, then 1, 2, 3 blocks
    central   companion.lab.identify with frozen central filters of 7 taps: 30000 random points, few terms
    fast      the same with filters learned, 7 x 7 taps of accuracy 3
    lacking   fast with a dictionary that cannot say it all: linear terms only for Burgers, quadratic for the reaction

All see the same films, made as in [101]: second-order upwind and Heun on 128 x 128 cells with steps of 1/1600, read at
32 x 32 points every 0.01, noise 0, 0.001 or 0.01 of the deviation of u. Every seed has its own films and first weights.
`blocks` has 200 iterations of L-BFGS a stage and up to three blocks, on 8 films, where [101] has 2000, fifteen or more,
on 28. Under noise of 0.01 the last three fit a quartic in time to eleven frames. Heat and reaction have films of the
same kind, those of the reaction with steps of 1/1600 instead of 1/10000.

The films are themselves solutions with an error. "films" has what they obey: least squares of u_t on the true terms
alone, without noise, by sixth-order differences in time and exact derivatives on all 128 x 128 points. Each method is
compared with both, the equation as printed ("worst") and its own films ("worst from the films").

Prediction: other films, 400 steps. The error at a time is the deviation of u - u_hat from 0 over that of u from its
mean, for each film; given are its 25th, 50th and 75th percentiles over films and seeds. A net may blow up: its error is
infinite then, and stored as null; "blown up" counts the films of which this is so in the end. The "simulators" know the
equation: `coarse` is the solver of the data itself, upwind and Heun, on the 32 x 32 points; `central 3`, `5`, `7` are
central differences of so many taps and RK4 there; `films 7` the last with the coefficients that the films obey.

    python experiments/pdenet.py                   about half an hour on one core
    python experiments/pdenet.py --noise 0.001     one noise alone; what the others have stored stays
    python experiments/pdenet.py --again fast      this method once more, the others stay

writes experiments/results/pdenet.json after every run; a run that is there is not made again.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from pdenet_score import averaged, compared, distances, obeyed
from torch import Tensor, nn

from companion import RK4, Heun, run
from companion.lab import store, stored
from companion.lab.blockwise import blockwise
from companion.lab.identify import identify
from companion.lab.pde_data import Data, frames
from companion.lab.pdes import Burgers, Equation, Heat, ReactionDiffusionConvection, Upwind
from companion.nets.moments import MomentBank
from companion.nets.pdenet import ORDERS, RightSide, pdenet
from companion.nets.polynomial import Polynomial

SEEDS = range(8)
METHODS = ("frozen", "blocks", "central", "fast", "lacking")
NOISES = {"Burgers": (0.0, 0.001, 0.01), "heat": (0.001,), "reaction": (0.001,)}
EQUATIONS: dict[str, Equation] = {
    "Burgers": Burgers(0.05),
    "heat": Heat(0.1),
    "reaction": ReactionDiffusionConvection(0.1, 1.0),
}
FILMS: dict[str, Any] = {"n": 8, "steps": 15}
FINE: dict[str, dict[str, Any]] = {"reaction": {"max_dt": 1 / 1600}}
BLOCKS: dict[str, Any] = {"blocks": (0, 1, 2, 3), "iterations": 200}
FROZEN: dict[str, Any] = {"blocks": (0, 1), "iterations": 200}
HIDDEN = {"Burgers": 5, "heat": 5, "reaction": 5}
FAST: dict[str, dict[str, Any]] = {
    "Burgers": {"hidden": 2, "degree": 2, "points": 30_000},
    "heat": {"hidden": 0, "degree": 1, "points": 30_000},
    "reaction": {"hidden": 4, "degree": 3, "points": 10_000, "stages": (1000, 400, 200), "sparsity": 0.0005},
}
LACKING: dict[str, dict[str, Any]] = {
    "Burgers": {"hidden": 0, "degree": 1, "points": 10_000},
    "reaction": {"hidden": 2, "degree": 2, "points": 10_000},
}
UNDER_NOISE: dict[str, Any] = {"width": 11, "time_degree": 4}
TEST: dict[str, Any] = {"n": 6, "steps": 400, "seed": 1000, "noise": 0.0}
KEPT = (1, 5, 10, 25, 50, 100, 200, 300, 400)


def films(name: str) -> dict[str, Any]:
    """What the films of each seed obey, on the solver's own points; mean and deviation."""
    equation, runs = EQUATIONS[name], []
    grid = FILMS.get("grid", equation.recipe.grid)
    for seed in SEEDS:
        data = frames(equation, **(FILMS | FINE.get(name, {}) | {"coarse": grid}), noise=0.0, seed=seed)
        runs.append({"seed": seed} | obeyed(equation, data))
    return {"coefficients": averaged([r["coefficients"] for r in runs]), "runs": runs}


def errors(step: nn.Module, test: Tensor) -> tuple[list[list[float]], float]:
    """(the error of each film at the times KEPT, seconds of processor time for all steps)."""
    begin = time.process_time()
    with torch.no_grad():
        kept = run(step, test[:, 0], k=test.shape[1] - 1, keep=1).kept
    seconds = time.process_time() - begin
    rows = []
    for k in KEPT:
        if k < test.shape[1]:
            u, v = test[:, k], kept.get(k, torch.full_like(test[:, k], torch.inf))
            scale = (u - u.mean((-2, -1), keepdim=True)).square().mean((1, 2, 3))
            rows.append(((u - v).square().mean((1, 2, 3)) / scale).sqrt().nan_to_num(torch.inf).tolist())
    return rows, seconds


def percentiles(rows: Sequence[Sequence[float | None]]) -> list[list[float | None]]:
    """25, 50 and 75 per cent of each row; None is infinite."""
    finite = [[1e6 if e is None else min(e, 1e6) for e in row] for row in rows]
    return short([np.percentile(row, (25, 50, 75), method="nearest").tolist() for row in finite])


def blown_up(rows: Sequence[Sequence[float | None]]) -> list[int]:
    """[films that end at infinity, films]."""
    return [sum(e is None or e >= 1e6 for e in rows[-1]), len(rows[-1])]


def short(rows: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Four digits, and None for infinity, which JSON has not."""
    return [[float(f"{e:.4g}") if e < 1e6 else None for e in row] for row in rows]


def one(name: str, noise: float, seed: int, method: str, test: Tensor) -> dict[str, Any]:
    """A method on the films of a seed."""
    equation = EQUATIONS[name]
    data = frames(equation, **FILMS, **FINE.get(name, {}), noise=noise, seed=seed)
    if method in ("frozen", "blocks"):
        return by_steps(equation, data, seed, method == "blocks", HIDDEN[name], test)
    settings = LACKING[name] if method == "lacking" else FAST[name] | {"learned": method == "fast"}
    found = identify(data, **settings, **(UNDER_NOISE if noise > 0.005 else {}), seed=seed)
    result = compared(found.terms(), equation) | {"residual": [round(r, 4) for r in found.residual]}
    if method == "lacking":
        return result
    rows, simulated = errors(RK4(found.net.F, data.dt), test)
    return result | {
        "seconds": round(found.seconds, 1),
        "errors": short(rows),
        "seconds of the simulation": round(simulated, 2),
    }


def by_steps(equation: Equation, data: Data, seed: int, learned: bool, hidden: int, test: Tensor) -> dict[str, Any]:
    """The nets of [101], trained in blocks."""
    begin = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    net = pdenet(equation.channels, h=data.h, dt=data.dt, hidden=hidden, learned=learned, generator=generator)
    stages = blockwise(net, lambda stage, count: data, **(BLOCKS if learned else FROZEN), progress=False)
    seconds = time.process_time() - begin
    terms = [p.terms(net.F.names) for p in net.F.polynomial(max(2, equation.degree))]
    return compared(terms, equation) | {
        "loss": [round(s.loss, 5) for s in stages],
        "seconds": round(seconds, 1),
        "errors": short(errors(net.step, test)[0]),
    }


def summary(runs: Sequence[dict[str, Any]], obeyed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For each method: means and deviations of the coefficients, the worst seed, percentiles of the prediction."""
    table, own = {}, {f["seed"]: f["coefficients"] for f in obeyed}
    for method in METHODS[:-1]:
        each = [r[method] for r in runs if method in r]
        if not each:
            continue
        from_films = [distances(r[method]["coefficients"], own[r["seed"]]) for r in runs if method in r]
        rows = [[x for e in each for x in e["errors"][i]] for i in range(len(each[0]["errors"]))]
        table[method] = {
            "coefficients": averaged([e["coefficients"] for e in each]),
            "worst": {key: max(e[key] for e in each) for key in ("transport", "viscosity", "spurious", "relative")},
            "worst from the films": {key: max(d[key] for d in from_films) for key in from_films[0]},
            "seconds": round(float(np.mean([e["seconds"] for e in each])), 1),
            "prediction": percentiles(rows),
            "blown up": blown_up(rows),
        }
    return table


def simulators(name: str, test: Tensor, dt: float, obeyed: Sequence[dict[str, list[float]]]) -> dict[str, Any]:
    """Those that know the equation, on the points of the nets; the reference: error and seconds for all steps."""
    equation, table = EQUATIONS[name], {}
    own = [{term: mean for term, (mean, _) in row.items()} for row in obeyed]
    steps: dict[str, nn.Module] = {"coarse": Heun(Upwind(copy.deepcopy(equation), test.shape[-1]), dt)}
    for key, terms, taps in [(f"central {n}", equation.terms, n) for n in (3, 5, 7)] + [("films 7", tuple(own), 7)]:
        bank = MomentBank(ORDERS, taps, h=2 * np.pi / test.shape[-1], learned=False)
        steps[key] = RK4(RightSide(bank, Polynomial.of(*terms, names=equation.names), upwind=False), dt)
    for key, step in steps.items():
        rows, seconds = errors(step, test)
        table[key] = {"prediction": percentiles(rows), "blown up": blown_up(rows), "seconds": round(seconds, 2)}
    begin = time.process_time()
    frames(equation, **(TEST | {"steps": 10, "start_time": 0.0}), cache=False)
    reference = (time.process_time() - begin) * (test.shape[1] - 1) / 10
    return table | {"reference": {"seconds": round(reference, 1)}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equation", choices=EQUATIONS)
    parser.add_argument("--noise", type=float)
    parser.add_argument("--again", choices=METHODS)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        results = stored("pdenet")
    except FileNotFoundError:
        results = {}
    results.pop("about", None)

    def keep() -> None:
        store(
            __file__, results, seeds=len(SEEDS), films=FILMS, blocks=BLOCKS, frozen=FROZEN, fast=FAST, lacking=LACKING
        )

    for name in EQUATIONS if chosen.equation is None else (chosen.equation,):
        test = frames(EQUATIONS[name], **TEST, **FINE.get(name, {}))
        table = results.setdefault(name, {"kept": [k for k in KEPT if k <= TEST["steps"]], "noise": {}})
        if "films" not in table:
            table["films"] = films(name)
            table["simulators"] = simulators(name, test.u, test.dt, table["films"]["coefficients"])
            keep()
        for noise in NOISES[name] if chosen.noise is None else (chosen.noise,):
            part = table["noise"].setdefault(str(noise), {"runs": []})
            for seed in SEEDS:
                if seed not in [r["seed"] for r in part["runs"]]:
                    part["runs"].append({"seed": seed})
                run_ = next(r for r in part["runs"] if r["seed"] == seed)
                for method in METHODS:
                    if (method in run_ and method != chosen.again) or (method == "lacking" and name not in LACKING):
                        continue
                    run_[method] = one(name, noise, seed, method, test.u)
                    part["summary"] = summary(part["runs"], table["films"]["runs"])
                    keep()
                    shown = {k: run_[method][k] for k in ("transport", "viscosity", "spurious")}
                    print(name, noise, seed, method, shown, flush=True)


if __name__ == "__main__":
    main()
