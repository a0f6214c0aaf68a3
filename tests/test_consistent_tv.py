"""Total variations by interpolated constraints: against plain differences, loops, CVXPY; known edges; learning."""

import itertools
import math

import cvxpy
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from companion import (
    PDHG,
    ROF,
    Balance,
    ConsistentROF,
    Disc,
    Gradient,
    Interpolation,
    TotalVariation,
    condat_kernels,
    consistent_tv,
    edge_cost,
    forward_kernel,
    run,
    unrolled,
)
from companion.nets.consistent_tv import joined, parts, share_out

BORDERS = ("periodic", "reflect")


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def stir(module: nn.Module, size: float = 0.1) -> nn.Module:
    with torch.no_grad():
        for theta in module.parameters():
            theta.add_(size * torch.randn_like(theta))
    return module


def stripes(a: int, b: int, N: int, phase: float = 0.0, fine: int = 8) -> tuple[Tensor, float]:
    """Means over the pixels of chi(a x_1 + b x_2 + phase mod 1 < 1/2) on the torus, and the length of its edges, in
    pixels: 2 N (a^2 + b^2)^{1/2}."""
    t = (torch.arange(N * fine, dtype=torch.float64) + 0.5) / (N * fine)
    chi = (torch.remainder(a * t[:, None] + b * t + phase, 1.0) < 0.5).double()
    return chi.reshape(N, fine, N, fine).mean((1, 3)), 2 * N * math.hypot(a, b)


# ---- the interpolations -----------------------------------------------------------------------------------------


def test_condats_points_by_rolling() -> None:
    """On the torus, from his definitions: p at n + e_1/2, at n + e_2/2 and at n."""
    p = random(2, 5, 6)
    p1, p2 = p
    up, left = (lambda x: x.roll(1, 0)), (lambda x: x.roll(1, 1))  # x[n - e_1], x[n - e_2]
    down, right = (lambda x: x.roll(-1, 0)), (lambda x: x.roll(-1, 1))
    expected = [
        [p1, (p2 + left(p2) + down(p2) + left(down(p2))) / 4],
        [(p1 + up(p1) + right(p1) + up(right(p1))) / 4, p2],
        [(p1 + up(p1)) / 2, (p2 + left(p2)) / 2],
    ]
    found = Interpolation(condat_kernels(), boundary="periodic")(p)
    torch.testing.assert_close(found.detach(), torch.stack([torch.stack(x) for x in expected]), rtol=0, atol=1e-15)


def test_at_a_reflecting_border_no_flux_leaves() -> None:
    p = random(2, 4, 5)
    cut = p.clone()
    cut[0, -1], cut[1, :, -1] = 0, 0
    found = Interpolation(condat_kernels())(p)
    wide = torch.nn.functional.pad(cut, (1, 1, 1, 1))
    on_torus = Interpolation(condat_kernels(), boundary="periodic")(wide)[..., 1:-1, 1:-1]
    torch.testing.assert_close(found, on_torus, rtol=0, atol=1e-15)


