"""Noise of three kinds: mean, variance, law, and that a seed is a noise."""

from collections.abc import Callable
from math import e, exp, factorial, sqrt

import pytest
import torch
from torch import Tensor, nn

from companion import Blur, GaussianNoise, LaplacianNoise, Mask, PartialFourier, PoissonNoise, gaussian_kernel

ADDED = pytest.mark.parametrize("kind", [GaussianNoise, LaplacianNoise])
ALL: dict[str, tuple[Callable[..., nn.Module], float]] = {
    "Gaussian": (GaussianNoise, 0.1),
    "Laplacian": (LaplacianNoise, 0.1),
    "Poisson": (PoissonNoise, 40.0),
}
EVERY = pytest.mark.parametrize("name", ALL)
N = 200_000


def constant(value: float) -> Tensor:
    return torch.full((N,), value, dtype=torch.float64)


def positive(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


# ---- the laws ----------------------------------------------------------------------------------------------------


@pytest.mark.paper("(1.1)")
def test_gaussian_noise_has_its_mean_deviation_and_shape() -> None:
    eta = GaussianNoise(0.2)(constant(0.5)) - 0.5
    assert abs(eta.mean().item()) < 4 * 0.2 / sqrt(N)
    assert eta.std().item() == pytest.approx(0.2, rel=4 / sqrt(2 * N))
    assert (eta / 0.2).pow(3).mean().item() == pytest.approx(0, abs=4 * sqrt(15 / N))
    assert (eta / 0.2).pow(4).mean().item() == pytest.approx(3, abs=4 * sqrt(96 / N))


@pytest.mark.paper("(1.1)")
def test_laplacian_noise_has_its_mean_variance_and_tails() -> None:
    """E eta = 0, E |eta| = b, E eta^2 = 2 b^2, P(|eta| > t b) = e^{-t}: the density exp(-|x|/b) / (2b)."""
    b = 0.3
    eta = LaplacianNoise(b)(constant(0.5)) - 0.5
    assert abs(eta.mean().item()) < 4 * sqrt(2) * b / sqrt(N)
    assert eta.abs().mean().item() == pytest.approx(b, rel=4 / sqrt(N))
    assert eta.square().mean().item() == pytest.approx(2 * b**2, rel=4 * sqrt(5 / N))
    for t in (0.5, 1.0, 3.0, 5.0):
        share, expected = (eta.abs() > t * b).double().mean().item(), exp(-t)
        assert share == pytest.approx(expected, abs=4 * sqrt(expected / N))
    assert (eta > 0).double().mean().item() == pytest.approx(0.5, abs=2 / sqrt(N))


@pytest.mark.paper("(1.1)")
@pytest.mark.parametrize(("peak", "v"), [(10.0, 0.05), (10.0, 0.7), (200.0, 0.4), (3.0, 2.5)])
def test_poisson_noise_has_its_mean_and_variance(peak: float, v: float) -> None:
    """E f = v, Var f = v / peak, for counts peak f that are whole numbers >= 0."""
    f = PoissonNoise(peak)(constant(v))
    counts = f * peak
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-9)
    assert (counts >= 0).all()
    assert f.mean().item() == pytest.approx(v, abs=4 * sqrt(v / peak / N))
    fourth = v / peak**3 + 3 * (v / peak) ** 2  # the fourth central moment
    assert f.var().item() == pytest.approx(v / peak, abs=4 * sqrt((fourth - (v / peak) ** 2) / N))


def test_poisson_counts_follow_the_law_of_poisson() -> None:
    counts = (PoissonNoise(4.0)(constant(0.25)) * 4).round()
    for n in range(4):
        expected = 1 / e / factorial(n)  # mean 1
        assert (counts == n).double().mean().item() == pytest.approx(expected, abs=4 * sqrt(expected / N))


@pytest.mark.parametrize("name", ALL)
def test_noise_is_independent_from_pixel_to_pixel(name: str) -> None:
    kind, size = ALL[name]
    v = torch.full((300, 300), 0.5, dtype=torch.float64)
    eta = kind(size)(v) - v
    eta = eta / eta.std()
    for moved in (eta.roll(1, 0), eta.roll(1, 1), eta.mT):
        assert abs((eta * moved).mean().item()) < 5 * (1 / 300 + 1 / 300 * (moved is eta.mT))


