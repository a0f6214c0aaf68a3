"""Runge and Kutta's schemes: order conditions tree by tree, against Taylor series by SymPy; SciPy's tableaux."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import scipy.integrate
import sympy
import torch
from scipy.integrate._ivp import rk as scipy_rk

from companion import RK4, Heun, Midpoint, Ralston, RungeKutta, Tableau, run, stability_polynomial, tableau_order
from companion.flows.runge_kutta import KUTTA_3, MIDPOINT, RALSTON, SSP_3, tableau, trees

EULER = tableau(b=[1])
HEUN = tableau([1], b=["1/2", "1/2"])
RK_4 = tableau(["1/2"], [0, "1/2"], [0, 0, 1], b=["1/6", "1/3", "1/3", "1/6"])
EXPLICIT = {"euler": EULER, "heun": HEUN, "midpoint": MIDPOINT, "ralston": RALSTON, "kutta-3": KUTTA_3, "ssp-3": SSP_3}
EXPLICIT["rk4"] = RK_4
ORDERS = {"euler": 1, "heun": 2, "midpoint": 2, "ralston": 2, "kutta-3": 3, "ssp-3": 3, "rk4": 4}

each = pytest.mark.parametrize("name", EXPLICIT)


def pendulum(u: torch.Tensor) -> torch.Tensor:
    return torch.stack([u[..., 1], -torch.sin(u[..., 0])], -1)


@pytest.mark.parametrize(("n", "count"), [(1, 1), (2, 1), (3, 2), (4, 4), (5, 9), (6, 20), (7, 48)])
def test_the_number_of_rooted_trees(n: int, count: int) -> None:
    """The sequence 1, 1, 2, 4, 9, 20, 48 of Cayley; no tree comes twice."""
    found = list(trees(n))
    assert len(found) == len(set(found)) == count


@each
def test_the_order_by_the_trees_is_that_of_the_eight_conditions(name: str) -> None:
    """The conditions up to order 4, each written out."""
    A, b = (np.array(part, dtype=object) for part in EXPLICIT[name])
    c = A.sum(1)
    one = Fraction(1)
    conditions = [
        [b.sum() - one],
        [b @ c - one / 2],
        [b @ c**2 - one / 3, b @ (A @ c) - one / 6],
        [b @ c**3 - one / 4, b @ (c * (A @ c)) - one / 8, b @ (A @ c**2) - one / 12, b @ (A @ (A @ c)) - one / 24],
    ]
    holds = [all(d == 0 for d in row) for row in conditions]
    order = holds.index(False) if False in holds else 4
    assert tableau_order(EXPLICIT[name]) == order == ORDERS[name]


@each
def test_the_order_is_where_the_taylor_series_part(name: str) -> None:
    """One step for u' = F(u) of one unknown against the series of u(dt), with SymPy and a general F."""
    p = ORDERS[name]
    h, f = sympy.Symbol("h"), sympy.symbols("f0:6")  # F(u0 + x) = sum f_i x^i / i!
    F = lambda x: sum(f[i] * x**i / sympy.factorial(i) for i in range(p + 1))  # noqa: E731
    A, b = EXPLICIT[name]
    k: list = []
    for row in A:
        arg = sum(h * sympy.Rational(str(a)) * ki for a, ki in zip(row, k, strict=False))
        value = sympy.Poly(F(arg), h) if k else sympy.Poly(f[0], h)
        k.append(sum(c * h**m for (m,), c in value.terms() if m <= p))
    step = sympy.expand(sum(h * sympy.Rational(str(w)) * ki for w, ki in zip(b, k, strict=True)))
    exact, x = 0, sympy.Symbol("x")
    slope = F(x)
    for m in range(1, p + 2):
        exact += slope.subs(x, 0) * h**m / sympy.factorial(m)
        slope = sympy.expand(sympy.diff(slope, x) * F(x))
    defect = [sympy.expand(step - exact).coeff(h, m) for m in range(p + 2)]
    assert all(d == 0 for d in defect[: p + 1]) and defect[p + 1] != 0


def test_trees_see_what_one_unknown_does_not() -> None:
    """For one unknown the four conditions of order 4 may merge; of two tableaux of order 3 the trees tell."""
    assert tableau_order(SSP_3) == 3 and tableau_order(RK_4, most=3) == 3
    gauss = Tableau(
        ((0.25, 0.25 - 3**0.5 / 6), (0.25 + 3**0.5 / 6, 0.25)), (0.5, 0.5)
    )  # implicit: two stages of Gauss, order 4
    assert tableau_order(gauss) == 4
    assert tableau_order(Tableau(((Fraction(1, 2),),), (1,))) == 2  # the implicit midpoint rule
    assert tableau_order(Tableau(((0,),), (Fraction(1, 2),))) == 0


