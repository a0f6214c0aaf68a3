"""The same numbers from other people's code: PyWavelets, SciPy, NumPy and PyTorch's own convolution."""

import warnings
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import pywt
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import torch
from torch import Tensor

from companion import (
    Blur,
    Divergence,
    Filter,
    Firm,
    FrameletTransform,
    Garrote,
    Gradient,
    Hard,
    Shrinkage,
    Soft,
    Threshold,
    biorthogonal,
    bspline,
    correlate,
    fixed_point,
    gaussian_kernel,
    run,
)

SPLINES = [(1, 1), (1, 3), (1, 5), (2, 2), (2, 4), (2, 6), (3, 1), (3, 3), (3, 5)]
BORDERS = pytest.mark.parametrize(("boundary", "mode"), [("periodic", "wrap"), ("reflect", "reflect")])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def close(ours: Tensor | np.ndarray, theirs: np.ndarray | Tensor, tolerance: float = 1e-14) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=tolerance)


# ---- PyWavelets: filters and the stationary transform -----------------------------------------------------------


def wavelet_filter(taps: list[float]) -> np.ndarray:
    """Without the zeros it is padded with, and with sum 1 for a low-pass instead of sqrt 2."""
    return np.trim_zeros(np.array(taps)) / np.sqrt(2)


@pytest.mark.parametrize("orders", SPLINES, ids=str)
def test_spline_pairs_are_the_biorthogonal_wavelets(orders: tuple[int, int]) -> None:
    """ "biorM.N" reconstructs with our bank and decomposes with our dual; its wavelets carry a sign of their own."""
    (p, q), (p_dual, q_dual) = biorthogonal(*orders)
    theirs = pywt.Wavelet("bior{}.{}".format(*orders))
    close(p.taps, wavelet_filter(theirs.rec_lo))
    close(p_dual.taps, wavelet_filter(theirs.dec_lo))
    for ours, taps in ((q, wavelet_filter(theirs.rec_hi)), (q_dual, wavelet_filter(theirs.dec_hi))):
        close(ours.taps, np.sign(ours.taps[0] * taps[0]) * taps)


@pytest.mark.paper("(2.1)")
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_haar_frame_is_the_stationary_wavelet_transform(levels: int) -> None:
    """norm=True: the same numbers, coarse to fine. norm=False: those of level l are 2^{(l + 1)/2} times larger."""
    u = random(3, 24)
    W = FrameletTransform(bspline(1), levels, 1)
    ours = W(u)
    average, *coarse_to_fine = pywt.swt(u.numpy(), "haar", level=levels, trim_approx=True, norm=True)
    close(ours[:, 0], average)
    for level, d in enumerate(reversed(coarse_to_fine)):
        close(ours[:, W.band((1,), level)], d)
    average, *coarse_to_fine = pywt.swt(u.numpy(), "haar", level=levels, trim_approx=True, norm=False)
    close(ours[:, 0] * 2 ** (levels / 2), average)
    for level, d in enumerate(reversed(coarse_to_fine)):
        close(ours[:, W.band((1,), level)] * 2 ** ((level + 1) / 2), d)


@pytest.mark.paper("(2.1)")
def test_the_haar_frame_in_two_dimensions() -> None:
    """PyWavelets' horizontal, vertical and diagonal details are our bands (1,0), (0,1) and (1,1)."""
    u = random(8, 12)
    W = FrameletTransform(bspline(1), 2)
    ours = W(u)
    average, *coarse_to_fine = pywt.swt2(u.numpy(), "haar", level=2, trim_approx=True, norm=True)
    close(ours[0], average)
    for level, details in enumerate(reversed(coarse_to_fine)):
        for ell, d in zip(((1, 0), (0, 1), (1, 1)), details, strict=True):
            close(ours[W.band(ell, level)], d)


@pytest.mark.paper("(2.1)")
def test_the_haar_frame_in_three_dimensions() -> None:
    """PyWavelets names a band by its axes, "a" for the average and "d" for the detail: "dad" is (1, 0, 1)."""
    u = random(4, 6, 8)
    W = FrameletTransform(bspline(1), 1, 3)
    (theirs,) = pywt.swtn(u.numpy(), "haar", level=1, norm=True)
    for d, band in zip(W(u), W.bands, strict=True):
        close(d, theirs["".join("ad"[i] for i in band.ell)])


