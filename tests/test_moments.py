"""Moment matrices and banks of constrained filters: against plain loops, exact linear algebra and measured orders."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor, nn

from companion import (
    MomentBank,
    accuracy_of,
    central,
    constrained,
    degrees_of_freedom,
    from_moments,
    moment_matrix,
    upwind,
)

D = torch.float64
SECOND = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
EVERY_CASE = [(alpha, N) for N in (3, 5) for alpha in [*itertools.product(range(N), repeat=2)]]


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def wave(N: int) -> tuple[Tensor, Tensor, float]:
    """u = exp(sin x + cos 2y / 2 + sin(x + y) / 2) on a periodic grid, u_x and h."""
    h = 2 * math.pi / N
    x, y = torch.meshgrid(*[h * torch.arange(N, dtype=D)] * 2, indexing="ij")
    u = torch.exp(torch.sin(x) + torch.cos(2 * y) / 2 + torch.sin(x + y) / 2)
    return u, u * (torch.cos(x) + torch.cos(x + y) / 2), h


def by_rolling(q: Tensor, u: Tensor) -> Tensor:
    """sum_k q[k1, k2] u[n + k], a tap at a time."""
    half = len(q) // 2
    taps = itertools.product(range(-half, half + 1), repeat=2)
    return sum((q[a + half, b + half] * torch.roll(u, (-a, -b), (-2, -1)) for a, b in taps), torch.zeros_like(u))


# ---- M(q) and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 3, 5])
def test_the_moment_matrix_by_its_definition(N: int) -> None:
    q = seeded(N, N)
    M = torch.zeros(N, N, dtype=D)
    for i, j, a, b in itertools.product(range(N), repeat=4):
        k1, k2 = a - (N - 1) // 2, b - (N - 1) // 2
        M[i, j] += k1**i * k2**j * q[a, b] / (math.factorial(i) * math.factorial(j))
    assert torch.allclose(moment_matrix(q), M, rtol=0, atol=1e-13)
    assert torch.allclose(
        moment_matrix(q[0], dim=1), moment_matrix(nn.functional.pad(q[:1], (0, 0, N // 2, N // 2)))[0]
    )


@pytest.mark.parametrize("N", [3, 5, 7, 9])
def test_from_a_filter_to_its_moments_and_back(N: int) -> None:
    """9 x 9: moments of size 1e3 sum up to taps of size 1, so that rounding alone leaves 1e-11."""
    line, square = seeded(10, N) / 3, seeded(10, N, N) / 3
    bound = 1e-12 if N < 9 else 1e-10
    assert (from_moments(moment_matrix(line, 1), 1) - line).abs().max() < 1e-12
    assert (from_moments(moment_matrix(square)) - square).abs().max() < bound
    assert (moment_matrix(from_moments(square)) - square).abs().max() < bound


def test_the_inverse_is_exact() -> None:
    """Against SymPy's inverse of the matrix of k^i / i!."""
    N = 7
    A = sympy.Matrix(N, N, lambda i, k: sympy.Rational((k - 3) ** i, math.factorial(i)))
    exact = torch.tensor(np.array(A.inv().tolist(), dtype=float), dtype=D)
    assert torch.equal(from_moments(torch.eye(N, dtype=D), 1).T, exact)


def test_moments_keep_batches_types_and_gradients() -> None:
    q = seeded(2, 3, 5, 5)
    assert torch.allclose(moment_matrix(q)[1, 2], moment_matrix(q[1, 2]), rtol=0, atol=1e-13)
    assert moment_matrix(q.float()).dtype == from_moments(q.float()).dtype == torch.float32
    for f in (moment_matrix, from_moments):
        assert torch.autograd.gradcheck(f, q[0].clone().requires_grad_())
    with torch.inference_mode():
        from_moments(torch.ones(11, 11, dtype=D))
    from_moments(torch.ones(11, 11, dtype=D, requires_grad=True)).sum().backward()  # the cache serves autograd, too


