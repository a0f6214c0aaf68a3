"""peak = largest resident memory during one call - resident memory before it, in a fresh process.

The process makes the case, calls once to warm up (compilation, twiddle factors, thread pools), gives freed memory back,
that of results which the loops keep for their next ones too, resets the kernel's high-water mark (`VmHWM`) and calls
again with the result kept. On a GPU it is torch's own count.
The C library is told to map each block of MAPPED bytes or more by itself, and so gives it back when it is dropped. Left
alone it moves that threshold, and holes between the blocks of its heap are counted, too: a gradient of RevNet then took
149, 238, 203, 252 MB with 14, 26, 50, 98 layers, where it takes 78 to 79 MB.
The result's own size comes with it: peak / result is 1 where nothing but the result was ever there.

    python -m benchmarks.memory "W, Haar, 1 level" 512x512 cpu 1
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Call, Size, Task
from companion.lab.machine import trim

ROOT = Path(__file__).resolve().parents[1]
MAPPED = 2**16


def grown(call: Call, device: torch.device) -> dict[str, float | None]:
    """{peak_mb, result_mb} of one warm call; peak_mb is None where the system keeps no high-water mark."""
    call()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = call()
        peak: float | None = (torch.cuda.max_memory_allocated(device) - before) / 1e6
        return {"peak_mb": peak, "result_mb": _megabytes(result)}
    forget()
    trim()
    try:
        Path("/proc/self/clear_refs").write_text("5")
        start = _status("VmRSS")
        result = call()
        peak = (_status("VmHWM") - start) / 1e3
    except OSError:
        result, peak = call(), None
    return {"peak_mb": peak, "result_mb": _megabytes(result)}


def fresh(task: Task, size: Size, device: torch.device) -> dict[str, float | None]:
    """`grown` in a process of its own, with as many threads as this one."""
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", "benchmarks.memory", task.name, "x".join(map(str, size)), device.type, threads]
    settings = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(MAPPED)}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    if done.returncode:
        return {"peak_mb": None, "result_mb": None}
    return json.loads(done.stdout.splitlines()[-1])


def forget() -> None:
    """Drop what the package's loops keep for their next result of this size: a call is to pay for all it holds."""
    rows = sys.modules.get("companion.kernels.rows")
    if rows is not None:
        rows._spare.clear()


def _status(name: str) -> float:
    """A line of /proc/self/status, in units of 1024 bytes made 1000."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1]) * 1.024
    raise OSError(f"the system does not say {name}")


def _megabytes(result: Any) -> float:
    return result.numel() * result.element_size() / 1e6 if isinstance(result, torch.Tensor) else 0.0


def main(name: str, size: str, device: str, threads: str) -> None:
    from benchmarks.tasks import TASKS

    torch.set_num_threads(int(threads))
    (task,) = (task for task in TASKS if task.name == name)
    with torch.no_grad():
        where = torch.device(device)
        case = task.make(tuple(map(int, size.split("x"))), task.dtype, where)
        print(json.dumps(grown(case.weigh or case.ours, where)))


if __name__ == "__main__":
    main(*sys.argv[1:])
