"""Lesson 05: what its checks say to right and wrong answers, and whether its explorer tells the truth."""

import math

import pytest
import torch
from torch import Tensor

from companion import FISTA, ROF, Divergence, Gradient, rof_dual, run
from companion.lab import curves, explorers, loglog
from companion.lab.exercises import lesson_05 as exercises
from companion.lab.explorers import lesson_05 as explorer
from companion.lab.show import CYCLE
from tests.verdicts import says


def _size(p: Tensor) -> Tensor:
    return torch.linalg.vector_norm(p, dim=-3, keepdim=True)


PROJECTIONS = {
    "right": lambda p, r: p / (_size(p) / r).clamp_min(1),
    "right ": lambda p, r: torch.where(_size(p) > r, r * p / _size(p), p),
    "a square, not a disc": lambda p, r: p.clamp(-r, r),
    "divides 0 by 0": lambda p, r: r * p / _size(p),
    "which must stay": lambda p, r: r * p / _size(p).clamp_min(1e-12),
    "holds in each pixel": lambda p, r: p / max(1.0, float(p.norm()) / r),
    "r is missing": lambda p, r: p / _size(p).clamp_min(1),
    "multiply by r": lambda p, r: p / _size(p).clamp_min(r),
    "the sum |p_1| + |p_2|": lambda p, r: p / (p.abs().sum(-3, keepdim=True) / r).clamp_min(1),
    "the larger component": lambda p, r: p / (p.abs().amax(-3, keepdim=True) / r).clamp_min(1),
    "the root is missing": lambda p, r: p / (_size(p) ** 2 / r).clamp_min(1),
    "the wrong axis": lambda p, r: p / (torch.linalg.vector_norm(p, dim=-1, keepdim=True) / r).clamp_min(1),
    "other half of Moreau": lambda p, r: p - p / (_size(p) / r).clamp_min(1),
    "soft thresholding of each component": lambda p, r: p.sign() * (p.abs() - r).clamp_min(0),
    "nothing is shortened": lambda p, r: p,
    "differs from the right one": lambda p, r: p / (1 + _size(p) / r),
    "has shape": lambda p, r: p[0],
    "not yet": lambda p, r: ...,
}


@pytest.mark.parametrize("words", PROJECTIONS)
def test_the_projection(words: str) -> None:
    assert words.strip() in says(exercises.projection, PROJECTIONS[words])


def _back(p: Tensor, h: float, *, before: str = "zero", last: bool = True) -> Tensor:
    a, b = p.clone()
    if last:
        a[-1], b[:, -1] = 0, 0
    shift = {"zero": 0.0, "same": 1.0}[before]
    da = torch.cat([a[:1] * (1 - shift), a[1:] - a[:-1]])
    db = torch.cat([b[:, :1] * (1 - shift), b[:, 1:] - b[:, :-1]], 1)
    return (da + db) / h


DIVERGENCES = {
    "right": lambda p, h: _back(p, h),
    "right ": lambda p, h: Divergence(h)(p),
    "D^T p = -div p": lambda p, h: Gradient(h).adjoint(p),
    "h is missing": lambda p, h: _back(p, 1.0),
    "h multiplies": lambda p, h: _back(p, 1 / h),
    "has backward ones": lambda p, h: (
        (torch.cat([p[0, 1:], p[0, -1:]]) - p[0] + torch.cat([p[1, :, 1:], p[1, :, -1:]], 1) - p[1]) / h
    ),
    "in the last row": lambda p, h: _back(p, h, last=False),
    "not as its neighbour": lambda p, h: _back(p, h, before="same", last=False),
    "wraps around the border": lambda p, h: (p[0] - p[0].roll(1, 0) + p[1] - p[1].roll(1, 1)) / h,
    "differences that wrap": lambda p, h: (p[0].roll(-1, 0) - p[0] + p[1].roll(-1, 1) - p[1]) / h,
    "exchanged": lambda p, h: _back(p.flip(0), h),
    "differences of p, padded by 0": lambda p, h: (
        (torch.diff(p[0], dim=0, append=0 * p[0, -1:]) + torch.diff(p[1], dim=1, append=0 * p[1, :, -1:])) / h
    ),
    "reversed, <D u, p> = -<u, div p>; and": lambda p, h: -_back(p, h, last=False),
    "p_2 is missing": lambda p, h: _back(torch.stack([p[0], 0 * p[1]]), h),
    "p_1 is missing": lambda p, h: _back(torch.stack([0 * p[0], p[1]]), h),
    "not 0": lambda p, h: torch.zeros_like(p[0]) + 1,
}


