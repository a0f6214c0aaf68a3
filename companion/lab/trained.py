r"""u = F_Theta(f): the nets that experiments/learned.py has trained, for the nine tasks f = A u + eta.   Section 5

    build(name, task)        untrained: the classical method with its one number, tuned on the training pictures
    trained(name, "deblur")  with the stored weights

Every entry of NETS says which classical method it is before training, and holds the tuned number for each task:

    ADMM, PDHG       the weight of |W u|_1 (2.5), times the gains of the bands, or of the total variation (3.2)
    diffusions       kappa of g(s) = 1/(1 + s/kappa^2)  (3.3)
    residual net     alpha of its start, min |A u - f|^2/2 + alpha/2 |grad u|^2; none where A = I: the start is f

The weights are of a size-free kind, filters and numbers a layer: learned at n = 128, they act on any n, though the
measurements of MRI and CT then differ.

Paper: Section 5.  Notebook: 14.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn

from companion import (
    ADMM,
    PDHG,
    ConsistentROF,
    Euler,
    FrameGradient,
    FrameletTransform,
    Gradient,
    Halting,
    Identity,
    Interpolation,
    LearnedFrame,
    PeronaMalik,
    Radon,
    Rational,
    RestorationUnit,
    StoppingPolicy,
    analysis,
    bspline,
    condat_kernels,
    learned_diffusion,
    run,
    tikhonov,
    tv,
    unrolled,
)
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


# ---- unrolled solvers -------------------------------------------------------------------------------------------


def example(task: Task) -> Tensor:
    """Data of a grey square, 1/2 everywhere, without noise."""
    f = task.A(torch.full((task.n, task.n), 0.5))
    return task.A.restrict(f) if hasattr(task.A, "restrict") else f


def _admm(task: Task, lam: float) -> nn.Module:
    W = FrameletTransform(bspline(2), 2)
    return unrolled(ADMM(analysis(task.A, example(task), W, W.weights(lam * W.gains))), k=8)


def _admm_frame(task: Task, lam: float) -> nn.Module:
    V = LearnedFrame(FrameletTransform(bspline(2), 2))
    return unrolled(ADMM(analysis(task.A, example(task), V, V.weights(lam * V.gains))), k=8, own_frame=True)


def _pdhg_frame(task: Task, lam: float) -> nn.Module:
    W = FrameletTransform(bspline(2), 2)
    problem = analysis(task.A, example(task), W, W.weights(lam * W.gains))
    return unrolled(PDHG(problem, dualise=True), k=20)


def _pdhg_tv(task: Task, nu: float) -> nn.Module:
    return unrolled(PDHG(tv(task.A, example(task), nu), dualise=isinstance(task.A, Radon)), k=30)


# ---- flows ------------------------------------------------------------------------------------------------------

BANDS = [index for index in itertools.product(range(3), repeat=2) if any(index)]  # of the linear B-splines, not (0, 0)


def _diffusion(task: Task, kappa: float) -> nn.Module:
    grad = FrameGradient(bspline(2), BANDS, 1.0, 2, "reflect", [2.0] * 8)
    return learned_diffusion(PeronaMalik(Rational(kappa), grad), 0.24, k=6, each=True)


class LearnedTV(nn.Module):
    """f -> k steps of PDHG on min nu TV_h(u) + 1/2 |u - f|^2, the kernels of TV_h learned.   (3.2), [31]"""

    def __init__(self, nu: float, k: int = 100):
        super().__init__()
        self.nu, self.k = nu, k
        self.L = Interpolation(condat_kernels())

    def forward(self, f: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return run(PDHG(ConsistentROF(f, self.nu, self.L)), f, k=self.k).u


class MovingEndpoint(nn.Module):
    """f -> u^k, k where the policy stops each picture, at most K: one net for all noise levels.   [175]"""

    def __init__(self, kappa: float, K: int = 15):
        super().__init__()
        self.unit, self.policy = RestorationUnit(Euler(PeronaMalik(Rational(kappa)), 0.2), 24), StoppingPolicy()
        self.K = K

    def forward(self, f: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return run(Halting(self.unit, self.policy), f, k=self.K, until=Halting.done).u


# ---- a residual network -----------------------------------------------------------------------------------------


class Convolutions(nn.Module):
    """F(u) = C_2 relu(C_1 u): two 3 x 3 convolutions with constants, 0 beyond the border."""

    def __init__(self, width: int):
        super().__init__()
        self.C1, self.C2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, u: Float[Tensor, "batch channel H W"]) -> Float[Tensor, "batch channel H W"]:
        return self.C2(torch.relu(self.C1(u)))


class ResidualNet(nn.Module):
    r"""f -> u_0 + C_out run([Euler(F_1, 1), ..., Euler(F_n, 1)], C_in u_0): n residual blocks.   (5.1)

    start  f -> u_0, a linear reconstruction; by default u_0 = f
    width  channels
    n      blocks

    C_in and C_out pass from a picture to its four subpictures of every second pixel, and back, so that the blocks see
    twice as far. C_out = 0 at the start. Raises ValueError for a picture with an odd side.
    """

    def __init__(self, start: Callable[[Tensor], Tensor] | None = None, width: int = 32, n: int = 6):
        super().__init__()
        self.start = nn.Identity() if start is None else start
        self.C_in, self.C_out = nn.Conv2d(4, width, 3, padding=1), nn.Conv2d(width, 4, 3, padding=1)
        self.blocks = nn.ModuleList(Euler(Convolutions(width), 1.0) for _ in range(n))
        nn.init.zeros_(self.C_out.weight)
        nn.init.zeros_(self.C_out.bias)

    def forward(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        u0 = self.start(f)
        if u0.shape[-1] % 2 or u0.shape[-2] % 2:
            raise ValueError(
                f"The residual net sees every second pixel: a picture needs even sides; got {tuple(u0.shape[-2:])}. "
                "Cut or repeat a line."
            )
        u = nnf.pixel_unshuffle(u0.reshape(-1, 1, *u0.shape[-2:]), 2)
        theta = self.C_in.weight  # pictures of another type than the weights pass through theirs
        change = self.C_out(run(self.blocks, self.C_in(u.to(theta))).u)
        return u0 + nnf.pixel_shuffle(change, 2).reshape(u0.shape).to(u0)


class Smooth(nn.Module):
    r"""f -> (A^T A + alpha D^T D)^{-1} A^T f, D the gradient on a torus, without derivative.   Section 1"""

    def __init__(self, task: Task, alpha: float):
        super().__init__()
        self.A, self.alpha, self.D = task.A, alpha, Gradient(boundary="periodic")

    @torch.no_grad()
    def forward(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return tikhonov(self.A, f, self.alpha, self.D).minimiser(tol=1e-4)


def _residual(task: Task, alpha: float) -> nn.Module:
    return ResidualNet(Smooth(task, alpha) if alpha else None)


# ---- the table --------------------------------------------------------------------------------------------------

SIGMAS = ("denoise .05", "denoise .1", "denoise .2")
INVERSE = ("deblur", "inpaint", "MRI 4x", "MRI 8x")
CT = ("CT 60", "CT 20")


def _each(names: tuple[str, ...], *numbers: float) -> dict[str, float]:
    return dict(zip(names, numbers, strict=True))


NETS: dict[str, Net] = {
    "ADMM": Net(
        _admm,
        _each((*SIGMAS, *INVERSE), 0.05, 0.1, 0.2, 0.002, 0.01, 0.01, 0.01),
        "analysis model (2.5), 8 steps of ADMM",
        "thresholds of every band and rho, a set for each of 8 layers",
    ),
    "ADMM, learned frame": Net(
        _admm_frame,
        _each((*SIGMAS, *INVERSE), 0.05, 0.1, 0.2, 0.002, 0.01, 0.01, 0.01),
        "analysis model (2.5), 8 steps of ADMM",
        "thresholds, rho and the filters of a tight frame, a set for each of 8 layers",
    ),
    "PDHG, frame": Net(
        _pdhg_frame,
        _each(CT, 0.005, 0.005),
        "analysis model (2.5), 20 steps of PDHG",
        "thresholds of every band and tau, a set for each of 20 layers",
    ),
    "PDHG, TV": Net(
        _pdhg_tv,
        _each((*SIGMAS, *INVERSE, *CT), 0.03, 0.07, 0.15, 0.001, 0.005, 0.005, 0.005, 0.001, 0.001),
        "total variation (3.2), 30 steps of PDHG",
        "weight and tau, a pair for each of 30 layers",
    ),
    "learned diffusion": Net(
        _diffusion,
        _each(SIGMAS, 0.05, 0.1, 0.2),
        "Perona-Malik in the bands of the linear B-splines (3.3), 6 steps",
        "eight filters and eight diffusivities, a set for each of 6 steps",
    ),
    "learned TV": Net(
        lambda task, nu: LearnedTV(nu),
        _each(SIGMAS[1:2], 0.07),
        "Condat's total variation (3.2), 100 steps of PDHG",
        "the three pairs of kernels that say where |p| <= 1 is asked",
    ),
    "moving endpoint": Net(
        lambda task, kappa: MovingEndpoint(kappa),
        _each(SIGMAS, 0.1, 0.1, 0.1),
        "Perona-Malik (3.3), stopped by Morozov's principle",
        "one step for all levels of noise, and when to stop",
        blind=True,
    ),
    "residual net": Net(
        _residual,
        _each((*SIGMAS, *INVERSE, *CT), 0, 0, 0, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
        "a linear start: f itself, or Tikhonov's",
        "all convolutions of six residual blocks",
    ),
    "residual net, blind": Net(
        _residual,
        _each(SIGMAS, 0, 0, 0),
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

    Raises ValueError for a net or a task that is not in NETS, FileNotFoundError with the command that makes the weights.
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
    return Path(__file__).resolve().parents[2] / "experiments" / "weights" / f"{slug}.pt"


def _net(name: str, task_name: str) -> Net:
    if name not in NETS:
        raise ValueError(f"The nets are {', '.join(map(repr, NETS))}; got {name!r}.")
    if task_name not in NETS[name].numbers:
        raise ValueError(f"The net {name!r} is trained for {', '.join(NETS[name].tasks)}; got {task_name!r}.")
    return NETS[name]
