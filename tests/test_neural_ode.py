"""A neural ODE is a residual network; its gradient, its depth limit, and what a flow cannot do."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from companion import (
    RK4,
    BrownianPath,
    DenseField,
    Euler,
    Heun,
    IndependentWeights,
    NeuralODE,
    RoughPath,
    SmoothPath,
    StabilityWarning,
    TimeDependent,
    augment,
    run,
)

SCHEMES = pytest.mark.parametrize("scheme", [Euler, Heun, RK4], ids=lambda scheme: scheme.__name__)


def rates(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in pairwise(errors)]


def slope(errors: list[float]) -> float:
    """The mean rate over all halvings of dt."""
    return math.log2(errors[0] / errors[-1]) / (len(errors) - 1)


def gradient(net: NeuralODE, u0: Tensor, how: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of |u(T)|^2 in u_0 and in the parameters, as one vector."""
    net.zero_grad()
    x = u0.clone().requires_grad_()
    how(x).square().sum().backward()
    return torch.cat([x.grad.flatten(), *(p.grad.flatten() for p in net.F.parameters())])


# ---- the field and the layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_dense_field_is_its_formula(depth: int, time: bool) -> None:
    F = DenseField(3, 5, time, depth).double()
    A, b = F.first.weight, F.first.bias
    for u in torch.randn(4, 3, dtype=torch.float64):
        v = torch.tanh(A @ torch.cat([u, torch.tensor([0.7]).double()]) + b if time else A @ u + b)
        if depth == 2:
            v = torch.tanh(F.middle.weight @ v + F.middle.bias)
        torch.testing.assert_close(F(u, 0.7), F.last.weight @ v + F.last.bias)


def test_the_network_is_a_list_of_residual_layers() -> None:
    F = DenseField(2, 4).double()
    u = u0 = torch.randn(5, 2, dtype=torch.float64)
    for k in range(3):
        u = u + 0.5 * F(u, 0.5 * k)
    torch.testing.assert_close(NeuralODE(F, T=1.5, n=3, scheme=Euler)(u0), u, rtol=0, atol=1e-15)


def test_the_layers_are_made_again_when_what_they_are_made_of_changes() -> None:
    net, u0 = NeuralODE(DenseField(2, 4), n=3), torch.randn(5, 2)
    assert net.maps() is not net.maps() and all(a is b for a, b in zip(net.maps(), net.maps(), strict=True))
    assert [len(net.maps(n)) for n in (5, None)] == [5, 3]
    other = copy.deepcopy(net)
    for change, value in (("F", DenseField(2, 4)), ("T", 0.5), ("n", 4), ("scheme", Euler)):
        setattr(net, change, value)
        torch.testing.assert_close(net(u0), NeuralODE(net.F, net.T, net.n, net.scheme)(u0), rtol=0, atol=0)
    with torch.no_grad():  # the copy's layers are of the copy's field
        other.F.last.weight.zero_()
        torch.testing.assert_close(other(u0), u0 + other.F.last.bias)


def test_a_step_that_has_become_too_long_is_announced() -> None:
    F = DenseField(2, 4)
    net = NeuralODE(F, n=4)
    net(torch.zeros(1, 2))
    F.max_dt = 0.1
    with pytest.warns(StabilityWarning, match="stable for dt <= 0.1"):
        net(torch.zeros(1, 2))


def test_the_clock_of_the_layers() -> None:
    """Simpson's rule is exact for cubics: int_0^2 4 t^3 dt = 16, whatever n."""
    net = NeuralODE(lambda u, t: torch.full_like(u, 4 * t**3), T=2.0, n=3)
    torch.testing.assert_close(net(torch.zeros(2, dtype=torch.float64)), torch.full((2,), 16.0, dtype=torch.float64))


@SCHEMES
def test_the_order_in_depth(scheme: Any) -> None:
    """u' = cos(t) u, u(t) = e^{sin t}."""
    net = NeuralODE(lambda u, t: math.cos(t) * u, T=2.0, scheme=scheme)
    one = torch.ones(1, dtype=torch.float64)
    errors = [float((run(net.maps(n), one).u - math.exp(math.sin(2.0))).abs()) for n in (16, 32, 64, 128)]
    assert rates(errors)[-1] == pytest.approx(scheme.order, abs=0.15)


