"""Buffer -> Parameter: an unrolled solver is the solver until it is trained, then the formulas with its numbers."""

import copy
from collections.abc import Callable
from math import inf, log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from companion import (
    ADMM,
    FISTA,
    PDHG,
    Between,
    Blur,
    ForwardBackward,
    FrameletTransform,
    Gradient,
    Identity,
    LearnedFrame,
    LinearOperator,
    Mask,
    PartialFourier,
    PeronaMalik,
    Radon,
    Rational,
    Soft,
    SplitBregman,
    Unrolled,
    analysis,
    balanced,
    bspline,
    gaussian_kernel,
    learned,
    run,
    tv,
    unrolled,
)
from companion.flows.solvers import Solver
from tests.laws.registry import dense

f64, N, LAM = torch.float64, 12, 0.02
MEASUREMENTS: dict[str, LinearOperator] = {
    "denoising": Identity(),
    "deblurring": Blur(gaussian_kernel(0.8, 2, 2)),
    "a mask": Mask(torch.arange(N * N).reshape(N, N) % 3 != 1),
    "Fourier": PartialFourier(torch.arange(N * N).reshape(N, N) % 3 != 1),
    "Radon": Radon(N, 5),
}
LINEAR = FrameletTransform(bspline(2), 2)


def stirred() -> LearnedFrame:
    V = LearnedFrame(LINEAR)
    with torch.no_grad():
        for level, skew in enumerate(V.skew):
            skew.copy_(random(*skew.shape, seed=level))
    return V


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def data(A: LinearOperator, *batch: int, seed: int = 1) -> Tensor:
    return A(random(*batch, N, N, seed=seed))


def weights(W: FrameletTransform | LearnedFrame) -> Tensor:
    return W.weights(LAM, decay=0.5)


SOLVERS: dict[str, Callable[[LinearOperator, Tensor], Solver]] = {  # (A, data) -> a step, its numbers far from default
    "ADMM, analysis": lambda A, f: ADMM(analysis(A, f, LINEAR, weights(LINEAR)), 0.7),
    "ADMM, analysis, a learned frame": lambda A, f: ADMM(analysis(A, f, FRAME, weights(FRAME)), 0.7),
    "PDHG, analysis": lambda A, f: PDHG(analysis(A, f, LINEAR, weights(LINEAR)), ratio=0.6, dualise=True),
    "PDHG, total variation": lambda A, f: PDHG(tv(A, f, LAM), ratio=0.3, dualise=True),
    "PDHG, entrywise": lambda A, f: PDHG(tv(A, f, LAM, isotropic=False), ratio=0.3),
    "SplitBregman, total variation": lambda A, f: SplitBregman(tv(A, f, LAM), 0.4, tol=1e-14),
    "ForwardBackward, balanced": lambda A, f: ForwardBackward(balanced(A, f, LINEAR, weights(LINEAR)), 0.9 / size(A)),
    "FISTA, balanced": lambda A, f: FISTA(balanced(A, f, LINEAR, weights(LINEAR)), 0.9 / size(A)),
}
FRAME = stirred()
each = pytest.mark.parametrize("name", SOLVERS)
measured = pytest.mark.parametrize("kind", MEASUREMENTS)


def size(A: LinearOperator) -> float:
    return max(1.0, float(A.norm(random(N, N))) ** 2)


def made(name: str, kind: str = "deblurring", k: int = 4, *, stir: float = 0.0) -> Unrolled:
    """A net made with data that it will not see again; `stir` moves its Parameters."""
    A = MEASUREMENTS[kind]
    net = unrolled(SOLVERS[name](A, data(A, seed=7)), k)
    with torch.no_grad():
        for seed, p in enumerate(net.parameters()):
            p.add_(stir * (2 * random(*p.shape, seed=seed) - 1))
    return net


# ---- before training -------------------------------------------------------------------------------------------------


