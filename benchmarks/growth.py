"""log time against log pixels: a slope of 1 is linear. 256^2 to 4096^2, 64^3 to 256^3. And memory against depth.

No peers: the calls of frames.py and diffusion.py, and PDHG on ROF, at growing sizes; report.py fits the slopes to the
minima. The two gradients that undo their steps are there with 14 and 50 layers, 16 and 256 steps; their limit is the
gradient with all steps stored, and their memory is what is asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import diffusion, frames
from benchmarks.harness import Call, Case, Size, Task
from companion import PDHG, ROF, DenseField, Euler, Gradient, NeuralODE, PeronaMalik, Rational, revnet, run

PLANE: tuple[Size, ...] = tuple((n, n) for n in (256, 512, 1024, 2048, 4096))
SPACE: tuple[Size, ...] = tuple((n, n, n) for n in (64, 128, 256))


def alone(make: Callable[..., Case]) -> Callable[..., Case]:
    """The case without its peers."""

    def single(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        case = make(size, dtype, device)
        case.peers = {}
        return case

    return single


def steps(kind: str, k: int = 10) -> Callable[..., Case]:
    """k steps of a map on white noise: of Perona and Malik's equation, or of PDHG on ROF."""

    def make(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        u = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)
        grad = Gradient(dim=len(size))
        if kind == "PDHG":
            step: Any = PDHG(ROF(u, 0.1, grad=grad))
        else:
            step = Euler(PeronaMalik(Rational(0.05), grad).to(device), 0.5 / len(size) / 2)
        return Case(lambda: run(step, u, k=k).u, u.numel() * u.element_size(), moves=lambda: k)

    return make


def gradient(map: Callable[[Tensor], Tensor], net: nn.Module, u: Tensor) -> Call:
    """The gradient of |map(u)|^2 in the weights of the net."""
    theta = list(net.parameters())

    def call() -> Tensor:
        with torch.enable_grad():
            g = torch.autograd.grad(map(u).square().mean(), theta)
        return torch.cat([x.flatten() for x in g])

    return call


def reversible(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    """RevNet with `size[0]` layers on 128 pictures."""
    nets = []
    for recompute in (True, False):
        torch.manual_seed(0)
        nets.append(revnet(size[0], recompute=recompute, width=16).to(device, dtype))
    u = torch.rand(128, 3, 32, 32, dtype=dtype, generator=torch.Generator().manual_seed(0)).to(device)
    undone, stored = (gradient(net, net, u) for net in nets)
    return Case(undone, limit=stored, limit_name="the gradient with all steps stored", tolerance=1e-3)


def adjoint(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    """The adjoint ODE of `size[0]` steps of Euler."""
    torch.manual_seed(0)
    F = DenseField(64, 64).to(device, dtype)
    ode, u = NeuralODE(F, n=size[0], scheme=Euler), torch.randn(32768, 64, dtype=dtype).to(device)
    limit = gradient(ode, F, u)
    return Case(gradient(ode.adjoint, F, u), limit=limit, limit_name="the gradient with all steps stored")


TASKS = [
    Task("growth: W, Haar, 1 level", alone(frames.analysis(1, 1)), PLANE, PLANE[:3]),
    Task("growth: W^T, Haar, 1 level", alone(frames.synthesis(1, 1)), PLANE),
    Task("growth: W^T S W, Haar, 1 level", alone(frames.shrinkage(1)), PLANE),
    Task("growth: Perona-Malik, 10 steps", alone(partial(diffusion.perona_malik, k=10)), PLANE),
    Task("growth: PDHG on ROF, 10 steps", steps("PDHG"), PLANE),
    Task("growth: W in space, Haar, 1 level", alone(frames.analysis(1, 1)), SPACE),
    Task("growth: W^T in space, Haar, 1 level", alone(frames.synthesis(1, 1)), SPACE),
    Task("growth: Perona-Malik in space, 10 steps", steps("Perona-Malik"), SPACE),
    Task("growth: PDHG in space on ROF, 10 steps", steps("PDHG"), SPACE),
    Task("memory: RevNet, a gradient", reversible, ((14,), (50,)), ((14,),)),
    Task("memory: adjoint ODE, a gradient", adjoint, ((16,), (256,)), ((4,),)),
]
