r"""u = F_Theta(f): the nets that experiments/learned.py has trained, for the nine tasks f = A u + eta.   Section 5

    build(name, task)        untrained: the classical method with its one number, tuned on the training pictures
    trained(name, "deblur")  with the stored weights
    edge_kernels()           those of [31] that experiments/tv_kernels.py has learned from straight edges

Every entry of NETS says which classical method it is before training, and holds the tuned number for each task:

    ADMM, PDHG       the weight of |W u|_1 (2.5), times the gains of the bands, or of the total variation (3.2)
    diffusions       kappa of g(s) = 1/(1 + s/kappa^2)  (3.3)
    residual net     alpha of its start, min |A u - f|^2/2 + alpha/2 |grad u|^2; 0 where A = I: the start is f

Unrolled solvers begin there, too. The weights are filters and numbers, of no size: learned at n = 128, they act on any
n, though the measurements of MRI and CT are others then.

Paper: Section 5.  Notebook: 14.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from companion import (
    ADMM,
    PDHG,
    FrameGradient,
    FrameletTransform,
    Identity,
    Interpolation,
    LearnedFrame,
    PeronaMalik,
    Problem,
    Radon,
    Rational,
    analysis,
    bspline,
    condat_kernels,
    learned_diffusion,
    tv,
    unrolled,
)
from companion.lab.restorers import From, LearnedTV, MovingEndpoint, ResidualNet, Smooth
from companion.lab.tasks import Task, tasks


@dataclass(frozen=True)
class Net:
    """make(task, number): the net before training; numbers: {task: its number}; blind: one set of weights for all."""

    make: Callable[[Task, float], nn.Module]
    numbers: dict[str, float]
    twin: str
    what: str
    blind: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks it is trained for."""
        return tuple(self.numbers)


WEIGHTS = Path(__file__).resolve().parents[2] / "experiments" / "weights"

# ---- unrolled solvers -------------------------------------------------------------------------------------------


def example(task: Task) -> Tensor:
    """Data of a grey square, 1/2 everywhere, without noise."""
    f = task.A(torch.full((task.n, task.n), 0.5, dtype=torch.float64))
    return task.A.restrict(f) if hasattr(task.A, "restrict") else f


def start(task: Task) -> nn.Module:
    """Where the iterations of a task begin: f if A = I, else Tikhonov's picture with the tuned alpha."""
    return nn.Identity() if isinstance(task.A, Identity) else Smooth(task, ALPHA[task.name])


def _admm(task: Task, lam: float) -> nn.Module:
    W = FrameletTransform(bspline(2), 2)
    step = ADMM(analysis(task.A, example(task), W, W.weights(lam * W.gains)))
    return From(unrolled(step, k=8), start(task))


def _admm_frame(task: Task, lam: float) -> nn.Module:
    V = LearnedFrame(FrameletTransform(bspline(2), 2))
    step = ADMM(analysis(task.A, example(task), V, V.weights(lam * V.gains)))
    return From(unrolled(step, k=8, own_frame=True), start(task))


def _pdhg_frame(task: Task, lam: float) -> nn.Module:
    W = FrameletTransform(bspline(2), 2)
    return From(unrolled(_pdhg(analysis(task.A, example(task), W, W.weights(lam * W.gains))), k=10), start(task))


def _pdhg_tv(task: Task, nu: float) -> nn.Module:
    return From(unrolled(_pdhg(tv(task.A, example(task), nu)), k=10), start(task))


def _pdhg(problem: Problem) -> PDHG:
    """PDHG; for a Radon transform without inner solves, and tau a fifth of the default, which suits a good start."""
    if not isinstance(problem.E.A, Radon):
        return PDHG(problem)
    return PDHG(problem, float(PDHG(problem, dualise=True).tau) / 5, dualise=True)


# ---- flows ------------------------------------------------------------------------------------------------------

BANDS = [index for index in itertools.product(range(3), repeat=2) if any(index)]  # of the linear B-splines, not (0, 0)


def _diffusion(task: Task, kappa: float) -> nn.Module:
    grad = FrameGradient(bspline(2), BANDS, 1.0, 2, "reflect", [2.0] * 8)
    return learned_diffusion(PeronaMalik(Rational(kappa), grad), 0.24, k=6, each=True)


# ---- a residual network -----------------------------------------------------------------------------------------


def _residual(task: Task, alpha: float) -> nn.Module:
    return ResidualNet(Smooth(task, alpha) if alpha else nn.Identity())


# ---- the table --------------------------------------------------------------------------------------------------

SIGMAS = ("denoise .05", "denoise .1", "denoise .2")
INVERSE = ("deblur", "inpaint", "MRI 4x", "MRI 8x")
CT = ("CT 60", "CT 20")
ALPHA = {"deblur": 0.0093, "inpaint": 0.011, "MRI 4x": 0.0072, "MRI 8x": 0.0072, "CT 60": 0.0027, "CT 20": 0.0027}


def _each(names: tuple[str, ...], *numbers: float) -> dict[str, float]:
    return dict(zip(names, numbers, strict=True))


