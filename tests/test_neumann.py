"""Implicit Euler unrolled: dense inverses, SciPy's root finder, exact polynomials."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from companion import Euler, Fractal, Implicit, Midpoint, Neumann, Picard, real_interval, run

f64 = torch.float64


def tanh_field(eps: float) -> tuple:
    """F(x) = eps tanh(A x + b), F(0) != 0, and the same in NumPy."""
    g = torch.Generator().manual_seed(1)
    A, b = torch.randn(4, 4, generator=g, dtype=f64), torch.randn(4, generator=g, dtype=f64)
    return (
        lambda x: eps * torch.tanh(x @ A.T + b),
        lambda x: eps * np.tanh(A.numpy() @ x + b.numpy()),
        torch.randn(4, generator=g, dtype=f64),
    )


# ---- Neumann ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("printed", [False, True])
def test_a_linear_field_gives_the_sum_of_the_powers(n: int, printed: bool) -> None:
    A = torch.randn(4, 4, dtype=f64)
    u = torch.randn(4, dtype=f64)
    power, total = torch.eye(4, dtype=f64), torch.eye(4, dtype=f64)
    for _ in range(n):
        power = 0.3 * A @ power
        total = total + power
    torch.testing.assert_close(Neumann(lambda v: A @ v, 0.3, n, printed)(u), total @ u, rtol=0, atol=1e-12)


def test_the_two_forms_written_out() -> None:
    F, _, u = tanh_field(0.5)
    right = u + 0.2 * F(u + 0.2 * F(u + 0.2 * F(u)))
    torch.testing.assert_close(Neumann(F, 0.2, 3)(u), right, rtol=0, atol=1e-15)
    power = 0.2 * F(0.2 * F(u))
    printed = u + 0.2 * F(u) + power + 0.2 * F(power)
    torch.testing.assert_close(Neumann(F, 0.2, 3, printed=True)(u), printed, rtol=0, atol=1e-15)
    assert float((right - printed).abs().max()) > 0.1
    torch.testing.assert_close(Neumann(F, 0.2, 1)(u), Euler(F, 0.2)(u), rtol=0, atol=0)
    torch.testing.assert_close(Neumann(F, 0.2, 1, printed=True)(u), Euler(F, 0.2)(u), rtol=0, atol=0)


@pytest.mark.parametrize("n", [2, 3])
def test_the_printed_form_follows_another_equation(n: int) -> None:
    """Its limit is u' = F(u) + (n - 1) F(0): with F = 1, n times the way."""
    one = torch.ones(1, dtype=f64)
    assert float(run(Neumann(torch.ones_like, 0.1, n, printed=True), 0 * one, k=10).u) == pytest.approx(n)
    F = lambda u: 1 - u  # noqa: E731  F(0) = 1: u' = n - u, u(1) = n (1 - 1/e)
    errors = [
        abs(float(run(Neumann(F, 1 / k, n, printed=True), 0 * one, k=k).u) - n * (1 - math.exp(-1))) for k in (200, 400)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)
    right = float(run(Neumann(F, 0.01, n), 0 * one, k=100).u)
    assert right == pytest.approx(1 - math.exp(-1), abs=5e-3)


@pytest.mark.parametrize(
    ("n", "interval"), [(1, 2.0), (2, 1.0), (3, 1.3532), (4, 1.0), (5, None), (6, 1.0), (25, None)]
)
def test_the_real_interval_of_the_series(n: int, interval: float | None) -> None:
    """Even n: the sum is (1 - z^{n+1}) / (1 - z) <= 1 down to -1; odd n: it is -1 where x^{n+1} = x + 2."""
    limit = Neumann(lambda u: u, 1.0, n).limit
    x = interval or scipy.optimize.brentq(lambda x: x ** (n + 1) - x - 2, 1, 2)
    assert 2 * limit == pytest.approx(x, abs=1e-4)
    assert 1 - 1e-9 <= 2 * limit <= 2 + 1e-9 and (n < 25 or 2 * limit < 1.05)


def test_a_field_with_time_is_taken_at_the_end_of_the_step() -> None:
    F = lambda u, t: t * torch.ones_like(u)  # noqa: E731
    u = torch.zeros(2, dtype=f64)
    for step in (Neumann(F, 0.5, t=1.0), Picard(F, 0.5, t=1.0), Implicit(F, 0.5, t=1.0)):
        torch.testing.assert_close(step(u), 0.5 * 1.5 + u)
    torch.testing.assert_close(Euler(F, 0.5, t=1.0)(u), 0.5 + u)


@pytest.mark.parametrize("n", [0, -1])
def test_a_series_has_terms(n: int) -> None:
    with pytest.raises(ValueError, match=f"n >= 1 terms besides the identity; got n={n}"):
        Neumann(lambda u: u, 0.1, n)


# ---- Picard -----------------------------------------------------------------------------------------------------


def test_picard_is_the_root_of_scipy_and_of_newton() -> None:
    F, F_numpy, u = tanh_field(0.4)
    z = Picard(F, 0.5)(u)
    exact = scipy.optimize.fsolve(lambda x: u.numpy() + 0.5 * F_numpy(x) - x, u.numpy(), xtol=1e-14)
    np.testing.assert_allclose(z.numpy(), exact, rtol=0, atol=1e-9)
    torch.testing.assert_close(z, Implicit(F, 0.5)(u), rtol=0, atol=1e-9)


