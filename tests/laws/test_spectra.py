"""What every operator obeys: A = sum_i s_i u_i v_i^T, singular values in closed form or not, P_Lambda A = A."""

from math import prod

import pytest
import torch

from companion import Blur, FrameletTransform, Gradient, Identity, Mask, bspline, conjugate_gradients, gaussian_kernel
from tests.laws.registry import OPERATORS, OperatorExample, dense


@pytest.fixture(params=OPERATORS, ids=lambda example: example.name)
def example(request: pytest.FixtureRequest) -> OperatorExample:
    return request.param


def test_singular_values_are_those_of_the_matrix(example: OperatorExample) -> None:
    """All min(m, n) of them, with multiplicity, in decreasing order, in the type of the input."""
    A, u = example.make(), example.input()
    exact = torch.linalg.svdvals(dense(A, example.shape))
    s = A.singular_values(u)
    assert s.shape == exact.shape
    assert (s.diff() <= 0).all()
    torch.testing.assert_close(s, exact, rtol=0, atol=1e-12 * exact[0].item())
    assert A.singular_values(u.float()).dtype == torch.float32


def test_the_svd_is_the_operator(example: OperatorExample) -> None:
    """A u = sum s_i <v_i, u> u_i, both systems orthonormal, each of the shape of what it is in."""
    A, u = example.make(), example.input()
    f = A(u)
    U, s, V = A.svd(u)
    r = min(u.numel(), f.numel())
    assert U.shape == (r, *f.shape) and s.shape == (r,) and V.shape == (r, *u.shape)
    U, V = U.flatten(1), V.flatten(1)
    torch.testing.assert_close(U @ U.T, torch.eye(r, dtype=s.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close(V @ V.T, torch.eye(r, dtype=s.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close((s * (V @ u.flatten())) @ U, f.flatten(), rtol=0, atol=1e-11)


def test_the_restriction_projects_onto_what_is_measured(example: OperatorExample) -> None:
    """P A = A, P^2 = P, P^T = P; and f stays as it was."""
    A, u = example.make(), example.input(2)
    f = torch.randn_like(A(u))
    before, g = f.clone(), torch.randn_like(f)
    torch.testing.assert_close(A.restrict(A(u)), A(u), rtol=0, atol=1e-14)
    assert torch.equal(A.restrict(A.restrict(f)), A.restrict(f))
    torch.testing.assert_close(torch.sum(A.restrict(f) * g), torch.sum(f * A.restrict(g)), rtol=0, atol=1e-12)
    assert torch.equal(f, before)


def test_closed_forms_need_no_matrix() -> None:
    """... so that they serve pictures whose dense SVD is refused."""
    u = torch.zeros(256, 256, dtype=torch.float64)
    m = torch.arange(u.numel()).reshape(u.shape) % 3 == 0
    for A in (Identity(), Mask(m), Blur(gaussian_kernel(1.0)), FrameletTransform(bspline(2))):
        s = A.singular_values(u)
        assert s.shape == (u.numel(),) and s[0].item() == pytest.approx(1, abs=1e-12)
        with pytest.raises(ValueError, match="at most 4096"):
            A.svd(u)
    assert Mask(m).singular_values(u).sum() == m.sum()


def test_a_restriction_goes_with_the_last_operator() -> None:
    A, f = Mask(torch.tensor([True, False, True])), torch.ones(3, dtype=torch.float64)
    B = Blur(torch.ones(3, dtype=torch.float64) / 3)
    masked = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    assert torch.equal((A @ B).restrict(f), masked)
    assert torch.equal((2.0 * A).restrict(f), masked)
    assert torch.equal((B @ A).restrict(f), f)


def test_conjugate_gradients_solve_what_they_are_given() -> None:
    """M = A^T A + alpha K^T K, of Tikhonov with a gradient, to the residual asked for."""
    A, K, n = Mask(torch.arange(20).reshape(4, 5) % 3 > 0), Gradient(), 20
    v = torch.randn(4, 5, dtype=torch.float64)

    def M(x: torch.Tensor) -> torch.Tensor:
        return A.T(A(x)) + 0.3 * K.T(K(x))

    matrix = M(torch.eye(n, dtype=v.dtype).reshape(n, 4, 5)).reshape(n, n)
    exact = torch.linalg.solve(matrix, v.flatten()).reshape(v.shape)
    torch.testing.assert_close(conjugate_gradients(M, v), exact, rtol=0, atol=1e-11)
    loose = conjugate_gradients(M, v, tol=1e-2)
    assert 1e-6 < (M(loose) - v).norm() / v.norm() <= 1e-2
    assert torch.equal(conjugate_gradients(M, torch.zeros_like(v)), torch.zeros_like(v))
    with pytest.raises(RuntimeError, match="3 conjugate-gradient steps"):
        conjugate_gradients(M, v, k=3)


def test_a_diagonal_system_takes_as_many_steps_as_it_has_eigenvalues() -> None:
    d = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).repeat(7)
    assert prod(d.shape) == 21
    v = torch.ones_like(d)
    torch.testing.assert_close(conjugate_gradients(lambda x: d * x, v, k=3), v / d, rtol=0, atol=1e-13)
