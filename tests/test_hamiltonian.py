"""Symplectic nets keep areas by construction and energies almost, before and after training; plain nets do not."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from companion import (
    RK4,
    Euler,
    PlainNet,
    Potential,
    SymplecticNet,
    Verlet,
    hamiltonian_field,
    modified_energy,
    pieces,
    rollout_loss,
    run,
)


def kinetic(p: Tensor) -> Tensor:
    return p.square().sum(-1) / 2


def pendulum(q: Tensor) -> Tensor:
    return (1 - torch.cos(q)).sum(-1)


def energy(u: Tensor) -> Tensor:
    return kinetic(u[..., 1:]) + pendulum(u[..., :1])


def verlet(dt: float) -> Verlet:
    return Verlet(lambda p: p, torch.sin, dt)


def swing(u: Tensor) -> Tensor:
    """The pendulum: q' = p, p' = -sin q."""
    return torch.stack([u[..., 1], -torch.sin(u[..., 0])], -1)


def canonical(d: int) -> Tensor:
    zero, one = torch.zeros(d, d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    return torch.cat([torch.cat([zero, one], 1), torch.cat([-one, zero], 1)])


def defect(step: Callable[[Tensor], Tensor], u: Tensor) -> float:
    """max |M^T J M - J| for the derivative M of a map at u."""
    M = torch.autograd.functional.jacobian(step, u)
    J = canonical(len(u) // 2)
    return float((M.T @ J @ M - J).abs().max())


# ---- the learned energy -----------------------------------------------------------------------------------------


def test_the_potential_is_its_formula_and_its_gradient_is_its_gradient() -> None:
    V = Potential(3, 8).double()
    q = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    z = q @ V.inner.weight.T + V.inner.bias
    torch.testing.assert_close(V(q), (V.c * torch.log(torch.cosh(z))).sum(-1))
    torch.testing.assert_close(V.gradient(q), torch.autograd.grad(V(q).sum(), q)[0])
    assert torch.isfinite(V(torch.full((1, 3), 1e4, dtype=torch.float64))).all(), "log cosh overflows nowhere"


@pytest.mark.parametrize("d", [1, 3])
def test_every_layer_is_symplectic_whatever_the_weights(d: int) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        net = SymplecticNet(d, width=16, dt=0.5).double()
        u = torch.randn(2 * d, dtype=torch.float64)
        assert defect(net, u) < 1e-12
        assert defect(lambda v: run(net.maps(20), v).u, u) < 1e-10  # noqa: B023
        plain = PlainNet(d, width=16, dt=0.5).double()
        assert defect(plain, u) > 1e-4


def test_the_symplectic_net_follows_its_own_energy() -> None:
    net = SymplecticNet(2, width=8, dt=0.01).double()
    u0 = torch.randn(4, 4, dtype=torch.float64)
    exact = run([RK4(hamiltonian_field(net.energy), 0.01)] * 100, u0).u
    torch.testing.assert_close(run(net.maps(100), u0).u, exact, rtol=0, atol=1e-3)


@pytest.mark.parametrize("scheme", [Euler, RK4])
def test_the_plain_net_is_a_scheme_of_its_field(scheme: Any) -> None:
    net = PlainNet(1, 8, dt=0.2, scheme=scheme)
    u = torch.randn(5, 2)
    torch.testing.assert_close(net(u), scheme(lambda v: net.F(v), 0.2)(u))
    assert len(net.maps(7)) == 7


# ---- the known energy: the pendulum -----------------------------------------------------------------------------


def test_verlets_map_of_the_pendulum_is_symplectic_to_rounding() -> None:
    for u in torch.randn(5, 2, dtype=torch.float64):
        assert defect(verlet(0.3), u) < 1e-12
        assert defect(Euler(swing, 0.3), u) > 1e-3 and 1e-7 < defect(RK4(swing, 0.3), u) < 1e-2


@torch.no_grad()
def test_verlets_energy_errs_by_dt_squared_for_all_time_eulers_grows() -> None:
    u0 = torch.tensor([1.5, 0.0], dtype=torch.float64)

    def deviation(step: nn.Module, k: int) -> Tensor:
        H = run(step, u0, k=k, record={"H": energy}).curves["H"]
        return (H - H[0]).abs()

    worst = [deviation(verlet(dt), 4000) for dt in (0.2, 0.1)]
    assert math.log2(float(worst[0].max() / worst[1].max())) == pytest.approx(2, abs=0.1)
    for error in worst:
        assert float(error[2000:].max()) <= 1.01 * float(error[:2000].max()), "it does not drift"
    euler = deviation(Euler(swing, 0.1), 400)
    assert float(euler[-1]) > 1.5 * float(euler[200]) > 100 * float(worst[1].max())


@torch.no_grad()
def test_ten_thousand_steps_keep_the_modified_energy_to_dt_to_the_fourth() -> None:
    u0 = torch.tensor([1.5, 0.0], dtype=torch.float64)
    spread = []
    for dt in (0.2, 0.1):
        orbit = run(verlet(dt), u0, k=round(1000 / dt), keep=7).kept
        states = torch.stack(list(orbit.values()))
        energies = (energy(states), modified_energy(kinetic, pendulum, dt)(states))
        spread.append([float(H.max() - H.min()) for H in energies])
    assert math.log2(spread[0][0] / spread[1][0]) == pytest.approx(2, abs=0.1)
    assert math.log2(spread[0][1] / spread[1][1]) == pytest.approx(4, abs=0.2)
    assert spread[1][1] < spread[1][0] / 100


def test_the_modified_energy_for_another_kinetic_energy() -> None:
    """One step of Verlet's conserves it up to dt^5, for a T that is not quadratic, in two degrees of freedom."""
    T = lambda p: torch.sqrt(1 + p.square().sum(-1)) + p[..., 0] * p[..., 1] / 3  # noqa: E731
    V = lambda q: torch.cos(q[..., 0]) * q[..., 1] + q.square().sum(-1) / 2  # noqa: E731
    dT, dV = (torch.func.grad(G) for G in (T, V))
    u = torch.tensor([0.3, -0.7, 0.5, 1.1], dtype=torch.float64)
    errors = [abs(float(H(Verlet(dT, dV, dt)(u)) - H(u))) for dt in (0.1, 0.05) for H in [modified_energy(T, V, dt)]]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.4)


