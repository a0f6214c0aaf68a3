r"""g = sum_r (n_r / n) g_r: one training step of several processes, each with n_r of the n samples of a batch.

`torchrun --nproc-per-node 2 script.py` starts the processes and tells each its number by the environment; they talk
through gloo on processors, through nccl on CUDA cards, one card each. Without torchrun every function here returns
at once. A net whose maps act on each sample alone takes the step of a single process, to rounding. Batch normalisation
does not: each process takes the mean and variance of its own n_r samples, as if the batch were smaller.

If a process dies, torchrun ends the others; with `--max-restarts 3` it starts all of them anew, up to three times, and
a training with a checkpoint goes on from there.

Notebook: 10.
"""

from __future__ import annotations

import atexit
import importlib
import os
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn


class Team(NamedTuple):
    """Process number `rank` of `size`; rank 0 writes the files and shows the progress."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    def mine(self, batch: Tensor) -> Tensor:
        """x_r, x_{r+R}, x_{r+2R}, ...: this process's samples of a batch."""
        return batch[self.rank :: self.size]

    def total(self, values: Tensor) -> Tensor:
        """sum_r v_r, the same in all processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, net: nn.Module) -> None:
        """Every p.grad becomes sum_r p.grad_r; one message for all of them."""
        if self.size > 1:
            learned = [p for p in net.parameters() if p.requires_grad]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
            summed = self.total(torch.cat([g.flatten() for g in grads])).split([g.numel() for g in grads])
            for p, g in zip(learned, summed, strict=True):
                p.grad = g.view_as(p)

    def agree(self, net: nn.Module, average: bool = False) -> None:
        """Parameters and buffers become those of process 0; with `average`, the real buffers (running means and
        variances) become their means over the processes, and the parameters, equal already, stay.
        """
        if self.size > 1:
            with torch.no_grad():
                for a in [*net.buffers(), *([] if average else net.parameters())]:
                    if not average:
                        distributed.broadcast(a.data, 0)
                    elif a.is_floating_point():
                        a.copy_(self.total(a) / self.size)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()


def join(device: torch.device) -> tuple[Team, torch.device]:
    """This process's team and device: as torchrun's WORLD_SIZE, RANK and LOCAL_RANK say, else the process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        # Optimisers load this module, and its default arguments keep the group that they find. Loaded before there is
        # one, it lets the group's threads end with it; threads that outlive the interpreter may abort the process.
        importlib.import_module("torch.distributed.nn.functional")
        # When torchrun starts the processes again, the addresses of the dead ones are still in its store.
        store, rank, size = next(distributed.rendezvous("env://"))
        store = distributed.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
        atexit.register(distributed.destroy_process_group)
    return Team(distributed.get_rank(), size), device
