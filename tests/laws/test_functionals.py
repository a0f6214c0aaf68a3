"""What every functional obeys: prox is the minimiser, grad the derivative, F* the conjugate; batches, types, devices.

A proximal map is tested by its variational inequality, never by Moreau's identity alone, which holds for any map at all
where prox of F* is defined through it.
"""

from collections.abc import Callable
from math import inf, isinf, prod

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from companion import (
    KL,
    L1,
    Blur,
    Box,
    Composed,
    FrameLeastSquares,
    FrameletTransform,
    Functional,
    GaussianNoise,
    GroupBall,
    GroupL1,
    Identity,
    LaplacianNoise,
    LeastSquares,
    Mask,
    PoissonNoise,
    bspline,
    data_term,
    gaussian_kernel,
)
from tests.laws.registry import FUNCTIONALS, FunctionalExample, data, dense, public_subclasses, some

TAUS = (0.02, 0.7, 30.0)
HAAR = FrameletTransform(bspline(1))


def names(examples: list[FunctionalExample]) -> Callable:
    return pytest.mark.parametrize("example", examples, ids=lambda example: example.name)


every = names(FUNCTIONALS)
convex = names([example for example in FUNCTIONALS if example.make().convex])
proximal = names([example for example in FUNCTIONALS if example.make().proximal and example.make().convex])
curved = names([example for example in FUNCTIONALS if not example.make().convex])
smooth = names([example for example in FUNCTIONALS if example.make().smooth])
conjugable = names([example for example in FUNCTIONALS if example.conjugate])
with_grad = names([example for example in FUNCTIONALS if example.make().smooth or example.positive])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()


def around(p: Tensor, v: Tensor) -> list[Tensor]:
    """Points that might be better than p: near and far, one entry or all of them moved, and on the way to v."""
    entry = torch.zeros_like(p).flatten()
    entry[torch.randint(p.numel(), ())] = 1
    moves = [random(*p.shape), entry.reshape(p.shape), -entry.reshape(p.shape), v - p, p - v, p.abs() - p, -p]
    return [p + size * move for move in moves for size in (1e-4, 1e-2, 1.0)]


def minimises(F: Callable[[Tensor], Tensor], p: Tensor, v: Tensor, tau: float) -> None:
    """p = argmin_w F(w) + |w - v|^2 / (2 tau), F convex: F(w) >= F(p) + <v - p, w - p> / tau for every w."""
    value = F(p)
    assert value.isfinite()
    for w in around(p, v):
        rounding = 1e-10 * (1 + abs(value) + inner(v - p, v - p) / tau)
        assert F(w) >= value + inner(v - p, w - p) / tau - rounding


def test_every_functional_has_an_example() -> None:
    seen = {type(example.make()) for example in FUNCTIONALS}
    missing = sorted(cls.__name__ for cls in public_subclasses(Functional) - seen)
    assert not missing, f"Register an example of {', '.join(missing)} in tests/laws/registry.py."


def test_names_of_examples_differ() -> None:
    labels = [example.name for example in FUNCTIONALS]
    assert len(set(labels)) == len(labels)


# ---- the value --------------------------------------------------------------------------------------------------


@every
def test_the_value_is_one_number(example: FunctionalExample) -> None:
    assert example.make()(example.input()).shape == ()


@curved
def test_what_is_said_not_to_be_convex_is_not(example: FunctionalExample) -> None:
    """Some chord lies below the graph."""
    F, found = example.make(), False
    for size in torch.logspace(-5, 2, 200, dtype=torch.float64):
        v = size * random(*example.shape)
        found |= bool(F(1.2 * v) + F(0.8 * v) < 2 * F(v) * (1 - 1e-9))
    assert found


