r"""Lesson 09, acceleration. The checks: the dictionary of (4.8), two bounds, a friction, a problem, the best momentum.

Notebook: 09.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from companion.lab.check import exercise
from companion.lab.diagnose import described


def number(answer: Any, name: str) -> tuple[float | None, str]:
    """A finite real number, or what is wrong with it."""
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return None, f"{name} must be a number; got {described(answer)}"
    return (value, "") if math.isfinite(value) else (None, f"{name} is {value}, not finite")


def judge(
    answer: Any, right: float, name: str, slips: Mapping[float, str], otherwise: str = "", tol: float = 1e-6
) -> str | None:
    """None for the right number, else the slip that gives this one, or what must be true of it."""
    value, words = number(answer, name)
    if value is None:
        return words
    if math.isclose(value, right, rel_tol=tol, abs_tol=1e-12):
        return None
    found = next((slip for wrong, slip in slips.items() if math.isclose(value, wrong, rel_tol=tol)), None)
    return f"{name}: {found}" if found else f"{name} is {value:.4g}; {otherwise or 'that is not it'}"


def several(answer: Any, names: str, count: int) -> tuple[Any, str | None]:
    """The entries of a tuple, list, array or tensor, and what is wrong with it or None."""
    if isinstance(answer, (np.ndarray, Tensor)):
        answer = answer.tolist()
    if not isinstance(answer, (tuple, list)):
        return (), f"{count} numbers are asked for, ({names}); got {described(answer)}"
    return answer, None if len(answer) == count else f"{count} numbers are asked for, ({names}); got {len(answer)}"


NEARLY = "this agrees with 1 - C tau to first order, and as tau -> 0 the wave is the same; (1) asks for 1 - C tau"


@exercise(
    title="09.1 the dictionary",
    expects=Callable,
    hints=[
        "gamma is what is left of the last step after the friction of one time step.",
        "Levels and mu are forces of one step: of the order of tau^2. For PL's first band c = -sqrt(2)/2.",
        "level = tau^2 g / (c^2 h^2) with c^2 = 1/2.",
    ],
    praise="momentum of order 1, forces of order tau^2: that is what makes it a wave",
)
def dictionary(answer: Callable[..., Any]) -> str | None:
    """(gamma, level, mu) = (1 - C tau, 2 tau^2 g/h^2, kappa tau^2) for PL's first bands."""
    for C, tau, h, g, kappa in ((0.5, 0.3, 0.7, 0.9, 3.0), (2.0, 0.1, 0.25, 0.4, 7.0)):
        out, words = several(answer(C, tau, h, g, kappa), "gamma, level, mu", 3)
        if words:
            return words
        gamma, level, mu = out
        t2 = tau**2 * g / h**2
        checks = (
            judge(gamma, 1 - C * tau, "gamma", {
                C * tau: "this is what friction takes away; gamma is what remains",
                1 + C * tau: "the sign of the friction is reversed: momentum would grow",
                1 - C * tau**2: "a backward difference C (u^{k-1} - u^{k-2})/tau, times tau^2, gives C tau",
                1 - C: "the friction of one time step is C tau",
                math.exp(-C * tau): NEARLY,
                (1 - C * tau / 2) / (1 + C * tau / 2): NEARLY,
                1 / (1 + C * tau): NEARLY,
            }),
            judge(level, 2 * t2, "the level", {
                2 * tau * g / h**2: "tau enters squared: this is the level of (4.5), a diffusion",
                4 * t2: "this is Haar's, c = -1/2; for PL c^2 = 1/2",
                t2 / 2: "divide by c^2, not by 1/c^2",
                t2: "the constant c of the filter is missing",
                -math.sqrt(2) * t2: "c enters squared: the level is positive",
                math.sqrt(2) * t2: "c enters squared: once from W, once from W^T",
                2 * tau**2 * g / h: "h enters squared: once from W, once from W^T",
                2 * tau**2 / h**2: "the diffusivity g is missing",
                1 - 2 * t2: "this is what is left of the coefficient; the level is the part that is taken",
            }),
            judge(mu, kappa * tau**2, "mu", {
                kappa * tau: "tau enters squared: a force moves by tau^2 in one step",
                kappa: "mu is the step of one time step, kappa a force: tau^2 is missing",
                kappa / tau**2: "upside down",
            }),
        )  # fmt: skip
        words = next((w for w in checks if w), None)
        if words:
            return words
    return None


