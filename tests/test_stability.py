"""R(z), where |R(z)| <= 1: matrices, roots by NumPy, known intervals, the behaviour of orbits."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    RK4,
    AdamsBashforth,
    Euler,
    Fractal,
    Heun,
    Implicit,
    Kutta3,
    Leapfrog,
    Neumann,
    Picard,
    TwoStep,
    imaginary_interval,
    real_interval,
    run,
    stability_function,
    stability_region,
)

f64 = torch.float64
PLANE = torch.complex(
    torch.linspace(-3, 0.7, 9, dtype=f64).expand(7, 9), torch.linspace(-2.2, 2.2, 7, dtype=f64)[:, None].expand(7, 9)
)


def idle(u: Tensor) -> Tensor:
    return u


def test_measured_values_are_the_polynomials() -> None:
    torch.testing.assert_close(stability_function(Euler)(PLANE), 1 + PLANE)
    torch.testing.assert_close(stability_function(Implicit)(PLANE), 1 / (1 - PLANE), rtol=1e-8, atol=1e-8)
    printed = stability_function(lambda F, dt: Neumann(F, dt, printed=True))(PLANE)
    torch.testing.assert_close(printed, 1 + PLANE + PLANE**2)
    small = PLANE / 5
    torch.testing.assert_close(stability_function(Picard)(small), 1 / (1 - small), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("alpha", [-0.7, -0.2, 0.5, 1.0])
def test_the_root_of_a_two_step_scheme_by_numpy(alpha: float) -> None:
    """The measured eigenvalue, and the declared root."""
    measured = stability_function(lambda F, dt: TwoStep(F, dt, alpha))(PLANE).abs()
    for i in np.ndindex(*PLANE.shape):
        zeta = np.roots([1, -(1 - alpha + complex(PLANE[i])), -alpha])
        assert float(measured[i]) == pytest.approx(np.abs(zeta).max(), abs=1e-9)
    torch.testing.assert_close(TwoStep(idle, 1.0, alpha).R(PLANE).abs(), measured, rtol=0, atol=1e-9)


def test_a_long_memory_and_many_points() -> None:
    """More points than one chunk; AB4's root by NumPy."""
    z = torch.polar(torch.linspace(0.01, 1, 150, dtype=f64), torch.linspace(0, 6, 150, dtype=f64))
    measured = stability_function(lambda F, dt: AdamsBashforth(F, dt, 4))(z)
    b = np.array([55, -59, 37, -9]) / 24
    expected = [np.abs(np.roots([1, -1 - complex(x) * b[0], *(-complex(x) * b[1:])])).max() for x in z]
    np.testing.assert_allclose(measured.abs().numpy(), expected, rtol=0, atol=1e-9)
    assert stability_function(Euler)(z.to(torch.complex64)).dtype == torch.complex64


def test_orbits_do_what_R_says() -> None:
    """u' = lambda u in the plane: an orbit of 400 steps falls where |R| < 1 and grows where |R| > 1."""
    g = torch.Generator().manual_seed(2)
    for make in (RK4, Fractal, Neumann, lambda F, dt: TwoStep(F, dt, -0.5), lambda F, dt: AdamsBashforth(F, dt, 3)):
        R = stability_function(make)
        for z in torch.complex(*(2 * torch.randn(2, 20, generator=g, dtype=f64))).tolist():
            size = float(R(torch.tensor(z, dtype=torch.complex128)).abs())
            if abs(size - 1) < 0.05:
                continue
            matrix = torch.tensor([[z.real, z.imag], [-z.imag, z.real]], dtype=f64)
            u = run(make(lambda u, M=matrix: u @ M, 1.0), torch.tensor([1.0, 0.3], dtype=f64), k=400).u
            assert (float(u.norm()) < 1) == (size < 1)


@pytest.mark.parametrize(
    ("R", "real", "imaginary"),
    [
        (Euler.R, 2.0, 0.0),
        (Heun.R, 2.0, 0.0),
        (Kutta3(idle, 1.0).R, 2.512745, math.sqrt(3)),
        (RK4.R, 2.785294, math.sqrt(8)),
        (Neumann(idle, 1.0).R, 1.0, 1.0),
        (Neumann(idle, 1.0, 3).R, 1.353210, None),
        (Fractal(idle, 1.0).R, 8.0, 0.0),
        (AdamsBashforth(idle, 1.0, 2).R, 1.0, 0.0),
        (AdamsBashforth(idle, 1.0, 3).R, 6 / 11, 0.723627),
        (AdamsBashforth(idle, 1.0, 4).R, 0.3, 0.429995),
        (Leapfrog(idle, 1.0).R, 0.0, 1.0),
        (TwoStep(idle, 1.0, -0.5).R, 3.0, None),
        (TwoStep(idle, 1.0, 1.0).R, 0.0, 2.0),
        (Implicit.R, math.inf, math.inf),
    ],
)
def test_the_intervals_of_the_textbooks(R: object, real: float, imaginary: float | None) -> None:
    assert real_interval(R) == pytest.approx(real, abs=1e-6)
    if imaginary is not None:
        assert imaginary_interval(R) == pytest.approx(imaginary, abs=1e-5)


def test_the_heavy_ball_loses_the_imaginary_axis() -> None:
    """(5.2) is stable near 0 on the imaginary axis for alpha = 1 only: R = 1 + z/(1+alpha) + ... has |R| > 1 before."""
    for alpha in (-0.9, -0.5, 0.0, 0.5, 0.9):
        assert abs(TwoStep(idle, 1.0, alpha).R(0.05j)) > 1 and imaginary_interval(TwoStep(idle, 1.0, alpha).R) == 0


def test_a_region_is_the_modulus_on_a_grid() -> None:
    x, y, size = stability_region(RK4.R, (-3.0, 1.0), (-2.0, 3.0), 40)
    assert x.shape == (40,) and y.shape == (50,) and size.shape == (50, 40)
    assert (x[0], x[-1], y[0], y[-1]) == (-3, 1, -2, 3)
    for i, j in ((0, 0), (7, 31), (49, 39)):
        z = complex(x[j], y[i])
        assert float(size[i, j]) == pytest.approx(abs(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24), rel=1e-12)
    for R in (stability_function(Euler), TwoStep(idle, 1.0, -0.5).R, Implicit.R):
        assert stability_region(R, n=12)[2].shape == (16, 12)


def test_a_scheme_that_needs_an_even_number_is_not_asked() -> None:
    """What is measured is a real scheme on R^2: the derivative of conj would not commute with the rotations."""
    z = torch.tensor([0.3 + 0.4j], dtype=torch.complex128)
    found = stability_function(lambda F, dt: lambda u: u + dt * F(u))(z)  # any map will do
    torch.testing.assert_close(found, 1 + z)


def test_intervals_beyond_most_are_infinite() -> None:
    assert real_interval(Fractal(idle, 1.0).R, most=5.0) == math.inf
    assert real_interval(lambda z: 1 + 0 * z) == imaginary_interval(lambda z: 0 * z) == math.inf
    assert real_interval(lambda z: 2 + 0 * z) == 0.0
