r"""f = A u + eta nine times: what the methods of the course are compared on.   (1.1)

    denoise .05, .1, .2    A = I, noise of deviation 0.05, 0.1, 0.2
    deblur                 Gaussian blur of deviation 1.2 pixels, noise 0.01
    inpaint                a random half of the pixels known, noise 0.02
    MRI 4x, 8x             radial lines of k-space, 1/4 and 1/8 of it, noise 0.01
    CT 60, 20              60 and 20 angles, noise 0.005 (the square has the side 2)

The pictures are those of photos.py. The data of MRI and CT are made by the model A itself, of photographs: they measure
the methods, not a scanner.

Notebook: 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from companion.operators.fourier import PartialFourier, radial_pattern
from companion.operators.linear import LinearOperator
from companion.operators.measure import Blur, Identity, Mask, gaussian_kernel
from companion.operators.noise import GaussianNoise
from companion.operators.radon import Radon


@dataclass(frozen=True)
class Task:
    """f = A u + eta, eta independent normal numbers of deviation sigma where A measures; `n` is the side of u."""

    name: str
    A: LinearOperator
    sigma: float
    n: int

    def data(self, u: Float[Tensor, "*batch n n"], seed: int = 0) -> Tensor:
        """A u + eta, for a batch of pictures; the noise depends on the seed and on the shape of u alone."""
        f = GaussianNoise(self.sigma, seed=seed)(self.A(u))
        restrict = getattr(self.A, "restrict", None)
        return restrict(f) if restrict else f


def tasks(n: int = 128) -> dict[str, Task]:
    """{name: task}, nine of them, for pictures n x n.

    >>> [name for name in tasks(32)]
    ['denoise .05', 'denoise .1', 'denoise .2', 'deblur', 'inpaint', 'MRI 4x', 'MRI 8x', 'CT 60', 'CT 20']
    """
    half = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) < 0.5
    problems: list[tuple[str, LinearOperator, float]] = [
        *((f"denoise {str(s).lstrip('0')}", Identity(), s) for s in (0.05, 0.1, 0.2)),
        ("deblur", Blur(gaussian_kernel(1.2)), 0.01),
        ("inpaint", Mask(half), 0.02),
        *((f"MRI {r}x", PartialFourier(radial_pattern(n, _lines(n, r))), 0.01) for r in (4, 8)),
        *((f"CT {angles}", Radon(n, angles), 0.005) for angles in (60, 20)),
    ]
    return {name: Task(name, A, sigma, n) for name, A, sigma in problems}


@lru_cache
def _lines(n: int, r: int) -> int:
    """The number of radial lines that measures a share of k-space nearest to 1/r."""
    return min(range(4, n), key=lambda k: abs(float(radial_pattern(n, k).float().mean()) - 1 / r))
