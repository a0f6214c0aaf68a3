r"""F(u) = C_2 relu(N_2 C_1 relu(N_1 u)): the field of a residual block, and the maps around it.   (5.1)

    Residual     F, the pre-activation block: batch norm N, relu, 3x3 convolution C, twice
    Stem         picture -> u^0, a convolution
    StageChange  u -> P u + F(u), half the resolution, more channels: the one step that changes the space
    Head         u -> relu(N u), its mean over space, a linear map: the class scores

In training N subtracts the batch's mean and divides by its deviation, so that F depends on the batch, and on where in a
step it is evaluated. `Held` makes it one field again for schemes that evaluate F more than once. Weights: He's normal
law (fan out) for convolutions, N = identity on normalised u; torch.manual_seed repeats them.

Sources: He, Zhang, Ren and Sun, Identity mappings in deep residual networks (2016).
Paper: Section 5.1, (5.1), [77].  Notebooks: 10, 11.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from companion.dynamics import State, tensors


def conv(dim: int, channels: int, out: int, size: int = 3, stride: int = 1) -> nn.Module:
    r"""u -> sum_k q[k] u[stride n + k], zero beyond the border, from `channels` to `out` of them, no constant: a
    convolution in dim = 1 or 2 with size^dim taps, which have variance 2 / (out size^dim).
    """
    if dim not in (1, 2):
        raise ValueError(f"A network convolves signals (dim=1) or pictures (dim=2); got dim={dim}.")
    layer = (nn.Conv1d, nn.Conv2d)[dim - 1](channels, out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class BatchNorm(_BatchNorm):
    r"""N u = gamma (u - mean) / sqrt(var + eps) + beta, a channel at a time: torch's, in any dimension.

    In training mean and var are the batch's; in evaluation the running ones. Raises ValueError in training if a channel
    has one value only.
    """

    held: list[tuple[Tensor, Tensor]] | None = None

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        if self.training and u.numel() == u.shape[1]:
            raise ValueError(
                "Batch norm in training needs two values or more in a channel; got a batch of 1 with 1 point, whose "
                "deviation is 0. Take a batch of two or more, a larger picture, or net.eval()."
            )
        if not self.training or self.held is None:
            return super().forward(u)
        if not self.held:
            var, mean = torch.var_mean(u, (0, *range(2, u.ndim)), correction=0, keepdim=True)
            self.held.append((mean, var))
            return super().forward(u)
        mean, var = self.held[0]
        shape = (-1, *(1,) * (u.ndim - 2))
        gain = self.weight.reshape(shape) * torch.rsqrt(var + self.eps)
        return ((u - mean) * gain + self.bias.reshape(shape)).to(u.dtype)


@contextmanager
def held(F: nn.Module) -> Iterator[None]:
    """While it lasts, each batch norm of F keeps the mean and variance of its first evaluation: F is one function."""
    norms = [m for m in F.modules() if isinstance(m, BatchNorm)]
    for norm in norms:
        norm.held = []
    try:
        yield
    finally:
        for norm in norms:
            norm.held = None


@contextmanager
def quiet(F: nn.Module) -> Iterator[None]:
    """While it lasts, batch norm of F leaves its running mean and variance alone."""
    norms = [m for m in F.modules() if isinstance(m, BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


class Held(nn.Module):
    """A step that evaluates F several times, with F the same function each time.

    Batch norm would normalise each evaluation by its own batch, in training, and all of them by one running mean in
    evaluation: two different schemes. Here the mean and variance of the first evaluation, at u^k, hold for the step.
    """

    def __init__(self, step: nn.Module):
        super().__init__()
        self.step = step

    def forward(self, x: State) -> State:
        with held(self.step):
            return self.step(x)


class Residual(nn.Module):
    r"""F(u) = C_2 relu(N_2 C_1 relu(N_1 u)): the pre-activation block, a field to step with.   (5.1)

    channels  of u; `out` of F(u), default the same; with stride = 2 F(u) has half the resolution
    dim       1 for signals (*, channel, n), 2 for pictures (*, channel, H, W)

    >>> Residual(4)(torch.zeros(2, 4, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, channels: int, out: int | None = None, stride: int = 1, dim: int = 2):
        super().__init__()
        out = out or channels
        self.N1, self.C1 = BatchNorm(channels), conv(dim, channels, out, stride=stride)
        self.N2, self.C2 = BatchNorm(out), conv(dim, out, out)

    def forward(self, u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch out *half"]:
        u = self.C1(torch.relu(self.N1(u)))
        return self.C2(torch.relu(self.N2(u)))


class StageChange(nn.Module):
    r"""u -> P u + F(u), P u = C relu(N u) with 1x1 taps and stride 2: the step from one stage to the next.

    It is no Euler step: u and F(u) live on another grid than u^k. A state (u, old) becomes (P u + F(u), P u), the
    down-sampled u being the next step's past, as in LM-ResNet.
    """

    def __init__(self, channels: int, out: int, dim: int = 2):
        super().__init__()
        self.F = Residual(channels, out, stride=2, dim=dim)
        self.N, self.C = BatchNorm(channels), conv(dim, channels, out, size=1, stride=2)

    def forward(self, x: State) -> State:
        u = tensors(x)[0]
        past = self.C(torch.relu(self.N(u)))
        new = past + self.F(u)
        return new if isinstance(x, Tensor) else type(x)(new, past)


class Stem(nn.Module):
    r"""picture -> u^0: a convolution from `channels` to `width` of them.

    Raises ValueError unless the picture is a batch (batch, channels, *space) with 4 points or more along each axis,
    which the two halvings need.
    """

    def __init__(self, channels: int, width: int, dim: int = 2):
        super().__init__()
        self.channels, self.dim = channels, dim
        self.C = conv(dim, channels, width)

    def forward(self, picture: Float[Tensor, "*shape"]) -> Float[Tensor, "batch width *space"]:
        space = ("n", "H, W")[self.dim - 1]
        if picture.ndim != self.dim + 2 or picture.shape[1] != self.channels:
            raise ValueError(
                f"This network takes a batch of shape (batch, {self.channels}, {space}); got {tuple(picture.shape)}. "
                "A single one is x[None], grey pictures get their channel by x[:, None]; channels= says how many."
            )
        if min(picture.shape[2:]) < 4:
            raise ValueError(
                f"Two stage changes halve the grid twice, so that an axis needs 4 points or more; got "
                f"{tuple(picture.shape[2:])}. Enlarge the pictures."
            )
        return self.C(picture)


class Head(nn.Module):
    r"""u -> A mean_n relu(N u)[n] + b: the class scores, read from the iterate of a state."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.N, self.A = BatchNorm(channels), nn.Linear(channels, classes)

    def forward(self, x: State) -> Float[Tensor, "batch classes"]:
        u = torch.relu(self.N(tensors(x)[0]))
        return self.A(u.flatten(2).mean(-1))
