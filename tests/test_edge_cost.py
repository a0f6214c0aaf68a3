"""What an edge costs on a grid: the table of the course, closed forms, brute force on a large grid, a sampled disc."""

import math

import pytest
import torch
from torch import Tensor

from companion import (
    VARIATIONS,
    Disc,
    FrameGradient,
    Gradient,
    TotalVariation,
    bspline,
    edge_cost,
    haar_gradient,
    mean_edge_cost,
    sample,
)

TABLE = {  # normal at 0, 22.5, ..., 157.5 degrees
    "forward differences": (1.00, 1.08, 1.00, 1.08, 1.00, 1.31, 1.41, 1.31),
    "Haar, two bands": (1.00, 1.08, 1.00, 1.08, 1.00, 1.08, 1.00, 1.08),
    "Haar, three bands": (1.00, 1.20, 1.22, 1.20, 1.00, 1.20, 1.22, 1.20),
    "Haar, entrywise": (1.00, 1.31, 1.41, 1.31, 1.00, 1.31, 1.41, 1.31),
    "Haar, three bands, entrywise": (1.00, 1.69, 2.12, 1.69, 1.00, 1.69, 2.12, 1.69),
    "linear splines, first pair": (1.00, 1.02, 1.00, 1.02, 1.00, 1.02, 1.00, 1.02),
    "forward differences, entrywise": (1.00, 1.31, 1.41, 1.31, 1.00, 1.31, 1.41, 1.31),
}
MEANS = {
    "forward differences": 2 / math.pi * (2 * math.sqrt(2) - 1),
    "Haar, two bands": 8 * (math.sqrt(2) - 1) / math.pi,
    "Haar, three bands": 4 / math.pi * (math.sqrt(0.5) + (math.sqrt(3) - 1) * (1 - math.sqrt(0.5))),
    "forward differences, entrywise": 4 / math.pi,
    "Haar, entrywise": 4 / math.pi,
}
each = pytest.mark.parametrize("name", VARIATIONS)


def angles(n: int = 8, turn: float = math.pi) -> Tensor:
    return torch.arange(n, dtype=torch.float64) * turn / n


def brute_force(J: TotalVariation, theta: float, n: int = 500) -> float:
    """The density along a long edge, summed within a strip that the edge crosses, over its length there."""
    a, b = math.cos(theta), math.sin(theta)
    x = torch.arange(n, dtype=torch.float64) - n / 2 + 0.1234
    density = J.density((a * x[:, None] + b * x > 0).double())
    strip = x.abs() < n / 4 + 0.5
    if abs(b) > abs(a):  # the edge runs along x_1
        density, a = density.T, b
    centre = density[:, strip][4:-4]
    return float(centre.sum()) / (int(strip.sum()) / abs(a))


@pytest.mark.paper("(4.2)")
@each
def test_the_table(name: str) -> None:
    costs = edge_cost(VARIATIONS[name](), angles())
    torch.testing.assert_close(costs, torch.tensor(TABLE[name], dtype=torch.float64), rtol=0, atol=0.006)


@pytest.mark.paper("(4.2)")
def test_two_haar_bands_are_a_regular_octagon() -> None:
    """cos + (sqrt 2 - 1) sin from 0 to 45 degrees, again and again; the mean is 8 (sqrt 2 - 1)/pi."""
    J, t = VARIATIONS["Haar, two bands"](), angles(101, math.pi / 4)
    first = t.cos() + (math.sqrt(2) - 1) * t.sin()
    for i in range(8):
        torch.testing.assert_close(edge_cost(J, t + i * math.pi / 4), first, rtol=0, atol=1e-12)


