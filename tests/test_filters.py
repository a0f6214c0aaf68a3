"""Filters and banks: the extension principles proved exactly, moments and vanishing orders, the algebra of filters."""

from fractions import Fraction
from itertools import product
from math import comb, factorial, pi, sqrt

import numpy as np
import pytest
import sympy as sp

from companion import Filter, biorthogonal, bspline, check_bank, dct, extension_residual, tensor_product
from companion.operators.banks import bspline_integers
from companion.operators.filters import multi_indices
from tests.laws.registry import centred_dual_pair, simplex_bank

HAAR, LINEAR, CUBIC = bspline(1), bspline(2), bspline(4)
ORDERS = range(1, 7)
PAIRS = [(1, 1), (1, 3), (1, 5), (2, 2), (2, 4), (2, 6), (3, 1), (3, 3), (4, 2), (4, 4), (5, 3), (6, 2)]

z, y, w = sp.symbols("z y omega")


def polynomial(coefficients, variable=z, origin: int = 0) -> sp.Expr:
    """sum_i c_i variable^{origin + i}, exactly."""
    return sum((sp.Rational(c) * variable ** (origin + i) for i, c in enumerate(coefficients)), sp.Integer(0))


def exact(q: Filter, variable=z) -> sp.Expr:
    """The symbol of a 1-D filter whose taps are dyadic fractions, as an exact Laurent polynomial in z = e^{-iw}."""
    return polynomial([Fraction(float(tap)) for tap in q.taps], variable, q.origin[0])


