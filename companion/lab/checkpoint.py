r"""Stop a training, go on, end where it would have ended: to the last bit.

An epoch is determined by what stands in the checkpoint (parameters, optimiser, schedule, the generators that the net
holds) and by its own random numbers, which depend on (seed, epoch, process) only: `seeded` starts them anew at each
epoch. So nothing else has to be stored.

Notebook: 10.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def seeded(seed: int, epoch: int = 0, rank: int = 0, device: torch.device | None = None) -> Iterator[torch.Generator]:
    """Inside, the random numbers of torch, numpy and Python are those of (seed, epoch, rank); the caller's are kept.

    Yields a torch generator, on the processor, that is the same in all processes: the order of the samples and the
    augmentations are drawn from it.
    """
    cards = [device] if device is not None and device.type == "cuda" else []
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    number = (seed * 10_000 + epoch) * 1_000
    with torch.random.fork_rng(devices=cards):
        try:
            torch.manual_seed(number + 1 + rank)
            np.random.seed((number + 1 + rank) % 2**32)  # noqa: NPY002
            random.seed(number + 1 + rank)
            yield torch.Generator().manual_seed(number)
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def save(path: Path, settings: dict[str, Any], history: dict[str, Any], net: nn.Module, **parts: Any) -> None:
    """Write all of it, or nothing: a cut leaves the file of the epoch before."""
    state = {
        "settings": settings,
        "history": history,
        "net": net.state_dict(),
        "generators": {name: g.get_state() for name, g in _generators(net).items()},
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def load(path: Path, settings: dict[str, Any], net: nn.Module, **parts: Any) -> dict[str, Any]:
    """Put net and parts back as they were; returns the history.

    Raises ValueError where the settings are not those the file was made with.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name in sorted(settings.keys() | state["settings"].keys()):
        then, now = state["settings"].get(name), settings.get(name)
        if then != now:
            raise ValueError(
                f"The checkpoint {path} was made with {name} = {then}; now {name} = {now}. A training goes on with "
                "the settings it began with: restore them, or name another file to begin anew."
            )
    net.load_state_dict(state["net"])
    for name, generator in _generators(net).items():
        generator.set_state(state["generators"][name])
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return state["history"]


def _generators(net: nn.Module) -> dict[str, torch.Generator]:
    """The random generators that the modules of a net hold, by name."""
    return {
        f"{name}.{key}": value
        for name, module in net.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Generator)
    }
