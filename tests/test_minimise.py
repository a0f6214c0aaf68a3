"""L-BFGS for S problems at once: each ends at its minimum, on the path that it takes alone, whatever the others do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der
from torch import Tensor

from companion.lab.minimise import C1, C2, Minimum, _between, _two_loops, minimise, minimise_each
from companion.nets.pdenet import block_loss, pdenet

STARTS = torch.tensor([[-1.2, 1.0, 0.5, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, -2.0, 1.0, -1.0]], dtype=torch.float64)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(-1)


def logged(f: Callable[[Tensor], Tensor], x: Tensor, iterations: int) -> tuple[list[Minimum], list[list[float]]]:
    """What minimise_each comes to from a start, and all the losses it has seen."""
    seen: list[list[float]] = []
    x.requires_grad_()

    def losses() -> Tensor:
        value = f(x)
        seen.append(value.tolist())
        return value

    return minimise_each(losses, [x], iterations), seen


# ---- the minimum ----


def test_quadratics_of_any_scale_end_at_their_own_minimum() -> None:
    """Condition 1e1 ... 1e4, sizes 1e-2 ... 1e4: the solutions of A x = b by numpy."""
    generator = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(4, 12, 12, dtype=torch.float64, generator=generator))[0]
    condition, size = torch.tensor([1e1, 1e2, 1e3, 1e4]).double(), torch.tensor([1e4, 1e-2, 1.0, 1e2]).double()
    powers = torch.linspace(0, 1, 12, dtype=torch.float64)
    A = size[:, None, None] * (Q * condition[:, None, None] ** powers) @ Q.mT
    b = size[:, None] * torch.randn(4, 12, dtype=torch.float64, generator=generator)
    x = torch.zeros(4, 12, dtype=torch.float64)
    ends, seen = logged(lambda x: 0.5 * ((A @ x[..., None])[..., 0] * x).sum(-1) - (b * x).sum(-1), x, 200)
    exact = np.linalg.solve(A.numpy(), b.numpy()[..., None])[..., 0]
    assert np.allclose(x.detach(), exact, rtol=1e-5, atol=1e-5)
    assert [end.loss for end in ends] == pytest.approx([min(column) for column in zip(*seen, strict=True)], abs=0)
    assert all(end.finite and end.evaluations < 300 for end in ends)


def test_rosenbrock_ends_where_scipy_ends_and_takes_no_longer() -> None:
    x = STARTS.clone()
    scale = torch.tensor([1.0, 1e-2, 1e3], dtype=torch.float64)
    ends, seen = logged(lambda x: scale * rosenbrock(x), x, 200)
    for s, start in enumerate(STARTS):
        theirs = minimize(rosen, start.numpy(), jac=rosen_der, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
        assert ends[s].loss <= float(scale[s]) * theirs.fun + 1e-12
        assert np.allclose(x[s].detach(), theirs.x, atol=1e-5)
        first = next(i for i, row in enumerate(seen) if row[s] < float(scale[s]) * (theirs.fun + 1e-8))
        assert first < 2 * theirs.nfev


def test_it_is_as_quick_as_torch() -> None:
    """Evaluations until Rosenbrock's function of 20 variables is below 1e-8, against torch's own L-BFGS."""

    def count(run: Callable[[Callable[[], Tensor], Tensor], object]) -> int:
        x, seen = torch.zeros(20, dtype=torch.float64, requires_grad=True), []

        def loss() -> Tensor:
            value = rosenbrock(x)
            seen.append(float(value.detach()))
            return value

        run(loss, x)
        return next(i for i, value in enumerate(seen) if value < 1e-8)

    def torchs(loss: Callable[[], Tensor], x: Tensor) -> None:
        optimiser = torch.optim.LBFGS([x], max_iter=400, history_size=50, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            value = loss()
            value.backward()
            return value

        optimiser.step(closure)

    assert count(lambda loss, x: minimise(loss, [x], 400)) <= 1.2 * count(torchs)


# ---- its parts ----


def test_two_triangular_systems_are_the_two_loops() -> None:
    """Algorithm 7.4 of Nocedal and Wright, line by line; zero pairs are no pairs."""
    generator = torch.Generator().manual_seed(1)
    s, y = torch.randn(2, 3, 5, 7, dtype=torch.float64, generator=generator)
    y = torch.where((s * y).sum(-1, keepdim=True) < 0, -y, y)
    s[1, :2] = y[1, :2] = 0
    s[2] = y[2] = 0
    g = torch.randn(3, 7, dtype=torch.float64, generator=generator)
    for problem, result in enumerate(_two_loops(g, s, y)):
        pairs = [(a, b) for a, b in zip(s[problem].numpy(), y[problem].numpy(), strict=True) if a.any()]
        q, alphas = g[problem].numpy().copy(), []
        for a, b in reversed(pairs):
            alphas.insert(0, a @ q / (a @ b))
            q -= alphas[0] * b
        r = q * (pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]) if pairs else 1)
        for (a, b), alpha in zip(pairs, alphas, strict=True):
            r += a * (alpha - b @ r / (a @ b))
        assert np.allclose(result, r, rtol=1e-10)


def test_the_cubic_ends_at_its_minimum() -> None:
    """f = t^3 - 2 t^2 has its minimum at 4/3, between 1/2 and 2; no number at the right end: a tenth; no end: on."""
    f, slope = lambda t: t**3 - 2 * t**2, lambda t: 3 * t**2 - 4 * t
    low = torch.tensor([[t, f(t), slope(t)] for t in (0.5, 0.5, 0.5)], dtype=torch.float64)
    high = torch.tensor([[2.0, f(2.0), slope(2.0)], [2.0, np.nan, np.nan], [np.inf] * 3], dtype=torch.float64)
    assert _between(low, high)[:, 0].tolist() == pytest.approx([4 / 3, 0.65, 2.0])


def test_every_step_obeys_the_strong_wolfe_conditions() -> None:
    """Of one problem: where the next search begins, the last one has ended, and its slopes are known from outside."""
    points: list[tuple[np.ndarray, float, np.ndarray]] = []
    x = STARTS[:1].clone().requires_grad_()

    def losses() -> Tensor:
        p = x.detach()[0].numpy().copy()
        points.append((p, rosen(p), rosen_der(p)))
        return rosenbrock(x)

    (end,) = minimise_each(losses, [x], 60)
    here, steps = points[0], 0
    for there in points[1:]:
        d = there[0] - here[0]
        fell = there[1] <= here[1] + C1 * (here[2] @ d) * (1 + 1e-9)
        if fell and abs(there[2] @ d) <= -C2 * (here[2] @ d):
            here, steps = there, steps + 1
    assert steps > 25 and here[1] == pytest.approx(end.loss, rel=1e-12)  # the accepted ones alone lead to the minimum


# ---- each alone ----


def test_together_each_takes_the_path_that_it_takes_alone() -> None:
    x = STARTS.clone()
    ends, seen = logged(rosenbrock, x, 25)
    for s in range(3):
        alone = STARTS[s : s + 1].clone()
        (end,), theirs = logged(rosenbrock, alone, 25)
        assert end.evaluations == ends[s].evaluations and end.loss == pytest.approx(ends[s].loss, rel=1e-8)
        n = len(theirs)
        assert np.allclose([row[s] for row in seen[:n]], [row[0] for row in theirs], rtol=1e-8)
        assert torch.allclose(alone[0], x[s], rtol=1e-8)


def test_stacked_nets_are_the_nets_alone() -> None:
    """Three PDE-Nets with filters learned, ten iterations of two blocks on films of their own."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(3, 2, 3, 2, 8, 8, dtype=torch.float64, generator=generator)
    u = u[:, :, :1] + 0.01 * u.cumsum(2)
    net = pdenet(2, h=0.8, dt=0.01, hidden=2, nets=3, generator=generator)
    first = {name: p.detach().clone() for name, p in net.named_parameters()}
    ends = minimise_each(lambda: block_loss(net, u, 0.01), list(net.parameters()), 10)
    for s in range(3):
        alone = pdenet(2, h=0.8, dt=0.01, hidden=2)
        with torch.no_grad():
            for name, p in alone.named_parameters():
                p.copy_(first[name][s])
        end = minimise(lambda: block_loss(alone, u[s], 0.01), list(alone.parameters()), 10)  # noqa: B023
        assert end.loss == pytest.approx(ends[s].loss, rel=1e-8) and end.evaluations == ends[s].evaluations
        for name, p in alone.named_parameters():
            assert torch.allclose(p, dict(net.named_parameters())[name][s], rtol=1e-6, atol=1e-9)
            assert not torch.equal(p, first[name][s])


