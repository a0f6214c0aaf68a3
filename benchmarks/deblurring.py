"""min_u nu TV(u) + |A u - f|^2 / 2 and min_u |lam . W u|_1 + |A u - f|^2 / 2, A a Gaussian blur.   (3.2), (2.5)

Everything is periodic, so that all may divide by symbols. The minimum is the least objective of a long run in float64
of this package; a result's distance is its objective over that, minus 1: at most 1e-4. Ours and each peer take as few
iterations as reach it, to 5 %, found before the timing.

    torch       the same ADMM (split Bregman) written out with rolls and FFT, the penalty being ours
    pyproximal  PrimalDual with an inner solve for the blur; ADMML2 with PyWavelets' swt2 for the analysis model
    scico       ADMM with its CircularConvolveSolver

The limit is a copy of one picture for each tensor of the state and each of our iterations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.diffusion import photograph
from benchmarks.frames import Rolls
from benchmarks.harness import Case, Peer, Size, Task
from benchmarks.readable import readable
from benchmarks.rof import GAP, Solve, fewest, searched
from companion import (
    ADMM,
    Blur,
    FrameletTransform,
    Gradient,
    Problem,
    SplitBregman,
    analysis,
    bspline,
    gaussian_kernel,
    run,
    tv,
)

NU, LAM, WIDTH, LONG = 2e-3, 2e-3, 1.5, 1000


def blurred(size: Size, dtype: torch.dtype, device: torch.device) -> tuple[Blur, Tensor]:
    """A, and f = A u + noise of deviation 0.01."""
    A = Blur(gaussian_kernel(WIDTH)).to(device)
    noise = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=dtype).to(device)
    return A, A(photograph(size, dtype, device)) + 0.01 * noise


def restored(
    model: Callable[[Tensor], Problem],
    method: Callable[[Problem], Any],
    f: Tensor,
    pictures: int,
    others: Callable[[Callable[[Any], float]], dict[str, Peer]],
) -> Case:
    """The case of one model: `method(model(f))` with the fewest iterations, `pictures` in its state, and the peers."""

    @functools.cache
    def least() -> tuple[Problem, float]:
        exact = model(f.double())
        return exact, float(exact(run(method(exact), f.double(), k=LONG).u))

    def excess(u: Any) -> float:
        exact, minimum = least()
        return float(exact(torch.as_tensor(u).to(f.device).double().reshape(f.shape))) / minimum - 1

    step = method(model(f))

    def iterated(k: int) -> Tensor:
        return run(step, f, k=k).u

    @functools.cache
    def enough() -> int:
        return fewest(iterated, excess)

    def ours() -> Tensor:
        return iterated(enough())

    return Case(
        ours,
        f.numel() * f.element_size(),
        others(excess) | readable(ours),
        apart=lambda _, theirs: excess(theirs),
        tolerance=GAP,
        moves=lambda: pictures * enough(),
        weigh=lambda: iterated(10),
        words=lambda _: f"{enough()} iterations",
    )


def total_variation(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    A, f = blurred(size, dtype, device)
    grad = Gradient(boundary="periodic")
    rho = float(SplitBregman(tv(A, f, NU, grad)).rho)

    def peers(excess: Callable[[Any], float]) -> dict[str, Peer]:
        found = {"torch": Peer(lambda: searched(split_bregman(A, f, rho), excess))}
        if device.type == "cpu":
            found["pyproximal"] = Peer(lambda: searched(tv_pyproximal(A, f), excess), "pyproximal")
            found["scico"] = Peer(lambda: searched(tv_scico(A, f, rho), excess), "scico")
        return found

    return restored(lambda g: tv(A, g, NU, grad), SplitBregman, f, 5, peers)


def frame_analysis(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    A, f = blurred(size, dtype, device)
    W = FrameletTransform(bspline(1), levels=2).to(device)
    weights = W.weights(LAM)

    def peers(excess: Callable[[Any], float]) -> dict[str, Peer]:
        found = {"torch": Peer(lambda: searched(frame_admm(A, f, W, weights), excess))}
        if device.type == "cpu":
            solve = Peer(lambda: searched(analysis_pyproximal(A, f, W), excess), "pyproximal")
            found["pyproximal and PyWavelets"] = solve
        return found

    return restored(lambda g: analysis(A, g, W, weights), ADMM, f, 1 + 2 * len(W.bands), peers)


def split_bregman(A: Blur, f: Tensor, rho: float) -> Solve:
    """x by symbols, d by shrinking lengths, b by what is left over; differences are rolls."""
    axes, shape = (-2, -1), list(f.shape)
    a = A.symbol(f)
    wave = [2 - 2 * torch.cos(2 * torch.pi * torch.fft.fftfreq(n, device=f.device, dtype=f.dtype)) for n in shape]
    symbol = a.abs().square() + rho * (wave[0][:, None] + wave[1][None, : a.shape[-1]])
    back = a.conj() * torch.fft.rfftn(f, dim=axes)

    def solve(k: int) -> Tensor:
        d, b = f.new_zeros(2, *shape), f.new_zeros(2, *shape)
        x = f
        for _ in range(k):
            p = d - b
            right = sum((torch.roll(p[i], 1, i) - p[i] for i in (0, 1)), start=torch.zeros_like(f))
            x = torch.fft.irfftn((back + rho * torch.fft.rfftn(right, dim=axes)) / symbol, shape, axes)
            Kx = torch.stack([torch.roll(x, -1, i) - x for i in (0, 1)])
            v = Kx + b
            d = v * (1 - NU / rho / (v * v).sum(0).sqrt().clamp_min(NU / rho))
            b = v - d
        return x

    return solve


def frame_admm(A: Blur, f: Tensor, W: FrameletTransform, weights: Tensor) -> Solve:
    """ADMM with the frame of shifted pictures of frames.py, and symbols for the blur."""
    frame, axes = Rolls(W, f), (-2, -1)
    a, rho = A.symbol(f), float(ADMM(analysis(A, f, W, weights)).rho)
    back, symbol = a.conj() * torch.fft.rfftn(f, dim=axes), a.abs().square() + rho
    t = (weights / rho).to(f.dtype)

    def solve(k: int) -> Tensor:
        x, d = f, frame.analysis(f)
        b = torch.zeros_like(d)
        for _ in range(k):
            right = rho * torch.fft.rfftn(frame.synthesis(d - b), dim=axes)
            x = torch.fft.irfftn((back + right) / symbol, f.shape, axes)
            v = frame.analysis(x) + b
            d = v - v.clamp(-t, t)
            b = v - d
        return x

    return solve


def _operator(A: Blur, f: Tensor) -> Any:
    """A as a pylops operator on flat arrays."""
    import pylops

    shape = tuple(f.shape)

    def flat(map: Callable[[Tensor], Tensor]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda v: map(torch.from_numpy(np.ascontiguousarray(v)).reshape(shape)).numpy().ravel()

    return pylops.FunctionOperator(flat(A), flat(A.adjoint), f.numel(), f.numel(), dtype=f.numpy().dtype)


def tv_pyproximal(A: Blur, f: Tensor) -> Solve:
    import pylops
    import pyproximal as prox
    from pyproximal.optimization.primaldual import PrimalDual

    # pylops' forward differences do not cross the border: differences as a periodic operator of our own
    grad, shape = Gradient(boundary="periodic"), tuple(f.shape)
    K = pylops.FunctionOperator(
        lambda v: grad(torch.from_numpy(np.ascontiguousarray(v)).reshape(shape)).numpy().ravel(),
        lambda p: grad.adjoint(torch.from_numpy(np.ascontiguousarray(p)).reshape(2, *shape)).numpy().ravel(),
        2 * f.numel(),
        f.numel(),
        dtype=f.numpy().dtype,
    )
    data = prox.L2(Op=_operator(A, f), b=f.numpy().ravel(), niter=10, warm=True)
    length = prox.L21(ndim=2, sigma=NU)
    start, tau = f.numpy().ravel(), 5.0

    def solve(k: int) -> np.ndarray:
        return PrimalDual(data, length, K, x0=start, tau=tau, mu=1 / (8 * tau), niter=k)

    return solve


def tv_scico(A: Blur, f: Tensor, rho: float) -> Solve:
    import scico.numpy as snp
    from scico import functional, linop, loss
    from scico.optimize.admm import ADMM as Theirs
    from scico.optimize.admm import CircularConvolveSolver

    array = f.numpy()
    impulse = torch.zeros_like(f)
    impulse[0, 0] = 1
    y = snp.array(array)
    blur = linop.CircularConvolve(h=snp.array(A(impulse).numpy()), input_shape=f.shape, input_dtype=array.dtype)
    K = linop.FiniteDifference(input_shape=f.shape, input_dtype=array.dtype, circular=True)
    data, length = loss.SquaredL2Loss(y=y, A=blur), NU * functional.L21Norm()

    def solve(k: int) -> np.ndarray:
        parts = {"f": data, "g_list": [length], "C_list": [K], "rho_list": [rho], "x0": y, "maxiter": k}
        quiet = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}  # no objective at each step
        solver = Theirs(**parts, subproblem_solver=CircularConvolveSolver(), itstat_options=quiet)
        return np.asarray(solver.solve())

    return solve


def analysis_pyproximal(A: Blur, f: Tensor, W: FrameletTransform) -> Solve:
    import pylops
    import pyproximal as prox
    from pyproximal.optimization.primal import ADMML2

    from benchmarks.frames import PyWavelets

    frame, size = PyWavelets(W, f), (len(W.bands), *f.shape)

    def forward(v: np.ndarray) -> np.ndarray:  # the details alone: the averages cost nothing
        return frame.read(frame.analysis(torch.from_numpy(v.reshape(f.shape))))[1:].ravel()

    def adjoint(d: np.ndarray) -> np.ndarray:
        full = torch.zeros(size, dtype=f.dtype)
        full[1:] = torch.from_numpy(np.ascontiguousarray(d)).reshape(size[0] - 1, *f.shape)
        return frame.synthesis(frame.written(full)).ravel()

    pixels = f.numel()
    K = pylops.FunctionOperator(forward, adjoint, (size[0] - 1) * pixels, pixels, dtype=f.numpy().dtype)
    blur, data, start = _operator(A, f), f.numpy().ravel(), f.numpy().ravel()
    rho = float(ADMM(analysis(A, f, W, W.weights(LAM))).rho)

    def solve(k: int) -> np.ndarray:
        return ADMML2(prox.L1(sigma=LAM), blur, data, K, x0=start, tau=1 / rho, niter=k, iter_lim=5)[0]

    return solve


TASKS = [
    Task("TV deblurring to 1e-4", total_variation, ((512, 512),), ((64, 64),)),
    Task("analysis deblurring to 1e-4, Haar, 2 levels", frame_analysis, ((512, 512),), ((64, 64),)),
]
