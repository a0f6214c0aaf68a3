"""Lesson 14: what its checks say to right and wrong answers, and what its explorer shows."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import FrameletTransform, bspline, dct, extension_residual, going_on
from companion.lab.exercises import lesson_14 as exercises
from tests.verdicts import says

f64 = torch.float64


BETWEEN: dict[str, Callable] = {
    "right": lambda t, v, b: v / (v / b + (1 - v / b) * torch.exp(-t)),
    "the sign of theta": lambda t, v, b: v / (v / b + (1 - v / b) * torch.exp(t)),
    "knows no bound": lambda t, v, b: v * torch.exp(t),
    "can never come back": lambda t, v, b: (v * torch.exp(t)).clamp(max=b),
    "it is beta/2, not v_0": lambda t, v, b: b * torch.sigmoid(t),
    "not 1, stands before": lambda t, v, b: v / (v / b + torch.exp(-t)),
    "is the share of the bound": lambda t, v, b: v / b / (v / b + (1 - v / b) * torch.exp(-t)),
    "must have shape (5,)": lambda t, v, b: t[:2],
    "NaN or infinite": lambda t, v, b: t * math.nan,
    "not yet": lambda t, v, b: ...,
}


@pytest.mark.parametrize("words", BETWEEN)
def test_a_number_between_bounds(words: str) -> None:
    assert words in says(exercises.between, BETWEEN[words])


def test_the_logistic_curve_obeys_its_equation() -> None:
    """dv/dtheta = v (1 - v/b) by differences."""

    def v(t: float) -> torch.Tensor:
        return BETWEEN["right"](torch.tensor(t, dtype=f64), 0.3, 2.0)

    for t in (-1.0, 0.0, 2.0):
        slope = (v(t + 1e-5) - v(t - 1e-5)) / 2e-5
        assert float(slope) == pytest.approx(float(v(t) * (1 - v(t) / 2)), rel=1e-7)
    assert float(v(0.0)) == pytest.approx(0.3)


def by_diagonals(Q: Tensor, signs: bool = True, delta: bool = True, add: bool = False) -> float:
    G = Q.T @ Q
    N = len(G)
    first, second = [], []
    for n in range(1 - N, N):
        d = torch.diagonal(G, -n)
        sign = (-1.0) ** torch.arange(max(0, -n), max(0, -n) + len(d))
        first.append(abs(float(d.sum()) - (n == 0 and delta)))
        second.append(abs(float((sign * d).sum())))
    return max(first) + max(second) if add else max(first + second) if signs else max(first)


DEFECT: dict[str, Callable] = {
    "right": by_diagonals,
    "the first condition alone": lambda Q: by_diagonals(Q, signs=False),
    "the larger of the two": lambda Q: by_diagonals(Q, add=True),
    "orthonormal rows": lambda Q: float((Q @ Q.T - torch.eye(3, dtype=f64)).abs().max()),
    "or columns are not asked": lambda Q: float((Q.T @ Q - torch.eye(3, dtype=f64)).abs().max()),
    "it is 0 for a tight bank": lambda Q: 0.1,
    "the indices wrap around": lambda Q: max(
        abs(float((s * Q * Q.roll(-n, 1)).sum()) - (n == 0 and bool(s[1] > 0)))
        for n in range(3)
        for s in (torch.ones(3, dtype=f64), torch.tensor([1.0, -1, 1], dtype=f64))
    ),
    "the absolute value is missing": lambda Q: max(max(part) for part in exercises.misses(Q)),
    "must be a number": lambda Q: "zero",
}


@pytest.mark.parametrize("words", DEFECT)
def test_the_defect_of_a_bank(words: str) -> None:
    assert words in says(exercises.defect, DEFECT[words])


def test_the_banks_of_the_check_by_the_package() -> None:
    """The splines are tight and stay so when mixed; the third bank fails by the second condition alone."""
    banks = list(exercises.banks().values())
    assert extension_residual(bspline(2)) == pytest.approx((0, 0), abs=1e-15)
    assert [max(exercises.gaps(Q)) < 1e-12 for Q in banks] == [True, True, False, False, False, False]
    assert exercises.gaps(banks[2])[0] < 1e-12 and exercises.gaps(banks[2])[1] == pytest.approx(1 / 3)


def worth(l: list, c: float, sign: float = 1.0) -> list:
    return [sign * max(l[k] - l[m] - c * (m - k) for m in range(k + 1, len(l))) for k in range(len(l) - 1)]


VALUES: dict[str, Callable] = {
    "right": worth,
    "a loss that falls is a reward": lambda l, c: worth(l, c, -1.0),
    "the reward of one step": lambda l, c: [a - b - c for a, b in itertools.pairwise(l)],
    "not Q_{k+1}": lambda l, c: [a - l[-1] - c * (len(l) - 1 - k) for k, a in enumerate(l[:-1])],
    "Q_0 comes first": lambda l, c: worth(l, c)[::-1],
    "the cost c of a step is missing": lambda l, c: worth(l, 0.0),
    "the cost is taken from": lambda l, c: worth(l, -c),
    "must have shape (4,)": lambda l, c: l,
}


@pytest.mark.parametrize("words", VALUES)
def test_the_value_of_going_on(words: str) -> None:
    assert words in says(exercises.values, VALUES[words])


def test_the_values_are_the_package_s() -> None:
    l = [9.0, 4.0, 2.0, 3.0, 2.5]
    assert going_on(torch.tensor(l), 0.3).tolist() == pytest.approx(worth(l, 0.3))


SCALED: dict[str, Callable] = {
    "right": lambda net, f, a, b: net(f * a / b) * b / a,
    "the net as it is": lambda net, f, a, b: net(f),
    "upside down": lambda net, f, a, b: net(f * b / a) * a / b,
    "upside down, and the picture": lambda net, f, a, b: net(f * b / a),
    "has to be scaled back": lambda net, f, a, b: net(f * a / b),
    "the data were not scaled": lambda net, f, a, b: net(f) * b / a,
    "scaled twice": lambda net, f, a, b: net(f * a / b) * a / b,
    "scale like sigma": lambda net, f, a, b: net(f * a**2 / b**2) * b**2 / a**2,
}


@pytest.mark.parametrize("words", SCALED)
def test_another_level_of_noise(words: str) -> None:
    assert words in says(exercises.rescaled, SCALED[words])


def cosines(f: Tensor, A: object, sigma: float, weight: float) -> Tensor:
    V = FrameletTransform(dct(5))
    d = V(f)
    kept = d.abs() > weight * sigma * V.gains
    kept[..., 0, :, :] = True
    return V.T(d * kept)


LINES: dict[str, Callable] = {
    "right": cosines,
    "asked for are 27.8": lambda f, A, sigma, weight: f,
    "gives a picture for every picture": lambda f, A, sigma, weight: f[..., 1:],
    "finite": lambda f, A, sigma, weight: f * math.nan,
    "ZeroDivisionError": lambda f, A, sigma, weight: f / 0 if isinstance(f, int) else 1 / 0,
}


@pytest.mark.parametrize("words", LINES)
def test_your_line(words: str) -> None:
    assert words in says(exercises.line, LINES[words])


@pytest.mark.parametrize("check", ["between", "defect", "values", "rescaled", "line"])
def test_nothing_typed_raises(check: str) -> None:
    exercise = getattr(exercises, check)
    for answer in (..., None, 3, "x", [], lambda: 0, lambda *a: ..., lambda *a: None, lambda *a: "x"):
        state, words = exercise.verdict(answer)
        assert state in ("not yet", "wrong") and words
