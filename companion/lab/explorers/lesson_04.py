r"""Lesson 04, sparse restoration: three models, their weights.   (2.4)-(2.6)

Notebook: 04.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from companion import (
    ADMM,
    Blur,
    FrameletTransform,
    GaussianNoise,
    Gradient,
    LinearOperator,
    Mask,
    PartialFourier,
    analysis,
    balanced,
    bspline,
    gaussian_kernel,
    radial_pattern,
    run,
    synthesis,
    tikhonov,
)
from companion.lab.explorers.drawing import SIGNED, Answer, loops, stack
from companion.lab.images import camera, mr_slice
from companion.lab.quality import psnr
from companion.lab.raster import beside, pixels

STEPS, RHO = 16, 0.3


def restoration(
    task: str = "inpainting", model: str = "balanced", lam: float = 0.01, kappa: float = 1.0, n: int = 128
) -> Answer:
    """Sparse restoration by the models of the paper: what the data show, A^T f; what the model makes of it; its error.

    The transform is Haar's of one level, and the picture is what 16 steps of ADMM reach from Tikhonov's. kappa acts in
    the balanced model alone; synthesis pays lam/20 for the average.
    """
    u, A, f, smooth = measured(task, n)
    W = transform()
    weights = W.weights(lam)
    if model == "analysis":
        problem = analysis(A, f, W, weights)
    elif model == "balanced":
        problem = balanced(A, f, W, weights, kappa)
    else:
        problem = synthesis(A, f, W, weights + torch.tensor([lam / 20, 0, 0, 0]).reshape(4, 1, 1))
    with torch.no_grad(), loops(n):
        last = run(ADMM(problem, rho=RHO), smooth, k=STEPS)
        d = last.x.d
        c = W(last.u) if model == "analysis" else d
        far = torch.linalg.vector_norm(c - W(W.adjoint(c)))
        facts = {
            "PSNR": f"{psnr(last.u, u):.2f} dB",
            "PSNR of Tikhonov": f"{psnr(smooth, u):.2f} dB",
            "distance of d from the range of W": f"{float(far):.2g}",
            "details that are not 0": f"{100 * int(d[1:].abs().gt(1e-6).sum()) / d[1:].numel():.0f} %",
        }
        error = pixels(last.u - u, -0.2, 0.2, SIGNED)
        grey = beside(pixels(A.adjoint(f)), pixels(last.u))
    return beside(stack(grey[..., None].repeat(3, axis=2)), error), facts


@functools.lru_cache(maxsize=3)
def measured(task: str, n: int) -> tuple[Tensor, LinearOperator, Tensor, Tensor]:
    """u, A, f = A u + eta, and Tikhonov's picture of f; float32."""
    u = (mr_slice(min(n, 128)) if task == "MRI" else camera(n)).float()
    n = u.shape[-1]
    known = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) < 0.5
    A: LinearOperator = {
        "inpainting": lambda: Mask(known),
        "deblurring": lambda: Blur(gaussian_kernel(1.2)),
        "MRI": lambda: PartialFourier(radial_pattern(n, 36)),
    }[task]()
    f = A.restrict(GaussianNoise(0.01, seed=1)(A(u)))
    return u, A, f, tikhonov(A, f, 0.01, Gradient(boundary="periodic")).minimiser(1e-4)


@functools.lru_cache(maxsize=1)
def transform() -> FrameletTransform:
    """Haar's framelets, one level."""
    return FrameletTransform(bspline(1))