@convex
def test_the_value_is_convex(example: FunctionalExample) -> None:
    F = example.make()
    for _ in range(5):
        v, w, t = example.input(), example.input(), float(torch.rand(()))
        bound = (1 - t) * F(v) + t * F(w)
        assert F((1 - t) * v + t * w) <= bound + 1e-12 * (1 + abs(bound)) or isinf(bound)


@every
def test_a_batch_is_the_sum_of_its_parts(example: FunctionalExample) -> None:
    """One problem in the product space: values add up, and each member has its own gradient and proximal point."""
    F, v = example.make(), example.input(2, 3)
    parts = list(v.flatten(0, 1))

    def stacked(act: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack([act(part) for part in parts]).reshape(v.shape)

    total = sum(F(part) for part in parts)
    assert F(v) == total or abs(F(v) - total) <= 1e-12 * abs(total)
    if F.smooth or example.positive:
        torch.testing.assert_close(F.grad(v), stacked(F.grad), rtol=1e-11, atol=1e-11)
    if F.proximal:
        p = F.prox(v, 0.7)
        torch.testing.assert_close(p, stacked(lambda x: F.prox(x, 0.7)), rtol=1e-11, atol=1e-11)
    if F.proximal and F.convex:
        q = stacked(lambda x: F.prox_conjugate(x, 0.7))
        torch.testing.assert_close(F.prox_conjugate(v, 0.7), q, rtol=1e-11, atol=1e-11)
        if example.conjugate:
            dual = (v - p) / 0.7
            total = sum(F.conjugate(part) for part in dual.flatten(0, 1))
            torch.testing.assert_close(F.conjugate(dual), total, rtol=1e-11, atol=1e-11)


@every
def test_the_type_follows_the_argument(example: FunctionalExample) -> None:
    """... also where data and weights are of double precision; moved to float32 the functional is the same."""
    F, v = example.make(), example.input()
    moved = example.make().to(torch.float32)
    acts: list[Callable[[Functional, Tensor], Tensor]] = [lambda F, v: F(v)]
    if F.smooth or example.positive:
        acts.append(lambda F, v: F.grad(v))
    if F.proximal:
        acts.append(lambda F, v: F.prox(v, 0.7))
    if F.proximal and F.convex:
        acts.append(lambda F, v: F.prox_conjugate(v, 0.7))
    if example.conjugate:
        acts.append(lambda F, v: F.conjugate(F.prox_conjugate(v, 0.7)))
    for act in acts:
        exact, single = act(F, v), act(F, v.float())
        assert single.dtype == torch.float32
        scale = max(1.0, float(exact.abs().max())) if exact.isfinite().all() else 1.0
        torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-5 * scale)
        assert act(moved, v.float()).dtype == torch.float32
        torch.testing.assert_close(act(moved, v.float()), single, rtol=1e-4, atol=1e-5 * scale)
        assert act(moved, v).dtype == torch.float64


@every
def test_the_device_follows_the_argument(example: FunctionalExample) -> None:
    """The meta device computes shapes only, and refuses a tensor left behind on another device."""
    F, v = example.make().to("meta"), example.input(2).to("meta")
    if not isinstance(
        F, (Box, GroupBall)
    ):  # whether a point lies in a box or a ball is a question that shapes do not answer
        assert F(v).device.type == "meta"
    if F.smooth or example.positive:
        assert F.grad(v).shape == v.shape
    if F.proximal and not F.smooth:  # a solve looks at numbers
        assert F.prox(v, 0.7).shape == v.shape
        assert not F.convex or F.prox_conjugate(v, 0.7).shape == v.shape


@every
def test_nothing_is_changed_in_place(example: FunctionalExample) -> None:
    F, v = example.make(), example.input(2)
    buffers, before = {name: b.clone() for name, b in F.named_buffers()}, v.clone()
    F(v)
    if F.smooth:
        F.grad(v)
    if F.proximal:
        F.prox(v, 0.7)
    if F.proximal and F.convex:
        F.prox_conjugate(v, 0.7)
    assert torch.equal(v, before)
    assert all(torch.equal(b, buffers[name]) for name, b in F.named_buffers())