def test_the_trajectory_ends_where_the_network_does() -> None:
    net = NeuralODE(DenseField(2, 4), n=6)
    u0 = torch.randn(3, 2)
    path = net.trajectory(u0, keep=2)
    assert sorted(path.kept) == [0, 2, 4, 6]
    assert torch.equal(path.u, net(u0)) and torch.equal(path.kept[0], u0)
    assert torch.equal(net.trajectory(u0, n=3).kept[3], run(net.maps(3), u0).u)


# ---- two gradients ----------------------------------------------------------------------------------------------


@SCHEMES
def test_the_adjoint_equations_gradient_tends_to_that_of_the_ode(scheme: Any) -> None:
    F, u0 = DenseField(3, 6).double(), torch.randn(4, 3, dtype=torch.float64)
    exact = gradient(fine := NeuralODE(F, 2.0, 400), u0, fine)
    nets = [NeuralODE(F, 2.0, n, scheme) for n in (32, 64, 128)]
    discrete = [gradient(net, u0, net) for net in nets]
    adjoint = [gradient(net, u0, net.adjoint) for net in nets]
    for found in (discrete, adjoint):
        assert slope([float((g - exact).norm()) for g in found]) == pytest.approx(scheme.order, abs=0.15)
    apart = [float((g - h).norm()) for g, h in zip(discrete, adjoint, strict=True)]
    assert slope(apart) > scheme.order - 0.15  # Heun's two gradients are nearer: they differ by O(dt^3)
    assert apart[0] > 1e-10, "the adjoint's gradient is not that of the discrete loss"


def test_both_gradients_of_a_linear_ode_in_its_start() -> None:
    """u' = A u: the gradient of w . u(T) is e^{A^T T} w; backwards, the scheme multiplies by the same polynomial."""
    A, w = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    net = NeuralODE(lambda u, t: u @ A.T, T=1.5, n=100)
    exact = torch.linalg.matrix_exp(1.5 * A).T @ w
    for how in (net, net.adjoint):
        u0 = torch.randn(3, dtype=torch.float64, requires_grad=True)
        (how(u0) @ w).backward()
        torch.testing.assert_close(u0.grad, exact, rtol=0, atol=1e-6 * float(exact.norm()))


def test_the_adjoint_has_the_same_value_and_leaves_frozen_parameters_alone() -> None:
    net = NeuralODE(DenseField(2, 4), n=5)
    net.F.first.weight.requires_grad_(False)
    u0 = torch.randn(7, 2)
    assert torch.equal(net.adjoint(u0), net(u0))
    net.adjoint(u0).sum().backward()
    assert net.F.first.weight.grad is None and net.F.last.weight.grad is not None


def kept_for_the_gradient(how: Callable[[Tensor], Tensor], u0: Tensor) -> int:
    """Bytes that the forward pass keeps for the backward pass, each storage once."""
    sizes: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        u = how(u0)
    assert u.requires_grad
    return sum(sizes.values())


def test_the_adjoints_memory_does_not_grow_with_the_depth() -> None:
    F, u0 = DenseField(2, 8), torch.randn(64, 2)
    nets = [NeuralODE(F, n=n) for n in (4, 8, 16)]
    a, b, c = (kept_for_the_gradient(net, u0) for net in nets)
    assert c - b > 0.9 * 2 * (b - a) > 0, "back-propagation keeps every layer"
    flat = [kept_for_the_gradient(net.adjoint, u0) for net in nets]
    state, weights = u0.numel() * 4, sum(p.numel() * 4 for p in F.parameters())
    assert flat == [state + weights] * 3


