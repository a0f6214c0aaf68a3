"""Gradients made of frame bands: the derivatives they approximate, their constants, their border, their size."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from math import pi, sqrt

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import Tensor

from companion import FrameGradient, FrameletTransform, Gradient, bspline, haar_gradient, spline_gradient
from companion.flows.diffusion import monotone
from companion.operators.grid import BOUNDARIES
from tests.laws.registry import dense

BORDERS = pytest.mark.parametrize("boundary", BOUNDARIES)
Maker = Callable[..., Gradient | FrameGradient]
ALL = tuple(ell for ell in itertools.product(range(3), repeat=2) if any(ell))
MAKERS: dict[str, Maker] = {  # (h, boundary) -> a gradient in the plane
    "differences": Gradient,
    "haar": haar_gradient,
    "haar-three": partial(haar_gradient, bands=3),
    "spline": spline_gradient,
    "spline-all": partial(FrameGradient, bspline(2), ALL),
    "order-three": partial(FrameGradient, bspline(3)),
    "order-four": partial(FrameGradient, bspline(4)),
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def torus(n: int, d: int, shift: float = 0.0) -> tuple[Tensor, ...]:
    """x_i = (n_i + shift)/n on the periodic unit cube."""
    return torch.meshgrid(*[(torch.arange(n, dtype=torch.float64) + shift) / n] * d, indexing="ij")


def derivative(alpha: Sequence[int], x: tuple[Tensor, ...]) -> Tensor:
    """d^alpha of prod_i sin(2 pi x_i + i + 1)."""
    out = torch.ones_like(x[0])
    for i, (a, xi) in enumerate(zip(alpha, x, strict=True)):
        out = out * (2 * pi) ** a * torch.sin(2 * pi * xi + i + 1 + a * pi / 2)
    return out


# ---- what it approximates ---------------------------------------------------------------------------------------


@pytest.mark.paper("Prop 4.1")
@pytest.mark.parametrize(
    ("order", "bands", "d"),
    [
        (1, None, 1),
        (1, None, 2),
        (1, ((1, 1), (0, 1)), 2),
        (1, None, 3),
        (2, ((1,), (2,)), 1),
        (2, ALL, 2),
        (2, None, 3),
        (3, ((1, 0), (2, 1), (0, 3)), 2),
        (4, ((0, 1), (3, 0), (4, 1)), 2),
    ],
)
def test_every_component_is_a_derivative_at_the_centre_of_the_filters(
    order: int, bands: Sequence[Sequence[int]] | None, d: int
) -> None:
    """The error is of order 2 at the centre, n + 1/2 for odd orders; there, and only there."""
    centre, errors, aside = order % 2 / 2, [], []
    for n in (16, 32) if d == 3 else (32, 64):
        grad = FrameGradient(bspline(order), bands, 1 / n, d, "periodic")
        found = grad(derivative((0,) * d, torus(n, d)))
        exact = [torch.stack([derivative(ell, torus(n, d, s)) for ell in grad.bands]) for s in (centre, 0.5 - centre)]
        size = exact[0].flatten(1).abs().amax(1)
        errors.append((found - exact[0]).flatten(1).abs().amax(1) / size)
        aside.append((found - exact[1]).flatten(1).abs().amax(1) / size)
    assert ((errors[0] / errors[1]).log2() - 2).abs().max() < 0.1
    assert ((aside[0] / aside[1]).log2() - 1).abs().max() < 0.2


@pytest.mark.paper("Prop 4.1")
@each
def test_a_ramp_has_the_gradient_of_its_slope(make: Maker) -> None:
    """With its sign, although the taps of Example 2.1 start with +."""
    h = 0.25
    x, y = torch.meshgrid(*[h * torch.arange(11, dtype=torch.float64)] * 2, indexing="ij")
    grad = make(h=h)
    slopes = {(1, 0): 2.0, (0, 1): -3.0}
    bands = getattr(grad, "bands", ((1, 0), (0, 1)))
    for component, ell in zip(grad(2 * x - 3 * y), bands, strict=True):
        inner = component[3:-3, 3:-3]
        assert torch.allclose(inner, torch.full_like(inner, slopes.get(ell, 0.0)), rtol=0, atol=1e-11)


@pytest.mark.paper("Prop 4.1")
@pytest.mark.parametrize(
    ("order", "ell", "C"),
    [
        (1, (1, 0), -1 / 2),
        (1, (1, 1), 1 / 4),
        (2, (0, 1), -sqrt(2) / 2),
        (2, (1, 1), 1 / 2),
        (2, (2, 0), -1 / 4),
        (2, (1, 2), sqrt(2) / 8),
    ],
)
def test_the_weight_of_a_band_is_one_over_its_constant(order: int, ell: tuple[int, int], C: float) -> None:
    """1 / (C h^{|alpha|}): the components are the bands of W, times that."""
    h, u = 0.25, random(6, 7)
    grad = FrameGradient(bspline(order), (ell,), h, boundary="periodic")
    assert grad.weights[0] == pytest.approx(1 / (C * h ** sum(ell)), rel=1e-14)
    W = FrameletTransform(bspline(order))
    torch.testing.assert_close(grad(u)[0], W(u)[W.band(ell)] * grad.weights[0], rtol=1e-13, atol=1e-12)
    assert grad.filters[0].vanishing_order() == ell
    assert grad.filters[0].constant(ell) * h ** sum(ell) == pytest.approx(1, rel=1e-13)


def test_weights_replace_the_constants() -> None:
    u = random(5, 6)
    plain, given = FrameGradient(bspline(2), h=0.5), FrameGradient(bspline(2), h=0.5, weights=(3.0, -1.0))
    ratio = torch.tensor([3.0, -1.0], dtype=torch.float64) / torch.tensor(plain.weights, dtype=torch.float64)
    torch.testing.assert_close(given(u), plain(u) * ratio[:, None, None])


# ---- Haar and splines, written out ------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [2, 3])
def test_haar_sees_the_two_diagonals_of_a_cell(bands: int) -> None:
    """|grad u|^2 = ((d - a)^2 + (b - c)^2) / (2 h^2), and (a - b - c + d)^2 / (4 h^2) more with the third band."""
    h, u = 0.25, random(6, 7)
    a, b, c, d = u[:-1, :-1], u[:-1, 1:], u[1:, :-1], u[1:, 1:]
    square = ((d - a) ** 2 + (b - c) ** 2) / (2 * h**2)
    if bands == 3:
        square = square + ((a - b - c + d) / (2 * h)) ** 2
    p = haar_gradient(h, bands)(u)
    torch.testing.assert_close(p.square().sum(0)[:-1, :-1], square)
    torch.testing.assert_close(p[0, :-1, :-1], ((c - a) + (d - b)) / (2 * h))
    torch.testing.assert_close(p[1, :-1, :-1], ((b - a) + (d - c)) / (2 * h))


def test_three_bands_do_not_know_the_order_of_the_four_pixels_and_two_bands_do() -> None:
    blocks = torch.stack([torch.tensor(x).reshape(2, 2) for x in itertools.permutations([0.0, 1.0, 3.0, 7.0])]).double()
    lengths = {r: haar_gradient(bands=r)(blocks)[:, :, 0, 0].square().sum(1) for r in (2, 3)}
    assert lengths[3].max() - lengths[3].min() < 1e-12
    assert len({round(float(x), 9) for x in lengths[2]}) == 3


def test_the_spline_pair_is_the_central_difference_averaged_across() -> None:
    h, u = 0.5, random(6, 7)
    wide = torch.nn.functional.pad(u[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    smooth = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    torch.testing.assert_close(spline_gradient(h)(u)[0], (smooth[2:] - smooth[:-2]) / (2 * h))
    torch.testing.assert_close(spline_gradient(h)(u.T)[0].T, spline_gradient(h)(u)[1])


def test_what_each_gradient_is_blind_to() -> None:
    i = torch.arange(8)
    checkerboard = (-1.0) ** (i[:, None] + i).double()
    stripes = (-1.0) ** i.double().expand(8, 8)
    cost = {name: make(boundary="periodic") for name, make in MAKERS.items()}
    blind = {
        name: tuple(bool(grad(u).abs().max() < 1e-12) for u in (checkerboard, stripes)) for name, grad in cost.items()
    }
    assert blind["haar"] == (True, False)
    assert blind["haar-three"] == (False, False)
    assert blind["spline"] == (True, True)
    assert blind["spline-all"] == blind["differences"] == (False, False)


# ---- the border -------------------------------------------------------------------------------------------------


@each
@BORDERS
def test_constants_have_gradient_0_and_nothing_flows_out(make: Maker, boundary: str) -> None:
    grad = make(h=0.1, boundary=boundary)
    size = sqrt(grad.bound)
    assert grad(torch.full((8, 9), 0.7, dtype=torch.float64)).abs().max() < 1e-14 * size
    assert grad.T(random(*grad(random(8, 9)).shape)).sum().abs() < 1e-12 * size


@pytest.mark.parametrize(("order", "left", "right"), [(1, 0, 1), (3, 1, 2)])
@pytest.mark.parametrize("d", [1, 2])
def test_a_cut_border_counts_only_where_all_filters_lie_inside(order: int, left: int, right: int, d: int) -> None:
    u = random(*[8] * d)
    cut, ring = (FrameGradient(bspline(order), h=0.5, dim=d, boundary=b)(u) for b in ("reflect", "periodic"))
    inside = (slice(None), *[slice(left, 8 - right)] * d)
    assert torch.equal(cut[inside], ring[inside])
    cut[inside] = 0
    assert torch.count_nonzero(cut) == 0


def test_a_mirrored_border_continues_the_picture_half_a_sample_outside() -> None:
    u = random(6, 7)
    wide = torch.cat([torch.cat([u, u.flip(0)]), torch.cat([u, u.flip(0)]).flip(1)], 1)
    for order in (2, 4):
        mirrored, ring = (FrameGradient(bspline(order), boundary=b) for b in ("reflect", "periodic"))
        torch.testing.assert_close(mirrored(u), ring(wide)[:, :6, :7], rtol=0, atol=1e-13)
        torch.testing.assert_close(2 * mirrored(u).norm(), ring(wide).norm())


@each
def test_a_border_does_not_make_the_gradient_larger_than_on_the_plane(make: Maker) -> None:
    for boundary, n in itertools.product(BOUNDARIES, (5, 6, 9)):
        grad = make(h=0.5, boundary=boundary)
        largest = float(torch.linalg.matrix_norm(dense(grad, (n, n)), 2)) ** 2
        assert largest <= grad.bound * (1 + 1e-12)


def test_a_mirrored_haar_gradient_would_be_larger_by_nearly_a_third() -> None:
    grad = haar_gradient()
    grad.cut = False
    ratio = float(torch.linalg.matrix_norm(dense(grad, (16, 16)), 2)) ** 2 / grad.bound
    assert 1.3 < ratio < 4 / 3


# ---- its size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (partial(Gradient, dim=1), 4.0),
        (Gradient, 8.0),
        (partial(Gradient, dim=3), 12.0),
        (haar_gradient, 4.0),
        (partial(haar_gradient, bands=3), 4.0),
        (spline_gradient, 1.0),
        (partial(FrameGradient, bspline(1), dim=1), 4.0),
        (partial(FrameGradient, bspline(1), dim=3), 4.0),
        (partial(FrameGradient, bspline(2), ((2, 0), (0, 2))), 16.0),  # -w_2 = cos^2 sin^2 / ..., at (pi, 0)
    ],
)
def test_the_bound_is_the_supremum_over_all_sizes(make: Maker, bound: float) -> None:
    """Sharp: attained, or approached, on a torus."""
    grad = make(h=0.5, boundary="periodic")
    order = 2 if bound == 16 else 1
    assert grad.bound == pytest.approx(bound / 0.5 ** (2 * order), rel=1e-12)
    d, sizes = grad.dim, (8, 12, 24)
    squares = [float(grad.norm(torch.zeros([n] * d, dtype=torch.float64))) ** 2 for n in sizes]
    assert max(squares) == pytest.approx(grad.bound, rel=1e-12)


@pytest.mark.parametrize("order", [3, 4, 5])
def test_the_bound_lies_between_the_frequencies_of_a_grid_too(order: int) -> None:
    """The largest value over a fine grid comes within 1 of the square of its spacing of the supremum, relative."""
    grad = FrameGradient(bspline(order), boundary="periodic")
    for n in (37, 101, 400):
        largest = float(grad.spectrum((n, n)).max())
        assert grad.bound * (1 - (2 * pi / n) ** 2) <= largest <= grad.bound * (1 + 1e-13)


@each
def test_the_spectrum_is_that_of_the_square_on_a_torus(make: Maker) -> None:
    shape, grad = (5, 6), make(h=0.5, boundary="periodic")
    D = dense(grad, shape)
    found, exact = grad.spectrum(shape), torch.linalg.eigvalsh(D.T @ D)
    assert found.dtype == torch.float64 and found.shape == shape
    torch.testing.assert_close(found.flatten().sort()[0], exact, rtol=1e-12, atol=1e-12 * grad.bound)
    u = random(*shape)  # ... and each belongs to its wave
    waves = torch.fft.ifft2(found * torch.fft.fft2(u)).real
    torch.testing.assert_close(grad.T(grad(u)), waves, rtol=0, atol=1e-12 * grad.bound)


@pytest.mark.parametrize("name", ["differences", "spline", "spline-all", "order-four"])
def test_the_spectrum_of_a_mirrored_border_is_that_of_a_torus_of_twice_the_size(name: str) -> None:
    shape, grad = (5, 6), MAKERS[name](h=0.5)
    D = dense(grad, shape)
    found = grad.spectrum((10, 12))[:5, :6].flatten().sort()[0]
    torch.testing.assert_close(found, torch.linalg.eigvalsh(D.T @ D), rtol=1e-12, atol=1e-12 * grad.bound)


@pytest.mark.parametrize("name", ["haar", "order-three"])
def test_a_cut_border_has_no_spectrum_of_this_form(name: str) -> None:
    grad = MAKERS[name](h=0.5)
    D = dense(grad, (5, 6))
    found = grad.spectrum((10, 12))[:5, :6].flatten().sort()[0]
    assert (found - torch.linalg.eigvalsh(D.T @ D)).abs().max() > 0.05 * grad.bound


@each
@BORDERS
def test_the_norm_is_exact_where_there_is_a_closed_form(make: Maker, boundary: str) -> None:
    """... and by power iteration to 0.2 %, where the border is cut."""
    grad = make(h=0.5, boundary=boundary)
    cut = getattr(grad, "cut", False)
    for shape in ((5, 6),) if cut else ((5, 6), (6, 6), (7, 5)):
        exact = float(torch.linalg.matrix_norm(dense(grad, shape), 2))
        assert float(grad.norm(random(2, *shape))) == pytest.approx(exact, rel=2e-3 if cut else 1e-12)
        assert grad.norm(random(*shape).float()).dtype == torch.float32


@pytest.mark.parametrize(("order", "above"), [(1, 1e-3), (3, 3e-3)])
def test_the_norm_of_a_cut_gradient_from_64_pixels(order: int, above: float) -> None:
    """sqrt(bound), just above the largest singular value."""
    grad, u = FrameGradient(bspline(order), h=0.5), random(64, 64)

    def square(x: np.ndarray) -> np.ndarray:
        return grad.T(grad(torch.from_numpy(x.reshape(64, 64).copy()))).numpy().ravel()

    M = scipy.sparse.linalg.LinearOperator((4096, 4096), matvec=square, dtype=np.float64)
    (largest,) = scipy.sparse.linalg.eigsh(M, k=1, which="LA", tol=1e-7, ncv=40, return_eigenvectors=False)
    assert float(grad.norm(u)) == pytest.approx(sqrt(grad.bound), rel=1e-12)
    assert 0 < float(grad.norm(u)) / sqrt(largest) - 1 < above


@each
@BORDERS
def test_per_pixel_is_h_times_the_gradient(make: Maker, boundary: str) -> None:
    u, grad = random(8, 9), make(h=0.25, boundary=boundary)
    torch.testing.assert_close(grad.per_pixel(u), 0.25 * grad(u), rtol=1e-13, atol=1e-13)
    assert grad.per_pixel.h == 1 and grad.per_pixel.boundary == boundary
    if max(map(sum, getattr(grad, "bands", ((1,),)))) == 1:
        assert grad.per_pixel.bound == pytest.approx(make(h=3.0).per_pixel.bound, rel=1e-12)


# ---- with a conductivity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "differences"])
@BORDERS
def test_the_squared_taps_make_the_diagonal(name: str, boundary: str) -> None:
    """diag(grad^T diag(c) grad); with a mirrored border inside only, where nothing is folded together."""
    grad = MAKERS[name](h=0.5, boundary=boundary)
    shape = (8, 9)
    c = torch.rand(len(grad.filters), *shape, dtype=torch.float64)
    D = dense(grad, shape)
    exact = torch.diag(D.T @ torch.diag(c.flatten()) @ D).reshape(shape)
    margin = 0 if boundary == "periodic" or grad.cut else grad.left
    inner = tuple(slice(margin, n - margin) for n in shape)
    torch.testing.assert_close(grad.squared().adjoint(c)[inner], exact[inner], rtol=1e-12, atol=1e-12)
    assert torch.equal(grad(c[0]), MAKERS[name](h=0.5, boundary=boundary)(c[0]))  # the gradient itself is unchanged


def test_which_gradients_make_monotone_diffusions() -> None:
    """Every grad^T g grad with g >= 0 has off-diagonal entries <= 0: forward differences and Haar, no splines.

    With the third band at the weight c/h the entries along a diagonal of a cell are <= 0 for c^2 <= 8.
    """
    h = 0.5
    found = {name: monotone(make(h=h)) for name, make in MAKERS.items()}
    diagonals = {name: round(diagonal * h**2, 9) for name, (yes, diagonal) in found.items() if yes}
    assert diagonals == {"differences": 4, "haar": 2, "haar-three": 3}
    for c, yes in ((2.82, True), (2.84, False)):
        three = FrameGradient(bspline(1), ((1, 0), (0, 1), (1, 1)), h, weights=(-2 / h, -2 / h, c / h))
        assert monotone(three)[0] == yes
