r"""u^{k+1} = F(u^k): the one verb of the course.

A wavelet algorithm (4.5), a variational solver, a discretised PDE and a residual network (5.1) are all discrete
dynamical systems. Here is what they share, and all they share: a *map* F takes a state to the next one, and `run`
iterates it.

    Map    any callable state -> state; a function, a lambda, an `nn.Module`.
    State  a tensor, or a NamedTuple of tensors whose first field is the iterate u (a solver's auxiliary variables
           follow).

A map may have two hooks: `.start(u0)` lifts a picture to a state, `.image(x)` reads the picture out of a state. A
*list* of maps is run once through, one map per step: u^{k+1} = F_k(u^k), which is what a residual network is.

Paper: Section 1 (the dynamics F and F_Theta), (4.5), (5.1).  Notebook: 00.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

State = Any
Map = Callable[[State], State]
Steps = Map | Sequence[Map]


class StabilityWarning(UserWarning):
    """A step size exceeds the bound under which the iteration is known to be stable; the message states the bound."""


class ConvergenceWarning(UserWarning):
    """An iteration ended before it had converged; the message says what was reached."""


@dataclass
class Trajectory:
    """What `run` returns: the end of the orbit and what was watched on the way.

    u        the final picture; `x` the final state it was read from (the same tensor where the state is a picture)
    k        how many steps were taken
    kept     {k: u^k} for the iterates that were asked for by `keep`, detached
    curves   {name: tensor of shape (k+1, ...)}: what `record` measured at u^0, ..., u^k, detached
    stopped  why: "k" (all steps taken), "until" (the stopping rule held), "diverged" (it held at a state with NaN or
             infinite entries; a StabilityWarning says so) or "interrupt" (the keyboard)
    """

    u: Tensor
    x: State
    k: int
    stopped: str
    kept: dict[int, Tensor] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)


def maps(step: Steps) -> list[Map] | None:
    """The maps of a list, tuple or `nn.ModuleList`; None for one map. (A ModuleList is callable: only an explicit
    test tells.)
    """
    return list(step) if isinstance(step, (list, tuple, nn.ModuleList)) else None


def iterate(step: Steps, x: State) -> Iterator[State]:
    """x^0, x^1 = F(x^0), x^2 = F(x^1), ...: the orbit of x^0 = x, lazily.

    One map gives an endless orbit; a list of n maps gives n + 1 states. Nothing is copied or changed in place.

    >>> [x for x in itertools.islice(iterate(lambda x: x / 2, 8.0), 4)]
    [8.0, 4.0, 2.0, 1.0]
    """
    yield x
    sequence = maps(step)
    forever: Iterable[Any] = itertools.repeat(step)
    for F in forever if sequence is None else sequence:
        x = F(x)
        yield x


def tensors(x: State) -> tuple[Tensor, ...]:
    """The tensors of a state, the iterate first."""
    return (x,) if isinstance(x, Tensor) else tuple(x)


def finite(x: State) -> bool:
    """True if no tensor of the state has NaN or infinite entries."""
    return all(bool(torch.isfinite(a).all()) for a in tensors(x))


def fixed_point(tol: float, every: int = 1) -> Callable[[State, State], bool]:
    r"""||x^{k+1} - x^k|| <= tol ||x^k||, on the WHOLE state: a stopping rule for `run(..., until=)`.

    The norm runs over all tensors of the state and all images of a batch. It must: ADMM started at u^0 = f does not
    move u in its first step although its multipliers do, and a rule on u alone would stop there. (A number beside the
    iterate, such as FISTA's gamma, is a clock and no part of the norm.) `every` tests only
    each every-th step, for maps so cheap that the test would cost as much as the step. Make a new rule for each run.

    Raises ValueError unless tol > 0 and every >= 1.
    """
    if not tol > 0 or every < 1:
        raise ValueError(f"fixed_point needs tol > 0 and every >= 1; got tol={tol}, every={every}.")
    calls = itertools.count(1)

    def rule(new: State, old: State) -> bool:
        if next(calls) % every:
            return False
        pairs = [(a, b) for i, (a, b) in enumerate(zip(tensors(new), tensors(old), strict=True)) if i == 0 or a.ndim]
        scale = max(float(b.abs().max()) for _, b in pairs if b.numel()) or 1.0  # no square over- or underflows
        moved = float(sum(((a - b) / scale).abs().square().sum() for a, b in pairs))
        size = float(sum((b / scale).abs().square().sum() for _, b in pairs))
        if not moved < math.inf and not finite(new):
            return True  # nothing moves from there; `run` says that the orbit diverged
        return moved <= tol**2 * size

    return rule


def run(
    step: Steps,
    u0: Tensor,
    *,
    k: int | None = None,
    until: Callable[[State, State], bool] | None = None,
    record: Mapping[str, Callable[[Tensor], Any]] | None = None,
    keep: int = 0,
    progress: bool | str = False,
) -> Trajectory:
    r"""u^{k+1} = F(u^k), from u^0: iterate a map, or once through a list of maps.

    step      the map F, or a list of maps F_0, F_1, ...
    u0        the first picture, any shape, real or complex, finite; the map gets a copy, so it is never changed
    k         how many steps (for a list: at most; default all of them)
    until     a rule (x_new, x_old) -> bool, such as `fixed_point(1e-5)`; the run ends when it first holds
    record    {name: u -> number or tensor}, measured at u^0, u^1, ..., gathered in `Trajectory.curves`; a measure with
              an attribute `of_state = True`, such as a Problem, is given the state in place of the picture
    keep      keep every keep-th iterate in `Trajectory.kept`, u^0 and the last one included; 0 keeps none
    progress  True or a title: a progress bar, shown once a run has lasted two seconds

    A map that is faster `together` = m steps at once has `power(u, n)` = F^n(u), taken where nobody looks in between.

    Gradients flow through all steps unless the caller is in `torch.no_grad()`; what is kept and recorded is detached.
    Ctrl-C ends the run and returns what was reached, with stopped = "interrupt".

    Raises ValueError if neither k nor until says when a single map shall stop, if k < 0, or if u0 has NaN or infinite
    entries.

    >>> run(lambda u: u / 2, torch.tensor(8.0), k=3).u
    tensor(1.)
    """
    sequence = maps(step)
    if not isinstance(u0, Tensor):
        raise TypeError(f"run starts from a torch tensor u0; got {type(u0).__name__}. Use torch.as_tensor(u0).")
    if k is None and until is None and sequence is None:
        raise ValueError("An orbit is endless: say when to stop, by k=... (number of steps) or until=fixed_point(tol).")
    if k is not None and (not isinstance(k, int) or k < 0):
        raise ValueError(f"The number of steps k must be a whole number >= 0; got k={k}.")
    if not isinstance(keep, int) or keep < 0:
        raise ValueError(f"keep must be a whole number >= 0 (0 keeps nothing, n every n-th iterate); got keep={keep}.")
    if sequence is None and not callable(step):
        raise TypeError(f"run iterates a map, or a list of maps; got {step!r}, which cannot be called.")
    if not bool(torch.isfinite(u0).all()):
        bad = int((~torch.isfinite(u0)).sum())
        raise ValueError(
            f"u0 must be finite to start an iteration; {bad} of its {u0.numel()} entries are NaN or infinite."
        )

    first = step if sequence is None else sequence[0] if sequence else None
    start: Callable[[Tensor], State] = getattr(first, "start", lambda u: u)
    image: Callable[[State], Tensor] = getattr(first, "image", lambda x: tensors(x)[0])
    total = k if sequence is None else len(sequence) if k is None else min(k, len(sequence))

    curves: dict[str, list[Any]] = {name: [] for name in record or {}}
    kept: dict[int, Tensor] = {}
    of_state = {name: bool(getattr(measure, "of_state", False)) for name, measure in (record or {}).items()}

    def watch(n: int, x: State) -> None:
        keeps = bool(keep) and n % keep == 0
        u = x if all(of_state.values()) and not keeps else image(x).detach()  # a picture may cost more than a step
        values = {name: _value(measure(x if of_state[name] else u)) for name, measure in (record or {}).items()}
        for name, value in values.items():  # only now, so that an interrupt leaves curves of equal length
            curves[name].append(value)
        if keeps:
            kept[n] = u

    x = start(u0.clone())
    n, stopped = 0, "k"
    watch(0, x)
    states = itertools.islice(iterate(step, x), 1, None if total is None else total + 1)
    orbit: Iterator[tuple[int, State]] = enumerate(states, 1)
    if total is not None and not (until or record or keep) and (leap := _leap(step)) > 1:
        orbit = _leaps(step, x, leap, total)
    try:
        for m, new in _bar(orbit, total, progress):
            watch(m, new)
            old, x, n = x, new, m
            if until is not None and until(x, old):
                stopped = "until" if finite(x) else "diverged"
                break
    except KeyboardInterrupt:
        stopped = "interrupt"
    u = image(x)
    if stopped == "diverged":
        warnings.warn(
            f"The iteration has diverged: after {n} steps its state has NaN or infinite entries. Is a step too large?",
            StabilityWarning,
            stacklevel=2,
        )
    if keep:
        kept[n] = u.detach()
    return Trajectory(u, x, n, stopped, kept, {name: _curve(c) for name, c in curves.items()})


def _leap(step: Any) -> int:
    """How many steps `power` takes at once: 1 where its class is not that of the call, or where hooks look on."""
    call = "forward" if isinstance(step, torch.nn.Module) else "__call__"
    power, once = (next((c for c in type(step).__mro__ if name in vars(c)), None) for name in ("power", call))
    hooks = getattr(step, "_forward_hooks", None) or getattr(step, "_forward_pre_hooks", None)
    return 1 if power is None or power is not once or hooks else getattr(step, "together", 1)


def _leaps(step: Any, x: State, leap: int, total: int) -> Iterator[tuple[int, State]]:
    """(n, F^n(x)) for n = leap, 2 leap, ..., total."""
    for n in range(0, total, leap):
        x = step.power(x, min(leap, total - n))
        yield min(n + leap, total), x


def _value(measured: Any) -> Any:
    """A number as a Python number: thousands of tiny tensors, kept between large ones, would fragment the memory."""
    value = measured.detach().cpu() if isinstance(measured, Tensor) else measured
    return value.item() if getattr(value, "ndim", 1) == 0 else value


def _curve(values: list[Any]) -> Tensor:
    """What was measured along the orbit as one tensor; real numbers in float64."""
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    return torch.tensor(values, dtype=torch.float64 if any(isinstance(v, float) for v in values) else None)


def _bar(orbit: Iterator[tuple[int, State]], total: int | None, progress: bool | str) -> Iterator[tuple[int, State]]:
    """The orbit, with a progress bar that shows itself only after two seconds."""
    if not progress:
        yield from orbit
        return
    from tqdm.auto import tqdm

    title = progress if isinstance(progress, str) else None
    with tqdm(total=total, desc=title, delay=2, leave=False) as bar:
        for n, x in orbit:
            yield n, x
            bar.update(n - bar.n)
