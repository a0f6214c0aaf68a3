"""The data: what they claim to be, by independent code; the same for the same seed, and the caller's seed untouched."""

import math
import random
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from companion.lab.datasets import (
    digits,
    lorenz,
    lorenz_field,
    mnist1d,
    pendulum,
    pendulum_energy,
    pendulum_field,
)
from companion.lab.textures import SHAPES, TEXTURES, _level, shapes_and_textures


def test_the_digits_are_scikit_learns_each_once():
    from sklearn.datasets import load_digits

    data, theirs = digits(), load_digits()
    assert data.x.shape == (1437, 1, 8, 8) and data.x_test.shape == (360, 1, 8, 8)
    assert data.x.dtype == torch.float32 and data.y.dtype == torch.int64
    assert float(data.x.min()) == 0 and float(data.x.max()) == 1
    ours = torch.cat([torch.cat([data.x, data.x_test]).flatten(1) * 16, torch.cat([data.y, data.y_test])[:, None]], 1)
    expected = np.concatenate([theirs.data, theirs.target[:, None]], 1)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, expected.tolist()))
    assert torch.equal(digits(0).x, data.x) and not torch.equal(digits(1).x, data.x)


def test_mnist1d_is_made_by_its_package_and_leaves_the_seeds_alone():
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    args.num_samples, args.seed = 60, 3
    made = make_dataset(args)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    expected = np.random.rand(), random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    data = mnist1d(40, 20, seed=3)
    assert (np.random.rand(), random.random()) == expected  # noqa: NPY002
    x, y = torch.cat([data.x, data.x_test])[:, 0], torch.cat([data.y, data.y_test])
    assert np.array_equal(x.numpy(), np.concatenate([made["x"], made["x_test"]]).astype(np.float32))
    assert y.tolist() == np.concatenate([made["y"], made["y_test"]]).tolist()
    assert data.x.shape == (40, 1, 40) and y.bincount().tolist() == [6] * 10


@pytest.mark.parametrize("n, n_test", [(15, 20), (5, 15)])
def test_mnist1d_says_how_many(n: int, n_test: int):
    with pytest.raises(ValueError, match=f"a multiple of ten; got n={n}, n_test={n_test}"):
        mnist1d(n, n_test)


# ---- shapes and textures ----


def test_the_shapes_have_their_areas():
    """phi_a < 0 covers, on a grid of 400 x 400 midpoints of [-1.2, 1.2]^2, the area that geometry gives."""
    x = (torch.arange(400, dtype=torch.float64) + 0.5) * (2.4 / 400) - 1.2
    s, t = (a.expand(5, 400, 400) for a in torch.meshgrid(x, x, indexing="xy"))
    covered = (_level(s, t, torch.arange(5)) < 0).double().mean((1, 2)) * 2.4**2
    exact = {
        "disc": math.pi * 0.85**2,
        "square": 1.5**2,
        "triangle": 3 * math.sqrt(3) * 0.55**2,  # 3 sqrt 3 times the square of the inner radius
        "star": math.pi * 0.75**2 * (1 + 0.35**2 / 2),
        "cross": 2 * 2 * 0.7 - 0.7**2,
    }
    assert tuple(exact) == SHAPES
    torch.testing.assert_close(covered, torch.tensor(list(exact.values()), dtype=torch.float64), rtol=5e-3, atol=0)


