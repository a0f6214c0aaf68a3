r"""u(x, y) on the square [0, 2 pi]^2: its points, and the Fourier series through them.

Shape (..., N, N), axis -2 is x, axis -1 is y, h = 2 pi / N. Periodic functions have the points i h, 0 <= i < N; those
with u = 0 on the border the N - 1 points inside.

Notebooks: 12, 13.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

PERIOD = 2 * math.pi


def points(N: int, periodic: bool = True) -> Float[Tensor, "2 n n"]:
    """(x, y) = (i h, j h), h = 2 pi / N: 0 <= i, j < N, or 0 < i, j < N without the border."""
    x = torch.arange(0 if periodic else 1, N, dtype=torch.float64) * (PERIOD / N)
    return torch.stack(torch.meshgrid(x, x, indexing="ij"))


def resized(a: Complex[Tensor, "*shape"], n: int, m: int) -> Complex[Tensor, "*other"]:
    """The coefficients by `rfft2` on n points a side, of the same series on m points: |k| < min(n, m)/2, else 0."""
    K = (min(n, m) - 1) // 2
    b = a.new_zeros(*a.shape[:-2], m, m // 2 + 1)
    scale = (m / n) ** 2  # irfft2 divides by the number of points
    b[..., : K + 1, : K + 1] = a[..., : K + 1, : K + 1] * scale
    b[..., m - K :, : K + 1] = a[..., n - K :, : K + 1] * scale
    return b


def resampled(u: Float[Tensor, "*batch n n"], m: int) -> Float[Tensor, "*batch m m"]:
    """The Fourier series through u, on m points a side; without the frequency n/2 of an even n."""
    return torch.fft.irfft2(resized(torch.fft.rfft2(u), u.shape[-1], m), s=(m, m))


def odd(u: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch m m"]:
    """u inside the square continued by u(-x, y) = u(x, -y) = -u(x, y): N - 1 points a side become 2 N."""
    for axis in (-2, -1):
        zero = torch.zeros_like(u.narrow(axis, 0, 1))
        u = torch.cat((zero, u, zero, -u.flip(axis)), axis)
    return u
