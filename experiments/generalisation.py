r"""F_Theta(f), f of another kind than it was learned from: other noise, other pictures; fewer pictures, other seeds.

    python experiments/generalisation.py                 all parts; what is stored is kept
    python experiments/generalisation.py noise stopping  these parts anew

All nets are those of `denoise .1`, trained by experiments/learned.py or by its procedure on fewer pictures. The results
are in results/learned.json, under "generalisation":

    noise      sigma from 0.03 to 0.25: the net as it is; rescaled, c F(f/c) with c = sigma/0.1, what its model's own
               scaling asks for (a threshold lam becomes c lam); its twin with the number times c; the blind nets
    stopping   of the moving endpoint, for each sigma: PSNR at every step, where policy, Morozov and oracle stop
    classes    trained on textures, on photographs, on all: scored on each class, a phantom, an MR slice
    size       trained on 1, 3, 10 pictures
    seeds      three seeds, of the crops, the noise and the first weights

Notebook: 14.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from learned import SEED, errors, keep, known, learn, mean, orbit, score, setting
from torch import Tensor, nn

from companion import Identity, noise_level
from companion.lab.images import mr_slice, phantom
from companion.lab.photos import TRAINING, held_out, training
from companion.lab.tasks import Task, tasks
from companion.lab.trained import NETS, build, trained

TASK = "denoise .1"
LEVELS = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)
NOISE = ("ADMM", "ADMM, learned frame", "PDHG, TV", "learned diffusion", "residual net")
PAIR = ("ADMM, learned frame", "residual net")  # few parameters, and many
TEXTURES, PHOTOGRAPHS = ("brick", "grass", "gravel"), ("coffee", "chelsea", "astronaut", "rocket")
SETS = {"textures": TEXTURES, "photographs": PHOTOGRAPHS, "all": TRAINING}
SIZES = {"1": ("coffee",), "3": ("coffee", "grass", "retina"), "10": TRAINING}
SEEDS = (SEED, SEED + 1, SEED + 2)


def fitted(name: str, names: Sequence[str] = TRAINING, seed: int = SEED) -> nn.Module:
    """The net for TASK, trained on these pictures with this seed; the stored one where it is that."""
    if tuple(names) == TRAINING and seed == SEED:
        return trained(name, TASK)
    task = tasks()[TASK]
    torch.manual_seed(seed)
    net = build(name, task)
    learn(net, name, task, setting(name, TASK), seed, names)
    return net


def white(sigma: float) -> Task:
    return Task("denoise", Identity(), sigma, 128)


def held(net: Callable[[Tensor], Tensor], sigma: float = 0.1) -> float:
    """Mean PSNR on the held-out pictures."""
    return mean(score(net, white(sigma), held_out(), 1))


def missing(part: str, name: str, keys: Sequence[Any]) -> list[Any]:
    """Those of the keys that are not stored yet."""
    there = known().get("generalisation", {}).get(part, {}).get(name, {})
    return [key for key in keys if str(key) not in there]


def put(part: str, name: str, key: Any, row: Any) -> None:
    """Into results/learned.json, generalisation / part / name / key."""
    rows = known().get("generalisation", {}).get(part, {})
    rows.setdefault(name, {})[str(key)] = row
    keep("generalisation", part, name, rows[name])
    print(part, name, key, row, flush=True)


# ---- the parts --------------------------------------------------------------------------------------------------


def noise() -> None:
    """Levels of noise that were not trained."""
    for name in NOISE:
        net = trained(name, TASK)
        twin, number = NETS[name].make, NETS[name].numbers[TASK]
        for sigma in missing("noise", name, LEVELS):
            c = sigma / 0.1
            row = {"as it is": held(net, sigma), "rescaled": held(lambda f, net=net, c=c: c * net(f / c), sigma)}
            if number:
                row["twin"] = held(twin(tasks()[TASK], c * number), sigma)
            put("noise", name, sigma, row)
    for name in ("moving endpoint", "residual net, blind"):
        for sigma in missing("noise", name, LEVELS):
            put("noise", name, sigma, {"as it is": held(trained(name, TASK), sigma)})


def stopping() -> None:
    """Where three rules stop the moving endpoint, and the PSNR at every step."""
    net: Any = trained("moving endpoint", TASK)
    for sigma in missing("stopping", "moving endpoint", LEVELS):
        row = {}
        for half, seed, pictures in (("training", 0, training()), ("held out", 1, held_out())):
            u = torch.stack(list(pictures.values()))
            f = torch.stack([white(sigma).data(v, seed) for v in u])
            with torch.no_grad():
                states = orbit(net.unit, f, net.K)
                z = torch.stack([net.policy.logit(x) for x in states])
                value = -10 * errors([x._replace(u=x.u.clamp(0, 1)) for x in states], u).log10()
            size = torch.stack([(x.u - f).square().mean((-2, -1)) for x in states])
            row[half] = {
                "by step": [round(float(v), 3) for v in value.mean(1)],
                "policy": stopped(value, z > 0),
                "Morozov": stopped(value, size >= noise_level(f) ** 2),
                "oracle": stopped(value, value == value[1:].amax(0)),
            }
        put("stopping", "moving endpoint", sigma, row)


def stopped(value: Tensor, stop: Tensor) -> dict[str, Any]:
    """Mean PSNR, and the step of each picture, if it ends at the first k >= 1 with stop[k], or at the last."""
    stop = stop.clone()
    stop[-1] = True
    k = stop[1:].int().argmax(0) + 1
    return {"psnr": round(float(value.gather(0, k[None]).mean()), 3), "steps": k.tolist()}


def classes() -> None:
    """Trained on one class, scored on another."""
    seen = training()
    held_pictures = {
        "textures": {n: seen[n] for n in TEXTURES},
        "photographs": {n: seen[n] for n in PHOTOGRAPHS},
        "held-out photographs": held_out(names=("camera", "coins", "moon", "motorcycle")),
        "text": held_out(names=("page", "text")),
        "silhouette": held_out(names=("horse",)),
        "phantom": {"phantom": phantom(128).float()},
        "MR slice": {"MR slice": mr_slice(128).float()},
    }
    for name in PAIR:
        for key in missing("classes", name, list(SETS)):
            net = fitted(name, SETS[key])
            put("classes", name, key, {c: mean(score(net, white(0.1), p, 1)) for c, p in held_pictures.items()})
    for key in missing("classes", "twin", ["ADMM"]):
        net = build("ADMM", tasks()[TASK])
        put("classes", "twin", key, {c: mean(score(net, white(0.1), p, 1)) for c, p in held_pictures.items()})


def size() -> None:
    """Trained on few pictures."""
    for name in PAIR:
        for key in missing("size", name, list(SIZES)):
            net = fitted(name, SIZES[key])
            known_pictures = training(names=SIZES[key])
            put("size", name, key, {"seen": mean(score(net, white(0.1), known_pictures, 0)), "held out": held(net)})


def seeds() -> None:
    """Trained anew."""
    for name in PAIR:
        for seed in missing("seeds", name, SEEDS):
            put("seeds", name, seed, held(fitted(name, seed=seed)))


PARTS = {"noise": noise, "stopping": stopping, "size": size, "classes": classes, "seeds": seeds}


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    for part, measure in PARTS.items():
        if part in words:
            for name in known().get("generalisation", {}).get(part, {}):
                keep("generalisation", part, name, {})
        if not words or part in words:
            measure()


if __name__ == "__main__":
    main(sys.argv[1:])
