"""Lesson 13: what its checks say to right and wrong answers, and what its explorers show."""

import math

import numpy as np
import pytest
import torch

from companion.lab import explorers
from companion.lab.exercises import lesson_13 as exercises
from companion.lab.explorers import lesson_13
from companion.nets.symnet import SymNet
from tests.verdicts import says


def parameters(n: int, m: int) -> int:
    return sum(p.numel() for p in SymNet(n, m).parameters())


COUNTS = {
    "right": lambda n, m: (parameters(n, m), math.comb(n + 2**m, n)),
    "also see the products": lambda n, m: ((n + 1) * (2 * m + 1), math.comb(n + 2**m, n)),
    "has a constant, too": lambda n, m: (parameters(n, m) - 2 * m - 1, 1),
    "last affine map is missing": lambda n, m: (parameters(n, m) - n - m - 1, 1),
    "see k - 1 products": lambda n, m: (parameters(n, m) + 2 * m, 1),
    "layer k sees n + k - 1": lambda n, m: (parameters(n, m) - 2 * m, 1),
    "for two components": lambda n, m: (2 * parameters(n, m), 1),
    "double the degree": lambda n, m: (parameters(n, m), math.comb(n + 2 * m, n)),
    "not m": lambda n, m: (parameters(n, m), math.comb(n + m, n)),
    "lower ones count": lambda n, m: (parameters(n, m), math.comb(n + 2**m - 1, n - 1)),
    "sum of all exponents": lambda n, m: (parameters(n, m), (2**m + 1) ** n),
    "are one monomial": lambda n, m: (parameters(n, m), n ** (2**m)),
    "2 numbers are asked for": lambda n, m: (1,),
    "not yet": lambda n, m: (..., ...),
}


@pytest.mark.parametrize("words", COUNTS)
def test_counts(words: str) -> None:
    assert words in says(exercises.counts, COUNTS[words])


FIRST = ([1, 0], 0, [1, 0], 0)
WEIGHTS = {
    "right": ([FIRST, ([0, 0, 1], 0, [0, 1, 0], 0)], [0, 0, 0, 1], 0),
    "second product is not used": ([([1, 0], 0, [0, 1], 0), ([0, 0, 1], 0, [0, 1, 0], 0)], [0, 0, 1, 0], 0),
    "this is u u_x^2": ([([1, 0], 0, [0, 1], 0), ([0, 0, 1], 0, [0, 1, 0], 0)], [0, 0, 0, 1], 0),
    "this is u^3": ([FIRST, ([0, 0, 1], 0, [1, 0, 0], 0)], [0, 0, 0, 1], 0),
    "this is u^2: ": ([FIRST, ([0, 0, 1], 0, [0, 1, 0], 0)], [0, 0, 1, 0], 0),
    "sign is reversed": ([FIRST, ([0, 0, 1], 0, [0, 1, 0], 0)], [0, 0, 0, -1], 0),
    "one factor too many": ([([1, 0], 0, [0, 1], 0), ([0, 0, 1], 0, [0, 0, 1], 0)], [0, 0, 0, 1], 0),
    "layer 2 sees 3 numbers": ([FIRST, FIRST], [0, 0, 0, 1], 0),
    "the last map sees 4": ([FIRST, ([0, 0, 1], 0, [0, 1, 0], 0)], [0, 0, 1], 0),
    "two layers (a, b, c, d)": ([FIRST], [0, 0, 1], 0),
    "at u = 0.7, u_x = 1.9": ([FIRST, ([0, 0, 1], 1, [0, 1, 0], 0)], [0, 0, 0, 1], 0),
    "not yet": ([..., ...], ..., ...),
}


@pytest.mark.parametrize("words", WEIGHTS)
def test_weights(words: str) -> None:
    assert words in says(exercises.weights, WEIGHTS[words])


def test_other_weights_and_tensors_are_right() -> None:
    other = [([2, 0], 0, [0, 1], 0), ([0.5, 0, 0], 0, [0, 0, 1], 0)], [0, 0, 0, 1], 0
    assert says(exercises.weights, other) == "right"
    rows = [tuple(torch.tensor(x, dtype=torch.float64) for x in layer) for layer in WEIGHTS["right"][0]]
    assert says(exercises.weights, (rows, torch.tensor([0.0, 0, 0, 1]), torch.tensor(0.0))) == "right"


