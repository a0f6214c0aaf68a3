"""Lesson 09: what its checks say to right and wrong answers, and what its explorer shows."""

import math

import numpy as np
import pytest
import torch

from companion import Accelerated, FrameletTransform, bspline, run
from companion.lab import explorers
from companion.lab.exercises import lesson_09 as exercises
from companion.lab.explorers import lesson_09
from tests.verdicts import says

DICTIONARIES = {
    "right": lambda C, t, h, g, kappa: (1 - C * t, 2 * t**2 * g / h**2, kappa * t**2),
    "gamma: this is what friction takes away": lambda C, t, h, g, kappa: (C * t, 2 * t**2 * g / h**2, kappa * t**2),
    "sign of the friction": lambda C, t, h, g, kappa: (1 + C * t, 2 * t**2 * g / h**2, kappa * t**2),
    "times tau^2, gives C tau": lambda C, t, h, g, kappa: (1 - C * t**2, 2 * t**2 * g / h**2, kappa * t**2),
    "the level: tau enters squared": lambda C, t, h, g, kappa: (1 - C * t, 2 * t * g / h**2, kappa * t**2),
    "this is Haar's": lambda C, t, h, g, kappa: (1 - C * t, 4 * t**2 * g / h**2, kappa * t**2),
    "not by 1/c^2": lambda C, t, h, g, kappa: (1 - C * t, t**2 * g / h**2 / 2, kappa * t**2),
    "the level is positive": lambda C, t, h, g, kappa: (1 - C * t, -(2**0.5) * t**2 * g / h**2, kappa * t**2),
    "h enters squared": lambda C, t, h, g, kappa: (1 - C * t, 2 * t**2 * g / h, kappa * t**2),
    "diffusivity g is missing": lambda C, t, h, g, kappa: (1 - C * t, 2 * t**2 / h**2, kappa * t**2),
    "mu: tau enters squared": lambda C, t, h, g, kappa: (1 - C * t, 2 * t**2 * g / h**2, kappa * t),
    "tau^2 is missing": lambda C, t, h, g, kappa: (1 - C * t, 2 * t**2 * g / h**2, kappa),
    "3 numbers are asked for": lambda C, t, h, g, kappa: (1 - C * t, kappa * t**2),
    "must be a number": lambda C, t, h, g, kappa: ("gamma", 1.0, 1.0),
    "that is not it": lambda C, t, h, g, kappa: (0.123, 1.0, 1.0),
    "to first order": lambda C, t, h, g, kappa: (math.exp(-C * t), 2 * t**2 * g / h**2, kappa * t**2),
    "(1) asks for": lambda C, t, h, g, kappa: (
        (1 - C * t / 2) / (1 + C * t / 2),
        2 * t**2 * g / h**2,
        kappa * t**2,
    ),
    "the part that is taken": lambda C, t, h, g, kappa: (1 - C * t, 1 - 2 * t**2 * g / h**2, kappa * t**2),
    "not yet": lambda C, t, h, g, kappa: ...,
}


@pytest.mark.parametrize("words", DICTIONARIES)
def test_the_dictionary(words: str) -> None:
    assert words in says(exercises.dictionary, DICTIONARIES[words])


def test_arrays_and_four_digits_are_answers() -> None:
    for kind in (np.array, torch.tensor, list):
        assert says(exercises.dictionary, lambda *p, kind=kind: kind(DICTIONARIES["right"](*p))) == "right"
        assert says(exercises.problem, lambda *p, kind=kind: kind(PROBLEMS["right"](*p))) == "right"
        assert says(exercises.bounds, kind([1.1547, 0.7071])) == "right"
    assert says(exercises.overtaking, torch.tensor(2404.0)) == "right"


BOUNDS = {
    "right": (2 / 3**0.5, 1 / 2**0.5),
    "right and exchanged": (1 / 2**0.5, 2 / 3**0.5),
    "stability: this is Haar's": (1 / 3**0.5, 1 / 2**0.5),
    "take the root": (4 / 3, 1 / 2**0.5),
    "without momentum": (2**0.5, 1 / 2**0.5),
    "the heavy ball's": (2.0, 1 / 2**0.5),
    "is 1/2, not 1": ((2 / 3) ** 0.5, 1 / 2**0.5),
    "then Lambda into (5)": (0.9, 1 / 2**0.5),
    "PL's level is only 1/2": (2 / 3**0.5, 0.5),
    "into the level of (1)": (2 / 3**0.5, 0.6),
    "not the level times the symbol": (2 / 3**0.5, 1.0),
    "upside down": (2 / 3**0.5, 2**0.5),
    "2 numbers are asked for": (1.0,),
}


