r"""u^{k+1} = u^k + F_k(u^k): a residual network is a list of maps, run by `run`.   (5.1), (5.2)

    resnet      Euler(F_k, 1)                                        (5.1)
    lm_resnet   (1 - alpha_k) u^k + alpha_k u^{k-1} + F_k(u^k)       (5.2), with dt = 1
    mlp_resnet  Euler(F_k, dt) on points of R^d

A network here is `ODENet(maps)`: forward is run(maps, x).u, nothing else. Stem, n steps on each of three grids with a
StageChange for the first step of the second and third, Head: 6n + 2 layers. All take their weights in one order,
so that at equal depth and seed they hold the same fields F_k under different schemes.

Sources: Lu, Zhong, Li and Dong, Beyond finite layer neural networks (2018).
Paper: Section 5.1, (5.1)-(5.3).  Notebooks: 10, 11.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from companion.dynamics import State, iterate, run, tensors
from companion.flows.multistep import TwoStep, TwoStepState
from companion.flows.roots import check_alpha
from companion.flows.schemes import Euler
from companion.nets.blocks import Head, Residual, StageChange, Stem
from companion.nets.dense_field import DenseField


class ODENet(nn.Module):
    r"""x -> run(maps, x).u: a network is a list of maps.

    maps  modules, each from a state to the next: Stem, steps, Head

    `run` ends at Ctrl-C with what it has reached; half a network is no answer, so here the interrupt goes on.

    >>> net = ODENet([Euler(torch.sin, 1.0), Euler(torch.cos, 1.0)])
    >>> net(torch.zeros(1))
    tensor([1.])
    """

    def __init__(self, maps: Sequence[nn.Module]):
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def forward(self, x: Tensor) -> Tensor:
        end = run(self.maps, x)
        if end.stopped == "interrupt":
            signal.default_int_handler(signal.SIGINT, None)  # KeyboardInterrupt
        return end.u

    def features(self, x: Tensor) -> list[Tensor]:
        """x, u^0, u^1, ..., the class scores: the iterate after each map."""
        return [tensors(state)[0] for state in iterate(self.maps, x)]


class LMStep(TwoStep):
    r"""(1 - alpha) u^k + alpha u^{k-1} + dt F(u^k): one block of LM-ResNet.   (5.2)

    alpha  a number in (-1, 1], or None: a trainable one, drawn from U[-0.1, 0]; training may carry it anywhere

    `TwoStep` in a list of maps: a picture without a past, as the stem gives it, is its own past, so that the first step
    is Euler's whatever alpha. Raises ValueError for a number alpha outside (-1, 1].
    """

    def __init__(self, F: Callable[[Tensor], Tensor], alpha: float | None = None, dt: float = 1.0):
        super().__init__(F, dt, 0.0 if alpha is None else alpha)
        if alpha is None:
            self.alpha = nn.Parameter(torch.empty(()).uniform_(-0.1, 0.0))

    def forward(self, x: State) -> TwoStepState:
        return super().forward(self.start(x) if isinstance(x, Tensor) else x)


def resnet(depth: int = 20, *, channels: int = 3, classes: int = 10, width: int = 16, dim: int = 2) -> ODENet:
    r"""u^{k+1} = u^k + F_k(u^k): ResNet with pre-activation, 6n + 2 layers.   (5.1)

    depth     6n + 2: 8, 14, 20, ...; n steps in each of three stages with width, 2 width, 4 width channels
    channels  of the pictures, (batch, channels, H, W) or, with dim = 1, (batch, channels, n)

    The first step of the second and third stage is the StageChange. Raises ValueError for another depth.

    >>> len(resnet(20).maps)  # Stem, 3 x 3 steps, Head
    11
    """
    return network(layers(depth, channels, classes, width, dim), lambda F: Euler(F, 1.0))


def lm_resnet(
    depth: int = 20,
    alpha: float | None = None,
    *,
    channels: int = 3,
    classes: int = 10,
    width: int = 16,
    dim: int = 2,
) -> ODENet:
    r"""u^{k+1} = (1 - alpha_k) u^k + alpha_k u^{k-1} + F_k(u^k): LM-ResNet.   (5.2)

    alpha  one number in (-1, 1] for all steps, or None: one trainable alpha_k a step, from U[-0.1, 0]

    The first step of each stage is ResNet's: in the first stage u has no past, in the others it is the StageChange,
    whose down-sampled u becomes the past. So there are 3(n - 1) numbers alpha_k, and none for depth 8, n = 1: that is
    ResNet-8. alpha = 0 is ResNet. Raises ValueError for alpha outside (-1, 1] and for a depth that is not 6n + 2.
    """
    if alpha is not None:
        check_alpha(alpha)
    parts = layers(depth, channels, classes, width, dim)
    first = parts[1]
    return network(parts, lambda F: LMStep(F, 0.0 if F is first else alpha))


def mlp_resnet(dim: int, width: int, depth: int, dt: float | None = None) -> ODENet:
    r"""u -> u + dt F_k(u), k < depth: Euler's scheme on R^dim with a field B_k tanh(A_k u + b_k) + c_k a step.   (5.1)

    dt  None is 1/depth, so that the steps end at t = 1 for every depth

    Raises ValueError for depth < 1.

    >>> len(mlp_resnet(2, 16, depth=10).maps)
    10
    """
    if depth < 1:
        raise ValueError(f"A residual network has at least one step; got depth={depth}.")
    return ODENet([Euler(DenseField(dim, width, time=False), 1 / depth if dt is None else dt) for _ in range(depth)])


def check_depth(depth: int) -> int:
    """n of depth = 6n + 2, or ValueError with the depths nearby."""
    n, rest = int((depth - 2) // 6), (depth - 2) % 6
    if rest or n < 1:
        near = 8 if n < 1 else f"{6 * n + 2} or {6 * n + 8}"
        raise ValueError(
            f"Three stages of n blocks with two layers, stem and head: depth = 6n + 2; got {depth}. Take {near}."
        )
    return n


def layers(
    depth: int,
    channels: int,
    classes: int,
    width: int,
    dim: int,
    field: Callable[[int], nn.Module] | None = None,
) -> list[nn.Module]:
    """Stem, n fields F_k, StageChange, n - 1 fields, StageChange, n - 1 fields, Head: what all networks here share.

    field  channels -> F_k, by default Residual(channels)
    """
    n = check_depth(depth)
    field = field or (lambda c: Residual(c, dim=dim))
    parts = [Stem(channels, width, dim), *(field(width) for _ in range(n))]
    for c in (width, 2 * width):
        parts += [StageChange(c, 2 * c, dim), *(field(2 * c) for _ in range(n - 1))]
    return [*parts, Head(4 * width, classes)]


def network(parts: list[nn.Module], step: Callable[[Any], nn.Module]) -> ODENet:
    """The network that steps with each field F_k among the parts by step(F_k), a map."""
    return ODENet([part if isinstance(part, Stem | StageChange | Head) else step(part) for part in parts])
