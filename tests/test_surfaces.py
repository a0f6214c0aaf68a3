"""A surface through points: distances, what is inside, the two models against the exact torus; meshes and errors."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    PDHG,
    FrameletTransform,
    Gradient,
    WeightedLength,
    bspline,
    distance_to,
    inside_outside,
    run,
    smooth_model,
    surface_model,
)
from companion.lab.surfaces import Mesh, double_torus, errors, genus, mesh, render, scatter, torus

HAAR = FrameletTransform(bspline(1), dim=3)


def voxels(n: int) -> Tensor:
    axis = (2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def found(points: Tensor, n: int, delta: float, k: int = 80, W: FrameletTransform | Gradient = HAAR) -> Tensor:
    u0 = smooth_model(points, n, delta, 1e-3).minimiser(1e-6).clamp(0, 1)
    with torch.no_grad():
        return run(PDHG(surface_model(points.float(), W, 1.0, n, delta)), u0.float(), k=k).u


def test_the_distance_is_that_of_every_pair() -> None:
    points = scatter(torus, 60)
    pairs = (voxels(7)[..., None, :] - points).norm(dim=-1)
    torch.testing.assert_close(distance_to(points, 7), pairs.amin(-1), rtol=0, atol=1e-12)
    assert distance_to(points.float(), 7).dtype == torch.float32


def test_what_is_inside_is_not_joined_to_the_border() -> None:
    """The two signs of r are those of the torus, and the band holds the surface."""
    points, F = scatter(torus, 4000), torus(voxels(32))
    r = inside_outside(distance_to(points, 32), 0.12)
    assert bool((F[r > 0] > 0).all()) and bool((F[r < 0] < 0).all())
    assert bool((F[r == 0].abs() < 0.12).all()) and int((r < 0).sum()) > 500
    with pytest.raises(ValueError, match="no voxel is inside"):
        inside_outside(distance_to(points[points[:, 0] > -0.2], 32), 0.12)


def test_the_weighted_length_by_loops() -> None:
    v = torch.randn(4, 3, 5, dtype=torch.float64)
    w = torch.rand(3, 5, dtype=torch.float64)
    for bands in (0, 1):
        loop = sum(
            float(w[i, j]) * sum(float(x) ** 2 for x in v[bands:, i, j]) ** 0.5
            for i, j in itertools.product(range(3), range(5))
        )
        assert float(WeightedLength(w, bands)(v)) == pytest.approx(loop)
    q = WeightedLength(w)(v.roll(1, 1)) - WeightedLength(w.roll(-1, 0))(v)
    assert abs(float(q)) < 1e-12


def test_what_a_plane_costs_depends_less_on_its_direction_by_lengths() -> None:
    """Half of a torus of 24^3 voxels between planes normal to a, of area 2 * 24^2 |a| in all."""
    n, costs = 24, {}
    k = torch.stack(torch.meshgrid(*[torch.arange(n)] * 3, indexing="ij"))
    for a in ((1, 0, 0), (1, 1, 1)):
        u = (sum(a[i] * k[i] for i in range(3)) % n < n // 2).double()
        d = HAAR(u)
        length = float(WeightedLength(torch.ones(n, n, n))(d))
        entries = float((HAAR.weights(1.0) * d).abs().sum())
        costs[a] = length / sum(a) ** 0.5, entries / sum(a) ** 0.5
    ratios = [costs[1, 1, 1][i] / costs[1, 0, 0][i] for i in range(2)]
    assert ratios == pytest.approx([1.34, 3.18], abs=0.01)


def test_points_near_the_surface_lower_the_cost() -> None:
    """The area weighted by phi^2 is least near the radius of the points, among concentric spheres."""
    direction = torch.randn(3000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = 0.6 * direction / direction.norm(dim=1, keepdim=True)
    problem = surface_model(points, HAAR, 1.0, 40, 0.15)
    radius = voxels(40).norm(dim=-1)
    radii = [0.5, 0.55, 0.6, 0.65, 0.7]
    costs = [float(problem((20 * (R - radius) + 0.5).clamp(0, 1))) for R in radii]
    assert int(np.argmin(costs)) == 2


def test_the_frame_finds_the_torus_below_the_noise_and_the_smooth_model_does_not() -> None:
    points = scatter(torus, 5000, sigma=0.02)
    frame, smooth = mesh(found(points, 40, 0.1)), mesh(smooth_model(points, 40, 0.1, 1e-3).minimiser(1e-6))
    a, b = errors(frame, torus), errors(smooth, torus)
    assert a.rms < 0.013 < 0.025 < b.rms and a.worst < 0.05 and a.missed < 0.06
    assert genus(frame) == genus(smooth) == 1


def test_a_hole_in_the_points_is_closed() -> None:
    points = scatter(torus, 5000, sigma=0.02, hole=0.15)
    assert len(points) < 4990
    surface = mesh(found(points, 32, 0.17, k=100))
    assert genus(surface) == 1 and errors(surface, torus).rms < 0.025


def test_two_handles() -> None:
    surface = mesh(found(scatter(double_torus, 5000, sigma=0.01), 40, 0.08))
    assert genus(surface) == 2 and errors(surface, double_torus).rms < 0.02


def test_tv_is_the_same_model_with_a_gradient() -> None:
    """R of the model with a gradient is sum w |D u|, w the mean of (phi/delta)^p over the voxel and seven others."""
    points, u = scatter(torus, 500), torch.rand(12, 12, 12, dtype=torch.float64)
    problem = surface_model(points, Gradient(dim=3), 0.7, 12, 0.16, p=1.0)
    phi = distance_to(points, 12) / 0.16
    mean = sum(phi.roll(s, (0, 1, 2)) for s in itertools.product((0, -1), repeat=3)) / 8
    size = Gradient(dim=3)(u).square().sum(0).sqrt()
    inner = (slice(0, -1),) * 3  # at the border the averages are periodic, where the surface is not
    assert float((problem.R.lam / (0.7 * mean))[inner].sub(1).abs().max()) < 1e-9
    assert float(problem.R(problem.K(u))) == pytest.approx(float((problem.R.lam * size).sum()))


# ---- the lab ----------------------------------------------------------------------------------------------------


def test_scattered_points_lie_on_the_surface_or_near_it() -> None:
    assert float(torus(scatter(torus, 500)).abs().max()) < 1e-6
    assert float(double_torus(scatter(double_torus, 500)).abs().max()) < 1e-6
    noisy = torus(scatter(torus, 4000, sigma=0.03))
    assert float(noisy.square().mean().sqrt()) == pytest.approx(0.03, rel=0.05)
    assert torch.equal(scatter(torus, 50, seed=3), scatter(torus, 50, seed=3))


def test_mesh_and_errors_of_a_known_volume() -> None:
    """Marching cubes on the distance itself is exact to O(h^2); moved by 0.05 the errors say so."""
    F = torus(voxels(40))
    exact, larger = mesh(-F, 0.0), mesh(-F, -0.05)
    assert errors(exact, torus).rms < 2e-3 and genus(exact) == 1
    assert errors(larger, torus).rms == pytest.approx(0.05, abs=2e-3)
    assert isinstance(exact, Mesh) and exact.triangles.max() == len(exact.corners) - 1
    with pytest.raises(ValueError, match=r"No surface \{u = 3"):
        mesh(-F, 3.0)


def test_a_picture_is_drawn() -> None:
    from matplotlib.figure import Figure

    fig = Figure()
    ax = fig.add_subplot(projection="3d")
    render(ax, mesh(-torus(voxels(16)), 0.0), scatter(torus, 50))
    assert len(ax.collections) == 2
