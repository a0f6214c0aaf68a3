r"""-log p(f | A u): the data term that a noise asks for, up to a constant.   (1.1)

    Gaussian noise   p ~ exp(-|f - Au|^2 / (2 sigma^2))       |A u - f|^2 / (2 sigma^2)              LeastSquares
    Laplacian        p ~ exp(-|f - Au|_1 / b)                 |A u - f|_1 / b                        L1
    Poisson          p ~ (peak Au)^n e^{-peak Au} / n!        peak sum (A u - f + f log(f / A u))    KL
                     with the counts n = peak f

The maximum of the likelihood is the minimum of these; a prior on u adds a penalty, as in (2.4)-(2.6).

Paper: (1.1).  Notebook: 01.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.energies.functional import Composed, Functional, LeastSquares, check_data, check_weight, fitted
from companion.energies.norms import L1, slack
from companion.operators.linear import LinearOperator
from companion.operators.noise import GaussianNoise, LaplacianNoise, PoissonNoise


def data_term(noise: nn.Module, f: Tensor, A: LinearOperator | None = None) -> Functional:
    r"""u -> -log p(f | A u) + const for a noise of the course.   (1.1)

    noise  GaussianNoise, LaplacianNoise or PoissonNoise: its parameter is the scale of the term
    f      the data; A the measurement, by default the identity

    Raises TypeError for another noise, ValueError for Gaussian or Laplacian noise of scale 0: then A u = f is a
    constraint and no data term.

    >>> data_term(GaussianNoise(0.5), torch.tensor([1.0]))(torch.tensor([2.0]))
    tensor(2.)
    """
    scale = {GaussianNoise: "sigma", LaplacianNoise: "b", PoissonNoise: "peak"}.get(type(noise))
    if scale is None:
        raise TypeError(f"A likelihood is known for Gaussian, Laplacian and Poisson noise; got {type(noise).__name__}.")
    s = getattr(noise, scale)
    if s == 0:
        raise ValueError(f"Noise with {scale} = 0 is no noise: A u = f is then a constraint. Give {scale} > 0.")
    if scale == "sigma":
        return LeastSquares(f, A, 1 / s**2)
    F: Functional = L1(1 / s, f) if scale == "b" else KL(f, s)
    return F if A is None else Composed(F, A)


class KL(Functional):
    r"""w sum (v - f + f log(f / v)), v >= 0: minus the logarithm of a Poisson likelihood for w = peak.   (1.1)

    f  the counts over the peak, f >= 0; where f = 0 the term is v

    Its gradient 1 - f/v is not Lipschitz at v = 0: no forward step is safe. prox_tau(v) is the larger root of
    x^2 + (t - v) x - t f = 0, t = tau w. Raises ValueError for negative counts.
    """

    proximal = True
    f: Tensor

    def __init__(self, f: Tensor, weight: float = 1.0):
        super().__init__()
        self.register_buffer("f", check_data(f))
        if bool((self.f < 0).any()):
            raise ValueError(
                f"Counts cannot be negative, and {int((self.f < 0).sum())} of {self.f.numel()} data are (the smallest: "
                f"{self.f.min().item():.3g}). This is not Poisson noise: use LeastSquares, or do not subtract a "
                "background from the counts."
            )
        self.weight = check_weight(weight)

    def forward(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        f = fitted(self.f, v)
        terms = v - f + torch.special.xlogy(f, f) - torch.special.xlogy(f, v.clamp_min(0))
        return self.weight * torch.where(v < 0, math.inf, terms).sum()

    def grad(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """w (1 - f/v), for v > 0."""
        return self.weight * (1 - fitted(self.f, v) / v)

    def prox(self, v: Float[Tensor, "*shape"], tau: float | Tensor) -> Float[Tensor, "*shape"]:
        t = tau * self.weight
        return _root(v - t, t * fitted(self.f, v))

    def prox_conjugate(self, p: Float[Tensor, "*shape"], sigma: float | Tensor) -> Float[Tensor, "*shape"]:
        """w - x, x the larger root of x^2 + (p - w) x - sigma w f = 0."""
        return self.weight - _root(self.weight - p, sigma * self.weight * fitted(self.f, p))

    def conjugate(self, p: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """-w sum f log(1 - p/w) if p <= w (p < w where f > 0), else infinity."""
        rest = 1 - p / self.weight
        terms = -self.weight * torch.special.xlogy(fitted(self.f, p), rest.clamp_min(0))
        return torch.where(rest < 1 - slack(p), math.inf, terms).sum()


def _root(b: Tensor, c: Tensor) -> Tensor:
    """The larger root of x^2 - b x - c, c >= 0; where b < 0 as 2 c / (sqrt(b^2 + 4 c) - b), free of cancellation."""
    s = (b.square() + 4 * c).sqrt() + b.abs()
    return torch.where(b < 0, 2 * c / s.clamp_min(torch.finfo(s.dtype).tiny), s / 2)