# ---- the gradient -----------------------------------------------------------------------------------------------


@with_grad
def test_the_gradient_is_the_derivative(example: FunctionalExample) -> None:
    F, v = example.make(), example.input(2).requires_grad_()
    (slope,) = torch.autograd.grad(F(v), v)
    torch.testing.assert_close(F.grad(v.detach()), slope, rtol=1e-11, atol=1e-11)


@smooth
def test_the_gradient_is_lipschitz_with_the_constant_that_is_claimed(example: FunctionalExample) -> None:
    """All smooth examples are quadratic: the constant is the largest eigenvalue of the Hessian, made dense."""
    F = example.make()
    n, zero = prod(example.shape), torch.zeros(example.shape, dtype=torch.float64)
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *example.shape)
    hessian = (F.grad(basis) - F.grad(zero)).reshape(n, n)
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-12)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert eigenvalues[0] > -1e-12
    assert eigenvalues[-1] * (1 - 2e-3) <= F.lipschitz() <= eigenvalues[-1] * (1 + 1e-12)


@every
def test_without_a_lipschitz_gradient_the_constant_is_infinite(example: FunctionalExample) -> None:
    F = example.make()
    assert (F.lipschitz() < inf) == F.smooth


# ---- the proximal map -------------------------------------------------------------------------------------------


@proximal
def test_the_proximal_point_is_the_minimiser(example: FunctionalExample) -> None:
    F = example.make()
    for tau in TAUS:
        for size in (0.1, 3.0):
            v = size * random(*example.shape)
            minimises(F, F.prox(v, tau), v, tau)


@proximal
def test_the_proximal_map_is_firmly_nonexpansive(example: FunctionalExample) -> None:
    F = example.make()
    for tau in TAUS:
        v, w = random(*example.shape), random(*example.shape)
        moved = F.prox(v, tau) - F.prox(w, tau)
        assert inner(moved, moved) <= inner(moved, v - w) + 1e-12 * inner(v - w, v - w)


@curved
def test_the_proximal_point_is_the_global_minimiser(example: FunctionalExample) -> None:
    """Without convexity no inequality tells: no point near or far, and none on the way to 0, has a lower objective."""
    F = example.make()
    for tau in TAUS:
        for size in (0.1, 1.0, 5.0):
            v = size * random(*example.shape)
            p = F.prox(v, tau)
            best = F(p) + (p - v).square().sum() / (2 * tau)
            for w in (
                *around(p, v),
                *(t * v for t in torch.linspace(0, 1, 21)),
                F.prox(v, 2 * tau),
                F.prox(v, tau / 2),
            ):
                assert F(w) + (w - v).square().sum() / (2 * tau) >= best * (1 - 1e-12)


@proximal
def test_gradients_flow_through_the_proximal_map(example: FunctionalExample) -> None:
    """Away from the kinks, where a random point lies."""
    F, v = example.make(), example.input().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: F.prox(v, 0.7), (v,), fast_mode=True)
    assert torch.autograd.gradcheck(lambda v: F.prox_conjugate(v, 0.7), (v,), fast_mode=True)


def test_gradients_of_the_group_norm_at_zero_are_finite() -> None:
    v = torch.zeros(2, 3, 3, dtype=torch.float64, requires_grad=True)
    F = GroupL1(0.5)
    for value in (F(v), F.prox(v, 0.7).sum(), F.prox_conjugate(v, 0.7).sum()):
        (slope,) = torch.autograd.grad(value, v)
        assert slope.isfinite().all()


