"""Dense connections: the network against a plain loop, and schemes as dense networks with fixed readings."""

import re
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from companion import RK4, AdamsBashforth, DenseStep, Euler, Heun, Reading, densenet, run
from companion.flows.runge_kutta import RungeKutta, Tableau

f64 = torch.float64


def pendulum(u: Tensor) -> Tensor:
    return torch.stack([u[..., 1], -torch.sin(u[..., 0]) - 0.1 * u[..., 1]], -1)


def dense(F: Callable, rows: list[list[float]], u0: Tensor) -> Tensor:
    """All features (batch, k + 1, d) of the dense network that reads with these rows."""
    return run([DenseStep(Reading(F, row)) for row in rows], u0.unsqueeze(1)).u


def test_the_features_are_kept_and_the_new_ones_follow() -> None:
    x = torch.randn(3, 2, 5, dtype=f64)
    y = run([DenseStep(lambda v: v.sum(1, keepdim=True) ** 2)] * 3, x).u
    assert y.shape == (3, 5, 5) and torch.equal(y[:, :2], x)
    features = list(x.unbind(1))
    for _ in range(3):
        features.append(sum(features) ** 2)
    torch.testing.assert_close(y, torch.stack(features, 1))
    last = DenseStep(torch.sin, axis=-1)(x)
    torch.testing.assert_close(last, torch.cat([x, x.sin()], -1))


def test_densenet_is_the_network_written_out() -> None:
    """By torch's functions, from the net's parameters in their order."""
    torch.manual_seed(0)
    net = densenet(10, growth=3, channels=2, classes=4, width=5).double().eval()
    x = torch.randn(2, 2, 8, 12, dtype=f64)
    weights = iter(list(net.parameters()))
    plain = lambda u, gamma, beta: torch.relu(  # noqa: E731
        u / (1 + 1e-5) ** 0.5 * gamma[:, None, None] + beta[:, None, None]
    )
    u = nn.functional.conv2d(x, next(weights), padding=1)
    for stage in range(3):
        if stage:
            gamma, beta, C = next(weights), next(weights), next(weights)
            v = torch.einsum("oi,bihw->bohw", C[:, :, 0, 0], plain(u, gamma, beta))
            u = (v[..., ::2, ::2] + v[..., 1::2, ::2] + v[..., ::2, 1::2] + v[..., 1::2, 1::2]) / 4
        for _ in range(2):
            gamma, beta, C = next(weights), next(weights), next(weights)
            u = torch.cat([u, nn.functional.conv2d(plain(u, gamma, beta), C, padding=1)], 1)
    gamma, beta, A, b = next(weights), next(weights), next(weights), next(weights)
    torch.testing.assert_close(net(x), plain(u, gamma, beta).mean((2, 3)) @ A.T + b)
    assert u.shape[1] == 5 + 6 * 3 and next(weights, None) is None


def test_the_layers_of_densenet_are_counted() -> None:
    net = densenet(13, channels=1, dim=1)
    kernels = [p for p in net.parameters() if p.ndim > 1]
    assert len(kernels) == 13
    assert [k.shape[1] for k in kernels[1:]] == [16, 28, 40, 52, 52, 64, 76, 88, 88, 100, 112, 124]
    net(torch.randn(4, 1, 16)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in kernels)


def test_adams_and_bashforth_is_a_dense_network() -> None:
    """u^{m+1} = u^m + dt (3/2 f_m - 1/2 f_{m-1}): row m + 1 reads what row m reads, and two slopes more."""
    dt, k, u0 = 0.05, 12, torch.randn(4, 2, dtype=f64)
    b = (1.5, -0.5)
    read = [[1.0]]  # u^0 = x_0; row m reads u^m from x_0, f_0, ..., f_{m-1}
    for m in range(1, k + 1):
        row = [*read[-1], 0.0]
        if m == 1:
            row[1] += dt  # the first step is Euler's
        else:
            row[m] += dt * b[0]
            row[m - 1] += dt * b[1]
        read.append(row)
    features = dense(pendulum, read[:-1], u0)
    there = run(AdamsBashforth(pendulum, dt, 2, starter=Euler), u0, k=k).u
    torch.testing.assert_close(Reading(pendulum, read[-1]).read(features), there, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("rows", "b", "scheme"),
    [
        ([[1.0]], [0.5, 0.5], Heun),
        ([[0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6], RK4),
    ],
)
def test_a_runge_kutta_step_is_a_dense_network(rows: list, b: list, scheme: type) -> None:
    dt, u0 = 0.3, torch.randn(5, 2, dtype=f64)
    readings = [[1.0], *([1.0, *(dt * a for a in row)] for row in rows)]
    features = dense(pendulum, readings, u0)
    end = Reading(pendulum, [1.0, *(dt * w for w in b)]).read(features)
    torch.testing.assert_close(end, scheme(pendulum, dt)(u0), rtol=0, atol=1e-14)


def test_readings_that_begin_with_1_are_a_tableau() -> None:
    """The converse: four rows of numbers at random, c_0 = 1, and weights that add up to 1."""
    draw = torch.Generator().manual_seed(3)
    eighths = lambda n: [Fraction(int(k), 8) for k in torch.randint(-8, 9, (n,), generator=draw)]  # noqa: E731
    rows, b = [eighths(i) for i in range(4)], eighths(3)
    b = [*b, 1 - sum(b)]
    dt, u0 = 0.2, torch.randn(3, 2, generator=draw, dtype=f64)
    features = dense(pendulum, [[1.0, *(dt * float(a) for a in row)] for row in rows], u0)
    end = Reading(pendulum, [1.0, *(dt * float(w) for w in b)]).read(features)
    A = tuple((*row, *[Fraction(0)] * (4 - len(row))) for row in rows)
    torch.testing.assert_close(end, RungeKutta(pendulum, dt, Tableau(A, tuple(b)))(u0), rtol=0, atol=1e-13)


def test_the_first_features_have_a_gradient_of_their_own() -> None:
    """d x_n / d x_0 contains the identity, whatever the layers are."""
    F = nn.Linear(3, 3).double()
    x = torch.randn(1, 1, 3, dtype=f64)
    net = lambda v: run([DenseStep(Reading(F, [0.3] * (k + 1))) for k in range(4)], v).u  # noqa: E731
    J = torch.autograd.functional.jacobian(net, x)[0, 0, :, 0, 0]
    torch.testing.assert_close(J, torch.eye(3, dtype=f64))
    assert torch.autograd.gradcheck(net, (x.requires_grad_(),))
    assert net(x.float().detach().double()).dtype == f64
    assert Reading(torch.sin, [1.0])(torch.zeros(2, 1, 3)).dtype == torch.float32


@pytest.mark.parametrize("depth", [4, 6, 11, 3, -2])
def test_depths_that_densenet_has_not(depth: int) -> None:
    with pytest.raises(ValueError, match=re.escape("DenseNet has 3n + 4 layers: a stem, 3n dense steps, two changes")):
        densenet(depth)


def test_readings_of_too_many_features() -> None:
    with pytest.raises(ValueError, match="reads every feature with a number of its own; got 2 numbers for 3 features"):
        Reading(torch.sin, [1.0, 2.0])(torch.zeros(1, 3, 4))
