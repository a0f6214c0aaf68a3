"""ratio = seconds of one / seconds of the other, both measured in turn in one run, after the same result.

A `Task` makes a `Case` for a size: our call, the bytes that it cannot avoid to move, and the `Peer`s. `measure` calls
everything once to warm up, compares each peer's result with ours, refuses those that solve another problem, and then
calls ours, the limit and the peers in turn, beginning with another one each time; for the page at least seven times
each. A short call is repeated until it lasts a millisecond. Medians and minima are kept: on a machine that others use
too, minima.
"""

from __future__ import annotations

import gc
import importlib.util
import math
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], Any]
Size = tuple[int, ...]
ROUNDS = 7
LEAST = 1e-3  # seconds that a sample lasts
PART = 2**24  # entries of a result that are compared at once


def difference(ours: Any, theirs: Any) -> float:
    """max |ours - theirs| / max |ours|; infinity for another shape, or where one is not finite."""
    a, b = (torch.as_tensor(x).detach().cpu() for x in (ours, theirs))
    if a.shape != b.shape:
        return math.inf
    parts = zip(*(x.flatten().split(PART) for x in (a, b)), strict=True)  # in float64 all would fill the memory
    sizes = [torch.stack([(x.double() - y.double()).abs().max(), x.double().abs().max()]) for x, y in parts]
    gap, size = torch.stack(sizes).amax(0)
    far = float(gap / size.clamp_min(torch.finfo(size.dtype).tiny))
    return far if math.isfinite(far) else math.inf


@dataclass(frozen=True)
class Peer:
    """Somebody else's way to the same result.

    prepare  imports and sets up what is needed and returns the call that is timed
    module   what must be importable; None for a loop written here
    read     their result in our layout, for the comparison alone
    apart    (ours, theirs) -> distance, where it is not the case's
    note     what a reader should know of this peer
    """

    prepare: Callable[[], Call]
    module: str | None = None
    read: Callable[[Any], Any] = lambda result: result
    apart: Callable[[Any, Any], float] | None = None
    note: str = ""


@dataclass
class Case:
    """One task at one size.

    ours         our call
    limit_bytes  the larger one of what must be read and what must be written; the limit is a copy of them into a
                 reused buffer, `moves()` times
    limit        where the limit is no copy, the call that it is, with `limit_name`
    apart        (ours, theirs) -> distance of two results, at most `tolerance`; (ours, ours) is tried too, so that an
                 objective can be held against its known minimum
    patience     seconds: a peer whose one call takes longer is named with its ratio and not called seven times
    weigh        a shorter call with the same peak of memory, where there is one
    words        seconds by name -> what else is to be said of the row
    """

    ours: Call
    limit_bytes: int = 0
    peers: dict[str, Peer] = field(default_factory=dict)
    apart: Callable[[Any, Any], float] = difference
    tolerance: float = 1e-5
    moves: Callable[[], int] = lambda: 1
    limit: Call | None = None
    limit_name: str = ""
    patience: float = 20.0
    weigh: Call | None = None
    words: Callable[[Mapping[str, float]], str] = lambda seconds: ""


@dataclass(frozen=True)
class Task:
    """A name, the sizes of `make bench` and of `make bench-quick`, and size, dtype, device -> Case."""

    name: str
    make: Callable[[Size, torch.dtype, torch.device], Case]
    sizes: tuple[Size, ...]
    quick: tuple[Size, ...] = ()
    dtype: torch.dtype = torch.float32
    family: str = ""
    on_gpu: bool = True


def alternate(calls: Mapping[str, Call], rounds: int = ROUNDS, wait: Call = lambda: None) -> dict[str, list[float]]:
    """Seconds of each call, `rounds` times in turn; all have been called before. Raises ValueError for rounds < 1."""
    if rounds < 1:
        raise ValueError(f"A median needs rounds >= 1; got {rounds}.")
    repeats = {name: max(1, math.ceil(LEAST / seconds(call, 1, wait))) for name, call in calls.items()}
    spent: dict[str, list[float]] = {name: [] for name in calls}
    names, collecting = list(calls), gc.isenabled()
    gc.disable()
    try:
        for k in range(rounds):
            first = k % len(names)
            for name in names[first:] + names[:first]:
                spent[name].append(seconds(calls[name], repeats[name], wait))
    finally:
        if collecting:
            gc.enable()
    return spent


