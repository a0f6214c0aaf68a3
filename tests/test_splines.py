"""The functions behind the filters: phi = B_m, its framelets psi, and phi_alpha with psi = d^alpha phi_alpha."""

from itertools import product
from math import comb, factorial, pi, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import Filter, Spline, biorthogonal, bspline, framelet, inner, refinable, tensor_product

ORDERS = (1, 2, 3, 4, 6)


def line(a: float, b: float, n: int = 1001) -> Tensor:
    """Points of [a, b] that are no knots."""
    return torch.linspace(a, b, n, dtype=torch.float64) + 1e-4


def system(m: int) -> list[Spline]:
    """phi, psi_1, ..., psi_m of order m."""
    return [framelet(q, refinable(m)) for q in bspline(m)]


def wave(alpha: tuple[int, ...], *x: Tensor) -> Tensor:
    """d^alpha of sin(3 x_1 + 1) sin(2 x_2 + 1) ..., without a symmetry."""
    value = torch.ones_like(x[0])
    for rate, a, xi in zip((3.0, 2.0, 1.0), alpha, x, strict=False):
        value = value * rate**a * torch.sin(rate * xi + 1 + a * pi / 2)
    return value


# ---- phi ---------------------------------------------------------------------------------------------------------


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("m", ORDERS)
def test_b_splines_in_truncated_powers(m: int) -> None:
    """B_m(x) = (1/(m-1)!) sum_k (-1)^k binom(m, k) (x + floor(m/2) - k)_+^{m-1}, supported where it should be."""
    phi, x = refinable(m), line(-m, m + 1)
    powers = [(x + m // 2 - k).clamp_min(0) ** (m - 1) * (x + m // 2 > k) for k in range(m + 1)]
    expected = sum((-1) ** k * comb(m, k) * power for k, power in enumerate(powers)) / factorial(m - 1)
    torch.testing.assert_close(phi(x), expected, rtol=0, atol=1e-12)
    assert phi.support == (-(m // 2), m - m // 2)
    assert phi.degree == m - 1


@pytest.mark.paper("Ex 2.1")
def test_the_two_functions_of_example_21() -> None:
    """B_1 = 1 on [0, 1], B_2(x) = max(1 - |x|, 0)."""
    x = line(-2, 2)
    torch.testing.assert_close(refinable(1)(x), ((x >= 0) & (x < 1)).double(), rtol=0, atol=0)
    torch.testing.assert_close(refinable(2)(x), (1 - x.abs()).clamp_min(0), rtol=0, atol=1e-15)


@pytest.mark.parametrize("m", ORDERS)
def test_partition_of_unity_and_mass_one(m: int) -> None:
    phi, x = refinable(m), line(0, 1)
    total = sum(phi(x - k) for k in range(-m - 1, m + 2))
    torch.testing.assert_close(total, torch.ones_like(x), rtol=0, atol=1e-14)
    assert phi.moment(0) == pytest.approx(1, abs=1e-14)


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("m", ORDERS)
def test_the_refinement_equation(m: int) -> None:
    """phi(x) = 2 sum_k p[k] phi(2x - k), so that the framelet of the low-pass filter is phi."""
    phi, x = refinable(m), line(-m, m)
    refined = framelet(bspline(m)[0], phi)
    torch.testing.assert_close(refined(x), phi(x), rtol=0, atol=1e-14)
    assert refined.support == phi.support


@pytest.mark.parametrize("m", ORDERS)
def test_framelets_by_their_definition(m: int) -> None:
    """psi(x) = 2 sum_k q[k] phi(2x - k), and psi itself may be refined further: 2 sum_k q[k] psi(2x - k)."""
    phi, x = refinable(m), line(-m, m)
    for q, psi in zip(bspline(m), system(m), strict=True):
        for f, made in ((phi, psi), (psi, framelet(q, psi))):
            direct = 2 * sum(tap * f(2 * x - k) for (k,), tap in q.indices())
            torch.testing.assert_close(made(x), direct, rtol=0, atol=1e-13)


@pytest.mark.parametrize("m", ORDERS)
def test_the_framelets_have_the_support_of_phi_and_energy_of_a_parseval_frame(m: int) -> None:
    for ell, psi in enumerate(system(m)):
        assert psi.support == refinable(m).support
        x, w = psi.quadrature(m + 1)
        assert (psi(x) * w).sum() <= 1 + 1e-12, f"|psi_{ell}| <= 1 in a tight frame with bound 1"


# ---- moments -----------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.1)")
@pytest.mark.parametrize("m", ORDERS)
def test_framelets_inherit_the_moments_of_their_filters(m: int) -> None:
    """int x^j psi_l = 0 for j < l, and int x^l psi_l = l! C_l / 2^l."""
    for ell, (q, psi) in enumerate(zip(bspline(m), system(m), strict=True)):
        assert all(abs(psi.moment(j)) < 1e-13 for j in range(ell))
        assert psi.moment(ell) == pytest.approx(factorial(ell) * q.constant(ell) / 2**ell, rel=1e-12)


def test_moments_by_a_fine_riemann_sum() -> None:
    psi, x = framelet(bspline(3)[2], refinable(3)), line(-2, 3, 200_001)
    for j in range(5):
        riemann = float((x**j * psi(x)).sum() * (x[1] - x[0]))
        assert psi.moment(j) == pytest.approx(riemann, abs=1e-8)


# ---- phi_alpha ---------------------------------------------------------------------------------------------------


@pytest.mark.paper("Prop 4.2")
@pytest.mark.parametrize("m", ORDERS)
def test_psi_is_the_derivative_of_phi_alpha(m: int) -> None:
    """psi = d^alpha phi_alpha with the support of psi: coefficient by coefficient, and by divided differences."""
    for ell, psi in enumerate(system(m)):
        phi_alpha = psi.antiderivative(ell)
        assert phi_alpha.support == psi.support
        assert phi_alpha.degree == psi.degree + ell
        back = phi_alpha.derivative(ell)
        np.testing.assert_allclose(back.coefficients, psi.coefficients, rtol=0, atol=1e-12)
        if ell:
            x, h = line(-m, m, 97), 1e-5
            slope = (psi.antiderivative()(x + h) - psi.antiderivative()(x - h)) / (2 * h)
            torch.testing.assert_close(slope, psi(x), rtol=0, atol=1e-4)


@pytest.mark.paper("Prop 4.2")
@pytest.mark.parametrize("m", ORDERS)
def test_the_constants_of_proposition_42(m: int) -> None:
    """c_alpha = int phi_alpha = (-1)^alpha C_alpha / 2^alpha != 0."""
    for ell, (q, psi) in enumerate(zip(bspline(m), system(m), strict=True)):
        c = psi.antiderivative(ell).moment(0)
        assert c == pytest.approx((-1) ** ell * q.constant(ell) / 2**ell, rel=1e-11)
    if m == 1:
        assert system(1)[1].antiderivative().moment(0) == pytest.approx(1 / 4, rel=1e-14)
    if m == 2:
        assert system(2)[1].antiderivative().moment(0) == pytest.approx(sqrt(2) / 4, rel=1e-14)
        assert system(2)[2].antiderivative(2).moment(0) == pytest.approx(-1 / 16, rel=1e-14)


@pytest.mark.paper("Prop 4.2")
@pytest.mark.parametrize("m", ORDERS)
def test_phi_alpha_is_a_spline_of_order_m_plus_alpha(m: int) -> None:
    """(1 - z)^l makes l differences, that is l more boxes: with z = e^{-iw/2} and q_l of `bspline`,
    phi_alpha(x) = sign sqrt(binom(m, l)) 2^{1-m-l} sum_k binom(m-l, k) N_{m+l}(2x - k + floor(m/2) + 2 floor(m/2)),
    N_r = B_r(. - floor(r/2)) being the spline supported on [0, r].
    """
    x = line(-m, m)
    for ell, psi in enumerate(system(m)):
        N = refinable(m + ell)
        start = m // 2 + m // 2 - N.start  # the first knot of 2x, phi's own shift included
        total = sum(comb(m - ell, k) * N(2 * x - k + start + 2 * N.start) for k in range(m - ell + 1))
        expected = (-1) ** (ell // 2) * sqrt(comb(m, ell)) * 2.0 ** (1 - m - ell) * total
        torch.testing.assert_close(psi.antiderivative(ell)(x), expected, rtol=0, atol=1e-12)


@pytest.mark.paper("Prop 4.2")
def test_a_low_pass_has_no_antiderivative_and_psi_only_so_many() -> None:
    with pytest.raises(ValueError, match="integral 1 is this constant"):
        refinable(2).antiderivative()
    psi = framelet(bspline(2)[1], refinable(2))
    psi.antiderivative(1)
    with pytest.raises(ValueError, match="no compact support"):
        psi.antiderivative(2)
    with pytest.raises(ValueError, match="jumps by"):
        framelet(bspline(1)[1], refinable(1)).derivative()


# ---- the identity ------------------------------------------------------------------------------------------------


@pytest.mark.paper("Prop 4.2", "(2.1)")
@pytest.mark.parametrize(
    "bank", [bspline(1), bspline(2), bspline(3), biorthogonal(2, 2)[0]], ids=["1", "2", "3", "2,2"]
)
@pytest.mark.parametrize(("n", "k"), [(1, 0), (3, 5), (5, -4)])
def test_framelet_coefficients_are_correlations(bank: tuple[Filter, ...], n: int, k: int) -> None:
    """<u, psi_{n-1,k}> = sum_j q[j] <u, phi_{n,k+j}>, phi_{n,k} = 2^{n/2} phi(2^n x - k): nothing is flipped."""
    phi = refinable(len(bank) - 1 if len(bank) != 2 or len(bank[0].taps) == 2 else 2)

    def u(x: Tensor) -> Tensor:
        return wave((0,), x)

    for q in bank:
        left = inner(u, framelet(q, phi).at(n, k))
        taps = [tap * inner(u, phi.scaled(2.0**n, k + j, 2.0 ** (n / 2))) for (j,), tap in q.indices()]
        torch.testing.assert_close(left, sum(taps), rtol=0, atol=1e-13)


@pytest.mark.paper("Prop 4.2")
@pytest.mark.parametrize("m", (1, 2, 3))
@pytest.mark.parametrize(("n", "k"), [(1, (0, 1)), (3, (5, -2))])
def test_proposition_42_in_the_plane(m: int, n: int, k: tuple[int, int]) -> None:
    """<u, psi_{alpha,n-1,k}> = (-1)^{|alpha|} 2^{|alpha|(1-n)} <d^alpha u, phi_{alpha,n-1,k}>, for every band; and
    psi_{alpha,n-1,k} = 2^{n-2} psi_alpha(2^{n-1} x - k/2).
    """
    psi = system(m)
    for alpha in product(range(m + 1), repeat=2):
        size = sum(alpha)
        left = inner(lambda x, y: wave((0, 0), x, y), *(psi[a].at(n, kk) for a, kk in zip(alpha, k, strict=True)))
        phis = [psi[a].antiderivative(a).at(n, kk) for a, kk in zip(alpha, k, strict=True)]
        right = inner(lambda x, y, alpha=alpha: wave(alpha, x, y), *phis)
        assert float(left) == pytest.approx(float((-1) ** size * 2.0 ** (size * (1 - n)) * right), abs=1e-14)
    x, y = line(-1, 2, 31), line(-1, 2, 31)
    printed = 2.0 ** (n - 2) * psi[1](2.0 ** (n - 1) * x - k[0] / 2) * psi[0](2.0 ** (n - 1) * y - k[1] / 2)
    torch.testing.assert_close(psi[1].at(n, k[0])(x) * psi[0].at(n, k[1])(y), printed, rtol=0, atol=1e-13)


@pytest.mark.paper("Prop 4.2", "Prop 4.1")
@pytest.mark.parametrize(("m", "alpha"), [(1, (1, 0)), (1, (1, 1)), (2, (1, 0)), (2, (0, 2)), (2, (1, 2))])
def test_scaled_coefficients_tend_to_the_derivative(m: int, alpha: tuple[int, int]) -> None:
    """(W T_n u)[k] / (C_alpha h^{|alpha|}) = 2^n <u, psi_{n-1,k}> / (...) is the mean of d^alpha u with the weight
    phi_alpha / c_alpha, hence second order at the centre of phi_alpha.
    """
    psi, size = system(m), sum(alpha)
    C = tensor_product(*(bspline(m)[a] for a in alpha)).constant(alpha)
    errors = []
    for n in (4, 5, 6):
        worst = 0.0
        for place in ((0.25, 0.5), (0.5, 0.25), (0.75, 0.75), (0.0, 1.0)):
            parts, weights = [], []
            for a, x in zip(alpha, place, strict=True):
                parts.append(psi[a].at(n, int(2**n * x)))
                weights.append(psi[a].antiderivative(a).at(n, int(2**n * x)))
            quotient = 2.0**n * inner(lambda x, y: wave((0, 0), x, y), *parts) / (C * 2.0 ** (-n * size))
            centre = [torch.tensor(f.moment(1) / f.moment(0), dtype=torch.float64) for f in weights]
            worst = max(worst, float((quotient - wave(alpha, *centre)).abs()))
        errors.append(worst)
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(rates - 2) < 0.1).all()


@pytest.mark.paper("Prop 4.2")
def test_proposition_42_needs_one_weak_derivative_only() -> None:
    """u(x) = |x - 1/2|, whose kink is no point of smoothness: the identity holds, the kink being at a knot."""
    psi = framelet(bspline(1)[1], refinable(1))
    left = inner(lambda x: (x - 0.5).abs(), psi.at(2, 0))
    right = inner(lambda x: (x - 0.5).sign(), psi.antiderivative().at(2, 0))
    torch.testing.assert_close(left, -(2.0**-1) * right, rtol=0, atol=1e-15)


# ---- the class ---------------------------------------------------------------------------------------------------


def test_values_follow_the_type_of_the_points_and_are_differentiable() -> None:
    phi = refinable(4)
    assert phi(torch.zeros(2, 3)).shape == (2, 3)
    assert phi(torch.zeros(1)).dtype == torch.float32
    x = line(-2.3, 2.3, 17).requires_grad_()
    assert torch.autograd.gradcheck(phi, (x,))
    (slope,) = torch.autograd.grad(phi(x).sum(), x)
    torch.testing.assert_close(slope, phi.derivative()(x.detach()), rtol=0, atol=1e-12)


def test_outside_zero_at_a_knot_from_the_right_and_nan_stays() -> None:
    psi = framelet(bspline(1)[1], refinable(1))
    x = torch.tensor([-1e9, -0.0, 0.5, 1.0, float("inf"), float("nan")], dtype=torch.float64)
    assert psi(x)[:5].tolist() == [0, 1, -1, 0, 0]
    assert psi(x)[5].isnan()


def test_scaling_by_its_definition() -> None:
    psi, x = framelet(bspline(2)[1], refinable(2)), line(-3, 3)
    torch.testing.assert_close(psi.scaled(4.0, -1.5, 0.5)(x), 0.5 * psi(4 * x + 1.5), rtol=0, atol=1e-13)
    torch.testing.assert_close(psi.at(3, 5)(x), 2**0.5 * psi(4 * x - 2.5), rtol=0, atol=1e-13)


def test_inner_products_by_the_trapezoid_rule() -> None:
    psi, phi = framelet(bspline(2)[2], refinable(2)), refinable(3)
    x = torch.linspace(-2, 3, 5 * 256 + 1, dtype=torch.float64)
    X, Y = torch.meshgrid(x, x, indexing="ij")
    sampled = (wave((0, 0), X, Y) * psi(x)[:, None] * phi(x)).sum() * (x[1] - x[0]) ** 2
    exact = inner(lambda x, y: wave((0, 0), x, y), psi, phi)
    torch.testing.assert_close(exact, sampled, rtol=0, atol=1e-4)


def test_splines_are_constants() -> None:
    c = np.ones((1, 1))
    box = Spline(c)
    c[0, 0] = 7
    assert box.coefficients[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        box.coefficients[0, 0] = 7
    assert repr(refinable(2)) == "Spline(degree 1 on [-1, 1], knots 1 apart)"
