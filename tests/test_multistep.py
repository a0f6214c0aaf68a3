"""Schemes with a memory: plain loops, exact roots, the first Dahlquist barrier; (5.2) in a list of maps and alone."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from companion import (
    AdamsBashforth,
    Euler,
    HeavyBall,
    Heun,
    Leapfrog,
    LinearMultistep,
    TwoStep,
    TwoStepState,
    fixed_point,
    multistep_order,
    root_condition,
    run,
)
from companion.flows.multistep import ADAMS
from companion.flows.roots import check_alpha, largest_root, real_limit, roots


def swing(u: Tensor) -> Tensor:
    return torch.stack([u[..., 1], -torch.sin(u[..., 0])], -1)


def loop(F: Callable, us: list[np.ndarray], a: tuple, b: tuple, dt: float, k: int) -> np.ndarray:
    """u^{n+1} = sum a_j u^{n-j} + dt sum b_j F(u^{n-j}), from the first values us, in NumPy."""
    us = list(us)
    while len(us) <= k:
        us.append(sum(p * us[-1 - j] + dt * q * F(us[-1 - j]) for j, (p, q) in enumerate(zip(a, b, strict=True))))
    return us[k]


# ---- (5.2) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [-0.9, -0.3, 0.0, 0.4, 1.0])
def test_the_two_step_scheme_by_a_loop(alpha: float) -> None:
    u0 = torch.randn(4, 2, dtype=torch.float64)
    F = lambda v: swing(torch.from_numpy(v)).numpy()  # noqa: E731
    u, old = u0.numpy(), u0.numpy()
    for _ in range(9):
        u, old = (1 - alpha) * u + alpha * old + 0.1 * F(u), u
    np.testing.assert_allclose(run(TwoStep(swing, 0.1, alpha), u0, k=9).u.numpy(), u, rtol=0, atol=1e-13)


def test_alpha_0_is_euler_and_the_first_step_is_eulers_whatever_alpha() -> None:
    u0 = torch.randn(3, 2)
    assert torch.equal(run(TwoStep(swing, 0.1), u0, k=7).u, run(Euler(swing, 0.1), u0, k=7).u)
    first = run(TwoStep(swing, 0.1, -0.7), u0, k=1).u
    torch.testing.assert_close(first, Euler(swing, 0.1)(u0))


def test_a_start_before_the_start() -> None:
    step = TwoStep(swing, 0.1, -0.4, before=lambda u: u - 0.1 * swing(u) / 0.6)
    u0 = torch.randn(2, 2, dtype=torch.float64)
    assert isinstance(step.start(u0), TwoStepState)
    expected = 1.4 * u0 - 0.4 * (u0 - 0.1 * swing(u0) / 0.6) + 0.1 * swing(u0)
    torch.testing.assert_close(run(step, u0, k=1).u, expected, rtol=0, atol=1e-14)


def test_a_list_of_two_steps_has_an_alpha_and_a_field_for_each() -> None:
    """The LM-ResNet: alpha_k learned, F(., t_k) the k-th block; each alpha and each block gets its gradient."""
    alphas = [nn.Parameter(torch.tensor(a)) for a in (-0.05, -0.3, 0.2)]
    blocks = [nn.Linear(2, 2) for _ in alphas]
    net = nn.ModuleList([TwoStep(F, 1.0, a) for F, a in zip(blocks, alphas, strict=True)])
    u0 = torch.randn(5, 2)
    u = old = u0
    for F, a in zip(blocks, alphas, strict=True):
        u, old = (1 - a) * u + a * old + F(u), u
    torch.testing.assert_close(run(net, u0).u, u)
    assert {name for name, _ in net.named_parameters()} >= {"0.alpha", "1.alpha", "2.alpha", "0.F.weight"}
    run(net, u0).u.square().sum().backward()
    assert alphas[0].grad == 0 and all(a.grad.abs() > 0 for a in alphas[1:])  # u^0 = u^{-1}: alpha_0 does nothing


def test_the_memory_keeps_type_and_moves_with_the_module() -> None:
    step = TwoStep(swing, 0.1, -0.3)
    assert "alpha" in step.state_dict() and run(step, torch.randn(3, 2), k=3).u.dtype == torch.float32
    for other in (AdamsBashforth(swing, 0.1, 4), Leapfrog(swing, 0.1)):
        assert run(other, torch.randn(3, 2), k=6).u.dtype == torch.float32


def test_it_is_the_heavy_ball_with_momentum_minus_alpha() -> None:
    """u - alpha (u - old) + dt F(u), dt = tau^2."""
    u0 = torch.randn(3, 2, dtype=torch.float64)
    for alpha in (-0.99, -0.5, 0.0):
        ball = run(HeavyBall(swing, 0.3, -alpha), u0, k=50).u
        torch.testing.assert_close(run(TwoStep(swing, 0.09, alpha), u0, k=50).u, ball, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [-1.0, -1.5, 1.0 + 1e-6, math.nan, math.inf])
def test_alpha_outside_is_answered_by_the_root(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"roots 1 and -alpha at dt = 0: it is zero-stable for -1 < alpha <= 1"):
        TwoStep(swing, 0.1, alpha)


def test_alpha_at_the_ends() -> None:
    assert check_alpha(1.0) == 1.0 and check_alpha(torch.tensor(-0.999)) == pytest.approx(-0.999)
    with pytest.raises(ValueError, match=r"the root 1 is double and u\^k grows like k"):
        check_alpha(-1.0)
    with pytest.raises(ValueError, match=r"u\^k grows by the root 1\.2 at every step"):
        check_alpha(-1.2)


@pytest.mark.parametrize("alpha", [-0.8, -0.25, 0.0, 0.6, 1.0])
def test_the_real_interval_of_52_is_2_times_1_minus_alpha(alpha: float) -> None:
    """By Schur and Cohn: |alpha| <= 1 and p(-1) >= 0, z >= -2 (1 - alpha). At the end -1 is a root, beyond it one is
    outside. alpha < 0 allows longer steps than Euler's.
    """
    step, end = TwoStep(swing, 1.0, alpha), -2 * (1 - alpha)
    assert step.limit == 1 - alpha
    for z in np.linspace(end, 0, 50):
        assert np.abs(np.roots([1, -(1 - alpha + z), -alpha])).max() <= 1 + 1e-7
        assert abs(step.R(z)) <= 1 + 1e-7
    assert np.polyval([1, -(1 - alpha + end), -alpha], -1) == pytest.approx(0, abs=1e-12)
    assert abs(step.R(end - 1e-3)) > 1 + 1e-5


# ---- linear multistep -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", ADAMS)
def test_the_numbers_of_adams_and_bashforth(q: int) -> None:
    """b_j = integral from 0 to 1 of the Lagrange polynomial that is 1 at -j and 0 at the other nodes; order q."""
    for j, b in enumerate(ADAMS[q]):
        lagrange = lambda x, j=j: math.prod((x + i) / (i - j) for i in range(q) if i != j)  # noqa: E731
        assert float(b) == pytest.approx(quad(lagrange, 0, 1)[0], abs=1e-12)
    a = (1, *[0] * (q - 1))
    assert multistep_order(a, ADAMS[q]) == q == AdamsBashforth(swing, 0.1, q).order
    assert real_limit(a, ADAMS[q]) == pytest.approx({1: 1, 2: 1 / 2, 3: 3 / 11, 4: 3 / 20}[q], abs=1e-9)


@pytest.mark.parametrize("q", [2, 3, 4])
def test_adams_bashforth_by_a_loop(q: int) -> None:
    """The first q - 1 steps are Heun's."""
    u0, dt = torch.randn(4, 2, dtype=torch.float64), 0.1
    F = lambda v: swing(torch.from_numpy(v)).numpy()  # noqa: E731
    first = [run(Heun(swing, dt), u0, k=n).u.numpy() for n in range(q)]
    a, b = (1, *[0] * (q - 1)), tuple(map(float, ADAMS[q]))
    for k in (1, q - 1, q, 12):
        found = run(AdamsBashforth(swing, dt, q, starter=Heun), u0, k=k).u.numpy()
        np.testing.assert_allclose(found, loop(F, first, a, b, dt, k), rtol=0, atol=1e-13)


