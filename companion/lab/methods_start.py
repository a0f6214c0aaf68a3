r"""The linear start: a picture from the data by nothing but a linear map, of which the leaderboard measures the gain.

    A = I          f itself
    blur           (A^T A + sigma I)^{-1} A^T f
    mask           the harmonic continuation: Laplace u = 0 where nothing is known
    k-space        zero filling, A^T f
    projections    filtered back-projection with the ramp of Ramachandran and Lakshminarayanan

Paper: (1.1).  Notebook: 14.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.inpainting import DiffusionInpainting
from companion.operators.fourier import PartialFourier
from companion.operators.linear import LinearOperator
from companion.operators.measure import Blur, Mask
from companion.operators.radon import Radon


def start(f: Tensor, A: LinearOperator, sigma: float, weight: float = 1.0) -> Tensor:
    """The linear start of the data f of A; the weight makes a method of it, and is not used."""
    if isinstance(A, Blur):
        return A.normal_solve(A.adjoint(f), sigma)
    if isinstance(A, Mask):
        return DiffusionInpainting(A.m).fill(f)
    if isinstance(A, Radon):
        return back_projection(f, A)
    return A.adjoint(f) if isinstance(A, PartialFourier) else f


def back_projection(f: Float[Tensor, "*batch angles detectors"], A: Radon) -> Float[Tensor, "*batch n n"]:
    r"""pi/K sum_theta (r * f(theta, .))(x . theta), r[0] = 1/(4 h), r[k] = -1/(pi^2 k^2 h) for odd k, else 0.

    The angles are those of Radon(n, K), evenly spread over half a turn.

    >>> u = torch.zeros(64, 64); u[20:40, 20:40] = 1
    >>> A = Radon(64, 90)
    >>> bool((back_projection(A(u), A) - u)[25:35, 25:35].abs().max() < 0.03)
    True
    """
    D, angles = A.detectors, len(A.angles)
    k = torch.arange(-D + 1, D, dtype=torch.float64)
    ramp = torch.where(k % 2 == 0, 0.0, -1 / (math.pi * k).square()).nan_to_num(0.0)
    ramp[D - 1] = 0.25
    size = 4 * D
    spectrum = torch.fft.rfft(f, size) * torch.fft.rfft(ramp.to(f.dtype), size)
    filtered = torch.fft.irfft(spectrum, size)[..., D - 1 : 2 * D - 1] / A.h
    return math.pi / angles * A.adjoint(filtered) / A.h
