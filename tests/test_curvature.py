"""Level lines moved by their curvature: the shrinking disc, contrast, extrema, straight edges."""

import math

import pytest
import torch
from torch import Tensor

from companion import CurvatureMotion, MedianMotion
from companion.flows.curvature import lattice_circle


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def grid(n: int, h: float = 1.0) -> tuple[Tensor, Tensor]:
    g = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * h
    X, Y = torch.meshgrid(g, g, indexing="ij")
    return X, Y


def radius(u: Tensor, h: float) -> float:
    """That of {u < 0}, for u near its boundary a distance."""
    return math.sqrt(float((0.5 - u / h).clamp(0, 1).sum()) * h**2 / math.pi)


# ---- the disc ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [2.0, 1.0])
def test_a_disc_shrinks_as_the_root_of_its_area(h: float) -> None:
    """r(t) = (r_0^2 - 2t)^{1/2} to 0.02 with central differences."""
    X, Y = grid(round(56 / h), h)
    u0 = (X.square() + Y.square()).sqrt() - 20
    for t in (50.0, 100.0, 150.0):
        u = CurvatureMotion(h).flow(u0, t).u
        assert radius(u, h) == pytest.approx(math.sqrt(400 - 2 * t), abs=0.02)


@pytest.mark.parametrize("r", [1, 2, 3, 4, 5, 7])
def test_a_disc_shrinks_under_medians(r: int) -> None:
    """The area shrinks at its speed 2 pi to 8 % for r >= 2, to 40 % for r = 1: a distance as well as a jump."""
    X, Y = grid(72)
    R = (X.square() + Y.square()).sqrt()
    bound = 0.08 if r > 1 else 0.4
    for r0 in (20.0, 30.0):
        t = r0**2 / 4
        u = MedianMotion(1.0, r).flow(R - r0, t).u
        assert abs((r0**2 - radius(u, 1.0) ** 2) / (2 * t) - 1) < bound
        disc = MedianMotion(1.0, r).flow(R.lt(r0).double(), t).u
        assert abs((r0**2 - float(disc.sum()) / math.pi) / (2 * t) - 1) < bound
    h = 0.5
    torch.testing.assert_close(MedianMotion(h, r)(h * R), MedianMotion(1.0, r)(R) / h)


def test_a_disc_is_gone_when_its_time_is_up() -> None:
    """t = r_0^2 / 2; medians take discs of a radius below r at once."""
    X, Y = grid(24)
    R = (X.square() + Y.square()).sqrt()
    for F in (CurvatureMotion(), MedianMotion()):
        assert float(F.flow((R < 6).double(), 17.0).u.max()) > 0.1
        assert float(F.flow((R < 6).double(), 30.0).u.max()) < 0.1
    for r in (3, 5, 8):
        F, disc = MedianMotion(radius=r), R.lt(0.9 * r).double()
        assert float((disc + F.max_dt * F(disc)).abs().max()) < 1e-15


# ---- the two schemes --------------------------------------------------------------------------------------------


def test_central_differences_are_of_second_order_and_nearly_free_of_contrast() -> None:
    """u = e^x + y^2: F -> u_TT; F(u^3) -> 3 u^2 F(u), both as h^2."""
    errors = []
    for n in (64, 128):
        X, Y = grid(n, 1 / n)
        a, b = X.exp(), 2 * Y
        exact = (2 * a.square() + a * b.square()) / (a.square() + b.square())
        u, F = X.exp() + Y.square(), CurvatureMotion(1 / n, eps=1e-9)
        inner = (slice(4, -4),) * 2
        errors.append([float(e[inner].abs().max()) for e in (F(u) - exact, F(u**3) - 3 * u**2 * exact)])
    for coarse, fine in zip(*errors, strict=True):
        assert fine < 0.01 and 1.9 < math.log2(coarse / fine) < 2.1


def test_where_there_is_no_direction_it_is_half_the_laplacian() -> None:
    """A single bright pixel in the periodic plane; tr D = 1."""
    u = torch.zeros(7, 7, dtype=torch.float64)
    u[3, 3] = 1e-6
    F = CurvatureMotion(0.5, eps=1.0, boundary="periodic")
    assert float(F(u)[3, 3]) == pytest.approx(-1e-6 * 4 / 0.5**2 / 2)
    assert not CurvatureMotion()(torch.full((5, 5), 0.3, dtype=torch.float64)).any()


def test_the_bound_of_central_differences_is_sharp_for_a_checkerboard() -> None:
    X, Y = torch.meshgrid(*[torch.arange(8)] * 2, indexing="ij")
    board, h = (1 - 2 * ((X + Y) % 2)).double(), 0.5
    F = CurvatureMotion(h, boundary="periodic")
    assert F.max_dt == h**2 / 2
    torch.testing.assert_close(board + F.max_dt * F(board), -board)
    assert float((board + 1.01 * F.max_dt * F(board)).abs().max()) > 1.01
    noise = uniform(20, 20)
    end = CurvatureMotion().flow(noise, 20.0).u
    assert float(end.min()) > 0 and float(end.max()) < 1


