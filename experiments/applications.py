r"""Sets, surfaces, volumes in noise: frames, total variations and scikit-image, each with one weight.   Section 4.2

    segmentation   islands and vessel trees, 96 x 96, noise 0.05 to 0.3: Dice on eight pictures
    coins          the photograph, flattened, at half its size: weights from one half, Dice on the other, both ways
    surfaces       a torus and a double torus, 40^3 voxels, 5000 points with noise: errors and genus, two draws;
                   and the torus with a hole in the points
    volumes        the upper twelve slices of a head, Gaussian and Rician noise: PSNR in the head, three draws;
                   "real" compares one scan, denoised, with the other one, and adds no noise

One rule for all weights: each method gets the one that golden-section search finds best, to a factor 1.4, on training
data with the same noise: three other pictures, the other half of the coins; volumes, to a factor 1.1, the lower twelve
slices. Surfaces have lam = 1, untuned, and the band that `closing` chooses, without a truth. Seconds are of processor
time on one thread, for one picture.

    python experiments/applications.py [segmentation coins surfaces volumes]          about 15 minutes on one core

writes experiments/results/applications.json. Everything is generated or ships in a package, with seeds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

from companion import GaussianNoise, Gradient, RicianNoise, smooth_model
from companion.lab.beyond import SEGMENTERS, Method, closing, denoisers, frame, mean, surface, tuned
from companion.lab.results import store
from companion.lab.segment import boundary_length, dice, islands, small_coins, vessel_tree
from companion.lab.surfaces import Surface, double_torus, errors, genus, mesh, scatter, torus
from companion.lab.volumes import head, mr_scans, psnr_in

RESULTS = Path(__file__).parent / "results" / "applications.json"
TRAINING, TESTED, DRAWS = range(3), range(10, 18), range(3)
SIDE, VOXELS, STEPS = 96, 40, 100


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What it gives, and its seconds of processor time."""
    start = time.process_time()
    return work(), time.process_time() - start


def noisy(make: Callable[..., Any], sigma: float, seed: int) -> tuple[Tensor, Tensor]:
    """(f, truth) of the picture of that seed; the noise has the same seed."""
    f, truth = make(SIDE, seed=seed)
    return GaussianNoise(sigma, seed)(f).float(), truth


def segmented() -> dict[str, Any]:
    """Dice of every method on two kinds of pictures."""
    table: dict[str, Any] = {}
    for make in (islands, vessel_tree):
        for sigma in (0.05, 0.1, 0.2, 0.3):
            seen = [noisy(make, sigma, seed) for seed in TRAINING]
            unseen = [noisy(make, sigma, seed) for seed in TESTED]
            for name, method in SEGMENTERS.items():
                w = tuned(method, lambda find, seen=seen: mean([dice(find(f), t) for f, t in seen]))
                found = [timed(lambda f=f, w=w, m=method: m.find(f, w)) for f, _ in unseen]
                row = {
                    "weight": w,
                    "dice": [dice(S, t) for (S, _), (_, t) in zip(found, unseen, strict=True)],
                    "seconds": min(s for _, s in found),
                }
                table.setdefault(make.__name__, {}).setdefault(str(sigma), {})[name] = row
                print(make.__name__, sigma, name, f"{w:.4g}", f"{mean(row['dice']):.3f}", flush=True)
    return table


def halves() -> dict[str, Any]:
    """The coins: each half by the weight that is best on the other."""
    f, truth = small_coins()
    half = f.shape[1] // 2
    parts = {"left": (f[:, :half], truth[:, :half]), "right": (f[:, half:], truth[:, half:])}
    table: dict[str, Any] = {}
    for name, method in SEGMENTERS.items():
        for there, here in (("left", "right"), ("right", "left")):
            (g, known), (h, unknown) = parts[there], parts[here]
            g, h = g.contiguous(), h.contiguous()
            w = tuned(method, lambda find, g=g, known=known: dice(find(g), known))
            S, seconds = timed(lambda h=h, w=w, m=method: m.find(h, w))
            row = {"weight": w, "dice": dice(S, unknown), "length": boundary_length(S), "seconds": seconds}
            table.setdefault(name, {})[here] = row
            print("coins", here, name, row, flush=True)
    return table


