r"""Does the second step of (5.2) save depth? LM-ResNet against ResNet, several depths, four seeds.   (5.1), (5.2)

    here   mnist1d, 4,000 signals of 40 samples, width 8, depths 8 to 56, 20 epochs
           shapes and textures, 10,000 pictures of 16 x 16, width 8, depths 8 to 32, 10 epochs
    full   shapes and textures, 50,000 pictures of 32 x 32, width 16, depths 20 to 110, 40 epochs

CIFAR-10, -100 and ImageNet, on which the paper reports depths smaller by a factor of 2-10, are not to be had offline:
these are stand-ins, and an error here says nothing of an error there. Every network is trained in the same way, the
paper's [107]: SGD, rate 0.1, momentum 0.9, decay 1e-4, batches of 128, the rate divided by ten after 1/2 and 3/4 of the
epochs. At equal seed the two networks start from the same fields F_k and see the batches in the same order; so their
differences are taken seed by seed. ResNet-8 has one step a stage, where (5.2) has no u^{k-1} yet: its runs count for
both networks. The 10 epochs of the pictures replace a first trial with 6, after which neither network had learned the
training set (errors of 13 to 19 per cent). The scale "full" has been run on tiny data only.

    python experiments/odenets.py                        scale "here": about 35 minutes on one core
    python experiments/odenets.py --scale full           on a CUDA card, hours
    torchrun --nproc-per-node 4 experiments/odenets.py --scale full

writes experiments/results/odenets.json: every run, the settings, and `summary(runs)`, which a test computes again. What
is done is kept in odenets.partial until all is: cut the script when you like and call it again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from companion.lab import device, store
from companion.lab.datasets import Split, mnist1d
from companion.lab.textures import shapes_and_textures
from companion.lab.train import train
from companion.nets.odenet import ODENet, lm_resnet, resnet

RESULTS = Path(__file__).parent / "results" / "odenets.json"
SEEDS = (0, 1, 2, 3)
NETS = {"ResNet": resnet, "LM-ResNet": lm_resnet}
SCALES: dict[str, dict[str, dict[str, Any]]] = {
    "here": {
        "mnist1d": {
            "data": {"n": 4000, "n_test": 10000},
            "net": {"channels": 1, "width": 8, "dim": 1},
            "depths": (8, 14, 20, 32, 56),
            "epochs": 20,
        },
        "shapes": {
            "data": {"n": 10000, "n_test": 5000, "size": 16, "noise": 0.05, "clutter": 0.1},
            "net": {"channels": 3, "width": 8, "dim": 2},
            "depths": (8, 14, 20, 32),
            "epochs": 10,
        },
    },
    "full": {
        "shapes": {
            "data": {"n": 50000, "n_test": 10000, "size": 32, "noise": 0.1, "clutter": 0.5},
            "net": {"channels": 3, "width": 16, "dim": 2},
            "depths": (20, 32, 44, 56, 110),
            "epochs": 40,
        },
    },
}


def alphas(net: ODENet) -> list[float]:
    """The learned alpha_k of (5.2), in the order of the steps."""
    return [round(float(p.detach()), 4) for name, p in net.named_parameters() if name.endswith("alpha")]


def measured(task: str, kind: str, depth: int, seed: int, setting: dict, data: Split, checkpoint: Path | None) -> dict:
    """One training, from its first weights to its error on the test set."""
    torch.manual_seed(seed)
    net = NETS[kind](depth, **setting["net"])
    begin = time.process_time(), time.perf_counter()
    history = train(
        net, data, epochs=setting["epochs"], seed=seed, every=setting["epochs"], checkpoint=checkpoint, progress=False
    )
    return {
        **{"task": task, "net": kind, "depth": depth, "seed": seed},
        "error": round(history.test_error[-1], 5),
        "test loss": round(history.test_loss[-1], 4),
        "train error": round(history.train_error[-1], 5),
        "train loss": round(history.loss[-1], 4),
        "alpha": alphas(net),
        "parameters": sum(p.numel() for p in net.parameters()),
        "processor seconds": round(time.process_time() - begin[0], 1),
        "seconds": round(time.perf_counter() - begin[1], 1),
    }


def mean(values: list[float]) -> dict[str, float]:
    """The mean and its standard error, deviation / sqrt(n)."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {"mean": round(float(np.mean(values)), 5), "standard error": round(error, 5), "n": len(values)}


def reached(depths: np.ndarray, errors: np.ndarray, goal: float) -> float:
    """The depth at which the errors, linear in log depth between the depths, first fall to the goal.

    0 where the smallest depth has it already (then less might do), infinity where no depth has it.
    """
    if errors[0] <= goal:
        return 0.0
    for i in range(1, len(depths)):
        if errors[i] <= goal:
            share = (errors[i - 1] - goal) / (errors[i - 1] - errors[i])
            return float(np.exp(np.log(depths[i - 1]) + share * np.log(depths[i] / depths[i - 1])))
    return math.inf


