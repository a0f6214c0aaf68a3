"""u_tt + C u_t = F(u) - kappa A^T (A u - f), (4.8): solved three ways, and what a damped wave does with its energy."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from companion import (
    Blur,
    Charbonnier,
    DampedWave,
    Diffusion,
    Exponential,
    FrameGradient,
    Mask,
    bessel_mode,
    bspline,
    gaussian_kernel,
    haar_gradient,
    laplace_spectrum,
    oscillator,
    spectral_wave,
)
from companion.flows.wave import Motion


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def periodic(h: float) -> FrameGradient:
    return haar_gradient(h, boundary="periodic")


def linear(h: float) -> Diffusion:
    return Diffusion(torch.ones_like, periodic(h))


# ---- one mode ---------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.8)")
@pytest.mark.parametrize("C", [0.0, 1e-3, 1.0, 2.0, 6.0, 1e3])
@pytest.mark.parametrize("t", [0.0, 0.01, 1.0, 7.0])
def test_the_oscillator_is_the_exponential_of_its_matrix(C: float, t: float) -> None:
    """Under-, over- and critically damped, and within rounding of the critical one, from rest."""
    critical = C * C / 4
    omega2 = [0.0, 1e-9, 0.3, 1.0, 4.0, 9.0, 123.0, critical, critical * (1 + 1e-12), critical * (1 - 1e-9)]
    exact = []
    for w2 in omega2:
        exact.append(float(expm(t * np.array([[0.0, 1.0], [-w2, -C]]))[0, 0]))
    found = oscillator(torch.tensor(omega2, dtype=torch.float64), C, t)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9 if C == 1e3 else 1e-12)


@pytest.mark.paper("(4.8)")
def test_critical_damping_is_the_fastest() -> None:
    w2, t = torch.tensor([9.0], dtype=torch.float64), 6.0
    sizes = {C: float(sum(oscillator(w2, C, t + s).abs() for s in np.linspace(0, 1, 50))) for C in (3.0, 6.0, 12.0)}
    assert sizes[6.0] < 1e-2 * min(sizes[3.0], sizes[12.0])
    creeping = float(oscillator(w2, 60.0, 8.0) / oscillator(w2, 60.0, 7.0))
    assert creeping == pytest.approx(math.exp(-9 / 60), rel=5e-3)  # as u_t = -w^2 u / C does


@pytest.mark.paper("(4.8)")
def test_bessels_mode_by_its_power_series() -> None:
    """2 J_1(z)/z = sum_m (-1)^m (z/2)^{2m} / (m! (m + 1)!), which solves u'' + (3/t) u' + w^2 u = 0 term by term."""
    z = torch.tensor([0.0, 1e-6, 9e-5, 1.1e-4, 0.3, 2.0, 5.0, 9.0], dtype=torch.float64)
    series = sum((-1) ** m * (z / 2) ** (2 * m) / (float(math.factorial(m)) * math.factorial(m + 1)) for m in range(30))
    for t in (1.0, 0.5):
        torch.testing.assert_close(bessel_mode(z / t, t), series, rtol=0, atol=1e-12)
    a = [(-1) ** m / (4**m * math.factorial(m) * math.factorial(m + 1)) for m in range(9)]
    for m in range(8):  # t^{2m}: (2m + 2)(2m + 1) a + 3 (2m + 2) a for m + 1, plus a for m
        assert (2 * m + 2) * (2 * m + 1 + 3) * a[m + 1] == pytest.approx(-a[m])
    late = torch.tensor([50.0, 200.0], dtype=torch.float64)
    envelope = (late**1.5 * bessel_mode(late, 1.0)).abs() / (2 * math.sqrt(2 / math.pi))
    assert envelope.max() < 1.01


