"""(4.6) by construction: the frame, its dual, the signs, and the shrinkage that is an explicit step."""

import itertools
from collections.abc import Callable
from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    Euler,
    Filter,
    FramePDE,
    FrameStep,
    Rational,
    biorthogonal,
    bspline,
    dual_pair,
    extension_residual,
    run,
    tensor_product,
)

AXES = ((1, 0), (0, 1))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def wave(alpha: tuple[int, ...], x: list[Tensor]) -> Tensor:
    """d^alpha of prod_i sin(2 pi x_i + i)."""
    total = torch.ones_like(x[0])
    for i, (a, y) in enumerate(zip(alpha, x, strict=True)):
        total = total * (2 * pi) ** a * torch.sin(2 * pi * y + i + a * pi / 2)
    return total


def points(N: int, d: int) -> list[Tensor]:
    return list(torch.meshgrid(*[torch.arange(N, dtype=torch.float64) / N] * d, indexing="ij"))


def first(Du: Tensor, u: Tensor) -> Tensor:
    return Du


# ---- the sign and the scale of every term -----------------------------------------------------------------------


@pytest.mark.paper("(4.6)", "Prop 4.1")
@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        ((1,), (0,)),
        ((0,), (1,)),
        ((1,), (1,)),
        ((2,), (1,)),
        ((3,), (2,)),
        ((1, 0), (1, 0)),
        ((1, 0), (0, 1)),
        ((2, 0), (0, 0)),
        ((1, 1), (1, 1)),
        ((0, 0), (1, 2)),
        ((1, 0, 0), (0, 1, 1)),
    ],
    ids=str,
)
def test_each_term_tends_to_its_derivatives(alpha: tuple, beta: tuple) -> None:
    """(-1)^{|alpha|} gamma~ W~^T gamma W u -> d^{alpha + beta} u, sign included, at second order in h."""
    errors, d = [], len(alpha)
    for N in (16, 32) if d < 3 else (10, 20):
        x = points(N, d)
        F = FramePDE([alpha], [beta], first, 1 / N)
        exact = wave(tuple(a + b for a, b in zip(alpha, beta, strict=True)), x)
        errors.append(float((F(wave((0,) * d, x)) - exact).abs().max() / exact.abs().max()))
    assert errors[1] < 0.12
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.15


@pytest.mark.paper("(4.6)")
def test_an_odd_order_by_hand() -> None:
    """u_t = d_1(c u) with Haar filters, h = 1/2: minus the transpose of the cell difference, of the mean of a cell."""
    u, h = random(6, 7), 0.5
    F = FramePDE([(1, 0)], [(0, 0)], lambda Du, u: 3 * Du, h)
    at = lambda u, i, j: torch.roll(u, (-i, -j), (0, 1))  # noqa: E731
    mean = (u + at(u, 1, 0) + at(u, 0, 1) + at(u, 1, 1)) / 4
    half = (mean + at(mean, 0, -1)) / 2
    torch.testing.assert_close(F(u), 3 * (half - at(half, -1, 0)) / h, rtol=0, atol=1e-13)


# ---- the frames -------------------------------------------------------------------------------------------------


def coupled(Du: Tensor, u: Tensor) -> Tensor:
    """Something of no form at all: every term depends on all derivatives and on u."""
    total = Du.square().sum(-3, keepdim=True)
    return torch.sin(u).unsqueeze(-3) * Du / (1 + total) + 0.1 * Du.flip(-3)


EQUATIONS: dict[str, tuple[list, list, dict]] = {
    "haar": (list(AXES), list(AXES), {}),
    "linear": (list(AXES), list(AXES), {"bank": bspline(2)}),
    "reflect": (list(AXES), list(AXES), {"bank": bspline(2), "boundary": "reflect"}),
    "second": ([(2, 0), (1, 1)], [(2, 0), (1, 1)], {}),
    "cubic": ([(3, 0), (0, 4)], [(3, 0), (0, 4)], {}),
    "crossed": (list(AXES), list(AXES[::-1]), {}),
    "twice": ([(1, 0), (1, 0)], [(1, 0), (1, 0)], {}),
    "low": ([(1, 0), (0, 0)], [(0, 0), (1, 1)], {}),
    "lopsided": (
        [(1, 0), (0, 0)],
        [(1, 0), (0, 1)],
        {
            "analysis": [Filter([[-1.0], [1.0]], (0, 0)), Filter([[-3.0, 4.0, -1.0]], (0, 0))],
            "synthesis": [Filter([[-1.0], [1.0]], (-1, 0)), Filter([[0.25, 0.75]], (0, -1))],
        },
    ),
}
equations = pytest.mark.parametrize("name", EQUATIONS)


