"""What implicit steps solve: tridiagonal systems on a line and a ring, and GMRES."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from companion.operators.krylov import gmres
from companion.operators.tridiagonal import tridiagonal_solve


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def dominant(n: int, *batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Diagonals with |b| > |a| + |c|, of both signs."""
    a, c = random(*batch, n), random(*batch, n)
    return a, torch.sign(random(*batch, n)) * (a.abs() + c.abs() + 0.1), c


def matrix(a: Tensor, b: Tensor, c: Tensor, ring: bool) -> Tensor:
    """By its definition: a[n] x[n-1] + b[n] x[n] + c[n] x[n+1], indices modulo N on a ring."""
    n = len(b)
    M = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        M[i, i] += b[i]
        if ring or i > 0:
            M[i, (i - 1) % n] += a[i]
        if ring or i < n - 1:
            M[i, (i + 1) % n] += c[i]
    return M


# ---- tridiagonal systems ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 13, 64, 100])
def test_a_tridiagonal_system_is_solved(n: int, ring: bool) -> None:
    a, b, c = dominant(n)
    d = random(n)
    if ring and n < 3:
        b = b + 3 * torch.sign(b)  # a and c meet in one entry, or in the diagonal itself
    exact = torch.linalg.solve(matrix(a, b, c, ring), d)
    torch.testing.assert_close(tridiagonal_solve(a, b, c, d, ring=ring), exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [2, 7, 50, 1000])
def test_a_line_against_scipys_banded_solver(n: int) -> None:
    a, b, c = dominant(n)
    d = random(n)
    bands = np.zeros((3, n))
    bands[0, 1:], bands[1], bands[2, :-1] = c[:-1], b, a[1:]
    by_scipy = scipy.linalg.solve_banded((1, 1), bands, d.numpy())
    np.testing.assert_allclose(tridiagonal_solve(a, b, c, d).numpy(), by_scipy, rtol=1e-9, atol=1e-9)


