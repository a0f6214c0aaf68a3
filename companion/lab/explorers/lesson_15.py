r"""Lesson 15, beyond pictures: a set found in noise, and a slice of a head denoised with its neighbours.

Notebook: 15.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from companion import PDHG, FrameletTransform, GaussianNoise, Problem, RicianNoise, run, segmentation, tv_segmentation
from companion.lab.beyond import frame, length_model
from companion.lab.explorers.drawing import Answer
from companion.lab.raster import beside, enlarged, pixels
from companion.lab.segment import Known, dice, islands, outlined, vessel_tree
from companion.lab.volumes import head, mr_scans, psnr_in


def _greys(u: Tensor) -> np.ndarray:
    """Pixels in 18 greys: noise in all of them would make a film strip large."""
    return pixels(u) // 15 * 15


# ---- two regions ----

MEANS, STEPS = (0.7, 0.3), 30
KINDS = {"islands": islands, "vessels": vessel_tree}


def cut(
    picture: str = "vessels", length: str = "TV", noise: float = 0.15, lam: float = 0.05, s: float = 0.5, n: int = 96
) -> Answer:
    """Left the noisy picture, in the middle u after 30 steps of PDHG with the true means 0.7 and 0.3, right the edge of
    {u > s} in red on the clean picture.

    picture  islands or vessels
    length   TV; Haar's coefficients entry by entry, (2.5); their Euclidean lengths, (4.2)
    noise    its deviation
    lam      what a unit of length costs
    s        where u is cut
    """
    f, truth = _clean(picture, n)
    problem = _problem(_noisy(picture, n, noise), length, lam)
    with torch.no_grad():
        u = run(PDHG(problem), _noisy(picture, n, noise).round().clamp(0, 1), k=STEPS).u
        S = u > s
        energy = float(problem(S.to(u.dtype)))
    picture_ = beside(_greys(_noisy(picture, n, noise)), _greys(u), outlined(f, S))
    between = ((u > 0.05) & (u < 0.95)).double().mean()
    facts = {"Dice": f"{dice(S, truth):.3f}", "energy of the set": f"{energy:.1f}", "grey": f"{100 * between:.1f} %"}
    return enlarged(picture_, 2), facts


def _problem(f: Tensor, length: str, lam: float) -> Problem:
    c = torch.tensor(MEANS)
    if length == "TV":
        return tv_segmentation(f, c, lam)
    W = frame(1)
    return segmentation(f, c, W, W.weights(lam).to(f)) if length == "Haar, (2.5)" else length_model(f, c, lam, W)


@functools.lru_cache(maxsize=4)
def _clean(picture: str, n: int) -> Known:
    return KINDS[picture](n, seed=2)


@functools.lru_cache(maxsize=4)
def _noisy(picture: str, n: int, noise: float) -> Tensor:
    return GaussianNoise(noise, 2)(_clean(picture, n).f.float())


# ---- a slice among its neighbours ----

SIGMA = 0.1  # of the Rician noise
SHOWN = slice(4, 92), slice(20, 108)  # where the head is


def sliced(z: int = 15, times: float = 1.4, levels: str = "3-D", error: bool = False) -> Answer:
    """One slice of the head: with Rician noise of deviation 0.1; shrunk once by the linear frame and cleared of the
    noise's bias; and the mean of two scans, which serves as the truth. What is around
    the head is left out. error: the difference in place of the truth.

    z       the slice, 2, ..., 21
    times   the threshold, in deviations of the noise in each band
    levels  the frame of the slice alone, 2-D, or of the volume, 3-D
    """
    W, d, size = _analysed(z, 3 if levels == "3-D" else 2)
    ref, f, mask, before = _slice(z)
    bound = W.weights(times * SIGMA * W.gains).to(d)
    near = slice(1, 4) if d.ndim == 4 else ...  # of the five slices those that W^T of one level brings into the third
    v = W.T(d[:, near].sign() * (size[:, near] - bound).clamp_min(0))
    u = _unbiased(v[1] if v.ndim == 3 else v, mask)
    right = pixels(mask * (u - ref), -0.3, 0.3, "PuOr") if error else _greys(ref)
    facts = {
        "PSNR in the head": f"{psnr_in(u, ref, mask):.2f} dB",
        "before": f"{before:.2f} dB",
        "details kept": f"{100 * int((size > bound)[1:].count_nonzero()) / d[1:].numel():.1f} %",
    }
    return enlarged(beside(_greys(mask * f)[SHOWN], _greys(u)[SHOWN], right[SHOWN]), 2), facts


def _unbiased(v: Tensor, mask: Tensor) -> Tensor:
    """The picture cleared of the bias of Rician noise, 0 outside the mask."""
    u = torch.zeros_like(v)
    u[mask] = RicianNoise(SIGMA).unbias(v[mask])
    return u


@functools.lru_cache(maxsize=1)
def _volume() -> tuple[Tensor, Tensor]:
    ref = mr_scans().mean(0).float()
    return ref, RicianNoise(SIGMA, 2)(ref)


@functools.lru_cache(maxsize=4)
def _slice(z: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """The slice z of both, where the head is in it, and the PSNR of the data there."""
    ref, f = (volume[z] for volume in _volume())
    mask = head(ref)
    return ref, f, mask, psnr_in(_unbiased(f, mask), ref, mask)


@functools.lru_cache(maxsize=4)
def _analysed(z: int, dim: int) -> tuple[FrameletTransform, Tensor, Tensor]:
    """W, and W f of the slice z, or of the five slices about it, as no more are seen by W^T W of one level; |W f|."""
    W, f = frame(2, 1, dim), _volume()[1]
    d = W(f[z - 2 : z + 3].contiguous() if dim == 3 else f[z])
    return W, d, d.abs()
