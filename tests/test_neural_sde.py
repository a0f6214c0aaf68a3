"""Neural SDEs: the maps, the weak order on an exact law, gradients along the path, and what training reaches."""

import math

import pytest
import torch
from torch import Tensor, nn

from companion import DenseField, NeuralODE, NeuralSDE, OrnsteinUhlenbeck, PositiveField, energy_distance, run
from companion.flows.schemes import Euler

OU = OrnsteinUhlenbeck(theta=1.5, mu=0.8, sigma=0.6)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_network_is_a_list_of_noisy_residual_layers() -> None:
    f, g = DenseField(2, 4).double(), PositiveField(DenseField(2, 4)).double()
    x0 = torch.randn(5, 2, dtype=torch.float64)
    x, noise = x0, generator()
    for k in range(3):
        xi = torch.randn(5, 2, generator=noise, dtype=torch.float64)
        x = x + 0.5 * f(x, 0.5 * k) + 0.5**0.5 * torch.log(1 + torch.exp(g.F(x, 0.5 * k))) * xi
    torch.testing.assert_close(NeuralSDE(f, g, T=1.5, n=3)(x0, generator()), x)


def test_without_noise_it_is_the_neural_ode() -> None:
    f, x0 = DenseField(2, 4), torch.randn(5, 2)
    net = NeuralSDE(f, lambda x, t: torch.zeros_like(x), T=2.0, n=5)
    torch.testing.assert_close(net(x0), NeuralODE(f, 2.0, 5, Euler)(x0))
    assert sorted(net.trajectory(x0, keep=2).kept) == [0, 2, 4, 5]
    assert len(net.maps(7)) == 7 and sum(step.dt for step in net.maps(7)) == pytest.approx(2.0)


def test_the_moments_of_the_scheme_by_its_recursion() -> None:
    mean, variance = -1.0, 0.0
    for _ in range(6):  # X + dt theta (mu - X) + sigma dt^{1/2} xi
        mean, variance = mean + 0.25 * 1.5 * (0.8 - mean), variance * (1 - 0.25 * 1.5) ** 2 + 0.6**2 * 0.25
    assert OU.scheme_moments(-1.0, 1.5, 6) == pytest.approx((mean, variance), rel=1e-6)


def test_the_exact_moments_solve_their_equations() -> None:
    """m' = theta (mu - m), v' = sigma^2 - 2 theta v."""
    e = 1e-4
    for t in (0.3, 1.0):
        (m0, v0), (m, v), (m1, v1) = (OU.moments(-1.0, s) for s in (t - e, t, t + e))
        assert (m1 - m0) / (2 * e) == pytest.approx(1.5 * (0.8 - m), abs=1e-6)
        assert (v1 - v0) / (2 * e) == pytest.approx(0.36 - 3 * v, abs=1e-6)
    assert OU.moments(-1.0, 0.0) == (pytest.approx(-1.0), 0.0)
    assert OU.moments(-1.0, 50.0) == pytest.approx((0.8, 0.12), rel=1e-6)


@pytest.mark.parametrize("which", [0, 1], ids=["mean", "variance"])
def test_the_weak_order_is_one(which: int) -> None:
    errors = [abs(OU.scheme_moments(-1.0, 1.0, n)[which] - OU.moments(-1.0, 1.0)[which]) for n in (32, 64, 128)]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n", [2, 8])
def test_the_networks_moments_are_those_of_the_scheme_not_of_the_equation(n: int) -> None:
    x = NeuralSDE(OU.drift, OU.diffusion, n=n)(torch.full((100000, 1), -1.0), generator())
    mean, variance = OU.scheme_moments(-1.0, 1.0, n)
    assert float(x.mean()) == pytest.approx(mean, abs=4 * math.sqrt(variance / 1e5))
    assert float(x.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / 1e5))
    if n == 2:
        assert abs(float(x.mean()) - OU.moments(-1.0, 1.0)[0]) > 0.1


