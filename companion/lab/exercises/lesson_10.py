r"""Lesson 10, residual networks. The checks: an inverse, a modified equation, a longer memory, the best momentum of a
given step, a block that imitates implicit Euler.

Notebook: 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.lab.check import exercise
from companion.lab.diagnose import described, same
from companion.lab.exercises.lesson_09 import judge, number, several


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@exercise(
    title="10.1 the inverse of a reversible block",
    expects=Callable,
    hints=[
        "b was changed last, by G of the new a: undo this first, the new a is at hand.",
        "b = b' - dt G(a'). Now b is known, and a' = a + dt F(b).",
    ],
    praise="neither F nor G was inverted: they may be anything, and the activations need not be stored",
)
def inverse(answer: Callable[..., Any]) -> str | None:
    """b = b' - dt G(a'), a = a' - dt F(b), for a' = a + dt F(b), b' = b + dt G(a')."""
    a, b, A, B = _draw(5), _draw(5, seed=1), _draw(5, 5, seed=2), _draw(5, 5, seed=3)
    F, G, dt = (lambda v: torch.tanh(A @ v)), (lambda v: torch.tanh(B @ v) + v), 0.7
    new = a + dt * F(b)
    last = b + dt * G(new)
    out, words = several(answer(F, G, dt, new, last), "a, b", 2)
    if words or not all(isinstance(v, Tensor) and v.shape == a.shape for v in out):
        return words or "a and b are tensors of the shapes of a' and b'"
    slips = {
        "these are b and a: return (a, b)": (b, a),
        "the two are undone in the order in which they were done: undo the last one first": (
            new - dt * F(last),
            last - dt * G(new - dt * F(last)),
        ),
        "a is undone with b', but a' was made with b": (new - dt * F(last), last - dt * G(new)),
        "this is another step forward: change the signs": (
            new + dt * F(last),
            last + dt * G(new + dt * F(last)),
        ),
        "right for dt = 1 only: dt is missing": (new - F(last - G(new)), last - G(new)),
        "the order is right and the signs are not": (new + dt * F(last + dt * G(new)), last + dt * G(new)),
    }
    x, y = (v.detach().to(torch.float64) for v in out)
    for words, (p, q) in slips.items():
        if torch.allclose(x, p, atol=1e-9) and torch.allclose(y, q, atol=1e-9):
            return words
    return same(y, b, 1e-9, "b") or same(x, a, 1e-9, "a")


@exercise(
    title="10.2 a modified equation",
    expects=Callable,
    hints=[
        "Take F(u) = lambda u: one step multiplies by R(z) = 1 + z + theta z^2, z = dt lambda.",
        "The step is exact for u' = m u with dt m = log R(z) = z + (theta - 1/2) z^2 + O(z^3).",
        "Insert u = exp(m t) into u' + c dt u'' = lambda u and compare the terms of order z^2.",
    ],
    praise="c falls through 0 at theta = 1/2, a scheme of order 2; at theta = 1 it is implicit Euler's",
)
def coefficient(answer: Callable[[float], Any]) -> str | None:
    """c = 1/2 - theta, for u + dt F(u + theta dt F(u))."""
    for theta in (0.8, 0.5, 0.2):
        words = judge(answer(theta), 0.5 - theta, f"c at theta = {theta:g}", {
            theta - 0.5: "this is the coefficient in log R; on the left of the equation its sign changes",
            0.5: "this is Euler's, whatever theta is: the inner step matters at this order",
            1 - theta: "this is z^2's coefficient against 1 and not against 1/2: exp z = 1 + z + z^2/2 + ...",
            1 - 2 * theta: "twice what it must be: the equation is u' + c dt u'', not u' + c (dt/2) u''",
            theta: "this is z^2's coefficient in R; compare with that of exp z",
            0.5 + theta: "check the sign of theta: theta = 1/2 is the midpoint rule, of order 2, with c = 0",
            (1 - theta) / 2: "at theta = 1/2, the midpoint rule of order 2, c must vanish",
        }, "the step is exact for u' = m u, dt m = log R(dt lambda)")  # fmt: skip
        if words:
            return words
    return None


@exercise(
    title="10.3 a longer memory",
    expects=(tuple, list, np.ndarray, Tensor),
    hints=[
        "Put F = 0 and u^k = r^k: r^3 - (1 - b) r^2 - b = 0. One root is 1.",
        "It is (r - 1)(r^2 + b r + b). The roots of r^2 + p r + q lie in |r| <= 1 iff |q| <= 1 and |p| <= 1 + q.",
        "c: expand u^{k+1} - u^k + b (u^k - u^{k-2}) to first order in dt.",
    ],
    praise="near b = -1/2 this is a wave too, (3/2) u_tt + C u_t = F: half as much mass again as (5.2) near -1",
)
def memory(answer: Any) -> str | None:
    """(low, high, c) = (-1/2, 1, 3/2): zero-stable for -1/2 < b <= 1, limit (1 + 2b) u' = F, c at b = 1/4."""
    answer, words = several(answer, "low, high, c at b = 1/4", 3)
    if words:
        return words
    return judge(answer[0], -0.5, "the lower end", {
        -1.0: "this is the end for u^{k-1}, (5.2); at b = -0.6 the factor r^2 + b r + b has the root 1.13",
        0.5: "the sign: negative b, down to here, is allowed",
        1.0: "the order: b_1 < b_2, and this is the upper end",
        0.0: "b = -0.2 is stable: the roots of r^2 - 0.2 r - 0.2 are 0.56 and -0.36",
        -0.25: "|b| <= 1 + b ends at -1/2",
    }, "put r = 1 into r^2 + b r + b", tol=1e-4) or judge(answer[1], 1.0, "the upper end", {
        0.5: "at b = 0.7 the two other roots have the modulus 0.84: it is their product's root",
        2.0: "the product of the two other roots is b",
        4.0: "up to here the two other roots are conjugate; their modulus is b^(1/2)",
    }, "conjugate roots have the modulus b^(1/2)", tol=1e-4) or judge(answer[2], 1.5, "c at b = 1/4", {
        1.25: "this is 1 + b, the factor of (5.2); u^{k-2} lies two steps back",
        0.5: "the sign: u^k - u^{k-2} is 2 dt u' and stands on the left with the factor +b",
        0.75: "the sign and the distance: u^{k-2} lies two steps back",
        1.0: "u^k - u^{k-2} is not 0 to first order",
        2.0: "this is c at b = 1/2",
        1 / 1.5: "upside down: c u' = F",
    }, "expand to first order in dt")  # fmt: skip