def test_backwards_a_contraction_expands_rounding() -> None:
    """v' = -a (v - 1), w' = c v: dw(1)/dc = int v dt. v is recovered from v(1) = 1 + e^{-a} v(0), rounded to 1."""

    class Fed(nn.Module):
        def __init__(self, a: float):
            super().__init__()
            self.a, self.c = a, nn.Parameter(torch.ones(()))

        def forward(self, u: Tensor, t: Any) -> Tensor:
            v = u[..., 0]
            return torch.stack([-self.a * (v - 1), self.c * v], -1)

    def derivative(a: float, how: str) -> float:
        F = Fed(a)
        net = NeuralODE(F, n=200)
        (net.adjoint if how == "adjoint" else net)(torch.tensor([3.0, 0.0]))[1].backward()
        return float(F.c.grad)

    for a, bad in ((2.0, 1e-5), (20.0, 0.05)):
        exact = 1 + 2 * (1 - math.exp(-a)) / a
        assert derivative(a, "discrete") == pytest.approx(exact, abs=2e-5)
        error = abs(derivative(a, "adjoint") - exact)
        assert error < 2e-5 if a == 2.0 else error > bad


# ---- what a flow cannot do --------------------------------------------------------------------------------------


def test_on_the_line_a_flow_keeps_the_order() -> None:
    u0 = torch.linspace(-2, 2, 201, dtype=torch.float64)[:, None]
    for seed in range(5):
        torch.manual_seed(seed)
        F = DenseField(1, 16).double()
        with torch.no_grad():
            F.last.weight *= 8
            moved = NeuralODE(F, n=200)(u0)
        assert bool((moved.diff(dim=0) > 0).all())
        assert float((moved[[0, -1]] + u0[[0, -1]]).abs().max()) >= 2.0, "no increasing map is near u -> -u"


def test_one_long_step_may_cross_and_one_more_dimension_may_pass() -> None:
    u = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    assert torch.equal(NeuralODE(lambda u, t: -2 * u, n=1, scheme=Euler)(u), -u)  # dt L = 2: no flow
    J = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    turned = NeuralODE(lambda u, t: math.pi * u @ J.T, n=64)(augment(u))
    torch.testing.assert_close(turned, augment(-u), rtol=0, atol=1e-6)


# ---- depth refinement -------------------------------------------------------------------------------------------

U0 = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def refined(path: Callable[[int], nn.Module], scheme: Any, depths: tuple[int, ...], seeds: int) -> list[float]:
    """Root mean square of u_N - u_2N over samples and seeds, for each N."""
    squares = torch.zeros(len(depths))
    for seed in range(seeds):
        F = TimeDependent(path(seed))
        ends = {n: NeuralODE(F, n=n, scheme=scheme)(U0) for n in {*depths, *(2 * n for n in depths)}}
        squares += torch.tensor([float((ends[n] - ends[2 * n]).square().sum(-1).mean()) for n in depths])
    return (squares / seeds).sqrt().tolist()


@SCHEMES
def test_smooth_weights_reach_the_order_of_the_scheme(scheme: Any) -> None:
    errors = refined(lambda seed: SmoothPath(3, seed=seed), scheme, (32, 64, 128), seeds=3)
    assert rates(errors)[-1] == pytest.approx(scheme.order, abs=0.2)


@SCHEMES
@pytest.mark.parametrize("h", [0.5, 0.7])
def test_rough_weights_give_the_order_of_their_exponent(h: float, scheme: Any) -> None:
    errors = refined(lambda seed: RoughPath(3, h, seed=seed), scheme, (8, 16, 32, 64), seeds=4)
    assert slope(errors) == pytest.approx(h, abs=0.15)


@SCHEMES
def test_brownian_weights_give_order_one_whatever_the_scheme(scheme: Any) -> None:
    errors = refined(lambda seed: BrownianPath(3, levels=8, seed=seed), scheme, (8, 16, 32), seeds=20)
    assert slope(errors) == pytest.approx(1, abs=0.2)


