r"""u_0 = start(f), u = u_0 + what is learned: the modules that the nets of trained.py are made of.   Section 5

    Smooth          (A^T A + alpha D^T D)^{-1} A^T f, a linear start
    From            an unrolled solver that begins there
    LearnedTV       PDHG on ConsistentROF, with learned kernels                        (3.2), [31]
    MovingEndpoint  a RestorationUnit, and a StoppingPolicy for each picture           [175]
    ResidualNet     Euler steps with small convolutions                                (5.1)

Paper: (3.2), (5.1), Section 5.1.  Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn

from companion import (
    PDHG,
    ConsistentROF,
    Euler,
    Gradient,
    Halting,
    Interpolation,
    PeronaMalik,
    Rational,
    RestorationUnit,
    StoppingPolicy,
    Unrolled,
    condat_kernels,
    run,
    tikhonov,
)
from companion.lab.tasks import Task


class Smooth(nn.Module):
    r"""f -> (A^T A + alpha D^T D)^{-1} A^T f, D the gradient on a torus, without derivative.   Section 1"""

    def __init__(self, task: Task, alpha: float):
        super().__init__()
        self.A, self.alpha, self.D = task.A, alpha, Gradient(boundary="periodic")

    @torch.no_grad()
    def forward(self, f: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return tikhonov(self.A, f, self.alpha, self.D).minimiser(tol=1e-4)


class From(Unrolled):
    """run(layers, start(f)).u: an unrolled solver that begins at start(f) and not at A^T f."""

    def __init__(self, net: Unrolled, start: nn.Module):
        super().__init__([*net.maps])
        self.start = start

    @contextmanager
    def _measured(self, f: Tensor) -> Iterator[Tensor]:
        with super()._measured(f):
            yield self.start(f)


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
        g = f.to(next(self.parameters()))  # a picture of another type than the weights passes through theirs
        return run(Halting(self.unit, self.policy), g, k=self.K, until=Halting.done).u.to(f)


class Convolutions(nn.Module):
    """F(u) = C_2 relu(C_1 u): two 3 x 3 convolutions with constants, 0 beyond the border."""

    def __init__(self, width: int):
        super().__init__()
        self.C1, self.C2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, u: Float[Tensor, "batch channel H W"]) -> Float[Tensor, "batch channel H W"]:
        return self.C2(torch.relu(self.C1(u)))


class ResidualNet(nn.Module):
    r"""f -> u_0 + C_out run([Euler(F_1, 1), ..., Euler(F_n, 1)], C_in u_0): n residual blocks.   (5.1)

    start  f -> u_0, a linear reconstruction
    width  channels
    n      blocks

    C_in and C_out pass from a picture to its four subpictures of every second pixel, and back, so that the blocks see
    twice as far. C_out = 0 at the start. Raises ValueError for a picture with an odd side.
    """

    def __init__(self, start: nn.Module, width: int = 32, n: int = 6):
        super().__init__()
        self.start = start
        self.C_in, self.C_out = nn.Conv2d(4, width, 3, padding=1), nn.Conv2d(width, 4, 3, padding=1)
        self.blocks = nn.ModuleList(Euler(Convolutions(width), 1.0) for _ in range(n))
        for theta in self.C_out.parameters():
            nn.init.zeros_(theta)

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
