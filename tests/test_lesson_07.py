"""Lesson 07: what its checks say to right and wrong answers, and what its explorers show."""

import math
import statistics
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import VARIATIONS, GaussianNoise
from companion.lab import explorers, photographs, psnr, stored
from companion.lab.exercises import lesson_07 as exercises
from companion.lab.explorers import lesson_07
from tests.verdicts import says

ROOT2 = 2**0.5


WEIGHTS = {
    "right": lambda h, level: 4 * ROOT2 / (2**level * h) ** 3,
    "the sign": lambda h, level: -4 * ROOT2 / (2**level * h) ** 3,
    "the level is missing": lambda h, level: 4 * ROOT2 / h**3,
    "third power": lambda h, level: 4 * ROOT2 / (2**level * h**3),
    "longer, not shorter": lambda h, level: 4 * ROOT2 * (2**level / h) ** 3,
    "level 0 is the finest": lambda h, level: 4 * ROOT2 / (2 ** (level - 1) * h) ** 3,
    "this multiplies by C": lambda h, level: (ROOT2 / 8) / (2**level * h) ** 3,
    "upside down": lambda h, level: (ROOT2 / 8) * (2**level * h) ** 3,
    "the constants are missing": lambda h, level: 1 / (2**level * h) ** 3,
    "this has h^2": lambda h, level: 4 * ROOT2 / (2**level * h) ** 2,
    "this has h^1": lambda h, level: 4 * ROOT2 / (2**level * h),
    "the band (1, 1)": lambda h, level: 2 / (2**level * h) ** 2,
    "the band (2, 2)": lambda h, level: 16 / (2**level * h) ** 4,
    "only q_1": lambda h, level: -ROOT2 / (2**level * h),
    "only q_2": lambda h, level: -4 / (2**level * h) ** 2,
    "the weight is": lambda h, level: 1.0,
    "one number is asked for": lambda h, level: "4 sqrt 2",
    "not yet": lambda h, level: ...,
}


@pytest.mark.parametrize("words", WEIGHTS)
def test_the_weight(words: str) -> None:
    assert words in says(exercises.weight, WEIGHTS[words])


UNSEEN = {
    "right": lambda x1, x2, N: torch.sin(2 * math.pi * N * x1) + 0 * x2,
    "right ": lambda x1, x2, N: torch.cos(2 * math.pi * N * x2) * torch.cos(2 * math.pi * x1),
    "right   ": lambda x1, x2, N: torch.sign(torch.sin(2 * math.pi * N * x1)) + 0 * x2,  # jumps at 0 and at 1
    "this is 0": lambda x1, x2, N: 0 * (x1 + x2),
    "right  ": lambda x1, x2, N: torch.cos(math.pi * N * x1) + 0 * x2,  # odd about the middle of every cell
    "alternating sign": lambda x1, x2, N: torch.sin(math.pi * N * x1) + 0 * x2,
    "its mean is 1": lambda x1, x2, N: 1 + torch.sin(2 * math.pi * N * x1) + 0 * x2,
    "the box's means": lambda x1, x2, N: torch.sin(2 * math.pi * x1) + 0 * x2,
    "make it at least 1/2": lambda x1, x2, N: 0.1 * torch.sin(2 * math.pi * N * x1) + 0 * x2,
    "with tensors as values": lambda x1, x2, N: 0.0,
    "one finite value": lambda x1, x2, N: torch.sin(2 * math.pi * N * x1) / (0 * x2),
    "must have the period 1": lambda x1, x2, N: torch.sin(2 * math.pi * N * x1) * (1 + x1.floor()) + 0 * x2,
    "must have the period 1 ": lambda x1, x2, N: torch.sin(2 * math.pi * N * x1) + 0.01 * x2.floor(),
}


@pytest.mark.parametrize("words", UNSEEN)
def test_what_is_not_seen(words: str) -> None:
    assert words.strip() in says(exercises.unseen, UNSEEN[words])


def test_the_hat_sees_what_the_box_does_not() -> None:
    """Odd about the middle of every cell, of amplitude 1 in one column of cells: box means 0, hat means not."""

    def one_cell(x1: Tensor, x2: Tensor, N: int) -> Tensor:
        t = N * torch.remainder(x1, 1.0)
        return torch.where(t < 1, torch.sin(2 * math.pi * t), torch.zeros_like(t)) * 4 + 0 * x2

    assert "the hat's means" in says(exercises.unseen, one_cell)


