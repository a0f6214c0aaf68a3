"""The rows: benchmarks/results/bench.json, the page docs/benchmarks.md and its figure docs/benchmarks.png.

A row is {task, family, size, dtype, threads, device, machine, ours_s, limit_s, peers: {name: s}, ours_min_s,
limit_min_s, peers_min: {name: s}, absent: {name: why}, limit, peak_mb, result_mb, note, rounds}. A new row takes the
place of the old one of the same task, size, dtype, threads and device; the others stay.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import benchmarks.goals
from benchmarks.goals import number
from companion.kernels import SMALLEST

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "bench.json"
PAGE, FIGURE = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.png"
KIND = ("model name", "cpu family", "model")  # the lines of /proc/cpuinfo that say what a processor is
KEY = ("task", "size", "dtype", "threads", "device")
HEAD = """# Benchmarks

This package beside its peers and beside the machine: written by `make bench` from `benchmarks/results/bench.json`;
`make bench-quick` runs small sizes and writes nothing. `.venv/bin/pip install -e '.[bench]'` brings the peers, but for
deepinv: it needs the torchvision made for the torch that is there (with or without CUDA, from the same index); with
another one its import ends in "operator torchvision::nms does not exist". `pip install deepinv` after that one.

- Every time in the tables is a **ratio** of two times of one run, measured in turn after warm-up, at least seven of
  each: the medians' and, in brackets, the minima's, the better number where others use the machine. Bare times
  are in the JSON. Rows stand under the machine on which they were measured.
- **of the limit**: our time over that of a copy of the bytes that must move (the larger one of what is read and what is
  written, once, into a buffer that is there already). W reads less than it writes: to move just its bytes takes 5/8 of
  that copy for Haar's W in the plane, 1/2 for many bands. Where the limit is something else it is said below.
- **peers over ours**: above 1 we are faster; below 1 we lose, and the row stays. *readable form* and *PDHG* are this
  package's; *rolls*, *FFT*, *convolutions*, *torch* and *numpy* are written here with those libraries; all others are
  libraries, and "best library" means these last.
- Results are compared before anything is timed: the same numbers, or for a minimisation an objective within the stated
  distance of the minimum, with as few iterations as reach it. What solves another problem is refused; whoever is
  refused or absent is named with the reason.
- **memory**: what a call (of ROF and deblurring: ten iterations) adds to a fresh process at its peak (`VmHWM`; dropped
  blocks are given back at once) over the size of its result, at best 1.
- What is for a GPU (its goals: W, W^T, a step of Perona and Malik, of PDHG within 2 times its limit) is not measured
  where no row says cuda: there was none. `make bench ARGS="--device cuda"` adds the rows.
"""


def machine() -> str:
    """Cores, processor, device and versions: what a row was measured on."""
    words = [f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"]
    words += [_processor()] + ([torch.cuda.get_device_name()] if torch.cuda.is_available() else [])
    for package in ("torch", "numba", "numpy"):
        try:
            words.append(f"{package} {metadata.version(package).split('+')[0]}")
        except metadata.PackageNotFoundError:
            words.append(f"no {package}")
    return ", ".join([*words, f"Python {platform.python_version()}"])


def _processor() -> str:
    """Its name, and where Linux says so its family and model: one name is often that of several kinds."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        return platform.processor() or platform.machine()
    said = {key: dict.fromkeys(v.strip() for k, _, v in lines if k.strip() == key) for key in KIND}
    name, *kind = (" and ".join(values) for values in said.values())
    return f"{name} (family {kind[0]}, model {kind[1]})" if all(kind) else name or platform.machine()


def load(path: Path = RESULTS) -> list[Row]:
    """The stored rows, none where there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """The rows, a new one in the place of the old one with the same KEY."""
    rows = {tuple(row[key] for key in KEY): row for row in old}
    rows.update({tuple(row[key] for key in KEY): row for row in new})
    return list(rows.values())


def save(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Written beside its place and moved there: a run that is stopped leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    lines = ",\n".join(json.dumps(_rounded(row), ensure_ascii=False) for row in rows)
    beside.write_text(f'{{"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    os.replace(beside, path)


def _rounded(value: Any) -> Any:
    """Numbers with four digits: a time has no more."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def ratios(row: Row) -> tuple[str, str]:
    """What stands in the row: ours over the limit, and each peer over ours, "median (minimum)"; the slowest last."""
    limit = f"{number(row['ours_s'] / row['limit_s'])} ({number(row['ours_min_s'] / row['limit_min_s'])})"
    peers = sorted(row["peers"], key=lambda name: row["peers"][name])
    said = [
        f"{name} {number(row['peers'][name] / row['ours_s'])} ({number(row['peers_min'][name] / row['ours_min_s'])})"
        for name in peers
    ]
    return limit, ", ".join(said) or "–"


def memory(row: Row) -> str:
    """The peak over the result; "–" where it is unknown or the result is so small that the allocator decides."""
    peak, result = row.get("peak_mb"), row.get("result_mb")
    return number(peak / result) if peak is not None and result and result > 0.2 else "–"


