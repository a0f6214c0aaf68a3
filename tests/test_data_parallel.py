"""g = sum_r (n_r / n) g_r in two processes: the training of one process, and one that survives the death of a worker.

A learned Perona-Malik flow of three steps, in float64, on 29 noisy pictures in batches of 8, 8, 8 and 5; started by
torchrun as a reader would. The worker of rank 1 kills itself in the middle of the third epoch.
"""

import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from companion import Exponential, PeronaMalik, learned_diffusion
from companion.lab.parallel import Team, join
from companion.lab.train import train

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = dict(epochs=5, batch=8, lr=0.05, loss=mse_loss, progress=False)


def net() -> nn.Module:
    return learned_diffusion(PeronaMalik(Exponential(0.3)), 0.2, 3)


def pictures() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(33, 4, 4, generator=generator, dtype=torch.float64).repeat_interleave(3, 1).repeat_interleave(3, 2)
    x = y + 0.1 * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return x[:29], y[:29], x[29:], y[29:]


class Dies(nn.Module):
    """A net that, the n-th time it is trained, kills its process; but only once, for it leaves a file."""

    def __init__(self, inner: nn.Module, n: int, grave: Path):
        super().__init__()
        self.inner, self.n, self.grave = inner, n, grave

    def forward(self, u: Tensor) -> Tensor:
        self.n -= self.training
        if self.training and self.n == 0 and not self.grave.exists():
            self.grave.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(u)


def work(folder: Path) -> None:
    """What each of the two processes does."""
    team, _ = join(torch.device("cpu"))
    never = 10**9
    for name, n in (("calm", never), ("killed", 4 * 2 + 2 if team.rank == 1 else never)):
        torch.manual_seed(0)
        one = Dies(net(), n, folder / "grave")
        history = train(one, pictures(), checkpoint=folder / f"{name}.pt", **SETTINGS)
        torch.save((one.inner.state_dict(), asdict(history)), folder / f"{name}{team.rank}.out")


def learned(state: dict[str, Tensor]) -> Tensor:
    return torch.cat([p.double().flatten() for p in state.values()])


@pytest.mark.slow
def test_two_processes_train_as_one_and_outlive_a_killed_worker(tmp_path: Path):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    done = subprocess.run(
        [sys.executable, *command, str(Path(__file__)), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "grave").exists() and "(exitcode: -9) local_rank: 1" in done.stderr

    outs = {name: [torch.load(tmp_path / f"{name}{rank}.out") for rank in (0, 1)] for name in ("calm", "killed")}
    seconds = [history.pop("seconds") for run in outs.values() for _, history in run]
    assert all(len(s) == SETTINGS["epochs"] for s in seconds)
    state, history = outs["calm"][0]
    for other, again in outs["calm"] + outs["killed"]:  # rank 1 as rank 0, killed as undisturbed: to the last bit
        assert again == history and torch.equal(learned(other), learned(state))

    alone = net()
    start, once = learned(alone.state_dict()), train(alone, pictures(), **SETTINGS)
    for name in ("loss", "test_loss", "test_error"):
        assert history[name] == pytest.approx(getattr(once, name), rel=1e-12)
    end = learned(alone.state_dict())
    assert float((learned(state) - end).abs().max()) < 1e-12 * float(end.abs().max())
    assert float((end - start).abs().max()) > 1e-3  # something was learned


def test_the_shares_of_a_batch_are_all_of_it():
    """Without torchrun: what the processes would take is a partition, and their weighted gradients add up."""
    assert join(torch.device("cpu")) == (Team(0, 1), torch.device("cpu"))
    x, y, *_ = pictures()
    x, y = x[:7], y[:7]
    alone = net()
    mse_loss(alone(x), y).backward()
    whole = [p.grad.clone() for p in alone.parameters() if p.grad is not None]
    alone.zero_grad()
    parts = [Team(rank, 3) for rank in range(3)]
    assert sorted(float(u[0, 0]) for team in parts for u in team.mine(x)) == sorted(float(u[0, 0]) for u in x)
    for team in parts:
        (mse_loss(alone(team.mine(x)), team.mine(y)) * len(team.mine(x)) / len(x)).backward()
    added = [p.grad for p in alone.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-15) for a, b in zip(added, whole, strict=True))
    assert any(float(b.abs().max()) > 0 for b in whole)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