WIDTHS = {
    "right": lambda h: h**0.5,
    "right ": lambda h: 2 * h**0.6,
    "right  ": lambda h: h * abs(math.log(h)),
    "keeps about 5 cells": lambda h: 5 * h,
    "right in the limit, but slow": lambda h: h**0.01,
    "keeps about 4 cells": lambda h: 4 * h,
    "not to 0": lambda h: 0.1,
    "not to 0 ": lambda h: 0.1 + h,
    "keeps about": lambda h: h**2,
    "a width is > 0": lambda h: -(h**0.5),
    "right in the limit": lambda h: h**0.12,
    "one number": lambda h: "h^(1/2)",
    "not yet": lambda h: None,
}


@pytest.mark.parametrize("words", WIDTHS)
def test_the_width(words: str) -> None:
    assert words.strip() in says(exercises.recovery, WIDTHS[words])


COSTS = {
    "right": lambda t: math.cos(t) + (3**0.5 - 1) * math.sin(t),
    "with two bands": lambda t: math.cos(t) + (ROOT2 - 1) * math.sin(t),
    "counts apart": lambda t: math.cos(t) + 2 * math.sin(t),
    "entrywise cost of two bands": lambda t: math.cos(t) + math.sin(t),
    "this counts one": lambda t: math.cos(t) + (3**0.5 / 2 - 1) * math.sin(t),
    "taken from cos": lambda t: math.cos(t) + 3**0.5 * math.sin(t),
    "the edge is straight": lambda t: math.sin(t) + (3**0.5 - 1) * math.cos(t),
    "not per unit of length": lambda t: 1 + (3**0.5 - 1) * math.tan(t),
    "own cost": lambda t: 1.0,
    "the cost is": lambda t: 1 + t,
    "one number": lambda t: (1, 2),
}


@pytest.mark.parametrize("words", COSTS)
def test_the_cost_of_three_bands(words: str) -> None:
    assert words in says(exercises.third, COSTS[words])


@pytest.mark.parametrize("theta", (0.0, 0.2, 0.5, math.pi / 4))
def test_the_cost_that_the_exercise_calls_right_is_counted_on_a_grid(theta: float) -> None:
    """A half plane on a large grid: the three coefficients of each block by hand, per length of edge in a window."""
    n = 600
    x = torch.arange(n, dtype=torch.float64) - n / 2 + 0.25
    u = (x[:, None] * math.cos(theta) + x * math.sin(theta) > 0).double()
    a, b, c, d = u[:-1, :-1], u[:-1, 1:], u[1:, :-1], u[1:, 1:]
    block = ((c + d - a - b) ** 2 + (b + d - a - c) ** 2 + (a - b - c + d) ** 2).sqrt() / 2
    inside = (x[:-1, None] ** 2 + x[:-1] ** 2) < 250**2
    assert float(block[inside].sum()) / 500 == pytest.approx(math.cos(theta) + (3**0.5 - 1) * math.sin(theta), abs=0.01)


