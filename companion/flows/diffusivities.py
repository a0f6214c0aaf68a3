r"""g(|grad u|^2): how much a Perona-Malik flow diffuses, and the conditions of (3.3) on it.   (3.3)

    Exponential(sigma)    g(s) = e^{-s / (2 sigma^2)}              K = sigma^2
    Rational(lam, p)      g(s) = 1 / (1 + s^p / lam^2)             K = (lam^2 / (2p - 1))^{1/p}, p > 1/2
    FastDecay(contrast)   g(s) = 1 - e^{-C / (s/contrast^2)^4}     K = contrast^2
    Charbonnier(lam)      g(s) = 1 / sqrt(1 + s / lam^2)           K = infinity
    Regularised(eps)      g(s) = 1 / sqrt(s + eps^2)               K = infinity; g(0) = 1/eps: the TV flow's

s = |grad u|^2 >= 0, and so K has the unit of |grad u|^2. Across the edges u_t = g~ u_NN with

    g~(s) = g(s) + 2 s g'(s),    the derivative of the flux Phi(r) = r g(r^2) at r = sqrt(s):

positive for s < K, negative for s > K, and 0 at K itself, which (3.3) as printed leaves out.

Paper: (3.3).  Notebooks: 06, 08.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.conditions import check_diffusivity, derivative
from companion.kernels import diffusion as kernels
from companion.kernels import unwatched


class Diffusivity(nn.Module):
    """g(s), s = |grad u|^2 >= 0, decreasing. Subclasses write `forward`; `derivative` and `threshold` where they have
    closed forms. What numbers it holds are buffers, so that a learned one is a Parameter.
    """

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """g(s)."""
        raise TypeError(f"{type(self).__name__} is no diffusivity yet: it does not define forward(s) = g(s).")

    def derivative(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """g'(s)."""
        return derivative(self, s)

    @property
    def threshold(self) -> float:
        """K, where g + 2 s g' changes its sign; infinity where it never does."""
        return check_diffusivity(self)

    def law(self) -> kernels.Law | None:
        """g for a fused loop, as one of the laws of kernels/diffusion.py and its numbers a, b; None: by torch."""
        return None

    def _hold(self, **numbers: float) -> None:
        """Keep numbers > 0 as buffers."""
        for name, value in numbers.items():
            if not 0 < float(value) < math.inf:
                raise ValueError(
                    f"The {name} of a diffusivity is a finite number > 0; got {value}. It says at which |grad u| the "
                    "diffusion slows down."
                )
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={float(value):g}" for name, value in self.named_buffers())


