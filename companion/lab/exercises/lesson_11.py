r"""Lesson 11, noise and control. The checks: a variance, a limit and its order, costates, an attack's cost, a control.

Notebook: 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from companion.lab.check import exercise
from companion.lab.diagnose import described
from companion.lab.exercises.lesson_09 import judge, several


@exercise(
    title="11.1 the variance of a dropped step",
    expects=Callable,
    hints=[
        "One step multiplies by 1 - dt eta. The gates are independent, so E X_n and E X_n^2 are n-th powers.",
        "E (1 - dt eta) = 1 - p dt. And eta^2 = eta, so E (1 - dt eta)^2 = 1 - 2 p dt + p dt^2.",
    ],
    praise="about n p (1 - p) dt^2 for small dt: with n dt = T fixed it falls like dt",
)
def variance(answer: Callable[..., Any]) -> str | None:
    """Var X_n = (1 - 2 p dt + p dt^2)^n - (1 - p dt)^(2n) for X + dt eta F(X), F = -X, X_0 = 1."""
    for p, dt, n in ((0.6, 0.4, 5), (0.8, 0.3, 4)):
        one, two = 1 - p * dt, 1 - 2 * p * dt + p * dt**2
        spread = p * (1 - p)
        value = answer(p, dt, n)
        if judge(value, 0.0, "", {}) is None:
            return "the variance is 0, to rounding: eta^2 = eta, so E eta^2 is p, not p^2"
        words = judge(value, two**n - one ** (2 * n), "the variance", {
            two**n: "this is E X_n^2; the square of the mean is missing",
            (two**n - one ** (2 * n)) ** 0.5: "this is the standard deviation",
            n * spread * dt**2: "this is its size for small n dt: the variance of the sum of the gates, without decay",
            (one**2 + dt * spread) ** n - one ** (2 * n): "this is (4), with sqrt(dt) before the fluctuation",
            (two - one**2) ** n: "E X_n^2 and (E X_n)^2 are n-th powers each; their difference is not one",
            one ** (2 * n) - two**n: "the sign is reversed: E X^2 comes first",
            (1 - 2 * p * dt + dt**2) ** n - one ** (2 * n): "eta^2 = eta: E eta^2 is p, not 1",
            (1 + 2 * p * dt + p * dt**2) ** n - (1 + p * dt) ** (2 * n): "F = -X: a step multiplies by 1 - dt eta",
        }, "E (1 - dt eta)^2 = 1 - 2 p dt + p dt^2, to the power n, less (E X_n)^2")  # fmt: skip
        if words:
            return f"for p = {p:g}, dt = {dt:g}, n = {n}: {words}"
    return None


@exercise(
    title="11.2 another gate",
    expects=(tuple, list, np.ndarray, Tensor),
    hints=[
        "The drift is E eta, the diffusion the standard deviation of eta: an exponential one of mean 1 has the moments "
        "E eta^j = j!.",
        "For the order look at the third moment of the fluctuation: E (eta - 1)^3 = 6 - 3 * 2 + 3 - 1.",
        "It is not 0, so the third moments of a step differ by a multiple of dt^(3/2).",
    ],
    praise="a skew gate costs half an order, as p other than 1/2 does",
)
def limit(answer: Any) -> str | None:
    """eta exponential of mean 1: dX = F dt + F dB, or F dt - F dB, weak order 1/2."""
    answer, words = several(answer, "drift, diffusion, order", 3)
    if words:
        return words
    a, b, r = answer
    negative = judge(b, -1.0, "", {}) is None  # right too: -B is a Brownian motion, so F dB and -F dB have one law
    return (
        judge(a, 1.0, "the drift", {0.0: "what is centred is the fluctuation; the mean of eta remains"})
        or judge(1.0 if negative else b, 1.0, "the diffusion", {
            2.0: "E eta^2 = 2; the variance is E eta^2 - (E eta)^2",
            math.sqrt(2): "this is the root of E eta^2; the variance is E eta^2 - (E eta)^2",
            1 / math.sqrt(12): "this is a gate uniform on [0, 1]",
            1 / math.sqrt(3): "this is a gate uniform on [0, 2]",
            0.5: "this is stochastic depth with p = 1/2",
        }, "it is the standard deviation of eta")
        or judge(r, 0.5, "the order", {
            1.0: "that needs third moments up to O(dt^2); here E (eta - 1)^3 = 2, and a step has 2 dt^(3/2) F^3",
            1.5: "each of the n = T/dt steps adds an error dt^(3/2)",
        }, "count the powers of dt in the third moment of a step, then divide by dt for the number of steps")
    )  # fmt: skip


@exercise(
    title="11.3 costates",
    expects=Callable,
    hints=[
        "Start at the end, p_N = -Phi'(x_N), and go backwards.",
        "p_t = p_{t+1} + dt dH/dx with H = p_{t+1} f(x_t, theta_t): the slope of f where the layer starts.",
        "for t in reversed(range(N)): p[t] = p[t + 1] + dt * slope[t] * p[t + 1].",
    ],
    praise="these are minus the derivatives of the loss by the states, which back-propagation carries",
)
def costates(answer: Callable[..., Any]) -> str | None:
    """p_N = -dPhi, p_t = (1 + dt slope_t) p_{t+1}, as [p_0, ..., p_N], from slope_t = f'(x_t, theta_t), t < N."""
    slope, dPhi, dt = [0.5, -1.0, 2.0], 3.0, 0.25
    out, words = several(answer(list(slope), dPhi, dt), "p_0, p_1, p_2, p_3", 4)
    if words:
        return words
    try:
        p = np.array([float(v) for v in out])
    except (TypeError, ValueError):
        return f"the costates are numbers; got {described(out)}"

    def backward(end: float, factor: Callable[[float], float], slopes: list[float]) -> np.ndarray:
        path = [end]
        for s in reversed(slopes):
            path.append(path[-1] * factor(s))
        return np.array(path[::-1])

    euler = lambda s: 1 + dt * s  # noqa: E731
    right = backward(-dPhi, euler, slope)
    if np.allclose(p, right):
        return None
    slips = (
        (-right, "the signs are reversed: p_N = -Phi'(x_N), uphill on H is downhill on the loss"),
        (right[::-1], "the list is reversed: p_0 comes first"),
        (backward(-dPhi, lambda s: 1 + s, slope), "dt is missing: a layer is x + dt f"),
        (backward(-dPhi, lambda s: dt * s, slope), "the layer is x + dt f, and the derivative of x is 1"),
        (
            backward(-dPhi, lambda s: 1 - dt * s, slope),
            "the recursion runs backwards and yet adds: p_t = p_{t+1} + ...",
        ),
        (
            backward(-dPhi, lambda s: 1 / (1 + dt * s), slope),
            "this solves p_{t+1} = (1 + dt s) p_t, forwards; the costate is multiplied going backwards",
        ),
        (
            backward(-dPhi, euler, [*slope[1:], slope[-1]]),
            "the slope belongs to x_t, where the layer starts, not to x_{t+1}",
        ),
        (backward(-dPhi, lambda s: math.exp(dt * s), slope), "this is the costate of the ODE, not of the layers"),
        (np.array([-dPhi * euler(s) for s in slope] + [-dPhi]), "each p_t continues p_{t+1}, not p_N"),
    )
    found = next((words for wrong, words in slips if np.allclose(p, wrong)), None)
    if found:
        return found
    if not np.isclose(p[-1], -dPhi):
        return f"p_N is {p[-1]:g}, must be {-dPhi:g}"
    wrong = max(t for t in range(3) if not np.isclose(p[t], right[t]))
    return f"with N = 3, p_{wrong + 1} is right and p_{wrong} is not"


