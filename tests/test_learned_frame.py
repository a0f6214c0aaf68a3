"""A frame that stays tight while its filters are learned: Gram matrices by hand, filters by shifts, training."""

import numpy as np
import pytest
import scipy.fft
import torch
from scipy.special import comb
from torch import Tensor

from companion import (
    Filter,
    FrameletTransform,
    LearnedFrame,
    bspline,
    dct,
    extension_residual,
    tensor_product,
)
from companion.operators.banks import Bank
from tests.laws.registry import simplex_bank

f64 = torch.float64
S3 = np.sqrt(3)
DAUBECHIES: Bank = (  # four taps, sum p = 1: h / sqrt 2, and its mirror image with alternating signs
    Filter(np.array([1 + S3, 3 + S3, 3 - S3, 1 - S3]) / 8),
    Filter(np.array([1 - S3, -3 + S3, 3 + S3, -1 - S3]) / 8),
)
BANKS: dict[str, Bank] = {
    "Haar": bspline(1),
    "linear": bspline(2),
    "quadratic": bspline(3),
    "cubic": bspline(4),
    "cosines of 3": dct(3),
    "cosines of 4": dct(4),
    "Daubechies": DAUBECHIES,
}
each = pytest.mark.parametrize("name", BANKS)


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def taps(bank: Bank) -> np.ndarray:
    """Q: a row for each filter."""
    return np.stack([q.taps.ravel() for q in bank])