@every
def test_weights_and_data_may_become_parameters(example: FunctionalExample) -> None:
    """What a learned functional learns are the buffers of the designed one."""
    F = example.make()
    v = example.input()
    before = F(v)
    learned = []
    for module in list(F.modules()):
        if isinstance(module, Functional):
            for name, b in list(module.named_buffers(recurse=False)):
                setattr(module, name, nn.Parameter(b.clone()))
                learned.append(getattr(module, name))
    assert torch.equal(F(v), before)
    if learned:
        (F.prox(v, 0.7).square().sum() if F.proximal else F(v)).backward()
        assert any(theta.grad is not None for theta in learned)
        assert all(theta.grad is None or theta.grad.isfinite().all() for theta in learned)


# ---- the conjugate ----------------------------------------------------------------------------------------------


@conjugable
def test_fenchel_and_young(example: FunctionalExample) -> None:
    """F(v) + F*(p) >= <v, p> for every pair, with equality where p is a slope of F at v."""
    F = example.make()
    for tau in TAUS:
        v = 2 * random(*example.shape)
        x = F.prox(v, tau)
        p = (v - x) / tau  # a subgradient of F at x
        equal = F(x) + F.conjugate(p) - inner(x, p)
        assert abs(equal) < 1e-9 * (1 + abs(F(x)) + abs(inner(x, p)))
        for w in (v, *around(x, v)):
            size = 1 + F(x).abs() + (F(w).abs() if F(w).isfinite() else 0)
            assert F(w) + F.conjugate(p) >= inner(w, p) - 1e-9 * size
        for q in around(p, v):
            assert F(x) + F.conjugate(q) >= inner(x, q) - 1e-9 * (1 + F(x).abs() + inner(x, q).abs())


@names([example for example in FUNCTIONALS if example.conjugate and example.make().smooth])
def test_the_slope_of_a_smooth_functional_attains_the_conjugate(example: FunctionalExample) -> None:
    F, v = example.make(), example.input()
    p = F.grad(v)
    torch.testing.assert_close(F.conjugate(p), inner(v, p) - F(v), rtol=1e-10, atol=1e-10)


@conjugable
def test_the_proximal_point_of_the_conjugate_is_its_minimiser(example: FunctionalExample) -> None:
    """By the variational inequality for F* itself, whose values are known."""
    F = example.make()
    for sigma in TAUS:
        for size in (0.1, 3.0):
            p = size * random(*example.shape)
            q = F.prox_conjugate(p, sigma)
            minimises(F.conjugate, q, p, sigma)
            for r in (F.prox_conjugate(random(*p.shape), 2.0), torch.zeros_like(p)):  # points where F* is finite
                assert F.conjugate(r) >= F.conjugate(q) + inner(p - q, r - q) / sigma - 1e-9 * (1 + inner(p, p))


@proximal
def test_moreau(example: FunctionalExample) -> None:
    """p = prox_{sigma F*}(p) + sigma prox_{F / sigma}(p / sigma), also where one of the two has a form of its own."""
    F = example.make()
    for sigma in TAUS:
        p = random(*example.shape)
        torch.testing.assert_close(F.prox_conjugate(p, sigma) + sigma * F.prox(p / sigma, 1 / sigma), p)


# ---- one by one -------------------------------------------------------------------------------------------------


def test_soft_thresholding_in_numbers() -> None:
    v = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0], dtype=torch.float64)
    assert L1(2.0).prox(v, 0.5).tolist() == [-2.0, 0.0, 0.0, 0.0, 2.0]
    assert L1(2.0, torch.ones(5, dtype=torch.float64)).prox(v, 0.5).tolist() == [-2.0, 0.5, 1.0, 1.0, 2.0]


def test_where_nothing_is_charged_a_multiplier_is_exactly_zero() -> None:
    """lam = 0 on the average: a multiplier of size 1e-17 there would make every duality gap infinite."""
    p = random(4, 5, 5)
    for sigma in (0.3, 1.0, 7.7):
        for R in (L1(HAAR.weights(0.2)), GroupL1(torch.tensor([0.0, 0.2]), sizes=(1, 3))):
            q = R.prox_conjugate(p, sigma)
            assert torch.count_nonzero(q[0]) == 0
            assert R.conjugate(q) == 0
            assert R.conjugate(q + 1e-12) == inf