@pytest.mark.parametrize("words", BOUNDS)
def test_the_bounds(words: str) -> None:
    assert words in says(exercises.bounds, BOUNDS[words])


def test_the_bounds_are_those_of_the_iteration() -> None:
    """Noise under (4.7), all momentum, PL's first bands: bounded below 2/sqrt 3, not above."""
    W = FrameletTransform(bspline(2))
    noise = torch.randn(24, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for tau, low, high in ((0.99 * 2 / 3**0.5, 0.0, 1.5), (1.02 * 2 / 3**0.5, 1e3, math.inf)):
        keep = torch.ones(9, 1, 1, dtype=torch.float64)
        keep[[W.band((1, 0)), W.band((0, 1))]] = 1 - 2 * tau**2
        end = run(Accelerated(W, lambda d, keep=keep: keep * d, gamma=1.0), noise, k=300).u
        assert low <= float(end.norm() / noise.norm()) <= high


OVERTAKINGS = {
    "right": 2404.3,
    "0.95 is the best": 1521,
    "it overtakes 0.95 before": 9801.0,
    "geometric mean": 3861,
    "the mean of": 5661,
    "this is a": 0.999584,
    "square root of Q": 49.03,
    "are not equal": 3000,
    "must be a number": "large",
}


@pytest.mark.parametrize("words", OVERTAKINGS)
def test_more_memory_or_less(words: str) -> None:
    assert words in says(exercises.overtaking, OVERTAKINGS[words])


def test_where_the_larger_momentum_overtakes() -> None:
    """By the companion matrices: 0.95 is faster at Q = 2400, 0.98 at Q = 2410."""

    def radius(gamma: float, Q: float) -> float:
        a = 1 - 1 / Q
        return float(np.abs(np.linalg.eigvals([[a * (1 + gamma), -a * gamma], [1.0, 0.0]])).max())

    assert radius(0.95, 2400) < radius(0.98, 2400) and radius(0.98, 2410) < radius(0.95, 2410)


PROBLEMS = {
    "right": lambda kappa, lam: (1 / kappa, lam / kappa),
    "upside down": lambda kappa, lam: (kappa, lam / kappa),
    "exchanged": lambda kappa, lam: (lam / kappa, 1 / kappa),
    "kappa = 1 only": lambda kappa, lam: (1.0, lam),
    "has the threshold mu lam": lambda kappa, lam: (1 / kappa, lam),
    "s/mu = lam": lambda kappa, lam: (1 / kappa, lam * kappa),
    "the threshold is 0.42": lambda kappa, lam: (1 / kappa, 0.42),
}


@pytest.mark.parametrize("words", PROBLEMS)
def test_the_problem(words: str) -> None:
    assert words in says(exercises.problem, PROBLEMS[words])


def best(m: float, L: float) -> tuple[float, float]:
    return 2 / (m**0.5 + L**0.5), ((L**0.5 - m**0.5) / (L**0.5 + m**0.5)) ** 2


BALLS = {
    "right": best,
    "this is tau^2": lambda m, L: (best(m, L)[0] ** 2, best(m, L)[1]),
    "step of plain descent": lambda m, L: (2 / (m + L), best(m, L)[1]),
    "without memory": lambda m, L: ((2 / (m + L)) ** 0.5, best(m, L)[1]),
    "nearly twice as far": lambda m, L: (L**-0.5, best(m, L)[1]),
    "this is gamma^(1/2)": lambda m, L: (best(m, L)[0], best(m, L)[1] ** 0.5),
    "Q for the square root of Q": lambda m, L: (best(m, L)[0], ((L - m) / (L + m)) ** 2),
    "exchanged": lambda m, L: best(m, L)[::-1],
    "double root is at gamma": lambda m, L: (best(m, L)[0], 1 - 2 * best(m, L)[0] * m**0.5),
    "friction takes away": lambda m, L: (best(m, L)[0], 1 - best(m, L)[1]),
    "Factor per step 0.9832, best 0.8182": lambda m, L: (best(m, L)[0] / 2, 0.5),
}


@pytest.mark.parametrize("words", BALLS)
def test_the_heavy_ball(words: str) -> None:
    assert words in says(exercises.heavy_ball, BALLS[words])


def test_hints_and_praise() -> None:
    for check in (
        exercises.dictionary,
        exercises.bounds,
        exercises.overtaking,
        exercises.problem,
        exercises.heavy_ball,
    ):
        assert len(check.hints) >= 2 and check.praise


# ---- the explorer ----


def number(text: str) -> float:
    return float(text.split()[0].strip(",;"))


def test_the_explorer_knows_the_best_momentum() -> None:
    """At level 1 and Q = 100: 1 - 1/sqrt Q at gamma* = 9/11, larger on both sides; 1 - 1/Q without."""
    root = {
        c: number(explorers.acceleration(momentum=c, level=1.0, Q=100.0)[1]["largest root"]) for c in (0.7, 9 / 11, 0.9)
    }
    assert abs(root[9 / 11] - 0.9) < 1e-3 and min(root[0.7], root[0.9]) > 0.91
    facts = explorers.acceleration(momentum=9 / 11, level=1.0, Q=100.0)[1]
    assert number(facts["without momentum"]) == 0.99
    assert abs(number(facts["C / (2 omega_1)"]) - 10 / 11) < 0.01


@pytest.mark.parametrize("method", lesson_09.METHODS)
def test_the_explorer_tells_what_the_slowest_roots_are(method: str) -> None:
    """Against NumPy's roots of the polynomial, for many momenta: real, double or a conjugate pair."""
    level, Q, heavy = 0.8, 20.0, method == "heavy ball"
    a, seen = 1 - level / Q, set()
    for c in np.linspace(0, 1, 21):
        z = np.roots([1, -(a + c), c] if heavy else [1, -a * (1 + c), a * c])
        told = explorers.acceleration(method=method, momentum=float(c), level=level, Q=Q)[1]["slowest mode"]
        assert ("pair" in told) == (abs(z.imag).max() > 1e-9) or "double" in told
        assert "double" not in told or abs(z[0] - z[1]) < 0.2
        seen.add(told.split(",")[0])
    assert {"overdamped", "underdamped"} <= seen
    meet = (1 - (level / Q) ** 0.5) ** 2 if heavy else (1 - (level / Q) ** 0.5) / (1 + (level / Q) ** 0.5)
    assert "critical" in explorers.acceleration(method=method, momentum=meet, level=level, Q=Q)[1]["slowest mode"]
    assert lesson_09.damping(0.5, 1.05, heavy=False) == "two real roots"


@pytest.mark.parametrize(("method", "bound"), [("(4.7)", 4 / 3), ("heavy ball", 4.0)])
def test_the_explorer_blows_up_beyond_the_bound(method: str, bound: float) -> None:
    for level, beyond in ((0.98 * bound, False), (1.02 * bound, True)):
        facts = explorers.acceleration(method=method, momentum=1.0, level=level)[1]
        assert ("blows up" in facts["largest root"]) == beyond


def test_the_explorers_energy_is_that_of_the_iteration() -> None:
    """The energy left, by powers of the companion matrix of each of the two modes."""
    momentum, level, Q, k = 0.8, 0.5, 50.0, 40
    left = 0.0
    for x0, h in zip(lesson_09.START, (1 / Q, 1.0), strict=True):
        a = 1 - level * h
        M = np.array([[a * (1 + momentum), -a * momentum], [1.0, 0.0]])
        left += h * (np.linalg.matrix_power(M, k) @ [x0, x0])[0] ** 2
    first = (np.array([1 / Q, 1.0]) * lesson_09.START**2).sum()
    facts = explorers.acceleration(momentum=momentum, level=level, Q=Q, k=k)[1]
    assert float(facts["energy left"].split(";")[0]) == pytest.approx(left / first, rel=0.06)


def test_the_explorers_signal_moves_by_the_iteration() -> None:
    """One step of its orbit is (4.7) for Haar with the level in the detail and a step towards f, both at once."""
    f = np.random.default_rng(0).normal(size=16)
    force = lambda u: 0.2 * (np.roll(u, 1) + np.roll(u, -1) - 2 * u)  # noqa: E731
    W = FrameletTransform(bspline(1), dim=1)
    keep = torch.tensor([1.0, 1 - 0.8], dtype=torch.float64)[:, None]  # level 4 tau^2/h^2
    by_frame = run(Accelerated(W, lambda d: keep * d, gamma=0.7), torch.from_numpy(f), k=9).u
    assert np.abs(lesson_09.orbit(f, force, 0.7, 9, heavy=False)[-1] - by_frame.numpy()).max() < 1e-13


def test_the_explorer_without_momentum_draws_one_path() -> None:
    """gamma = 0: orange covers blue."""
    picture = explorers.acceleration(momentum=0.0)[0]
    assert not (picture == np.array(lesson_09.BLUE)).all(-1).any()
    assert (explorers.acceleration(momentum=0.8)[0] == np.array(lesson_09.BLUE)).all(-1).any()
