"""Networks with noise in their steps: gates by element, means in evaluation, and both scalings."""

import math

import pytest
import torch
from torch import Tensor, nn

from companion import ShakeStep, deepen, resnet, shake_shake, stochastic_depth
from companion.flows.stochastic import GatedEuler, ShakeShake


def pictures(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*(shape or (3, 3, 8, 8)), generator=torch.Generator().manual_seed(seed))


class Times(nn.Module):
    """F(u) = c u, c a parameter."""

    def __init__(self, c: float):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, u: Tensor) -> Tensor:
        return self.c * u


def test_survival_falls_linearly() -> None:
    net = stochastic_depth(20, 0.3, width=2)
    p = [map.mean for map in net.maps if isinstance(map, GatedEuler)]
    assert len(p) == 7
    assert p == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])


def test_gates_are_drawn_for_each_picture_and_each_step() -> None:
    """One picture 400 times: each copy's steps are u or u + F(u), as often as p_k says, independently of the others."""
    torch.manual_seed(0)
    net = stochastic_depth(20, 0.4, width=4)
    x = pictures(1, 3, 4, 4).expand(400, -1, -1, -1)
    u = net.maps[0](x)
    gates = []
    for map in net.maps[1:-1]:
        new = map(u)
        if isinstance(map, GatedEuler):
            step = map.F(u)
            moved = (new - u).flatten(1).norm(dim=1) > 0
            expected = u + moved.reshape(-1, 1, 1, 1) * step
            torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-4)
            assert float(moved.float().mean()) == pytest.approx(map.mean, abs=4 * math.sqrt(0.25 / 400))
            gates.append(moved.double())
        u = new[:1].expand_as(new)  # equal pictures once more
    correlation = torch.corrcoef(torch.stack(gates)) - torch.eye(len(gates))
    assert float(correlation.abs().max()) < 0.2


@pytest.mark.parametrize("make", [stochastic_depth, shake_shake])
def test_evaluation_takes_the_mean(make: type) -> None:
    torch.manual_seed(0)
    net = make(14, width=4)
    for seed in range(5):
        net(pictures(seed=seed))
    net.eval()
    u = net.maps[0](pictures())
    for map in net.maps[1:-1]:
        new = map(u)
        if isinstance(map, GatedEuler):
            torch.testing.assert_close(new, u + map.mean * map.F(u))
        elif isinstance(map, ShakeShake):
            torch.testing.assert_close(new, u + (map.F1(u) + map.F2(u)) / 2)
        u = new
    assert torch.equal(net(pictures()), net.maps[-1](u))


@pytest.mark.parametrize("make", [stochastic_depth, shake_shake])
def test_a_seed_repeats_the_gates(make: type) -> None:
    torch.manual_seed(0)
    net = make(20, width=4)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(net(pictures()))
    assert torch.equal(values[0], values[1])
    assert not torch.allclose(values[0], values[2], atol=1e-3)


@pytest.mark.parametrize("make", [stochastic_depth, shake_shake])
def test_the_scalings_agree_for_dt_1_and_differ_below(make: type) -> None:
    def value(scaled: bool, dt: float) -> Tensor:
        torch.manual_seed(0)
        net = make(14, width=4, scaled=scaled, dt=dt)
        torch.manual_seed(1)
        return net(pictures())

    torch.testing.assert_close(value(False, 1.0), value(True, 1.0), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(value(False, 0.25), value(True, 0.25), atol=1e-3)


@pytest.mark.parametrize(("scaled", "power"), [(False, 2.0), (True, 1.0)])
def test_the_fluctuation_of_one_step(scaled: bool, power: float) -> None:
    """Var = dt^2 p (1-p) |F|^2 as written, dt p (1-p) |F|^2 scaled; only the second makes an SDE."""
    dt, p = 0.04, 0.3
    net = stochastic_depth(14, p, dt=dt, scaled=scaled, width=2)
    assert net.maps[6].dt == dt and net.maps[6].mean == pytest.approx(p)
    map = GatedEuler(Times(2.0), dt, net.maps[6].mean, scaled=net.maps[6].scaled)
    q = map.mean
    torch.manual_seed(0)
    new = map(torch.ones(40000, 1, dtype=torch.float64)).detach()
    assert float(new.mean()) == pytest.approx(1 + dt * q * 2, abs=5 * math.sqrt(dt**power * q * (1 - q) * 4 / 40000))
    assert float(new.var()) == pytest.approx(dt**power * q * (1 - q) * 4, rel=0.05)


def test_survival_one_is_resnet() -> None:
    torch.manual_seed(0)
    net = stochastic_depth(20, 1.0, width=4)
    torch.manual_seed(0)
    plain = resnet(20, width=4)
    torch.testing.assert_close(net(pictures()), plain(pictures()), rtol=1e-5, atol=1e-6)


def test_deepen_halves_the_gated_steps() -> None:
    net = stochastic_depth(14, 0.5, width=4)
    double = deepen(net)
    assert [m.dt for m in double.maps if isinstance(m, GatedEuler)] == [0.5] * 8
    assert [m.dt for m in deepen(shake_shake(14, width=4), 3).maps if isinstance(m, ShakeShake)] == [1 / 3] * 12


# ---- shake-shake -------------------------------------------------------------------------------------------------


def one_step(kind: type) -> tuple[Tensor, Tensor]:
    """For 4000 elements 1: the gate eta of u + eta 3u + (1 - eta) 5u, and the gate of the gradient."""
    torch.manual_seed(0)
    step = kind(Times(3.0), Times(5.0), 1.0)
    u = torch.ones(4000, 1, dtype=torch.float64, requires_grad=True)
    new = step(u)
    (g,) = torch.autograd.grad(new.sum(), u)
    return ((6 - new.detach()) / 2).flatten(), ((6 - g) / 2).flatten()


def test_shake_shake_has_one_gate_or_two() -> None:
    eta, beta = one_step(ShakeShake)
    torch.testing.assert_close(eta, beta, rtol=1e-12, atol=1e-12)
    eta, beta = one_step(ShakeStep)
    for gate in (eta, beta):
        assert float(gate.min()) >= 0 and float(gate.max()) <= 1
        assert float(gate.mean()) == pytest.approx(0.5, abs=0.02)
        assert float(gate.var()) == pytest.approx(1 / 12, rel=0.06)
    assert abs(float(torch.corrcoef(torch.stack([eta, beta]))[0, 1])) < 0.06


def test_two_gates_only_in_training() -> None:
    step = ShakeStep(Times(3.0), Times(5.0), 0.5).eval()
    u = torch.ones(4, 1, dtype=torch.float64, requires_grad=True)
    new = step(u)
    (g,) = torch.autograd.grad(new.sum(), u)
    assert torch.equal(new, torch.full_like(new, 3.0)) and torch.equal(g, torch.full_like(g, 3.0))
    assert {type(m) for m in shake_shake(14, backward=True, width=2).maps if isinstance(m, ShakeShake)} == {ShakeStep}
    assert {type(m) for m in shake_shake(14, width=2).maps if isinstance(m, ShakeShake)} == {ShakeShake}


@pytest.mark.parametrize("survival", [0.0, -0.2, 1.1, math.nan])
def test_survival_is_a_probability(survival: float) -> None:
    with pytest.raises(ValueError, match="probability in"):
        stochastic_depth(14, survival)