@pytest.mark.parametrize("when", [0, 7])
@pytest.mark.parametrize("what", [torch.inf, torch.nan])
def test_one_that_blows_up_leaves_the_others_as_they_are(when: int, what: float) -> None:
    """From its evaluation number `when` on, the second of three is no number; with 0 it never was one."""
    calls = []

    def broken(x: Tensor) -> Tensor:
        calls.append(0)
        bad = torch.tensor([False, len(calls) > when, False])
        return torch.where(bad, what, rosenbrock(x))

    x, y = STARTS.clone(), STARTS.clone()
    good, _ = logged(rosenbrock, x, 40)
    ends, seen = logged(broken, y, 40)
    assert torch.equal(x[[0, 2]], y[[0, 2]]) and (ends[0], ends[2]) == (good[0], good[2])
    assert ends[1].finite == (when > 0)
    if when:
        assert ends[1].loss == min(row[1] for row in seen[:when]) == float(rosenbrock(y[1]).detach())
    else:
        assert ends[1].loss == torch.inf and ends[1].evaluations == 1 and torch.equal(y[1], STARTS[1])


def test_what_is_kept_is_the_least_that_was_seen() -> None:
    """Cut in the midst of a line search, too."""
    for iterations in (1, 2, 3, 5, 8):
        x = STARTS.clone()
        ends, seen = logged(rosenbrock, x, iterations)
        for s, end in enumerate(ends):
            mine = [row[s] for row in seen[: end.evaluations]]
            assert end.loss == min(mine) == float(rosenbrock(x[s]).detach()) and end.evaluations <= 2 * iterations


