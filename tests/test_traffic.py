"""Bytes moved, counted by hand: a view is free, an operation reads its tensors and writes its result."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from companion import FrameletTransform, Gradient, bspline
from companion.kernels import use
from companion.lab import traffic
from companion.lab.traffic import best, in_cache, moved

ROOT = Path(__file__).resolve().parents[1]
N = 1000
u, v = torch.rand(N), torch.rand(N)


@pytest.mark.parametrize(
    "f, floats",
    [
        (lambda: u + v, 3 * N),
        (lambda: u + 1, 2 * N),
        (lambda: u.clone(), 2 * N),
        (lambda: u.sum(), N + 1),
        (lambda: u[None].expand(7, N) * 2, 8 * N),  # read once, written seven times
        (lambda: u.reshape(10, 100).T[3:], 0),
        (lambda: torch.cat([u, v]), 4 * N),
        (lambda: torch.empty(N), 0),
        (lambda: u.new_zeros(N), N),
        (lambda: torch.empty(N).copy_(u), 2 * N),
        (lambda: torch.addcmul(u, v, v), 4 * N),  # as the operation reads it: three tensors, though two are one
        (lambda: torch.where(u > 0.5, u, v), 3 * N + N + N // 4 * 2),
    ],
)
def test_bytes_of_one_operation(f, floats):
    assert moved(f) == 4 * floats


def test_an_index_reads_what_it_returns_and_itself():
    i = torch.arange(10)
    assert moved(lambda: u.index_select(0, i)) == 10 * (4 + 4 + 8)


def test_nothing_else_is_changed():
    before = u.clone()
    assert moved(lambda: Gradient(dim=1)(u)) > 0 and torch.equal(u, before)


def test_a_transform_moves_more_than_its_bands():
    w = torch.rand(32, 32)
    W = FrameletTransform(bspline(1))
    with use(False):
        assert moved(lambda: W(w)) >= 4 * 5 * 32**2


def test_times_are_those_of_the_calls():
    calls = [0, 0]

    def call(i: int) -> None:
        calls[i] += 1

    times = best([lambda: call(0), lambda: call(1)], 0.0, least=4)
    assert calls == [5, 5] and all(t > 0 for t in times)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's way to keep memory")
def test_memory_that_is_kept_is_not_cleared_again():
    """Faults of pages while 64 MB are made and dropped ten times, in a process of its own: none once it keeps them."""
    code = (
        "import resource, torch; from companion.lab.traffic import keep_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(10): torch.ones(2**24)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "default = faults(); kept = keep_memory(); faults(); print(default, faults() if kept else -1)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    default, kept = map(int, done.stdout.split())
    if kept < 0:
        pytest.skip("no glibc")
    assert kept < max(100, default / 10)


def test_a_pixel_in_the_cache_costs_what_twice_the_rows_cost_more(monkeypatch) -> None:
    seen: list[tuple[int, ...]] = []

    def case(part: torch.Tensor):
        seen.append(tuple(part.shape))
        return part.numel

    monkeypatch.setattr(traffic, "best", lambda calls, seconds: [5e-5 + 3e-9 * call() for call in calls])
    assert in_cache(case, torch.zeros(20, 10), rows=4) == pytest.approx(3e-9)  # without the 5e-5 of a call
    assert seen == [(8, 10), (4, 10)]
