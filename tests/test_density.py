"""The density that a flow carries: divergence, exact laws, integral one, samples that follow it, and a fit."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from companion import RK4, DenseField, Euler, FlowDensity, Heun, exact_trace, hutchinson, normal_log_prob
from companion.lab.planar import Pinwheel

SCHEMES = pytest.mark.parametrize("scheme", [Euler, Heun, RK4], ids=lambda scheme: scheme.__name__)
A = torch.tensor([[0.3, -1.1], [0.4, -0.6]], dtype=torch.float64)
NORMAL = MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


def linear(u: Tensor, t: Any) -> Tensor:
    return u @ A.T


def law(t: float) -> MultivariateNormal:
    """The exact law of u(t) for u' = A u: normal with the covariance e^{At} e^{A^T t}."""
    M = torch.linalg.matrix_exp(t * A)
    return MultivariateNormal(torch.zeros(2, dtype=torch.float64), M @ M.T)


def strong(seed: int = 0, dim: int = 2) -> DenseField:
    """A field that bends its trajectories."""
    torch.manual_seed(seed)
    F = DenseField(dim, 16, depth=2).double()
    with torch.no_grad():
        F.last.weight *= 4
    return F


def trace_by_loops(F: Any, u: Tensor, t: float) -> Tensor:
    return torch.stack([torch.autograd.functional.jacobian(lambda w: F(w, t), point).trace() for point in u])


# ---- the divergence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_divergence_in_closed_form(depth: int, time: bool) -> None:
    F = DenseField(3, 7, time, depth).double()
    u = torch.randn(5, 3, dtype=torch.float64)
    value, div = F.with_divergence(u, 0.4)
    torch.testing.assert_close(value, F(u, 0.4))
    torch.testing.assert_close(div, trace_by_loops(F, u, 0.4))


def test_the_exact_trace_of_any_field() -> None:
    u = torch.randn(4, 3, dtype=torch.float64)
    F = lambda u, t: torch.sin(u) * u.roll(1, -1) + t * u**2  # noqa: E731
    value, div = exact_trace(F, u, 0.3)
    torch.testing.assert_close(value, F(u, 0.3))
    torch.testing.assert_close(div, trace_by_loops(F, u, 0.3))
    torch.testing.assert_close(exact_trace(F, u[:1].expand(4, 3), 0.3)[1], div[:1].expand(4))


def test_random_signs_have_the_trace_as_mean_and_the_variance_that_is_said() -> None:
    F, u = strong(dim=3), torch.randn(1, 3, dtype=torch.float64)
    S = torch.autograd.functional.jacobian(lambda w: F(w, 0.2), u[0])
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)), dtype=torch.float64)
    seen = hutchinson(F, u.expand(8, 3), 0.2, signs)[1]
    torch.testing.assert_close(seen.mean(), S.trace())
    variance = sum((S[i, j] + S[j, i]) ** 2 for i in range(3) for j in range(i))
    torch.testing.assert_close(seen.var(correction=0), variance)


# ---- the density ------------------------------------------------------------------------------------------------


