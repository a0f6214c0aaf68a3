r"""How good a net is, and where it stops being a net of numbers.

Notebooks: 10, 11.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from companion.dynamics import State, finite


class Score(NamedTuple):
    """What `evaluate` measures: the share of wrong answers, or the relative error, and the mean loss."""

    error: float
    loss: float


@torch.no_grad()
def evaluate(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    batch: int = 1000,
    loss: Callable[[Tensor, Tensor], Tensor] = nnf.cross_entropy,
) -> Score:
    """#{i : argmax net(x_i) != y_i} / n and the mean loss; for real y, |net(x) - y| / |y| in place of the share.

    The net is asked in its mode `eval()` and left in the mode it was in.

    Raises ValueError where there is nothing to measure, or not one y for each x.
    """
    if len(x) != len(y) or not len(x):
        raise ValueError(f"An error is measured on at least one x with its y; got {len(x)} x and {len(y)} y.")
    mode, place = net.training, next(net.parameters()).device
    net.eval()
    try:
        total, missed = 0.0, 0.0
        for u, target in zip(x.split(batch), y.split(batch), strict=True):
            out, target = net(u.to(place)), target.to(place)
            total += float(loss(out, target)) * len(u)
            missed += float(wrong(out, target))
    finally:
        net.train(mode)
    return Score(rate(missed, y), total / len(x))


def wrong(out: Tensor, y: Tensor) -> Tensor:
    """The number of wrong answers in a batch; for real y the squared distance."""
    out = out.detach()
    return (out - y).double().square().sum() if y.is_floating_point() else (out.argmax(1) != y).double().sum()


def rate(missed: float, y: Tensor) -> float:
    """What `wrong`, added up over all of y, says in the end: the share, or the relative error."""
    return math.sqrt(missed / float(y.double().square().sum())) if y.is_floating_point() else missed / len(y)


@torch.no_grad()
def where_not_finite(net: nn.Module, x: Tensor) -> str:
    """The first thing, in the order of the computation, that is not finite: a parameter, the data, a map's output."""
    for name, p in net.named_parameters():
        if not bool(torch.isfinite(p).all()):
            return f"the parameter {name} is not finite"
    if not finite(x):
        return "the data of the batch are not finite"
    first: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, out: State) -> None:
            if not first and isinstance(out, Tensor | tuple) and not finite(out):
                first.append(f"{name} ({type(module).__name__})" if name else type(module).__name__)

        return hook

    twin = copy.deepcopy(net)  # batch normalisation and noise change a net that is asked
    for name, module in twin.named_modules():
        module.register_forward_hook(watch(name))
    twin(x)
    return (
        f"the first output that is not finite is that of {first[0]}" if first else "all outputs of the net are finite"
    )
