"""PGD and YOPO: the attack against exact answers, the frozen costate, the gradients that are added, what is counted."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from companion import (
    YOPO,
    Euler,
    ODENet,
    PGDTraining,
    PlainTraining,
    costates,
    count_passes,
    pgd,
    resnet,
    robust_accuracy,
    run,
)
from companion.lab.results import stored
from companion.lab.robust import robust_train
from companion.nets.adversarial import clip, start

D = torch.float64
ROOT = Path(__file__).resolve().parents[1]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6, size: int = 4) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, size, size, dtype=D, generator=generator(1)), torch.arange(n) % 3


def small_net(seed: int = 0, smooth: bool = True) -> ODENet:
    """A convolution, a residual step, a linear map to three classes."""
    torch.manual_seed(seed)
    block = nn.Sequential(nn.Tanh() if smooth else nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
    head = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    return ODENet([nn.Conv2d(1, 3, 3, padding=1), Euler(block, 1.0), head]).double()


def gradients(net: nn.Module) -> list[Tensor]:
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    return found


def slope(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """d/dx of the loss, by the whole net."""
    z = x.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(net(z), y), z)[0]


# ---- the attack ----------------------------------------------------------------------------------------------------


def test_the_clipped_perturbation_by_loops() -> None:
    x = torch.rand(50, dtype=D, generator=generator())
    eta = 2 * torch.rand(50, dtype=D, generator=generator(1)) - 1
    found = clip(eta, x, 0.3)
    for a, e, f in zip(x.tolist(), eta.tolist(), found.tolist(), strict=True):
        assert f == pytest.approx(min(max(min(max(e, -0.3), 0.3), -a), 1 - a), abs=1e-15)


def test_the_random_start_fills_the_box() -> None:
    x = torch.full((20000,), 0.5, dtype=D)
    eta = start(x, 0.2, generator())
    assert float(eta.min()) < -0.199 and float(eta.max()) > 0.199
    assert float(eta.mean()) == pytest.approx(0, abs=0.004) and float(eta.std()) == pytest.approx(
        0.4 / 12**0.5, abs=0.002
    )
    assert torch.equal(start(x, 0.2, generator()), eta), "a generator repeats it"


def test_the_attack_by_its_definition() -> None:
    """Three steps from a given start, each written out."""
    (x, y), net = pictures(), small_net()
    eta = 0.1 * torch.sin(torch.arange(96.0, dtype=D)).view(6, 1, 4, 4)
    found = pgd(net, x, y, 0.15, 0.06, 3, eta=eta)
    z = (x + eta).clamp(0, 1)
    for _ in range(3):
        z = z + 0.06 * slope(net, z, y).sign()
        z = torch.minimum(torch.maximum(z, x - 0.15), x + 0.15).clamp(0, 1)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-15)


def test_the_attack_stays_in_the_box_and_leaves_nothing_behind() -> None:
    (x, y), net = pictures(), small_net()
    kept = x.clone()
    attacked = pgd(net, x, y, 0.3, 0.1, 10, generator=generator())
    assert float((attacked - x).abs().max()) <= 0.3 + 1e-15
    assert float(attacked.min()) >= 0 and float(attacked.max()) <= 1
    assert torch.equal(x, kept) and all(p.grad is None for p in net.parameters())
    assert not attacked.requires_grad and attacked.dtype == D
    before = cross_entropy(net(x), y)
    assert float(cross_entropy(net(attacked), y).detach()) > float(before.detach()) + 0.1


def test_a_linear_classifier_is_attacked_in_closed_form() -> None:
    """Two classes, scores w.(x - 1/2) and 0: right under every |eta|_inf <= eps iff the margin exceeds eps |w|_1, away
    from the borders of [0, 1]; so robust accuracy is known.
    """
    w = torch.randn(12, dtype=D, generator=generator(3))
    x = 0.3 + 0.4 * torch.rand(400, 12, dtype=D, generator=generator(4))
    head = nn.Linear(12, 2).double()
    with torch.no_grad():
        head.weight.copy_(torch.stack([w, 0 * w]))
        head.bias.copy_(torch.stack([-w.sum() / 2, 0 * w[0]]))
        margin = (x - 0.5) @ w
    y = (margin < 0).long()
    for eps in (0.01, 0.03):
        exact = float((margin.abs() > eps * w.abs().sum()).double().mean())
        found = robust_accuracy([head], x, y, eps, eps / 4, 10, generator=generator())
        assert 0.05 < exact < 0.95 and found == pytest.approx(exact, abs=1e-12)
    assert robust_accuracy([head], x, y, 0.1, 0.1, 5, restarts=0) == 1.0


def test_more_restarts_find_no_fewer_mistakes() -> None:
    (x, y), net = pictures(60), small_net()
    y = net(x).argmax(1)
    shares = [robust_accuracy(net, x, y, 0.05, 0.05, 1, restarts=r, generator=generator()) for r in (0, 1, 3, 9)]
    assert shares[0] == 1.0 and shares == sorted(shares, reverse=True) and shares[-1] < shares[1]


def test_accuracy_of_more_than_a_thousand_pictures() -> None:
    x, head = torch.rand(2300, 5, dtype=D, generator=generator()), nn.Linear(5, 3).double()
    y = head(x).argmax(1)
    y[::4] = (y[::4] + 1) % 3
    assert robust_accuracy([head], x, y, 0.1, 0.1, 1, restarts=0) == pytest.approx(1 - 575 / 2300, abs=1e-12)


# ---- YOPO ----------------------------------------------------------------------------------------------------------


@pytest.mark.paper("(5.1)")
@pytest.mark.parametrize("first", [1, 2])
def test_the_frozen_factor_is_the_costate(first: int) -> None:
    """p of YOPO is p_1 of Pontryagin's principle, with the loss that is a mean over the batch."""
    (x, y), net = pictures(), small_net()
    paths = costates(net.maps, x, lambda z: cross_entropy(z, y, reduction="none"))
    p = YOPO(net, 0.1, 0.05, first=first).costate(x, y)
    torch.testing.assert_close(p, paths.p[first] / len(x), rtol=0, atol=1e-15)


