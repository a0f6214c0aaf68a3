r"""theta^{k+1} = theta^k - lr m^{k+1}, m^{k+1} = mu m^k + grad L_B(theta^k) + wd theta^k: training, in one plain loop.

L_B is the mean loss over a batch B of the data, lr falls by ten at the milestones. Training is heavy ball in theta,
one more u^{k+1} = F(u^k), with a random F.

    history = train(net, data, epochs=30)                     net is trained in place
    history = train(net, data, epochs=30, checkpoint="net.pt")      stop it when you like, call it again: it goes on
    torchrun --nproc-per-node 2 script.py                     the same loop in two processes, see `parallel`

The weight decay wd acts on weights of convolutions and linear maps only: not on biases, not on the scales and shifts
of batch normalisation, not on single numbers such as the alpha_k of (5.2), which it would pull towards a ResNet.

Paper: Section 5.1.  Notebooks: 10, 11.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from companion.lab.checkpoint import load, save, seeded
from companion.lab.machine import device as best_device
from companion.lab.parallel import Team, join
from companion.lab.score import evaluate, rate, where_not_finite, wrong

Loss = Callable[[Tensor, Tensor], Tensor]
Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass
class History:
    """One entry an epoch: mean loss and error while training, the learning rate, the seconds that the epoch took.

    test_error and test_loss have one entry for each epoch in `tested`, counted from 1: all of them, unless `every`
    says otherwise. Two histories are equal if all but their seconds are.
    """

    loss: list[float] = field(default_factory=list)
    train_error: list[float] = field(default_factory=list)
    test_error: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    tested: list[int] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list, compare=False)


def train(
    net: nn.Module,
    data: Sequence[Tensor],
    *,
    epochs: int,
    batch: int = 128,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    milestones: Sequence[float] = (0.5, 0.75),
    loss: Loss = nnf.cross_entropy,
    seed: int = 0,
    device: torch.device | str | None = None,
    amp: bool | None = None,
    augment: Augment | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    optimiser: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] | None = None,
    every: int = 1,
) -> History:
    r"""theta <- theta - lr m, batch after batch: trains `net` in place and returns what was measured.

    data        (x, y, x_test, y_test), a `Split`; y whole numbers for classes, real numbers for a regression
    milestones  after these shares of the epochs lr is divided by ten
    seed        of the order of the samples, the augmentations and the noise of the net (not of its first weights)
    device      default: the CUDA card where there is one;  amp: bfloat16 in the net, default on CUDA only
    augment     (x, generator) -> x, such as `flip`; it draws from the generator, on the processor
    checkpoint  a file, written after each epoch; where it exists the training goes on from it
    optimiser   groups of parameters -> optimiser, default SGD(lr, momentum); lr and momentum are then its own
    every       test after each every-th epoch, and after the last

    Every sample is seen once in an epoch. A last batch of one sample, which has no variance, joins the one before. On a
    processor a training is repeated to the last bit; its first weights are the caller's (torch.manual_seed).

    Raises ValueError for settings that cannot work (among them batch = 1 with batch normalisation), and where they
    differ from the checkpoint's; FloatingPointError as soon as the loss is not finite: it says where, and the
    checkpoint of the last good epoch stays.
    """
    team, place = join(torch.device(device or best_device()))
    _check(net, data, epochs, batch, milestones, every, team)
    settings = {
        **{"epochs": epochs, "batch": batch, "lr": lr, "momentum": momentum, "weight_decay": weight_decay},
        **{"milestones": list(milestones), "seed": seed, "amp": amp, "every": every, "processes": team.size},
        **{"loss": _name(loss), "augment": _name(augment), "optimiser": _name(optimiser)},
        **{"data": _mark(data), "parameters": sum(p.numel() for p in net.parameters())},
    }
    net.to(place)
    x, y = data[0].to(place), data[1].to(place)
    groups = _groups(net, weight_decay)
    opt = optimiser(groups) if optimiser else torch.optim.SGD(groups, lr=lr, momentum=momentum)
    schedule = torch.optim.lr_scheduler.MultiStepLR(opt, [round(m * epochs) for m in milestones], gamma=0.1)
    path, history = Path(checkpoint) if checkpoint else None, History()
    if path and path.exists():
        history = History(**load(path, settings, net, optimiser=opt, schedule=schedule))
    team.agree(net)
    half = torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda" if amp is None else amp)

    for epoch in _bar(range(len(history.loss), epochs), epochs, progress and team.first):
        begin = time.perf_counter()
        net.train()
        sums = torch.zeros(2, dtype=torch.float64)
        with seeded(seed, epoch, team.rank, place) as generator:
            order = torch.randperm(len(x), generator=generator)
            for b, rows in enumerate(batches(order, batch, team.size)):
                u, target = x[rows.to(place)], y[rows.to(place)]
                u = augment(u, generator) if augment else u
                u, target = team.mine(u), team.mine(target)
                with half:
                    out = net(u)
                    value = loss(out, target) * len(u) / len(rows)
                opt.zero_grad()
                value.backward()
                mean, missed = team.total(torch.stack([value.detach().double(), wrong(out, target)])).cpu()
                if not math.isfinite(mean):
                    raise FloatingPointError(_report(net, u, f"The loss is {mean}", epoch, b, path, opt))
                team.sum_gradients(net)
                opt.step()
                sums += torch.stack([mean * len(rows), missed])
        if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
            raise FloatingPointError(_report(net, u, "The net has lost its numbers", epoch, b, path, opt))
        team.agree(net, average=True)
        history.loss.append(float(sums[0]) / len(x))
        history.train_error.append(rate(float(sums[1]), y))
        history.lr.append(opt.param_groups[0]["lr"])
        schedule.step()
        if (epoch + 1) % every == 0 or epoch + 1 == epochs:
            score = evaluate(net, data[2], data[3], loss=loss)
            history.test_error.append(score.error)
            history.test_loss.append(score.loss)
            history.tested.append(epoch + 1)
        history.seconds.append(time.perf_counter() - begin)
        if path and team.first:
            save(path, settings, asdict(history), net, optimiser=opt, schedule=schedule)
        team.wait()
    return history


def batches(order: Tensor, size: int, processes: int = 1) -> list[Tensor]:
    """The samples in their order, `size` at a time; a rest of fewer than two a process joins the batch before it.

    >>> [len(rows) for rows in batches(torch.arange(9), 4)]
    [4, 5]
    """
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) < 2 * processes and size > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters in two groups: matrices and kernels, which decay, and the rest, which do not."""
    learned = [p for p in net.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]


