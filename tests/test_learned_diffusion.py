"""Learned diffusions: before training a given flow or shrinkage to rounding; moments and stability in any case."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from companion import (
    Charbonnier,
    Diffusion,
    DiffusionStep,
    Euler,
    Exponential,
    FrameGradient,
    FrameletTransform,
    Garrote,
    Gradient,
    HeldMoments,
    LearnedDiffusion,
    LearnedDiffusivity,
    LearnedGradient,
    PeronaMalik,
    Rational,
    Shrinkage,
    ShrinkageDiffusivity,
    StabilityWarning,
    TVFlow,
    bspline,
    haar_gradient,
    learned_diffusion,
    moment_matrix,
    run,
    shrinkage_from,
    spline_gradient,
)
from companion.nets.held_moments import bank_adjoint, bank_correlate, symbol_bound, symbols


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def stir(module: nn.Module, size: float = 0.3) -> nn.Module:
    """Move every parameter, as a training would."""
    with torch.no_grad():
        for theta in module.parameters():
            theta.add_(size * torch.randn_like(theta))
    return module


# ---- before training --------------------------------------------------------------------------------------------

FLOWS: list[tuple[str, Callable[[], Diffusion], float]] = [
    ("rational", lambda: PeronaMalik(Rational(0.2, 1.5)), 0.25),
    ("exponential-torus", lambda: PeronaMalik(Exponential(0.3), Gradient(0.5, 2, "periodic")), 0.06),
    ("haar", lambda: PeronaMalik(Exponential(0.3), haar_gradient(boundary="periodic")), 0.49),
    ("haar-three", lambda: PeronaMalik(Exponential(0.3), haar_gradient(1.0, 3, "periodic")), 0.3),
    ("splines", lambda: PeronaMalik(Charbonnier(0.2), spline_gradient()), 1.2),
    ("tv", lambda: TVFlow(eps=0.1), 0.02),
]


@pytest.mark.parametrize(("F", "tau"), [row[1:] for row in FLOWS], ids=[row[0] for row in FLOWS])
@pytest.mark.parametrize("shared", [False, True])
def test_before_training_the_net_is_eulers_scheme_for_the_flow(
    F: Callable[[], Diffusion], tau: float, shared: bool
) -> None:
    u = torch.rand(2, 9, 10, dtype=torch.float64)
    net = learned_diffusion(F(), tau, 7, shared=shared, N=5)
    assert (net(u) - run(Euler(F(), tau), u, k=7).u).abs().max() < 1e-12
    assert sum(theta.numel() for theta in net.parameters()) % (1 if shared else 7) == 0


def test_with_data_the_net_is_the_flow_of_the_tv_model() -> None:
    f = torch.rand(9, 10, dtype=torch.float64)
    F = TVFlow(eps=0.1, f=f, nu=0.3)
    net = learned_diffusion(F, F.max_dt, 9)
    assert (net(f) - run(Euler(F, F.max_dt), f, k=9).u).abs().max() < 1e-12
    assert net.maps[0].lam.item() == pytest.approx(1 / 0.3, rel=1e-12)


def test_every_filter_by_itself_by_loops() -> None:
    """u - tau sum_i q_i^T (g_i(|q_i u|^2) q_i u) with dense matrices, g and q stirred."""
    u = random(5, 6)
    net = stir(learned_diffusion(PeronaMalik(Rational(0.7), spline_gradient()), 0.3, 1, each=True, nodes=5))
    step = net.maps[0]
    basis = torch.eye(30, dtype=torch.float64).reshape(30, 5, 6)
    rows = step.F.grad(basis).detach()  # column of pixel n: (30, r, 5, 6)
    expected = u.flatten().clone()
    for i, g in enumerate(step.F.g):
        Q = rows[:, i].reshape(30, 30).T
        d = Q @ u.flatten()
        x = np.log1p(d.square().numpy() / g.scale)
        a = np.interp(x, np.linspace(0, math.log1p(g.reach), 5), g.a.detach().numpy())
        expected = expected - 0.3 * Q.T @ (g.start(d.square()) * torch.from_numpy(np.exp(a)) * d)
    assert step.length().item() == 0.3
    torch.testing.assert_close(net(u).flatten(), expected, rtol=0, atol=1e-12)


def test_the_bands_of_a_frame_make_a_shrinkage() -> None:
    """(4.5): W^T S(W u), garrote in every high band, is a step with the bands for filters and g = level."""
    W, lam, u = FrameletTransform(bspline(2)), 0.05, torch.rand(2, 8, 9, dtype=torch.float64)
    grad = LearnedGradient(FrameGradient(bspline(2), W.indices[1:], 1.0, 2, "periodic", [1.0] * 8))
    level = ShrinkageDiffusivity(Garrote(lam).level, 1.0, 1.0)
    F = LearnedDiffusion([LearnedDiffusivity(level) for _ in range(8)], grad, [1] * 8)
    assert (DiffusionStep(F, 1.0)(u).u - Shrinkage(W, Garrote(W.weights(lam)))(u)).abs().max() < 1e-12


@pytest.mark.paper("(4.4)", "(4.5)")
def test_45_a_learned_diffusivity_is_a_learned_shrinkage() -> None:
    """With Haar's bands and any a_j: Shrinkage(W, shrinkage_from(g, W, tau)) is the step."""
    g, u = stir(LearnedDiffusivity(Exponential(0.3))), torch.rand(8, 9, dtype=torch.float64)
    F = LearnedDiffusion([g], LearnedGradient(haar_gradient(boundary="periodic")), [2])
    W = FrameletTransform(bspline(1))
    shrunk = Shrinkage(W, shrinkage_from(g, W, tau=0.1))(u)
    assert (DiffusionStep(F, 0.1)(u).u - shrunk).abs().max() < 1e-12
    assert (shrunk - Shrinkage(W, shrinkage_from(Exponential(0.3), W, tau=0.1))(u)).abs().max() > 1e-3


