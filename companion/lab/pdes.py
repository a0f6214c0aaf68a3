r"""u_t = F(u, Du) of [101] and [102]: the equations that PDE-Nets are to find.

    Burgers                      u_t = -u u_x - v u_y + nu Lap u, the same for v                     nu = 0.05
    Heat                         u_t = nu Lap u                                                      nu = 0.1
    ReactionDiffusionConvection  Burgers + (1 - A) u + beta A v | - beta A u + (1 - A) v, A = u^2 + v^2
    ConvectionDiffusion          u_t = a(x, y) u_x + b(x, y) u_y + 0.2 u_xx + 0.3 u_yy
    SinSource                    u_t = 0.3 Lap u + 15 sin u, u = 0 on the border

An equation is written once, as its velocity c, viscosities nu and source r in

    u_t = -c_1 u_x - c_2 u_y + nu_1 u_xx + nu_2 u_yy + r(u),

and pde_solvers.py discretises it; `terms` are the coefficients that a learned equation is compared with, in the names
'u, u_x, u_y, u_xx, u_xy, u_yy, v, ...'. The square is [0, 2 pi]^2, axis -2 is x, axis -1 is y. `recipe` says how the
papers made their data.

Paper: Section 5.2, [101], [102].  Notebooks: 12, 13.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.schemes import RK4, Euler, Heun, Scheme
from companion.lab.pde_grid import points
from companion.lab.pde_solvers import Equation, Spectral, Upwind, solve

__all__ = [
    "Burgers",
    "ConvectionDiffusion",
    "Equation",
    "Heat",
    "ReactionDiffusionConvection",
    "Recipe",
    "SinSource",
    "Spectral",
    "Upwind",
    "cole_hopf",
    "points",
    "solve",
]


class Recipe(NamedTuple):
    """How the papers made their data: a field and a scheme, with steps of at most max_dt, on `grid` cells a side, read
    at `coarse` of them; a frame every dt; half of the trajectories begin at start_time; noise is relative. The rest is
    about u_0, see `random_initial` in pde_data.py.
    """

    field: type[Upwind] | type[Spectral] = Upwind
    scheme: type[Scheme] = Heun
    max_dt: float = 1 / 1600
    grid: int = 128
    coarse: int = 32
    dt: float = 0.01
    start_time: float = 1.0
    cutoff: tuple[int, int] = (4, 4)
    size: float = 2.0
    shift: float = 2.0
    noise: float = 0.001


class Burgers(Equation):
    r"""u_t = -u u_x - v u_y + nu (u_xx + u_yy), v_t = -u v_x - v v_y + nu (v_xx + v_yy).

    >>> Burgers(0.05).terms[1]
    {'u*v_x': -1.0, 'v*v_y': -1.0, 'v_xx': 0.05, 'v_yy': 0.05}
    """

    channels = 2
    recipe = Recipe()

    def __init__(self, nu: float = 0.05):
        super().__init__(nu, nu)

    def velocity(self, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v): the flow carries itself."""
        return u[..., :1, :, :], u[..., 1:, :, :]

    @property
    def terms(self) -> tuple[dict[str, float], ...]:
        """-u u_x - v u_y + nu (u_xx + u_yy), and the same for v."""
        nu = float(self.nu[0])
        return tuple({f"u*{w}_x": -1.0, f"v*{w}_y": -1.0, f"{w}_xx": nu, f"{w}_yy": nu} for w in "uv")


