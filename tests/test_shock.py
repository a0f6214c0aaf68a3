"""The shock filter sharpens what was blurred: its range, its bound, its shocks, its detectors."""

import math
from collections.abc import Callable

import pytest
import torch
from skimage import data
from torch import Tensor

from companion import Euler, ShockFilter, along_gradient, gaussian_smooth, laplacian, run, shift

DETECTORS = pytest.mark.parametrize("detector", [along_gradient, laplacian])
SIDES = {1: 16, 2: 9, 3: 5}


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def dilate(u: Tensor, h: float, dim: int, boundary: str) -> Tensor:
    """A detector: every pixel lies on the bright side."""
    return -torch.ones_like(u)


def anything(u: Tensor, h: float, dim: int, boundary: str) -> Tensor:
    return torch.randn_like(u)


def grid(n: int) -> tuple[Tensor, Tensor]:
    g = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    X, Y = torch.meshgrid(g, g, indexing="ij")
    return X, Y


def variation(u: Tensor) -> float:
    return float(u.diff().abs().sum())


# ---- the right-hand side ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_detectors_are_second_derivatives(dim: int) -> None:
    """sum u_i u_j u_ij and sum u_ii, exact inside for a quadratic u = <x, Q x> + <p, x>."""
    h, n = 0.5, 7
    x = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) * h] * dim, indexing="ij"))
    Q, p = uniform(dim, dim), uniform(dim)
    Q = Q + Q.T
    u = torch.einsum("i...,ij,j...->...", x, Q, x) + torch.einsum("i,i...->...", p, x)
    grad = 2 * torch.einsum("ij,j...->i...", Q, x) + p.reshape(-1, *[1] * dim)
    inner = (slice(2, -2),) * dim
    exact = torch.einsum("i...,ij,j...->...", grad, 2 * Q, grad)
    torch.testing.assert_close(along_gradient(u, h, dim)[inner], exact[inner])
    torch.testing.assert_close(laplacian(u, h, dim)[inner], (2 * Q.trace()).expand_as(u)[inner])


def test_the_slope_is_the_smaller_one_of_one_sign() -> None:
    """|grad u| of 0, 1, 3, 2, 2, 5: m(D-, D+) = 0 at the ends and at an extremum, 1 between 0 and 3."""
    u = torch.tensor([0.0, 1, 3, 2, 2, 5], dtype=torch.float64)
    F = ShockFilter(h=0.5, detector=dilate, dim=1)
    torch.testing.assert_close(F(u), torch.tensor([0.0, 2, 0, 0, 0, 0], dtype=torch.float64))
    v = uniform(8, 8)
    slopes = [torch.stack([ShockFilter(detector=dilate, dim=1)(w) for w in part]) for part in (v.T, v)]
    torch.testing.assert_close(ShockFilter(detector=dilate)(v), (slopes[0].T ** 2 + slopes[1] ** 2).sqrt())
    side = torch.sign(along_gradient(v))
    torch.testing.assert_close(ShockFilter()(v), -side * ShockFilter(detector=dilate)(v))


# ---- what is kept -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_no_value_passes_what_its_neighbours_were(dim: int, boundary: str) -> None:
    """At max_dt = h/2 or h/sqrt d, with any detector; an extremum keeps its height."""
    for detector in (along_gradient, laplacian, anything):
        for _ in range(20):
            u = uniform(*[SIDES[dim]] * dim)
            F = ShockFilter(0.3, detector, dim=dim, boundary=boundary)
            assert F.max_dt == pytest.approx(0.3 / (2 if dim == 1 else math.sqrt(dim))) and F.maximum_principle
            new = u + F.max_dt * F(u)
            near = torch.stack([shift(u, k, i - dim, boundary) for i in range(dim) for k in (-1, 0, 1)])
            assert bool((new <= near.amax(0) + 1e-12).all()) and bool((new >= near.amin(0) - 1e-12).all())
            assert torch.equal(new.max(), u.max()) and torch.equal(new.min(), u.min())


def test_the_bound_is_sharp() -> None:
    """d = 2: on min(x_1 + x_2, 3) a pixel of height 2 reaches 2 + dt sqrt 2 / h, at h/sqrt 2 the plateau's 3."""
    X, Y = torch.meshgrid(*[torch.arange(4, dtype=torch.float64)] * 2, indexing="ij")
    u = (X + Y).clamp_max(3)
    F = ShockFilter(h=0.5, detector=dilate)
    assert float((u + F.max_dt * F(u)).max()) == pytest.approx(3, abs=1e-12)
    assert float((u + 1.01 * F.max_dt * F(u)).max()) > 3.005


def test_the_total_variation_does_not_grow_in_one_dimension() -> None:
    """At h/2, with any detector: two neighbours that approach each other do not pass; at 1.02 h/2 they do."""
    grown = 0.0
    for _ in range(200):
        u = uniform(12)
        F = ShockFilter(detector=anything, dim=1)
        torch.manual_seed(int(1e6 * float(u[0])))
        change = F(u)
        assert variation(u + F.max_dt * change) <= variation(u) + 1e-12
        grown = max(grown, variation(u + 1.02 * F.max_dt * change) - variation(u))
    assert grown > 0.002


