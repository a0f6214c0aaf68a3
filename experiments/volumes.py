r"""A volume larger than the memory of two workers: (4.5) and (3.3) slab by slab.   And what a step costs, foretold.

The volume, 2112 x 512 x 512 voxels in float32 (2.2 GB), is made slab by slab into a file: balls of different grey and
white noise, each slab seeded by its place. Two workers, processes of 1 GiB each, then run from file to file

    shrinkage   u -> W^T S(W u), Haar's eight bands in three dimensions, soft                         (4.5)
    diffusion   four steps of Perona and Malik's equation, h = 1, dt = max_dt, with a halo of four    (3.3)

and so does one worker alone: efficiency is T_1 / (2 T_2). Two parts of the result, one at a corner of the volume and
one inside, both across slabs, are computed again in memory. What a worker has held at most is its peak resident memory.

The second table is `companion/lab/traffic.py`: the time of the bytes moved at the speed of a copy, for the fused loops
that of their work in the cache, and what these two foretell, against the measured time of one step, one thread.

    python experiments/volumes.py              # about 3 minutes on two cores, 6.6 GB of disk; needs the extra scale
    python experiments/volumes.py --scale small
    python experiments/volumes.py --part costs

writes experiments/results/volumes.json; the small one writes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import dask
import dask.array as da
import numpy as np
import torch
from distributed import Client, LocalCluster

from companion import (
    PDHG,
    ROF,
    Euler,
    Exponential,
    FrameletTransform,
    Gradient,
    PeronaMalik,
    Shrinkage,
    Soft,
    bspline,
    run,
)
from companion.kernels import available, use
from companion.lab import store, stored
from companion.lab.halo import OnDisk, over_blocks, reach
from companion.lab.traffic import best, foretold, in_cache, keep_memory, moved

SIZES = {"full": (2112, 512, 512), "small": (96, 80, 80)}
LIMIT = "1GiB"  # of each worker, which is ended when it holds more than 95 % of it
MEMORY = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")}
MEMORY["distributed.scheduler.allowed-failures"] = 0
SIGMA, STEPS = 0.1, 4


def maps() -> dict[str, tuple[Any, int, int]]:
    """The maps, how many steps of each, and how thick a slab: that of W holds its eight bands and S of them."""
    W = FrameletTransform(bspline(1), dim=3)
    F = PeronaMalik(Exponential(0.2), Gradient(dim=3))
    return {
        "shrinkage": (Shrinkage(W, Soft(W.weights(3 * SIGMA * W.gains))), 1, 8),
        "diffusion": (Euler(F, F.max_dt), STEPS, 24),
    }


def block(shape: tuple[int, ...], block_info: Any = None) -> np.ndarray:
    """The voxels of one block: balls on a lattice of 80 voxels, of grey values 0.2 to 0.8, and noise."""
    place = block_info[None]
    x = np.ogrid[tuple(slice(a, b) for a, b in place["array-location"])]
    ball = sum(((xi % 80) - 40.0).astype(np.float32) ** 2 for xi in x) < 30**2
    grey = 0.2 + 0.6 * ((x[0] // 80 + 2 * (x[1] // 80) + 3 * (x[2] // 80)) % 5).astype(np.float32) / 4
    noise = np.random.default_rng(place["chunk-location"]).standard_normal(ball.shape, np.float32)
    return ball * grey + SIGMA * noise


def peak() -> int:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(workers: int, u: OnDisk, folder: Path) -> dict[str, Any]:
    """{map: seconds from file to file}, and the most memory that a worker has held."""
    rows: dict[str, Any] = {}
    settings = {"threads_per_worker": 1, "memory_limit": LIMIT, "dashboard_address": None}
    with dask.config.set(MEMORY), LocalCluster(n_workers=workers, **settings) as cluster, Client(cluster) as client:
        for name, (step, k, slab) in maps().items():
            small = da.zeros((32 * workers, 128, 128), chunks=(16, 128, 128), dtype=u.dtype)
            over_blocks(step, small, k, k).compute()  # imports and compiles
            begin = time.perf_counter()
            target = OnDisk.new(folder / f"{name}.npy", u.shape, u.dtype)
            over_blocks(step, da.from_array(u, chunks=(slab, *u.shape[1:])), k, k).store(target, lock=False)
            rows[name] = round(time.perf_counter() - begin, 2)
        rows["peak MB of a worker"] = round(max(client.run(peak).values()) / 1e6)
    return rows


def error(name: str, u: OnDisk, v: OnDisk, at: tuple[int, ...], size: tuple[int, ...]) -> float:
    """max |blocks - memory| on the box of this size at this place; the part in memory is as much wider as is needed."""
    step, k, _ = maps()[name]
    width = k * reach(step).width
    periodic = reach(step).boundary == "periodic"
    places = [np.arange(a - width, a + n + width) for a, n in zip(at, size, strict=True)]
    inside = [i % n if periodic else i[(i >= 0) & (i < n)] for i, n in zip(places, u.shape, strict=True)]
    whole = run(step, torch.from_numpy(u[np.ix_(*inside)]), k=k).u.numpy()
    kept = [slice(int(np.flatnonzero(i == a)[0]), None) for i, a in zip(inside, at, strict=True)]
    part = whole[tuple(kept)][tuple(slice(n) for n in size)]
    return float(np.abs(part - v[tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))]).max())


def blockwise(scale: str) -> dict[str, Any]:
    """The whole comparison of one and two workers, in a temporary folder."""
    shape = SIZES[scale]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        u = OnDisk.new(folder / "u.npy", shape)
        made = da.map_blocks(
            block, shape, chunks=da.core.normalize_chunks((32, *shape[1:]), shape), dtype=u.dtype, meta=np.empty(0)
        )
        with dask.config.set(scheduler="threads", num_workers=2):
            made.store(u, lock=False)
        rows: dict[str, Any] = {}
        for workers in (1, 2):
            rows[f"{workers} worker" + "s" * (workers > 1)] = timed(workers, u, folder)
            print(rows, flush=True)
        size = tuple(min(60, n // 3) for n in shape)
        for kind in maps():
            v = OnDisk(folder / f"{kind}.npy")
            inside = tuple(n // 2 - 5 for n in size)
            rows[kind] = {
                "efficiency": round(rows["1 worker"][kind] / (2 * rows["2 workers"][kind]), 3),
                "largest difference to memory": max(error(kind, u, v, at, size) for at in (inside, (0, 0, 0))),
                "slab": maps()[kind][2],
                "halo": maps()[kind][1] * reach(maps()[kind][0]).width,
            }
            print(kind, rows[kind], flush=True)
    return rows | {"voxels": list(shape), "MB": round(4 * np.prod(shape) / 1e6), "limit": LIMIT}


def costs(side: int, seconds: float) -> dict[str, Any]:
    """{map: {form: bytes moved for each pixel, foretold and measured milliseconds, their ratio}}."""
    u = torch.rand(side, side, generator=torch.Generator().manual_seed(0))
    W, W1 = FrameletTransform(bspline(1), 2), FrameletTransform(bspline(2))
    shrink, diffuse = Shrinkage(W, Soft(W.weights(0.1))), Euler(PeronaMalik(Exponential(0.2)), 0.2)
    cases: dict[str, tuple[Callable[[torch.Tensor], Callable[[], Any]], int]] = {  # and floats a pixel in and out
        "W, Haar, 2 levels": (lambda u: partial(W, u), 1 + 7 + 2),  # the average between the levels: out and in
        "W^T, Haar, 2 levels": (lambda u: partial(W.T, W(u)), 7 + 1 + 2),
        "W, linear": (lambda u: partial(W1, u), 1 + 9),
        "W^T, linear": (lambda u: partial(W1.T, W1(u)), 9 + 1),
        "W^T S W, Haar, 2 levels": (lambda u: partial(shrink, u), 1 + 1 + 5),  # two averages out and in, u in again
        "Perona-Malik step": (lambda u: partial(diffuse, u), 1 + 1),
        "PDHG step on ROF": (primal_dual, 5 + 4),  # f, x, x-bar and p in; x, x-bar and p out
    }
    forms = {"torch": False} | ({"fused": True} if available() else {})
    rows: dict[str, Any] = {}
    speeds: list[float] = []  # of the copies, GB a second
    for kept in (False, True):
        if kept:
            keep_memory()
        for (name, (case, through)), (form, loops) in itertools.product(cases.items(), forms.items()):
            like = torch.zeros(through // 2 if loops else 1, *u.shape)  # as much memory as a loop goes through
            with use(loops), torch.no_grad():
                call = case(u)
                bytes_moved = moved(call) + 4 * through * u.numel() * loops
                taken, copy = best([call, like.clone], seconds)
                near = u.numel() * in_cache(case, u, min(64, side // 4), seconds / 5) if loops and kept else 0.0
            row = rows.setdefault(name, {}).setdefault(form, {"bytes a pixel": round(bytes_moved / u.numel(), 1)})
            if not kept:
                row["memory given back, ms"] = round(1e3 * taken, 3)
            else:
                speeds.append(8e-9 * like.numel() / copy)
                memory = bytes_moved * copy / (8 * like.numel())
                forecast = foretold(memory, near)
                row |= {"ms": round(1e3 * taken, 3), "memory, ms": round(1e3 * memory, 3)}
                row |= {"in the cache, ms": round(1e3 * near, 3), "foretold, ms": round(1e3 * forecast, 3)}
                row["ms / foretold"] = round(taken / forecast, 3)
                print(name, form, row, flush=True)
    ends = [round(end, 1) for end in (min(speeds), max(speeds))]
    return {"pixels": [side, side], "GB a second of the copies": ends, "steps": rows}


def primal_dual(u: torch.Tensor) -> Callable[[], Any]:
    """A step of PDHG on ROF, from the state after its first one."""
    pdhg = PDHG(ROF(u, 0.1))
    return partial(pdhg, pdhg(pdhg.start(u)))


def tables(results: dict[str, Any]) -> tuple[str, str]:
    """The stored numbers as docs/scale.md shows them: what a step costs, and blocks with one and two workers."""
    costs = [
        "| step | form | bytes a pixel | given back, ms | kept, ms | memory, ms | in cache, ms | foretold, ms "
        "| kept / foretold |",
        "|---|---|" + "---:|" * 7,
    ]
    for name, forms in results["costs"]["steps"].items():
        for form, row in forms.items():
            costs.append(f"| {name} | {form} | {' | '.join(f'{value:.4g}' for value in row.values())} |")
    volumes = [
        "| map | slab | halo | 1 worker, s | 2 workers, s | efficiency | largest difference |",
        "|---|" + "---:|" * 6,
    ]
    rows = results["volumes"]
    for name, (_, k, _) in maps().items():
        one, two, row = rows["1 worker"][name], rows["2 workers"][name], rows[name]
        halo, share, apart = row["halo"], row["efficiency"], row["largest difference to memory"]
        volumes.append(f"| {name}, {k} step(s) | {row['slab']} | {halo} | {one} | {two} | {share} | {apart:.2g} |")
    return "\n".join(costs), "\n".join(volumes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", choices=tuple(SIZES), default="full")
    parser.add_argument("--part", choices=("volumes", "costs"), help="this table alone; the other stays as stored")
    scale, part = vars(parser.parse_args()).values()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    full = scale == "full"
    results = {} if part is None else {key: value for key, value in stored("volumes").items() if key != "about"}
    if part != "costs":
        results["volumes"] = blockwise(scale)
    if part != "volumes":
        results["costs"] = costs(2048 if full else 256, 1.5 if full else 0.05)
    if full:
        about = {
            "cores": os.cpu_count(),
            "seconds in all": round(time.perf_counter() - begin),
            "fused loops": available(),
        }
        store(__file__, results, **about)


if __name__ == "__main__":
    main()