VISCOSITIES = {
    "right": lambda nu, k, h: nu * (k * h) ** 2 / (2 - 2 * math.cos(k * h)),
    "upside down": lambda nu, k, h: nu * (math.sin(k * h / 2) / (k * h / 2)) ** 2,
    "is a square": lambda nu, k, h: nu * (k * h / 2) / math.sin(k * h / 2),
    "central first difference": lambda nu, k, h: nu * k * h / math.sin(k * h),
    "kh/2, not kh": lambda nu, k, h: nu * (k * h / math.sin(k * h)) ** 2,
    "first term of the expansion": lambda nu, k, h: nu * (1 + (k * h) ** 2 / 12),
    "viscosity itself": lambda nu, k, h: nu,
    "must be -nu k^2": lambda nu, k, h: 0.42,
}


@pytest.mark.parametrize("words", VISCOSITIES)
def test_viscosity(words: str) -> None:
    assert words in says(exercises.viscosity, VISCOSITIES[words])


def test_viscosity_by_a_fit() -> None:
    nu, k, h = 0.3, 4, 2 * math.pi / 32
    u = np.sin(k * h * np.arange(32))
    d = (np.roll(u, -1) - 2 * u + np.roll(u, 1)) / h**2
    found = np.linalg.lstsq(d[:, None], -nu * k**2 * u, rcond=None)[0][0]
    assert found == pytest.approx(VISCOSITIES["right"](nu, k, h), rel=1e-12)


def by_fit(nu: float, k: float, dt: float) -> tuple[float, float]:
    x = np.linspace(0, 2 * math.pi, 50)
    u, w = np.sin(k * x), np.exp(-nu * k**2 * dt) * np.sin(k * x)
    return tuple(float(-(k**2) * v @ (w - u) / dt / (k**4 * v @ v)) for v in (u, (u + w) / 2))


PAIRS = {
    "right": by_fit,
    "Euler's comes first": lambda nu, k, dt: by_fit(nu, k, dt)[::-1],
    "Euler's: the sign": lambda nu, k, dt: (-by_fit(nu, k, dt)[0], 0.0),
    "first order in dt": lambda nu, k, dt: (nu * (1 - nu * k**2 * dt / 2), 0.0),
    "at the end of the step": lambda nu, k, dt: ((math.exp(nu * k**2 * dt) - 1) / (k**2 * dt), 0.0),
    "divide by k^2": lambda nu, k, dt: (k**2 * by_fit(nu, k, dt)[0], 0.0),
    "this is Euler's again": lambda nu, k, dt: (by_fit(nu, k, dt)[0],) * 2,
    "a factor 2 is missing": lambda nu, k, dt: (by_fit(nu, k, dt)[0], by_fit(nu, k, dt)[1] / 2),
    "second order in dt": lambda nu, k, dt: (by_fit(nu, k, dt)[0], nu * (1 - (nu * k**2 * dt) ** 2 / 12)),
    "mean of the two": lambda nu, k, dt: (
        by_fit(nu, k, dt)[0],
        2 * math.sinh(nu * k**2 * dt / 2) / (k**2 * dt),
    ),
    "error, of second order": lambda nu, k, dt: (by_fit(nu, k, dt)[0], nu),
}


@pytest.mark.parametrize("words", PAIRS)
def test_pairs(words: str) -> None:
    assert words in says(exercises.pairs, PAIRS[words])


CANCELLING = {
    "right": lambda A, k, s: (144 * (s / A) ** 2) ** (1 / 6) / k,
    "mean of sin^2": lambda A, k, s: (72 * (s / A) ** 2) ** (1 / 6) / k,
    "this is kh": lambda A, k, s: (144 * (s / A) ** 2) ** (1 / 6),
    "enter squared": lambda A, k, s: (144 * s / A) ** (1 / 6) / k,
    "1 + 4 + 1": lambda A, k, s: (96 * (s / A) ** 2) ** (1 / 6) / k,
    "a sixth root": lambda A, k, s: (144 * (s / A) ** 2) ** (1 / 4) / k,
    "the 6 is missing": lambda A, k, s: (24 * (s / A) ** 2) ** (1 / 6) / k,
    "are not equal there": lambda A, k, s: 0.1,
}


@pytest.mark.parametrize("words", CANCELLING)
def test_cancelling(words: str) -> None:
    assert words in says(exercises.cancelling, CANCELLING[words])


