"""Lesson 03: its exercises tell the plausible mistakes apart, its explorer tells the truth."""

from fractions import Fraction
from math import factorial, inf, nan

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import Filter, FrameletTransform, bspline, tensor_product
from companion.lab import explorers
from companion.lab.exercises import lesson_03 as exercises

HAAR, LINEAR = (FrameletTransform(bspline(m)) for m in (1, 2))
CENTRAL = torch.tensor([-0.5, 0.0, 0.5])
CHECKER = torch.outer(torch.tensor([1.0, -2.0, 1.0]), torch.tensor([1.0, -2.0, 1.0]))


@pytest.mark.parametrize(
    "answer",
    [
        (3, 0.125, 1),
        [(3,), 1 / 8, 1.0],
        (3, Fraction(1, 8), 1),
        (torch.tensor(3), torch.tensor(0.125), torch.tensor([1])),
        (np.array([3]), np.float32(0.125), np.int64(1)),
        np.array([3, 0.125, 1]),
        torch.tensor([3, 0.125, 1]),
    ],
    ids=["numbers", "a multi-index", "fractions", "tensors", "arrays", "an array", "a tensor"],
)
def test_reading_moments(answer) -> None:
    state, said = exercises.by_hand.verdict(answer)
    assert state == "right", said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((3, 0.75, 1), "C_alpha = m_alpha / alpha!"),
        ((3, -0.125, 1), "the sign of C_alpha is reversed"),
        ((3, 0.5, 1), "m_3 = 6/8"),
        ((3, 0.125, 2), "about k = 1/2"),
        ((3, 0.125, 4), "4 is K"),
        ((3, 0.125, 0), "m_4 = 12/8 does not vanish"),
        ((2, 0.125, 1), "alpha = 2 is not the order"),
        ((3, "1/8", 1), "C_alpha must be a number"),
        ((3, True, 1), "C_alpha must be a number"),
        ((3, [1, 8], 1), "C_alpha must be a number"),
        ((3, 1j, 1), "C_alpha must be a number"),
        ((3, nan, 1), "not nan"),
        ((3, inf, 1), "not inf"),
        ((nan, 0.125, 1), "alpha = nan is not the order"),
        ((3, 0.125, nan), "not nan"),
        ((3, 0.125), "three numbers"),
    ],
)
def test_reading_moments_wrongly(answer, words: str) -> None:
    state, said = exercises.by_hand.verdict(answer)
    assert state == "wrong" and words in said


def solved(points: list[int], alpha: int, transposed: bool = False, factor: bool = True) -> Tensor:
    k = torch.tensor(points, dtype=torch.float64)
    M = k ** torch.arange(len(points))[:, None]
    m = torch.zeros_like(k)
    m[alpha] = factorial(alpha) if factor else 1
    return torch.linalg.solve(M.T if transposed else M, m)


def as_filter(points: list[int], alpha: int) -> Filter:
    q = dict(zip(points, solved(points, alpha).tolist(), strict=True))
    return Filter([q.get(k, 0.0) for k in range(min(points), max(points) + 1)], min(points))


def in_whole_numbers(points: list[int], alpha: int) -> Tensor:
    M = torch.tensor(points) ** torch.arange(len(points))[:, None]
    return torch.linalg.solve(M, torch.eye(len(points))[alpha] * factorial(alpha))


def in_two_types(points: list[int], alpha: int) -> Tensor:
    M = torch.tensor(points).double() ** torch.arange(len(points))[:, None]
    return torch.linalg.solve(M, torch.eye(len(points))[alpha] * factorial(alpha))


@pytest.mark.parametrize(
    "answer",
    [
        solved,
        as_filter,
        lambda points, alpha: solved(points, alpha).tolist(),
        lambda points, alpha: solved(points, alpha).numpy(),
        lambda points, alpha: solved(points, alpha).float(),
    ],
    ids=["tensor", "Filter", "list", "array", "float32"],
)
def test_prescribed_moments(answer) -> None:
    assert exercises.prescribed.verdict(answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda points, alpha: solved(points, alpha, transposed=True), "transposed"),
        (lambda points, alpha: solved(points, alpha, factor=False), "alpha! is missing"),
        (lambda points, alpha: -solved(points, alpha), "sign is reversed"),
        (lambda points, alpha: solved(points, alpha).flip(0), "reversed order"),
        (lambda points, alpha: solved(list(range(len(points))), alpha), "take k from points"),
        (lambda points, alpha: solved(sorted(points), alpha), "sorted points"),
        (lambda points, alpha: solved(points, alpha) * (alpha > 0), "for points [2, -1, 0], alpha = 0"),
        (lambda points, alpha: solved(points, alpha) * nan, "moments m_0, m_1, ... of your taps are nan"),
        (lambda points, alpha: 2 * solved(points, alpha), "the moments m_0, m_1, ... of your taps"),
        (lambda points, alpha: torch.ones(7), "as many taps as points"),
        (lambda points, alpha: "taps", "this is the text 'taps'"),
        (lambda points, alpha: 3.0, "as many taps as points"),
        (lambda points, alpha: Filter([-1, 1], -7), "taps at these points"),
        (lambda points, alpha: Filter([[1]]), "taps at these points"),
        (in_whole_numbers, "dtype=torch.float64"),
        (in_two_types, "dtype=torch.float64"),
        (lambda points, alpha: points[9], "IndexError"),
    ],
)
def test_prescribed_moments_missed(answer, words: str) -> None:
    state, said = exercises.prescribed.verdict(answer)
    assert state == "wrong" and words in said, said


