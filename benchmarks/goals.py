"""What the benchmarks are to reach, with the rows that it is asked of, and why a row does not reach it.

A `Goal` reads one number off a row: a ratio of minima, the memory beside the result in pictures, a share of the time
allowed. `slope` and `deeper` read it off several rows, `pdenet` off experiments/results. `judged` is the table's rows.
`why` is said beside what misses; for a peer with how near the limit ours would have to be.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RESULTS = Path(__file__).resolve().parents[1] / "experiments" / "results"
OURS = ("readable form", "PDHG", "torch", "numpy", "rolls", "FFT", "convolutions")  # of this package or written here
SLOW = re.compile(r"one call takes (\d+) times ours; not repeated")  # of a peer, in harness.py
PAGE = 0.02  # of a picture: what a process allocates beside pictures


@dataclass(frozen=True)
class Goal:
    """`value(row)`, None where the row does not say it, is to be at most `bound`, or at least with `least`.

    tasks, sizes  regular expressions that the whole name and the whole size match
    device        what the row is measured on
    """

    said: str
    tasks: str
    value: Callable[[Row], float | None]
    bound: float
    least: bool = False
    sizes: str = ".*"
    why: str = ""
    device: str = "cpu"

    def reason(self, row: Row, value: float) -> str:
        """Why a row misses; for a peer also how near the limit ours would have to be."""
        if not self.least:
            return self.why
        here, there = limit(row), limit(row) * value / self.bound
        ratio = f"ours takes {number(here)} of the limit, the peer {number(here * value)}"
        beyond = ", less than its bytes take" if there < 0.5 else ""  # the copy reads and writes the larger part
        needed = f": {self.bound:g} times would be {number(there)} of the limit" + beyond
        return "; ".join(filter(None, [ratio + needed, self.why]))

    def asks(self, row: Row) -> bool:
        named = re.fullmatch(self.tasks, row["task"]) and re.fullmatch(self.sizes, row["size"])
        return bool(named and row["device"] == self.device)


def number(ratio: float, digits: int = 2) -> str:
    """Two digits, no exponent: 0.12, 3.4, 57, 1200."""
    return f"{float(f'{ratio:.{digits}g}'):g}" if ratio < 1e6 else f"{ratio:.0e}"


def limit(row: Row) -> float:
    """Our time over the limit's."""
    return row["ours_min_s"] / row["limit_min_s"]


def of_pdhg(row: Row) -> float:
    """Our time over that of a step's bytes, of which the limit's copy is two values a pixel: x, x-bar, p, f in, and the
    new x, x-bar, p out are nine.
    """
    return limit(row) * 2 / 9


def over(peer: str) -> Callable[[Row], float | None]:
    """The time of a peer, of the fastest whose name begins so, over ours; one too slow to be repeated counts."""

    def wanted(name: str) -> bool:
        return name.startswith(peer) and bool(peer or name not in OURS)

    def value(row: Row) -> float | None:
        ratios = [s / row["ours_min_s"] for name, s in row["peers_min"].items() if wanted(name)]
        slow = [SLOW.fullmatch(why) for name, why in row["absent"].items() if wanted(name)]
        return min([*ratios, *(float(once[1]) for once in slow if once)], default=None)

    return value


def beside(row: Row) -> float | None:
    """The peak of memory beside the result, in pictures of float32."""
    if row.get("peak_mb") is None:
        return None
    picture = 4e-6 * math.prod(map(int, row["size"].split("x")))
    return max(0.0, row["peak_mb"] - row["result_mb"]) / picture


def share(allowed: float, beyond: bool = False, calls: int = 1) -> Callable[[Row], float]:
    """Seconds of a call, or beyond the limit's, over those allowed; a row's call makes `calls` of them."""
    return lambda row: (row["ours_min_s"] - beyond * row["limit_min_s"]) / calls / allowed


