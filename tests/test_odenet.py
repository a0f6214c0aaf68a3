"""A residual network is a list of maps, run by `run`: against networks written out, hand counts, other schemes."""

import copy
import io
import itertools
import math
import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import Tensor, nn
from torch.nn import functional

from companion import (
    RK4,
    Euler,
    Held,
    Heun,
    ImplicitSkip,
    LMStep,
    ODENet,
    Residual,
    StageChange,
    deepen,
    fractalnet,
    implicit_resnet,
    lm_resnet,
    mlp_resnet,
    polynet,
    rescheme,
    resnet,
    revnet,
    run,
    shake_shake,
    stochastic_depth,
)
from companion.flows.multistep import TwoStep

NETS: dict[str, Callable[..., ODENet]] = {
    "resnet": resnet,
    "lm_resnet": lm_resnet,
    "lm_resnet, alpha fixed": lambda depth, **common: lm_resnet(depth, -0.3, **common),
    "polynet": polynet,
    "fractalnet": fractalnet,
    "implicit_resnet": implicit_resnet,
    "implicit_resnet, rate fixed": lambda depth, **common: implicit_resnet(depth, lr=0.05, **common),
    "revnet": revnet,
    "stochastic_depth": stochastic_depth,
    "shake_shake": shake_shake,
    "shake_shake, two gates": lambda depth, **common: shake_shake(depth, backward=True, **common),
}
SAME_FIELDS = ["lm_resnet", "lm_resnet, alpha fixed", "polynet", "fractalnet", "implicit_resnet", "stochastic_depth"]
each = pytest.mark.parametrize("name", NETS)


def made(name: str, depth: int = 14, seed: int = 0, width: int = 4, **options: int) -> ODENet:
    torch.manual_seed(seed)
    return NETS[name](depth, width=width, **options)


def pictures(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*(shape or (3, 3, 8, 8)), generator=torch.Generator().manual_seed(seed))


def weights(net: nn.Module) -> list[Tensor]:
    """Convolutions and the linear map, in order: what is drawn at random, without alpha."""
    return [p for p in net.parameters() if p.ndim > 1]


def settled(net: ODENet, *shape: int) -> ODENet:
    """In evaluation, with running statistics of a few batches."""
    for seed in range(20):
        net(pictures(*shape, seed=seed))
    return net.eval()


# ---- (5.1): ResNet -----------------------------------------------------------------------------------------------


def written_out(net: ODENet, x: Tensor) -> Tensor:
    """ResNet with pre-activation as it is usually written: one long function, no `run`, no classes of the package."""
    w = iter(net.parameters())

    def norm(u: Tensor, gain: Tensor, constant: Tensor) -> Tensor:
        return functional.batch_norm(u, None, None, gain, constant, training=True)

    def field(u: Tensor, stride: int) -> Tensor:
        names = ("gain", "constant", "q", "gain2", "constant2", "q2")
        p = dict(zip(names, itertools.islice(w, 6), strict=True))
        u = functional.conv2d(norm(u, p["gain"], p["constant"]).relu(), p["q"], stride=stride, padding=1)
        return functional.conv2d(norm(u, p["gain2"], p["constant2"]).relu(), p["q2"], padding=1)

    u = functional.conv2d(x, next(w), padding=1)
    n = (len(net.maps) - 2) // 3
    for stage in range(3):
        for block in range(n):
            if stage > 0 and block == 0:
                v = field(u, 2)
                u = functional.conv2d(norm(u, next(w), next(w)).relu(), next(w), stride=2) + v
            else:
                u = u + field(u, 1)
    u = norm(u, next(w), next(w)).relu().mean((2, 3))
    return u @ next(w).T + next(w)


@pytest.mark.paper("(5.1)")
def test_resnet_is_the_network_written_out() -> None:
    net = made("resnet", 20).double()
    x = pictures().double()
    torch.testing.assert_close(net(x), written_out(net, x), rtol=1e-12, atol=1e-12)


@pytest.mark.paper("(5.1)")
def test_resnet_is_eulers_scheme_bitwise() -> None:
    net = made("resnet")
    x = pictures()
    u = x
    for map in net.maps:
        u = u + map.F(u) if isinstance(map, Euler) else map(u)
    assert torch.equal(net(x), u)
    assert torch.equal(net(x), run(list(net.maps), x).u)
    assert sum(isinstance(map, Euler) for map in net.maps) == 4  # of depth 14: two in the first stage, one each after


