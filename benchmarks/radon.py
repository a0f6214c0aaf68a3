"""A u and A^T f for 180 angles.   (1.1)

    scikit-image  radon (circle=False) and iradon (filter_name=None): it interpolates where A integrates over strips, so
                  results agree to the discretisation: 5 % for A u at its own positions, 5 % of the angle for A^T f
    astra         its strip model, which is ours; the convention of its angles is found by trying. Its float32 areas are
                  4e-4 of the largest value off at 512 x 512, near the axes, 3e-5 in the median over the angles, where
                  ours are 5e-7 off float64: compared to 1e-3, where another convention is 0.3 away

Our own adjoint is checked first: <A u, f> = <u, A^T f>. The limit is a copy of the larger one of picture and sinogram,
which says little here: the sparse matrix, many times as large, is read too.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Call, Case, Peer, Size, Task, difference
from companion import Radon

ANGLES, AREAS = 180, "compared to 1e-3, its areas being rounded near the axes"


def setting(size: Size, dtype: torch.dtype, device: torch.device) -> tuple[Radon, Tensor, Tensor]:
    """A, a smooth picture inside the disc, and its data. Raises ValueError where A^T is not the adjoint."""
    n = size[0]
    A = Radon(n, ANGLES)
    x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / (n / 2)
    r2 = x[:, None].square() + x.square()
    u = torch.exp(-8 * ((x[:, None] - 0.2).square() + 2 * (x + 0.1).square())) * (0.9 - r2).clamp_min(0)
    u = u.to(dtype).to(device)
    f = A(u)
    noise = torch.randn(f.shape, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)
    left, right = (f.double() * noise.double()).sum(), (u.double() * A.T(noise).double()).sum()
    if abs(float(left - right)) > 1e-5 * float(f.double().norm() * noise.double().norm()):
        raise ValueError(f"<A u, f> = {float(left):g} and <u, A^T f> = {float(right):g} are not one number.")
    return A, u, f


def projection(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    A, u, f = setting(size, dtype, device)

    def skimage() -> Call:
        from skimage.transform import radon

        picture, theta = u.cpu().numpy(), A.angles.numpy()
        return lambda: radon(picture, theta, circle=False)

    def at_their_places(ours: Tensor, theirs: np.ndarray) -> float:
        """Our rows, interpolated where theirs are: they turn about the centre of pixel (n//2, n//2)."""
        centre = (len(theirs) - 1) // 2 if len(theirs) % 2 else len(theirs) // 2
        places = (np.arange(len(theirs)) - centre) * A.h
        rows = []
        for row, degrees in zip(ours.cpu().double().numpy(), A.angles.tolist(), strict=True):
            turn = math.radians(degrees)
            shift = 0.0 if A.n % 2 else (math.cos(turn) - math.sin(turn)) * A.h / 2
            rows.append(np.interp(places + shift, A.s.numpy(), row))
        return difference(np.stack(rows, 1), A.h * theirs)

    peers = {}
    if device.type == "cpu":
        note = "interpolates where A integrates"
        peers["scikit-image"] = Peer(skimage, "skimage", apart=lambda a, b: 2e-3 * at_their_places(a, b), note=note)
        peers["astra"] = Peer(
            lambda: astra(A, u, f)[0], "astra", apart=lambda a, b: difference(a, A.h * b) / 10, note=AREAS
        )
    larger = max(u.numel(), f.numel()) * u.element_size()
    # of 1e-4 allowed, scikit-image's 5 % counts 2e-3 fold
    return Case(lambda: A(u), larger, peers, tolerance=1e-4)


def back_projection(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    A, u, f = setting(size, dtype, device)

    def skimage() -> Call:
        from skimage.transform import iradon

        data, theta = np.ascontiguousarray(f.cpu().numpy().T), A.angles.numpy()
        return lambda: iradon(data, theta, A.n, filter_name=None, circle=False)

    def angle(ours: Tensor, theirs: np.ndarray) -> float:
        """1 - cosine of two pictures, inside the inscribed disc."""
        x = np.linspace(-1, 1, A.n)
        inside = x[:, None] ** 2 + x**2 < 0.8
        a, b = ours.cpu().double().numpy()[inside], np.asarray(theirs, dtype=float)[inside]
        return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    peers = {}
    if device.type == "cpu":
        note = "interpolates where A integrates"
        peers["scikit-image"] = Peer(skimage, "skimage", apart=lambda a, b: 2e-3 * angle(a, b), note=note)
        peers["astra"] = Peer(
            lambda: astra(A, u, f)[1], "astra", apart=lambda a, b: difference(a, A.h * b) / 10, note=AREAS
        )
    larger = max(u.numel(), f.numel()) * u.element_size()
    return Case(lambda: A.T(f), larger, peers, tolerance=1e-4)


def astra(A: Radon, u: Tensor, f: Tensor) -> tuple[Call, Call]:
    """(projection, back projection) by ASTRA's strips of width 1 on pixels of side 1: ours over h.

    Raises ValueError where no convention of angles and detectors gives our data.
    """
    import astra as toolbox

    picture, volume = u.numpy(), toolbox.create_vol_geom(A.n, A.n)
    for sign, turn in itertools.product((1, -1), (0, math.pi / 2, math.pi, -math.pi / 2)):
        theta = sign * np.deg2rad(A.angles.numpy()) + turn
        scan = toolbox.create_proj_geom("parallel", 1.0, A.detectors, theta)
        projector = toolbox.create_projector("strip", scan, volume)

        def forward(projector: Any = projector) -> np.ndarray:
            name, data = toolbox.create_sino(picture, projector)
            toolbox.data2d.delete(name)
            return data

        if difference(f, A.h * forward()) < 1e-3:
            data = f.numpy()

            def backward(projector: Any = projector, data: np.ndarray = data) -> np.ndarray:
                name, result = toolbox.create_backprojection(data, projector)
                toolbox.data2d.delete(name)
                return result

            return forward, backward
    raise ValueError("no convention of its angles gives our data")


TASKS = [
    Task("Radon, 180 angles", projection, ((512, 512),), ((64, 64),)),
    Task("Radon's adjoint, 180 angles", back_projection, ((512, 512),), ((64, 64),)),
]