def test_groups_are_shortened_in_their_own_direction() -> None:
    v = torch.tensor([3.0, 4.0], dtype=torch.float64).reshape(2, 1, 1)
    torch.testing.assert_close(GroupL1(2.0).prox(v, 0.5), 0.8 * v)
    assert torch.count_nonzero(GroupL1(2.0).prox(v, 2.5)) == 0
    assert GroupL1(2.0)(v) == 10
    assert GroupL1(2.0)(random(3, 2, 4, 4)).shape == ()


def test_box_clips() -> None:
    F = Box(0.0, 1.0)
    assert F.prox(torch.tensor([-1.0, 0.3, 7.0]), 0.1).tolist() == pytest.approx([0.0, 0.3, 1.0])
    assert F(torch.tensor([0.0, 1.0])) == 0
    assert F(torch.tensor([0.0, 1.001])) == inf
    third = Box(0.1, 1 / 3)
    assert third(third.prox(torch.tensor([-1.0, 2.0]), 1.0)) == 0  # the bounds rounded as the picture is


def test_kl_at_the_border_of_its_domain() -> None:
    F = KL(torch.tensor([0.0, 2.0], dtype=torch.float64))
    assert F(torch.tensor([0.0, 2.0], dtype=torch.float64)) == pytest.approx(0)
    assert F(torch.tensor([0.5, 2.0], dtype=torch.float64)) == pytest.approx(0.5)
    assert F(torch.tensor([0.0, 0.0], dtype=torch.float64)) == inf
    assert F(torch.tensor([-1e-9, 2.0], dtype=torch.float64)) == inf


def test_kl_far_outside_its_domain_keeps_its_digits() -> None:
    """(b + sqrt(b^2 + 4 c)) / 2 with b = -90 and c = 1e-4 has no correct digit in float32."""
    f = torch.tensor([1e-5, 1e-3, 0.5])
    v = torch.tensor([-90.0, -90.0, -4000.0])
    F = KL(f, 1000.0)
    x = F.prox(v, 0.01)
    b, c = v.double() - 10, 10 * f.double()
    exact = 2 * c / ((b * b + 4 * c).sqrt() - b)
    torch.testing.assert_close(x.double(), exact, rtol=1e-6, atol=0)
    assert F(x) < inf


@pytest.mark.paper("(2.4)")
@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0, 7.0])
@pytest.mark.parametrize("name", ["mask", "blur", "blur-reflect", "fourier", "multiple"])
def test_24_the_smooth_part_written_out_in_matrices(name: str, kappa: float) -> None:
    """1/2 |A W^T d - f|^2 + kappa/2 |(I - W W^T) d|^2, its gradient, its constant and its proximal map.

    The solve with A^T A + rho is in closed form for a mask, a blur, a Fourier transform, else by conjugate gradients.
    """
    example = next(e for e in FUNCTIONALS if e.name == f"least-squares-{name}")
    term = example.make()
    F = FrameLeastSquares(term.A, term.f, HAAR, kappa)
    A, W = dense(term.A, example.shape), dense(HAAR, example.shape)
    n, f = W.shape[0], term.f.flatten()
    P = torch.eye(n, dtype=torch.float64) - W @ W.T
    H = W @ A.T @ A @ W.T + kappa * P
    for _ in range(3):
        v = random(4, *example.shape)
        d = v.flatten()
        value = ((A @ W.T @ d - f).square().sum() + kappa * (P @ d).square().sum()) / 2
        assert F(v).item() == pytest.approx(value.item(), rel=1e-12)
        torch.testing.assert_close(F.grad(v).flatten(), H @ d - W @ A.T @ f, rtol=0, atol=1e-12)
        for tau in TAUS:
            exact = torch.linalg.solve(H + torch.eye(n, dtype=torch.float64) / tau, W @ A.T @ f + d / tau)
            torch.testing.assert_close(F.prox(v, tau).flatten(), exact, rtol=0, atol=1e-9)
    assert F.lipschitz() == pytest.approx(torch.linalg.eigvalsh(H)[-1].item(), rel=2e-3)