SQUARES = {
    "right": lambda a, nu: (1 - 2 * nu / a, 8 * a * nu / (1 - 4 * a * a)),
    "inside: a is half the side": lambda a, nu: (1 - 4 * nu / a, 0),
    "inside: the perimeter is 8 a": lambda a, nu: (1 - nu / a, 0),
    "MINUS": lambda a, nu: (1 + 2 * nu / a, 0),
    "taken away": lambda a, nu: (2 * nu / a, 0),
    "linearly": lambda a, nu: (1 - 2 * nu**2 / a, 0),
    "upside down": lambda a, nu: (1 - nu * a / 2, 0),
    "the picture rises": lambda a, nu: (1 - 2 * nu / a, -8 * a * nu / (1 - 4 * a * a)),
    "not 1": lambda a, nu: (1 - 2 * nu / a, 8 * a * nu),
    "this has 1 - a^2": lambda a, nu: (1 - 2 * nu / a, 8 * a * nu / (1 - a * a)),
    "divides by the square's area": lambda a, nu: (1 - 2 * nu / a, 2 * nu / a),
    "outside: the perimeter": lambda a, nu: (1 - 2 * nu / a, 4 * a * nu / (1 - 4 * a * a)),
    "outside is not 0": lambda a, nu: (1 - 2 * nu / a, 0.0),
    "the disc's": lambda a, nu: (1 - 2 * nu / a, 2 * math.pi * a * nu / (1 - math.pi * a * a)),
    "it is 0.1333": lambda a, nu: (1 - 2 * nu / a, 0.5),
    "the pair": lambda a, nu: 0.6,
    "right ": lambda a, nu: np.array([1 - 2 * nu / a, 8 * a * nu / (1 - 4 * a * a)]),
    "right  ": lambda a, nu: torch.tensor([1 - 2 * nu / a, 8 * a * nu / (1 - 4 * a * a)], dtype=torch.float64),
    "the pair ": lambda a, nu: np.array(0.6),
    "the pair  ": lambda a, nu: "ab",
    "two finite numbers": lambda a, nu: (float("nan"), 0.1),
}


@pytest.mark.parametrize("words", SQUARES)
def test_the_square(words: str) -> None:
    assert words.strip() in says(exercises.square, SQUARES[words])


# ---- the stored table ----

KEPT = {  # E_n, L1 and L2 distance for N = 32, 64, 128, 256, by another program, with gaps of at most 1.7e-5
    "Haar, two bands": "058241 0146 0436 058735 0081 0312 058953 0046 0225 059029 0025 0162",
    "linear splines, first pair": "057884 0148 0446 058507 0073 0313 058819 0043 0223 058940 0023 0159",
    "forward differences": "059624 0206 0477 059817 0130 0353 059741 0081 0265 059588 0050 0201",
    "Haar, entrywise": "065614 0517 0764 066518 0468 0695 067076 0435 0615 067410 0423 0590",
}


@pytest.mark.paper("Thm 4.1")
@pytest.mark.parametrize("name", KEPT)
def test_the_table_of_minimisers_is_what_another_program_finds(name: str) -> None:
    """Energies within its gap; distances within 8e-4 on the coarsest grid, 2e-4 on the others."""
    numbers = np.array([float("0." + digits) for digits in KEPT[name].split()]).reshape(4, 3)
    for N, (energy, one, two) in zip((32, 64, 128, 256), numbers, strict=True):
        row = stored("gamma")["disc"][name][str(N)]
        assert row["gap"] <= 1e-5 * row["energy"]
        assert row["energy"] == pytest.approx(energy, abs=1.8e-5)
        assert (row["L1"], row["L2"]) == pytest.approx((one, two), abs=8e-4 if N == 32 else 2e-4)


# ---- the explorers ----


