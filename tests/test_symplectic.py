"""Steps that can be taken back, and steps that keep areas: Jacobians, elliptic integrals, long runs."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from companion import RK4, Euler, Implicit, Reversible, SymplecticEuler, Verlet, hamiltonian_field, run

f64 = torch.float64
STEPS = {"symplectic-euler": SymplecticEuler, "verlet": Verlet}
each = pytest.mark.parametrize("name", STEPS)


def dT(p: Tensor) -> Tensor:
    """T = sum p^2/2 + p^4/40."""
    return p + p**3 / 10


def dV(q: Tensor) -> Tensor:
    """V = -sum cos q_i + (q_1 q_2)/3: two coupled pendulums."""
    return torch.sin(q) + q.flip(-1) / 3


def H(u: Tensor) -> Tensor:
    q, p = u.chunk(2, -1)
    return (p**2 / 2 + p**4 / 40 - torch.cos(q)).sum(-1) + q.prod(-1) / 3


def exact(u: Tensor, t: float) -> Tensor:
    """By SciPy's DOP853, the equations written out."""

    def rate(_: float, y: np.ndarray) -> np.ndarray:
        q, p = y[:2], y[2:]
        return np.concatenate([p + p**3 / 10, -np.sin(q) - q[::-1] / 3])

    return torch.from_numpy(solve_ivp(rate, (0, t), u.numpy(), "DOP853", rtol=1e-13, atol=1e-13).y[:, -1])


START = torch.tensor([0.8, -0.3, 0.2, 0.5], dtype=f64)


# ---- reversible -------------------------------------------------------------------------------------------------