@exercise(
    title="11.4 what an attack costs",
    expects=Callable,
    hints=[
        "PGD-K: every gradient with respect to the input is a pass; the weights' gradient at the end is one more.",
        "YOPO-m-n: each of the m rounds has one full pass, which gives the costate and the weights' gradient at once, "
        "and n steps on the first layer.",
    ],
    praise="the full passes are m against K + 1, whatever n is",
)
def cost(answer: Callable[..., Any]) -> str | None:
    """(K + 1, m (1 + n c)): passes of PGD-K and YOPO-m-n, a pass through the first layer being c of a whole one."""
    for K, m, n, c in ((10, 5, 3, 0.1), (40, 3, 7, 0.25)):
        out, words = several(answer(K, m, n, c), "PGD, YOPO", 2)
        if words:
            return words
        exchanged = judge(out[0], m * (1 + n * c), "", {}) is None and judge(out[1], K + 1.0, "", {}) is None
        if exchanged:
            return "the two are right and exchanged: PGD comes first"
        words = judge(out[0], K + 1.0, "PGD-K", {
            float(K): "and the pass for the weights?",
            K + 2.0: "the loss at the end is part of the pass for the weights: K + 1",
            2 * K + 1.0: "a pass is forwards and backwards together",
        }) or judge(out[1], m * (1 + n * c), "YOPO-m-n", {
            m + n * c: "each of the m rounds has n steps on the first layer",
            float(m): "the n steps on the first layer of each round are missing",
            m * n * c: "the m full passes are missing",
            m * (1 + n * c) + 1: "the weights' gradient comes with the m passes: no further one is needed",
            float(m * n): "n of the steps touch the first layer only",
            m * (1 + (n + 1) * c): "the first layer's gradient belongs to the full pass; count n steps",
            m * (1 + n * c + c / 2): "the first layer's gradient, and what is run again for it, belongs to the full "
            "pass; count n steps",
            m * (1 + (n - 1) * c): "the full pass is for the costate; all n steps come on top",
            m * n * c + m * n: "in a round the rest of the network is passed once, not n times",
        })  # fmt: skip
        if words:
            return f"for K = {K}, m = {m}, n = {n}, c = {c:g}: {words}"
    return None


