r"""u^{k+1} = u^k + dt B_k tanh(A_k u^k + b_k): residual networks on points of the plane.   (5.1)

Paper: Section 5.1, (5.1).  Notebooks: 10, 11.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.schemes import Euler
from companion.nets.odenet import ODENet


class Dense(nn.Module):
    r"""F(u) = B tanh(A u + b): a field on R^dim with `width` hidden units.   (5.1)

    A has variance 1/dim, B 1/width, b = 0: F(u) is of the size of u where u is small.

    >>> Dense(2, 16)(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.A, self.B = nn.Linear(dim, width), nn.Linear(width, dim, bias=False)
        nn.init.normal_(self.A.weight, std=1 / math.sqrt(dim))
        nn.init.normal_(self.B.weight, std=1 / math.sqrt(width))
        nn.init.zeros_(self.A.bias)

    def forward(self, u: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.B(torch.tanh(self.A(u)))


def mlp_resnet(dim: int, width: int, depth: int, dt: float | None = None) -> ODENet:
    r"""u -> u + dt F_k(u), k < depth: `depth` steps of Euler's scheme on R^dim, each with its own Dense F_k.   (5.1)

    dt  None is 1/depth, so that the steps end at t = 1 for every depth

    Raises ValueError for depth < 1.

    >>> len(mlp_resnet(2, 16, depth=10).maps)
    10
    """
    if depth < 1:
        raise ValueError(f"A residual network has at least one step; got depth={depth}.")
    return ODENet([Euler(Dense(dim, width), 1 / depth if dt is None else dt) for _ in range(depth)])