def test_the_symbol_of_the_laplacian() -> None:
    """Against second derivatives of exponentials, along both axes."""
    n, h = (8, 6), 0.25
    omega2 = laplace_spectrum(n, h)
    x, y = torch.meshgrid(*[h * torch.arange(m, dtype=torch.float64) for m in n], indexing="ij")
    for k in ((0, 0), (1, 0), (3, 2), (-2, 1)):
        w = [2 * math.pi * ki / (m * h) for ki, m in zip(k, n, strict=True)]
        wave = torch.cos(w[0] * x + w[1] * y)
        found = torch.fft.ifft2(omega2 * torch.fft.fft2(wave)).real
        torch.testing.assert_close(found, (w[0] ** 2 + w[1] ** 2) * wave, rtol=0, atol=1e-9)


# ---- the equation -----------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.8)")
@pytest.mark.parametrize("C", [0.0, 3.0, 60.0, None])
def test_the_solver_against_the_modes(C: float | None) -> None:
    """Linear F on the torus: every Fourier mode in closed form, the symbol that of Haar's gradient."""
    h, t, u0 = 1 / 12, 0.3, picture(12, 10)
    wave = DampedWave(linear(h), (lambda t: 3 / t) if C is None else C)
    exact = spectral_wave(u0, periodic(h).spectrum((12, 10)), C, t)
    torch.testing.assert_close(wave.solve(u0, t).u, exact, rtol=0, atol=2e-9)
    assert (exact - u0).abs().max() > 0.3