@exercise(
    title="10.4 the momentum of a given step",
    expects=Callable,
    hints=[
        "With alpha = -g a mode has the roots of r^2 - (1 + g - s) r + g, s = dt lambda in [1/kappa, 1].",
        "They are complex, of modulus g^(1/2), exactly where s >= (1 - g^(1/2))^2 (and s <= (1 + g^(1/2))^2).",
        "The least g for which the slowest mode, s = 1/kappa, is complex: g^(1/2) = 1 - kappa^(-1/2).",
    ],
    praise="the error falls by 1 - kappa^(-1/2) a layer; Polyak's larger step would give (kappa^(1/2) - 1)/(kappa^("
    "1/2) + 1)",
)
def momentum(answer: Callable[[float], Any]) -> str | None:
    """alpha = -(1 - kappa^(-1/2))^2 makes (5.2) with dt L = 1 fastest on F = -grad E, L/kappa <= E'' <= L."""
    for kappa in (100.0, 25.0):
        root = math.sqrt(kappa)
        best = 1 - 1 / root
        alpha, words = number(answer(kappa), "alpha")
        if alpha is None:
            return words
        wrong = judge(alpha, -(best**2), "alpha", {
            best**2: "the sign: alpha > 0 is friction, momentum is -alpha",
            -best: "this is minus the factor per layer: -alpha is its square",
            -(((root - 1) / (root + 1)) ** 2): "this is Polyak's, which belongs to his larger step",
            -(root - 1) / (root + 1): "this is Nesterov's, lesson 09, where F is taken at the extrapolated u",
            -((1 - 1 / kappa) ** 2): "kappa for its square root",
            -(1 - 2 / root): "the friction of the equation; the double root on the grid is at (1 - kappa^(-1/2))^2",
        }, "the slowest mode must have a double root")  # fmt: skip
        if wrong:
            return f"kappa = {kappa:g}: {wrong}. Factor per layer {_factor(alpha, kappa):.4f}, best {best:.4f}"
    return None


def _factor(alpha: float, kappa: float) -> float:
    """The largest root of r^2 - (1 - alpha - s) r - alpha over s in [1/kappa, 1]; an end of the interval has it."""
    worst = 0.0
    for s in (1 / kappa, 1.0):
        p = 1 - alpha - s
        root = complex(p * p + 4 * alpha) ** 0.5
        worst = max(worst, abs(p + root) / 2, abs(p - root) / 2)
    return worst


@exercise(
    title="10.5 a block that imitates implicit Euler",
    expects=Callable,
    hints=[
        "Implicit Euler solves v = u + dt F(v). Put what you have for v into the right side, and again.",
        "u, then u + dt F(u), then u + dt F(u + dt F(u)): each gains a power of dt. One more.",
    ],
    praise="each fixed-point step multiplies the distance by dt Lip F; it converges where this is below 1, so not for "
    "large steps",
)
def block(answer: Callable[..., Any]) -> str | None:
    """u + dt F(u + dt F(u + dt F(u))), three evaluations of F: distance to implicit Euler O(dt^4)."""
    A, b, u = _draw(4, 4) / 2, _draw(4, seed=1), _draw(4, seed=2)
    calls: list[Tensor] = []

    def F(v: Tensor) -> Tensor:
        calls.append(v)
        return torch.tanh(A @ v + b)

    errors = []
    for dt in (0.1, 0.05):
        calls.clear()
        out = answer(F, dt, u)
        if not isinstance(out, Tensor) or out.shape != u.shape:
            return f"the block gives the next u, a tensor of shape {tuple(u.shape)}; got {described(out)}"
        used, v = len(calls), u
        for _ in range(200):
            v = u + dt * F(v)
        errors.append(float((out.detach() - v).abs().max()))
    order = math.log2(errors[0] / errors[1]) if errors[1] > 0 else math.inf
    if order > 3.6 or errors[0] < 1e-9:
        return None if used == 3 else f"the distance is right, but F is evaluated {used} times; three suffice"
    if order > 2.6:
        return f"the distance is O(dt^{order:.1f}): this is PolyNet's block of two evaluations; put it in once more"
    if order > 1.6:
        return f"the distance is O(dt^{order:.1f}), no better than u + dt F(u): is F taken at u + dt F(...)?"
    if order > 0.6:
        extra = answer(F, 0.05, u).detach() - u
        second = F(0.05 * F(u))
        if (extra - 0.05 * (F(u) + second)).abs().max() < 0.01:
            return (
                "the distance is only O(dt): F(dt F(u)) takes F at a small increment, near F(0); F belongs at u + dt "
                "F(u), a state. Powers of F are for linear F"
            )
        return f"the distance is only O(dt^{order:.1f}), worse than u + dt F(u)"
    return "the distance does not vanish with dt: does every F have its dt, and is u added once?"
