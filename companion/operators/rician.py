r"""f = |v + eta_1 + i eta_2|: the noise of magnitude images in magnetic resonance.   (1.1)

A scanner measures two real numbers in each pixel, both with Gaussian noise, and shows their modulus. Dark pixels come
out too bright: the mean is

    m(v) = sigma (pi/2)^{1/2} ((1 + 2 x) I_0(x) + 2 x I_1(x)) e^{-x},   x = (v / (2 sigma))^2,

1.25 sigma at v = 0 and about v + sigma^2 / (2 v) for v well over sigma. A linear smoothing averages f, so what it shows
tends to m(v), and `unbias` takes it back to v.

Paper: (1.1), Section 2.  Notebook: 15.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.operators.checks import check_picture


class RicianNoise(nn.Module):
    r"""f = ((v + eta_1)^2 + eta_2^2)^{1/2}, eta_i ~ N(0, sigma^2): mean m(v), and E f^2 = v^2 + 2 sigma^2.   (1.1)

    sigma  standard deviation > 0, in grey values
    seed   as for `GaussianNoise`

    >>> RicianNoise(0.1).mean(torch.tensor([0.0, 1.0]))
    tensor([0.1253, 1.0050])
    """

    def __init__(self, sigma: float, seed: int = 0):
        super().__init__()
        if not 0 < sigma < math.inf:
            raise ValueError(f"The standard deviation sigma of Rician noise must be finite and > 0; got {sigma}.")
        self.sigma, self.seed = float(sigma), seed

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        check_picture(v, "v", 0)
        generator = torch.Generator().manual_seed(self.seed)
        eta = self.sigma * torch.randn(2, *v.shape, generator=generator, dtype=torch.float64)
        return torch.hypot(v + eta[0].to(v), eta[1].to(v))

    def mean(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """m(v), for v >= 0."""
        x = (v / (2 * self.sigma)).square()
        series = (1 + 2 * x) * torch.special.i0e(x) + 2 * x * torch.special.i1e(x)
        return self.sigma * math.sqrt(math.pi / 2) * series

    def unbias(self, m: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The v >= 0 with m(v) = m, and 0 where m <= m(0): by 40 bisections, since m grows."""
        low, high = torch.zeros_like(m), m.clamp_min(0)  # m(v) >= v
        for _ in range(40):
            middle = (low + high) / 2
            over = self.mean(middle) > m
            low, high = torch.where(over, low, middle), torch.where(over, middle, high)
        return (low + high) / 2

    def extra_repr(self) -> str:
        return f"sigma={self.sigma:g}, seed={self.seed}"