@exercise(
    title="09.2 two bounds",
    expects=(tuple, list, np.ndarray, Tensor),
    hints=[
        "With g = 1 a mode has the level times its symbol: Lambda = (2 tau^2/h^2) (|q_10^|^2 + |q_01^|^2).",
        "The largest symbol of PL's pair is 1/2, as in lesson 08. So Lambda <= tau^2/h^2.",
        "(5) with gamma -> 1: Lambda <= 4/3. And a level lies in [0, 1].",
    ],
    praise="twice Haar's for stability, sqrt 2 times Haar's for the level, which is not multiplied by the symbol",
)
def bounds(answer: Any) -> str | None:
    """PL's pair, g = 1: stable up to tau = 2h/sqrt 3 as C -> 0, levels <= 1 up to h/sqrt 2."""
    answer, words = several(answer, "stability, level <= 1", 2)
    if words:
        return words
    first, second = 2 / math.sqrt(3), 1 / math.sqrt(2)
    swapped = "the two are right and exchanged: stability allows more than a level of at most 1"
    return judge(answer[0], first, "the bound of stability", {
        second: swapped,
        1 / math.sqrt(3): "this is Haar's: Lambda = 4 tau^2/h^2 times a symbol of at most 1",
        4 / 3: "this is tau^2/h^2: take the root",
        math.sqrt(2): "this is the bound without momentum, Lambda <= 2; gamma -> 1 leaves 4/3",
        2.0: "the heavy ball's, Lambda <= 4: (4.7) takes the force at the extrapolated picture",
        math.sqrt(2 / 3): "the largest symbol of the pair is 1/2, not 1",
    }, "put the largest symbol into Lambda, then Lambda into (5) with gamma -> 1", tol=1e-3) or judge(
        answer[1], second, "the bound for the level", {
        first: swapped,
        1 / 2: "this is Haar's: at tau = h/2 PL's level is only 1/2",
        1.0: "here the level itself is asked for, not the level times the symbol 1/2",
        math.sqrt(2): "upside down: 2 tau^2/h^2 <= 1",
    }, "put c^2 = 1/2 into the level of (1)", tol=1e-3)  # fmt: skip


@exercise(
    title="09.3 more memory or less",
    hints=[
        "For Q between 1521 and 9801 the momentum 0.98 is past its best and 0.95 short of it: which roots are complex?",
        "The modulus of the complex ones is the root of a gamma = 0.98 a. That number must be a root of (4) with 0.95.",
        "z = (0.98 a)^(1/2) in z^2 - 1.95 a z + 0.95 a = 0, over a: 1.95 z = 1.93. Then a = z^2/0.98, Q = 1/(1 - a).",
    ],
    praise="below this Q the larger momentum is the slower one: more memory is better only for the worse problems",
)
def overtaking(answer: Any) -> str | None:
    """r(0.98) < r(0.95) in (7) exactly for Q > 1/(1 - a), a = ((0.95 + 0.98)/1.95)^2/0.98: Q = 2404.3."""
    low, high = 0.95, 0.98
    a = ((low + high) / (1 + low)) ** 2 / high
    best = {gamma: ((1 + gamma) / (1 - gamma)) ** 2 for gamma in (low, high)}
    return judge(answer, 1 / (1 - a), "Q", {
        best[low]: "here 0.95 is the best of all momenta, so 0.98 is slower",
        best[high]: "here 0.98 is the best of all; it overtakes 0.95 before",
        math.sqrt(best[low] * best[high]): "the geometric mean of 1521 and 9801; but where is r(0.95) = r(0.98)?",
        (best[low] + best[high]) / 2: "the mean of 1521 and 9801: where are the two r(gamma) of (7) equal?",
        a: "this is a = 1 - 1/Q",
        math.sqrt(1 / (1 - a)): "this is the square root of Q",
    }, "there r(0.95) and r(0.98), the largest roots of (4) at a = 1 - 1/Q, are not equal", tol=1e-3)  # fmt: skip