NETS: dict[str, Net] = {
    "ADMM": Net(
        _admm,
        _each((*SIGMAS, *INVERSE), 0.057, 0.13, 0.283, 0.0012, 0.027, 0.0095, 0.023),
        "analysis model (2.5), 8 steps of ADMM",
        "thresholds of every band and rho, a set for each of 8 layers",
    ),
    "ADMM, learned frame": Net(
        _admm_frame,
        _each((*SIGMAS, *INVERSE), 0.057, 0.13, 0.283, 0.0012, 0.027, 0.0095, 0.023),
        "analysis model (2.5), 8 steps of ADMM",
        "thresholds, rho and the filters of a tight frame, a set for each of 8 layers",
    ),
    "PDHG, frame": Net(
        _pdhg_frame,
        _each(CT, 0.00078, 0.00027),
        "analysis model (2.5), 10 steps of PDHG",
        "thresholds of every band and tau, a set for each of 10 layers",
    ),
    "PDHG, TV": Net(
        _pdhg_tv,
        _each((*SIGMAS, *INVERSE, *CT), 0.038, 0.123, 0.485, 0.00074, 0.0044, 0.006, 0.0101, 0.00035, 0.00075),
        "total variation (3.2), 10 steps of PDHG",
        "weight and tau, a pair for each of 10 layers",
    ),
    "learned diffusion": Net(
        _diffusion,
        _each(SIGMAS, 0.021, 0.045, 0.106),
        "Perona-Malik in the bands of the linear B-splines (3.3), 6 steps",
        "eight filters and eight diffusivities, a set for each of 6 steps",
    ),
    "learned TV": Net(
        lambda task, nu: LearnedTV(nu),
        _each(SIGMAS[1:2], 0.076),
        "Condat's total variation (3.2), 100 steps of PDHG",
        "the three pairs of kernels that say where |p| <= 1 is asked",
    ),
    "moving endpoint": Net(
        lambda task, kappa: MovingEndpoint(kappa),
        _each(SIGMAS, 0.075, 0.075, 0.075),
        "Perona-Malik (3.3), stopped by Morozov's principle",
        "one step for all levels of noise, and when to stop",
        blind=True,
    ),
    "residual net": Net(
        _residual,
        {**_each(SIGMAS, 0.0, 0.0, 0.0), **ALPHA},
        "a linear start: f itself, or Tikhonov's",
        "all convolutions of six residual blocks",
    ),
    "residual net, blind": Net(
        _residual,
        _each(SIGMAS, 0.0, 0.0, 0.0),
        "f itself",
        "all convolutions of six residual blocks, one set for all levels of noise",
        blind=True,
    ),
}


def build(name: str, task: Task) -> nn.Module:
    """The net before training: its classical twin, with the number tuned on the training pictures."""
    return _net(name, task.name).make(task, NETS[name].numbers[task.name])


def trained(name: str, task_name: str, n: int = 128) -> nn.Module:
    r"""f -> u, batches in front, with the stored weights, for pictures n x n.

    Raises ValueError for a net or a task that is not in NETS, FileNotFoundError, with the command that makes them,
    where there are no weights.
    """
    file = weights(name, task_name)
    if not file.exists():
        raise FileNotFoundError(
            f"The net '{name}' for '{task_name}' has no weights yet. Make them: "
            f'python experiments/learned.py "{name}" "{task_name}"'
        )
    with torch.random.fork_rng(devices=[]):  # a residual net draws its first weights
        net = build(name, tasks(n)[task_name])
    load(net, torch.load(file, weights_only=True)["parameters"])
    return net.requires_grad_(False)


def edge_kernels(boundary: str = "reflect") -> Interpolation:
    """The kernels of experiments/tv_kernels.py, learned from straight edges and not from pictures.   [31]"""
    file = WEIGHTS / "tv-kernels.pt"
    if not file.exists():
        raise FileNotFoundError(
            "The kernels learned from edges have no weights. Make them: python experiments/tv_kernels.py"
        )
    L = Interpolation(condat_kernels(), boundary=boundary)
    load(L, torch.load(file, weights_only=True)["parameters"])
    return L.requires_grad_(False)


def load(net: nn.Module, parameters: dict[str, Tensor]) -> None:
    """Put stored parameters into a net. Raises ValueError unless they are the net's, name by name."""
    own = dict(net.named_parameters())
    if wrong := sorted(own.keys() ^ parameters.keys()):
        raise ValueError(f"The stored weights are those of another net: {', '.join(wrong[:4])} is in one of them only.")
    with torch.no_grad():
        for key, theta in own.items():
            theta.copy_(parameters[key])


def weights(name: str, task_name: str) -> Path:
    """experiments/weights/{net}_{task}.pt, "blind" for the task where one net serves all."""
    slug = re.sub(r"[^a-z0-9._]+", "-", f"{name}_{'blind' if _net(name, task_name).blind else task_name}".lower())
    return WEIGHTS / f"{slug}.pt"


def _net(name: str, task_name: str) -> Net:
    if name not in NETS:
        raise ValueError(f"The nets are {', '.join(map(repr, NETS))}; got {name!r}.")
    if task_name not in NETS[name].numbers:
        raise ValueError(f"The net {name!r} is trained for {', '.join(NETS[name].tasks)}; got {task_name!r}.")
    return NETS[name]
