r"""A head in three dimensions, measured twice by magnetic resonance, and what a 3-D frame makes of it.

The two scans are example4d.nii.gz of the package nibabel (MIT): 24 slices of 96 x 128 voxels of 2 x 2 x 2.2 mm, and
the same head once more two seconds later. No volume without noise exists. The difference of the scans tells their
noise, 1.2 % of the brightest tissue; their mean has 0.8 % and serves as the truth when much more noise is added.

    ref = mr_scans().mean(0);  f = RicianNoise(0.1)(ref)
    W2, W3 = (FrameletTransform(bspline(2), dim=d, boundary="reflect") for d in (2, 3))

W2(f) takes the slices for a batch: slice by slice. W3(f) uses what neighbouring slices have in common.

Notebook: 15.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from companion.flows.shrinkage import Shrinkage, Soft
from companion.lab.quality import best_weight
from companion.operators.frames import FrameletTransform


def mr_scans() -> Float[Tensor, "2 24 96 128"]:
    """Two scans of one head, axes (scan, z upwards, y, x), forehead up, over the 99.5 % quantile, clipped to [0, 1].

    As in `mr_slice` the patient's left is on the right. Around the head the voxels are 0: somebody has cut it out.
    """
    import nibabel

    scan = nibabel.Nifti1Image.from_filename(Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz")
    u = np.asarray(scan.dataobj, dtype=np.float64)[:, ::-1].transpose(3, 2, 1, 0)
    return torch.from_numpy(u / np.percentile(u, 99.5)).clamp(0, 1)


def head(ref: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """The voxels of the head: ref > 0. Outside, where the truth is exactly 0, a PSNR would count nothing but air."""
    return ref > 0


def psnr_in(u: Float[Tensor, "*shape"], ref: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> float:
    """PSNR in decibels over the voxels of the mask."""
    return float(-10 * torch.log10((u - ref)[mask].square().mean()))


def shrunk(f: Tensor, W: FrameletTransform, sigma: float, times: float) -> Tensor:
    """W^T S(W f), soft, with the threshold times x the deviation of the noise in each band.   (4.5)"""
    return Shrinkage(W, Soft(W.weights(times * sigma * W.gains)))(f)


def tuned_times(f: Tensor, ref: Tensor, W: FrameletTransform, sigma: float) -> float:
    """The multiple of the noise that gives the highest PSNR in the head: between 0.2 and 5, to 10 %."""
    mask = head(ref)
    return best_weight(lambda times: psnr_in(shrunk(f, W, sigma, times), ref, mask), 0.2, 5.0, 1.1)[0]
