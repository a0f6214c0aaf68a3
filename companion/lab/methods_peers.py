r"""Methods from outside the course as lines of the leaderboard: scikit-image's, and BM3D where it is installed.

Each treats one picture at a time, by the weight that the same search chooses. BM3D (pip install bm3d) is no part of the
course: its licence allows non-commercial use only. What acts on pictures follows the linear start where A is not I.

Paper: Section 1.  Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion import Identity, LinearOperator
from companion.lab.methods_start import start

Picture = Any  # a numpy array, float64


def each(f: Tensor, restore: Callable[[Picture], Picture]) -> Tensor:
    """restore(f), one picture or one set of data after the other."""
    space = f.shape[-2:]
    u = [torch.from_numpy(np.ascontiguousarray(restore(g))) for g in f.double().reshape(-1, *space).numpy()]
    return torch.stack(u).reshape(*f.shape[:-2], *u[0].shape).to(f.dtype)


def chambolle(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """scikit-image's total variation, after the linear start; weight in units of sigma, at most 200 steps."""
    from skimage.restoration import denoise_tv_chambolle

    return each(
        start(f, A, sigma), lambda v: denoise_tv_chambolle(v, weight=weight * sigma, eps=1e-5, max_num_iter=200)
    )


def wavelets(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """scikit-image's orthogonal wavelets, db2, BayesShrink for noise of weight sigma, after the linear start."""
    from skimage.restoration import denoise_wavelet

    options: Any = {"wavelet": "db2", "method": "BayesShrink", "mode": "soft", "rescale_sigma": False}
    return each(start(f, A, sigma), lambda v: denoise_wavelet(v, sigma=weight * sigma, **options))


def cycled(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """The mean of the same over 4 x 4 shifts of the picture (cycle spinning)."""
    from skimage.restoration import denoise_wavelet

    options: Any = {"wavelet": "db2", "method": "BayesShrink", "mode": "soft", "rescale_sigma": False}

    def restore(v: Picture) -> Picture:
        shifts = [(i, j) for i in range(4) for j in range(4)]
        moved = (
            np.roll(denoise_wavelet(np.roll(v, s, (0, 1)), sigma=weight * sigma, **options), (-s[0], -s[1]), (0, 1))
            for s in shifts
        )
        return sum(moved) / len(shifts)

    return each(start(f, A, sigma), restore)


def non_local(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """scikit-image's non-local means, patches 5 x 5 within 13 x 13, h = weight sigma, after the linear start."""
    from skimage.restoration import denoise_nl_means

    known = sigma if isinstance(A, Identity) else 0.0
    options: Any = {"patch_size": 5, "patch_distance": 6, "sigma": known, "fast_mode": True}
    return each(start(f, A, sigma), lambda v: denoise_nl_means(v, h=weight * sigma, **options))


def bilateral(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """scikit-image's bilateral filter, deviation 1.5 pixels in space, weight sigma in grey value."""
    from skimage.restoration import denoise_bilateral

    options: Any = {"sigma_spatial": 1.5, "win_size": 9, "mode": "reflect"}
    return each(f, lambda v: denoise_bilateral(v.clip(0), sigma_color=weight * sigma, **options))


def bm3d(f: Tensor, A: LinearOperator, sigma: float, weight: float) -> Tensor:
    """BM3D for noise of deviation weight sigma, after the linear start."""
    from bm3d import bm3d as restore

    return each(start(f, A, sigma), lambda v: restore(v, weight * sigma))


def wiener(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """scikit-image's unsupervised Wiener filter, which finds its own weight."""
    from skimage.restoration import unsupervised_wiener

    return each(f, lambda v: unsupervised_wiener(v, A.kernel.double().numpy(), rng=0, clip=False)[0])


def richardson_lucy(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """scikit-image's Richardson-Lucy iteration, weight (rounded) steps."""
    from skimage.restoration import richardson_lucy as lucy

    steps = max(1, round(weight))
    return each(f, lambda v: lucy(v.clip(1e-6), A.kernel.double().numpy(), num_iter=steps, clip=False))


def biharmonic(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """scikit-image's biharmonic continuation of the known pixels."""
    from skimage.restoration import inpaint_biharmonic

    return each(f, lambda v: inpaint_biharmonic(v, ~A.m.bool().numpy()))


def sart(f: Tensor, A: Any, sigma: float, weight: float) -> Tensor:
    """scikit-image's simultaneous algebraic reconstruction, weight (rounded) sweeps, relaxation 0.15."""
    from scipy.interpolate import CubicSpline
    from skimage.transform import iradon_sart

    def restore(rows: Picture) -> Picture:
        at = lambda t: A.s.numpy() + (np.cos(t) - np.sin(t) - 1) * A.h / 2 * (A.n % 2 == 0)  # noqa: E731
        moved = [
            CubicSpline(A.s.numpy(), row)(at(t)) for t, row in zip(np.deg2rad(A.angles.numpy()), rows, strict=True)
        ]
        g = np.array(moved).T / A.h
        u: Picture = None
        for _ in range(max(1, round(weight))):
            u = iradon_sart(g, A.angles.numpy(), image=u)
        low = (g.shape[0] - A.n) // 2
        return u[low : low + A.n, low : low + A.n]

    return each(f, restore)


def has_bm3d() -> bool:
    """Whether the package bm3d is installed."""
    return find_spec("bm3d") is not None
