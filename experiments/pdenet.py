r"""Equations found in noisy films, by PDE-Net 2.0 and by a fast route; what the found equations predict.   (5.4), [101]

    frozen    the nets of [101] with their one-sided filters as they are: a warm-up and one block
    blocks    the same with filters learned, 5 x 5 taps of accuracy 2: a warm-up, then 1, 2, 3 blocks
    fast      companion.lab.identify: 7 x 7 taps of accuracy 3, 30000 random points, few terms

All three see the same films, made as in [101]: second-order upwind and Heun on 128 x 128 cells with steps of 1/1600,
read at 32 x 32 points every 0.01, noise 0, 0.001 or 0.01 of the deviation of u. Every seed has its own films and first
weights. `blocks` has 200 iterations of L-BFGS a stage and up to three blocks, on 8 films, where [101] has 2000,
fifteen or more, on 28. Under noise of 0.01 `fast` fits a quartic in time to eleven frames.

The films are themselves solutions with an error: by exact derivatives on the 128 x 128 cells, u and v obey Burgers'
equation with a transport of -1.011 and a viscosity of 0.051. No method can be trusted beyond that here.

Prediction: other films, 400 steps. The error at a time is the deviation of u - u_hat from 0 over that of u from its
mean, for each film; given are its 25th, 50th and 75th percentiles over films and seeds. A net may blow up: its error is
infinite then, and stored as null. `lacking` is `fast` with a dictionary that cannot say it all: linear terms only for
Burgers, quadratic ones for the cubic reaction. `coarse` is the solver of the data itself, upwind and Heun, on the
32 x 32 points.

Heat and reaction have films of the same kind, those of the reaction with steps of 1/1600 instead of 1/10000.

    python experiments/pdenet.py                   about an hour on one core
    python experiments/pdenet.py --noise 0.001     one noise alone; what the others have stored stays

writes experiments/results/pdenet.json after every seed; a seed that is there is not run again.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

from companion import RK4, Heun, run
from companion.lab import store, stored
from companion.lab.blockwise import blockwise
from companion.lab.identify import identify
from companion.lab.pde_data import frames
from companion.lab.pdes import Burgers, Equation, Heat, ReactionDiffusionConvection, Upwind
from companion.nets.pdenet import pdenet

SEEDS, NOISES = range(8), (0.0, 0.001, 0.01)
EQUATIONS: dict[str, Equation] = {
    "Burgers": Burgers(0.05),
    "heat": Heat(0.1),
    "reaction": ReactionDiffusionConvection(0.1, 1.0),
}
FILMS = {"n": 8, "steps": 15}
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
UNDER_NOISE = {"width": 11, "time_degree": 4}
TEST: dict[str, Any] = {"n": 6, "steps": 400, "seed": 1000, "noise": 0.0}
KEPT = (1, 5, 10, 25, 50, 100, 200, 300, 400)


def named(terms: dict[str, float]) -> dict[str, float]:
    """v_x*u and u*v_x are one term."""
    powers = ((name.replace("**", "^"), c) for name, c in terms.items())
    return {"*".join(sorted(name.split("*"))).replace("^", "**"): c for name, c in powers}


def compared(found: Sequence[dict[str, float]], equation: Equation) -> dict[str, Any]:
    """The coefficients at the true terms, the largest other one, and how far off: absolutely for |c| near 1 and for
    viscosities, relatively for all.
    """
    rows, away = [], {"transport": 0.0, "viscosity": 0.0, "spurious": 0.0, "relative": 0.0}
    for f, t in zip(map(named, found), map(named, equation.terms), strict=True):
        rows.append({name: round(f.get(name, 0.0), 5) for name in t})
        for name, c in t.items():
            kind = "viscosity" if name.endswith(("_xx", "_yy")) else "transport"
            error = abs(f.get(name, 0.0) - c)
            away[kind] = max(away[kind], error)
            away["relative"] = max(away["relative"], error / abs(c))
        away["spurious"] = max([away["spurious"], *(abs(c) for name, c in f.items() if name not in t)])
    return {"coefficients": rows, **{key: round(value, 5) for key, value in away.items()}}


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


def percentiles(rows: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """25, 50 and 75 per cent of each row; None where it is infinite."""
    table = [np.percentile(np.minimum(row, 1e6), (25, 50, 75), method="nearest") for row in rows]
    return [[float(f"{x:.4g}") if x < 1e6 else None for x in row] for row in table]


def one(name: str, noise: float, seed: int, test: Tensor) -> dict[str, Any]:
    """The three methods on the films of a seed."""
    equation = EQUATIONS[name]
    data = frames(equation, **FILMS, **FINE.get(name, {}), noise=noise, seed=seed)
    result: dict[str, Any] = {"seed": seed}
    for method, learned, schedule in (("frozen", False, FROZEN), ("blocks", True, BLOCKS)):
        begin = time.process_time()
        generator = torch.Generator().manual_seed(seed)
        net = pdenet(equation.channels, h=data.h, dt=data.dt, hidden=HIDDEN[name], learned=learned, generator=generator)
        stages = blockwise(net, lambda stage, count: data, **schedule, progress=False)
        seconds = time.process_time() - begin
        terms = [p.terms(net.F.names) for p in net.F.polynomial(max(2, equation.degree))]
        result[method] = compared(terms, equation) | {
            "loss": [round(s.loss, 5) for s in stages],
            "seconds": round(seconds, 1),
            "errors": errors(net.step, test)[0],
        }
    fit = UNDER_NOISE if noise > 0.005 else {}
    found = identify(data, **FAST[name], **fit, seed=seed)
    rows, simulated = errors(RK4(found.net.F, data.dt), test)
    result["fast"] = compared(found.terms(), equation) | {
        "residual": [round(r, 4) for r in found.residual],
        "seconds": round(found.seconds, 1),
        "errors": rows,
        "seconds of the simulation": round(simulated, 2),
    }
    if name in LACKING:
        found = identify(data, **LACKING[name], **fit, seed=seed)
        result["lacking"] = compared(found.terms(), equation) | {"residual": [round(r, 4) for r in found.residual]}
    return result


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For each method: means and deviations of the coefficients, the worst seed, percentiles of the prediction."""
    table = {}
    for method in ("frozen", "blocks", "fast"):
        each = [r[method] for r in runs]
        values = [[list(row.values()) for row in e["coefficients"]] for e in each]
        mean, spread = (
            np.mean(values, 0),
            np.std(values, 0, ddof=1) if len(each) > 1 else np.full_like(values[0], np.nan),
        )
        names = [list(row) for row in each[0]["coefficients"]]
        rows = [[x for e in each for x in e["errors"][i]] for i in range(len(each[0]["errors"]))]
        table[method] = {
            "coefficients": [
                {n: [round(float(m), 5), round(float(s), 5)] for n, m, s in zip(*part, strict=True)}
                for part in zip(names, mean, spread, strict=True)
            ],
            "worst": {key: max(e[key] for e in each) for key in ("transport", "viscosity", "spurious", "relative")},
            "seconds": round(float(np.mean([e["seconds"] for e in each])), 1),
            "prediction": percentiles(rows),
        }
    return table


