r"""method(f, A, sigma, weight) -> u: one function, one line of the leaderboard.   (1.1)

The procedure, the same for every method and each of the nine tasks of tasks.py:

    weight      the one number that a method may choose: golden-section search, to a factor 1.2, for the highest mean
                PSNR on four training photographs (CHOSEN_ON). All else a method fixes beforehand, in its docstring
    score       seven held-out photographs, which the search never sees, each alone, cut to [0, 1]: mean PSNR and SSIM
    seconds     of processor time, the median of the seven, on one thread
    memory      the largest resident memory during a run on one picture above that before it, in MiB, the least of
                three runs: intermediate tensors and the result count, f and the matrices that A keeps do not. None
                where the system is silent
    parameters  the number of learned numbers; the weight is not one of them

`entry` makes a line, `board` shows the stored ones (experiments/leaderboard.py), `enter` puts yours among them.

Notebook: 14.
"""

from __future__ import annotations

import functools
import gc
import re
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from companion.lab import photos
from companion.lab.machine import trim
from companion.lab.quality import best_weight, psnr, ssim
from companion.lab.results import stored
from companion.lab.table import Table
from companion.lab.tasks import Task, tasks
from companion.operators.linear import LinearOperator

Method = Callable[[Tensor, LinearOperator, float, float], Tensor]  # (f, A, sigma, weight) -> u, batches in front
CHOSEN_ON = ("coffee", "chelsea", "brick", "hubble")
FACTOR = 1.2
STATUS = Path("/proc/self/status")


class Row(NamedTuple):
    """What one method does on one task: the numbers of the module's docstring, `pictures` the PSNR of each picture.

    kind    "course", "learned", "peer" or "yours"
    chosen  the mean PSNR on the training photographs at the weight
    span    where the weight was looked for
    """

    name: str
    task: str
    kind: str
    psnr: float
    ssim: float
    seconds: float
    memory: float | None
    parameters: int
    weight: float | None
    chosen: float
    pictures: dict[str, float]
    span: list[float] | None = None


def entry(
    name: str,
    method: Method,
    task: Task | str,
    span: tuple[float, float] | None = None,
    parameters: int = 0,
    kind: str = "yours",
) -> Row:
    """Choose the weight on the training photographs, then score on the held-out ones: a line of the leaderboard.

    method  (f, A, sigma, weight) -> u, with f (*batch, *data) and u (*batch, n, n)
    span    where the weight is looked for, 0 < lo < hi; None for a method without one, which is given 1.0

    Raises ValueError where u has another shape than the pictures, or is not finite.
    """
    task = named(task)
    run = functools.partial(_run, method, task)
    u = torch.stack(list(photos.training(task.n, CHOSEN_ON).values()))
    f = task.data(u, seed=0)
    score = lambda weight: _mean(psnr(v, w) for v, w in zip(run(f, weight, u), u, strict=True))  # noqa: E731
    weight, chosen = (1.0, score(1.0)) if span is None else best_weight(score, *span, FACTOR)
    weight = float(f"{weight:.3g}")
    truth = photos.held_out(task.n)
    w = torch.stack(list(truth.values()))
    restored, seconds = _each(run, task, w, weight)
    pairs = list(zip(restored, w, strict=True))
    return Row(
        name,
        task.name,
        kind,
        psnr=round(_mean(psnr(v, u) for v, u in pairs), 2),
        ssim=round(_mean(ssim(v, u) for v, u in pairs), 3),
        seconds=seconds,
        memory=_memory(run, task, w, weight),
        parameters=parameters,
        weight=None if span is None else weight,
        chosen=round(chosen, 2),
        span=list(span) if span else None,
        pictures={picture: round(psnr(v, u), 2) for picture, (v, u) in zip(truth, pairs, strict=True)},
    )


def timed(method: Method, task: Task | str, weight: float) -> tuple[float, float | None]:
    """(seconds, memory) alone, at a weight that has been chosen."""
    task = named(task)
    run, w = functools.partial(_run, method, task), torch.stack(list(photos.held_out(task.n).values()))
    return _each(run, task, w, weight)[1], _memory(run, task, w, weight)


def named(task: Task | str) -> Task:
    """The task of that name, for pictures 128 x 128; ValueError with the nine names for another one."""
    if isinstance(task, Task):
        return task
    if task not in _tasks():
        raise ValueError(f"The tasks are {', '.join(map(repr, _tasks()))}; got {task!r}.")
    return _tasks()[task]


def peak(run: Callable[[], Any]) -> float | None:
    """The largest resident memory during run(), above that before it, in MiB; None where the system does not say.

    Memory that is free but kept by the C library is given back before, or it would be used again unseen.
    """
    gc.collect()
    trim()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _status("VmRSS")
    except (OSError, TypeError):
        run()
        return None
    kept = run()  # a result counts while it lives  # noqa: F841
    return max(_status("VmHWM") - before, 0) / 1024


