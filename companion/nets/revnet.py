r"""a' = a + F(b), b' = b + G(a'): a residual network whose steps are undone instead of stored.   Section 5.1

    revnet            Reversible(F_k, G_k) on each of three grids
    ReversibleStage   steps run forwards for the value, undone one by one for the gradient

Back-propagation needs every u^k. A plain network stores them: memory grows with depth. A reversible step gives u^k back
from u^{k+1}, b = b' - G(a'), a = a' - F(b), up to rounding, so a stage stores its last u only, whatever its depth; the
price is one more evaluation forwards and one backwards for each step. The two halves of u are stepped with in turn, as
position and momentum in the symplectic Euler scheme.

Sources: Gomez, Ren, Urtasun and Grosse, The reversible residual network (2017). There F and G have two layers each.
Paper: Section 5.1, (5.1), [70].  Notebook: 10.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.symplectic import Reversible
from companion.nets.blocks import BatchNorm, conv, quiet
from companion.nets.odenet import ODENet, layers, network


class Layer(nn.Module):
    r"""F(b) = C relu(N b): one layer, for one half of the channels."""

    def __init__(self, channels: int, dim: int = 2):
        super().__init__()
        self.N, self.C = BatchNorm(channels), conv(dim, channels, channels)

    def forward(self, b: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        return self.C(torch.relu(self.N(b)))


class ReversibleStage(nn.Module):
    r"""u -> run(steps, u).u, storing for the gradient the last u alone.

    steps  maps with a method `inverse`

    Value and gradients are those of the plain list of steps, the gradients up to the rounding of the inverses. Batch
    norm: step and inverse see the same batch, and its running statistics count the way forwards only. Not twice
    differentiable.
    """

    def __init__(self, steps: Iterable[nn.Module]):
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        if torch.is_autocast_enabled(u.device.type):
            u = u.float()  # a + F(b) in half precision would not give a back
        parameters = [p for step in self.steps for p in _learned(step)]
        return _Undone.apply(self.steps, u, *parameters)


def _learned(step: nn.Module) -> list[Tensor]:
    return [p for p in step.parameters() if p.requires_grad]


class _Undone(torch.autograd.Function):
    """Forwards the steps; backwards u^k from u^{k+1}, then the step's own gradient."""

    @staticmethod
    def forward(ctx: Any, steps: nn.ModuleList, u: Tensor, *parameters: Tensor) -> Tensor:
        kind = u.device.type
        ctx.precision = torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.steps = steps
        for step in steps:
            u = step(u)
        ctx.save_for_backward(u, *parameters)  # the parameters so that a change of theirs in between is noticed
        return u

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, p: Tensor) -> tuple[Any, ...]:
        u = ctx.saved_tensors[0]
        gradients = [torch.empty_like(theta) for theta in ctx.saved_tensors[1:]]  # first: small tensors that are made
        end = len(gradients)  # between large ones pin the heap, and the process would grow with depth after all
        for step in reversed(ctx.steps):
            with quiet(step), ctx.precision:
                u = step.inverse(u).detach().requires_grad_()
                with torch.enable_grad():
                    new = step(u)
            p, *g = torch.autograd.grad(new, [u, *_learned(step)], p)
            end -= len(g)
            for k, value in enumerate(g):
                gradients[end + k].copy_(value)
        return None, p, *gradients


def revnet(
    depth: int = 20,
    *,
    recompute: bool = True,
    channels: int = 3,
    classes: int = 10,
    width: int = 32,
    dim: int = 2,
) -> ODENet:
    r"""a' = a + F_k(b), b' = b + G_k(a'): RevNet, 6n + 2 layers, F_k and G_k one layer each on half of the channels.

    width      even; with twice the width of `resnet` a step has as many weights as one of its
    recompute  True: memory of training independent of depth (`ReversibleStage`); False: the same steps as a plain list

    Stem, the two StageChanges, which lose half of the points and cannot be undone, and Head are those of `resnet`.
    Raises ValueError for odd width, and for a depth that is not 6n + 2.
    """
    if width % 2:
        raise ValueError(
            f"RevNet splits the channels into two halves of equal size, so width is even; got width={width}. "
            f"Take {width - 1 or 2} or {width + 1}."
        )
    halves = lambda c: nn.ModuleList([Layer(c // 2, dim), Layer(c // 2, dim)])  # noqa: E731
    parts = layers(depth, channels, classes, width, dim, halves)
    maps = network(parts, lambda FG: Reversible(FG[0], FG[1], axis=1)).maps
    if not recompute:
        return ODENet(list(maps))
    grouped: list[nn.Module] = []
    for reversible, group in itertools.groupby(maps, lambda map: isinstance(map, Reversible)):
        steps = list(group)
        grouped += [ReversibleStage(steps)] if reversible else steps
    return ODENet(grouped)
