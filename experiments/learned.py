r"""theta <- Adam on mean 10 log_10 |F_theta(f) - u|^2: the nets of lab/trained.py, on the training photographs alone.

    python experiments/learned.py                          all of them; an hour of one core
    python experiments/learned.py "ADMM" "denoise .1"      these nets, these tasks; what is stored is kept
    python experiments/learned.py --again ...              ... or trained anew
    python experiments/learned.py policy                   when the stored moving endpoint stops, anew
    python experiments/learned.py tune                     the classical numbers in NETS, by golden-section search

One procedure for all: crops of the ten training photographs at five sizes, turned and mirrored; the loss is minus the
mean PSNR, by which the classical numbers are tuned, too; Adam, with a rate that falls to 0 along a cosine; the weights
of the last step. The held-out pictures are scored before and after, and enter nothing. Steps, rate, batch and crop are
in SETTINGS; crops of 128 where A belongs to that size. What is stored: the weights in experiments/weights, and
results/learned.json with the settings and what was measured.

Notebook: 14.
"""

from __future__ import annotations

import fcntl
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import companion
from companion import Observed, stop_loss
from companion.lab.photos import TRAINING, held_out, training
from companion.lab.quality import best_weight, psnr
from companion.lab.results import store, stored
from companion.lab.tasks import Task, tasks
from companion.lab.trained import CT, INVERSE, NETS, SIGMAS, MovingEndpoint, build, load, weights

SEED = 0
ALL_TASKS = (*SIGMAS, *INVERSE, *CT)
SIZES = (128, 160, 200, 256, 300)
LEVELS = (0.05, 0.1, 0.15, 0.2)  # of the blind nets
SETTINGS: dict[str, dict] = {  # rate: {part of the parameter's name: rate}, the first that fits
    "ADMM": {"steps": 150, "batch": 4, "crop": 64, "rate": {"": 0.15}},
    "ADMM, learned frame": {"steps": 150, "batch": 4, "crop": 64, "rate": {"skew": 0.03, "": 0.15}},
    "PDHG, frame": {"steps": 100, "batch": 4, "crop": 64, "rate": {"": 0.1}},
    "PDHG, TV": {"steps": 150, "batch": 4, "crop": 64, "rate": {"": 0.1}},
    "learned diffusion": {"steps": 500, "batch": 8, "crop": 64, "rate": {"": 0.02}},
    "learned TV": {"steps": 60, "batch": 8, "crop": 32, "rate": {"": 0.01}},
    "moving endpoint": {"steps": 4000, "batch": 8, "crop": 48, "rate": {"": 0.002}, "clip": 1.0},
    "residual net": {"steps": 700, "batch": 8, "crop": 64, "rate": {"": 0.002}},
    "residual net, blind": {"steps": 700, "batch": 8, "crop": 64, "rate": {"": 0.002}},
}
POLICY = {"orbits": 96, "steps": 1200, "batch": 4, "crop": 128, "rate": 0.01}
ORBIT = 10  # steps of the moving endpoint that are trained


# ---- data -------------------------------------------------------------------------------------------------------


class Crops:
    """Squares of the training photographs, at all sizes, turned and mirrored: batch after batch."""

    def __init__(self, side: int, batch: int, seed: int, names: Sequence[str] = TRAINING):
        self.pictures = [list(training(n, names).values()) for n in SIZES]
        self.side, self.batch = side, batch
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self) -> Tensor:
        return torch.stack([self._one() for _ in range(self.batch)])

    def _one(self) -> Tensor:
        pick = lambda n: int(torch.randint(n, (), generator=self.random))  # noqa: E731
        group = self.pictures[pick(len(self.pictures))]
        u = group[pick(len(group))]
        i, j = (pick(u.shape[0] - self.side + 1) for _ in range(2))
        u = torch.rot90(u[i : i + self.side, j : j + self.side], pick(4))
        return u.flip(-1) if pick(2) else u

    def noisy(self, u: Tensor, levels: Sequence[float]) -> Tensor:
        """u and noise, of another level for each picture."""
        s = torch.tensor(levels)[torch.randint(len(levels), (len(u), 1, 1), generator=self.random)]
        return u + s * torch.randn(u.shape, generator=self.random)


def score(net: Callable[[Tensor], Tensor], task: Task, pictures: dict[str, Tensor], seed: int) -> dict[str, float]:
    """{picture: PSNR}, each alone, clamped to [0, 1]."""
    with torch.no_grad():
        return {name: round(psnr(net(task.data(u, seed)).clamp(0, 1), u), 3) for name, u in pictures.items()}


def mean(values: dict[str, float]) -> float:
    return round(sum(values.values()) / len(values), 3)


# ---- training ---------------------------------------------------------------------------------------------------


