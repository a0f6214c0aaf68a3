r"""0, 1, 2, ..., n blocks: a PDE-Net learns to step once, then to step twice in a row, then ...   [101], [102]

    0 blocks    the warm-up: filters frozen, one step, nothing kept small
    n blocks    filters and response together, n steps in a row against n frames, from where n - 1 have led

One step says what u_t is; many in a row say whether the net is stable. Each stage is L-BFGS in float64 on the data of
that stage, fresh ones in the papers, and begins with no memory of the one before but the parameters: so a training that
was cut goes on from its last stage and ends where it would have ended. S nets in one (`nets` of `pdenet`) are trained
together, each on films of its own and with a step and a memory of its own: as S trainings would have made them, to the
rounding that L-BFGS lets grow.

Source: Long, Lu and Dong, PDE-Net 2.0 (2019), [101], and its code.
Paper: (5.4), Section 5.2.  Notebook: 13.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from companion.dynamics import StabilityWarning
from companion.lab.checkpoint import load, save
from companion.lab.minimise import minimise_each
from companion.nets.pdenet import block_loss, check_frames


class Stage(NamedTuple):
    """One stage: its number of blocks, the loss it ended with, evaluations of the loss, seconds of processor time.

    With S nets `loss` and `evaluations` are lists of S numbers; the loss is infinite for a net that has blown up.
    """

    blocks: int
    loss: Any
    evaluations: Any
    seconds: float


def blockwise(
    net: Any,
    make_data: Callable[[int, int], Any],
    blocks: Sequence[int] = (0, 1, 2, 3, 4, 5, 6, 9, 12, 15),
    iterations: int = 300,
    *,
    loss: Callable[..., Tensor] = block_loss,
    sparsity: float = 0.005,
    moments: float = 0.001,
    checkpoint: Path | str | None = None,
    progress: bool = True,
) -> list[Stage]:
    r"""Train `net`, a PDENet, in stages of so many blocks; returns what each stage came to.

    make_data    (stage, frames) -> data with u of shape (n, frames or more, C, N1, N2), dt, h: the data of stage
                 0, 1, ...; the same call gives the same data. `lambda stage, frames: data` takes one set for all.
                 S nets have u of shape (S or 1, n, frames or more, C, N1, N2)
    blocks       of the stages; 0 is a warm-up and may come several times
    iterations   of L-BFGS in each stage, at most
    loss         (net, frames, dt, sparsity, moments) -> Tensor, `block_loss`; (S,) for S nets
    checkpoint   a file, written after each stage; if it is there the training goes on after the stage it holds

    The net changes in place. Where the loss of a stage is not finite from the start, the training ends with the
    parameters of the stage before, and a StabilityWarning. Of S nets only those stop that blow up, and are named.

    Raises ValueError for data that do not fit (see `check_frames`), or a checkpoint made with other settings.
    """
    if not blocks or any(n < 0 for n in blocks) or iterations < 1:
        raise ValueError(
            "A schedule is a list of numbers of blocks, 0 for a warm-up, with one iteration or more each; got "
            f"blocks={tuple(blocks)}, iterations={iterations}."
        )
    settings = {"blocks": list(blocks), "iterations": iterations, "sparsity": sparsity, "moments": moments}
    path, nets = None if checkpoint is None else Path(checkpoint), net.F.bank.nets
    history: list[Stage] = []
    if path is not None and path.exists():
        history = [Stage(*stage) for stage in load(path, settings, net)["stages"]]
    alive = torch.isfinite(torch.tensor(history[-1].loss if history else [0.0] * (nets or 1)).reshape(-1))
    bar = tqdm(total=len(blocks), initial=len(history), desc="blocks", disable=not progress)
    for stage, n in list(enumerate(blocks))[len(history) :]:
        begin = time.process_time()
        steps = max(1, n)
        data = make_data(stage, steps + 1)
        check_frames(data.u, data.dt, data.h, steps, net)
        if nets is not None and (data.u.ndim < net.F.bank.dim + 4 or data.u.shape[0] not in (1, nets)):
            raise ValueError(
                f"Each of {nets} nets has its own films: u is ({nets} or 1, n, frames, C, N1, N2); got shape "
                f"{tuple(data.u.shape)}. Take torch.stack of {nets} sets of films, or u[None] for one set for all."
            )
        frames = data.u[..., : steps + 1, :, :, :]
        weights = (sparsity, moments) if n else (0.0, 0.0)
        learned = [p for name, p in net.named_parameters() if n or not name.endswith("bank.free")]

        def losses(
            frames: Tensor = frames, dt: float = data.dt, weights: Any = weights, alive: Tensor = alive
        ) -> Tensor:
            return torch.where(alive.to(frames.device), loss(net, frames, dt, *weights).reshape(-1), torch.inf)

        ends = minimise_each(losses, learned, iterations)
        lost = [s for s, end in enumerate(ends) if alive[s] and not end.finite]
        alive = torch.tensor([end.finite for end in ends])
        if lost:
            warnings.warn(_blown_up(n, history, None if nets is None else lost), StabilityWarning, stacklevel=2)
        if not alive.any():
            break
        each = [end.loss for end in ends], [end.evaluations for end in ends]
        value, count = (each[0][0], each[1][0]) if nets is None else each
        history.append(Stage(n, value, count, time.process_time() - begin))
        if path is not None:
            save(path, settings, {"stages": [list(s) for s in history]}, net)
        bar.update()
        bar.set_postfix(blocks=n, loss=f"{max(end.loss for end in ends if end.finite):.3g}")
    bar.close()
    return history


def _blown_up(n: int, history: list[Stage], nets: list[int] | None) -> str:
    it = ("the net blows up", "it", "it", "is")
    which, they, them, are = it if nets is None else (f"nets {nets} blow up", "they", "them", "are")
    return (
        f"With {n} blocks the loss is not finite from the start: {which} within {n} steps. {they.capitalize()} {are} "
        f"left as {f'{they} came' if not history else f'{history[-1].blocks} blocks have made {them}'}. Let the stages "
        "grow more slowly, give each more iterations or more data, or take smaller steps dt."
    )