def surfaces() -> dict[str, Any]:
    """Errors of three models over the noise of the points."""
    table: dict[str, Any] = {}
    cases = [(F, sigma, 0.0) for F in (torus, double_torus) for sigma in (0.0, 0.01, 0.02, 0.04)]
    for F, sigma, hole in [*cases, (torus, 0.02, 0.15)]:
        kind = F.__name__ + (" with a hole" if hole else "")
        runs = [reconstructed(F, scatter(F, 5000, sigma, hole, seed)) for seed in DRAWS[:2]]
        table.setdefault(kind, {})[str(sigma)] = runs
        print(kind, sigma, json.dumps(runs[0]), flush=True)
    return table


def reconstructed(F: Surface, points: Tensor) -> dict[str, Any]:
    """delta, and for each model the errors and the genus of {u = 1/2}; None where there is no such surface."""
    delta = closing(points, VOXELS)
    models = {
        "quadratic": lambda: smooth_model(points, VOXELS, delta, 1e-3).minimiser(1e-6),
        "TV": lambda: surface(points, Gradient(dim=3), VOXELS, delta, k=STEPS),
        "Haar frame": lambda: surface(points, frame(1, 1, 3), VOXELS, delta, k=STEPS),
    }
    out: dict[str, Any] = {"delta": delta, "noise": float(F(points).square().mean().sqrt())}
    for name, model in models.items():
        u, seconds = timed(model)
        if not float(u.min()) < 0.5 < float(u.max()):
            out[name] = None
            continue
        found = mesh(u)
        out[name] = errors(found, F)._asdict() | {"genus": genus(found), "seconds": seconds}
    return out


def volumes() -> dict[str, Any]:
    """PSNR in the head: two kinds of noise and three deviations, and the scans' own."""
    scans = mr_scans().float()
    ref = scans.mean(0)
    table: dict[str, Any] = {}
    for kind, noise in (("Gaussian", GaussianNoise), ("Rician", RicianNoise)):
        for sigma in (0.05, 0.1, 0.2):
            mend = noise(sigma).unbias if kind == "Rician" else lambda u: u
            seen = [(noise(sigma, 9)(ref[:12]), ref[:12])]
            unseen = [(noise(sigma, seed)(ref[12:]), ref[12:]) for seed in DRAWS]
            table.setdefault(kind, {})[str(sigma)] = denoised(sigma, seen, unseen, mend)
            print(kind, sigma, {k: round(mean(v["psnr"]), 2) for k, v in table[kind][str(sigma)].items()}, flush=True)
    seen, unseen = ([(scans[i][part], scans[1 - i][part]) for i in (0, 1)] for part in (slice(0, 12), slice(12, 24)))
    table["real"] = denoised(0.012, seen, unseen, lambda u: u)
    print("real", {k: round(mean(v["psnr"]), 2) for k, v in table["real"].items()}, flush=True)
    return table


def denoised(sigma: float, seen: list[Any], unseen: list[Any], mend: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """PSNR to the second of each pair, of the first one denoised and mended."""

    def score(u: Tensor, v: Tensor) -> float:
        return psnr_in(mend(u.float()), v, head(v))

    rows: dict[str, Any] = {"none": {"weight": 0.0, "psnr": [score(f, v) for f, v in unseen], "seconds": 0.0}}
    methods: dict[str, Method] = denoisers(sigma)
    for name, method in methods.items():
        w = tuned(method, lambda find: mean([score(find(f), v) for f, v in seen]), 1.1)
        found = [timed(lambda f=f, w=w, m=method: m.find(f, w)) for f, _ in unseen]
        rows[name] = {
            "weight": w,
            "psnr": [score(u, v) for (u, _), (_, v) in zip(found, unseen, strict=True)],
            "seconds": min(s for _, s in found),
        }
    return rows


PARTS = {"segmentation": segmented, "coins": halves, "surfaces": surfaces, "volumes": volumes}


def main(names: list[str]) -> None:
    """Run the named parts, or all; those not named keep their stored results."""
    torch.set_num_threads(1)
    for name in names or list(PARTS):
        made = PARTS[name]()
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results = {part: made if part == name else kept[part] for part in PARTS if part == name or part in kept}
        about = {"training": list(TRAINING), "tested": list(TESTED), "draws": list(DRAWS), "voxels": VOXELS}
        store(__file__, results, **about)


if __name__ == "__main__":
    main(sys.argv[1:])
