r"""Lesson 01, inverse problems: what is measured, with which noise, and what Tikhonov makes of it.   (1.1)

Notebook: 01.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from companion import (
    Blur,
    GaussianNoise,
    Identity,
    LaplacianNoise,
    LinearOperator,
    Mask,
    PartialFourier,
    PoissonNoise,
    cartesian_pattern,
    gaussian_kernel,
    to_complex,
)
from companion.lab.explorers.drawing import Answer
from companion.lab.images import camera, mr_slice, phantom
from companion.lab.quality import psnr
from companion.lab.raster import beside, enlarged, pixels
from companion.operators.radon import Radon

PIXELS = {"blur": 256, "identity": 256, "mask": 256, "MRI": 128, "CT": 64}  # sides of the pictures


@functools.lru_cache(maxsize=5)
def measured(operator: str, n: int) -> tuple[LinearOperator, Tensor, Tensor, float, float]:
    """A, the picture u, the clean data A u, their largest modulus and |A|^2; float32, of side n or the operator's if
    that is less."""
    n = min(n, PIXELS[operator])
    u = {"MRI": mr_slice, "CT": phantom}.get(operator, camera)(n).float()
    known = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) < 0.5
    make: dict[str, Callable[[], LinearOperator]] = {
        "identity": Identity,
        "blur": lambda: Blur(gaussian_kernel(max(1.0, n / 128))),
        "mask": lambda: Mask(known),
        "MRI": lambda: PartialFourier(cartesian_pattern(n, 2.5, seed=1)),
        "CT": lambda: Radon(n, 45),
    }
    A = make[operator]()
    v = A(u)
    reach = float(v.max()) if operator == "CT" else 1.0
    return A, u, v, reach, float(A.norm(u)) ** 2


@functools.lru_cache(maxsize=1)
def data(operator: str, noise: str, level: float, n: int) -> Tensor:
    """f, with noise of deviation `level` times the scale of the data; Poisson: at mid-grey."""
    A, _, v, reach, _ = measured(operator, n)
    if noise == "Poisson" and operator != "MRI":
        return A.restrict(reach * PoissonNoise(0.5 / level**2, seed=1)(v.clamp_min(0) / reach))
    if noise == "Laplacian":
        return A.restrict(LaplacianNoise(level * reach / 2**0.5, seed=1)(v))
    return A.restrict(GaussianNoise(level * reach, seed=1)(v))


def inversion(
    operator: str = "blur", noise: str = "Gaussian", level: float = 0.02, alpha: float = 0.02, n: int = 256
) -> Answer:
    """The picture u; the data f = A u + noise; Tikhonov's x = (A^T A + alpha |A|^2 I)^{-1} A^T f.

    The data of MRI are drawn as the logarithm of their modulus, frequency 0 in the middle; those of CT with the angle
    downwards. `level` is the deviation of the noise, for CT as a part of the largest value, for Poisson at mid-grey; a
    Fourier coefficient is no count, so that MRI with Poisson noise draws Gaussian noise and says so. MRI is of 128 x
    128 and CT of 64 x 64 pixels, the largest for which their answer is quick.
    """
    A, u, v, _, norm2 = measured(operator, n)
    f = data(operator, noise, level, n)
    x = A.normal_solve(A.adjoint(f), alpha * norm2, tol=3e-4)
    expected = float((f - v).double().norm())
    facts = {
        "PSNR of x": f"{psnr(x, u):.2f} dB",
        "|A x - f| / |noise|": f"{float((A(x) - f).double().norm()) / expected:.2f}",
        "alpha": f"{alpha:.2g} |A|^2",
        "pixels": f"{len(u)} x {len(u)}",
    }
    if operator == "MRI" and noise == "Poisson":
        facts["noise"] = "Gaussian: a Fourier coefficient is no count"
    if operator == "MRI":
        modulus = torch.fft.fftshift(to_complex(f).abs())
        shown = pixels(torch.log10(modulus.clamp_min(1e-3)), -3.0, 1.5)
    else:
        shown = pixels(f, 0.0, float(v.max()) if operator == "CT" else 1.0)
    return beside(*(_square(a, n) for a in (pixels(u), shown, pixels(x)))), facts


def _square(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture on side x side pixels, each of its own pixels repeated."""
    h, w = picture.shape
    if h == w and side % h == 0:
        return enlarged(picture, side // h)
    return picture[np.arange(side) * h // side][:, np.arange(side) * w // side]
