"""div(D grad u) on a grid: Selling's decomposition of D into edges, and three stencils."""

import math

import pytest
import sympy
import torch
from torch import Tensor

from companion import (
    EdgeEnhancing,
    FastDecay,
    Heat,
    Scharr,
    Selling,
    Stencil,
    ThreeByThree,
    selling,
)
from companion.operators.lattice import THINNEST, edge_ends, total_weights
from companion.operators.stencils import STEEPEST

EYE = torch.eye(2, dtype=torch.float64)
STENCILS = (ThreeByThree(), Selling(), Scharr())
each_stencil = pytest.mark.parametrize("stencil", STENCILS, ids=repr)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def turned(theta: Tensor, across: Tensor | float, along: Tensor | float) -> Tensor:
    """across n n^T + along t t^T, n = (cos theta, sin theta): (2, 2, *shape)."""
    n = torch.stack([theta.cos(), theta.sin()])
    t = torch.stack([-theta.sin(), theta.cos()])
    return across * n[:, None] * n[None] + along * t[:, None] * t[None]


def tensors(condition: float, *shape: int) -> Tensor:
    """Random directions; eigenvalues 1 and between 1 / condition and 1."""
    theta = math.pi * torch.rand(*shape, dtype=torch.float64)
    return turned(theta, 1.0, condition ** -torch.rand(*shape, dtype=torch.float64))


def constant(matrix: Tensor, *shape: int) -> Tensor:
    return matrix[:, :, None, None].expand(2, 2, *shape).clone()


def eigenvalues(D: Tensor) -> Tensor:
    """(H, W, 2), the smaller one first."""
    return torch.linalg.eigvalsh(D.movedim((-4, -3), (-2, -1)))


def matrix(stencil: Stencil, D: Tensor) -> Tensor:
    """div(D grad .) with h = 1, as a matrix on the pixels."""
    H, W = D.shape[-2:]
    basis = torch.eye(H * W, dtype=torch.float64).reshape(-1, H, W)
    return stencil.divergence(D.expand(H * W, 2, 2, H, W), basis, 1.0).reshape(H * W, -1).T


def grid(n: int, h: float = 1.0) -> tuple[Tensor, Tensor]:
    g = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * h
    X, Y = torch.meshgrid(g, g, indexing="ij")
    return X, Y


# ---- Selling's decomposition ------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e3, 1e6])
def test_a_positive_tensor_is_a_sum_of_three_edges(condition: float) -> None:
    """rho >= 0; sum rho e e^T = D and sum rho |e|^2 = tr D to rounding; rho |e|^2 <= max and |e|^2 <= 2 condition."""
    D = tensors(condition, 60, 60)
    rho, e = selling(D)
    again = torch.einsum("khw,kihw,kjhw->ijhw", rho, e.double(), e.double())
    torch.testing.assert_close(again, D, rtol=0, atol=1e-15 * (1 + condition))
    length = e.square().sum(1)
    assert not e.is_floating_point() and float(rho.min()) >= 0
    torch.testing.assert_close((rho * length).sum(0), D[0, 0] + D[1, 1], rtol=0, atol=1e-15 * (1 + condition))
    low, high = eigenvalues(D).unbind(-1)
    assert float((rho * length - high).max()) <= 1e-12
    assert float((length - 2 * high / low).max()) <= 1e-6
    assert torch.equal(e.sum(0), torch.zeros_like(e[0]))  # the superbase, turned by 90 degrees
    det = e[0, 0] * e[1, 1] - e[0, 1] * e[1, 0]
    assert torch.equal(det.abs(), torch.ones_like(det))


def test_thin_tensors_are_widened_and_nothing_diffuses_backwards() -> None:
    """t t^T gets the eigenvalue 1e-6; 0 stays 0 to 1e-100; an eigenvalue below 0 is refused."""
    theta = torch.linspace(0, math.pi, 50, dtype=torch.float64)[None]
    rho, e = selling(turned(theta, 0.0, 1.0))
    again = torch.einsum("khw,kihw,kjhw->ijhw", rho, e.double(), e.double())
    low = eigenvalues(again)[..., 0]
    torch.testing.assert_close(low, torch.full_like(low, 1 / THINNEST), rtol=1e-3, atol=0)
    assert float((again - turned(theta, 0.0, 1.0)).abs().max()) <= 1.001 / THINNEST
    assert float(selling(constant(0 * EYE, 2, 2)).rho.abs().max()) < 1e-100
    with pytest.raises(ValueError, match=r"eigenvalues >= 0; this one has -0\.01"):
        selling(turned(theta, -0.01, 1.0))