def seconds(call: Call, repeats: int = 1, wait: Call = lambda: None) -> float:
    """The seconds of one call, as the mean of `repeats` of them; `wait` returns when the device has done."""
    wait()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - begin) / repeats


def copying(nbytes: int, device: torch.device, moves: Callable[[], int] = lambda: 1) -> Call:
    """Copies nbytes into a buffer that is there already, moves() times."""
    source = torch.ones(max(1, nbytes // 4), dtype=torch.float32, device=device)
    buffer = torch.zeros_like(source)

    def copy() -> Tensor:
        for _ in range(moves()):
            buffer.copy_(source)
        return buffer

    return copy


def waiting(device: torch.device) -> Call:
    """Returns when the device has done what was asked of it."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def ready(peer: Peer, case: Case, ours: Any, wait: Call = lambda: None) -> tuple[Call | None, str]:
    """The peer's call, warm and with our result, or None and the reason why it is not timed."""
    if peer.module and importlib.util.find_spec(peer.module.partition(".")[0]) is None:
        return None, "not installed"
    try:
        call = peer.prepare()
        begin = time.perf_counter()
        result = call()
        wait()
        first = time.perf_counter() - begin  # with what is made once, such as compiled code
        theirs = peer.read(result)
        far = (peer.apart or case.apart)(ours, theirs)
    except Exception as error:  # a peer may fail in its own way; the others go on
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        return None, kind + _plain(error)
    if not far <= case.tolerance:
        return None, f"another result, {far:.1e} away where {case.tolerance:.0e} is allowed"
    spent = first if first > 3 * case.patience else seconds(call, 1, wait)
    if spent > case.patience:
        return None, f"one call takes {spent / seconds(case.ours, 1, wait):.0f} times ours; not repeated"
    return call, ""


def measure(task: Task, size: Size, device: torch.device, rounds: int = ROUNDS) -> dict[str, Any]:
    """One row: {task, size, dtype, threads, device, ours_s, limit_s, peers, ...}; see report.py for all its keys.

    Raises ValueError where our own result is not what the case says it is.
    """
    wait = waiting(device)
    with torch.no_grad():
        case = task.make(size, task.dtype, device)
        ours = case.ours()
        far = case.apart(ours, ours)
        if not far <= case.tolerance:
            raise ValueError(f"{task.name}: our own result is {far:.1e} away where {case.tolerance:.0e} is allowed.")
        calls = {"ours": case.ours, "limit": case.limit or copying(case.limit_bytes, device, case.moves)}
        absent: dict[str, str] = {}
        for name, peer in case.peers.items():
            call, why = ready(peer, case, ours, wait)
            if call is None:
                absent[name] = why
            else:
                calls[name] = call
        del ours
        calls["limit"]()
        spent = alternate(calls, rounds, wait)
    notes = [f"{name}: {peer.note}" for name, peer in case.peers.items() if peer.note and name in calls]
    median = {name: statistics.median(times) for name, times in spent.items()}
    least = {name: min(times) for name, times in spent.items()}
    copied = f"copy of {case.limit_bytes / 1e6:.3g} MB" + (f", {case.moves()} times" if case.moves() > 1 else "")
    return {
        "task": task.name,
        "family": task.family,
        "size": "x".join(map(str, size)),
        "dtype": str(task.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "ours_s": median.pop("ours"),
        "limit_s": median.pop("limit"),
        "peers": median,
        "ours_min_s": least.pop("ours"),
        "limit_min_s": least.pop("limit"),
        "peers_min": least,
        "absent": absent,
        "limit": case.limit_name or copied,
        "note": "; ".join(filter(None, [case.words({name: min(times) for name, times in spent.items()}), *notes])),
        "rounds": rounds,
    }


def _plain(error: Exception) -> str:
    """The first line of a message, without places of this machine."""
    return re.sub(r"\S*/\S+", "...", (str(error).strip().splitlines() or [""])[0])[:120]
