r"""The fields of a residual network under other schemes: run([scheme(F_k) for k in ...], x).   Section 5.1

    polynet          Held(Neumann(F_k, 1))       implicit Euler unrolled
    fractalnet       Held(Fractal(F_k, 1))       the mean of one step and of two half steps
    implicit_resnet  ImplicitSkip(F_k)           implicit Euler by gradient steps
    rescheme         any scheme, the same parameters
    deepen           each step as two half steps

At equal depth and seed the first three hold the fields of `resnet`: what differs is the map that steps with them.

Sources: Zhang, Li, Loy and Lin, PolyNet (2017); Larsson, Maire and Shakhnarovich, FractalNet (2017).
Paper: Section 5.1, (5.1), [174], [90], [94].  Notebook: 10.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn

from companion.flows.neumann import Fractal, Neumann
from companion.flows.schemes import Scheme
from companion.flows.stochastic import GatedEuler, ShakeShake
from companion.nets.blocks import Held
from companion.nets.odenet import ODENet, layers, network
from companion.nets.skips import ImplicitSkip


def polynet(
    depth: int = 20,
    *,
    n: int = 2,
    printed: bool = False,
    channels: int = 3,
    classes: int = 10,
    width: int = 16,
    dim: int = 2,
) -> ODENet:
    r"""u + F(u + F(u)), or u + F(u) + F(F(u)) with printed=True: PolyNet with the fields of ResNet.

    n  how many times F_k is taken in a step; n = 1 is ResNet

    PolyNet's block is the printed one; as a step for u' = F(u) it is worse than Euler's unless F is linear (`Neumann`).
    """
    parts = layers(depth, channels, classes, width, dim)
    return network(parts, lambda F: Held(Neumann(F, 1.0, n=n, printed=printed)))


def fractalnet(
    depth: int = 20, *, columns: int = 2, channels: int = 3, classes: int = 10, width: int = 16, dim: int = 2
) -> ODENet:
    r"""(f_{C-1} o f_{C-1} + f_1)/2, f_1 = u + F(u): FractalNet's block of C columns, with the fields of ResNet.

    FractalNet has other weights on each path; here they share F_k, which makes the block a scheme (`Fractal`).
    """
    parts = layers(depth, channels, classes, width, dim)
    return network(parts, lambda F: Held(Fractal(F, 1.0, columns=columns)))


def implicit_resnet(
    depth: int = 20,
    *,
    steps: int = 2,
    lr: float | None = None,
    channels: int = 3,
    classes: int = 10,
    width: int = 16,
    dim: int = 2,
) -> ODENet:
    r"""y = u + F(y), by `steps` gradient steps of rate lr: implicit Euler skips with the fields of ResNet.

    steps = 0 is ResNet; each further step costs about three times an evaluation and its gradient (`ImplicitSkip`).
    """
    parts = layers(depth, channels, classes, width, dim)
    return network(parts, lambda F: ImplicitSkip(F, steps, lr))


def rescheme(net: ODENet, step: Callable[[nn.Module], nn.Module]) -> ODENet:
    r"""run([step(F_k) for k in ...], x): the fields of a network under another scheme, F -> map.

    The two networks share their parameters: training one trains both. Stem, StageChange and Head stay as they are; so
    does a map of two fields, such as a reversible one. A scheme that takes F more than once wants `Held`.

    >>> from companion import Euler, Heun, resnet
    >>> net = resnet(8, channels=1)
    >>> better = rescheme(net, lambda F: Held(Heun(F, 1.0)))
    >>> better.maps[1].step.F is net.maps[1].F
    True
    """
    return ODENet([map if (F := _field(map)) is None else step(F) for map in net.maps])


def deepen(net: ODENet, times: int = 2) -> ODENet:
    r"""u + dt F_k(u)  ->  `times` steps u + dt/times F_k(u): a deeper network for the same differential equation.

    Each scheme on a field is repeated with a fraction of its dt and the same F_k: weights that are constant in pieces
    of t. As times -> infinity the features tend to the exact flow of F_k over dt, at the order of the scheme if F_k is
    smooth. Parameters are shared; compare in evaluation, since batch norm depends on where F is evaluated.

    Raises ValueError for times < 1.
    """
    if times < 1:
        raise ValueError(f"Each step is replaced by times >= 1 shorter ones; got times={times}.")
    return ODENet([short for map in net.maps for short in _shorter(map, times)])


def _field(map: nn.Module) -> nn.Module | None:
    """F of a step with a field F, None for any other map."""
    step = map.step if isinstance(map, Held) else map
    return step.F if isinstance(step, Scheme | GatedEuler | ImplicitSkip) else None


def _shorter(map: nn.Module, times: int) -> list[nn.Module]:
    step = map.step if isinstance(map, Held) else map
    if not isinstance(step, Scheme | GatedEuler | ShakeShake):
        return [map]
    short = copy.copy(step)
    short.dt = step.dt / times
    return [Held(short) if isinstance(map, Held) else short] * times
