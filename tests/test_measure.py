"""f = A u + eta: what the blur and the mask of (1.1) do to a picture."""

from itertools import product
from math import ceil, pi

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import Blur, FrameletTransform, GaussianNoise, Identity, Mask, bspline, gaussian_kernel

BORDERS = pytest.mark.parametrize("boundary", ["periodic", "reflect"])


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def point(*shape: int, at: tuple[int, ...]) -> Tensor:
    u = torch.zeros(shape, dtype=torch.float64)
    u[at] = 1.0
    return u


# ---- blur -------------------------------------------------------------------------------------------------------


@pytest.mark.paper("(1.1)")
@BORDERS
@pytest.mark.parametrize(
    ("size", "origin"), [((3, 3), (-1, -1)), ((2, 4), (0, -1)), ((5, 2), (-2, 0)), ((1, 6), (0, -2))]
)
def test_the_picture_of_a_point_is_the_kernel(size: tuple[int, int], origin: tuple[int, int], boundary: str) -> None:
    """A delta at n becomes a[. - n]: unflipped, centred where the default origin says."""
    a = torch.rand(size, dtype=torch.float64)
    f = Blur(a, boundary)(point(12, 12, at=(5, 6)))
    exact = torch.zeros(12, 12, dtype=torch.float64)
    for i, j in product(range(size[0]), range(size[1])):
        exact[5 + origin[0] + i, 6 + origin[1] + j] = a[i, j]
    torch.testing.assert_close(f, exact, rtol=0, atol=1e-15)


@pytest.mark.paper("(1.1)")
@BORDERS
def test_blur_is_a_convolution_by_its_definition(boundary: str) -> None:
    """(A u)[n] = sum_k a[k] u[n - k], entry by entry, with an origin far off the centre."""
    a, u, origin, N = torch.rand(4, dtype=torch.float64), picture(7), -5, 7
    order = list(range(N)) if boundary == "periodic" else [*range(N), *reversed(range(N))]
    exact = [sum(a[i].item() * u[order[(n - (origin + i)) % len(order)]].item() for i in range(4)) for n in range(N)]
    torch.testing.assert_close(
        Blur(a, boundary, (origin,))(u), torch.tensor(exact, dtype=torch.float64), rtol=0, atol=1e-14
    )


@BORDERS
def test_a_blur_of_mass_one_keeps_constants_and_the_mean(boundary: str) -> None:
    A = Blur(gaussian_kernel(1.2), boundary)
    one = torch.full((13, 14), 0.3, dtype=torch.float64)
    torch.testing.assert_close(A(one), one, rtol=0, atol=1e-15)
    u = picture(13, 14)
    torch.testing.assert_close(A(u).mean(), u.mean(), rtol=0, atol=1e-15)


def test_both_boundaries_agree_inside() -> None:
    a, u = torch.rand(3, 4, dtype=torch.float64), picture(12, 13)
    periodic, reflect = Blur(a)(u), Blur(a, "reflect")(u)
    torch.testing.assert_close(periodic[2:-2, 3:-3], reflect[2:-2, 3:-3], rtol=0, atol=1e-14)
    assert (periodic - reflect).abs().max() > 0.1


def test_reflection_is_the_periodic_blur_of_the_mirrored_picture_if_the_kernel_is_even() -> None:
    A, B = Blur(gaussian_kernel(1.0, 2, 3), "reflect"), Blur(gaussian_kernel(1.0, 2, 3))
    u = picture(8, 9)
    mirrored = torch.cat([u, u.flip(0)], 0)
    mirrored = torch.cat([mirrored, mirrored.flip(1)], 1)
    torch.testing.assert_close(A(u), B(mirrored)[:8, :9], rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(9,), (6, 8), (3, 4, 6)], ids=str)