def test_a_general_scheme_by_a_loop() -> None:
    a, b, dt = (0.5, 0.25, 0.25), (2.0, -0.5, 0.25), 0.1
    u0 = torch.randn(4, 2, dtype=torch.float64)
    F = lambda v: swing(torch.from_numpy(v)).numpy()  # noqa: E731
    first = [run(Euler(swing, dt), u0, k=n).u.numpy() for n in range(3)]
    found = run(LinearMultistep(swing, dt, a, b, starter=Euler), u0, k=11).u.numpy()
    np.testing.assert_allclose(found, loop(F, first, a, b, dt, 11), rtol=0, atol=1e-13)


def test_one_value_of_F_a_step() -> None:
    calls = []

    def F(u: Tensor) -> Tensor:
        calls.append(1)
        return -u

    run(AdamsBashforth(F, 0.1, 4, starter=Euler), torch.ones(2), k=20)
    assert len(calls) == 20 + 3  # the starter takes its own


def test_leapfrog_is_the_two_step_scheme_with_alpha_1() -> None:
    u0, dt = torch.randn(3, 2, dtype=torch.float64), 0.05
    before = lambda u: Heun(lambda v: -swing(v), dt)(u)  # noqa: E731
    two = run(TwoStep(swing, 2 * dt, 1.0, before), u0, k=1).u
    leap = run(Leapfrog(swing, dt, starter=lambda F, dt: lambda u: two), u0, k=30).u
    torch.testing.assert_close(run(TwoStep(swing, 2 * dt, 1.0, before), u0, k=30).u, leap, rtol=0, atol=1e-13)