@pytest.mark.parametrize("words", DIVERGENCES)
def test_the_divergence(words: str) -> None:
    assert words.strip() in says(exercises.divergence, DIVERGENCES[words])


def _pair(f1: float, f2: float, t: float) -> tuple[float, float]:
    m, e = (f1 + f2) / 2, (f2 - f1) / 2
    d = math.copysign(max(abs(e) - t, 0.0), e)
    return m - d, m + d


def _with(f1: float, f2: float, d: float) -> tuple[float, float]:
    return (f1 + f2) / 2 - d, (f1 + f2) / 2 + d


PAIRS = {
    "right": lambda a, b, nu: _pair(a, b, nu),
    "moves it by nu/2": lambda a, b, nu: _pair(a, b, nu / 2),
    "moves it by 2 nu": lambda a, b, nu: _pair(a, b, 2 * nu),
    "they have crossed": lambda a, b, nu: (a + math.copysign(nu, b - a), b - math.copysign(nu, b - a)),
    "towards 0": lambda a, b, nu: (max(a - nu, 0.0), max(b - nu, 0.0)),
    "averages them always": lambda a, b, nu: ((a + b) / 2, (a + b) / 2),
    "they move apart: TV": lambda a, b, nu: _pair(a, b, -nu),
    "they move apart, or cross": lambda a, b, nu: (a + nu, b - nu),
    "the sign is lost: d = sign(e)": lambda a, b, nu: _with(a, b, max((b - a) / 2 - nu, 0.0)),
    "the sign is lost: d has": lambda a, b, nu: _with(a, b, max(abs(b - a) / 2 - nu, 0.0)),
    "right ": lambda a, b, nu: torch.tensor(_pair(a, b, nu)),
    "the pair (u_1, u_2)": lambda a, b, nu: a,
    "mean must be": lambda a, b, nu: (a, a),
}


@pytest.mark.parametrize("words", PAIRS)
def test_the_two_pixels(words: str) -> None:
    assert words.strip() in says(exercises.two_pixels, PAIRS[words])


def test_two_pixels_by_brute_force() -> None:
    """The formula that the check calls right minimises nu |u_2 - u_1| + |u - f|^2 / 2 over a fine grid."""
    grid = torch.linspace(0, 1, 401, dtype=torch.float64)
    u1, u2 = torch.meshgrid(grid, grid, indexing="ij")
    for a, b, nu in ((0.2, 1.0, 0.1), (0.9, 0.1, 0.15), (0.4, 0.5, 0.3)):
        cost = nu * (u2 - u1).abs() + ((u1 - a) ** 2 + (u2 - b) ** 2) / 2
        i = int(cost.argmin())
        assert abs(float(u1.flatten()[i]) - _pair(a, b, nu)[0]) < 3e-3
        assert abs(float(u2.flatten()[i]) - _pair(a, b, nu)[1]) < 3e-3


def _midpoints(a: float, R: float, n: int = 2000) -> float:
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return float((2 * math.pi * R * (1 - t).sqrt()).mean()) * a


HILLS = {
    "right": lambda a, R: 4 * math.pi * a * R / 3,
    "right ": _midpoints,
    "anisotropic": lambda a, R: 16 * a * R / 3,
    "hill's volume": lambda a, R: math.pi * a * R**2 / 2,
    "Tikhonov's": lambda a, R: 2 * math.pi * a**2,
    "value of a cone": lambda a, R: math.pi * a * R,
    "perimeter of the foot": lambda a, R: 2 * math.pi * a * R,
    "height a is missing": lambda a, R: 4 * math.pi * R / 3,
    "not pi r": lambda a, R: 2 * math.pi * a * R / 3,
    "integral of |u_1|": lambda a, R: 8 * a * R / 3,
    "is a number": lambda a, R: "4",
}