def test_the_closed_forms() -> None:
    """max + c min of |cos|, |sin|: c = sqrt 3 - 1 for three bands; entrywise 1, with three bands 2."""
    t = angles(200, 2 * math.pi)
    large, small = torch.maximum(t.cos().abs(), t.sin().abs()), torch.minimum(t.cos().abs(), t.sin().abs())
    corners = {"Haar, three bands": math.sqrt(3) - 1, "Haar, three bands, entrywise": 2.0, "Haar, entrywise": 1.0}
    for name, corner in corners.items():
        torch.testing.assert_close(edge_cost(VARIATIONS[name](), t), large + corner * small, rtol=0, atol=1e-12)
    same_sign = t.cos() * t.sin() >= 0
    corner = 1 - (2 - math.sqrt(2)) * same_sign.double()
    got = edge_cost(VARIATIONS["forward differences"](), t)
    torch.testing.assert_close(got, large + corner * small, rtol=0, atol=1e-12)


@each
def test_against_a_long_edge_on_a_grid(name: str) -> None:
    """At irrational slopes one edge costs the mean over its offsets."""
    for theta in (0.3, 1.0, 1.9, 2.9):
        got = float(edge_cost(VARIATIONS[name](), torch.tensor(theta, dtype=torch.float64)))
        assert got == pytest.approx(brute_force(VARIATIONS[name](), theta), rel=0.01)


def test_a_rational_slope() -> None:
    """At 45 degrees k_1 + k_2 is an integer: within a unit the offset has no effect, and one edge costs the mean."""
    J = VARIATIONS["linear splines, first pair"]()
    k = torch.arange(40)
    sums = k[:, None] + k
    single = [float(J.density((sums > 40 + t).double())[15:25].sum()) / 10 / math.sqrt(2) for t in (0, 0.5)]
    assert single[0] == single[1]
    n = torch.tensor(math.pi / 4, dtype=torch.float64)
    assert float(edge_cost(J, n)) == pytest.approx(single[0], rel=1e-12)


@pytest.mark.parametrize("name", MEANS)
def test_the_mean_over_the_circle(name: str) -> None:
    assert mean_edge_cost(VARIATIONS[name]()) == pytest.approx(MEANS[name], rel=1e-6)


@pytest.mark.paper("(4.2)")
@each
def test_the_mean_is_what_a_sampled_disc_costs(name: str) -> None:
    """Point samples at N = 512: 1.165 for forward differences, 1.0548 for Haar, ...."""
    N, disc = 512, Disc(0.25)
    J = VARIATIONS[name](1.0, 1 / N, "periodic")
    assert float(J(sample(disc, N, points=1))) / disc.perimeter == pytest.approx(mean_edge_cost(J), rel=4e-3)


def test_no_functional_charges_less_than_its_length() -> None:
    """The isotropic ones at least 1, the entrywise at least |cos| + |sin|: sharp edges cost more than the limit."""
    t = angles(360, 2 * math.pi)
    for name, make in VARIATIONS.items():
        least = t.cos().abs() + t.sin().abs() if "entrywise" in name else torch.ones_like(t)
        assert bool((edge_cost(make(), t) >= least - 1e-12).all()), name


def test_weight_and_step() -> None:
    t = angles(5).float()
    one = edge_cost(TotalVariation(1.0, haar_gradient()), t)
    assert one.dtype == torch.float32 and one.shape == (5,)
    torch.testing.assert_close(edge_cost(TotalVariation(0.3, haar_gradient(1 / 64)), t), 0.3 * one)
    assert edge_cost(TotalVariation(0.3, Gradient(1 / 64)), t.reshape(5, 1)).shape == (5, 1)
    second = FrameGradient(bspline(2), ((2, 0), (0, 2)), 1 / 8)
    coarse = FrameGradient(bspline(2), ((2, 0), (0, 2)), 1.0)
    ratio = edge_cost(TotalVariation(1.0, second), t) / edge_cost(TotalVariation(1.0, coarse), t)
    torch.testing.assert_close(ratio, torch.full((5,), 8.0))  # of second order an edge costs 1/h


def test_bad_angles() -> None:
    J = TotalVariation(1.0, haar_gradient())
    with pytest.raises(ValueError, match="in the plane"):
        edge_cost(TotalVariation(1.0, Gradient(dim=3)), angles())
    with pytest.raises(ValueError, match="n >= 1"):
        mean_edge_cost(J, 0)
