"""Two regions by TV and by a frame: what the relaxation loses, the means; the tight-frame algorithm; pictures."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from companion import (
    ADMM,
    PDHG,
    FrameletTransform,
    GaussianNoise,
    Gradient,
    LinearOperator,
    Problem,
    Region,
    Soft,
    TightFrameSegmentation,
    TwoRegions,
    all_sure,
    bspline,
    region_cost,
    region_energy,
    region_means,
    rounding,
    run,
    segmentation,
    tv_segmentation,
)
from companion.lab import segment
from tests.laws.registry import dense

HAAR = FrameletTransform(bspline(1))
LINEAR = FrameletTransform(bspline(2), boundary="reflect")
MEANS = torch.tensor([0.8, 0.2], dtype=torch.float64)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relaxed(r: Tensor, K: LinearOperator, lam: Tensor) -> tuple[float, Tensor]:
    """The minimum of <r, u> + |lam . K u|_1 over [0, 1], and a minimiser, as a linear program: independent of flows."""
    n, matrix = r.numel(), dense(K, tuple(r.shape)).numpy()
    w = lam.expand(K(r).shape).flatten().numpy()
    m = len(w)
    cost = np.concatenate([r.flatten().numpy(), w])
    eye = np.eye(m)
    both = np.block([[matrix, -eye], [-matrix, -eye]])
    found = linprog(cost, both, np.zeros(2 * m), bounds=[(0, 1)] * n + [(0, None)] * m)
    return float(found.fun), torch.from_numpy(found.x[:n]).reshape(r.shape)


def binary(r: Tensor, K: LinearOperator, lam: Tensor) -> float:
    """The minimum over all u in {0, 1}, by trying them."""
    sets = torch.tensor(list(itertools.product((0.0, 1.0), repeat=r.numel())), dtype=torch.float64)
    u = sets.reshape(-1, *r.shape)
    return float(((u * r).flatten(1).sum(1) + (lam * K(u)).abs().flatten(1).sum(1)).min())


# ---- the relaxation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_one_sided_differences_lose_nothing(seed: int) -> None:
    """Entrywise TV has a coarea formula: the minima over [0, 1] and {0, 1} agree."""
    r, lam = noise(3, 4, seed=seed) - 0.5, torch.tensor(0.15, dtype=torch.float64)
    value, _ = relaxed(r, Gradient(), lam)
    assert value == pytest.approx(binary(r, Gradient(), lam), abs=1e-9)


def test_a_frame_may_lose_something() -> None:
    """Haar has no coarea formula: for some r the minimum over {0, 1} is higher than over [0, 1]."""
    gaps = []
    for seed in range(12):
        r = noise(3, 4, seed=seed) - 0.5
        lam = HAAR.weights(0.15)
        value, u = relaxed(r, HAAR, lam)
        gaps.append(binary(r, HAAR, lam) - value)
        assert gaps[-1] >= -1e-9
        problem = Problem(Region(r), segmentation(r, MEANS, HAAR, lam).R, HAAR)
        assert float(rounding(problem, u.clamp(0, 1))) >= gaps[-1] - 1e-9  # it bounds what the set is short of the best
    assert max(gaps) > 0.004


def test_haar_is_not_submodular_and_differences_are() -> None:
    """R(S or T) + R(S and T) <= R(S) + R(T), which a coarea formula implies, at two edges of a square of 2 x 2."""
    S, T = torch.zeros(2, 4, 4, dtype=torch.float64)
    S[1:3, 1] = 1
    T[1, 1:3] = 1
    corner, point = torch.maximum(S, T), torch.minimum(S, T)

    def excess(R: Callable[[Tensor], Tensor]) -> float:
        return float(R(corner) + R(point) - R(S) - R(T))

    assert excess(lambda u: Gradient()(u).abs().sum()) <= 1e-12
    assert excess(lambda u: (HAAR.weights(1.0) * HAAR(u)).abs().sum()) > 0.1


@pytest.mark.parametrize("K", [HAAR, Gradient()], ids=["haar", "differences"])
def test_pdhg_reaches_the_linear_program(K: LinearOperator) -> None:
    f = noise(4, 5, seed=3)
    lam = HAAR.weights(0.05) if K is HAAR else torch.tensor(0.05, dtype=torch.float64)
    problem = segmentation(f, MEANS, K, lam)
    value, _ = relaxed(region_cost(f, MEANS), K, lam)
    result = run(PDHG(problem), f, k=1500)
    assert float(problem(result.u)) == pytest.approx(value, abs=1e-6)
    assert 0 <= float(problem.gap(result.u, result.x.p)) < 1e-5


def test_admm_and_pdhg_agree() -> None:
    f = GaussianNoise(0.2)(segment.islands(32).f)
    problem = segmentation(f, MEANS, LINEAR, LINEAR.weights(0.05))
    a, b = (run(flow, f, k=500).u for flow in (PDHG(problem), ADMM(problem, rho=0.05)))
    assert float(problem(a)) == pytest.approx(float(problem(b.clamp(0, 1))), rel=1e-4)


def test_every_level_of_entrywise_tv_is_a_minimiser() -> None:
    f = GaussianNoise(0.3)(segment.islands(48).f)
    problem = segmentation(f, MEANS, Gradient(), 0.1)
    u = run(PDHG(problem), f, k=2500).u
    size = abs(float(problem(u)))
    assert all(abs(float(rounding(problem, u, s))) < 2e-4 * size for s in (0.2, 0.5, 0.8))


# ---- the means --------------------------------------------------------------------------------------------------


def test_the_cost_of_a_set_is_chan_and_veses() -> None:
    """sum over S of (c_1 - f)^2 and over the rest of (c_2 - f)^2, by loops."""
    f, S = noise(5, 6), noise(5, 6, seed=1) > 0.4
    problem = segmentation(f, MEANS, Gradient(), 0.3)
    c = MEANS.tolist()
    loop = sum(
        (c[0] - float(f[i, j])) ** 2 if S[i, j] else (c[1] - float(f[i, j])) ** 2 for i in range(5) for j in range(6)
    )
    length = segment.boundary_length(S)
    u = S.double()
    assert float(region_energy(f, problem, u, MEANS)) == pytest.approx(loop + 0.3 * length)
    assert float(problem(u)) == pytest.approx(loop + 0.3 * length - float((c[1] - f).square().sum()))


def test_the_means_are_the_best() -> None:
    f, u = noise(6, 7), noise(6, 7, seed=1)
    problem = tv_segmentation(f, MEANS, 0.1)
    c = region_means(f, u)
    assert float(c[0]) == pytest.approx(float(np.average(f, weights=u)))
    assert float(c[1]) == pytest.approx(float(np.average(f, weights=1 - u)))
    best = region_energy(f, problem, u, c)
    for move in (0.01, -0.01):
        assert region_energy(f, problem, u, c + torch.tensor([move, 0.0])) > best
        assert region_energy(f, problem, u, c + torch.tensor([0.0, move])) > best
    assert torch.equal(region_means(f, torch.zeros_like(u)), f.mean().expand(2))


def test_the_alternation_lowers_the_energy_and_finds_the_islands() -> None:
    f, truth = segment.islands(48)
    g = GaussianNoise(0.2)(f)
    flow = TwoRegions(g, lambda c: segmentation(g, c, LINEAR, LINEAR.weights(0.06)), inner=60)
    result = run(flow, g, k=8, record={"energy": flow.energy})
    E = result.curves["energy"]
    assert bool((E.diff() <= 1e-3 * E[0]).all()) and E[-1] < 0.9 * E[0]
    assert segment.dice(result.u, truth) > 0.93 > 0.85 > segment.dice(segment.otsu(g), truth)
    assert result.x.means[0] == pytest.approx(0.7, abs=0.03) and result.x.means[1] == pytest.approx(0.3, abs=0.03)


# ---- the tight-frame algorithm ----------------------------------------------------------------------------------


def by_hand(u: Tensor, unsure: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """One step by the formulas of the docstring, pixel by pixel."""
    values = u[unsure]
    mu = values.mean()
    alpha = max((mu + values[values <= mu].mean()) / 2, torch.tensor(0.0, dtype=u.dtype))
    beta = min((mu + values[values >= mu].mean()) / 2, torch.tensor(1.0, dtype=u.dtype))
    between = [float(x) for x in u.flatten() if alpha < x < beta]
    w = u.clone()
    for i, j in itertools.product(*map(range, u.shape)):
        x = float(u[i, j])
        w[i, j] = 0 if x <= alpha else 1 if x >= beta else (x - min(between)) / (max(between) - min(between))
    new = (w > 0) & (w < 1)
    d, bound = LINEAR(w), LINEAR.weights(lam)
    smooth = LINEAR.T(d.sign() * (d.abs() - bound).clamp_min(0))
    return torch.where(new, smooth, w), new


def test_a_step_is_that_of_its_formulas_pixel_by_pixel() -> None:
    f = segment.vessel_tree(40).f + 0.1 * noise(40, 40)
    flow = TightFrameSegmentation(LINEAR, Soft(LINEAR.weights(0.02)))
    state = flow.start(f)
    dx, dy = torch.zeros(2, 40, 40, dtype=torch.float64)
    dx[:-1], dy[:, :-1] = f[1:] - f[:-1], f[:, 1:] - f[:, :-1]
    assert torch.equal(state.unsure, (dx**2 + dy**2).sqrt() >= 0.05)
    for _ in range(3):
        u, unsure = by_hand(*state, 0.02)
        state = flow(state)
        assert torch.equal(state.unsure, unsure)
        torch.testing.assert_close(state.u, u, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5])
def test_the_unsure_pixels_become_fewer_until_none_is_left(sigma: float) -> None:
    f = GaussianNoise(sigma)(segment.vessel_tree(48, seed=2).f)
    flow = TightFrameSegmentation(LINEAR, Soft(LINEAR.weights(0.02)))
    states, x = [], flow(flow.start(f))
    while x.unsure.any():
        states.append(x)
        x = flow(x)
        assert bool((states[-1].unsure | ~x.unsure).all()) and x.unsure.sum() < states[-1].unsure.sum()
        sure = ~states[-1].unsure
        assert torch.equal(x.u[sure], states[-1].u[sure])
    assert len(states) < 25
    assert bool(((x.u == 0) | (x.u == 1)).all()) and torch.equal(flow(x).u, x.u)
    result = run(flow, f, k=200, until=all_sure)
    assert result.stopped == "until" and torch.equal(result.u, x.u)


def test_clean_vessels_are_found_and_a_batch_is_its_pictures() -> None:
    pictures = [segment.vessel_tree(64, seed=seed) for seed in (0, 1)]
    flow = TightFrameSegmentation(LINEAR, Soft(LINEAR.weights(0.005)))
    alone = [run(flow, p.f, k=100, until=all_sure).u for p in pictures]
    together = run(flow, torch.stack([p.f for p in pictures]), k=100, until=all_sure).u
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-12)
    assert all(segment.dice(u, p.truth) > 0.9 for u, p in zip(alone, pictures, strict=True))


def test_an_even_picture_is_sorted_too() -> None:
    flow = TightFrameSegmentation(LINEAR, Soft(LINEAR.weights(0.02)))
    result = run(flow, torch.full((16, 16), 0.4), k=5, until=all_sure)
    assert result.k == 1 and float(result.u.max()) == 0


# ---- the pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [segment.islands, segment.vessel_tree])
def test_generated_pictures_know_their_set(make: Callable[..., segment.Known]) -> None:
    f, truth = make(64, seed=1)
    assert torch.equal(f > 0.5, truth) and 0.05 < truth.double().mean() < 0.5
    assert f.min() == pytest.approx(0.3) and f.max() == pytest.approx(0.7)
    assert torch.equal(make(64, seed=1).f, f) and not torch.equal(make(64, seed=2).f, f)
    with pytest.raises(ValueError, match="n >= 32"):
        make(8)


def test_there_are_24_coins() -> None:
    from scipy.ndimage import label

    f, truth = segment.coins()
    assert f.shape == truth.shape == (303, 384) and label(truth.numpy())[1] == 24
    even = segment.flattened(f, 40.0)
    assert segment.dice(segment.otsu(even), truth) > 0.96 > 0.9 > segment.dice(segment.otsu(f), truth)
    assert segment.dice(segment.chan_vese(even[:151], 0.1, 60), truth[:151]) > 0.97


def test_photographs_without_a_reference() -> None:
    made = {(64, 64): segment.retina(64), (102, 102): segment.microaneurysms(), (330, 275): segment.cell()}
    for shape, u in made.items():
        assert u.shape == shape and u.dtype == torch.float64 and 0 <= u.min() < u.max() <= 1
    assert set(segment.CREDITS) >= {"coins", "retina", "microaneurysms", "cell"}


def test_dice_length_and_outline() -> None:
    S = torch.zeros(8, 9, dtype=torch.bool)
    S[2:5, 3:7] = True
    T = S.roll(1, 1)
    assert segment.dice(S.double(), T) == pytest.approx(2 * 9 / 24)
    assert segment.boundary_length(S) == 14
    rgb = segment.outlined(torch.zeros(8, 9), S)
    red = (rgb[..., 0] > 200).sum()
    assert rgb.shape == (8, 9, 3) and red == 10  # the rim of 3 x 4 pixels
    assert segment.dice(~S & S, ~S & S) == 1.0
