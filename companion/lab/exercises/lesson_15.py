r"""Lesson 15, beyond pictures. The checks: what a length removes and charges, what an average leaves, a bias.

Notebook: 15.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from companion.lab.check import exercise
from companion.lab.exercises.lesson_09 import judge, several


@exercise(
    title="15.1 the smallest survivor",
    expects=Callable,
    hints=[
        "In the set f = c_1, so that r = -delta^2; J < 0 = J(0) is asked for.",
        "A disc: J = -delta^2 pi R^2 + lam 2 pi R. A ball: -delta^2 (4/3) pi R^3 + lam 4 pi R^2.",
        "A tube, for each unit of its length: -delta^2 pi R^2 + lam 2 pi R, as for the disc.",
    ],
    praise="2, 3, 2 times lam/delta^2: what goes has little inside for its boundary",
)
def survivors(answer: Callable[..., Any]) -> str | None:
    """(2, 3, 2) lam/delta^2."""
    for lam, delta in ((0.06, 0.4), (0.3, 0.9)):
        out, words = several(answer(lam, delta), "disc, ball, tube", 3)
        if words:
            return words
        one = lam / delta**2
        names = {"R of the disc": 2, "R of the ball": 3, "R of the tube": 2}
        for value, (name, right) in zip(out, names.items(), strict=True):
            slips = {
                right * lam / delta: "the worth of a pixel is delta^2, a square, and not delta",
                one / right: f"upside down: boundary over content is {right}/R",
                2 * right * one: "this is the diameter",
                one: "the length of a circle is 2 pi R; area over volume of a ball 3/R",
                delta**2 / lam * right: "a larger lam removes more, a larger contrast keeps more",
            }
            if right == 3:
                slips |= {2 * one: "this is for a disc: the ball has 4 pi R^2 of area and 4/3 pi R^3 of volume"}
            elif name.endswith("tube"):
                slips |= {3 * one: "this is for a ball: a tube has 2 pi R of area for each unit of its length"}
            words = judge(value, right * one, name, slips)
            if words:
                return words
    return None


@exercise(
    title="15.2 what a direction costs",
    expects=(list, tuple),
    hints=[
        "Along an axis one block of 2 x 2 pixels in each column has an edge in it, two pixels in and two out.",
        "At 45 degrees there are two such blocks for each step of length sqrt(2), with one or three pixels in.",
        "A block with one pixel in has the three high coefficients 1/4, -1/4, 1/4 up to signs.",
    ],
    praise="entry by entry 2.12 times as much at 45 degrees, by lengths 1.22 times: that is what (4.2) is for",
)
def directions(answer: Any) -> str | None:
    """(1/2, 3/(2 sqrt 2), 1/2, sqrt(3)/(2 sqrt 2))."""
    answer, words = several(answer, "(2.5) along an axis, (2.5) at 45 degrees, (4.2) along an axis, (4.2) at 45", 4)
    if words:
        return words
    root = math.sqrt(2)
    cases = (
        (0.5, {1.0: "Haar's high-pass filters have taps of size 1/4: the coefficient of a straight edge is 1/2"}),
        (1.5 / root, {
            1.5: "divide by the length of a diagonal step, sqrt(2)",
            0.75 / root: "there are two such blocks for each step: with one pixel in, and with three",
            0.75: "for each step there are two such blocks, and its length is sqrt(2)",
            0.5: "at 45 degrees all three bands see the edge",
            math.sqrt(3) / 2 / root: "this is the length (4.2); the first two are sums, entry by entry",
        }),
        (0.5, {1.0: "Haar's high-pass filters have taps of size 1/4: the coefficient of a straight edge is 1/2"}),
        (math.sqrt(3) / 2 / root, {
            1.5 / root: "this is the sum of the three; (4.2) takes their Euclidean length",
            math.sqrt(3) / 2: "divide by the length of a diagonal step, sqrt(2)",
            math.sqrt(3) / 4 / root: "there are two such blocks for each step",
            math.sqrt(3) / 4: "for each step there are two such blocks, and its length is sqrt(2)",
            0.5: "this holds for two bands; the third sees a corner, too",
        }),
    )  # fmt: skip
    names = ("(2.5), axis", "(2.5), 45 degrees", "(4.2), axis", "(4.2), 45 degrees")
    for value, (right, slips), name in zip(answer, cases, names, strict=True):
        words = judge(value, right, name, slips, tol=1e-3)
        if words:
            return words
    return None


@exercise(
    title="15.3 what an average leaves",
    expects=Callable,
    hints=[
        "Without details W_0^T W_0 is left, h and then its mirror image: a correlation of h with itself.",
        "White noise of variance 1 has after a filter a the variance sum a[k]^2. In d dimensions a is a product.",
        "For h = (1, 2, 1)/4: a = (1, 4, 6, 4, 1)/16 and sum a^2 = 70/256.",
    ],
    praise="11.3 dB in a plane, 16.9 dB in space, for the linear frame: room for 5.6 dB, where the picture is smooth",
)
def left(answer: Callable[..., Any]) -> str | None:
    """h, d -> (sum (h * h)^2)^d."""
    for h, d in (([0.5, 0.5], 3), ([0.25, 0.5, 0.25], 2), ([0.125, 0.375, 0.375, 0.125], 3)):
        value = answer(h, d)
        a = [sum(x * y for x, y in zip(h, h[k:], strict=False)) for k in range(len(h))]
        one = a[0] ** 2 + 2 * sum(x * x for x in a[1:])
        words = judge(value, one**d, f"for h = {h} and d = {d} the share", {
            a[0] ** d: "this is what h leaves; W^T averages once more",
            one: "this is for one dimension; the filter is a product of d",
            one * d: "variances of a product of filters are multiplied",
            one ** (d / 2): "this is the share of the deviation; the variance is its square",
            a[0] ** (2 * d): "(sum h^2)^2 would need independent errors at the second average; they are not",
            (a[0] ** 2 + sum(x * x for x in a[1:])) ** d: "h with itself has taps on both sides",
        })  # fmt: skip
        if words:
            return words
    return None


@exercise(
    title="15.4 the noise of a modulus",
    expects=Callable,
    hints=[
        "f^2 = (v + eta_1)^2 + eta_2^2. What is its mean?",
        "E f^2 = v^2 + 2 sigma^2.",
        "Where the mean of f^2 is less than 2 sigma^2, v = 0 is the nearest possible value.",
    ],
    praise="a square has no bias that depends on v: that is why magnitude images are often averaged in squares",
)
def modulus(answer: Callable[..., Any]) -> str | None:
    """m, sigma -> max(m - 2 sigma^2, 0)^(1/2)."""
    for v, sigma in ((0.3, 0.1), (0.8, 0.2)):
        m = v * v + 2 * sigma**2
        words = judge(answer(m, sigma), v, f"for E f^2 = {m:.4g}, sigma = {sigma:g}: v", {
            math.sqrt(m - sigma**2): "both parts have noise: 2 sigma^2, not sigma^2",
            math.sqrt(m): "this is the root mean square of f, noise and all",
            v * v: "this is v^2",
            m - sigma**2: "this is neither v nor v^2: both parts have noise, and v^2 wants a root",
            math.sqrt(m) - sigma: "variances are subtracted, not deviations",
            math.sqrt(v * v + 4 * sigma**2): "the sign: noise adds to E f^2, so that it is subtracted",
        })  # fmt: skip
        if words:
            return words
    value = answer(0.015, 0.1)
    return judge(value, 0.0, "for E f^2 = 0.015, sigma = 0.1: v", {}, "where m < 2 sigma^2 the best v >= 0 is 0")