def test_the_two_errors_do_cancel() -> None:
    A, k, s = 1.0, 4.0, 0.001
    h = CANCELLING["right"](A, k, s)
    bias, shrink = (k * h) ** 2 / 12, 6 * s**2 / (h**4 * A**2 * k**4 / 2)
    assert bias == pytest.approx(shrink, rel=1e-12) and bias < 0.01


def test_hints_and_praise() -> None:
    for name in ("counts", "weights", "viscosity", "pairs", "cancelling"):
        check = getattr(exercises, name)
        assert len(check.hints) >= 2 and check.praise


# ---- the explorers ----


def numbers(text: str) -> list[float]:
    return [float(part.split()[0]) for part in text.split(",")]


def test_the_fit_is_numpys_and_drops_what_is_small() -> None:
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(5, 400, generator=draw, dtype=torch.float64) * torch.tensor([[1.0], [5.0], [0.1], [2.0], [1.0]])
    y = 2 * X[0] - 0.3 * X[1] + 4 * X[2]
    c, share = lesson_13.fit(X, y, 0.0)
    assert np.allclose(c, np.linalg.lstsq(X.T.numpy(), y.numpy(), rcond=None)[0], atol=1e-10)
    c, share = lesson_13.fit(X, y + 0.01 * torch.randn(400, generator=draw, dtype=torch.float64), 0.1)
    assert (c != 0).tolist() == [True, True, True, False, False]
    assert share[1] == pytest.approx(0.3 * 5 / float(y.std()), rel=0.1)


def test_the_explorer_finds_burgers_equation_with_good_filters() -> None:
    _, facts = explorers.identified(noise=0.0, taps=7, grid=64)
    assert np.allclose(numbers(facts["transport"]), -1, atol=0.005)
    assert np.allclose(numbers(facts["viscosity"]), 0.05, atol=0.001) and facts["other terms"] == 0


def test_the_explorer_predicts_the_bias_of_filters() -> None:
    """sin(kh)/kh for central differences of second order; the fit is near what the spectrum predicts."""
    for grid in (32, 64, 128):
        _, facts = explorers.identified(noise=0.0, grid=grid)
        found, predicted = np.mean(numbers(facts["transport"])), float(facts["spectrum predicts"])
        assert abs(found - predicted) < 0.25 * abs(predicted + 1) + 0.003
    h = 2 * math.pi / 32
    rho = lesson_13.factors(lesson_13._taps(3), h)
    k = np.arange(1, 17) * h
    assert np.allclose(rho[0, 1:], np.sin(k) / k) and np.allclose(rho[1, 1:], (np.sin(k / 2) / (k / 2)) ** 2)


def test_the_explorer_predicts_what_noise_does() -> None:
    """Finer grids are worse; frames fitted in time help."""
    found = {}
    for grid in (64, 128):
        facts = explorers.identified(noise=1.0, grid=grid, threshold=0.0)[1]
        found[grid] = np.mean(numbers(facts["viscosity"]))
        assert abs(found[grid] - float(facts["noise predicts"])) < 0.012
    many = explorers.identified(noise=1.0, grid=128, fitted=11, threshold=0.0)[1]
    assert found[128] < 0.7 * found[64]
    assert np.mean(numbers(many["viscosity"])) > 1.2 * found[128]


def test_the_explorers_noise_is_that_of_frames() -> None:
    """What a fit in time makes of noise: the mean of two frames has half the variance, the quotient twice over dt^2."""
    weights = lesson_13._windows(64, 2)[3]
    assert weights == pytest.approx((2**-0.5, 2**0.5 / 0.01))


def test_the_rerun_is_right_where_it_is_the_same_equation() -> None:
    _, facts = explorers.rerun(t=1.0)
    assert facts["error"] == facts["error with the true coefficients"] and float(facts["error"].split()[0]) < 15
    assert float(explorers.rerun(nu=0.15, t=1.0)[1]["error"].split()[0]) > 25
    assert float(explorers.rerun(c=0.92, t=0.2)[1]["error"].split()[0]) < float(
        explorers.rerun(t=0.2)[1]["error"].split()[0]
    )


def test_the_changed_equation_is_burgers_in_another_unit() -> None:
    """c u obeys Burgers' equation if u obeys the changed one."""
    u = lesson_13._truth()[0]
    field = lesson_13.Upwind(lesson_13.Changed(0.5, 0.05), 32)
    true = lesson_13.Upwind(lesson_13.Burgers(0.05), 32)
    assert torch.allclose(0.5 * field(u), true(0.5 * u), atol=1e-12)
