"""Total variation: its value, its dual, its level sets, what it charges for an edge, and the minimisers of ROF."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from companion import (
    DISCRETISATIONS,
    FISTA,
    PDHG,
    ROF,
    Blur,
    Divergence,
    Gradient,
    Identity,
    LaggedDiffusivity,
    SplitBregman,
    TotalVariation,
    TVModel,
    gaussian_kernel,
    haar_gradient,
    rof_dual,
    run,
    spline_gradient,
    tv,
)
from tests.laws.registry import dense

discretised = pytest.mark.parametrize("name", DISCRETISATIONS)
ISOTROPIC = [name for name in DISCRETISATIONS if "entrywise" not in name]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def picture(n: int = 12) -> Tensor:
    """A noisy block on a ramp, in the unit of 1."""
    u = 0.3 * torch.arange(n, dtype=torch.float64).expand(n, n) / n
    u = u.clone()
    u[n // 4 : 3 * n // 4, n // 3 : 2 * n // 3] += 0.8
    return u + 0.1 * random(n, n)


def rof(f: Tensor, nu: float, name: str, h: float, boundary: str = "reflect") -> ROF:
    """ROF in a discretisation of the registry."""
    J = DISCRETISATIONS[name](nu, h, boundary)
    return ROF(f, nu, J.D, J.isotropic)


def solved(problem: ROF, goal: float, k: int = 2000) -> tuple[Tensor, Tensor]:
    """(u, p) with a duality gap of at most `goal`: the dual by FISTA."""
    dual = rof_dual(problem)
    step = FISTA(dual, restart=True)
    with torch.no_grad():
        s = step.start(problem.E.domain())
        for i in range(1, k + 1):
            s = step(s)
            if i % 50 == 0 and dual.gap(s.x) <= goal:
                return dual.decode(s.x), s.x
    raise AssertionError(f"a gap of {float(dual.gap(s.x)):.1e} after {k} steps")


def fields(J: TotalVariation, like: Tensor, radius: float = 1.0) -> Tensor:
    """A random field with |v| <= radius, in the length dual to that of J."""
    v = random(*J.D(like).shape)
    size = torch.linalg.vector_norm(v, dim=-J.D.dim - 1, keepdim=True) if J.isotropic else v.abs()
    return radius * torch.rand(size.shape, dtype=v.dtype) * v / size


# ---- the value --------------------------------------------------------------------------------------------------


@pytest.mark.paper("(3.1)")
@discretised
def test_the_value_by_its_formula(name: str) -> None:
    J = DISCRETISATIONS[name](0.7, 0.25, "periodic")
    u = random(2, 6, 7)
    p = J.D(u)
    lengths = p.square().sum(1).sqrt() if J.isotropic else p.abs().sum(1)
    torch.testing.assert_close(J.density(u), lengths)
    torch.testing.assert_close(J(u), 0.7 * 0.25**2 * lengths.sum())
    torch.testing.assert_close(J.norm(p), J(u))
    assert J(u.float()).dtype == torch.float32


@discretised
def test_the_pictures_of_the_registry_have_the_step_and_border_they_are_asked_for(name: str) -> None:
    for boundary in ("periodic", "reflect"):
        J = DISCRETISATIONS[name](0.7, 0.25, boundary)
        assert (J.nu, J.D.h, J.D.dim, J.D.boundary) == (0.7, 0.25, 2, boundary)
        assert J.isotropic == (name in ISOTROPIC)


@discretised
def test_the_density_of_an_affine_picture_is_its_slope(name: str) -> None:
    """|a| inside, in the length of the functional; and the value on the unit square tends to it, with rate h."""
    a, errors = (1.5, -2.0), []
    for n in (16, 32):
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        u = a[0] * x[:, None] + a[1] * x
        J = DISCRETISATIONS[name](1.0, 1 / n)
        slope = math.hypot(*a) if J.isotropic else sum(map(abs, a))
        torch.testing.assert_close(J.density(u)[1:-1, 1:-1], torch.full((n - 2, n - 2), slope, dtype=u.dtype))
        errors.append(slope - float(J(u)))
    assert 0 < errors[1] < errors[0] * 0.55


def test_the_entrywise_variation_is_up_to_sqrt_2_of_the_isotropic_one() -> None:
    for grad in (Gradient(0.5), haar_gradient(0.5), spline_gradient(0.5)):
        entrywise, isotropic = (TotalVariation(1.0, grad, kind) for kind in (False, True))
        u, diagonal = random(8, 9), torch.arange(8.0)[:, None] + torch.arange(9.0)
        assert isotropic(u) < entrywise(u) < math.sqrt(2) * isotropic(u)
        ratio = entrywise.density(diagonal) / isotropic.density(diagonal)
        assert ratio[1:-1, 1:-1].sub(math.sqrt(2)).abs().max() < 1e-6


@pytest.mark.paper("(3.1)")
def test_the_value_of_a_smooth_function_tends_to_its_variation() -> None:
    """u = exp(cos 2 pi x) sin 2 pi y on the torus: int |grad u| = 6.550143, entrywise 8.05689; errors of order h^2."""
    for name in DISCRETISATIONS:
        limit, errors = 6.550143 if name in ISOTROPIC else 8.05689, []
        for n in (32, 64):
            x = torch.arange(n, dtype=torch.float64) / n * 2 * math.pi
            u = torch.cos(x)[:, None].exp() * torch.sin(x)
            errors.append(float(DISCRETISATIONS[name](1.0, 1 / n, "periodic")(u)) - limit)
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.15), name


# ---- the dual, and level sets -----------------------------------------------------------------------------------


@pytest.mark.paper("(3.1)")
@discretised
def test_the_variation_is_the_largest_pairing_with_a_field(name: str) -> None:
    """h^d sum <v, grad u> <= TV(u) for |v| <= 1, with equality for v = grad u / |grad u| (or its signs)."""
    h = 0.25
    J = DISCRETISATIONS[name](1.0, h)
    u = random(7, 8)
    p = J.D(u)
    best = p / torch.linalg.vector_norm(p, dim=0).clamp_min(1e-300) if J.isotropic else p.sign()
    torch.testing.assert_close(h**2 * (best * p).sum(), J(u))
    torch.testing.assert_close(h**2 * (u * J.D.T(best)).sum(), J(u))
    for _ in range(20):
        assert h**2 * (fields(J, u) * p).sum() < J(u)


@pytest.mark.paper("(3.1)")
def test_integration_by_parts() -> None:
    """With forward differences the pairing is -h^d sum u div v: the field meets the border without a flux."""
    u, v = random(6, 7), random(2, 6, 7)
    torch.testing.assert_close((v * Gradient(0.25)(u)).sum(), -(u * Divergence(0.25)(v)).sum())


def test_the_coarea_formula() -> None:
    """TV(u) = int TV(1_{u > t}) dt entrywise; isotropic only <=, and < as soon as the picture has three levels."""
    u = torch.randint(0, 6, (9, 8)).double()
    levels = torch.arange(5, dtype=torch.float64)
    for boundary in ("periodic", "reflect"):
        for grad, isotropic in ((Gradient, False), (Gradient, True), (haar_gradient, True)):
            J = TotalVariation(0.7, grad(h=0.5, boundary=boundary), isotropic)
            sets = sum(J((u > t).double()) for t in levels)
            if isotropic:
                assert J(u) < 0.95 * sets
            else:
                torch.testing.assert_close(J(u), sets, rtol=1e-13, atol=0)


# ---- what an edge costs -----------------------------------------------------------------------------------------


def edge_cost(name: str, a: int, b: int) -> float:
    """The density along one period (-b, a) of the edge {a x_1 + b x_2 > 0}, over the length of the period."""
    m = max(abs(a), abs(b))
    n = 7 * m + 6
    x = torch.arange(n) - n // 2
    density = DISCRETISATIONS[name](1.0, 1.0).density((a * x[:, None] + b * x > 0).double())
    period = density.narrow(1 if abs(a) == m else 0, n // 2 - m // 2, m)
    return float(period.sum()) / math.hypot(a, b)


NORMALS = [(a, b) for a in range(-6, 7) for b in range(7) if math.gcd(a, b) == 1]


@pytest.mark.parametrize(
    ("name", "corner"),
    [
        ("Haar, two bands", math.sqrt(2) - 1),
        ("Haar, three bands", math.sqrt(3) - 1),
        ("Haar, entrywise", 1.0),
        ("forward differences, entrywise", 1.0),
    ],
)
def test_the_cost_of_a_straight_edge(name: str, corner: float) -> None:
    """max + corner min of |cos t|, |sin t|, t the angle of the normal: a polygon for a disc."""
    for a, b in NORMALS:
        large, small = max(abs(a), abs(b)), min(abs(a), abs(b))
        assert edge_cost(name, a, b) == pytest.approx((large + corner * small) / math.hypot(a, b), rel=1e-12)


def test_two_haar_bands_charge_an_edge_the_same_after_an_eighth_of_a_turn() -> None:
    """The regular octagon: (a, b) turned by 45 degrees is (a - b, a + b) over sqrt 2. No other discretisation does."""
    spread = {}
    for name in DISCRETISATIONS:
        turned = [edge_cost(name, a, b) - edge_cost(name, a - b, a + b) for a, b in NORMALS]
        spread[name] = max(map(abs, turned))
    assert spread.pop("Haar, two bands") < 1e-12
    assert spread.pop("linear splines, first pair") < 0.03
    assert min(spread.values()) > 0.2


def test_forward_differences_charge_one_diagonal_edge_more_than_the_other() -> None:
    """1 and sqrt 2 per length; between the axes 0 and 90 degrees as the octagon, beyond as the square."""
    for a, b in NORMALS:
        large, small = max(abs(a), abs(b)), min(abs(a), abs(b))
        corner = math.sqrt(2) - 1 if a * b >= 0 else 1.0
        exact = (large + corner * small) / math.hypot(a, b)
        assert edge_cost("forward differences", a, b) == pytest.approx(exact, rel=1e-12)


def test_splines_charge_an_edge_nearly_its_length() -> None:
    costs = [edge_cost("linear splines, first pair", a, b) for a, b in NORMALS]
    assert min(costs) == pytest.approx(1, rel=1e-12) and 1.03 < max(costs) < 1.04


@discretised
def test_the_symmetries_of_the_square(name: str) -> None:
    """A quarter turn and a mirror keep the value, but for isotropic forward differences."""
    J, u = DISCRETISATIONS[name](1.0, 0.5), random(9, 9)
    moved = max(abs(float(J(v) / J(u)) - 1) for v in (u.rot90(), u.rot90(2), u.flip(0), u.T))
    assert moved > 1e-4 if name == "forward differences" else moved < 1e-13


# ---- the gap of ROF ---------------------------------------------------------------------------------------------


@pytest.mark.paper("(3.2)")
@discretised
def test_the_gap_is_that_of_duality(name: str) -> None:
    """objective(u) - dual objective(p), the latter h^d/2 (|f|^2 - |f - nu grad^T v|^2); infinity for |v| > 1."""
    h, nu = 0.5, 0.3
    f, u = picture(), random(12, 12)
    problem = rof(f, nu, name, h)
    p = fields(problem.J, f, nu * h)
    torch.testing.assert_close(problem.field(p), p / (nu * h))
    torch.testing.assert_close(problem.primal(p), f - nu * problem.J.D.T(problem.field(p)))
    dual = h**2 / 2 * (f.square().sum() - problem.primal(p).square().sum())
    torch.testing.assert_close(problem.gap(u, p), problem(u) - dual)
    torch.testing.assert_close(problem.gap(u, p), super(TVModel, problem).gap(u, p))
    assert problem.gap(u, 1.5 * nu * h * p / p.abs().max()).isinf()


@discretised
def test_the_gap_bounds_the_objective_and_that_the_distance(name: str) -> None:
    """gap(u, p) >= objective(u) - minimum >= h^d/2 |u - u*|^2, for any u and any field."""
    h, nu, f = 0.5, 0.1, picture(8)
    problem = rof(f, nu, name, h)
    best, q = solved(problem, 1e-7)
    for size, radius in itertools.product((1e-3, 1e-2, 1.0), (0.0, 0.5, 1.0)):
        u, p = best + size * random(8, 8), q + radius * (fields(problem.J, f, nu * h) - q)
        excess = problem(u) - problem(best)
        assert problem.gap(u, p) >= excess
        assert excess >= h**2 / 2 * ((u - best).norm() - math.sqrt(2e-7) / h) ** 2 - 1e-7


@discretised
def test_a_constant_does_not_drown_the_gap(name: str) -> None:
    """Nothing of the size of |f|^2 is subtracted: 1e6 added to u and f leaves a small gap as it was."""
    problem = rof(picture(8), 0.1, name, 1.0)
    u, p = solved(problem, 1e-6)
    lifted = rof(1e6 + problem.E.f, 0.1, name, 1.0)
    torch.testing.assert_close(lifted.gap(1e6 + u, p), problem.gap(u, p), rtol=0, atol=1e-9)
    assert 0 <= problem.gap(u, p) <= 1e-6
    dual = (lifted.E.f.square().sum() - lifted.primal(p).square().sum()) / 2
    assert abs(lifted(1e6 + u) - dual - problem.gap(u, p)) > 1e-4  # the same number, written with |f|^2


# ---- one minimum, five ways -------------------------------------------------------------------------------------


@pytest.mark.paper("(3.2)")
@discretised
def test_five_solvers_find_the_minimiser_of_rof(name: str) -> None:
    h, nu, f = 0.5, 0.1, picture(6)
    problem = rof(f, nu, name, h, "periodic")
    best, _ = solved(problem, 1e-6)
    for method in (PDHG, SplitBregman):
        step = method(problem)
        with torch.no_grad():
            end = run(step, f, k=100)
        gap = problem.gap(end.u, step.dual(end.x))
        assert gap < 1e-4
        assert torch.dist(end.u, best) <= (math.sqrt(2 * gap) + math.sqrt(2e-6)) / h  # h^2/2 |u - u*|^2 <= gap
    area = f.numel() * h**2 * (1 if problem.J.isotropic else 2)  # a smoothed length is eps too long at most
    away = []
    for eps, k in ((1e-1, 6), (1e-2, 20)):
        with torch.no_grad():
            u = run(LaggedDiffusivity(problem, eps), f, k=k).u
        assert problem(u) - problem(best) <= nu * eps * area
        away.append(float(torch.dist(u, best)))
    assert away[1] < 0.3 * away[0] < 0.1 * torch.dist(f, best)


@pytest.mark.paper("(3.1)")
@discretised
def test_the_dual_problem(name: str) -> None:
    """h^d/2 |u|^2 at the picture u of a field; its Lipschitz constant; the rate O(1/k^2) of FISTA; |v| <= 1."""
    h, nu, f = 0.5, 0.1, picture(8)
    problem = rof(f, nu, name, h)
    dual = rof_dual(problem)
    p = fields(problem.J, f, nu * h)
    u = dual.decode(p)
    torch.testing.assert_close(dual(p), h**2 / 2 * u.square().sum())
    torch.testing.assert_close(dual.gap(p), problem.gap(u, p))
    assert torch.equal(dual.decode(dual.encode(f)), f)
    assert dual(1.5 * nu * h * p / p.abs().max()).isinf()
    D = dense(problem.K, (8, 8))
    L = dual.E.lipschitz()
    assert 0.8 * L < float(torch.linalg.matrix_norm(D, 2)) ** 2 / h**2 <= L * (1 + 1e-12)
    _, best = solved(problem, 1e-5)
    step = FISTA(dual)
    s = step.start(f)
    for k in range(1, 60):
        s = step(s)
        assert dual(s.x) - dual(best) <= 2 * L * best.square().sum() / (k + 1) ** 2
    assert problem.J.length(1.0).conjugate(problem.field(s.x)) == 0


def test_the_maximising_field_is_the_direction_of_the_gradient() -> None:
    """v = grad u / |grad u| where grad u != 0, and u = f - nu grad^T v."""
    problem = ROF(picture(), 0.2)
    u, p = solved(problem, 1e-9)
    v, g = problem.field(p), problem.J.D(u)
    steep = g.norm(dim=0) > 1e-2
    assert steep.sum() > 30
    torch.testing.assert_close(v[:, steep], (g / g.norm(dim=0))[:, steep], rtol=0, atol=1e-3)
    torch.testing.assert_close(u, problem.primal(p), rtol=0, atol=1e-6)


def test_without_a_measurement_the_model_is_rof() -> None:
    f, nu = picture(), 0.3
    J = DISCRETISATIONS["Haar, entrywise"](nu, 0.5)
    problem = tv(Identity(), f, nu, J.D, J.isotropic)
    assert type(problem) is ROF
    blurred = tv(Blur(gaussian_kernel(0.5, 2, 1)), f, nu, J.D, J.isotropic)
    assert type(blurred) is TVModel
    u = random(12, 12)
    torch.testing.assert_close(problem(u), J(u) + 0.5**2 / 2 * (u - f).square().sum())
    torch.testing.assert_close(blurred(u), J(u) + 0.5**2 / 2 * (blurred.E.A(u) - f).square().sum())