@pytest.mark.paper("(5.1)")
def test_the_gradient_of_the_first_hamiltonian_is_that_of_the_net() -> None:
    """-d/deta <p_1, G_0(x + eta)> = d/deta Phi, at the eta where p_1 was taken."""
    (x, y), net = pictures(), small_net()
    method = YOPO(net, 0.1, 0.05)
    p, z = method.costate(x, y), x.clone().requires_grad_()
    found = torch.autograd.grad(-method.hamiltonian(z, p), z)[0]
    torch.testing.assert_close(found, slope(net, x, y), rtol=0, atol=1e-15)


@pytest.mark.parametrize("m", [1, 4])
def test_with_one_step_for_each_pass_it_is_the_attack(m: int) -> None:
    """YOPO-m-1 = PGD-m, for any net."""
    (x, y), net = pictures(), small_net()
    found = YOPO(net, 0.15, 0.04, m, 1, generator=generator())(x, y)
    torch.testing.assert_close(found, pgd(net, x, y, 0.15, 0.04, m, generator=generator()), rtol=0, atol=1e-12)


@pytest.mark.paper("(5.1)")
@pytest.mark.parametrize(("m", "n"), [(1, 6), (2, 3), (3, 2)])
def test_where_the_rest_is_affine_it_is_the_attack(m: int, n: int) -> None:
    """The first layer is curved, the rest and the loss are affine: p_1 does not move, and YOPO-m-n = PGD-(m n)."""
    x, y = pictures()
    torch.manual_seed(5)
    first = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh())
    net = ODENet([first, Euler(nn.Conv2d(3, 3, 3, padding=1), 1.0), nn.Sequential(nn.Flatten(), nn.Linear(48, 3))])
    net = net.double()
    loss = lambda scores, y: -scores.gather(1, y[:, None]).mean()  # noqa: E731
    found = YOPO(net, 0.3, 0.03, m, n, loss=loss, generator=generator())(x, y)
    expected = pgd(net, x, y, 0.3, 0.03, m * n, loss=loss, generator=generator())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    bent = small_net()
    with torch.no_grad():
        for p in bent.parameters():
            p.mul_(4)
    curved = YOPO(bent, 0.3, 0.1, m, n, generator=generator())(x, y)
    assert not torch.allclose(curved, pgd(bent, x, y, 0.3, 0.1, m * n, generator=generator()))


