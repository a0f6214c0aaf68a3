r"""Implicit skips against plain ones, attacked: y = u + F(y) beside u + F(u), on digits.   Section 5.1, [94]

    plain        trained on the pictures as they are
    adversarial  trained on pictures attacked by PGD-3

Three networks of depth 14 with equal fields and equal first weights: ResNet, and implicit skips of two gradient steps,
with the best rate for a linear F and with the rate 0.1 (neither was searched for). Every seed has its own split,
weights and attacks. Accuracy is that on the 360 test pictures: as they are, under PGD-20 with |eta| <= eps (pictures
in [0, 1], two random starts, steps eps/10), and on pictures made by PGD-20 against another ResNet, "transferred".
A net whose gradients are no guide for the attack shows more robustness under its own attack than under the transferred
one: that would be masking. Differences to ResNet are taken seed by seed, with their standard error.

    make experiments            # or: python experiments/robustness.py     about 11 minutes on one core

writes experiments/results/robustness.json.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from companion import ODENet, PGDTraining, PlainTraining, implicit_resnet, pgd, resnet, robust_accuracy
from companion.lab import store
from companion.lab.datasets import digits
from companion.lab.robust import robust_train

DEPTH, WIDTH, BATCH, RATE = 14, 8, 128, 0.05
EPS = (0.05, 0.1)
SEEDS = range(4)
EPOCHS = {"plain": 15, "adversarial": 10}
NETS: dict[str, Callable[[], ODENet]] = {
    "ResNet": lambda: resnet(DEPTH, channels=1, width=WIDTH),
    "implicit, best rate": lambda: implicit_resnet(DEPTH, channels=1, width=WIDTH, steps=2),
    "implicit, rate 0.1": lambda: implicit_resnet(DEPTH, channels=1, width=WIDTH, steps=2, lr=0.1),
}
METHODS: dict[str, Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]]] = {
    "plain": PlainTraining,
    "adversarial": lambda net: PGDTraining(net, EPS[-1], EPS[-1] / 2, 3),
}


def trained(name: str, how: str, data: Sequence[Tensor], seed: int, epochs: int | None = None) -> tuple[ODENet, float]:
    """A network from its seed, in evaluation, and the seconds of its training."""
    torch.manual_seed(seed)
    net = NETS[name]()
    epochs = EPOCHS[how] if epochs is None else epochs
    cost = robust_train(net, data, METHODS[how](net), epochs=epochs, batch=BATCH, lr=RATE, seed=seed, device="cpu")
    return net.eval(), cost.seconds


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of pictures that are classified rightly."""
    with torch.no_grad():
        return float((net(x).argmax(1) == y).double().mean())


def measured(net: ODENet, other: ODENet, data: Sequence[Tensor], seed: int) -> dict[str, float]:
    """Accuracy as it is, attacked, and on pictures that were made against the other network."""
    x, y = data[2], data[3]
    row = {"clean": accuracy(net, x, y)}
    for eps in EPS:
        attack = torch.Generator().manual_seed(seed)
        row[f"PGD-20, {eps}"] = robust_accuracy(net, x, y, eps, eps / 10, 20, restarts=2, generator=attack)
        made = pgd(other, x, y, eps, eps / 10, 20, generator=torch.Generator().manual_seed(seed))
        row[f"transferred, {eps}"] = accuracy(net, made, y)
    return row


def mean_and_error(values: Sequence[float]) -> list[float]:
    """[mean, standard error of the mean]."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return [round(statistics.mean(values), 4), round(error, 4)]


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """For each network its means, and the differences to ResNet, seed by seed."""
    table: dict[str, Any] = {}
    for name, rows in runs.items():
        table[name] = {key: mean_and_error([row[key] for row in rows]) for key in rows[0]}
        if name != "ResNet":
            table[name]["minus ResNet"] = {
                key: mean_and_error([row[key] - plain[key] for row, plain in zip(rows, runs["ResNet"], strict=True)])
                for key in rows[0]
                if key != "seconds"
            }
    return table


def comparison(seeds: Sequence[int] = SEEDS, epochs: int | None = None) -> dict[str, Any]:
    """All networks, trained both ways, from each seed."""
    results: dict[str, Any] = {}
    for how in METHODS:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in NETS}
        for seed in seeds:
            data = digits(seed)
            other, _ = trained("ResNet", how, data, seed + 1000, epochs)
            for name, rows in runs.items():
                net, seconds = trained(name, how, data, seed, epochs)
                rows.append(measured(net, other, data, seed) | {"seconds": seconds})
                print(how, seed, name, rows[-1], flush=True)
        rounded = {name: [{key: round(v, 4) for key, v in row.items()} for row in rows] for name, rows in runs.items()}
        results[how] = {"networks": summary(runs), "runs": rounded}
    return results


if __name__ == "__main__":
    begin = time.process_time()
    results = comparison()
    store(
        __file__,
        results,
        depth=DEPTH,
        width=WIDTH,
        batch=BATCH,
        rate=RATE,
        epochs=EPOCHS,
        seeds=list(SEEDS),
        device="cpu",
        seconds=round(time.process_time() - begin),
    )
