r"""max over a fixed number of the mean PSNR on training pictures: what the leaderboard's methods hold fixed.   (1.1)

    python experiments/choices.py          about ten minutes on one core

A line of the leaderboard has one weight, searched on the training pictures; whatever else is in it was fixed before.
The first table made with those numbers suggested other ones for the blur, for CT and for (4.7), after the held-out
scores had been seen. So here they are compared again, each with its weight searched anew, on the training pictures
alone, and results/choices.json says which is best there:

    mu of (4.7)       0.1, 0.3, 0.9 times 1/|A|^2
    start of the blur f, and (A^T A + c sigma I)^{-1} A^T f for c = 0.3, 1, 3
    start for CT      A^T f / |A|^2, and Tikhonov's picture, for (2.5) and (3.2)
    steps for CT      120 and 240 of PDHG, for (3.2)
    steps of TGV      240, 480, 960 of PDHG, for MRI

Notebook: 14.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor

from companion.lab import methods_models as models
from companion.lab import photos
from companion.lab.leaderboard import CHOSEN_ON, FACTOR, Method
from companion.lab.methods import methods
from companion.lab.quality import best_weight, psnr
from companion.lab.results import store
from companion.lab.tasks import Task, tasks

SHARES = (0.1, 0.3, 0.9)


def chosen(method: Method, task: Task, span: tuple[float, float] | None) -> float:
    """The mean PSNR on the training pictures, at the best weight; nothing held out is looked at."""
    u = torch.stack(list(photos.training(task.n, CHOSEN_ON).values()))
    f = task.data(u, seed=0)

    def score(weight: float) -> float:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a solver that takes all its steps, on purpose
            v = method(f.clone(), task.A, task.sigma, weight).clamp(0, 1)
        return sum(psnr(a, b) for a, b in zip(v, u, strict=True)) / len(u)

    return round(score(1.0) if span is None else best_weight(score, *span, FACTOR)[1], 2)


def plain(method: Method) -> Method:
    """The method started from A^T f / |A|^2."""

    def started(f: Tensor, A: models.LinearOperator, sigma: float, weight: float) -> Tensor:
        with patch.object(models, "first", lambda f, A, sigma: A.adjoint(f) / A.norm(A.adjoint(f)) ** 2):
            return method(f, A, sigma, weight)

    return started


def regularised(c: float) -> Method:
    return lambda f, A, sigma, weight: A.normal_solve(A.adjoint(f), c * sigma)


def options() -> dict[str, dict[str, dict[str, Callable[[], float]]]]:
    """{what is chosen: {task: {option: its score}}}."""
    all_tasks = tasks()

    def score(task: str, name: str, method: Method) -> Callable[[], float]:
        return lambda: chosen(method, all_tasks[task], methods(all_tasks[task], nets=False)[name].span)

    shares = {
        f"{share:g}": lambda f, A, sigma, weight, share=share: models.accelerated(f, A, sigma, weight, share)
        for share in SHARES
    }
    accelerated = "accelerated shrinkage (4.7)"
    blurred = {"f": lambda f, A, sigma, weight: f} | {f"{c:g}": regularised(c) for c in (0.3, 1.0, 3.0)}
    steps = {
        str(120 * k): lambda f, A, sigma, weight, k=k: models.total_variation(f, A, sigma, weight, k) for k in (1, 2)
    }
    started = {"TV (3.2)": models.total_variation, "analysis (2.5)": models.by_analysis}
    found: dict[str, dict[str, dict[str, Callable[[], float]]]] = {
        "mu of (4.7)": {
            t: {o: score(t, accelerated, m) for o, m in shares.items()} for t in ("deblur", "MRI 4x", "MRI 8x", "CT 60")
        },
        "start of the blur": {"deblur": {o: score("deblur", "linear start", m) for o, m in blurred.items()}},
        "steps for CT": {t: {o: score(t, "TV (3.2)", m) for o, m in steps.items()} for t in ("CT 60", "CT 20")},
    }
    found["steps of TGV"] = {
        t: {
            str(120 * k): score(t, "TGV", lambda f, A, sigma, weight, k=k: models.generalised(f, A, sigma, weight, k))
            for k in (2, 4, 8)
        }
        for t in ("MRI 4x", "MRI 8x")
    }
    for name, method in started.items():
        found[f"start for CT, {name}"] = {
            t: {"A^T f": score(t, name, plain(method)), "Tikhonov": score(t, name, method)} for t in ("CT 60", "CT 20")
        }
    return found


def main() -> None:
    torch.set_num_threads(1)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for what, by_task in options().items():
        results[what] = {}
        for task, by_option in by_task.items():
            results[what][task] = {option: value() for option, value in by_option.items()}
            print(f"{what:28} {task:8} {results[what][task]}", flush=True)
            store(__file__, results, chosen_on=list(CHOSEN_ON), factor=FACTOR)


if __name__ == "__main__":
    main()
