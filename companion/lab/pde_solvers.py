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
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.dynamics import Trajectory, run
from companion.flows.schemes import Heun, check_dt
from companion.lab.pde_grid import PERIOD, odd, points, resized

BLOCK = 2**16  # numbers of a state: half a megabyte, so that the dozen tensors of a step stay in the cache
KEPT = 2**21  # ... and those of the block of memory that the allocator shall not give back after each use


class Equation(nn.Module):
    """u_t = -c_1 u_x - c_2 u_y + nu_1 u_xx + nu_2 u_yy + r(u), periodic or with u = 0 on the border."""

    channels: int = 1
    periodic: bool = True
    degree: int = 2  # of the products in c u_x and r
    recipe: Any = None  # how data are made, see `Recipe` in pdes.py
    nu: Tensor

    def __init__(self, nu_1: float, nu_2: float):
        super().__init__()
        if not (0 < nu_1 < math.inf and 0 < nu_2 < math.inf):
            raise ValueError(f"A diffusion needs viscosities > 0, or it runs backwards; got nu = ({nu_1}, {nu_2}).")
        self.register_buffer("nu", torch.tensor([nu_1, nu_2], dtype=torch.float64))

    def velocity(self, u: Float[Tensor, "*batch C n n"], x: Float[Tensor, "2 n n"]) -> tuple[Tensor, Tensor] | None:
        """(c_1, c_2), broadcastable against u at the points x; None without convection."""
        return None

    def source(self, u: Float[Tensor, "*batch C n n"]) -> Tensor | None:
        """r(u), a new tensor; None without source."""
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The derivatives of order up to two, channel by channel: u, u_x, u_y, u_xx, u_xy, u_yy, v, ..."""
        return tuple(f"{c}{d}" for c in "uv"[: self.channels] for d in ("", "_x", "_y", "_xx", "_xy", "_yy"))

    @property
    def terms(self) -> tuple[dict[str, float], ...]:
        """The true coefficients, one {monomial: number} for each channel; empty where they are no constants."""
        return ()


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

    def __init__(self, equation: Equation, N: int):
        super().__init__()
        self.equation, self.N, self.h = equation, check_cells(N), PERIOD / N
        self.register_buffer("x", points(N, equation.periodic))

    @property
    def max_dt(self) -> float:
        """h^2 / (2 (nu_1 + nu_2)): Euler's bound for the diffusion alone."""
        return self.h**2 / (2 * float(self.equation.nu.sum()))

    def longest(self, u: Tensor) -> float:
        """1 / (2 (nu_1 + nu_2)/h^2 + 2 max(|c_1| + |c_2|)/h): Euler's bound, the convection at u included."""
        return 1 / (1 / self.max_dt + 2 * speed(self.equation.velocity(u, self.x)) / self.h)

    def forward(self, u: Float[Tensor, "*batch C n n"]) -> Float[Tensor, "*batch C n n"]:
        check_grid(u, self.equation, self.N)
        c, F = self.equation.velocity(u, self.x), self.equation.source(u)
        F = torch.zeros_like(u) if F is None else F
        n, h = u.shape[-1], self.h
        for i, (axis, nu) in enumerate(zip((-2, -1), self.equation.nu.tolist(), strict=True)):
            d = self._extended(u, axis).diff(dim=axis)  # u_{i+1} - u_i, from i = -2
            e = d.diff(dim=axis)  # u_{i+1} - 2 u_i + u_{i-1}, from i = -1
            F = torch.add(F, e.narrow(axis, 1, n), alpha=nu / h**2)
            if c is not None:
                left = torch.add(d.narrow(axis, 1, n), e.narrow(axis, 0, n), alpha=0.5)
                right = torch.sub(d.narrow(axis, 2, n), e.narrow(axis, 2, n), alpha=0.5)
                F = torch.addcmul(F, c[i].clamp(min=0), left, value=-1 / h)
                F = torch.addcmul(F, c[i].clamp(max=0), right, value=-1 / h)
        return F

    def _extended(self, u: Tensor, axis: int) -> Tensor:
        """u with two more points at both ends of an axis: periodic, or odd about a border where it is 0."""
        n = u.shape[axis]
        if self.equation.periodic:
            return torch.cat((u.narrow(axis, n - 2, 2), u, u.narrow(axis, 0, 2)), axis)
        first, last = u.narrow(axis, 0, 1), u.narrow(axis, n - 1, 1)
        zero = torch.zeros_like(first)
        return torch.cat((-first, zero, u, zero, -last), axis)


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
    k: Tensor

    def __init__(self, equation: Equation, N: int):
        super().__init__()
        self.equation, self.N = equation, check_cells(N)
        self.n = N if equation.periodic else 2 * N
        self.fine = 2 * math.ceil((equation.degree + 1) * self.n / 4)
        scale = self.n // N  # the period of the series over 2 pi
        self.register_buffer("x", points(self.fine) * scale)
        k = torch.fft.fftfreq(self.n, scale / self.n, dtype=torch.float64)
        self.register_buffer("k", torch.stack(torch.meshgrid(k, k[: self.n // 2 + 1].abs(), indexing="ij")))

    @property
    def max_dt(self) -> float:
        """2 / (K^2 (nu_1 + nu_2)), K < N/2 the highest frequency: Euler's bound for the diffusion alone."""
        return 2 / (float(self.k.max()) ** 2 * float(self.equation.nu.sum()))

    def longest(self, u: Tensor) -> float:
        """2 / (K^2 (nu_1 + nu_2) + K max(|c_1| + |c_2|)): for RK4, whose limit is about the same in all directions."""
        a = torch.fft.rfft2(u if self.equation.periodic else odd(u))
        return 2 / (2 / self.max_dt + float(self.k.max()) * speed(self.equation.velocity(self._values(a), self.x)))

    def forward(self, u: Float[Tensor, "*batch C n n"]) -> Float[Tensor, "*batch C n n"]:
        check_grid(u, self.equation, self.N)
        a = torch.fft.rfft2(u if self.equation.periodic else odd(u))
        a = resized(a, self.n, self.n)  # without the frequency N/2, whose sine the grid does not see
        k, nu, v = self.k.to(u), self.equation.nu.to(u), self._values(a)
        c, r = self.equation.velocity(v, self.x), self.equation.source(v)
        F = -(nu[0] * k[0] ** 2 + nu[1] * k[1] ** 2) * a
        if c is not None:
            convected = c[0] * self._values(1j * k[0] * a) + c[1] * self._values(1j * k[1] * a)
            r = -convected if r is None else r - convected
        if r is not None:
            F = F + resized(torch.fft.rfft2(r), self.fine, self.n)
        F = torch.fft.irfft2(F, s=(self.n, self.n))
        return F if self.equation.periodic else F[..., 1 : self.N, 1 : self.N]

    def _values(self, a: Tensor) -> Tensor:
        return torch.fft.irfft2(resized(a, self.n, self.fine), s=(self.fine, self.fine))


def solve(
    field: Upwind | Spectral,
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

    field     Upwind or Spectral
    scheme    (F, dt) -> map: Heun, RK4, Euler
    max_dt    the scheme takes dt/k, k = ceil(dt / max_dt); by default 0.9 scheme.limit * field.longest(u0)
    read      u -> what is kept of a frame, such as every fourth point; all by default
    progress  a title for a bar that is shown after two seconds

    No gradients are recorded. Raises ValueError for dt <= 0, steps < 0, or a solution that leaves the finite numbers.
    """
    if steps < 0:
        raise ValueError(f"A trajectory has steps >= 0 frames after the first; got steps={steps}.")
    bound = 0.9 * getattr(scheme, "limit", 1.0) * field.longest(u0) if max_dt is None else check_dt(max_dt)
    k = math.ceil(check_dt(dt) / bound * (1 - 1e-9))
    step = scheme(field, dt / k)
    record = {"u": (lambda u: u) if read is None else (lambda u: read(u).clone())}
    blocks = u0.reshape(-1, *u0.shape[-3:]).split(block(u0))
    torch.empty(KEPT, dtype=torch.float64)  # freed at once; glibc then keeps smaller pieces: half of the time or less
    with torch.no_grad(), bar(len(blocks) * steps, progress) as passed:

        def frame(u: Tensor) -> Tensor:
            u = whole(run(step, u, k=k)).u
            if not bool(u.isfinite().all()):
                raise ValueError(
                    f"The solution must stay finite; in steps of {dt / k:.3g} it did not. Take shorter ones, by max_dt."
                )
            passed.update()
            return u

        done = torch.cat([whole(run(frame, u, k=steps, record=record)).curves["u"] for u in blocks], 1)
    return done.movedim(0, 1).reshape(*u0.shape[:-3], *done.shape[:1], *done.shape[2:]).to(u0.device)


def whole(orbit: Trajectory) -> Trajectory:
    """The orbit; where the keyboard cut it short, and `run` returned what there was, the interrupt again."""
    if orbit.stopped == "interrupt":
        raise KeyboardInterrupt
    return orbit


def block(u: Tensor) -> int:
    """How many trajectories run together: all on a graphics card, on a processor as many as its cache holds."""
    return max(1, BLOCK // u.shape[-3:].numel()) if u.device.type == "cpu" else u.shape[:-3].numel()


def speed(c: tuple[Tensor, Tensor] | None) -> float:
    """max (|c_1| + |c_2|)."""
    return 0.0 if c is None else float((c[0].abs() + c[1].abs()).max())


def bar(total: int, progress: bool | str) -> Any:
    """A progress bar that shows itself after two seconds, or never."""
    from tqdm.auto import tqdm

    title = progress if isinstance(progress, str) else None
    return tqdm(total=total, desc=title, delay=2, leave=False, disable=not progress)


def check_cells(N: int) -> int:
    """N >= 5: as many points as a one-sided difference on both sides needs."""
    if N < 5:
        raise ValueError(f"A grid needs N >= 5 cells along each side; got N={N}.")
    return N


def check_grid(u: Tensor, equation: Equation, N: int) -> None:
    """u of shape (*batch, C, N, N) with the equation's C."""
    n = N if equation.periodic else N - 1
    if u.ndim < 3 or u.shape[-3:] != (equation.channels, n, n):
        name = f"{type(equation).__name__} on {N} x {N} cells" + ("" if equation.periodic else ", border left out,")
        raise ValueError(f"{name} has u of shape (*batch, {equation.channels}, {n}, {n}); got shape {tuple(u.shape)}.")