@exercise(
    title="11.5 a control against noise",
    expects=Callable,
    hints=[
        "X_T = x exp(Theta - sigma^2 T/2 + sigma B_T). What are E X_T^2 and E X_T y?",
        "E X_T^2 = E(x^2) exp(2 Theta + sigma^2 T), E X_T y = E(x y) exp(Theta): a parabola in z = exp(Theta).",
        "The parabola E(x^2) e^{sigma^2 T} z^2/2 - E(x y) z is least at z = E(x y) e^{-sigma^2 T} / E(x^2).",
    ],
    praise="without noise this is regression; noise shrinks the gain, as a penalty on the weights would",
)
def control(answer: Callable[..., Any]) -> str | None:
    """Theta = ln(E xy / E x^2) - sigma^2 T minimises E (X_T - y)^2/2 for dX = theta X dt + sigma X dB."""
    for xy, xx, sigma, T in ((3.0, 2.0, 0.6, 3.0), (1.0, 4.0, 0.9, 0.3)):
        s2, plain = sigma**2 * T, math.log(xy / xx)
        words = judge(answer(xy, xx, sigma, T), plain - s2, "Theta", {
            plain: "this is the control without noise",
            xy / xx: "this is exp(Theta) without noise",
            plain - sigma**2: "T is missing: the variance of sigma B_T is sigma^2 T",
            plain - 1.5 * s2: "E X_T y carries no Ito term: E X_T = E(x) exp(Theta)",
            plain - s2 / 2: "E X_T^2 has sigma^2 T in the exponent: Ito's -sigma^2 T/2, twice, and 2 sigma^2 T of the "
            "log-normal law",
            plain + s2 / 2: "this makes up for Ito's -sigma^2 T/2 in the median; but E X_T = E(x) exp(Theta)",
            plain + s2: "the sign of sigma^2 T: noise is to be avoided, and a smaller X_T has less of it",
            math.exp(plain - s2): "this is exp(Theta)",
            plain - 2 * s2: "divide by E(x^2) exp(sigma^2 T), with sigma^2 T once",
            -plain - s2: "E(x y) over E(x^2), not the reverse",
            (plain - s2) / T: "this is theta; Theta is its integral",
            plain - sigma * T: "sigma enters squared",
        }, "minimise E(X_T^2)/2 - E(X_T y) over Theta", tol=1e-4)  # fmt: skip
        if words:
            return f"for E xy = {xy:g}, E x^2 = {xx:g}, sigma = {sigma:g}, T = {T:g}: {words}"
    return None
