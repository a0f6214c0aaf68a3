"""PDE-Nets: the step against NumPy's roll and plain loops, the side of a difference, losses written out, bad frames."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from companion import Euler, Midpoint, MomentBank, Polynomial, SymNet, odd_extension, run
from companion.nets.moments import central
from companion.nets.moments import upwind as one_sided
from companion.nets.pdenet import (
    ORDERS,
    Averaged,
    PDENet,
    RightSide,
    block_loss,
    check_frames,
    feature_names,
    huber,
    pdenet,
    relative_loss,
)

D = torch.float64
NU, H, DT = 0.05, 0.3, 0.01
NAMES = feature_names(2)
BURGERS = [
    {f"u*{c}_x": -1.0, f"v*{c}_y": -1.0, f"{c}_xx": NU, f"{c}_yy": NU}
    if c == "u"
    else {"u*v_x": -1.0, "v*v_y": -1.0, "v_xx": NU, "v_yy": NU}
    for c in "uv"
]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def net_of(seed: int = 0, std: float = 0.3, **options: object) -> PDENet:
    """A PDE-Net whose free moments and weights are all drawn at random."""
    g = torch.Generator().manual_seed(seed)
    net = pdenet(**({"h": H, "dt": DT, "hidden": 3} | options), generator=g)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(std * torch.randn(p.shape, dtype=D, generator=g))
    return net


def burgers_symnet() -> SymNet:
    """-u c_x - v c_y + nu (c_xx + c_yy), c = u, v, its weights set one by one: two products and an affine map."""
    net = SymNet(12, hidden=2, outputs=2)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        for c in range(2):
            net.weight[c, 0, 0] = net.weight[c, 1, 6 * c + 1] = 1  # u, c_x
            net.weight[c, 2, 6] = net.weight[c, 3, 6 * c + 2] = 1  # v, c_y
            net.weight[c, 4, 6 * c + 3] = net.weight[c, 4, 6 * c + 5] = NU
            net.feed[0][c, -1] = net.feed[1][c, -1] = -1
    return net


def roll(u: np.ndarray, i: int, axis: int) -> np.ndarray:
    """u[n + i]."""
    return np.roll(u, -i, axis)


def central_step(u: np.ndarray, dt: float) -> np.ndarray:
    """Euler's step for Burgers' equation by central differences of fourth order; u (..., 2, N1, N2)."""
    dx = lambda w, a: (8 * roll(w, 1, a) - 8 * roll(w, -1, a) - roll(w, 2, a) + roll(w, -2, a)) / (12 * H)  # noqa: E731
    dxx = lambda w, a: (  # noqa: E731
        (16 * roll(w, 1, a) + 16 * roll(w, -1, a) - roll(w, 2, a) - roll(w, -2, a) - 30 * w) / (12 * H**2)
    )
    a, b = u[..., :1, :, :], u[..., 1:, :, :]
    return u + dt * (-a * dx(u, -2) - b * dx(u, -1) + NU * (dxx(u, -2) + dxx(u, -1)))


def upwind_step(u: np.ndarray, dt: float) -> np.ndarray:
    """The same by one-sided differences of second order, looking where the wind comes from, and (1 -2 1)."""

    def towards(w: np.ndarray, a: int, s: int) -> np.ndarray:
        return s * (-3 * w + 4 * roll(w, s, a) - roll(w, 2 * s, a)) / (2 * H)

    dxx = lambda w, a: (roll(w, 1, a) + roll(w, -1, a) - 2 * w) / H**2  # noqa: E731
    a, b = u[..., :1, :, :], u[..., 1:, :, :]
    ux = np.where(a < 0, towards(u, -2, 1), towards(u, -2, -1))
    uy = np.where(b < 0, towards(u, -1, 1), towards(u, -1, -1))
    return u + dt * (-a * ux - b * uy + NU * (dxx(u, -2) + dxx(u, -1)))


# ---- the step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("upwind", "by_hand"), [(False, central_step), (True, upwind_step)], ids=["central", "upwind"])
@pytest.mark.parametrize("response", [burgers_symnet, lambda: Polynomial.of(*BURGERS, names=NAMES)])
def test_the_step_is_the_finite_difference_scheme(upwind: bool, by_hand: Callable, response: Callable) -> None:
    bank = MomentBank(ORDERS, 5, 2, H, one_sided if upwind else central)
    net, u = PDENet(RightSide(bank, response(), upwind), DT), seeded(3, 2, 9, 12)
    assert np.abs(net.step(u).detach().numpy() - by_hand(u.numpy(), DT)).max() < 1e-12
    v = u.numpy()
    for _ in range(4):
        v = by_hand(v, DT)
    assert np.abs(net(u, 4).detach().numpy() - v).max() < 1e-12


@pytest.mark.parametrize("upwind", [False, True])
def test_the_right_side_point_by_point(upwind: bool) -> None:
    """Random filters, random SymNet: features by loops over taps, the side by a difference quotient of the SymNet."""
    net = net_of(upwind=upwind)
    u, bank, response = seeded(2, 4, 7), net.F.bank, net.F.response
    q = bank.taps().detach().numpy() * np.array([H ** -sum(a) for a in ORDERS])[:, None, None]
    at = lambda x: response(torch.tensor(x)[:, None])[:, 0].detach().numpy()  # noqa: E731
    out, switched = net.F(u).detach().numpy(), 0
    for n, m in product(range(4), range(7)):
        window = np.array(
            [[[float(u[c, (n + k) % 4, (m + l) % 7]) for l in range(-2, 3)] for k in range(-2, 3)] for c in (0, 1)]
        )
        x = np.array([[(q[f] * window[c]).sum() for f in range(6)] for c in range(2)])
        y = x.copy()
        for c, (f, axis) in product(range(2), [(1, 0), (2, 1)]):
            e = np.zeros((2, 6))
            e[c, f] = 1e-5
            slope = (at((x + e).ravel())[c] - at((x - e).ravel())[c]) / 2e-5
            if upwind and slope <= 0:
                y[c, f] = -(np.flip(q[f], axis) * window[c]).sum()
                switched += 1
        assert out[:, n, m] == pytest.approx(at(y.ravel()), rel=1e-10, abs=1e-12)
    assert (30 < switched < 90) if upwind else switched == 0  # of 112: both sides occur


def test_a_derivative_of_another_component_has_no_upwind_side() -> None:
    """u_t = v_x, v_t = u_x: no component finds its own derivative, and all look back. As the docstring says."""
    wave = Polynomial.of({"v_x": 1.0}, {"u_x": 1.0}, names=NAMES)
    F, u = RightSide(MomentBank(ORDERS, 5, 2, H, one_sided), wave), seeded(2, 6, 5)
    v = u.numpy()
    back = (3 * v - 4 * roll(v, -1, -2) + roll(v, -2, -2)) / (2 * H)
    assert np.abs(F(u).numpy(force=True) - back[::-1]).max() < 1e-13


def test_transport_looks_upstream_whatever_its_sign() -> None:
    """u_t = a u_x: with dt = h/|a| the one-sided filter of Beam and Warming would be exact; here the side alone."""
    for a, s in [(0.7, 1), (-0.7, -1)]:
        F = RightSide(MomentBank([(1, 0)], 5, 2, H, one_sided), Polynomial.of({"u_x": a}, names=["u_x"]))
        v = seeded(1, 8, 3).numpy()
        by_hand = a * s * (-3 * v + 4 * roll(v, s, -2) - roll(v, 2 * s, -2)) / (2 * H)
        assert np.abs(F(torch.tensor(v)).numpy(force=True) - by_hand).max() < 1e-13


def test_both_sides_have_the_same_accuracy() -> None:
    """u = x^i y^j, i + j <= 2, around the origin: the filter and its negated flip differentiate it alike."""
    bank = net_of(upwind=True).F.bank
    q = bank.taps().detach().numpy()
    k = np.arange(-2, 3)
    for f, axis in [(1, 0), (2, 1)]:
        for taps in (q[f], -np.flip(q[f], axis)):
            for i, j in product(range(3), range(3)):
                if i + j <= 2:
                    assert (taps * k[:, None] ** i * k**j).sum() == pytest.approx(float((i, j) == ORDERS[f]), abs=1e-12)


def test_on_a_line() -> None:
    """u_t = -u u_x + nu u_xx in one dimension, u (*batch, 1, N)."""
    bank = MomentBank([0, 1, 2], 5, 2, H, one_sided)
    F = RightSide(bank, Polynomial.of({"u*u_x": -1.0, "u_xx": NU}, names=feature_names(1, bank.orders)))
    v = seeded(3, 1, 11).numpy()
    side = lambda s: s * (-3 * v + 4 * roll(v, s, -1) - roll(v, 2 * s, -1)) / (2 * H)  # noqa: E731
    rate = -v * np.where(v < 0, side(1), side(-1)) + NU * (roll(v, 1, -1) - 2 * v + roll(v, -1, -1)) / H**2
    assert np.abs(F(torch.tensor(v)).numpy(force=True) - rate).max() < 1e-12
    assert PDENet(F, DT).trajectory(torch.tensor(v), 2).shape == (3, 3, 1, 11)


def test_a_step_is_one_convolution() -> None:
    class Count(TorchDispatchMode):
        convolutions = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.convolutions += "convolution" in func.__name__
            return func(*args, **(kwargs or {}))

    for upwind in (False, True):
        with Count() as count, torch.no_grad():
            net_of(upwind=upwind).step(seeded(4, 2, 8, 8))
        assert count.convolutions == 1


# ---- a list of maps --------------------------------------------------------------------------------------------------


def test_a_pde_net_is_a_list_of_equal_maps() -> None:
    net, u = net_of(std=0.1), 0.05 * seeded(3, 2, 8, 8)
    maps = net.maps(3)
    assert len(maps) == 3 and all(f is net.step for f in maps) and isinstance(net.step, Euler)
    frames, v = [u], u
    for _ in range(3):
        v = v + DT * net.F(v)
        frames.append(v)
    assert torch.equal(net(u, 3), v) and torch.equal(run(maps, u).u, v)
    assert torch.equal(net.trajectory(u, 3), torch.stack(frames, 1))
    assert torch.equal(net(u, 0), u) and net.trajectory(u, 0).shape == (3, 1, 2, 8, 8)


def test_another_scheme() -> None:
    net, u = net_of(std=0.1, scheme=Midpoint), seeded(2, 8, 8)
    assert torch.equal(net(u), u + DT * net.F(u + DT / 2 * net.F(u)))


def test_an_average_takes_the_place_of_u() -> None:
    """Q_00 u + dt F(u) by loops over the taps."""
    F, average = net_of(std=0.1).F, MomentBank([(0, 0)], 3, 1, H)
    with torch.no_grad():
        average.free.copy_(seeded(8, seed=3) / 5)
    net, u = PDENet(F, DT, average), 0.05 * seeded(2, 2, 6, 5)
    assert isinstance(net.step, Averaged) and net.dt == DT and net.F is F
    q, v = average.taps()[0].tolist(), u.numpy()
    Q = sum(q[k + 1][l + 1] * roll(roll(v, k, -2), l, -1) for k, l in product((-1, 0, 1), repeat=2))
    assert np.abs(net(u).numpy(force=True) - (Q + DT * F(u).numpy(force=True))).max() < 1e-14
    assert len(list(net.parameters())) == len(list(F.parameters())) + 1


@pytest.mark.parametrize("upwind", [False, True])
def test_batches_types_and_modes(upwind: bool) -> None:
    net, u = net_of(std=0.1, upwind=upwind), 0.05 * seeded(2, 3, 2, 8, 8)
    out = net(u, 2)
    assert torch.equal(net(u[0], 2), out[0]) and torch.equal(net(u[1:, 2:], 2)[0, 0], out[1, 2])
    single = net(u.float(), 2)
    assert single.dtype == torch.float32 and (single - out).abs().max() < 1e-5
    with torch.no_grad():
        assert torch.equal(net(u, 2), out)
    with torch.inference_mode():
        assert torch.equal(net(u, 2), out) and torch.equal(net(u * 1.0, 2), out)


@pytest.mark.parametrize("upwind", [False, True])
def test_gradients(upwind: bool) -> None:
    net, u = net_of(upwind=upwind, hidden=2), seeded(2, 5, 4, seed=1).requires_grad_()
    names = [name for name, _ in net.named_parameters()]

    def f(u: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (u, 2))

    assert torch.autograd.gradcheck(f, (u, *net.parameters()), fast_mode=True, eps=1e-7, atol=1e-5)


def test_nothing_is_changed_in_place() -> None:
    net, u = net_of(std=0.1), seeded(2, 8, 8)
    v, before = u.clone(), {k: p.clone() for k, p in net.state_dict().items()}
    block_loss(net, net.trajectory(u, 2).detach(), DT).backward()
    assert torch.equal(u, v) and all(torch.equal(before[k], p) for k, p in net.state_dict().items())


def test_a_saved_net_predicts_the_same() -> None:
    net, other, u = net_of(), net_of(seed=1), seeded(2, 8, 8)
    assert not torch.equal(net(u), other(u))
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(u), other(u))


# ---- many nets at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upwind", [False, True])
def test_stacked_nets_are_a_loop(upwind: bool) -> None:
    many = net_of(nets=3, std=0.1, upwind=upwind)
    frames = 0.05 * seeded(1, 4, 3, 2, 6, 7)
    loss = block_loss(many, frames, DT)
    assert loss.shape == (3,)
    loss.sum().backward()
    for s in range(3):
        one = net_of(upwind=upwind)
        with torch.no_grad():
            for p, q in zip(one.parameters(), many.parameters(), strict=True):
                p.copy_(q[s])
        alone = block_loss(one, frames[0], DT)
        alone.backward()
        assert loss[s].item() == pytest.approx(alone.item(), rel=1e-12)
        for p, q in zip(one.parameters(), many.parameters(), strict=True):
            assert p.grad is not None and q.grad is not None
            assert (p.grad - q.grad[s]).abs().max() < 1e-9 * (1 + p.grad.abs().max())
        for u in (frames[0, :, 0], frames[0, 1, 0]):  # one for all nets, in a batch or alone
            assert (many(u.unsqueeze(0), 2)[s] - one(u, 2)).abs().max() < 1e-12
            assert (many.trajectory(u.unsqueeze(0), 2)[s] - one.trajectory(u, 2)).abs().max() < 1e-12
        each = 0.05 * seeded(3, 2, 2, 6, 7, seed=5)  # each its own
        assert (many(each)[s] - one(each[s])).abs().max() < 1e-12


# ---- what it is fitted by --------------------------------------------------------------------------------------------


def test_huber() -> None:
    x = torch.linspace(-3, 3, 101, dtype=D).requires_grad_()
    y = huber(x, 0.5)
    by_hand = [abs(t) - 0.25 if abs(t) > 0.5 else t * t for t in x.tolist()]
    assert y.tolist() == pytest.approx(by_hand)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.tolist() == pytest.approx([max(-1.0, min(1.0, t / 0.5)) for t in x.tolist()])


@pytest.mark.parametrize("learned", [True, False])
def test_the_loss_written_out(learned: bool) -> None:
    net = net_of(learned=learned, std=0.1)
    frames = 0.05 * seeded(3, 4, 2, 5, 6)
    u, misfit = frames[:, 0], 0.0
    for i in range(1, 4):
        u = net.step(u).detach()
        misfit += float((((u - frames[:, i]) / DT) ** 2).sum()) / (3 * 2 * 5 * 6)
    smooth = lambda t, s: t * t / (2 * s) if abs(t) < s else abs(t) - s / 2  # noqa: E731
    sym = sum(smooth(t, 1e-3) for p in net.F.response.parameters() for t in p.flatten().tolist())
    mom = sum(smooth(t, 1e-2) for t in net.F.bank.free.tolist()) if learned else 0.0
    expected = misfit + 3 * 0.005 * sym + 3 * 0.001 * mom
    assert block_loss(net, frames, DT).item() == pytest.approx(expected, rel=1e-12)
    assert block_loss(net, frames, DT, sparsity=0.0, moments=0.0).item() == pytest.approx(misfit, rel=1e-12)
    assert block_loss(net, frames, DT, 0.0, 7.0).item() == pytest.approx(misfit + 21 * mom, rel=1e-12)


def test_the_loss_of_the_last_frame() -> None:
    net, u, v = net_of(std=0.1), 0.05 * seeded(3, 2, 5, 6), 0.05 * seeded(3, 2, 5, 6, seed=1)
    off = (net.step(net.step(u)) - v).detach().numpy()
    assert relative_loss(net, u, v, 2).item() == pytest.approx((off**2).mean() / u.numpy().var(), rel=1e-12)


def test_training_repeats_and_keeps_the_constraints() -> None:
    u, ends = 0.5 * seeded(6, 2, 8, 8), []
    with torch.no_grad():
        truth = PDENet(RightSide(MomentBank(ORDERS, 5, 2, H, one_sided), burgers_symnet()), DT)
        frames = truth.trajectory(u, 2)
    for _ in range(2):
        net = pdenet(h=H, dt=DT, hidden=2, generator=torch.Generator().manual_seed(0))
        minimiser = torch.optim.LBFGS(net.parameters(), max_iter=30, line_search_fn="strong_wolfe")

        def closure(net: PDENet = net, minimiser: torch.optim.Optimizer = minimiser) -> Tensor:
            minimiser.zero_grad()
            loss = block_loss(net, frames, DT)
            loss.backward()
            return loss

        first = minimiser.step(closure).item()
        ends.append(closure().item())
        M = net.F.bank.moments().detach()
        assert not torch.equal(net.F.bank.free, pdenet(h=H).F.bank.free)
        for f, alpha in enumerate(ORDERS):
            for i, j in product(range(5), range(5)):
                if i + j <= sum(alpha) + 1:
                    assert M[f, i, j] == ((i, j) == alpha)
    assert ends[0] == ends[1] < 0.2 * first


# ---- what it is ------------------------------------------------------------------------------------------------------


def test_the_numbers_of_the_paper() -> None:
    net = pdenet()
    assert sum(p.numel() for p in net.F.response.parameters()) == 336 and net.F.bank.free.numel() == 105
    assert {n for n, _ in pdenet(learned=False).named_parameters()} == {n for n, _ in net.named_parameters()} - {
        "step.F.bank.free"
    }
    assert torch.equal(net.F.bank.taps()[1, :, 2], torch.tensor([0, 0, -1.5, 2, -0.5], dtype=D))
    assert torch.equal(pdenet(upwind=False).F.bank.taps()[2].argmax(), torch.tensor(13))


def test_the_equation_is_read_off() -> None:
    F = RightSide(MomentBank(ORDERS), burgers_symnet())
    assert F.names == ["u", "u_x", "u_y", "u_xx", "u_xy", "u_yy", "v", "v_x", "v_y", "v_xx", "v_xy", "v_yy"]
    for p, terms in zip(F.polynomial(2), BURGERS, strict=True):
        assert p.terms(F.names) == terms
    assert str(F.expression(0.1)[1]) == "-1.0*u*v_x - 1.0*v*v_y"
    again = RightSide(MomentBank(ORDERS), F.polynomial(2))
    u = seeded(2, 6, 6)
    assert (again(u) - F(u)).abs().max() < 1e-13
    assert feature_names(4, [(0, 0), (0, 1)])[-2:] == ["u4", "u4_y"]


# ---- frames ----------------------------------------------------------------------------------------------------------


def wave(N: int, seed: int, batch: int = 4) -> Tensor:
    """Two frames of random trigonometric polynomials of degree 4 on [0, 2 pi)^2, with noise."""
    x = 2 * math.pi * torch.arange(N, dtype=D) / N
    k = torch.arange(-4, 5, dtype=D)
    e = torch.cat([torch.cos(k[:, None] * x), torch.sin(k[:, None] * x)])
    c = seeded(batch, 2, 2, 18, 18, seed=seed)
    u = torch.einsum("btcij,ix,jy->btcxy", c, e, e)
    return u + 0.001 * u.std() * seeded(*u.shape, seed=seed + 100)


def test_periodic_frames_pass() -> None:
    for seed, N in product(range(10), (16, 32, 64)):
        assert check_frames(wave(N, seed), DT, H) == (DT, H)
        assert check_frames(wave(N, seed, batch=1)[0], DT, H) == (DT, H)
    step = torch.sign(wave(32, 0))  # fronts everywhere
    assert check_frames(step, DT, H, net=net_of()) == (DT, H)
    assert check_frames(torch.ones(2, 1, 8, 8), DT, H, blocks=1) == (DT, H)


def test_n_blocks_need_n_plus_1_frames() -> None:
    u = wave(16, 0)[:, :1].expand(-1, 4, -1, -1, -1)
    assert check_frames(u, DT, H, blocks=3) == (DT, H)
    with pytest.raises(ValueError, match="at most 3 blocks"):
        check_frames(u, DT, H, blocks=4)


def test_times_and_coordinates_give_the_steps() -> None:
    u = wave(32, 0)
    x = [0.1 + 0.2 * i for i in range(32)]
    assert check_frames(u, torch.tensor([1.0, 1.5], dtype=D), x) == pytest.approx((0.5, 0.2))


def test_zero_on_the_border_is_continued_oddly() -> None:
    """sin(i x) sin(j y) on (0, pi)^2 has its own continuation to (0, 2 pi)^2, and the Laplacian sees no border."""
    x, y = (math.pi * torch.arange(2 * n, dtype=D) / n for n in (16, 12))
    full = sum(c * (i * x).sin()[:, None] * (j * y).sin() for i, j, c in [(1, 2, 1.0), (3, 1, -0.5)])
    u = odd_extension(full[1:16, 1:12])
    assert u.shape == (32, 24) and (u - full).abs().max() < 1e-13
    frames = u.expand(2, 1, 32, 24)
    assert check_frames(frames, DT, H) == (DT, H)
    with pytest.raises(ValueError, match="odd_extension of the inner points"):
        check_frames(full[:17, :13].expand(2, 1, 17, 13), DT, H)


def test_a_jump_across_the_border_is_seen_along_either_axis() -> None:
    ramp = torch.linspace(0, 1, 32, dtype=D)[:, None]
    for u, axis in [(wave(32, 0) / 500 + ramp, "x"), (wave(32, 0) / 500 + ramp.T, "y")]:
        with pytest.raises(ValueError, match=rf"along {axis} .* jumps by"):
            check_frames(u, DT, H)
    half = torch.cos(torch.linspace(0, math.pi, 32, dtype=D)).expand(2, 1, 32, 32)
    with pytest.raises(ValueError, match="along y"):
        check_frames(half, DT, H)
