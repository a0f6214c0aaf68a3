r"""What each lesson costs: processor seconds and peak memory of its kernel, kilobytes and cells of its file.

Each lesson is run from top to bottom in a fresh kernel on one thread, as a reader's *Run All* does. Its seconds are
those of the kernel's processor, from its start to the end of the last cell, with all that it imports; the megabytes
are the largest resident set of the kernel ("VmHWM" of Linux; elsewhere none are stored). Data that a lesson keeps
in the cache folder are not simulated again: a first run may take longer.

    make experiments            # or: python experiments/lessons.py [number ...]     some minutes on one core

writes experiments/results/lessons.json after each lesson. With numbers, these lessons are measured anew and no others;
without, those whose code cells are not the ones of the stored row.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
from nbclient import NotebookClient
from nbformat import NotebookNode

from companion.lab import store, stored
from tools.notebooks import execute, lessons, read


def key(notebook: NotebookNode) -> str:
    """A word that changes with any code cell."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha1(code.encode()).hexdigest()[:12]


def measured(path: Path) -> dict:
    """One run: the kernel's processor seconds and its peak memory, looked up after every cell."""
    seconds: list[float] = []
    peak: list[float] = []

    def watch(client: NotebookClient) -> None:
        pid = client.km.provisioner.pid
        times = psutil.Process(pid).cpu_times()
        seconds.append(times.user + times.system + times.children_user + times.children_system)
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            peak.append(int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024)

    notebook = read(path)
    execute(notebook, path.parent, timeout=900, watch=watch)
    return {
        "seconds": round(max(seconds), 1),
        "megabytes": round(max(peak)) if peak else None,
        "kilobytes": round(path.stat().st_size / 1000),
        "cells": len(notebook.cells),
        "trains": bool(notebook.metadata.get("companion", {}).get("trains", False)),
        "key": key(notebook),
    }


def main(named: list[str]) -> None:
    try:
        rows = stored("lessons")["lessons"]
    except FileNotFoundError:
        rows = {}
    for path in lessons():
        number = path.stem[:2]
        stale = rows.get(number, {}).get("key") != key(read(path))
        if number in named or (stale and not named):
            rows[number] = measured(path)
            print(number, json.dumps(rows[number]), flush=True)
            store(__file__, {"lessons": dict(sorted(rows.items()))})


if __name__ == "__main__":
    main([f"{int(number):02d}" for number in sys.argv[1:]])