# ---- the parts --------------------------------------------------------------------------------------------------


def test_a_learned_diffusivity_interpolates_its_table() -> None:
    g = LearnedDiffusivity(Rational(2.0), nodes=6, reach=50.0)
    s = torch.logspace(-4, 4, 300, dtype=torch.float64)
    assert torch.equal(g(s), Rational(2.0)(s))
    assert g.scale == pytest.approx(4.0, rel=1e-9)
    stir(g)
    a = np.interp(np.log1p(s.numpy() / g.scale), np.linspace(0, math.log1p(50), 6), g.a.detach().numpy())
    torch.testing.assert_close(g.exponent(s).detach(), torch.from_numpy(a), rtol=0, atol=1e-12)
    assert (g(s) <= g.largest() * (1 + 1e-12)).all() and (g(s) > 0).all()


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_held_moments_stay_and_the_others_move(order: int) -> None:
    q = HeldMoments(random(4, 5, 5), order)
    assert torch.equal(q(q.start), q.start)
    before = moment_matrix(q.start)
    optimiser = torch.optim.Adam(q.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (q(q.start) - random(4, 5, 5)).square().sum().backward()
        optimiser.step()
    moved = (moment_matrix(q(q.start).detach()) - before).abs()
    degree = torch.arange(5)[:, None] + torch.arange(5)
    assert moved[:, degree < order].numel() == 0 or moved[:, degree < order].max() < 1e-12
    assert (moved[:, degree >= order] > 1e-6).all()


@pytest.mark.parametrize("boundary", ["periodic", "reflect", "zero"])
def test_a_bank_by_loops_and_its_adjoint(boundary: str) -> None:
    u, q = random(3, 2, 4, 5), random(2, 3, 5, 5)
    d = bank_correlate(u, q, boundary)
    mode = {"periodic": "wrap", "reflect": "symmetric", "zero": "constant"}[boundary]
    v = np.pad(u.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode)
    for c in range(2):
        for m in range(3):
            loop = sum(q[c, m, i, j].item() * v[:, c, i : i + 4, j : j + 5] for i in range(5) for j in range(5))
            np.testing.assert_allclose(d[:, c, m].numpy(), loop, atol=1e-13)
    p = random(*d.shape)
    assert float((d * p).sum()) == pytest.approx(float((u * bank_adjoint(p, q, boundary)).sum()), abs=1e-11)


def test_the_bound_of_a_symbol_is_above_it_and_close() -> None:
    """Against the symbol on 1024^2 frequencies, for random banks; exact for forward differences."""
    for N, slack in ((3, 1.0013), (5, 1.006), (7, 1.012)):
        q = random(4, N, N)
        fine = float(symbols(q, (1024, 1024)).abs().square().sum(0).max())
        assert fine * (1 - 1e-12) <= float(symbol_bound(q)) <= fine * slack
    assert LearnedGradient(Gradient(0.5), N=5).bound == Gradient(0.5).bound
    grad = stir(LearnedGradient(spline_gradient(boundary="periodic")))
    assert float(grad.norm(random(40, 40))) ** 2 <= grad.bound


def test_symbols_are_what_a_torus_multiplies_by() -> None:
    u, q = random(6, 8), random(3, 3, 3)
    d = bank_correlate(u[None], q[None], "periodic")[0]
    product = torch.fft.ifft2(torch.fft.fft2(u) * symbols(q, (6, 8))).real
    torch.testing.assert_close(d, product, rtol=0, atol=1e-12)


# ---- whatever was learned ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [False, True])
def test_no_training_makes_a_step_unstable(each: bool) -> None:
    """The dense matrix of v -> v - t (sum q^T g q v + lam v), g frozen at any u, has norm <= 1, for wild parameters."""
    for seed in range(4):
        torch.manual_seed(seed)
        flow = TVFlow(spline_gradient(), 0.2, torch.rand(5, 6, dtype=torch.float64), 0.5)
        step = stir(learned_diffusion(flow, 0.25, 1, each=each), 2.0).maps[0]
        t = step.length().item()
        assert t < 0.25
        basis = torch.eye(30, dtype=torch.float64).reshape(30, 5, 6)
        rows = step.F.grad(basis).detach()
        p = step.F.grad(random(5, 6)).split(step.F.sizes, -3)
        g = torch.cat([g(x.square().sum(-3, keepdim=True)).expand_as(x) for g, x in zip(step.F.g, p, strict=True)], -3)
        A = sum(rows[:, i].reshape(30, 30) @ (g[i].reshape(30, 1) * rows[:, i].reshape(30, 30).T) for i in range(2))
        eigenvalues = torch.linalg.eigvalsh((1 - t * step.lam) * torch.eye(30, dtype=torch.float64) - t * A)
        assert eigenvalues.detach().abs().max() <= 1 + 1e-12


def test_a_step_beyond_the_stable_one_is_cut_and_announced() -> None:
    with pytest.warns(StabilityWarning, match=r"0\.3 is longer than the stable step .* = 0\.25"):
        net = learned_diffusion(PeronaMalik(Rational(0.2)), 0.3, 1)
    assert net.maps[0].length().item() == pytest.approx(0.25, rel=1e-12)


def test_constants_pass_and_the_mean_is_kept_whatever_was_learned() -> None:
    u = torch.rand(3, 8, 7, dtype=torch.float64)
    net = stir(learned_diffusion(PeronaMalik(Rational(0.2), spline_gradient()), 0.2, 4, each=True))
    torch.testing.assert_close(net(u).mean((-2, -1)), u.mean((-2, -1)), rtol=0, atol=1e-13)
    torch.testing.assert_close(net(torch.full_like(u, 0.7)), torch.full_like(u, 0.7), rtol=0, atol=1e-13)
    torch.testing.assert_close(net(u + 2.0), net(u) + 2.0, rtol=0, atol=1e-12)


def test_gradients_of_a_step_are_those_of_differences() -> None:
    """... with respect to the picture, the tables, the taps and lam; where tau is free and where it is cut."""
    f = torch.rand(4, 5, dtype=torch.float64)
    for tau in (0.01, 5.0):
        with torch.random.fork_rng():
            flow = TVFlow(eps=0.3, f=f, nu=0.5)
            if tau > 1:
                with pytest.warns(StabilityWarning):
                    net = learned_diffusion(flow, tau, 2, nodes=4, shared=True)
            else:
                net = learned_diffusion(flow, tau, 2, nodes=4, shared=True)
        stir(net, 0.2)
        names, values = zip(*net.named_parameters(), strict=True)

        def act(u: Tensor, *theta: Tensor, net: nn.Module = net, names: tuple[str, ...] = names) -> Tensor:
            return torch.func.functional_call(net, dict(zip(names, theta, strict=True)), (u,))

        inputs = (f.clone().requires_grad_(), *(v.detach().clone().requires_grad_() for v in values))
        assert torch.autograd.gradcheck(act, inputs, fast_mode=True)


def test_float32_and_pictures_of_any_size() -> None:
    net = stir(learned_diffusion(PeronaMalik(Rational(0.2)), 0.2, 3))
    u = torch.rand(2, 3, 7, 11, dtype=torch.float64)
    low = net(u.float())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), net(u), rtol=0, atol=1e-5)
    torch.testing.assert_close(net(u)[1, 2], net(u[1, 2]), rtol=0, atol=1e-12)


def test_a_few_steps_of_training_denoise_better() -> None:
    torch.manual_seed(0)
    clean = torch.zeros(6, 16, 16)
    clean[:, 4:12, 5:13] = torch.rand(6, 1, 1)
    noisy = clean + 0.1 * torch.randn(6, 16, 16)
    net = learned_diffusion(PeronaMalik(Rational(0.1)), 0.2, 4)
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = (net(noisy) - clean).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(
        m.q(m.q.start).sum((-2, -1)).abs().max() < 1e-12 for m in net.modules() if isinstance(m, LearnedGradient)
    )
