r"""x_{k+1} = H_k(x_0, x_1, ..., x_k): dense connections, where each layer reads all features before it.   Section 5.1

    DenseStep   x -> (x, H(x)): the features so far, and what H makes of them; a map for `run`
    Reading     H(x) = F(sum_j c_j x_j): a layer that reads a linear combination
    densenet    DenseNet: in each stage n dense steps, every one adding `growth` channels

The state is the list of all features, in one tensor: nothing is overwritten, and the gradient of x_0 reaches the end
without a detour, as along the skip of a residual network.

Which schemes are dense? Take the features x_0 = u^0 and x_{j+1} = F(y_j), and let the layer read y_j as a fixed linear
combination of what is there, sum_i c_i x_i. A Runge-Kutta scheme is of this form, y_j being its stages, and so is a
multistep scheme, y_j = u^j; the last iterate is such a combination too. So every explicit linear scheme is a dense
network with fixed readings. Conversely, readings of one F with c_0 = 1 are the stages of a Runge-Kutta scheme: their
other numbers, over dt, are the triangle of its tableau. What DenseNet learns are the readings, and a field for each.

Sources: Huang, Liu, van der Maaten and Weinberger, Densely connected convolutional networks (2017).
Paper: Section 5.1, [79].  Notebook: 10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.nets.blocks import BatchNorm, Head, Stem, conv
from companion.nets.odenet import ODENet


class DenseStep(nn.Module):
    r"""x -> (x, H(x)): the features so far, then the new ones, along one axis.   Section 5.1

    H     a map from all features to the new ones, equal to x in shape but for that axis
    axis  where the features are; 1, the channels, by default

    >>> from companion import run
    >>> run([DenseStep(lambda x: x.sum(1, keepdim=True))] * 4, torch.ones(1, 1)).u
    tensor([[1., 1., 2., 4., 8.]])
    """

    def __init__(self, H: Callable[[Tensor], Tensor], axis: int = 1):
        super().__init__()
        self.H, self.axis = H, axis

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.cat([x, self.H(x)], self.axis)


class Reading(nn.Module):
    r"""H(x) = F(sum_j c_j x_j), (*batch, k, *space) -> (*batch, 1, *space): one new feature from k of them.

    F     a field
    c     the k numbers with which the features are read, the oldest first
    axis  where the features are; 1 by default

    Raises ValueError for as many numbers as there are not features.
    """

    c: Tensor

    def __init__(self, F: Callable[[Tensor], Tensor], c: Sequence[float] | Tensor, axis: int = 1):
        super().__init__()
        self.F, self.axis = F, axis
        self.register_buffer("c", torch.as_tensor(c, dtype=torch.float64))

    def read(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """sum_j c_j x_j."""
        if x.shape[self.axis] != len(self.c):
            raise ValueError(
                f"A layer reads every feature with a number of its own; got {len(self.c)} numbers for "
                f"{x.shape[self.axis]} features on axis {self.axis}."
            )
        return torch.tensordot(x, self.c.to(x.dtype), ([self.axis], [0]))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.F(self.read(x)).unsqueeze(self.axis)


def densenet(
    depth: int = 40, *, growth: int = 12, channels: int = 3, classes: int = 10, width: int = 16, dim: int = 2
) -> ODENet:
    r"""x -> (x, C relu(N x)), n times on each of three grids, with u -> mean over 2^dim cells of C relu(N u) between.

    depth   3n + 4 layers: the stem, 3n dense steps of 3x3 taps, two changes of the grid with 1x1 taps, the head
    growth  the channels that a step adds, DenseNet's k

    The channels grow from `width` by `growth` a step and stay at a change of the grid. Raises ValueError for another
    depth, and as `Stem`.
    """
    n, rest = divmod(depth - 4, 3)
    if n < 1 or rest:
        raise ValueError(
            f"DenseNet has 3n + 4 layers: a stem, 3n dense steps, two changes of the grid, a head; got depth={depth}. "
            f"Near it are {3 * max(n, 1) + 4} and {3 * max(n, 1) + 7}."
        )
    maps: list[nn.Module] = [Stem(channels, width, dim)]
    for stage in range(3):
        if stage:
            average = (nn.AvgPool1d, nn.AvgPool2d)[dim - 1](2)
            maps.append(nn.Sequential(BatchNorm(width), nn.ReLU(), conv(dim, width, width, size=1), average))
        for _ in range(n):
            maps.append(DenseStep(nn.Sequential(BatchNorm(width), nn.ReLU(), conv(dim, width, growth))))
            width += growth
    return ODENet([*maps, Head(width, classes)])