@pytest.mark.paper("(2.5)", "(3.2)")
@each
@measured
def test_before_training_the_net_is_the_solver_after_k_steps(name: str, kind: str) -> None:
    A = MEASUREMENTS[kind]
    f = data(A)
    step = SOLVERS[name](A, f)
    twin = run(step, A.T(f), k=4).u
    assert (made(name, kind)(f) - twin).abs().max() < 1e-12 * twin.abs().max()
    assert (twin - run(step, A.T(f), k=3).u).abs().max() > 1e-9  # four steps are not three


@pytest.mark.paper("(2.5)", "(3.2)")
def test_the_default_numbers_are_those_of_the_solver() -> None:
    A = MEASUREMENTS["deblurring"]
    f = data(A)
    for step in (ADMM(analysis(A, f, LINEAR, weights(LINEAR))), PDHG(tv(A, f, LAM)), SplitBregman(tv(A, f, LAM))):
        twin = run(step, A.T(f), k=8).u
        assert (unrolled(step, 8)(f) - twin).abs().max() < 1e-12


@each
def test_a_batch_is_a_loop_and_type_follows_the_data(name: str) -> None:
    net, f = made(name, stir=1.0), data(MEASUREMENTS["deblurring"], 2, 3)
    loop = torch.stack([net(g) for g in f.flatten(0, 1)]).unflatten(0, (2, 3))
    assert (net(f) - loop).abs().max() < 1e-12
    single = net(f.float())
    assert single.dtype == torch.float32 and (single - net(f)).abs().max() < 1e-4


@each
def test_the_pictures_between_the_layers(name: str) -> None:
    net, f = made(name, stir=1.0), data(MEASUREMENTS["deblurring"])
    pictures = net.features(f)
    assert len(pictures) == 5 and torch.equal(pictures[-1], net(f))
    A = MEASUREMENTS["deblurring"]
    torch.testing.assert_close(pictures[0], A.T(f), rtol=0, atol=1e-14)
    first = Unrolled(list(net.maps)[:2])
    assert torch.equal(first(f), pictures[2])


# ---- after training: the formulas with the net's own numbers ---------------------------------------------------------


def numbers(layer: nn.Module) -> tuple[np.ndarray, float]:
    """lam over the pixels of the coefficients, and rho or tau."""
    own = getattr(layer, "rho", None)
    return layer.problem.R.lam.detach().numpy(), float((layer.tau if own is None else own).detach())


@pytest.mark.paper("(2.5)")
@measured
def test_unrolled_admm_in_matrices(kind: str) -> None:
    A = MEASUREMENTS[kind]
    net, f = made("ADMM, analysis, a learned frame", kind, 3, stir=0.5), data(A)
    K = net.maps[0].problem.K
    DA, DW = (dense(B, (N, N)).detach().numpy() for B in (A, K))
    x = (DA.T @ f.numpy().ravel()).ravel()
    d, b = DW @ x, 0 * (DW @ x)
    seen = set()
    for layer in net.maps:
        lam, rho = numbers(layer)
        seen.add(rho)
        x = np.linalg.solve(DA.T @ DA + rho * np.eye(N * N), DA.T @ f.numpy().ravel() + rho * DW.T @ (d - b))
        bound = np.broadcast_to(lam / rho, (len(K.bands), N, N)).ravel()
        v = DW @ x + b
        d = np.sign(v) * np.maximum(np.abs(v) - bound, 0)
        b = v - d
    assert len(seen) == 3
    np.testing.assert_allclose(net(f).detach().numpy().ravel(), x, rtol=0, atol=1e-11)


