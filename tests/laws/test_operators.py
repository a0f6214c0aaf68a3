"""What every linear operator obeys: <A u, f> = <u, A^T f>, linearity, batches, types, devices, closed forms."""

from collections.abc import Callable
from math import prod

import pytest
import torch
from torch import Tensor, nn

from companion import Blur, FrameletTransform, Gradient, Identity, LinearOperator, Mask, bspline
from companion.operators.linear import Adjoint
from tests.laws.registry import OPERATORS, OperatorExample, dense, public_subclasses

ROUNDING = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 4e-2}


@pytest.fixture(params=OPERATORS, ids=lambda example: example.name)
def example(request: pytest.FixtureRequest) -> OperatorExample:
    return request.param


def inner(a: Tensor, b: Tensor) -> Tensor:
    return torch.sum(a * b)


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| relative to the larger of the two."""
    assert a.shape == b.shape
    size = max(torch.linalg.vector_norm(a.double()).item(), torch.linalg.vector_norm(b.double()).item(), 1e-300)
    return torch.linalg.vector_norm(a.double() - b.double()).item() / size


def test_every_operator_has_an_example() -> None:
    seen = {type(example.make()) for example in OPERATORS}
    missing = sorted(cls.__name__ for cls in public_subclasses(LinearOperator) - seen)
    assert not missing, f"Register an example of {', '.join(missing)} in tests/laws/registry.py."


def test_names_of_examples_differ() -> None:
    names = [example.name for example in OPERATORS]
    assert len(set(names)) == len(names)


# ---- the adjoint ------------------------------------------------------------------------------------------------


def test_the_adjoint_moves_across_the_inner_product(example: OperatorExample) -> None:
    A = example.make()
    u = example.input(2)
    Au = A(u)
    f = torch.randn_like(Au)
    size = torch.linalg.vector_norm(Au) * torch.linalg.vector_norm(f)
    assert abs(inner(Au, f) - inner(u, A.adjoint(f))) <= 1e-13 * size


def test_the_adjoint_is_the_derivative_backwards(example: OperatorExample) -> None:
    """Automatic differentiation transposes A by itself: it knows nothing of `adjoint`."""
    A = example.make()
    u = example.input().requires_grad_()
    f = torch.randn_like(A(u)).requires_grad_()
    (transposed,) = torch.autograd.grad(A(u), u, f.detach())
    assert distance(A.adjoint(f.detach()), transposed) < 1e-13
    (back,) = torch.autograd.grad(A.adjoint(f), f, u.detach())
    assert distance(A(u.detach()), back) < 1e-13


def test_the_adjoint_of_the_adjoint_is_the_operator_itself(example: OperatorExample) -> None:
    A = example.make()
    u = example.input()
    assert A.T.T is A or isinstance(A, Adjoint)  # the adjoint of A^T is A itself, so (A^T)^T^T is a new A^T
    assert torch.equal(A.T.T(u), A(u))
    assert torch.equal(A.T(A(u)), A.adjoint(A(u)))
    assert torch.equal(A.T.adjoint(u), A(u))


# ---- linearity --------------------------------------------------------------------------------------------------


def test_linear(example: OperatorExample) -> None:
    A = example.make()
    u, v = example.input(), example.input()
    assert distance(A(2.5 * u - 0.75 * v), 2.5 * A(u) - 0.75 * A(v)) < 1e-13
    assert torch.count_nonzero(A(torch.zeros_like(u))) == 0


def test_a_batch_is_a_loop(example: OperatorExample) -> None:
    A = example.make()
    for batch in ((), (3,), (2, 1)):
        u = example.input(*batch)
        f = torch.randn_like(A(u))
        flat_u, flat_f = u.reshape(-1, *example.shape), f.reshape(-1, *f.shape[len(batch) :])
        assert f.shape[: len(batch)] == batch
        assert distance(A(u), torch.stack([A(x) for x in flat_u]).reshape(f.shape)) < 1e-14
        assert distance(A.adjoint(f), torch.stack([A.adjoint(x) for x in flat_f]).reshape(u.shape)) < 1e-14
    assert A(u[:0]).shape == (0, *f.shape[1:])
    assert A.adjoint(f[:0]).shape == (0, *u.shape[1:])


def test_the_layout_in_memory_does_not_matter(example: OperatorExample) -> None:
    A = example.make()
    u = example.input(2)
    strided = torch.stack([u, example.input(2)], -1)[..., 0]  # the numbers of u, every second one in memory
    assert not strided.is_contiguous()
    assert distance(A(strided), A(u)) < 1e-15


def test_nothing_is_changed_in_place(example: OperatorExample) -> None:
    A = example.make()
    u = example.input(2)
    f = torch.randn_like(A(u))
    buffers = {name: b.clone() for name, b in A.named_buffers()}
    inputs = ((A, u), (A.adjoint, f), (lambda v: A.norm(v, k=3), u), (lambda v: A.normal_solve(v, 50.0), u))
    for act, x in inputs:
        before = x.clone()
        act(x)
        assert torch.equal(x, before)
    for name, b in A.named_buffers():
        assert torch.equal(b, buffers[name])


# ---- types, devices, gradients ----------------------------------------------------------------------------------


def test_the_type_follows_the_input(example: OperatorExample) -> None:
    """... and the value is that of double precision, up to the rounding of the type."""
    A = example.make()
    u = example.input()
    f = torch.randn_like(A(u))
    for dtype, rounding in ROUNDING.items():
        if dtype is torch.bfloat16 and not example.half:
            continue  # PyTorch has no Fourier transform in bfloat16
        v, g = u.to(dtype), f.to(dtype)
        results = A(v), A.adjoint(g), A.norm(v, k=3), A.normal_solve(v, 50.0)
        assert [x.dtype for x in results] == [dtype] * 4
        assert distance(results[0], A(v.double())) < rounding
        assert distance(results[1], A.adjoint(g.double())) < rounding


def test_the_device_follows_the_input(example: OperatorExample) -> None:
    """The meta device computes shapes only, and refuses a tensor left behind on another device."""
    A, u = example.make(), example.input(2)
    f = A(u)
    A = A.to("meta")
    assert A(u.to("meta")).device.type == "meta"
    assert A(u.to("meta")).shape == f.shape
    assert A.adjoint(f.to("meta")).device.type == "meta"
    assert A.adjoint(f.to("meta")).shape == u.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_numbers() -> None:
    for example in OPERATORS:
        A, u = example.make(), example.input(2)
        f = A(u)
        back = A.adjoint(f)
        A = A.to("cuda")
        assert A(u.cuda()).is_cuda, example.name
        assert distance(A(u.cuda()).cpu(), f) < 1e-13, example.name
        assert distance(A.adjoint(f.cuda()).cpu(), back) < 1e-13, example.name


def test_the_gradient_is_that_of_finite_differences(example: OperatorExample) -> None:
    A = example.make()
    u = example.input().requires_grad_()
    f = torch.randn_like(A(u)).detach().requires_grad_()
    assert torch.autograd.gradcheck(A, (u,), fast_mode=True)
    assert torch.autograd.gradcheck(A.adjoint, (f,), fast_mode=True)


def test_buffers_may_become_parameters(example: OperatorExample) -> None:
    """F -> F_Theta: what a learned operator learns are the buffers of the designed one."""
    A = example.make()
    u = example.input()
    before = A(u)
    learned = []
    for module in list(A.modules()):
        for name, b in list(module.named_buffers(recurse=False)):
            if b.is_floating_point():
                setattr(module, name, nn.Parameter(b.clone()))
                learned.append(getattr(module, name))
    assert torch.equal(A(u), before)
    if learned:
        A(u).square().sum().backward()
        assert all(theta.grad is not None and theta.grad.isfinite().all() for theta in learned)


# ---- closed forms -----------------------------------------------------------------------------------------------


def test_tight_says_whether_the_adjoint_inverts(example: OperatorExample) -> None:
    A = example.make()
    D = dense(A, example.shape)
    defect = torch.dist(D.T @ D, torch.eye(D.shape[1], dtype=D.dtype), torch.inf).item()
    assert A.tight == (defect < 1e-12), f"max |A^T A - I| = {defect:.1e}"


def test_the_norm_is_the_largest_singular_value(example: OperatorExample) -> None:
    """Approached from below, the same at every call, without touching the random numbers of the caller."""
    A, u = example.make(), example.input()
    largest = torch.linalg.matrix_norm(dense(A, example.shape), 2).item()
    state = torch.get_rng_state()
    value = A.norm(u)
    assert torch.equal(torch.get_rng_state(), state)
    assert value.ndim == 0
    assert largest * (1 - 1e-3) <= value.item() <= largest * (1 + 1e-12)
    assert A.norm(u + 1, k=5) == A.norm(u, k=5)


def test_normal_solve_is_the_dense_solve(example: OperatorExample) -> None:
    A = example.make()
    D = dense(A, example.shape)
    v = example.input(2, 3)
    n = prod(example.shape)
    for rho in (0.1, 2.0):
        exact = torch.linalg.solve(D.T @ D + rho * torch.eye(n, dtype=D.dtype), v.reshape(6, n).T).T.reshape(v.shape)
        assert distance(A.normal_solve(v, rho), exact) < 1e-11
    assert distance(A.normal_solve(v.float(), 2.0), exact) < 2e-5
    assert torch.count_nonzero(A.normal_solve(torch.zeros_like(v), 0.1)) == 0
    with pytest.raises(ValueError, match="rho"):
        A.normal_solve(v, -0.5)


def test_normal_solve_is_differentiable(example: OperatorExample) -> None:
    """The least-squares step of an unrolled solver: its derivative is itself, it being symmetric."""
    A = example.make()
    v, w = example.input().requires_grad_(), example.input()
    (back,) = torch.autograd.grad(A.normal_solve(v, 5.0), v, w)
    assert distance(back, A.normal_solve(w, 5.0)) < 1e-9


def test_conjugate_gradients_report_when_they_did_not_arrive() -> None:
    with pytest.raises(RuntimeError, match="relative residual"):
        Gradient(dim=1).normal_solve(torch.randn(40, dtype=torch.float64), 1e-6, k=3)


# ---- the algebra of operators -----------------------------------------------------------------------------------

A1: Callable[[], LinearOperator] = lambda: Blur(torch.tensor([[0.1, 0.3], [0.4, 0.2]], dtype=torch.float64), "reflect")  # noqa: E731
B1: Callable[[], LinearOperator] = lambda: Mask(torch.arange(20).reshape(4, 5) % 3 > 0)  # noqa: E731


@pytest.fixture
def u() -> Tensor:
    return torch.randn(2, 4, 5, dtype=torch.float64)


def test_the_composition_applies_the_right_factor_first(u: Tensor) -> None:
    A, B = A1(), B1()
    assert torch.equal((A @ B)(u), A(B(u)))
    assert not torch.allclose((A @ B)(u), (B @ A)(u))


def test_the_adjoint_reverses_a_composition(u: Tensor) -> None:
    A, B, D = A1(), B1(), Gradient(dim=2)
    f = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    assert torch.equal((D @ A @ B).T(f), B.T(A.T(D.T(f))))
    assert torch.equal((A @ B).T(u), (B.T @ A.T)(u))


def test_sums_and_multiples(u: Tensor) -> None:
    A, B = A1(), B1()
    assert torch.equal((A + B)(u), A(u) + B(u))
    assert torch.equal((A + B).T(u), A.T(u) + B.T(u))
    assert torch.equal((A - B)(u), A(u) - B(u))
    assert torch.equal((-A)(u), -A(u))
    assert torch.equal((0.25 * A)(u), 0.25 * A(u))
    assert torch.equal((0.25 * A).T(u), 0.25 * A.T(u))
    assert torch.equal((torch.tensor(0.25) * A)(u), 0.25 * A(u))


def test_composition_distributes_over_sums(u: Tensor) -> None:
    A, B, C = A1(), B1(), 0.5 * Identity()
    assert distance((A @ (B + C))(u), (A @ B + A @ C)(u)) < 1e-15
    assert distance(((A + B) @ C)(u), (A @ C + B @ C)(u)) < 1e-15
    assert distance(((A @ B) @ C)(u), (A @ (B @ C))(u)) < 1e-15


def test_the_identity_is_neutral(u: Tensor) -> None:
    A, I = A1(), Identity()
    assert torch.equal((A @ I)(u), A(u))
    assert torch.equal((I @ A)(u), A(u))
    assert torch.count_nonzero((A - A)(u)) == 0


def test_tightness_of_compositions() -> None:
    W, V = FrameletTransform(bspline(1)), FrameletTransform(bspline(2))
    assert (W @ V).tight
    assert not (W @ A1()).tight
    assert not (A1() @ W).tight
    assert not (W + W).tight
    assert not (2.0 * W).tight


def test_the_factor_of_a_multiple_can_be_learned(u: Tensor) -> None:
    c = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: (c * A1())(u), (c,))