def reduction(depths: list[int], res: np.ndarray, lm: np.ndarray, resamples: int = 4000) -> dict[str, dict]:
    """depth of ResNet / depth of LM-ResNet at equal mean error, for each depth; res, lm of shape (depth, seed).

    The interval holds 95 per cent of the factors that come of drawing the seeds anew, with replacement, the same for
    both networks. None is an undetermined number: the error is reached at no depth, or at the smallest already.
    """
    grid, draws = (
        np.array(depths, float),
        np.random.default_rng(0).integers(res.shape[1], size=(resamples, res.shape[1])),
    )

    def known(factor: float) -> float | None:
        return round(float(factor), 2) if 0 < factor < math.inf else None

    def factor(i: int, seeds: Any) -> float:
        at = reached(grid, lm[:, seeds].mean(1), res[i, seeds].mean())
        return grid[i] / at if at else math.inf

    table = {}
    for i, depth in enumerate(depths):
        factors = np.sort([factor(i, seeds) for seeds in draws])
        low, high = factors[int(0.025 * resamples)], factors[int(0.975 * resamples)]
        table[str(depth)] = {
            "factor": known(factor(i, slice(None))),
            "interval": [known(low), known(high)],
            "never reached": round(float((factors == 0).mean()), 3),
            "reached by the smallest": round(float(np.isinf(factors).mean()), 3),
        }
    return table


def summary(runs: list[dict]) -> dict[str, dict]:
    """{task: means, paired differences, the learned alpha, the depths at equal error}: all from the runs."""
    table = {}
    for task in dict.fromkeys(r["task"] for r in runs):
        of = {(r["net"], r["depth"], r["seed"]): r for r in runs if r["task"] == task}
        for net, depth, seed in list(of):
            if depth == 8:
                of["LM-ResNet", depth, seed] = of[net, depth, seed]
        depths = sorted({depth for _, depth, _ in of})
        seeds = sorted({s for *_, s in of if all((net, depth, s) in of for net in NETS for depth in depths)})
        if not seeds:
            continue
        error = {net: np.array([[of[net, d, s]["error"] for s in seeds] for d in depths]) for net in NETS}
        loss = {net: np.array([[of[net, d, s]["train loss"] for s in seeds] for d in depths]) for net in NETS}
        learned = {d: [a for s in seeds for a in of["LM-ResNet", d, s]["alpha"]] for d in depths if d > 8}
        table[task] = {
            "seeds": seeds,
            "error": {net: {str(d): mean(list(e)) for d, e in zip(depths, error[net], strict=True)} for net in NETS},
            "train loss": {
                net: {str(d): mean(list(v)) for d, v in zip(depths, loss[net], strict=True)} for net in NETS
            },
            "LM-ResNet - ResNet": {
                str(d): mean(list(a - b))
                for d, a, b in zip(depths, error["LM-ResNet"], error["ResNet"], strict=True)
                if d > 8
            },
            "alpha": {
                str(d): {
                    **{"least": min(v), "mean": round(float(np.mean(v)), 3), "greatest": max(v)},
                    "outside (-1, 1]": sum(not -1 < a <= 1 for a in v),
                    "number": len(v),
                }
                for d, v in learned.items()
            },
            "depth reduction": reduction(depths, error["ResNet"], error["LM-ResNet"]),
        }
    return table


def main(scale: str) -> None:
    torch.set_num_threads(1)
    first = int(os.environ.get("RANK", "0")) == 0
    partial = RESULTS.with_suffix(".partial")
    lines = partial.read_text().splitlines() if partial.exists() else []
    runs = [run for run in map(json.loads, lines) if run.pop("scale") == scale]
    done = {(r["task"], r["net"], r["depth"], r["seed"]) for r in runs}
    tasks, make = SCALES[scale], {"mnist1d": mnist1d, "shapes": shapes_and_textures}
    data = {task: make[task](**setting["data"], seed=0) for task, setting in tasks.items()}
    todo = [
        (task, net, depth, seed)
        for seed in SEEDS  # outermost: what is cut has all depths, of fewer seeds
        for task, setting in tasks.items()
        for depth in setting["depths"]
        for net in NETS
        if not (net == "LM-ResNet" and depth == 8) and (task, net, depth, seed) not in done
    ]
    for task, net, depth, seed in todo:
        checkpoint = RESULTS.with_name(f"odenets-{task}-{net}-{depth}-{seed}.pt") if scale == "full" else None
        run = measured(task, net, depth, seed, tasks[task], data[task], checkpoint)
        runs.append(run)
        if first:
            RESULTS.parent.mkdir(exist_ok=True)
            with partial.open("a") as file:
                file.write(json.dumps({"scale": scale} | run) + "\n")
            if checkpoint:
                checkpoint.unlink()
            print({key: value for key, value in run.items() if key != "alpha"}, flush=True)
    if first:
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        about = results.pop("about", {})
        results[scale] = {"settings": tasks, "summary": summary(runs), "runs": runs}
        card = (
            torch.cuda.get_device_name()
            if device().type == "cuda"
            else f"one core of a processor ({platform.machine()})"
        )
        about[f"device, {scale}"] = card
        about[f"processor hours, {scale}"] = round(sum(r["processor seconds"] for r in runs) / 3600, 2)
        store(__file__, results, **about)
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, default="here")
    main(parser.parse_args().scale)