def test_a_reversible_step_by_its_formula() -> None:
    F, G = torch.sin, torch.cos
    a, b = torch.randn(2, 3, 4, dtype=f64).unbind(0)
    out = Reversible(F, G, 0.3)(torch.cat([a, b], -1))
    a_new = a + 0.3 * torch.sin(b)
    torch.testing.assert_close(out, torch.cat([a_new, b + 0.3 * torch.cos(a_new)], -1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_reversible_step_is_taken_back(axis: int, dtype: torch.dtype) -> None:
    """Whatever F and G, here one that cannot be inverted itself; up to rounding, over 30 steps with dt = 1."""
    F, G = (lambda b: torch.relu(b) / 3), (lambda a: torch.tanh(5 * a).round() / 2)
    u = torch.randn(4, 6, 8, dtype=dtype)
    steps = [Reversible(F, G, axis=axis) for _ in range(30)]
    v = run(steps, u).u
    assert v.shape == u.shape and float((v - u).abs().max()) > 1
    for step in reversed(steps):
        v = step.inverse(v)
    assert float((v - u).abs().max()) < 1e5 * torch.finfo(dtype).eps


def test_channels_are_halved_along_axis_minus_3() -> None:
    convs = [nn.Conv2d(2, 2, 3, padding=1) for _ in range(2)]
    step, u = Reversible(*convs, axis=-3), torch.randn(5, 4, 6, 7)
    out = step(u)
    torch.testing.assert_close(out[:, :2], u[:, :2] + convs[0](u[:, 2:]))
    torch.testing.assert_close(out[:, 2:], u[:, 2:] + convs[1](out[:, :2]))
    assert len(list(step.parameters())) == 4
    torch.testing.assert_close(step.inverse(out), u, rtol=0, atol=1e-5)


def test_the_order_of_the_reversible_step_is_1() -> None:
    """For a' = F(b), b' = G(a), F and G no gradients."""
    F, G = (lambda b: torch.sin(b) + b.flip(-1) ** 2 / 4), (lambda a: torch.cos(a) - a)
    rate = lambda _, y: np.concatenate([np.sin(y[2:]) + y[:1:-1] ** 2 / 4, np.cos(y[:2]) - y[:2]])  # noqa: E731
    end = torch.from_numpy(solve_ivp(rate, (0, 2), START.numpy(), "DOP853", rtol=1e-13, atol=1e-13).y[:, -1])
    errors = [float((run(Reversible(F, G, 2 / k), START, k=k).u - end).norm()) for k in (100, 200)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("step", [Reversible(torch.sin, torch.sin), Verlet(dT, dV, 0.1), SymplecticEuler(dT, dV, 0.1)])
def test_an_odd_number_has_no_halves(step: nn.Module) -> None:
    for act in (step.forward, step.inverse):
        with pytest.raises(ValueError, match="two halves of equal length; got 5 entries along axis -1, an odd number"):
            act(torch.zeros(2, 5))


@pytest.mark.parametrize("dt", [0.0, -1.0, math.nan])
def test_steps_are_positive(dt: float) -> None:
    for make in (lambda: Reversible(dT, dV, dt), lambda: Verlet(dT, dV, dt), lambda: SymplecticEuler(dT, dV, dt)):
        with pytest.raises(ValueError, match="time step must be finite and > 0"):
            make()


# ---- symplectic -------------------------------------------------------------------------------------------------


@each
def test_the_order(name: str) -> None:
    order, end = {"symplectic-euler": 1, "verlet": 2}[name], exact(START, 2.0)
    errors = [float((run(STEPS[name](dT, dV, 2 / k), START, k=k).u - end).norm()) for k in (50, 100, 200)]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.1) and errors[2] < 0.02


def test_the_steps_written_out() -> None:
    q, p = START.chunk(2)
    q1 = q + 0.3 * dT(p)
    expected = torch.cat([q1, p - 0.3 * dV(q1)])
    torch.testing.assert_close(SymplecticEuler(dT, dV, 0.3)(START), expected, rtol=0, atol=1e-15)
    p_half = p - 0.15 * dV(q)
    q1 = q + 0.3 * dT(p_half)
    expected = torch.cat([q1, p_half - 0.15 * dV(q1)])
    torch.testing.assert_close(Verlet(dT, dV, 0.3)(START), expected, rtol=0, atol=1e-15)


def jacobian(step: nn.Module, u: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(step, u)


@each
def test_the_derivative_is_symplectic(name: str) -> None:
    """M^T J M = J at random points; Euler and RK4 are not."""
    J = torch.zeros(4, 4, dtype=f64)
    J[:2, 2:], J[2:, :2] = torch.eye(2, dtype=f64), -torch.eye(2, dtype=f64)
    defect = lambda step, u: float((jacobian(step, u).T @ J @ jacobian(step, u) - J).abs().max())  # noqa: E731
    field = hamiltonian_field(H)
    for u in torch.randn(5, 4, dtype=f64):
        assert defect(STEPS[name](dT, dV, 0.4), u) < 1e-13
        assert defect(Euler(field, 0.4), u) > 1e-2 and defect(RK4(field, 0.4), u) > 1e-5


@each
def test_the_inverse(name: str) -> None:
    step = STEPS[name](dT, dV, 0.4)
    u = torch.randn(7, 4, dtype=f64)
    torch.testing.assert_close(step.inverse(step(u)), u, rtol=0, atol=1e-13)
    torch.testing.assert_close(step(step.inverse(u)), u, rtol=0, atol=1e-13)


def test_verlet_is_reversible_in_time_and_symplectic_euler_is_not() -> None:
    turn = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=f64)
    back = lambda step, u: turn * step(turn * step(u))  # noqa: E731
    u = torch.randn(3, 4, dtype=f64)
    torch.testing.assert_close(back(Verlet(dT, dV, 0.4), u), u, rtol=0, atol=1e-13)
    assert float((back(SymplecticEuler(dT, dV, 0.4), u) - u).abs().max()) > 1e-2


def test_verlet_is_symplectic_euler_between_two_half_kicks() -> None:
    """Conjugate maps: n steps of one are n steps of the other, but for the ends."""
    dt = 0.3
    kick = lambda u, s: torch.cat([u[..., :2], u[..., 2:] - s * dt / 2 * dV(u[..., :2])], -1)  # noqa: E731
    u = torch.randn(3, 4, dtype=f64)
    verlet = run(Verlet(dT, dV, dt), u, k=6).u
    euler = run(SymplecticEuler(dT, dV, dt), kick(u, 1), k=6).u
    torch.testing.assert_close(verlet, kick(euler, -1), rtol=0, atol=1e-12)


def test_the_energy_does_not_drift() -> None:
    """Over 4000 steps: bounded by C dt and C dt^2, in the second half no worse than in the first; Euler's grows."""
    errors = {}
    for name, dt in [("symplectic-euler", 0.05), ("symplectic-euler", 0.025), ("verlet", 0.05), ("verlet", 0.025)]:
        curve = run(STEPS[name](dT, dV, dt), START, k=4000, record={"H": H}).curves["H"] - H(START)
        first, second = (float(half.abs().max()) for half in (curve[:2000], curve[2000:]))
        assert second < 1.2 * first
        errors.setdefault(name, []).append(max(first, second))
    assert np.log2(errors["symplectic-euler"][0] / errors["symplectic-euler"][1]) == pytest.approx(1, abs=0.2)
    assert np.log2(errors["verlet"][0] / errors["verlet"][1]) == pytest.approx(2, abs=0.2)
    plain = run(Euler(hamiltonian_field(H), 0.05), START, k=400).u
    assert float(H(plain) - H(START)) > 10 * errors["symplectic-euler"][0]


@each
@pytest.mark.parametrize("z", [0.5, 1.0, 1.9, 1.999, 2.001, 2.5])
def test_on_the_oscillator_the_limit_is_dt_omega_2(name: str, z: float) -> None:
    """Trace 2 - (dt omega)^2, determinant 1: eigenvalues on the circle for dt omega < 2, one outside beyond."""
    omega, dt = 3.0, z / 3.0
    M = jacobian(STEPS[name](lambda p: omega * p, lambda q: omega * q, dt), torch.zeros(2, dtype=f64))
    assert float(M.trace()) == pytest.approx(2 - z**2, abs=1e-12) and float(M.det()) == pytest.approx(1, abs=1e-12)
    assert (float(torch.linalg.eigvals(M).abs().max()) < 1 + 1e-9) == (z < 2)


def test_at_the_limit_it_grows_like_k() -> None:
    step = SymplecticEuler(lambda p: p, lambda q: q, 2.0)
    size = run(step, torch.tensor([1.0, 0.3], dtype=f64), k=100, record={"u": lambda u: u.norm()}).curves["u"]
    assert 1.9 < float(size[100] / size[50]) < 2.1


# ---- the field of an energy ---------------------------------------------------------------------------------------


def test_the_field_of_an_energy_is_hamiltons_equations() -> None:
    u = torch.randn(3, 5, 4, dtype=f64)
    q, p = u.chunk(2, -1)
    torch.testing.assert_close(hamiltonian_field(H)(u), torch.cat([dT(p), -dV(q)], -1), rtol=0, atol=1e-14)
    end = run(RK4(hamiltonian_field(H), 0.01), START, k=200).u
    torch.testing.assert_close(end, exact(START, 2.0), rtol=0, atol=1e-7)


def test_the_field_along_another_axis() -> None:
    G = lambda u: (u[:, :2] ** 2).sum((1, 2)) + 3 * (u[:, 2:] ** 2).sum((1, 2))  # noqa: E731
    u = torch.randn(3, 4, 5, dtype=f64)
    torch.testing.assert_close(hamiltonian_field(G, axis=1)(u), torch.cat([6 * u[:, 2:], -2 * u[:, :2]], 1))


def test_a_learned_energy_has_its_parameters_and_their_gradients() -> None:
    """Twice differentiable: dF/dtheta and dF/du by central differences; inside no_grad and inside Newton's method."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    energy = lambda u: net(u)[..., 0]  # noqa: E731
    field = hamiltonian_field(net)  # (3, 4) -> (3, 1), summed
    assert len(list(field.parameters())) == 4
    u = torch.randn(3, 4, dtype=f64, requires_grad=True)
    assert torch.autograd.gradcheck(field, (u,))
    weight = net[0].weight

    def value(shift: float) -> Tensor:
        with torch.no_grad():
            weight[1, 2] += shift
            out = hamiltonian_field(energy)(u).sum()
            weight[1, 2] -= shift
        return out

    field(u).sum().backward()
    assert float(weight.grad[1, 2]) == pytest.approx(float(value(1e-5) - value(-1e-5)) / 2e-5, abs=1e-8)
    z = Implicit(field, 0.2)(START)
    torch.testing.assert_close(z, START + 0.2 * field(z), rtol=0, atol=1e-11)
