r"""A law in the plane whose density is known: a pinwheel, for lesson 10's flows of densities.

    arms         v from one of `arms` normal laws around the circle, deviations `radial` and `tangential`
    twist        x = R(twist |v|) v: each point is turned by an angle that grows with its distance from 0

The twist is the flow, at time 1, of u' = twist |u| J u, J the quarter turn: a field without divergence. So it keeps
areas, and the density of x is that of v at the point turned back. The entropy is then known as well: a fitted density
is told by how far it stays above it.

Generated: nothing is downloaded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Pinwheel:
    r"""x = R(twist |v|) v, v from a mixture of `arms` normal laws around the circle of radius 1.6.

    >>> x = Pinwheel().sample(4, torch.Generator().manual_seed(0))
    >>> x.shape, Pinwheel().log_prob(x).shape
    (torch.Size([4, 2]), torch.Size([4]))
    """

    RADIUS = 1.6

    def __init__(self, arms: int = 5, radial: float = 0.45, tangential: float = 0.14, twist: float = 0.8):
        self.arms, self.radial, self.tangential, self.twist = arms, radial, tangential, twist

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n independent points, (n, 2)."""
        angle = torch.randint(self.arms, (n,), generator=generator) * (2 * math.pi / self.arms)
        z = torch.randn(n, 2, generator=generator) * torch.tensor([self.radial, self.tangential])
        v = turn(z + torch.tensor([self.RADIUS, 0.0]), angle)
        return turn(v, self.twist * v.norm(dim=-1))

    def log_prob(self, x: Tensor) -> Tensor:
        """log of the density at the points x (*, 2)."""
        v = turn(x, -self.twist * x.norm(dim=-1))
        arms = torch.stack([turn(v, v.new_tensor(-2 * math.pi * i / self.arms)) for i in range(self.arms)])
        a, b = (arms[..., 0] - self.RADIUS) / self.radial, arms[..., 1] / self.tangential
        size = 2 * math.pi * self.radial * self.tangential * self.arms
        return torch.logsumexp(-(a.square() + b.square()) / 2, 0) - math.log(size)


def turn(v: Tensor, angle: Tensor) -> Tensor:
    """R(angle) v: the points (*, 2), turned anticlockwise by an angle each."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], -1)
