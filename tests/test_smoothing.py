"""gaussian_smooth: SciPy's filter, the continuous Gaussian, mean and extrema, a semigroup, any dimension."""

import math

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from companion import gaussian_smooth

MODES = {"reflect": "reflect", "periodic": "wrap"}


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("boundary", list(MODES))
@pytest.mark.parametrize(("shape", "h"), [((30,), 1.0), ((12, 15), 0.5), ((7, 6, 8), 2.0), ((3, 2), 1.0)])
def test_smoothing_is_scipys(shape: tuple[int, ...], h: float, boundary: str) -> None:
    """... on grids smaller than the filter, too."""
    u = random(*shape)
    for sigma in (0.6 * h, 1.7 * h):
        radius = math.ceil(4 * sigma / h)
        expected = scipy.ndimage.gaussian_filter(u.numpy(), sigma / h, mode=MODES[boundary], radius=radius)
        ours = gaussian_smooth(u, sigma, h, len(shape), boundary)
        torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", list(MODES))
def test_constants_mean_and_extrema_are_kept(boundary: str) -> None:
    u = torch.rand(4, 9, 8, dtype=torch.float64).round()
    v = gaussian_smooth(u, 1.3, boundary=boundary)
    torch.testing.assert_close(v.mean((-2, -1)), u.mean((-2, -1)), rtol=1e-12, atol=0)
    assert float(v.min()) >= 0 and float(v.max()) <= 1
    constant = torch.full((5, 6), 0.7, dtype=torch.float64)
    torch.testing.assert_close(gaussian_smooth(constant, 2.0, boundary=boundary), constant, rtol=1e-14, atol=0)


def test_a_wave_is_multiplied_by_the_gaussian_of_its_frequency() -> None:
    """e^{-sigma^2 w^2 / 2}, up to the four sigmas: the heat equation at t = sigma^2 / 2."""
    h, N = 0.25, 48
    x = h * (torch.arange(N, dtype=torch.float64) + 0.5)
    for k, sigma in ((1, 1.0), (5, 1.0), (9, 0.5)):
        w = math.pi * k / (N * h)
        wave = torch.cos(w * x)
        factor = math.exp(-(sigma**2) * w**2 / 2)
        torch.testing.assert_close(gaussian_smooth(wave, sigma, h, 1), factor * wave, rtol=0, atol=3e-4)


def test_two_smoothings_are_one() -> None:
    u = random(30, 30)
    twice = gaussian_smooth(gaussian_smooth(u, 1.5), 2.0)
    torch.testing.assert_close(twice, gaussian_smooth(u, 2.5), rtol=0, atol=2e-3)


def test_nothing_happens_at_scale_0_and_a_negative_one_is_refused() -> None:
    u = random(4, 5)
    assert gaussian_smooth(u, 0.0) is u
    for sigma in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="scale sigma of a smoothing"):
            gaussian_smooth(u, sigma)


def test_batches_types_and_derivatives() -> None:
    u = random(2, 3, 6, 7)
    v = gaussian_smooth(u, 0.8)
    torch.testing.assert_close(v, torch.stack([torch.stack([gaussian_smooth(w, 0.8) for w in row]) for row in u]))
    torch.testing.assert_close(gaussian_smooth(u, 0.8, dim=1)[0, 0, 0], gaussian_smooth(u[0, 0, 0], 0.8, dim=1))
    assert gaussian_smooth(u.float(), 0.8).dtype == torch.float32
    assert gaussian_smooth(u.to("meta"), 0.8).device.type == "meta"
    assert torch.autograd.gradcheck(lambda w: gaussian_smooth(w, 0.8), (random(4, 5).requires_grad_(),), fast_mode=True)