class Exponential(Diffusivity):
    r"""g(s) = e^{-s / (2 sigma^2)}, K = sigma^2.   (3.3)

    >>> Exponential(sigma=2.0).threshold
    4.0
    """

    sigma: Tensor

    def __init__(self, sigma: float):
        super().__init__()
        self._hold(sigma=sigma)

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.exp(-s / (2 * self.sigma.to(s.dtype).square()))

    def law(self) -> kernels.Law:
        """e^{-a s}."""
        return kernels.exponential, 1 / (2 * self.sigma.square()), 0.0

    def derivative(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """-g(s) / (2 sigma^2)."""
        return -self(s) / (2 * self.sigma.to(s.dtype).square())

    @property
    def threshold(self) -> float:
        """K = sigma^2."""
        return self.sigma.item() ** 2


class Rational(Diffusivity):
    r"""g(s) = 1 / (1 + s^p / lam^2), K = (lam^2 / (2p - 1))^{1/p}; p > 1/2, else nothing is diffused backwards.   (3.3)

    Raises ValueError unless lam > 0 and p > 1/2.

    >>> Rational(lam=3.0).threshold
    9.0
    """

    lam: Tensor
    p: Tensor

    def __init__(self, lam: float, p: float = 1.0):
        super().__init__()
        if not 0.5 < p < math.inf:
            raise ValueError(
                f"1 / (1 + s^p / lam^2) satisfies (3.3) for p > 1/2 only; got p={p}. For p <= 1/2 the flux s^(1/2) g(s)"
                " grows for ever: no edge is sharpened."
            )
        self._hold(lam=lam, p=p)

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1 / (1 + self._power(s, 0))

    def law(self) -> kernels.Law | None:
        """1 / (1 + a s), 1 / (1 + a s^2); other powers by torch."""
        loops = {1.0: kernels.rational, 2.0: kernels.rational_square}
        return (loops[p], 1 / self.lam.square(), 0.0 * self.p) if (p := self.p.item()) in loops else None

    def derivative(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """-p s^{p-1} / lam^2 g(s)^2: minus infinity at s = 0 for p < 1."""
        p = self.p.to(s.dtype)
        return -p * s.pow(p - 1) / self.lam.to(s.dtype).square() * self(s).square()

    def _power(self, s: Tensor, less: int) -> Tensor:
        """s^{p - less} / lam^2; its gradient is finite at s = 0 too: taken as 0 there, but for the power 1."""
        if self.p.is_cpu and unwatched(self.p, self.lam) and not torch.compiler.is_compiling():
            p = self.p.item() - less  # numbers: torch knows powers of 0, 1 and 2
            return (s if p == 1 else s.clamp_min(torch.finfo(s.dtype).tiny).pow(p)) / self.lam.item() ** 2
        power = s.clamp_min(torch.finfo(s.dtype).tiny).pow(self.p.to(s.dtype) - less)
        return power / self.lam.to(s.dtype).square()

    @property
    def threshold(self) -> float:
        """K = (lam^2 / (2p - 1))^{1/p}."""
        p = self.p.item()
        return (self.lam.item() ** 2 / (2 * p - 1)) ** (1 / p)


class Regularised(Diffusivity):
    r"""g(s) = 1 / sqrt(s + eps^2), K = infinity: div(g grad u) is minus the gradient of int sqrt(|grad u|^2 + eps^2).

    The flux grows towards 1 without ever falling. g(0) = 1/eps is not the 1 of (3.3), a matter of the unit of time.
    """

    eps: Tensor

    def __init__(self, eps: float):
        super().__init__()
        self._hold(eps=eps)

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.rsqrt(s + self.eps.to(s.dtype).square())

    def law(self) -> kernels.Law:
        """1 / sqrt(a s + b)."""
        return kernels.root, 1.0, self.eps.square()

    def derivative(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """-g(s)^3 / 2."""
        return -self(s).pow(3) / 2

    @property
    def threshold(self) -> float:
        """K = infinity: g + 2 s g' = eps^2 g^3 > 0."""
        return math.inf


class Charbonnier(Diffusivity):
    r"""g(s) = 1 / sqrt(1 + s / lam^2) = lam Regularised(lam), K = infinity: edges slow it, none is sharpened."""

    lam: Tensor

    def __init__(self, lam: float):
        super().__init__()
        self._hold(lam=lam)

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.rsqrt(1 + s / self.lam.to(s.dtype).square())

    def law(self) -> kernels.Law:
        """1 / sqrt(a s + b)."""
        return kernels.root, 1 / self.lam.square(), 1.0

    def derivative(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """-g(s)^3 / (2 lam^2)."""
        return -self(s).pow(3) / (2 * self.lam.to(s.dtype).square())

    @property
    def threshold(self) -> float:
        """K = infinity: g + 2 s g' = g^3 > 0."""
        return math.inf


class FastDecay(Diffusivity):
    r"""g(s) = 1 - exp(-C / (s / contrast^2)^4), g(0) = 1, K = contrast^2: flat up to the contrast, then falling like
    s^{-4}. C = 3.31488 solves e^C = 1 + 8 C. Weickert's, for EdgeEnhancing.   (3.3)
    """

    C = 3.314877361786055  # e^C = 1 + 8 C
    contrast: Tensor

    def __init__(self, contrast: float):
        super().__init__()
        self._hold(contrast=contrast)

    def forward(self, s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        z = (s / self.contrast.to(s.dtype).square()).clamp_min(0.05)  # below it g = 1 to rounding, its derivative 0
        return -torch.expm1(-self.C * z.pow(-4))

    def law(self) -> kernels.Law:
        """1 - exp(-b / (a s)^4)."""
        return kernels.fast_decay, 1 / self.contrast.square(), self.C

    @property
    def threshold(self) -> float:
        """K = contrast^2."""
        return self.contrast.item() ** 2