def test_in_two_dimensions_local_extrema_inside_the_range_may_appear() -> None:
    def maxima(u: Tensor) -> int:
        near = [shift(u, k, axis, "periodic") for axis in (-2, -1) for k in (-1, 1)]
        return int((u > torch.stack(near).amax(0)).sum())

    F = ShockFilter(boundary="periodic")
    pictures = [uniform(10, 10) for _ in range(100)]
    assert any(maxima(u + F.max_dt * F(u)) > maxima(u) for u in pictures)


# ---- what it does -----------------------------------------------------------------------------------------------


@DETECTORS
def test_a_blurred_edge_becomes_a_jump_at_its_inflection(detector: Callable[..., Tensor]) -> None:
    """u_0 = tanh((x - c)/6) becomes two plateaus of heights u_0(ends), with the jump at c; then nothing moves."""
    x = torch.arange(64, dtype=torch.float64)
    for c in (31.5, 25.7):
        u0 = torch.tanh((x - c) / 6)
        F = ShockFilter(detector=detector, dim=1)
        u = F.flow(u0, 120.0).u
        target = torch.where(x < c, u0[0], u0[-1])
        assert float((u - target).abs().max()) < 1e-4 and not F(u).any()


def test_an_edge_is_sharpened_at_speed_one() -> None:
    """Before the shock arrives u(x, t) = u_0(x + t) on the bright side, to first order in h."""
    errors = []
    for h in (0.5, 0.25):
        x = torch.arange(-20, 20, h, dtype=torch.float64) + h / 2
        u = ShockFilter(h, dim=1).flow(torch.tanh(x / 6), 4.0).u
        bright = (x > 1) & (x < 10)
        errors.append(float((u - torch.tanh((x + 4) / 6))[bright].abs().max()))
    assert errors[1] < 0.01 and 1.6 < errors[0] / errors[1] < 2.4


def test_the_edge_of_a_disc_is_on_the_steepest_line_or_outside_it() -> None:
    """along_gradient: where |u'(r)| is largest; the Laplacian, u'' + u'/r = 0, further out."""
    X, Y = grid(48)
    r = (X.square() + Y.square()).sqrt()
    u0 = gaussian_smooth((r < 8).double(), 3.0)
    line = u0[24, 24:]  # from the middle outwards
    steepest = float((line[:-1] - line[1:]).argmax()) + 1
    radius = {}
    for detector in (along_gradient, laplacian):
        u = ShockFilter(detector=detector).flow(u0, 30.0).u
        radius[detector] = math.sqrt(float((u > (u.max() + u.min()) / 2).sum()) / math.pi)
    assert abs(radius[along_gradient] - steepest) < 0.7
    assert radius[laplacian] > radius[along_gradient] + 0.7


def mean_square(u: Tensor) -> float:
    return float(u.square().mean())


@DETECTORS
def test_a_blurred_picture_is_restored(detector: Callable[..., Tensor]) -> None:
    """The error falls: by 6 dB and more for a cartoon, by 1.1 dB for a photograph; the gradients grow."""
    X, Y = grid(64)
    cartoon = (X**2 + Y**2 < 18**2).double() + 0.5 * ((X - 5).abs() < 6) * ((Y + 4).abs() < 9)
    photo = torch.as_tensor(data.camera()[::4, ::4] / 255.0)[20:84, 20:84]
    for picture, gain in ((cartoon, 6.0), (photo, 1.1)):
        blurred = gaussian_smooth(picture, 2.0)
        restored = ShockFilter(detector=detector).flow(blurred, 2.0).u
        assert 10 * math.log10(mean_square(blurred - picture) / mean_square(restored - picture)) > gain
        assert mean_square(restored.diff()) > 1.3 * mean_square(blurred.diff())


def test_sigma_looks_past_the_noise() -> None:
    """Blurred and noisy: without sigma worse than doing nothing, with sigma = 1 half the error and less."""
    X, Y = grid(64)
    picture = (X**2 + Y**2 < 18**2).double() + 0.5 * ((X - 5).abs() < 6) * ((Y + 4).abs() < 9)
    noisy = gaussian_smooth(picture, 2.0) + 0.02 * torch.randn(64, 64, dtype=torch.float64)
    error = [mean_square(ShockFilter(sigma=sigma).flow(noisy, 4.0).u - picture) for sigma in (0.0, 1.0)]
    assert error[0] > mean_square(noisy - picture) > 1.7 * error[1]
    u, h = uniform(8, 8), 0.5
    side = torch.sign(along_gradient(gaussian_smooth(u, 0.6, h), h))
    torch.testing.assert_close(ShockFilter(h, sigma=0.6)(u), -side * ShockFilter(h, dilate)(u))


def test_batches_types_and_gradients() -> None:
    F, u = ShockFilter(sigma=0.7), uniform(3, 9, 8)
    torch.testing.assert_close(F(u), torch.stack([F(v) for v in u]), rtol=0, atol=1e-14)
    assert F(u.float()).dtype == torch.float32
    v = torch.zeros(6, 6, dtype=torch.float64)
    v[3:] = 1
    v.requires_grad_()
    (F(v) + ShockFilter(detector=dilate)(v)).sum().backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())
    torch.testing.assert_close(ShockFilter(0.25)(0.25 * u), ShockFilter()(u))
    assert "along_gradient" in repr(F) and "Module" in repr(ShockFilter(detector=torch.nn.Module()))
    with pytest.raises(ValueError, match="grid step"):
        ShockFilter(h=-1.0)
    assert torch.equal(run(Euler(F, 0.5), u, k=1).u, u + 0.5 * F(u))
