"""A stage that undoes its steps: values and gradients of the plain list, in memory that does not grow with depth."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from companion import ODENet, ReversibleStage, deepen, resnet, revnet, run
from companion.flows.symplectic import Reversible, Verlet
from companion.nets.revnet import Layer


def pictures(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*(shape or (4, 3, 8, 8)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pair(depth: int, **options: int) -> tuple[ODENet, ODENet]:
    """The same network, its steps undone and stored."""
    nets = []
    for recompute in (True, False):
        torch.manual_seed(0)
        nets.append(revnet(depth, recompute=recompute, **{"width": 8, **options}).double())
    return nets[0], nets[1]


def gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    net.zero_grad()
    functional.cross_entropy(net(x), torch.arange(len(x)) % 3).backward()
    return [x.grad, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("depth", [8, 20, 50])
def test_gradients_are_those_of_the_plain_list(depth: int) -> None:
    undone, stored = pair(depth)
    x = pictures()
    assert torch.equal(undone(x), stored(x))
    for mode in (True, False):
        undone.train(mode), stored.train(mode)
        for a, b in zip(gradients(undone, x), gradients(stored, x), strict=True):
            assert float((a - b).abs().max()) <= 1e-10 * float(b.abs().max())


def test_running_statistics_count_the_way_forwards_once() -> None:
    undone, stored = pair(20)
    for seed in range(3):
        gradients(undone, pictures(seed=seed)), gradients(stored, pictures(seed=seed))
    buffers = list(zip(undone.buffers(), stored.buffers(), strict=True))
    assert all(torch.equal(a, b) for a, b in buffers)
    assert {int(b) for b in undone.buffers() if not b.is_floating_point()} == {3}
    assert all(N.track_running_stats for N in undone.modules() if hasattr(N, "track_running_stats"))


def test_the_steps_are_reversible_blocks() -> None:
    """Written out: the halves of the channels step in turn; and the inverse gives back what came."""
    _, net = pair(20)
    step = net.maps[1]
    assert isinstance(step, Reversible)
    u = net.maps[0](pictures()).detach()
    a, b = u[:, :4], u[:, 4:]
    a = a + step.F(b)
    b = b + step.G(a)
    assert torch.equal(step(u), torch.cat([a, b], 1))
    assert float((step.inverse(step(u)) - u).detach().abs().max()) < 1e-13
    assert sum(isinstance(map, Reversible) for map in net.maps) == 7


def test_a_step_has_as_many_weights_as_resnets() -> None:
    """With twice the width, batch norm aside: 2 (c)^2 9 both."""
    step, plain = revnet(20, recompute=False).maps[2], resnet(20, width=16).maps[2]
    count = lambda m: sum(p.numel() for p in m.parameters() if p.ndim > 1)  # noqa: E731
    assert count(step) == count(plain) == 2 * 16 * 16 * 9


# ---- memory ------------------------------------------------------------------------------------------------------


def stored_bytes(net: nn.Module, x: Tensor) -> int:
    """What the graph keeps for the way back, each storage once, the parameters and buffers aside."""
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers())}
    kept: dict[int, Tensor] = {}  # alive, so that no address is used twice

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        scores = net(x)
    assert scores.requires_grad
    return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in own)


def test_what_is_stored_does_not_depend_on_depth() -> None:
    x = pictures()
    undone = [stored_bytes(pair(depth)[0], x) for depth in (14, 26, 50)]
    stored = [stored_bytes(pair(depth)[1], x) for depth in (14, 26, 50)]
    plain = [stored_bytes(resnet(depth, width=8).double(), x) for depth in (14, 26, 50)]
    assert len(set(undone)) == 1, undone
    for bytes_ in (stored, plain):
        assert bytes_[2] - bytes_[1] == 2 * (bytes_[1] - bytes_[0]) > 0, "linear in depth"
    assert undone[2] < 0.25 * stored[2]


def test_the_process_does_not_grow_either() -> None:
    """Peak memory of a training step on 30 and on 120 reversible steps of 1 MB each, in a process of its own."""
    code = (
        "import pathlib, torch\n"
        "from companion import ReversibleStage\n"
        "from companion.flows.symplectic import Reversible\n"
        "torch.manual_seed(0)\n"
        "layer = lambda: torch.nn.Linear(8, 8)\n"
        "u = torch.randn(16384, 16, requires_grad=True)\n"
        "for kind in (ReversibleStage, lambda maps: torch.nn.Sequential(*maps)):\n"
        "    for n in (30, 120):\n"
        "        kind([Reversible(layer(), layer(), 1 / n) for _ in range(n)])(u).square().sum().backward()\n"
        "        status = pathlib.Path('/proc/self/status').read_text()\n"  # ru_maxrss would be the parent's, if larger
        "        print(int(status.split('VmHWM:')[1].split()[0]) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    few, many, _, plain = map(float, done.stdout.split())
    assert many - few < 20, f"{many - few} MB: not 90 steps of 1 MB"
    assert plain - many > 80, f"{plain - many} MB: the plain list does grow"


# ---- as a torch module -------------------------------------------------------------------------------------------


def test_any_steps_with_an_inverse() -> None:
    steps = [Verlet(nn.Linear(2, 2), nn.Linear(2, 2), dt) for dt in (0.1, 0.2, 0.3)]
    stage = ReversibleStage(steps).double()
    u = pictures(5, 4)
    for kind in (stage, lambda u: run(stage.steps, u).u):
        stage.zero_grad()
        v = u.clone().requires_grad_()
        kind(v).square().sum().backward()
        if kind is stage:
            kept = [v.grad, *(p.grad.clone() for p in stage.parameters())]
    for a, b in zip(kept, [v.grad, *(p.grad for p in stage.parameters())], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_by_finite_differences() -> None:
    torch.manual_seed(0)
    stage = ReversibleStage(Reversible(Layer(2, dim=1), Layer(2, dim=1), axis=1) for _ in range(2)).double()
    assert torch.autograd.gradcheck(stage, pictures(3, 4, 5).requires_grad_())


def test_frozen_parameters_stay_frozen() -> None:
    undone, stored = pair(14)
    for net in (undone, stored):
        for n, p in enumerate(net.parameters()):
            p.requires_grad_(n % 2 == 0)
        functional.cross_entropy(net(pictures()), torch.tensor([0, 1, 2, 0])).backward()
    for a, b in zip(undone.parameters(), stored.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None) == (not a.requires_grad)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_weights_changed_before_the_way_back_are_noticed() -> None:
    net, _ = pair(14)
    loss = net(pictures()).sum()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_second_derivative() -> None:
    net, _ = pair(14)
    x = pictures().requires_grad_()
    (g,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.square().sum().backward()


def test_half_precision_keeps_the_inverse() -> None:
    """Under autocast u itself stays in float32: the gradient errs as that of the plain network does in bfloat16."""
    torch.manual_seed(0)
    undone = revnet(32, width=8)
    stored = revnet(32, width=8, recompute=False)
    for p, q in zip(stored.parameters(), undone.parameters(), strict=True):
        p.data.copy_(q.data)
    x = pictures().float()

    def gradient(net: nn.Module, half: bool) -> Tensor:
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = functional.cross_entropy(net(x), torch.tensor([0, 1, 2, 0]))
        loss.backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    exact = gradient(stored, False)
    errors = [float((gradient(net, True) - exact).norm() / exact.norm()) for net in (undone, stored)]
    assert 1e-4 < errors[0] < 1.2 * errors[1], errors


def test_deepen_leaves_a_reversible_stage_alone() -> None:
    net, _ = pair(14)
    assert list(deepen(net).maps) == list(net.maps)
    assert torch.equal(copy.deepcopy(net).eval()(pictures()), net.eval()(pictures()))


@pytest.mark.parametrize("width", [1, 7])
def test_odd_widths_have_no_halves(width: int) -> None:
    with pytest.raises(ValueError, match=f"width is even; got width={width}"):
        revnet(14, width=width)
