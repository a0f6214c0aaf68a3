"""The training loop: the formula by hand, resumed to the last bit, stopped where it breaks, in two processes."""

import copy
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from companion.lab.augment import flip, shift
from companion.lab.checkpoint import seeded
from companion.lab.datasets import Split
from companion.lab.score import evaluate, where_not_finite
from companion.lab.train import History, batches, train
from companion.nets.odenet import lm_resnet

ROOT = Path(__file__).parents[1]


def toy(n: int = 50, d: int = 6, seed: int = 0) -> Split:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g)
    y = (x[:, 0] + 0.3 * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    return Split(x, y, x[: n // 2] + 0.1, y[: n // 2])


def dense(d: int = 6, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, 3))


class Noisy(nn.Module):
    """Batch norm, noise of torch's global generator, of numpy's, and of a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.A, self.N, self.B = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.generator = torch.Generator().manual_seed(5)

    def forward(self, x: Tensor) -> Tensor:
        u = self.N(self.A(x))
        if self.training:
            own = torch.rand(u.shape, generator=self.generator)
            u = nnf.dropout(u, 0.2) + 0.1 * own + 0.1 * np.random.rand()  # noqa: NPY002
        return self.B(u.tanh())


def parameters(net: nn.Module) -> list[Tensor]:
    return [a.detach().clone() for a in net.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(u, v) for u, v in zip(a, b, strict=True))


class Cut(Exception):
    pass


# ---- the formula ----


def test_the_loop_is_heavy_ball_written_by_hand():
    """m <- mu m + grad + wd theta on matrices, without wd on vectors; theta <- theta - lr_k m; lr falls at 1/2, 3/4."""
    data, net = toy(), dense()
    A, a, B, b = (p.detach().clone() for _, p in net.named_parameters())
    history = train(net, data, epochs=4, batch=20, lr=0.3, momentum=0.8, weight_decay=0.05, seed=3, progress=False)

    theta, m = [A, a, B, b], [torch.zeros_like(p) for p in (A, a, B, b)]
    for epoch, rate in enumerate([0.3, 0.3, 0.03, 0.003]):
        with seeded(3, epoch) as g:
            order = torch.randperm(50, generator=g)
        total = 0.0
        for rows in (order[:20], order[20:40], order[40:]):
            for p in theta:
                p.requires_grad_()
            u = torch.tanh(data.x[rows] @ theta[0].T + theta[1]) @ theta[2].T + theta[3]
            loss = (torch.logsumexp(u, 1) - u[torch.arange(len(rows)), data.y[rows]]).mean()
            grads = torch.autograd.grad(loss, theta)
            decay = [0.05, 0.0, 0.05, 0.0]
            with torch.no_grad():
                m = [0.8 * v + g + wd * p for v, g, wd, p in zip(m, grads, decay, theta, strict=True)]
                theta = [p - rate * v for p, v in zip(theta, m, strict=True)]
            total += float(loss.detach()) * len(rows)
        assert history.loss[epoch] == pytest.approx(total / 50, rel=1e-5)
        assert history.lr[epoch] == pytest.approx(rate)
    for p, q in zip(net.parameters(), theta, strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-5, atol=1e-6)


def test_it_learns_and_its_errors_are_counted_one_by_one():
    data, net = toy(400), dense()
    history = train(net, data, epochs=30, batch=40, progress=False)
    assert history.loss[-1] < history.loss[0] / 3
    answers = [int(max(range(3), key=lambda c: float(net(x[None])[0, c]))) for x in data.x_test]
    missed = sum(a != int(y) for a, y in zip(answers, data.y_test, strict=True))
    assert history.test_error[-1] == missed / len(answers) < 0.1
    assert history.tested == list(range(1, 31)) and len(history.seconds) == 30


def test_evaluate_keeps_the_mode_and_knows_regression():
    net = nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.9))
    x, y = torch.randn(30, 6), torch.randn(30, 2)
    score = evaluate(net, x, y, batch=7, loss=nnf.mse_loss)
    out = net[0](x)
    assert net.training and score.error == pytest.approx(float((out - y).norm() / y.norm()), rel=1e-6)
    assert score.loss == pytest.approx(float((out - y).square().mean()), rel=1e-6)
    with pytest.raises(ValueError, match="at least one x with its y; got 0 x and 0 y"):
        evaluate(net, x[:0], y[:0])


def test_every_says_when_to_test():
    history = train(dense(), toy(), epochs=5, every=2, progress=False)
    assert history.tested == [2, 4, 5] and len(history.test_error) == 3


def test_the_decay_spares_alpha_and_batch_norm():
    """With a loss that does not depend on the net, lr = 1 and no momentum: theta <- (1 - wd) theta, or stays."""
    net = lm_resnet(14, channels=1, width=2, dim=1)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    x = torch.randn(8, 1, 8)
    data = Split(x, torch.zeros(8).long(), x, torch.zeros(8).long())

    def flat(out: Tensor, y: Tensor) -> Tensor:
        return 0 * nnf.cross_entropy(out, y)

    train(net, data, epochs=1, lr=1.0, momentum=0.0, weight_decay=0.5, milestones=(), loss=flat, progress=False)
    factors = {name: p.ndim >= 2 for name, p in net.named_parameters()}
    assert any(name.endswith("alpha") and not decays for name, decays in factors.items())
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.5 if factors[name] else 1.0))


def test_an_optimiser_of_ones_own():
    net, data = dense(), toy()
    adam = partial(torch.optim.Adam, lr=0.01)
    assert train(net, data, epochs=20, optimiser=adam, progress=False).lr[0] == 0.01


# ---- seeds ----


def test_a_training_repeats_and_leaves_the_callers_random_numbers_alone():
    nets = [Noisy(), Noisy(), Noisy()]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002
    histories = [train(net, toy(), epochs=3, seed=s, progress=False) for net, s in zip(nets, (1, 1, 2), strict=True)]
    assert torch.equal(torch.rand(3), expected)
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    assert histories[0] == histories[1] != histories[2]
    assert same(parameters(nets[0]), parameters(nets[1])) and not same(parameters(nets[0]), parameters(nets[2]))


def test_bfloat16_on_request():
    data, exact, half = toy(), dense(), dense()
    train(exact, data, epochs=2, progress=False)
    train(half, data, epochs=2, amp=True, progress=False)
    assert half[0].weight.dtype == torch.float32
    gap = float((half[0].weight - exact[0].weight).abs().max())
    assert 1e-6 < gap < 0.05


# ---- checkpoints ----


@pytest.mark.parametrize("calls", [7, 8, 10])
def test_cut_inside_a_batch_and_resumed_it_ends_at_the_same_bits(tmp_path: Path, calls: int):
    """50 samples, batches of 20: three an epoch. Cut in the first, second or last batch of the third epoch."""
    options = dict(epochs=5, batch=20, lr=0.1, seed=4, progress=False)

    def noise(u: Tensor, g: torch.Generator, left: list[int] | None = None) -> Tensor:
        if left is not None:
            left[0] -= 1
            if not left[0]:
                raise Cut
        return u + 0.1 * torch.randn(u.shape, generator=g)

    whole, file = Noisy(), tmp_path / "net.pt"
    expected = train(whole, toy(), augment=partial(noise), **options)

    cut = Noisy()
    with pytest.raises(Cut):
        train(cut, toy(), augment=partial(noise, left=[calls]), checkpoint=file, **options)
    resumed = Noisy()
    history = train(resumed, toy(), augment=partial(noise), checkpoint=file, **options)
    assert history == expected and len(history.loss) == 5
    assert same(parameters(resumed), parameters(whole))
    assert torch.equal(resumed.generator.get_state(), whole.generator.get_state())
    assert not list(tmp_path.glob("*.part"))


def test_a_finished_training_is_not_repeated(tmp_path: Path):
    first, again = dense(), dense(seed=1)
    history = train(first, toy(), epochs=2, checkpoint=tmp_path / "net.pt", progress=False)
    assert train(again, toy(), epochs=2, checkpoint=tmp_path / "net.pt", progress=False) == history
    assert same(parameters(first), parameters(again))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"lr": 0.2}, "lr = 0.1; now lr = 0.2"),
        ({"epochs": 3}, "epochs = 2; now epochs = 3"),
        ({"batch": 10}, "batch = 20; now batch = 10"),
        ({"momentum": 0.5}, "momentum = 0.9; now momentum = 0.5"),
        ({"seed": 1}, "seed = 0; now seed = 1"),
        ({"milestones": (0.5,)}, r"milestones = \[0.5, 0.75\]; now milestones = \[0.5\]"),
        ({"weight_decay": 0.0}, "weight_decay = 0.0001; now weight_decay = 0.0"),
        ({"augment": flip}, "augment = None; now augment = flip"),
        ({"data": toy(seed=1)}, "data = .*; now data = "),
        ({"net": nn.Linear(6, 3)}, "parameters = 83; now parameters = 21"),
    ],
)
def test_a_checkpoint_goes_on_with_its_own_settings_only(tmp_path: Path, change: dict, words: str):
    options = dict(net=dense(), data=toy(), epochs=2, batch=20, checkpoint=tmp_path / "net.pt", progress=False)
    train(**options)
    with pytest.raises(ValueError, match=f"was made with {words}"):
        train(**options | change)


def test_a_cut_while_writing_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "net.pt"
    train(dense(), toy(), epochs=1, checkpoint=file, progress=False)
    good, write = file.read_bytes(), torch.save

    def half(state: dict, to: Path) -> None:
        write(state, to)
        Path(to).write_bytes(Path(to).read_bytes()[:100])
        raise Cut

    monkeypatch.setattr(torch, "save", half)
    file2 = tmp_path / "other.pt"
    file2.write_bytes(good)
    net = dense()
    with pytest.raises(Cut):
        from companion.lab.checkpoint import save

        save(file2, {}, {}, net)
    assert file2.read_bytes() == good


# ---- where it breaks ----


def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_the_last_good_net(tmp_path: Path):
    """From the second batch of the second epoch the loss is taken times 1e36: the third cannot be finite."""
    file, kept = tmp_path / "net.pt", []

    def explode(out: Tensor, y: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 5:  # three batches, the test, the first batch of the second epoch
            kept.append(file.read_bytes())
        return nnf.cross_entropy(out, y) * (1e36 if len(calls) > 5 else 1.0)

    calls: list[int] = []
    net = dense()
    with pytest.raises(FloatingPointError) as caught:
        train(net, toy(), epochs=4, batch=20, loss=explode, checkpoint=file, progress=False)
    words = str(caught.value)
    assert (
        "in epoch 2, batch 3" in words and f"{file} holds the net after epoch 1" in words and "lr is too large" in words
    )
    assert file.read_bytes() == kept[0]
    good = torch.load(file, weights_only=True)["net"]
    assert all(bool(torch.isfinite(a).all()) for a in good.values())


def test_the_last_step_of_an_epoch_is_looked_at_before_it_is_kept(tmp_path: Path):
    """A finite loss with a gradient that is not: sqrt at 0. No checkpoint of a net with NaN is written."""
    net, file = nn.Linear(6, 3), tmp_path / "net.pt"

    def root(out: Tensor, y: Tensor) -> Tensor:
        return (out - out.detach()).square().sum().sqrt()

    with pytest.raises(
        FloatingPointError, match="lost its numbers in epoch 1, batch 1: the parameter weight is not fin"
    ):
        train(net, toy(20), epochs=2, batch=20, loss=root, checkpoint=file, progress=False)
    assert not file.exists()


def test_where_it_broke():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    x = torch.ones(3, 2)
    assert where_not_finite(net, x) == "all outputs of the net are finite"
    assert where_not_finite(net, x / 0) == "the data of the batch are not finite"
    nn.init.constant_(net[2].weight, 3e38)
    nn.init.constant_(net[0].weight, 10.0)
    assert where_not_finite(net, x) == "the first output that is not finite is that of 2 (Linear)"
    nn.init.constant_(net[0].bias, float("nan"))
    assert where_not_finite(net, x) == "the parameter 0.bias is not finite"


def test_where_a_residual_network_broke():
    net = lm_resnet(14, channels=1, width=2, dim=1).eval()
    nn.init.constant_(net.maps[2].F.C2.weight, 1e38)
    nn.init.constant_(net.maps[2].F.N2.bias, 1e3)
    assert where_not_finite(net, torch.randn(2, 1, 8)).startswith(
        "the first output that is not finite is that of maps.2.F"
    )


def test_data_that_are_not_finite_are_named():
    data = toy()
    data.x[7, 3] = float("nan")
    with pytest.raises(FloatingPointError, match=r"epoch 1, batch \d: the data of the batch are not finite. No checkp"):
        train(dense(), data, epochs=1, batch=20, progress=False)


# ---- settings that cannot work ----


def test_batch_norm_wants_two_samples():
    with pytest.raises(ValueError, match=r"one sample has none; here 1 samples meet 1 process.*at least 2"):
        train(Noisy(), toy(), epochs=1, batch=1, progress=False)
    assert train(dense(), toy(), epochs=1, batch=1, progress=False).loss  # without batch norm one sample will do


def test_a_last_batch_of_one_joins_the_one_before():
    order = torch.arange(41)
    assert [len(rows) for rows in batches(order, 20)] == [20, 21]
    assert [len(rows) for rows in batches(order[: 42 - 2], 20)] == [20, 20]
    assert [len(rows) for rows in batches(torch.arange(43), 20, processes=2)] == [20, 23]
    assert [len(rows) for rows in batches(torch.arange(3), 1)] == [1, 1, 1]
    assert torch.equal(torch.cat(batches(order, 20)), order)
    train(Noisy(), toy(41), epochs=1, batch=20, progress=False)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"epochs": 0}, "whole numbers >= 1; got 0, 128 and 1"),
        ({"batch": 0}, "whole numbers >= 1; got 1, 0 and 1"),
        ({"milestones": (0.75, 0.5)}, r"growing shares.*got \(0.75, 0.5\)"),
        ({"milestones": (80.0, 120.0)}, "growing shares"),
        ({"data": (torch.ones(3, 6), torch.ones(2), torch.ones(1, 6), torch.ones(1))}, "as many y as x"),
        ({"net": nn.Tanh()}, "no parameter"),
    ],
)
def test_settings_that_cannot_work(change: dict, words: str):
    options = dict(net=dense(), data=toy(), epochs=1, progress=False)
    with pytest.raises(ValueError, match=words):
        train(**options | change)


# ---- augmentations ----


def test_flip_and_shift_against_loops():
    u = torch.rand(40, 2, 5, 6)
    flipped = flip(u, torch.Generator().manual_seed(0))
    mirrored = [torch.equal(v, w.flip(-1)) for v, w in zip(flipped, u, strict=True)]
    assert all(m or torch.equal(v, w) for m, v, w in zip(mirrored, flipped, u, strict=True))
    assert 8 < sum(mirrored) < 32

    moved, seen = shift(u, torch.Generator().manual_seed(0), pixels=1), set()
    for v, w in zip(moved, u, strict=True):
        wide = torch.zeros(2, 7, 8)
        wide[:, 1:6, 1:7] = w
        places = [(i, j) for i in range(3) for j in range(3) if torch.equal(v, wide[:, i : i + 5, j : j + 6])]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 9
    with pytest.raises(ValueError, match="pixels=-1"):
        shift(u, torch.Generator(), pixels=-1)


# ---- several processes ----

SCRIPT = """
import atexit, os, sys
tasks = "/proc/self/task"  # of Linux: the threads of this process
threads = lambda: len(os.listdir(tasks)) if os.path.exists(tasks) else 1
last = {folder!r} + "/threads" + os.environ["RANK"]
atexit.register(lambda: open(last, "w").write(str(threads())))  # the first to register is the last to run
import torch
sys.path.insert(0, {tests!r})
from test_train import Noisy, dense, toy
from companion.lab.train import train
from torch import distributed
for kind in ("dense", "Noisy"):
    net = dense() if kind == "dense" else Noisy()
    history = train(net, toy(51), epochs=3, batch=20, progress=False, checkpoint={folder!r} + "/" + kind + ".pt")
    rank = distributed.get_rank()
    torch.save((net.state_dict(), history.loss, history.test_error), {folder!r} + f"/{{kind}}{{rank}}.pt")
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path):
    """51 samples in batches of 20, 20 and 11, so that the processes hold unequal shares: 6 and 5."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(ROOT / "tests"), folder=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert [(tmp_path / f"threads{rank}").read_text() for rank in range(2)] == ["1", "1"]  # gloo's have ended

    for kind, alone in (("dense", dense()), ("Noisy", Noisy())):
        (a, loss, error), (b, *rest) = (torch.load(tmp_path / f"{kind}{rank}.pt") for rank in range(2))
        assert [loss, error] == rest and all(torch.equal(a[name], b[name]) for name in a)
        history = train(alone, toy(51), epochs=3, batch=20, progress=False)
        gap = max(float((a[name].double() - p.double()).abs().max()) for name, p in alone.state_dict().items())
        if kind == "dense":
            assert gap < 1e-6 and loss == pytest.approx(history.loss, rel=1e-6)
        else:
            assert gap > 1e-4  # each process normalises by its own samples and draws its own noise
        assert torch.load(tmp_path / f"{kind}.pt", weights_only=True)["settings"]["processes"] == 2


def test_histories_are_equal_whatever_their_seconds():
    a = History([1.0], [0.1], [0.2], [1.1], [1], [0.1], [3.0])
    b = copy.deepcopy(a)
    b.seconds = [4.0]
    assert a == b
    b.loss = [1.5]
    assert a != b