def coherence(u: Tensor) -> Tensor:
    """(l_1 - l_2)/(l_1 + l_2) of the mean structure tensor in the middle of pictures (n, 3, N, N): 1 for stripes."""
    a, b = u[..., 1:-1, 2:] - u[..., 1:-1, :-2], u[..., 2:, 1:-1] - u[..., :-2, 1:-1]
    n = u.shape[-1]
    window = (slice(None), slice(None), slice(3 * n // 8, 5 * n // 8), slice(3 * n // 8, 5 * n // 8))
    p, q, r = ((v[window]).mean((1, 2, 3)) for v in (a * a, b * b, a * b))
    return ((p - q) ** 2 + 4 * r * r).sqrt() / (p + q)


def test_stripes_are_stripes_and_checks_are_checks():
    data = shapes_and_textures(1000, 10, size=64, noise=0.0, clutter=0.0)
    wide = data.y < 4  # discs and squares, which cover the window
    of = [coherence(data.x[wide & (data.y % 2 == b)]).median() for b in range(len(TEXTURES))]
    assert of[0] > 0.95 and of[1] < 0.25


def test_without_clutter_the_ground_is_even_and_the_shape_alone_stands_on_it():
    data = shapes_and_textures(200, 10, size=32, noise=0.0, clutter=0.0)
    assert torch.allclose(data.x[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].median(), torch.tensor(0.15 - 0.5))
    covered = ((data.x + 0.35).abs() > 1e-6).any(1).double().mean((1, 2))
    assert float(covered.min()) > 0.02 and float(covered.max()) < 0.6


def test_the_pictures_keep_their_contract():
    data = shapes_and_textures(40, 30, size=16, seed=2)
    assert data.x.shape == (40, 3, 16, 16) and data.x.dtype == torch.float32 and data.y.dtype == torch.int64
    assert data.y.bincount().tolist() == [4] * 10 and data.y_test.bincount().tolist() == [3] * 10
    again, more = shapes_and_textures(40, 30, size=16, seed=2), shapes_and_textures(90, 30, size=16, seed=2)
    other = shapes_and_textures(40, 30, size=16, seed=3)
    assert torch.equal(data.x, again.x) and torch.equal(data.x_test, more.x_test)
    assert not torch.equal(data.x, other.x) and not torch.equal(data.x[:30], data.x_test)
    noise = shapes_and_textures(40, 30, size=16, seed=2, noise=0.2).x - shapes_and_textures(40, 30, 16, 2, noise=0.0).x
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02) and abs(float(noise.mean())) < 0.01


def test_the_caller_keeps_his_random_numbers():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    shapes_and_textures(10, 10, size=8), digits(), pendulum(2, 1, k=2), lorenz(1, 1, k=1)
    assert torch.equal(torch.rand(2), expected)


def test_many_pictures_are_drawn_fast():
    """50,000 of 32 x 32 in half a minute are 0.6 ms each."""
    begin = time.process_time()
    shapes_and_textures(2000, 10)
    assert time.process_time() - begin < 2000 * 0.6e-3


@pytest.mark.parametrize("change", [{"n": 9}, {"n_test": 0}, {"size": 4}, {"noise": -0.1}, {"clutter": 1.5}])
def test_pictures_that_cannot_be(change: dict):
    (name, value), options = *change.items(), {"n": 20, "n_test": 10, "size": 16} | change
    with pytest.raises(ValueError, match=rf"clutter in \[0, 1\]; got .*{name}={value}"):
        shapes_and_textures(**options)


# ---- trajectories ----


def reference(F, u0: Tensor, times: np.ndarray) -> np.ndarray:
    from scipy.integrate import solve_ivp

    options = dict(method="DOP853", rtol=1e-13, atol=1e-13, t_eval=times)
    return solve_ivp(F, (0, times[-1]), u0.numpy(), **options).y.T


def test_the_pendulum_swings_as_scipy_says():
    data = pendulum(n=4, n_test=2, k=100, dt=0.1)
    assert data.train.shape == (4, 101, 2) and data.test.shape == (2, 101, 2) and data.dt == 0.1
    times = np.arange(101) * 0.1
    for orbit in torch.cat([data.train, data.test]):
        exact = reference(lambda t, u: [u[1], -math.sin(u[0])], orbit[0], times)
        assert np.abs(orbit.numpy() - exact).max() < 1e-9
    energy = pendulum_energy(pendulum().train)
    assert float((energy - energy[:, :1]).abs().max()) < 1e-9
    assert float(energy.min()) > -1 and float(energy.max()) < 0.62
    u = torch.randn(5, 2, dtype=torch.float64)
    q, p = u.clone().requires_grad_(), pendulum_field(u)
    (grad,) = torch.autograd.grad(pendulum_energy(q).sum(), q)
    torch.testing.assert_close(p, torch.stack([grad[:, 1], -grad[:, 0]], 1))  # (q, p)' = (H_p, -H_q)


def test_lorenz_moves_as_scipy_says():
    def printed(t: float, v: np.ndarray) -> list[float]:
        x, y, z = v
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]

    data = lorenz(n=3, n_test=1, k=200, dt=0.02)
    assert data.train.shape == (3, 201, 3) and data.test.shape == (1, 201, 3)
    centre = torch.tensor([0.0, 0.0, 25.0], dtype=torch.float64)
    for orbit in data.train[:, ::40]:
        for u in orbit:
            slope = torch.tensor(printed(0, (10 * u + centre).numpy())) / 10
            torch.testing.assert_close(lorenz_field(u), slope.double())
    for k in range(0, 200, 20):
        v = reference(printed, 10 * data.train[0, k] + centre, np.array([0.0, 0.02]))[1]
        assert np.abs((v - centre.numpy()) / 10 - data.train[0, k + 1].numpy()).max() < 1e-8


def test_on_the_attractor_all_components_are_of_size_one():
    u = lorenz().train.flatten(0, 1)
    assert float(u.mean(0).abs().max()) < 0.3 and 0.7 < float(u.std(0).min()) < float(u.std(0).max()) < 1.0
    assert float(u.abs().max()) < 3


def test_the_steps_are_pairs_of_neighbours():
    data = pendulum(3, 2, k=5)
    x, y, x_test, y_test = data.steps
    assert x.shape == y.shape == (15, 2) and x_test.shape == y_test.shape == (10, 2)
    rows = [(i, k) for i in range(3) for k in range(5)]
    assert all(torch.equal(x[r], data.train[i, k]) for r, (i, k) in enumerate(rows))
    assert all(torch.equal(y[r], data.train[i, k + 1]) for r, (i, k) in enumerate(rows))


@pytest.mark.parametrize("make", [pendulum, lorenz])
@pytest.mark.parametrize("change", [{"k": 0}, {"dt": 0.0}, {"dt": math.inf}, {"n": 0}, {"n_test": 0}])
def test_trajectories_that_cannot_be(make, change: dict):
    with pytest.raises(ValueError, match="Trajectories need n, n_test >= 1 orbits of k >= 1 steps dt > 0"):
        make(**{"n": 2, "n_test": 1, "k": 2} | change)
