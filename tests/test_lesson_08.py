"""Lesson 08: what its checks say to right and wrong answers, and what its explorers show."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import (
    Charbonnier,
    Firm,
    FrameGradient,
    FrameletTransform,
    Garrote,
    Hard,
    Isotropic,
    Rational,
    Shrinkage,
    Soft,
    bspline,
    run,
    shrinkage_from,
)
from companion.lab import explorers
from companion.lab.exercises import lesson_08 as exercises
from companion.lab.explorers import lesson_08
from companion.lab.explorers.drawing import noisy
from tests.verdicts import says


def level(front: float, inside: float, power: int = 1) -> Callable:
    """front tau/h^2 g((inside/h^2 |d|^2)^(1/power)): the right one and its relatives."""
    return lambda x, y, g, tau, h: front * tau / h**2 * g((inside / h**2 * (x**2 + y**2)) ** (1 / power))


ROOT = math.sqrt(2)
LEVELS = {
    "right": level(2, 2),
    "this is Haar's level": level(4, 4),
    "inside g stands Haar's": level(2, 4),
    "in front stands Haar's": level(4, 2),
    "g is asked at the coefficients": lambda x, y, g, tau, h: 2 * tau / h**2 * g(x**2 + y**2),
    "as printed: the gammas": lambda x, y, g, tau, h: ROOT * tau / h * g(x**2 + y**2),
    "a level is a number": lambda x, y, g, tau, h: ROOT * tau / h * g(2 / h**2 * (x**2 + y**2)),
    "this gives it |grad u|": level(2, 2, 2),
    "one band alone": lambda x, y, g, tau, h: 2 * tau / h**2 * g(2 / h**2 * x**2),
    "what is left": lambda x, y, g, tau, h: 1 - 2 * tau / h**2 * g(2 / h**2 * (x**2 + y**2)),
    "gamma^2 is upside down": lambda x, y, g, tau, h: tau * h**2 / 2 * g(h**2 / 2 * (x**2 + y**2)),
    "so gamma^2 = 2/h^2: here it is 1": level(0.5, 0.5),
    "tau is missing": lambda x, y, g, tau, h: 2 / h**2 * g(2 / h**2 * (x**2 + y**2)),
    "h is missing inside g": lambda x, y, g, tau, h: 2 * tau / h**2 * g(2 * (x**2 + y**2)),
    "8/h^2 stands here": level(8, 8),
    "g is missing": lambda x, y, g, tau, h: 2 * tau / h**2 + 0 * x,
    "must have shape": lambda x, y, g, tau, h: x[0],
    "times what it must be": level(6, 2),
    "not yet": lambda x, y, g, tau, h: ...,
}


@pytest.mark.parametrize("words", LEVELS)
def test_the_level(words: str) -> None:
    assert words in says(exercises.level, LEVELS[words])


def garrote(front: Callable, kappa: Callable, power: float = 1, cap: bool = True) -> Callable:
    """front(tau, h) min(1, (kappa(theta, h)/s)^power)."""

    def g(s: Tensor, theta: float, tau: float, h: float) -> Tensor:
        ratio = (kappa(theta, h) / s) ** power
        return front(tau, h) * (ratio.clamp(max=1) if cap else ratio)

    return g


def unit(tau: float, h: float) -> float:
    return h**2 / (4 * tau)


def kappa(theta: float, h: float) -> float:
    return 4 * theta**2 / h**2


DIFFUSIVITIES = {
    "right": garrote(unit, kappa),
    "the level at the slope": garrote(lambda tau, h: 1, kappa),
    "the coefficient is sqrt(s)": garrote(unit, lambda theta, h: theta**2),
    "upside down: t =": garrote(unit, lambda theta, h: theta**2 * h**2 / 4),
    "squares once more": lambda s, theta, tau, h: unit(tau, h) * (kappa(theta, h) / s**2).clamp(max=1),
    "this is soft's": garrote(unit, kappa, 0.5),
    "the cap is missing": garrote(unit, kappa, cap=False),
    "for piecewise linear": garrote(lambda tau, h: 2 * unit(tau, h), lambda theta, h: kappa(theta, h) / 2),
    "where it must divide": garrote(lambda tau, h: 1 / unit(tau, h), kappa),
    "1/tau, is missing": garrote(lambda tau, h: h**2 / 4, kappa),
    "gamma^2 is missing": garrote(lambda tau, h: 1 / tau, kappa),
    "the level itself": garrote(lambda tau, h: 1, lambda theta, h: theta**2),
    "this is the flux": lambda s, theta, tau, h: s.sqrt() * garrote(unit, kappa)(s, theta, tau, h),
    "the level is squared": garrote(unit, kappa, 2),
    "differs from the right one": garrote(unit, kappa, 3),
    "not yet": lambda s, theta, tau, h: ...,
}


@pytest.mark.parametrize("words", DIFFUSIVITIES)
def test_the_diffusivity(words: str) -> None:
    assert words in says(exercises.diffusivity, DIFFUSIVITIES[words])


def stepped(back: Callable[[Tensor], Tensor], scale: float = 0.5, sign: float = -1) -> Callable:
    def step(u: Tensor, lam: Callable) -> Tensor:
        d = (u - u.roll(-1)) * scale
        return u + sign * back(lam(d.abs()) * d)

    return step


def adjoint(p: Tensor) -> Tensor:
    return (p - p.roll(1)) / 2


def whole(average: bool) -> Callable:
    """Transform, shrink, transform back."""

    def step(u: Tensor, lam: Callable) -> Tensor:
        a, d = (u + u.roll(-1)) / 2, (u - u.roll(-1)) / 2
        a = a * (1 - lam(a.abs())) if average else a
        d = d * (1 - lam(d.abs()))
        return (a + a.roll(1) + d - d.roll(1)) / 2

    return step


def backward(u: Tensor, lam: Callable) -> Tensor:
    d = (u - u.roll(1)) / 2
    return u - adjoint(lam(d.abs()) * d)


def at_slope(u: Tensor, lam: Callable) -> Tensor:
    d = (u - u.roll(-1)) / 2
    return u - adjoint(lam(2 * d.abs()) * d)


def detail(u: Tensor, lam: Callable) -> Tensor:
    d = (u - u.roll(-1)) / 2
    return adjoint(d * (1 - lam(d.abs())))


def signed(u: Tensor, lam: Callable) -> Tensor:
    d = (u - u.roll(-1)) / 2
    return u - adjoint(lam(d) * d)


def kept(u: Tensor, lam: Callable) -> Tensor:
    d = (u - u.roll(-1)) / 2
    return u - adjoint(d * (1 - lam(d.abs())))


def analysed(u: Tensor, lam: Callable) -> Tensor:
    d = (u - u.roll(-1)) / 2
    return d * (1 - lam(d.abs()))


STEPS = {
    "right": stepped(adjoint),
    "right ": whole(average=False),
    "one is reversed, as in the paper's print": stepped(adjoint, sign=1),
    "do not match": stepped(adjoint, -0.5),
    "both differences go back": backward,
    "asked at twice the coefficient, the slope": at_slope,
    "transform it back with W_1^T": stepped(lambda p: p),
    "the average is missing": detail,
    "the shift of a transpose": stepped(lambda p: (p - p.roll(-1)) / 2),
    "and its sign is reversed": stepped(lambda p: (p - p.roll(-1)) / 2, sign=1),
    "so the level is asked at twice the coefficient": stepped(adjoint, 1.0),
    "of both W_1 and W_1^T": stepped(lambda p: p - p.roll(1), 1.0),
    "of W_1^T is missing": stepped(lambda p: p - p.roll(1)),
    "a function of |d|": signed,
    "the average is shrunk": whole(average=True),
    "u itself is missing": lambda u, lam: u - stepped(adjoint)(u, lam),
    "takes away the rest": kept,
    "transform them back": analysed,
    "must have shape": lambda u, lam: u[1:],
    "not yet": lambda u, lam: ...,
}


@pytest.mark.parametrize("words", STEPS)
def test_the_step(words: str) -> None:
    assert words.strip() in says(exercises.step, STEPS[words])


BOUNDS = {
    "right": (1 / 12, 32 / 81),
    "exchanged": (32 / 81, 1 / 12),
    "the first: max g is missing": (1 / 4, 32 / 81),
    "the first: h is upside down": (4 / 3, 32 / 81),
    "the first: these are Haar's": (1 / 48, 32 / 81),
    "the first: h is missing": (1 / 3, 32 / 81),
    "the first: gamma stands where": (1 / 6, 32 / 81),
    "the first: with tau = 0.3 the largest level is 3.6": (0.3, 32 / 81),
    "the second: max g is missing": (1 / 12, 32 / 27),
    "never add up to more": (1 / 12, 1 / 6),
    "2, not 1": (1 / 12, 16 / 81),
    "27/64 is upside down": (1 / 12, 27 / 384),
    "multiplied by -1.03": (1 / 12, 0.4),
    "two numbers": (1 / 8,),
    "got the text 'h^2/2'": ("h^2/2", 0.6),
    "not yet": (..., 1),
}


@pytest.mark.parametrize("words", BOUNDS)
def test_the_bounds(words: str) -> None:
    assert words in says(exercises.bounds, BOUNDS[words])


def test_the_bounds_are_those_of_the_package() -> None:
    """27/64 and both answers: cubic splines, h = 1/2, g(0) = 3."""
    S = shrinkage_from(lambda s: 3 * torch.exp(-s), FrameletTransform(bspline(4)), tau=1 / 12, h=0.5)
    assert S.gamma**2 == pytest.approx(4) and S.max_level == pytest.approx(1) and S.shrinks
    assert S.max_tau == pytest.approx(32 / 81, rel=1e-9)
    assert FrameGradient(bspline(4), h=0.5).bound / 4 == pytest.approx(27 / 64, rel=1e-9)


def sivashinsky(square: float = -0.5, second: float = -1, fourth: float = -1) -> Callable:
    return lambda Du, u: torch.stack([square * Du[0] ** 2, second * Du[1], fourth * Du[2]])


HALVES = [(0,), (1,), (2,)], [(1,), (1,), (2,)]
TERMS = {
    "right": (*HALVES, sivashinsky()),
    "right ": ([(0,)] * 3, [(1,), (2,), (4,)], sivashinsky()),
    "right  ": (*HALVES[:1], HALVES[1], lambda Du, u: torch.stack([-(Du[1] ** 2) / 2, -Du[0], -Du[2]])),
    "u_x^2 has the wrong sign": (*HALVES, sivashinsky(square=0.5)),
    "u_xx has the wrong sign": (*HALVES, sivashinsky(second=1)),
    "u_xxxx has the wrong sign": (*HALVES, sivashinsky(fourth=1)),
    "nearly u_t = -1.00 u_x^2": (*HALVES, sivashinsky(square=-1)),
    "nearly u_t = -0.00 u_x^2": (*HALVES, sivashinsky(square=0)),
    "is no sum of": ([(1,), (1,), (2,)], [(0,), (1,), (2,)], lambda Du, u: torch.stack([-(u**2) / 2, -Du[1], -Du[2]])),
    "and is no sum of": (*HALVES, lambda Du, u: torch.stack([-u, -Du[1], -Du[2]])),
    "FramePDE says: A term": ([(0,)] * 3, [(0,), (1,), (2,)], sivashinsky()),
    "FramePDE says: (4.6) has one": ([(0,)], [(1,), (2,)], sivashinsky()),
    "betas is a list": ([(0,)] * 3, [1, 1, 2], sivashinsky()),
    "Phi is a function": (*HALVES, 3),
    "three things": (*HALVES,),
    "not yet": (*HALVES, lambda Du, u: ...),
}


@pytest.mark.parametrize("words", TERMS)
def test_the_terms(words: str) -> None:
    assert words.strip() in says(exercises.terms, TERMS[words])


W = FrameletTransform(bspline(1))
CURVES = {"soft": Soft(0.03), "hard": Hard(0.03), "garrote": Garrote(0.03), "firm, 3 thresholds": Firm(0.03, 0.09)}


@pytest.mark.parametrize("name", CURVES)
def test_the_explorers_block_step_is_the_shrinkage(name: str) -> None:
    """All three bands of Haar in one group, by means over cells."""
    u = noisy(32).double()
    frame = run(Shrinkage(W, Isotropic(CURVES[name], W)), u, k=5).u
    blocks = run(lambda v: lesson_08.block_step(v, lesson_08.CURVES[name](0.03)), u, k=5).u
    torch.testing.assert_close(blocks, frame, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "tau", "rest"), [("rational", 0.7, 0.0), ("Charbonnier", 1.6, 0.4)])
def test_the_explorers_pair_step_is_the_shrinkage(name: str, tau: float, rest: float) -> None:
    u, g = noisy(32).double(), {"rational": Rational(0.05), "Charbonnier": Charbonnier(0.05)}[name]
    frame = run(Shrinkage(W, shrinkage_from(g, W, tau / 4, rest=rest)), u, k=5).u
    cross = run(lambda v: lesson_08.pair_step(v, lesson_08.LAWS[name](0.05), tau, rest), u, k=5).u
    torch.testing.assert_close(cross, frame, rtol=0, atol=1e-12)


def test_a_drawn_level_goes_through_its_points() -> None:
    values = (1.0, 0.8, 0.5, 0.3, 0.1)
    level = lesson_08.drawn(0.02, values)
    t = 0.02 * torch.tensor([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 9.0])
    torch.testing.assert_close(level(t), torch.tensor([1.0, 0.9, 0.8, 0.5, 0.4, 0.3, 0.1, 0.1]))


def test_the_explorer_of_shrinkages_tells_the_truth() -> None:
    """K^(1/2) = 2 theta or infinity; soft is never steeper than the identity, firm has the slope mu/(mu - theta)."""
    facts = {name: explorers.dictionary(curve=name, threshold=0.02)[1] for name in CURVES}
    assert facts["soft"]["K^(1/2)"] == "infinite" and facts["soft"]["steepest S'"] == "1.00"
    assert facts["soft"]["backward at the start"] == "0 % of the cells"
    for name in ("hard", "garrote", "firm, 3 thresholds"):
        assert float(facts[name]["K^(1/2)"]) == pytest.approx(0.04, abs=1.1e-3)
    assert facts["hard"]["steepest S'"] == "infinite, a jump"
    assert float(facts["firm, 3 thresholds"]["steepest S'"]) == pytest.approx(1.5, abs=0.01)
    variance = W(noisy(128))[1:].square().sum(0)
    share = float(((variance > 0.02**2) & (variance < 0.06**2)).double().mean())
    assert float(facts["firm, 3 thresholds"]["backward at the start"].split()[0]) == pytest.approx(100 * share, abs=1)
    for at_2, at_4, turns in ((0.667, 0.445, False), (0.65, 0.445, True), (0.667, 0.43, True)):  # 2/3 and 4/9
        assert (explorers.dictionary(at_2=at_2, at_4=at_4)[1]["K^(1/2)"] != "infinite") == turns
    heat = explorers.dictionary(at_1=1.0, at_2=1.0, at_4=1.0)[1]
    assert heat["K^(1/2)"] == "infinite" and heat["backward at the start"] == "0 % of the cells"


def test_the_explorer_of_diffusivities_tells_the_truth() -> None:
    """K^(1/2) is the contrast; at (pi, pi) (1 - rest)^k is left, for any law; extrema are kept up to tau = h^2/2."""
    for name in ("rational", "exponential"):
        facts = explorers.diffusing(diffusivity=name, contrast=0.08)[1]
        assert float(facts["K^(1/2)"]) == pytest.approx(0.08, abs=2e-3)
    assert explorers.diffusing(diffusivity="Charbonnier")[1]["K^(1/2)"] == "infinite"
    assert explorers.diffusing(tau=2.0)[1]["beyond the extrema"] == "0.000"
    assert explorers.diffusing(tau=1.5)[1]["largest level"] == "1.50: no shrinkage"
    for name in lesson_08.LAWS:
        assert explorers.diffusing(diffusivity=name)[1]["left at (π, π)"] == "100 %"
    assert explorers.diffusing(rest=0.1, k=20)[1]["left at (π, π)"] == f"{100 * 0.9**20:.0f} %"


def test_a_flux_leaves_its_panel() -> None:
    """The flux of heat is not drawn as one with a cap: beyond the upper edge there is nothing, under it both curves."""
    row = torch.linspace(0, 4, 64)
    assert (lesson_08.plot(row, row, clip=True)[:, 17:] == 255).all()
    assert (lesson_08.plot(row, row)[:2, 17:] < 255).any(-1).all()
    assert (lesson_08.plot(row, row, clip=True)[:, :15] < 255).any(-1).any(0).all()