def test_an_unfinished_function_is_not_yet_wrong() -> None:
    assert exercises.prescribed.verdict(lambda points, alpha: ...).state == "not yet"


@pytest.mark.parametrize("t", [0.0, 0.3, -2.0])
def test_mixed_derivatives(t: float) -> None:
    """The whole family of solutions is accepted."""
    assert exercises.mixed.verdict(torch.outer(CENTRAL, CENTRAL) + t * CHECKER).state == "right"
    assert exercises.mixed.verdict((torch.outer(CENTRAL, CENTRAL) + t * CHECKER).tolist()).state == "right"


def test_a_mixed_derivative_as_a_filter() -> None:
    d = Filter([-0.5, 0.0, 0.5])
    assert exercises.mixed.verdict(tensor_product(d, d)).state == "right"
    assert exercises.mixed.verdict(Filter(np.pad(np.outer(d.taps, d.taps), 1), -2)).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-torch.outer(CENTRAL, CENTRAL), "sign is reversed"),
        (4 * torch.outer(CENTRAL, CENTRAL), "divide the taps by 4"),
        (CHECKER, "it is 0"),
        ([[0, 0, 0], [0, 1, -1], [0, -1, 1]], "only to first order"),
        ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], "Laplacian"),
        ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], "the moment (0, 0) must vanish, and is 1"),
        ([[0, 0, 0]] * 3, "for this filter it is 0"),
        ([1, 0, -1], "has shape (3,)"),
        ("sobel", "3 x 3 table"),
        (Filter([-0.5, 0.0, 0.5]), "the taps stand at"),
        (Filter(torch.outer(CENTRAL, CENTRAL).numpy(), 0), "the taps stand at"),
        (torch.full((3, 3), nan), "finite"),
    ],
)
def test_mixed_derivatives_missed(answer, words: str) -> None:
    state, said = exercises.mixed.verdict(answer)
    assert state == "wrong" and words in said, said


def by_adjoint(u: Tensor, h: float, W: FrameletTransform = HAAR, alpha: tuple[int, int] = (1, 0)) -> Tensor:
    """W^T of the band alpha, over -C h: right for (1, 0) of Haar."""
    d = torch.zeros_like(W(u))
    d[W.band(alpha)] = u
    return W.T(d) / (-W.filter(alpha).constant(alpha) * h)


def test_a_derivative_by_the_adjoint() -> None:
    assert exercises.by_the_adjoint.verdict(by_adjoint).state == "right"


def test_the_linear_frame_could_not_test_the_adjoint() -> None:
    """Its filter is antisymmetric, so W^T = -W in the band (1, 0); for Haar the two differ by 18 % here."""
    u = torch.sin(torch.arange(48).double() * (2 * torch.pi / 48))[:, None] * torch.cos(torch.arange(40).double())
    W, V = LINEAR(u)[LINEAR.band((1, 0))], HAAR(u)[HAAR.band((1, 0))]
    C = LINEAR.filter((1, 0)).constant((1, 0))
    assert (W / C - by_adjoint(u, 1, LINEAR)).abs().max() < 1e-14
    assert (V / -0.5 - by_adjoint(u, 1)).norm() > 0.1 * V.norm()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda u, h: -by_adjoint(u, h), "sign is reversed: W^T"),
        (lambda u, h: by_adjoint(u, h, alpha=(0, 1)), "along x_2"),
        (lambda u, h: by_adjoint(u, h, LINEAR), "the linear frame"),
        (lambda u, h: LINEAR(u)[1] / h, "the linear frame"),
        (lambda u, h: HAAR(u)[1] / (-0.5 * h), "made of W_(1,0), not"),
        (lambda u, h: HAAR(u)[1], "made of W_(1,0), not"),
        (lambda u, h: -HAAR(u)[1], "made of W_(1,0), not"),
        (lambda u, h: by_adjoint(u, h) * h / 2, "this is W^T u, divide by -C h"),
        (lambda u, h: -by_adjoint(u, h) * h / 2, "divide by -C h; and the sign is reversed"),
        (lambda u, h: by_adjoint(u, h) / 2, "the constant C is missing"),
        (lambda u, h: -by_adjoint(u, h) / 2, "the constant C is missing; and the sign is reversed"),
        (lambda u, h: by_adjoint(u, h) / 4, "multiplied by C"),
        (lambda u, h: by_adjoint(u, h) * h, "step h is missing"),
        (lambda u, h: -by_adjoint(u, h) * h, "difference divided by h; and the sign is reversed"),
        (lambda u, h: by_adjoint(u, h) * h**2, "multiplied by h"),
        (lambda u, h: by_adjoint(u, h) / h, "power of h"),
        (lambda u, h: by_adjoint(u, 1 / 48), "use the h that comes"),
        (lambda u, h: 3 * by_adjoint(u, h), "this is 3 times"),
        (lambda u, h: (u.roll(-1, 0) - u) / h, "to the next pixel"),
        (lambda u, h: (u - u.roll(1, 0)) / h, "to the pixel before"),
        (lambda u, h: HAAR(u), "a picture of the shape of u"),
        (lambda u, h: 0 * u, "differs from the right one"),
        (lambda u, h: u / 0, "NaN or infinite"),
        (lambda u, h: u, "differs from the right one"),
    ],
)
def test_a_derivative_by_the_adjoint_missed(answer, words: str) -> None:
    state, said = exercises.by_the_adjoint.verdict(answer)
    assert state == "wrong" and words in said, said