@exercise(
    title="09.4 which problem",
    expects=Callable,
    hints=[
        "Section 8: (4.7) with mu and T_s is APG on (2.4) with kappa = 1/mu and the weights s/mu.",
        "kappa = 1/mu gives mu; then s/mu = lam gives the threshold s.",
    ],
    praise="the threshold of a step is the weight times the length of the step",
)
def problem(answer: Callable[[float, float], Any]) -> str | None:
    """(mu, threshold) = (1/kappa, lam/kappa) makes (4.7) APG on (2.4) with kappa and weights lam."""
    for kappa, lam in ((2.0, 0.3), (5.0, 0.1)):
        out, words = several(answer(kappa, lam), "mu, threshold", 2)
        if words:
            return words
        if judge(out[0], lam / kappa, "", {}) is None and judge(out[1], 1 / kappa, "", {}) is None:
            return "the two are right and exchanged: mu comes first"
        words = judge(out[0], 1 / kappa, "mu", {
            kappa: "upside down: the gradient step cancels d exactly if mu kappa = 1",
            1.0: "this fits kappa = 1 only",
        }) or judge(out[1], lam / kappa, "the threshold", {
            lam: "a step of length mu has the threshold mu lam: prox of mu lam |.|",
            lam * kappa: "this turns the weights of the problem round: s/mu = lam",
        })  # fmt: skip
        if words:
            return f"for kappa = {kappa:g}, lam = {lam:g}: {words}"
    return None


@exercise(
    title="09.5 the best heavy ball",
    expects=Callable,
    hints=[
        "The roots of z^2 - (1 + gamma - s) z + gamma, s = tau^2 w^2, are complex, of modulus gamma^(1/2), exactly "
        "where (1 - gamma^(1/2))^2 <= s <= (1 + gamma^(1/2))^2.",
        "The least gamma: both ends are reached, tau w_1 = 1 - gamma^(1/2) and tau w_max = 1 + gamma^(1/2).",
        "Add the two: tau = 2/(w_1 + w_max). Then gamma^(1/2) = 1 - tau w_1.",
    ],
    praise="the square root of the momentum is the factor per step, (sqrt Q - 1)/(sqrt Q + 1)",
)
def heavy_ball(answer: Callable[[float, float], Any]) -> str | None:
    """(tau, gamma) = (2/(sqrt m + sqrt L), ((sqrt L - sqrt m)/(sqrt L + sqrt m))^2) for m <= E'' <= L."""
    for m, L in ((1.0, 100.0), (0.2, 5.0)):
        out, words = several(answer(m, L), "tau, gamma", 2)
        if words:
            return words
        (tau, say), (gamma, more) = number(out[0], "tau"), number(out[1], "gamma")
        if tau is None or gamma is None:
            return say or more
        root = (math.sqrt(L) - math.sqrt(m)) / (math.sqrt(L) + math.sqrt(m))
        best = 2 / (math.sqrt(m) + math.sqrt(L))
        if judge(tau, root**2, "", {}) is None and judge(gamma, best, "", {}) is None:
            return "the two are right and exchanged: tau comes first"
        words = judge(tau, best, "tau", {
            best**2: "this is tau^2, the step of the gradient",
            2 / (m + L): "this is the step of plain descent: m and L are squares of frequencies",
            math.sqrt(2 / (m + L)): "this is the best step without memory",
            1 / math.sqrt(L): "this is the step of section 5's (4.7); the heavy ball may go nearly twice as far",
        }) or judge(gamma, root**2, "gamma", {
            root: "this is gamma^(1/2), the factor per step, and the gamma* of (4.7)",
            ((L - m) / (L + m)) ** 2: "Q for the square root of Q",
            1 - root**2: "this is what friction takes away",
            1 - 2 * best * math.sqrt(m): "critical friction C = 2 omega_1 of the equation; on the grid the double root "
            "is at gamma = (1 - tau omega_1)^2",
        })  # fmt: skip
        if words:
            return (
                f"for m = {m:g}, L = {L:g}: {words}. Factor per step {_factor(tau, gamma, m, L):.4f}, best {root:.4f}"
            )
    return None


def _factor(tau: float, gamma: float, m: float, L: float) -> float:
    """The largest root of the heavy ball over the spectrum: it is largest at an end."""
    worst = 0.0
    for s in (tau**2 * m, tau**2 * L):
        p = 1 + gamma - s
        root = complex(p * p - 4 * gamma) ** 0.5
        worst = max(worst, abs(p + root) / 2, abs(p - root) / 2)
    return worst
