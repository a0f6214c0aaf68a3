r"""argmin of a smooth loss by L-BFGS with strong Wolfe line searches, ending no worse than it began.

Notebook: 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

RESTARTS = 5


class Minimum(NamedTuple):
    """The least loss, how many evaluations there were, and whether the first of them was a finite number."""

    loss: float
    evaluations: int
    finite: bool


class _NotFinite(Exception):
    """Ends one call of the optimiser."""


def minimise(loss: Callable[[], Tensor], parameters: Sequence[Tensor], iterations: int, memory: int = 50) -> Minimum:
    """Set the parameters to those with the least loss() found in so many iterations.

    A line search may step to where the loss is no finite number, of a net that blows up. Then L-BFGS begins anew at the
    best parameters so far, up to five times.

    >>> x = torch.tensor([3.0, -1.0], dtype=torch.float64, requires_grad=True)
    >>> minimise(lambda: (x[0] - 1) ** 2 + 10 * (x[1] - x[0]) ** 2, [x], 50).loss < 1e-12
    True
    """
    parameters = list(parameters)
    count, best, kept = 0, float("inf"), [p.detach().clone() for p in parameters]

    def closure() -> Tensor:
        nonlocal count, best, kept
        optimiser.zero_grad()
        value = loss()
        count += 1
        if not torch.isfinite(value):
            raise _NotFinite
        value.backward()
        if float(value.detach()) < best:
            best, kept = float(value.detach()), [p.detach().clone() for p in parameters]
        return value

    if not parameters or iterations < 1:
        with torch.no_grad():
            best = float(loss())
        return Minimum(best, 1, best < float("inf"))
    for _ in range(RESTARTS + 1):
        optimiser = torch.optim.LBFGS(
            parameters,
            max_iter=iterations,
            max_eval=max(1, 2 * iterations - count),
            history_size=memory,
            tolerance_grad=1e-9,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )
        try:
            optimiser.step(closure)
            finished = True
        except _NotFinite:
            finished = best == float("inf")
        with torch.no_grad():
            for p, value in zip(parameters, kept, strict=True):
                p.copy_(value)
        if finished or count >= 2 * iterations:
            break
    for p in parameters:
        p.grad = None
    return Minimum(best, count, best < float("inf"))
