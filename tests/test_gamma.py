"""Gamma-limits of functions of one number, by their definition: spikes, waves, obstacles."""

import math

import pytest
import torch
from torch import Tensor

from companion import infimum, lower_limit, recovery


def spike(x: Tensor, n: int) -> Tensor:
    """x^2 - 3 max(0, 1 - n^2 |x - 1 - 1/n|) tends to x^2 everywhere, its minima to -2, at 1 + 1/n."""
    return x**2 - 3 * (1 - n**2 * (x - 1 - 1 / n).abs()).clamp_min(0)


def wave(x: Tensor, n: int) -> Tensor:
    return torch.sin(n * x)


def obstacle(x: Tensor, n: int) -> Tensor:
    return n * x**2


POINTS = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], dtype=torch.float64)


def test_an_infimum_by_hand() -> None:
    """Of a parabola: where the window holds the vertex 0, else the nearer end squared."""
    for radius in (0.0, 0.3, 0.7):
        got = infimum(lambda x, n: x**2, POINTS, 1, radius)
        torch.testing.assert_close(got.value, (POINTS.abs() - radius).clamp_min(0) ** 2, rtol=0, atol=1e-8)
        torch.testing.assert_close(got.at**2, got.value, rtol=0, atol=1e-12)
        assert bool(((got.at - POINTS).abs() <= radius + 1e-12).all())


def test_an_infimum_is_refined_between_the_points_of_its_grid() -> None:
    x = torch.tensor([0.0], dtype=torch.float64)
    for bottom in (0.123456, -0.98765):
        got = infimum(lambda y, n, b=bottom: (y - b).abs(), x, 1, 1.0, points=101)
        assert float(got.value) < 1e-4 and float(got.at) == pytest.approx(bottom, abs=1e-4)


@pytest.mark.paper("Def 4.1")
def test_a_spike_that_no_point_sees_twice() -> None:
    """F_n -> x^2 at every x; the Gamma-limit is x^2, but -2 at 1, and the minima are found by it alone."""
    ns = (10, 20, 40, 80)
    for x in POINTS:
        assert float(spike(x, 10**6)) == float(x**2)
    r = lambda n: 4 / n  # noqa: E731
    got = lower_limit(spike, POINTS, ns, r)
    assert got.shape == (4, 5)
    gaps = (got - torch.where(POINTS == 1, -2.0, POINTS.double() ** 2)).abs()
    assert bool((gaps.diff(dim=0) <= 1e-9).all()) and bool((gaps[-1] < 0.21).all())
    y = recovery(spike, POINTS, ns, r)
    assert bool(((y - POINTS).abs().amax(1) <= torch.tensor([r(n) for n in ns]).double() + 1e-12).all())
    torch.testing.assert_close(y[:, 3], torch.tensor([1 + 1 / n for n in ns]).double(), rtol=0, atol=2e-5)


@pytest.mark.paper("Def 4.1")
def test_a_wave_tends_to_its_lower_envelope() -> None:
    ns = (10, 100, 1000)
    got = lower_limit(wave, POINTS, ns, lambda n: n**-0.5)
    torch.testing.assert_close(got, torch.full((3, 5), -1.0).double(), rtol=0, atol=1e-4)
    y = recovery(wave, POINTS, ns, lambda n: n**-0.5)
    for i, n in enumerate(ns):
        turns = (n * y[i] + math.pi / 2) / (2 * math.pi)  # whole at the bottom of a wave
        assert (turns - turns.round()).abs().max() < 0.005
        torch.testing.assert_close(wave(y[i], n), got[i])
    late = lower_limit(wave, POINTS, ns, 1e-5)  # r before n: only F_n itself
    torch.testing.assert_close(late, torch.stack([wave(POINTS, n) for n in ns]), rtol=0, atol=0.011)


@pytest.mark.paper("Def 4.1")
def test_a_growing_parabola_tends_to_an_obstacle() -> None:
    """n x^2 -> 0 at 0, infinity elsewhere; a fixed radius sees 0 for every |x| <= r, which r -> 0 removes."""
    ns = (100, 10000)
    wide = lower_limit(obstacle, POINTS, ns, 0.6)
    assert float(wide[-1, 2]) == pytest.approx(0, abs=1e-4) and float(wide[-1, 3]) == pytest.approx(1600)
    narrow = lower_limit(obstacle, POINTS, ns, lambda n: n**-0.25)
    assert float(narrow[-1, 1]) == 0 and float(narrow[-1, 2]) > 1000 > 3 * float(narrow[0, 2])


def test_smaller_windows_have_larger_infima() -> None:
    x = torch.linspace(-1, 2, 31, dtype=torch.float64)
    values = torch.stack([infimum(spike, x, 7, r).value for r in (0.4, 0.2, 0.1, 0.0)])
    assert bool((values.diff(dim=0) >= -1e-6).all())
    torch.testing.assert_close(values[-1], spike(x, 7))


def test_types_shapes_and_bad_windows() -> None:
    x = torch.rand(2, 3)
    got = infimum(wave, x, 3, 0.1)
    assert got.value.dtype == torch.float32 and got.value.shape == got.at.shape == (2, 3)
    for radius, points in ((-0.1, 11), (0.1, 2)):
        with pytest.raises(ValueError, match="radius >= 0"):
            infimum(wave, x, 3, radius, points)