class Heat(Equation):
    r"""u_t = nu (u_xx + u_yy). `exact(u0, t)` solves it: the coefficient of e^{i k . x} decays as e^{-nu |k|^2 t}."""

    recipe = Recipe(start_time=0.0)

    def __init__(self, nu: float = 0.1):
        super().__init__(nu, nu)

    def exact(self, u0: Float[Tensor, "*batch n n"], t: float) -> Float[Tensor, "*batch n n"]:
        """u(t) of the Fourier series through the periodic u_0."""
        n = u0.shape[-1]
        k = torch.fft.fftfreq(n, 1 / n, dtype=u0.dtype, device=u0.device).square()
        decay = (-t * (self.nu[0] * k[:, None] + self.nu[1] * k[: n // 2 + 1])).exp()
        return torch.fft.irfft2(torch.fft.rfft2(u0) * decay, s=(n, n))

    @property
    def terms(self) -> tuple[dict[str, float], ...]:
        """nu (u_xx + u_yy)."""
        return ({"u_xx": float(self.nu[0]), "u_yy": float(self.nu[1])},)


class ReactionDiffusionConvection(Burgers):
    r"""u_t = -u u_x - v u_y + nu Lap u + (1 - A) u + beta A v, v_t = ... - beta A u + (1 - A) v, A = u^2 + v^2."""

    beta: Tensor
    degree = 3
    recipe = Recipe(max_dt=1e-4)

    def __init__(self, nu: float = 0.1, beta: float = 1.0):
        super().__init__(nu)
        self.register_buffer("beta", torch.tensor(float(beta), dtype=torch.float64))

    def source(self, u: Tensor) -> Tensor:
        """(1 - A) u + beta A v | (1 - A) v - beta A u."""
        A = u.square().sum(-3, keepdim=True)
        turned = torch.cat((u[..., 1:, :, :], -u[..., :1, :, :]), -3)
        return u - A * (u - self.beta.to(u) * turned)

    @property
    def terms(self) -> tuple[dict[str, float], ...]:
        """Burgers' terms, and A u = u^3 + u v^2, A v = u^2 v + v^3 multiplied out."""
        b = float(self.beta)
        more = (
            {"u": 1.0, "u**3": -1.0, "u*v**2": -1.0, "u**2*v": b, "v**3": b},
            {"v": 1.0, "v**3": -1.0, "u**2*v": -1.0, "u**3": -b, "u*v**2": -b},
        )
        return tuple(burgers | reaction for burgers, reaction in zip(super().terms, more, strict=True))


class ConvectionDiffusion(Equation):
    r"""u_t = a u_x + b u_y + 0.2 u_xx + 0.3 u_yy,

    a = (cos x + y (2 pi - y) sin y)/2 + 0.6,    b = 2 (cos x + sin y) + 0.8.

    [102] solves it with 30 Fourier modes a side, and RK4. Where the square closes, at y = 0, a_yy jumps: the Fourier
    coefficients of a decay as k^-3, and the error of `Spectral` no faster.
    """

    recipe = Recipe(Spectral, RK4, 5e-3, 30, 50, 0.015, 0.0, (4, 7), 0.4, 0.0, 0.015)

    def __init__(self, nu_1: float = 0.2, nu_2: float = 0.3):
        super().__init__(nu_1, nu_2)

    def velocity(self, u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """(-a, -b)."""
        a, b = self.coefficients(x.to(u))
        return -a, -b

    @staticmethod
    def coefficients(x: Float[Tensor, "2 *shape"]) -> tuple[Tensor, Tensor]:
        """a, b at the points x."""
        y = x[1]
        a = (x[0].cos() + y * (2 * math.pi - y) * y.sin()) / 2 + 0.6
        return a, 2 * (x[0].cos() + y.sin()) + 0.8


class SinSource(Equation):
    r"""u_t = nu (u_xx + u_yy) + 15 sin u, u = 0 on the border."""

    size: Tensor
    periodic = False
    recipe = Recipe(Upwind, Euler, math.inf, 250, 50, 0.01, 0.0, (4, 7), 0.4, 0.0, 0.01)

    def __init__(self, nu: float = 0.3, size: float = 15.0):
        super().__init__(nu, nu)
        self.register_buffer("size", torch.tensor(float(size), dtype=torch.float64))

    def source(self, u: Tensor) -> Tensor:
        """15 sin u."""
        return self.size.to(u) * u.sin()


def cole_hopf(phi: Float[Tensor, "*batch n n"], nu: float, t: float) -> Float[Tensor, "*batch 2 n n"]:
    r"""(u, v) = -2 nu grad phi(t) / phi(t), phi_t = nu Lap phi: an exact solution of Burgers, from phi(0) > 0.

    phi   on the periodic grid, band-limited: phi(t), phi_x, phi_y are then exact. Raises ValueError unless phi > 0.
    """
    if not bool((phi > 0).all()):
        raise ValueError(f"u = -2 nu grad phi / phi needs phi > 0 everywhere; got the minimum {float(phi.min()):.3g}.")
    n = phi.shape[-1]
    k = torch.fft.fftfreq(n, 1 / n, dtype=phi.dtype, device=phi.device)
    a = torch.fft.rfft2(Heat(nu).to(phi.device).exact(phi, t))
    rows, columns = k[:, None], k[: n // 2 + 1].abs()
    at_t, x, y = (torch.fft.irfft2(q * a, s=(n, n)) for q in (torch.ones_like(rows), 1j * rows, 1j * columns))
    return -2 * nu * torch.stack((x, y), -3) / at_t[..., None, :, :]