def test_independent_weights_average_or_do_not_converge() -> None:
    """With 1/N: u' = E F(u), at the rate 1/2. With N^{-1/2}: the ends of one seed stay apart, their law settles."""

    def end(n: int, seed: int, mean: float, dt: float) -> Tensor:
        F = TimeDependent(IndependentWeights(3, n, mean, seed=seed))
        return run([Euler(F, dt, t=k / n) for k in range(n)], U0).u

    def mean_field(seed: int) -> Tensor:
        M = IndependentWeights(3, 1, 1.0, scale=0.0, seed=seed).layers[0]
        noise = torch.randn(2000, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9)) / 3**0.5
        A, b = (M + noise)[..., :3], (M + noise)[..., 3]
        F = lambda u, t: torch.tanh(torch.einsum("kij,bj->kbi", A, u) + b[:, None]).mean(0)  # noqa: E731
        return NeuralODE(F, n=4)(U0)

    limits = [mean_field(seed) for seed in range(12)]
    errors = [
        math.sqrt(sum(float((end(n, s, 1.0, 1 / n) - u).square().sum(-1).mean()) for s, u in enumerate(limits)) / 12)
        for n in (16, 64, 256)
    ]
    assert slope(errors) / 2 == pytest.approx(0.5, abs=0.15)
    small, large = ([end(n, s, 0.0, n**-0.5) for s in range(40)] for n in (16, 64))
    apart = torch.stack([(a - b).norm(dim=-1).mean() for a, b in zip(small, large, strict=True)])
    assert float(apart.mean()) > 0.8, "deeper does not come nearer"
    spread = [float((torch.stack(ends) - U0).square().sum(-1).mean().sqrt()) for ends in (small, large)]
    assert spread[0] == pytest.approx(spread[1], rel=0.15), "but the law settles"


def test_the_paths_are_their_formulas() -> None:
    smooth, t = SmoothPath(2, modes=3, seed=1), 0.3
    expected = smooth.mean.clone()
    for m in (1, 2, 3):
        C, S = smooth.waves[m - 1], smooth.waves[m + 2]
        expected += (C * math.cos(math.pi * m * t) + S * math.sin(math.pi * m * t)) / m**2
    torch.testing.assert_close(smooth(t), expected)
    rough = RoughPath(2, 0.6, levels=9)
    w = sum(2 ** (-0.6 * m) * math.cos(2 * math.pi * 2**m * t) for m in range(9))
    torch.testing.assert_close(rough(t), rough.mean + w * rough.direction)
    assert torch.equal(SmoothPath(2, seed=4)(t), SmoothPath(2, seed=4)(t))
    assert not torch.equal(SmoothPath(2, seed=4)(t), SmoothPath(2, seed=5)(t))


def test_the_rectangle_rule_on_weierstrass_function() -> None:
    path = RoughPath(1, 0.5, levels=20)
    for j in (3, 5):
        n = 2**j
        mean = sum(path(k / n) for k in range(n)) / n - path.mean
        missed = 2 ** (-0.5 * j) * (1 - 2 ** (-0.5 * (20 - j))) / (1 - 2**-0.5)
        torch.testing.assert_close(mean, missed * path.direction)


def test_the_brownian_path_has_independent_increments_of_variance_t() -> None:
    path = BrownianPath(8, levels=10, scale=1.0)
    nodes = torch.stack([path(k / 64) for k in range(65)])
    steps = nodes.diff(dim=0).flatten(1)
    assert float(steps.square().mean()) == pytest.approx(1 / 64 / 8, rel=0.06)
    products = (steps[1:] * steps[:-1]).mean() / steps.square().mean()
    assert abs(float(products)) < 0.06
    torch.testing.assert_close(path(0.0), path.mean)
    torch.testing.assert_close(path(1.5 / 1024), (path(1 / 1024) + path(2 / 1024)) / 2)


def test_each_layer_has_its_own_independent_weights() -> None:
    for n in (7, 10, 49):
        path = IndependentWeights(2, n, mean=0.0)
        assert all(torch.equal(path(k * 1.0 / n), path.layers[k]) for k in range(n))
        assert torch.equal(path(1.0), path.layers[-1])
    shared = IndependentWeights(3, 2, scale=0.0, seed=2).layers
    assert torch.equal(shared, IndependentWeights(3, 50, scale=0.0, seed=2).layers[:2])