def test_the_gradients_are_added_as_in_the_paper() -> None:
    """Written out: layers above the first at the eta before the n steps, the first at the eta after, summed over m."""
    (x, y), net = pictures(), small_net()
    eps, step, m, n = 0.2, 0.05, 3, 2
    attacked = YOPO(net, eps, step, m, n, generator=generator())(x, y)
    found = gradients(net)

    first, rest = net.maps[0], list(net.maps[1:])
    z = x + start(x, eps, generator())
    lower = [torch.zeros_like(p) for p in first.parameters()]
    upper = [torch.zeros_like(p) for G in rest for p in G.parameters()]
    for _ in range(m):
        a = first(z).detach().requires_grad_()
        loss = cross_entropy(run(rest, a).u, y)
        da, *upper_j = torch.autograd.grad(loss, [a, *(p for G in rest for p in G.parameters())])
        for _ in range(n):
            u = z.clone().requires_grad_()
            du = torch.autograd.grad((da * first(u)).sum(), u)[0]  # = -d/du <p_1, G_0(u)>
            z = torch.minimum(torch.maximum(z + step * du.sign(), x - eps), x + eps).clamp(0, 1)
        lower_j = torch.autograd.grad((da * first(z)).sum(), list(first.parameters()))
        lower, upper = ([a + b for a, b in zip(*pair, strict=True)] for pair in ((lower, lower_j), (upper, upper_j)))
    torch.testing.assert_close(attacked, z, rtol=0, atol=1e-14)
    for a, b in zip(found, lower + upper, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_gradients_are_added_to_those_that_stand() -> None:
    (x, y), net = pictures(), small_net()
    PlainTraining(net)(x, y)
    one = gradients(net)
    YOPO(net, 0.1, 0.05, 2, 2, generator=generator())(x, y)
    two = gradients(net)
    PlainTraining(net)(x, y)
    YOPO(net, 0.1, 0.05, 2, 2, generator=generator())(x, y)
    for a, b, both in zip(one, two, gradients(net), strict=True):
        torch.testing.assert_close(both, a + b, rtol=0, atol=1e-13)


def test_the_other_methods_are_the_gradient_at_one_picture() -> None:
    (x, y), net = pictures(), small_net()
    assert torch.equal(PlainTraining(net)(x, y), x)
    plain = gradients(net)
    attacked = PGDTraining(net, 0.1, 0.05, 4, generator=generator())(x, y)
    found = gradients(net)
    torch.testing.assert_close(attacked, pgd(net, x, y, 0.1, 0.05, 4, generator=generator()), rtol=0, atol=0)
    for z, values in ((x, plain), (attacked, found)):
        expected = torch.autograd.grad(cross_entropy(net(z), y), list(net.parameters()))
        for a, b in zip(values, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_a_first_layer_without_weights_is_only_passed_through() -> None:
    x, y = pictures()
    torch.manual_seed(0)
    net = ODENet([nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)]).double()
    YOPO(net, 0.1, 0.05, 2, 2)(x, y)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.paper("(5.1)")
def test_full_passes_are_counted() -> None:
    """Calls of each map: PGD-k and a step of training k + 1 of all; YOPO-m-n m of all, m (n + 1) more of the first."""
    (x, y), net = pictures(), small_net()
    for method, expected in [
        (PlainTraining(net), [1, 1, 1]),
        (PGDTraining(net, 0.1, 0.05, 10), [11, 11, 11]),
        (YOPO(net, 0.1, 0.05, 5, 3), [25, 5, 5]),
        (YOPO(net, 0.1, 0.05, 3, 3), [15, 3, 3]),
        (YOPO(net, 0.1, 0.05, 2, 1, first=2), [6, 6, 2]),
    ]:
        with count_passes(net) as calls:
            method(x, y)
        assert calls == expected
    net(x)
    assert calls == expected, "counting has ended"


def test_a_residual_net_with_batch_normalisation_takes_it() -> None:
    net = resnet(8, channels=1, width=4).double()
    x, y = torch.rand(6, 1, 8, 8, dtype=D, generator=generator()), torch.arange(6)
    attacked = YOPO(net, 0.1, 0.05, 2, 2, generator=generator())(x, y)
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net.parameters())
    assert float((attacked - x).abs().max()) <= 0.1 + 1e-15


