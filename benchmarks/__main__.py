"""python -m benchmarks [--quick] [--threads 1 2] [--device cuda] [--rounds 7] [--out FILE] [--list] [names ...]"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.harness import ROUNDS, Task, measure
from benchmarks.memory import fresh
from benchmarks.tasks import WITH_TWO, chosen
from companion.lab.machine import set_threads


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios: ours, the limit, the peers.")
    parser.add_argument("names", nargs="*", help="families, or parts of tasks' names; by default all")
    parser.add_argument("--quick", action="store_true", help="small sizes, printed and not stored")
    parser.add_argument("--threads", type=int, nargs="+", help="by default 1, and 2 for some tasks")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"times that each call is measured, {ROUNDS} or more"
    )
    parser.add_argument("--out", type=Path, help="another file of rows; the page is then not written")
    parser.add_argument("--list", action="store_true", help="the tasks and their sizes")
    asked = parser.parse_args(words)
    if asked.rounds < ROUNDS and not (asked.quick or asked.out):
        parser.error(
            f"the page says that each call is measured at least {ROUNDS} times; got --rounds {asked.rounds}: give "
            "more, or --quick or --out FILE, which leave the page alone"
        )
    return asked


def row(task: Task, size: tuple[int, ...], device: torch.device, rounds: int) -> report.Row:
    """What is measured, with the memory of a fresh process and the words for the machine."""
    return {"machine": report.machine()} | measure(task, size, device, rounds) | fresh(task, size, device)


def main(words: list[str]) -> int:
    """0, or 1 where a task failed."""
    asked = arguments(words)
    tasks = chosen(asked.names)
    if asked.list:
        for task in tasks:
            print(f"{task.family:10s}  {task.name}: {', '.join('x'.join(map(str, size)) for size in task.sizes)}")
        return 0
    device, granted, failed = torch.device(asked.device), set_threads(), 0
    plan = [(threads, tasks) for threads in asked.threads or [1]]
    if not asked.threads and not asked.quick and granted > 1:
        plan.append((2, [task for task in tasks if task.name in WITH_TWO]))
    rows: list[report.Row] = []
    path = asked.out or report.RESULTS
    for threads, these in plan:
        torch.set_num_threads(threads)
        for task in these:
            if device.type == "cuda" and not task.on_gpu:
                continue
            for size in task.quick if asked.quick else task.sizes:
                begin, named = time.monotonic(), f"{task.name}, {'x'.join(map(str, size))}, {threads} thread(s)"
                try:
                    new = row(task, size, device, asked.rounds)
                except Exception as error:  # one task that fails leaves the others
                    failed = 1
                    print(f"{named}: failed, {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                    continue
                rows.append(new)
                limit, peers = report.ratios(new)
                print(f"{named}: {limit} of the limit; peers {peers}   [{time.monotonic() - begin:.0f} s]", flush=True)
                for name, why in new["absent"].items():
                    print(f"    absent: {name}, {why}", flush=True)
                if asked.out or not asked.quick:
                    report.save(report.merged(report.load(path), [new]), path)
    if asked.quick:
        print("\n" + report.table(rows))
    elif not asked.out:
        report.write(report.load(path))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