# ---- the unitary extension principle, proved --------------------------------------------------------------------


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("m", ORDERS)
def test_the_unitary_extension_principle_is_an_identity_of_polynomials(m: int) -> None:
    """With z = e^{-iw}: q^(w + pi) has z -> -z, and a complex conjugate has z -> 1/z. The factors sqrt(binom) occur
    squared, so everything is a rational number.
    """
    bank = [(b, polynomial(c)) for b, c in bspline_integers(m)]
    first = sum(b * c * c.subs(z, 1 / z) for b, c in bank)
    second = sum(b * c * c.subs(z, -1 / z) for b, c in bank)
    assert sp.expand(first - 4**m) == 0
    assert sp.expand(second) == 0
    assert bank[0][1].subs(z, 1) == 2**m  # p^(0) = 1


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("m", ORDERS)
def test_the_taps_are_the_exact_bank_rounded_once(m: int) -> None:
    bank = bspline(m)
    assert len(bank) == m + 1
    for q, (b, c) in zip(bank, bspline_integers(m), strict=True):
        assert q.origin == (-(m // 2),)
        np.testing.assert_allclose(q.taps, [float(sp.sqrt(b) * k / 2**m) for k in c], rtol=4e-16, atol=0)


@pytest.mark.parametrize("m", ORDERS)
def test_the_closed_form_of_the_symbol(m: int) -> None:
    """q_l^(w) = i^{l mod 2} e^{-ijw/2} sqrt(binom(m, l)) cos(w/2)^{m-l} sin(w/2)^l, j = m mod 2, in y = e^{-iw/2}."""
    cos, sin = (y + 1 / y) / 2, (1 / y - y) / (2 * sp.I)
    for ell, (b, c) in enumerate(bspline_integers(m)):
        taps = polynomial(c, y**2) * y ** (2 * -(m // 2)) / 2**m  # over sqrt(b), which is on both sides
        closed = sp.I ** (ell % 2) * y ** (m % 2) * cos ** (m - ell) * sin**ell
        assert sp.expand(taps - closed) == 0
        assert b == comb(m, ell)


@pytest.mark.parametrize("m", ORDERS)
def test_the_generating_function(m: int) -> None:
    """2^m q_l = (-1)^{floor(l/2)} sqrt(binom) (1 + z)^{m-l} (1 - z)^l."""
    for ell, (_, c) in enumerate(bspline_integers(m)):
        assert sp.expand(polynomial(c) - (-1) ** (ell // 2) * (1 + z) ** (m - ell) * (1 - z) ** ell) == 0


@pytest.mark.paper("Ex 2.1")
def test_the_filters_of_example_21() -> None:
    r = sqrt(2) / 4
    assert (Filter([0.5, 0.5], 0), Filter([0.5, -0.5], 0)) == HAAR
    assert [q.origin for q in LINEAR] == [(-1,)] * 3
    np.testing.assert_allclose(LINEAR[0].taps, [0.25, 0.5, 0.25], rtol=1e-15)
    np.testing.assert_allclose(LINEAR[1].taps, [r, 0, -r], rtol=1e-15)
    np.testing.assert_allclose(LINEAR[2].taps, [-0.25, 0.5, -0.25], rtol=1e-15)


def test_the_cubic_system_as_published() -> None:
    """The five filters of the authors' code for the cubic B-spline."""
    a, b = 1 / 8, sqrt(6) / 16
    published = [
        [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16],
        [a, 2 * a, 0, -2 * a, -a],
        [-b, 0, 2 * b, 0, -b],
        [-a, 2 * a, 0, -2 * a, a],
        [1 / 16, -4 / 16, 6 / 16, -4 / 16, 1 / 16],
    ]
    for q, taps in zip(CUBIC, published, strict=True):
        np.testing.assert_allclose(q.taps, taps, rtol=1e-15, atol=1e-17)


@pytest.mark.parametrize("m", range(1, 13))
def test_every_order_reconstructs_to_rounding(m: int) -> None:
    assert max(extension_residual(bspline(m))) < 1e-15
    check_bank(bspline(m))


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("m", ORDERS)
def test_the_low_pass_is_the_mask_of_the_b_spline(m: int) -> None:
    """B_m(x) = 2 sum_k p[k] B_m(2 x - k), B_m the m-fold convolution of the box: its centred values are compared."""

    def B(x: sp.Expr) -> sp.Expr:  # Curry and Schoenberg's truncated powers, on [0, m]
        terms = ((-1) ** k * comb(m, k) * sp.Max(x - k, 0) ** (m - 1) for k in range(m + 1))
        if m == 1:
            return sp.Integer(bool(x >= 0) and bool(x < 1))
        return sum(terms) / factorial(m - 1)

    taps = [Fraction(float(t)) for t in bspline(m)[0].taps]
    for x in (sp.Rational(i, 5) for i in range(-2, 5 * m + 3)):
        assert B(x) == 2 * sum(sp.Rational(t) * B(2 * x - k) for k, t in enumerate(taps))


# ---- dual pairs, proved -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [2, 3, 4, 5, 6])
def test_the_extension_principle_of_the_cosine_bank_is_exact(p: int) -> None:
    """G[j, k] = sum_l q_l[j] q_l[k] = delta_jk / p: the first sum is 1, the second sum_k (-1)^k / p, 0 for p even."""
    q = [
        [(sp.sqrt(2) if ell else 1) * sp.cos(sp.pi * ell * (2 * k + 1) / (2 * p)) / p for k in range(p)]
        for ell in range(p)
    ]
    for row, filter in zip(q, dct(p), strict=True):
        np.testing.assert_allclose(filter.taps, [float(tap) for tap in row], rtol=0, atol=1e-15)
    for j in range(p):
        for k in range(p):
            entry = sum(row[j] * row[k] for row in q) - sp.Rational(int(j == k), p)
            assert sp.minimal_polynomial(entry, z) == z  # an algebraic number that is 0


@pytest.mark.paper("(2.3)")
@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_the_mixed_extension_principle_is_exact(orders: tuple[int, int]) -> None:
    """The taps are dyadic fractions, so the identity holds in rational numbers, not only to rounding."""
    bank, dual = biorthogonal(*orders)
    pairs = list(zip(map(exact, bank), map(exact, dual), strict=True))
    assert sp.expand(sum(d * q.subs(z, 1 / z) for q, d in pairs)) == 1
    assert sp.expand(sum(d * q.subs(z, -1 / z) for q, d in pairs)) == 0
    assert pairs[0][0].subs(z, 1) == pairs[0][1].subs(z, 1) == 1


@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_the_closed_form_of_the_dual_low_pass(orders: tuple[int, int]) -> None:
    """p~^ = e^{-ijw/2} cos^m~ sum_{j<K} binom(K-1+j, j) sin^{2j} at w/2, and the high-pass symbols mirror the low."""
    m, m_dual = orders
    (p, q), (p_dual, q_dual) = biorthogonal(m, m_dual)
    K = (m + m_dual) // 2
    cos, sin = (y + 1 / y) / 2, (1 / y - y) / (2 * sp.I)
    phase = y ** (m % 2)
    assert sp.expand(exact(p, y**2) - phase * cos**m) == 0
    series = sum(comb(K - 1 + j, j) * sin ** (2 * j) for j in range(K))
    assert sp.expand(exact(p_dual, y**2) - phase * cos**m_dual * series) == 0
    assert sp.expand(exact(q) - z * exact(p_dual).subs(z, -1 / z)) == 0
    assert sp.expand(exact(q_dual) - z * exact(p).subs(z, -1 / z)) == 0


@pytest.mark.parametrize("K", range(1, 9))
def test_the_bezout_identity_behind_the_pairs(K: int) -> None:
    """c^K P(1 - c) + (1 - c)^K P(c) = 1 with P(s) = sum_{j<K} binom(K-1+j, j) s^j."""
    c = sp.symbols("c")

    def P(s: sp.Expr) -> sp.Expr:
        return sum(comb(K - 1 + j, j) * s**j for j in range(K))

    assert sp.expand(c**K * P(1 - c) + (1 - c) ** K * P(c)) == 1


def test_the_pair_of_le_gall() -> None:
    """(2, 2): the 5/3 pair of JPEG 2000."""
    (p, q), (p_dual, q_dual) = biorthogonal(2, 2)
    assert p == Filter([0.25, 0.5, 0.25], -1)
    assert p_dual == Filter([-0.125, 0.25, 0.75, 0.25, -0.125], -2)
    assert q == Filter([-0.125, -0.25, 0.75, -0.25, -0.125], -1)
    assert q_dual == Filter([-0.25, 0.5, -0.25], 0)


@pytest.mark.parametrize("orders", PAIRS, ids=str)
def test_high_pass_filters_of_a_pair_have_the_moments_of_the_other_side(orders: tuple[int, int]) -> None:
    (_, q), (_, q_dual) = biorthogonal(*orders)
    assert q.vanishing_order() == (orders[1],)
    assert q_dual.vanishing_order() == (orders[0],)


# ---- what is not a frame ----------------------------------------------------------------------------------------


@pytest.mark.paper("Ex 2.1")
def test_the_mistyped_haar_is_rejected() -> None:
    """[1, 1, 1]/2 for [0, 1, 1]/2, as one public copy of the authors' code has it."""
    wrong = (Filter([0.5, 0.5, 0.5], -1), Filter([0, 0.5, -0.5], -1))
    assert extension_residual(wrong)[0] > 0.2
    with pytest.raises(ValueError, match=r"sum to 1\.5"):
        check_bank(wrong)


@pytest.mark.parametrize("ell", [0, 1, 2])
@pytest.mark.parametrize("tap", [0, 1, 2])
def test_one_wrong_tap_is_noticed(ell: int, tap: int) -> None:
    bank = list(LINEAR)
    taps = bank[ell].taps.copy()
    taps[tap] += 1e-3
    bank[ell] = Filter(taps)
    assert max(extension_residual(bank)) > 1e-7  # of second order where the tap is 0
    with pytest.raises(ValueError, match="extension principle"):
        check_bank(bank)


def test_the_residual_is_the_defect_of_the_symbols() -> None:
    """Its first number bounds |sum |q^|^2 - 1| at every frequency up to the number of coefficients."""
    bank = [Filter([0.3, 0.5, 0.2]), Filter([0.4, -0.1, -0.3])]
    omega = np.linspace(-pi, pi, 64, endpoint=False)
    sums = [
        sum(q.symbol(omega) * np.conj(q.symbol(omega + nu)) for q in bank) - (1 if nu == 0 else 0) for nu in (0, pi)
    ]
    coefficients = [np.abs(np.fft.fft(s) / 64).max() for s in sums]
    np.testing.assert_allclose(extension_residual(bank), coefficients, atol=1e-15)


def test_the_residual_in_two_dimensions_visits_every_shift_of_pi() -> None:
    """A tensor product of a UEP bank is one; swapping one filter for its negative modulation breaks only line two."""
    tensor = [tensor_product(a, b) for a, b in product(LINEAR, repeat=2)]
    assert max(extension_residual(tensor)) < 1e-15
    first, second = extension_residual(simplex_bank(2))
    assert first < 1e-15 < 1e-2 < second  # W^T W = I, yet no tight frame of functions: three filters are too few
    omega = np.meshgrid(*[np.linspace(-pi, pi, 16, endpoint=False)] * 2, indexing="ij")
    defects = []
    for nu in ((0, pi), (pi, 0), (pi, pi)):
        moved = [x + n for x, n in zip(omega, nu, strict=True)]
        s = sum(q.symbol(*omega) * np.conj(q.symbol(*moved)) for q in simplex_bank(2))
        defects.append(np.abs(np.fft.fft2(s) / 256).max())
    assert second == pytest.approx(max(defects), abs=1e-15)


def test_dual_pairs_are_checked_as_pairs() -> None:
    bank, dual = biorthogonal(2, 4)
    check_bank(bank, dual)
    check_bank(*centred_dual_pair())
    assert extension_residual(bank)[0] > 0.1
    for wrong in ((dual[0], bank[1]), (dual[0], dual[1].flip())):
        with pytest.raises(ValueError, match="mixed extension principle"):
            check_bank(bank, wrong)


# ---- symbols and moments ----------------------------------------------------------------------------------------

FILTERS = {
    "haar-p": HAAR[0],
    "haar-q1": HAAR[1],
    "linear-q1": LINEAR[1],
    "linear-q2": LINEAR[2],
    "cubic-q3": CUBIC[3],
    "lopsided": Filter([0.2, -1.0, 0.7, 0.1], origin=-3),
    "haar-x-haar": tensor_product(HAAR[1], HAAR[0]),
    "linear-12": tensor_product(LINEAR[1], LINEAR[2]),
    "lopsided-2d": Filter([[0.5, -0.2, 0.1], [0.0, 0.3, -0.9]], origin=(1, -2)),
    "three-d": tensor_product(HAAR[1], LINEAR[1], LINEAR[0]),
}


@pytest.fixture(params=FILTERS.values(), ids=FILTERS.keys())
def q(request: pytest.FixtureRequest) -> Filter:
    return request.param


def test_the_symbol_is_the_fourier_series_of_the_taps(q: Filter) -> None:
    omega = np.random.default_rng(0).uniform(-pi, pi, (q.ndim, 5))
    for j in range(5):
        direct = sum(tap * np.exp(-1j * np.dot(k, omega[:, j])) for k, tap in q.indices())
        assert q.symbol(*omega)[j] == pytest.approx(direct, abs=1e-14)


@pytest.mark.paper("(4.1)")
def test_moments_are_derivatives_of_the_symbol_at_zero(q: Filter) -> None:
    """sum_k k^beta q[k] = i^{|beta|} D^beta q^(0), the derivative taken by SymPy."""
    omega = sp.symbols(f"w1:{q.ndim + 1}")
    symbol = sum(
        sp.Rational(Fraction(tap)) * sp.exp(-sp.I * sum(ki * wi for ki, wi in zip(k, omega, strict=True)))
        for k, tap in q.indices()
    )
    at_zero = dict.fromkeys(omega, 0)
    for order in range(5 if q.ndim < 3 else 3):
        for beta in multi_indices(q.ndim, order):
            derivative = symbol
            for wi, b in zip(omega, beta, strict=True):
                derivative = sp.diff(derivative, wi, b)
            value = complex(sp.I**order * derivative.subs(at_zero))
            assert value.imag == 0
            assert q.moment(beta) == pytest.approx(value.real, rel=1e-13, abs=1e-13)


@pytest.mark.paper("Prop 4.1")
@pytest.mark.parametrize(
    ("q", "alpha", "C"),
    [
        (HAAR[1], 1, -1 / 2),
        (LINEAR[1], 1, -sqrt(2) / 2),
        (LINEAR[2], 2, -1 / 4),
        (HAAR[0], 0, 1.0),
        (tensor_product(HAAR[1], HAAR[0]), (1, 0), -1 / 2),
        (tensor_product(HAAR[1], HAAR[1]), (1, 1), 1 / 4),
        (tensor_product(LINEAR[0], LINEAR[1]), (0, 1), -sqrt(2) / 2),
        (tensor_product(LINEAR[1], LINEAR[2]), (1, 2), sqrt(2) / 8),
        (tensor_product(LINEAR[2], LINEAR[2]), (2, 2), 1 / 16),
    ],
)
def test_constants_of_proposition_41_with_their_signs(q: Filter, alpha, C: float) -> None:
    assert q.constant(alpha) == pytest.approx(C, rel=1e-14)


@pytest.mark.paper("Prop 4.1")
def test_constants_of_every_spline_bank() -> None:
    """q_l^(w) ~ i^{l mod 2} sqrt(binom) (w/2)^l at 0, and C = i^l q_l^(l)(0) / l!: so C_l = sign sqrt(binom) / 2^l."""
    for m in ORDERS:
        for ell, q in enumerate(bspline(m)):
            sign = (1j**ell * 1j ** (ell % 2)).real
            assert q.constant(ell) == pytest.approx(sign * sqrt(comb(m, ell)) / 2**ell, rel=1e-13)


@pytest.mark.paper("(4.1)")
@pytest.mark.parametrize("m", range(1, 9))
def test_the_l_th_spline_filter_has_l_vanishing_moments(m: int) -> None:
    for ell, q in enumerate(bspline(m)):
        assert [q.vanishes(beta) for beta in range(ell + 1)] == [True] * ell + [False]
        assert q.vanishing_order() == (ell,)
        assert q.total_order() == ell
        assert abs(q.symbol(np.zeros(1))[0] - (ell == 0)) < 1e-15


@pytest.mark.paper("(4.1)")
def test_total_orders_with_one_moment_exempt() -> None:
    """E5: q_1 of the piecewise linear system has order 3 \\ {2} and not 4 \\ {2}, in one and in two dimensions."""
    assert LINEAR[1].total_order(allow=1) == 3
    assert LINEAR[2].total_order(allow=2) == 4
    assert HAAR[1].total_order(allow=1) == 2
    assert tensor_product(LINEAR[1], Filter([1.0])).total_order(allow=(1, 0)) == 3
    band = tensor_product(LINEAR[1], LINEAR[0])
    assert (band.vanishing_order(), band.total_order(), band.total_order(allow=(1, 0))) == ((1, 0), 1, 3)
    assert tensor_product(HAAR[1], HAAR[0]).total_order(allow=(1, 0)) == 2
    assert tensor_product(LINEAR[2], LINEAR[0]).total_order(allow=(2, 0)) == 4
    assert band.total_order(allow=(0, 1)) == 1  # exempting another moment does not help
    paper = Filter([1.0, 0.0, -1.0])  # q^ = e^{iw} - e^{-iw} of Section 4.1
    assert paper.symbol(np.array([0.3]))[0] == pytest.approx(2j * np.sin(0.3))
    assert [paper.moment(b) for b in range(4)] == [0, -2, 0, -2]


@pytest.mark.paper("(4.1)")
def test_mixed_leading_moments_are_no_vanishing_order() -> None:
    """The Roberts cross approximates d_1 + d_2: two moments of order one, so no alpha."""
    roberts = Filter([[0.5, 0.0], [0.0, -0.5]], 0)
    assert roberts.vanishing_order() is None
    assert roberts.total_order() == 1
    assert roberts.total_order(allow=(1, 0)) == 1
    laplacian = Filter([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert laplacian.vanishing_order() is None
    assert laplacian.total_order() == 2
    assert [laplacian.constant(a) for a in ((2, 0), (1, 1), (0, 2))] == [1, 0, 1]


def test_the_moments_of_a_tensor_product_multiply() -> None:
    a, b = FILTERS["lopsided"], CUBIC[1]
    for i, j in product(range(4), repeat=2):
        assert tensor_product(a, b).moment((i, j)) == pytest.approx(a.moment(i) * b.moment(j), abs=1e-12)
    assert tensor_product(a, b).origin == (a.origin[0], b.origin[0])


def test_moments_move_with_the_origin() -> None:
    """sum (k + 1)^2 q[k] = m_2 + 2 m_1 + m_0."""
    q = FILTERS["lopsided"]
    moved = Filter(q.taps, q.origin[0] + 1)
    assert moved.moment(2) == pytest.approx(q.moment(2) + 2 * q.moment(1) + q.moment(0), rel=1e-13)
    assert LINEAR[1] != Filter(LINEAR[1].taps, 0)


def test_multi_indices_count() -> None:
    for d, order in product((1, 2, 3), range(5)):
        found = multi_indices(d, order)
        assert len(set(found)) == len(found) == comb(order + d - 1, d - 1)
        assert all(sum(beta) == order for beta in found)
    assert multi_indices(2, 2) == [(2, 0), (1, 1), (0, 2)]


# ---- Prop 4.1: the order of accuracy ----------------------------------------------------------------------------


@pytest.mark.paper("Prop 4.1")
@pytest.mark.parametrize(
    ("q", "alpha", "slope"),
    [(HAAR[1], 1, 1), (LINEAR[1], 1, 2), (LINEAR[2], 2, 2), (CUBIC[3], 3, 2), (bspline(3)[2], 2, 1)],
    ids=["haar", "linear-q1", "linear-q2", "cubic-q3", "quadratic-q2"],
)
def test_the_order_of_accuracy_is_the_total_order_less_alpha(q: Filter, alpha: int, slope: int) -> None:
    """eps^{-alpha} sum_k q[k] F(x + eps k) = C F^{(alpha)}(x) + O(eps^{K - alpha}), its slope within 0.1."""
    assert q.total_order(allow=alpha) - alpha == slope
    x, steps = np.linspace(0.1, 1.0, 7), 2.0 ** -np.arange(3, 7)
    F, derivative = (lambda x: np.exp(np.sin(2 * x))), sp.lambdify(w, sp.diff(sp.exp(sp.sin(2 * w)), w, alpha))
    errors = []
    for eps in steps:
        difference = sum(tap * F(x + eps * k[0]) for k, tap in q.indices()) / eps**alpha
        errors.append(np.abs(difference / q.constant(alpha) - derivative(x)).max())
    measured = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(measured - slope) < 0.1


# ---- the algebra of filters -------------------------------------------------------------------------------------


def test_convolution_is_numpys_and_multiplies_symbols() -> None:
    rng = np.random.default_rng(1)
    for d, shape, other in ((1, (4,), (3,)), (2, (2, 3), (3, 2))):
        a = Filter(rng.normal(size=shape), rng.integers(-3, 3, d).tolist())
        b = Filter(rng.normal(size=other), rng.integers(-3, 3, d).tolist())
        omega = rng.uniform(-pi, pi, (d, 6))
        np.testing.assert_allclose(a.convolve(b).symbol(*omega), a.symbol(*omega) * b.symbol(*omega), atol=1e-14)
        np.testing.assert_allclose(a.convolve(b).taps, b.convolve(a).taps, atol=1e-15)
        if d == 1:
            np.testing.assert_allclose(a.convolve(b).taps, np.convolve(a.taps, b.taps), atol=1e-15)


def test_dilation_and_flip_act_on_the_frequency(q: Filter) -> None:
    """(q-check_l)^(w) = q^(2^l w), and the flip conjugates the symbol of a real filter."""
    omega = np.random.default_rng(2).uniform(-1, 1, (q.ndim, 4))
    for step in (1, 2, 3, 4):
        np.testing.assert_allclose(q.dilate(step).symbol(*omega), q.symbol(*(step * omega)), atol=1e-13)
    np.testing.assert_allclose(q.flip().symbol(*omega), np.conj(q.symbol(*omega)), atol=1e-14)
    assert q.flip().flip() == q
    assert q.dilate(1) == q


@pytest.mark.paper("(2.2)")
def test_dilation_puts_zeros_between_the_taps() -> None:
    q = Filter([1.0, 2.0, 3.0], -1).dilate(2)
    assert q == Filter([1.0, 0, 2.0, 0, 3.0], -2)
    assert Filter([[1.0, 2.0]], (1, 0)).dilate(3) == Filter([[1.0, 0, 0, 2.0]], (3, 0))


def test_parity() -> None:
    for m in ORDERS:
        for ell, q in enumerate(bspline(m)):
            assert q.parity() == ((-1) ** ell if m % 2 == 0 else 0)
    assert Filter([1.0, 1.0], -1).parity() == 0  # symmetric, but about -1/2
    assert Filter([1.0, 2.0, 1.5], -1).parity() == 0
    assert tensor_product(LINEAR[1], LINEAR[1]).parity() == 1
    assert tensor_product(LINEAR[1], LINEAR[0]).parity() == -1


def test_default_origins() -> None:
    assert [Filter(np.ones(n)).origin[0] for n in range(1, 7)] == [0, 0, -1, -1, -2, -2]
    assert Filter(np.ones((2, 3))).origin == (0, -1)


def test_filters_are_constants() -> None:
    taps = np.array([0.5, -0.5])
    q = Filter(taps)
    taps[0] = 7
    assert q.taps[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        q.taps[0] = 7
    assert hash(Filter([0.5, -0.5])) == hash(q)
    assert len({q, Filter([0.5, -0.5]), Filter([0.5, -0.5], 1)}) == 2
    assert q != "q"


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_scaling_moments_of_pairs_of_filters_add_like_leibniz(m: int) -> None:
    """m_b(p (*) q) = sum_j binom(b, j) m_j(p) m_{b-j}(q)."""
    p, q = bspline(m)[0], bspline(m)[1]
    for b in range(5):
        leibniz = sum(comb(b, j) * p.moment(j) * q.moment(b - j) for j in range(b + 1))
        assert p.convolve(q).moment(b) == pytest.approx(leibniz, abs=1e-13)
