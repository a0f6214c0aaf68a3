r"""theta <- theta - lr m, m <- mu m + g + wd theta, with g what a method of adversarial training finds on a batch.

The loop of `train` for methods that are more than the gradient of a loss: a method is a function (x, y) that adds its
gradients to the parameters' `.grad`.

    robust_train(net, data, YOPO(net, eps, step, 5, 3), epochs=20, lr=0.1 / 5)
    robust_train(net, data, PGDTraining(net, eps, step, 10), epochs=20)
    robust_train(net, data, PlainTraining(net), epochs=20)

Paper: Section 5.1, [171].  Notebook: 11.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from companion.lab.checkpoint import seeded
from companion.lab.machine import device as best_device
from companion.lab.parallel import join
from companion.lab.train import batches
from companion.nets.adversarial import count_passes


class Cost(NamedTuple):
    """What a training took: full passes, calls of the first map, seconds of processor time (on CUDA: on the clock)."""

    passes: int
    first: int
    seconds: float


def robust_train(
    net: nn.Module,
    data: Sequence[Tensor],
    method: Callable[[Tensor, Tensor], Any],
    *,
    epochs: int,
    batch: int = 128,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    milestones: Sequence[float] = (0.75, 0.9),
    seed: int = 0,
    device: torch.device | str | None = None,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> Cost:
    r"""Trains net in place: for every batch g = the gradients that method(x, y) adds up, then a step of SGD.

    net         a Module with `maps`, the one that the method holds
    data        (x, y, ...), x in [0, 1]
    milestones  after these shares of the epochs lr is divided by ten
    seed        of the order of the samples and of the random starts

    In the processes of torchrun each has its share of every batch. Raises ValueError for fewer than one epoch or
    sample, FloatingPointError where a weight is no longer finite.
    """
    if epochs < 1 or not len(data[0]) or len(data[0]) != len(data[1]):
        raise ValueError(
            "Training needs epochs >= 1 and as many y as x, one at least; got "
            f"epochs={epochs}, {len(data[0])} x and {len(data[1])} y."
        )
    team, place = join(torch.device(device or best_device()))
    net.to(place).train()
    x, y = data[0].to(place), data[1].to(place)
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(opt, [round(m * epochs) for m in milestones], gamma=0.1)
    team.agree(net)
    clock = time.perf_counter if place.type == "cuda" else time.process_time
    begin = clock()
    with count_passes(net) as calls:
        for epoch in range(epochs):
            with seeded(seed, epoch, team.rank, place) as generator:
                for rows in batches(torch.randperm(len(x), generator=generator), batch, team.size):
                    u, target = x[rows.to(place)], team.mine(y[rows.to(place)])
                    u = team.mine(augment(u, generator) if augment else u)
                    opt.zero_grad()
                    method(u, target)
                    if team.size > 1:
                        for p in net.parameters():
                            p.grad = None if p.grad is None else p.grad * (len(u) / len(rows))
                        team.sum_gradients(net)
                    opt.step()
            schedule.step()
            if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
                raise FloatingPointError(f"After epoch {epoch + 1} the net has weights that are NaN or infinite.")
    team.agree(net, average=True)
    return Cost(calls[-1], calls[0], clock() - begin)