# ---- learned from trajectories ----------------------------------------------------------------------------------

DT = 0.1


def trajectories(count: int = 32, steps: int = 40, seed: int = 0) -> Tensor:
    """The pendulum by SciPy's DOP853, (count, steps + 1, 2), from |q| <= 2 and |p| <= 1.2."""
    random = np.random.default_rng(seed)
    times = np.arange(steps + 1) * DT
    paths = []
    for u0 in random.uniform(-1, 1, (count, 2)) * [2.0, 1.2]:
        solution = solve_ivp(
            lambda t, u: [u[1], -np.sin(u[0])], (0, times[-1]), u0, "DOP853", t_eval=times, rtol=1e-9, atol=1e-9
        )
        paths.append(solution.y.T)
    return torch.tensor(np.stack(paths), dtype=torch.float32)


def fitted(net: nn.Module, path: Tensor, steps: int = 300, k: int = 5) -> nn.Module:
    piece, g = pieces(path, k), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        loss = rollout_loss(net, piece[torch.randint(len(piece), (128,), generator=g)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net


def test_pieces_and_the_loss_by_loops() -> None:
    path = trajectories(3, 6)
    piece = pieces(path, 4)
    assert piece.shape == (9, 5, 2)
    expected = [path[i, j : j + 5] for i in range(3) for j in range(3)]
    assert torch.equal(piece, torch.stack(expected))
    net = PlainNet(1, 4)
    total = 0.0
    for window in expected:
        u = window[0]
        for k in range(1, 5):
            u = net(u)
            total += float((u - window[k]).detach().square().sum()) / (9 * 4)
    assert float(rollout_loss(net, piece).detach()) == pytest.approx(total, rel=1e-4)


def test_the_learned_energy_does_not_drift_and_the_plain_nets_does() -> None:
    """Trained on trajectories of length 4, followed for 200; 192 parameters each, the same data and steps."""
    path = trajectories()
    u0 = torch.tensor([[0.5, 0.0], [1.5, 0.0], [2.0, 0.0]])
    ratios = []
    for seed in range(2):
        late = {}
        for name, make in (("symplectic", SymplecticNet), ("plain", PlainNet)):
            torch.manual_seed(seed)
            net = fitted(make(1, 32 if name == "symplectic" else 38, DT), path)
            assert sum(p.numel() for p in net.parameters()) == 192
            with torch.no_grad():
                H = run(net.maps(2000), u0, record={"H": energy}).curves["H"]
            error = (H - H[0]).abs()
            late[name] = float(error[1000:].max())
            if name == "symplectic":
                assert float(error[1000:].max()) < 1.1 * float(error[:1000].max()) < 0.2
        ratios.append(late["plain"] / late["symplectic"])
    assert min(ratios) > 3
