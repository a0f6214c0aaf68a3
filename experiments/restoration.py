r"""Four inverse problems, every model of lesson 04, and their peers: PSNR, SSIM, seconds.   (2.4)-(2.6)

    blur   the photograph, Gaussian blur of deviation 1.2 pixels, noise 0.01
    mask   the photograph, half of the pixels known, noise 0.02
    mri    the slice of a head, 36 radial lines of k-space (26 %, about a quarter), noise 0.01
    ct     the phantom, 60 angles, noise 0.003; the data are the exact projections of its ellipses, so the model A is
           not what made them

all 128 x 128. A method that has a weight gets the one that golden-section search finds best for this picture, to a
factor 1.4, the same search for all. It knows the true picture: the table shows each method near its best, which no user
can reach, and says nothing on ways to choose a weight. The levels, kappa = 1 and the price lam/20 of the average in
synthesis are fixed. A solver stops where its state moves by less than 10^-4, or after 200 steps, synthesis, which is
slow, after 600: those rows are marked, and are not the minimiser's. Seconds are of processor time on one thread.

    make experiments            # or: python experiments/restoration.py [task ...]     about 10 minutes on one core

writes experiments/results/restoration.json. Everything is generated or ships in a package, with seeds.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    PDHG,
    Blur,
    FrameletTransform,
    GaussianNoise,
    Gradient,
    GroupL1,
    LeastSquares,
    LinearOperator,
    Mask,
    PartialFourier,
    Problem,
    Radon,
    analysis,
    balanced,
    bspline,
    ellipse_projection,
    gaussian_kernel,
    radial_pattern,
    synthesis,
    tikhonov,
)
from companion.lab import best_weight, camera, ellipses, mr_slice, phantom, psnr, ssim, store

RESULTS = Path(__file__).parent / "results" / "restoration.json"
BANKS = {"Haar": 1, "linear": 2, "cubic": 4}
FACTOR = 1.4  # the weight is found to this factor
STEPS, SLOW, TOL = 200, 600, 1e-4
ONE = dict.fromkeys(BANKS, 1)  # levels: one where holes of a pixel or two are to be filled,
TWO = {
    "Haar": 2,
    "linear": 2,
    "cubic": 1,
}  # two elsewhere; the cubic filters of one level are as long as the linear of two


@dataclass
class Task:
    """f = A u + eta, the true u, the levels of the transforms, and the best linear picture of scikit-image's."""

    u: Tensor
    A: LinearOperator
    f: Tensor
    levels: dict[str, int]
    start: str
    linear: Callable[[], np.ndarray]


def blur() -> Task:
    """A photograph out of focus."""
    from skimage.restoration import unsupervised_wiener

    u, A = camera(128).float(), Blur(gaussian_kernel(1.2))
    f = GaussianNoise(0.01, seed=1)(A(u))
    point = np.asarray(A.kernel)

    def wiener() -> np.ndarray:
        picture, _ = unsupervised_wiener(f.double().numpy(), point, rng=0, clip=False)
        return picture

    return Task(u, A, f, TWO, "unsupervised Wiener", wiener)


def mask() -> Task:
    """A photograph of which half the pixels are lost."""
    from skimage.restoration import inpaint_biharmonic

    u = camera(128).float()
    A = Mask(torch.rand(128, 128, generator=torch.Generator().manual_seed(0)) < 0.5)
    f = A.restrict(GaussianNoise(0.02, seed=1)(A(u)))
    return Task(u, A, f, ONE, "biharmonic inpainting", lambda: inpaint_biharmonic(f.double().numpy(), ~A.m.numpy()))


def mri() -> Task:
    """A head measured on a quarter of k-space."""
    u, A = mr_slice(128).float(), PartialFourier(radial_pattern(128, 36))
    f = A.restrict(GaussianNoise(0.01, seed=1)(A(u)))
    return Task(u, A, f, TWO, "zero filling", lambda: A.T(f).double().numpy())


def ct() -> Task:
    """A head measured from 60 directions."""
    n = 128
    A = Radon(n, 60)
    exact = sum(_strip(A, ellipse) for ellipse in ellipses())
    f = GaussianNoise(0.003, seed=1)(exact.float())
    return Task(phantom(n).float(), A, f, TWO, "filtered back-projection", lambda: back_projection(A, f))


def _strip(A: Radon, ellipse: dict[str, float]) -> Tensor:
    """What a detector of width h sees: the mean of four line integrals."""
    offsets = [(i - 1.5) * A.h / 4 for i in range(4)]
    return sum(ellipse_projection(A.angles, A.s + offset, **ellipse) for offset in offsets) / 4


def back_projection(A: Radon, f: Tensor) -> np.ndarray:
    """scikit-image's filtered back-projection; for even n it turns about a point half a pixel off the centre."""
    from scipy.interpolate import CubicSpline
    from skimage.transform import iradon

    rows = []
    for theta, row in zip(np.deg2rad(A.angles.numpy()), f.double().numpy(), strict=True):
        at = A.s.numpy() + (np.cos(theta) - np.sin(theta) - 1) * A.h / 2 * (A.n % 2 == 0)
        rows.append(CubicSpline(A.s.numpy(), row)(at))
    return iradon(np.array(rows).T / A.h, A.angles.numpy(), output_size=A.n, circle=False, filter_name="ramp")


