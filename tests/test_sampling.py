"""T_n, lambda_n, E_n and E: weighted means against exact integrals, bands against derivatives, and the two energies."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from companion import (
    DISCRETISATIONS,
    ROF,
    VARIATIONS,
    Blur,
    ContinuumEnergy,
    DiscreteEnergy,
    FrameGradient,
    FrameletTransform,
    TotalVariation,
    TVModel,
    biorthogonal,
    bspline,
    gaussian_kernel,
    haar_gradient,
    lambda_n,
    refinable,
    sample,
    spline_gradient,
)

PERIODIC = 2 * math.pi


def bumps(x: Tensor, y: Tensor) -> Tensor:
    """A smooth function of the torus: int |grad u| = 6.550143, int |d_1 u| + |d_2 u| = 8.05689."""
    return (PERIODIC * x).cos().exp() * (PERIODIC * y).sin()


# ---- T_n --------------------------------------------------------------------------------------------------------


def test_the_weights_sum_to_one() -> None:
    for order in (1, 2, 3, 4):
        torch.testing.assert_close(sample(lambda x, y: torch.ones_like(x), 6, order), torch.ones(6, 6).double())


@pytest.mark.paper("(4.2)")
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_samples_of_a_wave_are_the_wave_times_the_symbol_of_the_spline(order: int) -> None:
    """T_n e^{2 pi i a x} = sinc(a h)^m e^{2 pi i a x} at the centres: B_m^ is a power of a sinc."""
    N, a, b = 12, 2, -3
    x = (torch.arange(N).double() + 0.5) / N
    got = sample(lambda x, y: (PERIODIC * (a * x + b * y) + 0.3).cos(), N, order, points=8)
    factor = float(np.sinc(a / N) ** order * np.sinc(b / N) ** order)
    torch.testing.assert_close(got, factor * (PERIODIC * (a * x[:, None] + b * x) + 0.3).cos(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("order", "points"), [(1, 2), (2, 3), (3, 3)])
def test_polynomials_are_integrated_exactly(order: int, points: int) -> None:
    """Against SciPy, at cells that the spline does not leave the square from; of degree 2 points - m."""
    N, k, degree = 8, 3, 2 * points - order
    spline = refinable(order)
    middle = sum(spline.support) / 2

    def mean(j: int) -> float:
        f = lambda s: ((k + 0.5 + s - middle) / N) ** j * float(spline(torch.tensor(s, dtype=torch.float64)))  # noqa: E731
        a, b = (round(end) for end in spline.support)
        return sum(integrate.quad(f, i, i + 1, epsabs=1e-13)[0] for i in range(a, b))

    got = sample(lambda x, y: x**degree * y, N, order, points)
    assert float(got[k, k]) == pytest.approx(mean(degree) * mean(1), rel=1e-12)
    rough = sample(lambda x, y: x ** (degree + 1), N, order, points - 1)
    assert abs(float(rough[k, k]) - mean(degree + 1)) > 1e-9


@pytest.mark.paper("(4.2)")
def test_the_samples_of_the_refinable_function_are_those_of_the_paper() -> None:
    """T_n u[k] = 2^n <u, phi_{n,k}>, for even orders on a grid half a cell away."""
    n, order = 3, 2
    u = lambda x: (PERIODIC * x).sin().exp()  # noqa: E731
    phi = refinable(order)
    paper = []
    for k in range(1, 2**n - 1):
        x, w = phi.scaled(2.0**n, k, 2.0 ** (n / 2)).quadrature(8)
        paper.append(float((u(x) * w).sum()) * 2 ** (n / 2))
    moved = sample(lambda x, y: u(x - 0.5 / 2**n), 2**n, order, 8)[:, 0]
    torch.testing.assert_close(moved[1:-1], torch.tensor(paper, dtype=torch.float64), rtol=1e-12, atol=0)


# ---- lambda_n ---------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.2)", "Prop 4.1")
def test_the_coefficients_that_make_derivatives_of_bands() -> None:
    """Haar -2/h, PL -sqrt 2/h and -4/h^2; 2^{-l |alpha|} of it at level l, and 0 on the average."""
    h = 1 / 8
    for order, first in ((1, -2 / h), (2, -math.sqrt(2) / h)):
        W = FrameletTransform(bspline(order), levels=3)
        lam = lambda_n(W, h)
        assert lam.shape == (len(W.bands), 1, 1)
        for band, value in zip(W.bands, lam.flatten().tolist(), strict=True):
            if band.low:
                assert value == 0
                continue
            exact = math.prod({0: 1.0, 1: first, 2: -4 / h**2}[i] for i in band.ell) * 2.0 ** (
                -band.level * sum(band.ell)
            )
            assert value == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_scaled_bands_are_the_gradient_of_the_frame(order: int) -> None:
    h, W, u = 1 / 16, FrameletTransform(bspline(order)), torch.randn(16, 16, dtype=torch.float64)
    scaled = lambda_n(W, h) * W(u)
    chosen = ((1, 0), (0, 1)) if order == 1 else ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    D = FrameGradient(bspline(order), chosen, h, boundary="periodic")
    torch.testing.assert_close(scaled[[W.band(ell) for ell in chosen]], D(u))


@pytest.mark.parametrize("level", [0, 1])
def test_every_scaled_band_tends_to_its_derivative(level: int) -> None:
    """With rate 1 for Haar, whose filters are centred half a pixel away, and 2 for linear splines."""
    for order, rate in ((1, 1), (2, 2)):
        W = FrameletTransform(bspline(order), levels=2)
        for band in [b for b in W.bands if not b.low and b.level == level]:
            errors = []
            for N in (64, 128):
                x = (torch.arange(N).double() + 0.5) / N * PERIODIC
                wave = [PERIODIC**i * (x + i * math.pi / 2).sin() for i in band.ell]  # the derivatives of sin
                got = lambda_n(W, 1 / N)[W.band(*band)] * W(x.sin()[:, None] * x.sin())[W.band(*band)]
                errors.append(float((got - wave[0][:, None] * wave[1]).abs().max()))
            assert math.log2(errors[0] / errors[1]) == pytest.approx(rate, abs=0.1), band


# ---- E_n and E --------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.2)")
@pytest.mark.parametrize("name", VARIATIONS)
def test_the_energy_by_its_formula(name: str) -> None:
    """Sums with the weight h^2, the bands by W and lambda_n or by differences, in plain tensors."""
    N, nu = 16, 0.3
    h = 1 / N
    u, f = torch.randn(2, N, N, dtype=torch.float64)
    if "forward" in name:
        parts = torch.stack([(torch.roll(u, -1, axis) - u) / h for axis in (0, 1)])
    else:
        W = FrameletTransform(bspline(2 if "splines" in name else 1))
        lam = lambda_n(W, h)
        lam[3:] = 2 / h if "three" in name else 0  # the diagonal band of Haar at the weight of the others
        parts = (lam * W(u))[1:]
    length = parts.abs().sum(0) if "entrywise" in name else parts.square().sum(0).sqrt()
    exact = nu * h**2 * length.sum() + h**2 / 2 * (u - f).square().sum()
    E = DiscreteEnergy(VARIATIONS[name](nu, h, "periodic"), f)
    torch.testing.assert_close(E(u), exact)
    assert isinstance(E.problem, ROF) and E.N == N
    torch.testing.assert_close(E.problem(u), exact)


def test_an_energy_takes_functions_and_measurements() -> None:
    N, nu = 32, 0.1
    A = Blur(gaussian_kernel(0.8))
    J = DISCRETISATIONS["Haar, two bands"](nu, 1 / N, "periodic")
    E = DiscreteEnergy(J, lambda x, y: x.cos() * y, A, order=2)
    u, f = sample(bumps, N, 2), sample(lambda x, y: x.cos() * y, N, 2)
    torch.testing.assert_close(E(bumps), J(u) + (A(u) - f).square().mean() / 2)
    assert isinstance(E.problem, TVModel) and not isinstance(E.problem, ROF)
    v = u.clone().requires_grad_()
    E(v).backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())


@pytest.mark.paper("(4.3)")
def test_the_limit_of_a_smooth_function() -> None:
    """Against SciPy's adaptive rule, and the reference values of the course."""
    u, f = bumps, lambda x, y: (PERIODIC * y).cos()

    def slope(y: float, x: float) -> float:
        a, b = PERIODIC * x, PERIODIC * y
        return PERIODIC * math.exp(math.cos(a)) * math.hypot(math.sin(a) * math.sin(b), math.cos(b))

    length = 8 * integrate.dblquad(slope, 0, 0.5, 0, 0.25, epsabs=1e-6)[0]
    assert length == pytest.approx(6.550143, abs=2e-6)
    E = ContinuumEnergy(0.5, f)
    assert float(E.variation(u)) == pytest.approx(6.550143, abs=1e-6)
    bessel = float(torch.special.i0(torch.tensor(1.0, dtype=torch.float64)))  # the mean of exp(cos)
    exact = 2 * (math.e - 1 / math.e) * 2 / math.pi + 4 * bessel  # int |d_1 u| + int |d_2 u|, each a product
    assert exact == pytest.approx(8.05689, abs=1e-5)
    errors = [float(ContinuumEnergy(1.0, f, isotropic=False, points=n).variation(u)) - exact for n in (128, 256)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    data = (float(torch.special.i0(torch.tensor(2.0, dtype=torch.float64))) / 2 + 0.5) / 2
    assert float(E(u) - 0.5 * E.variation(u)) == pytest.approx(data, rel=1e-12)


def test_the_limit_with_a_measurement_and_of_a_flat_function() -> None:
    half = lambda u: lambda x, y: u(x, y) / 2  # noqa: E731
    E = ContinuumEnergy(1.0, lambda x, y: torch.ones_like(x), A=half, points=64)
    flat = lambda x, y: 4 * torch.ones_like(x)  # noqa: E731
    assert float(E(flat)) == pytest.approx(0.5) and float(E.variation(flat)) == 0
    wave = lambda x, y: (PERIODIC * x).sin()  # noqa: E731
    assert float(ContinuumEnergy(1.0, wave, points=512)(wave)) == pytest.approx(4, rel=1e-4)


@pytest.mark.paper("(4.2)", "(4.3)")
@pytest.mark.parametrize(("twice", "weight"), [(False, 1.0), (True, 2.0)])
def test_second_order(twice: bool, weight: float) -> None:
    """int |D^2 u|: the mixed band once, or twice for the Frobenius norm. E_n -> E with rate 2."""
    bands = ((2, 0), (1, 1), (1, 1), (0, 2)) if twice else ((2, 0), (1, 1), (0, 2))
    E = ContinuumEnergy(1.0, bumps, D=bands)
    x = (torch.arange(512).double() + 0.5) / 512 * PERIODIC
    c, s = x.cos()[:, None], x.sin()[:, None]
    parts = [c.exp() * (s**2 - c) * x.sin(), -c.exp() * s * x.cos(), -c.exp() * x.sin()]
    exact = PERIODIC**2 * (parts[0] ** 2 + weight * parts[1] ** 2 + parts[2] ** 2).sqrt().mean()
    assert float(E(bumps)) == pytest.approx(float(exact), rel=1e-10)
    errors = []
    for N in (64, 128):
        J = TotalVariation(1.0, FrameGradient(bspline(2), bands, 1 / N, boundary="periodic"))
        errors.append(float(DiscreteEnergy(J, bumps)(bumps)) - float(exact))
    assert abs(errors[1]) < 0.01 * float(exact)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_the_full_haar_model_is_in_the_registry_beside_those_of_lesson_05() -> None:
    assert set(VARIATIONS) - set(DISCRETISATIONS) == {"Haar, three bands, entrywise"}
    J, u = VARIATIONS["Haar, three bands, entrywise"](0.3, 0.5, "periodic"), torch.randn(8, 8, dtype=torch.float64)
    W = FrameletTransform(bspline(1))
    torch.testing.assert_close(J(u), 0.3 * 0.25 * (2 / 0.5) * W(u)[1:].abs().sum())


def test_what_has_no_vanishing_order_has_no_coefficient() -> None:
    bank, dual = biorthogonal(1, 3)
    assert lambda_n(FrameletTransform(bank, dual=dual, dim=1), 1.0).shape == (2, 1)
    with pytest.raises(ValueError, match="length > 0"):
        lambda_n(FrameletTransform(bspline(1)), 0.0)
    for J in (TotalVariation(1.0, haar_gradient(1 / 8)), TotalVariation(1.0, spline_gradient(0.3, "periodic"))):
        with pytest.raises(ValueError, match="periodic unit square"):
            DiscreteEnergy(J, bumps)