# ---- training ------------------------------------------------------------------------------------------------------


def discs(n: int = 120) -> tuple[Tensor, Tensor]:
    """Bright and dark pictures, with noise: two classes that an attack of 0.1 cannot mix."""
    y = torch.arange(n) % 2
    x = 0.3 + 0.4 * y[:, None, None, None] + 0.1 * torch.rand(n, 1, 4, 4, generator=generator())
    return x, y


def test_training_repeats_and_counts_and_learns() -> None:
    data = discs()
    weights, costs = [], []
    for _ in range(2):
        torch.manual_seed(0)
        net = ODENet([nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))])
        cost = robust_train(net, data, YOPO(net, 0.1, 0.05, 2, 2), epochs=12, batch=50, lr=0.05, device="cpu", seed=4)
        weights.append([p.detach().clone() for p in net.parameters()])
        costs.append((cost.passes, cost.first))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert costs == [(12 * 3 * 2, 12 * 3 * 8)] * 2 and cost.seconds > 0
    assert robust_accuracy(net, *data, 0.1, 0.02, 10, generator=generator()) == 1.0


def test_training_is_stochastic_gradient_descent() -> None:
    """One epoch in one batch, by hand: theta - lr (g + wd theta)."""
    data = discs(20)
    net = ODENet([nn.Flatten(), nn.Linear(16, 2)])
    before = [p.detach().clone() for p in net.parameters()]
    g = torch.autograd.grad(cross_entropy(net(data[0]), data[1]), list(net.parameters()))
    robust_train(
        net, data, PlainTraining(net), epochs=1, batch=20, lr=0.1, weight_decay=0.01, milestones=(), device="cpu"
    )
    for p, a, b in zip(net.parameters(), before, g, strict=True):
        torch.testing.assert_close(p.detach(), a - 0.1 * (b + 0.01 * a), rtol=0, atol=1e-6)


