"""Interpolants against SciPy's piecewise polynomials; PDE-Net 1.0 against plain loops and the Fourier factor of its own
stencil."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.interpolate import KroghInterpolator, RegularGridInterpolator
from torch import Tensor

from companion import (
    Averaged,
    Euler,
    Heun,
    Interpolant,
    LinearRightSide,
    MomentBank,
    PDENet,
    PDENet1,
    relative_loss,
    run,
)
from companion.nets.pdenet1 import ORDERS4

D = torch.float64


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, lo: float = 0.0, hi: float = 1.0, seed: int = 0) -> Tensor:
    return lo + (hi - lo) * torch.rand(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def net_of(grid: int = 9, seed: int = 0, **options: object) -> PDENet1:
    """A PDE-Net 1.0 whose free moments and nodal values are all drawn at random."""
    net = PDENet1(**({"grid": grid, "dt": 0.01, "mesh": 2} | options))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.1 * torch.randn(p.shape, dtype=D, generator=g))
    return net


# ---- interpolants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_a_line_against_scipy(degree: int) -> None:
    """In each cell SciPy's polynomial through the nodes of the cell, in Newton's form."""
    mesh, a, b = 5, -1.5, 2.0
    c = Interpolant(a, b, mesh, degree, values=seeded(5 * degree + 1))
    t, nodes, values = uniform(200, lo=a, hi=b), c.nodes().numpy(), c.values.detach().numpy()
    assert np.allclose(nodes, np.linspace(a, b, mesh * degree + 1))
    for x, y in zip(t.tolist(), c(t).tolist(), strict=True):
        first = min(int((x - a) / (b - a) * mesh), mesh - 1) * degree
        cell = slice(first, first + degree + 1)
        assert y == pytest.approx(float(KroghInterpolator(nodes[cell], values[cell])(x)), abs=1e-12)
    assert (c(c.nodes()) - c.values).abs().max() < 1e-12


def test_a_surface_against_scipy() -> None:
    """Degree 1 is SciPy's bilinear interpolant; degree 3 is Newton's form in x of Newton's forms in y."""
    c = Interpolant(0.0, 2.0, 4, 1, dim=2, values=seeded(5, 5))
    p = uniform(3, 50, 2, hi=2.0)
    nodes = c.nodes().numpy()
    assert np.allclose(c(p).detach(), RegularGridInterpolator((nodes, nodes), c.values.detach().numpy())(p.numpy()))
    c = Interpolant(0.0, 2.0, 2, 3, dim=2, values=seeded(7, 7))
    nodes, values = c.nodes().numpy(), c.values.detach().numpy()
    for x, y in uniform(40, 2, hi=2.0).tolist():
        i, j = (3 * min(int(s), 1) for s in (x, y))
        lines = [float(KroghInterpolator(nodes[j : j + 4], values[m, j : j + 4])(y)) for m in range(i, i + 4)]
        by_hand = float(KroghInterpolator(nodes[i : i + 4], lines)(x))
        assert c(torch.tensor([x, y], dtype=D)).item() == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_polynomials_are_met_exactly(degree: int) -> None:
    f = lambda x, y: (1 + x - 2 * x**degree) * (0.5 - y + y**degree)  # noqa: E731
    c = Interpolant(-1.0, 1.0, 3, degree, dim=2)
    x, p = c.nodes(), uniform(100, 2, lo=-1.0)
    values = f(x[:, None], x)
    c = Interpolant(-1.0, 1.0, 3, degree, dim=2, values=values)
    assert (c(p) - f(p[:, 0], p[:, 1])).abs().max() < 1e-13


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_order_of_the_error(degree: int) -> None:
    t, errors = torch.linspace(0, 3, 1001, dtype=D), []
    for mesh in (20, 40):
        nodes = Interpolant(0.0, 3.0, mesh, degree).nodes()
        errors.append((Interpolant(0.0, 3.0, mesh, degree, values=nodes.sin())(t) - t.sin()).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(degree + 1, abs=0.1)


def test_it_is_continuous_across_cells_and_constant_outside() -> None:
    c = Interpolant(0.0, 1.0, 4, 2, dim=2, values=seeded(9, 9))
    for edge, y in itertools.product((0.25, 0.5, 0.75), (0.1, 0.5, 0.77)):
        for p in ((edge, y), (y, edge)):
            axis = torch.tensor([float(p[0] == edge), float(p[1] == edge)], dtype=D)
            q = torch.tensor(p, dtype=D)
            assert (c(q + 1e-10 * axis) - c(q - 1e-10 * axis)).abs() < 1e-7
    line = Interpolant(0.0, 1.0, 4, 3, values=seeded(13))
    t = torch.tensor([-5.0, -math.inf, 1.0, 7.0, math.inf, math.nan], dtype=D).requires_grad_()
    out, ends = line(t), line.values[[0, 0, -1, -1, -1]]
    assert (out[:5] - ends).abs().max() < 1e-13 and out[5].isnan()
    assert torch.autograd.grad(out[3], t)[0][3] == 0


def test_the_matrix_is_the_interpolant() -> None:
    c = Interpolant(-1.0, 1.0, 3, 2, dim=2, several=(2, 4), values=seeded(2, 4, 7, 7))
    x, y = uniform(6, lo=-1.0), uniform(5, lo=-1.0, seed=1)
    points = torch.stack(torch.meshgrid(x, y, indexing="ij"), -1)
    assert c(points).shape == (2, 4, 6, 5)
    assert (c.matrix(x) @ c.values @ c.matrix(y).mT - c(points)).abs().max() < 1e-13
    assert torch.allclose(c.matrix(x).sum(1), torch.ones(6, dtype=D))


@pytest.mark.parametrize("dim", [1, 2])
def test_an_interpolant_is_differentiable(dim: int) -> None:
    c = Interpolant(0.0, 1.0, 3, 2, dim=dim, several=(2,), values=seeded(2, *(7,) * dim))
    p = uniform(*(4, 5), *(2,) * (dim - 1)).requires_grad_()
    assert torch.autograd.gradcheck(c.at, (p, c.values))
    assert c(p.float()).dtype == torch.float32 and (c(p.float()) - c(p)).abs().max() < 1e-5


# ---- PDE-Net 1.0 -----------------------------------------------------------------------------------------------------


def test_the_terms_are_those_of_order_one_to_four() -> None:
    assert sorted(ORDERS4) == sorted((i, j) for i in range(5) for j in range(5) if 1 <= i + j <= 4)
    net = PDENet1(grid=50, dt=0.015)
    assert len(net.names) == 14 and net.names[:5] == ["u_x", "u_y", "u_xx", "u_xy", "u_yy"]
    assert net.F.interpolant.values.shape == (14, 41, 41) and net.F.bank.h == pytest.approx(2 * math.pi / 50)
    # fixed are the moments up to the order |alpha|: 3, 6, 10, 15 of 25 for |alpha| = 1, 2, 3, 4, and 1 of the average
    assert net.F.bank.free.numel() == 2 * 22 + 3 * 19 + 4 * 15 + 5 * 10 and net.step.average.free.numel() == 24


def test_the_step_by_loops() -> None:
    """Q_00 u + dt (sum c_ij(x, y) Q_ij u + s(u)), random filters, coefficients and source, a point at a time."""
    orders = [(1, 0), (0, 1), (1, 2)]
    net = net_of(7, orders=orders, h=0.4, source=Interpolant(-2.0, 2.0, 3, 4))
    u = seeded(2, 1, 7, 7)
    with torch.no_grad():
        out = net.step(u).numpy()
        q, q0 = net.F.bank.taps().numpy(), net.step.average.taps()[0].numpy()
        c, s = net.F.interpolant, net.F.source
        for b, n, m in itertools.product(range(2), range(7), range(7)):
            window = np.array([[float(u[b, 0, (n + k) % 7, (m + l) % 7]) for l in range(-2, 3)] for k in range(-2, 3)])
            at = c(torch.tensor([0.4 * n, 0.4 * m], dtype=D)).tolist()
            rate = sum(w * (t * window).sum() / 0.4 ** sum(a) for w, t, a in zip(at, q, orders, strict=True))
            value = (q0 * window).sum() + 0.01 * (rate + s(u[b, 0, n, m]).item())
            assert out[b, 0, n, m] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("N", [5, 7])
def test_constant_coefficients_multiply_a_wave_by_the_factor_of_the_stencil(N: int) -> None:
    """e^{i(kx + ly)} is multiplied by q_00^ + dt sum c q^ / h^{|alpha|}, q^ = sum_m q[m] e^{i h (k, l).m}."""
    grid, h = 12, 2 * math.pi / 12
    net, values = net_of(grid, N=N), seeded(14).tolist()
    with torch.no_grad():
        for c, v in zip(net.F.interpolant.values, values, strict=True):
            c.fill_(v)
        q, q0 = net.F.bank.taps().numpy(), net.step.average.taps()[0].numpy()
    m = np.arange(N) - N // 2
    x = h * np.arange(grid)
    for k, l in [(0, 0), (1, 0), (0, 2), (3, -2), (5, 4)]:
        wave = np.exp(1j * (k * x[:, None] + l * x))
        symbol = lambda taps: (taps * np.exp(1j * h * (k * m[:, None] + l * m))).sum()  # noqa: B023, E731
        factor = symbol(q0) + 0.01 * sum(
            v * symbol(t) / h ** sum(a) for v, t, a in zip(values, q, ORDERS4, strict=True)
        )
        both = torch.tensor(np.stack([wave.real, wave.imag]))[:, None]
        out = net(both, 3).detach().numpy()[:, 0]
        size = np.abs(q0).sum() + 0.01 * sum(
            abs(v) * np.abs(t).sum() / h ** sum(a) for v, t, a in zip(values, q, ORDERS4, strict=True)
        )
        assert np.abs(out[0] + 1j * out[1] - factor**3 * wave).max() < 1e-15 * size**3


def test_a_pde_net_1_is_a_list_of_equal_maps() -> None:
    net, u = net_of(), seeded(3, 1, 9, 9)
    assert isinstance(net, PDENet) and all(f is net.step for f in net.maps(4))
    v = net.step(net.step(u))
    assert torch.equal(net(u, 2), v) and torch.equal(run(net.maps(2), u).u, v)
    assert torch.equal(net.trajectory(u, 2), torch.stack([u, net.step(u), v], 1))
    assert torch.equal(net(u[:1], 2), v[:1]) and torch.equal(net(u[0], 2), v[0])
    assert (net(u.float()) - net(u)).abs().max() < 1e-3 and net(u.float()).dtype == torch.float32


def test_frozen_filters_are_central_and_leave_u() -> None:
    net = net_of(learned=False)
    assert [name for name, _ in net.named_parameters()] == ["step.F.interpolant.values"] and isinstance(net.step, Euler)
    assert torch.equal(net.F.bank.taps(), MomentBank(ORDERS4, 5, 1).taps())
    assert isinstance(PDENet1(grid=8, dt=0.1, mesh=1).step, Averaged)


def test_a_new_net_leaves_u_as_it_is() -> None:
    u = seeded(2, 1, 8, 8)
    assert (PDENet1(grid=8, dt=0.1, mesh=2, source=Interpolant(-1.0, 1.0))(u, 5) - u).abs().max() < 1e-13


def test_another_scheme_and_a_smoother_average() -> None:
    """Heun's step by hand, from an average of accuracy 3: of its moments those of order 0, 1 and 2 are fixed."""
    net, u = net_of(average=3, scheme=Heun), seeded(2, 1, 9, 9)
    bank = net.step.average
    M = bank.moments()[0]
    fixed = [M[i, j].item() for i, j in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))]
    assert fixed == [1, 0, 0, 0, 0, 0] and bank.free.numel() == 25 - 6
    with torch.no_grad():
        slope = net.F(u)
        step = u + 0.005 * (slope + net.F(u + 0.01 * slope)) + bank(u)[..., 0, :, :] - u
    assert (net(u) - step).abs().max() < 1e-12
    assert PDENet1(grid=8, dt=0.1, mesh=1).step.average.free.numel() == 25 - 1