def setting(name: str, task_name: str) -> dict:
    """What a training is made with."""
    s = SETTINGS[name] | ({"policy": POLICY} if name == "moving endpoint" else {})
    if not task_name.startswith("denoise"):
        s |= {"batch": s["batch"] // 4, "crop": 128}
        s["steps"] //= 2 if name == "residual net" else 1
    return s


def fit(
    net: nn.Module, loss: Callable[[int], Tensor], steps: int, rate: dict[str, float], clip: float = math.inf
) -> list[float]:
    """Adam, the rate falling to 0 along a cosine; the mean loss of each twentieth of the steps."""
    groups: dict[float, list[Tensor]] = {}
    for key, theta in net.named_parameters():
        groups.setdefault(next(r for part, r in rate.items() if part in key), []).append(theta)
    opt = torch.optim.Adam([{"params": group, "lr": r} for r, group in groups.items()])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    losses = []
    for k in range(steps):
        opt.zero_grad()
        value = loss(k)
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        opt.step()
        schedule.step()
        losses.append(value.item())
        if k % 50 == 0:
            print(f"    {k:5} {value.item():.3f}", flush=True)
    part = max(1, steps // 20)
    return [float(f"{sum(losses[i : i + part]) / len(losses[i : i + part]):.4g}") for i in range(0, steps, part)]


def decibels(v: Tensor, u: Tensor) -> Tensor:
    """Minus the mean PSNR, but for 1e-5, which a flat crop without error needs: what the nets are scored by."""
    return 10 * ((v - u).square().mean((-2, -1)) + 1e-5).log10().mean()


def learn(net: nn.Module, name: str, task: Task, s: dict, seed: int, names: Sequence[str] = TRAINING) -> list[float]:
    """Train a net in place; its losses."""
    crops = Crops(s["crop"], s["batch"], seed, names)
    if isinstance(net, MovingEndpoint):
        return learn_endpoint(net, crops, s, seed)

    def loss(k: int) -> Tensor:
        u = crops()
        f = crops.noisy(u, LEVELS) if NETS[name].blind else task.data(u, seed=10_000 * (seed + 1) + k)
        return decibels(net(f), u)

    return fit(net, loss, s["steps"], s["rate"])


def orbit(unit: nn.Module, f: Tensor, k: int) -> list[Observed]:
    """The states 0, ..., k of the restoration."""
    states = [unit.start(f)]
    for _ in range(k):
        states.append(unit(states[-1]))
    return states


def errors(states: list[Observed], u: Tensor) -> Tensor:
    """mean |u^k - u|^2, for each step and picture."""
    return torch.stack([(x.u - u).square().mean((-2, -1)) for x in states])


def learn_endpoint(net: MovingEndpoint, crops: Crops, s: dict, seed: int) -> list[float]:
    """First the unit, by the least error along its orbit; then the policy, by what going on is worth there."""

    def restore(k: int) -> Tensor:
        u = crops()
        l = errors(orbit(net.unit, crops.noisy(u, LEVELS), ORBIT), u)
        return (l[1:].amin(0) + 0.1 * l.mean(0)).log().mean()

    losses = fit(net.unit, restore, s["steps"], s["rate"], s["clip"])
    return losses + learn_policy(net, Crops(POLICY["crop"], POLICY["batch"], seed + 1))


def learn_policy(net: MovingEndpoint, crops: Crops) -> list[float]:
    """Some orbits of the unit, and on them where to stop."""
    orbits = []
    for _ in range(POLICY["orbits"]):
        u = crops()
        with torch.no_grad():
            states = orbit(net.unit, crops.noisy(u, LEVELS), net.K)
        orbits.append((states, 10 * errors(states, u).log10()))
    loss = lambda k: stop_loss(net.policy, *orbits[k % len(orbits)])  # noqa: E731
    return fit(net.policy, loss, POLICY["steps"], {"": POLICY["rate"]})


def policy() -> None:
    """The second half of learn_endpoint, on the unit that is stored: as both halves give it."""
    name, task_name = "moving endpoint", SIGMAS[0]
    task, row, file = tasks()[task_name], known()["nets"][name]["blind"], weights(name, task_name)
    torch.manual_seed(SEED)
    net = build(name, task)
    load(net.unit, {k[5:]: v for k, v in torch.load(file)["parameters"].items() if k.startswith("unit.")})
    begin = time.process_time()
    losses = learn_policy(net, Crops(POLICY["crop"], POLICY["batch"], SEED + 1))
    row["seconds"] = round(row["seconds"] + time.process_time() - begin, 1)
    row |= {"settings": setting(name, task_name), "loss": row["loss"][:20] + losses, "versions": versions()}
    row["after"] = measured(name, net, NETS[name].tasks, tasks())
    keep("nets", name, "blind", row)
    save(net, file, row["settings"], SEED)
    print({t: (a["training"], a["held out"]) for t, a in row["after"].items()})


def measured(name: str, net: nn.Module, names: Sequence[str], all_tasks: dict[str, Task]) -> dict:
    """Mean PSNR on the training pictures and on each held-out one, for the tasks named."""
    rows = {}
    for task_name in names:
        task, apart = all_tasks[task_name], {}
        apart["training"] = mean(score(net, task, training(), 0))
        pictures = score(net, task, held_out(), 1)
        rows[task_name] = apart | {"held out": mean(pictures), "pictures": pictures}
    return rows


def make(name: str, task_name: str, all_tasks: dict[str, Task]) -> None:
    """Train one net for one task, or for all where it is blind; store it."""
    task, s = all_tasks[task_name], setting(name, task_name)
    scored = NETS[name].tasks if NETS[name].blind else (task_name,)
    torch.manual_seed(SEED)
    net = build(name, task)
    before = measured(name, net, scored, all_tasks)
    begin = time.process_time()
    losses = learn(net, name, task, s, SEED)
    seconds = time.process_time() - begin
    row = {
        **{"settings": s, "seed": SEED, "parameters": sum(p.numel() for p in net.parameters())},
        **{"seconds": round(seconds, 1), "loss": losses},
        **{"before": before, "after": measured(name, net, scored, all_tasks), "versions": versions()},
    }
    keep("nets", name, "blind" if NETS[name].blind else task_name, row)
    save(net, weights(name, task_name), s, SEED)
    for t in scored:
        a, b = before[t], row["after"][t]
        print(
            f"{name:20} {t:12} training {a['training']:.2f} -> {b['training']:.2f}, held out "
            f"{a['held out']:.2f} -> {b['held out']:.2f}, {seconds:.0f} s",
            flush=True,
        )


# ---- storing ----------------------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    return {"torch": torch.__version__.split("+")[0], "companion": companion.__version__}


def save(net: nn.Module, path: Path, s: dict, seed: int) -> None:
    """The parameters by name, for load(weights_only=True)."""
    path.parent.mkdir(exist_ok=True)
    parameters = {key: theta.detach().clone() for key, theta in net.named_parameters()}
    part = path.with_name(path.name + ".part")
    torch.save({"parameters": parameters, "settings": s, "seed": seed, "versions": versions()}, part)
    os.replace(part, path)


def known() -> dict:
    """What results/learned.json holds."""
    try:
        return {key: value for key, value in stored("learned").items() if key != "about"}
    except FileNotFoundError:
        return {}


def keep(part: str, name: str, key: str, row: dict | float) -> None:
    """Put one row into results/learned.json; two runs of this script do so one after the other."""
    with open(__file__) as this:
        fcntl.flock(this, fcntl.LOCK_EX)
        results = known()
        results.setdefault(part, {}).setdefault(name, {})[key] = row
        store(__file__, results, **{"sizes of the pictures": list(SIZES), "levels of the blind nets": list(LEVELS)})


def tune(names: Sequence[str]) -> None:
    """Print the numbers of NETS: the best mean PSNR of the untrained nets on the training pictures."""
    all_tasks, pictures = tasks(), training()
    for name, net in NETS.items():
        if name == "ADMM, learned frame":  # whose twin is that of "ADMM"
            continue
        for task_name in net.tasks:
            task, guess = all_tasks[task_name], net.numbers[task_name]
            if not guess or not fits(name, task_name, names):
                continue
            at = lambda w, task=task, net=net: mean(score(net.make(task, w), task, pictures, 0))  # noqa: E731
            best, value = best_weight(at, guess / 4, 4 * guess, 1.15)
            print(f"{name:20} {task_name:12} {best:.3g}  {value:.2f}", flush=True)


def fits(name: str, task_name: str, words: Sequence[str]) -> bool:
    """Whether the words of the command name this net and this task; no net is all nets, no task all tasks."""
    chosen_nets, chosen_tasks = [w for w in words if w in NETS], [w for w in words if w in ALL_TASKS]
    return (not chosen_nets or name in chosen_nets) and (not chosen_tasks or task_name in chosen_tasks)


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    if words[:1] == ["tune"]:
        return tune(words[1:])
    if words == ["policy"]:
        return policy()
    again, chosen = "--again" in words, [w for w in words if w != "--again"]
    all_tasks = tasks()
    for name, net in NETS.items():
        for task_name in net.tasks[:1] if net.blind else net.tasks:
            if fits(name, task_name, chosen) and (again or not weights(name, task_name).exists()):
                make(name, task_name, all_tasks)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