@pytest.mark.parametrize("words", HILLS)
def test_the_hill(words: str) -> None:
    assert words.strip() in says(exercises.hill, HILLS[words])


def test_the_hill_by_quadrature() -> None:
    """The integral of |grad u| on a fine grid, a = 1, R = 1/4: 4 pi a R / 3, and |u_1| + |u_2| gives 16 a R / 3."""
    n = 1024
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
    u = (1 - (x[:, None] ** 2 + x**2) / 0.25**2).clamp_min(0)
    slopes = Gradient(h=1 / n)(u)
    assert abs(float(_size(slopes).mean()) - math.pi / 3) < 2e-3
    assert abs(float(slopes.abs().sum(0).mean()) - 4 / 3) < 2e-3


def _rest(R: float) -> float:
    return 1 - math.pi * R**2


VANISHINGS = {
    "right": lambda R: 2 / (R * _rest(R)),
    "weight of the regulariser": lambda R: R * _rest(R) / 2,
    "they meet earlier": lambda R: 2 / R,
    "and (3.2) has lambda": lambda R: R / 2,
    "factor 2 is missing": lambda R: 1 / (R * _rest(R)),
    "this has it over 1": lambda R: 2 / R + 2 * math.pi * R,
    "outside rises": lambda R: 2 / R - 2 * math.pi * R / _rest(R),
    "is a number": lambda R: [R],
}


@pytest.mark.parametrize("words", VANISHINGS)
def test_the_vanishing_disc(words: str) -> None:
    assert words in says(exercises.vanishing, VANISHINGS[words])


@pytest.mark.parametrize("picture", ["photograph", "disc", "ramp"])
@pytest.mark.parametrize("nu", [0.06, 1.0])
def test_the_explorer_shows_the_minimiser(picture: str, nu: float) -> None:
    """Within 0.006 of the dual's solution in double precision, on average over the pixels of the default size."""
    _, f = explorer.data(picture, 128)
    isotropic = picture != "ramp"
    problem = ROF(f.double(), nu, Gradient(), isotropic)
    best = run(FISTA(rof_dual(problem), restart=True), f.double(), k=600)
    assert float(problem.gap(best.u, best.x.x) / problem(best.u)) < 2e-3
    assert float((explorer.rof(f, nu, isotropic) - best.u).abs().mean()) < 0.006


def test_the_explorer_shows_the_loss_of_contrast() -> None:
    """The disc of radius 32 pixels loses 2 nu / 32 inside, with TV; a huge weight takes all variation."""
    for nu in (0.2, 0.8):
        facts = explorers.variation(picture="disc", nu=nu)[1]
        assert abs(float(facts["mean of the middle"]) - (0.8 - 2 * nu / 32)) < 0.01
    flat = explorers.variation(picture="disc", model="squares", nu=1e4)[1]
    assert float(flat["total variation"].split()[0]) < 0.2
    kept = explorers.variation(picture="photograph", nu=1e-4)[1]
    assert kept["PSNR of the data"][:4] == kept["PSNR"][:4]


def test_the_figures_of_the_lesson() -> None:
    """`loglog(shared=True)` has one legend; `curves(truth=...)` draws the truth in black and leaves the cycle alone."""
    panels = {title: {"a": ([0.5, 0.25], [1.0, 0.5]), "b": ([0.5, 0.25], [2.0, 0.2])} for title in ("left", "right")}
    fig = loglog(panels, shared=True)
    assert len(fig.legends) == 1 and all(ax.get_legend() is None for ax in fig.axes)
    assert all(ax.get_legend() is not None for ax in loglog(panels).axes)
    truth, found = curves({"": {"truth": [0, 1], "found": [0, 2]}}, truth="truth").axes[0].lines
    assert truth.get_color() == "black" and found.get_color() == CYCLE[0]