def test_the_rate_falls_at_the_milestones() -> None:
    """With g = 1 and no momentum the weight says the sum of the rates: 4, then 0.4, then 0.04 of ten epochs."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))
            self.maps = nn.ModuleList([nn.Identity()])

    net = One()
    robust_train(
        net, (torch.ones(1, 1), torch.ones(1)), lambda x, y: net.weight.backward(), epochs=10, lr=1.0, momentum=0.0,
        weight_decay=0.0, milestones=(0.4, 0.8), device="cpu",
    )  # fmt: skip
    assert -float(net.weight.detach()) == pytest.approx(4 + 0.4 + 0.02, abs=1e-6)


@pytest.mark.parametrize(("epochs", "n"), [(0, 10), (1, 0)])
def test_training_says_what_it_needs(epochs: int, n: int) -> None:
    net = ODENet([nn.Flatten(), nn.Linear(16, 2)])
    with pytest.raises(ValueError, match=f"epochs >= 1 and as many y as x, one at least; got epochs={epochs}, {n} x"):
        robust_train(net, discs(n), PlainTraining(net), epochs=epochs)


def test_training_stops_where_the_weights_are_no_numbers() -> None:
    net = ODENet([nn.Flatten(), nn.Linear(16, 2)])

    def broken(x: Tensor, y: Tensor) -> None:
        (net(x) * float("nan")).sum().backward()

    with pytest.raises(FloatingPointError, match="After epoch 1 the net has weights that are NaN or infinite"):
        robust_train(net, discs(), broken, epochs=2, device="cpu")


SCRIPT = """
import sys, torch
from torch import nn
from companion import ODENet, PlainTraining
from companion.lab.robust import robust_train
torch.manual_seed(0)
torch.set_num_threads(1)
net = ODENet([nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2)])
y = torch.arange(51) % 2
x = torch.rand(51, 1, 4, 4, generator=torch.Generator().manual_seed(0))
robust_train(net, (x, y), PlainTraining(net), epochs=3, batch=20, device="cpu")
import os
torch.save(net.state_dict(), sys.argv[1] + "/" + os.environ.get("RANK", "alone") + ".pt")
"""


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for options in ([], many):
        command = [sys.executable, *options, str(script), str(tmp_path)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
    alone, zero, one = (torch.load(tmp_path / f"{name}.pt") for name in ("alone", "0", "1"))
    for name in alone:
        assert torch.equal(zero[name], one[name])
        torch.testing.assert_close(zero[name], alone[name], rtol=0, atol=1e-6)


# ---- the experiment ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("adversarial")


def test_the_experiment_runs_at_a_small_size(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, x_test, y_test = script.digits(0)
    few = lambda seed: (x[:1210], y[:1210], x_test[:40], y_test[:40])  # noqa: E731
    for name, value in {"RATES": (0.1,), "TRIALS": (100,), "BATCH": 500, "digits": few}.items():
        monkeypatch.setattr(script, name, value)
    found = script.comparison(seeds=(0,), epochs=1)
    passes = {name: row["passes"] for name, row in found["equal epochs"].items()}
    assert passes == {"plain": 3, "PGD-10": 33, "YOPO-3-3": 9, "PGD-2": 9, "YOPO-5-3": 15, "PGD-4": 15}
    equal = {name: row["passes"] for name, row in found["equal passes"].items()}
    assert equal == {"PGD-10, 1 epochs": 33, "YOPO-3-3, 4 epochs": 36}
    monkeypatch.undo()
    depth = script.by_depth(blocks=(1,), repeats=1)
    assert {name: row["1"]["first"] for name, row in depth.items()} == {
        "plain": 1, "PGD-10": 11, "YOPO-3-3": 15, "PGD-2": 3, "YOPO-5-3": 25, "PGD-4": 5,
    }  # fmt: skip


@pytest.mark.slow
def test_the_full_scale_runs_at_a_small_size(script: ModuleType) -> None:
    found = script.full(n=40, n_test=20, depth=8, width=2, shrink=0.001)
    assert found["methods"]["PGD-10"]["passes"] == 11 and found["methods"]["YOPO-5-3"]["passes"] == 5
    assert all(0 <= row["robust"] <= row["accuracy"] <= 1 for row in found["methods"].values())


def test_the_stored_results_count_what_the_methods_cost() -> None:
    """12 batches an epoch; k + 1 passes for PGD, m for YOPO-m-n, and m (n + 2) calls of the first layer."""
    found = stored("adversarial")
    rows, about = found["digits"]["equal epochs"], found["about"]
    batches = -(-1437 // about["batch"])
    for name, passes, first in [("plain", 1, 1), ("PGD-10", 11, 11), ("YOPO-3-3", 3, 15), ("YOPO-5-3", 5, 25)]:
        row = rows[name]
        assert (row["passes"], row["first"]) == tuple(n * batches * row["epochs"] for n in (passes, first))
        assert len(row["robust, each"]) == about["seeds"] >= 6
        assert row["robust"] == pytest.approx(sum(row["robust, each"]) / about["seeds"], abs=2e-4)
        assert 0.9 < row["accuracy"] <= 1 and all(r["passes"] == passes for r in found["by depth"][name].values())
    assert rows["PGD-10"]["robust"] > rows["plain"]["robust"] + 0.3