@pytest.mark.paper("(2.1)")
@pytest.mark.parametrize("orders", [o for o in SPLINES if sum(o) < 8], ids=str)
def test_dual_frames_are_the_stationary_biorthogonal_transform(orders: tuple[int, int]) -> None:
    bank, dual = biorthogonal(*orders)
    W = FrameletTransform(dual, 2, 1, dual=bank)
    u = random(32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # norm=True says that this wavelet is not orthogonal
        theirs = pywt.swt(u.numpy(), "bior{}.{}".format(*orders), level=2, trim_approx=True, norm=True)
    ours = W(u)
    close(ours[0], theirs[0])
    for d, other in ((ours[1], theirs[2]), (ours[2], theirs[1])):
        close(d, np.sign(np.dot(d.numpy(), other)) * other)
    close(W.dual.T(ours), u, 1e-13)


@pytest.mark.paper("(2.3)")
def test_the_adjoint_is_the_inverse_stationary_transform() -> None:
    """... on every set of coefficients, not only on those of a picture: both average over all shifts."""
    d = random(4, 16)
    W = FrameletTransform(bspline(1), 3, 1)
    close(W.T(d), pywt.iswt([d[0].numpy(), *(x.numpy() for x in d[1:].flip(0))], "haar", norm=True))
    d = random(4, 8, 12)
    theirs = pywt.iswt2([d[0].numpy(), tuple(x.numpy() for x in d[1:])], "haar", norm=True)
    close(FrameletTransform(bspline(1)).T(d), theirs)


# ---- PyWavelets: an orthogonal basis beside the frame -----------------------------------------------------------


@pytest.mark.paper("(2.1)")
def test_an_orthogonal_basis_is_not_shift_invariant_and_the_frame_is() -> None:
    """Move a step by one sample: the energy of the basis' finest details goes from none to all, the frame's stays."""
    step = torch.zeros(32, dtype=torch.float64)
    step[8:20] = 1
    W = FrameletTransform(bspline(1), 3, 1)
    basis, frame = [], []
    for k in range(4):
        moved = step.roll(k)
        basis.append(np.square(pywt.wavedec(moved.numpy(), "haar", "periodization", level=3)[-1]).sum())
        frame.append(W(moved)[W.band((1,), 0)].square().sum().item())
    assert basis == pytest.approx([0, 1, 0, 1], abs=1e-15)
    assert frame == pytest.approx([frame[0]] * 4, rel=1e-14)


def test_the_frame_contains_the_basis_of_every_shift() -> None:
    """Every second sample of level 0 is the orthogonal transform, over sqrt 2; the others are that of the shift."""
    u = random(24)
    d = FrameletTransform(bspline(1), 1, 1)(u)
    for k in (0, 1):
        average, detail = pywt.dwt(u.roll(-k).numpy(), "haar", "periodization")
        close(d[0, k::2] * np.sqrt(2), average)
        close(d[1, k::2] * np.sqrt(2), detail)


@pytest.mark.paper("(4.5)")
@pytest.mark.parametrize("kind", ["soft", "hard", "garrote"])
@pytest.mark.parametrize("shape", [(32,), (8, 16)], ids=str)
def test_shrinkage_is_cycle_spinning(shape: tuple[int, ...], kind: str) -> None:
    """(4.5) is Coifman and Donoho's average: over all shifts, threshold the orthogonal Haar transform at t and go back.

    A coefficient of the basis is 1 / |q_{ell,l}|_2 times that of the frame: hence the threshold t times `gains`.
    """
    u, t, levels, d = random(*shape), 0.8, 2, len(shape)
    total = np.zeros(shape)
    axes = tuple(range(d))
    for shift in product(range(2**levels), repeat=d):
        c = pywt.wavedecn(np.roll(u.numpy(), shift, axes), "haar", "periodization", level=levels)
        c[1:] = [{key: pywt.threshold(x, t, kind) for key, x in details.items()} for details in c[1:]]
        total += np.roll(pywt.waverecn(c, "haar", "periodization"), [-s for s in shift], axes)
    W = FrameletTransform(bspline(1), levels, d)
    S = {"soft": Soft, "hard": Hard, "garrote": Garrote}[kind](W.weights(t * W.gains))
    close(Shrinkage(W, S)(u), total / 2 ** (levels * d))


# ---- PyWavelets: thresholds -------------------------------------------------------------------------------------


@pytest.mark.paper("(4.4)")
@pytest.mark.parametrize(
    ("S", "theirs"),
    [
        (Soft(0.7), lambda d: pywt.threshold(d, 0.7, "soft")),
        (Hard(0.7), lambda d: pywt.threshold(d, 0.7, "hard")),
        (Garrote(0.7), lambda d: pywt.threshold(d, 0.7, "garrote")),
        (Firm(0.7, 1.9), lambda d: pywt.threshold_firm(d, 0.7, 1.9)),
    ],
    ids=["soft", "hard", "garrote", "firm"],
)
def test_thresholds(S: Threshold, theirs: Callable[[np.ndarray], np.ndarray]) -> None:
    d = 1.5 * random(1000)
    assert ((d.abs() < 0.7).sum() > 100) and ((d.abs() > 1.9).sum() > 100)
    close(S(d), theirs(d.numpy()))


# ---- SciPy: correlation on a grid -------------------------------------------------------------------------------


@pytest.mark.paper("(2.1)")
@BORDERS
@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize(("taps", "origin"), [(3, -1), (2, 0), (2, -1), (5, -2), (4, -1), (5, 0), (5, -4)])
def test_correlation_along_an_axis(taps: int, origin: int, step: int, boundary: str, mode: str) -> None:
    """SciPy counts its origin from the middle tap, and dilates by zeros between the taps."""
    u, q = random(6, 7), random(taps)
    wide = Filter(q.numpy(), origin).dilate(step)
    for axis in (-1, -2):
        moved = -wide.origin[0] - wide.taps.size // 2
        theirs = scipy.ndimage.correlate1d(u.numpy(), wide.taps, axis, mode=mode, origin=moved)
        close(correlate(u, q, (origin,), (axis,), step, boundary), theirs)


@BORDERS
def test_correlation_in_two_and_three_dimensions(boundary: str, mode: str) -> None:
    for q, shape in ((random(3, 5), (6, 7)), (random(3, 3, 3), (4, 5, 6))):
        u = random(*shape)
        origin = tuple(-(n // 2) for n in q.shape)
        axes = tuple(range(-q.ndim, 0))
        close(correlate(u, q, origin, axes, 1, boundary), scipy.ndimage.correlate(u.numpy(), q.numpy(), mode=mode))


def test_torch_calls_correlation_a_convolution() -> None:
    u, q = random(2, 1, 8, 9), random(3, 3)
    wide = torch.nn.functional.pad(u, (1, 1, 1, 1), mode="circular")
    theirs = torch.nn.functional.conv2d(wide, q[None, None])
    close(correlate(u, q, (-1, -1), (-2, -1)), theirs)


@pytest.mark.paper("(2.1)")
@pytest.mark.parametrize("order", [2, 4])
def test_reflecting_frames_by_scipy(order: int) -> None:
    """The cascade, written with SciPy's correlation and its own border."""
    u = random(20)
    W = FrameletTransform(bspline(order), 2, 1, "reflect")
    a, bands = u.numpy(), []
    for level in range(2):
        split = [scipy.ndimage.correlate1d(a, q.dilate(2**level).taps, mode="reflect") for q in bspline(order)]
        a = split[0]
        bands += split[1:]
    close(W(u), np.stack([a, *bands]))


# ---- SciPy and NumPy: blur, differences -------------------------------------------------------------------------


@pytest.mark.paper("(1.1)")
@BORDERS
@pytest.mark.parametrize("size", [(3, 3), (5, 3), (7, 1)], ids=str)
def test_blur_is_scipys_convolution(size: tuple[int, int], boundary: str, mode: str) -> None:
    u, a = random(8, 9), torch.rand(size, dtype=torch.float64)
    close(Blur(a, boundary)(u), scipy.ndimage.convolve(u.numpy(), a.numpy(), mode=mode))


@pytest.mark.paper("(1.1)")
@pytest.mark.parametrize(("size", "shape"), [((4,), (9,)), ((2, 3), (7, 8)), ((3, 2, 4), (5, 4, 6))], ids=str)
def test_blur_is_multiplication_of_fourier_transforms(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
    u, a = random(*shape), torch.rand(size, dtype=torch.float64)
    theirs = np.fft.ifftn(np.fft.fftn(u.numpy()) * np.fft.fftn(a.numpy(), shape, tuple(range(len(shape))))).real
    close(Blur(a, origin=(0,) * len(size))(u), theirs)


@BORDERS
def test_away_from_the_border_blur_is_the_full_convolution(boundary: str, mode: str) -> None:
    u, a = random(9, 10), torch.rand(3, 4, dtype=torch.float64)
    inner = scipy.signal.convolve(u.numpy(), a.numpy(), mode="valid", method="direct")
    close(Blur(a, boundary, (0, 0))(u)[2:, 3:], inner)


@BORDERS
@pytest.mark.parametrize("sigma", [0.6, 1.3])
def test_gaussian_blur(sigma: float, boundary: str, mode: str) -> None:
    u = random(20, 21)
    a = gaussian_kernel(sigma, radius=6)
    close(Blur(a, boundary)(u), scipy.ndimage.gaussian_filter(u.numpy(), sigma, mode=mode, radius=6))


@BORDERS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_laplacian(dim: int, boundary: str, mode: str) -> None:
    u = random(*(6, 7, 5)[:dim])
    close(
        Divergence(0.5, dim, boundary)(Gradient(0.5, dim, boundary)(u)),
        4 * scipy.ndimage.laplace(u.numpy(), mode=mode),
        1e-13,
    )


# ---- SciPy: splines and fixed points ----------------------------------------------------------------------------


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_the_low_pass_refines_the_b_spline(order: int) -> None:
    """B_m(x) = 2 sum_k p[k] B_m(2x - k), with SciPy's B-spline on the knots 0, ..., m."""
    spline = scipy.interpolate.BSpline.basis_element(np.arange(order + 1), extrapolate=False)
    x = np.linspace(-0.5, order + 0.5, 97)
    taps = bspline(order)[0].taps
    refined = 2 * sum(p * np.nan_to_num(spline(2 * x - k)) for k, p in enumerate(taps))
    inside = np.abs(2 * x - np.round(2 * x)) > 1e-9  # off the knots, where a step has two values
    close(np.nan_to_num(spline(x))[inside], refined[inside])


def test_the_fixed_point_of_an_iteration() -> None:
    theirs = scipy.optimize.fixed_point(np.cos, 0.5, xtol=1e-14)
    ours = run(torch.cos, torch.tensor(0.5, dtype=torch.float64), until=fixed_point(1e-15))
    close(ours.u, theirs, 1e-13)
