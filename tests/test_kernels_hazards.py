"""Where a loop must not be taken, or would read what is not there: the answer is that of the readable form."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from companion import (
    PDHG,
    ROF,
    Diffusion,
    Euler,
    Exponential,
    FrameletTransform,
    Gradient,
    GroupL1,
    Hard,
    LeastSquares,
    LinearOperator,
    PeronaMalik,
    Problem,
    Shrinkage,
    Soft,
    SplitBregman,
    bspline,
    run,
)
from companion.flows.diffusivities import Diffusivity
from companion.flows.splitting import Split
from companion.kernels import diffusion, loop, use

pytest.importorskip("numba")


def both(make: Any) -> None:
    """make() with loops and without."""
    with use(False):
        expected = make()
    with use(True):
        torch.testing.assert_close(make(), expected, rtol=1e-9, atol=1e-9)


def test_split_bregman_from_one_picture_for_a_batch() -> None:
    f = torch.rand(3, 8, 9, dtype=torch.float64)
    both(lambda: run(SplitBregman(ROF(f, 0.1)), torch.zeros(8, 9, dtype=torch.float64), k=3).u)


@pytest.mark.parametrize("R", [GroupL1(0.1, axis=-3, sizes=(1, 1)), GroupL1(torch.tensor([0.1, 0.3]), -3, (1, 1))])
def test_split_bregman_with_other_groups(R: GroupL1) -> None:
    f = torch.rand(8, 9, dtype=torch.float64)
    both(lambda: run(SplitBregman(Problem(LeastSquares(f), R, Gradient()), rho=1.0), f, k=3).u)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("shape", [(8, 9), (3, 1, 7), (2, 5, 1), (2, 3, 4, 6)])
def test_split_bregman_with_another_step_of_the_grid(boundary: str, shape: tuple[int, ...]) -> None:
    """Differences over h = 1/2, from a state that no step has made."""
    f, K = torch.rand(shape, dtype=torch.float64), Gradient(0.5, boundary=boundary)
    step = SplitBregman(Problem(LeastSquares(f, weight=3.0), GroupL1(0.1, axis=-3), K), rho=0.7)
    s = Split(f, torch.rand_like(K(f)), torch.rand_like(K(f)))
    both(lambda: tuple(step(step(s))))


def test_split_bregman_keeps_no_stale_symbol() -> None:
    """A rho changed in place, and one put in its place, are seen by the next step."""
    f = torch.rand(8, 9, dtype=torch.float64)
    step, others = SplitBregman(ROF(f, 0.1), rho=1.0), [SplitBregman(ROF(f, 0.1), rho=rho) for rho in (1.0, 2.0, 3.0)]
    s = step(step.start(f))
    for rho, other in zip((1.0, 2.0, 3.0), others, strict=True):
        step.rho.fill_(rho) if rho < 3 else setattr(step, "rho", torch.tensor(rho, dtype=step.rho.dtype))
        torch.testing.assert_close(step(s).x, other(s).x, rtol=1e-12, atol=1e-12)


def test_a_step_of_ones_own_is_taken() -> None:
    class Clamped(Euler):
        def forward(self, u: Tensor) -> Tensor:
            return super().forward(u).clamp(0.4, 0.6)

    class Decay(Euler):
        def slope(self, u: Tensor, c: float = 0.0) -> Tensor:
            return -u

    u, F = torch.rand(8, 9, dtype=torch.float64), PeronaMalik(Exponential(0.3))
    s = Clamped(F, 0.2)
    torch.testing.assert_close(run(s, u, k=3).u, s(s(s(u))))
    torch.testing.assert_close(Decay(F, 0.2)(u), 0.8 * u)
    seen: list[int] = []
    step = Euler(F, 0.2)
    step.register_forward_hook(lambda *_: seen.append(1))
    run(step, u, k=3)
    assert len(seen) == 3


def test_overrides_and_hooks_are_not_passed_by() -> None:
    class Still(PeronaMalik):
        def diffusivity(self, u: Tensor) -> Tensor:
            return 0 * super().diffusivity(u)

    class Twice(FrameletTransform):
        def forward(self, u: Tensor) -> Tensor:
            return 2 * super().forward(u)

    u = torch.rand(9, 8, dtype=torch.float64)
    both(lambda: Still(Exponential(0.3), sigma=1.0)(u))
    both(lambda: Shrinkage(Twice(bspline(1)), Soft(FrameletTransform(bspline(1)).weights(0.1)))(u))
    S, seen = Soft(FrameletTransform(bspline(1)).weights(0.1)), []
    S.register_forward_hook(lambda *_: seen.append(1))
    with use(True):
        Shrinkage(FrameletTransform(bspline(1)), S)(u)
    assert seen == [1]


def test_forward_derivatives_with_respect_to_numbers() -> None:
    u, one = torch.rand(9, 8, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    with use(True), forward_ad.dual_level():
        g = Exponential(0.3)
        g.sigma = forward_ad.make_dual(g.sigma.clone(), one)
        assert forward_ad.unpack_dual(Diffusion(g)(u)).tangent is not None


@pytest.mark.parametrize("op", [FrameletTransform(bspline(1)), Gradient(), Gradient().T], ids=["W", "D", "D^T"])
def test_forward_derivatives_of_a_gradient(op: LinearOperator) -> None:
    """d/dt of the gradient of sum t A u is A^T 1."""
    u = torch.rand(2, 7, 8, dtype=torch.float64, requires_grad=True)
    one = torch.ones((), dtype=torch.float64)

    def slope() -> Tensor:
        with forward_ad.dual_level():
            (g,) = torch.autograd.grad((forward_ad.make_dual(one, one) * op(u)).sum(), u)
            tangent = forward_ad.unpack_dual(g).tangent
            assert tangent is not None
            return tangent

    both(slope)


def test_many_gradients_under_forward_derivatives() -> None:
    """Of plain numbers, beside which dual ones exist."""
    W, u = FrameletTransform(bspline(1)), torch.rand(7, 8, dtype=torch.float64, requires_grad=True)
    V = torch.randn(3, 4, 7, 8, dtype=torch.float64)
    with use(True), forward_ad.dual_level():
        (found,) = torch.autograd.grad(W(u), u, V, is_grads_batched=True)
        torch.testing.assert_close(found, W.adjoint(V), rtol=1e-9, atol=1e-9)


def test_split_bregman_for_many_weights_by_vmap() -> None:
    f = torch.rand(9, 11, dtype=torch.float64)
    step = SplitBregman(Problem(LeastSquares(f), GroupL1(0.1), Gradient(boundary="periodic")), rho=1.0)
    s = step.start(f)

    def solved(lam: Tensor) -> Tensor:
        return torch.func.functional_call(step, {"problem.R.lam": lam}, (s,)).d

    lam = torch.tensor([0.1, 0.2], dtype=torch.float64)
    with use(True):
        found = torch.func.vmap(solved)(lam)
    torch.testing.assert_close(found, torch.stack([solved(v) for v in lam]), rtol=1e-9, atol=1e-9)


def test_a_weight_of_zero() -> None:
    """Then a loop would divide 0 by 0."""
    f = torch.rand(9, 11, dtype=torch.float64)
    f[:4] = 0.5
    problem = Problem(LeastSquares(f), GroupL1(0.0), Gradient(boundary="periodic"))
    for method in (PDHG(problem), SplitBregman(problem, rho=1.0)):
        with use(True):
            assert run(method, f, k=3).u.isfinite().all()
        both(lambda: run(method, f, k=3).u)  # noqa: B023


def test_views_of_complex_numbers_and_empty_batches() -> None:
    z = torch.randn(9, 8, dtype=torch.cdouble).conj().imag
    W = FrameletTransform(bspline(1))
    both(lambda: W(z))
    both(lambda: W.T(torch.stack([z] * 4)))
    both(lambda: Shrinkage(W, Soft(W.weights(0.1)))(z))
    both(lambda: Euler(PeronaMalik(Exponential(0.3)), 0.2).power(torch.rand(0, 5, 6), 3))


def test_numbers_at_the_end_of_float32() -> None:
    u = torch.rand(9, 8)
    W = FrameletTransform(bspline(1))
    for make in (
        lambda: Shrinkage(W, Hard(W.weights(1e39)))(u),
        lambda: PeronaMalik(Exponential(1e-21))(1e-21 * u),
    ):
        with use(True):
            assert bool(torch.isfinite(make()).all())


@loop
def exponential(s: Any, a: Any, b: Any) -> Any:
    """A law of another formula under a known name."""
    return 0 * s + a


class Constant(Diffusivity):
    def forward(self, s: Tensor) -> Tensor:
        return 2 + 0 * s

    def law(self) -> diffusion.Law:
        return exponential, 2.0, 0.0


def test_a_law_from_elsewhere_has_a_loop_of_its_own() -> None:
    u = torch.rand(9, 8, dtype=torch.float64)
    both(lambda: PeronaMalik(Exponential(0.3))(u))
    both(lambda: PeronaMalik(Constant())(u))


def test_learned_numbers_are_learned_by_split_bregman() -> None:
    f = torch.rand(8, 9, dtype=torch.float64)
    R = GroupL1(0.1)
    lam = R.lam
    del R.lam
    R.lam = nn.Parameter(lam.clone())
    with use(True):
        assert run(SplitBregman(Problem(LeastSquares(f), R, Gradient()), rho=1.0), f, k=3).u.requires_grad
