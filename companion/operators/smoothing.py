r"""G_sigma * u: the Gaussian of standard deviation sigma, on a grid with step h; the border reflects or wraps.   Sec. 3

What a flow looks through when its own derivatives are too noisy: Catte's u_sigma, the structure tensor's J_rho. One
axis after another, since G_sigma(x) = prod_i G_sigma(x_i), with the taps of `gaussian_kernel`, of sum 1: constants and,
at a reflecting or periodic border, the mean are kept, and the extrema are not exceeded.

Paper: Section 3 ([28]).  Notebook: 06.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from companion.operators.grid import correlate
from companion.operators.measure import gaussian_kernel


def gaussian_smooth(
    u: Float[Tensor, "*shape"], sigma: float, h: float = 1.0, dim: int = 2, boundary: str = "reflect"
) -> Float[Tensor, "*shape"]:
    r"""u_sigma = G_sigma * u, G_sigma(x) = exp(-|x|^2 / (2 sigma^2)) / (2 pi sigma^2)^{d/2}: the heat equation at
    t = sigma^2 / 2.

    u      (*batch, *space), `dim` space axes
    sigma  >= 0, in the unit of the grid step h; 0 gives u back

    The taps are samples out to 4 sigma; below about h/2 they are too few to be a Gaussian. Raises ValueError for
    sigma < 0.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"The scale sigma of a smoothing is a finite length >= 0; got {sigma}.")
    if sigma == 0:
        return u
    taps = gaussian_kernel(sigma / h, dim=1).to(u)
    for axis in range(-dim, 0):
        u = correlate(u, taps, (-(len(taps) // 2),), (axis,), boundary=boundary)
    return u
