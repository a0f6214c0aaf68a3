r"""u_t = -c_1 u_x - c_2 u_y + nu_1 u_xx + nu_2 u_yy + r: an equation on a grid, discretised in two ways, and solved.

    Upwind     differences: one-sided of second order for the convection, central for the diffusion   [101]
    Spectral   Fourier series: exact derivatives, products without aliasing                           [102]

Both turn an equation (pdes.py) and a number N of cells into a field u -> F(u) for the schemes of the course, and
`solve` runs it and keeps a frame every dt. They share no formula: where they agree the solution is right.

u has shape (*batch, C, N, N) on the square [0, 2 pi]^2, axis -2 is x, axis -1 is y, h = 2 pi / N. Periodic equations
have the points i h, 0 <= i < N; those with u = 0 on the border have the N - 1 points inside, 0 < i < N. Everything is
differentiable and follows the dtype and device of u.

Paper: Section 5.2, [101], [102].  Notebooks: 12, 13.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from companion.dynamics import StabilityWarning, run
from companion.flows.schemes import Heun, check_dt

PERIOD = 2 * math.pi
BLOCK = 2**15  # numbers of a state: 256 KB, so that the dozen tensors of a step stay in the cache


class Upwind(nn.Module):
    r"""-c . D^c u + nu_1 D_xx u + nu_2 D_yy u + r(u): second-order upwind and central differences.

    c > 0    (3 u_i - 4 u_{i-1} + u_{i-2}) / (2h): the information comes from the left
    c < 0    (-3 u_i + 4 u_{i+1} - u_{i+2}) / (2h)
    D_xx u   (u_{i+1} - 2 u_i + u_{i-1}) / h^2

    equation   velocity c(u), viscosities nu, source r(u), boundary
    N          cells along each side, h = 2 pi / N

    The error is O(h^2). Raises ValueError for N < 5, and for u on another grid.
    """

    x: Tensor

    def __init__(self, equation: nn.Module, N: int):
        super().__init__()
        self.equation, self.N, self.h = equation, check_cells(N), PERIOD / N
        self.register_buffer("x", points(N, equation.periodic))

    @property
    def max_dt(self) -> float:
        """h^2 / (2 (nu_1 + nu_2)): the bound of Euler's scheme for the diffusion; the convection asks c dt < h besides."""
        return self.h**2 / (2 * float(self.equation.nu.sum()))

    def forward(self, u: Float[Tensor, "*batch C n n"]) -> Float[Tensor, "*batch C n n"]:
        check_grid(u, self.equation, self.N)
        c, F = self.equation.velocity(u, self.x), self.equation.source(u)
        F = torch.zeros_like(u) if F is None else F
        for i, nu in enumerate(self.equation.nu.tolist()):
            d = self._extended(u, i - 2, 1 if c is None else 2).diff(dim=i - 2)  # d[i] = u_{i+1} - u_i
            e = d.diff(dim=i - 2)  # u_{i+1} - 2 u_i + u_{i-1}
            at = Window(u.shape[i - 2], i - 2)
            if c is None:
                F = torch.add(F, e, alpha=nu / self.h**2)
                continue
            F = torch.add(F, at(e, 1), alpha=nu / self.h**2)
            left, right = torch.add(at(d, 1), at(e, 0), alpha=0.5), torch.sub(at(d, 2), at(e, 2), alpha=0.5)
            F = F.addcmul_(c[i].clamp(min=0), left, value=-1 / self.h).addcmul_(
                c[i].clamp(max=0), right, value=-1 / self.h
            )
        return F

    def _extended(self, u: Tensor, axis: int, width: int) -> Tensor:
        """u with `width` more points at both ends of an axis: periodic, or 0 where the border is."""
        if self.equation.periodic:
            return torch.cat((u.narrow(axis, self.N - width, width), u, u.narrow(axis, 0, width)), axis)
        zero = torch.zeros_like(u.narrow(axis, 0, 1))
        return torch.cat((zero, u, zero), axis)


class Window:
    """n entries along an axis, from a first one."""

    def __init__(self, n: int, axis: int):
        self.n, self.axis = n, axis

    def __call__(self, d: Tensor, first: int) -> Tensor:
        return d.narrow(self.axis, first, self.n)


