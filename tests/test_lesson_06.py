"""Lesson 06: what its checks say to right and wrong answers, and what its explorer shows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import Exponential, check_diffusivity, gaussian_smooth, run
from companion.lab import explorers, psnr
from companion.lab.exercises import lesson_06 as exercises
from companion.lab.explorers import lesson_06
from tests.verdicts import says

THRESHOLDS = {
    "right": lambda lam: lam**2 / 3,
    "this is the slope": lambda lam: lam / 3**0.5,
    "factor 2": lambda lam: lam**2,
    "enters squared": lambda lam: lam / 3,
    "upside down": lambda lam: 3 * lam**2,
    "the left side has g too": lambda lam: lam**2 / 4,
    "the sign of g'": lambda lam: -(lam**2) / 5,
    "must be 0 there": lambda lam: 0.123 * lam**2,
    "so K > 0": lambda lam: -(lam**2) / 3,
    "(g + 2 x g')/g is -3 at your K": lambda lam: 1e9,
    "must be a number": lambda lam: "lam^2 / 3",
    "not finite": lambda lam: float("inf"),
    "not yet": lambda lam: ...,
}


@pytest.mark.parametrize("words", THRESHOLDS)
def test_the_threshold(words: str) -> None:
    assert words in says(exercises.threshold, THRESHOLDS[words])


CONDITIONS = {
    "right": ("backward", "positive", None, "decreasing"),
    "right ": ("backward", "positive", "none", "decreasing"),
    "a: ": (None, "positive", None, "decreasing"),
    "b: the first": ("backward", "backward", None, "decreasing"),
    "c: ": ("backward", "positive", "limit", "decreasing"),
    "d: ": ("backward", "positive", None, None),
    "is none of": ("forward", "positive", None, "decreasing"),
}


@pytest.mark.parametrize("words", CONDITIONS)
def test_the_conditions(words: str) -> None:
    answer = {key: value if value is not None else "none" for key, value in zip("abcd", CONDITIONS[words], strict=True)}
    assert words.strip() in says(exercises.conditions, answer)
    assert "no answer for b, c, d" in says(exercises.conditions, {"a": "backward"})


@pytest.mark.parametrize(("key", "broken"), exercises.FAILS.items())
def test_what_the_conditions_say_of_the_four(key: str, broken: str) -> None:
    """On a fine grid of x: the first condition of (3.3) that fails is the one named."""
    x = torch.linspace(1e-3, 60, 60_000, dtype=torch.float64, requires_grad=True)
    g = {
        "a": (1 + x) ** -0.5,
        "b": (1 - x / 4).clamp_min(0) ** 2,
        "c": 1 - torch.exp(-3.315 / x**4),
        "d": (1 + x) * torch.exp(-x / 2),
    }[key]
    (slope,) = torch.autograd.grad(g.sum(), x)
    normal = (g + 2 * x * slope).detach()
    fails = {
        "positive": bool((g <= 0).any()),
        "decreasing": bool((slope > 1e-12).any()),
        "limit": bool(g[-1] > 0.2),
        "backward": not bool((normal < 0).any() and int((normal.sign().diff() != 0).sum()) <= 2),
    }
    assert next((name for name, failed in fails.items() if failed), "") == broken


BOUNDS = {
    "right": (0.3, 0.375),
    "right ": [3 / 10, 3 / 8],
    "exchanged": (0.375, 0.3),
    "five-point": (0.25, 0.375),
    "upside down: 1 -": (10 / 3, 0.375),
    "the division by 6 is missing: the centre": (0.05, 0.375),
    ">= -1 is asked": (0.6, 0.375),
    "a mean asks for more": (0.375, 0.5),
    "centre's weight is": (0.2, 0.375),
    "Another frequency": (0.3, 0.5),
    "this is 1/|a|": (0.3, 3 / 16),
    "the bound of the mean again": (0.3, 0.3),
    "upside down: 2": (0.3, 8 / 3),
    "division by 6 is missing in the symbol": (0.3, 1 / 16),
    "checkerboard": (0.3, 0.4),
    "not the largest": (0.3, 0.35),
    "two numbers": (0.3,),
    "must be a number": (0.3, "0.375"),
}


@pytest.mark.parametrize("words", BOUNDS)
def test_the_bounds(words: str) -> None:
    answer = BOUNDS[words]
    if words == "must be a number":
        answer = (0.3, [0.375, 1])
    assert words.strip() in says(exercises.bounds, answer)


def test_the_two_bounds_are_those_of_the_nine_point_scheme() -> None:
    """Measured: at 0.3 a step is a mean, at 0.31 not; at 0.375 the checkerboard is kept, beyond it grows."""
    K = torch.tensor([[1.0, 4, 1], [4, -20, 4], [1, 4, 1]], dtype=torch.float64) / 6
    w = torch.linspace(0, torch.pi, 65, dtype=torch.float64)
    k = torch.arange(3) - 1
    symbol = torch.einsum("ij,ai,bj->ab", K, torch.cos(w[:, None] * k), torch.cos(w[:, None] * k))
    assert 1 + 0.3 * K[1, 1] == pytest.approx(0) and 1 + 0.31 * K[1, 1] < 0
    assert float((1 + 0.375 * symbol).abs().max()) <= 1 + 1e-12 < float((1 + 0.38 * symbol).abs().max())


def _differences(u: Tensor) -> tuple[Tensor, Tensor]:
    p, q = torch.zeros_like(u), torch.zeros_like(u)
    p[:-1], q[:, :-1] = u[1:] - u[:-1], u[:, 1:] - u[:, :-1]
    return p, q


def _divergence(P: Tensor, Q: Tensor) -> Tensor:
    out = P + Q
    out[1:] -= P[:-1]
    out[:, 1:] -= Q[:, :-1]
    return out


def _flow(u: Tensor, coefficient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    p, q = _differences(u)
    c, d = coefficient(p, q)
    return _divergence(c * p, d * q)


def _wrapped(u: Tensor, g: Callable) -> Tensor:
    p, q = u.roll(-1, 0) - u, u.roll(-1, 1) - u
    c = g(p**2 + q**2)
    return c * p - (c * p).roll(1, 0) + c * q - (c * q).roll(1, 1)


def _forwards(u: Tensor, g: Callable) -> Tensor:
    p, q = _differences(u)
    c = g(p**2 + q**2)
    return _differences(c * p)[0] + _differences(c * q)[1]


def _rolled(u: Tensor, g: Callable) -> Tensor:
    """A forward divergence by torch.roll, which wraps."""
    p, q = _differences(u)
    c = g(p**2 + q**2)
    return (c * p).roll(-1, 0) - c * p + (c * q).roll(-1, 1) - c * q


def _backwards(u: Tensor, g: Callable) -> Tensor:
    """Backward differences inside, forward ones outside: the scheme of the picture turned by 180 degrees."""
    return _flow(u.flip(0, 1), lambda p, q: (g(p**2 + q**2),) * 2).flip(0, 1)


def _inner(u: Tensor, g: Callable, dt: float) -> Tensor:
    """The step where there are four neighbours; the border is left."""
    out, new = u.clone(), u + dt * _flow(u, lambda p, q: (g(p**2 + q**2),) * 2)
    out[1:-1, 1:-1] = new[1:-1, 1:-1]
    return out


def _dark(u: Tensor, g: Callable, dt: float) -> Tensor:
    """Zeros beyond the border."""
    p = torch.cat([u[1:], 0 * u[:1]], 0) - u
    q = torch.cat([u[:, 1:], 0 * u[:, :1]], 1) - u
    c = g(p**2 + q**2)
    return u + dt * _divergence(c * p, c * q)


STEPS = {
    "right": lambda u, g, dt: u + dt * _flow(u, lambda p, q: (g(p**2 + q**2),) * 2),
    "runs backwards everywhere": lambda u, g, dt: u - dt * _flow(u, lambda p, q: (g(p**2 + q**2),) * 2),
    "each difference alone": lambda u, g, dt: u + dt * _flow(u, lambda p, q: (g(p**2), g(q**2))),
    "this gives it |grad u|": lambda u, g, dt: u + dt * _flow(u, lambda p, q: (g((p**2 + q**2).sqrt()),) * 2),
    "the border wraps round": lambda u, g, dt: u + dt * _wrapped(u, g),
    "two forward differences": lambda u, g, dt: u + dt * _forwards(u, g),
    "two forward differences ": lambda u, g, dt: u + dt * _rolled(u, g),
    "backward differences inside": lambda u, g, dt: u + dt * _backwards(u, g),
    "not at the border": _inner,
    "not at the border ": _dark,
    "before the divergence": lambda u, g, dt: (
        u + dt * g(sum(v**2 for v in _differences(u))) * _divergence(*_differences(u))
    ),
    "the heat equation": lambda u, g, dt: u + dt * _divergence(*_differences(u)),
    "u itself is missing": lambda u, g, dt: dt * _flow(u, lambda p, q: (g(p**2 + q**2),) * 2),
    "dt is missing": lambda u, g, dt: u + _flow(u, lambda p, q: (g(p**2 + q**2),) * 2),
    "must have shape": lambda u, g, dt: u[1:],
    "not yet": lambda u, g, dt: ...,
}


@pytest.mark.parametrize("words", STEPS)
def test_the_step(words: str) -> None:
    assert words.strip() in says(exercises.step, STEPS[words])


def _edges(a: float, b: float, c: float, diagonal: float, flipped: bool = False) -> Tensor:
    one, other = (max(b, 0.0), max(-b, 0.0)) if not flipped else (max(-b, 0.0), max(b, 0.0))
    x, y = a - abs(b) * diagonal, c - abs(b) * diagonal
    w = torch.tensor([[one, x, other], [y, 0, y], [other, x, one]], dtype=torch.float64)
    w[1, 1] = -w.sum()
    return w


def _central(a: float, b: float, c: float) -> Tensor:
    return torch.tensor([[b / 2, a, -b / 2], [c, -2 * a - 2 * c, c], [-b / 2, a, b / 2]], dtype=torch.float64)


def _both_diagonals(a: float, b: float, c: float) -> Tensor:
    """Both diagonals, with the difference b of their weights: as good, where there is room."""
    spare = (min(a, c) - abs(b)) / 4
    return _edges(a, b, c, 1.0) + spare * torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])


def _leaning(a: float, b: float, c: float) -> Tensor:
    """Right on quadratic polynomials, not on cubic ones."""
    w = _edges(a, b, c, 1.0)
    return w + 0.02 * torch.tensor([[1.0, -2, 1], [0, 0, 0], [-1, 2, -1]])


STENCILS = {
    "right": lambda a, b, c: _edges(a, b, c, 1.0),
    "right ": lambda a, b, c: _edges(a, b, c, 1.0).tolist(),
    "right  ": _both_diagonals,
    "a weight is -0.125": _central,
    "wrong diagonal": lambda a, b, c: _edges(a, b, c, 1.0, flipped=True),
    "take their share": lambda a, b, c: _edges(a, b, c, 0.0),
    "runs down the page": lambda a, b, c: _edges(c, b, a, 1.0, flipped=True),
    "axes are exchanged": lambda a, b, c: _edges(c, b, a, 1.0),
    "sum to": lambda a, b, c: _edges(a, b, c, 1.0).abs(),
    "on quadratic polynomials": lambda a, b, c: _edges(a, b, c, 1.0) / 2,
    "shape (3, 3)": lambda a, b, c: [a, b, c],
    "equal weights": _leaning,
    "nine numbers": lambda a, b, c: "a",
    "not yet": lambda a, b, c: ...,
}


@pytest.mark.parametrize("words", STENCILS)
def test_the_stencil(words: str) -> None:
    assert words.strip() in says(exercises.stencil, STENCILS[words])


def test_the_threshold_is_found_where_g_underflows() -> None:
    """exp(-x / (2 sigma^2)) becomes a denormal number long before the last point looked at."""
    for sigma in (0.1, 0.37, 2.0, 30.0):
        assert check_diffusivity(Exponential(sigma)) == pytest.approx(sigma**2, rel=1e-12)
    assert check_diffusivity(lambda x: torch.exp(-x.sqrt())) == pytest.approx(1, rel=1e-12)


FLOWS = list(lesson_06.FLOWS)


@pytest.mark.parametrize("name", FLOWS)
def test_the_explorer_starts_at_the_picture(name: str) -> None:
    """At t = 0 nothing is taken away; later it is, and what a field promises of extrema and mean is kept."""
    _, before = explorers.flow(flow=name, t=0.0)
    _, after = explorers.flow(flow=name, t=3.0)
    assert before["steps"] == 0 < after["steps"] and before["PSNR"] != after["PSNR"]
    F, longest, _ = lesson_06.FLOWS[name](0.05)
    assert longest <= F.max_dt
    assert not F.maximum_principle or after["beyond the extrema"] == "nothing"
    assert not F.keeps_mean or after["change of the mean"] == "0.000"


@pytest.mark.parametrize("name", lesson_06.TENSORS)
def test_the_explorer_renews_its_tensor_often_enough(name: str) -> None:
    """With a sixth of the tensors: over 40 dB to the flow with all, where u_0 has less than 30; the range is kept."""
    F, longest, each = lesson_06.FLOWS[name](0.05)
    for picture in ("noisy photograph", "fur"):
        u0, _ = lesson_06.start(picture, 128)
        k = round(8 / longest / each) + 1
        lagged = run(lesson_06.lagged(F, 8 / k / each, each), u0, k=k).u
        exact = F.flow(u0, 8.0).u
        assert psnr(exact, u0) < 30 and psnr(lagged, exact) > 40
        assert float(lagged.max()) <= float(u0.max()) + 1e-6 and float(lagged.min()) >= float(u0.min()) - 1e-6


def test_the_explorer_of_heat_is_a_gaussian() -> None:
    """u(t) = G_sigma * u_0, sigma = (2t)^{1/2}: the same PSNR to a tenth of a decibel."""
    u0, u = lesson_06.start("noisy photograph", 128)
    _, facts = explorers.flow(flow="heat", t=8.0)
    assert float(facts["PSNR"].split()[0]) == pytest.approx(psnr(gaussian_smooth(u0, 4.0), u), abs=0.1)
