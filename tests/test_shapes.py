"""The disc and the square: areas by counting, certificates by their three conditions, minimisers by solving."""

import math

import pytest
import torch
from torch import Tensor

from companion import ROF, VARIATIONS, ContinuumEnergy, Disc, Shape, Square, TwoLevel, refine, sample

SHAPES = [Disc(0.25), Disc(0.35), Disc(0.1), Square(0.25), Square(0.4)]
each = pytest.mark.parametrize("shape", SHAPES, ids=["disc", "large disc", "small disc", "square", "large square"])


def grid(n: int) -> tuple[Tensor, Tensor]:
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return x[:, None], x[None, :]


@each
def test_the_means_over_cells_by_counting_points(shape: Shape) -> None:
    """The share of 64 x 64 points of each cell inside."""
    for N in (7, 16):
        counted = shape(*grid(64 * N)).reshape(N, 64, N, 64).mean((1, 3))
        exact = shape.averages(N)
        assert exact.shape == (N, N)
        assert (exact - counted).abs().max() < 0.02
        assert float(exact.mean()) == pytest.approx(shape.area, rel=1e-12)
        assert exact.min() > -1e-11 and exact.max() < 1 + 1e-11
        torch.testing.assert_close(exact, torch.rot90(exact), rtol=0, atol=1e-11)


def test_the_area_of_a_corner_of_the_disc() -> None:
    """On 2 x 2 cells each holds a quarter; on 4 x 4, R = 1/4, the inner cells hold it, and nothing is outside."""
    torch.testing.assert_close(Disc(0.25).averages(2), torch.full((2, 2), math.pi / 16).double())
    inner = Disc(0.25).averages(4)
    assert float(inner[1, 1]) == pytest.approx(math.pi / 4) and inner[0].abs().max() < 1e-12
    R, N = 0.3, 4  # the segment beyond x = 1/4, and none of it in the corner cells
    segment = R**2 * math.acos(0.25 / R) - 0.25 * math.sqrt(R**2 - 0.25**2)
    assert float(Disc(R).averages(N)[3].sum()) == pytest.approx(segment * N**2, rel=1e-10)


@pytest.mark.parametrize("shape", SHAPES[3:])
def test_the_means_over_cells_are_samples(shape: Shape) -> None:
    N = 20  # the square's edges lie on the edges of cells
    torch.testing.assert_close(sample(shape, N), shape.averages(N), rtol=0, atol=1e-12)


@pytest.mark.paper("(3.1)")
@each
def test_the_certificate_has_the_divergence_asked_for(shape: Shape) -> None:
    x = torch.rand(2, 4000, dtype=torch.float64).requires_grad_()
    v = shape.certificate(x[0], x[1])
    div = sum(torch.autograd.grad(v[i].sum(), x, retain_graph=True)[0][i] for i in (0, 1))
    inside = shape.depth(x[0], x[1]) > 0
    P, A = shape.perimeter, shape.area
    exact = inside.double() * (P / A) - (~inside).double() * P / (1 - A)
    torch.testing.assert_close(div, exact, rtol=1e-10, atol=0)
    assert 0 < int(inside.sum()) < 4000


@pytest.mark.paper("(3.1)")
@each
def test_the_certificate_has_no_jump_of_its_flux(shape: Shape) -> None:
    """Gauss: the flux through the border of random boxes is the integral of the divergence; so no line is a source."""
    n = 5000
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    for _ in range(4):
        x, y, a, b = torch.rand(4, dtype=torch.float64).tolist()
        flux = 0.0
        for side, sign in ((x + a, 1), (x, -1)):
            flux += sign * b * float(shape.certificate(torch.full_like(t, side), y + b * t)[0].mean())
        for side, sign in ((y + b, 1), (y, -1)):
            flux += sign * a * float(shape.certificate(x + a * t, torch.full_like(t, side))[1].mean())
        inside = float(shape((x + a * t[::10])[:, None], (y + b * t[::10])[None, :]).mean())
        P, A = shape.perimeter, shape.area
        assert flux == pytest.approx(a * b * (inside * P / A - (1 - inside) * P / (1 - A)), abs=4e-3)