def test_unused_corners_of_a_line_play_no_part() -> None:
    a, b, c = dominant(9)
    d = random(9)
    x = tridiagonal_solve(a, b, c, d)
    a[0], c[-1] = 1e9, float("inf")
    assert torch.equal(tridiagonal_solve(a, b, c, d), x)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_many_systems_along_any_axis_with_broadcast_diagonals(axis: int, ring: bool) -> None:
    d = random(5, 6, 7)
    n = d.shape[axis]
    line = dominant(n)
    shape = [1, 1, 1]
    shape[axis] = n
    x = tridiagonal_solve(*(t.reshape(shape) for t in line), d, axis, ring)
    M = matrix(*line, ring)
    torch.testing.assert_close(torch.tensordot(M, x.movedim(axis, 0), 1).movedim(0, axis), d, rtol=1e-9, atol=1e-9)
    full = dominant(n, 35)
    rows = random(35, n)
    loop = torch.stack([tridiagonal_solve(*(t[i] for t in full), rows[i], ring=ring) for i in range(35)])
    torch.testing.assert_close(tridiagonal_solve(*full, rows, ring=ring), loop, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ring", [False, True])
def test_a_diffusion_with_rows_that_only_just_dominate(ring: bool) -> None:
    """I - dt L with dt from 1e-3 to 1e8: the sum is kept, and grey values are mixed, not made."""
    n = 40
    d = torch.rand(n, dtype=torch.float64).round()
    for dt in (1e-3, 1.0, 1e4, 1e8):
        c = dt * torch.rand(n, dtype=torch.float64)
        c[-1] = c[-1] if ring else 0.0
        x = tridiagonal_solve(-c.roll(1), 1 + c + c.roll(1), -c, d, ring=ring)
        assert float(x.min()) > -1e-6 and float(x.max()) < 1 + 1e-6
        assert float(x.sum()) == pytest.approx(float(d.sum()), rel=1e-6)


@pytest.mark.parametrize("ring", [False, True])
def test_gradients_flow_to_all_four_arguments(ring: bool) -> None:
    arguments = tuple(t.requires_grad_() for t in (*dominant(6), random(6)))
    assert torch.autograd.gradcheck(lambda a, b, c, d: tridiagonal_solve(a, b, c, d, ring=ring), arguments)


def test_lengths_must_agree_and_types_are_kept() -> None:
    a, b, c = dominant(5)
    with pytest.raises(ValueError, match="got lengths 4, 5, 5, 5"):
        tridiagonal_solve(a[1:], b, c, random(5))
    x = tridiagonal_solve(a.float(), b.float(), c.float(), torch.ones(5))
    assert x.dtype == torch.float32
    meta = [t.to("meta") for t in (a, b, c, b)]
    assert tridiagonal_solve(*meta, ring=True).device.type == "meta"


# ---- GMRES ------------------------------------------------------------------------------------------------------


def test_gmres_solves_what_is_neither_symmetric_nor_positive() -> None:
    M = random(30, 30) + 3 * torch.eye(30, dtype=torch.float64)
    v = random(30)
    x = gmres(lambda x: M @ x, v)
    torch.testing.assert_close(x, torch.linalg.solve(M, v), rtol=1e-9, atol=1e-9)
    assert float((v - M @ x).norm()) <= 100 * torch.finfo(torch.float64).eps * float(v.norm())


def test_gmres_starts_again_from_what_it_has_reached() -> None:
    """A basis of 5 vectors for 30 unknowns: more products, the same solution, and never more vectors at once."""
    M = torch.eye(30, dtype=torch.float64) + 0.1 * random(30, 30)
    v, calls = random(30), []

    def product(x: Tensor) -> Tensor:
        calls.append(1)
        return M @ x

    whole = gmres(product, v, tol=1e-10)
    few = len(calls)
    calls.clear()
    restarted = gmres(product, v, tol=1e-10, basis=5)
    assert len(calls) > few
    for x in (whole, restarted):
        assert float((v - M @ x).norm()) <= 1e-10 * float(v.norm())


def test_gmres_minimises_the_residual_over_the_krylov_space() -> None:
    """After m products |v - M x| is the least over span{v, M v, ..., M^{m-1} v}."""
    M, v = random(12, 12), random(12)
    for m in (1, 3, 6):
        x = gmres(lambda x: M @ x, v, tol=1e-14, k=m, basis=m, strict=False)
        K = torch.stack([torch.linalg.matrix_power(M, j) @ v for j in range(m)], 1)
        best = K @ torch.linalg.lstsq(M @ K, v[:, None]).solution[:, 0]
        torch.testing.assert_close(x, best, rtol=1e-7, atol=1e-7)


def test_gmres_on_pictures_and_on_a_batch() -> None:
    v = random(2, 4, 5)
    x = gmres(lambda x: 3 * x + x.roll(1, -1) - 0.5 * x.flip(0), v)
    assert x.shape == v.shape
    torch.testing.assert_close(3 * x + x.roll(1, -1) - 0.5 * x.flip(0), v, rtol=0, atol=1e-11)
    assert gmres(lambda x: 2 * x, v.float()).dtype == torch.float32


def test_gmres_stops_where_the_krylov_space_is_full() -> None:
    """An eigenvector is solved in one product; 0 in none; an exact basis does not divide by 0."""
    M = torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64))
    e = torch.eye(5, dtype=torch.float64)[2]
    calls = []
    x = gmres(lambda x: (calls.append(1), M @ x)[1], e)
    assert len(calls) == 2  # one product and one residual
    torch.testing.assert_close(x, e / 3)
    assert torch.equal(gmres(lambda x: M @ x, torch.zeros(5, dtype=torch.float64)), torch.zeros(5).double())
    v = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(gmres(lambda x: M @ x, v), 1 / torch.arange(1.0, 6.0, dtype=torch.float64))


def test_gmres_that_does_not_arrive_says_so_or_returns_its_best() -> None:
    M = torch.roll(torch.eye(20, dtype=torch.float64), 1, 0)  # a rotation: no progress before the last vector
    v = torch.eye(20, dtype=torch.float64)[0]
    with pytest.raises(RuntimeError, match=r"10 products of GMRES reached a relative residual of 1.0e\+00"):
        gmres(lambda x: M @ x, v, k=10)
    assert float(gmres(lambda x: M @ x, v, k=10, strict=False).norm()) < 1e-12
    torch.testing.assert_close(gmres(lambda x: M @ x, v), M.T @ v)
