r"""int |sum_j w_j 1{o_j . n > t}| dt: what a grid charges for each unit of length of a sharp edge.   (3.1), (4.2)

A sampled half-plane H_t[k] = 1{k . n > t} is a staircase. Its gradient at k depends on k . n - t alone: with the
offsets o_j and weights w_j of the stencil, (grad H_t)[k] = sum_j w_j 1{o_j . n > t - k . n}. A pixel takes one unit of
area, so that a unit of length of the edge costs the integral above, averaged over its offset t. It is exact: between
two neighbours among the numbers o_j . n the integrand is constant. For an irrational slope the numbers k . n - t are
equidistributed along one edge, whatever t; for a rational slope a single edge may cost more or less than the mean.

The mean over all angles is what a large sampled disc costs, over 2 pi R.

Paper: (3.1), (4.2), Section 4.2 (rotation by 45 degrees).  Notebook: 07.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from companion.energies.variation import AnyGradient, TotalVariation
from companion.operators.gradients import FrameGradient


def edge_cost(J: TotalVariation, theta: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""J of the sampled edge {x . n > t} per unit length, n = (cos theta, sin theta), averaged over t.

    J      a TotalVariation in the plane, nu and h inside: of first order, h has no effect
    theta  angles in radians, n turning from the axis x_1 (downwards) to x_2 (to the right)

    int |grad chi| would be nu for every angle, entrywise nu (|cos| + |sin|).

    >>> from companion import haar_gradient
    >>> edge_cost(TotalVariation(1.0, haar_gradient()), torch.tensor([0.0, math.pi / 8]))
    tensor([1.0000, 1.0824])
    """
    if not isinstance(theta, Tensor) or not theta.is_floating_point():
        raise TypeError(f"theta is a floating-point tensor of angles in radians; got {theta!r}. Use torch.tensor.")
    offsets, weights = (torch.from_numpy(a).to(theta) for a in stencil(J.D))
    n = torch.stack([theta.cos(), theta.sin()], -1)
    t, order = (n @ offsets.T).sort(dim=-1)  # (*shape, m)
    steps = weights[:, order].cumsum(-1)[..., :-1]  # minus the gradient for t between two neighbours, (r, *shape, m-1)
    length = torch.linalg.vector_norm(steps, dim=0) if J.isotropic else steps.abs().sum(0)
    return J.nu * J.D.h * (length * t.diff(dim=-1)).sum(-1)


def mean_edge_cost(J: TotalVariation, n: int = 3600) -> float:
    r"""The mean of edge_cost over the circle: J of a large sampled disc over its perimeter.

    >>> from companion import haar_gradient
    >>> round(mean_edge_cost(TotalVariation(1.0, haar_gradient())), 4)     # 8 (sqrt 2 - 1) / pi
    1.0548
    """
    if n < 1:
        raise ValueError(f"The mean is over n >= 1 angles; got n={n}.")
    theta = 2 * math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return float(edge_cost(J, theta).mean())


def stencil(D: AnyGradient) -> tuple[np.ndarray, np.ndarray]:
    r"""(o, w) with (D u)_i[k] = sum_j w_ij u[k + o_j]: offsets (m, 2), weights (r, m); for a gradient in the plane."""
    if D.dim != 2:
        raise ValueError(f"An edge with an angle is one in the plane; the gradient has dim={D.dim}.")
    if isinstance(D, FrameGradient):
        taps = [dict(q.indices()) for q in D.filters]
    else:
        taps = [{(0, 0): -1 / D.h, (i, 1 - i): 1 / D.h} for i in (1, 0)]
    offsets = sorted({k for q in taps for k in q})
    return np.array(offsets, dtype=float), np.array([[q.get(k, 0.0) for k in offsets] for q in taps])
