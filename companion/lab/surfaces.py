r"""Points on known surfaces, with noise and holes; the surface {u = 1/2} of a volume, its errors, and its picture.

    torus, double_torus    signed functions F with F = 0 on the surface, F < 0 inside, |F| the distance near it
    scatter                points on F = 0, with noise, a disc of them missing
    mesh, errors           triangles of {u = 1/2}; distances between them and the true surface
    render                 a shaded picture

Notebook: 15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Surface = Callable[[Tensor], Tensor]


class Mesh(NamedTuple):
    """Corners (V, 3) in [-1, 1]^3 and triangles (T, 3) of their numbers."""

    corners: Float[np.ndarray, "V 3"]
    triangles: np.ndarray


def torus(x: Float[Tensor, "*batch 3"], R: float = 0.58, r: float = 0.3) -> Float[Tensor, "*batch"]:
    """The signed distance to the torus of radii R and r about the z axis: exact."""
    ring = torch.hypot(x[..., 0], x[..., 1]) - R
    return torch.hypot(ring, x[..., 2]) - r


def double_torus(x: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Two tori side by side, joined smoothly: genus 2. F is the distance to first order at the surface only."""
    shift = x.new_tensor([0.4, 0.0, 0.0])
    a, b = (torus(x + s * shift, 0.3, 0.17) for s in (1, -1))
    return -torch.logsumexp(torch.stack([-a, -b]) * 30, 0) / 30


def scatter(
    F: Surface, count: int = 5000, sigma: float = 0.0, hole: float = 0.0, seed: int = 0
) -> Float[Tensor, "N 3"]:
    """Random points of the shell |F| < 0.05 moved onto F = 0 along grad F, then by noise; those in a ball are left out.

    sigma  of the noise, in each coordinate; the cube has the side 2
    hole   the radius of the ball, whose centre is the point with the largest x + y + z
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(30 * count, 3, generator=generator, dtype=torch.float64).mul_(1.9).sub_(0.95)
    x = torch.cat([part[F(part).abs() < 0.05] for part in x.split(50_000)])
    for _ in range(6):
        value, slope = _slope(F, x)
        x = x - value[:, None] * slope / slope.square().sum(1, keepdim=True).clamp_min(1e-6)
    x = x[(F(x).abs() < 1e-6) & (x.abs() < 0.98).all(1)][:count]
    top = x[x.sum(1).argmax()]
    x = x[(x - top).norm(dim=1) > hole] if hole else x
    noisy = x + sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return noisy.clamp(-0.999, 0.999)


def mesh(u: Float[Tensor, "n n n"], level: float = 0.5) -> Mesh:
    """{u = level} by scikit-image's marching cubes.

    Raises ValueError if u does not reach the level.
    """
    from skimage.measure import marching_cubes

    n, v = u.shape[0], u.detach().cpu().double().numpy()
    if not v.min() < level < v.max():
        raise ValueError(f"No surface {{u = {level}}}: u lies between {v.min():.3g} and {v.max():.3g}.")
    corners, triangles, _, _ = marching_cubes(v, level)
    return Mesh((2 * corners + 1) / n - 1, triangles)


class Errors(NamedTuple):
    """Root mean square and largest distance from the mesh to the surface; the largest from the surface to the mesh."""

    rms: float
    worst: float
    missed: float


def errors(found: Mesh, F: Surface) -> Errors:
    """Distances between the corners of a mesh and the surface F = 0: |F| / |grad F|, exact for the torus.

    `missed` is the largest distance from 20,000 samples of the surface to a corner, so at least half a voxel.
    """
    from scipy.spatial import cKDTree

    value, slope = _slope(F, torch.from_numpy(found.corners).double())
    distance = value.abs() / slope.norm(dim=1).clamp_min(1e-6)
    back, _ = cKDTree(found.corners).query(scatter(F, 20_000, seed=1).numpy())
    return Errors(float(distance.square().mean().sqrt()), float(distance.max()), float(back.max()))


def genus(found: Mesh) -> float:
    """1 - (V - E + T)/2, the number of handles of one closed surface; with k parts the sum of theirs minus k - 1."""
    edges = np.sort(found.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    euler = len(found.corners) - len(np.unique(edges, axis=0)) + len(found.triangles)
    return 1 - euler / 2


def render(ax: Any, found: Mesh, points: Tensor | None = None, elevation: float = 45, azimuth: float = -60) -> None:
    """The mesh, lit from above on the left, on a 3-D axis of matplotlib; or the points alone, where there are some."""
    if points is not None:
        ax.scatter(*points.T.numpy(), s=0.6, c="#1f4e79", depthshade=True)
    if len(found.triangles):
        from matplotlib.colors import LightSource
        from mpl_toolkits.mplot3d.art3d import Poly3DCollection

        light = LightSource(azdeg=225, altdeg=50)
        outward = found.corners[found.triangles[:, ::-1]]  # marching cubes turns them to the larger u, which is inside
        faces = Poly3DCollection(
            outward, facecolors="#b9d7f2", shade=True, lightsource=light, linewidth=0, antialiased=False
        )
        ax.add_collection3d(faces)
    ax.set(xlim=(-0.8, 0.8), ylim=(-0.8, 0.8), zlim=(-0.8, 0.8))
    ax.set_box_aspect((1, 1, 1), zoom=1.38)
    ax.view_init(elev=elevation, azim=azimuth)
    ax.set_axis_off()


def _slope(F: Surface, x: Tensor) -> tuple[Tensor, Tensor]:
    """F and its gradient, by automatic differentiation."""
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        value = F(y)
        (slope,) = torch.autograd.grad(value.sum(), y)
    return value.detach(), slope