def test_a_periodic_blur_is_diagonal_in_the_fourier_basis(shape: tuple[int, ...]) -> None:
    """A e^{i n.w_j} = a^(w_j) e^{i n.w_j}: `symbol` holds the eigenvalues, sum_k a[k] e^{-i k.w_j}."""
    d = len(shape)
    a = torch.rand((2, 3, 2)[:d], dtype=torch.float64)
    A = Blur(a, origin=(-1, 0, 1)[:d])
    j = tuple(int(n) // 3 for n in shape)
    w = [2 * pi * i / n for i, n in zip(j, shape, strict=True)]
    eigenvalue = sum(
        a[k].item() * np.exp(-1j * sum((ki + o) * wi for ki, o, wi in zip(k, A.origin, w, strict=True)))
        for k in np.ndindex(*a.shape)
    )
    n = torch.meshgrid(*[torch.arange(m, dtype=torch.float64) for m in shape], indexing="ij")
    phase = sum(x * wi for x, wi in zip(n, w, strict=True))
    symbol = A.symbol(phase)
    assert symbol[j].item() == pytest.approx(eigenvalue, abs=1e-14)
    wave = torch.complex(A(torch.cos(phase)), A(torch.sin(phase)))
    exact = complex(eigenvalue) * torch.complex(torch.cos(phase), torch.sin(phase))
    torch.testing.assert_close(wave, exact, rtol=0, atol=1e-13)


def test_blurs_in_a_row_are_one_blur() -> None:
    """Gaussians compose: the variances add, up to the truncation of the kernels."""
    u = picture(40)
    once = Blur(gaussian_kernel(1.5, 1, 12))(u)
    twice = Blur(gaussian_kernel(0.9, 1, 9))(Blur(gaussian_kernel(1.2, 1, 10))(u))
    torch.testing.assert_close(once, twice, rtol=0, atol=1e-3)


def test_deblurring_without_noise_recovers_the_picture() -> None:
    A = Blur(gaussian_kernel(0.7, 2, 3))
    u = picture(16, 17)
    torch.testing.assert_close(A.normal_solve(A.T(A(u)), 1e-14), u, rtol=0, atol=1e-6)


@pytest.mark.paper("(1.1)")
def test_naive_inversion_amplifies_noise() -> None:
    """The ill-posedness of (1.1): inversion multiplies the fastest wave of the noise by 1 / |a^(pi)|, here by 69."""
    A = Blur(gaussian_kernel(1.0, 1, 4))
    u = picture(32)
    eta = 1e-3 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(16)
    naive = A.normal_solve(A.T(A(u) + eta), 0.0)
    gain = 1 / A.symbol(u).abs().min()
    torch.testing.assert_close((naive - u).norm(), gain * eta.norm(), rtol=1e-6, atol=0)
    assert gain == pytest.approx(69, rel=0.02)


# ---- the Gaussian kernel ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.2])
def test_the_gaussian_kernel(sigma: float, dim: int) -> None:
    a = gaussian_kernel(sigma, dim)
    r = ceil(4 * sigma)
    assert a.shape == (2 * r + 1,) * dim
    assert a.dtype == torch.float64
    assert a.sum().item() == pytest.approx(1, rel=1e-14)
    for axis in range(dim):
        torch.testing.assert_close(a, a.flip(axis), rtol=0, atol=0)
    centre = a[(r,) * dim]
    assert (a[(r + 1, *(r,) * (dim - 1))] / centre).item() == pytest.approx(np.exp(-1 / (2 * sigma**2)), rel=1e-13)
    assert (a[(r + 1,) * dim] / centre).item() == pytest.approx(np.exp(-dim / (2 * sigma**2)), rel=1e-13)


def test_the_deviation_of_the_gaussian_kernel() -> None:
    k = torch.arange(-8, 9, dtype=torch.float64)
    assert (gaussian_kernel(2.0, 1) * k**2).sum().sqrt().item() == pytest.approx(2.0, rel=2e-3)
    assert gaussian_kernel(2.0, 2, radius=3).shape == (7, 7)


# ---- mask and identity ------------------------------------------------------------------------------------------


@pytest.mark.paper("(1.1)")
def test_a_mask_is_an_orthogonal_projection() -> None:
    """A = A^2 = A^T: known pixels stay, bit by bit, and the unknown become zero."""
    m = torch.tensor([[True, False, True], [False, False, True]])
    A, u = Mask(m), picture(4, 2, 3)
    f = A(u)
    assert torch.equal(f[:, m], u[:, m])
    assert torch.count_nonzero(f[:, ~m]) == 0
    assert torch.equal(A(f), f)
    assert torch.equal(A.T(u), f)
    assert torch.equal(Mask(m.double())(u), f)


def test_a_mask_of_rows_broadcasts_over_all_axes_before_it() -> None:
    A, u = Mask(torch.tensor([1, 0, 1])), picture(2, 4, 3)
    assert torch.equal(A(u), u * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))


def test_a_full_mask_solves_without_rho() -> None:
    A, v = Mask(torch.ones(3, 4)), picture(3, 4)
    torch.testing.assert_close(A.normal_solve(v, 0.0), v, rtol=0, atol=0)
    with pytest.raises(ValueError, match="rho > 0"):
        Mask(torch.eye(3)).normal_solve(picture(3, 3), 0.0)


@pytest.mark.paper("(1.1)")
def test_the_identity_measures_the_picture_itself() -> None:
    A, u = Identity(), picture(2, 3)
    assert torch.equal(A(u), u)
    assert A.tight
    assert A.norm(u).item() == 1.0


# ---- f = A u + eta -----------------------------------------------------------------------------------------------


def test_a_measurement_is_an_operator_then_noise() -> None:
    """f = A u + eta with A = mask after blur; the tight frame of f has the same energy as f."""
    A = Mask(torch.arange(144).reshape(12, 12) % 4 > 0) @ Blur(gaussian_kernel(0.8, 2, 2))
    u = picture(12, 12)
    f = GaussianNoise(0.05, seed=1)(A(u))
    assert (f - A(u)).std().item() == pytest.approx(0.05, rel=0.2)
    W = FrameletTransform(bspline(2))
    torch.testing.assert_close(W(f).square().sum(), f.square().sum(), rtol=1e-13, atol=0)
