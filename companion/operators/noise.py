r"""f = A u + eta, or f ~ P(. | A u): noise of three kinds, each with the energy that fits it.   (1.1)

    noise             density or law of f given v = A u          mean, variance       -log P(f | v), up to constants
    GaussianNoise     exp(-|f - v|^2 / (2 sigma^2))              v,  sigma^2          |f - v|^2 / (2 sigma^2)
    LaplacianNoise    exp(-|f - v|_1 / b) / (2 b) a pixel        v,  2 b^2            |f - v|_1 / b
    PoissonNoise      peak f ~ Poisson(peak v)                   v,  v / peak         peak sum(v - f log v)

The last column is the data term of maximum likelihood: least squares, L1, Kullback-Leibler. Noise is independent in
every pixel, drawn in float64 on the CPU from a seed: the same seed gives the same noise for the same shape, on every
device and in every type, and the caller's own random numbers are left alone. Each is a map v -> f for any shape, batch
included. For data that are zero where nothing is measured write f = A.restrict(noise(A(u))).

Paper: (1.1).  Notebooks: 00, 01, 04.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.operators.checks import check_picture


class GaussianNoise(nn.Module):
    r"""f = v + eta, eta ~ N(0, sigma^2 I), independent in every pixel: mean v, variance sigma^2.   (1.1)

    sigma  standard deviation >= 0, in grey values
    seed   the same seed gives the same noise for the same shape, on every device and in every type (it is drawn in
           float64)
    """

    def __init__(self, sigma: float | int, seed: int = 0):
        super().__init__()
        if not 0 <= sigma < float("inf"):
            raise ValueError(f"The standard deviation sigma of the noise must be finite and >= 0; got {sigma}.")
        self.sigma, self.seed = sigma, seed

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(v, "v", 0)
        generator = torch.Generator().manual_seed(self.seed)
        eta = torch.randn(v.shape, generator=generator, dtype=torch.float64)
        return v + self.sigma * eta.to(v)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma:g}, seed={self.seed}"


class LaplacianNoise(nn.Module):
    r"""f = v + eta, eta of density exp(-|x| / b) / (2 b) in every pixel: mean v, variance 2 b^2.   (1.1)

    b      scale > 0 or 0 (no noise), in grey values: the mean of |eta|; the standard deviation is sqrt(2) b
    seed   as for `GaussianNoise`

    Heavy tails: |eta| > 5 b in a share e^{-5} of the pixels. Drawn by inverting the distribution function at uniform
    numbers: eta = -b sign(w) log(1 - |w|), w uniform on (-1, 1).
    """

    def __init__(self, b: float | int, seed: int = 0):
        super().__init__()
        if not 0 <= b < float("inf"):
            raise ValueError(f"The scale b of Laplacian noise, the mean of |eta|, must be finite and >= 0; got {b}.")
        self.b, self.seed = b, seed

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(v, "v", 0)
        generator = torch.Generator().manual_seed(self.seed)
        w = 2 * torch.rand(v.shape, generator=generator, dtype=torch.float64) - 1
        w = w.clamp_min(-1 + 2.0**-53)  # w = -1 is drawn once in 2^53 times
        eta = -w.sign() * torch.log1p(-w.abs())
        return v + self.b * eta.to(v)

    def extra_repr(self) -> str:
        return f"b={self.b:g}, seed={self.seed}"


class PoissonNoise(nn.Module):
    r"""f = Poisson(peak v) / peak, independent in every pixel: mean v, variance v / peak.   (1.1)

    peak   > 0: the mean number of photons counted where v = 1; the more, the less noise
    seed   as for `GaussianNoise`

    v >= 0; a negative value within the rounding error of v, as a blur by Fourier transform leaves, counts as 0. Dark
    pixels are exact: v = 0 gives f = 0. A count is no differentiable function of its mean: f carries no gradient.
    Raises ValueError for v < 0.
    """

    def __init__(self, peak: float | int, seed: int = 0):
        super().__init__()
        if not 0 < peak < float("inf"):
            raise ValueError(f"The peak of Poisson noise, counts where v = 1, must be finite and > 0; got {peak}.")
        self.peak, self.seed = peak, seed

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(v, "v", 0)
        mean = v.detach().to("cpu", torch.float64)
        negative = mean < (-100 * torch.finfo(v.dtype).eps * mean.abs().max() if mean.numel() else 0)
        if bool(negative.any()):
            raise ValueError(
                f"A Poisson mean cannot be negative: {int(negative.sum())} of the {mean.numel()} entries of v are, the "
                f"least is {mean.min().item():.3g}. Counts come from intensities v >= 0; v.clamp_min(0) makes them so."
            )
        generator = torch.Generator().manual_seed(self.seed)
        return (torch.poisson(self.peak * mean.clamp_min(0), generator=generator) / self.peak).to(v)

    def extra_repr(self) -> str:
        return f"peak={self.peak:g}, seed={self.seed}"