# ---- stencils ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [3, 5, 7])
def test_central_differences_are_those_of_interpolation(N: int) -> None:
    """SymPy's finite difference weights (Fornberg's algorithm), and their tensor products."""
    points = list(range(-(N // 2), N // 2 + 1))
    exact = [
        torch.tensor([float(w) for w in sympy.finite_diff_weights(i, points, 0)[i][-1]], dtype=D) for i in range(N)
    ]
    for i, j in itertools.product(range(N), repeat=2):
        assert torch.allclose(central(i, N), exact[i], atol=1e-12)
        assert torch.allclose(central((i, j), N), torch.outer(exact[i], exact[j]), atol=1e-11)


def test_upwind_differences() -> None:
    one = torch.tensor([0, 0, -3, 4, -1], dtype=D) / 2
    two = torch.tensor([0, 1, -2, 1, 0], dtype=D)
    q = torch.zeros(5, 5, dtype=D)
    for alpha, row, column in [((0, 1), 2, None), ((1, 0), None, 2), ((0, 2), 2, None), ((2, 0), None, 2)]:
        expected = q.clone()
        expected[row if row else slice(None), column if column else slice(None)] = one if sum(alpha) == 1 else two
        assert torch.equal(upwind(alpha, 5), expected)
        assert torch.equal(upwind(alpha, 7)[1:-1, 1:-1], expected)
    assert torch.equal(upwind((2, 0), 3)[:, 1], two[1:-1])
    assert torch.equal(upwind((1, 1), 5), central((1, 1), 5))
    assert torch.equal(upwind(3, 5), central(3, 5))


def test_accuracy_read_off_the_moments() -> None:
    forward, five_point = torch.tensor([0.0, -1.0, 1.0]), torch.tensor([0.0, 1.0, -2.0, 1.0, 0.0])
    assert accuracy_of(forward, 1) == 1
    assert accuracy_of(five_point, 2) == 2
    assert accuracy_of(upwind((0, 1), 5), (0, 1)) == 2
    assert [accuracy_of(central(i, 5), i) for i in range(1, 5)] == [4, 4, 2, 2]
    assert accuracy_of(2 * forward, 1) == accuracy_of(forward, 2) == 0
    assert accuracy_of(central((0, 0), 5), (0, 0)) == math.inf
    assert accuracy_of(torch.ones(3, 3) / 9, (0, 0)) == 2
    assert accuracy_of(forward + 1e-4 * five_point[1:-1], 1, tolerance=1e-3) == 1


# ---- constraints ---------------------------------------------------------------------------------------------------


def test_the_patterns_of_57() -> None:
    left = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    right = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    assert torch.equal(constrained((1, 0), 3, 1), left)
    assert torch.equal(constrained((1, 0), 3, 2), right)
    assert torch.equal(constrained(1, 5, 3), torch.tensor([1, 1, 1, 1, 0], dtype=torch.bool))


@pytest.mark.parametrize(
    ("alpha", "N", "accuracy", "number"),
    [((1, 0), 3, 1, 6), ((1, 0), 3, 2, 3), ((0, 1), 5, 1, 22), ((1, 0), 5, 2, 19), ((0, 2), 5, 2, 15), (1, 5, 2, 2)],
)
def test_degrees_of_freedom(alpha: tuple[int, int] | int, N: int, accuracy: int, number: int) -> None:
    assert degrees_of_freedom(alpha, N, accuracy) == number


def test_the_free_moments_of_burgers() -> None:
    """22 + 2 x 19 + 3 x 15 = 105 for six filters of 5 x 5 taps, which all components of u share."""
    assert sum(degrees_of_freedom(alpha, 5, 2) for alpha in SECOND) == 105
    bank = MomentBank(SECOND, N=5, accuracy=2)
    assert [tuple(p.shape) for p in bank.parameters()] == [(105,)]


@pytest.mark.parametrize(("alpha", "N"), EVERY_CASE)
def test_constraints_by_the_rank_of_their_equations(alpha: tuple[int, int], N: int) -> None:
    """All m_beta with |beta| < s + r, those beyond the matrix included, as equations for the N^2 taps: what can be
    solved is allowed, the rest refused, and the rank counts what is fixed."""
    k = np.arange(N) - N // 2
    s = sum(alpha)
    for r in range(1, 2 * N):
        betas = [(i, b - i) for b in range(s + r) for i in range(b + 1)]
        rows = np.array([np.outer(k**i / math.factorial(i), k**j / math.factorial(j)).ravel() for i, j in betas])
        target = np.array([float(b == alpha) for b in betas])
        rank = np.linalg.matrix_rank(rows, tol=1e-9)
        if np.linalg.matrix_rank(np.column_stack([rows, target]), tol=1e-9) == rank:
            assert degrees_of_freedom(alpha, N, r) == N**2 - rank
            assert s + r > N or N**2 - rank == N**2 - (s + r) * (s + r + 1) // 2
        else:
            with pytest.raises(ValueError, match="contradict"):
                constrained(alpha, N, r)


def difference(alpha: tuple[int, int], accuracy: int, N: int = 3) -> Callable[[float], MomentBank]:
    """h -> a bank of one filter whose free moments are random: the same filter for every h."""

    def bank(h: float) -> MomentBank:
        bank = MomentBank([alpha], N=N, accuracy=accuracy, h=h)
        bank.load_state_dict(bank.state_dict() | {"free": 0.5 + seeded(*bank.free.shape, seed=3).abs()})
        return bank

    return bank


@pytest.mark.parametrize("accuracy", [1, 2])
def test_the_orders_of_57(accuracy: int) -> None:
    """Random free moments; errors from 64^2 to 512^2 points: slopes 1.0 and 2.0."""
    errors = []
    for n in (64, 128, 256, 512):
        u, ux, h = wave(n)
        with torch.no_grad():
            errors.append(float((difference((1, 0), accuracy)(h)(u)[0] - ux).abs().max()))
    slopes = np.diff(np.log2(errors))
    assert abs(slopes[-1] + accuracy) < 0.05, slopes


def test_a_true_convolution_has_the_wrong_sign() -> None:
    """(-1)^{i+j}: the error of d/dx tends to 2 max |u_x|."""
    u, ux, h = wave(256)
    q = central((1, 0), 3)
    right, wrong = by_rolling(q, u) / h, by_rolling(q.flip(0, 1), u) / h
    assert (right - ux).abs().max() < 1e-2
    assert abs(float((wrong - ux).abs().max() / ux.abs().max()) - 2) < 1e-2


# ---- the bank ------------------------------------------------------------------------------------------------------


def random_bank(nets: int | None = None, h: float = 0.3) -> MomentBank:
    bank = MomentBank(SECOND, N=5, accuracy=1, h=h, start=upwind, nets=nets)
    bank.load_state_dict(bank.state_dict() | {"free": seeded(*bank.free.shape)})
    return bank


def test_a_bank_is_a_correlation_over_h_to_the_order() -> None:
    bank, u = random_bank(), seeded(2, 8, 9)
    for i, alpha in enumerate(SECOND):
        assert torch.allclose(bank(u)[:, i], by_rolling(bank.taps()[i], u) / 0.3 ** sum(alpha), atol=1e-11)


def test_the_first_index_is_x() -> None:
    """The derivatives of u = x^2 y^3 / 12 at the middle of a grid, axis -2 being x."""
    h, k = 0.5, torch.arange(-4, 5, dtype=D)
    u = torch.outer((1 + h * k) ** 2, (2 + h * k) ** 3) / 12
    at = MomentBank(SECOND, N=5, accuracy=1, h=h)(u)[:, 4, 4]
    exact = torch.tensor([8 / 12, 16 / 12, 12 / 12, 16 / 12, 24 / 12, 12 / 12], dtype=D)
    assert torch.allclose(at, exact, atol=1e-12)


def test_a_bank_in_one_dimension() -> None:
    bank, u = MomentBank([0, 1, (2,)], N=5, accuracy=2, h=0.1), seeded(3, 12)
    out = bank(u)
    for i, q in enumerate(bank.taps()):
        expected = sum(q[k + 2] * torch.roll(u, -k, -1) for k in range(-2, 3))
        assert torch.allclose(out[:, i], expected / 0.1**i, atol=1e-10)
    assert torch.allclose(bank.at(bank.patches(u)), out, atol=1e-10)


def test_a_grid_smaller_than_the_filter_wraps_as_often_as_it_must() -> None:
    bank, u = random_bank(), seeded(2, 3)
    assert torch.allclose(bank(u)[1], by_rolling(bank.taps()[1], u) / 0.3, atol=1e-12)


def test_the_points_of_patches() -> None:
    bank, u = random_bank(), seeded(2, 3, 6, 7)
    patches, points = bank.patches(u), torch.tensor([0, 5, 17, 41])
    assert patches.shape == (2, 3, 25, 42)
    assert torch.equal(patches[1, 2, 5 * 3 + 4, 7 * 2 + 6], u[1, 2, 3, 1])  # k = (1, 2) at n = (2, 6), wrapped
    assert torch.allclose(bank.at(patches[..., points]), bank(u).flatten(-2)[..., points], atol=1e-11)


@pytest.mark.parametrize("start", [central, upwind, lambda alpha, N: torch.ones(N, N)])
def test_constraints_hold_whatever_is_learned(start: Callable[..., Tensor]) -> None:
    """From any start, before and after steps of an optimiser, as read off the taps; the free moments start as given."""
    bank = MomentBank(SECOND, N=5, accuracy=2, start=start)
    for alpha, M in zip(SECOND, moment_matrix(bank.taps()), strict=True):
        free = ~constrained(alpha, 5, 2)
        assert torch.allclose(M[free], moment_matrix(start(alpha, 5).double())[free], atol=1e-12)
    optimiser = torch.optim.Adam(bank.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (bank(seeded(8, 8)) - 1).square().sum().backward()
        optimiser.step()
    for alpha, q in zip(SECOND, bank.taps(), strict=True):
        assert 2 <= accuracy_of(q, alpha) < 4
    assert torch.allclose(bank.moments(), moment_matrix(bank.taps()), atol=1e-11)


def test_with_nothing_learned_the_start_is_kept() -> None:
    bank = MomentBank(SECOND, N=5, accuracy=2, start=upwind, learned=False)
    assert not list(bank.parameters())
    assert bank.free_moments.shape == (105,)
    for alpha, q in zip(SECOND, bank.taps(), strict=True):
        assert torch.allclose(q, upwind(alpha, 5), atol=1e-13)


def test_nets_side_by_side_are_a_loop() -> None:
    banks, u = random_bank(nets=3), seeded(3, 2, 4, 8, 9, seed=1)
    assert banks(u).shape == (3, 2, 4, 6, 8, 9)
    assert banks.taps().shape == (3, 6, 5, 5)
    at, shared = banks.at(banks.patches(u)), banks(u[:1])
    for s in range(3):
        one = MomentBank(SECOND, N=5, accuracy=1, h=0.3)
        one.load_state_dict(one.state_dict() | {"free": banks.free[s]})
        assert torch.allclose(banks(u)[s], one(u[s]), atol=1e-11)
        assert torch.allclose(at[s].unflatten(-1, (8, 9)), one(u[s]), atol=1e-11)
        assert torch.allclose(shared[s], one(u[0]), atol=1e-11)


def test_the_bank_follows_the_type_of_u_and_lets_gradients_through() -> None:
    bank, u = random_bank(), seeded(2, 6, 6)
    single = bank(u.float())
    assert single.dtype == bank.at(bank.patches(u.float())).dtype == torch.float32
    assert torch.allclose(single.double(), bank(u), atol=1e-3)
    assert torch.allclose(bank(u)[1], bank(u[1]), atol=1e-12)

    def apply(u: Tensor, free: Tensor) -> Tensor:
        return torch.func.functional_call(bank, {"free": free}, u)

    assert torch.autograd.gradcheck(apply, (u.requires_grad_(), bank.free.detach().clone().requires_grad_()))
