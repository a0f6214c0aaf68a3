r"""YOPO against PGD: full passes, seconds, accuracy and robust accuracy, on digits.   Section 5.1, [171]

    digits    a net of three convolutions, eps = 0.1 in [0, 1]; every seed has its own split, weights and attacks
    by depth  seconds of one batch of residual nets with 1, ..., 8 blocks, a step of training by each method
    full      --scale full: a pre-activation ResNet on shapes and textures with the settings of [171], for CUDA cards:
              torchrun --nproc-per-node 2 experiments/adversarial.py --scale full

Accuracy is that on the test pictures, robust accuracy that under PGD-20 with two random starts and the step eps/10.
The learning rate, 0.1, and the weight decay, 5e-4, are those for the mean of a method's gradients: where m are added
up, the rate is divided by m and the decay multiplied. Three rates are tried on 237 pictures held back from other
splits. 0.1 is the largest at which every net learns; at 0.2 some, by PGD and by YOPO, never leave the guess of one
class for all. Equal epochs: all methods see the data equally often; PGD-2 and PGD-4, with steps of eps, have the full
passes a batch of YOPO-3-3 and YOPO-5-3. Equal passes: as many full passes, forwards and backwards, as PGD-10 or
YOPO-3-3 has used. Seconds are of processor time on one thread.

The first layer of every net is a convolution and a ReLU. Were it the convolution alone, an affine map, the gradient of
<p_1, G_0(x + eta)> would not depend on eta, and YOPO's n steps would be one of n lengths.

    make experiments            # or: python experiments/adversarial.py     about 7 minutes on one core

writes experiments/results/adversarial.json. The full scale has not been run by the authors: "full" is null until it is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from companion import YOPO, Euler, ODENet, PGDTraining, PlainTraining, count_passes, resnet, robust_accuracy
from companion.lab import store, stored
from companion.lab.datasets import digits
from companion.lab.parallel import join
from companion.lab.robust import robust_train
from companion.lab.textures import shapes_and_textures

EPS, BATCH, EPOCHS = 0.1, 120, 15  # 1437 = 11 120 + 117: no small last batch
SEEDS, TRIALS = range(6), (100, 101, 102)
RATE, RATES, DECAY = 0.1, (0.05, 0.1, 0.2), 5e-4  # for the mean of a method's gradients
Method = Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]]
METHODS: dict[str, tuple[Method, int]] = {  # name: the method for a net, and how many gradients it adds up
    "plain": (PlainTraining, 1),
    "PGD-10": (lambda net: PGDTraining(net, EPS, EPS / 4, 10), 1),
    "YOPO-3-3": (lambda net: YOPO(net, EPS, EPS / 3, 3, 3), 3),
    "PGD-2": (lambda net: PGDTraining(net, EPS, EPS, 2), 1),
    "YOPO-5-3": (lambda net: YOPO(net, EPS, EPS / 4, 5, 3), 5),
    "PGD-4": (lambda net: PGDTraining(net, EPS, EPS, 4), 1),
}


def small_net() -> ODENet:
    """Three convolutions with ReLU and a linear map, as a list of maps."""
    return ODENet(
        [
            nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(512, 10)),
        ]
    )


def deep_net(blocks: int, width: int = 16) -> ODENet:
    """A convolution with ReLU, u + F(u) `blocks` times, a linear map."""
    conv = lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))  # noqa: E731
    steps = [Euler(nn.Sequential(conv(), conv()), 1.0) for _ in range(blocks)]
    head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 10))
    return ODENet([nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU()), *steps, head])


def train(name: str, data: Sequence[Tensor], rate: float, epochs: int, seed: int) -> dict[str, float]:
    """One training of the small net from its seed, and what it is worth."""
    make, gradients = METHODS[name]
    torch.manual_seed(seed)
    net = small_net()
    rate, decay = rate / gradients, gradients * DECAY
    cost = robust_train(
        net, data, make(net), epochs=epochs, batch=BATCH, lr=rate, weight_decay=decay, seed=seed, device="cpu"
    )
    net.eval()
    attack = torch.Generator().manual_seed(seed)
    x, y = data[2], data[3]
    with torch.no_grad():
        accuracy = float((net(x).argmax(1) == y).double().mean())
    return {
        "accuracy": accuracy,
        "robust": robust_accuracy(net, x, y, EPS, EPS / 10, 20, restarts=2, generator=attack),
        **cost._asdict(),
    }


def by_rate(name: str, epochs: int) -> dict[str, list[float]]:
    """{rate: robust accuracy, or accuracy for a plain training, of each trial}: on pictures held back from the training
    parts of other splits.
    """
    measure, found = "accuracy" if name == "plain" else "robust", {}
    for rate in RATES:
        found[str(rate)] = []
        for seed in TRIALS:
            x, y, _, _ = digits(seed)
            held = (x[:1200], y[:1200], x[1200:], y[1200:])
            found[str(rate)].append(round(train(name, held, rate, epochs, seed)[measure], 4))
    print(name, found, flush=True)
    return found


def summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds; the passes are the same for all."""
    values = {key: [run[key] for run in runs] for key in ("accuracy", "robust", "seconds")}
    row: dict[str, Any] = {"passes": int(runs[0]["passes"]), "first": int(runs[0]["first"])}
    for key, column in values.items():
        row[key] = round(statistics.mean(column), 4)
        row[f"{key} deviation"] = round(statistics.stdev(column), 4) if len(column) > 1 else None
    return row | {"robust, each": [round(value, 4) for value in values["robust"]]}