@pytest.mark.parametrize("method", ["RK23", "RK45"])
def test_the_tableaux_of_scipy_have_their_order(method: str) -> None:
    """Bogacki and Shampine's 3, Dormand and Prince's 5: numbers of somebody else, conditions up to 17 trees."""
    cls = getattr(scipy_rk, method)
    n = len(cls.B)
    A = tuple(tuple(float(a) for a in [*row[:i], *[0] * (n - i)]) for i, row in enumerate(cls.A[:n]))
    found = Tableau(A, tuple(map(float, cls.B)))
    assert tableau_order(found) == {"RK23": 3, "RK45": 5}[method]
    np.testing.assert_allclose(found.c, cls.C[:n], atol=1e-15)


def test_one_step_is_that_of_scipy() -> None:
    """SciPy's rk_step with a field that depends on time."""
    cls = scipy_rk.RK45
    n = len(cls.B)
    A = tuple(tuple(float(a) for a in [*row[:i], *[0] * (n - i)]) for i, row in enumerate(cls.A[:n]))
    fun = lambda t, y: np.array([y[1] * np.cos(t), -np.sin(y[0]) + t])  # noqa: E731
    y, t, h = np.array([1.0, 0.4]), 0.7, 0.3
    K = np.empty((n + 1, 2))
    expected, _ = scipy_rk.rk_step(fun, t, y, fun(t, y), h, cls.A, cls.B, cls.C, K)

    def F(u: torch.Tensor, t: float) -> torch.Tensor:
        return torch.stack([u[1] * np.cos(t), -torch.sin(u[0]) + t])

    found = RungeKutta(F, h, Tableau(A, tuple(map(float, cls.B))), t=t)(torch.from_numpy(y))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("scheme", "table"), [(RK4, RK_4), (Heun, HEUN)])
def test_the_named_schemes_are_tableaux(scheme: type, table: Tableau) -> None:
    u = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(scheme(pendulum, 0.3)(u), RungeKutta(pendulum, 0.3, table)(u), rtol=0, atol=1e-15)


@each
def test_the_stability_polynomial_is_one_step(name: str) -> None:
    """R(z) = det(I - z A + z 1 b^T) / det(I - z A), by SymPy; of order p it begins like e^z."""
    z = sympy.Symbol("z")
    A, b = (
        sympy.Matrix([[sympy.Rational(str(x)) for x in row] for row in m])
        for m in (EXPLICIT[name][0], [EXPLICIT[name][1]])
    )
    n = len(b)
    R = sympy.expand((sympy.eye(n) - z * A + z * sympy.ones(n, 1) * b).det() / (sympy.eye(n) - z * A).det())
    found = stability_polynomial(EXPLICIT[name])
    assert [sympy.Rational(str(c)) for c in found] == [R.coeff(z, m) for m in range(n + 1)]
    assert all(c == Fraction(1, int(sympy.factorial(m))) for m, c in enumerate(found[: ORDERS[name] + 1]))


def test_ralston_has_the_least_bound_on_the_error() -> None:
    """Among c_2 = 0.5, ..., 1: the local error in F'' F F is |1/6 - c_2/4|, 0 at 2/3; in F' F' F it is 1/6."""
    sizes = {}
    for c in ("1/2", "2/3", "3/4", "1"):
        w = Fraction(1, 2) / Fraction(c)
        A, b = tableau([c], b=[str(1 - w), str(w)])
        sizes[c] = abs(b[1] * A[1][0] ** 2 / 2 - Fraction(1, 6))
    assert min(sizes, key=sizes.get) == "2/3" and sizes["2/3"] == 0
    u = torch.tensor([1.0, 0.2], dtype=torch.float64)
    end = scipy.integrate.solve_ivp(
        lambda t, y: pendulum(torch.from_numpy(y)).numpy(), (0, 2), u.numpy(), "DOP853", rtol=1e-13, atol=1e-13
    ).y[:, -1]
    errors = [float((run(s(pendulum, 0.05), u, k=40).u - torch.from_numpy(end)).norm()) for s in (Midpoint, Ralston)]
    assert max(errors) < 2e-3 and all(a != b for a, b in pairwise(errors))


def test_gradients_flow_through_the_stages() -> None:
    u = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(RungeKutta(pendulum, 0.3, RK_4), (u,))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Tableau(((0.5,),), (1.0,)), r"explicit scheme .* a number at \(i, j\) = \(1, 1\)"),
        (Tableau(((0.0, 1.0), (0.0, 0.0)), (0.5, 0.5)), r"\(1, 2\)"),
        (tableau([1], b=[1, 1]), "sum b_i = 1; got 2"),
        (Tableau(((0.0,),), (0.5, 0.5)), r"got 1 rows of \[1\] numbers and 2 weights"),
    ],
)
def test_a_tableau_that_is_no_explicit_scheme(table: Tableau, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RungeKutta(pendulum, 0.1, table)