def test_central_differences_leave_the_range_a_little_medians_do_not() -> None:
    X, Y = grid(48)
    disc = (X.square() + Y.square() < 15**2).double()
    end = CurvatureMotion().flow(disc, 40.0).u
    assert -0.02 < float(end.min()) < -1e-3 and not CurvatureMotion.maximum_principle
    end = MedianMotion().flow(disc, 40.0).u
    assert float(end.min()) >= 0 and float(end.max()) <= 1 and MedianMotion.maximum_principle


def test_medians_are_monotone_up_to_their_bound() -> None:
    """u <= v stays so for dt <= r^2 h^2 / 2; beyond, a single bright pixel falls below its surroundings."""
    for r in (1, 2, 3, 5):
        F = MedianMotion(0.5, r)
        assert F.max_dt == r**2 * 0.25 / 2
        for share in (1.0, 0.4):
            u, dt = uniform(12, 12), share * F.max_dt
            v = u + uniform(12, 12) * (uniform(12, 12) > 0.7)
            assert bool((u + dt * F(u) <= v + dt * F(v) + 1e-12).all())
            new = u + dt * F(u)
            assert float(new.min()) >= float(u.min()) - 1e-12 and float(new.max()) <= float(u.max()) + 1e-12
        point = torch.zeros(15, 15, dtype=torch.float64)
        point[7, 7] = 1.0
        assert float((point + F.max_dt * F(point)).abs().max()) < 1e-15
        assert float((point + 1.01 * F.max_dt * F(point)).min()) < -0.005


def test_medians_and_contrast() -> None:
    """A step commutes with a u + b, a > 0; with phi it does as far as the two middle values are equal."""
    F, u = MedianMotion(), uniform(16, 16)

    def step(v: Tensor) -> Tensor:
        return v + F.max_dt * F(v)

    torch.testing.assert_close(step(3 * u - 1), 3 * step(u) - 1)
    levels = (4 * u).floor()  # few grey values: the middle two agree at most pixels
    same = step(levels) == step(levels).round()
    assert float(same.double().mean()) > 0.6
    torch.testing.assert_close(step(levels.exp())[same], step(levels).exp()[same])
    assert float((step(u.exp()) - step(u).exp()).abs().max()) < 0.05


def test_the_lattice_circle_is_symmetric_and_near_the_circle() -> None:
    """Turns by 90 degrees, reflections, an even number of points within 0.71 of the circle: an affine u rests."""
    for r in range(1, 25):
        points = lattice_circle(r)
        assert len(points) == len(set(points)) and len(points) % 4 == 0
        assert {(-j, i) for i, j in points} == {(j, i) for i, j in points} == set(points)
        assert all(abs(math.hypot(i, j) - r) < 0.71 for i, j in points)
        angles = [math.atan2(j, i) % (2 * math.pi) for i, j in points]
        assert angles == sorted(angles)
    X, Y = grid(16)
    for r in (1, 2, 3, 6):
        rest = MedianMotion(radius=r)(2 * X - 3 * Y)[r:-r, r:-r]
        assert float(rest.abs().max()) < 1e-12


@pytest.mark.parametrize("degrees", [0, 90, 45, 27])
def test_straight_edges_stay(degrees: int) -> None:
    """A smooth edge of any direction stays to 0.01 of its height 2; an upright or diagonal jump keeps every value."""
    X, Y = grid(40)
    angle = math.radians(degrees)
    s = X * math.cos(angle) + Y * math.sin(angle)
    inner = (slice(14, -14),) * 2
    for F in (CurvatureMotion(), MedianMotion()):
        u = F.flow(torch.tanh(s / 5), 10.0).u
        assert float(((u - torch.tanh(s / 5))[inner]).abs().max()) < 0.01
    if degrees != 27:
        jump = (s > 0.1).double()
        u = MedianMotion().flow(jump, 18.0).u
        assert torch.equal(u[inner].round(), jump[inner])


@pytest.mark.parametrize("F", [CurvatureMotion(), MedianMotion()], ids=repr)
def test_batches_types_and_gradients(F: CurvatureMotion | MedianMotion) -> None:
    u = uniform(3, 9, 8)
    torch.testing.assert_close(F(u), torch.stack([F(v) for v in u]), rtol=0, atol=1e-13)
    assert F(u.float()).dtype == torch.float32
    v = torch.zeros(8, 8, dtype=torch.float64, requires_grad=True)
    (F(v) + F(v + u[0, 0])).sum().backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="eps > 0"):
        CurvatureMotion(eps=0.0)
    with pytest.raises(ValueError, match="whole number"):
        MedianMotion(radius=0)
    for F in (CurvatureMotion, MedianMotion):
        with pytest.raises(ValueError, match="grid step"):
            F(h=0.0)