def test_rho_is_continuous_and_has_the_derivative_of_a_linear_function() -> None:
    """rho e e^T along a path of tensors: no jump where the superbase changes; autograd passes gradcheck."""
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)[None]
    rho, e = selling(turned(theta, 0.05, 1.0))
    moments = torch.einsum("khw,kihw,kjhw,kihw,kjhw->ijhw", rho, *[e.double()] * 4)  # of fourth order in e: not D's
    assert float(moments.diff(dim=-1).abs().max()) < 0.02 < float(moments.max() - moments.min())
    D = tensors(20.0, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda D: selling(D + D.transpose(0, 1)).rho, D)


# ---- the stencils: weights, order, extrema ----------------------------------------------------------------------


@each_stencil
def test_the_stencil_is_symmetric_and_kills_constants(stencil: Stencil) -> None:
    """M = M^T and M 1 = 0: no flux through the border, the mean is kept; M is bounded by 2 / limit."""
    for condition in (3.0, 30.0, 1e4):
        M = matrix(stencil, tensors(condition, 7, 6))
        torch.testing.assert_close(M, M.T, rtol=0, atol=1e-12)
        assert float(M.sum(1).abs().max()) < 1e-12
        assert float(torch.linalg.eigvalsh(M)[0]) >= -2 / stencil.limit
        assert isinstance(stencil, ThreeByThree) or float(torch.linalg.eigvalsh(M)[-1]) < 1e-12


def test_with_negative_weights_a_tensor_that_varies_may_feed_energy() -> None:
    """ThreeByThree: no eigenvalue above 0 for a constant D of any condition number, some for a D that jumps about."""
    for theta in (0.1, 0.3, 0.6):
        D = turned(torch.full((8, 8), theta, dtype=torch.float64), 1e-4, 1.0)
        assert ThreeByThree().negative(D) == 1
        # waves, without a border: -sum rho 2 (1 - cos <e, w>) h^{-2} lies in [-8, 0]
        rho, e = ThreeByThree().edges(D)
        w = torch.stack(torch.meshgrid(*[torch.linspace(-math.pi, math.pi, 65).double()] * 2, indexing="ij"))
        phase = torch.einsum("ki,ixy->kxy", e[:, :, 0, 0].double(), w)
        symbol = (2 * rho[:, 0, 0, None, None] * (1 - phase.cos())).sum(0)
        assert float(symbol.min()) >= -1e-12 and float(symbol.max()) <= 8
    D = turned(math.pi * torch.rand(10, 10, dtype=torch.float64), 0.0, 1.0)
    assert float(torch.linalg.eigvalsh(matrix(ThreeByThree(), D))[-1]) > 1e-3


x, y = sympy.symbols("x y")
SMOOTH = sympy.sin(2 * x + y) + sympy.cos(3 * y - x)
HALF, FIFTH = sympy.Rational(1, 2), sympy.Rational(1, 5)
TENSORS = {
    "constant": (HALF, FIFTH, FIFTH + sympy.Rational(1, 10)),
    "thin": (sympy.Rational(9, 10), sympy.Rational(28, 100), sympy.Rational(1, 10)),
    "variable": (1 + x / 4, sympy.Rational(1, 4) + sympy.sin(x + y) / 10, 1 - y**2 / 4),
    "turning": tuple(0.55 * k + 0.45 * f(2 * x + 2 * y) for k, f in ((1, sympy.cos), (0, sympy.sin)))
    + (0.55 - 0.45 * sympy.cos(2 * x + 2 * y),),
    "sheared": (sympy.Integer(1), (x + y - 1) / 3, sympy.Integer(1)),  # b changes its sign along a diagonal
}


