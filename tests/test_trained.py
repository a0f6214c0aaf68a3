"""The trained nets: before training their classical twins; what is stored loads, is small, and scores what it says."""

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    PDHG,
    ROF,
    ConsistentROF,
    Euler,
    FrameletTransform,
    Gradient,
    Identity,
    Interpolation,
    PeronaMalik,
    Problem,
    Radon,
    Rational,
    ROFDual,
    TotalVariation,
    analysis,
    bspline,
    condat_kernels,
    consistent_tv,
    run,
    tv,
)
from companion.lab import photos, restorers, stored, trained
from companion.lab.quality import psnr
from companion.lab.tasks import Task, tasks
from companion.nets.moving_endpoint import noise_level

N = 16


@pytest.fixture(scope="module")
def script(experiment) -> ModuleType:
    return experiment("learned")


@pytest.fixture(scope="module")
def small() -> dict[str, Task]:
    return tasks(N)


def picture(seed: int = 3) -> Tensor:
    return torch.rand(2, N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def largest(u: Tensor) -> float:
    return float(u.detach().abs().max())


# ---- before training ----


def start(task: Task, f: Tensor) -> Tensor:
    """f, or Tikhonov's picture, which the next test compares with dense matrices."""
    return f if isinstance(task.A, Identity) else restorers.Smooth(task, trained.ALPHA[task.name])(f)


def classical_analysis(task: Task, f: Tensor, lam: float) -> Tensor:
    W = FrameletTransform(bspline(2), 2)
    problem = lambda g: analysis(task.A, g, W, W.weights(lam * W.gains))  # noqa: E731
    rho = float(ADMM(problem(trained.example(task))).rho)  # the default of a grey square
    return run(ADMM(problem(f), rho), start(task, f), k=8).u


def classical_pdhg(task: Task, f: Tensor, problem: Callable[[Tensor], Problem], k: int) -> Tensor:
    """k steps with the default lengths of a grey square; of a Radon transform with tau/5 and 5 sigma."""
    options = {"dualise": isinstance(task.A, Radon)}
    grey, share = PDHG(problem(trained.example(task)), **options), 5 if options["dualise"] else 1
    step = PDHG(problem(f), float(grey.tau) / share, float(grey.sigma) * share, **options)
    return run(step, start(task, f), k=k).u


def classical_frame(task: Task, f: Tensor, lam: float) -> Tensor:
    W = FrameletTransform(bspline(2), 2)
    return classical_pdhg(task, f, lambda g: analysis(task.A, g, W, W.weights(lam * W.gains)), 10)


def classical_tv(task: Task, f: Tensor, nu: float) -> Tensor:
    return classical_pdhg(task, f, lambda g: tv(task.A, g, nu), 10)


def diffusion_by_loops(task: Task, f: Tensor, kappa: float) -> Tensor:
    """Six steps u - 0.24 sum_i q_i^T (q_i u / (1 + |q_i u|^2 / kappa^2)), the taps written out."""
    taps = torch.tensor([[1, 2, 1], [1, 0, -1], [-1, 2, -1]], dtype=f.dtype) / 4
    taps[1] *= 2**0.5
    filters = [2.0 * torch.outer(taps[i], taps[j]) for i in range(3) for j in range(3) if i or j]
    far = lambda n: [0, *range(n), n - 1]  # the border is mirrored  # noqa: E731
    u = f
    for _ in range(6):
        change = torch.zeros_like(u)
        for q in filters:
            wide = u[..., far(N), :][..., far(N)]
            d = sum(q[a, b] * wide[..., a : a + N, b : b + N] for a in range(3) for b in range(3))
            flux = d / (1 + d.square() / kappa**2)
            back = torch.zeros_like(wide)
            for a in range(3):
                for b in range(3):
                    back[..., a : a + N, b : b + N] += q[a, b] * flux
            folded = back[..., 1:-1, :].clone()
            folded[..., 0, :] += back[..., 0, :]
            folded[..., -1, :] += back[..., -1, :]
            inner = folded[..., 1:-1].clone()
            inner[..., 0] += folded[..., 0]
            inner[..., -1] += folded[..., -1]
            change += inner
        u = u - 0.24 * change
    return u


def condat(task: Task, f: Tensor, nu: float) -> Tensor:
    return run(PDHG(ConsistentROF(f, nu, Interpolation(condat_kernels()))), f, k=100).u.detach()


def until_morozov(task: Task, f: Tensor, kappa: float) -> Tensor:
    step, ends = Euler(PeronaMalik(Rational(kappa)), 0.2), []
    for g in f:
        u, k = step(g), 1
        while float((u - g).square().mean()) < float(noise_level(g)) ** 2 and k < 15:
            u, k = step(u), k + 1
        ends.append(u)
    return torch.stack(ends)


def linear_start(task: Task, f: Tensor, alpha: float) -> Tensor:
    return start(task, f)


@pytest.mark.parametrize("task_name", trained.ALPHA)
def test_the_linear_start_solves_the_normal_equations(small, task_name):
    task, alpha = small[task_name], trained.ALPHA[task_name]
    f = task.data(picture())
    e = torch.eye(N * N, dtype=f.dtype).reshape(-1, N, N)
    A = task.A(e).flatten(1).T
    D = torch.stack([e.roll(-1, -2) - e, e.roll(-1, -1) - e], 1).flatten(1).T
    M, g, u = A.T @ A + alpha * D.T @ D, A.T @ f.flatten(1).T, start(task, f).flatten(1).T
    assert float((M @ u - g).norm() / g.norm()) < 1e-4  # what conjugate gradients are asked for


TWINS: dict[str, Callable[[Task, Tensor, float], Tensor]] = {
    "ADMM": classical_analysis,
    "ADMM, learned frame": classical_analysis,
    "PDHG, frame": classical_frame,
    "PDHG, TV": classical_tv,
    "learned diffusion": diffusion_by_loops,
    "learned TV": condat,
    "moving endpoint": until_morozov,
    "residual net": linear_start,
    "residual net, blind": linear_start,
}
CASES = [(name, task) for name, net in trained.NETS.items() for task in net.tasks]


@pytest.mark.parametrize(("name", "task_name"), CASES)
def test_before_training_a_net_is_its_classical_twin(small, name, task_name):
    task = small[task_name]
    f = task.data(picture())
    u, number = trained.build(name, task).double()(f), trained.NETS[name].numbers[task_name]
    assert u.dtype == torch.float64
    assert largest(u - TWINS[name](task, f, number)) < 1e-12
    if number:  # the number is used
        other = trained.NETS[name].make(task, 2 * number).double()(f)
        assert largest(u - other) > 1e-6 or name == "moving endpoint"


def test_every_net_of_the_table_has_a_twin_here():
    assert TWINS.keys() == trained.NETS.keys()


def test_a_wrong_name_or_task_is_answered_with_the_right_ones():
    with pytest.raises(ValueError, match=r"The nets are 'ADMM', .*; got 'BM4D'"):
        trained.trained("BM4D", "deblur")
    with pytest.raises(ValueError, match=r"'learned diffusion' is trained for denoise .05, .*; got 'deblur'"):
        trained.trained("learned diffusion", "deblur")


def test_weights_that_are_missing_come_with_their_command(monkeypatch, tmp_path):
    monkeypatch.setattr(trained, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r'python experiments/learned.py "ADMM" "deblur"'):
        trained.trained("ADMM", "deblur", N)


def test_weights_of_another_net_are_refused(small):
    net = trained.build("PDHG, TV", small["deblur"])
    with pytest.raises(ValueError, match="those of another net"):
        trained.load(net, dict(trained.build("ADMM", small["deblur"]).named_parameters()))


def test_a_residual_net_needs_even_sides(small):
    with pytest.raises(ValueError, match="every second pixel"):
        trained.build("residual net", small["denoise .1"])(torch.zeros(7, 8))


# ---- what is stored ----

STORED = sorted({trained.weights(name, task_name): (name, task_name) for name, task_name in CASES}.values())


@pytest.mark.parametrize(("name", "task_name"), STORED)
def test_stored_weights_are_small_and_say_how_they_were_made(script, name, task_name):
    file = trained.weights(name, task_name)
    about = torch.load(file, weights_only=True)
    assert file.stat().st_size < 1_000_000
    assert about.keys() == {"parameters", "settings", "seed", "versions"}
    row = stored("learned")["nets"][name]["blind" if trained.NETS[name].blind else task_name]
    assert about["settings"] == row["settings"] == script.setting(name, task_name)
    assert about["seed"] == row["seed"] == script.SEED
    net = trained.trained(name, task_name)
    assert sum(p.numel() for p in net.parameters()) == row["parameters"]
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(("name", "task_name"), CASES)
def test_training_helps_on_the_training_task(name, task_name):
    rows = stored("learned")["nets"][name]["blind" if trained.NETS[name].blind else task_name]
    assert rows["after"][task_name]["training"] > rows["before"][task_name]["training"]


@pytest.mark.parametrize(("name", "task_name"), CASES)
def test_a_stored_score_is_found_again(name, task_name):
    row = stored("learned")["nets"][name]["blind" if trained.NETS[name].blind else task_name]
    task = tasks()[task_name]
    u = photos.held_out(names=["moon"])["moon"]
    v = trained.trained(name, task_name)(task.data(u, seed=1)).clamp(0, 1)
    assert psnr(v, u) == pytest.approx(row["after"][task_name]["pictures"]["moon"], abs=0.01)


def test_training_helps_recomputed():
    task, pictures = tasks()["denoise .1"], torch.stack(list(photos.training(names=["coffee", "rocket"]).values()))
    f = task.data(pictures, seed=5)
    before, after = (net(f).detach() for net in (trained.build("ADMM", task), trained.trained("ADMM", task.name)))
    assert psnr(after, pictures) > psnr(before, pictures) + 0.15


# ---- what it is trained on ----


def test_the_training_reads_no_held_out_picture(script, monkeypatch):
    def never(*args: object, **options: object) -> None:
        raise AssertionError("a held-out picture was asked for")

    monkeypatch.setattr(script, "held_out", never)
    seen: list[Tensor] = []
    noise = Task.data
    monkeypatch.setattr(Task, "data", lambda self, u, seed=0: seen.append(u) or noise(self, u, seed))
    task = tasks(32)["denoise .1"]
    setting = {"steps": 3, "batch": 4, "crop": 24, "rate": {"": 0.01}}
    script.learn(trained.build("PDHG, TV", task), "PDHG, TV", task, setting, seed=0)
    assert len(seen) == 3
    squares = [v for n in script.SIZES for v in photos.training(n).values()]
    for crop in torch.cat(seen):
        turned = [torch.rot90(w, k) for w in (crop, crop.flip(-1)) for k in range(4)]
        assert any(holds(square, w) for square in squares for w in turned)


def holds(square: Tensor, crop: Tensor) -> bool:
    """Whether a crop is a part of a square, to the last bit: found by its first pixel."""
    m = len(crop)
    corners = (square[: len(square) - m + 1, : len(square) - m + 1] == crop[0, 0]).nonzero()
    return any(torch.equal(square[i : i + m, j : j + m], crop) for i, j in corners.tolist())


def test_a_training_is_repeated_by_its_seed(script):
    task, setting = tasks(32)["denoise .1"], {"steps": 2, "batch": 2, "crop": 24, "rate": {"": 0.01}}
    losses = [script.learn(trained.build("PDHG, TV", task), "PDHG, TV", task, setting, seed) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


# ---- other noise, other pictures ----


@pytest.fixture(scope="module")
def beyond(experiment) -> ModuleType:
    return experiment("generalisation")


@pytest.mark.parametrize("name", ["ADMM", "ADMM, learned frame", "PDHG, TV"])
def test_thresholds_times_c_are_the_net_c_F_of_f_over_c(small, name):
    net, c, f = trained.build(name, small["denoise .1"]).double(), 1.7, picture()
    with torch.no_grad():
        for theta in net.parameters():
            theta.add_(0.2 * torch.randn(theta.shape, generator=torch.Generator().manual_seed(1)))
    expected = c * net(f / c)
    with torch.no_grad():
        for layer in net.maps:
            layer.problem.R.parametrizations.lam.original.add_(math.log(c))  # lam = lam_0 e^theta
    assert largest(net(f) - expected) < 1e-12
    assert largest(net(f) - c * net(f / c)) > 1e-3


def test_a_stored_score_for_another_noise_is_found_again(beyond):
    rows = stored("learned")["generalisation"]["noise"]
    assert {"0.1", "0.2"} <= rows["PDHG, TV"].keys()
    net = trained.trained("PDHG, TV", "denoise .1")
    assert beyond.held(net, 0.2) == pytest.approx(rows["PDHG, TV"]["0.2"]["as it is"], abs=0.01)
    assert rows["PDHG, TV"]["0.1"]["as it is"] == pytest.approx(rows["PDHG, TV"]["0.1"]["rescaled"], abs=1e-3)


def test_the_first_stop_counts_from_one_and_the_last_step_stops(beyond):
    value = torch.tensor([[0.0, 0.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    stop = torch.tensor([[True, True], [False, False], [True, False], [True, False]])
    assert beyond.stopped(value, stop) == {"psnr": 4.5, "steps": [2, 3]}


def test_no_rule_is_better_than_the_oracle():
    rows = stored("learned")["generalisation"]["stopping"]["moving endpoint"]
    for row in rows.values():
        for half in row.values():
            best = half["oracle"]["psnr"]
            assert best >= max(half["policy"]["psnr"], half["Morozov"]["psnr"], *half["by step"][1:])


def test_classes_and_sizes_are_subsets_of_the_training_pictures(beyond):
    for names in (*beyond.SETS.values(), *beyond.SIZES.values()):
        assert set(names) <= set(photos.TRAINING)
    assert beyond.SIZES["10"] == beyond.SETS["all"] == photos.TRAINING


# ---- kernels from edges ----


@pytest.fixture(scope="module")
def edges(experiment) -> ModuleType:
    return experiment("tv_kernels")


@pytest.mark.parametrize(("a", "b"), [(1, 0), (0, 1), (2, 0)])
def test_the_formula_solves_rof_for_stripes_along_an_axis(edges, a, b):
    """There TV of forward differences is exact, and another solver finds u*."""
    f = edges.stripes(a, b, 24, 0.0).double()
    rof = ROF(f, edges.NU, Gradient(boundary="periodic"))
    u = ROFDual(rof).solve(FISTA, k=3000, tol=None).u
    assert largest(u - edges.solution(f, a, b, edges.NU)) < 1e-4
    assert float(TotalVariation(1.0, Gradient(boundary="periodic"))(f)) == pytest.approx(edges.perimeter(a, b, 24))


def test_the_stored_kernels_are_consistent_and_more_isotropic():
    rows, L = stored("tv_kernels"), trained.edge_kernels()
    sums = L.xi(L.xi.start).sum((-2, -1))
    assert largest(sums - 1) < 1e-6
    key = "averaged edges, largest/smallest"
    assert 1 <= rows["learned"][key] < rows["Condat"][key] < rows["forward"][key]


def test_a_stored_length_of_an_edge_is_found_again(edges):
    rows = stored("tv_kernels")
    L = Interpolation(condat_kernels(), boundary="periodic")
    f = edges.stripes(1, 1, 48, 0.013)
    value = float(consistent_tv(f, L, k=500).upper) / edges.perimeter(1, 1, 48)
    i = rows["slopes"].index([1, 1])
    assert value == pytest.approx(rows["Condat"]["averaged edges"][i], abs=2e-3)
    assert rows["forward"]["averaged edges"][0] == pytest.approx(1, abs=2e-3)  # along an axis nothing is interpolated
