r"""u(0), u(dt), u(2 dt), ...: noisy films of an equation on a coarse grid, made as in [101] and [102].

    data = frames(Burgers(0.05), n=8, steps=15)
    data.u          (8, 16, 2, 32, 32): trajectory, time, channel, x, y

Trajectories are computed on a fine grid and read at some of its points; noise comes last. The same seed gives the same
data to the last bit, whether they are computed or come from the disk (cache.py), and the same noise-free data whatever
the noise. Nothing is downloaded.

The differences of the fine grid have an error of their own, which a learned equation learns. Fitted with exact
derivatives, Burgers' data on 128 x 128 cells have about -1.01 for -1, and from 0.0502 to 0.0506 for 0.05; on 256 x 256
the first error is a quarter of that.

Paper: Section 5.2, [101], [102].  Notebooks: 12, 13.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from companion.lab.cache import cached
from companion.lab.pde_grid import PERIOD, resampled
from companion.lab.pde_solvers import Equation, solve
from companion.lab.pdes import Recipe


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
    max_dt: float | None = None,
    seed: int = 0,
    cache: bool = True,
    device: torch.device | str = "cpu",
) -> Data:
    r"""n trajectories u(0), u(dt), ..., u(steps dt) of an equation, float64, on coarse x coarse cells, with noise.

    steps        frames after the first
    grid         cells a side of the solver. Where coarse does not divide it, the Fourier series is evaluated
    noise        its deviation, relative to that of the first frame, for each trajectory and channel
    start_time   the first n // 2 trajectories begin with u(start_time), the others with u(0)
    max_dt       the longest step of the solver
    cache        keep the noise-free data on disk
    device       where to compute, and where the data are then; the random numbers are the same everywhere

    What is None is as the papers have it, `equation.recipe`. With u = 0 on the border, coarse - 1 points a side.
    Raises ValueError for n < 1, steps < 0, dt <= 0, start_time < 0, noise < 0, a coarse grid of fewer than 5
    cells or, where u has a border, one that is no part of the fine one.

    >>> from companion.lab.pdes import Burgers
    >>> frames(Burgers(), n=2, steps=1, grid=32, coarse=16, start_time=0, cache=False).u.shape
    torch.Size([2, 2, 2, 16, 16])
    """
    r = equation.recipe or Recipe()
    grid, coarse, dt = grid or r.grid, coarse or r.coarse, r.dt if dt is None else dt
    noise, start_time = r.noise if noise is None else noise, r.start_time if start_time is None else start_time
    if not 0 <= noise < math.inf:
        raise ValueError(f"The noise is a finite number >= 0, relative to the deviation of u; got noise={noise}.")
    make = cached(trajectories) if cache else trajectories
    u = make(equation, n, steps, grid, coarse, float(dt), float(start_time), max_dt or r.max_dt, seed, str(device))
    return Data(with_noise(u, noise, seed), float(dt), PERIOD / coarse, float(noise), equation)


def trajectories(
    equation: Equation,
    n: int,
    steps: int,
    grid: int,
    coarse: int,
    dt: float,
    start_time: float,
    max_dt: float,
    seed: int,
    device: str = "cpu",
) -> Float[Tensor, "n frames C m m"]:
    """The data of `frames` without noise."""
    if not 0 <= start_time < math.inf:
        raise ValueError(f"Data begin at a finite start_time >= 0; got start_time={start_time}.")
    r = equation.recipe or Recipe()
    field = r.field(copy.deepcopy(equation), grid).to(device)
    read = reader(grid, coarse, equation.periodic)
    u = random_initial(equation, n, grid, seed).to(device)
    max_dt = min(max_dt, r.scheme.limit * field.longest(u))
    if start_time > 0 and n > 1:
        early = u[: n // 2]
        early = solve(field, early, start_time, 1, scheme=r.scheme, max_dt=max_dt, progress="up to the start")[:, 1]
        u = torch.cat((early, u[n // 2 :]))
    return solve(field, u, dt, steps, scheme=r.scheme, max_dt=max_dt, read=read, progress="trajectories")


def random_initial(equation: Equation, n: int, grid: int, seed: int = 0) -> Float[Tensor, "n C m m"]:
    r"""u_0 = w + constant: w white noise with frequencies |k_1|, |k_2| <= cutoff only, `recipe` says how large.

    One cutoff: max |w| = recipe.size on the grid. Two: |k_i| <= K_i, both drawn between them for each trajectory, and
    the coefficients of w in sines and cosines of mean square 1 have the deviation recipe.size. The constant is uniform
    between -shift and shift, for each channel. u = 0 on the border: u_0 times 16 s (1 - s) r (1 - r), s = x / 2 pi,
    r = y / 2 pi. Two grids see the same w, up to its maximum.

    Raises ValueError for n < 1 or a grid that does not hold the frequencies.
    """
    r = equation.recipe or Recipe()
    lowest, highest = r.cutoff
    if n < 1:
        raise ValueError(f"Data are n >= 1 trajectories; got n={n}.")
    if grid <= 2 * highest:
        raise ValueError(
            f"u_0 has frequencies up to {highest}, so the grid needs more than {2 * highest} cells; got {grid}."
        )
    g = torch.Generator().manual_seed(2 * seed)
    m = 2 * highest + 1  # white noise on m x m points is w, for the highest cutoff
    w = torch.randn(n, equation.channels, m, m, generator=g, dtype=torch.float64)
    if lowest < highest:
        K = torch.randint(lowest, highest + 1, (n, 1, 2, 1, 1), generator=g)
        k = torch.fft.fftfreq(m, 1 / m).abs()
        w = torch.fft.irfft2(
            torch.fft.rfft2(w) * (k[:, None] <= K[:, :, 0]) * (k[: highest + 1] <= K[:, :, 1]), s=(m, m)
        )
        w = resampled(r.size * m * w, grid)
    else:
        w = resampled(w, grid)
        w = r.size * w / w.abs().amax((-2, -1), keepdim=True)
    u = w + r.shift * (2 * torch.rand(n, equation.channels, 1, 1, generator=g, dtype=torch.float64) - 1)
    if equation.periodic:
        return u
    s = torch.arange(1, grid, dtype=torch.float64) / grid
    return u[..., 1:, 1:] * 16 * (s * (1 - s))[:, None] * (s * (1 - s))


def reader(grid: int, coarse: int, periodic: bool) -> Callable[[Tensor], Tensor]:
    """u on `grid` cells a side -> u at the points of `coarse` cells a side."""
    if coarse < 5 or (grid % coarse and not periodic):
        raise ValueError(
            "The points that are kept belong to the fine grid: coarse >= 5 divides grid, unless the equation is "
            f"periodic; got grid={grid}, coarse={coarse}."
        )
    factor = -(-grid // coarse)
    first = 0 if periodic else factor - 1
    if grid % coarse:
        return lambda u: resampled(u, factor * coarse)[..., ::factor, ::factor]
    return lambda u: u[..., first::factor, first::factor]


def with_noise(u: Float[Tensor, "n frames C m m"], noise: float, seed: int = 0) -> Float[Tensor, "n frames C m m"]:
    """u + noise sigma xi, xi ~ N(0, 1) everywhere, sigma the deviation of a channel in its trajectory's first frame."""
    if noise == 0:
        return u
    xi = torch.randn(u.shape, generator=torch.Generator().manual_seed(2 * seed + 1), dtype=torch.float64)
    return u + noise * u[:, :1].std((-2, -1), correction=0, keepdim=True) * xi.to(u)
