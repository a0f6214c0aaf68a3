r"""u(0), u(dt), u(2 dt), ...: noisy films of an equation on a coarse grid, as [101] and [102] made them.

    data = frames(Burgers(0.05), n=8, steps=15, seed=0)
    data.u          (8, 16, 2, 32, 32): trajectory, time, channel, x, y

Trajectories are computed on a fine grid and read at some of its points, noise comes last. The same seed gives the same
data to the last bit, whether they are computed or come from the disk (cache.py). Nothing is downloaded.

Paper: Section 5.2, [101], [102].  Notebooks: 12, 13.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from companion.lab.cache import cached
from companion.lab.pde_solvers import PERIOD, resampled, solve
from companion.lab.pdes import Equation


class Data(NamedTuple):
    """u (n, steps + 1, C, N, N), a frame every dt on a grid of step h; the relative noise in it, and the equation."""

    u: Tensor
    dt: float
    h: float
    noise: float
    equation: Equation


def frames(
    equation: Equation,
    *,
    n: int,
    steps: int,
    grid: int | None = None,
    coarse: int | None = None,
    dt: float | None = None,
    noise: float | None = None,
    start_time: float | None = None,
    seed: int = 0,
    cache: bool = True,
    device: torch.device | str | None = None,
) -> Data:
    r"""n trajectories u(0), u(dt), ..., u(steps dt) of an equation, float64, on coarse x coarse points, with noise.

    steps        frames after the first
    grid         cells a side of the solver; coarse divides it (ConvectionDiffusion: any, the series is evaluated)
    noise        its deviation, relative to that of the first frame, for each trajectory and channel
    start_time   the first n // 2 trajectories begin there and not at t = 0
    cache        keep the noise-free data on disk

    What is None is as the papers have it: `equation.recipe`. Raises ValueError for n < 1, steps < 0, a coarse grid that
    is no part of the fine one, noise < 0 or start_time < 0.
    """
    r = equation.recipe
    grid, coarse, dt = grid or r.grid, coarse or r.coarse, r.dt if dt is None else dt
    noise, start_time = r.noise if noise is None else noise, r.start_time if start_time is None else start_time
    make = cached(trajectories) if cache else trajectories
    u = make(equation, n, steps, grid, coarse, float(dt), float(start_time), seed, str(device or "cpu"))
    return Data(with_noise(u, noise, seed), float(dt), PERIOD / coarse, float(noise), equation)


def trajectories(
    equation: Equation,
    n: int,
    steps: int,
    grid: int,
    coarse: int,
    dt: float,
    start_time: float,
    seed: int,
    device: str = "cpu",
) -> Float[Tensor, "n frames C m m"]:
    """The data of `frames` without noise."""
    r = equation.recipe
    field = r.field(equation, grid).to(device)
    read = reader(grid, coarse, equation.periodic)
    u = random_initial(equation, n, grid, seed).to(device)
    how = {"scheme": r.scheme, "max_dt": min(r.max_dt, r.scheme.limit * field.max_dt)}
    if start_time > 0 and n > 1:
        u[: n // 2] = solve(field, u[: n // 2], start_time, 1, progress="to the start", **how)[:, -1]
    return solve(field, u, dt, steps, read=read, progress="trajectories", **how)


def reader(grid: int, coarse: int, periodic: bool):
    """u -> its values at every (grid / coarse)-th point; by its Fourier series where these are no points of the grid."""
    stride = grid // coarse
    if periodic and grid % coarse:
        return lambda u: resampled(u, 2 * coarse)[..., ::2, ::2] if grid < 2 * coarse else resampled(u, coarse)
    first = 0 if periodic else stride - 1
    return lambda u: u[..., first::stride, first::stride]


def random_initial(equation: Equation, n: int, N: int, seed: int) -> Float[Tensor, "n C m m"]:
    """u_0: white noise cut off"""
    r = equation.recipe
    g = torch.Generator().manual_seed(2 * seed)
    lo, hi = r.cutoff
    m = 2 * hi + 1
    w = torch.randn(n, equation.channels, m, m, generator=g, dtype=torch.float64)
    if lo < hi:
        cut = torch.randint(lo, hi + 1, (n, 1, 2), generator=g)
        k = torch.fft.fftfreq(m, 1 / m).abs()
        keep = (k[:, None] <= cut[..., 0, None, None]) & (k[: m // 2 + 1] <= cut[..., 1, None, None])
        w = torch.fft.irfft2(torch.fft.rfft2(w) * keep, s=(m, m)) * (r.size * m)
        u = resampled(w, N)
    else:
        u = resampled(w, N)
        u = r.size * u / u.abs().amax((-2, -1), keepdim=True)
    u = u + r.shift * (2 * torch.rand(n, equation.channels, 1, 1, generator=g, dtype=torch.float64) - 1)
    if equation.periodic:
        return u
    s = torch.arange(1, N, dtype=torch.float64) / N
    bump = s * (1 - s)
    return u[..., 1:, 1:] * 16 * bump[:, None] * bump


def with_noise(u: Tensor, noise: float, seed: int) -> Tensor:
    """u + noise sigma xi, xi ~ N(0, 1), sigma the deviation of the first frame of each trajectory and channel."""
    if noise < 0 or not math.isfinite(noise):
        raise ValueError(f"The noise is a finite number >= 0, relative to the deviation of u; got noise={noise}.")
    if noise == 0:
        return u
    g = torch.Generator().manual_seed(2 * seed + 1)
    xi = torch.randn(u.shape, generator=g, dtype=torch.float64).to(u)
    return u + noise * u[:, :1].std((-2, -1), correction=0, keepdim=True) * xi
