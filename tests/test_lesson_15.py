"""Lesson 15: what its checks say, what its explorers show, what is compared, and the stored results."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from scipy.stats import rice

from companion import (
    PDHG,
    FrameletTransform,
    GaussianNoise,
    Gradient,
    bspline,
    distance_to,
    inside_outside,
    rounding,
    run,
    segmentation,
)
from companion.lab import explorers, stored
from companion.lab.beyond import SEGMENTERS, Method, closing, denoisers, length_model, mean, surface, tuned
from companion.lab.exercises import lesson_15 as exercises
from companion.lab.explorers import lesson_15
from companion.lab.segment import dice, islands
from companion.lab.surfaces import errors, mesh, scatter, torus
from companion.lab.volumes import head, mr_scans, psnr_in, shrunk
from tests.verdicts import says

# ---- the exercises ----------------------------------------------------------------------------------------------

RADII = {
    "right": lambda lam, d: (2 * lam / d**2, 3 * lam / d**2, 2 * lam / d**2),
    "a square, and not delta": lambda lam, d: (2 * lam / d, 3 * lam / d, 2 * lam / d),
    "upside down: boundary over content is 2/R": lambda lam, d: (lam / d**2 / 2, 0.0, 0.0),
    "this is the diameter": lambda lam, d: (4 * lam / d**2, 0.0, 0.0),
    "a larger lam removes more": lambda lam, d: (2 * d**2 / lam, 0.0, 0.0),
    "area over volume of a ball 3/R": lambda lam, d: (lam / d**2, 0.0, 0.0),
    "this is for a disc": lambda lam, d: (2 * lam / d**2, 2 * lam / d**2, 0.0),
    "this is for a ball": lambda lam, d: (2 * lam / d**2, 3 * lam / d**2, 3 * lam / d**2),
    "R of the tube is 7": lambda lam, d: (2 * lam / d**2, 3 * lam / d**2, 7.0),
    "3 numbers are asked for": lambda lam, d: (1.0, 2.0),
    "not yet": lambda lam, d: (..., ..., ...),
}


@pytest.mark.parametrize("words", RADII)
def test_radii(words: str) -> None:
    assert words in says(exercises.survivors, RADII[words])


def test_a_disc_of_the_radius_of_exercise_1_is_worth_nothing() -> None:
    """J = 0 there, by area and circumference; and on a grid, by the length of (4.2) scaled to its mean."""
    lam, delta = 0.06, 0.4
    R, ball, _ = RADII["right"](lam, delta)
    assert -(delta**2) * math.pi * R**2 + lam * 2 * math.pi * R == pytest.approx(0)
    assert -(delta**2) * 4 / 3 * math.pi * ball**3 + lam * 4 * math.pi * ball**2 == pytest.approx(0)


ROOT = math.sqrt(2)
COSTS = {
    "right": (0.5, 1.5 / ROOT, 0.5, math.sqrt(3) / 2 / ROOT),
    "taps of size 1/4": (1.0, 1.5 / ROOT, 0.5, 0.6),
    "(2.5), 45 degrees: divide by the length": (0.5, 1.5, 0.5, 0.6),
    "with one pixel in, and with three": (0.5, 0.75 / ROOT, 0.5, 0.6),
    "all three bands see the edge": (0.5, 0.5, 0.5, 0.6),
    "this is the sum of the three": (0.5, 1.5 / ROOT, 0.5, 1.5 / ROOT),
    "(4.2), 45 degrees: divide": (0.5, 1.5 / ROOT, 0.5, math.sqrt(3) / 2),
    "(4.2), 45 degrees: there are two": (0.5, 1.5 / ROOT, 0.5, math.sqrt(3) / 4 / ROOT),
    "the third sees a corner": (0.5, 1.5 / ROOT, 0.5, 0.5),
    "4 numbers are asked for": (0.5, 1.0),
    "not yet": (..., ..., ..., ...),
}


@pytest.mark.parametrize("words", COSTS)
def test_costs(words: str) -> None:
    assert words in says(exercises.directions, COSTS[words])


def test_the_costs_of_exercise_2_by_loops() -> None:
    """Blocks of an edge in 41 x 41 pixels, one by one."""
    i, j = np.mgrid[:41, :41]
    for u, per in (((i > 20) * 1.0, 40), ((i + j > 40) * 1.0, 40 * ROOT)):
        entries = lengths = 0.0
        for a in range(40):
            for b in range(40):
                (p, q), (r, s) = u[a : a + 2, b : b + 2]
                bands = np.array([p + q - r - s, p - q + r - s, p - q - r + s]) / 4
                entries, lengths = entries + np.abs(bands).sum(), lengths + np.linalg.norm(bands)
        right = COSTS["right"][::2] if per == 40 else COSTS["right"][1::2]
        assert (entries / per, lengths / per) == pytest.approx(right, rel=0.03)


def correlated(h: list[float]) -> list[float]:
    return np.correlate(h, h, "full").tolist()


SHARES = {
    "right": lambda h, d: float(np.sum(np.square(correlated(h))) ** d),
    "W^T averages once more": lambda h, d: sum(x * x for x in h) ** d,
    "this is for one dimension": lambda h, d: float(np.sum(np.square(correlated(h)))),
    "variances of a product": lambda h, d: d * float(np.sum(np.square(correlated(h)))),
    "share of the deviation": lambda h, d: float(np.sum(np.square(correlated(h))) ** (d / 2)),
    "would need independent errors": lambda h, d: sum(x * x for x in h) ** (2 * d),
    "taps on both sides": lambda h, d: float(np.sum(np.square(correlated(h)[len(h) - 1 :])) ** d),
    "the share is 3": lambda h, d: 3.0,
    "not yet": lambda h, d: ...,
}


@pytest.mark.parametrize("words", SHARES)
def test_shares(words: str) -> None:
    assert words in says(exercises.left, SHARES[words])


VALUES = {
    "right": lambda m, s: math.sqrt(max(m - 2 * s**2, 0)),
    "2 sigma^2, not sigma^2": lambda m, s: math.sqrt(m - s**2),
    "noise and all": lambda m, s: math.sqrt(m),
    "this is v^2": lambda m, s: m - 2 * s**2,
    "neither v nor v^2": lambda m, s: m - s**2,
    "not deviations": lambda m, s: math.sqrt(m) - s,
    "the sign": lambda m, s: math.sqrt(m + 2 * s**2),
    "the best v >= 0 is 0": lambda m, s: math.sqrt(abs(m - 2 * s**2)),
    "your function raised": lambda m, s: math.sqrt(m - 2 * s**2),
    "not yet": lambda m, s: ...,
}


@pytest.mark.parametrize("words", VALUES)
def test_values(words: str) -> None:
    assert words in says(exercises.modulus, VALUES[words])


def test_the_second_moment_of_a_modulus() -> None:
    m = rice.moment(2, 0.3 / 0.1, scale=0.1)
    assert VALUES["right"](m, 0.1) == pytest.approx(0.3)


# ---- the mathematics --------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.5)")
def test_every_cut_of_a_coarea_minimiser_is_a_minimiser_and_of_a_frames_it_is_not() -> None:
    g = GaussianNoise(0.2, 2)(islands(48, seed=2).f)
    means, W = torch.tensor([0.7, 0.3], dtype=torch.float64), FrameletTransform(bspline(2), boundary="reflect")
    losses = {}
    for name, problem in (
        ("differences", segmentation(g, means, Gradient(), 0.1)),
        ("frame", segmentation(g, means, W, W.weights(0.08))),
    ):
        u = run(PDHG(problem), g, k=1500).u
        losses[name] = [float(rounding(problem, u, s)) / abs(float(problem(u))) for s in (0.1, 0.5, 0.9)]
    assert max(map(abs, losses["differences"])) < 1e-3 and min(losses["frame"]) > 1e-3


@pytest.mark.paper("(4.2)")
def test_the_length_model_is_region_plus_euclidean_lengths() -> None:
    f, W = torch.rand(9, 10, dtype=torch.float64), FrameletTransform(bspline(1))
    u, c = torch.rand(9, 10, dtype=torch.float64), torch.tensor([0.8, 0.1], dtype=torch.float64)
    loop = 0.0
    for i in range(9):
        for j in range(10):
            p, q, r, s = (float(u[(i + a) % 9, (j + b) % 10]) for a in (0, 1) for b in (0, 1))
            loop += 0.3 * math.hypot(p + q - r - s, p - q + r - s, p - q - r + s) / 4
            loop += float(u[i, j]) * ((0.8 - float(f[i, j])) ** 2 - (0.1 - float(f[i, j])) ** 2)
    assert float(length_model(f, c, 0.3, W)(u)) == pytest.approx(loop)


@pytest.mark.paper("(2.3)")
@pytest.mark.parametrize("d", [2, 3])
def test_what_an_average_leaves_of_noise(d: int) -> None:
    """By SciPy: the filter (1, 4, 6, 4, 1)/16 in each direction; and its variance by (35/128)^d."""
    W = FrameletTransform(bspline(2), dim=d, boundary="reflect")
    white = torch.randn(*[24] * d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = shrunk(white, W, 1.0, 100.0)
    v = white.numpy()
    for axis in range(d):
        shape = [1] * d
        shape[axis] = 5
        v = convolve(v, np.array([1, 4, 6, 4, 1]).reshape(shape) / 16)
    inner = (slice(4, -4),) * d
    np.testing.assert_allclose(u.numpy()[inner], v[inner], atol=1e-12)
    assert SHARES["right"]([0.25, 0.5, 0.25], d) == pytest.approx((35 / 128) ** d)


# ---- what is compared -------------------------------------------------------------------------------------------


def test_every_segmenter_finds_islands_in_little_noise() -> None:
    known = islands(64, seed=1)
    f = GaussianNoise(0.03, 1)(known.f).float()
    weights = {"Chan-Vese": 0.02, "morphological": 1.0, "sorting": 0.01, "denoised, sorting": 0.005}
    for name, method in SEGMENTERS.items():
        found = method.find(f, weights.get(name, 0.03))
        assert found.dtype == torch.bool and dice(found, known.truth) > 0.95, name
        assert dice(method.find(1 - f, weights.get(name, 0.03)), ~known.truth) > 0.9, name  # the brighter part


def test_the_weight_is_the_best_of_the_training_data() -> None:
    method = Method(lambda f, w: f * w, 0.1, 10.0)
    w = tuned(method, lambda find: -abs(float(find(torch.tensor(2.0))) - 3.0), 1.05)
    assert w == pytest.approx(1.5, rel=0.05)
    assert tuned(Method(lambda f, w: f, 0.0, 0.0), lambda find: 0.0) == 0.0


def test_closing_finds_a_band_and_says_where_there_is_none() -> None:
    points = scatter(torus, 3000)
    delta = closing(points, 32)
    phi = distance_to(points, 32)
    inside = {k: int((inside_outside(phi, 0.01 * k) < 0).sum()) for k in range(10, 15)}
    assert 0.08 < delta < 0.2 and int((inside_outside(phi, delta / 1.25) < 0).sum()) >= max(inside.values())
    with pytest.raises(ValueError, match="No band around these points"):
        closing(points[:3], 24)


def test_the_surface_of_the_frame_is_nearer_than_that_of_tv() -> None:
    points = scatter(torus, 4000, 0.02)
    delta = closing(points, 32)
    rms = {
        name: errors(mesh(surface(points, K, 32, delta, k=60)), torus).rms
        for name, K in (("frame", FrameletTransform(bspline(1), dim=3)), ("TV", Gradient(dim=3)))
    }
    assert rms["frame"] < 0.9 * rms["TV"] < 0.03


def test_every_denoiser_lowers_the_noise() -> None:
    ref = mr_scans()[0, 8:14].float()
    f = GaussianNoise(0.1, 1)(ref)
    weights = {"TV, 2-D": 0.08, "TV, 3-D": 0.06, "non-local means, 3-D": 0.8}
    before = psnr_in(f, ref, head(ref))
    for name, method in denoisers(0.1).items():
        after = psnr_in(method.find(f, weights.get(name, 1.3)).float(), ref, head(ref))
        assert after > before + 3, name


def test_the_stored_results_say_what_the_lesson_says() -> None:
    results = stored("applications")
    assert set(results) == {"segmentation", "coins", "surfaces", "volumes", "about"}
    for part in results["segmentation"].values():
        assert all(set(rows) == set(SEGMENTERS) and len(rows["TV"]["dice"]) == 8 for rows in part.values())
    for kind in ("Gaussian", "Rician"):
        for rows in results["volumes"][kind].values():
            assert mean(rows["linear frame, 3-D"]["psnr"]) > mean(rows["linear frame, 2-D"]["psnr"])
    for runs in results["surfaces"]["torus"].values():
        assert all(r["Haar frame"]["rms"] < r["TV"]["rms"] < r["quadratic"]["rms"] for r in runs)


# ---- the explorers ----------------------------------------------------------------------------------------------


def test_a_large_weight_leaves_nothing_and_the_cut_matters_little() -> None:
    assert lesson_15.cut(lam=5.0)[1]["Dice"] == "0.000"
    low, high = (float(lesson_15.cut(s=s)[1]["Dice"]) for s in (0.4, 0.6))
    assert abs(low - high) < 0.05
    kinds = [lesson_15.cut(length=name)[0] for name in ("TV", "Haar, (2.5)", "Haar, (4.2)")]
    assert all((a != b).any() for a, b in itertools.pairwise(kinds))


def test_a_slab_of_five_slices_is_the_volume() -> None:
    """The explorer's slice is that of the whole volume, and without a threshold nothing changes."""
    ref, f = lesson_15._volume()
    W = FrameletTransform(bspline(2), dim=3, boundary="reflect")
    u = lesson_15.RicianNoise(0.1).unbias(shrunk(f, W, 0.1, 1.4))[9]
    assert lesson_15.sliced(z=9, times=1.4)[1]["PSNR in the head"] == f"{psnr_in(u, ref[9], head(ref[9])):.2f} dB"
    facts = explorers.sliced(z=9, times=0.0)[1]
    assert facts["PSNR in the head"] == facts["before"] and facts["details kept"].startswith("100")