class Spectral(nn.Module):
    r"""Sum_k F_k e^{i k . x}, |k_1|, |k_2| < N/2: derivatives by i k, products on a grid so fine that none is aliased.

    Products of `equation.degree` = p factors are formed on (p + 1)/2 N points a side (3/2 N for p = 2), where all their
    frequencies that fall on |k| < N/2 are those that belong there. A source that is no polynomial is treated as p = 2.
    u = 0 on the border: u is continued as an odd function of period 4 pi, which it remains if r is odd.

    equation   velocity c(u), viscosities nu, source r(u), boundary
    N          cells along each side

    A smooth solution is found up to an error smaller than any power of h. Raises ValueError as Upwind.
    """

    x: Tensor

    def __init__(self, equation: nn.Module, N: int):
        super().__init__()
        self.equation, self.N = equation, check_cells(N)
        self.n = N if equation.periodic else 2 * N
        self.fine = 2 * math.ceil((equation.degree + 1) * self.n / 4)
        self.register_buffer("x", points(self.fine, True))
        scale = self.n / N  # how many periods of 2 pi the series has
        k = torch.fft.fftfreq(self.n, scale / self.n, dtype=torch.float64)
        self.register_buffer("k", torch.stack(torch.meshgrid(k, k[: self.n // 2 + 1].abs(), indexing="ij")))

    @property
    def max_dt(self) -> float:
        """2 / (nu_1 K^2 + nu_2 K^2), K < N/2 the highest frequency: the bound of Euler's scheme for the diffusion."""
        K = (self.n - 1) // 2 * self.N / self.n
        return 2 / (float(self.equation.nu.sum()) * K**2)

    def forward(self, u: Float[Tensor, "*batch C n n"]) -> Float[Tensor, "*batch C n n"]:
        check_grid(u, self.equation, self.N)
        a = torch.fft.rfft2(u if self.equation.periodic else odd(u))
        a = resized(a, self.n, self.n)  # without the frequency N/2, whose sine the grid does not see
        k = self.k.to(u)
        v = self._values(a)
        c, r = self.equation.velocity(v, self.x), self.equation.source(v)
        F = -sum((nu * q.square() for nu, q in zip(self.equation.nu.to(u), k, strict=True))) * a
        if c is not None:
            r = -sum(speed * self._values(1j * q * a) for speed, q in zip(c, k, strict=True)) + (0 if r is None else r)
        if r is not None:
            F = F + resized(torch.fft.rfft2(r), self.fine, self.n) * (self.n / self.fine) ** 2
        F = torch.fft.irfft2(F, s=(self.n, self.n))
        return F if self.equation.periodic else F[..., 1 : self.N, 1 : self.N]

    def _values(self, a: Tensor) -> Tensor:
        return torch.fft.irfft2(resized(a, self.n, self.fine) * (self.fine / self.n) ** 2, s=(self.fine, self.fine))


def solve(
    field: nn.Module,
    u0: Float[Tensor, "*batch C n n"],
    dt: float,
    steps: int,
    *,
    scheme: Callable[..., Any] = Heun,
    max_dt: float | None = None,
    read: Callable[[Tensor], Tensor] | None = None,
    progress: bool | str = False,
) -> Float[Tensor, "*batch frames C m m"]:
    r"""u(0), u(dt), ..., u(steps dt), shape (*batch, steps + 1, C, n, n): the orbit of a scheme, a frame every dt.

    field     Upwind or Spectral, or any F with `max_dt`
    scheme    (F, dt) -> map: Heun, RK4, Euler
    max_dt    the scheme takes dt/k, k = ceil(dt / max_dt); by default scheme.limit * field.max_dt
    read      u -> what is kept of a frame, such as every fourth point; all by default
    progress  a title for a bar that is shown after two seconds

    No gradients are recorded. Raises ValueError for dt <= 0 or steps < 0; StabilityWarning where the solution left the
    finite numbers.
    """
    if steps < 0:
        raise ValueError(f"A trajectory has steps >= 0 frames after the first; got steps={steps}.")
    bound = scheme.limit * field.max_dt if max_dt is None else check_dt(max_dt)
    k = math.ceil(check_dt(dt) / bound * (1 - 1e-9))
    step = scheme(field, dt / k)
    record = {"u": (lambda u: u) if read is None else (lambda u: read(u).clone())}
    blocks = u0.flatten(0, -4).split(block(u0)) if u0.ndim > 3 else (u0[None],)
    with torch.no_grad(), bar(len(blocks) * steps, progress) as passed:

        def frame(u: Tensor) -> Tensor:
            u = run(step, u, k=k).u
            passed.update()
            return u

        done = torch.cat([run(frame, u, k=steps, record=record).curves["u"] for u in blocks], 1)
    if not bool(done[-1].isfinite().all()):
        warnings.warn(
            f"The solution left the finite numbers in steps of {dt / k:.3g}. Lower max_dt.", StabilityWarning, 2
        )
    return done.movedim(0, 1).reshape(*u0.shape[:-3], *done.shape[:1], *done.shape[2:]).to(u0.device)


def block(u: Tensor) -> int:
    """How many trajectories run together: all on a graphics card, on a processor as many as its cache holds."""
    return max(1, BLOCK // u.shape[-3:].numel()) if u.device.type == "cpu" else u.shape[:-3].numel()


def bar(total: int, progress: bool | str) -> Any:
    """A progress bar that shows itself after two seconds, or never."""
    from tqdm.auto import tqdm

    title = progress if isinstance(progress, str) else None
    return tqdm(total=total, desc=title, delay=2, leave=False, disable=not progress)


# ---- grids and their Fourier series ----------------------------------------------------------------------------------


def points(N: int, periodic: bool = True) -> Float[Tensor, "2 n n"]:
    """(x, y) = (i h, j h), h = 2 pi / N: 0 <= i, j < N, or 0 < i, j < N without the border."""
    x = torch.arange(0 if periodic else 1, N, dtype=torch.float64) * (PERIOD / N)
    return torch.stack(torch.meshgrid(x, x, indexing="ij"))


def resized(a: Complex[Tensor, "*shape"], n: int, m: int) -> Complex[Tensor, "*shape"]:
    """The coefficients of `rfft2` on n points a side on m points, |k| < min(n, m)/2; the others are 0.

    Multiply by (m/n)^2 for the same function: `irfft2` divides by the number of points.
    """
    K = (min(n, m) - 1) // 2
    b = a.new_zeros(*a.shape[:-2], m, m // 2 + 1)
    b[..., : K + 1, : K + 1] = a[..., : K + 1, : K + 1]
    if K:
        b[..., -K:, : K + 1] = a[..., -K:, : K + 1]
    return b


def resampled(u: Float[Tensor, "*batch n n"], m: int) -> Float[Tensor, "*batch m m"]:
    """The Fourier series through u, on m points a side."""
    n = u.shape[-1]
    return torch.fft.irfft2(resized(torch.fft.rfft2(u), n, m) * (m / n) ** 2, s=(m, m))


def odd(u: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch m m"]:
    """u inside the square continued by u(-x, y) = u(x, -y) = -u(x, y): N - 1 points a side become 2 N."""
    for axis in (-2, -1):
        zero = torch.zeros_like(u.narrow(axis, 0, 1))
        u = torch.cat((zero, u, zero, -u.flip(axis)), axis)
    return u


def check_cells(N: int) -> int:
    """N >= 5: as many points as a one-sided difference on both sides needs."""
    if N < 5:
        raise ValueError(f"A grid needs N >= 5 cells along each side; got N={N}.")
    return N


def check_grid(u: Tensor, equation: nn.Module, N: int) -> None:
    """u of shape (*batch, C, N, N) with the equation's C."""
    n = N if equation.periodic else N - 1
    if u.ndim < 3 or u.shape[-3:] != (equation.channels, n, n):
        where = "" if equation.periodic else f" (the {n} x {n} points inside)"
        raise ValueError(
            f"{type(equation).__name__} on {N} x {N} cells has u of shape (*batch, {equation.channels}, {n}, {n}){where}; "
            f"got shape {tuple(u.shape)}."
        )
