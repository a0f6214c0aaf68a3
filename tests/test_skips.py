"""y = u + F(y) by gradient steps: what they tend to, how fast, and that gradients go through them."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from companion import ImplicitSkip, Residual


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dissipative(L: float, n: int = 6, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """F(u) = M u with a symmetric M, spectrum from -L to 0."""
    Q, _ = torch.linalg.qr(seeded(n, n, seed=seed))
    M = Q @ torch.diag(torch.linspace(-L, 0, n, dtype=torch.float64)) @ Q.T
    F = nn.Linear(n, n, bias=False).double()
    with torch.no_grad():
        F.weight.copy_(M)
    return F, M


@pytest.mark.parametrize(("L", "many"), [(0.5, 60), (4.0, 300), (9.0, 1000)])
def test_gradient_steps_tend_to_the_implicit_step(L: float, many: int) -> None:
    F, M = dissipative(L)
    u = seeded(5, 6, seed=1)
    y = torch.linalg.solve(torch.eye(6, dtype=torch.float64) - M, u.T).T
    errors = []
    for k in (0, 1, 2, 4, 8, 16):
        skip = ImplicitSkip(F, k)
        errors.append(skip.residual(u, skip(u)).detach())
    assert all(bool((b < a).all()) for a, b in itertools.pairwise(errors)), "each step contracts"
    torch.testing.assert_close(ImplicitSkip(F, many)(u).detach(), y, rtol=1e-6, atol=1e-8)
    assert bool((y.norm(dim=1) <= u.norm(dim=1)).all()), "|1/(1 - z)| <= 1"


def test_the_best_rate_is_the_best_rate() -> None:
    """One step of steepest descent against a fine search over rates, element by element."""
    F, M = dissipative(4.0)
    u = seeded(3, 6, seed=1)
    A = torch.eye(6, dtype=torch.float64) - M
    y0 = u + u @ M.T
    g = (y0 @ A.T - u) @ A
    found = ImplicitSkip(F, 1)(u).detach()
    for i in range(3):
        rates = torch.linspace(0, 1, 100001, dtype=torch.float64)
        residuals = ((y0[i] - rates[:, None] * g[i]) @ A.T - u[i]).norm(dim=1)
        best = rates[residuals.argmin()]
        torch.testing.assert_close(found[i], y0[i] - best * g[i], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("z", [-0.3, -1.0, -3.0, 0.4])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_stability_function_of_a_fixed_rate(z: float, k: int) -> None:
    F = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(F.weight, z)
    lr = 0.05
    R = 1 / (1 - z) + (1 - lr * (1 - z) ** 2) ** k * (1 + z - 1 / (1 - z))
    u = torch.ones(1, 1, dtype=torch.float64)
    assert float(ImplicitSkip(F, k, lr)(u).detach()) == pytest.approx(R, abs=1e-13)
    assert float(ImplicitSkip(F, 1)(u).detach()) == pytest.approx(1 / (1 - z), abs=1e-13), "a number needs one step"


@pytest.mark.parametrize("lr", [None, 0.1])
def test_gradients_go_through_the_steps(lr: float | None) -> None:
    torch.manual_seed(0)
    F = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    skip = ImplicitSkip(F, 2, lr)
    W = F[0].weight

    def of(u: Tensor, w: Tensor) -> Tensor:
        return torch.func.functional_call(skip, {"F.0.weight": w}, (u,))

    assert torch.autograd.gradcheck(of, (seeded(3, 4).requires_grad_(), W.detach().clone().requires_grad_()))


@pytest.mark.parametrize("lr", [None, 0.02])
@pytest.mark.parametrize("training", [True, False])
def test_a_residual_block(lr: float | None, training: bool) -> None:
    """The residual falls with the number of steps, in training with batch norm held at F(u)."""
    torch.manual_seed(0)
    F = Residual(4).double()
    u = seeded(3, 4, 6, 6)
    F(u)
    F.train(training)
    residuals = []
    for k in (0, 1, 2, 4, 8, 16):
        skip = ImplicitSkip(F, k, lr)
        residuals.append(float(skip.residual(u, skip(u)).detach().mean()))
    assert all(b < a for a, b in itertools.pairwise(residuals)), residuals
    assert residuals[-1] < 0.6 * residuals[0]


def test_elements_of_a_batch_have_rates_of_their_own() -> None:
    F, _ = dissipative(4.0)
    u = seeded(5, 6, seed=1) * torch.tensor([1.0, 100.0, 0.01, 1.0, 0.0], dtype=torch.float64)[:, None]
    skip = ImplicitSkip(F, 3)
    one_by_one = torch.cat([skip(u[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(skip(u), one_by_one, rtol=1e-12, atol=1e-14)
    assert torch.equal(skip(u)[4], torch.zeros(6, dtype=torch.float64)), "0 is a fixed point, and no 0/0"


def test_without_a_graph_it_is_the_same() -> None:
    F, _ = dissipative(4.0)
    u = seeded(5, 6, seed=1)
    skip = ImplicitSkip(F, 3)
    with torch.no_grad():
        y = skip(u)
    assert not y.requires_grad
    assert torch.equal(y, skip(u).detach())
    assert not u.requires_grad
