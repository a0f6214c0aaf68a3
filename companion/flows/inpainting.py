r"""u_t = grad-perp u . grad(Laplace u) in the hole, u = f outside: level lines are continued, as an artist would.
Section 3, [12]

Where pixels are unknown the picture around them is continued inwards. All three maps leave known pixels as they are.

    DiffusionInpainting       u_t = Laplace u: what a soap film does. Edges are not continued
    TransportInpainting       u_t = grad-perp u . grad(Laplace u): smoothness is carried along level lines
    NavierStokesInpainting    omega = Laplace u is the vorticity of the flow v = grad-perp u, of stream function u:
                              omega_t + v . grad omega = nu Laplace omega

where grad-perp u = (-u_2, u_1). Both transports rest where Laplace u is constant along level lines. They start from
what u_0 has in the hole, best from `DiffusionInpainting(mask).fill(u0)`.

Sources: Bertalmio, Sapiro, Caselles, Ballester, Image inpainting (2000); Bertalmio, Bertozzi, Sapiro, Navier-Stokes,
fluid dynamics, and image and video inpainting (2001).
Paper: Section 3 ([12]).  Notebook: 06.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.curvature import CurvatureMotion
from companion.flows.field import Field
from companion.operators.checks import check_picture
from companion.operators.derivatives import central, check_grid_step, root, second
from companion.operators.grid import shift
from companion.operators.linear import conjugate_gradients
from companion.operators.measure import zero_one


class DiffusionInpainting(Field):
    r"""F(u) = Laplace u in the hole, 0 elsewhere: harmonic inpainting.

    mask  known pixels, as for `Mask`: True = known, of the picture's shape (H, W)
    h     the grid step

    `fill(u)` is its limit t -> infinity. max_dt = h^2/4; extrema are kept. Raises ValueError for a mask that knows no
    pixel, or of another shape than the picture.
    """

    maximum_principle = True
    hole: Tensor

    def __init__(self, mask: Tensor, h: float = 1.0):
        super().__init__()
        check_grid_step(h)
        self.register_buffer("hole", ~check_mask(mask))
        self.h = float(h)

    @property
    def max_dt(self) -> float:
        """h^2 / 4."""
        return self.h**2 / 4

    def forward(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        check_hole(u, self.hole)
        return self.hole * laplace(u, self.h)

    def fill(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        r"""Laplace u = 0 in the hole, u = f where known: the limit of the flow, by conjugate gradients."""
        check_hole(u, self.hole)
        return poisson(torch.zeros_like(u), u, self.hole, self.h)


class TransportInpainting(nn.Module):
    r"""u <- u + dt grad-perp u . grad(Laplace u) in the hole, `transport` times; then `diffusion` steps of u_TT.

    A map for `run`. Bertalmio, Sapiro, Caselles and Ballester: with T = grad-perp u / |grad u| the speed
    beta = T . grad(Laplace u) is taken by central differences, and u_t = beta |grad u| is a motion of level lines,
    upwind with slopes limited to their own side, so that no value passes its neighbours. Curvature motion in between
    keeps level lines from crossing.

    mask       known pixels: True = known, (H, W)
    h          the grid step
    transport  transport steps in one step of the map, 15; `diffusion`, 2, is that of the curvature motion's
    dt         the transport's time step in units of h^4 / (max u - min u), never longer than h / (2 max |beta|), for
               which extrema are kept; image by image
    eps        the size of grad u, relative to (max u - min u)/h, below which there is no direction

    Raises ValueError for a mask without known pixels or of another shape; for transport or diffusion < 0; for dt <= 0.
    """

    hole: Tensor

    def __init__(
        self, mask: Tensor, h: float = 1.0, transport: int = 15, diffusion: int = 2, dt: float = 0.1, eps: float = 1e-3
    ):
        super().__init__()
        check_grid_step(h)
        check_counts(transport, diffusion, dt)
        self.register_buffer("hole", ~check_mask(mask))
        self.h, self.transport, self.diffusion, self.dt, self.eps = float(h), transport, diffusion, float(dt), eps

    def forward(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        check_hole(u, self.hole)
        for _ in range(self.transport):
            u = self._carry(u)
        size = contrast(u)
        for _ in range(self.diffusion):
            motion = CurvatureMotion(1.0, self.eps)
            u = u + self.hole * motion.max_dt / 2 * motion(u / size) * size
        return u

    def _carry(self, u: Tensor) -> Tensor:
        """One step of u_t = beta |grad u|."""
        h, size = self.h, contrast(u)
        x, y = (central(u, i, h) for i in range(2))
        L = laplace(u, h)
        length = root(x.square() + y.square() + (self.eps * size / h).square())
        beta = (x * central(L, 1, h) - y * central(L, 0, h)) / length
        dt = torch.minimum(self.dt * h**4 / size, h / (2 * (self.hole * beta).abs().amax((-2, -1), keepdim=True)))
        return u + self.hole * dt * beta * upwind(u, beta, h)


class NavierStokesInpainting(nn.Module):
    r"""omega = Laplace u;  omega <- omega + dt (nu Laplace omega - v . grad omega) in the hole;  Laplace u = omega.

    A map for `run`. v = grad-perp u = (-u_2, u_1) by central differences, v . grad omega upwind; then u from the
    Poisson problem in the hole with the known pixels around it. omega next to the hole contains u inside it, which
    makes the slope of the picture at the rim a boundary condition beside its value: without v the map rests at
    the biharmonic continuation, Laplace^2 u = 0.

    mask  known pixels: True = known, (H, W)
    nu    the viscosity, relative to (max u - min u): 1 / nu is the Reynolds number of one pixel
    dt    the step as a fraction of h / (max (|v_1| + |v_2|) + 6 nu / h), for which it is stable; image by image
    h     the grid step

    Raises ValueError for a mask without known pixels or of another shape; for nu <= 0 or dt outside (0, 1].
    """

    hole: Tensor

    def __init__(self, mask: Tensor, nu: float = 0.1, dt: float = 0.9, h: float = 1.0):
        super().__init__()
        check_grid_step(h)
        if not 0 < nu < math.inf or not 0 < dt <= 1:
            raise ValueError(
                f"Navier-Stokes inpainting needs a viscosity nu > 0 and a step 0 < dt <= 1; got nu={nu}, dt={dt}."
            )
        self.register_buffer("hole", ~check_mask(mask))
        self.nu, self.dt, self.h = float(nu), float(dt), float(h)

    def forward(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        check_hole(u, self.hole)
        h, nu = self.h, self.nu * contrast(u)
        v = (-central(u, 1, h), central(u, 0, h))
        omega = laplace(u, h)
        change = nu * laplace(omega, h)
        for i in range(2):
            behind = (omega - shift(omega, -1, i - 2, "reflect")) / h
            ahead = (shift(omega, 1, i - 2, "reflect") - omega) / h
            change = change - torch.where(v[i] > 0, v[i] * behind, v[i] * ahead)
        speed = (self.hole * (v[0].abs() + v[1].abs())).amax((-2, -1), keepdim=True)
        dt = self.dt * h / (speed + 6 * nu / h)
        return poisson(omega + dt * change, u, self.hole, h)


def laplace(u: Tensor, h: float) -> Tensor:
    """The five-point Laplacian, reflecting."""
    return second(u, 0, 0, h) + second(u, 1, 1, h)


def poisson(
    omega: Float[Tensor, "*batch H W"], u: Float[Tensor, "*batch H W"], hole: Tensor, h: float
) -> Float[Tensor, "*batch H W"]:
    """The picture with Laplace u = omega in the hole and the values of u elsewhere; conjugate gradients from u."""
    right = hole * (laplace(u, h) - omega) * h**2
    if not bool(right.any()):
        return u
    return u + conjugate_gradients(lambda w: w * ~hole - hole * laplace(hole * w, 1.0), right, k=4 * u.numel())


def upwind(u: Float[Tensor, "*batch H W"], speed: Tensor, h: float) -> Float[Tensor, "*batch H W"]:
    r"""|grad u| for u_t = speed |grad u|: only slopes up to higher neighbours where speed > 0, to lower ones where < 0.

    At most 2 max_m |u[m] - u[n]| / h over the four neighbours m, so that no value passes its neighbours for
    dt |speed| <= h/2.
    """
    up = down = torch.zeros_like(u)
    for axis in (-2, -1):
        for k in (-1, 1):
            slope = (shift(u, k, axis, "reflect") - u) / h
            up, down = up + torch.relu(slope).square(), down + torch.relu(-slope).square()
    return root(torch.where(speed > 0, up, down))


def contrast(u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch 1 1"]:
    """max u - min u of each image; never 0, so that it may be divided by."""
    flat = u.flatten(-2)
    return (flat.amax(-1) - flat.amin(-1)).clamp_min(torch.finfo(u.dtype).tiny ** 0.25)[..., None, None]


def check_mask(mask: Tensor) -> Tensor:
    """The mask as bools (H, W); raises unless it knows a pixel and is one picture's."""
    known = zero_one(mask, "mask", "pixel")
    if known.ndim != 2:
        raise ValueError(
            f"A mask for inpainting has the two axes (H, W) of one picture; got shape {tuple(mask.shape)}. It serves "
            "all pictures of a batch."
        )
    return known


def check_hole(u: Tensor, hole: Tensor) -> None:
    """Raise unless u is a picture of the mask's shape, on its device."""
    check_picture(u, "u", 2, hole.device)
    if u.shape[-2:] != hole.shape:
        raise ValueError(
            f"The mask has shape {tuple(hole.shape)}, so the last axes of u must too; got shape {tuple(u.shape)}."
        )


def check_counts(transport: int, diffusion: int, dt: float) -> None:
    """Raise unless the numbers of steps are >= 0, and not both 0, and dt > 0."""
    if transport < 0 or diffusion < 0 or transport + diffusion == 0 or not 0 < dt < math.inf:
        raise ValueError(
            "Transport inpainting takes transport >= 0 and diffusion >= 0 steps, one of them at least, with dt > 0; got"
            f" transport={transport}, diffusion={diffusion}, dt={dt}."
        )