def hat(x: Tensor) -> Tensor:
    return (0.5 - (x - 0.5).abs()).clamp_min(0)


def test_phi_alpha_of_haar() -> None:
    assert exercises.phi_haar.verdict(hat).state == "right"
    assert exercises.phi_haar.verdict(lambda x: hat(x).numpy()).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 2 * hat(x), "twice as high"),
        (lambda x: -hat(x), "sign is reversed"),
        (lambda x: hat(x + 0.5), "centred at 0"),
        (lambda x: 0.5 - (x - 0.5).abs(), "outside"),
        (lambda x: (1 - x.abs()).clamp_min(0), "B_2 on [-1, 1]"),
        (lambda x: ((x >= 0) & (x < 0.5)).double() - ((x >= 0.5) & (x < 1)).double(), "psi itself"),
        (lambda x: hat(x) ** 2, "differs from the right one"),
        (lambda x: 0.5, "a tensor x to a tensor"),
        (lambda x: np.zeros(3), "a tensor x to a tensor"),
        (lambda x: hat(x) * nan, "NaN"),
    ],
)
def test_phi_alpha_of_haar_missed(answer, words: str) -> None:
    state, said = exercises.phi_haar.verdict(answer)
    assert state == "wrong" and words in said, said


# ---- the explorer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taps", "about", "alpha", "slope"),
    [
        ((0, 0, 6, -6, 0), 0.0, 1, 1),
        ((0, 0, 6, -6, 0), 0.5, 1, 2),
        ((0, 6, 0, -6, 0), 0.0, 1, 2),
        ((0, -3, 6, -3, 0), 0.0, 2, 2),
        ((1, -8, 0, 8, -1), 0.0, 1, 4),
        ((0, 12, -36, 36, -12), 0.5, 3, 2),
        ((0, 0, 6, 6, 0), 0.0, 0, 1),
        ((0, 0, 6, 6, 0), 0.5, 0, 2),
    ],
)
def test_the_moments_explorer_tells_the_truth(taps, about: float, alpha: int, slope: int) -> None:
    """The slope it measures is K - alpha of Proposition 4.1, and its C_alpha is the filter's."""
    names = ("q_m2", "q_m1", "q_0", "q_1", "q_2")
    facts = explorers.moments(**dict(zip(names, taps, strict=True)), about=about)[1]
    assert facts["order alpha"] == alpha
    assert facts["K"] - alpha == slope
    assert abs(float(facts["slope"]) - slope) < 0.1
    if about == 0:
        assert facts["C alpha"] == pytest.approx(Filter([t / 12 for t in taps], -2).constant(alpha), abs=1e-14)


def test_the_moments_explorer_at_its_odd_places() -> None:
    zero = dict.fromkeys(("q_m2", "q_m1", "q_0", "q_1", "q_2"), 0)
    assert explorers.moments(**zero)[1]["slope"] == "none: every tap is 0"
    facts = explorers.moments(**(zero | {"q_0": 12}))[1]
    assert facts["slope"] == "none: the error is 0" and facts["K"] == "infinite"


@pytest.mark.paper("(4.1)")
def test_every_tensor_product_has_a_vanishing_order() -> None:
    """As the lesson says: the orders of its factors, whatever these are."""
    lopsided = Filter([0.5, -0.2, 1.0], 0)
    for q in (lopsided, *bspline(2), *bspline(3)):
        for r in (lopsided, *bspline(2), *bspline(4)):
            orders = (q.vanishing_order() or (0,)) + (r.vanishing_order() or (0,))
            assert tensor_product(q, r).vanishing_order() == orders