def curve(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a colour stands."""
    return (picture == np.array(colour)).all(axis=2)


@pytest.mark.parametrize("family", lesson_07.FAMILIES)
def test_the_least_value_is_the_least(family: str) -> None:
    """The fact against a fine grid about the minimiser, for each n."""
    F, _, lowest, (left, right), _ = lesson_07.FAMILIES[family]
    for n in (2, 5, 17):
        _, facts = explorers.envelope(family=family, n=n)
        value, place = (float(part) for part in facts["least value"].split(" at "))
        x = torch.cat(
            [torch.linspace(left, right + 20, 400001), lowest(n) + torch.linspace(-1e-3, 1e-3, 2001)]
        ).double()
        least = float(F(x, n).min())
        assert value == pytest.approx(least, abs=2e-3), (n, place)


def test_the_envelope_is_an_infimum_and_rises_as_the_radius_falls() -> None:
    values = [float(explorers.envelope(n=40, radius=r)[1]["envelope at 1"]) for r in (0.5, 0.1, 0.0)]
    assert values[0] == values[1] == pytest.approx((1 + 1 / 40) ** 2 - 3, abs=1e-3)
    assert values[2] == pytest.approx(1.0, abs=0.02)  # pointwise, the dip is not felt
    picture, _ = explorers.envelope(n=40, radius=0.2)
    assert curve(picture, lesson_07.ORANGE).any() and curve(picture, lesson_07.BLUE).any()


@pytest.mark.parametrize("family", lesson_07.FAMILIES)
def test_the_limit_is_the_gamma_limit(family: str) -> None:
    """sup over r of lim over n of the infimum, by brute force at a few points where the limit is finite."""
    F, limit, lowest, _, _ = lesson_07.FAMILIES[family]
    n, r = 4000, 2e-2
    for x in (-0.7, 0.0, 0.4, 1.0):
        y = torch.cat([torch.linspace(x - r, x + r, 200001), torch.tensor([lowest(n)], dtype=torch.float64)])
        y = y[(y - x).abs() <= r]
        value = float(limit(torch.tensor([x], dtype=torch.float64)))
        found = float(F(y, n).min())
        assert found > 100 if math.isinf(value) and x else found == pytest.approx(value, abs=0.06)


def test_the_edge_explorer_names_the_costs() -> None:
    _, facts = explorers.edge(discretisation="Haar, two bands", angle=45.0)
    assert facts["cost per length"] == "1.0000" and facts["mean over all directions"] == "1.0548"
    assert explorers.edge(discretisation="forward differences", angle=135.0)[1]["cost per length"] == "1.4142"
    assert explorers.edge(discretisation="forward differences", angle=45.0)[1]["cost per length"] == "1.0000"


@pytest.mark.parametrize("name", VARIATIONS)
def test_the_shape_in_the_polar_plot_lies_within_the_curve(name: str) -> None:
    """{x : <x, n> <= c(n)} contains the disc of radius min c, and the point n c(n) bounds it."""
    circle = lesson_07.around(name)
    out = lesson_07.polar(circle, 0.0, float(circle[0]))
    unit = lesson_07.SIDE / (2 * max(1.5, float(circle.max()) + 0.1))
    area = curve(out, lesson_07.PALE).sum() / unit**2
    assert math.pi * 0.8 < area < 4.1  # from the disc, less what is drawn upon it, to the square


@pytest.mark.parametrize(("family", "marks"), list(zip(lesson_07.FAMILIES, (1, 0, 1, 0), strict=True)))
def test_an_isolated_value_of_the_limit_is_marked_and_no_other(family: str, marks: int) -> None:
    """A full square of 9 x 9 black pixels, which no curve fills."""
    black = torch.from_numpy(curve(explorers.envelope(family=family, n=3, radius=0.0)[0], (0, 0, 0)).astype(float))
    full = -torch.nn.functional.max_pool2d(-black[None, None], 9, 1)
    assert int(full.sum()) == marks


@pytest.fixture(scope="module")
def script(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("discretisations")


@pytest.mark.parametrize("functional", ["FD iso", "Haar 2 iso", "Haar 3 l1", "PL 8 l1"])
def test_a_stored_gain_is_what_the_script_computes(functional: str, script: ModuleType) -> None:
    """One run at the stored weight gives the stored PSNR, and weights half and twice as large a lower one."""
    seed, sigma = 1, 0.1
    name, u = list(photographs(256).items())[seed]
    row, u = stored("discretisations")[f"sigma {sigma}"]["pictures"][name][functional], u[64:192, 64:192].contiguous()
    at = script.variational(GaussianNoise(sigma, seed=seed)(u), functional)
    half, best, twice = (psnr(at(row["weight"] * factor), u) for factor in (0.5, 1.0, 2.0))
    assert abs(best - row["psnr"]) < 0.01
    assert half < best - 0.05 and twice < best - 0.05


@pytest.mark.parametrize("sigma", [0.1, 0.05])
def test_the_stored_differences_are_those_of_the_rows(sigma: float, script: ModuleType) -> None:
    table = stored("discretisations")[f"sigma {sigma}"]
    assert len(table["pictures"]) == 6 and set(table["differences"]) == set(script.FUNCTIONALS)
    for name, row in table["differences"].items():
        gains = [rows[name]["psnr"] - rows["FD iso"]["psnr"] for rows in table["pictures"].values()]
        assert abs(row["gain"] - statistics.mean(gains)) < 1e-3
        assert abs(row["error"] - statistics.stdev(gains) / 6**0.5) < 1e-3
        assert row["wins"] == sum(gain > 0 for gain in gains)