# ---- the methods: each takes a task, gives a function of one weight ----------------------------------------------


def naive(task: Task) -> Tensor:
    """(A^T A + 10^-6 I)^-1 A^T f: hardly regularised."""
    return task.A.normal_solve(task.A.T(task.f), 1e-6, tol=1e-3)


def model(task: Task, name: str, bank: str) -> Callable[[float], tuple[Tensor, int]]:
    """Analysis by ADMM (PDHG where A^T A + rho has no closed form), balanced and synthesis by FISTA with restart."""
    W = FrameletTransform(bspline(BANKS[bank]), task.levels[bank])

    def at(lam: float) -> tuple[Tensor, int]:
        weights = W.weights(lam)
        if name == "analysis" and isinstance(task.A, Radon):
            run = analysis(task.A, task.f, W, weights).solve(PDHG, k=STEPS, tol=TOL, dualise=True)
        elif name == "analysis":
            run = analysis(task.A, task.f, W, weights).solve(ADMM, k=STEPS, tol=TOL)
        elif name == "balanced":
            run = balanced(task.A, task.f, W, weights, kappa=1.0).solve(FISTA, k=STEPS, tol=TOL, restart=True)
        else:
            paid = weights.clone()
            paid[0] = lam / 20  # (2.6) needs a price on the average
            run = synthesis(task.A, task.f, W, paid).solve(FISTA, k=SLOW, tol=TOL, restart=True)
        return run.u, run.k

    return at


def total_variation(task: Task) -> Callable[[float], tuple[Tensor, int]]:
    """min 1/2 |A u - f|^2 + lam |grad u|_{2,1} by PDHG: the model of lesson 05."""
    K = Gradient()

    def at(lam: float) -> tuple[Tensor, int]:
        problem = Problem(LeastSquares(task.f, task.A), GroupL1(lam), K)
        run = problem.solve(PDHG, k=STEPS, tol=TOL, dualise=isinstance(task.A, Radon))
        return run.u, run.k

    return at


def after(task: Task, denoiser: str) -> Callable[[float], tuple[Tensor, int]]:
    """scikit-image's denoiser of TV or of wavelets, after the linear reconstruction of the task."""
    from skimage.restoration import denoise_tv_chambolle, denoise_wavelet

    def at(weight: float) -> tuple[Tensor, int]:
        v = task.linear()
        if denoiser == "TV":
            out = denoise_tv_chambolle(v, weight=weight, eps=1e-5, max_num_iter=400)
        else:
            out = denoise_wavelet(v, sigma=weight, wavelet="db2", mode="soft", method="VisuShrink", rescale_sigma=False)
        return torch.from_numpy(np.ascontiguousarray(out)).float(), 0

    return at


def methods(task: Task) -> dict[str, tuple[Callable[[float], tuple[Tensor, int]], tuple[float, float] | None]]:
    """{name: (picture of a weight, where to look for the weight)}."""
    K = Gradient(boundary="periodic")
    table: dict[str, tuple[Callable[[float], tuple[Tensor, int]], tuple[float, float] | None]] = {
        "naive": (lambda _: (naive(task), 0), None),
        "Tikhonov": (lambda a: (tikhonov(task.A, task.f.double(), a, K).minimiser(1e-6).float(), 0), (1e-5, 1.0)),
    }
    for name in ("analysis", "balanced", "synthesis"):
        for bank in BANKS:
            table[f"{name}, {bank}"] = (model(task, name, bank), (1e-4, 3e-2))
    table["total variation"] = (total_variation(task), (1e-4, 3e-2))
    table[task.start] = (lambda _: (torch.from_numpy(task.linear()).float(), 0), None)
    table[f"{task.start}, then TV denoising"] = (after(task, "TV"), (1e-3, 1.0))
    table[f"{task.start}, then wavelet denoising"] = (after(task, "wavelet"), (1e-3, 0.3))
    return table


def measured(task: Task, at: Callable[[float], tuple[Tensor, int]], span: tuple[float, float] | None) -> dict:
    """One row of the table."""
    weight = None
    if span is not None:
        weight, _ = best_weight(lambda w: psnr(at(w)[0].clamp(0, 1), task.u), *span, FACTOR)
    begin = time.process_time()
    v, k = at(weight or 0.0)
    seconds = time.process_time() - begin
    shown = v.clamp(0, 1)
    return {
        "psnr": round(psnr(shown, task.u), 2),
        "ssim": round(ssim(shown, task.u), 3),
        "seconds": round(seconds, 2),
        "weight": weight and float(f"{weight:.3g}"),
        "steps": k,
    }


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # a solver that has not reached TOL after STEPS: its row says so by its steps
    tasks = {"blur": blur, "mask": mask, "mri": mri, "ct": ct}
    for name in names or tasks:
        task, rows = tasks[name](), {}
        for method, (at, span) in methods(task).items():
            rows[method] = measured(task, at, span)
            print(f"{name:5} {method:50} {rows[method]}", flush=True)
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[name] = rows
        store(__file__, results, **{"steps at most": [STEPS, SLOW], "tolerance": TOL})


if __name__ == "__main__":
    main(sys.argv[1:])
