r"""min E_n for N_0 < N_1 < ... < N, each from the field of the one before: ROF from coarse to fine.   (4.2)

The dual field v of (3.1), |v| <= 1, changes little from one grid to the next: read on the finer grid, each value over
the cells it has split into, it is an admissible field there, and FISTA on the dual goes on from it. A gap certifies
every level, whatever the start.

On the disc of radius 1/4, nu = 0.05, N = 32, 64, 128, 256, to a gap of 2.5e-4 of the minimum: 2 s (Haar, entrywise)
to 8 s (linear splines) on one core, most of it at N = 256. The start saves from a third to half of the steps of a grid
(of Haar, entrywise, none). Accelerated PDHG took as long at its best ratio of steps, from two to seven times as long
at the default one.

Paper: (4.2), Thm 4.1.  Notebook: 07.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from companion.dynamics import ConvergenceWarning
from companion.energies.variation import ROF, rof_dual
from companion.flows.solvers import FISTA


class Level(NamedTuple):
    """One grid: the picture u, the duality gap at it, what it took, and the field v of (3.1)."""

    u: Tensor
    gap: float
    steps: int
    seconds: float
    v: Tensor


def refine(problems: Sequence[ROF], tol: float = 2.5e-4, k: int = 5000, every: int = 50) -> list[Level]:
    r"""(argmin of each problem, with its gap): FISTA with restart on each dual, from the field of the one before.

    problems  ROF on ever finer grids, such as [DiscreteEnergy(J(N), f).problem for N in (32, 64, 128, 256)]: each with
              as many components of the gradient as the first, and a whole multiple of its pixels along each axis
    tol       stop where gap <= tol * (value at u); then also h^d/2 |u - u*|^2 <= gap, u* the minimiser
    k, every  at most k steps on each grid; the gap is looked at every so many

    seconds are of processor time, for each level alone. A level that has not reached tol after k steps says so by a
    ConvergenceWarning. Raises ValueError where the pixels of a grid are not split into whole ones by the next.
    """
    if not problems:
        raise ValueError("Refinement needs at least one problem; got none. Give ROF problems from coarse to fine.")
    levels: list[Level] = []
    for problem in problems:
        begin = time.process_time()
        with torch.no_grad():
            dual = rof_dual(problem)
            step = FISTA(dual, restart=True)
            s = step.start(problem.E.domain())
            if levels:
                p = prolong(levels[-1].v, s.x.shape) * _radius(problem)
                s = s._replace(x=p, old=p)
            for i in range(1, k + 1):
                s = step(s)
                if i % every == 0 or i == k:
                    u, gap = dual.decode(s.x), float(dual.gap(s.x))
                    if gap <= tol * float(problem(u)):
                        break
            else:
                warnings.warn(
                    f"After {k} steps on {tuple(u.shape)} pixels the gap is {gap:.2e}, not {tol:.1e} of the objective. "
                    "Allow more steps (k=...) or a larger tol.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        levels.append(Level(u, gap, i, time.process_time() - begin, s.x / _radius(problem)))
    return levels


def prolong(v: Tensor, shape: Sequence[int]) -> Tensor:
    """v on a finer grid: each value over the cells that its own has been split into.

    >>> prolong(torch.tensor([[1.0, 2.0]]), (1, 4))
    tensor([[1., 1., 2., 2.]])
    """
    if len(shape) != v.ndim or any(fine % coarse for fine, coarse in zip(shape, v.shape, strict=True)):
        raise ValueError(
            f"Each axis of a finer grid is a multiple of the coarser one's; got {tuple(v.shape)}, then {tuple(shape)}. "
            "Give grids such as N = 32, 64, 128."
        )
    for axis, (fine, coarse) in enumerate(zip(shape, v.shape, strict=True)):
        v = v.repeat_interleave(fine // coarse, axis) if fine > coarse else v
    return v


def _radius(problem: ROF) -> float:
    """nu h^{d-1}: p = nu h^{d-1} v is the unknown of the dual."""
    return problem.J.nu * problem.J.D.h ** (problem.J.D.dim - 1)