def test_a_pair_of_negative_curvature_is_no_pair() -> None:
    """log(1 + x^2) is concave for |x| > 1; from 30 the step grows until it has come down."""
    x = torch.tensor([[30.0], [0.5]], dtype=torch.float64)
    ends, _ = logged(lambda x: (1 + x[:, 0] ** 2).log(), x, 60)
    assert torch.allclose(x, torch.zeros(2, 1, dtype=torch.float64), atol=1e-8) and all(
        e.evaluations < 60 for e in ends
    )


def test_before_a_jump_it_goes_as_far_as_it_can() -> None:
    """(x + 1)^2, and 10 more where x < 1, as a net jumps where it changes sides: it ends just above 1."""
    x = torch.tensor([[3.0]], dtype=torch.float64)
    (end,), _ = logged(lambda x: (x[:, 0] + 1) ** 2 + 10 * (x[:, 0] < 1), x, 40)
    assert end.loss < 4.01 and float(x.detach()) >= 1 and end.evaluations <= 80


def test_a_single_precision_and_parameters_of_any_shape() -> None:
    a, b = torch.full((2, 3, 2), 3.0, requires_grad=True), torch.full((2,), -1.0, requires_grad=True)
    unused = torch.ones(2, 4, requires_grad=True)
    ends = minimise_each(lambda: (a - 1).square().sum((1, 2)) + (b + 2) ** 2, [a, b, unused], 20)
    assert torch.allclose(a, torch.ones(2, 3, 2)) and torch.allclose(b, torch.full((2,), -2.0))
    assert torch.equal(unused, torch.ones(2, 4)) and a.grad is None and all(end.loss < 1e-8 for end in ends)
    assert minimise_each(lambda: torch.tensor([1.0, torch.nan]), [], 5)[0] == (1.0, 1, True)
    assert not minimise_each(lambda: torch.tensor([1.0, torch.nan]), [], 5)[1].finite