def rotation(n: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def stirred(W: FrameletTransform, average: bool = False, size: float = 1.0) -> LearnedFrame:
    V = LearnedFrame(W, average)
    with torch.no_grad():
        for level, skew in enumerate(V.skew):
            skew.copy_(size * random(*skew.shape, seed=level))
    return V


# ---- the Gram matrix ---------------------------------------------------------------------------------------------


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("m", range(1, 8))
def test_a_spline_bank_is_an_orthogonal_matrix_times_roots_of_binomials(m: int) -> None:
    """Q = O diag(sqrt w), w[k] = binom(m, k) / 2^m, the taps of p: the piecewise linear one is no multiple of an O."""
    Q, w = taps(bspline(m)), comb(m, np.arange(m + 1)) / 2**m
    np.testing.assert_allclose(Q.T @ Q, np.diag(w), rtol=0, atol=1e-15)
    O = Q / np.sqrt(w)
    np.testing.assert_allclose(O @ O.T, np.eye(m + 1), rtol=0, atol=1e-14)
    np.testing.assert_allclose(Q[0], w, rtol=0, atol=1e-15)
    assert (m == 1) == (np.ptp(w) < 1e-15)


@pytest.mark.paper("(2.3)")
@pytest.mark.parametrize("p", range(2, 9))
def test_the_cosine_bank_is_the_orthonormal_cosine_transform_over_the_root_of_p(p: int) -> None:
    scipys = scipy.fft.dct(np.eye(p), axis=0, norm="ortho") / np.sqrt(p)
    np.testing.assert_allclose(taps(dct(p)), scipys, rtol=0, atol=1e-15)
    first, second = extension_residual(dct(p))
    assert first < 1e-14
    assert second == pytest.approx(0 if p % 2 == 0 else 1 / p, abs=1e-14)  # the mass of the even taps less the odd
    assert [q.total_order() for q in dct(p)[1:]] == [1 + (ell % 2 == 0) for ell in range(1, p)]


@pytest.mark.paper("(2.3)")
@each
def test_the_extension_principle_asks_about_the_gram_matrix_alone(name: str) -> None:
    """C Q has the defects of Q, both of them, for every orthogonal C; p = G 1 where the sum of p is 1."""
    bank = BANKS[name]
    Q = taps(bank)
    np.testing.assert_allclose((Q.T @ Q).sum(1), Q[0], rtol=0, atol=1e-14)
    mixed = rotation(len(bank)) @ Q
    assert extension_residual([Filter(row, bank[0].origin) for row in mixed]) == pytest.approx(
        extension_residual(bank), abs=1e-14
    )


def test_a_bank_may_reconstruct_though_its_gram_matrix_is_not_diagonal() -> None:
    """Daubechies' filters: sums of G along its diagonals are delta, its entries are not."""
    G = taps(DAUBECHIES).T @ taps(DAUBECHIES)
    assert [np.trace(G, n) for n in range(4)] == pytest.approx([1, 0, 0, 0], abs=1e-15)
    assert G[0, 1] == pytest.approx(S3 / 8)


def test_a_bank_with_the_same_gram_matrix_is_within_reach() -> None:
    """Two orthogonal matrices of size 4 over 2, first row (1, 1, 1, 1)/4: the one is C times the other."""
    target = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 0, 0], [0, 0, 1, -1]]) / 4.0
    target[2:] *= np.sqrt(2)  # Haar's in the order of a tree
    V = LearnedFrame(FrameletTransform(dct(4), dim=1))
    Q = taps(dct(4))
    target[3] *= np.sign(np.linalg.det(target @ Q.T))  # a rotation
    optimiser = torch.optim.LBFGS(V.parameters(), max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = (V.mixing(0) @ torch.tensor(Q[1:]) - torch.tensor(target[1:])).square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    np.testing.assert_allclose(taps(tuple(V.filters())), target, rtol=0, atol=1e-6)


# ---- tight by construction ---------------------------------------------------------------------------------------

STARTS: dict[str, tuple[FrameletTransform, tuple[int, ...]]] = {
    "Haar": (FrameletTransform(bspline(1)), (6, 7)),
    "linear, two levels": (FrameletTransform(bspline(2), 2), (7, 9)),
    "cubic, mirrored": (FrameletTransform(bspline(4), 1, boundary="reflect"), (9, 8)),
    "cosines of 5": (FrameletTransform(dct(5)), (8, 7)),
    "Daubechies, three levels": (FrameletTransform(DAUBECHIES, 3), (20, 21)),
    "linear in space": (FrameletTransform(bspline(2), 1, 3), (4, 5, 3)),
    "a line, three levels": (FrameletTransform(bspline(3), 3, 1), (30,)),
    "nonseparable": (FrameletTransform(simplex_bank(2), 2), (6, 5)),
}
start = pytest.mark.parametrize("name", STARTS)
mixed = pytest.mark.parametrize("average", [False, True])


@pytest.mark.paper("(2.1)")
@start
@mixed
def test_before_training_it_is_the_given_frame(name: str, average: bool) -> None:
    W, shape = STARTS[name]
    V, u = LearnedFrame(W, average), random(2, *shape)
    assert (V(u) - W(u)).abs().max() < 1e-12 and (V.T(W(u)) - u).abs().max() < 1e-12
    torch.testing.assert_close(V.gains, W.gains, rtol=1e-12, atol=0)
    assert torch.equal(V.weights(0.3, 0.5), W.weights(0.3, 0.5))
    assert (V.bands, V.levels, V.dim, V.boundary) == (W.bands, W.levels, W.dim, W.boundary)


@pytest.mark.paper("(2.3)")
@start
@mixed
def test_it_is_tight_after_random_steps(name: str, average: bool) -> None:
    W, shape = STARTS[name]
    V, u = LearnedFrame(W, average), random(2, *shape)
    optimiser = torch.optim.SGD(V.parameters(), lr=1.0)
    for seed in range(3):
        optimiser.zero_grad()
        (V(u) * random(*V(u).shape, seed=seed)).sum().backward()
        optimiser.step()
    assert len(W.indices) == 2 or (V(u) - W(u)).abs().max() > 0.1
    assert (V.T(V(u)) - u).abs().max() < 1e-12
    for level in range(W.levels):
        C = V.mixing(level)
        assert (C.T @ C - torch.eye(len(C))).abs().max() < 1e-12
    if not average:
        assert torch.equal(V(u).select(-W.dim - 1, 0), W(u).select(-W.dim - 1, 0))
        assert max(abs(q.taps.sum()) for level in range(W.levels) for q in V.filters(level)[1:]) < 1e-12


def test_it_is_tight_in_single_precision_and_when_its_parameters_are_single() -> None:
    W, shape = STARTS["linear, two levels"]
    V, u = stirred(W), random(*shape)
    assert V(u.float()).dtype == torch.float32 and (V.T(V(u.float())) - u.float()).abs().max() < 1e-5
    V = V.float()
    assert (V.T(V(u)) - u).abs().max() < 1e-12 and V(u).dtype == f64


# ---- the filters -------------------------------------------------------------------------------------------------


def by_shifts(q: Filter, u: Tensor) -> Tensor:
    """sum_k q[k] u[n + k] on a torus."""
    out = torch.zeros_like(u)
    for k, tap in q.indices():
        out = out + tap * torch.roll(u, tuple(-i for i in k), tuple(range(-q.ndim, 0)))
    return out


@pytest.mark.paper("(2.1)", "(2.2)")
@pytest.mark.parametrize("name", ["linear, two levels", "cosines of 5", "a line, three levels", "nonseparable"])
@mixed
def test_the_bands_are_correlations_with_the_filters(name: str, average: bool) -> None:
    W, shape = STARTS[name]
    V, u = stirred(W, average), random(*shape)
    d = V(u).unbind(-W.dim - 1)
    high = [q for level in range(W.levels) for q in V.filters(level)[1:]]
    for band, q in zip(d, [V.filters(W.levels - 1)[0], *high], strict=True):
        torch.testing.assert_close(band, by_shifts(q, u), rtol=0, atol=1e-13)
    norms = [float((q.taps**2).sum()) ** 0.5 for q in [V.filters(W.levels - 1)[0], *high]]
    torch.testing.assert_close(V.gains.flatten(), torch.tensor(norms, dtype=f64), rtol=1e-12, atol=0)


def test_a_learned_bank_of_one_level_is_a_bank() -> None:
    V, u = stirred(STARTS["cosines of 5"][0]), random(2, 9, 8)
    torch.testing.assert_close(FrameletTransform(V.filters())(u), V(u), rtol=0, atol=1e-13)


def test_filters_of_different_lengths_are_mixed_on_their_common_support() -> None:
    """Haar with its difference twice, over sqrt 2, once moved by a pixel: p has two taps, the last filter three."""
    p, q = bspline(1)
    bank = (p, Filter(q.taps / np.sqrt(2), 0), Filter(np.append(0, q.taps) / np.sqrt(2), 0))  # the second one moved
    assert extension_residual(bank)[0] < 1e-15
    V, u = stirred(FrameletTransform(bank, dim=1)), random(8)
    for band, filter in zip(V(u), V.filters(), strict=True):
        torch.testing.assert_close(band, by_shifts(filter, u), rtol=0, atol=1e-14)


def test_tensor_products_and_their_bank_in_the_plane_are_one_start() -> None:
    plane = [tensor_product(bspline(2)[i], bspline(2)[j]) for i, j in FrameletTransform(bspline(2)).indices]
    one, two, u = stirred(FrameletTransform(bspline(2))), stirred(FrameletTransform(plane)), random(7, 8)
    torch.testing.assert_close(one(u), two(u), rtol=0, atol=1e-13)


# ---- learning ----------------------------------------------------------------------------------------------------


@mixed
def test_gradients_with_respect_to_the_rotation(average: bool) -> None:
    W, u = FrameletTransform(bspline(1), 2), random(5, 4).requires_grad_()
    V = stirred(W, average, 0.3)
    skews = [skew.detach().clone().requires_grad_() for skew in V.skew]

    def both(u: Tensor, *skews: Tensor) -> tuple[Tensor, Tensor]:
        names = {f"skew.{i}": skew for i, skew in enumerate(skews)}
        d = torch.func.functional_call(V, names, (u,))
        return d, torch.func.functional_call(V.T, {f"A.{name}": skew for name, skew in names.items()}, (d.square(),))

    assert torch.autograd.gradcheck(both, (u, *skews))


def test_a_rotated_frame_is_found_again() -> None:
    """Pictures sparse in one frame: the l1 norm of the coefficients, least where the learned frame is that one."""
    W, hidden = FrameletTransform(bspline(1)), stirred(FrameletTransform(bspline(1)), size=0.4)
    u = hidden.T(random(4, 4, 16, 16, seed=3) * (random(4, 4, 16, 16, seed=4) > 1.5)).detach()
    V = LearnedFrame(W)
    optimiser = torch.optim.Adam(V.parameters(), lr=0.05)
    cost = [0.0] * 60
    for k in range(60):
        optimiser.zero_grad()
        loss = V(u).narrow(-3, 1, 3).abs().sum()
        loss.backward()
        optimiser.step()
        cost[k] = float(loss.detach())
    assert cost[-1] < 0.98 * cost[0]
    assert cost[-1] <= 1.001 * float(hidden(u).detach().narrow(-3, 1, 3).abs().sum())
    assert (V.T(V(u)) - u).abs().max() < 1e-12