@pytest.mark.paper("(3.2)")
@measured
def test_unrolled_pdhg_in_matrices(kind: str) -> None:
    """p <- p cut to length lam, q <- (q + sigma (A x-bar - f)) / (1 + sigma), x <- x - tau (K^T p + A^T q)."""
    A = MEASUREMENTS[kind]
    net, f = made("PDHG, total variation", kind, 3, stir=0.5), data(A)
    DA, DK = dense(A, (N, N)).numpy(), dense(Gradient(), (N, N)).numpy()
    square = float(Gradient().norm(random(N, N))) ** 2 + float(A.norm(random(N, N))) ** 2
    x = DA.T @ f.numpy().ravel()
    bar, p, q = x, np.zeros((2, N * N)), 0 * f.numpy().ravel()
    for layer in net.maps:
        lam, tau = numbers(layer)
        sigma = 1 / (tau * square)
        p = p + sigma * (DK @ bar).reshape(2, -1)
        p = p / np.maximum(1, np.sqrt((p**2).sum(0)) / lam)
        q = (q + sigma * (DA @ bar - f.numpy().ravel())) / (1 + sigma)
        new = x - tau * (DK.T @ p.ravel() + DA.T @ q)
        x, bar = new, 2 * new - x
    np.testing.assert_allclose(net(f).detach().numpy().ravel(), x, rtol=0, atol=1e-10)


@pytest.mark.paper("(2.5)", "(3.2)")
@pytest.mark.parametrize("kind", ["denoising", "deblurring"])
def test_with_other_numbers_it_is_the_solver_that_is_made_with_them(kind: str) -> None:
    A = MEASUREMENTS[kind]
    f, other, own = data(A), random(N, N, seed=5), {"tol": 1e-14}
    pairs: list[tuple[Solver, Solver, str]] = [
        (
            ADMM(analysis(A, f, LINEAR, weights(LINEAR)), 0.7),
            ADMM(analysis(A, f, LINEAR, 3 * weights(LINEAR)), 1.9),
            "rho",
        ),
        (PDHG(tv(A, f, LAM), tau=0.3), PDHG(tv(A, f, 3 * LAM), tau=0.8), "tau"),
        (SplitBregman(tv(A, f, LAM), 0.4, **own), SplitBregman(tv(A, f, 3 * LAM), 1.1, **own), "rho"),
    ]
    for made_with, wanted, name in pairs:
        net = unrolled(made_with, 4)
        assert (net(f) - run(wanted, A.T(f), k=4).u).abs().max() > 1e-4
        for layer in net.maps:
            setattr(layer, name, getattr(wanted, name))
            layer.problem.R.lam = wanted.problem.R.lam
        assert (net(f) - run(wanted, A.T(f), k=4).u).abs().max() < 1e-11
        assert net(other).shape == other.shape


# ---- constraints by construction -------------------------------------------------------------------------------------


@each
def test_what_the_mathematics_asks_for_holds_whatever_is_learned(name: str) -> None:
    A = MEASUREMENTS["deblurring"]
    net = made(name, stir=6.0)
    step = SOLVERS[name](A, data(A, seed=7))
    for layer in net.maps:
        lam = layer.problem.R.lam
        assert bool((lam >= 0).all()) and torch.equal(lam == 0, step.problem.R.lam == 0)
        assert lam.shape == step.problem.R.lam.shape and not torch.equal(lam, step.problem.R.lam)
        if isinstance(layer, PDHG):
            square = float(layer.problem.K.norm(data(A))) ** 2 + layer.split * size(A)
            assert layer.tau > 0 and layer.sigma > 0 and bool(layer.tau * layer.sigma <= (1 + 1e-12) / square)
        if isinstance(layer, ADMM | SplitBregman):
            assert layer.rho > 0 and layer.rho != step.rho
        if isinstance(layer, ForwardBackward):
            assert 0 < layer.step < 2 / size(A) and layer.step != step.step
        if isinstance(layer, FISTA):
            assert layer.step == step.step


def test_tau_sigma_stays_what_the_user_gave() -> None:
    step = PDHG(tv(Identity(), random(N, N), LAM), tau=0.2, sigma=0.1)
    assert float(step.tau) == 0.2 and float(step.sigma) == pytest.approx(0.1, rel=1e-15)
    layer = learned(step, "tau")
    layer.tau = torch.tensor(0.5, dtype=f64)
    assert float((layer.tau * layer.sigma).detach()) == pytest.approx(0.02, rel=1e-14)


