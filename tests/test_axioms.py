"""The axioms of Section 3 as defects: 0 where a law holds, the size of the breach where a flow made by hand breaks it.

Each flow here is a formula of (u, t); the equations come at the end.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import (
    CurvatureMotion,
    Euler,
    Exponential,
    Gradient,
    Heat,
    MedianMotion,
    PeronaMalik,
    SemiImplicit,
    TensorDiffusion,
)
from companion.flows import axioms
from companion.flows.axioms import evolution

Flow = Callable[[Tensor, float], Tensor]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def rest(u: Tensor, t: float) -> Tensor:
    """T_t u = u: obeys every axiom."""
    return u.clone()


def fade(u: Tensor, t: float) -> Tensor:
    """e^{-t} u."""
    return math.exp(-t) * u


def shifted(u: Tensor, t: float) -> Tensor:
    """One pixel down for every unit of time."""
    return u.roll(round(t), -2)


def mixed(u: Tensor, t: float) -> Tensor:
    """Towards the mean: exact, and not local."""
    m = u.mean((-2, -1), keepdim=True)
    return m + math.exp(-t) * (u - m)


# ---- each axiom, by hand ----------------------------------------------------------------------------------------


def test_doing_nothing_obeys_every_axiom() -> None:
    u, v = random(2, 8, 8), random(2, 8, 8)
    defects = [
        axioms.recursivity(rest, u, 0.3, 0.4),
        axioms.maximum_principle(rest, u, 1.0),
        axioms.comparison(rest, u, torch.maximum(u, v), 1.0),
        axioms.contrast(rest, u, 1.0, torch.exp),
        axioms.translation(rest, u, 1.0),
        axioms.rotation(rest, u, 1.0),
        axioms.mean(rest, u, 1.0),
        axioms.locality(rest, u, 0.1, 2.0),
    ]
    assert defects == [0.0] * len(defects)
    assert axioms.grey_shift(rest, u, 1.0) < 1e-14 and axioms.linearity(rest, u, v, 1.0, 2.5) < 1e-14


def test_recursivity_sees_a_flow_that_knows_its_age() -> None:
    u = random(6, 6)
    assert axioms.recursivity(fade, u, 0.3, 0.4) < 1e-14
    aged: Flow = lambda u, t: math.exp(-(t**2)) * u  # noqa: E731
    expected = abs(math.exp(-0.49) - math.exp(-0.25)) * float(u.abs().max())
    assert axioms.recursivity(aged, u, 0.3, 0.4) == pytest.approx(expected)


def test_the_maximum_principle_sees_each_side_and_each_picture() -> None:
    u = torch.rand(3, 4, 5, dtype=torch.float64)
    assert axioms.maximum_principle(mixed, u, 1.0) == 0
    high: Flow = lambda u, t: u + torch.tensor([0.0, 0.0, t]).double()[:, None, None]  # noqa: E731
    assert axioms.maximum_principle(high, u, 0.2) == pytest.approx(0.2)
    assert axioms.maximum_principle(lambda u, t: high(u, -t), u, 0.2) == pytest.approx(0.2)
    apart = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]).double()
    assert axioms.maximum_principle(lambda u, t: u.flip(0), apart, 1.0) == 1  # not the range of the whole batch
    line = torch.tensor([[0.0, 1.0], [0.2, 0.3]], dtype=torch.float64)
    assert axioms.maximum_principle(lambda u, t: u.flip(0), line, 1.0, dim=1) == pytest.approx(0.7)
    assert axioms.maximum_principle(lambda u, t: u.flip(0), line, 1.0, dim=2) == 0


def test_comparison_sees_a_contrast_reversed() -> None:
    u = random(5, 5)
    v = u + torch.rand(5, 5, dtype=torch.float64)
    assert axioms.comparison(fade, u, v, 1.0) == 0
    assert axioms.comparison(lambda u, t: -u, u, v, 1.0) == pytest.approx(float((v - u).max()))
    assert axioms.comparison(lambda u, t: u - 2 * u.mean(), u, u + 1, 1.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="u > v at 1 pixels"):
        axioms.comparison(rest, u, v - 9 * (torch.arange(25).reshape(5, 5) == 3), 1.0)


def test_a_shift_of_grey() -> None:
    u = random(5, 5)
    assert axioms.grey_shift(mixed, u, 1.0) < 1e-14
    assert axioms.grey_shift(fade, u, 1.0, 3.0) == pytest.approx(3 * (1 - math.exp(-1)))


def test_contrast() -> None:
    u = random(5, 5)
    assert axioms.contrast(shifted, u, 2.0, torch.exp) == 0
    expected = float((math.exp(-1) * u.exp() - (math.exp(-1) * u).exp()).abs().max())
    assert axioms.contrast(fade, u, 1.0, torch.exp) == pytest.approx(expected)


def test_linearity() -> None:
    u, v = random(5, 5), random(5, 5)
    assert axioms.linearity(mixed, u, v, 1.0, -2.0) < 1e-14
    assert axioms.linearity(lambda u, t: u.square(), u, v, 1.0, 3.0) == pytest.approx(
        float((6 * u * v + 6 * v.square()).abs().max())
    )


def test_translation_on_the_torus_and_inside_a_margin() -> None:
    """A defect that sits at the border, and where the shift carries it, is left out by a margin."""
    u = random(12, 14)
    assert axioms.translation(shifted, u, 1.0) == 0
    place = torch.zeros(12, 14, dtype=torch.float64)
    place[0] = 1.0
    bordered: Flow = lambda u, t: u + place  # noqa: E731
    assert axioms.translation(bordered, u, 1.0, (3, 5)) == pytest.approx(1)
    assert axioms.translation(bordered, u, 1.0, (3, 5), margin=1) < 1e-14
    inside = place.roll(6, 0)
    assert axioms.translation(lambda u, t: u + inside, u, 1.0, (3, 5), margin=1) == pytest.approx(1)
    assert axioms.translation(lambda u, t: u + inside, u, 1.0, (0, 5)) < 1e-14  # constant along the shift
    assert axioms.translation(lambda u, t: u + place[:, 0], random(14, 12), 1.0, (4,)) == pytest.approx(1)


def test_rotation_sees_a_direction_and_a_handedness() -> None:
    u = random(6, 6)
    assert axioms.rotation(mixed, u, 1.0) < 1e-14
    assert axioms.rotation(shifted, u, 1.0) > 0.1
    whirl: Flow = lambda u, t: u + 0.1 * (u.rot90(1, (-2, -1)) - u.rot90(-1, (-2, -1)))  # noqa: E731
    w = u.rot90(1, (-2, -1)) - u.rot90(-1, (-2, -1))
    assert float((whirl(u.rot90(1, (-2, -1)), 1.0) - whirl(u, 1.0).rot90(1, (-2, -1))).abs().max()) < 1e-14
    assert axioms.rotation(whirl, u, 1.0) == pytest.approx(0.2 * float(w.abs().max()))


def test_mean_of_each_picture() -> None:
    u = torch.rand(2, 6, 6, dtype=torch.float64) + 1
    assert axioms.mean(mixed, u, 1.0) < 1e-14
    lost = float(u.mean((-2, -1)).max()) * (1 - math.exp(-1))
    assert axioms.mean(fade, u, 1.0) == pytest.approx(lost)
    assert axioms.mean(lambda u, t: u.flip(0), u, 1.0) == pytest.approx(abs(float(u[0].mean() - u[1].mean())))


def test_locality_sees_what_happens_far_away() -> None:
    u = torch.rand(9, 9, dtype=torch.float64)
    assert axioms.locality(fade, u, 0.1, 2.0) == 0
    far: Flow = lambda u, t: u + t * u[..., :1, :1]  # noqa: E731
    change = float((u.max() + u.min() - 2 * u[0, 0]).abs())
    assert axioms.locality(far, u, 0.1, 2.0) == pytest.approx(change)
    assert axioms.locality(far, u, 0.1, 6.0) == 0  # (0, 0) is (4, 4) away from the middle
    assert axioms.locality(lambda u, t: u + t * u[..., :1], u[0], 0.1, 2.0, dim=1) > 0
    with pytest.raises(ValueError, match="short time t > 0"):
        axioms.locality(rest, u, 0.0, 2.0)


def test_a_blow_up_is_an_infinite_defect() -> None:
    broken: Flow = lambda u, t: u * math.nan  # noqa: E731
    u = random(4, 4)
    assert axioms.mean(broken, u, 1.0) == math.inf == axioms.maximum_principle(broken, u, 1.0)
    assert axioms.comparison(broken, u, u, 1.0) == math.inf


# ---- which equation obeys which ---------------------------------------------------------------------------------


def test_an_evolution_takes_the_steps_of_the_flow() -> None:
    F, u = Heat(), random(5, 5).requires_grad_()
    T = evolution(F)
    assert torch.equal(T(u, 1.1), F.flow(u.detach(), 1.1).u) and not T(u, 1.1).requires_grad
    assert torch.equal(evolution(F, 2.0, SemiImplicit)(u, 4.0), F.flow(u.detach(), 4.0, 2.0, SemiImplicit).u)
    assert torch.equal(T(u, 0.0), u)


def test_recursivity_holds_at_multiples_of_the_step() -> None:
    T, u = evolution(PeronaMalik(Exponential(0.5))), random(6, 6)
    assert axioms.recursivity(T, u, 0.5, 0.75) < 1e-12
    assert axioms.recursivity(T, u, 0.3, 0.4) > 1e-4


def test_heat_obeys_all_but_contrast() -> None:
    u, v = random(8, 8), random(8, 8)
    T = evolution(Heat(1.0, 2, "periodic"))
    small = [
        axioms.maximum_principle(T, u, 2.0),
        axioms.comparison(T, u, torch.maximum(u, v), 2.0),
        axioms.grey_shift(T, u, 2.0),
        axioms.linearity(T, u, v, 2.0, 3.0),
        axioms.translation(T, u, 2.0),
        axioms.rotation(T, u, 2.0),
        axioms.mean(T, u, 2.0),
        axioms.locality(T, u, 0.5, 2.0),
    ]
    assert max(small) < 1e-12
    assert axioms.contrast(T, u, 2.0, torch.exp) > 0.1
    assert axioms.locality(T, u, 2.0, 2.0) > 1e-4  # eight steps see further than two pixels
    assert axioms.translation(evolution(Heat()), u, 1.0) > 0.01
    wide = random(24, 24)
    assert axioms.translation(evolution(Heat()), wide, 1.0, (9, 10), margin=4) < 1e-12


def test_perona_and_malik_do_not_compare() -> None:
    """Two edges, one raised on its bright side: steeper, it is diffused less, and the dark side stays lower. The grid's
    forward differences have a direction, Haar's crosses have not.
    """
    u = torch.zeros(4, 6, dtype=torch.float64)
    u[:, 3:] = 1.0
    v = u + 2.0 * (u > 0)
    T = evolution(PeronaMalik(Exponential(0.5)))
    assert axioms.comparison(T, u, v, 0.25) > 0.01
    assert axioms.comparison(evolution(Heat()), u, v, 0.25) == 0
    w = random(6, 6)
    assert axioms.rotation(T, w, 1.0) > 1e-3 and axioms.linearity(T, w, random(6, 6), 1.0) > 0.01
    assert max(axioms.maximum_principle(T, w, 5.0), axioms.mean(T, w, 5.0), axioms.grey_shift(T, w, 5.0)) < 1e-12


def test_motions_of_level_lines_nearly_commute_with_contrast_and_lose_the_mean() -> None:
    u, v = random(10, 10), random(10, 10)
    median = evolution(MedianMotion(radius=2))
    assert axioms.contrast(median, u, 6.0, lambda w: 3 * w - 1) < 1e-12
    assert axioms.contrast(median, u, 6.0, torch.exp) < axioms.contrast(evolution(Heat()), u, 6.0, torch.exp) / 3
    assert axioms.comparison(median, u, torch.maximum(u, v), 6.0) == 0
    assert axioms.rotation(median, u, 6.0) < 1e-12 and axioms.mean(median, u, 6.0) > 1e-3
    smooth = torch.sin(torch.linspace(0, 3, 12).double())[:, None] * torch.linspace(1, 2, 12).double()
    curvature = evolution(CurvatureMotion(eps=1e-8))
    heat = evolution(Heat())
    assert axioms.contrast(curvature, smooth, 0.5, torch.exp) < axioms.contrast(heat, smooth, 0.5, torch.exp) / 3


def test_a_smoothed_diffusivity_looks_further() -> None:
    """Within one step: the picture at radius 1, plus the Gaussian of sigma; plus Selling's edges."""
    u = random(31, 31)
    for F, near, far in (
        (PeronaMalik(Exponential(0.5), Gradient()), 2.0, 2.0),
        (PeronaMalik(Exponential(0.5), Gradient(), 1.0), 2.0, 8.0),
        (TensorDiffusion(lambda m, n: (0.1 * torch.ones_like(m), torch.ones_like(n)), 1.0), 2.0, 14.0),
    ):
        T = evolution(F, None, Euler)
        assert axioms.locality(T, u, F.max_dt, far) < 1e-12
        assert (axioms.locality(T, u, F.max_dt, near) > 1e-6) == (near < far)