def rows(task_name: str | None = None) -> list[Row]:
    """The stored lines, of all tasks or of one, best first."""
    if task_name is not None:
        named(task_name)
    table = {name: lines for name, lines in stored("leaderboard").items() if name in _tasks()}
    found = [
        Row(name, task, **numbers)
        for task, lines in table.items()
        if task_name in (None, task)
        for name, numbers in lines.items()
    ]
    return sorted(found, key=lambda row: (list(_tasks()).index(row.task), -row.psnr))


def board(task_name: str | None = None) -> Table:
    """The stored leaderboard of a task, best first; without a task the mean PSNR of every method on all nine."""
    found = rows(task_name)
    if task_name is not None:
        return Table(map(_shown, found))
    names = dict.fromkeys(row.name for row in found)
    at = {(row.name, row.task): f"{row.psnr:.2f}" for row in found}
    kinds = {row.name: row.kind for row in found}
    lines = [{"method": m, "kind": kinds[m], **{t: at.get((m, t), "") for t in _tasks()}} for m in names]
    return Table(sorted(lines, key=lambda line: (list(KINDS).index(line["kind"]), line["method"])))


def enter(name: str, method: Method, task_name: str, span: tuple[float, float] | None = None) -> Table:
    """Your function among the stored ones: scored by the same procedure, now, and marked by an arrow.

    What goes wrong inside it is said, with the place where it happened, and raises nothing: the stored rows are shown
    without yours.
    """
    try:
        mine = [entry(name, method, task_name, span)]
    except Exception as error:
        print(f"'{name}' has no line yet. {type(error).__name__}: {error}{_place(error, method)}")
        mine = []
    found = rows(task_name if task_name in _tasks() else next(iter(_tasks())))
    return Table(map(_shown, sorted([*mine, *found], key=lambda row: -row.psnr)))


KINDS = {"course": "course, no learning", "learned": "course, learned", "peer": "outside the course", "yours": "yours"}


@functools.cache
def _tasks() -> dict[str, Task]:
    return tasks(128)


def _run(method: Method, task: Task, f: Tensor, weight: float, u: Tensor) -> Tensor:
    """The method's picture, checked, cut to [0, 1]."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that takes all its steps, on purpose
        v = method(f.clone(), task.A, task.sigma, weight)
    if not isinstance(v, Tensor) or v.shape != u.shape:
        got = f"shape {tuple(v.shape)}" if isinstance(v, Tensor) else f"a {type(v).__name__}"
        raise ValueError(
            f"A method gives a picture for every picture measured: from data f of shape {tuple(f.shape)} a tensor u "
            f"of shape {tuple(u.shape)}; got {got}."
        )
    if not bool(v.isfinite().all()):
        raise ValueError(
            f"A method's picture is finite; at weight = {weight:.3g} this one has {int((~v.isfinite()).sum())} values "
            "that are not. Is a step too long, or something divided by 0? A narrower span may do."
        )
    return v.detach().to(u.dtype).clamp(0, 1)


def _each(run: Callable, task: Task, w: Tensor, weight: float) -> tuple[list[Tensor], float]:
    """The pictures restored, each alone, and the median of the processor seconds."""
    seconds, restored = [], []
    for f, u in zip(task.data(w, seed=1), w, strict=True):
        begin = time.process_time()
        restored.append(run(f, weight, u))
        seconds.append(time.process_time() - begin)
    return restored, float(f"{statistics.median(seconds):.2g}")


def _memory(run: Callable, task: Task, w: Tensor, weight: float) -> float | None:
    """The least peak of three runs, in MiB."""
    f, u = task.data(w, seed=1)[0], w[0]
    found = [mib for _ in range(3) if (mib := peak(lambda: run(f, weight, u))) is not None]
    return round(min(found), 1) if found else None


def _shown(row: Row) -> dict[str, str]:
    return {
        "": "->" if row.kind == "yours" else "",
        "method": row.name,
        "kind": row.kind,
        "PSNR": f"{row.psnr:.2f}",
        "SSIM": f"{row.ssim:.3f}",
        "seconds": f"{row.seconds:.2g}",
        "MiB": "" if row.memory is None else f"{row.memory:.0f}",
        "parameters": f"{row.parameters:,}" if row.parameters else "",
        "weight": "" if row.weight is None else f"{row.weight:.3g}",
    }


def _mean(values: Any) -> float:
    return statistics.fmean(values)


def _place(error: Exception, method: Method) -> str:
    """Where in the method it happened."""
    code, line, trace = getattr(method, "__code__", None), None, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno - code.co_firstlineno if code and trace.tb_frame.f_code is code else line
        trace = trace.tb_next
    return "" if line is None else f" (line {line + 1} of the function)"


def _status(key: str) -> int:
    """A line of /proc/self/status, in KiB."""
    return int(re.search(rf"{key}:\s+(\d+)", STATUS.read_text())[1])  # type: ignore[index]
