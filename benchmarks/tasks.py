"""Every task, family by family: the file that a task comes from is its family."""

from __future__ import annotations

import dataclasses

from benchmarks import deblurring, diffusion, frames, growth, learning, radon, rof, start
from benchmarks.harness import Task

TASKS: tuple[Task, ...] = tuple(
    dataclasses.replace(task, family=family.__name__.rpartition(".")[2])
    for family in (frames, diffusion, rof, deblurring, radon, learning, start, growth)
    for task in family.TASKS
)
WITH_TWO = ("W, Haar, 1 level", "W^T, Haar, 1 level", "Perona-Malik, 100 steps", "ROF, gap of 1e-4 certified")


def chosen(names: list[str]) -> list[Task]:
    """The tasks of the named families, or with one of the names in their own; all for no names.

    Raises ValueError for a name that nothing has.
    """
    for name in names:
        if not any(name in (task.family, task.name) or name.lower() in task.name.lower() for task in TASKS):
            known = ", ".join(dict.fromkeys(task.family for task in TASKS))
            raise ValueError(f"No task has {name!r} in its name; the families are {known}.")
    return [
        task
        for task in TASKS
        if not names or any(name == task.family or name.lower() in task.name.lower() for name in names)
    ]