@equations
@pytest.mark.paper("(4.6)", "(4.5)", "(2.3)")
def test_one_shrinkage_is_one_explicit_step(name: str) -> None:
    """W~^T W = I, and thirty steps of W~^T S(W u) and of u + tau F(u) agree; with a batch, too."""
    alphas, betas, how = EQUATIONS[name]
    F = FramePDE(alphas, betas, coupled, 0.8, **how)
    u = random(2, 9, 10)
    torch.testing.assert_close(F.dual.T(F.W(u)), u, rtol=0, atol=1e-13)
    if F.W.dual_bank is not None:
        assert extension_residual(F.W.bank, F.W.dual_bank)[0] < 1e-14
    tau = 1e-3
    explicit = run(Euler(F, tau), u, k=30).u
    torch.testing.assert_close(run(F.shrinkage(tau), u, k=30).u, explicit, rtol=0, atol=1e-12)
    assert (explicit - u).abs().max() > 1e-4
    torch.testing.assert_close(F(u)[1], F(u[1]), rtol=0, atol=1e-11)


def test_which_frame_is_taken() -> None:
    """Tight where alphas = betas without repetition, of the least order; a pair with u as its band 0 else."""
    tight = {"haar": 1, "linear": 2, "reflect": 2, "second": 2, "cubic": 4}
    for name, (alphas, betas, how) in EQUATIONS.items():
        F = FramePDE(alphas, betas, first, **how)
        assert F.W.tight == (name in tight), name
        if F.W.tight:
            assert len(F.W.bank) == tight[name] + 1
            assert [F.W.bands[i].ell for i in F.band] == [tuple(beta) for beta in betas]
        else:
            u = random(8, 8)
            assert torch.equal(F.W(u)[0], u)
            assert F.band == list(range(1, len(betas) + 1))


@pytest.mark.paper("(2.3)")
def test_the_dual_pair_of_any_filters() -> None:
    """sum_l q~_l^ conj q_l^ = 1 for random taps, at random frequencies; not symmetric, so that a flip would be seen."""
    rng = np.random.default_rng(3)
    for d in (1, 2):
        a = [Filter(rng.normal(size=(3,) * d), rng.integers(-2, 2, d).tolist()) for _ in range(3)]
        b = [Filter(rng.normal(size=(2,) * d), rng.integers(-2, 2, d).tolist()) for _ in range(3)]
        bank, dual = dual_pair(a, b)
        w = rng.uniform(-pi, pi, (d, 50))
        total = sum(q.symbol(*w) * np.conj(p.symbol(*w)) for p, q in zip(bank, dual, strict=True))
        np.testing.assert_allclose(total, 1, atol=1e-12)
        assert dual[1:] == tuple(b) and bank[1:] == tuple(a)


def test_other_dual_pairs_and_zero_filters() -> None:
    """Filters from a biorthogonal bank; a term whose synthesis filter is 0 feeds Phi and is fed nothing."""
    q = biorthogonal(3, 1)[0][1]  # one vanishing moment, off centre
    low = Filter([1.0])
    analysis = [tensor_product(q, low), tensor_product(low, q)]
    nothing = Filter([[0.0]])
    F = FramePDE(AXES, AXES, lambda Du, u: Du * Du.flip(-3), 1.0, analysis=analysis, synthesis=[analysis[0], nothing])
    G = FramePDE(
        AXES, AXES, lambda Du, u: torch.stack([Du[0] * Du[1], 0 * u]), 1.0, analysis=analysis, synthesis=analysis
    )
    u = random(9, 9)
    torch.testing.assert_close(F(u), G(u), rtol=0, atol=1e-12)
    assert F.gamma_dual[1] == 0


