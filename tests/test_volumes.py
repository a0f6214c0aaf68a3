"""The scans of a head, Rician noise and its mean, and a frame in three dimensions against slices."""

import numpy as np
import pytest
import scipy.stats
import torch

from companion import FrameletTransform, GaussianNoise, RicianNoise, bspline
from companion.lab.images import mr_slice
from companion.lab.volumes import head, mr_scans, psnr_in, shrunk, tuned_times


def test_two_scans_of_one_head() -> None:
    scans = mr_scans()
    assert scans.shape == (2, 24, 96, 128)
    assert scans.min() == 0 and scans.max() == 1 and scans.dtype == torch.float64
    inside = head(scans.mean(0))
    noise = float((scans[0] - scans[1])[inside].std()) / 2**0.5
    assert 0.010 < noise < 0.014 and 0.35 < float(inside.double().mean()) < 0.42
    assert np.corrcoef(scans[0].flatten(), scans[1].flatten())[0, 1] > 0.999
    padded = torch.nn.functional.pad(scans[0, 15], (0, 0, 16, 16))
    assert np.corrcoef(padded.flatten(), mr_slice(128).flatten())[0, 1] > 0.9999  # the course's slice is one of these


@pytest.mark.parametrize("v", [0.0, 0.05, 0.2, 1.0])
def test_the_mean_of_rician_noise(v: float) -> None:
    """By scipy.stats.rice, and by many draws."""
    noise = RicianNoise(0.1, seed=4)
    exact = scipy.stats.rice.mean(v / 0.1, scale=0.1)
    f = noise(torch.full((200_000,), v, dtype=torch.float64))
    assert float(noise.mean(torch.tensor(v, dtype=torch.float64))) == pytest.approx(exact, rel=1e-10)
    assert float(f.mean()) == pytest.approx(exact, abs=1e-3)
    assert float(f.square().mean()) == pytest.approx(v * v + 2 * 0.01, rel=0.01)


def test_unbias_inverts_the_mean() -> None:
    noise = RicianNoise(0.1)
    v = torch.linspace(0.01, 1.2, 40, dtype=torch.float64)
    torch.testing.assert_close(noise.unbias(noise.mean(v)), v, rtol=1e-6, atol=1e-8)
    assert float(noise.unbias(torch.tensor([0.0, 0.1], dtype=torch.float64)).max()) < 1e-9
    assert noise(v.float()).dtype == torch.float32 and torch.equal(noise(v), RicianNoise(0.1)(v))


def test_three_dimensions_beat_slices() -> None:
    """Thresholds chosen by one rule on the lower twelve slices, with other noise; measured in the upper ones."""
    ref = mr_scans().mean(0)
    f, g = GaussianNoise(0.1, 1)(ref[:12]), GaussianNoise(0.1, 2)(ref[12:])
    score = {}
    for dim in (2, 3):
        W = FrameletTransform(bspline(2), dim=dim, boundary="reflect")
        u = shrunk(g, W, 0.1, tuned_times(f, ref[:12], W, 0.1))
        score[dim] = psnr_in(u, ref[12:], head(ref[12:]))
    noisy = psnr_in(g, ref[12:], head(ref[12:]))
    assert noisy == pytest.approx(20, abs=0.2) and score[2] > noisy + 4.5 and score[3] > score[2] + 0.3


def test_slice_by_slice_is_a_batch() -> None:
    f = GaussianNoise(0.1)(mr_scans()[0, :3])
    W = FrameletTransform(bspline(2), boundary="reflect")
    alone = torch.stack([shrunk(u, W, 0.1, 1.5) for u in f])
    torch.testing.assert_close(shrunk(f, W, 0.1, 1.5), alone, rtol=0, atol=1e-12)


def test_rician_noise_takes_dark_pixels_up_and_unbias_back() -> None:
    ref = mr_scans().mean(0)[12:]
    noise, W = RicianNoise(0.1, 2), FrameletTransform(bspline(2), dim=3, boundary="reflect")
    u = shrunk(noise(ref), W, 0.1, 1.3)
    mask = head(ref)
    assert psnr_in(noise.unbias(u), ref, mask) > psnr_in(u, ref, mask) + 0.3
    assert float(noise(ref)[~mask].mean()) == pytest.approx(0.1 * (np.pi / 2) ** 0.5, rel=0.01)