@pytest.mark.paper("(4.8)")
def test_the_solver_against_runge_and_kutta() -> None:
    """A nonlinear F, a blur, a start in motion: the classical method by hand, whose error falls sixteenfold."""
    F, A, kappa, C = Diffusion(Exponential(0.5), haar_gradient(0.25)), Blur(gaussian_kernel(0.8, 2, 2)), 5.0, 1.5
    u0, v0 = picture(8, 7), picture(8, 7)
    f = A(picture(8, 7))
    wave = DampedWave(F, C, A, f, kappa)

    def rate(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return v, F(u) - kappa * A.T(A(u) - f) - C * v

    found, errors = wave.solve(u0, 0.5, v0), []
    for n in (40, 80):
        dt, x = 0.5 / n, (u0, v0)
        for _ in range(n):
            a = rate(*x)
            b = rate(*(p + dt / 2 * q for p, q in zip(x, a, strict=True)))
            c = rate(*(p + dt / 2 * q for p, q in zip(x, b, strict=True)))
            d = rate(*(p + dt * q for p, q in zip(x, c, strict=True)))
            x = tuple(p + dt / 6 * (q + 2 * r + 2 * s + w) for p, q, r, s, w in zip(x, a, b, c, d, strict=True))
        errors.append(float((x[0] - found.u).abs().max() + (x[1] - found.v).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.2) and errors[1] < 1e-5


def test_times_batches_types() -> None:
    wave, u0 = DampedWave(linear(0.2), 2.0), picture(3, 6, 6)
    path = wave.solve(u0, [0.0, 0.1, 0.25])
    assert path.u.shape == path.v.shape == (3, 3, 6, 6)
    assert torch.equal(path.u[0], u0) and not path.v[0].any()
    torch.testing.assert_close(path.u[2], wave.solve(u0, 0.25).u, rtol=0, atol=1e-8)
    torch.testing.assert_close(path.v[1, 2], wave.solve(u0[2], 0.1).v, rtol=0, atol=1e-8)
    torch.testing.assert_close(wave.solve(u0, 0.0).u, u0)
    assert wave.solve(u0.float(), torch.tensor([0.1])).u.dtype == torch.float32
    assert wave.solve(u0, torch.tensor([0.1])).u.shape == (1, 3, 6, 6)
    assert not wave.solve(u0.requires_grad_(), 0.1).u.requires_grad


def test_a_friction_that_changes() -> None:
    """A constant function is the constant; c/t starts at rest with u_tt(0) = F(u_0)/(1 + c), for every c."""
    u0 = picture(6, 6)
    one = DampedWave(linear(0.2), lambda t: 2.0).solve(u0, 0.4)
    torch.testing.assert_close(one.u, DampedWave(linear(0.2), 2.0).solve(u0, 0.4).u, rtol=0, atol=1e-9)
    F = linear(0.2)
    for c in (1.0, 3.0, 6.0):
        early = DampedWave(F, lambda t, c=c: c / t).solve(u0, 1e-3)
        torch.testing.assert_close(early.v, 1e-3 * F(u0) / (1 + c), rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(early.u - u0, 1e-6 * F(u0) / (2 + 2 * c), rtol=1e-3, atol=1e-9)


# ---- energy -----------------------------------------------------------------------------------------------------


def potential(g_integral, grad: FrameGradient):
    """E(u) = 1/2 sum G(|grad u|^2), G' = g."""
    return lambda u: g_integral(grad(u).square().sum(-3)).sum() / 2


@pytest.mark.paper("(4.8)")
def test_the_energy_falls_at_the_rate_of_the_friction() -> None:
    """Charbonnier, g(s) = (1 + s/a^2)^{-1/2}, G = 2 a^2 (1 + s/a^2)^{1/2}: a convex E, with a mask. C = 0 keeps it."""
    a, grad, A = 0.7, periodic(0.25), Mask(torch.arange(64).reshape(8, 8) % 3 > 0)
    E = potential(lambda s: 2 * a**2 * (1 + s / a**2).sqrt(), grad)
    u0, f = picture(8, 8), A(picture(8, 8))
    F = Diffusion(Charbonnier(a), grad)
    u = u0.clone().requires_grad_()
    (slope,) = torch.autograd.grad(E(u), u)
    torch.testing.assert_close(-slope, F(u0), rtol=0, atol=1e-10)
    for C in (0.0, 2.0, lambda t: 3 / t):
        wave = DampedWave(F, C, A, f, 4.0)
        times = torch.linspace(0.05, 2.5, 99, dtype=torch.float64)
        path = wave.solve(u0, times)
        energies = torch.stack([wave.energy(Motion(*x), E) for x in zip(*path, strict=True)])
        friction = torch.tensor([C(float(t)) if callable(C) else C for t in times], dtype=torch.float64)
        loss = friction * path.v.square().sum((1, 2))
        spent = float((loss[:-1] + loss[1:]).sum() * (times[1] - times[0]) / 2)
        assert float(energies[0] - energies[-1]) == pytest.approx(spent, rel=1e-2, abs=1e-6)
        assert (energies.diff() <= 1e-7).all()
        potentials = torch.stack([E(u) + 2 * (A(u) - f).square().sum() for u in path.u])
        if C == 0.0:
            assert (potentials.diff() > 0).any()  # what the wave stores in its velocity comes back
        by_hand = potentials[7] + path.v[7].square().sum() / 2
        assert float(energies[7]) == pytest.approx(float(by_hand))


@pytest.mark.paper("(4.8)")
def test_at_rest_it_is_the_minimiser() -> None:
    """F(u) = kappa A^T (A u - f) at the end: the minimiser of E(u) + kappa/2 |A u - f|^2, here by a linear system."""
    A, kappa, grad = Mask(torch.arange(36).reshape(6, 6) % 4 > 0), 6.0, periodic(0.5)
    f = A(picture(6, 6))
    wave = DampedWave(Diffusion(torch.ones_like, grad), 3.0, A, f, kappa)
    end = wave.solve(torch.zeros(6, 6, dtype=torch.float64), 25.0)
    basis = torch.eye(36, dtype=torch.float64).reshape(36, 6, 6)
    M = (grad.adjoint(grad(basis)) + kappa * A.T(A(basis))).reshape(36, 36)
    wanted = torch.linalg.solve(M.T, kappa * A.T(f).flatten()).reshape(6, 6)
    torch.testing.assert_close(end.u, wanted, rtol=0, atol=1e-6)
    assert end.v.abs().max() < 1e-6


@pytest.mark.paper("(4.8)")
def test_the_rate_of_the_system() -> None:
    F = Diffusion(Exponential(0.5), FrameGradient(bspline(2), h=0.5, boundary="periodic"))
    x = Motion(picture(6, 6), picture(6, 6))
    rate = DampedWave(F, lambda t: 1 + t)(x, 2.0)
    assert torch.equal(rate.u, x.v)
    torch.testing.assert_close(rate.v, F(x.u) - 3 * x.v)
