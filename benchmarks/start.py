"""What a reader waits for: `import companion` beyond `import torch`, and an explorer's next picture.

Imports are timed in fresh processes, the interpreter's start included. An explorer's update is its computing, the check
and the PNG that the image widget is given; the limit is the PNG of that picture alone, and the share of the goal is
said: 33 ms where it shows pictures, 80 ms where it shows curves.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.harness import Call, Case, Size, Task
from companion.lab import explorers
from companion.lab.raster import checked, encode_fast

ROOT = Path(__file__).resolve().parents[1]
IMPORT = 0.3  # seconds beyond torch
SHOWN = {"threshold": 0.033, "flow": 0.033, "restoration": 0.033, "moments": 0.080}


def process(code: str) -> Call:
    """A fresh interpreter that does this and ends."""
    return lambda: subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def importing(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    def words(seconds: Mapping[str, float]) -> str:
        return f"{(seconds['ours'] - seconds['limit']) / IMPORT:.2f} of the {IMPORT:g} s allowed beyond torch"

    return Case(
        process("import torch, companion"),
        apart=lambda ours, theirs: 0.0,
        limit=process("import torch"),
        limit_name="import torch",
        words=words,
    )


def exploring(name: str) -> Callable[..., Case]:
    def make(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        explorer = getattr(explorers, name)
        picture = checked(explorer(n=size[0])[0])

        def words(seconds: Mapping[str, float]) -> str:
            return f"{seconds['ours'] / SHOWN[name]:.2f} of the {SHOWN[name] * 1e3:.0f} ms allowed"

        return Case(
            lambda: encode_fast(checked(explorer(n=size[0])[0])),
            apart=lambda ours, theirs: 0.0 if ours == theirs and ours[:4] == b"\x89PNG" else 1.0,
            limit=lambda: encode_fast(picture),
            limit_name="the PNG alone",
            words=words,
        )

    return make


TASKS = [
    Task("import companion", importing, ((1,),), ((1,),), on_gpu=False),
    *(Task(f"explorer {name}", exploring(name), ((256, 256),), ((64, 64),), on_gpu=False) for name in SHOWN),
]
