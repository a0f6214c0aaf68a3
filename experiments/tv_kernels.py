r"""min over xi of E |u_xi - u*|^2, u_xi = argmin nu TV_h(u) + |u - f|^2/2: kernels learned from edges alone.   [31]

    python experiments/tv_kernels.py

f are stripes on a torus, 1 and 0 with straight edges of a slope b/a, averaged over the pixels. For them (3.2) is solved
by hand: u* = m + (1 - 2 nu P/A) (f - m), P the length of all edges, A half of the area, m = 1/2. Kernels for which the
discrete solution is u* whatever the slope measure all edges alike. Condat's kernels are where it begins. Trained on
five slopes, scored on others: the length TV_h gives to an edge over its true length, of averaged stripes and of sharp
ones (0 and 1 alone), between two bounds, and the error of ROF's problem.

The kernels are in experiments/weights/tv-kernels.pt, the scores in results/tv_kernels.json.

Notebook: 14.
"""

from __future__ import annotations

import math
import time

import torch
from learned import fit, save
from torch import Tensor

from companion import PDHG, ConsistentROF, Interpolation, condat_kernels, consistent_tv, forward_kernel, run
from companion.lab.results import store
from companion.lab.trained import WEIGHTS

NU, N, K, SEED = 0.5, 24, 150, 0
SETTINGS = {"nu": NU, "n": N, "k": K, "steps": 60, "rate": {"": 0.02}, "sub": 8}
LEARNED = ((1, 0), (0, 1), (1, 1), (2, 1), (1, 2))  # and mirrored
SCORED = ((1, 0), (4, 1), (3, 1), (2, 1), (3, 2), (1, 1), (2, 3), (1, 2), (1, 3), (0, 1))
SCORED += ((-1, 3), (-1, 2), (-2, 3), (-1, 1), (-3, 2), (-2, 1), (-3, 1))


def stripes(a: int, b: int, n: int, phase: float, sub: int = 8) -> Tensor:
    """1 where a x_1 + b x_2 + phase has a fractional part below 1/2, x in [0, 1)^2: means of sub^2 points a pixel."""
    t = (torch.arange(n * sub, dtype=torch.float64) + 0.5) / (n * sub)
    inside = torch.remainder(a * t[:, None] + b * t + phase, 1.0) < 0.5
    return inside.double().reshape(n, sub, n, sub).mean((1, 3)).float()


def perimeter(a: int, b: int, n: int) -> float:
    """The length of all edges of the stripes, in pixels."""
    return 2 * math.hypot(a, b) * n


def solution(f: Tensor, a: int, b: int, nu: float) -> Tensor:
    """u*, the minimiser of (3.2)."""
    n = f.shape[-1]
    return 0.5 + (1 - 2 * nu * perimeter(a, b, n) / (n * n / 2)) * (f - 0.5)


def denoised(f: Tensor, L: Interpolation, k: int) -> Tensor:
    return run(PDHG(ConsistentROF(f, NU, L)), f, k=k).u


def lengths(L: Interpolation, sub: int) -> list[float]:
    """TV_h of stripes over their true edges, for each slope of SCORED: the upper bounds."""
    f = torch.stack([stripes(a, b, 48, 0.013, sub) for a, b in SCORED])
    with torch.no_grad():
        upper = consistent_tv(f, L, k=500).upper
    return [round(float(v) / perimeter(a, b, 48), 4) for v, (a, b) in zip(upper, SCORED, strict=True)]


def scored(L: Interpolation) -> dict:
    """What is stored of one choice of kernels."""
    new = ((3, 1), (-3, 2), (4, 1), (-1, 3))  # slopes that are not learned from
    f = torch.stack([stripes(a, b, 48, 0.2) for a, b in new])
    exact = torch.stack([solution(g, a, b, NU) for g, (a, b) in zip(f, new, strict=True)])
    with torch.no_grad():
        error = (denoised(f, L, 600) - exact).square().mean().sqrt()
    rows = {"averaged edges": lengths(L, 8), "sharp edges": lengths(L, 1)}
    spread = {f"{key}, largest/smallest": round(max(v) / min(v), 4) for key, v in rows.items()}
    return rows | spread | {"error of ROF": round(float(error), 5)}


def main() -> None:
    torch.set_num_threads(1)
    kernels = {"forward": forward_kernel(), "Condat": condat_kernels()}
    results: dict = {name: scored(Interpolation(xi, boundary="periodic")) for name, xi in kernels.items()}
    L, phases = Interpolation(condat_kernels(), boundary="periodic"), torch.Generator().manual_seed(SEED)
    begin = time.process_time()

    def loss(k: int) -> Tensor:
        slopes = [(-a if k % 2 else a, b) for a, b in LEARNED]
        shift = torch.rand(len(slopes), generator=phases).tolist()
        f = torch.stack([stripes(a, b, N, s) for (a, b), s in zip(slopes, shift, strict=True)])
        exact = torch.stack([solution(g, a, b, NU) for g, (a, b) in zip(f, slopes, strict=True)])
        return 10 * (denoised(f, L, K) - exact).square().mean().log10()

    history = fit(L, loss, SETTINGS["steps"], SETTINGS["rate"])
    results["learned"] = scored(L) | {"loss": history, "seconds": round(time.process_time() - begin, 1)}
    results["slopes"] = [list(s) for s in SCORED]
    save(L, WEIGHTS / "tv-kernels.pt", SETTINGS, SEED)
    store(__file__, results, settings=SETTINGS, seed=SEED)
    for name in ("forward", "Condat", "learned"):
        print(name, {key: v for key, v in results[name].items() if not isinstance(v, list)})


if __name__ == "__main__":
    main()