def slopes(rows: Iterable[Row], least: int = 0) -> list[tuple[str, int, str, float]]:
    """(task, threads, sizes, slope of log time against log pixels, least squares) of what has three sizes or more, of
    `least` pixels or more.
    """
    series: dict[tuple[str, int, str], list[tuple[int, float, str]]] = {}
    for row in rows:
        pixels = math.prod(map(int, row["size"].split("x")))
        if row["family"] == "growth" and pixels >= least:
            key = row["task"], row["threads"], row["device"]
            series.setdefault(key, []).append((pixels, row["ours_min_s"], row["size"]))
    found = []
    for (task, threads, _), points in series.items():
        points.sort()
        if len(points) >= 3:
            x, y = [math.log(pixels) for pixels, _, _ in points], [math.log(time) for _, time, _ in points]
            mx, my = sum(x) / len(x), sum(y) / len(y)
            slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)
            found.append((task, threads, f"{points[0][2]} to {points[-1][2]}", slope))
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, a part for each machine and family."""
    parts = []
    for where in dict.fromkeys(row.get("machine", "") for row in rows):
        here = [row for row in rows if row.get("machine", "") == where]
        parts += [f"## {where}"] if where else []
        for family in dict.fromkeys(row["family"] for row in here):
            chosen = [row for row in here if row["family"] == family]
            parts.append("### " + {"rof": "ROF"}.get(family, family.capitalize()))
            lines = ["| task | size | threads | of the limit | peers over ours | memory |", "|---|---|---|---|---|---|"]
            for row in chosen:
                said = (row["task"], row["size"], row["threads"], *ratios(row), memory(row))
                lines.append("| " + " | ".join(map(str, said)) + " |")
            parts.append("\n".join(lines))
            parts += [line for line in (_growth(chosen), _notes(chosen)) if line]
    return "\n\n".join(parts) + "\n"


def goals(rows: Sequence[Row]) -> str:
    """What is to be reached, row by row: the value, whether it is reached, and why not."""
    lines = ["| goal | row | value | reached | why not |", "|---|---|---:|---|---|"]
    judged = benchmarks.goals.judged(rows, fitted(rows))
    for j in judged:
        reached = "yes" if j["reached"] else "**no**"
        lines.append(f"| {j['goal']} | {j['of']} | {number(j['value'], 3)} | {reached} | {j['why']} |")
    count = sum(j["reached"] for j in judged)
    return f"## Goals\n\n{count} of {len(judged)} are reached, by the minima.\n\n" + "\n".join(lines) + "\n"


def fitted(rows: Sequence[Row]) -> list[tuple[str, int, str, float]]:
    """The slopes; and where a first size is below that from which the loops are taken, those of the others."""
    return sorted(dict.fromkeys([*slopes(rows), *slopes(rows, SMALLEST)]))


def _growth(rows: Sequence[Row]) -> str:
    return "\n".join(
        f"- {task}, {sizes}, {threads} thread(s): time grows like pixels^{slope:.2f}"
        for task, threads, sizes, slope in fitted(rows)
    )


def _notes(rows: Sequence[Row]) -> str:
    """What the limit is where it is no copy, what a row says of itself, and who is absent, each said once."""
    lines: list[str] = []
    absent: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not row["limit"].startswith("copy"):
            lines.append(f"- The limit of {row['task']}: {row['limit']}.")
        if row["note"]:
            lines.append(f"- {row['task']}, {row['size']}, {row['threads']} thread(s): {row['note']}.")
        for peer, why in row["absent"].items():
            absent.setdefault((row["task"], why), []).append(peer)
    for (task, why), peers in absent.items():
        lines.append(f"- {task}, without {', '.join(dict.fromkeys(peers))}: {why}.")
    return "\n".join(dict.fromkeys(lines))


def write(rows: Sequence[Row], page: Path = PAGE, figure: Path = FIGURE) -> None:
    """The page, and its figure where matplotlib is there."""
    drawn = draw(rows, figure)
    picture = f"![Times over that of the limit, ours and the peers']({figure.name})\n\n" if drawn else ""
    page.write_text(f"{HEAD}\n{picture}{goals(rows)}\n{table(rows)}", encoding="utf-8")


def draw(rows: Sequence[Row], path: Path) -> bool:
    """For each row the times over the limit's on a logarithmic axis: ours filled, peers hollow. False if not drawn."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = [row for row in rows if row["family"] not in ("growth", "start")]
    if not rows:
        return False
    figure = Figure(figsize=(8, 1 + 0.17 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    names = sorted({name for row in rows for name in row["peers"]})
    for i, row in enumerate(rows):
        axis.plot(row["ours_min_s"] / row["limit_min_s"], i, "ko", ms=4, label="ours" if i == 0 else None)
    for n, name in enumerate(names):
        points = [
            (row["peers_min"][name] / row["limit_min_s"], i) for i, row in enumerate(rows) if name in row["peers"]
        ]
        axis.plot(*zip(*points, strict=True), "osD^v<>ph*X"[n % 11], mfc="none", ms=4, label=name)
    axis.axvline(1, color="0.6", lw=1)
    axis.set(xscale="log", xlabel="time / time of the limit (minima)", ylim=(len(rows) - 0.5, -0.5))
    labels = [f"{row['task']}, {row['size']}, {row['threads']} th." for row in rows]
    axis.set_yticks(range(len(rows)), labels, fontsize=5)
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5, fontsize=6)
    figure.savefig(path, dpi=100)
    return True