def test_the_sums_stay_one_while_the_kernels_are_learned() -> None:
    L = stir(Interpolation(condat_kernels()), 1.0)
    xi = L.xi(L.xi.start)
    torch.testing.assert_close(xi.sum((-2, -1)), torch.ones(3, 2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (xi - condat_kernels()).abs().max() > 0.5
    placed = stir(Interpolation(condat_kernels(), order=2), 1.0)
    k = torch.arange(-1.0, 2.0, dtype=torch.float64)
    for axis in (-2, -1):
        points = [(xi.sum(axis) * k).sum(-1).detach() for xi in (placed.xi(k), condat_kernels())]
        torch.testing.assert_close(points[0], points[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernels", [forward_kernel(), condat_kernels()])
def test_consistent_a_smooth_field_is_interpolated_to_first_order(kernels: Tensor) -> None:
    """L_l p - p = O(h), whatever was learned: the slope of the error is 1."""
    L, errors = stir(Interpolation(kernels, boundary="periodic")), []
    for N in (64, 128):
        t = 2 * torch.pi * torch.arange(N, dtype=torch.float64) / N
        p = torch.stack([t.sin()[:, None] * t.cos(), (t[:, None] + t).cos()])
        errors.append((L(p) - p).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("boundary", BORDERS)
def test_norms_on_the_torus_and_elsewhere(boundary: str) -> None:
    L = stir(Interpolation(condat_kernels(), boundary=boundary))
    for A, like in ((L, random(2, 6, 8)), (Balance(L), random(7, 6, 8))):
        n = like.numel()
        dense = A(torch.eye(n, dtype=torch.float64).reshape(n, *like.shape)).detach().reshape(n, -1)
        largest = torch.linalg.matrix_norm(dense, 2).item()
        assert A.norm(like).item() == pytest.approx(largest, rel=1e-12 if boundary == "periodic" else 1e-3)
        assert not A.norm(like).requires_grad


# ---- before learning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BORDERS)
def test_with_one_delta_it_is_the_tv_of_forward_differences(boundary: str) -> None:
    u, L = random(3, 6, 7), Interpolation(forward_kernel(), boundary=boundary)
    bounds = consistent_tv(u, L, h=0.5)
    J = TotalVariation(1.0, Gradient(0.5, 2, boundary))
    exact = torch.stack([J(x) for x in u])
    torch.testing.assert_close(bounds.upper, exact, rtol=1e-12, atol=0)
    torch.testing.assert_close(bounds.lower, exact, rtol=1e-6, atol=0)


def test_with_one_delta_the_problem_is_rof() -> None:
    """One objective at every u to rounding, on the torus whatever v; and one minimiser."""
    f = torch.rand(6, 7, dtype=torch.float64)
    for boundary in BORDERS:
        problem = ConsistentROF(f, 0.1, Interpolation(forward_kernel(), boundary=boundary), h=0.5)
        rof = ROF(f, 0.1, Gradient(0.5, 2, boundary))
        x = random(3, 6, 7) if boundary == "periodic" else problem.encode(random(6, 7))
        assert problem(x).item() == pytest.approx(rof(x[0]).item(), rel=1e-12)
    u, v = (run(PDHG(P), f, k=600).u for P in (problem, rof))
    assert (u - v).abs().max() < 1e-5


def condat_value(u: np.ndarray, f: np.ndarray | None = None, nu: float = 1.0) -> float:
    """Condat's total variation on the torus, by CVXPY, from his definition; with f the minimum of ROF with it."""
    N1, N2 = u.shape
    n = np.arange(N1 * N2).reshape(N1, N2)
    S = lambda a, b: np.eye(N1 * N2)[np.roll(n, (-a, -b), (0, 1)).ravel()]  # noqa: E731  x -> x[n + (a, b)]
    p1, p2 = cvxpy.Variable(N1 * N2), cvxpy.Variable(N1 * N2)
    quarter = lambda p, *ks: sum(S(*k) @ p for k in ks) / len(ks)  # noqa: E731
    points = [
        (p1, quarter(p2, (0, 0), (0, -1), (1, 0), (1, -1))),
        (quarter(p1, (0, 0), (-1, 0), (0, 1), (-1, 1)), p2),
        (quarter(p1, (0, 0), (-1, 0)), quarter(p2, (0, 0), (0, -1))),
    ]
    obey = [cvxpy.norm(cvxpy.vstack(pair), 2, axis=0) <= 1 for pair in points]
    D1, D2 = S(1, 0) - np.eye(N1 * N2), S(0, 1) - np.eye(N1 * N2)
    if f is None:
        objective = cvxpy.Maximize(p1 @ (D1 @ u.ravel()) + p2 @ (D2 @ u.ravel()))
    else:
        rest = f.ravel() - nu * (D1.T @ p1 + D2.T @ p2)
        objective = cvxpy.Maximize((f**2).sum() / 2 - cvxpy.sum_squares(rest) / 2)
    return float(cvxpy.Problem(objective, obey).solve(solver=cvxpy.CLARABEL))


def test_condats_tv_and_its_rof_against_cvxpy() -> None:
    u, L = torch.rand(4, 5, dtype=torch.float64), Interpolation(condat_kernels(), boundary="periodic")
    bounds = consistent_tv(u, L, k=800)
    assert bounds.lower.item() <= bounds.upper.item() + 1e-12
    exact = condat_value(u.numpy())
    assert bounds.lower.item() * (1 - 1e-7) <= exact <= bounds.upper.item() * (1 + 1e-7)
    assert bounds.upper.item() - bounds.lower.item() < 2e-3 * exact
    problem = ConsistentROF(u, 0.2, L)
    x = run(PDHG(problem), u, k=600).x.x
    assert problem(x).item() == pytest.approx(condat_value(u.numpy(), u.numpy(), 0.2), rel=1e-4)


# ---- whatever was learned ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BORDERS)
def test_the_bounds_hold_by_their_own_witnesses(boundary: str) -> None:
    """p obeys the constraints and v obeys D u = sum L^T v, for stirred kernels and a few steps only."""
    L, u = stir(Interpolation(condat_kernels(), boundary=boundary)), random(2, 6, 7)
    bounds = consistent_tv(u, L, k=30)
    Du = L.D(u)
    assert torch.linalg.vector_norm(L(bounds.p), dim=-3).max() <= 1 + 1e-12
    torch.testing.assert_close(L.adjoint(bounds.v), Du, rtol=0, atol=1e-10)
    torch.testing.assert_close(bounds.lower, (bounds.p * Du).sum((-3, -2, -1)))
    torch.testing.assert_close(bounds.upper, torch.linalg.vector_norm(bounds.v, dim=-3).sum((-3, -2, -1)))
    better = consistent_tv(u, L, k=500)
    assert (bounds.lower <= better.upper + 1e-9).all() and (better.lower <= bounds.upper + 1e-9).all()
    assert ((better.upper - better.lower) < 0.3 * (bounds.upper - bounds.lower)).all()


def test_the_nearest_gradients_that_share_out() -> None:
    """v + L (L^T L)^{-1} (D u - L^T v): against the least-squares solution of the dense system."""
    L, u, v = stir(Interpolation(condat_kernels(), boundary="periodic")), random(4, 5), random(3, 2, 4, 5)
    A = L(torch.eye(40, dtype=torch.float64).reshape(40, 2, 4, 5)).detach().reshape(40, -1)  # v -> L^T v
    step = torch.linalg.lstsq(A, (L.D(u).flatten() - A @ v.flatten()), driver="gelsd").solution
    torch.testing.assert_close(share_out(L, u, v).flatten().detach(), v.flatten() + step, rtol=0, atol=1e-9)


def test_packing() -> None:
    x = random(2, 7, 4, 5)
    u, v = parts(x)
    assert torch.equal(joined(u, v), x) and v.shape == (2, 3, 2, 4, 5)
    assert torch.equal(v[:, 1, 0], x[:, 3])


def test_the_lower_bound_is_differentiable() -> None:
    L, u = Interpolation(condat_kernels(), boundary="periodic"), torch.rand(4, 5, dtype=torch.float64)
    (slope,) = torch.autograd.grad(consistent_tv(u.requires_grad_(), L, h=0.5, k=1000).lower, u)
    move, e = random(4, 5), 1e-3
    values = [condat_value((u.detach() + s * e * move).numpy()) for s in (1, -1)]
    assert float((slope * move).sum()) == pytest.approx(0.5 * (values[0] - values[1]) / (2 * e), rel=0.02)


def test_unrolled_pdhg_passes_gradients_to_the_kernels() -> None:
    f = torch.rand(4, 5, dtype=torch.float64)
    L = stir(Interpolation(condat_kernels(), boundary="periodic"))
    method = PDHG(ConsistentROF(f, 0.2, L), tau=0.25, sigma=0.25)

    def act(z: Tensor) -> Tensor:
        return torch.func.functional_call(_Unrolled(method), {"method.problem.L.xi.z": z}, (f,), tie_weights=True)

    z = L.xi.z.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(act, (z,), fast_mode=True)
    (slope,) = torch.autograd.grad(act(z).square().sum(), z)
    assert slope.abs().max() > 1e-4


class _Unrolled(nn.Module):
    def __init__(self, method: PDHG):
        super().__init__()
        self.method = method

    def forward(self, f: Tensor) -> Tensor:
        return run(self.method, f, k=8).u


# ---- edges with known energies ----------------------------------------------------------------------------------

DIRECTIONS = ((1, 0), (2, 1), (1, 1), (1, 2), (0, 1), (-1, 2), (-1, 1), (-2, 1))


def test_condats_tv_is_more_isotropic_than_that_of_forward_differences() -> None:
    """Per unit length of straight edges, 8 angles, means over the pixels: 1 for all would be TV. Forward differences
    see the two diagonals apart, and so break the symmetry by rotation; Condat's do not."""
    pictures, lengths = zip(*[stripes(a, b, 24, 0.013) for a, b in DIRECTIONS], strict=True)
    cost = {}
    for name, kernels in (("forward", forward_kernel()), ("condat", condat_kernels())):
        L = Interpolation(kernels, boundary="periodic")
        cost[name] = consistent_tv(torch.stack(pictures), L, k=250).upper / torch.tensor(lengths, dtype=torch.float64)
    spread = {name: (c.max() / c.min()).item() for name, c in cost.items()}
    assert spread["condat"] < 1.08 < 1.2 < spread["forward"]
    assert cost["condat"][1].item() == pytest.approx(cost["condat"][-1].item(), rel=0.01)


def test_a_sampled_edge_costs_what_edge_cost_says() -> None:
    """The delta kernel and point samples: the known integral over the offsets, for a slope of period 32."""
    J = TotalVariation(1.0, Gradient(1.0, 2, "periodic"))
    L = Interpolation(forward_kernel(), boundary="periodic")
    for a, b in ((5, 3), (-5, 3)):
        u, length = stripes(a, b, 256, 0.0013, fine=1)
        theta = torch.tensor(math.atan2(b, a), dtype=torch.float64)
        assert consistent_tv(u, L, k=1).upper.item() / length == pytest.approx(edge_cost(J, theta).item(), rel=0.02)


@pytest.mark.parametrize("kernels", [forward_kernel(), condat_kernels()])
def test_the_minimiser_for_a_disc_tends_to_the_known_one(kernels: Tensor) -> None:
    """Thm 4.1 on 12^2 and 24^2 pixels: the L1 distance falls, and Condat's energy is within 3 % of E*."""
    shape, nu = Disc(0.25), 0.05
    exact, L, errors = shape.minimiser(nu), Interpolation(kernels, boundary="periodic"), []
    for N in (12, 24):
        problem = ConsistentROF(shape.averages(N), nu, L, h=1 / N)
        with torch.no_grad():
            end = run(PDHG(problem), shape.averages(N), k=400)
        errors.append(exact.distance(end.u, shape, p=1).item())
        energy = problem(end.x.x).item()
    assert errors[1] < 0.75 * errors[0]
    assert energy == pytest.approx(exact.energy, rel=0.03)


def test_learning_makes_edges_more_isotropic() -> None:
    """From forward differences at four corners of a pixel, 12 steps on stripes of 16^2 pixels whose minimisers are
    known: the error of the picture falls, and all kernels still have the sum 1. The net shares them."""
    four = torch.cat([torch.roll(forward_kernel(), (a, b), (-2, -1)) for a, b in itertools.product((-1, 0), repeat=2)])
    L, nu, N = Interpolation(four, boundary="periodic"), 0.5, 16
    data = [stripes(a, b, N, 0.1) for a, b in ((1, 0), (0, 1), (1, 1), (-1, 1))]
    f = torch.stack([u for u, _ in data])
    drop = torch.tensor([2 * nu * length / N**2 for _, length in data], dtype=torch.float64)[:, None, None]
    exact = drop + (1 - 2 * drop) * f
    net = unrolled(PDHG(ConsistentROF(f, nu, L)), 30)
    L = net.maps[0].problem.L
    assert all(step.problem.L is L for step in net.maps)
    optimiser, losses = torch.optim.Adam(L.parameters(), 0.02), []
    for _ in range(12):
        optimiser.zero_grad()
        loss = (net(f) - exact).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert (L.xi(f).sum((-2, -1)) - 1).abs().max() < 1e-12


def test_unrolled_over_few_steps_the_kernels_learn_to_be_quick_and_not_isotropic() -> None:
    """From Condat's over 10 steps: the error after 10 steps falls by a third or more, and the costs of straight edges,
    which spread over 5 %, spread over twice as much."""
    nu, N = 0.5, 24
    ends = [(a, b, 2 * math.hypot(a, b) / N * nu * 2) for a, b in ((1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (-2, 1))]
    net = unrolled(PDHG(ConsistentROF(stripes(1, 0, N)[0], nu, Interpolation(condat_kernels(), 1, "periodic"))), 10)
    L = net.maps[0].problem.L
    optimiser, losses = torch.optim.Adam(L.parameters(), 0.02), []
    for k in range(60):
        f = torch.stack([stripes(a, b, N, 0.37 * k % 1)[0] for a, b, _ in ends])
        drop = torch.tensor([d for *_, d in ends], dtype=torch.float64)[:, None, None]
        optimiser.zero_grad()
        loss = (net(f) - drop - (1 - 2 * drop) * f).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.67 * sum(losses[:5])
    pictures, lengths = zip(*[stripes(a, b, N, 0.013) for a, b in DIRECTIONS], strict=True)
    spread = []
    for kernels in (Interpolation(condat_kernels(), 1, "periodic"), L):
        with torch.no_grad():
            cost = consistent_tv(torch.stack(pictures), kernels, k=250).upper / torch.tensor(lengths)
        spread.append((cost.max() / cost.min()).item() - 1)
    assert spread[0] < 0.06 and spread[1] > 2 * spread[0]