def test_data_of_another_shape_are_refused_not_broadcast() -> None:
    """A column of 16 numbers is no picture of 16 x 16; one picture serves a batch, a batch does not serve one."""
    v = random(16, 16)
    for f in (random(16, 1), random(1, 16), random(2, 16, 16)):
        for F in (LeastSquares(f), L1(1.0, f), KL(f.abs())):
            acts = (F, lambda v, F=F: F.prox(v, 1.0), lambda v, F=F: F.prox_conjugate(v, 1.0))
            for act in acts:
                with pytest.raises(ValueError, match="data have shape"):
                    act(v)
    F = LeastSquares(random(16, 16))
    assert F.grad(random(2, 16, 16)).shape == (2, 16, 16)


# ---- likelihoods ------------------------------------------------------------------------------------------------


def log_likelihood(noise: nn.Module, f: Tensor, v: Tensor) -> float:
    """log p(f | v) by SciPy."""
    f, v = f.numpy(), v.numpy()
    if isinstance(noise, GaussianNoise):
        return float(scipy.stats.norm.logpdf(f, v, noise.sigma).sum())
    if isinstance(noise, LaplacianNoise):
        return float(scipy.stats.laplace.logpdf(f, v, noise.b).sum())
    return float(scipy.stats.poisson.logpmf((noise.peak * f).round(), noise.peak * v).sum())


@pytest.mark.paper("(1.1)")
@pytest.mark.parametrize("noise", [GaussianNoise(0.3), LaplacianNoise(0.2), PoissonNoise(20.0)], ids=str)
def test_11_the_data_term_is_the_likelihood(noise: nn.Module) -> None:
    """-log p(f | v) up to a constant: its differences between two pictures are SciPy's, with and without A."""
    u, w = torch.rand(6, 7, dtype=torch.float64) + 0.1, torch.rand(6, 7, dtype=torch.float64) + 0.1
    u[0, 0] = 1e-3
    A = Blur(gaussian_kernel(0.8, 2, 2))
    for f, at, F in (
        (noise(u), lambda v: v, data_term(noise, noise(u))),
        (noise(A(u)), A, data_term(noise, noise(A(u)), A)),
    ):
        ours = (F(u) - F(w)).item()
        theirs = log_likelihood(noise, f, at(w)) - log_likelihood(noise, f, at(u))
        assert ours == pytest.approx(theirs, rel=1e-10)
        assert F.domain().shape == u.shape


@pytest.mark.paper("(1.1)")
def test_11_the_scale_of_the_noise_is_the_weight() -> None:
    f = torch.rand(5, dtype=torch.float64)
    gauss, laplace, poisson = (data_term(n, f) for n in (GaussianNoise(0.5), LaplacianNoise(0.25), PoissonNoise(9.0)))
    assert isinstance(gauss, LeastSquares) and gauss.weight == 4
    assert isinstance(laplace, L1) and laplace.lam == 4
    assert isinstance(poisson, KL) and poisson.weight == 9
    assert isinstance(data_term(PoissonNoise(9.0), f, Identity()), Composed)
    assert isinstance(data_term(GaussianNoise(0.5), f, Identity()), LeastSquares)


def test_frames_with_a_kappa_need_a_projection() -> None:
    F = FrameLeastSquares(Mask(some(4, 5)), data(4, 5), HAAR, 2.0)
    d = random(4, 4, 5)
    complement = d - F.W(F.W.T(d))
    torch.testing.assert_close(F(d + complement) - F(d), 2.0 / 2 * 3 * complement.square().sum())