def by_hand(depth: int, width: int = 16, classes: int = 10) -> int:
    """The number of parameters: 9 numbers a filter, 2 a channel for batch norm."""
    n, c = (depth - 2) // 6, width
    block = lambda c: 2 * c + 9 * c * c + 2 * c + 9 * c * c  # noqa: E731
    change = lambda c: (2 * c + 9 * c * 2 * c + 4 * c + 9 * 4 * c * c) + (2 * c + c * 2 * c)  # noqa: E731
    stages = n * block(c) + change(c) + (n - 1) * block(2 * c) + change(2 * c) + (n - 1) * block(4 * c)
    return 3 * c * 9 + stages + 2 * 4 * c + 4 * c * classes + classes


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (56, 0.86)])
def test_the_number_of_parameters(depth: int, millions: float) -> None:
    count = sum(p.numel() for p in resnet(depth).parameters())
    assert count == by_hand(depth)
    assert round(count / 1e6, 2) == millions


def test_depth_counts_layers() -> None:
    """6n + 2: the convolutions on the way, without the projections, and the linear map."""
    for depth in (8, 14, 20, 56):
        net = resnet(depth, width=2)
        on_the_way = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert len(on_the_way) + 1 == depth


def test_features_are_the_orbit() -> None:
    net = settled(made("lm_resnet"))
    x = pictures()
    features = net.features(x)
    assert len(features) == len(net.maps) + 1
    assert torch.equal(features[0], x)
    assert torch.equal(features[-1], net(x))
    assert [f.shape[1] for f in features[1:-1]] == [4, 4, 4, 8, 8, 16, 16]
    torch.testing.assert_close(
        features[3],
        features[2] + net.maps[2].F(features[2]) + float(net.maps[2].alpha.detach()) * (features[1] - features[2]),
    )


# ---- (5.2): LM-ResNet --------------------------------------------------------------------------------------------


@pytest.mark.paper("(5.2)")
@pytest.mark.parametrize("alpha", [None, -0.4, 0.7, 1.0])
def test_lm_resnet_is_5_2_with_its_past_across_the_stages(alpha: float | None) -> None:
    torch.manual_seed(0)
    net = lm_resnet(26, alpha, width=4).double()
    x = pictures().double()
    assert sum(isinstance(map, LMStep) for map in net.maps) == 10
    u, old = net.maps[0](x), None
    for map in net.maps[1:-1]:
        if isinstance(map, StageChange):
            past = map.C(map.N(u).relu())
            u, old = past + map.F(u), past
        elif old is None:
            u, old = u + map.F(u), u
        else:
            a = float(map.alpha.detach())
            assert a == alpha if alpha is not None else -0.1 <= a <= 0
            u, old = (1 - a) * u + a * old + map.F(u), u
    torch.testing.assert_close(net(x), net.maps[-1](u), rtol=1e-12, atol=1e-12)


@pytest.mark.paper("(5.2)")
def test_the_step_is_the_two_step_scheme() -> None:
    F = lambda u: torch.sin(3 * u)  # noqa: E731
    u0 = pictures(5).double()
    steps = run([LMStep(F, -0.35, dt=0.2) for _ in range(7)], u0).u
    torch.testing.assert_close(steps, run(TwoStep(F, 0.2, -0.35), u0, k=7).u, rtol=1e-14, atol=1e-14)
    u, old = u0, u0
    for _ in range(7):
        u, old = 1.35 * u - 0.35 * old + 0.2 * F(u), u
    torch.testing.assert_close(steps, u, rtol=1e-13, atol=1e-13)


@pytest.mark.paper("(5.2)")
def test_alpha_zero_is_resnet_bitwise() -> None:
    assert all(
        torch.equal(a, b)
        for a, b in zip(made("resnet").features(pictures()), zero_alpha().features(pictures()), strict=True)
    )


def zero_alpha() -> ODENet:
    torch.manual_seed(0)
    return lm_resnet(14, 0.0, width=4)


@pytest.mark.parametrize("depth", [8, 14, 32])
def test_how_many_alphas_there_are(depth: int) -> None:
    n = (depth - 2) // 6
    net = made("lm_resnet", depth, width=2)
    assert sum(p.ndim == 0 for p in net.parameters()) == 3 * (n - 1)
    if n == 1:  # the two-step term never acts
        assert torch.equal(net(pictures()), made("resnet", depth, width=2)(pictures()))
    else:
        assert not torch.equal(net(pictures()), made("resnet", depth, width=2)(pictures()))


def test_alphas_are_drawn_from_their_interval() -> None:
    net = made("lm_resnet", 302, width=1)
    alphas = torch.stack([p.detach() for p in net.parameters() if p.ndim == 0])
    assert len(alphas) == 147
    assert -0.1 <= float(alphas.min()) < -0.09 and -0.01 < float(alphas.max()) <= 0