def test_more_photons_less_noise() -> None:
    v = positive(64, 64)
    errors = [(PoissonNoise(peak)(v) - v).norm().item() for peak in (10, 1000, 100000)]
    assert errors[0] == pytest.approx(10 * errors[1], rel=0.1) and errors[1] == pytest.approx(10 * errors[2], rel=0.1)


# ---- a seed is a noise -------------------------------------------------------------------------------------------


@EVERY
def test_a_seed_is_a_noise(name: str) -> None:
    """The same in every type, another for another seed, whatever the caller's own random numbers are."""
    kind, size = ALL[name]
    v = positive(5, 6).float().double()
    f = kind(size, seed=3)(v)
    torch.manual_seed(99)
    assert torch.equal(kind(size, seed=3)(v), f)
    single = kind(size, seed=3)(v.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), f, rtol=0, atol=1e-6)
    assert not torch.equal(kind(size, seed=4)(v), f)
    assert kind(size, seed=4).seed == 4
    before = torch.get_rng_state()
    kind(size)(v)
    assert torch.equal(torch.get_rng_state(), before)


@EVERY
def test_noise_repeats_on_every_machine(name: str) -> None:
    """The first numbers of seed 0: a new version of PyTorch that draws others changes the lessons' figures."""
    kind, size = ALL[name]
    first = kind(size)(torch.full((4,), 0.5, dtype=torch.float64))
    stored = {
        "Gaussian": [0.6540996108, 0.4706571094, 0.2821210618, 0.5568431277],
        "Laplacian": [0.7815179006, 0.5537237584, 0.4915276063, 0.6841971464],
        "Poisson": [0.475, 0.55, 0.375, 0.525],
    }
    torch.testing.assert_close(first, torch.tensor(stored[name], dtype=torch.float64), rtol=0, atol=1e-9)


@ADDED
def test_added_noise_keeps_gradients_and_input(kind: Callable[..., nn.Module]) -> None:
    v = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    before = v.detach().clone()
    kind(0.5)(v).sum().backward()
    assert torch.equal(v.grad, torch.ones(3, 4, dtype=torch.float64))
    assert torch.equal(v.detach(), before)
    assert torch.equal(kind(0.0)(v), v)


def test_a_count_has_no_derivative() -> None:
    v = positive(3, 4).requires_grad_()
    before = v.detach().clone()
    assert not PoissonNoise(10.0)(v).requires_grad
    assert torch.equal(v.detach(), before)


@EVERY
def test_any_shape(name: str) -> None:
    kind, size = ALL[name]
    for shape in ((), (7,), (2, 3, 4, 5), (0, 4)):
        assert kind(size)(torch.full(shape, 0.5)).shape == shape
    assert f"{size:g}, seed=2" in repr(kind(size, seed=2))


# ---- measurements with noise -------------------------------------------------------------------------------------


def test_dark_pixels_are_exact_and_rounding_counts_as_dark() -> None:
    """A blur by Fourier transform leaves -1e-17 beside a bright point; -1e-3 is a mistake."""
    u = torch.zeros(16, 16, dtype=torch.float64)
    u[3, 4] = 1.0
    v = Blur(gaussian_kernel(0.8))(u)
    assert v.min() < 0
    f = PoissonNoise(1e4)(v)
    assert (f >= 0).all() and torch.count_nonzero(f[8:, 8:]) == 0
    assert torch.count_nonzero(PoissonNoise(100.0)(torch.zeros(5))) == 0
    with pytest.raises(ValueError, match="cannot be negative: 1 of the 256"):
        PoissonNoise(100.0)(u - 1e-3 * (u == 1).roll(1, 0))


def test_noise_is_restricted_to_what_is_measured() -> None:
    """f = A.restrict(noise(A u)): zero where nothing is known; the noise there is is that of the noise module."""
    u, m = positive(8, 8), torch.arange(64).reshape(8, 8) % 3 > 0
    noise = GaussianNoise(0.1, seed=1)
    for A in (Mask(m), PartialFourier(m)):
        f = A.restrict(noise(A(u)))
        assert torch.count_nonzero(f[..., ~m]) == 0
        assert torch.equal(f[..., m], noise(A(u))[..., m])
