"""The same numbers from torchdiffeq: its adaptive solver, its adjoint and its fixed steps, beside ours."""

import math
from typing import Any

import pytest
import torch
import torchdiffeq
from torch import Tensor

from companion import RK4, DenseField, Euler, FlowDensity, Midpoint, NeuralODE, SmoothPath, TimeDependent, adaptive

FINE = {"rtol": 1e-11, "atol": 1e-12}


def field(dim: int = 3) -> DenseField:
    F = DenseField(dim, 8).double()
    with torch.no_grad():
        F.last.weight *= 3
    return F


def gradients(u: Tensor, x: Tensor, F: torch.nn.Module) -> Tensor:
    found = torch.autograd.grad(u.square().sum(), (x, *F.parameters()))
    return torch.cat([g.flatten() for g in found])


def test_dopri5_agrees_with_ours_to_eight_digits() -> None:
    for F in (field(), TimeDependent(SmoothPath(3))):
        u0 = torch.randn(5, 3, dtype=torch.float64)
        torch.testing.assert_close(adaptive(F, u0, 1.0, **FINE), NeuralODE(F, n=200)(u0), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("scheme", "method"), [(Euler, "euler"), (Midpoint, "midpoint")])
def test_their_fixed_steps_are_our_layers(scheme: Any, method: str) -> None:
    F, u0 = field(), torch.randn(5, 3, dtype=torch.float64)
    theirs = torchdiffeq.odeint(
        lambda t, u: F(u, t), u0, torch.tensor([0.0, 2.0]).double(), method=method, options={"step_size": 0.25}
    )[-1]
    torch.testing.assert_close(NeuralODE(F, 2.0, 8, scheme)(u0), theirs, rtol=0, atol=1e-12)


def test_their_adjoint_and_ours_have_the_same_gradients() -> None:
    F, x = field(), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    net = NeuralODE(F, n=200)
    reference = gradients(adaptive(F, x, 1.0, **FINE), x, F)
    for u in (adaptive(F, x, 1.0, **FINE, adjoint=True), net(x), net.adjoint(x)):
        torch.testing.assert_close(gradients(u, x, F), reference, rtol=1e-7, atol=1e-7)


def test_times_of_the_adaptive_solver() -> None:
    """u' = cos(t) u: u(t) = e^{sin t}."""
    one = torch.ones(2, dtype=torch.float64)
    path = adaptive(lambda u, t: torch.cos(t) * u, one, [0.5, 1.5, 2.5])
    assert path.shape == (3, 2)
    exact = torch.tensor([math.exp(math.sin(t)) for t in (0.5, 1.5, 2.5)], dtype=torch.float64)
    torch.testing.assert_close(path[:, 0], exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(adaptive(lambda u, t: torch.cos(t) * u, one, 2.5), path[-1], rtol=0, atol=1e-5)


def test_the_log_density_by_their_solver() -> None:
    F, x = field(2), torch.randn(20, 2, dtype=torch.float64)

    def backwards(s: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            u = y[0].detach().requires_grad_()
            value = F(u, 1 - s)
            div = sum(torch.autograd.grad(value[:, i].sum(), u, retain_graph=True)[0][:, i] for i in range(2))
        return -value.detach(), div

    z, D = torchdiffeq.odeint(backwards, (x, torch.zeros(20).double()), torch.tensor([0.0, 1.0]).double(), **FINE)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z[-1]).sum(-1) - D[-1]
    torch.testing.assert_close(FlowDensity(F, n=100, scheme=RK4).log_prob(x), expected, rtol=0, atol=1e-7)
