r"""Lesson 06, diffusion. The checks: a threshold K, the conditions (3.3), two bounds on a step, a step, a stencil.

Notebook: 06.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from companion import GaussianNoise, shift
from companion.lab.check import exercise
from companion.lab.diagnose import described, same
from companion.lab.images import camera


@exercise(
    title="06.1 a threshold",
    expects=Callable,
    hints=[
        "Differentiate: g'(x) = -2 (1 + x/lam^2)^(-3) / lam^2. Where is g(x) + 2 x g'(x) = 0?",
        "Divide by (1 + x/lam^2)^(-3): 1 + x/lam^2 = 4 x/lam^2.",
    ],
    praise="backward diffusion from the slope lam / sqrt 3 on",
)
def threshold(answer: Callable[[float], float]) -> str | None:
    """K = lam^2 / 3 for g(x) = (1 + x/lam^2)^(-2)."""
    for lam in (0.3, 2.0):
        value, words = _number(answer(lam), "K")
        if value is None:
            return words
        slips = {
            lam / 3**0.5: "this is the slope |grad u| = K^(1/2): K is compared with |grad u|^2",
            lam**2: "this solves g + x g' = 0: the factor 2 of g + 2 x g' is missing",
            lam / 3: "lam enters squared: x/lam^2 is what g knows of x",
            3 * lam**2: "the fraction is upside down: 1 + x/lam^2 = 4 x/lam^2",
            lam**2 / 4: "the left side has g too: 1 + x/lam^2, not 1, equals 4 x/lam^2",
            -(lam**2) / 5: "the sign of g' is lost: g falls, so that g' < 0",
        }
        if abs(value - lam**2 / 3) <= 1e-9 * lam**2:
            continue
        for wrong, slip in slips.items():
            if abs(value - wrong) <= 1e-6 * abs(wrong):
                return slip
        if value <= 0:
            return f"K is a value of |grad u|^2, so K > 0; for lam = {lam} yours is {value:.4g}"
        left = (1 - 3 * value / lam**2) / (1 + value / lam**2)
        return f"for lam = {lam}, (g + 2 x g')/g is {left:.3g} at your K = {value:.4g}; it must be 0 there"
    return None


FAILS = {"a": "backward", "b": "positive", "c": "", "d": "decreasing"}
REASONS = ("positive", "decreasing", "limit", "backward")


@exercise(
    title="06.2 the conditions (3.3)",
    expects=dict,
    hints=[
        "In the order of (3.3): is g > 0 everywhere, does it fall, does it tend to 0, has s g(s^2) one maximum?",
        "a: the flux s / sqrt(1 + s^2/lam^2) tends to lam. b: look beyond x = sigma^2. d: what is g'(0)?",
    ],
    praise="a is forward everywhere, convex, and sharpens nothing; b is used all the same: beyond sigma nothing flows",
)
def conditions(answer: dict[str, Any]) -> str | None:
    """a Charbonnier, b Tukey, c Weickert, d a g that rises before it falls."""
    missing = [key for key in FAILS if key not in answer]
    if missing:
        return f"no answer for {', '.join(missing)}"
    why = {
        "a": "(1 + x/lam^2)^(-1/2) is positive, falls and tends to 0. Its flux s / sqrt(1 + s^2/lam^2): does it fall?",
        "b": "the first condition is g > 0: what is (1 - x/sigma^2)^2, cut off at x = sigma^2, for larger x?",
        "c": "1 - exp(-c/x^4) falls from 1 to 0 and is positive; its flux rises, then falls like s^(-7)",
        "d": "(1 + x) exp(-x/2) is positive. Its derivative is (1 - x) exp(-x/2) / 2",
    }
    for key, right in FAILS.items():
        said = "" if answer[key] in ("none", "") else answer[key]
        if said not in ("", *REASONS):
            return f"{key}: {answer[key]!r} is none of {', '.join(REASONS)}, none"
        if said != right:
            return f"{key}: {why[key]}"
    return None


@exercise(
    title="06.3 two bounds",
    expects=(tuple, list),
    hints=[
        "Mean of grey values: which weight may become negative as dt grows, and when does it?",
        "Stability: the scheme multiplies the frequency w by 1 + (dt/h^2) a(w), a(w) = (-20 + 8 (cos w_1 + cos w_2) "
        "+ 4 cos w_1 cos w_2)/6. Where is a(w) least?",
        "a is bilinear in the two cosines, so its least value is at a corner: cos w_1, cos w_2 = 1 or -1.",
    ],
    praise="here the two differ: between 0.3 and 0.375 nothing blows up and grey values leave their range",
)
def bounds(answer: Any) -> str | None:
    """The nine-point Laplacian: maximum principle up to 3/10, stable up to 3/8."""
    if len(answer) != 2:
        return f"two numbers are asked for, (maximum principle, stability); got {described(answer)}"
    (first, words), (second, more) = _number(answer[0], "the first bound"), _number(answer[1], "the second bound")
    if first is None or second is None:
        return words or more
    close = lambda a, b: math.isclose(a, b, rel_tol=1e-6)  # noqa: E731
    if close(first, 3 / 8) and close(second, 3 / 10):
        return "the two are right and exchanged: first the maximum principle, which asks for more"
    if not close(first, 3 / 10):
        slips = {
            1 / 4: "1/4 is the bound of the five-point Laplacian; here the centre has 20/6, not 4",
            10 / 3: "upside down: 1 - (20/6) dt/h^2 >= 0 bounds dt by 6/20",
            1 / 20: "the division by 6 is missing: the centre has the weight 1 - (20/6) dt/h^2",
            3 / 5: "1 - (20/6) dt/h^2 >= -1 is asked here; a mean needs a weight >= 0",
            3 / 8: "this is the bound of stability; a mean asks for more: the centre's weight must be >= 0",
        }
        return next(
            (s for v, s in slips.items() if close(first, v)),
            f"the first: with dt = {first:.4g} h^2 the centre's weight is {1 - 20 / 6 * first:.3g}; the largest dt "
            "makes it 0",
        )
    if not close(second, 3 / 8):
        slips = {
            1 / 2: "at w = (pi, 0) the symbol is -24/6: there 1/2 would do. Another frequency is worse",
            3 / 16: "|1 + (dt/h^2) a| <= 1 allows dt/h^2 = 2/|a|, and this is 1/|a|",
            3 / 10: "this is the bound of the mean again: frequencies are damped up to a larger step",
            8 / 3: "upside down: 2/|a| with |a| = 16/3",
            1 / 16: "the division by 6 is missing in the symbol",
        }
        grows = f"the checkerboard is multiplied by {1 - second * 16 / 3:.3g}"
        what = grows if second > 3 / 8 else "the scheme is stable, but this is not the largest such step"
        otherwise = f"the second: with dt = {second:.4g} h^2 {what}"
        return next((s for v, s in slips.items() if close(second, v)), otherwise)
    return None


FORWARDS = "two forward differences in a row: the divergence needs backward ones (it is -D^T)"


def _g(s: Tensor) -> Tensor:
    return 1 / (1 + s / 0.01)


@exercise(
    title="06.4 a step",
    expects=Callable,
    hints=[
        "Four differences: p = u[n + e_1] - u[n], q = u[n + e_2] - u[n], 0 at the last row and column.",
        "One coefficient for both: c = g(p^2 + q^2). Then multiply, and take the divergence by backward differences.",
        "div(P, Q)[n] = P[n] - P[n - e_1] + Q[n] - Q[n - e_2], with 0 before the first row and column.",
    ],
    praise="forward differences inside, backward ones outside: -D^T (g D u)",
)
def step(answer: Callable[[Tensor, Callable[[Tensor], Tensor], float], Tensor]) -> str | None:
    """u - dt D^T(g(|D u|^2) D u), h = 1, reflecting."""
    u = GaussianNoise(0.05, seed=3)(camera(32))[:, :24].contiguous()
    for dt in (0.1, 0.25):
        out = answer(u.clone(), _g, dt)
        p, q = _plus(u, -2), _plus(u, -1)
        new = lambda c, d: u + dt * (_minus(c * p, -2) + _minus(d * q, -1))  # noqa: E731, B023
        c = _g(p**2 + q**2)
        right, heat = new(c, c), new(1, 1) - u
        words = same(out, right, 1e-9)
        if words is None:
            continue
        root = _g((p**2 + q**2).sqrt())
        x, y = u.roll(-1, -2) - u, u.roll(-1, -1) - u
        w = _g(x**2 + y**2)
        torus = w * x - (w * x).roll(1, -2) + w * y - (w * y).roll(1, -1)
        ahead = lambda c, p, q: (c * p).roll(-1, -2) - c * p + (c * q).roll(-1, -1) - c * q  # noqa: E731
        back = p.roll(1, -2), q.roll(1, -1)
        slips = {
            "the sign is reversed: this is u - dt div(g grad u), which runs backwards everywhere": 2 * u - right,
            "g sees each difference alone: that is the scheme of Perona and Malik's own paper; here one g(|grad u|^2) "
            "multiplies both": new(_g(p**2), _g(q**2)),
            "g is a function of |grad u|^2, and this gives it |grad u|": new(root, root),
            "the border wraps round, as torch.roll does; nothing flows through a reflecting one": u + dt * torus,
            FORWARDS: u + dt * (_plus(c * p, -2) + _plus(c * q, -1)),
            FORWARDS + " ": u + dt * ahead(c, p, q),
            "backward differences inside and forward ones outside: a scheme as good, but u[n + e] - u[n] is asked for "
            "inside, and g sees other slopes": u + dt * ahead(_g(back[0] ** 2 + back[1] ** 2), *back),
            "g stands before the divergence: g Laplace u is not div(g grad u)": u + c * heat,
            "this is the heat equation: where is g?": u + heat,
            "this is dt F(u): u itself is missing": right - u,
            "dt is missing": u + (right - u) / dt,
        }
        found = next((slip.strip() for slip, wrong in slips.items() if same(out, wrong, 1e-9) is None), words)
        inside = found is words and out.shape == u.shape and not same(out[1:-1, 1:-1], right[1:-1, 1:-1], 1e-9)
        return "right inside, not at the border: differences across it are 0, and all pixels move" if inside else found
    return None


@exercise(
    title="06.5 a stencil",
    expects=Callable,
    hints=[
        "u[n + e] - 2 u[n] + u[n - e] is about h^2 e.Hess(u) e: the edge e with weight w adds w e e^T to D.",
        "(1, 1): e e^T = (1 1; 1 1). (1, -1): (1 -1; -1 1). One of the two carries all of b, by its sign.",
        "The diagonal has the weight |b|, the axes what is left: a - |b| and c - |b|.",
    ],
    praise="non-negative as long as |b| <= min(a, c); beyond that the 3 x 3 neighbourhood is too small",
)
def stencil(answer: Callable[[float, float, float], Any]) -> str | None:
    """Non-negative 3 x 3 weights of a u_11 + 2 b u_12 + c u_22."""
    for a, b, c in ((1.0, 0.25, 0.5), (0.5, -0.25, 1.0), (1.0, 0.0, 0.2), (0.7, 0.2, 0.2)):
        out = answer(a, b, c)
        try:
            w = torch.as_tensor(out, dtype=torch.float64)
        except (TypeError, ValueError):
            return f"nine numbers are asked for, rows and columns 3 x 3; got {described(out)}"
        if w.shape != (3, 3):
            return f"the weights must have the shape (3, 3); got {tuple(w.shape)}"
        at = f"for a = {a}, b = {b}, c = {c}: "
        if abs(float(w.sum())) > 1e-9:
            return f"{at}the weights sum to {float(w.sum()):.3g}, and a constant picture must stay: sum 0"
        k = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        found = [float((w * m).sum()) for m in (k[:, None] ** 2 + 0 * k, k[:, None] * k, k**2 + 0 * k[:, None])]
        wanted = (2 * a, 2 * b, 2 * c)
        if max(abs(f - v) for f, v in zip(found, wanted, strict=True)) > 1e-9:
            given = "the weights give {:.3g} u_11 + 2 * {:.3g} u_12 + {:.3g} u_22".format(*(v / 2 for v in found))
            turned = a != c and abs(found[0] - 2 * c) + abs(found[2] - 2 * a) < 1e-9
            if b and abs(found[1] + 2 * b) < 1e-9:
                both = "; and a belongs to x_1, which runs down the page" if turned else ""
                return f"{at}the wrong diagonal: for b > 0 the neighbours (1, 1) and (-1, -1) count{both}"
            if turned and abs(found[1] - 2 * b) < 1e-9:
                return f"{at}a belongs to x_1, which runs down the page: the axes are exchanged"
            if abs(found[1] - 2 * b) < 1e-9:
                return f"{at}the diagonal neighbours see u_11 and u_22 too: take their share from a and c; {given}"
            return f"{at}on quadratic polynomials {given}"
        if not torch.allclose(w, w.flip(0, 1), atol=1e-9):
            return f"{at}opposite neighbours must have equal weights"
        w = w.clone()
        w[1, 1] = 0
        if float(w.min()) < -1e-12:
            return (
                f"{at}right to second order, but a weight is {float(w.min()):.3g}: a step is then no mean of grey "
                "values. Use one diagonal only"
            )
    return None


def _number(value: Any, name: str) -> tuple[float | None, str]:
    """A real number, or None and why it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None, f"{name} is {described(value)}; it must be a number"
    return (found, "") if math.isfinite(found) else (None, f"{name} is not finite: {found}")


def _plus(u: Tensor, axis: int) -> Tensor:
    """u[n + e] - u[n], 0 at the reflecting border."""
    return shift(u, 1, axis, "reflect") - u


def _minus(p: Tensor, axis: int) -> Tensor:
    """p[n] - p[n - e], p = 0 before the border; p's last entry is 0 already."""
    return p - p.roll(1, axis)
