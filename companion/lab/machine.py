"""The machine a lesson runs on: how many threads it may take, which device it has, what lesson 00 prints about it.

Importing `companion.lab` calls `set_threads()` once; nothing else here has an effect.

Notebook: 00.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from importlib import metadata

import torch


def set_threads() -> int:
    """Give torch the number of threads this process was granted, and return it.

    OMP_NUM_THREADS where it is set; else the smallest of CPU_LIMIT (what a JupyterHub grants), the quota of the
    container and the affinity mask. The number of processors of the host is the wrong answer on a shared machine:
    threads without a processor wait for each other, and a small training takes many times as long.
    """
    threads = _whole(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    if threads is None:
        grants = (_whole(os.environ.get("CPU_LIMIT", "")), _quota(), _affinity())
        threads = min(g for g in grants if g is not None)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return threads


def device() -> torch.device:
    """The best device for the lessons: a CUDA card where there is one, else the processor.

    Apple's MPS has no float64, in which the lessons' claims are measured, so it is not chosen.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def facts() -> dict[str, str]:
    """What lesson 00 says about the machine: device, threads, memory, and the versions of what computes the results."""
    found = device()
    name = torch.cuda.get_device_name(found) if found.type == "cuda" else "processor"
    memory = _memory()
    versions = {}
    for package in ("torch", "numpy", "scikit-image", "matplotlib"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package).split("+")[0]
    return {
        "device": f"{found.type} ({name})",
        "threads": str(torch.get_num_threads()),
        "memory": "unknown" if memory is None else f"{memory / 2**30:.1f} GiB",
        "python": platform.python_version(),
        **versions,
    }


def trim() -> None:
    """Give memory that is free, but kept by the C library in case, back to the system (on Linux; elsewhere nothing).

    Figures and large tensors in turn leave holes, a hundred megabytes of them in a lesson; Binder counts these.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _whole(text: str) -> int | None:
    """A positive number as a whole number of threads, at least one; None where the text is no such number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return max(1, int(number)) if 0 < number < float("inf") else None


def _affinity() -> int:
    """The processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> int | None:
    """The processors a Linux container may use, from the two numbers `quota period` of its control group."""
    words = _read("/sys/fs/cgroup/cpu.max").split()
    return _whole(str(int(words[0]) / int(words[1]))) if len(words) == 2 and words[0].isdigit() else None


def _memory() -> int | None:
    """The bytes of memory this process may use: the smallest of the hub's limit, the container's and the machine's."""
    limits = [os.environ.get("MEM_LIMIT", ""), _read("/sys/fs/cgroup/memory.max")]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return min((int(text) for text in limits if text.strip().isdigit()), default=None)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