def test_gradients() -> None:
    net = net_of(6, source=Interpolant(-3.0, 3.0, 2, 4), orders=ORDERS4[:5])
    names = [name for name, _ in net.named_parameters()]
    assert len(names) == 4

    def f(u: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (u, 2))

    u = seeded(1, 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(f, (u, *net.parameters()), fast_mode=True)


def test_stacked_nets_are_a_loop() -> None:
    source = Interpolant(-2.0, 2.0, 3, 4, several=(3,))
    many, u, end = net_of(nets=3, source=source), seeded(4, 1, 9, 9), seeded(4, 1, 9, 9, seed=2)
    assert many.coefficients().shape == (3, 14, 9, 9)
    loss = relative_loss(many, u[None], end[None], 2)
    for s in range(3):
        one = net_of(source=Interpolant(-2.0, 2.0, 3, 4))
        with torch.no_grad():
            for p, q in zip(one.parameters(), many.parameters(), strict=True):
                p.copy_(q[s])
        assert (many(u[None], 2)[s] - one(u, 2)).abs().max() < 1e-11
        assert loss[s].item() == pytest.approx(relative_loss(one, u, end, 2).item(), rel=1e-11)
        each = seeded(3, 1, 9, 9, seed=5)
        assert (many(each)[s] - one(each[s])).abs().max() < 1e-12
        own = torch.stack([(i + 1.0) * u for i in range(3)])  # each net by the size of its own start
        theirs = relative_loss(many, own, own + 1, 2)[s].item()
        assert theirs == pytest.approx(relative_loss(one, own[s], own[s] + 1, 2).item(), rel=1e-11)


def test_one_block_with_frozen_filters_is_linear_in_the_coefficients() -> None:
    """u_t = a(x) u_x + 0.2 u_xx + 0.3 u_yy by the stencil itself: least squares in the nodal values find it."""
    net = PDENet1(grid=10, dt=0.01, mesh=2, orders=ORDERS4[:5], learned=False)
    c, u = net.F.interpolant, seeded(4, 1, 10, 10)
    truth = torch.zeros_like(c.values)
    truth[0], truth[2], truth[4] = c.nodes().cos()[:, None], 0.2, 0.3

    def f(values: Tensor) -> Tensor:
        return torch.func.functional_call(net, {"step.F.interpolant.values": values}, (u,)).flatten()

    with torch.no_grad():
        still = f(torch.zeros_like(truth))
        A = torch.stack([f(e.reshape(truth.shape)) - still for e in torch.eye(truth.numel(), dtype=D)], 1)
        found = torch.linalg.lstsq(A, (f(truth) - still).unsqueeze(-1)).solution.reshape(truth.shape)
    assert (found - truth).abs().max() < 1e-9
    with torch.no_grad():
        c.values.copy_(found)
    x = 2 * math.pi / 10 * torch.arange(10, dtype=D)  # a is cos at the nodes and a parabola between them
    assert net.names[4] == "u_yy" and (net.coefficients()[4] - 0.3).abs().max() < 1e-9
    assert (net.coefficients()[0] - x.cos()[:, None]).abs().max() < 0.25


def test_a_bank_of_its_own() -> None:
    """LinearRightSide by itself: a field that any scheme takes."""
    bank = MomentBank([(2, 0), (0, 2)], 3, 2, 0.5)
    F = LinearRightSide(bank, Interpolant(0.0, 3.0, 2, dim=2, several=(2,), values=0.3), 6)
    v = seeded(6, 6)
    laplace = sum(v.roll(s, a) - v for s in (1, -1) for a in (-2, -1)) / 0.25
    assert (Euler(F, 0.1)(v) - (v + 0.03 * laplace)).abs().max() < 1e-14