def test_picards_iterates_are_the_nested_form() -> None:
    F, _, u = tanh_field(0.4)
    z = u
    for n in (1, 2, 3, 4):
        z = u + 0.5 * F(z)
        torch.testing.assert_close(Neumann(F, 0.5, n)(u), z, rtol=0, atol=1e-15)


@pytest.mark.parametrize("a", [1.1, 3.0, 200.0])
def test_picard_that_does_not_contract_says_so(a: float) -> None:
    with pytest.raises(RuntimeError, match=r"does not converge: .* It contracts for dt Lip\(F\) < 1; got dt=1\."):
        Picard(lambda u: -a * u, 1.0)(torch.ones(3))
    torch.testing.assert_close(Implicit(lambda u: -a * u, 1.0)(torch.ones(3)), torch.ones(3) / (1 + a))


def test_picard_contracts_below_and_takes_more_steps_near_1() -> None:
    for z in (-0.9, -0.5, 0.5):
        u = torch.ones(2, dtype=f64)
        torch.testing.assert_close(Picard(lambda u, z=z: z * u, 1.0, k=400)(u), u / (1 - z), rtol=1e-8, atol=0)
    with pytest.raises(RuntimeError, match=r"its last step was 0\.9 times the one before"):
        Picard(lambda u: -0.9 * u, 1.0, k=20)(torch.ones(2))
    assert torch.equal(Picard(lambda u: -u, 0.1)(torch.zeros(3)), torch.zeros(3))
    small = Picard(lambda u: -u, 0.5, tol=1e-14)(torch.ones(3))  # not below the rounding of float32
    torch.testing.assert_close(small, torch.full((3,), 2 / 3))


def test_an_infinite_iterate_of_picard_stops() -> None:
    with pytest.raises(RuntimeError, match="does not converge"):
        Picard(lambda u: torch.exp(u), 1.0)(torch.full((2,), 50.0))


def test_gradients_of_picard() -> None:
    """Of u/(1 - z): in u and in the field's parameter."""
    u = torch.randn(3, dtype=f64, requires_grad=True)
    a = torch.tensor(0.3, dtype=f64, requires_grad=True)
    z = Picard(lambda v: a * v, 1.0, tol=1e-13)(u)
    grads = torch.autograd.grad(z.sum(), (u, a))
    torch.testing.assert_close(grads[0], torch.full((3,), 1 / 0.7, dtype=f64))
    torch.testing.assert_close(grads[1], u.sum().detach() / 0.7**2)


@pytest.mark.parametrize("bad", [{"tol": 0.0}, {"tol": -1.0}, {"tol": math.nan}, {"k": 0}])
def test_picard_needs_a_goal(bad: dict) -> None:
    with pytest.raises(ValueError, match="tol > 0 and at least one step k >= 1"):
        Picard(lambda u: u, 0.1, **bad)


# ---- Fractal ----------------------------------------------------------------------------------------------------


def test_the_fractal_by_its_recursion() -> None:
    F, _, u = tanh_field(0.7)

    def f(u: Tensor, columns: int, dt: float) -> Tensor:
        short = u + dt * F(u)
        return short if columns == 1 else (f(f(u, columns - 1, dt / 2), columns - 1, dt / 2) + short) / 2

    for columns in (1, 2, 3, 4):
        torch.testing.assert_close(Fractal(F, 0.4, columns)(u), f(u, columns, 0.4), rtol=0, atol=1e-14)
    assert torch.equal(Fractal(F, 0.4, 1)(u), Euler(F, 0.4)(u))


def test_two_columns_are_the_chebyshev_method_of_two_stages() -> None:
    """R = T_2(1 + z/4), in fractions; |R| <= 1 on [-8, 0], the longest of 1 + z + c z^2."""
    step = Fractal(lambda u: u, 1.0)
    for z in (Fraction(-8), Fraction(-3), Fraction(1, 7)):
        assert step.R(z) == 2 * (1 + z / 4) ** 2 - 1
    assert 2 * step.limit == pytest.approx(8, abs=1e-9)
    lengths = {c: real_interval(lambda z, c=c: 1 + z + c * z**2) for c in (0.0, 0.1, 0.12, 0.125, 0.13, 0.25, 0.5, 1.0)}
    assert max(lengths, key=lengths.get) == 0.125


@pytest.mark.parametrize(("columns", "interval"), [(3, 3.05574), (4, 3.04536), (5, 3.04353), (6, 3.04323)])
def test_more_columns_have_a_shorter_interval(columns: int, interval: float) -> None:
    limit = Fractal(lambda u: u, 1.0, columns).limit
    R = lambda z, C: 1 + z if C == 1 else (R(z / 2, C - 1) ** 2 + 1 + z) / 2  # noqa: E731
    x = scipy.optimize.brentq(lambda x: R(-x, columns) + 1, 2.5, 3.5)
    assert 2 * limit == pytest.approx(x, abs=1e-8) == pytest.approx(interval, abs=2e-4)


def test_richardsons_weights_make_it_the_midpoint_rule() -> None:
    F, _, u = tanh_field(0.7)
    half = Euler(F, 0.2)
    torch.testing.assert_close(2 * half(half(u)) - Euler(F, 0.4)(u), Midpoint(F, 0.4)(u), rtol=0, atol=1e-14)


def test_a_fractal_has_columns() -> None:
    with pytest.raises(ValueError, match="at least one column; got columns=0"):
        Fractal(lambda u: u, 0.1, 0)