def consistency(stencil: Stencil, name: str, n: int) -> Tensor:
    """|div(D grad u) - the stencil| in the inner quarter of the unit square."""
    a, b, c = TENSORS[name]
    p, q = sympy.diff(SMOOTH, x), sympy.diff(SMOOTH, y)
    exact = sympy.diff(a * p + b * q, x) + sympy.diff(b * p + c * q, y)
    X, Y = grid(n, 1 / n)

    def at(formula: sympy.Expr) -> Tensor:
        values = sympy.lambdify((x, y), formula, "numpy")((X + 0.5).numpy(), (Y + 0.5).numpy())
        return torch.as_tensor(values) * torch.ones_like(X)

    D = torch.stack([torch.stack([at(a), at(b)]), torch.stack([at(b), at(c)])])
    return (stencil.divergence(D, at(SMOOTH), 1 / n) - at(exact)).abs()[n // 4 : -n // 4, n // 4 : -n // 4]


@each_stencil
@pytest.mark.parametrize("name", ["constant", "thin", "variable"])
def test_the_order_is_two_while_the_edges_stay(stencil: Stencil, name: str) -> None:
    coarse, fine = (float(consistency(stencil, name, n).max()) for n in (32, 64))
    assert fine < 0.02 and 1.9 < math.log2(coarse / fine) < 2.1


def test_where_the_edges_change_the_order_is_one_in_the_mean() -> None:
    """Selling where D turns and the superbase changes, ThreeByThree where b changes its sign; Scharr has no edges."""
    for stencil, name in ((Selling(), "turning"), (ThreeByThree(), "sheared"), (Selling(), "sheared")):
        coarse, fine = (consistency(stencil, name, n) for n in (64, 128))
        assert 0.9 < math.log2(float(coarse.mean() / fine.mean())) < 1.2
        assert float(fine.max()) > 0.8 * float(coarse.max()) > 0.15  # no order at all next to those lines
    for name in ("turning", "sheared"):
        coarse, fine = (float(consistency(Scharr(), name, n).max()) for n in (64, 128))
        assert fine < 0.01 and 1.9 < math.log2(coarse / fine) < 2.1


@each_stencil
def test_quadratics_are_exact_for_a_constant_tensor(stencil: Stencil) -> None:
    """div(D grad u) = 2 (a p + 2 b q + c r) for u = p x^2 + 2 q x y + r y^2."""
    D = torch.tensor([[0.6, -0.25], [-0.25, 0.2]], dtype=torch.float64)
    X, Y = grid(12, 0.5)
    F = stencil.divergence(constant(D, 12, 12), 3 * X**2 - 2 * X * Y + Y**2 / 2, 0.5)
    expected = 2 * (0.6 * 3 + 2 * -0.25 * -1 + 0.2 * 0.5)
    torch.testing.assert_close(F[4:8, 4:8], torch.full((4, 4), expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_identity_gives_the_laplacians_of_five_and_of_scharrs_points() -> None:
    u, D = random(9, 8), constant(EYE, 9, 8)
    for stencil in (ThreeByThree(), Selling()):
        torch.testing.assert_close(stencil.divergence(D, u, 0.5), Heat(h=0.5)(u), rtol=0, atol=1e-13)
    point = torch.zeros(9, 9, dtype=torch.float64)
    point[4, 4] = 1
    star = Scharr().divergence(constant(EYE, 9, 9), point, 1.0)
    d, m = torch.tensor([1.0, 0, -2, 0, 1]).double() / 4, torch.tensor([9.0, 60, 118, 60, 9]).double() / 256
    torch.testing.assert_close(star[2:7, 2:7], torch.outer(d, m) + torch.outer(m, d), rtol=0, atol=1e-15)


@pytest.mark.parametrize("condition", [1.0, 5.8, 50.0, 1e6])
def test_selling_keeps_the_extrema(condition: float) -> None:
    """A step with dt = h^2/4 is a mean of grey values: every entry of I + dt M is >= 0, every row sums to 1."""
    for shape in ((8, 8), (13, 5)):
        step = torch.eye(shape[0] * shape[1], dtype=torch.float64) + matrix(Selling(), tensors(condition, *shape)) / 4
        assert float(step.min()) >= -1e-12


def test_the_bound_of_selling_is_sharp() -> None:
    """D = I and a checkerboard: at dt = h^2/4 the range is kept, beyond it is left."""
    X, Y = grid(8)
    board, D, h = 1 - 2 * ((X + Y) % 2), constant(EYE, 8, 8), 0.5
    inside = board + h**2 / 4 * Selling().divergence(D, board, h)
    beyond = board + 1.01 * h**2 / 4 * Selling().divergence(D, board, h)
    assert float(inside.abs().max()) <= 1 < float(beyond.abs().max())
    F = EdgeEnhancing(FastDecay(1.0), h=h)
    assert F.max_dt == h**2 / 4 and F.maximum_principle and F.keeps_mean


def test_excess_counts_the_pixels_whose_weights_are_reduced() -> None:
    """None for a constant D; where there are some, no total weight is left above 4, and the mean is kept."""
    for condition in (1.0, 10.0, 1e4):
        assert Selling().excess(constant(turned(torch.tensor(0.4).double(), 1 / condition, 1.0), 9, 9)) == 0
    X, Y = grid(15)
    D = turned(torch.atan2(X, -Y), 0.0, 1.0)  # along the rays from the middle: all edges end there
    W = total_weights(*edge_ends(*selling(D)))
    assert float(W.max()) > 6 and Selling().excess(D) == float((W > 4).double().mean()) == 1 / 225
    M = matrix(Selling(), D)
    assert -float(M.diagonal().min()) == pytest.approx(4.0) and float((M - M.T).abs().max()) < 1e-15


def test_nine_points_suffice_up_to_the_condition_number_5_83() -> None:
    """rho = (a - |b|, c - |b|, |b|) >= 0 in all directions iff condition <= 3 + 2 sqrt 2; beyond, extrema go."""
    theta = torch.linspace(0, math.pi, 4001, dtype=torch.float64)[None]
    bound = 3 + 2 * math.sqrt(2)
    for condition, fraction in ((bound * 0.999, 0.0), (bound * 1.01, 0.01)):
        negative = ThreeByThree().negative(turned(theta, 1 / condition, 1.0))
        assert (negative == 0) if fraction == 0 else (negative > fraction)
    assert Selling().negative(turned(theta, 1e-4, 1.0)) == 0 and not ThreeByThree().maximum_principle
    a, b, c = 0.8, 0.35, 0.2  # condition 20
    u = torch.zeros(5, 5, dtype=torch.float64)
    u[2, 2] = 1.0
    D = constant(torch.tensor([[a, b], [b, c]], dtype=torch.float64), 5, 5)
    new = u + ThreeByThree().limit * ThreeByThree().divergence(D, u, 1.0)
    assert float(new.min()) == pytest.approx((c - b) / 4) and float(new[2, 1]) == float(new.min())
    rho, e = ThreeByThree().edges(D)
    torch.testing.assert_close(torch.einsum("khw,kihw,kjhw->ijhw", rho, e.double(), e.double()), D)


def test_the_bound_of_scharrs_filters_is_that_of_stability_and_is_sharp() -> None:
    """limit = 2 / max |G|^2 = 1.98: largest at cos w_1 = cos w_2 = STEEPEST; beyond, a wave there grows."""
    w = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    p, q = w[:, None], w[None]
    symbol = (p.sin() * (5 + 3 * q.cos()) / 8).square() + (q.sin() * (5 + 3 * p.cos()) / 8).square()
    assert Scharr().limit == pytest.approx(2 / float(symbol.max()), rel=1e-6) and 1.98 < Scharr().limit < 1.985
    assert float(w[symbol.max(0).values.argmax()].cos()) == pytest.approx(STEEPEST, abs=2e-3)
    X, Y = grid(40)
    D, k = constant(EYE, 40, 40), round(40 * math.acos(STEEPEST) / math.pi)
    wave = (math.pi * k / 40 * (X + 20)).cos() * (math.pi * k / 40 * (Y + 20)).cos()
    for factor, grows in ((0.99, False), (1.02, True)):
        new = wave + factor * Scharr().limit * Scharr().divergence(D, wave, 1.0)
        assert (float(new.norm() / wave.norm()) > 1) == grows
    assert not Scharr().divergence(D, 1 - 2 * (X % 2), 1.0)[2:-2, 2:-2].any()  # stripes of period 2
