r"""Lesson 13, discovering equations. The checks: two counts, the weights of a SymNet, a viscosity seen through a
difference, the same through a step in time, and a grid on which two errors cancel.

Notebook: 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from companion.lab.check import exercise
from companion.lab.exercises.lesson_09 import judge, several


@exercise(
    title="13.1 two counts",
    expects=Callable,
    hints=[
        "Layer k has two affine maps of n + k - 1 numbers, each with a constant; the last map sees n + m numbers.",
        "The monomials of degree <= d in n variables are those of degree d in n + 1: choose where n bars stand among "
        "d stars.",
        "math.comb(n + 2**m, n).",
    ],
    praise="the first grows like m^2, the second like a power of 2^m",
)
def counts(answer: Callable[..., Any]) -> str | None:
    """(parameters of SymNet_m^n, monomials of degree <= 2^m): ((n + 1)(2m + 1) + m^2, C(n + 2^m, n))."""

    def comb(a: int, b: int) -> float:
        return float(math.comb(a, b))

    for n, m in ((12, 5), (6, 2), (3, 1)):
        out, words = several(answer(n, m), "parameters, monomials", 2)
        if words:
            return words
        right = float((n + 1) * (2 * m + 1) + m**2)
        words = judge(out[0], right, "the parameters", {
            right - 2 * m - 1: "each affine map has a constant, too",
            float((n + 1) * (2 * m + 1)): "later maps also see the products of earlier ones",
            right - n - m - 1: "the last affine map is missing",
            right + 2 * m: "the maps of layer k see k - 1 products, not k",
            right - 2 * m: "layer 1 sees n numbers, layer k sees n + k - 1",
            2 * right: "this is for two components; one is asked for",
        }) or judge(out[1], comb(n + 2**m, n), "the monomials", {
            comb(n + 2 * m, n): "m products in a row double the degree m times: 2^m",
            comb(n + m, n): "the degree is 2^m, not m",
            comb(n + 2**m - 1, n - 1): "these are the monomials of degree 2^m exactly; lower ones count as well",
            (2.0**m + 1) ** n: "here each exponent goes up to 2^m; the sum of all exponents may not exceed it",
            float(n) ** (2**m): "u v and v u are one monomial",
        })  # fmt: skip
        if words:
            return f"for n = {n}, m = {m}: {words}"
    return None


@exercise(
    title="13.2 the weights of u^2 u_x",
    expects=(tuple, list),
    hints=[
        "The first product can be u u, or u u_x; the second layer sees three numbers, the third of them this product.",
        "First layer: ([1, 0], 0, [1, 0], 0) is u u. The second multiplies the third number by u_x: ([0, 0, 1], 0, "
        "[0, 1, 0], 0).",
        "The last map sees u, u_x and both products: only the last one is wanted.",
    ],
    praise="two products make degree 3; u^4 would need no more",
)
def weights(answer: Any) -> str | None:
    """(layers, e, f): two layers (a, b, c, d) on (u, u_x) with SymNet = u^2 u_x."""
    parts, words = several(answer, "layers, e, f", 3)
    if words:
        return words
    layers, e, f = parts
    if len(layers) != 2 or any(len(layer) != 4 for layer in layers):
        return "two layers (a, b, c, d) are asked for, a and c lists of numbers, b and d numbers"
    x = torch.tensor([[0.7, -1.3, 2.0, 0.4], [1.9, 0.8, -0.6, -1.1]], dtype=torch.float64)
    u, u_x = x
    y = x
    for k, (a, b, c, d) in enumerate(layers):
        if len(a) != len(y) or len(c) != len(y):
            return f"layer {k + 1} sees {len(y)} numbers, so a and c have {len(y)} entries; got {len(a)} and {len(c)}"
        product = (torch.as_tensor(a).double() @ y + b) * (torch.as_tensor(c).double() @ y + d)
        y = torch.cat([y, product[None]])
    if len(e) != len(y):
        return f"the last map sees {len(y)} numbers: u, u_x and two products; e has {len(e)} entries"
    out = torch.as_tensor(e).double() @ y + f
    slips = {
        "this is u u_x: the second product is not used": u * u_x,
        "this is u u_x^2: u is to be squared": u * u_x**2,
        "this is u^3": u**3,
        "this is u^2: u_x is missing": u**2,
        "the sign is reversed": -(u**2) * u_x,
        "this is u^2 u_x^2: one factor too many": (u * u_x) ** 2,
    }
    for words, value in slips.items():
        if torch.allclose(out, value):
            return words
    if torch.allclose(out, u**2 * u_x):
        return None
    return f"at u = 0.7, u_x = 1.9 this is {float(out[0]):.4g}, and u^2 u_x is {float(u[0] ** 2 * u_x[0]):.4g}"


@exercise(
    title="13.3 a viscosity through a second difference",
    expects=Callable,
    hints=[
        "On sin kx the difference (u(x + h) - 2u(x) + u(x - h))/h^2 is a number times u: which?",
        "2 (cos kh - 1)/h^2 = -(4/h^2) sin^2(kh/2). And u_t = -nu k^2 u.",
        "The coefficient that makes c D u = u_t: c = nu (kh/2)^2/sin^2(kh/2).",
    ],
    praise="too large: 1 + (kh)^2/12, half of what u_x suffers, in the same direction",
)
def viscosity(answer: Callable[..., Any]) -> str | None:
    """nu (kh/2)^2 / sin^2(kh/2): what least squares finds on one wave with the frozen second difference."""
    for nu, k, h in ((0.05, 4.0, 0.2), (1.0, 3.0, 0.5)):
        s = math.sin(k * h / 2) / (k * h / 2)
        words = judge(answer(nu, k, h), nu / s**2, "the coefficient", {
            nu * s**2: "upside down: the filter sees too little, so the coefficient must be larger",
            nu / s: "the factor of the second difference is a square",
            nu / (math.sin(k * h) / (k * h)): "this is the factor of the central first difference",
            nu / (math.sin(k * h) / (k * h)) ** 2: "kh/2, not kh: 2 - 2 cos kh = 4 sin^2(kh/2)",
            nu * (1 + (k * h) ** 2 / 12): "this is the first term of the expansion in kh; exactly, please",
            nu: "this is the viscosity itself; the difference does not see it so",
            1 / s**2: "nu is missing",
        }, "c times the difference of sin kx must be -nu k^2 sin kx")  # fmt: skip
        if words:
            return f"for nu = {nu:g}, k = {k:g}, h = {h:g}: {words}"
    return None


@exercise(
    title="13.4 a viscosity through a step in time",
    expects=Callable,
    hints=[
        "u(t + dt) = e^{-a} u(t) on this wave, a = nu k^2 dt, and u_xx = -k^2 u exactly.",
        "Euler: (e^{-a} - 1)/dt = -c k^2. Midpoint: the same quotient over (1 + e^{-a})/2.",
        "(1 - e^{-a})/(1 + e^{-a}) = tanh(a/2).",
    ],
    praise="an error of a/2 against one of a^2/12: the pair costs nothing but the place where it is used",
)
def pairs(answer: Callable[..., Any]) -> str | None:
    """((1 - e^{-a})/(k^2 dt), 2 tanh(a/2)/(k^2 dt)), a = nu k^2 dt."""
    for nu, k, dt in ((0.1, 4.0, 0.5), (0.3, 2.0, 0.2)):
        out, words = several(answer(nu, k, dt), "Euler, midpoint", 2)
        if words:
            return words
        a = nu * k**2 * dt
        euler, mid = (1 - math.exp(-a)) / (k**2 * dt), 2 * math.tanh(a / 2) / (k**2 * dt)
        words = judge(out[0], euler, "Euler's", {
            mid: "this is the midpoint's: Euler's comes first",
            -euler: "the sign: u_t and u_xx have the same sign here, both against u",
            nu * (1 - a / 2): "this is the first order in dt; exactly, please",
            (math.exp(a) - 1) / (k**2 * dt): "here u_xx is taken at the end of the step, not at its beginning",
            k**2 * euler: "divide by k^2: u_xx = -k^2 u",
            nu: "this is the true one; a difference quotient is no derivative",
        }) or judge(out[1], mid, "the midpoint's", {
            euler: "this is Euler's again: u_xx is to be taken of (u(t) + u(t + dt))/2",
            mid / 2: "the mean is (1 + e^{-a})/2: a factor 2 is missing",
            nu * (1 - a**2 / 12): "this is the second order in dt; exactly, please",
            2 * math.sinh(a / 2) / (k**2 * dt): "u_xx at the time amid the frames; asked is the mean of the two",
            nu: "this is the true one; there is an error, of second order",
        })  # fmt: skip
        if words:
            return f"for nu = {nu:g}, k = {k:g}, dt = {dt:g}: {words}"
    return None


@exercise(
    title="13.5 two errors that cancel",
    expects=Callable,
    hints=[
        "Exercise 3 expanded: the difference raises the coefficient by the factor 1 + (kh)^2/12.",
        "(6), for one frame: noise lowers it by 1 - 6 s^2/(h^4 S), S the mean of u_xx^2, here A^2 k^4/2.",
        "(kh)^2/12 = 12 s^2/(A^2 (kh)^4). Solve for kh.",
    ],
    praise="a better grid than the finest, and of no use to anybody who does not know k, A and s",
)
def cancelling(answer: Callable[..., Any]) -> str | None:
    """h = (144 s^2/A^2)^{1/6}/k: (kh)^2/12 = 6 s^2/(h^4 A^2 k^4/2)."""
    for A, k, s in ((1.0, 4.0, 0.01), (2.0, 3.0, 0.05)):
        right = (144 * (s / A) ** 2) ** (1 / 6) / k
        words = judge(answer(A, k, s), right, "h", {
            (72 * (s / A) ** 2) ** (1 / 6) / k: "half of what belongs under the root. One of three: S = A^2 k^4/2, "
            "as the mean of sin^2 is 1/2; R = 6 s^2/h^4, one frame, without section 5's 1/2; (kh)^2/12, exercise 3",
            (144 * (s / A) ** 2) ** (1 / 6): "this is kh",
            (144 * s / A) ** (1 / 6) / k: "s and A enter squared: variances are compared",
            (96 * (s / A) ** 2) ** (1 / 6) / k: "the variance of the second difference is 1 + 4 + 1 = 6 times s^2",
            (144 * (s / A) ** 2) ** (1 / 4) / k: "h^2 on one side, h^-4 on the other: a sixth root",
            (24 * (s / A) ** 2) ** (1 / 6) / k: "6 s^2/h^4 is the variance of the noise: the 6 is missing",
        }, "(kh)^2/12 and 6 s^2/(h^4 S) are not equal there", tol=1e-3)  # fmt: skip
        if words:
            return f"for A = {A:g}, k = {k:g}, s = {s:g}: {words}"
    return None