def comparison(seeds: Sequence[int] = SEEDS, epochs: int = EPOCHS) -> dict[str, Any]:
    """Equal epochs, then PGD-10 with the passes of YOPO-3-3, and YOPO-3-3 with those of PGD-10."""

    def row(name: str, length: int) -> dict[str, Any]:
        found = summary([train(name, digits(seed), RATE, length, seed) for seed in seeds])
        print(name, length, found, flush=True)
        return {"epochs": length} | found

    few, many = max(1, round(epochs * 3 / 11)), round(epochs * 11 / 3)
    return {
        "equal epochs": {name: row(name, epochs) for name in METHODS},
        "equal passes": {
            f"PGD-10, {few} epochs": row("PGD-10", few),
            f"YOPO-3-3, {many} epochs": row("YOPO-3-3", many),
        },
        "by rate, held back": {name: by_rate(name, epochs) for name in METHODS},
    }


def by_depth(blocks: Sequence[int] = (1, 2, 4, 8), repeats: int = 7) -> dict[str, Any]:
    """Seconds of one batch, the least of some. Let a layer cost 1 forwards, 1 backwards to its input, 1 to its weights:
    PGD-k asks for the weights in its last pass only, YOPO in each. The ratio for a deep net is 3m / (2k + 3).
    """
    data = digits(0)
    x, y = data.x[:BATCH], data.y[:BATCH]
    table: dict[str, Any] = {}
    for B in blocks:
        torch.manual_seed(0)
        net = deep_net(B)
        for name, (make, _) in METHODS.items():
            method = make(net)
            with count_passes(net) as calls:
                method(x, y)
            times = []
            for _ in range(repeats):
                begin = time.process_time()
                method(x, y)
                times.append(time.process_time() - begin)
            row = {"seconds": round(min(times), 4), "passes": calls[-1], "first": calls[0]}
            table.setdefault(name, {})[str(B)] = row
        for row in (table[name][str(B)] for name in METHODS):
            row["of PGD-10"] = round(row["seconds"] / table["PGD-10"][str(B)]["seconds"], 3)
        print(B, {name: table[name][str(B)] for name in METHODS}, flush=True)
    return table


def full(
    n: int = 50_000, n_test: int = 10_000, depth: int = 20, width: int = 32, shrink: float = 1.0
) -> dict[str, Any]:
    """The settings of [171] for CIFAR-10, on shapes and textures in [0, 1]; `shrink` shortens all epochs."""
    team, place = join(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    eps, step = 8 / 255, 2 / 255
    split = shapes_and_textures(n, n_test)
    x, x_test = ((part + 0.5).clamp(0, 1) for part in (split.x, split.x_test))
    plans: dict[str, tuple[Method, float, int, tuple[float, ...]]] = {
        "PGD-10": (lambda net: PGDTraining(net, eps, step, 10), 0.05, 105, (75 / 105, 90 / 105, 100 / 105)),
        "YOPO-5-3": (lambda net: YOPO(net, eps, step, 5, 3, first=2), 0.04, 36, (30 / 36, 34 / 36)),
    }
    table = {}
    for name, (make, lr, epochs, milestones) in plans.items():
        torch.manual_seed(0)
        net = resnet(depth, width=width)
        length = max(1, round(epochs * shrink))
        cost = robust_train(
            net, (x, split.y), make(net), epochs=length, batch=256, lr=lr, milestones=milestones, device=place
        )
        net.eval()
        u, y = x_test.to(place), split.y_test.to(place)
        robust = robust_accuracy(net, u, y, eps, step / 2, 20)
        plain = robust_accuracy(net, u, y, eps, step, 0, restarts=0)
        table[name] = {"accuracy": round(plain, 4), "robust": round(robust, 4), "epochs": length, **cost._asdict()}
        if team.first:
            print(name, table[name], flush=True)
    name = torch.cuda.get_device_name(0) if place.type == "cuda" else "cpu"
    return {"methods": table, "device": name, "processes": team.size, "pictures": n, "layers": depth, "width": width}


def main(arguments: Sequence[str] | None = None) -> None:
    """Small or full; what the other one has stored stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    scale = parser.parse_args(arguments).scale
    try:
        results = stored("adversarial")
    except FileNotFoundError:
        results = {"digits": None, "by depth": None, "full": None}
    about = results.pop("about", {})
    if scale == "full":
        results["full"] = full()
    else:
        torch.set_num_threads(1)
        begin = time.process_time()
        results |= {"digits": comparison(), "by depth": by_depth()}
        about = {
            "eps": EPS,
            "rate": RATE,
            "batch": BATCH,
            "seeds": len(SEEDS),
            "seconds in all": round(time.process_time() - begin),
        }
    if results["full"] is None:
        about["full scale"] = "not run: it is meant for CUDA cards"
    else:
        about.pop("full scale", None)
    if int(os.environ.get("RANK", "0")) == 0:
        store(__file__, results, **about)


if __name__ == "__main__":
    main()
