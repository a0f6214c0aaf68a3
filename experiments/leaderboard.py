r"""Nine tasks, every method of the course, its peers: PSNR, SSIM, seconds, memory, learned parameters.   (1.1)

The procedure is that of companion/lab/leaderboard.py, what competes that of companion/lab/methods.py. BM3D joins where
it is installed (pip install bm3d; for non-commercial use only), the nets where experiments/learned.py has stored their
weights; who is absent is named.

    make experiments        # or: python experiments/leaderboard.py [task ...] [options]    about 40 minutes on one core

    --methods NAME ...      only those methods
    --kinds KIND ...        only "course", "learned" or "peer"
    --again                 measure stored lines anew; else they are kept, unless their span has changed
    --timing                only seconds and memory of the stored lines, in one pass

writes experiments/results/leaderboard.json after every line, and docs/leaderboard.md, the same as tables.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from companion.lab import store
from companion.lab.leaderboard import CHOSEN_ON, FACTOR, Row, board, entry, named, rows, timed
from companion.lab.methods import Entry, methods
from companion.lab.methods_peers import has_bm3d
from companion.lab.tasks import Task, tasks
from companion.lab.trained import NETS

RESULTS = Path(__file__).parent / "results" / "leaderboard.json"
TABLES = Path(__file__).parents[1] / "docs" / "leaderboard.md"


@contextmanager
def alone() -> Iterator[None]:
    """One process at a time reads or writes the results, since several may run side by side."""
    RESULTS.parent.mkdir(exist_ok=True)
    with (RESULTS.parent / "leaderboard.partial").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def results() -> dict[str, dict[str, dict]]:
    """{task: {method: numbers}} as stored."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return {name: stored.get(name, {}) for name in tasks(128)}


def keep(row: Row) -> None:
    """Store a line."""
    with alone():
        table, numbers = results(), row._asdict()
        table[numbers.pop("task")][numbers.pop("name")] = numbers
        store(__file__, table, chosen_on=list(CHOSEN_ON), factor=FACTOR, seeds=[0, 1])


def absent(task: Task) -> list[str]:
    """Who could compete and does not."""
    names = [] if has_bm3d() else ["BM3D, not installed"]
    here = methods(task)
    return names + [
        f"{name}, without weights"
        for name, net in NETS.items()
        if task.name in net.tasks and not {name, f"{name}, learned"} & here.keys()
    ]


def wanted(task: Task, args: argparse.Namespace) -> dict[str, Entry]:
    """The methods that the options ask for."""
    return {
        name: e
        for name, e in methods(task).items()
        if (not args.methods or name in args.methods) and (not args.kinds or e.kind in args.kinds)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="names of tasks, all by default")
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--kinds", nargs="*", default=[])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--timing", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task in map(named, args.tasks or tasks(128)):
        for name in absent(task):
            print(f"{task.name:12} absent: {name}", flush=True)
        for name, e in wanted(task, args).items():
            with alone():
                old = results()[task.name].get(name)
            if args.timing:
                if old is None:
                    continue
                seconds, memory = timed(e.method, task, old["weight"] or 1.0)
                row = Row(name, task.name, **old | {"seconds": seconds, "memory": memory})
            elif old is None or args.again or old.get("span") != (list(e.span) if e.span else None):
                row = entry(name, e.method, task, e.span, e.parameters, e.kind)
            else:
                continue
            keep(row)
            edge = e.span and row.weight and not e.span[0] * 1.2 < row.weight < e.span[1] / 1.2
            print(
                f"{task.name:12} {name:32} {row.psnr:6.2f} {row.ssim:.3f} {row.seconds:7.2g} s {row.memory} MiB  "
                f"weight {row.weight}{' AT THE EDGE' if edge else ''}",
                flush=True,
            )
    with alone():
        TABLES.write_text(page(), encoding="utf-8")


def page() -> str:
    """docs/leaderboard.md: a table for each task, and one of all."""
    done = [name for name in tasks(128) if rows(name)]
    parts = [
        "# The leaderboard",
        "Written by `python experiments/leaderboard.py`; the procedure is that of `companion/lab/leaderboard.py`, and "
        "lesson 14 reads the tables. Mean PSNR (dB) and SSIM on seven held-out photographs, median processor seconds "
        "on one thread, peak memory in MiB. What a method holds fixed was revised once after a first table had been "
        "seen (the start of the blur, the starts and steps for CT, mu of (4.7), some spans); `experiments/choices.py` "
        "compares it on training pictures alone, where the present choice is the best of those compared.",
        "## PSNR on all tasks",
        board()._repr_markdown_(),
        *[part for name in done for part in (f"## {name}", board(name)._repr_markdown_())],
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
