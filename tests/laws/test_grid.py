"""Correlation on a grid and its border: by definition, by adjointness, for filters longer than the picture."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import correlate, correlate_adjoint, shift
from companion.operators.grid import BOUNDARIES, extend, fold

BORDERS = pytest.mark.parametrize("boundary", BOUNDARIES)
FILTERS = [  # taps of shape, origin: centred, one-sided, far off the centre, longer than a picture of 4
    ((3,), (-1,)),
    ((2,), (0,)),
    ((3,), (2,)),
    ((2,), (-5,)),
    ((11,), (-5,)),
    ((2, 3), (0, -1)),
    ((3, 1), (-4, 2)),
    ((2, 2, 2), (0, -1, 1)),
]


def continued(n: int, N: int, boundary: str) -> int:
    """E(n), walked step by step: to the left 0 follows 0 if it reflects, N - 1 if it is periodic."""
    line = list(range(N)) if boundary == "periodic" else [*range(N), *reversed(range(N))]
    return line[n % len(line)]


def by_definition(u: np.ndarray, q: np.ndarray, origin: tuple[int, ...], step: int, boundary: str) -> np.ndarray:
    """sum_k q[k] u[E(n + step k)], entry by entry."""
    out = np.zeros_like(u)
    for n in np.ndindex(*u.shape):
        for i in np.ndindex(*q.shape):
            at = tuple(
                continued(a + step * (o + j), N, boundary) for a, o, j, N in zip(n, origin, i, u.shape, strict=True)
            )
            out[n] += q[i] * u[at]
    return out


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@BORDERS
@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize(("taps", "origin"), FILTERS, ids=str)
@pytest.mark.paper("(2.1)")
def test_correlation_by_its_definition(taps, origin, step: int, boundary: str) -> None:
    u, q = random(*(4, 5, 3)[: len(taps)]), random(*taps)
    axes = tuple(range(-len(taps), 0))
    found = correlate(u, q, origin, axes, step, boundary)
    exact = by_definition(u.numpy(), q.numpy(), origin, step, boundary)
    np.testing.assert_allclose(found, exact, atol=1e-14)


@BORDERS
@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize(("taps", "origin"), FILTERS, ids=str)
def test_the_adjoint_of_a_correlation(taps, origin, step: int, boundary: str) -> None:
    shape = (2, *(4, 5, 3)[: len(taps)])
    u, d, q = random(*shape), random(*shape), random(*taps)
    axes = tuple(range(-len(taps), 0))
    left = (correlate(u, q, origin, axes, step, boundary) * d).sum()
    right = (u * correlate_adjoint(d, q, origin, axes, step, boundary)).sum()
    torch.testing.assert_close(left, right, rtol=1e-13, atol=1e-13)


@BORDERS
def test_any_axis_can_be_correlated(boundary: str) -> None:
    u, q = random(4, 5, 6), random(3)
    for axis in (-1, -2, -3):
        moved = correlate(u.movedim(axis, -1), q, (-1,), (-1,), 1, boundary).movedim(-1, axis)
        assert torch.equal(correlate(u, q, (-1,), (axis,), 1, boundary), moved)


@BORDERS
@pytest.mark.parametrize(("left", "right"), [*product((0, 1, 9), repeat=2)])
def test_folding_is_the_adjoint_of_extending(left: int, right: int, boundary: str) -> None:
    u, v = random(3, 4), random(3, 4 + left + right)
    wide = extend(u, left, right, -1, boundary)
    assert wide.shape == v.shape
    assert [wide[0, n + left].item() for n in range(-left, 4 + right)] == [
        u[0, continued(n, 4, boundary)].item() for n in range(-left, 4 + right)
    ]
    torch.testing.assert_close((wide * v).sum(), (u * fold(v, left, right, -1, boundary)).sum())


@BORDERS
def test_taps_flagged_zero_are_skipped_without_a_trace(boundary: str) -> None:
    u, q = random(2, 7), torch.tensor([0.5, 0.0, -0.5, 0.0], dtype=torch.float64)
    flags = tuple((q == 0).tolist())
    for act in (correlate, correlate_adjoint):
        plain = act(u, q, (-2,), (-1,), 2, boundary)
        assert torch.equal(act(u, q, (-2,), (-1,), 2, boundary, flags), plain)
        assert torch.equal(act(u, 0 * q, (-2,), (-1,), 2, boundary, (True,) * 4), torch.zeros_like(u))


@BORDERS
@pytest.mark.parametrize("k", [-9, -1, 0, 2, 13])
def test_shift_is_correlation_with_a_unit(k: int, boundary: str) -> None:
    u = random(3, 5)
    exact = u[:, [continued(n + k, 5, boundary) for n in range(5)]]
    assert torch.equal(shift(u, k, -1, boundary), exact)
    assert torch.equal(correlate(u, torch.ones(1, dtype=torch.float64), (k,), (-1,), 1, boundary), exact)
    assert torch.equal(shift(u.T, k, 0, boundary), exact.T)


@BORDERS
def test_gradients_reach_the_picture_and_the_taps(boundary: str) -> None:
    u, q = random(2, 4, 5).requires_grad_(), random(2, 3).requires_grad_()
    for act in (correlate, correlate_adjoint):
        assert torch.autograd.gradcheck(lambda u, q, act=act: act(u, q, (0, -1), (-2, -1), 2, boundary), (u, q))


@BORDERS
def test_what_inference_mode_leaves_behind_may_enter_a_graph(boundary: str) -> None:
    """Sizes that no other test uses: a remembered index must be an ordinary tensor, wherever it was first needed."""
    q = random(3)
    with torch.inference_mode():
        u = random(101)
        correlate_adjoint(correlate(u, q, (-1,), (-1,), 1, boundary), q, (-1,), (-1,), 1, boundary)
        shift(u, 7, -1, boundary)
    v = random(101).requires_grad_()
    w = correlate_adjoint(correlate(v, q, (-1,), (-1,), 1, boundary), q, (-1,), (-1,), 1, boundary)
    (w + shift(v, 7, -1, boundary)).sum().backward()
    assert v.grad is not None
