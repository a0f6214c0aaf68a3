"""u + dt div(g(|grad u|^2) grad u), a hundred times; and edge-enhancing diffusion.   (3.3)

    numpy   the formula with slices, each intermediate an array: how it is usually written
    torch   the same in torch
    medpy   anisotropic_diffusion: g of each difference alone, g(|d_i u|^2), in place of g(|grad u|^2): less work. On a
            picture that varies along one axis both are one scheme, and there the results are compared

OpenCV's and ITK's anisotropic diffusions discretise other equations. The limit is a copy of the picture for each step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Call, Case, Peer, Size, Task, difference
from benchmarks.readable import readable
from companion import EdgeEnhancing, Euler, FastDecay, PeronaMalik, Rational, run
from companion.lab.images import camera

STEPS, DT, CONTRAST = 100, 0.2, 0.05


def photograph(size: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The photograph, repeated or cut to the size, with noise of deviation 0.05."""
    rows, columns = size
    u = camera(512).repeat(math.ceil(rows / 512), math.ceil(columns / 512))[:rows, :columns]
    noise = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (u.double() + 0.05 * noise).to(dtype).to(device)


def step(u: Any, zeros: Callable[[Any], Any]) -> Any:
    """One explicit step with slices, for arrays of numpy and of torch."""
    right, down = zeros(u), zeros(u)
    right[:, :-1] = u[:, 1:] - u[:, :-1]
    down[:-1] = u[1:] - u[:-1]
    g = 1 / (1 + (right * right + down * down) / CONTRAST**2)
    right, down = g * right, g * down
    change = right + down
    change[:, 1:] -= right[:, :-1]
    change[1:] -= down[:-1]
    return u + DT * change


def loop(u: Any, zeros: Callable[[Any], Any], k: int) -> Call:
    def steps() -> Any:
        v = u
        for _ in range(k):
            v = step(v, zeros)
        return v

    return steps


def perona_malik(size: Size, dtype: torch.dtype, device: torch.device, k: int = STEPS) -> Case:
    u = photograph(size, dtype, device)
    F = PeronaMalik(Rational(CONTRAST)).to(device)

    def ours(start: Tensor = u) -> Tensor:
        return run(Euler(F, DT), start, k=k).u

    def medpy() -> Call:
        from medpy.filter.smoothing import anisotropic_diffusion

        options = {"niter": k, "kappa": CONTRAST, "gamma": DT, "option": 2}
        stripes = u[:64, :1].expand(64, 64).contiguous()
        far = difference(ours(stripes), anisotropic_diffusion(stripes.numpy(), **options))
        if far > 1e-4:
            raise ValueError(f"another scheme on stripes, {far:.1e} away")
        picture = u.numpy()
        return lambda: anisotropic_diffusion(picture, **options)

    peers = {"torch": Peer(lambda: loop(u, torch.zeros_like, k))} | readable(ours)
    if device.type == "cpu":
        peers["numpy"] = Peer(lambda: loop(u.numpy(), np.zeros_like, k))
        note = "its own g(|d_i u|^2), compared on stripes"
        peers["medpy"] = Peer(medpy, "medpy", apart=lambda ours, theirs: 0.0, note=note)
    # float32: rounding is amplified where the flow is backwards
    return Case(ours, u.numel() * u.element_size(), peers, tolerance=1e-3, moves=lambda: k)


def edge_enhancing(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    u = photograph(size, dtype, device)
    F = EdgeEnhancing(FastDecay(CONTRAST), sigma=1.0).to(device)

    def ours() -> Tensor:
        return run(Euler(F, F.max_dt), u, k=20).u

    return Case(ours, u.numel() * u.element_size(), readable(ours), tolerance=1e-3, moves=lambda: 20)


TASKS = [
    Task("Perona-Malik, 100 steps", perona_malik, ((512, 512), (2048, 2048)), ((256, 256),)),
    Task("edge-enhancing diffusion, 20 steps", edge_enhancing, ((512, 512),), ((128, 128),)),
]