def test_leapfrog_keeps_an_oscillation_and_spoils_a_decay() -> None:
    """On i (-1, 1) both roots have modulus 1; for z < 0 one is z - (1 + z^2)^{1/2} < -1."""
    step = Leapfrog(swing, 1.0)
    for y in np.linspace(-0.99, 0.99, 21):
        assert abs(step.R(1j * y)) == pytest.approx(1, abs=1e-12)
    for z in (-0.01, -0.5, -3.0):
        assert step.R(z) == pytest.approx(z - math.sqrt(1 + z * z), abs=1e-9)
    turn = lambda u: torch.stack([u[..., 1], -u[..., 0]], -1)  # noqa: E731
    u0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    kept = run(Leapfrog(turn, 0.1), u0, k=2000, record={"size": lambda u: u.norm()}).curves["size"]
    assert float(kept.max()) < 1.01
    decay = run(Leapfrog(lambda u: -u, 0.1), u0, k=2000).u
    assert float(decay.abs().max()) > 1e50 or not decay.isfinite().all()


def test_a_stopping_rule_sees_the_whole_memory() -> None:
    """u' = 1 - u from 2 settles at 1; u^0 = 1 stays, but its memory still fills: no stop at the first step."""
    end = run(AdamsBashforth(lambda u: 1 - u, 0.1, 3), torch.full((3,), 2.0), until=fixed_point(1e-4), k=2000)
    assert end.stopped == "until" and float((end.u - 1).abs().max()) < 2e-3
    assert run(AdamsBashforth(lambda u: 1 - u, 0.1, 3), torch.ones(3), until=fixed_point(1e-4), k=9).k == 3


def test_gradients_flow_through_the_memory() -> None:
    u0 = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    for step in (AdamsBashforth(swing, 0.1, 3), TwoStep(swing, 0.1, -0.5), Leapfrog(swing, 0.1)):
        assert torch.autograd.gradcheck(lambda u, step=step: run(step, u, k=5).u, (u0,))