def test_alpha_learns() -> None:
    net = made("lm_resnet", 20)
    functional.cross_entropy(net(pictures()), torch.tensor([0, 1, 2])).backward()
    assert all(float(p.grad.abs()) > 0 for p in net.parameters() if p.ndim == 0)


# ---- the same fields under other schemes -------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAME_FIELDS)
def test_equal_seeds_give_equal_fields_and_other_maps(name: str) -> None:
    net, plain = made(name), made("resnet")
    pairs = list(zip(weights(net), weights(plain), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(torch.equal(a, b) for a, b in zip(weights(made("resnet", seed=1)), weights(plain), strict=True))
    settled(net), settled(plain)
    assert not torch.allclose(net(pictures()), plain(pictures()), atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_the_variants_are_what_they_say(training: bool) -> None:
    """Each step written out with F in evaluation, where it is one function anyway; and n = 1, ... are ResNet."""
    u = pictures(2, 4, 6, 6).double()
    for name, step in {
        "polynet": lambda F, u: u + F(u + F(u)),
        "fractalnet": lambda F, u: ((v := u + F(u) / 2) + F(v) / 2 + u + F(u)) / 2,
    }.items():
        map = made(name).double().eval().maps[1]
        torch.testing.assert_close(map(u), step(map.step.F, u), rtol=1e-12, atol=1e-12)
    printed = polynet(14, printed=True, width=4).double().eval().maps[1]
    F = printed.step.F
    torch.testing.assert_close(printed(u), u + F(u) + F(F(u)), rtol=1e-12, atol=1e-12)
    for trivial in (
        lambda: polynet(14, n=1, width=4),
        lambda: fractalnet(14, columns=1, width=4),
        lambda: implicit_resnet(14, steps=0, width=4),
        lambda: stochastic_depth(14, survival=1.0, width=4),
    ):
        torch.manual_seed(0)
        net = trivial().train(training)
        torch.testing.assert_close(net(pictures()), made("resnet").train(training)(pictures()), rtol=1e-6, atol=1e-6)


def test_rescheme_shares_the_parameters() -> None:
    net = settled(made("resnet"))
    better = rescheme(net, lambda F: Held(RK4(F, 1.0)))
    assert {id(p) for p in better.parameters()} == {id(p) for p in net.parameters()}
    assert [type(m) for m in better.maps].count(Held) == 4
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            net.features(pictures()), rescheme(better, lambda F: Euler(F, 1.0)).features(pictures()), strict=True
        )
    )
    for name in SAME_FIELDS:
        back = rescheme(made(name), lambda F: Euler(F, 1.0))
        assert torch.equal(back.eval()(pictures()), made("resnet").eval()(pictures()))
    lazy = rescheme(net, lambda F: ImplicitSkip(F, 0)).eval()
    assert torch.equal(lazy(pictures()), net(pictures()))


@pytest.mark.parametrize(("scheme", "order"), [(Euler, 1), (Heun, 2), (RK4, 4)])
def test_deepened_features_converge_at_the_order_of_the_scheme(scheme: type, order: int) -> None:
    """A network on the plane, weights constant in pieces of t, against SciPy's solution piece by piece."""
    torch.manual_seed(0)
    net = rescheme(mlp_resnet(2, 8, depth=4, dt=0.5), lambda F: scheme(F, 0.5)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    u0 = pictures(1, 2).double()
    u = u0[0].numpy()
    for map in net.maps:
        W, b, B, c = (p.detach().numpy() for p in map.F.parameters())
        f = lambda t, u, W=W, b=b, B=B, c=c: B @ np.tanh(W @ u + b) + c  # noqa: E731
        u = scipy.integrate.solve_ivp(f, (0, 0.5), u, rtol=1e-12, atol=1e-13, method="DOP853").y[:, -1]
    with torch.no_grad():
        errors = [np.abs(deepen(net, times)(u0)[0].numpy() - u).max() for times in (4, 8, 16)]
    assert len(deepen(net, 4).maps) == 16
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes[-1] == pytest.approx(order, abs=0.15), errors


def test_a_deeper_resnet_shares_its_parameters() -> None:
    net = settled(made("resnet"))
    double = deepen(net).eval()
    assert len(double.maps) == len(net.maps) + 4
    assert {id(p) for p in double.parameters()} == {id(p) for p in net.parameters()}
    assert [m.dt for m in double.maps if isinstance(m, Euler)] == [0.5] * 8
    assert [m.dt for m in net.maps if isinstance(m, Euler)] == [1.0] * 4
    exact = deepen(rescheme(net, lambda F: RK4(F, 1.0)), 32).eval()
    with torch.no_grad():
        errors = [float((deepen(net, n).eval()(pictures()) - exact(pictures())).abs().max()) for n in (8, 16, 32)]
    assert errors[0] / errors[2] == pytest.approx(4, rel=0.25), errors


def test_mlp_resnet_is_the_loop() -> None:
    torch.manual_seed(0)
    net = mlp_resnet(2, 5, depth=8).double()
    u0 = pictures(6, 2).double()
    u = u0
    for map in net.maps:
        W, b, B, c = map.F.parameters()
        u = u + (torch.tanh(u @ W.T + b) @ B.T + c) / 8
    torch.testing.assert_close(net(u0), u, rtol=1e-13, atol=1e-13)
    assert all(map.dt == 0.25 for map in mlp_resnet(2, 5, depth=3, dt=0.25).maps)


# ---- as a torch module -------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dim", [1, 2])
def test_shapes_and_gradients_of_every_network(name: str, dim: int) -> None:
    """Every parameter learns, as data-parallel training needs; signals and pictures of any size from 4."""
    net = made(name, dim=dim, channels=2, classes=5)
    for space in ((4,) * dim, (9, 6)[:dim]):
        x = pictures(3, 2, *space).requires_grad_()
        scores = net(x)
        assert scores.shape == (3, 5)
        net.zero_grad()
        functional.cross_entropy(scores, torch.tensor([0, 1, 2])).backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
        assert x.grad is not None and float(x.grad.abs().max()) > 0
        assert all(float(p.grad.abs().max()) > 0 for p in net.parameters() if p.ndim > 1)


@each
def test_evaluation_needs_no_graph_and_gives_the_same(name: str) -> None:
    net = settled(made(name))
    x = pictures()
    before = x.clone()
    with torch.no_grad():
        silent = net(x)
    assert not silent.requires_grad
    torch.testing.assert_close(silent, net(x), rtol=1e-5, atol=1e-6)
    assert torch.equal(silent, net(x).detach()), "evaluation is deterministic"
    one_by_one = torch.cat([net(x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(net(x), one_by_one, rtol=1e-4, atol=1e-5)
    assert torch.equal(x, before)


@each
def test_copies_pickles_and_state_dicts(name: str) -> None:
    net = settled(made(name))
    x = pictures()
    loaded = made(name, seed=5).eval()
    loaded.load_state_dict(net.state_dict())
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded):
        assert torch.equal(other(x), net(x))
        assert not {id(p) for p in other.parameters()} & {id(p) for p in net.parameters()}


@each
def test_double_precision_and_mixed_precision(name: str) -> None:
    net = made(name).double()
    assert net(pictures().double()).dtype == torch.float64
    net = made(name)
    with torch.autocast("cpu", torch.bfloat16):
        scores = net(pictures())
        loss = functional.cross_entropy(scores, torch.tensor([0, 1, 2]))
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


@each
def test_a_pass_counts_once_for_the_running_statistics(name: str) -> None:
    """However often a step takes its field, and though the way back of a reversible one takes it again."""
    net = made(name)
    net(pictures()).sum().backward()
    assert {int(b) for key, b in net.named_buffers() if key.endswith("num_batches_tracked")} == {1}


@each
def test_training_reduces_the_loss(name: str) -> None:
    net = made(name, 14, channels=1, classes=3)
    x, y = pictures(12, 1, 6, 6), torch.arange(12) % 3
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-4:]) / 4 < 0.7 * losses[0], losses


def test_run_costs_nothing() -> None:
    """Below 5 microseconds a step, as a user meets it (without type checks): a convolution takes hundreds."""
    code = (
        "import time, torch; from companion import run; maps = [lambda u: u] * 2000; times = []\n"
        "for _ in range(7):\n"
        "    t = time.process_time(); run(maps, torch.zeros(1)); times.append(time.process_time() - t)\n"
        "print(min(times) / len(maps))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 5e-6


def test_an_interrupt_is_not_an_answer() -> None:
    class Stop(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ODENet([nn.Identity(), Stop(), nn.Identity()])(torch.zeros(2))


def test_a_field_steps_by_itself() -> None:
    """The blocks are fields like any other: `run` takes them under any scheme."""
    F = Residual(2).eval()
    u = pictures(1, 2, 5, 5)
    torch.testing.assert_close(run(Euler(F, 0.1), u, k=2).u, (v := u + 0.1 * F(u)) + 0.1 * F(v))