@pytest.mark.paper("(3.1)")
@each
def test_the_certificate_is_admissible_and_meets_the_edge_at_right_angles(shape: Shape) -> None:
    """|v| <= 1, in the Euclidean length for the disc, in the larger component for the square; v . n = 1 on the edge."""
    v = shape.certificate(*grid(401))
    size = v.norm(dim=0) if isinstance(shape, Disc) else v.abs().amax(0)
    assert float(size.max()) <= 1 + 1e-12
    t = torch.rand(500, dtype=torch.float64)
    if isinstance(shape, Disc):
        n = torch.stack([(2 * math.pi * t).cos(), (2 * math.pi * t).sin()])
        for r in (shape.R * (1 + 1e-9), shape.R * (1 - 1e-9)):
            torch.testing.assert_close(shape.certificate(*(0.5 + r * n)), n, rtol=0, atol=1e-6)
    else:
        s = 0.5 + shape.a * (2 * t - 1) * 0.999
        for x in (0.5 + shape.a - 1e-9, 0.5 + shape.a + 1e-9):
            torch.testing.assert_close(
                shape.certificate(torch.full_like(s, x), s)[0], torch.ones_like(s), rtol=0, atol=1e-7
            )


@pytest.mark.paper("(3.1)")
@pytest.mark.parametrize("R", [0.05, 0.1, 0.2, 0.25, 0.3, 0.35])
def test_the_bound_of_the_disc_s_certificate_falls_with_the_distance(R: float) -> None:
    """The majorant of |v|^2 of its docstring, with lattice sums G_4, G_8, G_12 made by hand, the rest below 1.1."""
    N = 40
    z = torch.complex(*torch.meshgrid(*[torch.arange(-N, N + 1).double()] * 2, indexing="ij")).flatten()
    z = z[z != 0]
    G = {4 * k: float((z ** (-4 * k)).sum().real) if k < 4 else 4.3 for k in range(1, 30)}
    assert G[4] == pytest.approx(3.15121, abs=2e-3) and G[8] == pytest.approx(4.25577, abs=1e-4)
    P, A = 2 * math.pi * R, math.pi * R**2
    M = P / (1 - A)
    r = torch.linspace(R, 0.5, 4001, dtype=torch.float64)
    t = (r - R) / (0.5 - R)
    chi, slope = 1 - t**2 * (3 - 2 * t), 6 * t * (1 - t) / (0.5 - R)
    B = M / (2 * math.pi) * sum(abs(g) * r ** (k - 1) for k, g in G.items())
    S = M / (2 * math.pi) * sum(abs(g) * r**k / k for k, g in G.items())
    g = M * (1 / (2 * math.pi * r) - r / 2)
    bound = (g + (1 - chi) * B) ** 2 + ((1 - chi) * B + S * slope) ** 2
    assert float(bound[0]) == pytest.approx(1)
    assert bound.diff().max() < 0


@pytest.mark.paper("(4.3)")
def test_the_minimisers_of_the_course() -> None:
    disc, square = Disc(0.25).minimiser(0.05), Square(0.25).minimiser(0.05)
    assert disc == pytest.approx((0.6, 0.0977288, 0.0589941), abs=1e-6)
    assert square == pytest.approx((0.6, 2 / 15, 0.0733333), abs=1e-6)
    R = 0.2
    assert Disc(R).minimiser(0.02)[:2] == pytest.approx((1 - 0.04 / R, 0.04 * math.pi * R / (1 - math.pi * R**2)))


@each
def test_the_energy_is_that_of_the_two_levels_and_least_among_them(shape: Shape) -> None:
    nu = 0.3 * shape.area * (1 - shape.area) / shape.perimeter
    best = shape.minimiser(nu)

    def energy(a: float, b: float) -> float:
        A = shape.area
        return nu * shape.perimeter * abs(a - b) + A * (1 - a) ** 2 / 2 + (1 - A) * b**2 / 2

    assert best.energy == pytest.approx(energy(best.inside, best.outside), rel=1e-12)
    assert best.energy < min(
        energy(best.inside + s, best.outside + t) for s, t in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01))
    )