# ---- roots ------------------------------------------------------------------------------------------------------


def test_the_roots_are_those_of_the_polynomial() -> None:
    a, b = (0.3, 0.5, 0.2), (1.0, 0.4, 0.1)
    for z in (0.0, -0.7, 0.2 + 1j):
        expected = np.roots([1, *[-(p + z * q) for p, q in zip(a, b, strict=True)]])
        found = roots(a, b, z).numpy()
        assert np.abs(np.sort_complex(found) - np.sort_complex(expected)).max() < 1e-12
    many = largest_root(a, b)(torch.tensor([[0.1, -0.2], [0.3, 0.0]]))
    assert many.shape == (2, 2)
    assert isinstance(largest_root(a, b)(0.5), complex) and largest_root(a, b)(np.ones(3)).shape == (3,)


@pytest.mark.parametrize(
    ("a", "stable"),
    [
        ((1,), True),
        ((0, 1), True),  # 1 and -1
        ((2, -1), False),  # 1 twice
        ((1.05, -0.05), True),
        ((2.05, -1.05), False),
        ((-0.05, 1.05), False),
        ((1.95, -0.95), True),
        ((1, -1, 1), True),  # 1, i, -i
        ((1, 1, -1), False),  # 1 twice and -1
        ((3, -3, 1), False),  # 1 three times
        ((1, 0, 0, 0), True),  # 0 three times is no harm
    ],
)
def test_the_root_condition_is_boundedness(a: tuple, stable: bool) -> None:
    """u^k from a start with all roots in it, F = 0, for 4000 steps."""
    rng = np.random.default_rng(0)
    us = list(rng.standard_normal(len(a)))
    for _ in range(4000):
        us.append(sum(p * us[-1 - j] for j, p in enumerate(a)))
    assert root_condition(a) == stable == (max(map(abs, us)) < 100)


def test_orders_of_consistency() -> None:
    """Exact fractions; (5.2) has the order 1 for the scaled field only, 2 for alpha = 1."""
    alpha = Fraction(-3, 10)
    assert multistep_order((1 - alpha, alpha), (1 + alpha, 0)) == 1
    assert multistep_order((1 - alpha, alpha), (1, 0)) == 0
    assert multistep_order((0, 1), (2, 0)) == 2
    assert multistep_order((1, 1), (1, 0)) == -1
    most = (-4, 5), (4, 2)  # the explicit two-step scheme of order 3: useless, with the root -5
    assert multistep_order(*most) == 3 and not root_condition(most[0])


def test_no_stable_explicit_scheme_of_two_steps_beats_order_2() -> None:
    """On a grid of alpha: the best b_j for a = (1 - alpha, alpha) give order 2; 3 for alpha = 5, not stable."""
    for i in range(-8, 41):
        alpha = Fraction(i, 8)
        b1 = (alpha - 1) / 2  # the condition m = 2: alpha - 2 b_1 = 1
        a, b = (1 - alpha, alpha), (1 + alpha - b1, b1)
        assert multistep_order(a, b) == (3 if alpha == 5 else 2)
        assert root_condition(a) == (-1 < alpha <= 1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((1, 0), (1,), "got 2 and 1"),
        ((), (), "got 0 and 0"),
        ((1, 1), (1, 0), r"sum a_j = 2, sum b_j = 1, sum j a_j = 1"),
        ((1, 0), (2, 0), r"sum a_j = 1, sum b_j = 2, sum j a_j = 0"),
        ((-4, 5), (4, 2), r"the largest root -5"),
        ((2, -1), (1, -1), r"those with \|zeta\| = 1 simple"),
    ],
)
def test_a_multistep_scheme_that_does_not_converge(a: tuple, b: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearMultistep(swing, 0.1, a, b)


def test_other_orders_of_adams() -> None:
    for q in (0, 5, -1):
        with pytest.raises(ValueError, match=f"q = 1, 2, 3, 4; got q={q}"):
            AdamsBashforth(swing, 0.1, q)