ADDED = (
    "a step fetches rows and works on them in the cache; both take time: docs/scale.md; and results of more than a "
    "gigabyte are not kept for the next call, so that the system clears fresh memory"
)
BANDS = "most of the time is work on the bands in the cache, which a copy does not have: docs/scale.md"
FOURIER = "of 2.8 ms an iteration on TV two FFTs take 1.6, and scico has them too"
SHOWN = "sixteen steps of ADMM by the loops, or nineteen of diffusion, and the PNG, on one core of this machine"
FRAME, PEER = r"W(\^T)?, \w+, ", "512x512|2048x2048|128x128x128"
STEP = "a pixel takes a division and twenty operations, in the cache as the copy is"
ASCENT = "a step reads five pictures and writes two, with a root and a division a pixel"
NEAR = (
    "the copy is up to three times as fast a pixel as at 2048x2048 where it stays in the cache, and our own time a "
    "pixel is up to twice that at 2048x2048"
)
SPAN = "a thread keeps the rows that its filters span, of a volume the planes, each a 128th of it"
GOALS = (
    Goal("W, W^T: of the limit", FRAME + "[1-4] levels?", limit, 1.5, sizes="512x512", why=NEAR),
    Goal("W, W^T: of the limit", FRAME + "[1-4] levels?", limit, 1.5, sizes="128x128x128", why=ADDED),
    Goal("W, W^T: of the limit", FRAME + "[12] levels?", limit, 1.5, sizes="2048x2048", why=ADDED),
    Goal("W, W^T: of the limit", FRAME + "[34] levels", limit, 2.0, sizes="2048x2048", why=ADDED),
    Goal("W, W^T: PyWavelets over ours", FRAME + ".*", over("PyWavelets"), 30, True, PEER),
    Goal("W, W^T: convolutions over ours", FRAME + ".*", over("convolutions"), 10, True, PEER),
    Goal("W, W^T: memory beside the result, pictures", FRAME + ".*", beside, 1.0 + PAGE, why=SPAN),
    Goal("W^T S W: copies of the picture", r"W\^T S W, \w+, 1 level", limit, 4.0, why=BANDS),
    Goal(
        "100 Perona-Malik steps: best library over ours", "Perona-Malik, 100 steps", over(""), 10, True, "512x512", STEP
    ),
    Goal("ROF to 1e-4: best library over ours", "ROF.*", over(""), 10, True, "512x512"),
    Goal("ROF to 1e-4: scikit-image over ours", "ROF.*", over("scikit-image"), 25, True, "512x512", ASCENT),
    Goal("deblurring to 1e-4: best library over ours", ".*deblurring.*", over(""), 10, True, "512x512", why=FOURIER),
    Goal("Radon and its adjoint: scikit-image over ours", "Radon.*", over("scikit-image"), 10, True, "512x512"),
    Goal("neural ODE, fixed steps: of the bare loop", "neural ODE,.*steps", limit, 1.2),
    Goal("run adds: of 5 microseconds a step", "run, 1000 steps.*", share(5e-6, True, 1000), 1.0),
    Goal("import companion beyond torch: of 0.3 s", "import companion", share(0.3, True), 1.0),
    Goal("explorers with pictures: of 33 ms", "explorer (threshold|flow|restoration)", share(0.033), 1.0, why=SHOWN),
    Goal("explorers with curves: of 80 ms", "explorer moments", share(0.080), 1.0),
    Goal("on a GPU: W, W^T, of the limit", FRAME + ".*", limit, 2.0, sizes="2048x2048|128x128x128", device="cuda"),
    Goal("on a GPU: Perona-Malik, of the limit", "growth: Perona-Malik.*", limit, 2.0, sizes="4096.*", device="cuda"),
    Goal("on a GPU: PDHG, of its bytes", "growth: PDHG on ROF.*", of_pdhg, 2.0, sizes="4096.*", device="cuda"),
)
SLOPE, SLOPE_WHY = 1.05, "the smallest picture stays in the caches, the largest passes through them"
DEEPER = 1.25  # memory at the larger depth over that at the smaller
DEEPER_WHY = "a layer whose steps are stored keeps several results of 2 to 8 MB; some are kept here too"


def judged(rows: Iterable[Row], slopes: Iterable[tuple[str, int, str, float]]) -> list[dict[str, Any]]:
    """{goal, of, value, bound, reached, why} for each goal and each row that it asks; then slopes, depths, PDE-Net."""
    rows = list(rows)
    found = []
    for goal in GOALS:
        for row in filter(goal.asks, rows):
            value = goal.value(row)
            if value is not None:
                of = f"{row['task']}, {row['size']}, {row['threads']} thread(s), {row['device']}"
                found.append(_line(goal.said, of, value, goal.bound, goal.least, goal.reason(row, value)))
    for task, threads, sizes, slope in slopes:
        found.append(_line("growth: slope", f"{task}, {sizes}, {threads} thread(s)", slope, SLOPE, False, SLOPE_WHY))
    return found + _deeper(rows) + pdenet()


def _line(said: str, of: str, value: float, bound: float, least: bool, why: str) -> dict[str, Any]:
    reached = value >= bound if least else value <= bound
    sign = ">=" if least else "<="
    return {
        "goal": f"{said} {sign} {bound:g}",
        "of": of,
        "value": value,
        "reached": reached,
        "why": "" if reached else why,
    }


def _deeper(rows: list[Row]) -> list[dict[str, Any]]:
    """The memory of the deepest over that of the shallowest, for what undoes its steps."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row["task"].startswith("memory: ") and row.get("peak_mb") is not None:
            of = f"{row['task'].removeprefix('memory: ')}, {row['threads']} thread(s)"
            series.setdefault(of, []).append((int(row["size"]), row["peak_mb"]))
    found = []
    for of, depths in series.items():
        depths.sort()
        if len(depths) > 1:
            (low, least), (high, most) = depths[0], depths[-1]
            where = f"{of}, depth {low} to {high}"
            found.append(
                _line("memory does not grow with depth: ratio", where, most / least, DEEPER, False, DEEPER_WHY)
            )
    return found


def pdenet(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """What experiments/sindy.py and experiments/pdenet2.py have stored; none where they have not."""
    if not all((folder / name).exists() for name in ("sindy.json", "pdenet2.json")):
        return []
    sindy = json.loads((folder / "sindy.json").read_text(encoding="utf-8"))
    clean, theirs = sindy["spectral"]["128"]["0.0"]["fast"], sindy["upwind"]["64"]["0.001"]["fast"]
    seeds = sindy["about"]["seeds"]
    stacked = json.loads((folder / "pdenet2.json").read_text(encoding="utf-8"))["here"]["time"]
    ratio = max(block["ratio"] for block in stacked["blocks"].values())
    where = f"128x128, {seeds} seeds, experiments/sindy.py"
    return [
        _line("PDE-Net: seconds of the authors' 60 over ours, error 7 %", "films as in [101], experiments/sindy.py",
              60 / theirs["seconds"] if theirs["worst"] <= 0.07 else 0.0, 5, True, ""),
        _line("PDE-Net: median error in per cent", where, 100 * clean["median"], 1, False, ""),
        _line("PDE-Net: seconds", where, clean["seconds"], 15, False, ""),
        _line(
            f"PDE-Net: {stacked['nets']} seeds stacked, time of one",
            "experiments/pdenet2.py, one core", ratio, 3, False,
            "one core computes, and eight nets are eight times the arithmetic of one",
        ),
    ]  # fmt: skip