def _check(
    net: nn.Module, data: Sequence[Tensor], epochs: int, batch: int, milestones: Sequence[float], every: int, team: Team
) -> None:
    """The settings that cannot work."""
    if len(data) != 4 or len(data[0]) != len(data[1]) or len(data[2]) != len(data[3]) or not len(data[0]):
        raise ValueError(
            "Training needs data (x, y, x_test, y_test) with as many y as x; got "
            f"{', '.join(str(tuple(a.shape)) for a in data)}."
        )
    if epochs < 1 or batch < 1 or every < 1:
        raise ValueError(f"epochs, batch and every are whole numbers >= 1; got {epochs}, {batch} and {every}.")
    if not all(0 < m < 1 for m in milestones) or list(milestones) != sorted(milestones):
        raise ValueError(f"Milestones are growing shares of the epochs, each in (0, 1); got {tuple(milestones)}.")
    if not any(p.requires_grad for p in net.parameters()):
        raise ValueError("The net has no parameter that could be learned.")
    least, normalised = min(batch, len(data[0])), any(isinstance(m, _BatchNorm) for m in net.modules())
    if normalised and least < 2 * team.size:
        raise ValueError(
            f"Batch normalisation divides by the deviation over the batch, and one sample has none; here {least} "
            f"samples meet {team.size} process(es). Use batches of at least {2 * team.size}."
        )
    if least < team.size:
        raise ValueError(f"Each of {team.size} processes needs a sample of every batch; got {least} samples.")


def _report(
    net: nn.Module, u: Tensor, what: str, epoch: int, b: int, path: Path | None, opt: torch.optim.Optimizer
) -> str:
    """Where a training has broken down, and what is left of it."""
    kept = "No checkpoint was asked for"
    if path:
        kept = f"{path} holds the net after epoch {epoch}" if path.exists() else f"No epoch was finished for {path}"
    return (
        f"{what} in epoch {epoch + 1}, batch {b + 1}: {where_not_finite(net, u)}. {kept}. Often lr is too large "
        f"(now {opt.param_groups[0]['lr']:g}), or the data are not finite."
    )


def _name(f: Any) -> str | None:
    return None if f is None else getattr(f, "__qualname__", type(f).__name__)


def _mark(data: Sequence[Tensor]) -> str:
    """A mark of the data, so that a training does not go on with others: shape, and a checksum of x and y."""
    sums = (zlib.crc32(a.detach().cpu().contiguous().numpy().tobytes()) for a in data[:2])
    return " ".join([str(tuple(data[0].shape)), *(f"{number:08x}" for number in sums)])


def _bar(epochs: range, total: int, progress: bool) -> Iterator[int]:
    """The epochs, with a bar that shows itself only after two seconds."""
    if not progress:
        return iter(epochs)
    from tqdm.auto import tqdm

    return iter(tqdm(epochs, initial=epochs.start, total=total, desc="epochs", delay=2, leave=False))