def test_the_gradient_along_the_path_is_a_finite_difference_with_the_same_noise() -> None:
    f, g = DenseField(2, 5).double(), PositiveField(DenseField(2, 5)).double()
    net, x0 = NeuralSDE(f, g, n=6), torch.randn(50, 2, dtype=torch.float64)

    def loss() -> Tensor:
        return net(x0, generator(3)).square().mean()

    loss().backward()
    for weight in (f.last.weight, g.F.first.weight):
        with torch.no_grad():
            weight[0, 1] += 1e-5
            above = loss()
            weight[0, 1] -= 2e-5
            below = loss()
            weight[0, 1] += 1e-5
        assert float(weight.grad[0, 1]) == pytest.approx(float(above - below) / 2e-5, rel=1e-6, abs=1e-9)


def test_the_gradient_of_the_variance_in_sigma() -> None:
    """Var X^n = sigma^2 c: along the path dX/dsigma = (X - E X)/sigma, so the derivative of the variance is exact."""
    ou = OrnsteinUhlenbeck()
    ou.sigma = nn.Parameter(torch.tensor(0.7))
    variance = NeuralSDE(ou.drift, ou.diffusion)(torch.zeros(1000, 1), generator()).var()
    variance.backward()
    assert float(ou.sigma.grad) == pytest.approx(2 * float(variance.detach()) / 0.7, rel=1e-5)


def test_the_energy_distance_by_loops() -> None:
    x, y = torch.randn(5, 2), torch.randn(4, 2) + 1
    between = sum(float((a - b).norm()) for a in x for b in y) / 20
    within = [sum(float((a - b).norm()) for a in z for b in z) / (len(z) * (len(z) - 1)) for z in (x, y)]
    assert float(energy_distance(x, y)) == pytest.approx(2 * between - sum(within), rel=1e-5)


def test_the_energy_distance_is_unbiased_and_tells_laws_apart() -> None:
    same = torch.stack([energy_distance(torch.randn(20, 1), torch.randn(20, 1)) for _ in range(400)])
    assert float(same.mean()) == pytest.approx(0, abs=4 * float(same.std()) / 20)
    assert float(energy_distance(torch.randn(2000, 1), torch.randn(2000, 1) + 0.5)) > 0.1
    x = torch.zeros(3, 1, requires_grad=True)
    energy_distance(x, torch.ones(3, 1)).backward()
    assert torch.isfinite(x.grad).all()


def trained(net: nn.Module, loss: object, count: int, lr: float) -> None:
    optimiser = torch.optim.Adam(net.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, count)
    for _ in range(count):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()


def test_from_a_point_to_two_hills() -> None:
    """An ODE takes a point to a point; the SDE takes it to a law with two modes."""
    noise = generator()

    def data(n: int) -> Tensor:
        signs = torch.randint(2, (n, 1), generator=noise) * 2.0 - 1
        return signs + 0.25 * torch.randn(n, 1, generator=noise)

    net = NeuralSDE(DenseField(1, 16), PositiveField(DenseField(1, 8)), n=10)
    trained(net, lambda: energy_distance(net(torch.zeros(256, 1), noise), data(256)), 150, 0.03)
    with torch.no_grad():
        x = net(torch.zeros(3000, 1), noise)
    assert float(energy_distance(x, data(3000))) < 0.03
    assert float((x.abs() < 0.3).float().mean()) < 0.15 and 0.4 < float((x > 0).float().mean()) < 0.6


def test_drift_and_diffusion_are_found_from_samples_at_two_times() -> None:
    noise = generator()

    def exact(t: float) -> Tensor:
        mean, variance = OU.moments(-1.0, t)
        return mean + math.sqrt(variance) * torch.randn(2000, 1, generator=noise)

    early, late = exact(0.5), exact(1.5)
    ou = OrnsteinUhlenbeck(theta=0.5, mu=0.0, sigma=1.0)
    for name in ("theta", "mu", "sigma"):
        setattr(ou, name, nn.Parameter(getattr(ou, name).clone()))
    net = NeuralSDE(ou.drift, ou.diffusion, T=1.5, n=15)

    def loss() -> Tensor:
        maps = net.maps(generator=noise)
        middle = run(maps[:5], torch.full((256, 1), -1.0)).u
        i = torch.randint(2000, (256,), generator=noise)
        return energy_distance(middle, early[i]) + energy_distance(run(maps[5:], middle).u, late[i])

    trained(ou, loss, 150, 0.05)
    found = [float(value.detach()) for value in (ou.theta, ou.mu, ou.sigma)]
    assert found == [pytest.approx(1.5, abs=0.15), pytest.approx(0.8, abs=0.06), pytest.approx(0.6, abs=0.06)]