# ---- what is shared --------------------------------------------------------------------------------------------------


def test_layers_share_all_but_their_numbers() -> None:
    A = MEASUREMENTS["Radon"]
    step = SOLVERS["PDHG, analysis"](A, data(A))
    net = unrolled(step, 5)
    first, second = net.maps[0].problem, net.maps[3].problem
    assert first.E is second.E and first.K is second.K and first.R is not second.R
    assert net.maps[0].E is net.maps[3].E and not {id(m) for m in net.modules()} & {id(m) for m in step.modules()}
    assert sum(p.numel() for p in net.parameters()) == 5 * (len(LINEAR.bands) + 1)
    assert [name for name, _ in step.named_parameters()] == []


@pytest.mark.parametrize("own_frame", [False, True])
def test_the_layers_share_a_learned_frame_or_have_their_own(own_frame: bool) -> None:
    f = random(N, N)
    step = SOLVERS["ADMM, analysis, a learned frame"](Identity(), f)
    net = unrolled(step, 3, own_frame=own_frame)
    in_frame = sum(p.numel() for p in FRAME.parameters())
    assert sum(p.numel() for p in net.parameters()) == 3 * (len(FRAME.bands) + 1) + (3 if own_frame else 1) * in_frame
    assert (net(f) - run(step, f, k=3).u).abs().max() < 1e-12
    assert (net.maps[0].problem.K is net.maps[1].problem.K) != own_frame
    before = [p.clone() for p in FRAME.parameters()]
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    net(f).square().sum().backward()
    optimiser.step()
    assert all(torch.equal(p, q) for p, q in zip(before, FRAME.parameters(), strict=True))
    for layer in net.maps:
        K = layer.problem.K
        assert any((p - q).abs().max() > 1e-6 for p, q in zip(before, K.parameters(), strict=True))
        assert (K.T(K(f)) - f).abs().max() < 1e-12


def test_the_example_comes_back_after_every_call() -> None:
    net, example = made("PDHG, total variation", "Radon"), data(MEASUREMENTS["Radon"], seed=7)
    net(data(MEASUREMENTS["Radon"]))
    with pytest.raises(ValueError, match="angles, detectors"):
        net(torch.ones(3, 4, dtype=f64))
    for E in (net.maps[0].problem.E, net.maps[0].E.F):
        assert torch.equal(E.f, example)


def test_a_net_is_copied_and_its_parameters_are_saved() -> None:
    net, f = made("ADMM, analysis", stir=1.0), data(MEASUREMENTS["deblurring"])
    assert torch.equal(copy.deepcopy(net)(f), net(f))
    new = made("ADMM, analysis")
    assert not torch.equal(new(f), net(f))
    new.load_state_dict(dict(net.named_parameters()), strict=False)
    assert torch.equal(new(f), net(f))


# ---- gradients and learning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ADMM", "PDHG", "SplitBregman", "ForwardBackward"])
def test_gradients_with_respect_to_parameters_and_data(name: str) -> None:
    A, f, V = Blur(gaussian_kernel(0.6, 2, 1)), random(4, 5), LearnedFrame(FrameletTransform(bspline(1)))
    step = {
        "ADMM": lambda: ADMM(analysis(A, f, V, V.weights(0.1)), 0.8),
        "PDHG": lambda: PDHG(tv(A, f, 0.1, Gradient(h=0.5)), ratio=0.5),
        "SplitBregman": lambda: SplitBregman(tv(A, f, 0.1, Gradient(boundary="periodic")), 0.3),
        "ForwardBackward": lambda: ForwardBackward(balanced(A, f, V.W, V.weights(0.1)), 0.7),
    }[name]()
    net = unrolled(step, 2)
    names = [key for key, _ in net.named_parameters()]
    values = [(p.detach() + 0.2 * random(*p.shape, seed=i)).requires_grad_() for i, p in enumerate(net.parameters())]

    def out(f: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (f,))

    assert torch.autograd.gradcheck(out, (random(4, 5, seed=2).requires_grad_(), *values))