def test_a_linear_flow_carries_a_normal_law() -> None:
    flow = FlowDensity(linear, n=40, T=1.5, dim=2)
    x = torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x), law(1.5).log_prob(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(flow.log_prob(x, t=0.5), law(0.5).log_prob(x), rtol=0, atol=1e-7)
    torch.testing.assert_close(normal_log_prob(x), NORMAL.log_prob(x))


def test_a_field_that_depends_on_time_is_asked_at_the_right_times() -> None:
    """u' = u/2 + 2 t: u(t) = e^{t/2} u(0) + m(t), m(t) = 8 (e^{t/2} - 1) - 4 t.

    So log p(x, t) = log N((x - m) e^{-t/2}) - t/2.
    """
    flow = FlowDensity(lambda u, t: u / 2 + 2 * t, n=40, T=1.5, dim=1)
    x = torch.linspace(-2, 4, 9, dtype=torch.float64)[:, None]
    for t in (1.5, 1.0):
        m = 8 * math.expm1(t / 2) - 4 * t
        expected = normal_log_prob((x - m) * math.exp(-t / 2)) - t / 2
        torch.testing.assert_close(flow.log_prob(x, t), expected, rtol=0, atol=1e-6)
    assert float(flow.trajectory(x * 0).u[0]) == pytest.approx(8 * math.expm1(0.75) - 6, abs=1e-6)


@SCHEMES
def test_the_order_of_the_log_density(scheme: Any) -> None:
    F, x = strong(), torch.randn(20, 2, dtype=torch.float64)
    exact = FlowDensity(F, n=256).log_prob(x)
    errors = [float((FlowDensity(F, n, scheme).log_prob(x) - exact).norm().detach()) for n in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(scheme.order, abs=0.25)


def integral(flow: FlowDensity, reach: float = 7.0, cells: int = 240) -> float:
    line = (torch.arange(cells, dtype=torch.float64) + 0.5) * (2 * reach / cells) - reach
    with torch.no_grad():
        return float(flow.log_prob(torch.cartesian_prod(line, line)).exp().sum()) * (2 * reach / cells) ** 2


def test_the_density_integrates_to_one() -> None:
    assert integral(FlowDensity(strong(), n=16)) == pytest.approx(1, abs=1e-4)
    assert abs(integral(FlowDensity(strong(), n=2, scheme=Euler)) - 1) > 0.02, "steps too long for a density"


def test_too_long_a_step_claims_more_than_there_is() -> None:
    """u' = a u and one step of Euler backwards: the 'density' e^{-a} N((1 - a) x) has the integral e^{-a} / (1 - a)."""
    flow = FlowDensity(lambda u, t: 0.5 * u, n=1, scheme=Euler, dim=1)
    line = torch.linspace(-15, 15, 3001, dtype=torch.float64)[:, None]
    assert float(flow.log_prob(line).exp().sum()) * 0.01 == pytest.approx(math.exp(-0.5) / 0.5, rel=1e-6)


def test_samples_follow_the_density() -> None:
    """E q(X) / p(X) = 1 for X of density p and any density q, here a narrow normal one."""
    flow = FlowDensity(strong(3), n=16)
    with torch.no_grad():
        x = flow.sample(20000, torch.Generator().manual_seed(1))
        for centre in x[:3]:
            q = NORMAL.log_prob((x - centre) / 0.5) - 2 * math.log(0.5)
            ratio = (q - flow.log_prob(x)).exp()
            assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / len(x) ** 0.5)


def test_there_and_back() -> None:
    flow = FlowDensity(strong(), n=40)
    z = torch.randn(10, 2, dtype=torch.float64)
    x = flow.trajectory(z)
    assert sorted(x.kept) == list(range(41))
    J = [torch.autograd.functional.jacobian(lambda w: flow.trajectory(w, keep=0).u, point) for point in z]
    expected = normal_log_prob(z) - torch.stack(J).det().abs().log()
    torch.testing.assert_close(flow.log_prob(x.u), expected, rtol=0, atol=1e-4)
    seeds = [flow.sample(3, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(seeds[0], seeds[1]) and not torch.equal(seeds[0], seeds[2])


def test_random_signs_give_the_log_density_in_the_mean() -> None:
    F, x = strong(), torch.randn(1, 2, dtype=torch.float64).expand(4000, 2)
    seen = FlowDensity(F, n=8, signs=True).log_prob(x, generator=torch.Generator().manual_seed(0)).detach()
    exact = float(FlowDensity(F, n=8).log_prob(x[0]).detach())
    assert float(seen.std()) > 0.01
    assert float(seen.mean()) == pytest.approx(exact, abs=4 * float(seen.std()) / 4000**0.5)


# ---- the pinwheel, and a fit ------------------------------------------------------------------------------------


def test_the_pinwheels_density_is_that_of_its_samples() -> None:
    law, g = Pinwheel(), torch.Generator().manual_seed(0)
    line = torch.linspace(-6, 6, 601)
    grid = torch.cartesian_prod(line, line)
    assert float(law.log_prob(grid).exp().sum()) * 0.02**2 == pytest.approx(1, abs=1e-4)
    x = law.sample(20000, g)
    mass = law.log_prob(grid).exp().reshape(601, 601)[:600, :600].reshape(24, 25, 24, 25).sum((1, 3)) * 0.02**2
    counts = torch.histogramdd(x, bins=[24, 24], range=[-6.0, 6.0, -6.0, 6.0]).hist
    assert float(((counts - 20000 * mass) / (20000 * mass + 5).sqrt()).abs().max()) < 5
    bound = math.log(5) + 1 + math.log(2 * math.pi * 0.45 * 0.14)  # the entropy, if the arms did not overlap
    assert float(-law.log_prob(x).mean()) == pytest.approx(bound, abs=0.03)


def test_the_twist_is_the_flow_of_a_field_without_divergence() -> None:
    c = Pinwheel().twist
    field = lambda u, t: c * u.norm(dim=-1, keepdim=True) * torch.stack([-u[..., 1], u[..., 0]], -1)  # noqa: E731
    v = torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(exact_trace(field, v, 0.0)[1], torch.zeros(6, dtype=torch.float64))
    twisted = FlowDensity(field, n=200, dim=2).trajectory(v, keep=0).u
    plain = Pinwheel(twist=0.0)
    torch.testing.assert_close(Pinwheel().log_prob(twisted), plain.log_prob(v), rtol=0, atol=1e-5)


def test_maximum_likelihood_comes_nearer_to_the_entropy() -> None:
    law, g = Pinwheel(), torch.Generator().manual_seed(0)
    x, new = law.sample(2048, g), law.sample(2048, g)
    torch.manual_seed(0)
    flow = FlowDensity(DenseField(2, 32, depth=2), n=6)
    optimiser = torch.optim.Adam(flow.parameters(), 0.02)
    for _ in range(120):
        loss = -flow.log_prob(x[torch.randint(len(x), (256,), generator=g)]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        nats = -float(FlowDensity(flow.F, n=24).log_prob(new).mean())  # with finer steps than it was trained with
    gauss = -float(MultivariateNormal(x.mean(0), x.T.cov()).log_prob(new).mean())
    entropy = -float(law.log_prob(new).mean())
    assert entropy < nats < gauss - 0.6