def test_the_two_levels_meet_at_the_largest_weight() -> None:
    for shape in SHAPES:
        largest = shape.area * (1 - shape.area) / shape.perimeter
        inside, outside, _ = shape.minimiser(largest)
        assert inside == pytest.approx(shape.area) == outside
        with pytest.raises(ValueError, match="constant A"):
            shape.minimiser(1.01 * largest)


@each
def test_no_picture_does_better(shape: Shape) -> None:
    """By the certificate: nu int w div v + 1/2 int |w - f|^2 <= nu TV(w) + ..., with equality at the minimiser.

    Its left side is least at f - nu div v, and there it is E*.
    """
    nu, P, A = 0.02, shape.perimeter, shape.area
    if nu > A * (1 - A) / P:
        nu = 0.5 * A * (1 - A) / P
    best = shape.minimiser(nu)
    inside, outside = 1 - nu * P / A, nu * P / (1 - A)
    assert (inside, outside) == pytest.approx(best[:2])
    lower = nu * (P * inside - P * outside) + A * (1 - inside) ** 2 / 2 + (1 - A) * outside**2 / 2
    assert lower == pytest.approx(best.energy, rel=1e-12)
    wave = lambda x, y: best.outside + 0.4 * (math.pi * x).sin() ** 8 * (math.pi * y).sin() ** 8  # noqa: E731
    E = ContinuumEnergy(nu, shape, isotropic=isinstance(shape, Disc))
    assert float(E(wave)) > best.energy


@pytest.mark.paper("(4.3)")
def test_the_minimiser_by_solving() -> None:
    """The disc in the isotropic ROF, the square in the entrywise one, whose minimiser on a grid with its edges is u."""
    N, nu = 64, 0.05
    for shape, name, most in ((Disc(), "Haar, two bands", 0.012), (Square(), "forward differences, entrywise", 2e-3)):
        J, best = VARIATIONS[name](nu, 1 / N, "periodic"), shape.minimiser(nu)
        level = refine([ROF(shape.averages(N), nu, J.D, J.isotropic)], tol=1e-4)[0]
        assert (level.u - best.sampled(shape, N)).square().mean().sqrt() < most
        assert abs(float(level.gap)) < 1e-4 * best.energy * 1.1


@each
def test_ramps_are_a_recovery_sequence(shape: Shape) -> None:
    """They tend to chi in L_1 like their width, and cost the perimeter: the level sets are discs, or squares."""
    distances = []
    for width in (0.1, 0.05):
        ramp = shape.ramp(width)
        E = ContinuumEnergy(1.0, shape, isotropic=isinstance(shape, Disc), points=1000)
        assert float(E.variation(ramp)) == pytest.approx(shape.perimeter, rel=0.02)
        x = grid(1000)
        distances.append(float((ramp(*x) - shape(*x)).abs().mean()))
    assert distances[0] == pytest.approx(shape.perimeter * 0.1 / 4, rel=0.05)
    assert distances[1] == pytest.approx(distances[0] / 2, rel=0.05)


@each
def test_the_distance_of_a_picture_by_counting(shape: Shape) -> None:
    N, M = 16, 40
    pair, u = TwoLevel(0.7, 0.1, 0.0), torch.rand(N, N, dtype=torch.float64)
    fine = u.repeat_interleave(M, 0).repeat_interleave(M, 1)
    error = fine - torch.where(shape(*grid(N * M)) > 0, 0.7, 0.1).double()
    assert float(pair.distance(u, shape, 1)) == pytest.approx(float(error.abs().mean()), rel=2e-3)
    assert float(pair.distance(u, shape)) == pytest.approx(float(error.square().mean().sqrt()), rel=2e-3)
    means = pair.sampled(shape, N)
    assert pair.distance(means, shape) < pair.distance(means + 0.01, shape)


def test_shapes_have_the_period_of_the_square() -> None:
    x = torch.rand(50, 2, dtype=torch.float64)
    for shape in SHAPES:
        for f in (shape, shape.ramp(0.1), shape.certificate):
            torch.testing.assert_close(f(x[:, 0] + 1, x[:, 1] - 2), f(x[:, 0], x[:, 1]))
    for make, bad in ((Disc, 0.36), (Disc, 0.0), (Square, 0.5)):
        with pytest.raises(ValueError, match=r"0 < (R|a)"):
            make(bad)