def simulators(name: str, test: Tensor, dt: float) -> dict[str, Any]:
    """The solver of the data on the points of the nets, and on its own grid: error and seconds for all steps."""
    equation = EQUATIONS[name]
    coarse = Upwind(copy.deepcopy(equation), test.shape[-1])
    rows, seconds = errors(Heun(coarse, dt), test)
    begin = time.process_time()
    frames(equation, **(TEST | {"steps": 10, "start_time": 0.0}), cache=False)
    reference = (time.process_time() - begin) * (test.shape[1] - 1) / 10
    return {
        "coarse": {"prediction": percentiles(rows), "seconds": round(seconds, 2)},
        "reference": {"seconds": round(reference, 1)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equation", choices=EQUATIONS)
    parser.add_argument("--noise", type=float, choices=NOISES)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        results = stored("pdenet")
    except FileNotFoundError:
        results = {}
    results.pop("about", None)
    for name in EQUATIONS if chosen.equation is None else (chosen.equation,):
        test = frames(EQUATIONS[name], **TEST, **FINE.get(name, {}))
        table = results.setdefault(name, {"kept": [k for k in KEPT if k <= TEST["steps"]], "noise": {}})
        if "simulators" not in table:
            table["simulators"] = simulators(name, test.u, test.dt)
        for noise in NOISES if chosen.noise is None else (chosen.noise,):
            part = table["noise"].setdefault(str(noise), {"runs": []})
            for seed in SEEDS:
                if seed in [r["seed"] for r in part["runs"]]:
                    continue
                done = json.loads(json.dumps(finite(one(name, noise, seed, test.u))))
                part["runs"].append(done)
                part["summary"] = summary(restored(part["runs"]))
                store(__file__, results, seeds=len(SEEDS), films=FILMS, blocks=BLOCKS, frozen=FROZEN, fast=FAST)
                shown = {m: [done[m][k] for k in ("transport", "viscosity", "spurious")] for m in part["summary"]}
                print(name, noise, seed, shown, flush=True)


def finite(x: Any) -> Any:
    """Numbers of four digits in the errors, infinite ones as None: JSON has no infinity."""
    if isinstance(x, dict):
        return {k: [[_short(e) for e in row] for row in v] if k == "errors" else finite(v) for k, v in x.items()}
    return x


def restored(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with infinity for None."""
    again = copy.deepcopy(list(runs))
    for r in again:
        for method in ("frozen", "blocks", "fast"):
            r[method]["errors"] = [[torch.inf if e is None else e for e in row] for row in r[method]["errors"]]
    return again


def _short(e: float) -> float | None:
    return float(f"{e:.4g}") if e < 1e6 else None


if __name__ == "__main__":
    main()