@each
def test_every_number_but_the_last_threshold_of_admm_is_learned(name: str) -> None:
    net, f = made(name), data(MEASUREMENTS["deblurring"])
    net(f).square().sum().backward()
    idle = [key for key, p in net.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 0)]
    last = [f"maps.{len(net.maps) - 1}.problem.R.parametrizations.lam.original"]
    assert idle == (last if "ADMM" in name or "Bregman" in name else [])


@pytest.mark.parametrize("name", ["ADMM, analysis, a learned frame", "PDHG, total variation"])
def test_training_lowers_the_loss(name: str) -> None:
    u = (torch.arange(N)[:, None] // 4 + torch.arange(N) // 5).to(f64).expand(4, N, N) / 4
    f = u + 0.1 * torch.randn(4, N, N, generator=torch.Generator().manual_seed(0), dtype=f64)
    net = made(name, "denoising", 5)
    optimiser, losses = torch.optim.Adam(net.parameters(), lr=0.1), []
    for _ in range(25):
        optimiser.zero_grad()
        loss = (net(f) - u).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


# ---- buffer -> Parameter ---------------------------------------------------------------------------------------------


def test_between_is_the_logistic_curve_through_its_start() -> None:
    start, bound = torch.tensor([0.0, 0.3, 1.0, 2.0], dtype=f64), 2.0
    theta = torch.linspace(-3, 3, 28, dtype=f64).reshape(7, 4).requires_grad_()
    v = torch.stack([Between(start, bound)(row) for row in theta])
    assert torch.equal(Between(start, bound)(torch.zeros(4, dtype=f64)), start)
    assert torch.equal(v[:, 0], torch.zeros(7)) and torch.equal(v[:, 3], torch.full((7,), 2.0, dtype=f64))
    (slope,) = torch.autograd.grad(v.sum(), theta)
    torch.testing.assert_close(slope, v * (1 - v / bound), rtol=1e-12, atol=1e-15)  # its differential equation
    for row, value in zip(theta, v, strict=True):
        back = Between(start, bound).right_inverse(value.detach())
        torch.testing.assert_close(back[1:3], row.detach()[1:3], rtol=1e-12, atol=1e-12)
    assert float(Between(start[1], inf)(torch.tensor(log(3.0)))) == pytest.approx(0.9)
    assert float(Between(start[2])(torch.tensor(-900.0))) == 0.0


def test_learned_copies_only_the_way_to_the_names() -> None:
    f = random(N, N)
    step = ADMM(analysis(Identity(), f, LINEAR, weights(LINEAR)), 0.7)
    twin = learned(step, "rho", "delta", "problem.R.lam", bounds={"delta": 1.6})
    assert twin is not step and twin.problem is not step.problem and twin.problem.R is not step.problem.R
    assert twin.problem.E is step.problem.E and twin.problem.K is step.problem.K
    assert {p.numel() for p in twin.parameters()} == {1, len(LINEAR.bands)} and not list(step.parameters())
    assert isinstance(step.rho, Tensor) and "rho" in dict(step.named_buffers())
    twin.delta = torch.tensor(1.5, dtype=f64)
    assert float(twin.delta) == pytest.approx(1.5, rel=1e-14) and float(step.delta) == 1.0


def test_any_map_is_learned_so() -> None:
    """A threshold, and the scale of a diffusivity, through the same door."""
    S, u = Soft(LINEAR.weights(0.3)), LINEAR(random(N, N))
    assert torch.equal(learned(S, "lam")(u), S(u))
    F = PeronaMalik(Rational(0.1), Gradient())
    name = next(key for key, b in F.named_buffers() if b.ndim == 0)
    twin = learned(F, name)
    assert torch.equal(twin(random(N, N)), F(random(N, N)))
    twin(random(N, N)).square().sum().backward()
    assert [float(p.grad) != 0 for p in twin.parameters()] == [True]