# ---- the shrinkage ----------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.4)", "(4.6)")
def test_the_level_is_that_of_the_diffusivity() -> None:
    """For Phi_l = g_l(|grad u|^2, u) d_l u: lambda = tau gamma~ gamma g, where u = W^T d enters g, too."""
    tau, h = 0.02, 0.5

    def g(s: Tensor, u: Tensor) -> Tensor:
        return 1 / (1 + s) + u.square().unsqueeze(-3)

    F = FramePDE(AXES, AXES, lambda Du, u: g(Du.square().sum(-3, keepdim=True), u) * Du, h)
    S, u = FrameStep(F, tau), random(8, 8)
    d = F.W(u)
    s = 16 * (d[1] ** 2 + d[2] ** 2)
    level = tau * 16 * (1 / (1 + s) + u**2)
    torch.testing.assert_close(S.level(d)[1], level, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(S.level(d)[2], level, rtol=1e-10, atol=1e-12)
    assert torch.count_nonzero(S.level(d)[[0, 3]]) == 0
    torch.testing.assert_close(S(d), d * (1 - S.level(d)), rtol=0, atol=1e-13)
    zero = torch.zeros_like(d)
    assert torch.equal(S.level(zero), zero)


def test_the_mean_is_kept_where_every_alpha_is_a_derivative() -> None:
    u = random(9, 8)
    for name, (alphas, betas, how) in EQUATIONS.items():
        F = FramePDE(alphas, betas, coupled, **how)
        assert F.keeps_mean == all(map(any, alphas)), name
        assert (F(u).sum().abs() < 1e-11) == F.keeps_mean, name


def test_types_devices_and_derivatives() -> None:
    g = Rational(1.0)

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        return g(Du.square().sum(-3, keepdim=True)) * Du

    for alphas in (AXES, AXES[::-1]):
        F = FramePDE(alphas, AXES, Phi, 0.5, max_dt=0.1)
        assert F.max_dt == 0.1
        assert F(torch.randn(6, 6)).dtype == torch.float32
        assert torch.autograd.gradcheck(F, (random(4, 4).requires_grad_(),))
        assert torch.autograd.gradcheck(F.shrinkage(0.01), (random(4, 4).requires_grad_(),))
    theta = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    learned = FramePDE(AXES, AXES, lambda Du, u: theta * Du)
    learned(random(5, 5)).square().sum().backward()
    assert theta.grad.abs() > 0


REACTIONS: list[tuple[str, Callable[[Tensor], Tensor]]] = [("logistic", lambda u: u * (1 - u)), ("decay", lambda u: -u)]


@pytest.mark.parametrize(("name", "R"), REACTIONS, ids=[name for name, _ in REACTIONS])
def test_a_reaction_term(name: str, R: Callable) -> None:
    """u_t = Laplace u + R(u): R goes into a term with alpha = 0, beta != 0, by a delta, and is met exactly."""
    delta = Filter([[1.0]])
    haar = [tensor_product(*(bspline(1)[i] for i in index)) for index in AXES]

    def Phi(Du: Tensor, u: Tensor) -> Tensor:
        return torch.cat([Du[..., :2, :, :], R(u).unsqueeze(-3)], -3)

    F = FramePDE((*AXES, (0, 0)), (*AXES, (1, 0)), Phi, analysis=[*haar, haar[0]], synthesis=[*haar, delta])
    heat = FramePDE(AXES, AXES, first)
    u = random(7, 8)
    torch.testing.assert_close(F(u), heat(u) + R(u), rtol=0, atol=1e-12)
    torch.testing.assert_close(F.shrinkage(0.1)(u), u + 0.1 * F(u), rtol=0, atol=1e-13)


def test_all_pairs_of_orders_up_to_two_have_a_frame() -> None:
    """In one dimension and in the plane: W~^T W = I for every alpha and beta, not both 0."""
    for d in (1, 2):
        indices = list(itertools.product(range(3), repeat=d))
        u = random(*[7] * d)
        for alpha, beta in itertools.product(indices, repeat=2):
            if any(alpha) or any(beta):
                F = FramePDE([alpha], [beta], first)
                torch.testing.assert_close(F.dual.T(F.W(u)), u, rtol=0, atol=1e-13)
