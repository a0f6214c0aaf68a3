"""Lesson 12: what its checks say to right and wrong answers, and what its explorers show."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from scipy.optimize import minimize

from companion import Filter, central
from companion.lab import explorers
from companion.lab.exercises import lesson_12 as exercises
from companion.lab.explorers import lesson_12
from tests.verdicts import says

MATRICES = {
    "right": [[0, 0, 0], [-1, 0, -3 / 16], [0, 0, 0]],
    "1/(i! j!) is missing": [[0, 0, 0], [-1, 0, -3 / 8], [0, 0, 0]],
    "the sign is reversed": [[0, 0, 0], [1, 0, 3 / 16], [0, 0, 0]],
    "rows and columns": [[0, -1, 0], [0, 0, 0], [0, -3 / 16, 0]],
    "0 belongs in the middle": [[0, 0, 0], [-1, -1, -11 / 16], [-1, -1, -11 / 16]],
    "is missing; and the sign is reversed": [[0, 0, 0], [1, 0, 3 / 8], [0, 0, 0]],
    "is missing; and rows and columns": [[0, -1, 0], [0, 0, 0], [0, -3 / 8, 0]],
    "the positive one; and rows and columns": [[0, 1, 0], [0, 0, 0], [0, 3 / 16, 0]],
    "in the middle; and the factor": [[0, 0, 0], [-1, -1, -11 / 8], [-2, -2, -11 / 4]],
    "in the middle; and the sign": [[0, 0, 0], [1, 1, 11 / 16], [1, 1, 11 / 16]],
    "give it exactly": [[0, 0, 0], [-1, 0, -0.19], [0, 0, 0]],
    "m_00 is 1": [[1, 0, 0], [-1, 0, -3 / 16], [0, 0, 0]],
    "must have shape (3, 3)": [0, -1, 0],
    "must be numbers": [["a"] * 3] * 3,
    "not yet": [[..., 0, 0]] * 3,
}


@pytest.mark.parametrize("words", MATRICES)
def test_the_matrix(words: str) -> None:
    assert words in says(exercises.matrix, MATRICES[words])


def test_the_matrix_by_plain_sums() -> None:
    """(5.6) in loops, and m counted from the first tap for the slip."""
    q = np.array([[3, 10, 3], [0, 0, 0], [-3, -10, -3]]) / 32
    for shift, expected in ((0, MATRICES["right"]), (1, MATRICES["0 belongs in the middle"])):
        for i in range(3):
            for j in range(3):
                m = sum((k - 1 + shift) ** i * (l - 1 + shift) ** j * q[k, l] for k in range(3) for l in range(3))
                assert m / math.factorial(i) / math.factorial(j) == pytest.approx(expected[i][j], abs=1e-12)


ONE_SIDED = {
    "right": (0.5, [0, -1, 1]),
    "divides by 2!": (1, [0, -1, 1]),
    "makes the right tap 0": (-0.5, [-1, 1, 0]),
    "the central difference": (0, [-0.5, 0, 0.5]),
    "the left tap -1/2 + m_2 is not 0": (0.3, [0, -1, 1]),
    "of the wrong sign": (0.5, [0, 1, -1]),
    "2 numbers are asked for": (0.5,),
    "must have shape (3,)": (0.5, [0, 1]),
}


@pytest.mark.parametrize("words", ONE_SIDED)
def test_the_one_sided_difference(words: str) -> None:
    assert words in says(exercises.one_sided, ONE_SIDED[words])


STARS = {
    "right": (15, 8, 39, 2),
    "(a): this many are fixed": (10, 8, 39, 2),
    "here the order is": (19, 8, 39, 2),
    "only m_00": (15, 1, 39, 2),
    "one entry is fixed": (15, 9, 39, 2),
    "this is for 5 x 5": (15, 8, 15, 2),
    "is 0 of itself": (15, 8, 39, 1),
    "2 m_20/24": (15, 8, 39, 3),
    "that is not it": (15, 8, 40, 2),
    "4 numbers are asked for": (15, 8, 39),
}


@pytest.mark.parametrize("words", STARS)
def test_the_stars(words: str) -> None:
    assert words in says(exercises.stars, STARS[words])


def test_the_stars_are_counted_by_hand() -> None:
    """Entries with i + j >= s + r, one by one; and no 3 x 3 filter is a second derivative of accuracy 3."""
    assert [sum(i + j >= n for i in range(N) for j in range(N)) for N, n in ((5, 4), (3, 1), (7, 4))] == [15, 8, 39]
    k = np.array([-1, 0, 1])
    rows = np.array([k**j / math.factorial(j) for j in range(5)])  # m_0, ..., m_4 of three taps
    q = np.linalg.lstsq(rows[:4], [0, 0, 1, 0], rcond=None)[0]
    assert np.abs(rows[:4] @ q - [0, 0, 1, 0]).max() < 1e-12 and abs(rows[4] @ q) > 0.08


DIFFUSIONS = {
    "right": lambda a, m, h, dt: a * m * h - dt * a**2 / 2,
    "the sign of Euler's part": lambda a, m, h, dt: a * m * h + dt * a**2 / 2,
    "the sign of both parts": lambda a, m, h, dt: dt * a**2 / 2 - a * m * h,
    "Euler's is missing": lambda a, m, h, dt: a * m * h,
    "the filter's is missing": lambda a, m, h, dt: -dt * a**2 / 2,
    "already in m_2": lambda a, m, h, dt: a * m * h / 2 - dt * a**2 / 2,
    "a factor h is missing": lambda a, m, h, dt: a * m - dt * a**2 / 2,
    "multiplied by a": lambda a, m, h, dt: m * h - dt * a**2 / 2,
    "begins with a^2": lambda a, m, h, dt: a * m * h - dt * a / 2,
    "half of dt F^2": lambda a, m, h, dt: a * m * h - dt * a**2,
    "the arguments come in the order": lambda m, a, h, dt: a * m * h - dt * a**2 / 2,
    "in the order a, m_2, h, dt": lambda a, m, dt, h: a * m * h - dt * a**2 / 2,
    "D is 0.123": lambda a, m, h, dt: 0.123,
    "not yet": lambda a, m, h, dt: ...,
}


@pytest.mark.parametrize("words", DIFFUSIONS)
def test_the_diffusion(words: str) -> None:
    assert words in says(exercises.diffusion, DIFFUSIONS[words])


def test_the_diffusion_is_that_of_the_steps() -> None:
    """A long wave under u + dt a Q u / h decays like e^{-D w^2 t}: by its factor."""
    a, m_2, h, dt, w = 0.7, 0.5, 0.1, 0.03, 0.05
    z = np.exp(1j * w * h * np.array([-1, 0, 1]))
    factor = 1 + dt * a / h * (np.array([-0.5 + m_2, -2 * m_2, 0.5 + m_2]) @ z)
    D = -np.log(abs(factor)) / (w**2 * dt)
    assert pytest.approx(DIFFUSIONS["right"](a, m_2, h, dt), rel=1e-3) == D


def flipped(u: np.ndarray, alpha: tuple[int, int], h: float) -> np.ndarray:
    return scipy.ndimage.convolve(u, central(alpha, 5).numpy()[::-1, ::-1], mode="wrap") / h ** sum(alpha)


def one_axis(u: np.ndarray, alpha: tuple[int, int], h: float, flip: tuple[slice, slice]) -> np.ndarray:
    return scipy.ndimage.convolve(u, central(alpha, 5).numpy()[flip], mode="wrap") / h ** sum(alpha)


CONVOLVED = {
    "right": flipped,
    "the sign is reversed: this": lambda u, alpha, h: -flipped(u, alpha, h),
    "only the first axis": lambda u, alpha, h: one_axis(u, alpha, h, np.s_[::-1, :]),
    "only the second axis": lambda u, alpha, h: one_axis(u, alpha, h, np.s_[:, ::-1]),
    "factor h^-|alpha| is missing": lambda u, alpha, h: flipped(u, alpha, 1.0),
    "the factor h^-|alpha| missing": lambda u, alpha, h: -flipped(u, alpha, 1.0),
    "not by h": lambda u, alpha, h: flipped(u, alpha, 1.0) / h,
    "for alpha = (1, 0)": lambda u, alpha, h: u,
    "must have shape (24, 24)": lambda u, alpha, h: u[:3],
}


@pytest.mark.parametrize("words", CONVOLVED)
def test_a_true_convolution(words: str) -> None:
    assert words in says(exercises.convolved, CONVOLVED[words])


def test_hints_and_praise() -> None:
    for check in (exercises.matrix, exercises.one_sided, exercises.stars, exercises.diffusion, exercises.convolved):
        assert len(check.hints) >= 2 and check.praise


# ---- the explorers ----


@pytest.mark.parametrize(("values", "slope", "term"), [
    ({"accuracy": 1, "m_20": 0.5}, 1.0, "h (0.5 u_xx)"),
    ({"accuracy": 1, "m_20": 0.0, "m_11": -0.2, "m_02": 0.4}, 1.0, "h (-0.2 u_xy +0.4 u_yy)"),
    ({"accuracy": 2, "m_20": 0.5}, 2.0, "h^2 (0.17 u_xxx)"),
    ({"accuracy": 2, "m_12": 0.3, "m_21": -0.1}, 2.0, "h^2 (0.17 u_xxx -0.1 u_xxy +0.3 u_xyy)"),
])  # fmt: skip
def test_stars_say_the_order_and_the_first_term(values: dict[str, float], slope: float, term: str) -> None:
    facts = explorers.stars(**values)[1]
    assert float(facts["slope of the error"]) == pytest.approx(slope, abs=0.06)
    assert facts["error begins with"] == term
    assert facts["free moments"] == {1: 6, 2: 3}[int(values["accuracy"])]


def test_stars_pass_on_noise_as_the_central_difference_does() -> None:
    assert explorers.stars(m_20=0.0)[1]["noise is multiplied by"] == "0.71 / h"


@pytest.mark.parametrize(("N", "accuracy", "band", "noise"), [(5, 1, 1.2, 0.0), (5, 2, 0.8, 0.4), (7, 4, 2.0, 0.2)])
def test_the_best_filter_is_the_minimiser(N: int, accuracy: int, band: float, noise: float) -> None:
    """SciPy finds no better taps among those with the same fixed moments."""
    found = lesson_12.best(N, accuracy, band, noise)
    k, w = np.arange(N) - N // 2, np.linspace(-band, band, 257)

    def loss(q: np.ndarray) -> float:
        hat = np.exp(1j * np.outer(w, k)) @ q
        return float((np.abs(hat - 1j * w) ** 2).mean() + noise**2 * (q**2).sum())

    rules = [{"type": "eq", "fun": lambda q, j=j: (k**j * q).sum() - (j == 1)} for j in range(1 + accuracy)]
    other = minimize(loss, central(1, N).numpy(), constraints=rules, tol=1e-12)
    assert loss(found) <= other.fun + 1e-9 and np.abs(found - other.x).max() < 1e-3
    assert max(abs(rule["fun"](found)) for rule in rules) < 1e-12
    size = float((w**2).mean()) ** 0.5
    assert lesson_12.rms(found, band, noise) == pytest.approx(loss(found) ** 0.5 / size)


def test_the_fitted_explorer_tells_the_errors() -> None:
    facts = explorers.fitted(N=5, accuracy=1, band=math.pi / 4)[1]
    assert float(facts["error of the best"].split()[0]) < float(facts["of the central difference"].split()[0]) / 4
    assert "m_2 = 0.000" in facts["free moments"] and "m_4 = 0.000" in facts["free moments"]


def test_the_symbol_is_that_of_a_correlation() -> None:
    """sum_k q[k] u[n + k] of a wave e^{i w n}; the package's Filter has the other sign of w."""
    q, w = central(1, 5).numpy(), np.array([0.3, 2.0])
    assert np.abs(lesson_12.symbol(q, w) - Filter(q, -2).symbol(-w)).max() < 1e-14
    wave = torch.exp(1j * 0.3 * torch.arange(-2, 3).double())
    assert abs(complex(lesson_12.symbol(q, w[:1])[0]) - complex((central(1, 5) * wave).sum())) < 1e-14
